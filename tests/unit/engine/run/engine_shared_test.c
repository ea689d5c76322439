/* An engine whose journal other machines share: the PostgreSQL whose URL is in DAVIT_TEST_JOURNAL (journal_in_postgres.py starts one). */
#include "engine_world.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "harness/shared_journal.h"

#include <fcntl.h>

static const char lock_name[] = "base/open/shop.production/lock", others[] = "00000000000000000000000000000000";
static char *other_dir;
static struct store *other;

static int set_up_shared(void **state)
{
	int r = set_up(state);
	other = NULL;
	other_dir = in_dir("other");
	if (r < 0 || shared_journal_url() == NULL)
		return r;
	shared_journal_clear();
	store_close(store);
	shared_journal_join(state_dir, NULL, &store);
	return 0;
}

static int tear_down_shared(void **state)
{
	store_close(other);
	free(other_dir);
	return tear_down(state);
}

static json_t *read_lock(void)
{
	_cleanup_free_ char *path = in_dir(lock_name);
	_cleanup_(str_done) struct str text = STR_INIT(1 << 16);
	json_t *record = NULL;
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 15, &text, NULL), 0);
	assert_int_equal(json_parse(str_peek(&text), text.len, 1 << 16, &record, NULL), 0);
	return record;
}

/* The connection is gone, and the counters on the targets stood still for as long as another machine watches them. */
static void another_machine_takes_it_over(void)
{
	_cleanup_(str_done) struct str key = STR_INIT(100);
	_cleanup_json_ json_t *record = read_lock();
	_cleanup_free_ char *id = xstrdup(json_get_string(record, "deployment"));
	bool elsewhere = false;
	in_postgres("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name='davit'");
	assert_int_equal(journal_key(state_dir, &key, NULL), 0);
	shared_journal_join(other_dir, str_peek(&key), &other);
	assert_int_equal(store_claim(other, id, &elsewhere, NULL), 0);
	assert_true(elsewhere);
	assert_int_equal(store_take_over(other, id, NULL), 0);
	json_object_set_new(record, "token", json_string(others));
	_cleanup_free_ char *text = json_text(record);
	write_file(lock_name, text);
}

static const char cleaned_steps[] =
	"[{\"step\":\"cleaned\",\"input\":{\"files\":{\"%D/a\":\"new a\"}}},{\"step\":\"gate\"}]";

static void a_lock_that_another_machine_took_over_meanwhile_is_not_taken_back(void **state)
{
	(void)state;
	if (shared_journal_url() == NULL)
		skip();
	_cleanup_(engine_result_done) struct engine_result result = {0};
	_cleanup_json_ json_t *d = deployment("rollback", cleaned_steps);
	struct engine_options o = options();
	write_file("a", "old a");
	in_clean = another_machine_takes_it_over;
	deploy_this(d, &o, &result);
	assert_file("a", "new a");
	_cleanup_json_ json_t *record = read_lock();
	assert_string_equal(json_get_string(record, "token"), others);
}

int main(int argc, char **argv)
{
	(void)argv;
	show = argc > 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lock_that_another_machine_took_over_meanwhile_is_not_taken_back,
	                                        set_up_shared, tear_down_shared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
