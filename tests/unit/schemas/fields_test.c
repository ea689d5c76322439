/* The field reader, on a schema made for it (tests/unit/schemas/steps/sample.json) and on real ones. */
#include "unit/cmocka_all.h"
#include "base/data/schema/compile.h"
#include "schemas/checkout.h"
#include "schemas/rollback.h"
#include "schemas/sample.h"
#include "schemas/tables.h"

static struct arena arena;
static struct faults faults;

static int setup(void **state)
{
	(void)state;
	arena = (struct arena)ARENA_INIT;
	faults = (struct faults){0};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	faults_done(&faults);
	return 0;
}

static int read_json(const struct field_table *table, const char *text, bool text_values, void *ret)
{
	json_t *value = NULL;
	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &value, NULL), 0);
	int r = fields_read(table, value, NULL, "", text_values, &arena, ret, &faults, NULL);
	json_decref(value);
	return r;
}

static void good(const char *text, struct sample_in *ret)
{
	if (read_json(&sample_fields, text, false, ret) != 0)
		fail_msg("%s: %s: %s", text, faults.items[0].pointer, faults.items[0].text);
}

/* The only fault, as "POINTER: TEXT". */
static void bad(const char *text, const char *says)
{
	struct sample_in in = {0};
	char got[1024];
	size_t before = faults.count;
	assert_int_equal(read_json(&sample_fields, text, false, &in), ERR_INVALID);
	assert_int_equal(faults.count, before + 1);
	snprintf(got, sizeof(got), "%s: %s", faults.items[before].pointer, faults.items[before].text);
	assert_string_equal(got, says);
}

static void bad_text(const char *text, const char *says)
{
	struct sample_in in = {0};
	char got[1024];
	size_t before = faults.count;
	assert_int_equal(read_json(&sample_fields, text, true, &in), ERR_INVALID);
	assert_int_equal(faults.count, before + 1);
	snprintf(got, sizeof(got), "%s: %s", faults.items[before].pointer, faults.items[before].text);
	assert_string_equal(got, says);
}

static void a_mode_means_what_is_written(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t mode;
	} modes[] = {
		{"0644", 0644},     {"644", 0644},    {"0o644", 0644},        {"u=rw,go=r", 0644},
		{"a=r,u=rw", 0644}, {"02750", 02750}, {"u=rwxs,g=rx", 04750}, {"u=rwx,g=rxs,o=", 02750},
		{"a=rwxt", 01777},  {"000", 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct sample_in in = {0};
		_cleanup_free_ char *json = xasprintf("{\"path\":\"/\",\"mode\":\"%s\"}", modes[i].text);
		good(json, &in);
		assert_int_equal(in.mode, modes[i].mode);
	}
}

static void every_kind_of_member_is_filled(void **state)
{
	(void)state;
	struct sample_in in = {0};
	good("{\"path\":\"/a\",\"format\":\"dir\",\"keep\":7,\"ratio\":0.5,\"clean\":false,\"wait\":\"1m30s\",\"room\":\"2M\",\"mode\":\"0640\","
	     "\"names\":\"a\\n  b \\n\\n c\",\"list\":[\"x\",\"y\"],\"codes\":3,\"checks\":[{\"url\":\"u\",\"for\":2},{\"url\":\"v\"}],"
	     "\"nest\":{\"deep\":{\"on\":true}},\"env\":{\"B\":\"1\",\"A\":\"2\"},\"free\":{\"k\":[1]}}",
	     &in);
	assert_string_equal(in.path, "/a");
	assert_true(in.has_format && in.format == SAMPLE_FORMAT_DIR);
	assert_true(in.keep == 7 && in.has_keep && in.ratio == 0.5 && !in.clean && in.has_clean);
	assert_true(in.wait_ms == 90000 && in.room_bytes == 2 << 20 && in.mode == 0640);
	assert_int_equal(in.names.count, 3);
	assert_string_equal(in.names.items[1], "b");
	assert_int_equal(in.list.count, 2);
	assert_true(in.codes.count == 1 && in.codes.items[0] == 3);
	assert_int_equal(in.checks_count, 2);
	assert_true(in.checks[0].for_ == 2 && in.checks[1].for_ == 1 && !in.checks[1].has_for);
	assert_true(in.has_nest && in.nest.has_deep && in.nest.deep.on);
	assert_string_equal(in.env.items[0].key, "B");
	assert_string_equal(in.env.items[1].value, "2");
	assert_int_equal(json_array_size(json_object_get(in.free, "k")), 1);
}

static void defaults_fill_what_is_absent_and_say_so(void **state)
{
	(void)state;
	struct sample_in in = {0};
	good("{\"path\":\"/a\"}", &in);
	assert_true(in.keep == 5 && !in.has_keep);
	assert_true(in.clean && !in.has_clean);
	assert_true(in.wait_ms == 600000 && in.mode == 0600 && in.format == SAMPLE_FORMAT_ENV && !in.has_format);
	assert_true(in.codes.count == 2 && in.codes.items[1] == 200);
	assert_null(in.checks);
	assert_false(in.has_nest);
	assert_null(in.free);
	assert_int_equal(in.room_bytes, 0);
}

static void each_fault_names_its_place(void **state)
{
	(void)state;
	bad("{}", ": 'path' is missing");
	bad("{\"path\":\"a\"}", "/path: must be an absolute path, one that begins with '/'");
	bad("{\"path\":3}", "/path: must be a text, not a number");
	bad("{\"path\":null}", "/path: has no value");
	bad("{\"pth\":1,\"path\":\"/\"}", "/pth: 'pth' is not known here; did you mean 'path'?");
	bad("{\"path\":\"/\",\"format\":\"evn\"}", "/format: must be one of 'env', 'file', 'dir', not 'evn'");
	bad("{\"path\":\"/\",\"keep\":0}", "/keep: must be at least 1");
	bad("{\"path\":\"/\",\"keep\":1.5}", "/keep: must be a whole number");
	bad("{\"path\":\"/\",\"ratio\":1}", "/ratio: must be less than 1");
	bad("{\"path\":\"/\",\"clean\":\"yes\"}", "/clean: must be true or false, not a text");
	bad("{\"path\":\"/\",\"wait\":\"soon\"}",
	    "/wait: must be a duration such as 90s, 2m or 1h30m, or a number of seconds");
	bad("{\"path\":\"/\",\"wait\":\"2h\"}", "/wait: must be at most 3600 seconds");
	bad("{\"path\":\"/\",\"room\":\"10X\"}", "/room: must be a size such as 512K, 10M or 2G, or a number of bytes");
	static const char *const wrong_modes[] = {"\"0888\"", "644",          "420",    "0",    "\"17777\"",
	                                          "\"u+w\"",  "\"u=rw;g=r\"", "\"=r\"", "\"\"", "\"u=rw,\""};
	for (size_t i = 0; i < ARRAY_SIZE(wrong_modes); i++) {
		_cleanup_free_ char *text = xasprintf("{\"path\":\"/\",\"mode\":%s}", wrong_modes[i]);
		bad(text, "/mode: must be permissions in octal such as \"0644\"");
	}
	bad("{\"path\":\"/\",\"list\":[\"a\",\"\"]}", "/list/1: is empty");
	bad("{\"path\":\"/\",\"list\":[]}", "/list: is empty");
	bad("{\"path\":\"/\",\"list\":[\"a\",\"a\"]}", "/list: has the same entry twice");
	bad("{\"path\":\"/\",\"checks\":[{\"url\":\"u\"},{}]}", "/checks/1: 'url' is missing");
	bad("{\"path\":\"/\",\"nest\":{\"deep\":{\"onn\":1}}}",
	    "/nest/deep/onn: 'onn' is not known here; did you mean 'on'?");
	bad("{\"path\":\"/\",\"env\":{\"a\":\"1\"}}", "/env/a: the name 'a' does not match the pattern ^[A-Z_]+$");
	bad("{\"path\":\"/\",\"env\":{\"A\":1}}", "/env/A: must be a text, not a number");
	bad("{\"path\":\"/\",\"free\":[]}", "/free: must be a map, not a list");
	bad("{\"path\":\"/\",\"free\":{\"k\":[\"x\"]}}", "/free/k/0: must be a whole number, not a text");
	bad("{\"path\":\"/\",\"nest\":{}}", "/nest: one of 'deep', 'flat' is needed");
	bad("{\"path\":\"/\",\"nest\":{\"deep\":{},\"flat\":\"x\"}}", "/nest: only one of 'deep', 'flat' is possible");
}

static void all_faults_of_a_document_come_at_once(void **state)
{
	(void)state;
	const char *text = "keep: 0\nclean: maybe\ntypo: 1\nchecks:\n  - { url: 1 }\n";
	struct yaml_doc *doc = NULL;
	assert_int_equal(yaml_read("f.yml", text, strlen(text), NULL, &doc, NULL), 0);
	struct sample_in in = {0};
	struct err err = ERR_INIT;
	assert_int_equal(fields_read(&sample_fields, yaml_root(doc), doc, "", false, &arena, &in, &faults, &err),
	                 ERR_INVALID);
	struct str out = STR_INIT(4096);
	faults_print(&faults, doc, &out);
	assert_string_equal(out.data, "f.yml:1:1: 'path' is missing\n"
	                              "f.yml:1:7: /keep: must be at least 1\n"
	                              "f.yml:2:8: /clean: must be true or false, not a text\n"
	                              "f.yml:3:1: /typo: 'typo' is not known here\n"
	                              "f.yml:5:12: /checks/0/url: must be a text, not a number\n"
	                              "  put it in quotes\n");
	str_done(&out);
	yaml_doc_free(doc);
}

static void texts_of_a_workflow_are_read_as_yaml_where_another_type_is_wanted(void **state)
{
	(void)state;
	struct sample_in in = {0};
	assert_int_equal(
		read_json(
			&sample_fields,
			"{\"path\":\"/010\",\"keep\":\"3\",\"clean\":\"false\",\"wait\":\"5\",\"names\":\"[a, b]\","
			"\"list\":\"- x\\n- y\",\"codes\":\"[1, 2]\",\"checks\":\"- url: u\\n- {url: v, for: 4}\",\"env\":\"A: x\","
			"\"free\":\"{\\\"k\\\": [1]}\",\"format\":\"\",\"either\":\"plain text: no map\",\"mode\":\"600\"}",
			true, &in),
		0);
	assert_string_equal(in.path, "/010");
	assert_true(in.keep == 3 && !in.clean && in.wait_ms == 5000 && in.names.count == 2 && in.list.count == 2 &&
	            in.codes.count == 2);
	assert_true(in.checks_count == 2 && in.checks[1].for_ == 4 && in.env.count == 1 && in.mode == 0600);
	assert_false(in.has_format);
	assert_string_equal(json_string_value(in.either), "plain text: no map");
	in = (struct sample_in){0};
	assert_int_equal(
		read_json(&sample_fields, "{\"path\":\"/\",\"names\":\"a: b\\nc\",\"either\":\"[x, y]\"}", true, &in),
		0);
	assert_string_equal(in.names.items[0], "a: b");
	assert_true(json_is_array(in.either));
}

static void a_fault_inside_a_text_says_its_line(void **state)
{
	(void)state;
	bad_text("{\"path\":\"/\",\"checks\":\"- url: a\\n- url: 3\\n\"}",
	         "/checks/1/url: must be a text, not a number (line 2, column 8 of the text)");
	bad_text("{\"path\":\"/\",\"keep\":\"many\"}", "/keep: must be a whole number, not a text");
	bad_text("{\"path\":\"\"}", ": 'path' is missing");
	bad_text("{\"path\":\"/\",\"env\":\"{A: [\"}", "/env: is not valid YAML or JSON");
}

static void a_secret_is_never_part_of_a_fault(void **state)
{
	(void)state;
	bad("{\"path\":\"/\",\"token\":\"hunter2\"}", "/token: must be one of 'x', 'y'");
	bad_text("{\"path\":\"/\",\"env\":\"hunter2\"}", "/env: must be a map of texts, not a text");
	bad_text("{\"path\":\"/\",\"env\":\"hunter2: 1\\nhunter2: 2\"}", "/env: is not valid YAML or JSON");
}

static void a_struct_is_written_without_its_secrets(void **state)
{
	(void)state;
	struct sample_in in = {0};
	good("{\"path\":\"/a\",\"token\":\"x\",\"env\":{\"A\":\"hunter2\"},\"wait\":1.5,\"checks\":[{\"url\":\"u\"}],\"nest\":{\"flat\":\"f\"}}",
	     &in);
	json_t *written = fields_write(&sample_fields, &in);
	char *text = json_canonical(written);
	assert_string_equal(
		text,
		"{\"checks\":[{\"for\":1,\"url\":\"u\"}],\"clean\":true,\"codes\":[100,200],\"env\":{\"A\":\"***\"},"
		"\"format\":\"env\",\"keep\":5,\"mode\":\"0600\",\"nest\":{\"flat\":\"f\"},\"path\":\"/a\",\"token\":\"***\",\"wait\":\"1500ms\"}");
	free(text);
	json_decref(written);
}

static void enums_convert_both_ways(void **state)
{
	(void)state;
	enum sample_format format = SAMPLE_FORMAT_ENV;
	assert_string_equal(sample_format_name(SAMPLE_FORMAT_FILE), "file");
	assert_true(sample_format_from("dir", &format) && format == SAMPLE_FORMAT_DIR);
	assert_false(sample_format_from("nothing", &format));
}

static void a_step_has_its_common_inputs_after_its_own(void **state)
{
	(void)state;
	assert_string_equal(fields_name(&checkout_fields), "checkout");
	assert_string_equal(fields_input(&checkout_fields, 0), "repository");
	size_t count = 0;
	while (fields_input(schema_table("run"), count) != NULL)
		count++;
	assert_string_equal(fields_input(schema_table("run"), 0), "command");
	assert_string_equal(fields_input(schema_table("run"), count - 1), "deployment");
	assert_null(schema_table("nothing"));
	assert_true(fields_is_secret(&checkout_fields, "token"));
	assert_false(fields_is_secret(&checkout_fields, "ref"));
	struct rollback_in in = {0};
	assert_int_equal(read_json(&rollback_fields, "{\"deployment\":\"20260131T102030-3fa94c\"}", false, &in), 0);
	assert_string_equal(in.deployment, "20260131T102030-3fa94c");
}

static void the_published_schema_says_whether_a_step_acts_on_targets(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool acts;
	} steps[] = {{"run", true},       {"apply", true},   {"health-gate", false},
	             {"checkout", false}, {"notify", false}, {"finish", false}};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		json_t *schema = NULL;
		const char *text = schema_builtin(steps[i].name);
		assert_int_equal(json_parse(text, strlen(text), 1 << 20, &schema, NULL), 0);
		assert_int_equal(json_get_bool(schema, "x-target", false), steps[i].acts);
		json_decref(schema);
	}
}

#define fields_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		fields_test(every_kind_of_member_is_filled),
		fields_test(a_mode_means_what_is_written),
		fields_test(defaults_fill_what_is_absent_and_say_so),
		fields_test(each_fault_names_its_place),
		fields_test(all_faults_of_a_document_come_at_once),
		fields_test(texts_of_a_workflow_are_read_as_yaml_where_another_type_is_wanted),
		fields_test(a_fault_inside_a_text_says_its_line),
		fields_test(a_secret_is_never_part_of_a_fault),
		fields_test(a_struct_is_written_without_its_secrets),
		fields_test(enums_convert_both_ways),
		fields_test(the_published_schema_says_whether_a_step_acts_on_targets),
		fields_test(a_step_has_its_common_inputs_after_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
