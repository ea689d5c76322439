/* The cache service: a repository's caches, each of one ref, found by key, prefix and version. Those of other branches are not seen. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <string.h>

enum { KEY_BYTES_MAX = 512, KEYS_MAX = 10, UNUSED_DAYS = 7 };
static const int64_t unused_ms = (int64_t)UNUSED_DAYS * 24 * 3600 * 1000;

bool caches_is_there(const struct forge_cache *c)
{
	return c->finished && !c->deleted && c->used_ms + unused_ms > clock_wall_ms();
}

void caches_delete(struct forge_cache *c)
{
	c->deleted = true;
	storage_remove(c->blob);
}

void caches_tick(struct forge *f)
{
	for (size_t i = 0; i < f->cache_count; i++) {
		struct forge_cache *c = f->caches[i];
		bool over = c->finished ? !caches_is_there(c) : c->job->state == JOB_COMPLETED;
		if (!c->deleted && over)
			caches_delete(c);
	}
}

void caches_free(struct forge_cache *c)
{
	free(c->ref);
	free(c->key);
	free(c->version);
	free(c);
}

void caches_scopes(const struct forge_job *job, struct strv *ret)
{
	const json_t *base = json_get_object(json_get_object(job->run->payload, "pull_request"), "base");
	const char *branch = json_get_string(base, "ref");
	_cleanup_free_ char *main = forge_repo_default_branch(job->run->repo);
	_cleanup_free_ char *of_base = branch != NULL ? xasprintf("refs/heads/%s", branch) : NULL;
	_cleanup_free_ char *of_main = xasprintf("refs/heads/%s", main);
	strv_add(ret, job->run->ref);
	if (of_base != NULL && !strv_has(ret, of_base))
		strv_add(ret, of_base);
	if (!strv_has(ret, of_main))
		strv_add(ret, of_main);
}

static bool is_key(const json_t *key)
{
	size_t len = json_string_length(key);
	return len > 0 && len <= KEY_BYTES_MAX && strlen(json_string_value(key)) == len &&
	       strchr(json_string_value(key), ',') == NULL;
}

static bool is_version(const json_t *version)
{
	size_t len = json_string_length(version);
	return len > 0 && len <= 128 && strspn(json_string_value(version), "0123456789abcdefABCDEF") == len;
}

/* The job and its request's key and version, which are sane; NULL: answered. */
static struct forge_job *begin(struct req *r, const struct member *members, size_t count, json_t **ret_body)
{
	struct forge_job *job = twirp_begin(r, members, count, ret_body);
	if (job != NULL &&
	    (!is_key(json_object_get(*ret_body, "key")) || !is_version(json_object_get(*ret_body, "version")))) {
		twirp_error(r, 400, "invalid_argument",
		            "a key has 1 to %d bytes and no comma, a version is hexadecimal", KEY_BYTES_MAX);
		return NULL;
	}
	return job;
}

/* ---- saved ---- */

static struct forge_cache *find_given(struct forge *f, const struct forge_job *job, const json_t *body)
{
	for (size_t i = 0; i < f->cache_count; i++) {
		struct forge_cache *c = f->caches[i];
		if (c->repo == job->run->repo && !c->deleted && (!c->finished || caches_is_there(c)) &&
		    strcmp(c->ref, job->run->ref) == 0 && strcmp(c->key, json_get_string(body, "key")) == 0 &&
		    strcmp(c->version, json_get_string(body, "version")) == 0)
			return c;
	}
	return NULL;
}

static struct forge_cache *add(struct forge *f, struct forge_job *job, const json_t *body)
{
	struct forge_cache *c = xcalloc(1, sizeof(*c));
	*c = (struct forge_cache){.id = forge_id(f),
	                          .repo = job->run->repo,
	                          .job = job,
	                          .ref = xstrdup(job->run->ref),
	                          .key = xstrdup(json_get_string(body, "key")),
	                          .version = xstrdup(json_get_string(body, "version")),
	                          .blob = storage_new(f),
	                          .created_ms = clock_wall_ms(),
	                          .used_ms = clock_wall_ms()};
	f->caches = xgrow(f->caches, &f->cache_cap, f->cache_count + 1, sizeof(*f->caches));
	return f->caches[f->cache_count++] = c;
}

static void create_entry(struct req *r)
{
	static const struct member members[] = {{"key", 's', true}, {"version", 's', true}, {"metadata", 'o', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = begin(r, members, ARRAY_SIZE(members), &body);
	if (job == NULL)
		return;
	struct forge_cache *given = find_given(r->f, job, body);
	if (given != NULL && (given->finished || (given->job != job && given->job->state != JOB_COMPLETED))) {
		twirp_error(r, 409, "already_exists",
		            "cache entry with the same key, version, and scope already exists");
		return;
	}
	if (given != NULL)
		caches_delete(given);
	_cleanup_free_ char *url = storage_address(r->f, add(r->f, job, body)->blob, true);
	req_reply_json(r, 200, json_pack("{s:b, s:s}", "ok", 1, "signed_upload_url", url));
}

/* The least recently used of the repository that is not `keep`; *ret_sum: the bytes of all. */
static struct forge_cache *oldest(struct forge *f, const struct forge_cache *keep, int64_t *ret_sum)
{
	struct forge_cache *found = NULL;
	*ret_sum = 0;
	for (size_t i = 0; i < f->cache_count; i++) {
		struct forge_cache *c = f->caches[i];
		if (c->repo != keep->repo || c->deleted || !c->finished)
			continue;
		*ret_sum += c->blob->size;
		if (c != keep && (found == NULL || c->used_ms < found->used_ms))
			found = c;
	}
	return found;
}

static void make_room(struct forge *f, const struct forge_cache *keep)
{
	struct forge_cache *c;
	int64_t sum;
	while ((c = oldest(f, keep, &sum)) != NULL && sum > f->config.cache_bytes) {
		forge_event(f, "cache '%s' of %s makes room", c->key, c->repo->full_name);
		caches_delete(c);
	}
}

static void finalize_entry(struct req *r)
{
	static const struct member members[] = {
		{"key", 's', true}, {"version", 's', true}, {"size_bytes", 'n', false}, {"metadata", 'o', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = begin(r, members, ARRAY_SIZE(members), &body);
	if (job == NULL)
		return;
	struct forge_cache *c = find_given(r->f, job, body);
	int64_t size = 0; /* a zero is left out */
	if (c == NULL || c->job != job) {
		twirp_error(r, 404, "not_found", "this job has begun no cache with this key and version");
		return;
	}
	if (c->blob->users > 0 && !c->finished) {
		twirp_error(r, 412, "failed_precondition", "an upload of it is still going on");
		return;
	}
	if ((json_object_get(body, "size_bytes") != NULL && !twirp_number(body, "size_bytes", &size)) ||
	    size != c->blob->size || size > r->f->config.cache_bytes) {
		twirp_error(r, 400, "invalid_argument",
		            "the size is not that of what was uploaded, or more than all caches may have");
		return;
	}
	if (!c->finished)
		forge_event(r->f, "cache '%s' of %s: %lld bytes", c->key, c->repo->full_name, (long long)size);
	c->finished = c->blob->sealed = true;
	make_room(r->f, c);
	req_reply_json(r, 200, json_pack("{s:b, s:o}", "ok", 1, "entry_id", json_stringf("%lld", (long long)c->id)));
}

/* ---- restored ---- */

/* The newest of the scope whose key is, or begins with, `key`. */
static struct forge_cache *newest(struct forge *f, const struct forge_repo *repo, const char *ref, const char *version,
                                  const char *key, bool prefix)
{
	for (size_t i = f->cache_count; i-- > 0;) {
		struct forge_cache *c = f->caches[i];
		if (c->repo == repo && caches_is_there(c) && strcmp(c->ref, ref) == 0 &&
		    strcmp(c->version, version) == 0 && (prefix ? str_starts(c->key, key) : strcmp(c->key, key) == 0))
			return c;
	}
	return NULL;
}

/* Keys in their order, the whole key before those that begin with it, and all of them in one scope before the next. */
static struct forge_cache *match(struct forge *f, const struct forge_job *job, const json_t *body)
{
	const char *version = json_get_string(body, "version"), *key = json_get_string(body, "key");
	const json_t *restore = json_get_array(body, "restore_keys");
	_cleanup_(strv_done) struct strv scopes = {0};
	struct forge_cache *c = NULL;
	caches_scopes(job, &scopes);
	for (size_t s = 0; s < scopes.count && c == NULL; s++) {
		const struct forge_repo *repo = job->run->repo;
		c = newest(f, repo, scopes.items[s], version, key, false);
		if (c == NULL)
			c = newest(f, repo, scopes.items[s], version, key, true);
		for (size_t i = 0; i < json_array_size(restore) && c == NULL; i++)
			c = newest(f, repo, scopes.items[s], version, json_string_value(json_array_get(restore, i)),
			           true);
	}
	return c;
}

static bool are_keys(const json_t *list)
{
	size_t i;
	const json_t *key;
	if (json_array_size(list) >= KEYS_MAX)
		return false;
	json_array_foreach(list, i, key) if (!is_key(key)) return false;
	return true;
}

static void find_entry(struct req *r)
{
	static const struct member members[] = {
		{"key", 's', true}, {"restore_keys", 'a', false}, {"version", 's', true}, {"metadata", 'o', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = begin(r, members, ARRAY_SIZE(members), &body);
	if (job == NULL)
		return;
	if (!are_keys(json_object_get(body, "restore_keys"))) {
		twirp_error(r, 400, "invalid_argument", "restore_keys are not all keys, or more than %d in all",
		            KEYS_MAX);
		return;
	}
	struct forge_cache *c = match(r->f, job, body);
	if (c == NULL) {
		req_reply_json(r, 200,
		               json_pack("{s:b, s:s, s:s}", "ok", 0, "signed_download_url", "", "matched_key", ""));
		return;
	}
	c->used_ms = clock_wall_ms();
	_cleanup_free_ char *url = storage_address(r->f, c->blob, false);
	req_reply_json(r, 200,
	               json_pack("{s:b, s:s, s:s}", "ok", 1, "signed_download_url", url, "matched_key", c->key));
}

#define SERVICE "twirp/github.actions.results.api.v1.CacheService/"
const struct route cache_routes[] = {
	{"POST", SERVICE "CreateCacheEntry", create_entry, 0},
	{"POST", SERVICE "FinalizeCacheEntryUpload", finalize_entry, 0},
	{"POST", SERVICE "GetCacheEntryDownloadURL", find_entry, 0},
	{0},
};
