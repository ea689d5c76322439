#include "base/git/large.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include <git2/sys/alloc.h>

enum {
	BUFFER = 256 << 10,
	ID = 20,
	FANOUT = 8,
	IDS = FANOUT + 256 * 4,
	LOOSE_HEADER_MAX = 64,
	OBJECT_HEADER_MAX = 16,
	TYPE_BLOB = 3
};

/* ---- memory ---- */

static atomic_int users;
static atomic_size_t refused;

static bool fits(size_t n)
{
	if (n <= GIT_MEMORY_MAX || atomic_load(&users) == 0)
		return true;
	atomic_store(&refused, n);
	return false;
}

static void *take(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fits(n) ? malloc(n ? n : 1) : NULL;
}

static void *take_again(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fits(n) ? realloc(p, n ? n : 1) : NULL;
}

static void give_back(void *p)
{
	free(p);
}

/* Later versions have these three only. */
#if LIBGIT2_VER_MAJOR == 1 && LIBGIT2_VER_MINOR < 7
static void *take_many(size_t count, size_t size, const char *file, int line)
{
	size_t n;
	return __builtin_mul_overflow(count, size, &n) ? NULL : take(n, file, line);
}

static void *take_zeroed(size_t count, size_t size, const char *file, int line)
{
	size_t n;
	(void)file;
	(void)line;
	return __builtin_mul_overflow(count, size, &n) || !fits(n) ? NULL : calloc(count ? count : 1, size ? size : 1);
}

static void *take_many_again(void *p, size_t count, size_t size, const char *file, int line)
{
	size_t n;
	return __builtin_mul_overflow(count, size, &n) ? NULL : take_again(p, n, file, line);
}

static char *copy_part(const char *text, size_t n, const char *file, int line)
{
	char *copy = n < SIZE_MAX ? take(n + 1, file, line) : NULL;
	if (copy == NULL)
		return NULL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}

static char *copy_text(const char *text, const char *file, int line)
{
	return copy_part(text, strlen(text), file, line);
}

static char *copy_at_most(const char *text, size_t n, const char *file, int line)
{
	return copy_part(text, strnlen(text, n), file, line);
}
#endif

void git_large_library(void)
{
	static git_allocator allocator = {
		.gmalloc = take,
		.grealloc = take_again,
		.gfree = give_back,
#if LIBGIT2_VER_MAJOR == 1 && LIBGIT2_VER_MINOR < 7
		.gcalloc = take_zeroed,
		.gmallocarray = take_many,
		.greallocarray = take_many_again,
		.gstrdup = copy_text,
		.gstrndup = copy_at_most,
		.gsubstrdup = copy_part,
#endif
	};
	git_libgit2_opts(GIT_OPT_SET_ALLOCATOR, &allocator);
}

void git_large_begin(void)
{
	atomic_fetch_add(&users, 1);
}

void git_large_end(void)
{
	atomic_fetch_sub(&users, 1);
}

size_t git_large_refused(void)
{
	return atomic_exchange(&refused, 0);
}

int git_large_error(const char *what, size_t size, struct err *err)
{
	int r = err_set(
		err, ERR_LIMIT,
		"%s: an object of %zu MiB is stored as a difference or is to be converted, and %d MiB are the most for that",
		what, size >> 20, GIT_MEMORY_MAX >> 20);
	return err_hint(
		err, r,
		"keep files of that size in Git LFS, or give them `-text -ident !working-tree-encoding` in .gitattributes");
}

/* ---- from zlib into the file ---- */

struct inflating {
	z_stream z;
	int from, to;
	off_t at;       /* of from */
	uint64_t left;  /* remaining bytes */
	bool in_header; /* of a loose object: up to a NUL */
	size_t header;
	unsigned char in[BUFFER], out[BUFFER];
};

/* Writes the inflated bytes, without a loose object's header. */
static int put(struct inflating *f, const char *path, struct err *err)
{
	const unsigned char *data = f->out;
	size_t len = sizeof(f->out) - f->z.avail_out;
	if (f->in_header) {
		const unsigned char *end = memchr(data, '\0', len);
		f->header += end ? (size_t)(end - data) + 1 : len;
		if (f->header > LOOSE_HEADER_MAX)
			return err_set(err, ERR_IO, "%s: its object is broken", path);
		f->in_header = end == NULL;
		len = end ? len - (size_t)(end + 1 - data) : 0;
		data = end ? end + 1 : data;
	}
	if (len > f->left)
		return err_set(err, ERR_IO, "%s: its object is longer than it says", path);
	f->left -= len;
	int r = fs_write_all(f->to, data, len, err);
	return r < 0 ? err_wrap(err, r, "write %s", path) : 0;
}

static int fill(struct inflating *f, const char *path, struct err *err)
{
	ssize_t n = pread(f->from, f->in, sizeof(f->in), f->at);
	if (n < 0)
		return err_errno(err, errno, "read the object of %s", path);
	if (n == 0)
		return err_set(err, ERR_IO, "%s: its object is cut", path);
	f->at += n;
	f->z.next_in = f->in;
	f->z.avail_in = (unsigned)n;
	return 0;
}

static int inflate_into(struct inflating *f, const char *path, struct wait *wait, struct err *err)
{
	int r = 0, z = Z_OK;
	while (r >= 0 && z != Z_STREAM_END) {
		r = f->z.avail_in == 0 ? fill(f, path, err) : 0;
		if (r < 0)
			break;
		f->z.next_out = f->out;
		f->z.avail_out = sizeof(f->out);
		z = inflate(&f->z, Z_NO_FLUSH);
		if (z != Z_OK && z != Z_STREAM_END)
			r = err_set(err, ERR_IO, "%s: its object is broken", path);
		if (r >= 0)
			r = put(f, path, err);
		if (r >= 0)
			r = wait_check(wait, err);
	}
	if (r >= 0 && f->left > 0)
		r = err_set(err, ERR_IO, "%s: its object is shorter than it says", path);
	return r;
}

static int write_from(int from, off_t at, bool loose, uint64_t size, int to, const char *path, struct wait *wait,
                      struct err *err)
{
	struct inflating *f = xcalloc(1, sizeof(*f));
	*f = (struct inflating){.from = from, .to = to, .at = at, .left = size, .in_header = loose};
	int r = inflateInit(&f->z) == Z_OK ? inflate_into(f, path, wait, err)
	                                   : err_set(err, ERR_IO, "no memory to inflate %s", path);
	inflateEnd(&f->z);
	free(f);
	return r;
}

/* ---- its location ---- */

static uint32_t read_32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The object's offset in the pack, by an index of version 2; -1: not in it. Source: gitformat-pack of git's documentation. */
static off_t find_in_index(const unsigned char *index, size_t len, const unsigned char *id)
{
	if (len < IDS + 2 * ID || memcmp(index, "\377tOc\0\0\0\2", 8) != 0)
		return -1;
	size_t count = read_32(index + FANOUT + 255 * 4);
	if ((len - IDS - 2 * ID) / (ID + 8) < count)
		return -1;
	size_t low = id[0] ? read_32(index + FANOUT + (id[0] - 1) * 4) : 0, high = read_32(index + FANOUT + id[0] * 4);
	if (low > high || high > count)
		return -1;
	const unsigned char *ids = index + IDS, *offsets = ids + count * (ID + 4), *large = offsets + count * 4;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(id, ids + middle * ID, ID);
		if (order == 0) {
			uint32_t offset = read_32(offsets + middle * 4);
			if (!(offset & 0x80000000U))
				return offset;
			const unsigned char *at = large + (size_t)(offset & 0x7fffffffU) * 8;
			if (at + 8 > index + len - 2 * ID || (at[0] & 0x80))
				return -1;
			return (off_t)((uint64_t)read_32(at) << 32 | read_32(at + 4));
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

static off_t look_into(int packs, const char *name, const git_oid *id)
{
	struct stat st;
	off_t at = -1;
	int fd _cleanup_close_ = fs_open_beneath(packs, name, O_RDONLY | O_NONBLOCK, 0, NULL);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return -1;
	void *index = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (index == MAP_FAILED)
		return -1;
	at = find_in_index(index, (size_t)st.st_size, id->id);
	munmap(index, (size_t)st.st_size);
	return at;
}

/* True if a whole blob of that size begins at `at`; *ret_content: offset of its content. */
static bool is_whole_blob(int pack, off_t at, uint64_t size, off_t *ret_content)
{
	unsigned char head[OBJECT_HEADER_MAX];
	ssize_t n = pread(pack, head, sizeof(head), at);
	if (n < 1 || ((head[0] >> 4) & 7) != TYPE_BLOB)
		return false;
	uint64_t said = head[0] & 15;
	unsigned shift = 4;
	ssize_t i = 1;
	for (; head[i - 1] & 128; i++, shift += 7) {
		if (i == n || shift > 53)
			return false;
		said |= (uint64_t)(head[i] & 127) << shift;
	}
	*ret_content = at + i;
	return said == size;
}

/* The pack that holds it whole; -1: none. */
static int open_pack(int git, const git_oid *id, uint64_t size, off_t *ret_content)
{
	int packs = fs_open_beneath(git, "objects/pack", O_RDONLY | O_DIRECTORY, 0, NULL), found = -1;
	DIR *d = packs >= 0 ? fdopendir(packs) : NULL;
	const struct dirent *entry;
	if (d == NULL) {
		closep(&packs);
		return -1;
	}
	while (found < 0 && (entry = readdir(d)) != NULL) {
		if (!str_ends(entry->d_name, ".idx"))
			continue;
		off_t at = look_into(packs, entry->d_name, id);
		if (at < 0)
			continue;
		_cleanup_free_ char *name =
			xasprintf("%.*s.pack", (int)(strlen(entry->d_name) - strlen(".idx")), entry->d_name);
		found = fs_open_beneath(packs, name, O_RDONLY | O_NONBLOCK, 0, NULL);
		if (found >= 0 && !is_whole_blob(found, at, size, ret_content))
			closep(&found);
	}
	closedir(d);
	return found;
}

int git_large_write(int git, const git_oid *id, uint64_t size, int fd, const char *path, struct wait *wait,
                    struct err *err)
{
	char hex[GIT_OID_HEXSZ + 1];
	off_t at = 0;
	git_oid_tostr(hex, sizeof(hex), id);
	_cleanup_free_ char *alone = xasprintf("objects/%.2s/%s", hex, hex + 2);
	int loose _cleanup_close_ = fs_open_beneath(git, alone, O_RDONLY | O_NONBLOCK, 0, NULL);
	if (loose >= 0)
		return write_from(loose, 0, true, size, fd, path, wait, err);
	int pack _cleanup_close_ = open_pack(git, id, size, &at);
	return pack < 0 ? 1 : write_from(pack, at, false, size, fd, path, wait, err);
}
