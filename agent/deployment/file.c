#include "agent/deployment/certificates.h"
#include "agent/deployment/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/deployment/faults.h"
#include "agent/deployment/replay.h"
#include "agent/deployment/expand.h"
#include "agent/deployment/source.h"
#include "agent/deployment/typed.h"
#include "base/data/schema/compile.h"
#include "steps/registry.h"

enum { POINTER_MAX = 4096, STEPS_MAX = 200 };

struct deployment_file {
	struct yaml_doc *yaml; /* NULL for a single step */
	json_t *deployment;
	json_t *contexts;
	json_t *late; /* step index as text → its raw input */
	struct arena arena;
	/* What was read of the object, as the engine takes it. */
	struct deployment read;
	struct deployment_step *steps;
	struct target_config *targets;
	size_t step_cap, target_cap;
};

struct reader {
	struct deployment_file *d;
	const struct deployment_source *source;
	struct faults faults;
	json_t *root; /* resolved */
	bool text_values;
	bool targets_read;
	struct strv target_names;
	/* Steps that may lack something: checked once all are read, if there are faults. */
	struct lacking {
		struct step_context context;
		char *pointer;
	} * lacking;
	size_t lacking_count, lacking_cap;
};

/* ---- targets ---- */

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

static void add_default_target(struct reader *r)
{
	_cleanup_json_ json_t *targets = default_targets();
	read_target(r, "local", json_object_get(targets, "local"), "/targets/local");
	r->targets_read = true;
}

static void read_targets(struct reader *r)
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
static json_t *step_targets(struct reader *r, json_t *input, struct str *pointer)
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

static bool acts_on_targets(const char *step)
{
	const struct step_info *info = step_info(step);
	return info != NULL && (info->targets == STEP_TARGETS_ONE || info->targets == STEP_TARGETS_MANY);
}

/* ---- steps ---- */

static const struct step_type *find_step(struct reader *r, const char *name, const struct str *pointer)
{
	const struct step_type *type = step_find(name);
	if (type != NULL)
		return type;
	size_t count;
	const struct step_type *const *all = step_all(&count);
	const char *names[64];
	for (size_t i = 0; i < count && i < ARRAY_SIZE(names); i++)
		names[i] = all[i]->info->name;
	const char *nearest = str_nearest(name, names, MIN(count, ARRAY_SIZE(names)));
	if (step_info(name) != NULL && step_info(name)->decides) {
		faults_add_key(&r->faults, r->d->yaml, str_peek(pointer),
		               "'%s' decides a deployment and is not a step of one", name);
		faults_hint(&r->faults, "`davit %s`, or the action %s in a workflow", name, name);
		return NULL;
	}
	faults_add_key(&r->faults, r->d->yaml, str_peek(pointer), "no step is called '%s'", name);
	if (strcmp(name, "uses") == 0 || strcmp(name, "with") == 0)
		faults_hint(
			&r->faults,
			"a deployment file has davit's own steps, each by its name, as in `- run: { command: [make], undo: none }`; "
			"`uses:` belongs into a workflow");
	else if (nearest != NULL)
		faults_hint(&r->faults, "did you mean '%s'?", nearest);
	else
		faults_hint(&r->faults, "`davit schema` lists the steps");
	return NULL;
}

/* Faults found by the step itself point into its input: translates them to the place in the file. */
static void lift_faults(struct reader *r, size_t from, const struct str *pointer)
{
	for (size_t i = from; i < r->faults.count; i++) {
		struct fault *f = &r->faults.items[i];
		char *whole = xasprintf("%s%s", str_peek(pointer), f->pointer ? f->pointer : "");
		free(f->pointer);
		f->pointer = whole;
		if (r->d->yaml != NULL)
			f->mark = yaml_value_mark(r->d->yaml, whole);
	}
}

/* ret: the typed input, and whether its type has no faults with it. */
static void check_input(struct reader *r, const struct step_type *type, const json_t *input, const struct str *pointer,
                        struct deployment_step *ret)
{
	size_t before = r->faults.count;
	void *typed = arena_alloc(&r->d->arena, type->info->input_size);
	struct err ignored = ERR_INIT;
	if (fields_read_choices(type->info->inputs, type->choices, input, r->d->yaml, str_peek(pointer), r->text_values,
	                        &r->d->arena, typed, &r->faults, &ignored) < 0 &&
	    r->faults.count == before)
		faults_add(&r->faults, r->d->yaml, str_peek(pointer), "%s", ignored.frames[0].text);
	struct step_context context = {.type = type, .input = typed, .input_json = input};
	if (type->missing != NULL && r->faults.count == before) {
		r->lacking = xgrow(r->lacking, &r->lacking_cap, r->lacking_count + 1, sizeof(*r->lacking));
		r->lacking[r->lacking_count++] = (struct lacking){context, xstrdup(str_peek(pointer))};
	}
	if (r->faults.count != before)
		return;
	if (type->validate != NULL)
		type->validate(&context, &r->faults);
	lift_faults(r, before, pointer);
	/* The engine is told by name. */
	fields_unset_strings(type->info->inputs, typed, "target");
	*ret = (struct deployment_step){.typed = typed, .validated = r->faults.count == before};
}

/* A step that looks for secrets of the deployment learns which ones exist, not their values. */
static void name_secrets(struct reader *r, const char *member, json_t *input)
{
	const json_t *secrets = json_object_get(r->d->contexts, "secrets");
	const char *key;
	json_t *value;
	if (member == NULL || json_object_get(input, member) != NULL || secrets == NULL)
		return;
	json_t *values = json_object();
	json_object_foreach((json_t *)secrets, key, value)
		json_object_set_new(values, key, json_string(json_string_length(value) > 0 ? "set" : ""));
	json_object_set_new(input, member, values);
}

/* Shows how to write a workflow's `- run: make` here. */
static void hint_form(struct reader *r, const struct step_type *type, const json_t *value)
{
	const char *text = json_string_value(value), *name = type->info->name, *input = type->info->string;
	if (text != NULL && input != NULL && strpbrk(text, "\r\n") != NULL)
		faults_hint(
			&r->faults,
			"write `- %s: { %s: …, undo: … }`, with the lines as `%s: |`; `davit schema %s` shows its inputs",
			name, input, input, name);
	else if (text != NULL && input != NULL)
		faults_hint(&r->faults, "write `- %s: { %s: \"%.120s\", undo: … }`; `davit schema %s` shows its inputs",
		            name, input, text, name);
	else
		faults_hint(&r->faults, "write `- %s: { INPUT: VALUE }`; `davit schema %s` shows its inputs", name,
		            name);
}

static void add_step(struct reader *r, const char *name, json_t *value, const json_t *item, struct str *pointer,
                     bool late)
{
	const struct step_type *type = find_step(r, name, pointer);
	if (type == NULL)
		return;
	json_t *input = json_is_null(value) ? json_object() : json_incref(value);
	if (!json_is_object(input)) {
		faults_add(&r->faults, r->d->yaml, str_peek(pointer), "the inputs of '%s' are not a map", name);
		hint_form(r, type, value);
		json_decref(input);
		return;
	}
	name_secrets(r, type->info->secrets, input);
	struct deployment_step read = {0};
	if (!late)
		check_input(r, type, input, pointer, &read);
	json_t *names = step_targets(r, input, pointer);
	if (json_array_size(names) == 0 && acts_on_targets(name)) {
		faults_add(&r->faults, r->d->yaml, str_peek(pointer), "'%s' does not say on which target", name);
		faults_hint(&r->faults, "there are several: add `target: NAME`");
	}
	json_t *steps = json_object_get(r->d->deployment, "steps");
	json_t *step = json_pack("{s:s, s:o, s:o, s:b}", "step", name, "target", names, "input", input, "texts",
	                         r->text_values || late);
	static const char *const also[] = {"id", "name"};
	for (size_t i = 0; i < ARRAY_SIZE(also); i++)
		if (json_object_get(item, also[i]) != NULL)
			json_object_set(step, also[i], json_object_get(item, also[i]));
	json_array_append_new(steps, step);
	r->d->steps = xgrow(r->d->steps, &r->d->step_cap, r->d->read.step_count + 1, sizeof(*r->d->steps));
	r->d->steps[r->d->read.step_count++] = read;
}

/* A step that writes secrets and got all secrets of the job must say which ones it means. */
static void check_whole_secrets(struct reader *r, const char *name, const json_t *raw, const struct str *pointer)
{
	const struct step_info *info = step_info(name);
	const char *text = info != NULL && info->whole != NULL ? json_get_string(raw, info->whole) : NULL;
	if (text == NULL || json_object_get(raw, "keys") != NULL)
		return;
	_cleanup_(str_done) struct str bare = STR_INIT(256);
	for (; *text != '\0'; text++)
		if (*text != ' ' && *text != '\t' && *text != '\n')
			str_append_c(&bare, *text);
	if (strcmp(str_peek(&bare), "${{secrets}}") != 0)
		return;
	_cleanup_free_ char *whole = xasprintf("%s/%s", str_peek(pointer), info->whole);
	faults_add(&r->faults, r->d->yaml, whole, "all secrets are given: `keys` must say which are meant");
	faults_hint(&r->faults, "keys: [APP_*, SMTP_PASSWORD]");
}

static void read_step(struct reader *r, const json_t *item, const json_t *raw_item, size_t index)
{
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	str_append(&pointer, "/steps");
	faults_pointer_push_index(&pointer, index);
	const char *key, *name = NULL;
	json_t *value, *chosen = NULL;
	json_object_foreach((json_t *)item, key, value)
	{
		if (strcmp(key, "id") == 0 || strcmp(key, "name") == 0)
			continue;
		if (name != NULL && strcmp(name, "uses") == 0)
			continue;
		if (name != NULL) {
			faults_add(&r->faults, r->d->yaml, str_peek(&pointer),
			           "an item of `steps:` has one step, this one has '%s' and '%s'", name, key);
			faults_hint(&r->faults, "begin a new item with `- %s:`", key);
			return;
		}
		name = key;
		chosen = value;
	}
	if (name == NULL) {
		faults_add(&r->faults, r->d->yaml, str_peek(&pointer), "an item of `steps:` names no step");
		return;
	}
	faults_pointer_push(&pointer, name);
	/* Values that cannot be filled in yet are checked later. */
	const json_t *raw = json_object_get(raw_item, name);
	bool late = json_object_get(r->d->late, str_peek(&pointer)) != NULL;
	check_whole_secrets(r, name, raw, &pointer);
	add_step(r, name, chosen, item, &pointer, late);
	if (late) {
		_cleanup_free_ char *number =
			xasprintf("%zu", json_array_size(json_object_get(r->d->deployment, "steps")) - 1);
		json_object_set(r->d->late, number, (json_t *)raw);
	}
}

/* ---- the file ---- */

static json_t *resolve_target(struct reader *r, const char *name, const json_t *raw, struct str *pointer)
{
	const struct deployment_expander resolver = {r->d->contexts, r->d->yaml, &r->faults};
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

static json_t *resolve_targets(struct reader *r, const json_t *raw)
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

/* Filled in step by step, so that a late value marks its own step only; the targets first, since steps may name them. */
static json_t *resolve_root(struct reader *r, const json_t *raw)
{
	struct deployment_expander resolver = {r->d->contexts, r->d->yaml, &r->faults};
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	json_t *root = json_object();
	const char *key;
	json_t *value;
	json_t *targets = json_object_get(raw, "targets");
	json_object_set_new(r->d->contexts, "targets", json_object());
	if (targets != NULL)
		json_object_set_new(root, "targets", resolve_targets(r, targets));
	else
		add_default_target(r);
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

/* Targets are read by the tables of their kinds. */
static void leave_out_targets(json_t *document)
{
	json_t *targets = json_object_get(json_object_get(document, "properties"), "targets");
	json_t *shape = json_object_get(targets, "else");
	json_object_set_new(shape != NULL ? shape : targets, "additionalProperties", json_true());
}

/* The inputs of steps are read by their own tables, which say more and accept values that an expression filled in. */
static void leave_out_steps(json_t *document)
{
	json_t *step = json_object_get(json_object_get(document, "definitions"), "step"), *own = json_object();
	static const char *const names[] = {"id", "name"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set(own, names[i], json_object_get(json_object_get(step, "properties"), names[i]));
	json_object_set_new(step, "properties", own);
	json_object_del(step, "additionalProperties");
}

/* Drops the steps of a file of which only the places are read. */
static void leave_out_all_steps(json_t *document)
{
	static const char *const left[] = {"name", "environment"};
	json_t *required = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(left); i++)
		json_array_append_new(required, json_string(left[i]));
	json_object_set_new(document, "required", required);
	json_object_set_new(json_object_get(document, "properties"), "steps", json_true());
}

static int check_schema(struct reader *r, void (*leave_out)(json_t *document), struct err *err)
{
	const char *text = schema_builtin("deployment");
	json_t *document _cleanup_json_ = NULL;
	struct schema *schema _cleanup_(schema_freep) = NULL;
	if (text == NULL)
		return err_set(err, ERR_INTERNAL, "the schema of deployment files is not built in");
	int e = json_parse(text, strlen(text), 1 << 20, &document, err);
	if (e >= 0) {
		leave_out(document);
		leave_out_targets(document);
		e = schema_compile(document, NULL, &schema, err);
	}
	if (e < 0)
		return err_wrap(err, e, "schemas/deployment.json");
	e = schema_check(schema, r->root, r->d->yaml, &r->faults, err);
	return e == ERR_INVALID && r->faults.count > 0 ? 0 : e;
}

static void copy_heads(struct reader *r)
{
	static const char *const names[] = {"name", "environment", "on_failure", "undo_deadline", "seal"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *value = json_object_get(r->root, names[i]);
		if (value != NULL)
			json_object_set(r->d->deployment, names[i], value);
	}
	if (r->source->root != NULL)
		json_object_set_new(r->d->deployment, "source_root", json_string(r->source->root));
	if (r->source->commit != NULL)
		json_object_set_new(r->d->deployment, "commit", json_string(r->source->commit));
	if (r->source->repository != NULL)
		json_object_set_new(r->d->deployment, "repository", json_string(r->source->repository));
	json_object_set_new(r->d->deployment, "dirty", json_boolean(r->source->dirty));
}

static void read_body(struct reader *r, const json_t *raw)
{
	copy_heads(r);
	read_targets(r);
	json_t *steps = json_object_get(r->root, "steps");
	json_object_set_new(r->d->deployment, "steps", json_array());
	if (json_array_size(steps) > STEPS_MAX) {
		faults_add(&r->faults, r->d->yaml, "/steps", "more than %d steps", STEPS_MAX);
		return;
	}
	size_t index;
	json_t *item;
	json_array_foreach(steps, index, item) if (json_is_object(item))
		read_step(r, item, json_array_get(json_object_get(raw, "steps"), index), index);
}

static struct deployment_file *document_new(const struct deployment_values *values)
{
	struct deployment_file *d = xcalloc(1, sizeof(*d));
	d->arena.wipe = true;
	d->deployment = json_object();
	d->late = json_object();
	d->contexts = json_object();
	if (values != NULL) {
		json_object_set(d->contexts, "secrets", values->secrets);
		json_object_set(d->contexts, "vars", values->vars);
		json_object_set(d->contexts, "inputs", values->inputs);
		json_object_set(d->contexts, "env", values->env);
		json_object_set(d->contexts, "github", values->github);
	}
	return d;
}

static void reader_done(struct reader *r)
{
	faults_done(&r->faults);
	json_decrefp(&r->root);
	strv_done(&r->target_names);
	for (size_t i = 0; i < r->lacking_count; i++)
		free(r->lacking[i].pointer);
	free(r->lacking);
}

static const char *relative_to(const char *root, const char *path)
{
	size_t len = strlen(root);
	return strncmp(path, root, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

/* ERR_INVALID when there are faults; more than one are listed, not joined to one line. */
/* Other faults end it here, before a step's own check. So what is missing is reported with them, all at once. */
static void name_what_is_missing(struct reader *r)
{
	for (size_t i = 0; r->faults.count > 0 && i < r->lacking_count; i++) {
		struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
		size_t before = r->faults.count;
		str_append(&pointer, r->lacking[i].pointer);
		r->lacking[i].context.type->missing(&r->lacking[i].context, &r->faults);
		lift_faults(r, before, &pointer);
	}
}

static int faults_end(struct reader *r, const char *what, json_t **ret_faults, struct err *err)
{
	if (r->faults.count == 0)
		return 0;
	*ret_faults = deployment_faults_json(&r->faults, r->d->yaml);
	return err_set(err, ERR_INVALID, "%s: %zu fault%s, nothing was changed", what, r->faults.count,
	               r->faults.count == 1 ? "" : "s");
}

static int read_yaml(const char *path, struct reader *r, struct deployment_source *source, struct err *err)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	limits.keep_octal = true;
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		int refused = err_set(err, ERR_INVALID, "%s is %s, not a file", path,
		                      S_ISDIR(st.st_mode) ? "a directory" : "a pipe or device");
		return err_hint(err, refused, "name a deployment file, as in: davit deploy deploy/production.yml");
	}
	int e = deployment_source_find(path, true, source, err);
	if (e < 0)
		return err_hint(err, e, "name a deployment file, as in: davit deploy deploy/production.yml");
	r->source = source;
	e = yaml_read_file(path, &limits, &r->d->yaml, err);
	if (e < 0)
		return e;
	return json_is_object(yaml_root(r->d->yaml)) ? 0 : err_set(err, ERR_INVALID, "%s is not a map", path);
}

static int end_of_file(struct reader *r, const char *path, json_t **ret_faults, struct err *err)
{
	int e = faults_end(r, path, ret_faults, err);
	return e < 0 ? err_hint(err, e, "fix what is listed above; `davit schema deployment` shows the form") : 0;
}

int deployment_file_read(const char *path, const struct deployment_values *values, struct deployment_file **ret,
                         json_t **ret_faults, struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = document_new(values);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(reader_done) = {.d = d};
	int r = read_yaml(path, &reader, &source, err);
	if (r < 0)
		return r;
	const json_t *raw = yaml_root(d->yaml);
	reader.root = resolve_root(&reader, raw);
	r = check_schema(&reader, leave_out_steps, err);
	if (r < 0)
		return r;
	read_body(&reader, raw);
	name_what_is_missing(&reader);
	r = end_of_file(&reader, path, ret_faults, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *real = realpath(path, NULL);
	json_object_set_new(d->deployment, "file", json_string(relative_to(source.root, real ? real : path)));
	json_t *kept = replay_make(raw, d->deployment, d->late, d->contexts);
	if (kept != NULL)
		json_object_set_new(d->deployment, "kept", kept);
	*ret = TAKE(d);
	return 0;
}

/* ---- only the places of releases ---- */

/* The step of an item of `steps:` that makes releases or asks for certificates; NULL: it is another one. */
static const struct step_info *placed_step(const json_t *item)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)item, key, value)
	{
		const struct step_info *info = step_info(key);
		if (info != NULL && (info->releases != NULL || info->certificates != NULL))
			return info;
	}
	return NULL;
}

/* Removes everything that no release needs before it is filled in, so that its secrets are not needed. A removed step leaves its
 * place: the others keep their positions. */
static json_t *leave_places(const json_t *raw)
{
	static const char *const heads[] = {"name", "environment", "targets"};
	json_t *left = json_object(), *steps = json_array(), *item;
	size_t index;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (json_object_get(raw, heads[i]) != NULL)
			json_object_set(left, heads[i], json_object_get(raw, heads[i]));
	json_array_foreach(json_object_get(raw, "steps"), index, item)
	{
		const struct step_info *info = placed_step(item);
		const json_t *given = info ? json_object_get(item, info->name) : NULL;
		const char *const inputs[] = {info && info->releases ? info->releases : "", "target"};
		json_t *certificates = certificates_of(info, given);
		json_t *kept = json_object();
		for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
			if (json_object_get(given, inputs[i]) != NULL)
				json_object_set(kept, inputs[i], json_object_get(given, inputs[i]));
		if (certificates != NULL)
			json_object_set_new(kept, info->certificates, certificates);
		json_array_append_new(steps, json_pack("{s:o}", info ? info->name : "left out", kept));
	}
	json_object_set_new(left, "steps", steps);
	return left;
}

static void read_place(struct reader *r, const struct step_info *info, json_t *input, size_t index)
{
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	str_appendf(&pointer, "/steps/%zu/%s", index, info->name);
	if (json_object_get(r->d->late, str_peek(&pointer)) != NULL)
		return;
	json_t *names = step_targets(r, input, &pointer);
	json_t *certificates = certificates_of(info, input);
	if (certificates != NULL) {
		json_array_append_new(
			json_object_get(r->d->deployment, "steps"),
			json_pack("{s:s, s:{s:o}}", "step", info->name, "input", info->certificates, certificates));
	}
	if (info->releases == NULL) {
		json_decref(names);
		return;
	}
	const char *path = json_get_string(input, info->releases);
	faults_pointer_push(&pointer, info->releases);
	if (path == NULL || path[0] != '/')
		faults_add(&r->faults, r->d->yaml, str_peek(&pointer), "must be an absolute path");
	else
		json_array_append_new(json_object_get(r->d->deployment, "steps"),
		                      json_pack("{s:s, s:O, s:{s:s}}", "step", info->name, "target", names, "input",
		                                info->releases, path));
	json_decref(names);
}

static void read_places(struct reader *r)
{
	size_t index;
	json_t *item;
	copy_heads(r);
	read_targets(r);
	json_object_set_new(r->d->deployment, "steps", json_array());
	json_array_foreach(json_object_get(r->root, "steps"), index, item)
	{
		const struct step_info *info = placed_step(item);
		if (info != NULL)
			read_place(r, info, json_object_get(item, info->name), index);
	}
}

int deployment_file_places(const char *path, const struct deployment_values *values, json_t **ret, json_t **ret_faults,
                           struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = document_new(values);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(reader_done) = {.d = d};
	int r = read_yaml(path, &reader, &source, err);
	if (r < 0)
		return r;
	json_t *left _cleanup_json_ = leave_places(yaml_root(d->yaml));
	reader.root = resolve_root(&reader, left);
	r = check_schema(&reader, leave_out_all_steps, err);
	if (r < 0)
		return r;
	read_places(&reader);
	r = end_of_file(&reader, path, ret_faults, err);
	if (r == 0)
		*ret = json_incref(d->deployment);
	return r;
}

/* ---- one step ---- */

static json_t *read_map_text(struct reader *r, const char *name, const json_t *given)
{
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	char line[1024];
	_cleanup_free_ char *pointer = xasprintf("/%s", name);
	const json_t *root = given;
	limits.keep_octal = true;
	if (json_is_string(given)) {
		if (yaml_read(name, json_string_value(given), json_string_length(given), &limits, &doc, &err) < 0) {
			faults_add(&r->faults, NULL, pointer, "%s", err_line(&err, line, sizeof(line)));
			return NULL;
		}
		root = yaml_root(doc);
	}
	if (root == NULL || json_is_null(root))
		return NULL;
	if (json_is_object(root))
		return json_deep_copy(root);
	faults_add(&r->faults, NULL, pointer, "is not a map");
	return NULL;
}

/* `deployment` of a single step; the values themselves are checked with the whole. */
static void check_heads(struct reader *r, const json_t *given)
{
	static const char *const known[] = {"name", "environment", "on_failure"};
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)given, key, value)
	{
		bool found = false;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= strcmp(known[i], key) == 0;
		_cleanup_free_ char *pointer = xasprintf("/deployment/%s", key);
		if (!found) {
			const char *nearest = str_nearest(key, known, ARRAY_SIZE(known));
			faults_add(&r->faults, NULL, pointer, "unknown key '%s'", key);
			if (nearest != NULL)
				faults_hint(&r->faults, "did you mean '%s'?", nearest);
			else
				faults_hint(&r->faults, "name, environment and on_failure can be given");
		} else if (!json_is_string(value)) {
			faults_add(&r->faults, NULL, pointer, "is not a text");
		}
	}
}

static void single_heads(struct reader *r, const struct deployment_single *single)
{
	json_t *parsed = read_map_text(r, "deployment", json_object_get(single->input, "deployment"));
	check_heads(r, parsed);
	if (single->environment_unknown && json_object_get(parsed, "environment") == NULL && r->faults.count == 0) {
		faults_add(&r->faults, NULL, "/deployment",
		           "does not name the environment, and the runner does not tell which one the job has");
		faults_hint(&r->faults,
		            "deployment: { environment: production }; later steps of the job may leave it out");
	}
	struct {
		const char *key, *otherwise;
	} heads[] = {
		{"name", single->name ? single->name : single->step},
		{"environment", single->environment ? single->environment : "local"},
		{"on_failure", single->on_failure},
	};
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		const char *value = json_get_string(parsed, heads[i].key);
		if (value == NULL)
			value = heads[i].otherwise;
		if (value != NULL)
			json_object_set_new(r->root, heads[i].key, json_string(value));
	}
	json_decref(parsed);
}

/* `target: "[a, b]"`: a list in a string. */
static void read_target_names(struct reader *r, json_t *input)
{
	const char *text = json_get_string(input, "target");
	if (!r->text_values || text == NULL || (text[0] != '[' && !str_starts(text, "- ")))
		return;
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	char line[1024];
	if (yaml_read("target", text, strlen(text), &limits, &doc, &err) < 0)
		faults_add(&r->faults, NULL, "/target", "%s", err_line(&err, line, sizeof(line)));
	else
		json_object_set_new(input, "target", json_deep_copy(yaml_root(doc)));
}

static void add_known(json_t *targets, const json_t *known, const char *name)
{
	json_t *target = name ? json_object_get(known, name) : NULL;
	if (target != NULL && json_object_get(targets, name) == NULL)
		json_object_set(targets, name, target);
}

/* `targets` of a single step: a map, or a string that holds one. An earlier step of the job defined the targets that it names
 * but does not define. Without `targets` it has those of the job. */
static void single_targets(struct reader *r, json_t *input, const json_t *known)
{
	json_t *given = json_object_get(input, "targets");
	bool empty = given == NULL || (json_is_string(given) && json_string_length(given) == 0);
	json_t *targets = empty ? json_object() : read_map_text(r, "targets", given);
	read_target_names(r, input);
	const json_t *names = json_object_get(input, "target");
	if (targets == NULL)
		targets = json_object();
	size_t index;
	json_t *name;
	add_known(targets, known, json_string_value(names));
	json_array_foreach(names, index, name) add_known(targets, known, json_string_value(name));
	if (empty && names == NULL && known != NULL)
		json_object_update(targets, (json_t *)known);
	if (!empty || json_object_size(targets) > 0)
		json_object_set(r->root, "targets", targets);
	json_decref(targets);
	json_object_del(input, "targets");
}

int deployment_file_single(const struct deployment_single *single, struct deployment_file **ret, json_t **ret_faults,
                           struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = document_new(NULL);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(reader_done) = {.d = d, .source = &source, .text_values = single->text_values};
	int r = deployment_source_find(single->source_root ? single->source_root : ".", single->source_root == NULL,
	                               &source, err);
	if (r < 0)
		return r;
	reader.root = json_object();
	single_heads(&reader, single);
	json_t *input _cleanup_json_ = single->input ? json_deep_copy(single->input) : json_object();
	json_object_del(input, "deployment");
	single_targets(&reader, input, single->known_targets);
	json_t *item _cleanup_json_ = json_object();
	json_object_set(item, single->step, input);
	json_object_set_new(reader.root, "steps", json_pack("[O]", item));
	r = check_schema(&reader, leave_out_steps, err);
	if (r < 0)
		return r;
	read_body(&reader, reader.root);
	_cleanup_free_ char *what = xasprintf("step %s", single->step);
	r = faults_end(&reader, what, ret_faults, err);
	if (r < 0)
		return err_hint(err, r, "fix what is listed above; `davit schema %s` shows the inputs", single->step);
	deployment_file_set_job(d, single->repository, single->run_url, single->api_url, single->token, single->commit);
	*ret = TAKE(d);
	return 0;
}

/* ---- the rest ---- */

json_t *deployment_file_object(const struct deployment_file *d)
{
	return d->deployment;
}

void deployment_file_remove_step(struct deployment_file *d, size_t index)
{
	json_array_remove(json_object_get(d->deployment, "steps"), index);
	if (index >= d->read.step_count)
		return;
	d->read.step_count--;
	memmove(&d->steps[index], &d->steps[index + 1], (d->read.step_count - index) * sizeof(*d->steps));
}

const struct deployment *deployment_file_deployment(struct deployment_file *d)
{
	d->read.json = d->deployment;
	d->read.steps = d->steps;
	d->read.targets = d->targets;
	return &d->read;
}

static int resolve_late(void *context, int step_index, const json_t *contexts, json_t **ret_input, struct err *err)
{
	struct deployment_file *d = context;
	char number[16];
	snprintf(number, sizeof(number), "%d", step_index);
	const json_t *raw = json_object_get(d->late, number);
	if (raw == NULL) {
		*ret_input = NULL;
		return 0;
	}
	struct faults faults = {0};
	json_t *all _cleanup_json_ = json_copy(d->contexts);
	json_object_update(all, (json_t *)contexts);
	struct deployment_expander resolver = {all, d->yaml, &faults};
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	bool late = false;
	str_appendf(&pointer, "/steps/%d", step_index);
	json_t *filled = deployment_expand(&resolver, raw, &pointer, &late);
	int r = faults_to_err(&faults, d->yaml, err);
	faults_done(&faults);
	if (r < 0) {
		json_decref(filled);
		return r;
	}
	const json_t *step = json_array_get(json_object_get(d->deployment, "steps"), (size_t)step_index);
	deployment_typed_step(json_get_string(step, "step"), raw, filled);
	json_object_del(filled, "target");
	*ret_input = filled;
	return 0;
}

void deployment_file_bind(struct deployment_file *d, struct engine_options *options)
{
	options->resolve = resolve_late;
	options->resolve_context = d;
	const char *deadline = json_get_string(d->deployment, "undo_deadline");
	long long ms;
	if (deadline != NULL && options->undo_deadline_ms == 0 && str_parse_duration_ms(deadline, &ms) == 0)
		options->undo_deadline_ms = ms;
	if (!json_get_bool(d->deployment, "seal", true))
		options->seal = false;
}

void deployment_file_set_job(struct deployment_file *d, const char *repository, const char *run_url,
                             const char *api_url, const char *token, const char *commit)
{
	const struct {
		const char *key, *value;
	} members[] = {
		{"repository", repository}, {"run_url", run_url}, {"api_url", api_url},
		{"token", token},           {"commit", commit},
	};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].value != NULL && members[i].value[0] != '\0')
			json_object_set_new(d->deployment, members[i].key, json_stringf("%s", members[i].value));
}

void deployment_file_free(struct deployment_file *d)
{
	if (d == NULL)
		return;
	json_decref(d->deployment);
	json_decref(d->contexts);
	json_decref(d->late);
	yaml_doc_free(d->yaml);
	arena_done(&d->arena);
	free(d->steps);
	free(d->targets);
	free(d);
}

void deployment_file_freep(struct deployment_file **d)
{
	deployment_file_free(*d);
	*d = NULL;
}
