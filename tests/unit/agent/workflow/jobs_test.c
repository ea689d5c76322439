#include "unit/cmocka_all.h"
#include "agent/expr/expr.h"
#include "agent/workflow/workflow.h"

#include <string.h>

static struct workflow *read_it(const char *text)
{
	struct faults faults = {0};
	struct err err = ERR_INIT;
	struct workflow *w = NULL;
	int r = workflow_read("x.yml", text, strlen(text), &faults, &w, NULL, &err);
	if (r < 0)
		print_message("%s\n", err.frames[0].text);
	assert_int_equal(r, 0);
	faults_done(&faults);
	return w;
}

static void one_job_is_kept_with_all_that_it_needs(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_it("on: push\njobs:\n"
	                                                       "  d: {runs-on: x, needs: [b, c], steps: [{run: x}]}\n"
	                                                       "  a: {runs-on: x, steps: [{run: x}]}\n"
	                                                       "  c: {runs-on: x, needs: a, steps: [{run: x}]}\n"
	                                                       "  b: {runs-on: x, needs: a, steps: [{run: x}]}\n"
	                                                       "  e: {runs-on: x, needs: d, steps: [{run: x}]}\n");
	struct err err = ERR_INIT;
	assert_int_equal(workflow_keep_job(w, "f", &err), ERR_INVALID);
	assert_int_equal(w->job_count, 5);
	assert_int_equal(workflow_keep_job(w, "d", &err), 0);
	assert_int_equal(w->job_count, 4);
	assert_null(workflow_find_job(w, "e"));
	assert_int_equal(workflow_keep_job(w, "c", &err), 0);
	assert_int_equal(w->job_count, 2);
	assert_string_equal(w->jobs[0].id, "a");
	assert_string_equal(w->jobs[1].id, "c");
}

static void a_call_has_no_steps_and_keeps_the_types_of_its_inputs(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_it(
		"on: push\njobs:\n"
		"  a: {uses: ./.github/workflows/x.yml, with: {n: 3, b: true, s: '${{ github.ref }}'}, secrets: inherit}\n"
		"  b: {uses: ./.github/workflows/x.yml, needs: a, secrets: {T: '${{ secrets.T }}'}}\n");
	assert_string_equal(w->jobs[0].uses, "./.github/workflows/x.yml");
	assert_true(w->jobs[0].inherits_secrets);
	assert_int_equal(w->jobs[0].step_count, 0);
	_cleanup_free_ char *with = json_text(w->jobs[0].with);
	assert_non_null(strstr(with, "\"value\":3"));
	assert_non_null(strstr(with, "\"value\":true"));
	assert_false(w->jobs[1].inherits_secrets);
	assert_non_null(w->jobs[1].secrets);
}

static void what_belongs_to_no_call_or_to_calls_only_is_a_fault(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} files[] = {
		{"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, runs-on: x}}\n", "'runs-on' belongs to"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, env: {A: b}}}\n", "'env' belongs to"},
		{"on: push\njobs: {a: {uses: ./x.yml}}\n", "is named ./.github/workflows/NAME.yml"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/../x.yml}}\n",
	         "is named ./.github/workflows/NAME.yml"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, secrets: all}}\n", "the word inherit"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, with: {a: [1]}}}\n", "must be a string"},
		{"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, with: {a: '${{ secrets.X }}'}}}\n",
	         "'secrets'"},
		{"on: push\njobs: {a: {runs-on: x, with: {a: 1}, steps: [{run: x}]}}\n", "belongs to the call"},
		{"on: {workflow_call: {inputs: {a: {}}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
	         "needs a 'type'"},
		{"on: {workflow_call: {inputs: {a: {type: choice}}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
	         "needs a 'type'"},
		{"on: {workflow_call: {outputs: {a: {}}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
	         "needs a 'value'"},
		{"on: {workflow_call: {outputs: {a: {value: '${{ needs.a }}'}}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
	         "'needs'"},
		{"on: {workflow_call: {secrets: {a: 1}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
	         "must be a map"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(faults_done) struct faults faults = {0};
		struct workflow *w = NULL;
		struct err err = ERR_INIT;
		assert_true(workflow_read("x.yml", files[i].text, strlen(files[i].text), &faults, &w, NULL, &err) < 0);
		bool found = false;
		for (size_t n = 0; n < faults.count; n++)
			found |= strstr(faults.items[n].text, files[i].says) != NULL;
		if (!found)
			fail_msg("%s: no fault says '%s' but %s", files[i].text, files[i].says,
			         faults.count > 0 ? faults.items[0].text : err.frames[0].text);
	}
}

static const char callee[] = "on:\n"
			     "  workflow_call:\n"
			     "    inputs:\n"
			     "      n: {type: number, required: true}\n"
			     "      b: {type: boolean}\n"
			     "      s: {type: string, default: 'on ${{ github.ref }}'}\n"
			     "    secrets: {T: {required: true}, U: {}}\n"
			     "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n";

static int give(const struct workflow *w, const char *given, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *values = json_loads(given, 0, NULL);
	_cleanup_json_ json_t *contexts = json_pack("{s:{s:s}}", "github", "ref", "main");
	struct expr_scope scope = {.contexts = contexts};
	return workflow_call_inputs(w, values, &scope, ret, err);
}

static void inputs_of_a_call_have_types_defaults_and_names(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_it(callee);
	_cleanup_json_ json_t *inputs = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(give(w, "{\"n\": 3}", &inputs, &err), 0);
	_cleanup_free_ char *text = json_text(inputs);
	assert_string_equal(text, "{\"n\":3,\"b\":false,\"s\":\"on main\"}");
	static const struct {
		const char *given, *says;
	} wrong[] = {
		{"{}", "Input n is required, but not provided while calling."},
		{"{\"n\": \"3\"}", "must be a number"},
		{"{\"n\": 1, \"b\": \"true\"}", "must be a boolean"},
		{"{\"n\": 1, \"s\": [1]}", "must be a string"},
		{"{\"n\": 1, \"x\": 1}", "Invalid input, x is not defined in the referenced workflow."},
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *none = NULL;
		err = (struct err)ERR_INIT;
		assert_int_equal(give(w, wrong[i].given, &none, &err), ERR_INVALID);
		assert_non_null(strstr(err.frames[0].text, wrong[i].says));
		assert_null(none);
	}
}

static void secrets_of_a_call_are_those_that_are_declared_unless_they_are_inherited(void **state)
{
	(void)state;
	_cleanup_(workflow_freep) struct workflow *w = read_it(callee);
	_cleanup_json_ json_t *good = json_pack("{s:s}", "t", "x"), *more = json_pack("{s:s, s:s}", "T", "x", "Z", "y"),
			      *none = json_object();
	struct err err = ERR_INIT;
	assert_int_equal(workflow_call_secrets(w, good, false, &err), 0);
	assert_int_equal(workflow_call_secrets(w, more, true, &err), 0);
	assert_int_equal(workflow_call_secrets(w, more, false, &err), ERR_INVALID);
	assert_int_equal(workflow_call_secrets(w, none, true, &err), ERR_INVALID);
}

static void a_called_job_has_at_most_the_permissions_of_its_caller(void **state)
{
	(void)state;
	_cleanup_json_ json_t *own =
		json_pack("{s:s, s:s, s:s}", "Contents", "write", "Issues", "write", "Checks", "read");
	_cleanup_json_ json_t *callers = json_pack("{s:s, s:s}", "Contents", "read", "Checks", "write");
	_cleanup_json_ json_t *both = workflow_permissions_below(own, callers);
	_cleanup_free_ char *text = json_text(both);
	assert_string_equal(text, "{\"Contents\":\"read\",\"Checks\":\"read\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_job_is_kept_with_all_that_it_needs),
		cmocka_unit_test(a_call_has_no_steps_and_keeps_the_types_of_its_inputs),
		cmocka_unit_test(what_belongs_to_no_call_or_to_calls_only_is_a_fault),
		cmocka_unit_test(inputs_of_a_call_have_types_defaults_and_names),
		cmocka_unit_test(secrets_of_a_call_are_those_that_are_declared_unless_they_are_inherited),
		cmocka_unit_test(a_called_job_has_at_most_the_permissions_of_its_caller),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
