#include "base/archive/archive.h"
#include "base/archive/locale.h"
#include "base/archive/tree_open.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

enum { PACK_BLOCK = 256 << 10, PACK_BUFFER = 256 << 10, PACK_CHECK_EVERY = 64, PACK_MAX_THREADS = 16 };

struct packing {
	struct tree_opener opener;
	struct wait *wait;
	archive_write_fn write;
	void *context;
	struct archive *archive;
	struct archive_entry *entry;
	char *buffer;
	unsigned seen;
	int64_t *packed;
	bool dropping;    /* it failed: the end that libarchive writes when freed must not look valid */
	int write_result; /* of the caller's function, which libarchive cannot carry */
	struct err write_err;
};

/* Never returns a failure to libarchive, which would then not free all its memory. A failure is remembered, further data is
 * dropped, and the packing code checks after each call. */
static la_ssize_t give_on(struct archive *a, void *context, const void *data, size_t len)
{
	struct packing *p = context;

	(void)a;
	if (p->dropping || p->write_result < 0)
		return (la_ssize_t)len;
	p->write_result = p->wait ? wait_check(p->wait, &p->write_err) : 0;
	if (p->write_result == 0)
		p->write_result = p->write(p->context, data, len, &p->write_err);
	return (la_ssize_t)len;
}

static int pack_error(struct packing *p, const char *what, struct err *err)
{
	if (p->write_result < 0) {
		if (err)
			*err = p->write_err;
		return p->write_result;
	}
	const char *text = archive_error_string(p->archive);
	return err_set(err, ERR_IO, "pack '%s': %s", what, text ? text : "libarchive failed");
}

static int processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return MAX(1, MIN(n, PACK_MAX_THREADS));
}

static int pack_open(struct packing *p, enum archive_compression compression, struct err *err)
{
	struct archive *a = p->archive;
	int r = archive_write_set_format_pax_restricted(a);

	if (r == ARCHIVE_OK && compression == ARCHIVE_GZIP)
		r = archive_write_add_filter_gzip(a);
	if (r == ARCHIVE_OK && (compression == ARCHIVE_ZSTD || compression == ARCHIVE_ZSTD_FAST)) {
		char threads[8];
		snprintf(threads, sizeof(threads), "%d", processors());
		r = archive_write_add_filter_zstd(a);
		if (r == ARCHIVE_OK)
			r = archive_write_set_filter_option(a, "zstd", "compression-level",
			                                    compression == ARCHIVE_ZSTD ? "3" : "1");
		/* A libzstd without threads refuses the option but still packs. */
		if (r == ARCHIVE_OK)
			archive_write_set_filter_option(a, "zstd", "threads", threads);
	}
	if (r == ARCHIVE_OK)
		r = archive_write_set_bytes_per_block(a, PACK_BLOCK);
	if (r == ARCHIVE_OK)
		r = archive_write_set_bytes_in_last_block(a, 1);
	if (r == ARCHIVE_OK)
		r = archive_write_open2(a, p, NULL, give_on, NULL, NULL);
	return r == ARCHIVE_OK ? 0 : pack_error(p, "the archive", err);
}

static int changed(const char *path, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "'%s' changed while it was packed", path);
}

static ssize_t read_some(int fd, char *buffer, size_t len)
{
	ssize_t n;

	do
		n = read(fd, buffer, len);
	while (n < 0 && errno == EINTR);
	return n;
}

static int pack_data(struct packing *p, const struct tree_entry *e, const char *data, size_t len, struct err *err)
{
	if (archive_write_data(p->archive, data, len) != (la_ssize_t)len || p->write_result < 0)
		return pack_error(p, e->path, err);
	if (p->packed)
		*p->packed += (int64_t)len;
	return 0;
}

static int pack_header(struct packing *p, const struct tree_entry *e, struct err *err)
{
	struct archive_entry *h = p->entry;

	archive_entry_clear(h);
	archive_entry_set_pathname(h, e->path);
	archive_entry_set_mode(h, (e->mode & S_IFMT) | (e->mode & 0777));
	archive_entry_set_mtime(h, (time_t)(e->mtime_ns / 1000000000), 0);
	if (S_ISLNK(e->mode))
		archive_entry_set_symlink(h, e->link);
	archive_entry_set_size(h, S_ISREG(e->mode) ? e->size : 0);
	return archive_write_header(p->archive, h) == ARCHIVE_OK && p->write_result == 0 ? 0
	                                                                                 : pack_error(p, e->path, err);
}

/* The packed content must be the digested content: it is if size and time are the same. */
static int pack_file(struct packing *p, int fd, const struct tree_entry *e, struct err *err)
{
	int64_t left = e->size;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at '%s'", e->path);
	if (!S_ISREG(st.st_mode) || st.st_size != e->size ||
	    e->mtime_ns != (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec)
		return changed(e->path, err);
	int r = pack_header(p, e, err);
	while (left > 0 && r == 0) {
		ssize_t n = read_some(fd, p->buffer, (size_t)MIN(left, (int64_t)PACK_BUFFER));
		if (n < 0)
			return err_errno(err, errno, "read '%s'", e->path);
		if (n == 0)
			return changed(e->path, err);
		r = pack_data(p, e, p->buffer, (size_t)n, err);
		left -= n;
	}
	return r;
}

static int refuse_name(const struct tree_entry *e, struct err *err)
{
	_cleanup_(str_done) struct str shown = STR_INIT(ERR_FRAME_SIZE);

	str_append_safe(&shown, e->path, MIN(strlen(e->path), (size_t)100));
	int r = err_set(err, ERR_INVALID, "the name '%s' is not UTF-8", str_peek(&shown));
	return err_hint(err, r, "rename it or exclude it");
}

static int pack_entry(struct packing *p, const struct tree_entry *e, struct err *err)
{
	if (!str_is_utf8(e->path, strlen(e->path)) || (e->link && !str_is_utf8(e->link, strlen(e->link))))
		return refuse_name(e, err);
	if (!S_ISREG(e->mode))
		return pack_header(p, e, err);
	if (e->content) {
		int r = pack_header(p, e, err);
		return r < 0 ? r : pack_data(p, e, e->content, (size_t)e->size, err);
	}
	_cleanup_close_ int fd = tree_open(&p->opener, e->path, err);
	if (fd < 0)
		return fd == ERR_NOT_FOUND ? changed(e->path, err) : fd;
	return pack_file(p, fd, e, err);
}

static int pack_all(struct packing *p, const struct tree *tree, const size_t *only, size_t only_count, struct err *err)
{
	size_t count = only ? only_count : tree->count;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		if (p->wait && (p->seen++ % PACK_CHECK_EVERY) == 0)
			r = wait_check(p->wait, err);
		if (r == 0)
			r = pack_entry(p, &tree->entries[only ? only[i] : i], err);
	}
	if (r == 0 && (archive_write_close(p->archive) != ARCHIVE_OK || p->write_result < 0))
		r = pack_error(p, "the archive's end", err);
	return r;
}

int archive_pack(int dirfd, const struct tree *tree, const size_t *only, size_t only_count,
                 enum archive_compression compression, archive_write_fn write, void *context, int64_t *packed,
                 struct wait *w, struct err *err)
{
	_cleanup_(archive_locale_leave) _unused_ struct archive_locale locale = archive_locale_enter();
	_cleanup_free_ char *buffer = xmalloc(PACK_BUFFER);
	struct packing p = {.opener = TREE_OPENER_INIT(dirfd),
	                    .wait = w,
	                    .write = write,
	                    .context = context,
	                    .buffer = buffer,
	                    .packed = packed};

	p.archive = archive_write_new();
	p.entry = archive_entry_new();
	if (!p.archive || !p.entry)
		abort(); /* no memory */
	int r = pack_open(&p, compression, err);
	if (r == 0)
		r = pack_all(&p, tree, only, only_count, err);
	p.dropping = r < 0;
	tree_opener_done(&p.opener);
	archive_entry_free(p.entry);
	archive_write_free(p.archive);
	return r;
}
