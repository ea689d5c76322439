/* action: an action.yml, its inputs, and the steps of a composite action. */
#include "agent/validate/validate.h"
#include "agent/expr/expr.h"
#include "agent/template/read.h"
#include "base/core/mem.h"

#include <string.h>
#include <strings.h>

struct action_look {
	const struct validate_file *file;
	const struct yaml_doc *doc;
	struct faults faults;
	struct str at;
	const json_t *inputs;
	const json_t *steps; /* of a composite action; NULL: another one */
	size_t step;         /* steps before this one have run */
};

/* The contexts of the places of a manifest; a list ends with NULL. */
static const char *const step_contexts[] = {"github", "inputs", "strategy", "matrix", "steps",
                                            "job",    "runner", "env",      NULL};
static const char *const condition_contexts[] = {"github", "inputs", "strategy", "matrix", "steps", "job",
                                                 "runner", "env",    "needs",    "vars",   NULL};
static const char *const default_contexts[] = {"github", "strategy", "matrix", "job", "runner", NULL};
static const char *const docker_contexts[] = {"inputs", NULL};

static void known_keys(struct action_look *l, const json_t *object, const char *what, const char *const *names,
                       size_t count)
{
	faults_check_keys(&l->faults, l->doc, &l->at, object, what, names, count);
}

static void wrong(struct action_look *l, const char *below, const char *code, const char *fmt, ...) _printf_(4, 5);
static void wrong(struct action_look *l, const char *below, const char *code, const char *fmt, ...)
{
	size_t base = l->at.len;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (below != NULL)
		faults_pointer_push(&l->at, below);
	faults_add(&l->faults, l->doc, str_peek(&l->at), "%s", text != NULL ? text : "out of memory");
	faults_code(&l->faults, code);
	str_truncate(&l->at, base);
}

static void check_member(const struct action_look *l, const char *const *path, size_t count)
{
	_cleanup_free_ char *message = NULL, *hint = NULL;
	if (validate_unknown_member(path, count, &message, &hint))
		finding_add(l->file->findings, l->file->name, yaml_value_mark(l->doc, str_peek(&l->at)),
		            FINDING_WARNING, "unknown-member", hint, "%s", message);
}

static void check_step_name(struct action_look *l, const char *name)
{
	size_t i;
	json_t *step;
	json_array_foreach((json_t *)(uintptr_t)l->steps, i, step)
	{
		const char *id = json_get_string(step, "id");
		if (id == NULL || strcasecmp(id, name) != 0)
			continue;
		if (i >= l->step)
			wrong(l, NULL, "unknown-step", "step '%s' has not run yet when this is evaluated", name);
		return;
	}
	wrong(l, NULL, "unknown-step", "the action has no step with the id '%s'", name);
}

static void check_name(void *user, const char *const *path, size_t count)
{
	struct action_look *l = user;
	check_member(l, path, count);
	if (count > 1 && l->steps != NULL && strcasecmp(path[0], "steps") == 0)
		check_step_name(l, path[1]);
	if (count < 2 || strcasecmp(path[0], "inputs") != 0)
		return;
	if (validate_member(l->inputs, path[1]) == NULL)
		wrong(l, NULL, "unknown-input", "the action has no input '%s'", path[1]);
}

/* Expressions below a value: understood, of contexts that are there, and of inputs that there are. */
static void check_expressions(struct action_look *l, const json_t *value, const char *const *contexts, unsigned flags)
{
	bool condition = contexts == condition_contexts;
	struct template_source source = {.doc = l->doc,
	                                 .faults = &l->faults,
	                                 .names = contexts,
	                                 .flags = flags | (condition ? EXPR_WITH_STATUS : 0)};
	size_t base = l->at.len, i;
	const char *key;
	json_t *item;
	if (json_is_string(value)) {
		if (condition)
			free(template_condition(&source, value, str_peek(&l->at)));
		else
			json_decref(template_from_yaml(&source, value, str_peek(&l->at)));
		validate_each_path(json_string_value(value), condition, 0, check_name, l);
		_cleanup_free_ char *failure = validate_sure_failure(json_string_value(value), condition);
		if (failure != NULL)
			wrong(l, NULL, "expression", "%s", failure);
	}
	json_array_foreach(value, i, item)
	{
		faults_pointer_push_index(&l->at, i);
		check_expressions(l, item, contexts, flags);
		str_truncate(&l->at, base);
	}
	if (!json_is_object(value))
		return;
	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		faults_pointer_push(&l->at, key);
		bool is_condition = contexts == step_contexts && strcmp(key, "if") == 0;
		check_expressions(l, item, is_condition ? condition_contexts : contexts, flags);
		str_truncate(&l->at, base);
	}
}

static void tell_stranger(void *user, const char *what)
{
	struct action_look *l = user;
	finding_add(l->file->findings, l->file->name, yaml_value_mark(l->doc, str_peek(&l->at)), FINDING_WARNING,
	            "script-injection", "hand it over by 'env:' and write \"$NAME\" in the script",
	            "a stranger chooses %s, which becomes part of the script", what);
}

static void check_script(struct action_look *l, const json_t *step)
{
	const json_t *envs[] = {json_object_get(step, "env")};
	const char *script = json_get_string(step, "run");
	size_t base = l->at.len;
	faults_pointer_push(&l->at, "run");
	if (script != NULL)
		validate_each_stranger(script, envs, ARRAY_SIZE(envs), tell_stranger, l);
	str_truncate(&l->at, base);
}

/* What an action that it uses does not take, or needs. */
static void check_inputs(struct action_look *l, const json_t *step)
{
	const char *uses = json_get_string(step, "uses"), *name;
	json_t *with = json_object_get(step, "with"), *value;
	_cleanup_json_ json_t *inputs = uses != NULL ? validate_action_inputs(l->file, uses) : NULL;
	size_t base = l->at.len;
	if (inputs == NULL)
		return;
	faults_pointer_push(&l->at, "with");
	json_object_foreach(with, name, value) if (validate_member(inputs, name) == NULL)
		wrong(l, name, "unknown-action-input", "the action '%s' has no input '%s'", uses, name);
	str_truncate(&l->at, base);
	json_object_foreach(inputs, name, value) if (json_is_true(json_object_get(value, "required")) &&
	                                             json_object_get(value, "default") == NULL &&
	                                             validate_member(with, name) == NULL)
		wrong(l, NULL, "missing-action-input", "the action '%s' needs the input '%s'", uses, name);
}

static void check_step(struct action_look *l, const json_t *step)
{
	static const char *const keys[] = {
		"id", "name", "if", "uses", "run", "with", "env", "shell", "working-directory", "continue-on-error"};
	if (!json_is_object(step)) {
		wrong(l, NULL, "syntax", "a step must be a map");
		return;
	}
	known_keys(l, step, "a step of a composite action", keys, ARRAY_SIZE(keys));
	bool run = json_object_get(step, "run") != NULL, uses = json_object_get(step, "uses") != NULL;
	if (run == uses)
		wrong(l, NULL, "syntax",
		      run ? "a step has either 'run' or 'uses', not both" : "a step needs 'run' or 'uses'");
	if (run && json_object_get(step, "shell") == NULL)
		wrong(l, NULL, "missing-shell", "a 'run' step of an action needs 'shell'");
	check_expressions(l, step, step_contexts, EXPR_WITH_HASH_FILES);
	check_script(l, step);
	check_inputs(l, step);
}

static void check_value(struct action_look *l, const json_t *object, const char *key, const char *const *contexts,
                        unsigned flags)
{
	size_t base = l->at.len;
	faults_pointer_push(&l->at, key);
	check_expressions(l, json_object_get(object, key), contexts, flags);
	str_truncate(&l->at, base);
}

static void check_composite(struct action_look *l, const json_t *runs)
{
	static const char *const keys[] = {"using", "steps"};
	json_t *steps = json_object_get(runs, "steps"), *step;
	size_t base, i;
	known_keys(l, runs, "a composite action's 'runs'", keys, ARRAY_SIZE(keys));
	if (!json_is_array(steps)) {
		wrong(l, NULL, "syntax", "a composite action needs 'steps', a list");
		return;
	}
	faults_pointer_push(&l->at, "steps");
	base = l->at.len;
	json_array_foreach(steps, i, step)
	{
		faults_pointer_push_index(&l->at, i);
		l->step = i;
		check_step(l, step);
		str_truncate(&l->at, base);
	}
}

static void check_runs(struct action_look *l, const json_t *runs)
{
	static const char *const node_keys[] = {"using", "main", "pre", "pre-if", "post", "post-if"};
	static const char *const docker_keys[] = {"using",  "image",          "env",    "entrypoint",
	                                          "args",   "pre-entrypoint", "pre-if", "post-entrypoint",
	                                          "post-if"};
	static const char *const nodes[] = {"node12", "node16", "node20", "node24"};
	const char *using = json_get_string(runs, "using");
	bool node = false;
	for (size_t i = 0; using != NULL && i < ARRAY_SIZE(nodes); i++)
		node |= strcasecmp(using, nodes[i]) == 0;
	faults_pointer_push(&l->at, "runs");
	if (using != NULL && strcasecmp(using, "composite") == 0) {
		check_composite(l, runs);
	} else if (node) {
		known_keys(l, runs, "a JavaScript action's 'runs'", node_keys, ARRAY_SIZE(node_keys));
		if (json_get_string(runs, "main") == NULL)
			wrong(l, NULL, "syntax", "a JavaScript action needs 'main'");
	} else if (using != NULL && strcasecmp(using, "docker") == 0) {
		known_keys(l, runs, "a Docker action's 'runs'", docker_keys, ARRAY_SIZE(docker_keys));
		if (json_get_string(runs, "image") == NULL)
			wrong(l, NULL, "syntax", "a Docker action needs 'image'");
		check_value(l, runs, "args", docker_contexts, 0);
		check_value(l, runs, "env", docker_contexts, 0);
	} else {
		wrong(l, using != NULL ? "using" : NULL, "syntax",
		      "'using' is composite, docker, node20 or node24, not '%s'", using != NULL ? using : "");
	}
	str_truncate(&l->at, 0);
}

/* What the runner passes over, and people still want to know. */
static void note_what_is_passed_over(struct action_look *l, const json_t *root)
{
	static const char *const keys[] = {"name", "author", "description", "inputs", "outputs", "runs", "branding"};
	static const char *const input_keys[] = {"description", "required", "default", "deprecationMessage", "type"};
	const char *name;
	json_t *input;
	known_keys(l, root, "an action", keys, ARRAY_SIZE(keys));
	if (json_get_string(root, "name") == NULL)
		wrong(l, NULL, "syntax", "an action needs a 'name'");
	json_object_foreach((json_t *)(uintptr_t)l->inputs, name, input)
	{
		faults_pointer_push(&l->at, "inputs");
		faults_pointer_push(&l->at, name);
		if (json_is_object(input))
			known_keys(l, input, "an input", input_keys, ARRAY_SIZE(input_keys));
		str_truncate(&l->at, 0);
	}
}

static void check_inputs_and_outputs(struct action_look *l, const json_t *root)
{
	const char *name;
	json_t *entry;
	faults_pointer_push(&l->at, "inputs");
	size_t base = l->at.len;
	json_object_foreach((json_t *)(uintptr_t)l->inputs, name, entry)
	{
		faults_pointer_push(&l->at, name);
		check_value(l, entry, "default", default_contexts, EXPR_WITH_HASH_FILES);
		str_truncate(&l->at, base);
	}
	str_truncate(&l->at, 0);
	faults_pointer_push(&l->at, "outputs");
	base = l->at.len;
	json_object_foreach(json_object_get(root, "outputs"), name, entry)
	{
		faults_pointer_push(&l->at, name);
		check_value(l, entry, "value", step_contexts, 0);
		str_truncate(&l->at, base);
	}
	str_truncate(&l->at, 0);
}

void validate_action(const struct validate_file *file, const struct yaml_doc *doc)
{
	struct action_look l = {.file = file, .doc = doc, .faults = {.max = FINDINGS_MAX}, .at = STR_INIT(8192)};
	json_t *root = yaml_root(doc);
	l.inputs = json_object_get(root, "inputs");
	l.steps = json_get_array(json_object_get(root, "runs"), "steps");
	l.step = SIZE_MAX;
	note_what_is_passed_over(&l, root);
	finding_add_faults(file->findings, file->name, &l.faults, FINDING_WARNING, "syntax");
	faults_done(&l.faults);
	l.faults = (struct faults){.max = FINDINGS_MAX};
	check_inputs_and_outputs(&l, root);
	check_runs(&l, json_object_get(root, "runs"));
	finding_add_faults(file->findings, file->name, &l.faults, FINDING_ERROR, "syntax");
	faults_done(&l.faults);
	str_done(&l.at);
}
