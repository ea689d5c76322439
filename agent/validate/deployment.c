/* deployment: a deployment file without its values: its shape, its expressions, and the names in them. */
#include "agent/validate/validate.h"
#include "agent/expr/expr.h"
#include "agent/template/read.h"
#include "base/core/mem.h"
#include "base/data/schema/compile.h"

#include <string.h>
#include <strings.h>

struct deployment_look {
	const struct validate_file *file;
	const struct yaml_doc *doc;
	struct faults faults;
	struct str at;
	size_t step; /* the step that is looked at */
};

/* The schema lets an expression stand wherever its value would. */
static void check_shape(struct deployment_look *l)
{
	json_t *source _cleanup_json_ = json_loads(schema_builtin("deployment"), 0, NULL);
	_cleanup_(schema_freep) struct schema *schema = NULL;
	struct err err = ERR_INIT;
	char line[512];
	int r = schema_compile(source, &(struct schema_options){.strict_words = true}, &schema, &err);
	size_t before = l->faults.count;
	if (r == 0)
		r = schema_check(schema, yaml_root(l->doc), l->doc, &l->faults, &err);
	for (size_t i = before; i < l->faults.count; i++)
		l->faults.items[i].code = "schema";
	if (r < 0 && r != ERR_INVALID)
		faults_add(&l->faults, l->doc, "", "%s", err_line(&err, line, sizeof(line)));
}

static void check_name(void *user, const char *const *path, size_t count)
{
	struct deployment_look *l = user;
	json_t *root = yaml_root(l->doc), *steps = json_object_get(root, "steps"), *step;
	size_t i;
	if (count < 2)
		return;
	if (strcasecmp(path[0], "targets") == 0) {
		json_t *targets = json_object_get(root, "targets");
		bool known =
			targets == NULL ? strcmp(path[1], "local") == 0 : json_object_get(targets, path[1]) != NULL;
		if (!known) {
			faults_add(&l->faults, l->doc, str_peek(&l->at), "there is no target '%s'", path[1]);
			faults_code(&l->faults, "unknown-target");
		}
	}
	if (strcasecmp(path[0], "steps") != 0)
		return;
	json_array_foreach(steps, i, step)
	{
		const char *id = json_get_string(step, "id");
		if (i < l->step && id != NULL && strcasecmp(id, path[1]) == 0)
			return;
	}
	faults_add(&l->faults, l->doc, str_peek(&l->at), "no step before this one has the id '%s'", path[1]);
	faults_code(&l->faults, "unknown-step");
}

static void check_expressions(struct deployment_look *l, const json_t *value)
{
	static const char *const contexts[] = {"secrets",    "vars",    "env",   "inputs",    "github",
	                                       "deployment", "targets", "steps", "resources", NULL};
	struct template_source source = {.doc = l->doc, .faults = &l->faults, .names = contexts};
	size_t base = l->at.len, i;
	const char *key;
	json_t *item;
	if (json_is_string(value)) {
		json_decref(template_from_yaml(&source, value, str_peek(&l->at)));
		validate_each_path(json_string_value(value), false, 0, check_name, l);
	}
	json_array_foreach(value, i, item)
	{
		faults_pointer_push_index(&l->at, i);
		if (base == strlen("/steps") && str_starts(str_peek(&l->at), "/steps/"))
			l->step = i;
		check_expressions(l, item);
		str_truncate(&l->at, base);
	}
	if (!json_is_object(value))
		return;
	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		faults_pointer_push(&l->at, key);
		check_expressions(l, item);
		str_truncate(&l->at, base);
	}
}

/* Names of targets in a step: `target:` is a name or a list. */
static void check_targets(struct deployment_look *l, const json_t *root, const json_t *input, const char *pointer)
{
	json_t *targets = json_object_get(root, "targets"), *value = json_object_get(input, "target"), *item;
	json_t *names _cleanup_json_ = json_is_string(value) ? json_pack("[O]", value) : json_incref(value);
	size_t i;
	json_array_foreach(names, i, item)
	{
		const char *name = json_string_value(item);
		if (name == NULL || strstr(name, "${{") != NULL || json_object_get(targets, name) != NULL ||
		    (targets == NULL && strcmp(name, "local") == 0))
			continue;
		_cleanup_free_ char *at = xasprintf("%s/target", pointer);
		faults_add(&l->faults, l->doc, at, "there is no target '%s'", name);
		faults_code(&l->faults, "unknown-target");
	}
}

static void check_steps(struct deployment_look *l, const json_t *root)
{
	json_t *steps = json_object_get(root, "steps"), *step, *input;
	const char *key;
	size_t i;
	json_array_foreach(steps, i, step) json_object_foreach(step, key, input)
	{
		if (strcmp(key, "id") == 0 || strcmp(key, "name") == 0 || !json_is_object(input))
			continue;
		_cleanup_free_ char *pointer = xasprintf("/steps/%zu/%s", i, key);
		check_targets(l, root, input, pointer);
	}
}

void validate_deployment(const struct validate_file *file, const struct yaml_doc *doc)
{
	struct deployment_look l = {.file = file, .doc = doc, .faults = {.max = FINDINGS_MAX}, .at = STR_INIT(8192)};
	check_shape(&l);
	check_steps(&l, yaml_root(doc));
	check_expressions(&l, yaml_root(doc));
	finding_add_faults(file->findings, file->name, &l.faults, FINDING_ERROR, "syntax");
	faults_done(&l.faults);
	str_done(&l.at);
}
