#include "base/data/fields/fields_priv.h"

#include <stdarg.h>

_Static_assert(sizeof(enum field_kind) == sizeof(int), "enums of typed structs are written as int");

void field_fault(struct field_reader *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	faults_add(r->faults, r->doc, str_peek(&r->pointer), "%s", text ? text : fmt);
	r->fault_count++;
}

const char *field_type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "a map";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_NULL:
		return "nothing";
	default:
		return "true or false";
	}
}

static void release_json(void *value)
{
	json_decref(value);
}

static void *member_at(void *base, size_t offset)
{
	return (unsigned char *)base + offset;
}

static void set_has(void *base, const struct field *f, bool has)
{
	if (f->has_offset != FIELD_NONE)
		*(bool *)member_at(base, f->has_offset) = has;
}

/* Lists. */

static int read_texts(struct field_reader *r, const struct field *f, const json_t *list, struct field_strings *ret)
{
	size_t count = json_array_size(list);
	const char **items = arena_alloc(r->arena, (count + 1) * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		size_t length = r->pointer.len;
		faults_pointer_push_index(&r->pointer, i);
		int rc = field_read_text(r, f, json_array_get(list, i), &items[i]);
		str_truncate(&r->pointer, length);
		if (rc < 0)
			return rc;
	}
	ret->items = items;
	ret->count = count;
	return field_check_count(r, f, list, "entries");
}

/* Lines of a string, without blank ones and surrounding white space. */
static json_t *lines_of(const char *text)
{
	json_t *list = json_array();
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		size_t start = strspn(text, " \t\r\n"), end = len;
		while (end > start && strchr(" \t\r", text[end - 1]) != NULL)
			end--;
		if (start < end)
			json_array_append_new(list, json_stringn(text + start, end - start));
		text += len + (text[len] == '\n');
	}
	return list;
}

static bool looks_like_list(const char *text)
{
	text += strspn(text, " \t\r\n");
	return text[0] == '[' || (text[0] == '-' && (text[1] == ' ' || text[1] == '\n'));
}

static int read_strings(struct field_reader *r, const struct field *f, const json_t *value, struct field_strings *ret)
{
	if (json_is_array(value))
		return read_texts(r, f, value, ret);
	if (!json_is_string(value)) {
		field_fault(r, "must be a text or a list of texts, not %s", field_type_name(value));
		return 0;
	}
	const char *text = json_string_value(value);
	_cleanup_json_ json_t *list = NULL;
	if (strchr(text, '\n') != NULL) {
		list = lines_of(text);
	} else {
		list = json_array();
		json_array_append(list, (json_t *)value);
	}
	return read_texts(r, f, list, ret);
}

static int read_integers(struct field_reader *r, const struct field *f, const json_t *value, struct field_integers *ret)
{
	_cleanup_json_ json_t *one = NULL;
	if (json_is_integer(value)) {
		one = json_array();
		json_array_append(one, (json_t *)value);
		value = one;
	}
	if (!json_is_array(value)) {
		field_fault(r, "must be a whole number or a list of whole numbers, not %s", field_type_name(value));
		return 0;
	}
	size_t count = json_array_size(value);
	int64_t *items = arena_alloc(r->arena, (count + 1) * sizeof(*items));
	for (size_t i = 0; i < count; i++) {
		size_t length = r->pointer.len;
		faults_pointer_push_index(&r->pointer, i);
		field_read_integer(r, f, json_array_get(value, i), &items[i]);
		str_truncate(&r->pointer, length);
	}
	ret->items = items;
	ret->count = count;
	return field_check_count(r, f, value, "entries");
}

static int read_map(struct field_reader *r, const struct field *f, const json_t *value, struct field_map *ret)
{
	if (!json_is_object(value)) {
		field_fault(r, "must be a map of texts, not %s", field_type_name(value));
		return 0;
	}
	struct field_pair *items = arena_alloc(r->arena, (json_object_size(value) + 1) * sizeof(*items));
	size_t count = 0, length = r->pointer.len;
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member)
	{
		faults_pointer_push(&r->pointer, key);
		items[count].key = arena_strdup(r->arena, key);
		int rc = field_check_key(r, f, key);
		if (rc == 0)
			rc = field_read_text(r, f, member, &items[count++].value);
		str_truncate(&r->pointer, length);
		if (rc < 0)
			return rc;
	}
	ret->items = items;
	ret->count = count;
	return field_check_count(r, f, value, "members");
}

/* Objects. */

static int read_field(struct field_reader *r, const struct field *f, const json_t *value, void *base);
static int read_object(struct field_reader *r, const struct field_table *table, const json_t *value, void *base);
static bool is_absent(const struct field_reader *r, const json_t *value);
static void report_unknown(struct field_reader *r, const struct field_table *table, const json_t *object);
static void check_groups(struct field_reader *r, const struct field_table *table, const json_t *object);

static int read_objects(struct field_reader *r, const struct field *f, const json_t *value, void *base)
{
	if (!json_is_array(value)) {
		field_fault(r, "must be a list, not %s", field_type_name(value));
		return 0;
	}
	size_t count = json_array_size(value);
	unsigned char *items = arena_alloc(r->arena, (count + 1) * f->table->size);
	for (size_t i = 0; i < count; i++) {
		size_t length = r->pointer.len;
		faults_pointer_push_index(&r->pointer, i);
		int rc = read_object(r, f->table, json_array_get(value, i), items + i * f->table->size);
		str_truncate(&r->pointer, length);
		if (rc < 0)
			return rc;
	}
	*(void **)member_at(base, f->offset) = items;
	*(size_t *)member_at(base, f->count_offset) = count;
	return field_check_count(r, f, value, "entries");
}

/* The choices, as the members of one object, and what may stand beside them. */
struct family {
	struct field_table table;
	struct field *fields; /* the choices, then those of `common` */
	const char **names;
	struct field_group group;
};

static void family_done(struct family *f)
{
	free(f->fields);
	free(f->names);
}

static int family_init(struct field_reader *r, const struct field_table *common, struct family *ret)
{
	size_t known = 0, beside = common != NULL ? common->count : 0;
	while (r->choices != NULL && r->choices[known] != NULL)
		known++;
	*ret = (struct family){.fields = xcalloc(known + beside + 1, sizeof(*ret->fields)),
	                       .names = xcalloc(known + 1, sizeof(*ret->names))};
	for (size_t i = 0; i < known; i++) {
		ret->names[i] = r->choices[i]->name;
		ret->fields[i] = (struct field){.name = ret->names[i],
		                                .kind = FIELD_OBJECT,
		                                .has_offset = FIELD_NONE,
		                                .table = r->choices[i]->table};
	}
	for (size_t i = 0; i < beside; i++)
		ret->fields[known + i] = common->fields[i];
	ret->group = (struct field_group){true, ret->names, known};
	ret->table = (struct field_table){
		.fields = ret->fields, .count = known + beside, .groups = &ret->group, .group_count = 1};
	return known > 0 ? 0 : err_set(r->err, ERR_INTERNAL, "no choices are known here");
}

static int read_choice(struct field_reader *r, const struct family *family, const json_t *item, void *common,
                       struct field_chosen *ret)
{
	if (!json_is_object(item)) {
		field_fault(r, "must be a map, not %s", field_type_name(item));
		return 0;
	}
	size_t before = r->fault_count, known = family->group.count;
	report_unknown(r, &family->table, item);
	for (size_t i = 0; i < family->table.count; i++) {
		const struct field *f = &family->fields[i];
		const json_t *value = json_object_get(item, f->name);
		bool is_choice = i < known;
		if (is_choice && is_absent(r, value))
			continue;
		unsigned char *typed = is_choice ? arena_alloc(r->arena, MAX(f->table->size, 1)) : common;
		int rc = read_field(r, f, value, typed);
		if (rc < 0)
			return rc;
		if (is_choice)
			*ret = (struct field_chosen){r->choices[i], typed};
	}
	check_groups(r, &family->table, item);
	if (r->fault_count > before)
		*ret = (struct field_chosen){0};
	return 0;
}

/* Each item is an object of exactly one of the choices. */
static int read_choices(struct field_reader *r, const struct field *f, const json_t *value, void *base)
{
	size_t count = json_array_size(value);
	_cleanup_(family_done) struct family family = {0};
	if (!json_is_array(value)) {
		field_fault(r, "must be a list, not %s", field_type_name(value));
		return 0;
	}
	int rc = family_init(r, NULL, &family);
	struct field_chosen *items = arena_alloc(r->arena, (count + 1) * sizeof(*items));
	for (size_t i = 0; rc == 0 && i < count; i++) {
		size_t length = r->pointer.len;
		faults_pointer_push_index(&r->pointer, i);
		rc = read_choice(r, &family, json_array_get(value, i), NULL, &items[i]);
		str_truncate(&r->pointer, length);
	}
	if (rc < 0)
		return rc;
	*(void **)member_at(base, f->offset) = items;
	*(size_t *)member_at(base, f->count_offset) = count;
	return field_check_count(r, f, value, "entries");
}

static int read_self(struct field_reader *r, const struct field *f, const json_t *value, void **ret)
{
	*ret = arena_alloc(r->arena, f->table->size);
	return read_object(r, f->table, value, *ret);
}

/* The caller's value, or one that is freed with the arena. */
static int read_json(struct field_reader *r, const struct field *f, const json_t *value, const json_t **ret)
{
	if ((field_json_type(value) & f->json_types) == 0) {
		field_fault(r, "must be %s, not %s", field_types_text(f->json_types), field_type_name(value));
		return 0;
	}
	arena_defer(r->arena, release_json, json_incref((json_t *)value));
	*ret = value;
	return f->schema ? field_check_schema(r, f, value) : 0;
}

static int read_value(struct field_reader *r, const struct field *f, const json_t *value, void *base)
{
	void *member = member_at(base, f->offset);
	if (json_is_null(value) && !(f->kind == FIELD_JSON && (f->json_types & FIELD_TYPE_NULL))) {
		field_fault(r, "has no value");
		faults_hint(r->faults, "give it a value, or remove it");
		return 0;
	}
	switch (f->kind) {
	case FIELD_STRING:
		return field_read_text(r, f, value, member);
	case FIELD_ENUM:
		return field_read_enum(r, f, value, member);
	case FIELD_INTEGER:
		return field_read_integer(r, f, value, member);
	case FIELD_NUMBER:
		return field_read_number(r, f, value, member);
	case FIELD_BOOLEAN:
		return field_read_boolean(r, value, member);
	case FIELD_DURATION:
		return field_read_duration(r, f, value, member);
	case FIELD_SIZE:
		return field_read_size(r, f, value, member);
	case FIELD_MODE:
		return field_read_mode(r, value, member);
	case FIELD_STRINGS:
		return read_strings(r, f, value, member);
	case FIELD_LIST:
		if (!json_is_array(value)) {
			field_fault(r, "must be a list of texts, not %s", field_type_name(value));
			return 0;
		}
		return read_texts(r, f, value, member);
	case FIELD_INTEGERS:
		return read_integers(r, f, value, member);
	case FIELD_OBJECT:
		return read_object(r, f->table, value, member);
	case FIELD_CHOICES:
		return read_choices(r, f, value, base);
	case FIELD_OBJECTS:
		return read_objects(r, f, value, base);
	case FIELD_SELF:
		return read_self(r, f, value, member);
	case FIELD_MAP:
		return read_map(r, f, value, member);
	case FIELD_JSON:
		return read_json(r, f, value, member);
	}
	return err_set(r->err, ERR_INTERNAL, "field '%s' is of no known kind", f->name);
}

/* For strings of `with:` and INPUT_*: true if the string is the value itself. */
static bool text_is_value(const struct field *f, const char *text)
{
	switch (f->kind) {
	case FIELD_STRING:
	case FIELD_ENUM:
	case FIELD_DURATION:
	case FIELD_SIZE:
	case FIELD_MODE:
		return true;
	case FIELD_STRINGS:
		return !looks_like_list(text);
	default:
		return false;
	}
}

static void copy_faults(struct field_reader *r, const struct faults *inner, const char *prefix, bool from_text)
{
	size_t length = r->pointer.len;
	for (size_t i = 0; i < inner->count; i++) {
		const struct fault *x = &inner->items[i];
		str_append(&r->pointer, x->pointer);
		if (from_text && x->mark.line > 1)
			field_fault(r, "%s%s (line %d, column %d of the text)", prefix, x->text, x->mark.line,
			            x->mark.column);
		else
			field_fault(r, "%s%s", prefix, x->text);
		if (x->hint != NULL)
			faults_hint(r->faults, "%s", x->hint);
		str_truncate(&r->pointer, length);
	}
}

/* A json member that may be a string: only a map or a list in the string is parsed. */
static bool keeps_text(const struct field *f, const json_t *parsed)
{
	if (f->kind != FIELD_JSON || !(f->json_types & FIELD_TYPE_STRING))
		return false;
	return parsed == NULL || !(json_is_object(parsed) || json_is_array(parsed)) ||
	       (field_json_type(parsed) & f->json_types) == 0;
}

static int read_text_value(struct field_reader *r, const struct field *f, const json_t *value, void *base)
{
	const char *text = json_string_value(value);
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	struct err err = ERR_INIT;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.keep_octal = true;
	int rc = yaml_read(f->name, text, json_string_length(value), &limits, &doc, &err);
	if (keeps_text(f, doc ? yaml_root(doc) : NULL))
		return read_value(r, f, value, base);
	if (rc < 0) {
		if (f->secret)
			field_fault(r, "is not valid YAML or JSON");
		else
			field_fault(r, "is not valid YAML or JSON: %s", err.frames[0].text);
		return 0;
	}
	struct faults faults = {0};
	struct field_reader inner = {.doc = doc,
	                             .choices = r->choices,
	                             .arena = r->arena,
	                             .faults = &faults,
	                             .err = r->err,
	                             .pointer = STR_INIT(1 << 16)};
	rc = read_value(&inner, f, yaml_root(doc), base);
	copy_faults(r, &faults, "", true);
	faults_done(&faults);
	str_done(&inner.pointer);
	return rc;
}

/* Without `default_text` the member stays zero. */
static int read_default(struct field_reader *r, const struct field *f, void *base)
{
	if (f->default_text == NULL)
		return 0;
	_cleanup_json_ json_t *value = NULL;
	int rc = json_parse(f->default_text, strlen(f->default_text), 1 << 20, &value, r->err);
	if (rc < 0)
		return err_wrap(r->err, rc, "default of '%s'", f->name);
	size_t before = r->fault_count;
	rc = read_value(r, f, value, base);
	if (rc == 0 && r->fault_count > before)
		return err_set(r->err, ERR_INTERNAL, "the default of '%s' is not valid", f->name);
	return rc;
}

static bool is_absent(const struct field_reader *r, const json_t *value)
{
	return value == NULL || (r->text_values && json_is_string(value) && json_string_length(value) == 0);
}

static int read_field(struct field_reader *r, const struct field *f, const json_t *value, void *base)
{
	set_has(base, f, false);
	if (is_absent(r, value)) {
		if (f->required) {
			field_fault(r, "'%s' is missing", f->name);
			return 0;
		}
		return read_default(r, f, base);
	}
	size_t length = r->pointer.len, before = r->fault_count;
	faults_pointer_push(&r->pointer, f->name);
	int rc;
	if (r->text_values && json_is_string(value) && !text_is_value(f, json_string_value(value)))
		rc = read_text_value(r, f, value, base);
	else
		rc = read_value(r, f, value, base);
	str_truncate(&r->pointer, length);
	set_has(base, f, rc == 0 && r->fault_count == before);
	return rc;
}

static const struct field *find_field(const struct field_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->fields[i].name, name) == 0)
			return &table->fields[i];
	return NULL;
}

static void report_unknown(struct field_reader *r, const struct field_table *table, const json_t *object)
{
	_cleanup_free_ const char **names = xcalloc(table->count, sizeof(*names));
	for (size_t i = 0; i < table->count; i++)
		names[i] = table->fields[i].name;
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)object, key, member)
	{
		if (find_field(table, key) != NULL)
			continue;
		size_t length = r->pointer.len;
		faults_pointer_push(&r->pointer, key);
		const char *nearest = str_nearest(key, names, table->count);
		faults_add_key(r->faults, r->doc, str_peek(&r->pointer), "'%s' is not known here%s%s%s", key,
		               nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
		r->fault_count++;
		str_truncate(&r->pointer, length);
	}
}

static void check_groups(struct field_reader *r, const struct field_table *table, const json_t *object)
{
	for (size_t g = 0; g < table->group_count; g++) {
		const struct field_group *group = &table->groups[g];
		_cleanup_(str_done) struct str names = STR_INIT(4096);
		size_t found = 0;
		for (size_t i = 0; i < group->count; i++) {
			if (!is_absent(r, json_object_get(object, group->names[i])))
				found++;
			str_appendf(&names, "%s'%s'", i ? ", " : "", group->names[i]);
		}
		if (found == 0)
			field_fault(r, "one of %s is needed", str_peek(&names));
		else if (found > 1 && group->exactly_one)
			field_fault(r, "only one of %s is possible", str_peek(&names));
	}
}

static int read_object(struct field_reader *r, const struct field_table *table, const json_t *value, void *base)
{
	if (!json_is_object(value)) {
		field_fault(r, "must be a map, not %s", field_type_name(value));
		return 0;
	}
	report_unknown(r, table, value);
	for (size_t i = 0; i < table->count; i++) {
		int rc = read_field(r, &table->fields[i], json_object_get(value, table->fields[i].name), base);
		if (rc < 0)
			return rc;
	}
	check_groups(r, table, value);
	return 0;
}

int fields_read_choices(const struct field_table *table, const struct field_choice *const *choices, const json_t *value,
                        const struct yaml_doc *doc, const char *pointer, bool text_values, struct arena *arena,
                        void *ret_struct, struct faults *faults, struct err *err)
{
	struct field_reader r = {.doc = doc,
	                         .choices = choices,
	                         .text_values = text_values,
	                         .arena = arena,
	                         .faults = faults,
	                         .err = err,
	                         .pointer = STR_INIT(1 << 16)};
	str_append(&r.pointer, pointer);
	_cleanup_json_ json_t *nothing = json_object();
	/* `- preflight:` with nothing after it is a step without inputs. */
	int rc = read_object(&r, table, value == NULL || json_is_null(value) ? nothing : value, ret_struct);
	str_done(&r.pointer);
	if (rc < 0)
		return rc;
	return r.fault_count > 0 ? faults_to_err(faults, doc, err) : 0;
}

int fields_read(const struct field_table *table, const json_t *value, const struct yaml_doc *doc, const char *pointer,
                bool text_values, struct arena *arena, void *ret_struct, struct faults *faults, struct err *err)
{
	return fields_read_choices(table, NULL, value, doc, pointer, text_values, arena, ret_struct, faults, err);
}

int fields_read_choice(const struct field_choice *const *choices, const struct field_table *common, const json_t *value,
                       const struct yaml_doc *doc, const char *pointer, struct arena *arena, struct field_chosen *ret,
                       void *ret_common, struct faults *faults, struct err *err)
{
	struct field_reader r = {.doc = doc,
	                         .choices = choices,
	                         .arena = arena,
	                         .faults = faults,
	                         .err = err,
	                         .pointer = STR_INIT(1 << 16)};
	_cleanup_(family_done) struct family family = {0};
	str_append(&r.pointer, pointer);
	*ret = (struct field_chosen){0};
	int rc = family_init(&r, common, &family);
	if (rc == 0)
		rc = read_choice(&r, &family, value, ret_common, ret);
	str_done(&r.pointer);
	if (rc < 0)
		return rc;
	return r.fault_count > 0 ? faults_to_err(faults, doc, err) : 0;
}

const void *fields_member(const struct field_table *table, const void *typed, const char *name)
{
	const struct field *f = name ? find_field(table, name) : NULL;
	return f ? (const unsigned char *)typed + f->offset : NULL;
}

void fields_unset_strings(const struct field_table *table, void *typed, const char *name)
{
	const struct field *f = find_field(table, name);
	if (f == NULL || (f->kind != FIELD_STRINGS && f->kind != FIELD_LIST))
		return;
	*(struct field_strings *)member_at(typed, f->offset) = (struct field_strings){0};
	set_has(typed, f, false);
}

const char *fields_name(const struct field_table *table)
{
	return table->name;
}

size_t fields_size(const struct field_table *table)
{
	return table->size;
}

const char *fields_input(const struct field_table *table, size_t index)
{
	return index < table->count ? table->fields[index].name : NULL;
}

bool fields_is_secret(const struct field_table *table, const char *input)
{
	const struct field *f = find_field(table, input);
	return f != NULL && f->secret;
}
