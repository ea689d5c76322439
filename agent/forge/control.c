/* Requests to the forge itself, by tests and people: what arrived, what was odd about it, and which faults to plant. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <stdio.h>
#include <string.h>

static void all_runs(struct req *r)
{
	const char *logs = req_query(r, "logs"), *sha = req_query(r, "sha");
	json_t *out = json_array();
	for (size_t i = 0; i < r->f->run_count; i++)
		if (sha == NULL || strcmp(sha, r->f->runs[i]->sha) == 0)
			json_array_append_new(out,
			                      forge_run_json(r->f, r->f->runs[i], !logs || strcmp(logs, "0") != 0));
	req_reply_json(r, 200, out);
}

static void one_run(struct req *r)
{
	long long id = 0;
	struct forge_run *run = str_parse_i64(r->args[0], 1, INT64_MAX, &id) ? forge_run_find(r->f, id) : NULL;
	if (run)
		req_reply_json(r, 200, forge_run_json(r->f, run, true));
	else
		req_reply_error(r, 404, "Not Found");
}

static void complaints(struct req *r)
{
	req_reply_json(r, 200, json_incref(r->f->complaints));
}

static void forget_complaints(struct req *r)
{
	json_array_clear(r->f->complaints);
	req_reply(r, 204);
}

static void requests(struct req *r)
{
	req_reply_json(r, 200, json_incref(r->f->requests));
}

static void events(struct req *r)
{
	req_reply_json(r, 200, json_incref(r->f->events));
}

static void runners(struct req *r)
{
	json_t *out = json_array();
	for (size_t i = 0; i < r->f->runner_count; i++) {
		const struct forge_runner *runner = r->f->runners[i];
		json_array_append_new(out,
		                      json_pack("{s:I, s:s, s:s, s:s, s:b, s:b, s:b, s:O, s:s?, s:s?, s:b}", "id",
		                                (json_int_t)runner->id, "name", runner->name, "scope", runner->scope,
		                                "session_id", runner->session_id, "deleted", runner->deleted,
		                                "ephemeral", runner->ephemeral, "busy", runner->job != NULL, "labels",
		                                runner->label_objects, "status", runner->status, "version",
		                                runner->version, "polling", runner->polling != NULL));
	}
	req_reply_json(r, 200, out);
}

/* Lists comments, deployments and the like of one repository (?repository=o/r) or of all, as REST returned them. _job is the id
 * of the job whose token made them. */
static void received(struct req *r)
{
	const char *wanted = req_query(r, "repository");
	const char *what = strrchr(r->path, '/') + 1;
	json_t *out = json_array();
	for (size_t i = 0; i < r->f->repo_count; i++) {
		const struct forge_repo *repo = r->f->repos[i];
		if (wanted && strcmp(wanted, repo->full_name) != 0)
			continue;
		json_t *list = strcmp(what, "comments") == 0              ? repo->comments
		               : strcmp(what, "issues") == 0              ? repo->issues
		               : strcmp(what, "issue-comments") == 0      ? repo->issue_comments
		               : strcmp(what, "deployments") == 0         ? repo->deployments
		               : strcmp(what, "deployment-statuses") == 0 ? repo->deployment_statuses
		               : strcmp(what, "statuses") == 0            ? repo->statuses
		                                                          : repo->check_runs;
		size_t n;
		json_t *item;
		json_array_foreach(list, n, item)
		{
			char id[24];
			snprintf(id, sizeof(id), "%lld", (long long)json_get_int(item, "id", 0));
			json_t *copy = json_copy(item);
			json_t *origin = json_object_get(r->f->origins, id);
			json_object_set(copy, "_job", origin ? origin : json_null());
			json_array_append_new(out, copy);
		}
	}
	req_reply_json(r, 200, out);
}

/* ---- faults ---- */

static bool read_fault(struct req *r, const json_t *body, struct forge_fault *fault)
{
	static const struct member members[] = {
		{"path", 'S', true},      {"method", 'S', false},   {"times", 'i', false},   {"skip", 'i', false},
		{"status", 'i', false},   {"body", 's', false},     {"headers", 'o', false}, {"drop", 'n', false},
		{"truncate", 'i', false}, {"oversize", 'n', false}, {"delay_ms", 'i', false}};
	if (!check_members(r, body, "a fault", members, ARRAY_SIZE(members)))
		return false;
	json_t *drop = json_object_get(body, "drop"), *oversize = json_object_get(body, "oversize");
	const char *when = json_string_value(drop);
	if (drop && !json_is_boolean(drop) && !(when && (strcmp(when, "before") == 0 || strcmp(when, "after") == 0)))
		return false;
	*fault = (struct forge_fault){
		.path = xstrdup(json_get_string(body, "path")),
		.method = xstrdup(json_get_string(body, "method")),
		.body = xstrdup(json_get_string(body, "body")),
		.times = json_get_int(body, "times", 1),
		.skip = json_get_int(body, "skip", 0),
		.status = (int)json_get_int(body, "status", 0),
		.drop = when && strcmp(when, "after") == 0 ? DROP_AFTER
	                : json_is_true(drop) || when       ? DROP_BEFORE
	                                                   : DROP_NO,
		.truncate = json_get_int(body, "truncate", -1),
		.oversize = json_is_true(oversize)      ? 64 << 20
	                    : json_is_integer(oversize) ? json_integer_value(oversize)
	                                                : 0,
		.delay_ms = json_get_int(body, "delay_ms", 0),
		.headers = json_incref(json_object_get(body, "headers")),
	};
	return fault->status == 0 || (fault->status >= 100 && fault->status < 600);
}

static void plant_fault(struct req *r)
{
	struct forge *f = r->f;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	struct forge_fault fault;
	if (!read_fault(r, body, &fault)) {
		req_reply_error(r, 422,
		                "a fault has: path (part of it), and optionally method, times (1; -1 for good), skip, "
		                "status, body, headers, "
		                "drop (true or \"before\": unseen; \"after\": the answer is lost), truncate (bytes), "
		                "oversize (true or bytes), delay_ms");
		return;
	}
	f->faults = xgrow(f->faults, &f->fault_cap, f->fault_count + 1, sizeof(*f->faults));
	f->faults[f->fault_count++] = fault;
	req_reply(r, 204);
}

static void forget_faults(struct req *r)
{
	for (size_t i = 0; i < r->f->fault_count; i++)
		r->f->faults[i].times = 0;
	req_reply(r, 204);
}

static void list_faults(struct req *r)
{
	json_t *out = json_array();
	for (size_t i = 0; i < r->f->fault_count; i++)
		json_array_append_new(out,
		                      json_pack("{s:s, s:I, s:i}", "path", r->f->faults[i].path, "times",
		                                (json_int_t)r->f->faults[i].times, "status", r->f->faults[i].status));
	req_reply_json(r, 200, out);
}

/* ---- secrets, time, sessions ---- */

static struct forge_repo *repo_of_body(struct req *r, const json_t *body)
{
	const char *full = json_get_string(body, "repository");
	const char *slash = full ? strchr(full, '/') : NULL;
	_cleanup_free_ char *owner = slash ? xstrndup(full, (size_t)(slash - full)) : NULL;
	struct forge_repo *repo = owner ? forge_repo_find(r->f, owner, slash + 1) : NULL;
	if (!repo)
		req_reply_error(r, 404, "the repository '%.100s' is not served", full ? full : "");
	return repo;
}

static bool all_texts(const json_t *map)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)map, key, value) if (!json_is_string(value)) return false;
	return true;
}

static void put_secrets(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	struct forge_repo *repo = body ? repo_of_body(r, body) : NULL;
	if (!repo)
		return;
	json_t *secrets = json_get_object(body, "secrets"), *vars = json_get_object(body, "vars");
	const char *environment = json_get_string(body, "environment");
	if ((!secrets && !vars) || !all_texts(secrets) || !all_texts(vars)) {
		req_reply_error(r, 422,
		                "say repository, and secrets or vars as maps of texts; environment where it is one's");
		return;
	}
	json_t *to_secrets = repo->secrets, *to_vars = repo->vars;
	if (environment) {
		json_t *entry = json_object_get(repo->environments, environment);
		if (!entry) {
			entry = json_pack("{s:{}, s:{}}", "secrets", "vars");
			json_object_set_new(repo->environments, environment, entry);
		}
		to_secrets = json_object_get(entry, "secrets");
		to_vars = json_object_get(entry, "vars");
	}
	json_object_update(to_secrets, secrets);
	json_object_update(to_vars, vars);
	req_reply(r, 204);
}

/* {"repository": "o/r", "public": true}: what later jobs and events say of it. */
static void put_visibility(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	struct forge_repo *repo = body ? repo_of_body(r, body) : NULL;
	if (!repo)
		return;
	repo->is_public = json_get_bool(body, "public", false);
	req_reply(r, 204);
}

/* {"repository": "o/r"}: the time of every `schedule` of its default branch has come. */
static void begin_schedule(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	pthread_mutex_lock(&r->f->lock);
	struct forge_repo *repo = body ? repo_of_body(r, body) : NULL;
	pthread_mutex_unlock(&r->f->lock);
	if (!repo)
		return;
	_cleanup_json_ json_t *repository = forge_repo_json(r->f, repo);
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", json_get_string(repository, "default_branch"));
	_cleanup_free_ char *sha = forge_repo_commit(repo, ref);
	_cleanup_json_ json_t *payload = json_pack("{s:s, s:O}", "schedule", "0 5 * * *", "repository", repository);
	const struct push_event event = {
		.name = "schedule", .ref = ref, .sha = sha, .payload = payload, .actor = "octocat"};
	if (sha)
		push_event_begin(r->f, repo, &event);
	req_reply(r, 204);
}

/* Variables that every later job message carries: {"ACTIONS_STEP_DEBUG": "true"}. */
static void put_variables(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	if (!all_texts(body)) {
		req_reply_error(r, 422, "say names and texts");
		return;
	}
	json_object_update(r->f->variables, body);
	req_reply(r, 204);
}

/* {"tokens": true}: all runners' OAuth tokens are expired. {"sessions": true}: all sessions are gone. {"leases": true}:
 * all locks have lapsed. {"runners": true}: all registrations are gone. {"artifacts": true}: the time of all artifacts is over.
 * {"apps": true}: all tokens of Apps are revoked. */
static void expire(struct req *r)
{
	struct forge *f = r->f;
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	for (size_t i = 0; json_get_bool(body, "tokens", false) && i < f->token_count; i++)
		if (f->tokens[i]->kind == TOKEN_RUNNER)
			f->tokens[i]->expires_ms = 0;
	for (size_t i = 0; json_get_bool(body, "apps", false) && i < f->token_count; i++)
		f->tokens[i]->revoked = f->tokens[i]->revoked || f->tokens[i]->kind == TOKEN_APP;
	for (size_t i = 0; i < f->runner_count; i++) {
		if (json_get_bool(body, "sessions", false))
			f->runners[i]->session_id[0] = '\0';
		if (json_get_bool(body, "runners", false) && !f->runners[i]->deleted)
			forge_runner_remove(f, f->runners[i]);
	}
	for (size_t i = 0; json_get_bool(body, "leases", false) && i < f->run_count; i++)
		for (size_t j = 0; j < f->runs[i]->job_count; j++)
			f->runs[i]->jobs[j]->locked_until_ms = 0;
	for (size_t i = 0; json_get_bool(body, "artifacts", false) && i < f->artifact_count; i++)
		f->artifacts[i]->expires_ms = 0;
	forge_tick(f);
	forge_wake(f);
	req_reply(r, 204);
}

/* A message of any type for a runner: {"runner": "name", "type": "RunnerRefresh", "body": {…}}. */
static void push_message(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	const char *name = json_get_string(body, "runner"), *type = json_get_string(body, "type");
	for (size_t i = 0; name && type && i < r->f->runner_count; i++) {
		struct forge_runner *runner = r->f->runners[i];
		if (runner->deleted || strcmp(runner->name, name) != 0)
			continue;
		json_t *content = json_object_get(body, "body");
		json_array_append_new(runner->queue,
		                      json_pack("{s:s, s:O}", "type", type, "body", content ? content : json_null()));
		forge_wake(r->f);
		req_reply(r, 204);
		return;
	}
	req_reply_error(r, 422, "say runner (its name), type and body");
}

/* Shows the message of the newest job, as acquirejob returned it. */
static void one_message(struct req *r)
{
	for (size_t i = 0; i < r->f->run_count; i++)
		for (size_t j = 0; j < r->f->runs[i]->job_count; j++)
			if (strcmp(r->f->runs[i]->jobs[j]->job_id, r->args[0]) == 0 &&
			    r->f->runs[i]->jobs[j]->message) {
				req_reply_json(r, 200, json_incref(r->f->runs[i]->jobs[j]->message));
				return;
			}
	req_reply_error(r, 404, "Not Found");
}

const struct route control_routes[] = {
	{"GET", "runs", all_runs, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "runs/+", one_run, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/complaints", complaints, ROUTE_QUIET | ROUTE_OWNER},
	{"DELETE", "_forge/complaints", forget_complaints, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/requests", requests, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/events", events, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/runners", runners, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/comments", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/issues", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/issue-comments", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/deployments", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/deployment-statuses", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/statuses", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/check-runs", received, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/faults", list_faults, ROUTE_QUIET | ROUTE_OWNER},
	{"POST", "_forge/faults", plant_fault, ROUTE_QUIET | ROUTE_OWNER},
	{"DELETE", "_forge/faults", forget_faults, ROUTE_QUIET | ROUTE_OWNER},
	{"POST", "_forge/schedule", begin_schedule, ROUTE_QUIET | ROUTE_OWNER | ROUTE_UNLOCKED},
	{"PUT", "_forge/secrets", put_secrets, ROUTE_QUIET | ROUTE_OWNER},
	{"PUT", "_forge/visibility", put_visibility, ROUTE_QUIET | ROUTE_OWNER},
	{"PUT", "_forge/limit", limits_set, ROUTE_QUIET | ROUTE_OWNER},
	{"PUT", "_forge/variables", put_variables, ROUTE_QUIET | ROUTE_OWNER},
	{"POST", "_forge/expire", expire, ROUTE_QUIET | ROUTE_OWNER},
	{"POST", "_forge/messages", push_message, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "_forge/messages/+", one_message, ROUTE_QUIET | ROUTE_OWNER},
	{0},
};
