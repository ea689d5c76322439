/* step: the steps of a job. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"
#include "agent/template/uses.h"

#include <string.h>

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

static char *made_up_name(const struct workflow_job *job, size_t index, const json_t *reference)
{
	struct steps_before before = {job, index};
	return uses_context_name(reference, is_taken, &before);
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
	reader_allow(r, workflow_in_step, EXPR_WITH_HASH_FILES);
	reader_known_keys(r, value, "a step", step_keys, ARRAY_SIZE(step_keys));
	reader_refuse(r, value, "background", "steps run one after the other here");
	_cleanup_free_ char *run = reader_string(r, value, "run", true);
	_cleanup_free_ char *uses = reader_string(r, value, "uses", false);
	_cleanup_free_ char *id = reader_string(r, value, "id", false);
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
		step->inputs = reader_scalars(r, value, "with");
	} else {
		if (json_object_get(value, "with"))
			reader_fault(r, "'with' belongs to a step with 'uses'");
		step->inputs = script_inputs(r, value);
	}
	if (id && (!reader_is_name(id) || str_starts(id, "__"))) {
		size_t mark = reader_enter(r, "id");
		reader_fault(r, "an id has letters, digits, - and _, begins with a letter or _ and not with __");
		reader_leave(r, mark);
	}
	for (size_t i = 0; id && i < index; i++)
		if (job->steps[i].context_name && strcasecmp(job->steps[i].context_name, id) == 0)
			reader_fault(r, "the id '%.60s' is taken by step %zu", id, i + 1);
	step->context_name = id ? TAKE(id) : made_up_name(job, index, step->reference);
	reader_allow(r, workflow_in_url, EXPR_WITH_STATUS | EXPR_WITH_HASH_FILES);
	step->condition = reader_condition(r, value);
	reader_allow(r, workflow_in_step, EXPR_WITH_HASH_FILES);
	step->name = reader_token(r, value, "name");
	if (step->name)
		step->name = reader_as_text(step->name);
	step->env = reader_scalars(r, value, "env");
	step->continue_on_error = reader_boolean(r, value, "continue-on-error");
	step->timeout_minutes = reader_number(r, value, "timeout-minutes");
}

void reader_steps(struct reader *r, struct workflow_job *job, const json_t *object)
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
		size_t inner = reader_enter_index(r, i);
		read_step(r, job, i, json_array_get(steps, i));
		reader_leave(r, inner);
	}
	reader_leave(r, mark);
}
