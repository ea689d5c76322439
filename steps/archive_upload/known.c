/* One file for each source and what is excluded from it, in the directory of the state. Whatever is wrong with it, it is as if it were not
 * there: the files are read then.
 *
 * Size and time of modification can be set back; the time of change (ctime) cannot, but for the clock's grain: what was changed just
 * before it was looked at may be changed once more without a trace. So such files are not kept, as git does it with its index. */
#include "steps/archive_upload/known.h"
#include "base/core/str.h"
#include "base/data/json.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY "digests"
enum { RECORDS_MAX = 200 * 1000, FILES_MAX = 32 };
static const int64_t settled_ns = 2 * INT64_C(1000000000); /* the coarsest clock of a file system */

struct record {
	uint64_t dev, ino;
	int64_t size, mtime_ns, ctime_ns;
	unsigned char digest[TREE_DIGEST_BYTES];
};
struct head {
	char magic[16];
	uint64_t count;
	char sum[64]; /* of the records */
};
static const char magic[16] = "davit digests 2";
enum { KNOWN_MAX = sizeof(struct head) + RECORDS_MAX * sizeof(struct record) };

static int compare_records(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static struct record record_of(const struct tree_entry *e)
{
	struct record r = {e->dev, e->ino, e->size, e->mtime_ns, e->ctime_ns, {0}};
	memcpy(r.digest, e->digest, sizeof(r.digest));
	return r;
}

static void name_of(const struct step_context *c, const char *source, char name[DIGEST_HEX])
{
	_cleanup_free_ char *input = json_canonical(c->input_json), *key = xasprintf("%s %s", source, input);
	digest_of(key, strlen(key), name);
}

static int open_directory(const struct step_context *c, bool make)
{
	const char *state = c->deployment->state_dir;
	_cleanup_close_ int dir = state ? open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0)
		return -1;
	if (make)
		mkdirat(dir, DIRECTORY, 0700);
	return openat(dir, DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Nobody else can have written it. */
static bool is_ours(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0077) == 0;
}

/* The records in `text`, or NULL. */
static const struct record *read_records(int dir, const char *name, struct str *text, size_t *ret_count)
{
	struct head head;
	char sum[DIGEST_HEX];
	_cleanup_close_ int fd = fs_open_plain(dir, name, O_RDONLY, NULL);
	if (fd < 0 || !is_ours(dir) || !is_ours(fd) || fs_read_fd(fd, name, KNOWN_MAX, text, NULL) < 0 ||
	    text->len < sizeof(head))
		return NULL;
	memcpy(&head, text->data, sizeof(head));
	const char *records = text->data + sizeof(head);
	size_t len = text->len - sizeof(head);
	digest_of(records, len, sum);
	if (memcmp(head.magic, magic, sizeof(magic)) != 0 || head.count != len / sizeof(struct record) ||
	    len % sizeof(struct record) != 0 || memcmp(head.sum, sum, sizeof(head.sum)) != 0)
		return NULL;
	*ret_count = (size_t)head.count;
	return (const struct record *)(const void *)records;
}

void upload_known_recall(const struct step_context *c, const char *source, struct tree *tree)
{
	char name[DIGEST_HEX];
	_cleanup_close_ int dir = open_directory(c, false);
	_cleanup_(str_done) struct str text = STR_INIT(KNOWN_MAX + 1);
	size_t count = 0;

	if (dir < 0)
		return;
	name_of(c, source, name);
	const struct record *records = read_records(dir, name, &text, &count);
	for (size_t i = 0; records && i < tree->count; i++) {
		struct tree_entry *e = &tree->entries[i];
		if (!S_ISREG(e->mode) || e->digest_from != TREE_DIGEST_NONE)
			continue;
		const struct record wanted = record_of(e);
		const struct record *r = bsearch(&wanted, records, count, sizeof(*r), compare_records);
		if (!r || r->size != e->size || r->mtime_ns != e->mtime_ns || r->ctime_ns != e->ctime_ns)
			continue;
		memcpy(e->digest, r->digest, sizeof(r->digest));
		e->digest_from = TREE_DIGEST_RECALLED;
	}
}

static bool is_settled(const struct tree_entry *e, int64_t looked_ns)
{
	return MAX(e->mtime_ns, e->ctime_ns) < looked_ns - settled_ns;
}

/* *ret_news: something that was not known. */
static size_t collect(const struct tree *tree, int64_t looked_ns, struct record *records, bool *ret_news)
{
	size_t count = 0;

	*ret_news = false;
	for (size_t i = 0; i < tree->count && count < RECORDS_MAX; i++) {
		const struct tree_entry *e = &tree->entries[i];
		if (!S_ISREG(e->mode) || e->digest_from <= TREE_DIGEST_GIVEN || !is_settled(e, looked_ns))
			continue;
		*ret_news |= e->digest_from == TREE_DIGEST_READ;
		records[count++] = record_of(e);
	}
	return count;
}

/* Of too many the one that was written longest ago goes. */
static void make_room(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	char oldest[256] = "";
	struct timespec oldest_time = {0};
	struct stat st;
	size_t count = 0;

	if (!d) {
		closep(&copy);
		return;
	}
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (e->d_name[0] == '.' || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (count++ == 0 || st.st_mtim.tv_sec < oldest_time.tv_sec) {
			oldest_time = st.st_mtim;
			snprintf(oldest, sizeof(oldest), "%s", e->d_name);
		}
	}
	closedir(d);
	if (count >= FILES_MAX)
		unlinkat(dir, oldest, 0);
}

void upload_known_keep(const struct step_context *c, const char *source, const struct tree *tree, int64_t looked_ns)
{
	char name[DIGEST_HEX], sum[DIGEST_HEX];
	size_t room = MIN(tree->count, (size_t)RECORDS_MAX), size = sizeof(struct head) + room * sizeof(struct record);
	bool news;
	_cleanup_free_ char *data = xcalloc(1, size);
	struct record *records = (struct record *)(void *)(data + sizeof(struct head));
	struct head head = {.count = collect(tree, looked_ns, records, &news)};

	_cleanup_close_ int dir = news ? open_directory(c, true) : -1;
	if (dir < 0 || !is_ours(dir))
		return;
	qsort(records, (size_t)head.count, sizeof(*records), compare_records);
	size = sizeof(head) + (size_t)head.count * sizeof(*records);
	digest_of(records, size - sizeof(head), sum);
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.sum, sum, sizeof(head.sum));
	memcpy(data, &head, sizeof(head));
	name_of(c, source, name);
	if (faccessat(dir, name, F_OK, 0) < 0)
		make_room(dir);
	fs_write_replace(dir, name, data, size, 0600, NULL);
}
