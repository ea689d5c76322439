/* Releases of repositories, from a directory (--releases): DIR/OWNER/NAME/TAG/FILE. Read only; GitHub's addresses of downloads, which lead
 * elsewhere, and the REST calls that show them. */
#include "agent/forge/rest_priv.h"
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTED_MAX = 1000, ID_DIGITS = 12 };

/* Below the directory of releases; a name that would lead out of it, or is hidden, gives NULL. free() */
static char *path_of(const struct forge *f, const char *const *names, size_t count)
{
	if (f->config.releases_dir == NULL)
		return NULL;
	char *path = xstrdup(f->config.releases_dir);
	for (size_t i = 0; i < count; i++) {
		if (names[i][0] == '.' || names[i][0] == '\0' || strchr(names[i], '/') != NULL) {
			free(path);
			return NULL;
		}
		char *longer = fs_join(path, names[i]);
		free(path);
		path = longer;
	}
	return path;
}

/* The names in a directory that are not hidden. */
static void list_names(const char *path, struct strv *out)
{
	DIR *dir = path != NULL ? opendir(path) : NULL;
	for (const struct dirent *e; dir != NULL && out->count < LISTED_MAX && (e = readdir(dir)) != NULL;)
		if (e->d_name[0] != '.')
			strv_add(out, e->d_name);
	if (dir != NULL)
		closedir(dir);
}

/* The newest first: "v1.10.0" before "v1.9.0". */
static int newest_first(const void *a, const void *b)
{
	return strverscmp(*(char *const *)b, *(char *const *)a);
}

/* A directory has no numbers: each name's stays the same as long as the name does. */
static json_int_t id_of(const struct forge_repo *repo, const char *tag, const char *file)
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *whole = xasprintf("%s/%s/%s", repo->full_name, tag, file);
	digest_of(whole, strlen(whole), hex);
	hex[ID_DIGITS] = '\0';
	return (json_int_t)strtoll(hex, NULL, 16);
}

static json_t *time_of(const struct stat *st)
{
	char time[CLOCK_TEXT_SIZE];
	clock_rfc3339((int64_t)st->st_mtime * 1000, time);
	return json_stringf("%.19sZ", time);
}

static json_t *author(void)
{
	return json_pack("{s:s, s:i, s:s}", "login", rest_actor_of(NULL), "id", 1, "type", "User");
}

/* NULL: it is no plain file. */
static json_t *asset_json(const struct forge *f, const struct forge_repo *repo, const char *tag, const char *file)
{
	const char *names[] = {repo->owner, repo->name, tag, file};
	_cleanup_free_ char *path = path_of(f, names, ARRAY_SIZE(names));
	struct stat st;
	if (path == NULL || lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return NULL;
	json_int_t id = id_of(repo, tag, file);
	return json_pack(
		"{s:I, s:o, s:s, s:s, s:s, s:s, s:I, s:i, s:o, s:o, s:o, s:o, s:o}", "id", id, "node_id",
		json_stringf("RA_%lld", (long long)id), "name", file, "label", "", "state", "uploaded", "content_type",
		"application/octet-stream", "size", (json_int_t)st.st_size, "download_count", 0, "created_at",
		time_of(&st), "updated_at", time_of(&st), "uploader", author(), "url",
		json_stringf("%s/api/v3/repos/%s/releases/assets/%lld", f->base, repo->full_name, (long long)id),
		"browser_download_url",
		json_stringf("%s/%s/releases/download/%s/%s", f->base, repo->full_name, tag, file));
}

/* NULL: there is none of that tag. */
static json_t *release_json(const struct forge *f, const struct forge_repo *repo, const char *tag)
{
	const char *names[] = {repo->owner, repo->name, tag};
	_cleanup_free_ char *path = path_of(f, names, ARRAY_SIZE(names));
	_cleanup_(strv_done) struct strv files = {0};
	struct stat st;
	if (path == NULL || lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return NULL;
	json_t *assets = json_array();
	list_names(path, &files);
	strv_sort(&files);
	for (size_t i = 0; i < files.count; i++) {
		json_t *asset = asset_json(f, repo, tag, files.items[i]);
		if (asset != NULL)
			json_array_append_new(assets, asset);
	}
	json_int_t id = id_of(repo, tag, "");
	_cleanup_free_ char *url =
		xasprintf("%s/api/v3/repos/%s/releases/%lld", f->base, repo->full_name, (long long)id);
	return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "id", id,
	                 "node_id", json_stringf("RE_%lld", (long long)id), "tag_name", tag, "name", tag, "body", "",
	                 "target_commitish", "main", "draft", 0, "prerelease", strchr(tag, '-') != NULL, "created_at",
	                 time_of(&st), "published_at", time_of(&st), "author", author(), "url", url, "assets_url",
	                 json_stringf("%s/assets", url), "upload_url", json_stringf("%s/assets{?name,label}", url),
	                 "html_url", json_stringf("%s/%s/releases/tag/%s", f->base, repo->full_name, tag), "assets",
	                 assets);
}

/* All of the repository, the newest first. */
static json_t *releases_of(const struct forge *f, const struct forge_repo *repo)
{
	const char *names[] = {repo->owner, repo->name};
	_cleanup_free_ char *path = path_of(f, names, ARRAY_SIZE(names));
	_cleanup_(strv_done) struct strv tags = {0};
	json_t *list = json_array();
	list_names(path, &tags);
	if (tags.count > 0)
		qsort(tags.items, tags.count, sizeof(tags.items[0]), newest_first);
	for (size_t i = 0; i < tags.count; i++) {
		json_t *release = release_json(f, repo, tags.items[i]);
		if (release != NULL)
			json_array_append_new(list, release);
	}
	return list;
}

static void reply_one(struct req *r, json_t *release)
{
	if (release != NULL)
		req_reply_json(r, 200, release);
	else
		req_reply_error(r, 404, "Not Found");
}

/* ---- the calls ---- */

static void list_releases(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	_cleanup_json_ json_t *list = repo != NULL ? releases_of(r->f, repo) : NULL;
	if (list != NULL)
		rest_reply_page(r, list);
}

static void latest_release(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	_cleanup_json_ json_t *list = repo != NULL ? releases_of(r->f, repo) : NULL;
	size_t i;
	json_t *release, *latest = NULL;
	json_array_foreach(list, i, release) if (latest == NULL && !json_get_bool(release, "prerelease", false))
		latest = json_incref(release);
	if (list != NULL)
		reply_one(r, latest);
}

static void release_of_tag(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	if (repo != NULL)
		reply_one(r, release_json(r->f, repo, r->args[2]));
}

static void one_release(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	_cleanup_json_ json_t *list = repo != NULL ? releases_of(r->f, repo) : NULL;
	if (list != NULL)
		reply_one(r, json_incref(rest_find(list, r->args[2])));
}

static void lead_to(struct req *r, const char *repository, const char *tag, const char *file)
{
	req_reply_header(r, "Location: %s/_services/releases/%s/%s/%s", r->f->base, repository, tag, file);
	req_reply(r, 302);
}

/* What `Accept` asks for: the file, or what is known of it. */
static void one_asset(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Contents", "read", NULL);
	_cleanup_json_ json_t *list = repo != NULL ? releases_of(r->f, repo) : NULL;
	const char *accept = req_header(r, "Accept");
	size_t i;
	json_t *release;
	if (repo == NULL)
		return;
	json_array_foreach(list, i, release)
	{
		json_t *asset = rest_find(json_object_get(release, "assets"), r->args[2]);
		if (asset == NULL)
			continue;
		if (accept != NULL && strstr(accept, "application/octet-stream") != NULL)
			lead_to(r, repo->full_name, json_get_string(release, "tag_name"),
			        json_get_string(asset, "name"));
		else
			req_reply_json(r, 200, json_incref(asset));
		return;
	}
	req_reply_error(r, 404, "Not Found");
}

/* ---- downloads ---- */

/* -1: answered. */
static int open_file(struct req *r, struct stat *ret)
{
	const char *names[] = {r->args[0], r->args[1], r->args[2], r->args[3]};
	_cleanup_free_ char *path = path_of(r->f, names, ARRAY_SIZE(names));
	int fd = path != NULL ? fs_open_plain(AT_FDCWD, path, O_RDONLY, NULL) : -1;
	if (fd >= 0 && fstat(fd, ret) == 0)
		return fd;
	closep(&fd);
	req_reply_error(r, 404, "Not Found");
	return -1;
}

static void download(struct req *r)
{
	struct stat st;
	int fd = open_file(r, &st);
	if (fd < 0)
		return;
	_cleanup_free_ char *repository = xasprintf("%s/%s", r->args[0], r->args[1]);
	lead_to(r, repository, r->args[2], r->args[3]);
	closep(&fd);
}

static void send_file(struct req *r)
{
	struct stat st;
	int fd = open_file(r, &st);
	if (fd < 0)
		return;
	storage_send(r, storage_view(fd, st.st_size, "application/octet-stream"));
	closep(&fd);
}

const struct route release_routes[] = {
	{"GET", "repos/+/+/releases", list_releases, 0},
	{"GET", "repos/+/+/releases/latest", latest_release, 0},
	{"GET", "repos/+/+/releases/tags/+", release_of_tag, 0},
	{"GET", "repos/+/+/releases/assets/+", one_asset, 0},
	{"GET", "repos/+/+/releases/+", one_release, 0},
	{"GET", "+/+/releases/download/+/+", download, 0},
	{"GET", "_services/releases/+/+/+/+", send_file, 0},
	{0},
};
