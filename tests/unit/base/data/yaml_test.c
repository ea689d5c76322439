#include "unit/cmocka_all.h"
#include "base/data/yaml.h"

static struct yaml_doc *read_with(const char *text, bool anchors)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = anchors;
	struct yaml_doc *doc = NULL;
	struct err err = ERR_INIT;
	if (yaml_read("t.yml", text, strlen(text), &limits, &doc, &err) < 0) {
		char line[1024];
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	}
	return doc;
}

static void reads_as(const char *text, const char *json)
{
	struct yaml_doc *doc = read_with(text, false);
	char *got = json_text(yaml_root(doc));
	assert_string_equal(got, json);
	free(got);
	yaml_doc_free(doc);
}

static void refused(const char *text, int code, const char *says)
{
	struct yaml_doc *doc = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(yaml_read("t.yml", text, strlen(text), NULL, &doc, &err), code);
	if (strstr(err.frames[0].text, says) == NULL)
		fail_msg("'%s' does not say '%s'", err.frames[0].text, says);
	assert_null(doc);
}

static void plain_scalars_follow_the_core_schema(void **state)
{
	(void)state;
	reads_as("[~, null, '', true, False, yes, on, 010, 0o17, 0xff, +5, -3]",
	         "[null,null,\"\",true,false,\"yes\",\"on\",10,15,255,5,-3]");
	reads_as("[1.5, .5, 1e3, 12:30, 1_000, 2001-01-01, 1.2.3, -, 0x, '1']",
	         "[1.5,0.5,1000.0,\"12:30\",\"1_000\",\"2001-01-01\",\"1.2.3\",\"-\",\"0x\",\"1\"]");
	reads_as("a:\nb: |\n  x\n  y\n", "{\"a\":null,\"b\":\"x\\ny\\n\"}");
	reads_as("", "null");
	reads_as("[99999999999999999999, !!str 5, !!float 1, ! x]", "[1e20,\"5\",1.0,\"x\"]");
}

static void octal_numbers_stay_as_they_are_written_where_that_is_asked_for(void **state)
{
	(void)state;
	static const char text[] = "[0644, 0o644, 0, 0x1f, 10, 0.5, '7']";
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	limits.keep_octal = true;
	assert_int_equal(yaml_read("t.yml", text, strlen(text), &limits, &doc, NULL), 0);
	_cleanup_free_ char *got = json_text(yaml_root(doc));
	assert_string_equal(got, "[\"0644\",\"0o644\",0,31,10,0.5,\"7\"]");
}

static void what_is_not_yaml_is_told_in_the_words_of_its_writer(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} faults[] = {
		{"a:\n  b:\n    c: 1\n\td: 2\n", "t.yml:4:1: a tab indents line 4"},
		{"a:\n  - b:\n  \tc: x\n", "t.yml:3:3: a tab indents line 3"},
		{"a: { host: ${{ vars.H }}, b: c }\n", "t.yml:1:12: `${{ }}` inside `{ }` or `[ ]` must be quoted"},
		{"a: { x: \"${{ vars.A }}\",\n  host: ${{ vars.H }} }\n",
	         "t.yml:2:9: `${{ }}` inside `{ }` or `[ ]` must be quoted"},
		{"a: [ ${{ vars.H }} ]\n", "must be quoted"},
		{"a: @x\n", "t.yml:1:4: a text cannot begin with '@'"},
		{"a: `x`\n", "a text cannot begin with '`'"},
		{"a: %x\n", "a text cannot begin with '%'"},
		{"a: *.txt\n", "a text cannot begin with '*'"},
		{"a: b: c\n", "t.yml:1:5: a second ': ' on a line"},
		{"a: \"C:\\dir\"\n", "'\\' does not go with the character after it"},
		{"a: 1\nb: \"x\nc: 2\n", "t.yml:2:4: the quote of line 2 is not closed"},
		{"a: \"x\" y\n", "this does not fit what began on line 1"},
		{"a: 1\nb\nc: 2\n", "t.yml:2:1: line 2 is not a `key: value`"},
		{"a: { b: 1\n", "the '{' of line 1 is not closed"},
		{"a: [ 1, 2\n", "the '[' of line 1 is not closed"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		refused(faults[i].text, ERR_INVALID, faults[i].says);
}

static void a_mark_is_known_for_each_value_and_key(void **state)
{
	(void)state;
	struct yaml_doc *doc = read_with("name: shop\nsteps:\n  - run:\n      a/b~c: 1\n  - x: [1, 2]\n", false);
	struct yaml_mark m = yaml_value_mark(doc, "/name");
	assert_true(m.line == 1 && m.column == 7);
	m = yaml_key_mark(doc, "/steps/0/run/a~1b~0c");
	assert_true(m.line == 4 && m.column == 7);
	m = yaml_value_mark(doc, "/steps/0/run/a~1b~0c");
	assert_true(m.line == 4 && m.column == 14);
	m = yaml_value_mark(doc, "/steps/1/x/1");
	assert_true(m.line == 5 && m.column == 12);
	m = yaml_value_mark(doc, "/steps/1/y/z");
	assert_true(m.line == 5 && m.column == 5);
	yaml_doc_free(doc);
}

static void what_is_refused_names_its_place(void **state)
{
	(void)state;
	refused("a: 1\nb: 2\na: 3\n", ERR_INVALID, "t.yml:3:1: the key 'a' stands here twice");
	refused("a: &x 1\n", ERR_INVALID, "t.yml:1:4: anchors (&x)");
	refused("a: *x\n", ERR_INVALID, "t.yml:1:4: aliases (*x)");
	refused("<<: {a: 1}\n", ERR_INVALID, "merge keys");
	refused("a: !secret x\n", ERR_INVALID, "t.yml:1:4: the tag '!secret'");
	refused("a: 1\n---\nb: 2\n", ERR_INVALID, "t.yml:2:1: a second document");
	refused("? [a]\n: 1\n", ERR_INVALID, "t.yml:1:3: a key is a text");
	refused("a: [1, 2\nb: 3\n", ERR_INVALID, "t.yml:");
	refused("a: .inf\n", ERR_INVALID, "quote it");
	refused("a: 1e999\n", ERR_INVALID, "quote it");
	refused("a: \x01\n", ERR_INVALID, "t.yml:1:4: control characters are not allowed");
	refused("a: !!int x\n", ERR_INVALID, "its tag");
}

static void size_depth_and_count_are_bounded(void **state)
{
	(void)state;
	char deep[300];
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	refused(deep, ERR_LIMIT, "deeper");
	struct yaml_limits limits = {.max_bytes = 10, .max_nodes = 100, .max_depth = 10};
	struct yaml_doc *doc = NULL;
	assert_int_equal(yaml_read("t", "aaaaaaaaaaaa", 12, &limits, &doc, NULL), ERR_LIMIT);
	limits = (struct yaml_limits){.max_bytes = 100, .max_nodes = 3, .max_depth = 10};
	assert_int_equal(yaml_read("t", "[1,2,3]", 7, &limits, &doc, NULL), ERR_LIMIT);
}

static void anchors_and_merge_keys_work_where_they_are_allowed(void **state)
{
	(void)state;
	struct yaml_doc *doc = read_with("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {<<: [*x, {r: 4}]}\n", true);
	char *text = json_text(yaml_root(doc));
	assert_string_equal(text, "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":2},\"c\":{\"q\":3,\"p\":1},"
	                          "\"d\":{\"p\":1,\"q\":2,\"r\":4}}");
	free(text);
	yaml_doc_free(doc);
}

static void aliases_that_multiply_are_counted(void **state)
{
	(void)state;
	struct str s = STR_INIT(1 << 20);
	str_append(&s, "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
	for (int i = 1; i < 10; i++) {
		str_appendf(&s, "a%d: &a%d [", i, i);
		for (int k = 0; k < 10; k++)
			str_appendf(&s, "%s*a%d", k ? "," : "", i - 1);
		str_append(&s, "]\n");
	}
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	struct yaml_doc *doc = NULL;
	assert_int_equal(yaml_read("t", s.data, s.len, &limits, &doc, NULL), ERR_LIMIT);
	str_done(&s);
}

static void json_with_surrogate_pairs_is_read_and_keeps_its_marks(void **state)
{
	(void)state;
	struct yaml_doc *doc = read_with("{\"a\": \"\\ud83d\\ude00\",\n  \"b\": [1, {\"c\": true}]}", false);
	assert_string_equal(json_get_string(yaml_root(doc), "a"), "\xf0\x9f\x98\x80");
	struct yaml_mark m = yaml_value_mark(doc, "/b/1/c");
	assert_true(m.line == 2 && m.column == 18);
	m = yaml_key_mark(doc, "/b");
	assert_true(m.line == 2 && m.column == 3);
	yaml_doc_free(doc);
}

static void a_nul_in_a_quoted_text_is_kept(void **state)
{
	(void)state;
	reads_as("a: \"x\\0y\"", "{\"a\":\"x\\u0000y\"}");
	refused("\"x\\0y\": 1", ERR_INVALID, "NUL");
}

static void faults_come_in_the_order_of_their_places(void **state)
{
	(void)state;
	struct yaml_doc *doc = read_with("a: 1\nb: 2\n", false);
	struct faults f = {0};
	faults_add(&f, doc, "/b", "second");
	faults_hint(&f, "do this");
	faults_add_key(&f, doc, "/a", "first");
	struct str out = STR_INIT(1000);
	faults_print(&f, doc, &out);
	assert_string_equal(out.data, "t.yml:1:1: /a: first\nt.yml:2:4: /b: second\n  do this\n");
	struct err err = ERR_INIT;
	assert_int_equal(faults_to_err(&f, doc, &err), ERR_INVALID);
	assert_string_equal(err.frames[0].text, "t.yml:1:1: /a: first (and 1 more)");
	str_clear(&out);
	faults_print(&f, NULL, &out);
	assert_string_equal(out.data, "/a: first\n/b: second\n  do this\n");
	faults_done(&f);
	assert_int_equal(faults_to_err(&f, doc, &err), 0);
	str_done(&out);
	yaml_doc_free(doc);
}

static void faults_past_the_most_are_counted_as_more(void **state)
{
	(void)state;
	struct faults f = {.max = 2};
	for (int i = 0; i < 5; i++)
		faults_add(&f, NULL, "", "fault %d", i);
	struct str out = STR_INIT(1000);
	faults_print(&f, NULL, &out);
	assert_string_equal(out.data, "fault 0\nfault 1\nand more, after the first 2\n");
	str_done(&out);
	faults_done(&f);
}

static void a_pointer_escapes_its_tokens(void **state)
{
	(void)state;
	struct str p = STR_INIT(100);
	faults_pointer_push(&p, "a/b~c");
	faults_pointer_push_index(&p, 3);
	assert_string_equal(p.data, "/a~1b~0c/3");
	str_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_scalars_follow_the_core_schema),
		cmocka_unit_test(octal_numbers_stay_as_they_are_written_where_that_is_asked_for),
		cmocka_unit_test(what_is_not_yaml_is_told_in_the_words_of_its_writer),
		cmocka_unit_test(a_mark_is_known_for_each_value_and_key),
		cmocka_unit_test(what_is_refused_names_its_place),
		cmocka_unit_test(size_depth_and_count_are_bounded),
		cmocka_unit_test(anchors_and_merge_keys_work_where_they_are_allowed),
		cmocka_unit_test(aliases_that_multiply_are_counted),
		cmocka_unit_test(json_with_surrogate_pairs_is_read_and_keeps_its_marks),
		cmocka_unit_test(a_nul_in_a_quoted_text_is_kept),
		cmocka_unit_test(faults_come_in_the_order_of_their_places),
		cmocka_unit_test(faults_past_the_most_are_counted_as_more),
		cmocka_unit_test(a_pointer_escapes_its_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
