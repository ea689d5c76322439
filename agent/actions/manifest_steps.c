/* manifest_steps: the steps of a composite action, in the form of a job message's. */
#include "agent/actions/manifest_priv.h"

#include "agent/expr/expr.h"
#include "agent/template/uses.h"

#include <ctype.h>
#include <strings.h>

enum { ID_MAX = 100 };
static const char *const step_contexts[] = {"github", "inputs", "strategy", "matrix", "steps",
                                            "job",    "runner", "env",      NULL};
static const char *const if_contexts[] = {"github", "inputs", "strategy", "matrix", "steps", "job",
                                          "runner", "env",    "needs",    "vars",   NULL};

static bool is_id(const char *text)
{
	if ((!isalpha((unsigned char)*text) && *text != '_') || strlen(text) >= ID_MAX)
		return false;
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && *text != '_' && *text != '-')
			return false;
	return true;
}

static bool is_taken(void *user, const char *name)
{
	const json_t *steps = user;
	size_t i;
	json_t *step;
	json_array_foreach((json_t *)(uintptr_t)steps, i,
	                   step) if (strcasecmp(json_get_string(step, "contextName"), name) == 0) return true;
	return false;
}

static json_t *read_token(struct manifest_look *l, const json_t *value, const char *key)
{
	json_t *member = json_object_get(value, key);
	if (json_is_object(member) || json_is_array(member)) {
		size_t mark = manifest_enter(l, key);
		manifest_fault(l, "'%s' must be a text", key);
		str_truncate(&l->at, mark);
		return NULL;
	}
	return manifest_token(l, value, key, step_contexts, EXPR_WITH_HASH_FILES);
}

static void add_input(json_t *map, const char *name, json_t *token)
{
	if (token != NULL)
		json_array_append_new(map, json_pack("{s:s, s:o}", "key", name, "value", token));
}

static json_t *script_inputs(struct manifest_look *l, const json_t *value)
{
	static const char *const required[] = {"run", "shell"};
	json_t *map = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (json_object_get(value, required[i]) == NULL)
			manifest_fault(l, "Required property is missing: %s", required[i]);
	add_input(map, "script", read_token(l, value, "run"));
	add_input(map, "shell", read_token(l, value, "shell"));
	add_input(map, "workingDirectory", read_token(l, value, "working-directory"));
	return json_pack("{s:i, s:o}", "type", 2, "map", map);
}

/* A map of scalars, or an expression for the whole (env). */
static json_t *read_map(struct manifest_look *l, const json_t *value, const char *key, bool expression)
{
	json_t *map = json_object_get(value, key), *item;
	const char *name;
	size_t mark = manifest_enter(l, key);
	if (map != NULL && !json_is_object(map) && !json_is_null(map) &&
	    !(expression && json_is_string(map) && expr_is_template(json_string_value(map))))
		manifest_fault(l, "'%s' must be a map", key);
	json_object_foreach(map, name, item) if (json_is_object(item) || json_is_array(item))
		manifest_fault(l, "the value of '%.60s' must be a text", name);
	str_truncate(&l->at, mark);
	return manifest_token(l, value, key, step_contexts, EXPR_WITH_HASH_FILES);
}

static json_t *read_reference(struct manifest_look *l, const json_t *value)
{
	struct err err = ERR_INIT;
	json_t *reference = NULL;
	_cleanup_free_ char *uses = manifest_text(l, value, "uses");
	size_t mark = manifest_enter(l, "uses");
	if (uses_read(uses != NULL ? uses : "", &reference, &err) < 0) {
		manifest_fault(l, "%s", err.frames[0].text);
		reference = json_pack("{s:s}", "type", "script");
	}
	str_truncate(&l->at, mark);
	return reference;
}

static char *read_name(struct manifest_look *l, const json_t *value, const json_t *reference)
{
	_cleanup_free_ char *id = manifest_text(l, value, "id");
	if (id == NULL)
		return uses_context_name(reference, is_taken, l->manifest->steps);
	if (!is_id(id) || str_starts(id, "__"))
		manifest_fault(
			l,
			"The identifier '%.60s' is invalid. IDs may only contain alphanumeric characters, '_', and "
			"'-'. IDs must start with a letter or '_' and must be less than 100 characters.",
			id);
	if (is_taken(l->manifest->steps, id))
		manifest_fault(l, "The identifier '%.60s' may not be used more than once within the same scope.", id);
	return TAKE(id);
}

static char *read_condition(struct manifest_look *l, const json_t *value)
{
	struct template_source source = {.doc = l->doc,
	                                 .file = 1,
	                                 .faults = &l->faults,
	                                 .names = if_contexts,
	                                 .flags = EXPR_WITH_STATUS | EXPR_WITH_HASH_FILES};
	size_t mark = manifest_enter(l, "if");
	char *condition = template_condition(&source, json_object_get(value, "if"), str_peek(&l->at));
	str_truncate(&l->at, mark);
	return condition;
}

static void set_member(json_t *step, const char *name, json_t *token)
{
	if (token != NULL)
		json_object_set_new(step, name, token);
}

static void read_step(struct manifest_look *l, const json_t *value)
{
	static const char *const run_keys[] = {
		"run", "shell", "name", "id", "if", "env", "continue-on-error", "working-directory"};
	static const char *const uses_keys[] = {"uses", "with", "name", "id", "if", "env", "continue-on-error"};
	bool run = json_object_get(value, "run") != NULL, uses = json_object_get(value, "uses") != NULL;
	if (!json_is_object(value) || run == uses) {
		manifest_fault(l, run ? "a step has either 'run' or 'uses', not both" : "a step needs 'run' or 'uses'");
		return;
	}
	if (run)
		manifest_known_keys(l, value, "a step with 'run'", run_keys, ARRAY_SIZE(run_keys));
	else
		manifest_known_keys(l, value, "a step with 'uses'", uses_keys, ARRAY_SIZE(uses_keys));
	json_t *reference = run ? json_pack("{s:s}", "type", "script") : read_reference(l, value);
	_cleanup_free_ char *name = read_name(l, value, reference), *condition = read_condition(l, value);
	json_t *step = json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "action", "name", name, "contextName", name,
	                         "condition", condition, "reference", reference);
	set_member(step, "inputs", run ? script_inputs(l, value) : read_map(l, value, "with", false));
	set_member(step, "environment", read_map(l, value, "env", true));
	set_member(step, "displayNameToken", read_token(l, value, "name"));
	set_member(step, "continueOnError", read_token(l, value, "continue-on-error"));
	json_array_append_new(l->manifest->steps, step);
}

void manifest_steps_read(struct manifest_look *l, const json_t *runs)
{
	json_t *steps = json_object_get(runs, "steps"), *step;
	size_t i, mark = manifest_enter(l, "steps");
	l->manifest->steps = json_array();
	if (!json_is_array(steps))
		manifest_fault(l, "a composite action needs 'steps', a list");
	else if (json_array_size(steps) > MANIFEST_STEPS_MAX)
		manifest_fault(l, "an action has at most %d steps", MANIFEST_STEPS_MAX);
	else
		json_array_foreach(steps, i, step)
		{
			size_t inner = l->at.len;
			faults_pointer_push_index(&l->at, i);
			read_step(l, step);
			str_truncate(&l->at, inner);
		}
	str_truncate(&l->at, mark);
}
