/* Artifacts and caches, as GitHub's REST calls show and delete them. */
#include "agent/forge/rest_priv.h"
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <string.h>

static json_t *time_of(int64_t ms)
{
	char time[CLOCK_TEXT_SIZE];
	clock_rfc3339(ms, time);
	return json_stringf("%.19sZ", time);
}

/* ---- artifacts ---- */

static json_t *artifact_json(struct forge *f, const struct forge_artifact *a)
{
	const struct forge_run *run = a->job->run;
	_cleanup_free_ char *url =
		xasprintf("%s/api/v3/repos/%s/actions/artifacts/%lld", f->base, run->repo->full_name, (long long)a->id);
	json_t *out = json_pack("{s:I, s:o, s:s, s:I, s:s, s:o, s:b, s:o, s:o, s:o, s:o}", "id", (json_int_t)a->id,
	                        "node_id", json_stringf("A_%lld", (long long)a->id), "name", a->name, "size_in_bytes",
	                        (json_int_t)a->blob->size, "url", url, "archive_download_url",
	                        json_stringf("%s/zip", url), "expired", 0, "digest",
	                        json_stringf("sha256:%s", a->digest), "created_at", time_of(a->created_ms),
	                        "updated_at", time_of(a->created_ms), "expires_at", time_of(a->expires_ms));
	json_object_set_new(out, "workflow_run",
	                    json_pack("{s:I, s:I, s:I, s:o, s:s}", "id", (json_int_t)run->id, "repository_id",
	                              (json_int_t)run->repo->id, "head_repository_id", (json_int_t)run->repo->id,
	                              "head_branch", rest_branch_of(run), "head_sha", run->sha));
	return out;
}

/* The newest first, as GitHub lists them. */
static void list_artifacts(struct req *r, const struct forge_repo *repo, const struct forge_run *run)
{
	const char *name = req_query(r, "name");
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = r->f->artifact_count; i-- > 0;) {
		const struct forge_artifact *a = r->f->artifacts[i];
		if (a->job->run->repo == repo && (run == NULL || a->job->run == run) && artifacts_is_there(a) &&
		    (name == NULL || strcmp(name, a->name) == 0))
			json_array_append_new(list, artifact_json(r->f, a));
	}
	req_reply_json(
		r, 200,
		json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "artifacts", rest_page(r, list)));
}

void rest_list_artifacts(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	if (repo)
		list_artifacts(r, repo, NULL);
}

void rest_list_run_artifacts(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (run)
		list_artifacts(r, repo, run);
}

static struct forge_artifact *need_artifact(struct req *r, const char *level)
{
	struct forge_repo *repo = rest_begin(r, "Actions", level, NULL);
	long long id = 0;
	if (repo == NULL)
		return NULL;
	str_parse_i64(r->args[2], 1, INT64_MAX, &id);
	for (size_t i = 0; i < r->f->artifact_count; i++) {
		struct forge_artifact *a = r->f->artifacts[i];
		if (a->id == id && a->job->run->repo == repo && artifacts_is_there(a))
			return a;
	}
	req_reply_error(r, 404, "Not Found");
	return NULL;
}

void rest_one_artifact(struct req *r)
{
	bool deletes = strcmp(r->method, "DELETE") == 0;
	struct forge_artifact *a = need_artifact(r, deletes ? "write" : "read");
	if (a == NULL)
		return;
	if (!deletes) {
		req_reply_json(r, 200, artifact_json(r->f, a));
		return;
	}
	artifacts_delete(a);
	req_reply(r, 204);
}

void rest_artifact_archive(struct req *r)
{
	const struct forge_artifact *a = need_artifact(r, "read");
	if (a == NULL)
		return;
	if (strcmp(r->args[3], "zip") != 0) {
		req_reply_error(r, 415, "The archive format is zip");
		return;
	}
	_cleanup_free_ char *url = storage_address(r->f, a->blob, false);
	req_reply_header(r, "Location: %s", url);
	req_reply(r, 302);
}

/* ---- caches ---- */

static json_t *cache_json(const struct forge_cache *c)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:I}", "id", (json_int_t)c->id, "ref", c->ref, "key", c->key,
	                 "version", c->version, "last_accessed_at", time_of(c->used_ms), "created_at",
	                 time_of(c->created_ms), "size_in_bytes", (json_int_t)c->blob->size);
}

/* whole: the key is all of it, not its beginning. */
static bool is_wanted(struct req *r, const struct forge_repo *repo, const struct forge_cache *c, bool whole)
{
	const char *key = req_query(r, "key"), *ref = req_query(r, "ref");
	return c->repo == repo && caches_is_there(c) && (ref == NULL || strcmp(ref, c->ref) == 0) &&
	       (key == NULL || (whole ? strcmp(c->key, key) == 0 : str_starts(c->key, key)));
}

void rest_list_caches(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	_cleanup_json_ json_t *list = json_array();
	if (repo == NULL)
		return;
	for (size_t i = r->f->cache_count; i-- > 0;)
		if (is_wanted(r, repo, r->f->caches[i], false))
			json_array_append_new(list, cache_json(r->f->caches[i]));
	req_reply_json(r, 200,
	               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "actions_caches",
	                         rest_page(r, list)));
}

void rest_delete_caches(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	if (repo == NULL)
		return;
	if (req_query(r, "key") == NULL) {
		rest_invalid(r, "ActionsCache", "key", "missing");
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < r->f->cache_count; i++)
		if (is_wanted(r, repo, r->f->caches[i], true)) {
			json_array_append_new(list, cache_json(r->f->caches[i]));
			caches_delete(r->f->caches[i]);
		}
	if (json_array_size(list) > 0) {
		req_reply_json(
			r, 200,
			json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "actions_caches", list));
		return;
	}
	json_decref(list);
	req_reply_error(r, 404, "Not Found");
}

void rest_delete_cache(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	long long id = 0;
	if (repo == NULL)
		return;
	str_parse_i64(r->args[2], 1, INT64_MAX, &id);
	for (size_t i = 0; i < r->f->cache_count; i++) {
		struct forge_cache *c = r->f->caches[i];
		if (c->id == id && c->repo == repo && caches_is_there(c)) {
			caches_delete(c);
			req_reply(r, 204);
			return;
		}
	}
	req_reply_error(r, 404, "Not Found");
}

void rest_cache_usage(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	json_int_t bytes = 0;
	int count = 0;
	if (repo == NULL)
		return;
	for (size_t i = 0; i < r->f->cache_count; i++)
		if (r->f->caches[i]->repo == repo && caches_is_there(r->f->caches[i])) {
			bytes += r->f->caches[i]->blob->size;
			count++;
		}
	req_reply_json(r, 200,
	               json_pack("{s:s, s:I, s:i}", "full_name", repo->full_name, "active_caches_size_in_bytes", bytes,
	                         "active_caches_count", count));
}
