#include "unit/cmocka_all.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_job_is_kept_with_all_that_it_needs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
