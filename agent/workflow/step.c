/* step: the steps of a job. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"
#include "agent/template/uses.h"

#include <string.h>

/* What a step does is told by one key; the others that it may have follow from that. */
static const struct step_kind {
	const char *key;
	const char *others[8]; /* besides `name`, `id`, `continue-on-error` */
	bool plain;            /* those neither */
} kinds[] = {
	{"run", {"if", "timeout-minutes", "env", "working-directory", "shell", "background"}, false},
	{"uses", {"if", "timeout-minutes", "env", "with", "background"}, false},
	{"wait", {NULL}, false},
	{"wait-all", {NULL}, false},
	{"cancel", {NULL}, false},
	{"parallel", {NULL}, true},
};
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
                                        "background",
                                        "wait",
                                        "wait-all",
                                        "cancel",
                                        "parallel"};

static json_t *read_reference(struct reader *r, const char *uses)
{
	struct err err = ERR_INIT;
	json_t *reference = NULL;
	if (uses_read(uses, &reference, &err) == 0)
		return reference;
	reader_fault(r, "%s", err.frames[0].text);
	return json_pack("{s:s}", "type", "script");
}

struct steps_before {
	const struct workflow_job *job;
	size_t count;
};

static bool is_taken(void *user, const char *name)
{
	const struct steps_before *before = user;
	for (size_t i = 0; i < before->count; i++)
		if (before->job->steps[i].context_name && strcmp(before->job->steps[i].context_name, name) == 0)
			return true;
	return false;
}

static char *made_up_name(const struct workflow_job *job, size_t index, const struct workflow_step *step)
{
	static const char *const words[] = {NULL, "wait", "wait-all", "cancel"};
	struct steps_before before = {job, index};
	_cleanup_json_ json_t *control =
		words[step->kind] != NULL ? json_pack("{s:s}", "name", words[step->kind]) : NULL;
	return uses_context_name(control != NULL ? control : step->reference, is_taken, &before);
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
		json_t *token = reader_token(r, object, keys[i].yaml);
		if (token)
			json_array_append_new(
				map, json_pack("{s:s, s:o}", "key", keys[i].input, "value", reader_as_text(token)));
	}
	return json_pack("{s:i, s:o}", "type", 2, "map", map);
}

static bool is_known_to(const struct step_kind *kind, const char *key)
{
	static const char *const all[] = {"name", "id", "continue-on-error"};
	if (strcmp(kind->key, key) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(all) && !kind->plain; i++)
		if (strcmp(all[i], key) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(kind->others) && kind->others[i] != NULL; i++)
		if (strcmp(kind->others[i], key) == 0)
			return true;
	return false;
}

static bool is_step_key(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(step_keys); i++)
		if (strcmp(step_keys[i], key) == 0)
			return true;
	return false;
}

/* The first of the keys that tell; NULL, with a fault: there is none. */
static const struct step_kind *kind_of(struct reader *r, const json_t *step)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)step, key, value)
	{
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (strcmp(kinds[i].key, key) == 0)
				return &kinds[i];
	}
	reader_fault(r, "a step needs 'run', 'uses', 'wait', 'wait-all', 'cancel' or 'parallel'");
	return NULL;
}

static void check_keys(struct reader *r, const struct step_kind *kind, const json_t *step)
{
	const char *key;
	json_t *value;
	static const char *const not_empty[] = {"env", "with", "shell"};
	reader_known_keys(r, step, "a step", step_keys, ARRAY_SIZE(step_keys));
	reader_refuse_empty(r, step, not_empty, ARRAY_SIZE(not_empty));
	json_object_foreach((json_t *)(uintptr_t)step, key, value)
	{
		if (kind == NULL || !is_step_key(key) || is_known_to(kind, key))
			continue;
		size_t mark = reader_enter(r, key);
		reader_fault_key(r, "'%s' does not go with '%s' in one step", key, kind->key);
		reader_leave(r, mark);
	}
}

/* ---- what runs ---- */

static void read_uses(struct reader *r, struct workflow_step *step, const json_t *value)
{
	_cleanup_free_ char *uses = reader_string(r, value, "uses", false);
	size_t mark = reader_enter(r, "uses");
	json_decref(step->reference);
	step->reference =
		uses != NULL && *uses != '\0' ? read_reference(r, uses) : json_pack("{s:s}", "type", "script");
	reader_leave(r, mark);
	step->inputs = reader_scalars(r, value, "with");
}

static void read_running(struct reader *r, struct workflow_step *step, const struct step_kind *kind,
                         const json_t *value)
{
	step->kind = WORKFLOW_STEP_RUNS;
	reader_allow(r, workflow_in_step, EXPR_WITH_HASH_FILES);
	if (strcmp(kind->key, "uses") == 0) {
		read_uses(r, step, value);
	} else {
		_cleanup_free_ char *run = reader_string(r, value, "run", true);
		step->inputs = script_inputs(r, value);
	}
	step->env = reader_scalars(r, value, "env");
	step->timeout_minutes = reader_number(r, value, "timeout-minutes");
	json_t *background = reader_boolean(r, value, "background");
	if (reader_is_expression(json_object_get(value, "background")))
		reader_fault(r, "'background' cannot hold an expression");
	step->background = json_is_true(background);
	json_decref(background);
}

/* ---- what is said of steps in the background ---- */

static void check_target(struct reader *r, const struct workflow_job *job, const struct workflow_step *step,
                         const char *target)
{
	for (const struct workflow_step *before = job->steps; before < step; before++)
		if (before->group == NULL && before->context_name && strcmp(before->context_name, target) == 0 &&
		    !str_starts(target, "__"))
			return;
	reader_fault(r, "no step before this one has the id '%.60s'", target);
	faults_code(r->source.faults, "unknown-step");
}

static void read_targets(struct reader *r, const struct workflow_job *job, struct workflow_step *step,
                         const json_t *said, bool many)
{
	_cleanup_json_ json_t *list = json_is_string(said) ? json_pack("[O]", said)
	                              : many               ? json_incref((json_t *)(uintptr_t)said)
	                                                   : NULL;
	size_t i;
	json_t *item;
	bool good = json_array_size(list) > 0;
	json_array_foreach(list, i, item) good &= json_is_string(item) && json_string_length(item) > 0;
	if (!good)
		reader_fault(r, many ? "it names the id of a step in the background, or a list of them"
		                     : "it names the id of a step in the background");
	json_array_foreach(list, i, item)
	{
		if (!good)
			break;
		check_target(r, job, step, json_string_value(item));
		strv_add(&step->targets, json_string_value(item));
	}
}

static void read_control(struct reader *r, const struct workflow_job *job, struct workflow_step *step,
                         const struct step_kind *kind, const json_t *value)
{
	const json_t *said = json_object_get(value, kind->key);
	size_t mark = reader_enter(r, kind->key);
	step->kind = strcmp(kind->key, "wait") == 0     ? WORKFLOW_STEP_WAIT
	             : strcmp(kind->key, "cancel") == 0 ? WORKFLOW_STEP_CANCEL
	                                                : WORKFLOW_STEP_WAIT_ALL;
	if (step->kind != WORKFLOW_STEP_WAIT_ALL)
		read_targets(r, job, step, said, step->kind == WORKFLOW_STEP_WAIT);
	else if (!json_is_null(said) && !json_is_true(said))
		reader_fault(r, "'wait-all' has the value true, or none");
	reader_leave(r, mark);
}

/* ---- a step ---- */

static void take_id(struct reader *r, struct workflow_job *job, struct workflow_step *step, const json_t *value)
{
	_cleanup_free_ char *id = reader_string(r, value, "id", false);
	size_t index = (size_t)(step - job->steps), mark = reader_enter(r, "id");
	if (id != NULL && *id != '\0')
		reader_check_id(r, id);
	for (size_t i = 0; id != NULL && i < index; i++)
		if (job->steps[i].context_name && strcasecmp(job->steps[i].context_name, id) == 0)
			reader_fault(r, "the id '%.60s' is taken by step %zu", id, i + 1);
	reader_leave(r, mark);
	free(step->context_name);
	step->context_name = id != NULL ? TAKE(id) : made_up_name(job, index, step);
}

static void read_step(struct reader *r, struct workflow_job *job, struct workflow_step *step, const json_t *value)
{
	step->mark = yaml_value_mark(r->source.doc, str_peek(&r->at));
	step->reference = json_pack("{s:s}", "type", "script");
	if (!json_is_object(value)) {
		reader_fault(r, "a step must be a map");
		step->context_name = made_up_name(job, (size_t)(step - job->steps), step);
		return;
	}
	const struct step_kind *kind = kind_of(r, value);
	check_keys(r, kind, value);
	if (kind != NULL && (strcmp(kind->key, "run") == 0 || strcmp(kind->key, "uses") == 0))
		read_running(r, step, kind, value);
	else if (kind != NULL)
		read_control(r, job, step, kind, value);
	take_id(r, job, step, value);
	reader_allow(r, workflow_in_url, EXPR_WITH_STATUS | EXPR_WITH_HASH_FILES);
	/* Else a failure would leave running what a later step was to stop. */
	step->condition = step->kind == WORKFLOW_STEP_RUNS ? reader_condition(r, value) : xstrdup("always()");
	reader_allow(r, workflow_in_step, EXPR_WITH_HASH_FILES);
	step->name = reader_token(r, value, "name");
	if (step->name)
		step->name = reader_as_text(step->name);
	step->continue_on_error = reader_boolean(r, value, "continue-on-error");
}

/* ---- steps side by side ---- */

static void check_inside_parallel(struct reader *r, const json_t *step)
{
	static const char *const never[] = {"background", "wait", "wait-all", "cancel", "parallel"};
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (json_object_get(step, never[i]) != NULL)
			reader_fault(
				r,
				"'%s' cannot stand inside 'parallel': its steps run in the background, and all are waited for",
				never[i]);
}

/* Its steps, and a step that waits for them. */
static void read_parallel(struct reader *r, struct workflow_job *job, size_t entry, const json_t *steps)
{
	struct workflow_step *waits;
	size_t i, first = job->step_count, mark = reader_enter(r, "parallel");
	json_t *step;
	char *group = xasprintf("parallel-%zu", entry + 1);
	json_array_foreach((json_t *)(uintptr_t)steps, i, step)
	{
		size_t inner = reader_enter_index(r, i);
		struct workflow_step *one = &job->steps[job->step_count];
		one->entry = entry;
		one->group = xstrdup(group);
		check_inside_parallel(r, step);
		if (json_object_get(step, "parallel") == NULL) {
			read_step(r, job, one, step);
			one->background = true;
			job->step_count++;
		} else {
			free(TAKE(one->group));
		}
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
	waits = &job->steps[job->step_count];
	waits->entry = entry;
	waits->kind = WORKFLOW_STEP_WAIT;
	waits->group = group;
	waits->condition = xstrdup("always()");
	waits->name = json_string("Parallel group");
	waits->reference = json_pack("{s:s}", "type", "script");
	for (i = first; i < job->step_count; i++)
		strv_add(&waits->targets, job->steps[i].context_name);
	waits->context_name = made_up_name(job, job->step_count, waits);
	job->step_count++;
}

static void read_entry(struct reader *r, struct workflow_job *job, size_t entry, const json_t *value)
{
	const json_t *parallel = json_object_get(value, "parallel");
	if (parallel == NULL) {
		struct workflow_step *step = &job->steps[job->step_count];
		step->entry = entry;
		read_step(r, job, step, value);
		job->step_count++;
		return;
	}
	check_keys(r, kind_of(r, value), value);
	if (json_array_size(parallel) > 0)
		read_parallel(r, job, entry, parallel);
	else {
		size_t mark = reader_enter(r, "parallel");
		reader_fault(r, "'parallel' must be a list with at least one step");
		reader_leave(r, mark);
	}
}

void reader_steps(struct reader *r, struct workflow_job *job, const json_t *object)
{
	json_t *steps = json_object_get(object, "steps"), *step;
	size_t i, room = json_array_size(steps), mark = steps != NULL ? reader_enter(r, "steps") : r->at.len;
	if (room == 0)
		reader_fault(r, "a job needs 'steps', a list with at least one step");
	json_array_foreach(steps, i, step) room += json_array_size(json_object_get(step, "parallel"));
	job->steps = xcalloc(room + 1, sizeof(*job->steps));
	json_array_foreach(steps, i, step)
	{
		size_t inner = reader_enter_index(r, i);
		read_entry(r, job, i, step);
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
}
