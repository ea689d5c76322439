#include "agent/deployment/expand.h"

#include <string.h>

#include "agent/expr/expr.h"
#include "base/data/reference.h"

struct names_seen {
	const struct deployment_expander *resolver;
	const char *pointer;
	bool late;      /* uses steps, resources, deployment or secrets, which do not exist yet */
	bool has_other; /* the string holds ||: a missing name is handled */
	bool missing;
};

static const char *how_to_give(const char *context)
{
	if (strcmp(context, "secrets") == 0)
		return "give it: --secret %s, or `secrets:` of the action";
	if (strcmp(context, "vars") == 0)
		return "give it: --var %s=…, or `vars:` of the action";
	return "give it: --input %s=…, or `inputs:` of the action";
}

static void note_name(void *user, const char *context, const char *member)
{
	struct names_seen *seen = user;
	const struct deployment_expander *r = seen->resolver;
	const json_t *value = json_object_get(r->contexts, context);
	if (value == NULL) {
		static const char *const later[] = {"steps", "resources", "deployment", "secrets"};
		for (size_t i = 0; i < ARRAY_SIZE(later); i++)
			seen->late |= strcmp(context, later[i]) == 0;
		return;
	}
	static const char *const given[] = {"secrets", "vars", "inputs"};
	bool checked = false;
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		checked |= strcmp(context, given[i]) == 0;
	if (!checked || member == NULL || seen->has_other)
		return;
	if (expr_member(value, member, strlen(member)) != NULL)
		return;
	seen->missing = true;
	faults_add(r->faults, r->doc, seen->pointer, "%s.%s has no value", context, member);
	const char *names[256];
	size_t count = 0;
	const char *key;
	json_t *unused;
	json_object_foreach((json_t *)value, key, unused) if (count < ARRAY_SIZE(names)) names[count++] = key;
	const char *nearest = str_nearest(member, names, count);
	if (nearest != NULL)
		faults_hint(r->faults, "did you mean %s.%s?", context, nearest);
	else
		faults_hint(r->faults, how_to_give(context), member);
}

/* "Unrecognized named-value: 'secrts'. …": the nearest context. */
static void hint_context(const struct deployment_expander *r, const char *line)
{
	static const char *const contexts[] = {"secrets",    "vars",    "env",   "inputs",   "github",
	                                       "deployment", "targets", "steps", "resources"};
	const char *from = strstr(line, "Unrecognized named-value: '");
	if (from == NULL)
		return;
	from = strchr(from, '\'') + 1;
	_cleanup_free_ char *name = xstrndup(from, strcspn(from, "'"));
	const char *nearest = str_nearest(name, contexts, ARRAY_SIZE(contexts));
	if (nearest != NULL)
		faults_hint(r->faults, "did you mean '%s'?", nearest);
	else
		faults_hint(r->faults,
		            "there are: secrets, vars, env, inputs, github, deployment, targets, steps, resources");
}

/* ---- resources ---- */

/* ${{ 'value' }} */
static void append_literal(struct str *out, const char *value)
{
	str_append(out, "${{ '");
	for (; *value != '\0'; value++)
		str_append(out, *value == '\'' ? "''" : (const char[]){*value, '\0'});
	str_append(out, "' }}");
}

static void hint_member(const struct deployment_expander *r, const json_t *object, const char *name)
{
	const char *names[256], *key;
	size_t count = 0;
	json_t *unused;
	json_object_foreach((json_t *)(uintptr_t)object, key, unused) if (count < ARRAY_SIZE(names)) names[count++] =
		key;
	const char *nearest = str_nearest(name, names, count);
	if (nearest != NULL)
		faults_hint(r->faults, "did you mean '%s'?", nearest);
}

/* What an earlier step knows of a resource, as a literal; one of the step's own stays as it is. */
static void fill_reference(const struct deployment_expander *r, const char *pointer, const struct reference *ref,
                           const char *text, struct str *out)
{
	const json_t *all = json_object_get(r->contexts, "resources"), *resource = json_object_get(all, ref->name);
	const char *value = json_get_string(resource, ref->attribute);
	_cleanup_free_ char *same = xstrndup(text + ref->at, ref->len);
	if (value != NULL || json_object_get(r->own, ref->name) != NULL) {
		append_literal(out, value != NULL ? value : same);
		return;
	}
	if (resource != NULL) {
		faults_add(r->faults, r->doc, pointer, "the resource '%s' has no '%s'", ref->name, ref->attribute);
		hint_member(r, resource, ref->attribute);
	} else {
		faults_add(r->faults, r->doc, pointer, "no resource of this step or an earlier one has the id '%s'",
		           ref->name);
		hint_member(r, all, ref->name);
	}
}

/* NULL: nothing of it refers to a resource, or resources are not known yet. free() */
static char *fill_references(const struct deployment_expander *r, const char *text, const char *pointer)
{
	struct reference ref;
	if (json_object_get(r->contexts, "resources") == NULL || !reference_find(text, 0, &ref))
		return NULL;
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(64 << 20);
	size_t from = 0;
	do {
		str_append_n(&out, text + from, ref.at - from);
		fill_reference(r, pointer, &ref, text, &out);
		from = ref.at + ref.len;
	} while (reference_find(text, from, &ref));
	str_append(&out, text + from);
	return str_take(&out);
}

static json_t *resolve_text(const struct deployment_expander *r, const json_t *raw, const char *pointer, bool *ret_late)
{
	const char *text = json_string_value(raw);
	struct err err = ERR_INIT;
	char line[1024];
	json_t *value = NULL;
	if (!expr_is_template(text))
		return json_incref((json_t *)raw);
	if (strlen(text) != json_string_length(raw)) {
		faults_add(r->faults, r->doc, pointer, "a text with an expression holds a NUL");
		return json_null();
	}
	_cleanup_free_ char *filled = fill_references(r, text, pointer);
	if (filled != NULL)
		text = filled;
	struct names_seen seen = {.resolver = r, .pointer = pointer, .has_other = strstr(text, "||") != NULL};
	_cleanup_free_ char *expression = NULL;
	int e = expr_from_template(text, &expression, &err);
	if (e >= 0 && expression != NULL)
		e = expr_names(expression, note_name, &seen, &err);
	if (e >= 0 && seen.late) {
		*ret_late = true;
		return json_incref((json_t *)raw);
	}
	if (e >= 0 && seen.missing)
		return json_string("");
	struct expr_scope scope = {.contexts = r->contexts, .exact_context = "env"};
	if (e >= 0)
		e = expr_template(text, &scope, &value, &err);
	if (e < 0) {
		faults_add(r->faults, r->doc, pointer, "%s", err_line(&err, line, sizeof(line)));
		if (err.hint[0] != '\0')
			faults_hint(r->faults, "%s", err.hint);
		else
			hint_context(r, line);
		return json_null();
	}
	return value;
}

json_t *deployment_expand(const struct deployment_expander *r, const json_t *raw, struct str *pointer, bool *ret_late)
{
	size_t mark = pointer->len;
	if (json_is_string(raw))
		return resolve_text(r, raw, str_peek(pointer), ret_late);
	if (json_is_object(raw)) {
		json_t *filled = json_object();
		const char *key;
		json_t *value;
		json_object_foreach((json_t *)raw, key, value)
		{
			faults_pointer_push(pointer, key);
			json_object_set_new(filled, key, deployment_expand(r, value, pointer, ret_late));
			str_truncate(pointer, mark);
		}
		return filled;
	}
	if (json_is_array(raw)) {
		json_t *filled = json_array();
		size_t index;
		json_t *value;
		json_array_foreach(raw, index, value)
		{
			faults_pointer_push_index(pointer, index);
			json_array_append_new(filled, deployment_expand(r, value, pointer, ret_late));
			str_truncate(pointer, mark);
		}
		return filled;
	}
	return json_incref((json_t *)raw);
}
