/* Statuses of commits, and check runs. */
#include "agent/forge/rest_priv.h"

#include <string.h>

enum { ANNOTATIONS_MAX = 50, ANNOTATION_TITLE_MAX = 255, OUTPUT_MAX = 65535 };

void rest_create_status(struct req *r)
{
	static const struct member members[] = {
		{"state", 'S', true}, {"target_url", 'n', false}, {"description", 'n', false}, {"context", 's', false}};
	static const char *const states[] = {"error", "failure", "pending", "success"};
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Statuses", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	if (!check_members(r, body, "a status", members, ARRAY_SIZE(members)) ||
	    !rest_is_one_of(json_get_string(body, "state"), states, ARRAY_SIZE(states))) {
		rest_invalid(r, "Status", "state", "invalid");
		return;
	}
	_cleanup_free_ char *sha = forge_repo_commit(repo, r->args[2]);
	if (!sha) {
		req_reply_error(r, 422, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	json_t *status = json_deep_copy(body);
	rest_add_common(r, status, job);
	json_object_set_new(status, "sha", json_string(sha));
	if (!json_object_get(status, "context"))
		json_object_set_new(status, "context", json_string("default"));
	json_array_append_new(repo->statuses, status);
	req_reply_json(r, 201, json_incref(status));
}

/* The members that GitHub answers and a sender does not give. */
static void complete_check_run(struct req *r, const struct forge_repo *repo, json_t *run, const struct forge_job *job)
{
	rest_add_common(r, run, job);
	long long id = json_get_int(run, "id", 0);
	json_object_del(run, "user");
	json_object_set_new(run, "app", json_pack("{s:i, s:s}", "id", 15368, "slug", "github-actions"));
	json_object_set_new(run, "url",
	                    json_stringf("%s/api/v3/repos/%s/check-runs/%lld", r->f->base, repo->full_name, id));
	json_object_set_new(run, "html_url", json_stringf("%s/%s/runs/%lld", r->f->base, repo->full_name, id));
	if (!json_object_get(run, "status"))
		json_object_set_new(run, "status", json_string("queued"));
	static const char *const others[] = {"conclusion", "details_url", "external_id", "started_at", "completed_at"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!json_object_get(run, others[i]))
			json_object_set_new(run, others[i], json_null());
	if (!json_object_get(run, "output"))
		json_object_set_new(
			run, "output",
			json_pack("{s:n, s:n, s:n, s:i}", "title", "summary", "text", "annotations_count", 0));
	json_object_set_new(run, "check_suite", json_null());
	json_object_set_new(run, "pull_requests", json_array());
}

/* The first member that is not as it must be; NULL. */
static const char *fault_of_annotation(struct req *r, const json_t *annotation)
{
	static const struct member members[] = {
		{"path", 'S', true},          {"start_line", 'i', true},  {"end_line", 'i', true},
		{"start_column", 'i', false}, {"end_column", 'i', false}, {"annotation_level", 'S', true},
		{"message", 'S', true},       {"title", 's', false},      {"raw_details", 's', false}};
	static const char *const levels[] = {"notice", "warning", "failure"};
	if (!check_members(r, annotation, "an annotation", members, ARRAY_SIZE(members)))
		return "output.annotations";
	if (!rest_is_one_of(json_get_string(annotation, "annotation_level"), levels, ARRAY_SIZE(levels)))
		return "output.annotations.annotation_level";
	if (json_get_int(annotation, "start_line", 0) < 1 ||
	    json_get_int(annotation, "end_line", 0) < json_get_int(annotation, "start_line", 0))
		return "output.annotations.start_line";
	if (json_string_length(json_object_get(annotation, "title")) > ANNOTATION_TITLE_MAX ||
	    json_string_length(json_object_get(annotation, "message")) > OUTPUT_MAX)
		return "output.annotations.message";
	return NULL;
}

static const char *fault_of_output(struct req *r, const json_t *output)
{
	static const struct member members[] = {{"title", 'S', true},
	                                        {"summary", 'S', true},
	                                        {"text", 's', false},
	                                        {"annotations", 'a', false},
	                                        {"images", 'a', false}};
	const json_t *annotations = json_object_get(output, "annotations");
	const char *fault = NULL;
	if (!check_members(r, output, "the output of a check run", members, ARRAY_SIZE(members)))
		return "output";
	if (json_string_length(json_object_get(output, "summary")) > OUTPUT_MAX)
		return "output.summary";
	if (json_string_length(json_object_get(output, "text")) > OUTPUT_MAX)
		return "output.text";
	if (json_array_size(annotations) > ANNOTATIONS_MAX)
		return "output.annotations";
	for (size_t i = 0; !fault && i < json_array_size(annotations); i++)
		fault = fault_of_annotation(r, json_array_get(annotations, i));
	return fault;
}

static const char *fault_of_check_run(struct req *r, const json_t *body, bool creating)
{
	static const struct member members[] = {{"name", 'S', false},        {"head_sha", 'S', false},
	                                        {"details_url", 's', false}, {"external_id", 's', false},
	                                        {"status", 'S', false},      {"started_at", 't', false},
	                                        {"conclusion", 'S', false},  {"completed_at", 't', false},
	                                        {"output", 'o', false},      {"actions", 'a', false}};
	static const char *const statuses[] = {"queued", "in_progress", "completed"};
	static const char *const conclusions[] = {"action_required", "cancelled", "failure",  "neutral",
	                                          "success",         "skipped",   "timed_out"};
	const char *status = json_get_string(body, "status"), *conclusion = json_get_string(body, "conclusion");
	const json_t *output = json_object_get(body, "output");
	if (!check_members(r, body, "a check run", members, ARRAY_SIZE(members)))
		return "body";
	if (creating && !json_get_string(body, "name"))
		return "name";
	if (creating && !json_get_string(body, "head_sha"))
		return "head_sha";
	if (status && !rest_is_one_of(status, statuses, ARRAY_SIZE(statuses)))
		return "status";
	if (conclusion && !rest_is_one_of(conclusion, conclusions, ARRAY_SIZE(conclusions)))
		return "conclusion";
	if (!conclusion && status && strcmp(status, "completed") == 0)
		return "conclusion";
	return output ? fault_of_output(r, output) : NULL;
}

/* Annotations are added to those of before; what else the output has is replaced. */
static void take_output(json_t *run, const json_t *output)
{
	json_t *kept = json_object_get(run, "annotations");
	_cleanup_json_ json_t *own = json_deep_copy(output);
	if (!kept)
		json_object_set_new(run, "annotations", kept = json_array());
	json_array_extend(kept, json_object_get(own, "annotations"));
	json_object_del(own, "annotations");
	json_object_set_new(own, "annotations_count", json_integer((json_int_t)json_array_size(kept)));
	json_object_set(run, "output", own);
}

static void take_check_run(json_t *run, const json_t *body)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)body, key, value)
	{
		if (strcmp(key, "output") == 0)
			take_output(run, value);
		else
			json_object_set(run, key, value);
	}
	if (json_get_string(body, "conclusion"))
		json_object_set_new(run, "status", json_string("completed"));
}

/* As it is answered: the annotations are asked for by themselves. */
static json_t *shown_check_run(const json_t *run)
{
	json_t *out = json_copy((json_t *)(uintptr_t)run);
	json_object_del(out, "annotations");
	return out;
}

void rest_create_check_run(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Checks", "write", &job);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	const char *fault = fault_of_check_run(r, body, true);
	if (fault) {
		rest_invalid(r, "CheckRun", fault, "missing or invalid");
		return;
	}
	_cleanup_free_ char *sha = forge_repo_commit(repo, json_get_string(body, "head_sha"));
	if (!sha) {
		req_reply_error(r, 422, "No commit found for SHA: %s", json_get_string(body, "head_sha"));
		return;
	}
	json_t *run = json_object();
	take_check_run(run, body);
	complete_check_run(r, repo, run, job);
	json_array_append_new(repo->check_runs, run);
	req_reply_json(r, 201, shown_check_run(run));
}

void rest_change_check_run(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Checks", "write", NULL);
	_cleanup_json_ json_t *body = repo ? req_json(r) : NULL;
	if (!body)
		return;
	json_t *run = rest_find(repo->check_runs, r->args[2]);
	const char *fault = run ? fault_of_check_run(r, body, false) : NULL;
	if (!run) {
		req_reply_error(r, 404, "Not Found");
	} else if (fault) {
		rest_invalid(r, "CheckRun", fault, "missing or invalid");
	} else {
		take_check_run(run, body);
		req_reply_json(r, 200, shown_check_run(run));
	}
}

void rest_list_annotations(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Checks", "read", NULL);
	if (!repo)
		return;
	const json_t *run = rest_find(repo->check_runs, r->args[2]);
	const struct forge_job *job = run ? NULL : rest_need_job(r, repo); /* a job is a check run of its own */
	if (!run && !job)
		return;
	const json_t *given = run ? json_object_get(run, "annotations") : NULL;
	_cleanup_json_ json_t *annotations = job     ? rest_job_annotations(job)
	                                     : given ? json_incref((json_t *)(uintptr_t)given)
	                                             : json_array();
	rest_reply_page(r, annotations);
}

void rest_list_check_runs(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Checks", "read", NULL);
	_cleanup_free_ char *sha = repo ? forge_repo_commit(repo, r->args[2]) : NULL;
	const char *name = req_query(r, "check_name");
	_cleanup_json_ json_t *out = json_array();
	if (!repo)
		return;
	if (!sha) {
		req_reply_error(r, 422, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	for (size_t i = json_array_size(repo->check_runs); i-- > 0;) {
		const json_t *run = json_array_get(repo->check_runs, i);
		const char *own = json_get_string(run, "name"), *head = json_get_string(run, "head_sha");
		if (strcmp(head, sha) == 0 && (!name || strcmp(own, name) == 0))
			json_array_append_new(out, shown_check_run(run));
	}
	req_reply_json(
		r, 200,
		json_pack("{s:i, s:o}", "total_count", (int)json_array_size(out), "check_runs", rest_page(r, out)));
}
