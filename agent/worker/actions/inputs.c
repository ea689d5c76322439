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

/* As the official runner lists them: empty quotes where there is none. */
static void add_valid(const struct action_manifest *m, struct str *names)
{
	const char *name;
	json_t *value;
	if (m->kind == MANIFEST_DOCKER) {
		add_name(names, "entryPoint");
		add_name(names, "args");
	}
	json_object_foreach(m->inputs, name, value) add_name(names, name);
	if (names->len == 0)
		str_append(names, "''");
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
	add_valid(m, &valid);
	_cleanup_free_ char *text =
		xasprintf("Unexpected input(s) %s, valid inputs are [%s]", str_peek(&unknown), str_peek(&valid));
	record_issue(j, r, ISSUE_WARNING, text, NULL);
}

static void warn_of_deprecated(struct job *j, struct record *r, const struct action_manifest *m, const json_t *given)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)given, name, value)
	{
		const char *word = json_get_string(expr_member(m->inputs, name, strlen(name)), "deprecation");
		if (word == NULL || word[0] == '\0')
			continue;
		_cleanup_free_ char *text = xasprintf("Input '%s' has been deprecated with message: %s", name, word);
		record_issue(j, r, ISSUE_WARNING, text, NULL);
	}
}

/* Names as the manifest spells them are found by the toolkit in any case; here the spelling of the step stays. */
static int add_default(const char *name, const json_t *input, json_t *inputs, const struct template_scope *scope,
                       struct err *err)
{
	if (expr_member(inputs, name, strlen(name)) != NULL)
		return 0;
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
	warn_of_deprecated(j, r, m, given);
	json_object_foreach(m->inputs, name, input)
	{
		int e = add_default(name, input, inputs, &scope, err);
		if (e < 0)
			return e;
	}
	warn_of_unknown(j, r, m, given);
	*ret = TAKE(inputs);
	return 0;
}

const char *use_input(const json_t *inputs, const char *name)
{
	json_t *value = expr_member(inputs, name, strlen(name));
	return json_is_string(value) && json_string_length(value) > 0 ? json_string_value(value) : NULL;
}
