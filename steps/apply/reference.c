/* References between resources. Those of one step know each other by what is known with the plan; those of an earlier step are filled in
 * before this one begins, and until then shown as known after apply. */
#include "base/data/reference.h"
#include "steps/apply/apply.h"

/* ---- finding them ---- */

static void each_in_text(const char *text, reference_visit *on, void *context)
{
	struct reference ref;
	for (size_t from = 0; reference_find(text, from, &ref); from = ref.at + ref.len)
		on(context, ref.name, ref.attribute);
}

void reference_each(const json_t *value, reference_visit *on, void *context)
{
	const char *key;
	json_t *member;
	size_t i;
	if (json_is_string(value))
		each_in_text(json_string_value(value), on, context);
	json_array_foreach((json_t *)(uintptr_t)value, i, member) reference_each(member, on, context);
	json_object_foreach((json_t *)(uintptr_t)value, key, member) reference_each(member, on, context);
}

static void found(void *context, const char *name, const char *attribute)
{
	(void)name;
	(void)attribute;
	*(bool *)context = true;
}

static bool has_any(const json_t *value)
{
	bool ret = false;
	reference_each(value, found, &ret);
	return ret;
}

void reference_note(struct resource *r)
{
	_cleanup_json_ json_t *written = fields_write_whole(r->type->choice.table, r->in);
	if (has_any(written))
		r->written = TAKE(written);
}

/* ---- what one has ---- */

enum { FACT_MAX = 4096 };

static bool is_listed(const char *const *names, const char *name)
{
	for (size_t i = 0; names != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void add_names(const char **known, size_t max, size_t *count, const char *const *names)
{
	for (size_t i = 0; names != NULL && names[i] != NULL && *count < max; i++)
		known[(*count)++] = names[i];
}

const char *resource_type_refuse(const struct resource_type *type, const char *attribute, bool later,
                                 const char **ret_nearest)
{
	const char *known[160], *name;
	size_t count = 0;
	*ret_nearest = NULL;
	if (!later && is_listed(type->output_names, attribute))
		return "is known only once it is made: use it in a later step";
	for (size_t i = 0; (name = fields_input(type->choice.table, i)) != NULL && count < 100; i++)
		known[count++] = name;
	add_names(known, ARRAY_SIZE(known), &count, type->facts);
	if (later)
		add_names(known, ARRAY_SIZE(known), &count, type->output_names);
	for (size_t i = 0; i < count; i++)
		if (strcmp(known[i], attribute) == 0)
			return NULL;
	*ret_nearest = str_nearest(attribute, known, count);
	return "is no attribute of it";
}

static void add_scalars(json_t *facts, const json_t *from)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)from, name, value)
	{
		if (json_is_string(value) && json_string_length(value) <= FACT_MAX)
			json_object_set(facts, name, value);
		else if (json_is_integer(value))
			json_object_set_new(facts, name, json_stringf("%lld", (long long)json_integer_value(value)));
		else if (json_is_boolean(value))
			json_object_set_new(facts, name, json_string(json_is_true(value) ? "true" : "false"));
	}
}

json_t *reference_facts(const struct resource *r, const json_t *node)
{
	_cleanup_json_ json_t *in = fields_write_whole(r->type->choice.table, r->in);
	json_t *facts = json_object();
	add_scalars(facts, node);
	add_scalars(facts, in);
	json_object_del(facts, "type");
	return facts;
}

const char *reference_refuse(const struct resource *of, const char *attribute, const char **ret_nearest)
{
	return resource_type_refuse(of->type, attribute, false, ret_nearest);
}

/* ---- filling them in ---- */

struct fill {
	const json_t *facts;
	bool unknown, lacks;
	struct reference lacking;
};

static json_t *fill_text(struct fill *f, const char *text)
{
	_cleanup_(str_done) struct str out = STR_SECRET_INIT(64 << 20);
	struct reference ref;
	size_t from = 0;
	for (; reference_find(text, from, &ref); from = ref.at + ref.len) {
		const json_t *of = json_object_get(f->facts, ref.name);
		const char *value = json_get_string(of, ref.attribute);
		f->unknown = f->unknown || of == NULL;
		if (of != NULL && value == NULL) {
			f->lacks = true;
			f->lacking = ref;
		}
		str_append_n(&out, text + from, ref.at - from);
		str_append(&out, value != NULL ? value : "");
	}
	str_append(&out, text + from);
	return json_string_lossy(str_peek(&out), out.len);
}

static json_t *fill_value(struct fill *f, const json_t *value)
{
	const char *key;
	json_t *member, *ret;
	size_t i;
	if (json_is_string(value))
		return fill_text(f, json_string_value(value));
	if (!json_is_array(value) && !json_is_object(value))
		return json_incref((json_t *)(uintptr_t)value);
	ret = json_is_array(value) ? json_array() : json_object();
	json_array_foreach((json_t *)(uintptr_t)value, i, member) json_array_append_new(ret, fill_value(f, member));
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
		json_object_set_new(ret, key, fill_value(f, member));
	return ret;
}

static int read_filled(const struct resource *r, const json_t *filled, struct arena *arena, struct resource *ret,
                       struct err *err)
{
	const struct field_table *table = r->type->choice.table;
	_cleanup_(faults_done) struct faults faults = {0};
	void *typed = arena_alloc(arena, fields_size(table));
	int e = fields_read(table, filled, NULL, r->pointer, false, arena, typed, &faults, err);
	if (e < 0 && faults.count == 0)
		return e;
	*ret = *r;
	ret->in = typed;
	const struct resource_faults f = {&faults, NULL};
	if (faults.count == 0 && r->type->validate != NULL)
		r->type->validate(ret, &f);
	return faults_to_err(&faults, NULL, err);
}

int reference_fill(const struct resource *r, const json_t *facts, struct arena *arena, struct resource *ret,
                   json_t **ret_unknown, struct err *err)
{
	_cleanup_json_ json_t *filled = json_object(), *unknown = json_object();
	const char *name;
	json_t *value;
	json_object_foreach(r->written, name, value)
	{
		struct fill f = {.facts = facts};
		json_object_set_new(filled, name, fill_value(&f, value));
		if (f.lacks)
			return err_set(err, ERR_INVALID, "%s refers to '%s' of '%s', which has none", r->key,
			               f.lacking.attribute, f.lacking.name);
		if (f.unknown)
			json_object_set_new(unknown, name, json_string("known after apply"));
	}
	if (json_object_size(unknown) > 0) {
		*ret_unknown = TAKE(unknown);
		return 0;
	}
	return read_filled(r, filled, arena, ret, err);
}
