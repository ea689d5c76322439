/* The logs of a run as one ZIP archive: a file a job, and below the job's name a file a step. */
#include "agent/forge/services_priv.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 << 10, NAME_BYTES_MAX = 200 };

/* A name that no unpacking program takes for a path. free() */
static char *plain(const char *name)
{
	_cleanup_(str_done) struct str out = STR_INIT(NAME_BYTES_MAX + 8);
	size_t len = str_whole_characters(name, MIN(strlen(name), (size_t)NAME_BYTES_MAX)), unseen;
	unsigned code;
	for (size_t i = 0; i < len; i += MAX(unseen, (size_t)1)) {
		unseen = str_unseen(name + i, len - i, &code);
		if (unseen == 0 && strchr("/\\:*?\"<>|", name[i]) == NULL)
			str_append_c(&out, name[i]);
	}
	if (out.len == 0 || strcmp(out.data, ".") == 0 || strcmp(out.data, "..") == 0) {
		str_clear(&out);
		str_append_c(&out, '_');
	}
	return str_take(&out);
}

static void add(struct log_entries *to, const struct forge_blob *b, char *path)
{
	if (b == NULL || !b->registered) {
		free(path);
		return;
	}
	to->items = xgrow(to->items, &to->cap, to->count + 1, sizeof(*to->items));
	to->items[to->count++] = (struct log_entry){path, b};
}

void log_entries_done(struct log_entries *e)
{
	for (size_t i = 0; i < e->count; i++)
		free(e->items[i].path);
	free(e->items);
}

void log_archive_entries(struct forge *f, const struct forge_run *run, struct log_entries *entries)
{
	json_t *step;
	const char *id;
	for (size_t i = 0; i < run->job_count; i++) {
		const struct forge_job *job = run->jobs[i];
		_cleanup_free_ char *name = plain(job->name);
		add(entries, forge_blob_find(f, job, BLOB_JOB_LOG, ""), xasprintf("%zu_%s.txt", i, name));
		json_object_foreach(job->steps, id, step)
		{
			const char *given = json_get_string(step, "name");
			_cleanup_free_ char *own = plain(given != NULL ? given : "");
			add(entries, forge_blob_find(f, job, BLOB_STEP_LOG, id),
			    xasprintf("%s/%lld_%s.txt", name, (long long)json_get_int(step, "number", 0), own));
		}
	}
}

static bool write_entry(struct archive *a, const char *path, const struct forge_blob *b)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname_utf8(e, path);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)b->len);
	bool good = archive_write_header(a, e) == ARCHIVE_OK;
	for (size_t at = 0; good && at < b->len;) {
		ssize_t n = pread(b->fd, piece, MIN((size_t)PIECE, b->len - at), (off_t)at);
		good = n > 0 && archive_write_data(a, piece, (size_t)n) == n;
		at += n > 0 ? (size_t)n : 0;
	}
	archive_entry_free(e);
	return good;
}

bool log_archive_write(const struct log_entries *entries, struct storage_blob *to)
{
	struct archive *a = archive_write_new();
	to->fd = forge_blob_file();
	bool good = to->fd >= 0 && archive_write_set_format_zip(a) == ARCHIVE_OK &&
	            archive_write_set_options(a, "hdrcharset=UTF-8") == ARCHIVE_OK &&
	            archive_write_open_fd(a, to->fd) == ARCHIVE_OK;
	for (size_t i = 0; good && i < entries->count; i++)
		good = write_entry(a, entries->items[i].path, entries->items[i].blob);
	good = archive_write_close(a) == ARCHIVE_OK && good;
	archive_write_free(a);
	struct stat st;
	if (!good || fstat(to->fd, &st) < 0)
		return false;
	storage_take_file(to, st.st_size, "application/zip");
	return true;
}
