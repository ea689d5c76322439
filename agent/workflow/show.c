#include "agent/workflow/show.h"

#include <string.h>
#include <strings.h>

#include "agent/expr/expr.h"
#include "agent/template/eval.h"
#include "agent/template/uses.h"
#include "agent/workflow/matrix.h"

enum { DEPTH_MAX = 10, JOBS_MAX = 10000 };

/* What is known at a place: contexts, of which those not there can only be known by a run. */
struct known {
	const struct workflow_show *how;
	json_t *contexts;
	int depth;
	size_t *jobs; /* shown so far, of all depths */
};

/* ---- what can be said of an expression now */

struct look {
	const json_t *contexts;
	bool good;
};

static void look_at(void *user, const char *const *path, size_t count)
{
	struct look *look = user;
	const json_t *context = expr_member(look->contexts, path[0], strlen(path[0]));
	bool whole = strcasecmp(path[0], "github") != 0;
	if (context == NULL || (!whole && (count < 2 || expr_member(context, path[1], strlen(path[1])) == NULL)))
		look->good = false;
}

static bool is_known(const struct known *k, const char *expr)
{
	struct look look = {.contexts = k->contexts, .good = true};
	return expr_paths(expr, 0, look_at, &look, NULL) >= 0 && look.good;
}

static bool holds_unknown(const struct known *k, const json_t *token)
{
	const char *expr = json_get_string(token, "expr");
	size_t i;
	json_t *item;
	if (expr != NULL)
		return !is_known(k, expr);
	bool unknown = false;
	json_array_foreach(json_object_get(token, "seq"), i, item) unknown |= holds_unknown(k, item);
	json_array_foreach(json_object_get(token, "map"), i, item) unknown |=
		holds_unknown(k, json_object_get(item, "key")) || holds_unknown(k, json_object_get(item, "value"));
	return unknown;
}

static int value_of(const struct known *k, const json_t *token, json_t **ret)
{
	struct template_scope scope = {.expr = {.contexts = k->contexts}};
	return holds_unknown(k, token) ? ERR_NOT_FOUND : template_eval(token, &scope, ret, NULL);
}

static json_t *shown(const struct known *k, const json_t *token);

static json_t *shown_map(const struct known *k, const json_t *pairs)
{
	json_t *out = json_object(), *pair;
	size_t i;
	json_array_foreach((json_t *)(uintptr_t)pairs, i, pair)
	{
		_cleanup_free_ char *key = template_readable(json_object_get(pair, "key"));
		json_object_set_new(out, key, shown(k, json_object_get(pair, "value")));
	}
	return out;
}

/* The value where it is known, else the expression, in lists and maps each by itself. */
static json_t *shown(const struct known *k, const json_t *token)
{
	json_t *value = NULL, *item;
	size_t i;
	if (token == NULL)
		return json_null();
	if (value_of(k, token, &value) >= 0)
		return value;
	if (json_object_get(token, "map") != NULL)
		return shown_map(k, json_object_get(token, "map"));
	if (json_object_get(token, "seq") != NULL) {
		json_t *out = json_array();
		json_array_foreach(json_object_get(token, "seq"), i, item) json_array_append_new(out, shown(k, item));
		return out;
	}
	_cleanup_free_ char *text = template_readable(token);
	return json_string_lossy(text, strlen(text));
}

static bool say_true(void *user, enum expr_status which)
{
	(void)user;
	(void)which;
	return true;
}

static bool say_false(void *user, enum expr_status which)
{
	(void)user;
	return which == EXPR_ALWAYS;
}

/* Nothing has gone wrong before the first. */
static bool say_success(void *user, enum expr_status which)
{
	(void)user;
	return which == EXPR_SUCCESS || which == EXPR_ALWAYS;
}

/* A condition that is the same whatever happens before. first: nothing happens before. */
static json_t *runs(const struct known *k, const char *condition, bool first)
{
	struct expr_scope scope = {.contexts = k->contexts, .status = first ? say_success : say_true};
	bool one = false, other = false;
	if (!is_known(k, condition) || expr_condition(condition, &scope, &one, NULL) < 0)
		return json_null();
	if (first)
		return json_boolean(one);
	scope.status = say_false;
	return expr_condition(condition, &scope, &other, NULL) >= 0 && one == other ? json_boolean(one) : json_null();
}

/* ---- steps */

static void set_if_said(const struct known *k, json_t *out, const char *key, const json_t *token)
{
	if (token != NULL)
		json_object_set_new(out, key, shown(k, token));
}

static char *title_of(const json_t *step, const struct workflow_step *def)
{
	json_t *script = json_object_get(step, "run");
	_cleanup_free_ char *uses = uses_text(def->reference);
	static const char *const controls[] = {NULL, "Wait", "Wait for all", "Cancel"};
	const char *text = json_string_value(json_object_get(step, "name"));
	if (text != NULL)
		return xstrdup(text);
	if (def->kind != WORKFLOW_STEP_RUNS)
		return xstrdup(controls[def->kind]);
	text = script != NULL ? json_string_value(script) : uses;
	text = text != NULL ? text + strspn(text, " \t\r\n") : "";
	return xasprintf("Run %.*s", (int)strcspn(text, "\r\n"), text);
}

static json_t *shown_targets(const struct workflow_step *def)
{
	json_t *out = json_array();
	for (size_t i = 0; i < def->targets.count; i++)
		json_array_append_new(out, json_string(def->targets.items[i]));
	return out;
}

static json_t *show_step(const struct known *k, const struct workflow_step *def, size_t number)
{
	static const char *const controls[] = {NULL, "wait", "wait-all", "cancel"};
	static const struct {
		const char *input, *key;
	} script[] = {{"script", "run"}, {"shell", "shell"}, {"workingDirectory", "working-directory"}};
	json_t *step = json_pack("{s:i}", "number", (int)number), *inputs = shown(k, def->inputs);
	_cleanup_free_ char *uses = uses_text(def->reference);
	if (!str_starts(def->context_name, "__"))
		json_object_set_new(step, "id", json_string(def->context_name));
	set_if_said(k, step, "name", def->name);
	for (size_t i = 0; uses == NULL && i < ARRAY_SIZE(script); i++)
		if (json_object_get(inputs, script[i].input) != NULL)
			json_object_set(step, script[i].key, json_object_get(inputs, script[i].input));
	if (uses != NULL)
		json_object_set_new(step, "uses", json_string(uses));
	if (uses != NULL && def->inputs != NULL)
		json_object_set(step, "with", inputs);
	json_decref(inputs);
	_cleanup_free_ char *title = title_of(step, def);
	json_object_set_new(step, "name", json_string_lossy(title, strlen(title)));
	json_object_set_new(step, "if", json_string(def->condition));
	json_object_set_new(step, "runs", runs(k, def->condition, number == 1));
	if (def->background)
		json_object_set_new(step, "background", json_true());
	if (def->kind == WORKFLOW_STEP_WAIT_ALL)
		json_object_set_new(step, controls[def->kind], json_true());
	else if (def->kind != WORKFLOW_STEP_RUNS)
		json_object_set_new(step, controls[def->kind], shown_targets(def));
	set_if_said(k, step, "env", def->env);
	set_if_said(k, step, "continue-on-error", def->continue_on_error);
	set_if_said(k, step, "timeout-minutes", def->timeout_minutes);
	return step;
}

/* ---- jobs */

static json_t *show_jobs(const struct known *k, const struct workflow *w);

static struct known inner(const struct known *k, const json_t *more)
{
	struct known in = *k;
	in.contexts = json_copy(k->contexts);
	json_object_update(in.contexts, (json_t *)(uintptr_t)more);
	return in;
}

/* The jobs of the workflow that it calls; its inputs are known where all that is given is. */
static void show_called(const struct known *k, const struct workflow_job *def, json_t *job)
{
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	_cleanup_json_ json_t *with = NULL, *inputs = NULL, *more = json_object();
	struct err err = ERR_INIT;
	char line[1024];
	json_object_set_new(job, "uses", json_string(def->uses));
	set_if_said(k, job, "with", def->with);
	if (k->how->read == NULL || k->depth >= DEPTH_MAX)
		return;
	if (k->how->read(k->how->user, def->uses, &w, &err) < 0) {
		json_object_set_new(job, "error", json_stringf("%s", err_line(&err, line, sizeof(line))));
		return;
	}
	struct expr_scope scope = {.contexts = k->contexts};
	if (def->with == NULL || value_of(k, def->with, &with) >= 0)
		if (workflow_call_inputs(w, with, &scope, &inputs, NULL) >= 0)
			json_object_set(more, "inputs", inputs);
	struct known in = inner(k, more);
	if (inputs == NULL)
		json_object_del(in.contexts, "inputs");
	json_object_del(in.contexts, "matrix");
	json_object_del(in.contexts, "strategy");
	in.depth++;
	json_object_set_new(job, "jobs", show_jobs(&in, w));
	json_decref(in.contexts);
}

static void name_job(const struct known *k, const struct workflow_job *def, const json_t *leg, json_t *job)
{
	_cleanup_json_ json_t *said = def->name != NULL ? shown(k, def->name) : json_string(def->id);
	_cleanup_free_ char *name = template_literal(said), *suffix = leg != NULL ? matrix_suffix(leg) : NULL;
	if (suffix != NULL && *suffix != '\0' && !json_is_object(def->name))
		json_object_set_new(job, "name", json_stringf("%s (%s)", name, suffix));
	else
		json_object_set_new(job, "name", json_string(name != NULL ? name : def->id));
}

static void add_settings(const struct known *k, const struct workflow_job *def, json_t *job)
{
	const struct {
		const char *key;
		const json_t *token;
	} settings[] = {{"runs-on", def->runs_on},
	                {"environment", def->environment_name},
	                {"env", def->env},
	                {"defaults", def->defaults},
	                {"container", def->container},
	                {"services", def->services},
	                {"timeout-minutes", def->timeout_minutes},
	                {"continue-on-error", def->continue_on_error},
	                {"concurrency", def->concurrency_group},
	                {"outputs", def->outputs}};
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		set_if_said(k, job, settings[i].key, settings[i].token);
}

static json_t *show_job(const struct known *k, const struct workflow_job *def, const json_t *leg, size_t stage)
{
	++*k->jobs;
	json_t *job = json_pack("{s:s, s:i}", "id", def->id, "stage", (int)stage), *needs = json_array();
	name_job(k, def, leg, job);
	for (size_t i = 0; i < def->needs.count; i++)
		json_array_append_new(needs, json_string(def->needs.items[i]));
	json_object_set_new(job, "needs", needs);
	json_object_set_new(job, "if", json_string(def->condition));
	json_object_set_new(job, "runs", runs(k, def->condition, def->needs.count == 0));
	if (leg != NULL)
		json_object_set(job, "matrix", (json_t *)(uintptr_t)leg);
	else
		set_if_said(k, job, "matrix", def->matrix);
	add_settings(k, def, job);
	if (def->uses != NULL) {
		show_called(k, def, job);
		return job;
	}
	json_t *steps = json_array();
	for (size_t i = 0; i < def->step_count; i++)
		json_array_append_new(steps, show_step(k, &def->steps[i], i + 1));
	json_object_set_new(job, "steps", steps);
	return job;
}

/* A job for each combination; one for all where a run must tell which there are. */
static void add_legs(const struct known *k, const struct workflow_job *def, size_t stage, json_t *out)
{
	_cleanup_json_ json_t *matrix = NULL, *legs = NULL;
	json_t *leg;
	size_t i;
	bool expanded = def->matrix != NULL && value_of(k, def->matrix, &matrix) >= 0 &&
	                matrix_expand(matrix, &legs, NULL) >= 0;
	if (*k->jobs > JOBS_MAX)
		return;
	if (!expanded)
		json_array_append_new(out, show_job(k, def, NULL, stage));
	json_array_foreach(legs, i, leg)
	{
		_cleanup_json_ json_t *more = json_pack("{s:O, s:{s:i, s:i}}", "matrix", leg, "strategy", "job-index",
		                                        (int)i, "job-total", (int)json_array_size(legs));
		struct known in = inner(k, more);
		json_array_append_new(out, show_job(&in, def, leg, stage));
		json_decref(in.contexts);
	}
}

/* 1: needs nothing; else one more than the latest of what it needs. There is no circle. The last one. */
static size_t find_stages(const struct workflow *w, size_t *stages)
{
	size_t last = 1;
	for (size_t i = 0; i < w->job_count; i++)
		stages[i] = 1;
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < w->job_count; i++)
			for (size_t n = 0; n < w->jobs[i].needs.count; n++) {
				const struct workflow_job *need = workflow_find_job(w, w->jobs[i].needs.items[n]);
				if (need == NULL || stages[need - w->jobs] < stages[i])
					continue;
				stages[i] = stages[need - w->jobs] + 1;
				last = MAX(last, stages[i]);
				changed = true;
			}
	}
	return last;
}

static json_t *show_jobs(const struct known *k, const struct workflow *w)
{
	json_t *out = json_array();
	_cleanup_free_ size_t *stages = xcalloc(w->job_count, sizeof(*stages));
	size_t last = find_stages(w, stages);
	for (size_t stage = 1; stage <= last; stage++)
		for (size_t i = 0; i < w->job_count; i++)
			if (stages[i] == stage)
				add_legs(k, &w->jobs[i], stage, out);
	return out;
}

/* Of the only event that starts it something is known without being told. */
static const char *event_of(const struct workflow *w, const struct workflow_show *how)
{
	if (how->event != NULL || json_object_size(w->on) != 1)
		return how->event;
	const char *only = json_object_iter_key(json_object_iter(w->on));
	return strcmp(only, "workflow_call") != 0 ? only : NULL;
}

int workflow_show(const struct workflow *w, const struct workflow_show *how, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *contexts = json_object(), *events = json_array();
	size_t jobs = 0;
	struct known k = {.how = how, .contexts = contexts, .depth = 1, .jobs = &jobs};
	const char *name, *event = event_of(w, how);
	json_t *value;
	json_object_foreach(w->on, name, value) json_array_append_new(events, json_string(name));
	if (how->inputs != NULL)
		json_object_set(contexts, "inputs", (json_t *)(uintptr_t)how->inputs);
	if (how->vars != NULL)
		json_object_set(contexts, "vars", (json_t *)(uintptr_t)how->vars);
	json_object_set_new(contexts, "github",
	                    event != NULL ? json_pack("{s:s}", "event_name", event) : json_object());
	_cleanup_json_ json_t *list = show_jobs(&k, w);
	if (jobs > JOBS_MAX)
		return err_set(err, ERR_LIMIT, "%s has more than %d jobs", w->path, JOBS_MAX);
	*ret = json_pack("{s:s, s:s, s:O, s:O}", "path", w->path, "name", w->name, "on", events, "jobs", list);
	return 0;
}
