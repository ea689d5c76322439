/* The run service: a job is acquired, its lock renewed, its end reported; and which action a `uses:` means. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { CROSSING_MS = 5000 };

static void run_error(struct req *r, int status, const char *fmt, ...) _printf_(3, 4);
static void run_error(struct req *r, int status, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	req_reply_json(r, status,
	               json_pack("{s:s, s:i, s:o}", "source", "actions-run-service", "statusCode", status,
	                         "errorMessage", json_string_lossy(text, strlen(text))));
}

static struct forge_job *job_by_request(struct forge *f, const char *id)
{
	for (size_t i = 0; i < f->run_count; i++)
		for (size_t j = 0; j < f->runs[i]->job_count; j++)
			if (strcmp(f->runs[i]->jobs[j]->request_id, id) == 0)
				return f->runs[i]->jobs[j];
	return NULL;
}

/* True if a planted fault may have hit this call. Then a gap is not the runner's fault. */
static bool was_disturbed(const struct forge *f, const char *path)
{
	for (size_t i = 0; i < f->fault_count; i++)
		if (strstr(path, f->faults[i].path) || strstr(f->faults[i].path, path))
			return true;
	return false;
}

static void acquire_job(struct req *r)
{
	static const struct member members[] = {{"jobMessageId", 'S', true},
	                                        {"runnerOS", 'S', true},
	                                        {"billingOwnerId", 'S', false},
	                                        {"streamId", 'S', false}};
	struct forge *f = r->f;
	check_service_headers(r);
	struct forge_token *t = token_need(r, TOKEN_RUNNER);
	if (!t)
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_members(r, body, "acquirejob", members, ARRAY_SIZE(members))) {
		run_error(r, 400, "the request is not valid");
		return;
	}
	const char *os = json_get_string(body, "runnerOS"), *owner = json_get_string(body, "billingOwnerId");
	if (strcmp(os, "Linux") != 0 && strcmp(os, "macOS") != 0 && strcmp(os, "Windows") != 0)
		req_complain(r, "runnerOS must be Linux, macOS or Windows, not '%.40s'", os);
	struct forge_job *job = job_by_request(f, json_get_string(body, "jobMessageId"));
	if (!job) {
		req_complain(r, "no job was announced with this id");
		run_error(r, 404, "job not found");
		return;
	}
	_cleanup_free_ char *expected = xasprintf("U_%lld", (long long)job->run->repo->id);
	if (!owner || strcmp(owner, expected) != 0)
		req_complain(r, "billingOwnerId must be that of the message, %s", expected);
	if (job->state == JOB_COMPLETED) {
		run_error(r, job->cancelled ? 422 : 404, "job is over");
		return;
	}
	/* The same runner may ask again: the first reply may have been lost. Once it renews, it has the
	 * job. */
	if (job->runner != t->runner || (job->state == JOB_RUNNING && job->renewed) || job->state < JOB_GIVEN) {
		run_error(r, 409, "job already acquired");
		return;
	}
	if (f->config.acknowledge && !job->acknowledged && !was_disturbed(f, "acknowledge"))
		req_complain(r, "the message asked for an acknowledgement before the job is acquired; there was none");
	if (job->state != JOB_RUNNING) {
		forge_job_begin(f, job);
		forge_event(f, "job %s of run %lld acquired by %s", job->name, (long long)job->run->id,
		            t->runner->name);
	}
	job->locked_until_ms = clock_mono_ms() + f->config.lease_ms;
	req_reply_json(r, 200, json_incref(job->message));
}

/* The job of the token, if planId and jobId of the body are its; else answered. crosses: a request that another process sends may meet its
 * completion on the way. */
static struct forge_job *need_job(struct req *r, const json_t *body, bool crosses)
{
	struct forge_token *t = token_need(r, TOKEN_JOB);
	if (!t)
		return NULL;
	struct forge_job *job = t->job;
	const char *plan = json_get_string(body, "planId"), *id = json_get_string(body, "jobId");
	if (!plan || !id || strcmp(plan, job->run->plan_id) != 0 || strcmp(id, job->job_id) != 0) {
		req_complain(r, "planId and jobId are not those of the job that the token belongs to");
		run_error(r, 404, "job not found");
		return NULL;
	}
	if (job->state == JOB_COMPLETED) {
		bool crossed = crosses && clock_wall_ms() - job->completed_ms < CROSSING_MS;
		if (!job->lost && !job->cancelled && !job->answer_lost && !crossed)
			req_complain(r, "the job was completed before");
		run_error(r, 404, "job not found");
		return NULL;
	}
	return job;
}

static void renew_job(struct req *r)
{
	static const struct member members[] = {{"planId", 'g', true}, {"jobId", 'g', true}};
	check_service_headers(r);
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_members(r, body, "renewjob", members, ARRAY_SIZE(members))) {
		run_error(r, 400, "the request is not valid");
		return;
	}
	struct forge_job *job = need_job(r, body, true);
	if (!job)
		return;
	job->renewed = true;
	job->locked_until_ms = clock_mono_ms() + r->f->config.lease_ms;
	char time[CLOCK_TEXT_SIZE];
	req_reply_json(
		r, 200,
		json_pack("{s:s}", "lockedUntil", clock_rfc3339_ticks(clock_wall_ms() + r->f->config.lease_ms, time)));
}

/* ---- completion ---- */

static const struct {
	const char *wire, *rest;
} conclusions[] = {
	{"succeeded", "success"}, {"succeededWithIssues", "success"}, {"failed", "failure"}, {"canceled", "cancelled"},
	{"skipped", "skipped"},   {"abandoned", "failure"},
};

static const char *rest_conclusion(const char *wire)
{
	for (size_t i = 0; wire && i < ARRAY_SIZE(conclusions); i++)
		if (strcmp(wire, conclusions[i].wire) == 0)
			return conclusions[i].rest;
	return NULL;
}

static bool check_annotations(struct req *r, const json_t *list, const char *where)
{
	static const struct member members[] = {{"level", 'S', false},
	                                        {"message", 'S', true},
	                                        {"title", 's', false},
	                                        {"path", 's', false},
	                                        {"startLine", 'i', false},
	                                        {"endLine", 'i', false},
	                                        {"startColumn", 'i', false},
	                                        {"endColumn", 'i', false},
	                                        {"stepNumber", 'i', false},
	                                        {"rawDetails", 's', false},
	                                        {"isInfrastructureIssue", 'b', false}};
	bool good = true;
	size_t i;
	json_t *annotation;
	json_array_foreach(list, i, annotation)
	{
		_cleanup_free_ char *at = xasprintf("%s, annotation %zu", where, i + 1);
		good = check_members(r, annotation, at, members, ARRAY_SIZE(members)) && good;
		const char *level = json_get_string(annotation, "level");
		if (level && strcasecmp(level, "notice") != 0 && strcasecmp(level, "warning") != 0 &&
		    strcasecmp(level, "failure") != 0) {
			req_complain(r, "%s: level is notice, warning or failure, not '%.40s'", at, level);
			good = false;
		}
		static const char *const zeros[] = {"startLine", "endLine", "startColumn", "endColumn", "stepNumber"};
		for (size_t z = 0; z < ARRAY_SIZE(zeros); z++) {
			json_t *number = json_object_get(annotation, zeros[z]);
			if (json_is_integer(number) && json_integer_value(number) == 0)
				req_complain(r, "%s: a %s of 0 is left out", at, zeros[z]);
		}
	}
	return good;
}

static bool check_step_result(struct req *r, const json_t *step, size_t index)
{
	static const struct member members[] = {{"external_id", 'g', true},
	                                        {"number", 'i', true},
	                                        {"name", 's', true},
	                                        {"action_name", 's', false},
	                                        {"ref", 's', false},
	                                        {"type", 'S', false},
	                                        {"status", 'S', true},
	                                        {"conclusion", 'S', true},
	                                        {"started_at", 't', false},
	                                        {"completed_at", 't', false},
	                                        {"completed_log_url", 's', false},
	                                        {"completed_log_lines", 'i', false},
	                                        {"annotations", 'a', false},
	                                        {"is_background", 'b', false},
	                                        {"background_control_type", 's', false},
	                                        {"background_control_step_ids", 'a', false}};
	_cleanup_free_ char *where = xasprintf("stepResults %zu", index + 1);
	bool good = check_members(r, step, where, members, ARRAY_SIZE(members));
	const char *status = json_get_string(step, "status"), *conclusion = json_get_string(step, "conclusion");
	if (status && strcmp(status, "completed") != 0)
		req_complain(r, "%s: status must be completed, not '%.40s'", where, status);
	if (conclusion && !rest_conclusion(conclusion)) {
		req_complain(r, "%s: '%.40s' is not a conclusion", where, conclusion);
		good = false;
	}
	if (json_get_int(step, "number", 1) < 1)
		req_complain(r, "%s: numbers begin with 1", where);
	return check_annotations(r, json_object_get(step, "annotations"), where) && good;
}

static bool check_completion(struct req *r, const json_t *body)
{
	static const struct member members[] = {
		{"planId", 'g', true},          {"jobId", 'g', true},
		{"conclusion", 'S', true},      {"outputs", 'o', false},
		{"stepResults", 'a', false},    {"annotations", 'a', false},
		{"telemetry", 'a', false},      {"environmentUrl", 'S', false},
		{"billingOwnerId", 'S', false}, {"infrastructureFailureCategory", 'S', false}};
	bool good = check_members(r, body, "completejob", members, ARRAY_SIZE(members));
	const char *conclusion = json_get_string(body, "conclusion");
	if (conclusion && !rest_conclusion(conclusion)) {
		req_complain(r, "'%.40s' is not a conclusion", conclusion);
		good = false;
	}
	size_t i;
	json_t *item;
	const char *before = "";
	json_array_foreach(json_object_get(body, "stepResults"), i, item)
	{
		good = check_step_result(r, item, i) && good;
		const char *completed = json_get_string(item, "completed_at");
		if (good && completed && strcmp(completed, before) < 0)
			req_complain(r, "stepResults %zu: it ended before the one in front of it", i + 1);
		before = good && completed ? completed : before;
	}
	good = check_annotations(r, json_object_get(body, "annotations"), "the job") && good;
	const char *name;
	json_object_foreach(json_object_get(body, "outputs"), name, item)
	{
		static const struct member output[] = {{"value", 's', true}, {"isSecret", 'b', false}};
		_cleanup_free_ char *where = xasprintf("output '%s'", name);
		good = check_members(r, item, where, output, ARRAY_SIZE(output)) && good;
		const char *value = json_get_string(item, "value");
		if (value && !*value)
			req_complain(r, "%s: an empty value is left out", where);
	}
	json_array_foreach(json_object_get(body, "telemetry"), i, item)
	{
		static const struct member telemetry[] = {{"message", 's', true}, {"type", 'S', false}};
		good = check_members(r, item, "telemetry", telemetry, ARRAY_SIZE(telemetry)) && good;
	}
	return good;
}

/* The step results of completejob override those of the updates; both must give the same number and name. */
static void take_step_results(struct req *r, struct forge_job *job, const json_t *results)
{
	size_t i;
	json_t *result;
	json_array_foreach(results, i, result)
	{
		const char *id = json_get_string(result, "external_id");
		json_t *step = json_object_get(job->steps, id);
		if (!step) {
			step = json_object();
			json_object_set_new(job->steps, id, step);
			if (job->change_order && !was_disturbed(r->f, "WorkflowStepsUpdate"))
				req_complain(r, "step '%.60s' was never in an update of the steps",
				             json_get_string(result, "name"));
		} else if (json_get_int(step, "number", 0) != json_get_int(result, "number", 0)) {
			req_complain(r, "step '%.60s' had number %lld in the updates and has %lld now",
			             json_get_string(result, "name"), (long long)json_get_int(step, "number", 0),
			             (long long)json_get_int(result, "number", 0));
		}
		const char *was = json_get_string(step, "conclusion"),
			   *is = rest_conclusion(json_get_string(result, "conclusion"));
		if (was && strcmp(was, is) != 0)
			req_complain(r, "step '%.60s' was %s in the updates and is %s now",
			             json_get_string(result, "name"), was, is);
		json_object_set_new(step, "reported", json_true());
		json_object_set(step, "number", json_object_get(result, "number"));
		json_object_set(step, "name", json_object_get(result, "name"));
		json_object_set_new(step, "status", json_string("completed"));
		json_object_set_new(step, "conclusion",
		                    json_string(rest_conclusion(json_get_string(result, "conclusion"))));
		static const char *const copied[] = {"action_name", "ref",          "type",
		                                     "started_at",  "completed_at", "annotations"};
		for (size_t c = 0; c < ARRAY_SIZE(copied); c++)
			if (json_object_get(result, copied[c]))
				json_object_set(step, copied[c], json_object_get(result, copied[c]));
	}
}

/* Logs are registered, and every completed step is reported, before the job's end. A crashed worker's listener sends no
 * steps. */
static void check_leftovers(struct req *r, const struct forge_job *job, const json_t *results)
{
	const char *id;
	json_t *step;
	json_object_foreach(job->steps, id, step)
	{
		const char *status = json_get_string(step, "status");
		if (json_array_size(results) && !json_object_get(step, "reported") && status &&
		    strcmp(status, "completed") == 0)
			req_complain(r, "the completed step '%.60s' is missing in stepResults",
			             json_get_string(step, "name"));
		json_object_del(step, "reported");
	}
	if (!json_array_size(results) || was_disturbed(r->f, "twirp") || was_disturbed(r->f, "Metadata") ||
	    was_disturbed(r->f, "blobs"))
		return;
	for (size_t i = 0; i < r->f->blob_count; i++)
		if (r->f->blobs[i]->job == job && r->f->blobs[i]->kind != BLOB_DIAGNOSTIC &&
		    !r->f->blobs[i]->registered)
			req_complain(r, "'%.200s' was asked for but never registered as complete",
			             r->f->blobs[i]->path);
}

static void complete_job(struct req *r)
{
	check_service_headers(r);
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!check_completion(r, body)) {
		run_error(r, 400, "the request is not valid");
		return;
	}
	struct forge_job *job = need_job(r, body, false);
	if (!job)
		return;
	_cleanup_free_ char *owner = xasprintf("U_%lld", (long long)job->run->repo->id);
	const char *said = json_get_string(body, "billingOwnerId");
	if (!said || strcmp(said, owner) != 0)
		req_complain(r, "billingOwnerId must be that of the message, %s", owner);
	if (!job->renewed)
		req_complain(r, "the job was never renewed: the first renewal comes before the job starts");
	take_step_results(r, job, json_object_get(body, "stepResults"));
	check_leftovers(r, job, json_object_get(body, "stepResults"));
	json_array_extend(job->annotations, json_object_get(body, "annotations"));
	const char *name;
	json_t *output;
	json_object_foreach(json_object_get(body, "outputs"), name, output)
		json_object_set(job->outputs, name, json_object_get(output, "value"));
	job->environment_url = xstrdup(json_get_string(body, "environmentUrl"));
	job->telemetry = json_incref(json_object_get(body, "telemetry"));
	job->raw_conclusion = xstrdup(json_get_string(body, "conclusion"));
	job->answer_lost = was_disturbed(r->f, "completejob");
	forge_job_complete(r->f, job, rest_conclusion(job->raw_conclusion));
	req_reply(r, 204);
}

/* ---- the commit of an action ---- */

static void resolve_one(struct req *r, const struct forge_job *job, const json_t *action, json_t *found, json_t *errors)
{
	const char *name = json_get_string(action, "action"), *version = json_get_string(action, "version");
	_cleanup_free_ char *key = xasprintf("%s@%s", name, version);
	_cleanup_free_ char *owner = xstrndup(name, strcspn(name, "/"));
	const char *slash = strchr(name, '/');
	struct forge_repo *repo = slash ? forge_repo_find(r->f, owner, slash + 1) : NULL;
	_cleanup_free_ char *sha = repo ? forge_repo_commit(repo, version) : NULL;
	if (!sha) {
		json_object_set_new(errors, key,
		                    json_pack("{s:o}", "message",
		                              json_stringf("Unable to resolve action `%s`, %s", key,
		                                           repo ? "unable to find version" : "repository not found")));
		return;
	}
	char time[CLOCK_TEXT_SIZE];
	json_object_set_new(found, key,
	                    json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:{s:s, s:s}}", "name", name, "version", version,
	                              "resolved_name", repo->full_name, "resolved_sha", sha, "tar_url",
	                              json_stringf("%s/api/v3/repos/%s/tarball/%s", r->f->base, repo->full_name, sha),
	                              "zip_url",
	                              json_stringf("%s/api/v3/repos/%s/zipball/%s", r->f->base, repo->full_name, sha),
	                              "authentication", "token", job->github_token->text, "expires_at",
	                              clock_rfc3339(job->github_token->expires_ms, time)));
}

static void resolve_actions(struct req *r)
{
	static const struct member members[] = {{"actions", 'a', true}, {"actions_dependencies", 'a', false}};
	static const struct member action_members[] = {
		{"action", 'S', true}, {"version", 'S', true}, {"path", 's', false}};
	check_service_headers(r);
	struct forge_token *t = token_need(r, TOKEN_JOB);
	if (!t)
		return;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	bool good = check_members(r, body, "resolve", members, ARRAY_SIZE(members));
	if (strcmp(r->args[0], t->job->run->plan_id) != 0 || strcmp(r->args[1], t->job->job_id) != 0) {
		req_complain(r, "the path's plan and job are not those of the token");
		good = false;
	}
	size_t i;
	json_t *action;
	json_array_foreach(json_object_get(body, "actions"), i, action) good =
		check_members(r, action, "an action", action_members, ARRAY_SIZE(action_members)) && good;
	if (!good) {
		run_error(r, 400, "the request is not valid");
		return;
	}
	json_t *found = json_object(), *errors = json_object();
	json_array_foreach(json_object_get(body, "actions"), i, action) resolve_one(r, t->job, action, found, errors);
	if (json_object_size(errors)) {
		json_decref(found);
		req_reply_json(r, 422, json_pack("{s:o}", "errors", errors));
		return;
	}
	json_decref(errors);
	req_reply_json(r, 200, json_pack("{s:o}", "actions", found));
}

const struct route runservice_routes[] = {
	{"POST", "_services/run/1/acquirejob", acquire_job, 0},
	{"POST", "_services/run/1/renewjob", renew_job, 0},
	{"POST", "_services/run/1/completejob", complete_job, 0},
	{"POST", "actions/build/+/jobs/+/runnerresolve/actions", resolve_actions, 0},
	{0},
};
