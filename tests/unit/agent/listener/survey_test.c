#include "unit/cmocka_all.h"
#include "agent/listener/survey.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *place;

/* PLACE/state with PLACE/home beside it; nobody else makes files there. */
static int make_place(void **state)
{
	(void)state;
	if (fs_make_temp_dir("davit-survey-test", &place, NULL) < 0)
		return -1;
	_cleanup_free_ char *home = fs_join(place, "home"), *dir = fs_join(place, "state");
	assert_int_equal(fs_mkdirs(AT_FDCWD, home, 0700, NULL), 0);
	assert_int_equal(fs_mkdirs(AT_FDCWD, dir, 0700, NULL), 0);
	setenv("HOME", home, 1);
	setenv("DAVIT_STATE", dir, 1);
	return 0;
}

static int drop_place(void **state)
{
	(void)state;
	int r = fs_remove_tree(AT_FDCWD, place, NULL);
	free(place);
	return r;
}

struct crowd {
	struct registration *regs;
	const struct registration **all;
	size_t count;
};

static struct crowd make_crowd(size_t count, const char *work)
{
	struct crowd c = {xcalloc(count, sizeof(*c.regs)), xcalloc(count, sizeof(*c.all)), count};
	for (size_t i = 0; i < count; i++) {
		c.regs[i].url = xasprintf("https://github.com/acme/r%zu", i);
		c.regs[i].name = xstrdup("box");
		c.regs[i].work = xstrdup(work);
		c.all[i] = &c.regs[i];
	}
	return c;
}

static void drop_crowd(struct crowd *c)
{
	for (size_t i = 0; i < c->count; i++)
		registration_done(&c->regs[i]);
	free(c->regs);
	free(c->all);
}

static double processor_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double time_of(size_t count)
{
	struct crowd c = make_crowd(count, "_work");
	double begun = processor_s();
	struct survey *s = survey_new(&(struct survey_question){.all = c.all, .count = count});
	for (size_t i = 0; i < count; i++) {
		const char *cost;
		assert_true(survey_is_shared(s, i));
		assert_int_equal(survey_cost(s, i, &cost, NULL), 0);
	}
	survey_free(s);
	double took = processor_s() - begun;
	drop_crowd(&c);
	return took;
}

static void eight_times_the_registrations_of_one_user_take_nowhere_near_64_times_as_long(void **state)
{
	(void)state;
	double few = time_of(250), many = time_of(2000);
	if (many > 24 * few + 0.01)
		fail_msg("%.4f s for 250, %.4f s for 2000", few, many);
}

static void registrations_of_one_repository_share_nothing_with_another_s(void **state)
{
	(void)state;
	struct crowd c = make_crowd(2, "_work");
	free(c.regs[1].url);
	c.regs[1].url = xstrdup("https://github.com/ACME/r0");
	struct survey *s = survey_new(&(struct survey_question){.all = c.all, .count = 2});
	assert_false(survey_is_shared(s, 0));
	assert_false(survey_is_shared(s, 1));
	survey_free(s);
	drop_crowd(&c);
}

static void each_registration_is_left_its_own_area_and_nothing_of_the_others(void **state)
{
	(void)state;
	struct crowd c = make_crowd(3, "_work");
	struct strv closed = {0}, open = {0};
	struct survey *s = survey_new(&(struct survey_question){.all = c.all, .count = 3, .agent_dir = "/etc"});
	assert_int_equal(survey_directories(s, 1, &closed, &open, NULL), 0);
	assert_int_equal(open.count, 1);
	assert_non_null(strstr(open.items[0], "/state/_work/r1-"));
	assert_int_equal(closed.count, 4);
	assert_false(strv_has(&closed, open.items[0]));
	assert_true(strv_has(&closed, "/etc"));
	strv_done(&closed);
	strv_done(&open);
	survey_free(s);
	drop_crowd(&c);
}

/* The second one's files lie where the first one works: closing them takes a directory from the first, but nothing from a third. */
static void an_area_within_another_costs_the_one_that_works_there_and_no_third(void **state)
{
	(void)state;
	struct crowd c = make_crowd(3, "_work");
	struct strv closed = {0}, open = {0};
	free(c.regs[0].work);
	c.regs[0].work = fs_join(place, "first");
	struct survey *s = survey_new(&(struct survey_question){.all = c.all, .count = 1});
	assert_int_equal(survey_directories(s, 0, &closed, &open, NULL), 0);
	_cleanup_free_ char *first = xstrdup(open.items[0]);
	survey_free(s);
	assert_int_equal(fs_mkdirs(AT_FDCWD, first, 0700, NULL), 0);
	free(c.regs[1].work);
	c.regs[1].work = fs_join(first, "tree/second");
	s = survey_new(&(struct survey_question){.all = c.all, .count = 3});
	const char *cost = NULL;
	assert_int_equal(survey_cost(s, 0, &cost, NULL), 0);
	assert_non_null(cost);
	assert_non_null(strstr(cost, "/tree/second/r1-"));
	assert_int_equal(survey_cost(s, 2, &cost, NULL), 0);
	if (cost != NULL)
		assert_null(strstr(cost, "/tree/second/r1-"));
	survey_free(s);
	strv_done(&closed);
	strv_done(&open);
	drop_crowd(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_times_the_registrations_of_one_user_take_nowhere_near_64_times_as_long),
		cmocka_unit_test(registrations_of_one_repository_share_nothing_with_another_s),
		cmocka_unit_test(each_registration_is_left_its_own_area_and_nothing_of_the_others),
		cmocka_unit_test(an_area_within_another_costs_the_one_that_works_there_and_no_third),
	};
	return cmocka_run_group_tests(tests, make_place, drop_place);
}
