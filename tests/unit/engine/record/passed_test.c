#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "engine/record/passed.h"

#include <fcntl.h>

static const char one[] = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
static const char two[] = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

struct world {
	char *dir;
	struct ed25519_pair pair;
};

static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	assert_int_equal(fs_make_temp_dir("davit-passed", &w->dir, NULL), 0);
	assert_int_equal(ed25519_pair_of_host(w->dir, true, &w->pair, NULL), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w);
	return 0;
}

static void add(struct world *w, struct passed *p, const char *deployment, const char *digest)
{
	struct passed_line line = {.name = xstrdup("shop"),
	                           .environment = xstrdup("staging"),
	                           .deployment = xstrdup(deployment),
	                           .committed_ms = 1700000000000};
	strv_add(&line.digests, digest);
	assert_int_equal(passed_sign(&line, &w->pair, NULL), 0);
	passed_add(p, &line);
	assert_null(line.name);
}

static void read_again(const struct passed *p, struct passed *ret)
{
	_cleanup_(str_done) struct str text = STR_INIT(PASSED_MAX);
	passed_write(p, &text);
	assert_false(text.failed);
	assert_int_equal(passed_read(str_peek(&text), text.len, ret, NULL), 0);
}

static void what_was_written_is_read_again_and_is_signed(void **state)
{
	_cleanup_(passed_done) struct passed p = {0}, again = {0};
	add(*state, &p, "20260131T102030-3fa94c", one);
	add(*state, &p, "20260131T102031-3fa94c", two);
	read_again(&p, &again);
	assert_int_equal(again.count, 2);
	assert_int_equal(again.damaged, 0);
	assert_true(passed_is_signed(&again.items[0]) && passed_is_signed(&again.items[1]));
	assert_true(passed_has(&again.items[1], two) && !passed_has(&again.items[1], one));
}

static void a_member_that_was_changed_breaks_the_signature(void **state)
{
	struct world *w = *state;
	_cleanup_(passed_done) struct passed p = {0};
	add(w, &p, "20260131T102030-3fa94c", one);
	struct passed_line *l = &p.items[0];
	char **const texts[] = {&l->name, &l->environment, &l->deployment, &l->digests.items[0]};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *last = *texts[i] + strlen(*texts[i]) - 1, was = *last;
		*last = 'x';
		assert_false(passed_is_signed(l));
		*last = was;
		assert_true(passed_is_signed(l));
	}
	l->committed_ms++;
	assert_false(passed_is_signed(l));
	l->committed_ms--;
	strv_add(&l->digests, two);
	assert_false(passed_is_signed(l));
}

static void a_deployment_is_in_it_once_and_the_oldest_lines_go(void **state)
{
	_cleanup_(passed_done) struct passed p = {0}, again = {0};
	for (int i = 0; i < PASSED_LINES + 5; i++) {
		_cleanup_free_ char *id = xasprintf("20260131T102030-%06d", i);
		add(*state, &p, id, one);
	}
	add(*state, &p, "20260131T102030-000030", two);
	read_again(&p, &again);
	assert_int_equal(again.count, PASSED_LINES);
	assert_string_equal(again.items[0].deployment, "20260131T102030-000005");
	assert_string_equal(again.items[again.count - 1].deployment, "20260131T102030-000030");
	assert_true(passed_has(&again.items[again.count - 1], two));
}

static void the_largest_record_has_room(void **state)
{
	struct world *w = *state;
	_cleanup_(passed_done) struct passed p = {0}, again = {0};
	for (int i = 0; i < PASSED_LINES; i++) {
		struct passed_line line = {.name = xasprintf("%063d", 1),
		                           .environment = xasprintf("%063d", 2),
		                           .deployment = xasprintf("%064d", i),
		                           .committed_ms = INT64_MAX};
		for (int k = 0; k < PASSED_DIGESTS; k++)
			strv_addf(&line.digests, "sha256:%064x", k);
		assert_int_equal(passed_sign(&line, &w->pair, NULL), 0);
		passed_add(&p, &line);
	}
	read_again(&p, &again);
	assert_int_equal(again.count, PASSED_LINES);
	assert_true(passed_is_signed(&again.items[0]));
}

static void what_is_no_line_is_counted_and_left_out(void **state)
{
	(void)state;
	static const char text[] =
		"{}\n[1]\nnonsense\n\n{\"format\":1,\"name\":\"sh\\u001bop\"}\n{\"format\":0}\n{\"format\":1";
	_cleanup_(passed_done) struct passed p = {0};
	assert_int_equal(passed_read(text, strlen(text), &p, NULL), 0);
	assert_int_equal(p.count, 0);
	assert_int_equal(p.damaged, 6);
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
	(void)state;
	static const char text[] = "{}\n{\"format\":2,\"name\":\"shop\"}\n";
	struct passed p = {0};
	struct err err = ERR_INIT;
	assert_int_equal(passed_read(text, strlen(text), &p, &err), ERR_UNSUPPORTED);
	assert_string_equal(err.frames[0].text, "the record has the format 2; this program reads 1");
	assert_null(p.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read_again_and_is_signed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_member_that_was_changed_breaks_the_signature, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_deployment_is_in_it_once_and_the_oldest_lines_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_largest_record_has_room, set_up, tear_down),
		cmocka_unit_test(what_is_no_line_is_counted_and_left_out),
		cmocka_unit_test(a_newer_format_is_refused_with_both_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
