#include "base/git/partial.h"
#include "base/git/tree_size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/core/log.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/git/ssh.h"
#include "base/git/wire_priv.h"

enum { CAPABILITIES_MAX = 64 << 10, AT_ONCE = 100 * 1000, TREE_ROUNDS = 8 };

/* ---- what is noted here ---- */

/* As git reads a size: units are powers of 1024. */
static bool read_bytes(const char *text, int64_t *ret)
{
	static const char units[] = "kmg";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] != '\0' ? strchr(units, text[digits] | 0x20) : NULL;
	_cleanup_free_ char *number = xstrndup(text, digits);
	long long n;
	if (digits == 0 || !str_parse_i64(number, 0, INT64_MAX >> 30, &n) ||
	    (text[digits] != '\0' && (unit == NULL || text[digits + 1] != '\0')))
		return false;
	*ret = unit != NULL ? n << (10 * (unit - units + 1)) : n;
	return true;
}

char *git_partial_filter(const char *text)
{
	static const char blobs[] = "blob:limit=", trees[] = "tree:";
	long long n;
	int64_t bytes;
	if (strcmp(text, "blob:none") == 0)
		return xstrdup(text);
	if (str_starts(text, blobs))
		return read_bytes(text + strlen(blobs), &bytes) ? xasprintf("%s%lld", blobs, (long long)bytes) : NULL;
	return str_starts(text, trees) && str_parse_i64(text + strlen(trees), 0, INT_MAX, &n) ? xstrdup(text) : NULL;
}

bool git_partial_is(const struct git_area *a)
{
	git_config *config _cleanup_(config_freep) = NULL;
	int promisor = 0;
	return git_repository_config_snapshot(&config, a->repo) == 0 &&
	       git_config_get_bool(&promisor, config, "remote.origin.promisor") == 0 && promisor;
}

int git_partial_configure(struct git_area *a, const char *filter, struct err *err)
{
	git_config *config _cleanup_(config_freep) = NULL;
	int r = git_repository_config(&config, a->repo);
	if (r == 0)
		r = git_config_set_int32(config, "core.repositoryformatversion", 1);
	if (r == 0)
		r = git_config_set_bool(config, "remote.origin.promisor", 1);
	if (r == 0)
		r = git_config_set_string(config, "remote.origin.partialclonefilter", filter);
	return r == 0 ? 0 : git_area_error(err, r, "note the filter in the configuration of the work area");
}

static int mark(int packs, const char *pack, struct err *err)
{
	_cleanup_free_ char *name = xasprintf("%.*s.promisor", (int)(strlen(pack) - strlen(".pack")), pack);
	int fd _cleanup_close_ = openat(packs, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	return fd >= 0 || errno == EEXIST ? 0 : err_errno(err, errno, "mark the pack %s", pack);
}

int git_partial_mark(struct git_area *a, struct err *err)
{
	int packs = fs_open_beneath(a->git, "objects/pack", O_RDONLY | O_DIRECTORY, 0, err), r = 0;
	DIR *d = packs >= 0 ? fdopendir(packs) : NULL;
	const struct dirent *entry;
	if (packs < 0)
		return packs;
	if (d == NULL) {
		r = err_errno(err, errno, "list the packs");
		closep(&packs);
		return r;
	}
	while (r >= 0 && (entry = readdir(d)) != NULL)
		if (str_ends(entry->d_name, ".pack"))
			r = mark(packs, entry->d_name, err);
	closedir(d);
	return r;
}

/* ---- what the server can ---- */

struct capabilities {
	bool version2, filter;
};

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = list; *p != '\0'; p += strspn(p, " ")) {
		size_t n = strcspn(p, " \n");
		if (n == len && memcmp(p, word, len) == 0)
			return true;
		p += n + (p[n] == '\n');
	}
	return false;
}

/* "version 2", then a capability a line: "fetch=shallow wait-for-done filter". */
static int on_capability(void *context, int kind, const char *data, size_t len, struct err *err)
{
	struct capabilities *c = context;
	(void)err;
	if (kind >= 0)
		return 0;
	_cleanup_free_ char *line = xstrndup(data, len);
	if (strcmp(line, "version 2") == 0 || strcmp(line, "version 2\n") == 0)
		c->version2 = true;
	if (c->version2 && str_starts(line, "fetch="))
		c->filter = has_word(line + strlen("fetch="), "filter");
	return 0;
}

static int server_by_ssh(const struct git_remote_access *remote, bool *ret, struct err *err)
{
	struct capabilities c = {.version2 = false};
	struct pkt_reader reader = {.on_line = on_capability, .context = &c};
	int r = git_ssh_capabilities(remote->ssh, GIT_REFS_MS, &reader, remote->wait, err);
	*ret = r >= 0 && c.filter;
	if (r == ERR_UNSUPPORTED) {
		err_clear(err);
		r = 0;
	}
	return r;
}

int git_partial_server(const struct git_remote_access *remote, bool *ret, struct err *err)
{
	if (remote->ssh != NULL)
		return server_by_ssh(remote, ret, err);
	struct capabilities c = {.version2 = false};
	struct pkt_reader reader = {.line = STR_INIT(GIT_WIRE_PKT_MAX), .on_line = on_capability, .context = &c};
	struct str url _cleanup_(str_done) = STR_INIT(4096);
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(16384);
	struct http_response response _cleanup_(http_response_done) = {0};
	const char *headers[3] = {"Git-Protocol: version=2"};
	str_appendf(&url, "%s/info/refs?service=git-upload-pack", remote->url);
	if (remote->authorization != NULL) {
		str_appendf(&authorization, "Authorization: %s", remote->authorization);
		headers[1] = str_peek(&authorization);
	}
	if (url.failed || authorization.failed)
		return err_set(err, ERR_LIMIT, "the request to the git server is too long");
	struct http_request request = {.url = str_peek(&url),
	                               .headers = headers,
	                               .max_body = CAPABILITIES_MAX,
	                               .timeout_ms = GIT_REFS_MS,
	                               .retries = GIT_RETRIES};
	struct wait within = wait_within(remote->wait, GIT_REFS_MS);
	*ret = false;
	int r = http_perform(remote->http, &request, &within, &response, err);
	if (r == ERR_LIMIT) {
		/* The references of version 0, of which there may be any number. */
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return err_wrap(err, r, "ask %s what it can", remote->url);
	if (response.status != 200)
		return git_wire_refusal(&response, remote->url, err);
	r = git_wire_type(&response, "application/x-git-upload-pack-advertisement", remote->url, err);
	if (r >= 0)
		r = pkt_feed(&reader, str_peek(&response.body), response.body.len, err);
	str_done(&reader.line);
	*ret = r >= 0 && c.filter;
	return r;
}

/* ---- what is missing ---- */

static size_t missing(git_odb *odb, const struct strv *ids, const char **ret_first)
{
	size_t count = 0;
	for (size_t i = 0; i < ids->count; i++) {
		git_oid id;
		if (git_oid_fromstr(&id, ids->items[i]) == 0 && git_odb_exists(odb, &id))
			continue;
		if (count++ == 0)
			*ret_first = ids->items[i];
	}
	return count;
}

int git_partial_bring(struct git_area *a, const struct git_remote_access *remote, const struct strv *ids,
                      struct err *err)
{
	git_odb *odb _cleanup_(odb_freep) = NULL;
	const char *first = NULL;
	int r = 0;
	for (size_t from = 0; r >= 0 && from < ids->count; from += AT_ONCE) {
		struct strv part = {.items = ids->items + from, .count = MIN(ids->count - from, (size_t)AT_ONCE)};
		r = git_area_fetch_objects(a, remote, &part, err);
	}
	if (r >= 0 && ids->count > 0)
		r = git_partial_mark(a, err);
	if (r < 0)
		return err_wrap(err, r, "fetch %zu objects that a filter left out", ids->count);
	if (git_repository_odb(&odb, a->repo) != 0)
		return git_area_error(err, -1, "open the object database");
	size_t count = missing(odb, ids, &first);
	return count == 0 ? 0
	                  : err_set(err, ERR_PROTOCOL,
	                            "the git server left out objects by a filter and does not give %zu of them, as %s",
	                            count, first);
}

/* The topmost missing trees below this one, as long as no more than *left entries are looked at. What is too much is refused with the files. */
static int find_trees(struct git_area *a, git_odb *odb, const git_oid *id, int depth, size_t *left, struct strv *ret)
{
	char hex[GIT_HEX];
	git_tree *tree _cleanup_(tree_freep) = NULL;
	if (!git_odb_exists(odb, id)) {
		strv_add(ret, git_oid_tostr(hex, sizeof(hex), id));
		return 0;
	}
	if (depth > GIT_TREE_DEPTH_MAX)
		return 0;
	int r = git_tree_lookup(&tree, a->repo, id);
	for (size_t i = 0; r == 0 && *left > 0 && i < git_tree_entrycount(tree); i++) {
		const git_tree_entry *e = git_tree_entry_byindex(tree, i);
		--*left;
		if (git_tree_entry_type(e) == GIT_OBJECT_TREE)
			r = find_trees(a, odb, git_tree_entry_id(e), depth + 1, left, ret);
	}
	return r;
}

int git_partial_trees(struct git_area *a, const struct git_remote_access *remote, const char *commit, struct err *err)
{
	git_oid id;
	git_commit *object _cleanup_(commit_freep) = NULL;
	git_odb *odb _cleanup_(odb_freep) = NULL;
	int r = git_oid_fromstr(&id, commit);
	if (r == 0)
		r = git_commit_lookup(&object, a->repo, &id);
	if (r == 0)
		r = git_repository_odb(&odb, a->repo);
	if (r != 0)
		return git_area_error(err, r, "read the commit");
	/* A tree brings all below it that the server sees fit to send. */
	for (int round = 0; round < TREE_ROUNDS; round++) {
		struct strv ids _cleanup_(strv_done) = {0};
		size_t left = GIT_TREE_ENTRIES_MAX;
		r = find_trees(a, odb, git_commit_tree_id(object), 0, &left, &ids);
		if (r != 0)
			return git_area_error(err, r, "read the trees of the commit");
		if (ids.count == 0)
			return 0;
		r = git_partial_bring(a, remote, &ids, err);
		if (r < 0)
			return r;
		git_odb_refresh(odb);
	}
	return err_set(err, ERR_PROTOCOL, "the git server gives the trees of %.12s by pieces", commit);
}
