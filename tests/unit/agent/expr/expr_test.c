#include "unit/cmocka_all.h"
#include "agent/expr/expr.h"

#include <stdio.h>
#include <string.h>

static bool job_is(void *user, enum expr_status which)
{
	return which == *(enum expr_status *)user || which == EXPR_ALWAYS;
}

static int hash_files(void *user, const char *const *patterns, size_t count, struct str *ret, struct err *err)
{
	(void)user;
	(void)err;
	for (size_t i = 0; i < count; i++)
		str_appendf(ret, "[%s]", patterns[i]);
	return 0;
}

static const char contexts_text[] =
	"{\"github\":{\"Sha\":\"abc\",\"event\":{\"list\":[{\"n\":1},{\"n\":2},{\"m\":3}]}},"
	"\"env\":{\"Name\":\"exact\"},\"secrets\":{\"TOKEN\":\"t0p\"},\"matrix\":null,\"inputs\":{\"map\":{\"a\":[true]"
	"},\"n\":3}}";

static enum expr_status status = EXPR_SUCCESS;

static struct expr_scope scope_of(json_t *contexts)
{
	return (struct expr_scope){.contexts = contexts,
	                           .exact_context = "env",
	                           .status = job_is,
	                           .user = &status,
	                           .hash_files = hash_files};
}

/* What an expression gives, as JSON text; errors as "! text". */
static const char *eval(const char *text)
{
	static char result[4096];
	_cleanup_json_ json_t *contexts = json_loads(contexts_text, 0, NULL);
	struct expr_scope scope = scope_of(contexts);
	struct err err = ERR_INIT;
	struct expr_value value = EXPR_VALUE_INIT;
	char line[2048];
	if (expr_eval(text, strlen(text), &scope, &value, &err) < 0) {
		snprintf(result, sizeof(result), "! %s", err_line(&err, line, sizeof(line)));
		return result;
	}
	_cleanup_json_ json_t *json = expr_value_json(&value);
	char *dumped = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
	snprintf(result, sizeof(result), "%s", dumped);
	free(dumped);
	expr_value_done(&value);
	return result;
}

static void comparisons_convert_as_the_runner_does(void **state)
{
	(void)state;
	static const char *const yes[] = {
		"'A' == 'a'",
		"null == ''",
		"null == 0",
		"'' == 0",
		"'1' == true",
		"'0x10' == 16",
		"' 2 ' == 2",
		"'0o17' == 15",
		"1 < '2'",
		"'abc' < 'ABD'",
		"false < true",
		"'é' == 'É'",
		"0xFFFFFFFF == -1",
		"'-infinity' == -Infinity",
		"'0x1FFFFFFFF' != 8589934591",
		"github.event == github.event",
		"!('_' < 'A')",
		"2 >= '2'",
		"'b' > 'A'",
		"!!'false'",
		"null <= 0",
		"'1e3' == 1000",
		".5 == '0.5'",
	};
	static const char *const no[] = {
		"'abc' == 0",
		"NaN == NaN",
		"fromJSON('[]') == fromJSON('[]')",
		"'ß' == 'SS'",
		"'ı' == 'I'",
		"!'false'",
		"NaN < 1",
		"NaN >= 1",
		"github.event < 1",
		"github.event == 'Object'",
		"'1,000' == 1000",
		"'+ 1' == 1",
		"'0X10' == 16",
	};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (strcmp(eval(yes[i]), "true") != 0)
			fail_msg("%s gives %s", yes[i], eval(yes[i]));
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (strcmp(eval(no[i]), "false") != 0)
			fail_msg("%s gives %s", no[i], eval(no[i]));
}

static void operators_return_operands_and_stop_early(void **state)
{
	(void)state;
	assert_string_equal(eval("'a' && 0"), "0");
	assert_string_equal(eval("'' || 'd'"), "\"d\"");
	assert_string_equal(eval("0 || '' || null"), "null");
	assert_string_equal(eval("1 && 2 && 3"), "3");
	assert_string_equal(eval("true || fromJSON('broken')"), "true");
	assert_string_equal(eval("false && fromJSON('broken')"), "false");
	assert_string_equal(eval("1 == 2 || 3 < 4 && 'x'"), "\"x\"");
	assert_string_equal(eval("!(1 == 2)"), "true");
}

static void members_are_found_without_case_and_missing_ones_are_null(void **state)
{
	(void)state;
	assert_string_equal(eval("github.sha"), "\"abc\"");
	assert_string_equal(eval("GITHUB['SHA']"), "\"abc\"");
	assert_string_equal(eval("env.Name"), "\"exact\"");
	assert_string_equal(eval("env.name"), "null");
	assert_string_equal(eval("github.none.deeper"), "null");
	assert_string_equal(eval("matrix.os"), "null");
	assert_string_equal(eval("fromJSON('[5,6]')[1.9]"), "6");
	assert_string_equal(eval("fromJSON('[5,6]')['x']"), "null");
	assert_string_equal(eval("fromJSON('[5,6]')[-1]"), "null");
	assert_string_equal(eval("fromJSON('{\"1\":\"one\"}')[1]"), "\"one\"");
}

static void wildcards_filter(void **state)
{
	(void)state;
	assert_string_equal(eval("github.event.list.*.n"), "[1,2]");
	assert_string_equal(eval("github.event.*.*.n"), "[1,2]");
	assert_string_equal(eval("fromJSON('{\"a\":[1,2],\"b\":{\"c\":3}}').*.*"), "[1,2,3]");
	assert_string_equal(eval("fromJSON('[[7,8],[9]]').*[0]"), "[7,9]");
	assert_string_equal(eval("join(github.event.list.*.m)"), "\"3\"");
	assert_string_equal(eval("inputs.n.*"), "[]");
	assert_string_equal(eval("matrix.*"), "[]");
}

static void functions_follow_their_definitions(void **state)
{
	(void)state;
	assert_string_equal(eval("format('{0} {{x}} {1}', 'a', 2)"), "\"a {x} 2\"");
	assert_string_equal(eval("format('{0}', 1e21)"), "\"1E+21\"");
	assert_string_equal(eval("format('{0} {1} {2} {3}', 0.1, 0xff, 1e-7, 9007199254740993)"),
	                    "\"0.1 255 1E-07 9.00719925474099E+15\"");
	assert_string_equal(eval("format('{0}', -0)"), "\"0\"");
	assert_string_equal(eval("contains('Hello', 'ELL')"), "true");
	assert_string_equal(eval("contains(fromJSON('[\"A\",\"b\"]'), 'B')"), "true");
	assert_string_equal(eval("contains(fromJSON('[\"Ab\"]'), 'b')"), "false");
	assert_string_equal(eval("startsWith('Straße', 'STRA') && endsWith('ÄÖÜ', 'öü')"), "true");
	assert_string_equal(eval("join(fromJSON('[1,true,null,\"x\",{}]'))"), "\"1,true,,x,Object\"");
	assert_string_equal(eval("join('one', '-')"), "\"one\"");
	assert_string_equal(eval("join(fromJSON('[1,2]'), github)"), "\"1,2\"");
	assert_string_equal(eval("case(false, 1, 'x')"), "\"x\"");
	assert_string_equal(eval("case(true, 1, fromJSON('!'))"), "1");
	assert_string_equal(eval("hashFiles('a', 'b')"), "\"[a][b]\"");
	assert_string_equal(eval("toJSON(fromJSON('{\"a\":[1,{}],\"b\":[]}'))"),
	                    "\"{\\n  \\\"a\\\": [\\n    1,\\n    {}\\n  ],\\n  \\\"b\\\": []\\n}\"");
	assert_string_equal(eval("fromJSON('{a: ''x'', A: 2, /* c */ }')"), "{\"a\":2}");
}

static void faults_name_the_symbol_and_its_place(void **state)
{
	(void)state;
	assert_string_equal(eval("'x'.y"), "! Unexpected symbol: '.y'. Located at position 4 within expression: 'x'.y");
	assert_string_equal(eval("foo == 1"),
	                    "! Unrecognized named-value: 'foo'. Located at position 1 within expression: foo == 1");
	assert_string_equal(eval("nope(1)"),
	                    "! Unrecognized function: 'nope'. Located at position 1 within expression: nope(1)");
	assert_non_null(strstr(eval("contains('a')"), "Too few parameters supplied: 'contains'"));
	assert_non_null(strstr(eval("toJSON('a', 'b')"), "Too many parameters supplied: 'toJSON'"));
	assert_non_null(strstr(eval("case(true, 1, 2, 3)"), "Even number of parameters"));
	assert_non_null(strstr(eval("(1"), "Unexpected end of expression"));
	assert_non_null(strstr(eval("1 = 1"), "Unexpected symbol: '='"));
	assert_non_null(strstr(eval("a & b"), "Unexpected symbol: '&'"));
	assert_non_null(strstr(eval("'open"), "Unexpected symbol"));
	assert_non_null(strstr(eval("format('}')"), "The following format string is invalid"));
	assert_non_null(strstr(eval("format('{1}', 'a')"), "references more arguments than were supplied"));
	assert_non_null(strstr(eval("case('x', 1, 2)"), "must evaluate to a boolean"));
	assert_non_null(strstr(eval("fromJSON('[1,')"), "Error parsing fromJson"));
}

static void depth_and_length_are_bounded(void **state)
{
	(void)state;
	static char deep[30000];
	memset(deep, '!', 60);
	strcpy(deep + 60, "1");
	assert_non_null(strstr(eval(deep), "Exceeded max expression depth 50"));
	memset(deep, '(', 20000);
	deep[20000] = '\0';
	assert_non_null(strstr(eval(deep), "Exceeded max expression depth 50"));
	memset(deep, '1', 21001);
	deep[21001] = '\0';
	assert_non_null(strstr(eval(deep), "Exceeded max expression length 21000"));
	/* Doubling a text again and again stops at the ceiling. */
	_cleanup_(str_done) struct str text = STR_INIT(20000);
	for (int i = 0; i < 30; i++)
		str_append(&text, "format('{0}{0}', ");
	str_append(&text, "'0123456789'");
	for (int i = 0; i < 30; i++)
		str_append(&text, ")");
	assert_non_null(strstr(eval(str_peek(&text)), "larger than"));
}

/* "lexing: message" of a wrong expression. */
static const char *fault_of(const char *text)
{
	static const char *const stages[] = {"lexing", "parsing", "evaluation"};
	static char result[512];
	_cleanup_json_ json_t *contexts = json_loads(contexts_text, 0, NULL);
	struct expr_fault fault = {.message = NULL};
	struct expr_scope scope = {.contexts = contexts, .fault = &fault};
	struct expr_value value = EXPR_VALUE_INIT;
	assert_true(expr_eval(text, strlen(text), &scope, &value, NULL) < 0);
	snprintf(result, sizeof(result), "%s: %s", stages[fault.stage], fault.message);
	expr_fault_done(&fault);
	return result;
}

static void a_fault_tells_its_stage_and_what_github_says(void **state)
{
	(void)state;
	assert_string_equal(
		fault_of("foo(bar) == 'x"),
		"lexing: Unexpected symbol: ''x'. Located at position 13 within expression: foo(bar) == 'x");
	assert_string_equal(fault_of("'é' == =x"),
	                    "lexing: Unexpected symbol: '=x'. Located at position 8 within expression: 'é' == =x");
	assert_string_equal(fault_of("foo(bar)"), "parsing: Unrecognized named-value: 'bar'");
	assert_string_equal(fault_of("foo(1)"), "parsing: Unrecognized function: 'foo'");
	assert_string_equal(fault_of("1 =="), "parsing: Unexpected end of expression: '=='");
	assert_string_equal(fault_of("('a'"), "parsing: Unexpected end of expression: 'a'");
	assert_string_equal(fault_of("github.event["), "parsing: Unexpected end of expression: '['");
	assert_string_equal(fault_of("github.event[1"), "parsing: Unexpected symbol: 'EOF'");
	assert_string_equal(fault_of("github."), "parsing: Unexpected symbol: 'EOF'");
	assert_string_equal(fault_of("'a' 'b'"), "parsing: Unexpected symbol: 'b'");
	assert_string_equal(fault_of("fromJSON('')"), "evaluation: empty input");
	assert_string_equal(
		fault_of("inputs[fromJSON('{')]"),
		"evaluation: could not evaluate index for index access: Error parsing JSON when evaluating fromJson");
	assert_string_equal(
		fault_of("format('{1}', 0)"),
		"evaluation: The following format string references more arguments than were supplied: {1}");
}

static bool condition(const char *text, enum expr_status job)
{
	_cleanup_json_ json_t *contexts = json_loads(contexts_text, 0, NULL);
	struct expr_scope scope = scope_of(contexts);
	struct err err = ERR_INIT;
	bool result = false;
	status = job;
	assert_int_equal(expr_condition(text, &scope, &result, &err), 0);
	status = EXPR_SUCCESS;
	return result;
}

static void conditions_imply_success(void **state)
{
	(void)state;
	assert_true(condition("", EXPR_SUCCESS));
	assert_false(condition("", EXPR_FAILURE));
	assert_true(condition("github.sha == 'abc'", EXPR_SUCCESS));
	assert_false(condition("github.sha == 'abc'", EXPR_FAILURE));
	assert_true(condition("failure() && github.sha == 'abc'", EXPR_FAILURE));
	assert_false(condition("failure()", EXPR_CANCELLED));
	assert_true(condition("Always()", EXPR_CANCELLED));
	assert_true(condition("cancelled() || failure()", EXPR_CANCELLED));
	assert_true(condition("${{ 'text' }}", EXPR_SUCCESS));
	assert_false(condition("${{ '' }}", EXPR_SUCCESS));
}

static const char *template(const char *text)
{
	static char result[1024];
	_cleanup_json_ json_t *contexts = json_loads(contexts_text, 0, NULL), *value = NULL;
	struct expr_scope scope = {.contexts = contexts};
	struct err err = ERR_INIT;
	if (expr_template(text, &scope, &value, &err) < 0)
		return err_line(&err, result, sizeof(result));
	char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	snprintf(result, sizeof(result), "%s", dumped);
	free(dumped);
	return result;
}

static void a_template_keeps_the_type_of_a_whole_expression(void **state)
{
	(void)state;
	assert_string_equal(template("plain"), "\"plain\"");
	assert_string_equal(template("a ${{ github.sha }}-${{ inputs.n }}!"), "\"a abc-3!\"");
	assert_string_equal(template("${{ inputs.map }}"), "{\"a\":[true]}");
	assert_string_equal(template("${{ inputs.n }}"), "3");
	assert_string_equal(template(" ${{ inputs.map }}"), "\" Object\"");
	assert_string_equal(template("${{ '}}' }}"), "\"}}\"");
	assert_string_equal(template("${{ always() }}"), "true");
	assert_non_null(strstr(template("${{ success() }}"), "Unrecognized function: 'success'"));
	assert_non_null(strstr(template("${{ github.sha "), "not closed"));
	assert_non_null(strstr(template("${{ }}"), "An expression was expected"));
}

static void a_template_becomes_one_expression(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char *expression;
	assert_int_equal(expr_from_template("it's {${{ a.b }}} and ${{ c }}", &expression, &err), 0);
	assert_string_equal(expression, "format('it''s {{{0}}} and {1}', a.b, c)");
	free(expression);
	assert_int_equal(expr_from_template("${{  a.b }}", &expression, &err), 0);
	assert_string_equal(expression, "a.b");
	free(expression);
	assert_int_equal(expr_from_template("plain", &expression, &err), 0);
	assert_null(expression);
}

static void count_names(void *user, const char *context, const char *member)
{
	str_appendf(user, "%s.%s;", context, member != NULL ? member : "?");
}

static void list_path(void *user, const char *const *path, size_t count)
{
	for (size_t i = 0; i < count; i++)
		str_appendf(user, "%s%s", i > 0 ? "." : "", path[i]);
	str_append(user, ";");
}

static void the_paths_of_an_expression_can_be_listed(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str seen = STR_INIT(1000);
	assert_int_equal(expr_paths("needs.a.outputs['x'] && steps[github.job].b == github.event.commits.*.message", 0,
	                            list_path, &seen, &err),
	                 0);
	assert_string_equal(str_peek(&seen), "needs.a.outputs.x;steps;github.job;github.event.commits;");
	static const struct {
		int flags;
		const char *expr, *paths;
	} cases[] = {
		{EXPR_PATHS_NEEDED, "matrix.os || inputs.os", "inputs.os;"},
		{EXPR_PATHS_NEEDED, "matrix.a && 'x' || format('{0}', matrix.b || 'y')", "matrix.a;"},
		{EXPR_PATHS_TEXT, "contains(a.b, 'x') && startsWith(a.c, a.d) || a.e == a.f || !a.g || hashFiles(a.h)",
	         ""},
		{EXPR_PATHS_TEXT, "a.b && 'x' || a.c", "a.c;"},
		{EXPR_PATHS_TEXT, "format('{0} {1}', a.b, join(a.c.*.d, a['e']))", "a.b;a.c.*.d;a.e;"},
		{EXPR_PATHS_TEXT, "a[0].b || a[c.d].e || fromJSON(a.f)[a.g].h", "a.*.b;a.*.e;a.f;"},
		{EXPR_PATHS_TEXT, "toJSON(a.b) || case(a.c, a.d, a.e, a.f, a.g)", "a.b;a.b.**;a.d;a.f;a.g;"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		str_truncate(&seen, 0);
		assert_int_equal(expr_paths(cases[i].expr, cases[i].flags, list_path, &seen, &err), 0);
		assert_string_equal(str_peek(&seen), cases[i].paths);
	}
}

static void a_call_that_always_fails_is_known_beforehand(void **state)
{
	(void)state;
	static const char *const bad[] = {"format('{1}', a.b)", "x && format('{', a.b)", "fromJSON('{')[a.b]",
	                                  "contains(fromJSON('[1'), 1)"};
	static const char *const good[] = {"format('{0} {{1}}', a.b)",
	                                   "format(a.b)",
	                                   "fromJSON('[1, 2]')",
	                                   "fromJSON(a.b)",
	                                   "format('{0}', fromJSON(a.b).c)",
	                                   "",
	                                   "success()"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(expr_try(bad[i], &err), ERR_INVALID);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(expr_try(good[i], &err), 0);
	}
}

static void the_names_of_an_expression_can_be_listed(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str seen = STR_INIT(1000);
	assert_int_equal(expr_names("secrets.KEY || toJSON(secrets) && vars['x'].y", count_names, &seen, &err), 0);
	assert_string_equal(str_peek(&seen), "secrets.KEY;secrets.?;vars.x;");
	static const char *const known[] = {"secrets", NULL};
	assert_int_equal(expr_check("secrets.A", known, 0, &err), 0);
	assert_int_equal(expr_check("vars.A", known, 0, &err), ERR_INVALID);
	assert_int_equal(expr_check("success()", known, 0, &err), ERR_INVALID);
	assert_int_equal(expr_check("success()", known, EXPR_WITH_STATUS, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparisons_convert_as_the_runner_does),
		cmocka_unit_test(operators_return_operands_and_stop_early),
		cmocka_unit_test(members_are_found_without_case_and_missing_ones_are_null),
		cmocka_unit_test(wildcards_filter),
		cmocka_unit_test(functions_follow_their_definitions),
		cmocka_unit_test(faults_name_the_symbol_and_its_place),
		cmocka_unit_test(a_fault_tells_its_stage_and_what_github_says),
		cmocka_unit_test(depth_and_length_are_bounded),
		cmocka_unit_test(conditions_imply_success),
		cmocka_unit_test(a_template_keeps_the_type_of_a_whole_expression),
		cmocka_unit_test(a_template_becomes_one_expression),
		cmocka_unit_test(the_paths_of_an_expression_can_be_listed),
		cmocka_unit_test(a_call_that_always_fails_is_known_beforehand),
		cmocka_unit_test(the_names_of_an_expression_can_be_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
