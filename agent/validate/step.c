/* step: what a step of a workflow asks for: inputs, shells, images, conditions, and who decides a deployment. */
#include "agent/validate/validate_priv.h"
#include "base/core/mem.h"

#include <string.h>
#include <strings.h>

static void check_inputs(struct look *l, const json_t *step)
{
	const char *uses = json_get_string(step, "uses"), *name;
	json_t *with = json_object_get(step, "with"), *value;
	if (uses == NULL)
		return;
	json_t *inputs _cleanup_json_ = validate_action_inputs(l->file, uses);
	size_t base = l->at.len;
	if (inputs == NULL) {
		if (str_starts(uses, "./") && l->file->root != NULL && strstr(uses, ".yml") == NULL) {
			faults_pointer_push(&l->at, "uses");
			validate_report(l, FINDING_WARNING, "unknown-action",
			                "a job finds it only if a step has checked it out there",
			                "'%s' holds no action.yml here", uses);
			str_truncate(&l->at, base);
		}
		return;
	}
	faults_pointer_push(&l->at, "with");
	json_object_foreach(with, name, value)
	{
		if (validate_member(inputs, name) != NULL)
			continue;
		size_t inner = l->at.len;
		faults_pointer_push(&l->at, name);
		validate_report(l, FINDING_ERROR, "unknown-action-input", NULL, "the action '%s' has no input '%s'",
		                uses, name);
		str_truncate(&l->at, inner);
	}
	str_truncate(&l->at, base);
	json_object_foreach(inputs, name, value) if (json_is_true(json_object_get(value, "required")) &&
	                                             json_object_get(value, "default") == NULL &&
	                                             validate_member(with, name) == NULL)
		validate_report(l, FINDING_ERROR, "missing-action-input", NULL, "the action '%s' needs the input '%s'",
	                        uses, name);
}

static void check_shell(struct look *l, const json_t *object)
{
	static const char *const shells[] = {"bash", "sh", "pwsh", "python", "cmd", "powershell"};
	const char *shell = json_get_string(object, "shell");
	if (shell == NULL || strstr(shell, "{0}") != NULL || strstr(shell, "${{") != NULL)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(shell, shells[i]) == 0)
			return;
	size_t base = l->at.len;
	faults_pointer_push(&l->at, "shell");
	validate_report(l, FINDING_ERROR, "unknown-shell",
	                "write a command with {0} for the script's file, or bash, sh, python, pwsh",
	                "'%s' is no shell that a runner knows", shell);
	str_truncate(&l->at, base);
}

/* Of `defaults`, the workflow's or a job's. */
void validate_default_shell(struct look *l, const json_t *value)
{
	size_t base = l->at.len;
	str_append(&l->at, "/defaults/run");
	check_shell(l, json_object_get(json_object_get(value, "defaults"), "run"));
	str_truncate(&l->at, base);
}

static const char *our_step(const json_t *step)
{
	const char *uses = json_get_string(step, "uses"), *at = uses != NULL ? strstr(uses, "/davit/actions/") : NULL;
	return at != NULL ? at + strlen("/davit/actions/") : NULL;
}

/* Single steps share a deployment, which something has to decide where davit's own worker does not. */
void validate_finish(struct look *l, const json_t *steps)
{
	bool changes = false, decides = false;
	size_t i;
	json_t *step;
	json_array_foreach(steps, i, step)
	{
		const char *name = our_step(step);
		if (name == NULL)
			continue;
		bool decision = str_starts(name, "finish@") || str_starts(name, "rollback@");
		decides |= decision;
		changes |= !decision && !str_starts(name, "preflight@") && !str_starts(name, "checkout@") &&
		           !str_starts(name, "setup@");
	}
	if (changes && !decides)
		validate_report(l, FINDING_WARNING, "no-finish",
		                "end the job with actions/finish (if: always(), status: ${{ job.status }})",
		                "under another runner than davit's nothing decides the deployment of job '%s'",
		                l->job->id);
}

bool validate_step_is_javascript(const json_t *step)
{
	const char *uses = json_get_string(step, "uses");
	return uses != NULL && strncasecmp(uses, "actions/github-script@", strlen("actions/github-script@")) == 0;
}

/* `if: |` with `${{ … }}` below it ends in a line feed. What has other text around the expression is a fault to the reader. */
void validate_condition(struct look *l, const json_t *value)
{
	const char *text = json_get_string(value, "if");
	size_t len = text != NULL ? strlen(text) : 0, base = l->at.len;
	size_t front = len > 0 ? strspn(text, " \t\r\n") : 0, back = 0;
	while (back < len - front && strchr(" \t\r\n", text[len - 1 - back]) != NULL)
		back++;
	if (front + back == 0 || !str_starts(text + front, "${{") || len - front - back < 5 ||
	    strncmp(text + len - back - 2, "}}", 2) != 0)
		return;
	faults_pointer_push(&l->at, "if");
	validate_report(l, FINDING_WARNING, "condition-is-text", "leave out ${{ }}, or write `if: >-`",
	                "a blank or line feed beside ${{ }} makes the condition a text, which is always true");
	str_truncate(&l->at, base);
}

static void check_image(struct look *l, const json_t *step)
{
	const char *uses = json_get_string(step, "uses");
	size_t base = l->at.len;
	if (uses == NULL || strcasecmp(uses, "docker://") != 0)
		return;
	faults_pointer_push(&l->at, "uses");
	validate_report(l, FINDING_ERROR, "syntax", NULL, "'docker://' names no image");
	str_truncate(&l->at, base);
}

void validate_step(struct look *l, const json_t *step)
{
	size_t i;
	json_t *one;
	validate_condition(l, step);
	check_image(l, step);
	check_shell(l, step);
	check_inputs(l, step);
	json_array_foreach(json_object_get(step, "parallel"), i, one)
	{
		size_t mark = l->at.len;
		faults_pointer_push(&l->at, "parallel");
		faults_pointer_push_index(&l->at, i);
		check_shell(l, one);
		check_inputs(l, one);
		str_truncate(&l->at, mark);
	}
}
