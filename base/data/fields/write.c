#include "base/data/fields/table.h"

static json_t *write_object(const struct field_table *table, const void *base, bool whole);

static const void *member_at(const void *base, size_t offset)
{
	return (const unsigned char *)base + offset;
}

static json_t *write_strings(const struct field_strings *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(list, json_string_lossy(s->items[i], strlen(s->items[i])));
	return list;
}

static json_t *write_integers(const struct field_integers *n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n->count; i++)
		json_array_append_new(list, json_integer(n->items[i]));
	return list;
}

/* Keeps the names of a secret map. */
static json_t *write_map(const struct field_map *m, bool secret)
{
	json_t *object = json_object();
	for (size_t i = 0; i < m->count; i++)
		json_object_set_new(object, m->items[i].key,
		                    secret ? json_string("***")
		                           : json_string_lossy(m->items[i].value, strlen(m->items[i].value)));
	return object;
}

static json_t *write_objects(const struct field *f, const void *base, bool whole)
{
	const unsigned char *items = *(void *const *)member_at(base, f->offset);
	size_t count = *(const size_t *)member_at(base, f->count_offset);
	if (items == NULL)
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, write_object(f->table, items + i * f->table->size, whole));
	return list;
}

static json_t *write_choices(const struct field *f, const void *base, bool whole)
{
	const struct field_chosen *items = *(void *const *)member_at(base, f->offset);
	size_t count = *(const size_t *)member_at(base, f->count_offset);
	if (items == NULL)
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *item = json_object();
		if (items[i].choice != NULL)
			json_object_set_new(item, items[i].choice->name,
			                    write_object(items[i].choice->table, items[i].typed, whole));
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *write_duration(int64_t ms)
{
	return ms % 1000 == 0 ? json_integer(ms / 1000) : json_stringf("%lldms", (long long)ms);
}

static json_t *write_value(const struct field *f, const void *base, bool whole)
{
	const void *member = member_at(base, f->offset);
	switch (f->kind) {
	case FIELD_STRING: {
		const char *text = *(const char *const *)member;
		return text ? json_string_lossy(text, strlen(text)) : NULL;
	}
	case FIELD_ENUM:
		return json_string(f->values[*(const int *)member]);
	case FIELD_INTEGER:
	case FIELD_SIZE:
		return json_integer(*(const int64_t *)member);
	case FIELD_NUMBER:
		return json_real(*(const double *)member);
	case FIELD_BOOLEAN:
		return json_boolean(*(const bool *)member);
	case FIELD_DURATION:
		return write_duration(*(const int64_t *)member);
	case FIELD_MODE:
		return json_stringf("%04llo", (long long)*(const int64_t *)member);
	case FIELD_STRINGS:
	case FIELD_LIST:
		return write_strings(member);
	case FIELD_INTEGERS:
		return write_integers(member);
	case FIELD_OBJECT:
		return write_object(f->table, member, whole);
	case FIELD_CHOICES:
		return write_choices(f, base, whole);
	case FIELD_OBJECTS:
		return write_objects(f, base, whole);
	case FIELD_SELF:
		return *(const void *const *)member ? write_object(f->table, *(const void *const *)member, whole)
		                                    : NULL;
	case FIELD_MAP:
		return write_map(member, f->secret && !whole);
	case FIELD_JSON:
		return json_deep_copy(*(json_t *const *)member);
	}
	return NULL;
}

/* Absent and without a default: the member's zero means nothing. */
static bool is_set(const struct field *f, const void *base)
{
	return f->default_text != NULL || f->has_offset == FIELD_NONE || *(const bool *)member_at(base, f->has_offset);
}

static json_t *write_object(const struct field_table *table, const void *base, bool whole)
{
	json_t *object = json_object();
	for (size_t i = 0; i < table->count; i++) {
		const struct field *f = &table->fields[i];
		json_t *value = is_set(f, base) ? write_value(f, base, whole) : NULL;
		if (value != NULL && f->secret && !whole && f->kind != FIELD_MAP) {
			json_decref(value);
			value = json_string("***");
		}
		if (value != NULL)
			json_object_set_new(object, f->name, value);
	}
	return object;
}

json_t *fields_write(const struct field_table *table, const void *typed)
{
	return write_object(table, typed, false);
}

json_t *fields_write_whole(const struct field_table *table, const void *typed)
{
	return write_object(table, typed, true);
}
