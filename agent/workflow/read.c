/* YAML document → struct workflow, with every fault of the file. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const workflow_keys[] = {"name", "run-name", "on",          "permissions",
                                            "env",  "defaults", "concurrency", "jobs"};
static const char *const job_keys[] = {"cancel-timeout-minutes",
                                       "name",
                                       "needs",
                                       "runs-on",
                                       "if",
                                       "env",
                                       "defaults",
                                       "outputs",
                                       "environment",
                                       "timeout-minutes",
                                       "permissions",
                                       "steps",
                                       "continue-on-error",
                                       "concurrency",
                                       "container",
                                       "services",
                                       "strategy",
                                       "uses",
                                       "with",
                                       "secrets",
                                       "snapshot"};
static const char *const step_keys[] = {"id",
                                        "name",
                                        "if",
                                        "uses",
                                        "run",
                                        "with",
                                        "env",
                                        "shell",
                                        "working-directory",
                                        "continue-on-error",
                                        "timeout-minutes",
                                        "background"};
static const char *const scopes[] = {"actions",
                                     "artifact-metadata",
                                     "attestations",
                                     "checks",
                                     "code-quality",
                                     "contents",
                                     "copilot-requests",
                                     "deployments",
                                     "discussions",
                                     "drives",
                                     "id-token",
                                     "issues",
                                     "models",
                                     "packages",
                                     "pages",
                                     "pull-requests",
                                     "repository-projects",
                                     "security-events",
                                     "statuses",
                                     "vulnerability-alerts"};

/* Contexts by position, as GitHub's schema lists them. */
static const char *const in_workflow[] = {"github", "inputs", "vars", NULL};
static const char *const in_workflow_env[] = {"github", "inputs", "vars", "secrets", NULL};
static const char *const in_job_if[] = {"github", "needs", "vars", "inputs", NULL};
static const char *const in_job[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", NULL};
static const char *const in_job_env[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", "secrets", NULL};
static const char *const in_defaults[] = {"github", "needs", "strategy", "matrix", "vars", "inputs", "env", NULL};
static const char *const in_url[] = {"github", "needs", "strategy", "matrix", "vars", "inputs",
                                     "env",    "job",   "runner",   "steps",  NULL};
static const char *const in_step[] = {"github", "needs", "strategy", "matrix", "vars",    "inputs",
                                      "env",    "job",   "runner",   "steps",  "secrets", NULL};

/* What expressions may name from here on. */
static void allow(struct reader *r, const char *const *names, int flags)
{
	r->source.names = names;
	r->source.flags = flags;
}

void reader_fault(struct reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	faults_add(r->source.faults, r->source.doc, str_peek(&r->at), "%s", text ? text : "out of memory");
}

/* Every key must be one of names; an unknown one is a fault at the key, with the nearest name. */
void reader_known_keys(struct reader *r, const json_t *object, const char *what, const char *const *names, size_t count)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		bool known = false;
		for (size_t i = 0; i < count; i++)
			known |= strcmp(key, names[i]) == 0;
		if (known)
			continue;
		size_t mark = reader_enter(r, key);
		faults_add_key(r->source.faults, r->source.doc, str_peek(&r->at), "'%.60s' is no key of %s", key, what);
		const char *nearest = str_nearest(key, names, count);
		if (nearest)
			faults_hint(r->source.faults, "did you mean '%s'?", nearest);
		reader_leave(r, mark);
	}
}

size_t reader_enter(struct reader *r, const char *key)
{
	size_t mark = r->at.len;
	faults_pointer_push(&r->at, key);
	return mark;
}

static size_t enter_index(struct reader *r, size_t index)
{
	size_t mark = r->at.len;
	faults_pointer_push_index(&r->at, index);
	return mark;
}

void reader_leave(struct reader *r, size_t mark)
{
	str_truncate(&r->at, mark);
}

/* A member as a token; NULL when it is not there. */
static json_t *member_token(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, key);
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	reader_leave(r, mark);
	return token;
}

/* Where the schema wants a text, a number or a boolean becomes its text, as GitHub's reader does it: `fetch-depth: 0`
 * is '0'. */
static json_t *as_text(json_t *token)
{
	if (json_is_object(token) || json_is_string(token))
		return token;
	_cleanup_free_ char *text = template_literal(token);
	json_decref(token);
	return json_string(text ? text : "");
}

static void values_as_text(const json_t *token)
{
	size_t i;
	json_t *pair;
	json_array_foreach(json_object_get(token, "map"), i, pair)
		json_object_set_new(pair, "value", as_text(json_incref(json_object_get(pair, "value"))));
}

/* A map whose values are scalars (env, with, outputs), as a token. An expression for the whole map is allowed for env.
 */
static json_t *member_scalars(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (!value || json_is_null(value))
		return NULL;
	size_t mark = reader_enter(r, key);
	bool expression = json_is_string(value) && strstr(json_string_value(value), "${{") && strcmp(key, "env") == 0;
	if (!json_is_object(value) && !expression)
		reader_fault(r, "'%s' must be a map", key);
	const char *name;
	json_t *item;
	json_object_foreach(value, name, item)
	{
		size_t inner = reader_enter(r, name);
		if (json_is_object(item) || json_is_array(item))
			reader_fault(r, "the value of '%.60s' must be a text, a number or a boolean, not a %s", name,
			             json_is_array(item) ? "list" : "map");
		reader_leave(r, inner);
	}
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	values_as_text(token);
	reader_leave(r, mark);
	return token;
}

static char *member_condition(struct reader *r, const json_t *object)
{
	size_t mark = reader_enter(r, "if");
	char *condition = template_condition(&r->source, json_object_get(object, "if"), str_peek(&r->at));
	reader_leave(r, mark);
	return condition;
}

static bool is_expression(const json_t *value)
{
	return json_is_string(value) && strstr(json_string_value(value), "${{");
}

/* A member that is a text; a fault when it is something else or has an expression where none may stand. NULL: absent.
 */
static char *member_text(struct reader *r, const json_t *object, const char *key, bool expressions)
{
	json_t *value = json_object_get(object, key);
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, key);
	_cleanup_free_ char *text = template_literal(value);
	if (!text || !*text)
		reader_fault(r, "'%s' must be a text that is not empty", key);
	else if (!expressions && is_expression(value))
		reader_fault(r, "'%s' cannot hold an expression", key);
	reader_leave(r, mark);
	return TAKE(text);
}

static json_t *member_number(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value && !is_expression(value) && !(json_is_number(value) && json_number_value(value) > 0)) {
		size_t mark = reader_enter(r, key);
		reader_fault(r, "'%s' must be a number greater than 0", key);
		reader_leave(r, mark);
	}
	return member_token(r, object, key);
}

static json_t *member_boolean(struct reader *r, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value && !is_expression(value) && !json_is_boolean(value)) {
		size_t mark = reader_enter(r, key);
		reader_fault(r, "'%s' must be true or false", key);
		reader_leave(r, mark);
	}
	return member_token(r, object, key);
}

static bool is_name(const char *text)
{
	if (!isalpha((unsigned char)*text) && *text != '_')
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && *text != '_' && *text != '-')
			return false;
	return true;
}

static json_t *read_permissions(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "permissions");
	if (!value)
		return NULL;
	size_t mark = reader_enter(r, "permissions");
	const char *word = json_string_value(value);
	if (word && strcmp(word, "read-all") != 0 && strcmp(word, "write-all") != 0)
		reader_fault(r, "permissions are read-all, write-all or a map, not '%.40s'", word);
	else if (!word && !json_is_object(value))
		reader_fault(r, "permissions are read-all, write-all or a map");
	if (json_is_object(value))
		reader_known_keys(r, value, "permissions", scopes, ARRAY_SIZE(scopes));
	const char *scope;
	json_t *level;
	json_object_foreach(value, scope, level)
	{
		const char *text = json_string_value(level);
		size_t inner = reader_enter(r, scope);
		if (!text || (strcmp(text, "read") != 0 && strcmp(text, "write") != 0 && strcmp(text, "none") != 0))
			reader_fault(r, "a permission is read, write or none");
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	return json_incref(value);
}

static json_t *read_defaults(struct reader *r, const json_t *object)
{
	json_t *value = json_object_get(object, "defaults");
	if (!value || json_is_null(value))
		return NULL;
	size_t mark = reader_enter(r, "defaults");
	static const char *const keys[] = {"run"};
	static const char *const run_keys[] = {"shell", "working-directory"};
	if (!json_is_object(value))
		reader_fault(r, "'defaults' must be a map");
	else
		reader_known_keys(r, value, "defaults", keys, 1);
	json_t *run = json_object_get(value, "run");
	size_t inner = reader_enter(r, "run");
	if (json_is_object(run))
		reader_known_keys(r, run, "defaults.run", run_keys, 2);
	else if (run)
		reader_fault(r, "'run' must be a map");
	reader_leave(r, inner);
	json_t *token = template_from_yaml(&r->source, value, str_peek(&r->at));
	reader_leave(r, mark);
	return token;
}

static void refuse(struct reader *r, const json_t *object, const char *key, const char *why)
{
	if (!json_object_get(object, key))
		return;
	size_t mark = reader_enter(r, key);
	faults_add_key(r->source.faults, r->source.doc, str_peek(&r->at), "'%s' is not supported: %s", key, why);
	reader_leave(r, mark);
}

static void read_concurrency(struct reader *r, const json_t *object, json_t **group, json_t **cancel)
{
	json_t *value = json_object_get(object, "concurrency");
	if (!value)
		return;
	size_t mark = reader_enter(r, "concurrency");
	static const char *const keys[] = {"group", "cancel-in-progress", "queue"};
	if (json_is_string(value)) {
		*group = template_from_yaml(&r->source, value, str_peek(&r->at));
	} else if (json_is_object(value)) {
		reader_known_keys(r, value, "concurrency", keys, ARRAY_SIZE(keys));
		if (!json_is_string(json_object_get(value, "group")))
			reader_fault(r, "'concurrency' needs a 'group' that is a text");
		if (json_object_get(value, "queue") &&
		    strcmp(json_get_string(value, "queue") ? json_get_string(value, "queue") : "", "single") != 0)
			refuse(r, value, "queue", "one run waits, as without it");
		*group = member_token(r, value, "group");
		*cancel = member_boolean(r, value, "cancel-in-progress");
	} else {
		reader_fault(r, "'concurrency' must be a text or a map with 'group'");
	}
	reader_leave(r, mark);
}

/* owner/repo[/path]@ref, ./path, docker://image: protocol of the runner, "reference". */
static json_t *read_reference(struct reader *r, const char *uses)
{
	if (str_starts(uses, "docker://"))
		return json_pack("{s:s, s:s}", "type", "containerRegistry", "image", uses + strlen("docker://"));
	if (str_starts(uses, "./"))
		return json_pack("{s:s, s:n, s:n, s:s, s:s}", "type", "repository", "name", "ref", "repositoryType",
		                 "self", "path", uses);
	const char *at = strchr(uses, '@');
	const char *slash = strchr(uses, '/');
	if (!at || strchr(at + 1, '@') || !at[1] || !slash || slash > at || slash == uses || slash + 1 == at) {
		reader_fault(r,
		             "'uses' has the form OWNER/REPOSITORY[/PATH]@REF, ./PATH or docker://IMAGE, not '%.80s'",
		             uses);
		return json_pack("{s:s}", "type", "script");
	}
	const char *path = memchr(slash + 1, '/', (size_t)(at - slash - 1));
	const char *name_end = path ? path : at;
	json_t *reference = json_pack("{s:s, s:s%, s:s, s:s, s:n}", "type", "repository", "name", uses,
	                              (size_t)(name_end - uses), "ref", at + 1, "repositoryType", "GitHub", "path");
	while (path && path < at && *path == '/')
		path++;
	if (path && path < at)
		json_object_set_new(reference, "path", json_stringn(path, (size_t)(at - path)));
	return reference;
}

/* A name for a step without id: __run, __actions_checkout, with _2, _3, … when taken. */
static char *made_up_name(const struct workflow_job *job, size_t index, const json_t *reference)
{
	const char *type = json_get_string(reference, "type");
	const char *name = json_get_string(reference, "name");
	_cleanup_(str_done) struct str base = STR_INIT(512);
	str_append(&base, "__");
	str_append(&base, strcmp(type, "script") == 0              ? "run"
	                  : name                                   ? name
	                  : strcmp(type, "containerRegistry") == 0 ? json_get_string(reference, "image")
	                                                           : "self");
	for (size_t i = 2; i < base.len; i++)
		if (!isalnum((unsigned char)base.data[i]) && base.data[i] != '-')
			base.data[i] = '_';
	_cleanup_free_ char *candidate = xstrdup(str_peek(&base));
	for (int n = 2;; n++) {
		bool taken = false;
		for (size_t i = 0; i < index; i++)
			taken |= job->steps[i].context_name && strcmp(job->steps[i].context_name, candidate) == 0;
		if (!taken)
			return TAKE(candidate);
		free(candidate);
		candidate = xasprintf("%s_%d", str_peek(&base), n);
	}
}

static json_t *script_inputs(struct reader *r, const json_t *object)
{
	static const struct {
		const char *yaml, *input;
	} keys[] = {
		{"run", "script"},
		{"shell", "shell"},
		{"working-directory", "workingDirectory"},
	};
	json_t *map = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *token = member_token(r, object, keys[i].yaml);
		if (token)
			json_array_append_new(map,
			                      json_pack("{s:s, s:o}", "key", keys[i].input, "value", as_text(token)));
	}
	return json_pack("{s:i, s:o}", "type", 2, "map", map);
}

static void read_step(struct reader *r, struct workflow_job *job, size_t index, const json_t *value)
{
	struct workflow_step *step = &job->steps[index];
	step->mark = yaml_value_mark(r->source.doc, str_peek(&r->at));
	step->reference = json_pack("{s:s}", "type", "script");
	if (!json_is_object(value)) {
		reader_fault(r, "a step must be a map");
		step->context_name = made_up_name(job, index, step->reference);
		return;
	}
	allow(r, in_step, EXPR_WITH_HASH_FILES);
	reader_known_keys(r, value, "a step", step_keys, ARRAY_SIZE(step_keys));
	refuse(r, value, "background", "steps run one after the other here");
	_cleanup_free_ char *run = member_text(r, value, "run", true);
	_cleanup_free_ char *uses = member_text(r, value, "uses", false);
	_cleanup_free_ char *id = member_text(r, value, "id", false);
	if (!run == !uses)
		reader_fault(r, run ? "a step has either 'run' or 'uses', not both" : "a step needs 'run' or 'uses'");
	if (uses && !run) {
		json_decref(step->reference);
		size_t mark = reader_enter(r, "uses");
		step->reference = read_reference(r, uses);
		reader_leave(r, mark);
		static const char *const only_run[] = {"shell", "working-directory"};
		for (size_t i = 0; i < ARRAY_SIZE(only_run); i++)
			if (json_object_get(value, only_run[i]))
				reader_fault(r, "'%s' belongs to a step with 'run'", only_run[i]);
		step->inputs = member_scalars(r, value, "with");
	} else {
		if (json_object_get(value, "with"))
			reader_fault(r, "'with' belongs to a step with 'uses'");
		step->inputs = script_inputs(r, value);
	}
	if (id && (!is_name(id) || str_starts(id, "__"))) {
		size_t mark = reader_enter(r, "id");
		reader_fault(r, "an id has letters, digits, - and _, begins with a letter or _ and not with __");
		reader_leave(r, mark);
	}
	for (size_t i = 0; id && i < index; i++)
		if (job->steps[i].context_name && strcasecmp(job->steps[i].context_name, id) == 0)
			reader_fault(r, "the id '%.60s' is taken by step %zu", id, i + 1);
	step->context_name = id ? TAKE(id) : made_up_name(job, index, step->reference);
	allow(r, in_url, EXPR_WITH_STATUS | EXPR_WITH_HASH_FILES);
	step->condition = member_condition(r, value);
	allow(r, in_step, EXPR_WITH_HASH_FILES);
	step->name = member_token(r, value, "name");
	if (step->name)
		step->name = as_text(step->name);
	step->env = member_scalars(r, value, "env");
	step->continue_on_error = member_boolean(r, value, "continue-on-error");
	step->timeout_minutes = member_number(r, value, "timeout-minutes");
}

static void read_steps(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *steps = json_object_get(object, "steps");
	if (!json_is_array(steps) || !json_array_size(steps)) {
		reader_fault(r, "a job needs 'steps', a list with at least one step");
		return;
	}
	job->step_count = json_array_size(steps);
	job->steps = xcalloc(job->step_count, sizeof(*job->steps));
	size_t mark = reader_enter(r, "steps");
	for (size_t i = 0; i < job->step_count; i++) {
		size_t inner = enter_index(r, i);
		read_step(r, job, i, json_array_get(steps, i));
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
}

static void read_environment(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *value = json_object_get(object, "environment");
	if (!value || json_is_null(value))
		return;
	size_t mark = reader_enter(r, "environment");
	static const char *const keys[] = {"name", "url", "deployment"};
	if (json_is_string(value)) {
		job->environment_name = template_from_yaml(&r->source, value, str_peek(&r->at));
	} else if (json_is_object(value)) {
		reader_known_keys(r, value, "environment", keys, ARRAY_SIZE(keys));
		json_decref(member_boolean(r, value,
		                           "deployment")); /* checked; this forge makes no deployment of its own */
		if (!json_is_string(json_object_get(value, "name")))
			reader_fault(r, "'environment' needs a 'name' that is a text");
		job->environment_name = member_token(r, value, "name");
		allow(r, in_url, 0);
		job->environment_url = member_token(r, value, "url");
		allow(r, in_job, 0);
	} else {
		reader_fault(r, "'environment' must be a text or a map with 'name'");
	}
	reader_leave(r, mark);
}

static void read_runs_on(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *value = json_object_get(object, "runs-on");
	size_t mark = reader_enter(r, "runs-on");
	bool good = json_is_string(value) && *json_string_value(value);
	if (json_is_array(value)) {
		size_t i;
		json_t *item;
		good = json_array_size(value) > 0;
		json_array_foreach(value, i, item) good &= json_is_string(item) && *json_string_value(item);
	}
	if (json_is_object(value))
		reader_fault(r, "'runs-on' by 'group' is not supported: name labels, as a text or a list");
	else if (!good)
		reader_fault(r, value ? "'runs-on' must be a label or a list of labels" : "a job needs 'runs-on'");
	job->runs_on = value ? template_from_yaml(&r->source, value, str_peek(&r->at)) : NULL;
	reader_leave(r, mark);
}

static void read_needs(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *value = json_object_get(object, "needs");
	if (json_is_string(value)) {
		strv_add(&job->needs, json_string_value(value));
		return;
	}
	size_t mark = reader_enter(r, "needs");
	size_t i;
	json_t *item;
	if (value && !json_is_array(value))
		reader_fault(r, "'needs' must be the id of a job or a list of them");
	json_array_foreach(value, i, item)
	{
		if (json_is_string(item))
			strv_add(&job->needs, json_string_value(item));
		else
			reader_fault(r, "'needs' holds ids of jobs");
	}
	reader_leave(r, mark);
}

static void read_job(struct reader *r, struct workflow_job *job, const char *id, const json_t *value)
{
	job->id = xstrdup(id);
	job->mark = yaml_key_mark(r->source.doc, str_peek(&r->at));
	job->condition = xstrdup("success()");
	if (!is_name(id))
		faults_add_key(r->source.faults, r->source.doc, str_peek(&r->at),
		               "the id of a job has letters, digits, - and _, and begins with a letter or _");
	if (!json_is_object(value)) {
		reader_fault(r, "a job must be a map");
		return;
	}
	reader_known_keys(r, value, "a job", job_keys, ARRAY_SIZE(job_keys));
	refuse(r, value, "strategy", "write one job for each combination");
	refuse(r, value, "uses", "call of a reusable workflow; write its jobs into this file");
	refuse(r, value, "with", "it belongs to the call of a reusable workflow");
	refuse(r, value, "secrets", "it belongs to the call of a reusable workflow");
	refuse(r, value, "snapshot", "custom images exist only on hosted runners");
	free(job->condition);
	allow(r, in_job_if, EXPR_WITH_STATUS);
	job->condition = member_condition(r, value);
	allow(r, in_job, 0);
	job->name = member_token(r, value, "name");
	read_needs(r, job, value);
	if (!json_object_get(value, "uses")) {
		read_runs_on(r, job, value);
		read_steps(r, job, value);
	}
	allow(r, in_job_env, 0);
	job->env = member_scalars(r, value, "env");
	allow(r, in_defaults, 0);
	job->defaults = read_defaults(r, value);
	allow(r, in_step, 0);
	job->outputs = member_scalars(r, value, "outputs");
	allow(r, in_job, 0);
	job->timeout_minutes = member_number(r, value, "timeout-minutes");
	job->cancel_timeout_minutes = member_number(r, value, "cancel-timeout-minutes");
	job->continue_on_error = member_boolean(r, value, "continue-on-error");
	allow(r, in_step, 0);
	job->container = member_token(r, value, "container");
	job->services = member_token(r, value, "services");
	allow(r, in_job, 0);
	job->permissions = read_permissions(r, value);
	read_environment(r, job, value);
	read_concurrency(r, value, &job->concurrency_group, &job->concurrency_cancel);
}

static size_t job_index(const struct workflow *w, const char *id)
{
	const struct workflow_job *job = workflow_find_job(w, id);
	return job ? (size_t)(job - w->jobs) : SIZE_MAX;
}

/* Depth-first with three colours (0 new, 1 on the way, 2 done), each job once: true when a way leads back onto itself.
 */
static bool has_cycle(const struct workflow *w, size_t at, char *colour)
{
	colour[at] = 1;
	bool found = false;
	for (size_t i = 0; i < w->jobs[at].needs.count && !found; i++) {
		size_t next = job_index(w, w->jobs[at].needs.items[i]);
		found = next != SIZE_MAX && (colour[next] == 1 || (colour[next] == 0 && has_cycle(w, next, colour)));
	}
	colour[at] = 2;
	return found;
}

static void check_needs(struct reader *r, const struct workflow *w)
{
	const char *ids[WORKFLOW_MAX_JOBS];
	for (size_t i = 0; i < w->job_count; i++)
		ids[i] = w->jobs[i].id;
	_cleanup_free_ char *colour = xcalloc(w->job_count, 1);
	for (size_t i = 0; i < w->job_count; i++) {
		const struct workflow_job *job = &w->jobs[i];
		size_t mark = reader_enter(r, "jobs");
		reader_enter(r, job->id);
		reader_enter(r, "needs");
		for (size_t n = 0; n < job->needs.count; n++) {
			if (workflow_find_job(w, job->needs.items[n]))
				continue;
			reader_fault(r, "job '%s' needs '%.60s', which is no job of this file", job->id,
			             job->needs.items[n]);
			const char *nearest = str_nearest(job->needs.items[n], ids, w->job_count);
			if (nearest)
				faults_hint(r->source.faults, "did you mean '%s'?", nearest);
		}
		if (!colour[i] && has_cycle(w, i, colour))
			reader_fault(r, "job '%s' waits for itself through its 'needs'", job->id);
		reader_leave(r, mark);
	}
}

static void read_jobs(struct reader *r, struct workflow *w, const json_t *root)
{
	json_t *jobs = json_object_get(root, "jobs");
	if (!json_is_object(jobs) || !json_object_size(jobs)) {
		reader_fault(r, "a workflow needs 'jobs', a map with at least one job");
		return;
	}
	size_t mark = reader_enter(r, "jobs");
	if (json_object_size(jobs) > WORKFLOW_MAX_JOBS) {
		reader_fault(r, "more than %d jobs", WORKFLOW_MAX_JOBS);
		reader_leave(r, mark);
		return;
	}
	w->jobs = xcalloc(json_object_size(jobs), sizeof(*w->jobs));
	const char *id;
	json_t *value;
	json_object_foreach(jobs, id, value)
	{
		size_t inner = reader_enter(r, id);
		read_job(r, &w->jobs[w->job_count++], id, value);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	check_needs(r, w);
}

int workflow_read(const char *path, const char *data, size_t len, struct faults *faults, struct workflow **ret,
                  struct yaml_doc **ret_doc, struct err *err)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	limits.refuse_merge = true;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	int result = yaml_read(path, data, len, &limits, &doc, err);
	if (result < 0)
		return result;
	struct reader r = {.source = {.doc = doc, .file = 1, .faults = faults}, .at = STR_INIT(8192)};
	size_t before = faults->count;
	_cleanup_(workflow_freep) struct workflow *w = xcalloc(1, sizeof(*w));
	w->path = xstrdup(path);
	json_t *root = yaml_root(doc);
	if (json_is_object(root)) {
		reader_known_keys(&r, root, "a workflow", workflow_keys, ARRAY_SIZE(workflow_keys));
		w->name = member_text(&r, root, "name", false);
		allow(&r, in_workflow, 0);
		w->run_name = member_token(&r, root, "run-name");
		w->on = reader_triggers(&r, root);
		w->permissions = read_permissions(&r, root);
		allow(&r, in_workflow_env, 0);
		w->env = member_scalars(&r, root, "env");
		allow(&r, in_workflow, 0);
		w->defaults = read_defaults(&r, root);
		read_concurrency(&r, root, &w->concurrency_group, &w->concurrency_cancel);
		read_jobs(&r, w, root);
	} else {
		reader_fault(&r, "a workflow must be a map with 'on' and 'jobs'");
	}
	if (!w->name)
		w->name = xstrdup(path);
	str_done(&r.at);
	if (faults->count > before)
		result = faults_to_err(faults, doc, err);
	else
		*ret = TAKE(w);
	if (ret_doc)
		*ret_doc = TAKE(doc);
	return result;
}
