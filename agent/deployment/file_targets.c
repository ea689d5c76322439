/* The targets of a file, and those that a step names. */
#include "agent/deployment/expand.h"
#include "agent/deployment/file_priv.h"
#include "agent/deployment/typed.h"
#include "steps/registry.h"

/* The context of a target for expressions: nothing that logs in. */
static json_t *target_context(const struct target_config *config)
{
	const struct target_kind *kind = target_config_kind(config);
	json_t *context = json_pack("{s:s}", "kind", kind->choice.name);
	if (kind->describe != NULL)
		kind->describe(config, context);
	return context;
}

static void read_target(struct reader *r, const char *name, const json_t *target, const char *pointer)
{
	struct deployment_file *d = r->d;
	json_t *contexts = json_object_get(d->contexts, "targets");
	d->targets = xgrow(d->targets, &d->target_cap, d->read.target_count + 1, sizeof(*d->targets));
	struct target_config *config = &d->targets[d->read.target_count];
	if (target_config_read(target_kinds, arena_strdup(&d->arena, name), target, d->yaml, pointer, &d->arena, config,
	                       &r->faults, NULL) < 0)
		return;
	d->read.target_count++;
	if (contexts != NULL)
		json_object_set_new(contexts, name, target_context(config));
}

/* What a file means that names no targets. */
static json_t *default_targets(void)
{
	return json_pack("{s:{s:{}}}", "local", "local");
}

void file_add_default_target(struct reader *r)
{
	_cleanup_json_ json_t *targets = default_targets();
	read_target(r, "local", json_object_get(targets, "local"), "/targets/local");
	r->targets_read = true;
}

void file_read_targets(struct reader *r)
{
	json_t *targets = json_object_get(r->root, "targets");
	json_t *ret = json_object_size(targets) == 0 ? default_targets() : json_object();
	const char *name;
	json_t *target;
	json_object_foreach(targets, name, target)
	{
		_cleanup_free_ char *pointer = xasprintf("/targets/%s", name);
		if (!r->targets_read)
			read_target(r, name, target, pointer);
	}
	json_object_foreach(targets, name, target) json_object_set(ret, name, target);
	json_object_foreach(ret, name, target) strv_add(&r->target_names, name);
	json_object_set_new(r->d->deployment, "targets", ret);
}

static void bad_target(struct reader *r, const struct str *pointer, const char *name)
{
	faults_add(&r->faults, r->d->yaml, str_peek(pointer), "no target is called '%s'", name);
	const char *nearest = str_nearest(name, (const char *const *)r->target_names.items, r->target_names.count);
	if (nearest != NULL)
		faults_hint(&r->faults, "did you mean '%s'?", nearest);
	else
		faults_hint(&r->faults, "define it under `targets:`");
}

/* The names a step acts on, as a list; takes `target` out of the input. */
json_t *file_step_targets(struct reader *r, json_t *input, struct str *pointer)
{
	json_t *given = json_object_get(input, "target");
	json_t *names = json_array();
	size_t mark = pointer->len;
	faults_pointer_push(pointer, "target");
	if (json_is_string(given)) {
		json_array_append(names, given);
	} else if (json_is_array(given)) {
		json_array_extend(names, given);
	} else if (given == NULL && r->target_names.count == 1) {
		json_array_append_new(names, json_string(r->target_names.items[0]));
	}
	size_t index;
	json_t *name;
	json_array_foreach(names, index,
	                   name) if (json_is_string(name) && !strv_has(&r->target_names, json_string_value(name)))
		bad_target(r, pointer, json_string_value(name));
	str_truncate(pointer, mark);
	json_object_del(input, "target");
	return names;
}

bool file_acts_on_targets(const char *step)
{
	const struct step_info *info = step_info(step);
	return info != NULL && (info->targets == STEP_TARGETS_ONE || info->targets == STEP_TARGETS_MANY);
}

static json_t *resolve_target(struct reader *r, const char *name, const json_t *raw, struct str *pointer)
{
	const struct deployment_expander resolver = {r->d->contexts, r->d->yaml, &r->faults, NULL};
	size_t mark = pointer->len, faults = r->faults.count;
	bool late = false;
	faults_pointer_push(pointer, name);
	json_t *target = deployment_expand(&resolver, raw, pointer, &late);
	deployment_typed_target(raw, target);
	if (late)
		faults_add(&r->faults, r->d->yaml, str_peek(pointer),
		           "only steps may use the contexts steps and deployment");
	/* What could not be filled in is not checked either: one fault a mistake. */
	if (r->faults.count == faults)
		read_target(r, name, target, str_peek(pointer));
	str_truncate(pointer, mark);
	return target;
}

json_t *file_resolve_targets(struct reader *r, const json_t *raw)
{
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	json_t *targets = json_object(), *target;
	const char *name;
	/* Another fault is the schema's. */
	if (!json_is_object(raw)) {
		json_decref(targets);
		return json_incref((json_t *)raw);
	}
	faults_pointer_push(&pointer, "targets");
	json_object_foreach((json_t *)raw, name, target)
		json_object_set_new(targets, name, resolve_target(r, name, target, &pointer));
	r->targets_read = true;
	return targets;
}
