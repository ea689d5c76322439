/* Environments and their reviewers; the jobs of a run that wait for a review, and what became of it. */
#include "agent/forge/rest_priv.h"

#include <string.h>
#include <strings.h>

enum { REVIEWERS_MAX = 6 };

/* Who is not known by name is a number. */
static json_t *reviewers_json(const json_t *entry)
{
	json_t *out = json_array(), *one;
	size_t i;
	json_array_foreach(json_object_get(entry, "reviewers"), i, one)
	{
		json_int_t id = json_get_int(one, "id", 0);
		json_t *login = id == 1 ? json_string("octocat") : json_stringf("user-%lld", (long long)id);
		json_array_append_new(out, json_pack("{s:O, s:{s:I, s:o, s:O}}", "type", json_object_get(one, "type"),
		                                     "reviewer", "id", id, "login", login, "type",
		                                     json_object_get(one, "type")));
	}
	return out;
}

static json_t *short_json(struct req *r, const struct forge_repo *repo, const char *name, const json_t *entry)
{
	json_int_t id = json_get_int(entry, "id", 0);
	return json_pack("{s:I, s:o, s:s, s:o, s:o}", "id", id, "node_id", json_stringf("EN_%lld", (long long)id),
	                 "name", name, "url",
	                 json_stringf("%s/api/v3/repos/%s/environments/%s", r->f->base, repo->full_name, name),
	                 "html_url", json_stringf("%s/%s/settings/environments", r->f->base, repo->full_name));
}

static json_t *environment_json(struct req *r, const struct forge_repo *repo, const char *name, const json_t *entry)
{
	json_t *out = short_json(r, repo, name, entry), *rules = json_array();
	if (json_array_size(json_object_get(entry, "reviewers")) > 0)
		json_array_append_new(rules,
		                      json_pack("{s:I, s:s, s:b, s:o}", "id", (json_int_t)json_get_int(entry, "id", 0),
		                                "type", "required_reviewers", "prevent_self_review", 0, "reviewers",
		                                reviewers_json(entry)));
	json_object_set_new(out, "protection_rules", rules);
	json_object_set_new(out, "deployment_branch_policy", json_null());
	return out;
}

void rest_list_environments(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	if (!repo)
		return;
	_cleanup_json_ json_t *list = json_array();
	const char *name;
	json_t *entry;
	json_object_foreach(repo->environments, name, entry)
	{
		environments_need(r->f, repo, name);
		json_array_append_new(list, environment_json(r, repo, name, entry));
	}
	req_reply_json(
		r, 200,
		json_pack("{s:i, s:o}", "total_count", (int)json_array_size(list), "environments", rest_page(r, list)));
}

void rest_get_environment(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	const char *name = NULL;
	json_t *entry = repo ? environments_find(repo, r->args[2], &name) : NULL;
	if (entry) {
		environments_need(r->f, repo, name);
		req_reply_json(r, 200, environment_json(r, repo, name, entry));
	} else if (repo) {
		req_reply_error(r, 404, "Not Found");
	}
}

static bool are_reviewers(const json_t *list)
{
	static const char *const types[] = {"User", "Team"};
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		if (!rest_is_one_of(json_get_string(one, "type"), types, ARRAY_SIZE(types)) ||
		    json_get_int(one, "id", 0) <= 0)
			return false;
	}
	return list == NULL || json_is_null(list) || (json_is_array(list) && json_array_size(list) <= REVIEWERS_MAX);
}

/* What is left out, or null, is as if it had never been asked for. */
void rest_put_environment(struct req *r)
{
	static const struct member members[] = {{"wait_timer", 'n', false},
	                                        {"prevent_self_review", 'n', false},
	                                        {"reviewers", 'n', false},
	                                        {"deployment_branch_policy", 'n', false}};
	struct forge_repo *repo = rest_begin(r, "Administration", "write", NULL);
	if (!repo)
		return;
	_cleanup_json_ json_t *body = r->body.len > 0 ? req_json(r) : json_object();
	if (!body)
		return;
	json_t *reviewers = json_object_get(body, "reviewers"),
	       *policy = json_object_get(body, "deployment_branch_policy");
	const char *name = r->args[2];
	if (!check_members(r, body, "an environment", members, ARRAY_SIZE(members)) || !are_reviewers(reviewers)) {
		rest_invalid(r, "Environment", "reviewers", "invalid");
		return;
	}
	if (json_get_int(body, "wait_timer", 0) != 0 || (policy != NULL && !json_is_null(policy)) ||
	    json_get_bool(body, "prevent_self_review", false)) {
		req_reply_error(r, 422, "Of an environment's rules there are only reviewers here");
		return;
	}
	if (*name == '\0' || strlen(name) > 255) {
		rest_invalid(r, "Environment", "name", "invalid");
		return;
	}
	json_t *entry = environments_need(r->f, repo, name);
	json_object_set_new(entry, "reviewers", json_is_array(reviewers) ? json_deep_copy(reviewers) : json_array());
	const char *known = name;
	environments_find(repo, name, &known);
	req_reply_json(r, 200, environment_json(r, repo, known, entry));
}

void rest_delete_environment(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Administration", "write", NULL);
	const char *name = NULL;
	if (!repo)
		return;
	if (!environments_find(repo, r->args[2], &name)) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_free_ char *gone = xstrdup(name);
	for (size_t i = 0; i < r->f->run_count; i++)
		if (r->f->runs[i]->repo == repo)
			environments_review(r->f, r->f->runs[i], gone, false, "the environment was deleted");
	json_object_del(repo->environments, gone);
	req_reply(r, 204);
}

/* ---- reviews ---- */

static bool waits(const struct forge_run *run, const char *name)
{
	for (size_t i = 0; i < run->job_count; i++)
		if (environments_is_reviewed(run->jobs[i], name))
			return true;
	return false;
}

void rest_list_pending(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (!run)
		return;
	bool admin = token_identify(r, "Bearer token Basic").admin;
	json_t *out = json_array(), *entry;
	const char *name;
	json_object_foreach(repo->environments, name, entry) if (waits(run, name)) json_array_append_new(
		out, json_pack("{s:o, s:i, s:n, s:b, s:o}", "environment", short_json(r, repo, name, entry),
	                       "wait_timer", 0, "wait_timer_started_at", "current_user_can_approve", admin, "reviewers",
	                       reviewers_json(entry)));
	req_reply_json(r, 200, out);
}

/* The environment of that number, where jobs of the run wait for it; NULL: none. */
static const char *pending_name(const struct forge_run *run, const json_t *id)
{
	const char *name;
	json_t *entry;
	json_object_foreach(run->repo->environments, name, entry) if (json_is_integer(id) &&
	                                                              json_equal(json_object_get(entry, "id"), id) &&
	                                                              waits(run, name)) return name;
	return NULL;
}

static json_t *note_deployment(struct req *r, struct forge_run *run, const char *name)
{
	json_t *d = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}}", "sha", run->sha, "ref", run->ref, "task", "deploy",
	                      "environment", name, "description", "", "payload");
	rest_add_common(r, d, NULL);
	json_object_set(d, "creator", json_object_get(d, "user"));
	json_object_del(d, "user");
	json_object_set_new(d, "url",
	                    json_stringf("%s/api/v3/repos/%s/deployments/%lld", r->f->base, run->repo->full_name,
	                                 (long long)json_get_int(d, "id", 0)));
	json_object_set_new(d, "statuses_url", json_stringf("%s/statuses", json_get_string(d, "url")));
	json_array_append(run->repo->deployments, d);
	return d;
}

static void review(struct req *r, struct forge_run *run, const json_t *ids, bool approved, const char *comment)
{
	json_t *deployments = json_array(), *environments = json_array(), *id;
	size_t i;
	json_array_foreach((json_t *)(uintptr_t)ids, i, id)
	{
		_cleanup_free_ char *name = xstrdup(pending_name(run, id));
		const char *known;
		json_array_append_new(environments,
		                      short_json(r, run->repo, name, environments_find(run->repo, name, &known)));
		json_array_append_new(deployments, note_deployment(r, run, name));
		environments_review(r->f, run, name, approved, comment);
	}
	json_array_append_new(run->reviews,
	                      json_pack("{s:s, s:s, s:o, s:{s:s, s:i, s:s}}", "state",
	                                approved ? "approved" : "rejected", "comment", comment, "environments",
	                                environments, "user", "login", rest_actor_of(NULL), "id", 1, "type", "User"));
	req_reply_json(r, 200, deployments);
}

static bool all_wait(const struct forge_run *run, const json_t *ids)
{
	size_t i, j;
	json_t *id;
	json_array_foreach((json_t *)(uintptr_t)ids, i, id)
	{
		if (pending_name(run, id) == NULL)
			return false;
		for (j = 0; j < i; j++)
			if (json_equal(json_array_get(ids, j), id))
				return false;
	}
	return json_array_size(ids) > 0;
}

/* A person's: neither a job nor an App reviews what it deploys. */
void rest_review(struct req *r)
{
	static const struct member members[] = {
		{"environment_ids", 'a', true}, {"state", 'S', true}, {"comment", 's', true}};
	static const char *const states[] = {"approved", "rejected"};
	struct forge_repo *repo = rest_begin(r, "Deployments", "write", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	_cleanup_json_ json_t *body = run ? req_json(r) : NULL;
	if (!body)
		return;
	const char *state = json_get_string(body, "state");
	json_t *ids = json_object_get(body, "environment_ids");
	if (!token_identify(r, "Bearer token Basic").admin)
		req_reply_error(r, 403, "Resource not accessible by integration");
	else if (!check_members(r, body, "a review", members, ARRAY_SIZE(members)) ||
	         !rest_is_one_of(state, states, ARRAY_SIZE(states)))
		rest_invalid(r, "PendingDeployment", "state", "invalid");
	else if (!all_wait(run, ids))
		req_reply_error(r, 422, "There are no pending deployment requests to approve or reject");
	else
		review(r, run, ids, strcmp(state, "approved") == 0, json_get_string(body, "comment"));
}

void rest_list_reviews(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Actions", "read", NULL);
	struct forge_run *run = repo ? rest_need_run(r, repo) : NULL;
	if (run)
		req_reply_json(r, 200, json_incref(run->reviews));
}
