#include "unit/cmocka_all.h"
#include "agent/workflow/show.h"

#include <string.h>

static struct workflow *read_it(const char *text)
{
	struct faults faults = {0};
	struct err err = ERR_INIT;
	struct workflow *w = NULL;
	char line[1024];
	if (workflow_read("x.yml", text, strlen(text), &faults, &w, NULL, &err) < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	faults_done(&faults);
	return w;
}

static json_t *show(const char *text, const struct workflow_show *how)
{
	_cleanup_(workflow_freep) struct workflow *w = read_it(text);
	json_t *shown = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(workflow_show(w, how, &shown, &err), 0);
	return shown;
}

static json_t *job_of(const json_t *shown, size_t n)
{
	return json_array_get(json_object_get(shown, "jobs"), n);
}

static void expect(const json_t *value, const char *text)
{
	_cleanup_free_ char *is = json_text(value);
	assert_string_equal(is, text);
}

#define STEPS "runs-on: x, steps: [{run: x}]"

static void jobs_stand_in_the_order_of_their_needs_and_a_matrix_is_expanded(void **state)
{
	(void)state;
	struct workflow_show how = {0};
	_cleanup_json_ json_t *shown =
		show("on: push\njobs:\n"
	             "  c: {needs: [a, b], " STEPS "}\n"
	             "  b: {needs: a, strategy: {matrix: {n: [1, 2]}}, " STEPS "}\n"
	             "  a: {" STEPS "}\n"
	             "  d: {needs: a, strategy: {matrix: '${{ fromJSON(needs.a.outputs.m) }}'}, " STEPS "}\n",
	             &how);
	static const char *const names[] = {"a", "b (1)", "b (2)", "d", "c"};
	assert_int_equal(json_array_size(json_object_get(shown, "jobs")), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_string_equal(json_get_string(job_of(shown, i), "name"), names[i]);
	expect(json_object_get(job_of(shown, 2), "matrix"), "{\"n\":2}");
	assert_string_equal(json_get_string(job_of(shown, 3), "matrix"), "${{ fromJSON(needs.a.outputs.m) }}");
	assert_int_equal(json_get_int(job_of(shown, 4), "stage", 0), 3);
}

static void what_is_known_is_evaluated_and_the_rest_stays_an_expression(void **state)
{
	(void)state;
	_cleanup_json_ json_t *inputs = json_pack("{s:b}", "deep", 0), *vars = json_pack("{s:s}", "OS", "linux");
	struct workflow_show how = {.inputs = inputs, .vars = vars, .event = "workflow_dispatch"};
	_cleanup_json_ json_t *shown = show(
		"on: [push, workflow_dispatch]\njobs:\n"
		"  a: {if: inputs.deep, " STEPS "}\n"
		"  b: {if: github.event_name == 'push' || always(), runs-on: ['${{ vars.OS }}', '${{ github.ref }}'], steps: [{run: x}]}\n"
		"  c: {if: failure(), " STEPS "}\n"
		"  d: {needs: a, if: '!cancelled()', " STEPS "}\n"
		"  e: {needs: a, if: always(), " STEPS "}\n",
		&how);
	assert_true(json_is_false(json_object_get(job_of(shown, 0), "runs")));
	assert_true(json_is_true(json_object_get(job_of(shown, 1), "runs")));
	expect(json_object_get(job_of(shown, 1), "runs-on"), "[\"linux\",\"${{ github.ref }}\"]");
	assert_true(json_is_false(json_object_get(job_of(shown, 2), "runs")));
	assert_string_equal(json_get_string(job_of(shown, 3), "id"), "d");
	assert_true(json_is_null(json_object_get(job_of(shown, 3), "runs")));
	assert_true(json_is_true(json_object_get(job_of(shown, 4), "runs")));
}

static int read_round(void *user, const char *uses, struct workflow **ret, struct err *err)
{
	(void)err;
	++*(int *)user;
	assert_string_equal(uses, "./.github/workflows/r.yml");
	*ret = read_it("on: {workflow_call: {inputs: {n: {type: number}}}}\n"
	               "jobs: {r: {uses: ./.github/workflows/r.yml, with: {n: '${{ inputs.n }}'}}}\n");
	return 0;
}

static void a_workflow_that_calls_itself_is_shown_ten_deep(void **state)
{
	(void)state;
	int calls = 0;
	struct workflow_show how = {.read = read_round, .user = &calls};
	_cleanup_json_ json_t *shown =
		show("on: push\njobs: {a: {uses: ./.github/workflows/r.yml, with: {n: 3}}}\n", &how);
	json_t *inner = job_of(job_of(shown, 0), 0);
	assert_true(json_number_value(json_object_get(json_object_get(inner, "with"), "n")) == 3);
	assert_int_equal(calls, 9);
}

static int read_wide(void *user, const char *uses, struct workflow **ret, struct err *err)
{
	(void)uses;
	(void)user;
	(void)err;
	*ret = read_it("on: workflow_call\njobs:\n  r:\n"
	               "    strategy: {matrix: {a: [1,2,3,4,5,6,7,8,9,0], b: [1,2,3,4,5,6,7,8,9,0]}}\n"
	               "    uses: ./.github/workflows/r.yml\n");
	return 0;
}

static void a_bomb_of_calls_is_refused(void **state)
{
	(void)state;
	struct workflow_show how = {.read = read_wide};
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	struct err err = ERR_INIT;
	json_t *shown = NULL;
	read_wide(NULL, "", &w, &err);
	assert_int_equal(workflow_show(w, &how, &shown, &err), ERR_LIMIT);
	assert_null(shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_stand_in_the_order_of_their_needs_and_a_matrix_is_expanded),
		cmocka_unit_test(what_is_known_is_evaluated_and_the_rest_stays_an_expression),
		cmocka_unit_test(a_workflow_that_calls_itself_is_shown_ten_deep),
		cmocka_unit_test(a_bomb_of_calls_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
