/* One item of `steps:`: its step, its inputs, its targets. */
#include "agent/deployment/file_priv.h"
#include "steps/registry.h"

#include <string.h>

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
void file_lift_faults(struct reader *r, size_t from, const struct str *pointer)
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
	file_lift_faults(r, before, pointer);
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
	json_t *names = file_step_targets(r, input, pointer);
	if (json_array_size(names) == 0 && file_acts_on_targets(name)) {
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

void file_read_step(struct reader *r, const json_t *item, const json_t *raw_item, size_t index)
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
