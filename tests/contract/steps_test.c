/* What every step's schema promises, tried on the schema itself and on the field reader made from it: inputs are made up from the schema,
 * spoilt in each way, and both must say no at the same place. */
#include "unit/cmocka_all.h"
#include "base/data/schema/compile.h"
#include "schemas/tables.h"
#include "steps/registry.h"

enum { POSITIONS_MAX = 200 };

/* A map inside a made-up input, and the schema that it follows. */
struct position {
	char *pointer;
	const json_t *schema;
};
struct sample {
	json_t *value;
	struct position positions[POSITIONS_MAX];
	size_t count;
};

struct step {
	const char *name;
	json_t *document;
	struct schema *schema;
	const struct field_table *table;
};

static bool fits(const json_t *schema, const json_t *value)
{
	struct schema *compiled = NULL;
	assert_int_equal(schema_compile(schema, NULL, &compiled, NULL), 0);
	int r = schema_check(compiled, value, NULL, NULL, NULL);
	schema_free(compiled);
	return r == 0;
}

static json_t *made_up_text(const json_t *schema)
{
	static const char *const texts[] = {"production",
	                                    "/opt/shop",
	                                    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	                                    "https://shop.example/",
	                                    "shop.example:443",
	                                    "owner/name",
	                                    "0644",
	                                    "10s",
	                                    "NAME",
	                                    "hex32",
	                                    "443/tcp",
	                                    "blob:none"};
	const char *x_type = json_get_string(schema, "x-type");
	if (x_type && strcmp(x_type, "duration") == 0)
		return json_string("10s");
	if (x_type && strcmp(x_type, "size") == 0)
		return json_string("10M");
	if (json_object_get(schema, "enum"))
		return json_incref(json_array_get(json_object_get(schema, "enum"), 0));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *text = json_string(texts[i]);
		if (fits(schema, text))
			return text;
		json_decref(text);
	}
	return NULL;
}

static json_t *make(struct sample *s, const json_t *schema, struct str *pointer, const char *extra);

static bool in_branches(const json_t *branches, const char *name)
{
	for (size_t i = 0; i < json_array_size(branches); i++) {
		const json_t *names = json_object_get(json_array_get(branches, i), "required");
		if (name && json_array_size(names) == 1 &&
		    strcmp(json_string_value(json_array_get(names, 0)), name) == 0)
			return true;
	}
	return false;
}

static void add(struct sample *s, json_t *object, const json_t *schema, struct str *pointer, const char *name)
{
	const json_t *property = json_object_get(json_object_get(schema, "properties"), name);
	if (json_object_get(object, name) != NULL)
		return;
	size_t length = pointer->len;
	faults_pointer_push(pointer, name);
	json_t *value = make(s, property, pointer, NULL);
	str_truncate(pointer, length);
	if (value == NULL)
		fail_msg("no value can be made up for %s/%s", str_peek(pointer), name);
	json_object_set_new(object, name, value);
}

/* What is required, one of each group, and `extra`. */
static json_t *make_object(struct sample *s, const json_t *schema, struct str *pointer, const char *extra)
{
	json_t *object = json_object();
	const json_t *required = json_object_get(schema, "required");
	if (json_object_get(schema, "properties") == NULL) {
		const json_t *values = json_object_get(schema, "additionalProperties");
		if (json_is_object(values))
			json_object_set_new(object, "NAME", make(s, values, pointer, NULL));
		return object;
	}
	assert_true(s->count < POSITIONS_MAX);
	s->positions[s->count++] = (struct position){xstrdup(str_peek(pointer)), schema};
	if (extra)
		add(s, object, schema, pointer, extra);
	for (size_t i = 0; i < json_array_size(required); i++)
		add(s, object, schema, pointer, json_string_value(json_array_get(required, i)));
	static const char *const words[] = {"oneOf", "anyOf"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const json_t *branches = json_object_get(schema, words[i]);
		if (branches && !in_branches(branches, extra)) {
			const json_t *first = json_object_get(json_array_get(branches, 0), "required");
			add(s, object, schema, pointer, json_string_value(json_array_get(first, 0)));
		}
	}
	return object;
}

static json_t *make_array(struct sample *s, const json_t *schema, struct str *pointer)
{
	json_t *array = json_array();
	const json_t *items = json_object_get(schema, "items");
	size_t length = pointer->len;
	faults_pointer_push_index(pointer, 0);
	if (json_is_object(items))
		json_array_append_new(array, make(s, items, pointer, NULL));
	str_truncate(pointer, length);
	return array;
}

static bool has_type(const json_t *schema, const char *type)
{
	const json_t *types = json_object_get(schema, "type");
	if (types == NULL || (json_is_string(types) && strcmp(json_string_value(types), type) == 0))
		return true;
	for (size_t i = 0; i < json_array_size(types); i++)
		if (strcmp(json_string_value(json_array_get(types, i)), type) == 0)
			return true;
	return false;
}

static json_t *make(struct sample *s, const json_t *schema, struct str *pointer, const char *extra)
{
	if (json_object_get(schema, "default"))
		return json_deep_copy(json_object_get(schema, "default"));
	if (has_type(schema, "object") && json_object_get(schema, "type"))
		return make_object(s, schema, pointer, extra);
	if (has_type(schema, "string")) {
		json_t *text = made_up_text(schema);
		if (text)
			return text;
	}
	if (has_type(schema, "array"))
		return make_array(s, schema, pointer);
	if (has_type(schema, "boolean"))
		return json_true();
	for (int i = 0; i < 3; i++) {
		json_t *number = json_integer((int[]){1, 0, 10}[i]);
		if (fits(schema, number))
			return number;
		json_decref(number);
	}
	return NULL;
}

static void sample_make(struct sample *s, const struct step *step, const char *extra)
{
	struct str pointer = STR_INIT(4096);
	*s = (struct sample){0};
	s->value = make_object(s, step->document, &pointer, extra);
	str_done(&pointer);
}

static void sample_done(struct sample *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->positions[i].pointer);
	json_decref(s->value);
}

static json_t *object_at(json_t *value, const char *pointer)
{
	char *copy = xstrdup(pointer), *save = NULL;
	for (char *token = strtok_r(copy, "/", &save); token; token = strtok_r(NULL, "/", &save))
		value = json_is_array(value) ? json_array_get(value, (size_t)strtol(token, NULL, 10))
		                             : json_object_get(value, token);
	free(copy);
	return value;
}

static int read_input(const struct step *step, const json_t *value, bool texts, struct faults *faults)
{
	struct arena arena = ARENA_INIT;
	const struct step_type *type = step_find(step->name);
	int r = fields_read_choices(step->table, type ? type->choices : NULL, value, NULL, "", texts, &arena,
	                            arena_alloc(&arena, fields_size(step->table)), faults, NULL);
	arena_done(&arena);
	return r;
}

static void expect_good(const struct step *step, const json_t *value, bool texts)
{
	struct faults faults = {0};
	_cleanup_free_ char *text = json_text(value);
	if (read_input(step, value, texts, &faults) != 0)
		fail_msg("%s %s: %s: %s", step->name, text, faults.count ? faults.items[0].pointer : "",
		         faults.count ? faults.items[0].text : "?");
	if (!texts && schema_check(step->schema, value, NULL, &faults, NULL) != 0)
		fail_msg("%s %s: the schema says %s: %s", step->name, text, faults.items[0].pointer,
		         faults.items[0].text);
	faults_done(&faults);
}

/* Both say no, and the reader at this place with these words. */
static void expect_fault(const struct step *step, const json_t *value, const char *pointer, const char *says)
{
	struct faults faults = {0};
	_cleanup_free_ char *text = json_text(value);
	if (schema_check(step->schema, value, NULL, NULL, NULL) != ERR_INVALID)
		fail_msg("%s: the schema takes %s", step->name, text);
	if (read_input(step, value, false, &faults) != ERR_INVALID)
		fail_msg("%s: the reader takes %s", step->name, text);
	bool found = false;
	for (size_t i = 0; i < faults.count; i++)
		found |= strcmp(faults.items[i].pointer, pointer) == 0 && strstr(faults.items[i].text, says);
	if (!found)
		fail_msg("%s %s: no fault at '%s' says '%s', but '%s': %s", step->name, text, pointer, says,
		         faults.items[0].pointer, faults.items[0].text);
	faults_done(&faults);
}

typedef void (*trial_fn)(const struct step *step, const struct sample *sample);

static void for_each_sample(trial_fn trial)
{
	size_t count, tried = 0;
	const char *const *names = schema_builtin_names(&count);
	for (size_t i = 0; i < count; i++) {
		struct step step = {.name = names[i], .table = schema_table(names[i])};
		if (step.table == NULL)
			continue;
		assert_int_equal(json_parse(schema_builtin(names[i]), strlen(schema_builtin(names[i])), 1 << 20,
		                            &step.document, NULL),
		                 0);
		struct schema_options strict = {.strict_words = true};
		struct err err = ERR_INIT;
		if (schema_compile(step.document, &strict, &step.schema, &err) < 0)
			fail_msg("%s: %s", names[i], err.frames[0].text);
		struct sample sample;
		sample_make(&sample, &step, NULL);
		trial(&step, &sample);
		sample_done(&sample);
		const char *property;
		json_t *ignored;
		json_object_foreach(json_object_get(step.document, "properties"), property, ignored)
		{
			sample_make(&sample, &step, property);
			trial(&step, &sample);
			sample_done(&sample);
			tried++;
		}
		schema_free(step.schema);
		json_decref(step.document);
	}
	assert_true(tried > 50);
}

static void try_good(const struct step *step, const struct sample *sample)
{
	expect_good(step, sample->value, false);
	/* The same as a workflow gives it: texts only. */
	json_t *texts = json_object();
	const char *key;
	json_t *value;
	json_object_foreach(sample->value, key, value)
	{
		_cleanup_free_ char *text =
			json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
		json_object_set_new(texts, key, json_string(text));
	}
	expect_good(step, texts, true);
	json_decref(texts);
}

static void try_missing(const struct step *step, const struct sample *sample)
{
	for (size_t i = 0; i < sample->count; i++) {
		const struct position *p = &sample->positions[i];
		const json_t *required = json_object_get(p->schema, "required");
		for (size_t k = 0; k < json_array_size(required); k++) {
			json_t *copy = json_deep_copy(sample->value);
			const char *name = json_string_value(json_array_get(required, k));
			char says[256];
			json_object_del(object_at(copy, p->pointer), name);
			snprintf(says, sizeof(says), "'%s' is missing", name);
			expect_fault(step, copy, p->pointer, says);
			json_decref(copy);
		}
	}
}

static void try_misspelt(const struct step *step, const struct sample *sample)
{
	for (size_t i = 0; i < sample->count; i++) {
		const struct position *p = &sample->positions[i];
		const json_t *properties = json_object_get(p->schema, "properties");
		if (!json_is_false(json_object_get(p->schema, "additionalProperties")))
			continue;
		const char *name;
		json_t *ignored;
		json_object_foreach((json_t *)properties, name, ignored)
		{
			char wrong[128], pointer[512], says[256];
			snprintf(wrong, sizeof(wrong), "%sx", name);
			if (json_object_get(properties, wrong) != NULL || strlen(name) < 4)
				continue;
			json_t *copy = json_deep_copy(sample->value);
			json_object_set_new(object_at(copy, p->pointer), wrong, json_true());
			snprintf(pointer, sizeof(pointer), "%s/%s", p->pointer, wrong);
			snprintf(says, sizeof(says), "did you mean '%s'?", name);
			expect_fault(step, copy, pointer, says);
			json_decref(copy);
		}
	}
}

/* Whatever the schema refuses, the reader refuses, and at the same place. */
static void try_types(const struct step *step, const struct sample *sample)
{
	static const char *const values[] = {"null",        "true", "7",  "1.5",  "-3",         "\"\"",
	                                     "\"\\u0000\"", "[]",   "{}", "[[]]", "{\"a\":{}}", "[null]"};
	for (size_t i = 0; i < sample->count; i++) {
		const struct position *p = &sample->positions[i];
		const char *name;
		json_t *property;
		json_object_foreach(json_object_get(p->schema, "properties"), name, property)
		{
			for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
				json_t *value = NULL, *copy = json_deep_copy(sample->value);
				assert_int_equal(json_parse(values[k], strlen(values[k]), 100, &value, NULL), 0);
				json_object_set_new(object_at(copy, p->pointer), name, value);
				struct faults faults = {0};
				char pointer[512];
				bool found = false, refused = !fits(property, value);
				snprintf(pointer, sizeof(pointer), "%s/%s", p->pointer, name);
				int r = read_input(step, copy, false, &faults);
				for (size_t f = 0; f < faults.count; f++)
					found |= str_starts(faults.items[f].pointer, pointer);
				if (refused && (r != ERR_INVALID || !found))
					fail_msg("%s%s: the reader takes %s, or blames another place", step->name,
					         pointer, values[k]);
				faults_done(&faults);
				json_decref(copy);
			}
		}
	}
}

static void what_the_schema_asks_for_is_taken_as_values_and_as_texts(void **state)
{
	(void)state;
	for_each_sample(try_good);
}

static void each_required_input_that_is_missing_is_named(void **state)
{
	(void)state;
	for_each_sample(try_missing);
}

static void each_misspelt_input_gets_the_nearest_name(void **state)
{
	(void)state;
	for_each_sample(try_misspelt);
}

static void each_input_of_a_wrong_type_is_refused_at_its_place(void **state)
{
	(void)state;
	for_each_sample(try_types);
}

/* A word that we do not know is an error in our own schemas. */
static void the_schemas_of_documents_use_known_words_only(void **state)
{
	(void)state;
	size_t count;
	const char *const *names = schema_builtin_names(&count);
	assert_true(count > 0 && schema_builtin("nothing") == NULL);
	for (size_t i = 0; i < count; i++) {
		json_t *document = NULL;
		struct schema *schema = NULL;
		struct schema_options strict = {.strict_words = true};
		struct err err = ERR_INIT;
		assert_int_equal(json_parse(schema_builtin(names[i]), strlen(schema_builtin(names[i])), 1 << 20,
		                            &document, NULL),
		                 0);
		if (schema_compile(document, &strict, &schema, &err) < 0)
			fail_msg("%s: %s", names[i], err.frames[0].text);
		schema_free(schema);
		json_decref(document);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_schema_asks_for_is_taken_as_values_and_as_texts),
		cmocka_unit_test(each_required_input_that_is_missing_is_named),
		cmocka_unit_test(each_misspelt_input_gets_the_nearest_name),
		cmocka_unit_test(each_input_of_a_wrong_type_is_refused_at_its_place),
		cmocka_unit_test(the_schemas_of_documents_use_known_words_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
