/* setup: "Set up job": its log, what the job asks for, and the list of steps. */
#include "agent/worker/worker_priv.h"

#include "agent/service/wire.h"
#include "agent/worker/action.h"
#include "agent/worker/actions/job_hook.h"
#include "agent/worker/background.h"
#include "agent/worker/containers/containers.h"
#include "base/data/walls_told.h"

#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { DEFAULT_MAX = 1 << 20 };

static void log_permissions(struct job *j, struct record *s)
{
	const char *text = job_variable(j, "system.github.token.permissions"), *name;
	_cleanup_json_ json_t *permissions = NULL;
	json_t *level;
	if (text == NULL || json_parse(text, strlen(text), 1 << 16, &permissions, NULL) < 0 ||
	    !json_is_object(permissions))
		return;
	record_line(j, s, "##[group]GITHUB_TOKEN Permissions");
	json_object_foreach(permissions, name, level)
		record_line(j, s, "%s: %s", name, json_is_string(level) ? json_string_value(level) : "");
	record_line(j, s, "##[endgroup]");
}

static void log_connections(struct job *j, struct record *s)
{
	static const char *const proxies[][2] = {{"http_proxy", "HTTP"}, {"https_proxy", "HTTPS"}};
	const char *cache = job_variable(j, "actions_cache_mode");
	if (cache != NULL && cache[0] != '\0')
		record_line(j, s, "Cache mode: %s", cache);
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++) {
		const char *url = json_get_string(j->proxies, proxies[i][0]);
		if (url != NULL)
			record_line(j, s, "Runner is running behind proxy server '%s' for all %s requests.", url,
			            proxies[i][1]);
	}
	if (json_array_size(wire_get(j->message, "dependencies")) > 0)
		record_line(j, s, "Using locked action versions from the workflow's lockfile");
}

static void log_head(struct job *j, struct record *s)
{
	char host[256] = "";
	const char *group = job_variable(j, "system.runnerGroupName"),
		   *source = json_get_string(j->github, "secret_source");
	gethostname(host, sizeof(host) - 1);
	record_line(j, s, "Current runner version: '%s'", wire_runner_version());
	record_line(j, s, "davit %s", DAVIT_VERSION);
	record_line(j, s, "Runner name: '%s'", job_setting(j, "agent_name"));
	if (group != NULL)
		record_line(j, s, "Runner group name: '%s'", group);
	record_line(j, s, "Machine name: '%s'", host);
	log_permissions(j, s);
	record_short_lines(j, s);
	if (source != NULL && source[0] != '\0')
		record_line(j, s, "Secret source: %s", source);
	log_connections(j, s);
	record_line(j, s, "Prepare workflow directory");
}

static void log_tail(struct job *j, struct record *s)
{
	const char *file = job_variable(j, "system.workflowFileFullPath"),
		   *ref = job_variable(j, "system.workflowFileRef");
	const char *sha = job_variable(j, "system.workflowFileSha"), *name;
	json_t *inputs = json_object_get(j->contexts, "inputs"), *value;
	if (file != NULL && sha != NULL && ref != NULL && ref[0] != '\0')
		record_line(j, s, "Uses: %s@%s (%s)", file, ref, sha);
	else if (file != NULL)
		record_line(j, s, "Uses: %s%s%s", file, sha != NULL ? "@" : "", sha != NULL ? sha : "");
	if (json_is_object(inputs) && json_object_size(inputs) > 0) {
		record_line(j, s, "##[group] Inputs");
		json_object_foreach(inputs, name, value)
		{
			_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
			_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
			expr_value_from_json(value, &v);
			expr_value_text(&v, &text);
			record_line(j, s, "  %s: %s", name, str_peek(&text));
		}
		record_line(j, s, "##[endgroup]");
	}
	record_line(j, s, "Complete job name: %s", j->run.name);
}

static int refuse_snapshot(struct job *j, struct err *err)
{
	const json_t *token = wire_get(j->message, "snapshot");
	_cleanup_json_ json_t *value = NULL;
	if (template_is_null(token))
		return 0;
	int r = template_eval(token, &j->scope, &value, err);
	if (r < 0 || json_is_null(value) || (!json_is_object(value) && json_string_length(value) == 0))
		return r;
	r = err_set(err, ERR_UNSUPPORTED,
	            "the job's `snapshot:` asks for a custom image, which only hosted runners make");
	return err_hint(err, r, "remove it, or send the job to a hosted runner");
}

static int eval_global_env(struct job *j, struct err *err)
{
	size_t i;
	json_t *token;
	struct template_scope scope = j->scope;
	scope.expr.status = NULL;
	json_array_foreach(wire_get(j->message, "environmentVariables"), i, token)
	{
		_cleanup_json_ json_t *own = json_object();
		int r = template_eval_strings(token, &scope, own, err);
		if (r < 0)
			return r;
		json_object_update(j->global_env, own);
	}
	return 0;
}

/* A number of a matrix names a directory, too. New. */
static json_t *texts_of(json_t *map)
{
	json_t *texts = json_object(), *value;
	const char *name;
	json_object_foreach(map, name, value)
	{
		_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
		_cleanup_(str_done) struct str text = STR_INIT(DEFAULT_MAX);
		if (json_is_null(value) || json_is_object(value) || json_is_array(value))
			continue;
		expr_value_from_json(value, &v);
		expr_value_text(&v, &text);
		json_object_set_new(texts, name, json_stringn(str_peek(&text), text.len));
	}
	return texts;
}

/* A later token replaces the whole table of an earlier one. */
static int eval_defaults(struct job *j, struct err *err)
{
	size_t i;
	json_t *token;
	struct template_scope scope = j->scope;
	scope.expr.status = NULL;
	json_array_foreach(wire_get(j->message, "defaults"), i, token)
	{
		_cleanup_json_ json_t *value = NULL;
		if (template_is_null(token))
			continue;
		int r = template_eval(token, &scope, &value, err);
		if (r < 0)
			return r;
		json_t *run = expr_member(value, "run", 3);
		if (!json_is_object(run))
			continue;
		json_decref(j->defaults_run);
		j->defaults_run = texts_of(run);
	}
	return 0;
}

/* A name that needs later contexts is first shown with its expressions. uses: the `uses:` of a step without a script.
 */
static char *first_title(struct job *j, const json_t *step, const char *uses, bool *ret_final)
{
	const char *given = wire_string(step, "displayName"), *prefix;
	const json_t *token = step_title_token(step, &prefix);
	*ret_final = true;
	if (given != NULL && given[0] != '\0')
		return xstrdup(given);
	if (token == NULL)
		return step_title(prefix, uses);
	_cleanup_json_ json_t *text = NULL;
	static const char *const later[] = {"steps", "env", "job", "runner", "secrets"};
	_cleanup_json_ json_t *early = json_copy(j->contexts);
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		json_object_del(early, later[i]);
	struct template_scope scope = {.expr = {.contexts = early}, .file_table = j->scope.file_table};
	if (template_eval_string(token, &scope, &text, NULL) == 0)
		return step_title(prefix, json_string_value(text));
	*ret_final = false;
	_cleanup_free_ char *readable = template_readable(token);
	return step_title(prefix, readable);
}

static bool is_of_type(const json_t *step, const char *name, int number)
{
	const char *type = wire_string(step, "type");
	return type != NULL ? strcasecmp(type, name) == 0 : wire_int(step, "type", 0) == number;
}

static bool is_control(const json_t *step)
{
	return is_of_type(step, "backgroundStepControl", 5);
}

/* A step that is prepared: its records come when all are, those of the stages before the first step first. */
struct planned {
	json_t *step;
	const struct action_type *type;
	void *memory;
	char *name;
	bool final;
};

static int plan_step(struct job *j, json_t *step, struct planned *ret, struct err *err)
{
	struct action_place place = {.reference = wire_get(step, "reference")};
	_cleanup_free_ char *shown = NULL;
	*ret = (struct planned){.step = step, .type = action_type_of(j, place.reference)};
	if (wire_bool(step, "background", false) && ret->type->here) {
		int r = err_set(
			err, ERR_UNSUPPORTED,
			"the step '%s' of davit cannot run in the background: those of a job share a deployment",
			wire_string(step, "contextName") != NULL ? wire_string(step, "contextName") : "");
		return err_hint(err, r, "remove `background: true`");
	}
	int e = ret->type->prepare(j, &place, &ret->memory, &shown, err);
	if (e == 0)
		ret->name = first_title(j, step, shown != NULL ? shown : "", &ret->final);
	return e;
}

static void add_pre(struct job *j, const struct planned *p)
{
	const char *condition = p->type != NULL && p->type->stage != NULL ? p->type->stage(p->memory, STAGE_PRE) : NULL;
	if (condition == NULL)
		return;
	_cleanup_free_ char *name = xasprintf("Pre %s", p->name);
	struct record *r = record_new(j, NULL, name);
	r->action = p->type;
	r->memory = p->memory;
	r->shares_memory = true;
	r->step = p->step;
	r->stage = STAGE_PRE;
	r->stage_condition = xstrdup(condition);
	r->name_final = true;
	r->reference_name = wire_string(p->step, "name");
	record_tell(j, r);
}

static int add_main(struct job *j, const struct planned *p, struct err *err)
{
	int e = 0;
	struct record *r = record_new(j, wire_string(p->step, "id"), p->name);
	r->action = p->type;
	r->memory = p->memory;
	r->step = p->step;
	r->name_final = p->final;
	r->context_name = wire_string(p->step, "contextName");
	r->reference_name = wire_string(p->step, "name");
	r->background = p->type != NULL && wire_bool(p->step, "background", false);
	if (p->type == NULL)
		e = background_read_control(p->step, r, err);
	record_tell(j, r);
	return e;
}

/* Of one that waits for others, or cancels them. */
static int plan_control(json_t *step, struct planned *ret)
{
	const char *names[] = {NULL, wire_string(step, "displayName"), wire_string(step, "name"),
	                       wire_string(step, "controlType")};
	const json_t *token = wire_get(step, "displayNameToken");
	names[0] = json_is_string(token) ? json_string_value(token) : wire_string(token, "lit");
	*ret = (struct planned){.step = step, .final = true};
	for (size_t i = 0; i < ARRAY_SIZE(names) && ret->name == NULL; i++)
		if (names[i] != NULL && names[i][0] != '\0')
			ret->name = step_title("", names[i]);
	if (ret->name == NULL)
		ret->name = xstrdup("wait");
	return 0;
}

static int plan_steps(struct job *j, struct planned *planned, size_t *count, struct err *err)
{
	size_t i;
	json_t *step;
	json_array_foreach(wire_get(j->message, "steps"), i, step)
	{
		if (!json_is_object(step) || (!is_of_type(step, "action", 4) && !is_control(step)))
			continue;
		int r = is_control(step) ? plan_control(step, &planned[*count])
		                         : plan_step(j, step, &planned[*count], err);
		if (r < 0)
			return r;
		(*count)++;
	}
	return 0;
}

static int add_steps(struct job *j, struct err *err)
{
	size_t count = 0;
	_cleanup_free_ struct planned *planned =
		xcalloc(json_array_size(wire_get(j->message, "steps")) + 1, sizeof(planned[0]));
	int r = plan_steps(j, planned, &count, err);
	if (r == 0) {
		job_hook_expect_started(j);
		containers_expect(j);
	}
	for (size_t i = 0; r == 0 && i < count; i++)
		add_pre(j, &planned[i]);
	for (size_t i = 0; i < count; i++) {
		if (r == 0)
			r = add_main(j, &planned[i], err);
		else if (planned[i].type != NULL && planned[i].type->release != NULL)
			planned[i].type->release(planned[i].memory);
		free(planned[i].name);
	}
	if (r == 0)
		background_expect_wait(j);
	return r;
}

/* After the work area was made, since the directories that a walled job may reach are looked up now. */
static int keep_apart(struct job *j, struct err *err)
{
	const json_t *isolation = json_get_object(j->settings, "isolation");
	const char *text = json_get_string(isolation, "text");
	int r = walls_told_raise(isolation, err);
	if (r < 0 && json_get_bool(isolation, "required", false))
		return err_wrap(err, r, "keep this job apart from those of other repositories");
	if (r < 0)
		record_line(j, j->setup, "##[warning]not apart from jobs of other repositories: %s",
		            err->frames[0].text);
	else if (text != NULL)
		record_line(j, j->setup, "Isolation: %s", text);
	if (r < 0)
		json_object_del(j->settings, "isolation");
	err_clear(err);
	return 0;
}

int job_set_up(struct job *j, struct err *err)
{
	struct record *s = j->setup;
	log_head(j, s);
	int r = job_make_directories(j, err);
	if (r == 0)
		r = keep_apart(j, err);
	if (r == 0)
		r = eval_global_env(j, err);
	if (r == 0)
		r = containers_read(j, err);
	if (r == 0)
		r = refuse_snapshot(j, err);
	if (r == 0)
		r = eval_defaults(j, err);
	if (r < 0)
		return r;
	record_line(j, s, "Prepare all required actions");
	int64_t begun = clock_mono_ms();
	r = prepare_actions(j, s, wire_get(j->message, "steps"), 0, err);
	if (j->prepared_count > 0)
		telemetry_add(j, "General", "%zu actions were made ready in %lld ms", j->prepared_count,
		              (long long)(clock_mono_ms() - begun));
	if (r == 0)
		r = add_steps(j, err);
	if (r == 0)
		log_tail(j, s);
	return r;
}
