/* call: reusable workflows: the job that calls one, what one says of its inputs, secrets and outputs, and what a call gives it. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

static const char *const in_with[] = {"github", "needs", "strategy", "matrix", "inputs", "vars", NULL};
static const char *const in_secrets[] = {"github", "needs", "strategy", "matrix", "inputs", "vars", "secrets", NULL};
static const char *const in_output[] = {"github", "jobs", "vars", "inputs", NULL};
static const char *const in_default[] = {"github", "inputs", "vars", NULL};

/* ---- on.workflow_call */

static void check_token(struct reader *r, const json_t *object, const char *key, const char *const *names)
{
	reader_allow(r, names, 0);
	json_decref(reader_token(r, object, key));
}

static void read_call_input(struct reader *r, const json_t *input)
{
	static const char *const keys[] = {"description", "required", "default", "type", "deprecationMessage"};
	const char *type = json_get_string(input, "type");
	reader_known_keys(r, input, "an input", keys, ARRAY_SIZE(keys));
	if (type == NULL ||
	    (strcmp(type, "string") != 0 && strcmp(type, "boolean") != 0 && strcmp(type, "number") != 0))
		reader_fault(r, "an input of a reusable workflow needs a 'type': string, boolean or number");
	json_decref(reader_boolean(r, input, "required"));
	check_token(r, input, "default", in_default);
}

static void read_call_secret(struct reader *r, const json_t *secret)
{
	static const char *const keys[] = {"description", "required"};
	reader_known_keys(r, secret, "a secret", keys, ARRAY_SIZE(keys));
	json_decref(reader_boolean(r, secret, "required"));
}

static void read_call_output(struct reader *r, const json_t *output)
{
	static const char *const keys[] = {"description", "value"};
	reader_known_keys(r, output, "an output", keys, ARRAY_SIZE(keys));
	if (!json_is_string(json_object_get(output, "value")))
		reader_fault(r, "an output of a reusable workflow needs a 'value'");
	check_token(r, output, "value", in_output);
}

static void read_map(struct reader *r, const json_t *call, const char *key,
                     void (*read)(struct reader *r, const json_t *entry))
{
	json_t *map = json_object_get(call, key), *entry;
	const char *name;
	size_t mark = reader_enter(r, key);
	if (map != NULL && !json_is_object(map) && !json_is_null(map))
		reader_fault(r, "'%s' must be a map", key);
	json_object_foreach(map, name, entry)
	{
		size_t inner = reader_enter(r, name);
		json_t *empty = json_object();
		if (json_is_object(entry) || json_is_null(entry))
			read(r, json_is_object(entry) ? entry : empty);
		else
			reader_fault(r, "it must be a map");
		json_decref(empty);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
}

void reader_call_trigger(struct reader *r, const json_t *call)
{
	static const char *const keys[] = {"inputs", "outputs", "secrets"};
	reader_known_keys(r, call, "on.workflow_call", keys, ARRAY_SIZE(keys));
	read_map(r, call, "inputs", read_call_input);
	read_map(r, call, "secrets", read_call_secret);
	read_map(r, call, "outputs", read_call_output);
}

/* ---- the job that calls */

static bool is_local(const char *uses)
{
	static const char front[] = "./.github/workflows/";
	return str_starts(uses, front) && strchr(uses + strlen(front), '/') == NULL && strchr(uses, '@') == NULL &&
	       (str_ends(uses, ".yml") || str_ends(uses, ".yaml"));
}

static bool is_of_a_repository(const char *uses)
{
	const char *at = strrchr(uses, '@');
	return uses[0] != '.' && at != NULL && at[1] != '\0' && strstr(uses, "/.github/workflows/") != NULL;
}

/* The values keep their types, which the inputs declare. */
static void read_with(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *with = json_object_get(object, "with"), *value;
	const char *name;
	size_t mark = reader_enter(r, "with");
	if (with != NULL && !json_is_object(with))
		reader_fault(r, "'with' must be a map");
	json_object_foreach(with, name, value)
	{
		if (json_is_object(value) || json_is_array(value))
			reader_fault(r, "the value of '%.60s' must be a string, a number or a boolean", name);
	}
	reader_leave(r, mark);
	reader_allow(r, in_with, 0);
	job->with = reader_token(r, object, "with");
}

static void read_secrets(struct reader *r, struct workflow_job *job, const json_t *object)
{
	const char *word = json_get_string(object, "secrets");
	size_t mark = reader_enter(r, "secrets");
	job->inherits_secrets = word != NULL && strcmp(word, "inherit") == 0;
	if (word != NULL && !job->inherits_secrets)
		reader_fault(r, "'secrets' is a map, or the word inherit");
	reader_leave(r, mark);
	if (word == NULL) {
		reader_allow(r, in_secrets, 0);
		job->secrets = reader_scalars(r, object, "secrets");
	}
}

void reader_call(struct reader *r, struct workflow_job *job, const json_t *object)
{
	static const char *const steps_only[] = {
		"runs-on",          "steps",   "env",      "container",   "services",
		"timeout-minutes",  "outputs", "defaults", "environment", "cancel-timeout-minutes",
		"continue-on-error"};
	for (size_t i = 0; i < ARRAY_SIZE(steps_only); i++)
		reader_forbid(r, object, steps_only[i], "a job with steps, not to the call of a reusable workflow");
	job->uses = reader_string(r, object, "uses", false);
	size_t mark = reader_enter(r, "uses");
	if (job->uses != NULL && is_of_a_repository(job->uses))
		reader_refuse_here(r, "only reusable workflows of the same repository are called here: "
		                      "./.github/workflows/NAME.yml");
	else if (job->uses != NULL && !is_local(job->uses))
		reader_fault(r, "a reusable workflow is named ./.github/workflows/NAME.yml or "
		                "OWNER/REPO/.github/workflows/NAME.yml@REF");
	reader_leave(r, mark);
	read_with(r, job, object);
	read_secrets(r, job, object);
}

/* ---- what a call gives */

static int check_type(const char *name, const char *type, const json_t *value, json_t **ret, struct err *err)
{
	bool good = strcmp(type, "boolean") == 0  ? json_is_boolean(value)
	            : strcmp(type, "number") == 0 ? json_is_number(value)
	                                          : !json_is_object(value) && !json_is_array(value);
	if (!good)
		return err_set(err, ERR_INVALID, "input '%.60s' of the reusable workflow must be a %s", name, type);
	_cleanup_free_ char *text = strcmp(type, "string") == 0 ? template_literal(value) : NULL;
	*ret = strcmp(type, "string") == 0 ? json_string(text != NULL ? text : "")
	                                   : json_incref((json_t *)(uintptr_t)value);
	return 0;
}

static json_t *empty_of(const char *type)
{
	return strcmp(type, "boolean") == 0  ? json_false()
	       : strcmp(type, "number") == 0 ? json_integer(0)
	                                     : json_string("");
}

static int one_input(const json_t *declared, const char *name, json_t *given, const struct expr_scope *scope,
                     json_t **ret, struct err *err)
{
	const char *type = json_get_string(declared, "type");
	const json_t *said = json_object_get(declared, "default");
	_cleanup_json_ json_t *value = json_incref(given);
	if (value == NULL && json_get_bool(declared, "required", false))
		return err_set(err, ERR_INVALID, "Input %.60s is required, but not provided while calling.", name);
	if (value == NULL && json_is_string(said)) {
		int r = expr_template(json_string_value(said), scope, &value, err);
		if (r < 0)
			return err_wrap(err, r, "the default of input '%.60s'", name);
	} else if (value == NULL) {
		value = said != NULL && !json_is_null(said) ? json_incref((json_t *)(uintptr_t)said) : empty_of(type);
	}
	return check_type(name, type, value, ret, err);
}

static int none_unknown(const json_t *given, const json_t *declared, const char *what, struct err *err)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)given, name, value)
	{
		if (expr_member(declared, name, strlen(name)) == NULL)
			return err_set(err, ERR_INVALID, "Invalid %s, %.60s is not defined in the referenced workflow.",
			               what, name);
	}
	return 0;
}

int workflow_call_inputs(const struct workflow *w, const json_t *given, const struct expr_scope *scope, json_t **ret,
                         struct err *err)
{
	const json_t *declared = json_object_get(json_object_get(w->on, "workflow_call"), "inputs");
	_cleanup_json_ json_t *inputs = json_object();
	const char *name;
	json_t *entry;
	int r = none_unknown(given, declared, "input", err);
	json_object_foreach((json_t *)(uintptr_t)declared, name, entry)
	{
		json_t *value = NULL;
		if (r >= 0)
			r = one_input(entry, name, expr_member(given, name, strlen(name)), scope, &value, err);
		if (r >= 0)
			json_object_set_new(inputs, name, value);
	}
	if (r >= 0)
		*ret = TAKE(inputs);
	return r;
}

int workflow_call_secrets(const struct workflow *w, const json_t *given, bool inherited, struct err *err)
{
	const json_t *declared = json_object_get(json_object_get(w->on, "workflow_call"), "secrets");
	const char *name;
	json_t *entry;
	int r = inherited ? 0 : none_unknown(given, declared, "secret", err);
	json_object_foreach((json_t *)(uintptr_t)declared, name,
	                    entry) if (r >= 0 && json_get_bool(entry, "required", false) &&
	                               expr_member(given, name, strlen(name)) == NULL) r =
		err_set(err, ERR_INVALID, "Secret %.60s is required, but not provided while calling.", name);
	return r;
}

json_t *workflow_permissions_below(const json_t *own, const json_t *callers)
{
	json_t *out = json_object(), *level;
	const char *scope;
	json_object_foreach((json_t *)(uintptr_t)own, scope, level)
	{
		const char *most = json_get_string(callers, scope);
		if (most != NULL)
			json_object_set_new(out, scope,
			                    json_string(strcmp(most, "write") == 0 ? json_string_value(level) : most));
	}
	return out;
}
