/* inputs: those of an action, as the step gives them and its manifest completes them. */
#include "agent/worker/actions/use.h"
#include "agent/worker/containers/containers.h"

#include <strings.h>

enum { NAMES_MAX = 8000 };

static void add_name(struct str *names, const char *name)
{
	str_appendf(names, "%s'%s'", names->len > 0 ? ", " : "", name);
}

/* Docker actions take these without declaring them. */
static bool is_dockers(const struct action_manifest *m, const char *name)
{
	return m->kind == MANIFEST_DOCKER && (strcasecmp(name, "args") == 0 || strcasecmp(name, "entryPoint") == 0);
}

static void warn_of_unknown(struct job *j, struct record *r, const struct action_manifest *m, const json_t *given)
{
	const json_t *declared = m->inputs;
	_cleanup_(str_done) struct str unknown = STR_INIT(NAMES_MAX), valid = STR_INIT(NAMES_MAX);
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)given, name, value)
	{
		if (expr_member(declared, name, strlen(name)) == NULL && !is_dockers(m, name))
			add_name(&unknown, name);
	}
	if (unknown.len == 0)
		return;
	json_object_foreach((json_t *)(uintptr_t)declared, name, value) add_name(&valid, name);
	_cleanup_free_ char *text =
		xasprintf("Unexpected input(s) %s, valid inputs are [%s]", str_peek(&unknown), str_peek(&valid));
	record_issue(j, r, ISSUE_WARNING, text, NULL);
}

/* Names as the manifest spells them are found by the toolkit in any case; here the spelling of the step stays. */
static int add_default(struct job *j, struct record *r, const char *name, const json_t *input, json_t *inputs,
                       const struct template_scope *scope, struct err *err)
{
	const char *deprecation = json_get_string(input, "deprecation");
	if (expr_member(inputs, name, strlen(name)) != NULL) {
		if (deprecation != NULL && deprecation[0] != '\0' && r->stage == STAGE_MAIN) {
			_cleanup_free_ char *text =
				xasprintf("Input '%s' has been deprecated with message: %s", name, deprecation);
			record_issue(j, r, ISSUE_WARNING, text, NULL);
		}
		return 0;
	}
	json_t *text = NULL;
	int e = template_eval_string(json_object_get(input, "default"), scope, &text, err);
	if (e < 0)
		return e;
	json_object_set_new(inputs, name, text);
	return 0;
}

int use_inputs(struct job *j, struct record *r, const struct use *u, const json_t *given, json_t **ret, struct err *err)
{
	const struct action_manifest *m = &u->action->manifest;
	_cleanup_json_ json_t *inputs = json_copy((json_t *)(uintptr_t)given), *contexts = containers_contexts(j);
	struct template_scope scope = step_value_scope(j);
	const char *name;
	json_t *input;
	scope.expr.contexts = contexts;
	scope.file_table = m->file_table;
	if (r->stage == STAGE_MAIN)
		warn_of_unknown(j, r, m, given);
	json_object_foreach(m->inputs, name, input)
	{
		int e = add_default(j, r, name, input, inputs, &scope, err);
		if (e < 0)
			return e;
	}
	*ret = TAKE(inputs);
	return 0;
}

const char *use_input(const json_t *inputs, const char *name)
{
	json_t *value = expr_member(inputs, name, strlen(name));
	return json_is_string(value) && json_string_length(value) > 0 ? json_string_value(value) : NULL;
}
