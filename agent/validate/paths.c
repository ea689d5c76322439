/* paths: the names that the expressions of a string reach for, and what an action takes. */
#include "agent/validate/validate.h"
#include "agent/actions/checkout.h"
#include "agent/expr/expr.h"
#include "base/core/mem.h"
#include "base/data/schema/compile.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

enum { ACTION_MAX = 1 << 20 };

/* An expression of the string without braces, which `own` then holds where it is made; NULL: it has none. */
static const char *expression_of(const char *text, bool condition, char **own)
{
	if (condition && !expr_is_template(text))
		return text;
	return expr_is_template(text) && expr_from_template(text, own, NULL) >= 0 ? *own : NULL;
}

void validate_each_path(const char *text, bool condition, int flags,
                        void (*seen)(void *user, const char *const *path, size_t count), void *user)
{
	_cleanup_free_ char *own = NULL;
	const char *expr = expression_of(text, condition, &own);
	if (expr != NULL)
		expr_paths(expr, flags, seen, user, NULL);
}

char *validate_sure_failure(const char *text, bool condition)
{
	_cleanup_free_ char *own = NULL;
	const char *expr = expression_of(text, condition, &own);
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	/* What is no expression is told by the reader. */
	if (expr == NULL || expr_paths(expr, 0, NULL, NULL, NULL) < 0 || expr_try(expr, &err) >= 0)
		return NULL;
	return xstrdup(err_line(&err, line, sizeof(line)));
}

static json_t *inputs_of_step(const char *name)
{
	const char *text = schema_builtin(name);
	if (text == NULL)
		return NULL;
	json_t *schema _cleanup_json_ = json_loads(text, 0, NULL), *inputs = json_object();
	const char *key, *required;
	json_t *value;
	json_object_foreach(json_object_get(schema, "properties"), key, value)
		json_object_set_new(inputs, key, json_pack("{s:b}", "required", 0));
	size_t i;
	json_array_foreach(json_object_get(schema, "required"), i,
	                   value) if ((required = json_string_value(value)) != NULL)
		json_object_set_new(inputs, required, json_pack("{s:b}", "required", 1));
	static const char *const all[] = {"target", "targets", "deployment"};
	for (size_t k = 0; k < ARRAY_SIZE(all); k++)
		if (json_object_get(inputs, all[k]) == NULL)
			json_object_set_new(inputs, all[k], json_pack("{s:b}", "required", 0));
	return inputs;
}

json_t *validate_member(const json_t *object, const char *name)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)object, key, value) if (strcasecmp(key, name) == 0) return value;
	return NULL;
}

/* The manifest of an action in the work tree; NULL: it holds none there. */
static struct yaml_doc *read_local(const struct validate_file *file, const char *path)
{
	static const char *const names[] = {"action.yml", "action.yaml"};
	if (file->root == NULL || strstr(path, "..") != NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *at = xasprintf("%s/%s/%s", file->root, path, names[i]);
		struct yaml_limits limits = YAML_LIMITS_DEFAULT;
		struct yaml_doc *doc = NULL;
		limits.allow_anchors = true;
		if (yaml_read_file(at, &limits, &doc, NULL) >= 0)
			return doc;
	}
	return NULL;
}

static json_t *inputs_of_local(const struct validate_file *file, const char *path)
{
	_cleanup_(yaml_freep) struct yaml_doc *doc = read_local(file, path);
	json_t *inputs = doc != NULL ? json_object_get(yaml_root(doc), "inputs") : NULL;
	return doc == NULL ? NULL : json_is_object(inputs) ? json_deep_copy(inputs) : json_object();
}

/* The outputs of other actions are what their programs write. */
json_t *validate_action_outputs(const struct validate_file *file, const char *uses)
{
	_cleanup_(yaml_freep) struct yaml_doc *doc = str_starts(uses, "./") ? read_local(file, uses + 2) : NULL;
	const json_t *root = doc != NULL ? yaml_root(doc) : NULL;
	const char *using = json_get_string(json_object_get(root, "runs"), "using");
	json_t *outputs = json_object_get(root, "outputs");
	if (using == NULL || strcasecmp(using, "composite") != 0)
		return NULL;
	return json_is_object(outputs) ? json_deep_copy(outputs) : json_object();
}

/* Those of GitHub's checkout. NULL: another action, or a version that is not known here. */
static json_t *inputs_of_checkout(const char *uses)
{
	static const char front[] = "actions/checkout@";
	if (strncasecmp(uses, front, strlen(front)) != 0 || checkout_major(uses + strlen(front)) == 0)
		return NULL;
	json_t *inputs = json_object();
	const char *name;
	for (size_t i = 0; (name = checkout_input(i)) != NULL; i++)
		json_object_set_new(inputs, name, json_object());
	return inputs;
}

json_t *validate_action_inputs(const struct validate_file *file, const char *uses)
{
	if (str_starts(uses, "./"))
		return inputs_of_local(file, uses + 2);
	json_t *of_checkout = inputs_of_checkout(uses);
	if (of_checkout != NULL)
		return of_checkout;
	const char *at = strchr(uses, '@'), *actions = strstr(uses, "/davit/actions/");
	if (at == NULL || actions == NULL || actions > at)
		return NULL;
	actions += strlen("/davit/actions/");
	_cleanup_free_ char *name = xstrndup(actions, (size_t)(at - actions));
	/* The one that is no step, and has none. */
	return strcmp(name, "setup") == 0 ? json_object() : inputs_of_step(name);
}
