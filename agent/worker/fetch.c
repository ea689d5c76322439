/* fetch: the archive of an action's repository, from the cache or from where the service says, unpacked. A process of its own unpacks
 * it (davit-step), since what it reads is foreign and this one holds the job's secrets. */
#include "agent/worker/worker_priv.h"

#include "agent/actions/cache.h"
#include "agent/service/registration.h"
#include "agent/service/wire.h"
#include "agent/worker/message.h"
#include "base/core/rand.h"
#include "base/net/http.h"
#include "base/secret/base64.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	DOWNLOAD_TRIES = 3,
	DOWNLOAD_MS = 20 * 60 * 1000,
	UNPACK_MS = 11 * 60 * 1000,
	MESSAGE_MAX = 4096,
	AUTHORIZATION_MAX = 16 << 10,
};
#define CACHE_MAX ((int64_t)4 << 30)

/* ---- download ---- */

struct sink {
	int fd;
	int64_t bytes;
};

static int take_bytes(void *context, const void *data, size_t len, struct err *err)
{
	struct sink *s = context;
	if ((int64_t)len > CACHE_ARCHIVE_MAX - s->bytes)
		return err_set(err, ERR_LIMIT, "the archive is larger than %d MiB", CACHE_ARCHIVE_MAX >> 20);
	s->bytes += (int64_t)len;
	return fs_write_all(s->fd, data, len, err);
}

/* The token is the service's for this archive, else the job's. Both forms are secrets. */
static void authorization(struct job *j, const json_t *info, const char *url, struct str *line)
{
	const char *token = wire_string(wire_get(info, "authentication"), "token"), *host = strstr(url, "://");
	bool bearer = message_flag(j->message, "actions_use_bearer_token_for_codeload", false) && host != NULL &&
	              (str_starts(host + 3, "codeload.") || strstr(host + 3, "/_codeload/") != NULL);
	if (token != NULL)
		mask_add(j->mask, token, strlen(token));
	else
		token = json_get_string(j->github, "token");
	if (token == NULL || token[0] == '\0')
		return;
	_cleanup_(str_done) struct str plain = STR_SECRET_INIT(AUTHORIZATION_MAX),
				       coded = STR_SECRET_INIT(AUTHORIZATION_MAX);
	str_appendf(&plain, "x-access-token:%s", token);
	base64_encode(str_peek(&plain), plain.len, &coded);
	mask_add(j->mask, str_peek(&coded), coded.len);
	str_appendf(line, "Authorization: %s %s", bearer ? "Bearer" : "Basic", bearer ? token : str_peek(&coded));
}

/* 404 and 403 are final. */
static int download_once(struct job *j, const json_t *info, const char *url, int fd, bool *ret_again, struct err *err)
{
	_cleanup_(str_done) struct str line = STR_SECRET_INIT(AUTHORIZATION_MAX);
	struct sink sink = {.fd = fd};
	struct http_response response = {0};
	authorization(j, info, url, &line);
	const char *headers[] = {line.len > 0 ? str_peek(&line) : NULL, NULL};
	struct http_request request = {.url = url,
	                               .headers = headers,
	                               .timeout_ms = DOWNLOAD_MS,
	                               .follow = true,
	                               .on_body = take_bytes,
	                               .context = &sink};
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "write the archive");
	int r = job_call(j, &request, &response, err);
	*ret_again = r != ERR_CANCELLED && r != ERR_LIMIT && response.status != 404 && response.status != 403;
	if (r >= 0 && (response.status < 200 || response.status > 299))
		r = wire_status_error(&response, "download the archive", err);
	http_response_done(&response);
	return r;
}

static int download(struct job *j, struct record *r, const json_t *info, int fd, struct err *err)
{
	const char *url = wire_string(info, "tar_url");
	if (url == NULL || (!str_starts(url, "https://") && !str_starts(url, "http://")))
		return err_set(err, ERR_PROTOCOL, "the service names no archive");
	for (int try = 1;; try++) {
		char line[1024];
		bool again = true;
		err_clear(err);
		int e = download_once(j, info, url, fd, &again, err);
		if (e >= 0 || !again || try == DOWNLOAD_TRIES)
			return e;
		int64_t pause = registration_pace(10000 + (int64_t)rand_below(20000));
		record_line(j, r, "Failed to download action. Error: %s", err_line(err, line, sizeof(line)));
		record_line(j, r, "Retrying in %lld seconds", (long long)((pause + 999) / 1000));
		e = job_pause(j, pause, err);
		if (e < 0)
			return e;
	}
}

/* ---- unpack ---- */

/* The name of the archive's one top-level directory; free(). */
static char *only_directory(int staging, struct err *err)
{
	_cleanup_free_ char *found = NULL;
	int fd = openat(staging, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0;
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		count++;
		free(found);
		found = xstrdup(e->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	struct stat st;
	if (count == 1 && fstatat(staging, found, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return TAKE(found);
	err_set(err, ERR_INVALID, "the archive does not hold one directory at its top, but %zu entries", count);
	return NULL;
}

static int run_unpacker(struct job *j, int archive, int into, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err), *number = xasprintf("%d", into);
	if (program == NULL)
		return ERR_NOT_FOUND;
	static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
	const char *argv[] = {program, "unpack-action", number, NULL};
	const int keep[] = {into, -1};
	struct proc_options o = {.argv = argv, .env = env, .stdin_fd = archive, .keep_fds = keep};
	_cleanup_(str_done) struct str said = STR_INIT(MESSAGE_MAX), safe = STR_INIT(4 * MESSAGE_MAX);
	int status = 0;
	if (lseek(archive, 0, SEEK_SET) < 0)
		return err_errno(err, errno, "read the archive");
	int r = job_child(j, &o, UNPACK_MS, false, NULL, &said, &status, err);
	if (r < 0 || status == 0)
		return r;
	str_append_safe(&safe, str_peek(&said), strcspn(str_peek(&said), "\n"));
	return err_set(err, ERR_INVALID, "%s", safe.len > 0 ? str_peek(&safe) : "the archive cannot be unpacked");
}

/* Programs of the job's earlier steps may put links into its work area meanwhile. None is followed, since this process may reach more than
 * they: all of it lies beneath that area. */
static int unpack(struct job *j, int archive, const char *directory, struct err *err)
{
	static const char staging_path[] = "_actions/_new";
	_cleanup_close_ int work = open(j->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work < 0)
		return err_errno(err, errno, "open '%s'", j->work);
	int r = fs_remove_tree_beneath(work, staging_path, err);
	if (r < 0)
		return r;
	_cleanup_close_ int staging = fs_mkdirs_beneath(work, staging_path, 0755, err);
	if (staging < 0)
		return staging;
	r = run_unpacker(j, archive, staging, err);
	_cleanup_free_ char *top = r == 0 ? only_directory(staging, err) : NULL;
	_cleanup_free_ char *from = top != NULL ? fs_join(staging_path, top) : NULL,
			    *parent = xstrndup(directory, (size_t)(strrchr(directory, '/') - directory));
	if (r == 0 && top == NULL)
		r = ERR_INVALID;
	if (r == 0)
		r = fs_remove_tree_beneath(work, directory, err);
	_cleanup_close_ int made = r == 0 ? fs_mkdirs_beneath(work, parent, 0755, err) : -1;
	if (r == 0)
		r = made < 0 ? made : fs_rename_beneath(work, from, directory, 0, err);
	fs_remove_tree_beneath(work, staging_path, NULL);
	return r;
}

/* ---- the cache ---- */

static int fetch_anew(struct job *j, struct record *r, const json_t *info, int cache, const char *name,
                      const char *directory, struct err *err)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = cache_begin(cache, &temporary, err);
	int e = fd < 0 ? fd : download(j, r, info, fd, err);
	if (e >= 0)
		e = unpack(j, fd, directory, err);
	if (e >= 0)
		e = cache_keep(cache, temporary, name, CACHE_MAX, err);
	else if (temporary != NULL)
		cache_drop(cache, temporary);
	return e;
}

/* 1: unpacked; 0: there is none. One that was cut short by a power cut goes, and is fetched again. */
static int fetch_known(struct job *j, struct record *r, int cache, const char *name, const char *directory,
                       struct err *err)
{
	char line[1024];
	_cleanup_close_ int fd = cache_find(cache, name, err);
	int e = fd < 0 ? fd : unpack(j, fd, directory, err);
	if (e == 0 || e == ERR_CANCELLED)
		return e == 0 ? 1 : e;
	if (fd >= 0) {
		record_debug(j, r, "the archive in the cache is of no use: %s", err_line(err, line, sizeof(line)));
		cache_drop(cache, name);
	}
	err_clear(err);
	return 0;
}

int fetch_action(struct job *j, struct record *r, const json_t *info, const char *directory, struct err *err)
{
	const char *server = json_get_string(j->github, "server_url"), *repository = wire_string(info, "resolved_name"),
		   *commit = wire_string(info, "resolved_sha");
	_cleanup_free_ char *name = cache_name(server != NULL ? server : "", repository, commit);
	_cleanup_close_ int cache = cache_open(job_setting(j, "state_dir"), err);
	if (cache < 0)
		return cache;
	int e = fetch_known(j, r, cache, name, directory, err);
	if (e == 0)
		return fetch_anew(j, r, info, cache, name, directory, err);
	return e < 0 ? e : 0;
}
