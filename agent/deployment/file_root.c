/* The whole document: expressions filled in, checked against its schema, read. */
#include "agent/deployment/expand.h"
#include "agent/deployment/file_priv.h"
#include "agent/deployment/typed.h"
#include "base/data/schema/compile.h"

#include <string.h>

enum { ALONE_LEAST_MS = 10000 };

/* Filled in step by step, so that a late value marks its own step only; the targets first, since steps may name them. */
json_t *file_resolve_root(struct reader *r, const json_t *raw)
{
	struct deployment_expander resolver = {r->d->contexts, r->d->yaml, &r->faults, NULL};
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	json_t *root = json_object();
	const char *key;
	json_t *value;
	json_t *targets = json_object_get(raw, "targets");
	json_object_set_new(r->d->contexts, "targets", json_object());
	if (targets != NULL)
		json_object_set_new(root, "targets", file_resolve_targets(r, targets));
	else
		file_add_default_target(r);
	json_object_foreach((json_t *)raw, key, value)
	{
		if (value == targets)
			continue;
		str_clear(&pointer);
		faults_pointer_push(&pointer, key);
		bool late = false;
		if (strcmp(key, "steps") != 0 || !json_is_array(value)) {
			json_object_set_new(root, key, deployment_expand(&resolver, value, &pointer, &late));
			if (late)
				faults_add(&r->faults, r->d->yaml, str_peek(&pointer),
				           "only steps may use the contexts steps and deployment");
			continue;
		}
		json_t *steps = json_array();
		size_t index;
		json_t *item;
		json_array_foreach(value, index, item)
		{
			size_t mark = pointer.len;
			faults_pointer_push_index(&pointer, index);
			json_t *filled = json_object();
			const char *name;
			json_t *input;
			if (!json_is_object(item)) {
				json_decref(filled);
				filled = json_incref(item);
			} else {
				json_object_foreach(item, name, input)
				{
					size_t inner = pointer.len;
					faults_pointer_push(&pointer, name);
					late = false;
					size_t faults = r->faults.count;
					json_t *resolved = deployment_expand(&resolver, input, &pointer, &late);
					deployment_typed_step(name, input, resolved);
					json_object_set_new(filled, name, resolved);
					/* What could not be filled in is not checked either: one fault a mistake. */
					if (late || r->faults.count > faults)
						json_object_set_new(r->d->late, str_peek(&pointer), json_true());
					str_truncate(&pointer, inner);
				}
			}
			json_array_append_new(steps, filled);
			str_truncate(&pointer, mark);
		}
		json_object_set_new(root, key, steps);
	}
	return root;
}

/* Of a file of which only the places are read. */
static void leave_out_steps(json_t *document)
{
	static const char *const left[] = {"name", "environment"};
	json_t *required = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(left); i++)
		json_array_append_new(required, json_string(left[i]));
	json_object_set_new(document, "required", required);
	json_object_set_new(json_object_get(document, "properties"), "steps", json_true());
}

int file_check_schema(struct reader *r, bool with_steps, struct err *err)
{
	const char *text = schema_builtin_heads();
	json_t *document _cleanup_json_ = NULL;
	struct schema *schema _cleanup_(schema_freep) = NULL;
	int e = json_parse(text, strlen(text), 1 << 20, &document, err);
	if (e >= 0) {
		if (!with_steps)
			leave_out_steps(document);
		e = schema_compile(document, NULL, &schema, err);
	}
	if (e < 0)
		return err_wrap(err, e, "schemas/deployment.json");
	e = schema_check(schema, r->root, r->d->yaml, &r->faults, err);
	return e == ERR_INVALID && r->faults.count > 0 ? 0 : e;
}

/* A duration of the file, a string or a number of seconds, in milliseconds for the engine. The schema has looked at its shape. */
static void read_duration(struct reader *r, const char *key, long long least_ms)
{
	const json_t *value = json_object_get(r->root, key);
	_cleanup_free_ char *text = json_is_string(value)   ? xstrdup(json_string_value(value))
	                            : json_is_number(value) ? json_text(value)
	                                                    : NULL;
	_cleanup_free_ char *pointer = xasprintf("/%s", key), *name = xasprintf("%s_ms", key);
	long long ms;
	if (text == NULL)
		return;
	if (str_parse_duration_ms(text, &ms) < 0 || ms < least_ms)
		faults_add(&r->faults, r->d->yaml, pointer, "must be a time of at least %llds, not %s", least_ms / 1000,
		           text);
	else
		json_object_set_new(r->d->deployment, name, json_integer(ms));
}

void file_copy_heads(struct reader *r)
{
	static const char *const names[] = {"name", "environment", "on_failure", "undo_deadline", "seal", "state"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *value = json_object_get(r->root, names[i]);
		if (value != NULL)
			json_object_set(r->d->deployment, names[i], value);
	}
	read_duration(r, "undo_deadline", 0);
	read_duration(r, "undo_alone", ALONE_LEAST_MS);
	if (r->source->root != NULL)
		json_object_set_new(r->d->deployment, "source_root", json_string(r->source->root));
	if (r->source->commit != NULL)
		json_object_set_new(r->d->deployment, "commit", json_string(r->source->commit));
	if (r->source->repository != NULL)
		json_object_set_new(r->d->deployment, "repository", json_string(r->source->repository));
	json_object_set_new(r->d->deployment, "dirty", json_boolean(r->source->dirty));
}

/* While people decide nothing may be half done. The engine refuses it too; here it has its place in the file. */
static void check_waiting(struct reader *r)
{
	const json_t *steps = json_object_get(r->d->deployment, "steps");
	bool changed = false, waited = false;
	size_t i;
	json_t *step;
	json_array_foreach((json_t *)steps, i, step)
	{
		const char *name = json_get_string(step, "step");
		const struct step_info *info = name != NULL ? step_info(name) : NULL;
		if (info == NULL)
			continue;
		_cleanup_free_ char *pointer = xasprintf("/steps/%zu/%s", i, name);
		if (info->waits && (changed || waited)) {
			faults_add(&r->faults, r->d->yaml, pointer,
			           changed ? "'%s' stands behind a step that may change something"
			                   : "'%s' stands here a second time",
			           name);
			faults_hint(&r->faults, "one of it, before the first step that changes something");
		}
		changed |= info->changes;
		waited |= info->waits;
	}
}

void file_read_body(struct reader *r, const json_t *raw)
{
	file_copy_heads(r);
	file_read_targets(r);
	json_t *steps = json_object_get(r->root, "steps");
	json_object_set_new(r->d->deployment, "steps", json_array());
	if (json_array_size(steps) > STEPS_MAX) {
		faults_add(&r->faults, r->d->yaml, "/steps", "more than %d steps", STEPS_MAX);
		return;
	}
	size_t index;
	json_t *item;
	json_array_foreach(steps, index, item) if (json_is_object(item))
		file_read_step(r, item, json_array_get(json_object_get(raw, "steps"), index), index);
	check_waiting(r);
}
