/* Deployments and their statuses. */
#include "agent/forge/rest_priv.h"

#include <string.h>

void rest_create_deployment(struct req *r)
{
	static const struct member members[] = {{"ref", 'S', true},
	                                        {"task", 's', false},
	                                        {"auto_merge", 'b', false},
	                                        {"required_contexts", 'n', false},
	                                        {"payload", 'n', false},
	                                        {"environment", 's', false},
	                                        {"description", 'n', false},
	                                        {"transient_environment", 'b', false},
	                                        {"production_environment", 'b', false}};
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Deployments", "write", &job);
	if (!repo)
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_members(r, body, "a deployment", members, ARRAY_SIZE(members))) {
		rest_invalid(r, "Deployment", "ref", "invalid");
		return;
	}
	_cleanup_free_ char *sha = forge_repo_commit(repo, json_get_string(body, "ref"));
	if (!sha) {
		req_reply_error(r, 422, "No ref found for: %s", json_get_string(body, "ref"));
		return;
	}
	json_t *d = json_deep_copy(body);
	json_object_del(d, "auto_merge");
	json_object_del(d, "required_contexts");
	rest_add_common(r, d, job);
	json_object_set_new(d, "sha", json_string(sha));
	json_object_set_new(d, "url",
	                    json_stringf("%s/api/v3/repos/%s/deployments/%lld", r->f->base, repo->full_name,
	                                 (long long)json_get_int(d, "id", 0)));
	json_object_set_new(d, "repository_url", json_stringf("%s/api/v3/repos/%s", r->f->base, repo->full_name));
	json_object_set(d, "creator", json_object_get(d, "user"));
	json_object_del(d, "user");
	if (!json_object_get(d, "payload"))
		json_object_set_new(d, "payload", json_string(""));
	if (!json_object_get(d, "description"))
		json_object_set_new(d, "description", json_null());
	json_object_set_new(d, "statuses_url", json_stringf("%s/statuses", json_get_string(d, "url")));
	if (!json_object_get(d, "environment"))
		json_object_set_new(d, "environment", json_string("production"));
	if (!json_object_get(d, "task"))
		json_object_set_new(d, "task", json_string("deploy"));
	if (!json_object_get(d, "production_environment"))
		json_object_set_new(d, "production_environment",
		                    json_boolean(strcmp(json_get_string(d, "environment"), "production") == 0));
	if (!json_object_get(d, "transient_environment"))
		json_object_set_new(d, "transient_environment", json_false());
	json_array_append_new(repo->deployments, d);
	req_reply_json(r, 201, json_incref(d));
}

void rest_list_deployments(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Deployments", "read", NULL);
	if (!repo)
		return;
	static const char *const filters[] = {"sha", "ref", "task", "environment"};
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = json_array_size(repo->deployments); i-- > 0;) {
		json_t *d = json_array_get(repo->deployments, i);
		bool fits = true;
		for (size_t n = 0; n < ARRAY_SIZE(filters); n++) {
			const char *wanted = req_query(r, filters[n]), *have = json_get_string(d, filters[n]);
			fits &= !wanted || (have && strcmp(wanted, have) == 0);
		}
		if (fits)
			json_array_append(out, d);
	}
	rest_reply_page(r, out);
}

void rest_get_deployment(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Deployments", "read", NULL);
	json_t *deployment = repo ? rest_find(repo->deployments, r->args[2]) : NULL;
	if (deployment)
		req_reply_json(r, 200, json_incref(deployment));
	else if (repo)
		req_reply_error(r, 404, "Not Found");
}

static json_t *add_status(struct req *r, struct forge_repo *repo, const json_t *deployment, const json_t *body,
                          const struct forge_job *job)
{
	json_t *status = json_deep_copy(body);
	json_object_del(status, "auto_inactive");
	rest_add_common(r, status, job);
	json_object_set(status, "creator", json_object_get(status, "user"));
	json_object_del(status, "user");
	json_object_set(status, "deployment_id", json_object_get(deployment, "id"));
	json_object_set(status, "deployment_url", json_object_get(deployment, "url"));
	json_object_set_new(status, "url",
	                    json_stringf("%s/%lld", json_get_string(deployment, "statuses_url"),
	                                 (long long)json_get_int(status, "id", 0)));
	json_object_set_new(status, "repository_url", json_stringf("%s/api/v3/repos/%s", r->f->base, repo->full_name));
	if (!json_object_get(status, "description"))
		json_object_set_new(status, "description", json_string(""));
	json_object_set_new(status, "target_url",
	                    json_string(json_get_string(body, "log_url") ? json_get_string(body, "log_url") : ""));
	if (!json_object_get(status, "environment"))
		json_object_set(status, "environment", json_object_get(deployment, "environment"));
	json_array_append_new(repo->deployment_statuses, status);
	return status;
}

/* What was deployed to the environment before is not active any more. */
static void end_former(struct req *r, struct forge_repo *repo, const json_t *latest, const struct forge_job *job)
{
	_cleanup_json_ json_t *inactive = json_pack("{s:s}", "state", "inactive");
	size_t i;
	json_t *d;
	json_array_foreach(repo->deployments, i, d)
	{
		if (d != latest && !json_get_bool(d, "transient_environment", false) &&
		    !json_get_bool(d, "production_environment", false) &&
		    json_equal(json_object_get(d, "environment"), json_object_get(latest, "environment")))
			add_status(r, repo, d, inactive, job);
	}
}

void rest_create_deployment_status(struct req *r)
{
	static const struct member members[] = {{"state", 'S', true},         {"log_url", 's', false},
	                                        {"target_url", 's', false},   {"description", 's', false},
	                                        {"environment", 's', false},  {"environment_url", 's', false},
	                                        {"auto_inactive", 'b', false}};
	static const char *const states[] = {"error",  "failure", "inactive", "in_progress",
	                                     "queued", "pending", "success"};
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Deployments", "write", &job);
	json_t *deployment = repo ? rest_find(repo->deployments, r->args[2]) : NULL;
	if (!repo)
		return;
	if (!deployment) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	const char *description = json_get_string(body, "description");
	if (!check_members(r, body, "a deployment status", members, ARRAY_SIZE(members)) ||
	    !rest_is_one_of(json_get_string(body, "state"), states, ARRAY_SIZE(states))) {
		rest_invalid(r, "DeploymentStatus", "state", "invalid");
		return;
	}
	if (description && strlen(description) > 140) {
		rest_invalid(r, "DeploymentStatus", "description", "too long (maximum is 140 characters)");
		return;
	}
	json_t *status = add_status(r, repo, deployment, body, job);
	if (strcmp(json_get_string(body, "state"), "success") == 0 && json_get_bool(body, "auto_inactive", true))
		end_former(r, repo, deployment, job);
	req_reply_json(r, 201, json_incref(status));
}

void rest_list_deployment_statuses(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Deployments", "read", NULL);
	json_t *deployment = repo ? rest_find(repo->deployments, r->args[2]) : NULL;
	if (!repo)
		return;
	if (!deployment) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *out = json_array();
	for (size_t i = json_array_size(repo->deployment_statuses); i-- > 0;) {
		json_t *status = json_array_get(repo->deployment_statuses, i);
		if (json_equal(json_object_get(status, "deployment_id"), json_object_get(deployment, "id")))
			json_array_append(out, status);
	}
	rest_reply_page(r, out);
}
