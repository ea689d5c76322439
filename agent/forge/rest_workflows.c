/* The workflows of a repository: the files of its default branch, and of runs of other ones. */
#include "agent/forge/rest_priv.h"

#include <string.h>

enum { WORKFLOW_MAX = 1 << 20 };

int64_t rest_workflow_id(struct forge *f, const struct forge_repo *repo, const char *path)
{
	_cleanup_free_ char *key = xasprintf("%s:%s", repo->full_name, path);
	int64_t id = json_get_int(f->workflow_ids, key, 0);
	if (id == 0) {
		id = forge_id(f);
		json_object_set_new(f->workflow_ids, key, json_integer(id));
	}
	return id;
}

/* As the file of that commit says; the path where it has faults. free() */
static char *name_at(const struct forge_repo *repo, const char *sha, const char *path)
{
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	if (push_read_file(repo, sha, path, &text, NULL) < 0)
		return NULL;
	workflow_read(path, str_peek(&text), text.len, &faults, &w, NULL, NULL);
	return xstrdup(w != NULL ? w->name : path);
}

static void add(struct req *r, const struct forge_repo *repo, json_t *list, const char *path, const char *name)
{
	int64_t id = rest_workflow_id(r->f, repo, path);
	size_t i;
	json_t *known;
	json_array_foreach(list, i, known) if (json_get_int(known, "id", 0) == id) return;
	json_array_append_new(
		list, json_pack("{s:I, s:o, s:s, s:s, s:s, s:o, s:o, s:s, s:s}", "id", (json_int_t)id, "node_id",
	                        json_stringf("W_%lld", (long long)id), "name", name, "path", path, "state",
	                        push_workflow_is_off(r->f, repo, path) ? "disabled_manually" : "active", "url",
	                        json_stringf("%s/api/v3/repos/%s/actions/workflows/%lld", r->f->base, repo->full_name,
	                                     (long long)id),
	                        "html_url", json_stringf("%s/%s/blob/HEAD/%s", r->f->base, repo->full_name, path),
	                        "created_at", "2026-01-01T00:00:00Z", "updated_at", "2026-01-01T00:00:00Z"));
}

static json_t *workflows_of(struct req *r, const struct forge_repo *repo)
{
	_cleanup_free_ char *branch = forge_repo_default_branch(repo), *ref = xasprintf("refs/heads/%s", branch);
	_cleanup_free_ char *sha = forge_repo_commit(repo, ref);
	_cleanup_(strv_done) struct strv paths = {0};
	json_t *list = json_array();
	if (sha != NULL)
		push_list_workflows(repo, sha, &paths);
	for (size_t i = 0; i < paths.count; i++) {
		_cleanup_free_ char *name = name_at(repo, sha, paths.items[i]);
		if (name != NULL)
			add(r, repo, list, paths.items[i], name);
	}
	for (size_t i = r->f->run_count; i-- > 0;)
		if (r->f->runs[i]->repo == repo)
			add(r, repo, list, r->f->runs[i]->path, r->f->runs[i]->name);
	return list;
}

void rest_list_workflows(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	_cleanup_json_ json_t *list = repo ? workflows_of(r, repo) : NULL;
	if (repo)
		req_reply_json(r, 200,
		               json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "workflows",
		                         rest_page(r, list)));
}

char *rest_workflow_path(struct req *r, const struct forge_repo *repo, const char *given)
{
	long long id = 0;
	const char *key;
	json_t *value;
	size_t front = strlen(repo->full_name) + 1;
	if (!str_parse_i64(given, 1, INT64_MAX, &id))
		return xasprintf(".github/workflows/%s", given);
	json_object_foreach(r->f->workflow_ids, key, value) if (json_integer_value(value) == id &&
	                                                        strncmp(key, repo->full_name, front - 1) == 0 &&
	                                                        key[front - 1] == ':') return xstrdup(key + front);
	return NULL;
}

static json_t *find(const json_t *list, const char *path)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i,
	                   one) if (strcmp(json_get_string(one, "path"), path) == 0) return one;
	return NULL;
}

void rest_get_workflow(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	_cleanup_json_ json_t *list = repo ? workflows_of(r, repo) : NULL;
	_cleanup_free_ char *path = repo ? rest_workflow_path(r, repo, r->args[2]) : NULL;
	json_t *one = path != NULL ? find(list, path) : NULL;
	if (one != NULL)
		req_reply_json(r, 200, json_incref(one));
	else if (repo)
		req_reply_error(r, 404, "Not Found");
}

/* The last word of the path says which: enable or disable. */
void rest_switch_workflow(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "write", NULL);
	_cleanup_json_ json_t *list = repo ? workflows_of(r, repo) : NULL;
	_cleanup_free_ char *path = repo ? rest_workflow_path(r, repo, r->args[2]) : NULL;
	if (!repo)
		return;
	if (path == NULL || find(list, path) == NULL) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_free_ char *key = xasprintf("%s:%s", repo->full_name, path);
	if (str_ends(r->path, "/disable"))
		json_object_set_new(r->f->workflows_off, key, json_true());
	else
		json_object_del(r->f->workflows_off, key);
	req_reply(r, 204);
}
