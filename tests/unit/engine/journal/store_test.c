/* What every journal keeps to, whatever its database: SQLite, or the PostgreSQL whose URL is in DAVIT_TEST_JOURNAL (journal_in_postgres.py
 * starts one), in which each test finds no journal. */
#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "engine/run/step.h"
#include "harness/shared_journal.h"
#include "engine/journal/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

static char *dir;
static struct store *store;

static int set_up(void **state)
{
	(void)state;
	if (fs_make_temp_dir("davit-store-test", &dir, NULL) < 0)
		return -1;
	if (shared_journal_url() == NULL)
		return store_open(dir, NULL, &store, NULL);
	shared_journal_clear();
	return shared_journal_join(dir, NULL, &store);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(store);
	int r = fs_remove_tree(AT_FDCWD, dir, NULL);
	free(dir);
	return r;
}

static void add(const char *id, const char *environment, const char *state_name)
{
	_cleanup_json_ json_t *doc = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", "shop", "environment",
	                                       environment, "state", state_name);
	assert_int_equal(store_deployment_add(store, doc, NULL), 0);
}

static void one_environment_is_locked_by_one_deployment(void **state)
{
	(void)state;
	char *holder = NULL;
	add("a", "production", "preparing");
	add("b", "production", "preparing");
	add("c", "staging", "preparing");
	assert_int_equal(store_lock(store, "shop", "production", "a", NULL, NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "a", NULL, NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "b", &holder, NULL), ERR_LOCKED);
	assert_string_equal(holder, "a");
	free(holder);
	assert_int_equal(store_lock(store, "shop", "staging", "c", NULL, NULL), 0);
	assert_int_equal(store_unlock(store, "a", NULL), 0);
	assert_int_equal(store_lock(store, "shop", "production", "b", NULL, NULL), 0);
}

static void add_change(const char *id, const char *target)
{
	_cleanup_(plan_done) struct plan plan = {0};
	struct change *c = plan_add_kind(&plan, "node", ACTION_CREATE, "/x");
	c->target = xstrdup(target);
	assert_int_equal(store_changes_add(store, id, plan.changes, plan.count, NULL), 0);
}

static bool is_changed(const char *environment, const char *target)
{
	bool changed = true;
	assert_int_equal(store_target_changed(store, "shop", environment, target, &changed, NULL), 0);
	return changed;
}

static void a_target_is_changed_by_a_committed_deployment_of_its_environment_only(void **state)
{
	(void)state;
	assert_false(is_changed("production", "web"));
	add("a", "production", "committed");
	add_change("a", "web");
	add("b", "production", "undone");
	add_change("b", "db");
	add("c", "staging", "committed");
	add_change("c", "cache");
	add("d", "production", "committed");
	assert_true(is_changed("production", "web"));
	assert_false(is_changed("production", "db"));
	assert_false(is_changed("production", "cache"));
	assert_true(is_changed("staging", "cache"));
}

static size_t undecided(void)
{
	const struct store_filter filter = {.undecided = true};
	_cleanup_json_ json_t *list = NULL;
	assert_int_equal(store_deployment_list(store, &filter, &list, NULL), 0);
	return json_array_size(list);
}

static void undecided_is_what_recovery_must_look_at(void **state)
{
	(void)state;
	_cleanup_json_ json_t *cleaned = json_pack("{s:b}", "cleaned", 1);
	add("a", "p", "refused");
	assert_int_equal(undecided(), 0);
	add("b", "p", "open");
	add("c", "p", "held");
	add("d", "p", "committed");
	assert_int_equal(undecided(), 3);
	assert_int_equal(store_deployment_set(store, "d", cleaned, NULL), 0);
	assert_int_equal(undecided(), 2);
	/* A lock that was not given back yet counts, whatever the state. */
	assert_int_equal(store_lock(store, "shop", "p", "a", NULL, NULL), 0);
	assert_int_equal(undecided(), 3);
}

static struct change make_change(const char *path)
{
	return (struct change){.kind = "file",
	                       .action = ACTION_CREATE,
	                       .step = xstrdup("apply"),
	                       .target = xstrdup("web"),
	                       .path = xstrdup(path),
	                       .before = json_pack("{s:s}", "type", "absent"),
	                       .after = json_pack("{s:s, s:s}", "type", "file", "digest", "d")};
}

static void changes_get_ids_in_the_order_of_making_and_come_back_whole(void **state)
{
	(void)state;
	struct change changes[2] = {make_change("/a"), make_change("/b")};
	struct change third = make_change("/c");
	_cleanup_(plan_done) struct plan list = {0};
	add("d", "p", "open");
	assert_int_equal(store_changes_add(store, "d", changes, 2, NULL), 0);
	assert_int_equal(store_changes_add(store, "d", &third, 1, NULL), 0);
	assert_int_equal(third.id, 3);
	assert_int_equal(store_change_set(store, "d", &changes[1], CHANGE_UNKNOWN, "lost", NULL), 0);
	assert_int_equal(store_change_list(store, "d", &list, NULL), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.changes[1].path, "/b");
	assert_int_equal(list.changes[1].state, CHANGE_UNKNOWN);
	assert_string_equal(list.changes[1].note, "lost");
	assert_string_equal(json_get_string(list.changes[0].after, "digest"), "d");
	for (size_t i = 0; i < 2; i++)
		change_done(&changes[i]);
	change_done(&third);
}

static void what_another_store_recorded_keeps_its_ids_and_states(void **state)
{
	(void)state;
	_cleanup_(plan_done) struct plan copied = {0}, list = {0};
	_cleanup_json_ json_t *row = json_pack("{s:i}", "v", 1), *found = NULL;
	add("d", "p", "open");
	for (int i = 0; i < 2; i++) {
		struct change *c = plan_add_kind(&copied, "node", ACTION_CREATE, i == 0 ? "/a" : "/b");
		c->step = xstrdup("apply");
		c->target = xstrdup("web");
		c->id = 4 + 3 * i;
		c->state = i == 0 ? CHANGE_DONE : CHANGE_UNKNOWN;
	}
	change_set_state_row(&copied.changes[0], "key", row, NULL);
	assert_int_equal(store_changes_import(store, "d", &copied, NULL), 0);
	assert_int_equal(store_change_list(store, "d", &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.changes[0].id, 4);
	assert_int_equal(list.changes[0].state, CHANGE_DONE);
	assert_int_equal(list.changes[1].id, 7);
	assert_int_equal(list.changes[1].state, CHANGE_UNKNOWN);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &found, NULL), 0);
	struct change next = make_change("/c");
	assert_int_equal(store_changes_add(store, "d", &next, 1, NULL), 0);
	assert_int_equal(next.id, 8);
	change_done(&next);
}

static void a_plan_is_kept_in_place_of_the_former_one_until_it_is_dropped(void **state)
{
	(void)state;
	static const char name[] = "0123456789abcdef-0123456789abcdef0123456789abcdef";
	struct str out _cleanup_(str_done) = STR_INIT(1000);
	assert_int_equal(store_plan_read(store, name, &out, NULL), ERR_NOT_FOUND);
	assert_int_equal(store_plan_keep(store, name, "one", 3, NULL), 0);
	assert_int_equal(store_plan_keep(store, name, "the other", 9, NULL), 0);
	assert_int_equal(store_plan_read(store, name, &out, NULL), 0);
	assert_string_equal(str_peek(&out), "the other");
	assert_int_equal(store_plan_drop(store, name, NULL), 0);
	assert_int_equal(store_plan_drop(store, name, NULL), 0);
	assert_int_equal(store_plan_read(store, name, &out, NULL), ERR_NOT_FOUND);
}

static void a_journal_that_is_only_read_is_not_written(void **state)
{
	(void)state;
	struct store *reader = NULL;
	_cleanup_json_ json_t *doc = NULL, *members = json_pack("{s:s}", "state", "undone");
	struct err err = ERR_INIT;
	add("d", "p", "open");
	assert_int_equal(journal_open_readonly(dir, &reader, NULL), 0);
	assert_int_equal(store_deployment_set(reader, "d", members, &err), ERR_INTERNAL);
	assert_int_equal(store_deployment_get(reader, "d", &doc, NULL), 0);
	assert_string_equal(json_get_string(doc, "state"), "open");
	store_close(reader);
}

static void a_claim_of_ones_own_is_good_until_it_is_released(void **state)
{
	(void)state;
	bool elsewhere = true;
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
	add("d", "p", "open");
	assert_int_equal(store_check_claim(store, "d", NULL), 0);
	store_release(store, "d");
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
	assert_int_equal(store_take_over(store, "d", NULL), 0);
	assert_int_equal(store_is_shared(store), shared_journal_url() != NULL);
}

static void a_state_row_comes_with_done_and_goes_with_undone(void **state)
{
	(void)state;
	_cleanup_(change_done) struct change c = make_change("/a");
	_cleanup_json_ json_t *row = json_pack("{s:i}", "v", 2), *former = json_pack("{s:i}", "v", 1), *found = NULL,
			      *back = NULL;
	add("d", "p", "open");
	change_set_state_row(&c, "key", row, former);
	assert_int_equal(store_changes_add(store, "d", &c, 1, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &found, NULL), ERR_NOT_FOUND);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_STARTED, NULL, NULL), 0);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_DONE, NULL, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &found, NULL), 0);
	assert_int_equal(json_get_int(found, "v", 0), 2);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_UNDONE, NULL, NULL), 0);
	assert_int_equal(store_state_get(store, "shop.p", "web", "key", &back, NULL), 0);
	assert_int_equal(json_get_int(back, "v", 0), 1);
}

static void set_format_of_sqlite(void)
{
	sqlite3 *db = NULL;
	_cleanup_free_ char *path = fs_join(dir, "journal.db");
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=7", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void steps_and_events_come_back_in_their_order(void **state)
{
	(void)state;
	_cleanup_json_ json_t *first = json_pack("{s:s, s:s}", "step", "apply", "state", "planned"),
			      *second = json_pack("{s:s}", "step", "run"),
			      *members = json_pack("{s:s, s:n}", "state", "done", "step"), *steps = NULL,
			      *events = NULL, *data = json_pack("{s:s}", "said", "a\xc3\xa4\n\"b\"");
	add("d", "p", "open");
	assert_int_equal(store_step_add(store, "d", 1, second, NULL), 0);
	assert_int_equal(store_step_add(store, "d", 0, second, NULL), 0);
	assert_int_equal(store_step_add(store, "d", 0, first, NULL), 0);
	assert_int_equal(store_step_set(store, "d", 0, members, NULL), 0);
	assert_int_equal(store_step_set(store, "d", 2, members, NULL), ERR_NOT_FOUND);
	assert_int_equal(store_step_list(store, "d", &steps, NULL), 0);
	assert_int_equal(json_array_size(steps), 2);
	assert_string_equal(json_get_string(json_array_get(steps, 0), "state"), "done");
	assert_null(json_object_get(json_array_get(steps, 0), "step"));
	assert_string_equal(json_get_string(json_array_get(steps, 1), "step"), "run");
	assert_int_equal(store_event_add(store, "d", 1, "probe", data, NULL), 0);
	assert_int_equal(store_event_note(store, "d", "saw", NULL, NULL), 0);
	assert_int_equal(store_event_list(store, "d", &events, NULL), 0);
	assert_int_equal(json_array_size(events), 2);
	assert_true(json_equal(json_object_get(json_array_get(events, 0), "data"), data));
	assert_int_equal(json_get_int(json_array_get(events, 0), "step", 0), 1);
	assert_string_equal(json_get_string(json_array_get(events, 1), "kind"), "saw");
	assert_true(json_is_null(json_object_get(json_array_get(events, 1), "data")));
}

static size_t listed(const struct store_filter *filter, const char *newest)
{
	_cleanup_json_ json_t *list = NULL;
	assert_int_equal(store_deployment_list(store, filter, &list, NULL), 0);
	assert_string_equal(json_get_string(json_array_get(list, 0), "id"), newest);
	return json_array_size(list);
}

static void deployments_are_listed_newest_first_by_what_is_asked(void **state)
{
	(void)state;
	const struct store_filter of_p = {.environment = "p"}, of_shop = {.name = "shop", .limit = 2},
				  of_job = {.job_key = "job 1"};
	_cleanup_json_ json_t *members = json_pack("{s:s}", "job_key", "job 1"), *doc = NULL;
	struct err err = ERR_INIT;
	add("a", "p", "committed");
	add("b", "p", "committed");
	add("c", "q", "committed");
	assert_int_equal(store_deployment_set(store, "a", members, NULL), 0);
	assert_int_equal(listed(NULL, "c"), 3);
	assert_int_equal(listed(&of_p, "b"), 2);
	assert_int_equal(listed(&of_shop, "c"), 2);
	assert_int_equal(listed(&of_job, "a"), 1);
	assert_int_equal(store_deployment_get(store, "a", &doc, NULL), 0);
	assert_string_equal(json_get_string(doc, "environment"), "p");
	assert_int_equal(store_deployment_get(store, "x", &doc, &err), ERR_NOT_FOUND);
	assert_int_equal(store_deployment_set(store, "x", members, &err), ERR_NOT_FOUND);
	assert_int_equal(store_deployment_add(store, doc, &err), ERR_EXISTS);
}

/* More than one page of changes, of which the last one is asked for. */
static void a_target_is_found_behind_many_changes_of_others(void **state)
{
	(void)state;
	_cleanup_(plan_done) struct plan plan = {0};
	add("a", "production", "committed");
	add("b", "production", "committed");
	for (int i = 0; i < 1201; i++) {
		struct change *c = plan_add_kind(&plan, "node", ACTION_CREATE, "/x");
		c->target = xstrdup(i < 1200 ? "web" : "db");
	}
	assert_int_equal(store_changes_add(store, "a", plan.changes, plan.count, NULL), 0);
	add_change("b", "web");
	assert_true(is_changed("production", "db"));
	assert_false(is_changed("production", "cache"));
}

static void rows_are_listed_and_forgotten(void **state)
{
	(void)state;
	_cleanup_(change_done) struct change c = make_change("/a");
	_cleanup_json_ json_t *row = json_pack("{s:i}", "v", 2), *rows = NULL, *none = NULL;
	add("d", "p", "open");
	change_set_state_row(&c, "it's a \"key\"", row, NULL);
	assert_int_equal(store_changes_add(store, "d", &c, 1, NULL), 0);
	assert_int_equal(store_change_set(store, "d", &c, CHANGE_DONE, NULL, NULL), 0);
	assert_int_equal(store_state_list(store, "shop.p", "web", &rows, NULL), 0);
	assert_true(json_equal(json_object_get(rows, "it's a \"key\""), row));
	assert_int_equal(store_state_forget(store, "shop.p", "web", "it's a \"key\"", NULL), 0);
	assert_int_equal(store_state_list(store, "shop.p", "web", &none, NULL), 0);
	assert_int_equal(json_object_size(none), 0);
}

static void what_is_sealed_is_read_by_its_deployment_alone_until_it_is_erased(void **state)
{
	(void)state;
	struct str out _cleanup_(str_done) = STR_INIT(1000), other _cleanup_(str_done) = STR_INIT(1000);
	struct err err = ERR_INIT;
	add("d", "p", "open");
	assert_int_equal(store_seal(store, "d", "first", 5, NULL), 0);
	assert_int_equal(store_seal(store, "d", "s\0cret", 6, NULL), 0);
	assert_int_equal(store_unseal(store, "d", &out, NULL), 0);
	assert_int_equal(out.len, 6);
	assert_memory_equal(out.data, "s\0cret", 6);
	assert_int_equal(store_unseal(store, "e", &other, &err), ERR_NOT_FOUND);
	assert_int_equal(store_seal_erase(store, "d", NULL), 0);
	assert_int_equal(store_seal_erase(store, "d", NULL), 0);
	assert_int_equal(store_unseal(store, "d", &other, &err), ERR_NOT_FOUND);
}

/* ---- several machines: of a journal in PostgreSQL ---- */

struct machine {
	char *dir;
	struct store *store;
};

static void machine_gone(struct machine *m)
{
	store_close(m->store);
	assert_int_equal(fs_remove_tree(AT_FDCWD, m->dir, NULL), 0);
	free(m->dir);
}

static void add_machine(struct machine *m)
{
	struct str key _cleanup_(str_done) = STR_INIT(100);
	assert_int_equal(fs_make_temp_dir("davit-store-test", &m->dir, NULL), 0);
	assert_int_equal(journal_key(dir, &key, NULL), 0);
	assert_int_equal(shared_journal_join(m->dir, str_peek(&key), &m->store), 0);
	assert_string_equal(store_id(m->store), store_id(store));
	assert_string_not_equal(store_place(m->store), store_place(store));
}

static void only_postgres(void)
{
	if (shared_journal_url() == NULL)
		skip();
}

static void a_machine_without_the_key_or_with_another_one_is_refused(void **state)
{
	(void)state;
	only_postgres();
	struct err err = ERR_INIT;
	char wrong[] = "0000000000000000000000000000000000000000000000000000000000000000";
	_cleanup_free_ char *other = fs_join(dir, "other");
	assert_int_equal(journal_use(other, shared_journal_url(), NULL, &err), ERR_AUTH);
	assert_int_equal(journal_use(other, shared_journal_url(), wrong, &err), ERR_AUTH);
	assert_int_equal(journal_use(other, shared_journal_url(), "abc", &err), ERR_INVALID);
	struct store *none = NULL;
	assert_int_equal(journal_open_readonly(other, &none, &err), ERR_NOT_FOUND);
}

static void a_deployment_of_a_living_process_is_nobody_elses(void **state)
{
	(void)state;
	only_postgres();
	struct machine m _cleanup_(machine_gone) = {0};
	struct err err = ERR_INIT;
	bool elsewhere = true;
	add_machine(&m);
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
	add("d", "p", "open");
	assert_int_equal(store_claim(m.store, "d", &elsewhere, &err), ERR_LOCKED);
	assert_int_equal(store_event_add(m.store, "d", 0, "x", NULL, &err), ERR_FENCED);
}

static void one_that_was_taken_over_is_not_written_by_its_former_owner(void **state)
{
	(void)state;
	only_postgres();
	struct machine m _cleanup_(machine_gone) = {0};
	struct err err = ERR_INIT;
	bool elsewhere = false;
	_cleanup_json_ json_t *members = json_pack("{s:s}", "state", "committed"), *doc = NULL;
	struct str out _cleanup_(str_done) = STR_INIT(1000);
	add_machine(&m);
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	add("d", "p", "open");
	assert_int_equal(store_seal(store, "d", "secret", 6, NULL), 0);
	/* Its process is gone: the server ends its session. */
	store_close(store);
	assert_int_equal(journal_open(dir, &store, NULL), 0);
	assert_int_equal(store_claim(m.store, "d", &elsewhere, NULL), 0);
	assert_true(elsewhere);
	assert_int_equal(store_take_over(m.store, "d", NULL), 0);
	assert_int_equal(store_deployment_set(store, "d", members, &err), ERR_FENCED);
	assert_int_equal(store_unlock(store, "d", &err), ERR_FENCED);
	assert_int_equal(store_seal_erase(store, "d", &err), ERR_FENCED);
	assert_int_equal(store_unseal(m.store, "d", &out, NULL), 0);
	assert_int_equal(store_deployment_set(m.store, "d", members, NULL), 0);
	assert_int_equal(store_deployment_get(store, "d", &doc, NULL), 0);
	assert_string_equal(json_get_string(doc, "state"), "committed");
	/* Decided: it needs no process any more, and belongs to all. The former owner is none of them as long as it takes it for its own. */
	assert_int_equal(store_claim(store, "d", &elsewhere, &err), ERR_LOCKED);
	store_release(m.store, "d");
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
}

/* In between, another machine took it over and ended it, and nobody owns it any more. */
static void one_that_another_machine_ended_is_not_written_by_a_process_that_was_cut_off(void **state)
{
	(void)state;
	only_postgres();
	struct err err = ERR_INIT;
	bool elsewhere = false;
	_cleanup_json_ json_t *members = json_pack("{s:s}", "state", "undoing");
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	add("d", "p", "open");
	/* It recovers another one meanwhile. */
	assert_int_equal(store_claim(store, "e", &elsewhere, NULL), 0);
	store_release(store, "e");
	in_postgres("UPDATE davit.deployment SET owner=NULL, state='undone'");
	assert_int_equal(store_deployment_set(store, "d", members, &err), ERR_FENCED);
	store_release(store, "d");
	assert_int_equal(store_deployment_set(store, "d", members, &err), 0);
}

/* Its process cleans what it decided, and lost its connection: nobody else begins with that unproven. */
static void what_is_decided_is_its_owners_until_it_is_cleaned(void **state)
{
	(void)state;
	only_postgres();
	struct machine m _cleanup_(machine_gone) = {0};
	struct err err = ERR_INIT;
	bool elsewhere = false;
	_cleanup_json_ json_t *decided = json_pack("{s:s}", "state", "undone"),
			      *cleaned = json_pack("{s:b}", "cleaned", 1);
	add_machine(&m);
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	add("d", "p", "undoing");
	assert_int_equal(store_deployment_set(store, "d", decided, NULL), 0);
	store_close(store);
	assert_int_equal(journal_open(dir, &store, NULL), 0);
	assert_int_equal(store_claim(m.store, "d", &elsewhere, NULL), 0);
	assert_true(elsewhere);
	store_release(m.store, "d");
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
	assert_int_equal(store_check_claim(store, "d", NULL), 0);
	assert_int_equal(store_deployment_set(store, "d", cleaned, NULL), 0);
	store_close(store);
	assert_int_equal(journal_open(dir, &store, NULL), 0);
	assert_int_equal(store_claim(m.store, "d", &elsewhere, NULL), 0);
	assert_false(elsewhere);
	assert_int_equal(store_check_claim(store, "d", &err), ERR_FENCED);
}

/* The server takes a connection that broke for living a while yet, and the lock of its session stays with it. */
static void a_process_that_connected_again_is_nobody_elses_once_its_lock_is_free(void **state)
{
	(void)state;
	only_postgres();
	struct machine m _cleanup_(machine_gone) = {0};
	struct err err = ERR_INIT;
	bool elsewhere = false;
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	add("d", "p", "open");
	PGconn *former = PQconnectdb(shared_journal_url());
	in_postgres("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name='davit'");
	PQclear(PQexec(former, "SELECT pg_advisory_lock(hashtextextended('d', 1))"));
	assert_int_equal(store_event_add(store, "d", 0, "x", NULL, NULL), 0);
	PQclear(PQexec(former, "SELECT pg_advisory_unlock(hashtextextended('d', 1))"));
	PQfinish(former);
	assert_int_equal(store_event_add(store, "d", 0, "x", NULL, NULL), 0);
	add_machine(&m);
	assert_int_equal(store_claim(m.store, "d", &elsewhere, &err), ERR_LOCKED);
}

/* It works as it did, and the next `journal use` adds what it lacks. */
static void a_journal_of_an_earlier_davit_is_written_and_made_whole(void **state)
{
	(void)state;
	only_postgres();
	_cleanup_json_ json_t *members = json_pack("{s:s}", "state", "open"), *events = NULL;
	in_postgres("ALTER TABLE davit.deployment DROP COLUMN written; DROP TABLE davit.plan");
	store_close(store);
	assert_int_equal(journal_open(dir, &store, NULL), 0);
	add("d", "p", "preparing");
	assert_int_equal(store_deployment_set(store, "d", members, NULL), 0);
	assert_int_equal(store_event_add(store, "d", 0, "x", NULL, NULL), 0);
	assert_int_equal(store_event_list(store, "d", &events, NULL), 0);
	assert_int_equal(json_array_size(events), 1);
	in_postgres("UPDATE davit.deployment SET owner=NULL");
	store_close(store);
	assert_int_equal(shared_journal_join(dir, NULL, &store), 0);
	in_postgres("SELECT written FROM davit.deployment; SELECT 1 FROM davit.plan");
}

static void a_machine_does_not_leave_what_it_owns(void **state)
{
	(void)state;
	only_postgres();
	struct err err = ERR_INIT;
	bool elsewhere = false;
	_cleanup_json_ json_t *members = json_pack("{s:s}", "state", "committed");
	assert_int_equal(store_claim(store, "d", &elsewhere, NULL), 0);
	add("d", "p", "open");
	assert_int_equal(journal_leave(dir, &err), ERR_CONFLICT);
	assert_int_equal(store_deployment_set(store, "d", members, NULL), 0);
	store_release(store, "d");
	assert_int_equal(journal_leave(dir, NULL), 0);
}

static void an_url_with_a_password_is_refused_and_not_told(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char line[1000];
	const char *const wrong[] = {"postgresql://me:s3cret@db.example/davit",
	                             "postgresql://db.example/davit?password=s3cret", "postgresql://me:s3cret@[db",
	                             "mysql://me:s3cret@db/x"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(journal_use(dir, wrong[i], NULL, &err), ERR_INVALID);
		assert_null(strstr(err_line(&err, line, sizeof(line)), "s3cret"));
	}
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
	(void)state;
	struct store *other = NULL;
	struct err err = ERR_INIT;
	char line[1000];
	if (shared_journal_url())
		in_postgres("UPDATE davit.meta SET value='7' WHERE key='format'");
	else
		set_format_of_sqlite();
	assert_int_equal(journal_open(dir, &other, &err), ERR_UNSUPPORTED);
	err_line(&err, line, sizeof(line));
	assert_non_null(strstr(line, "format 7"));
	assert_non_null(strstr(line, "up to 1"));
}

static void the_folder_is_closed_to_others_and_keeps_its_id(void **state)
{
	(void)state;
	struct stat st;
	struct store *again = NULL;
	_cleanup_free_ char *id = xstrdup(store_id(store));
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(strlen(id), 32);
	assert_int_equal(journal_open(dir, &again, NULL), 0);
	assert_string_equal(store_id(again), id);
	store_close(again);
}

static void where_there_is_no_journal_reading_says_so(void **state)
{
	(void)state;
	struct store *none = NULL;
	_cleanup_free_ char *empty = fs_join(dir, "empty");
	assert_int_equal(mkdir(empty, 0700), 0);
	assert_int_equal(store_open_readonly(empty, &none, NULL), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_environment_is_locked_by_one_deployment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_target_is_changed_by_a_committed_deployment_of_its_environment_only,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(undecided_is_what_recovery_must_look_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changes_get_ids_in_the_order_of_making_and_come_back_whole, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(what_another_store_recorded_keeps_its_ids_and_states, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_plan_is_kept_in_place_of_the_former_one_until_it_is_dropped, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_journal_that_is_only_read_is_not_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_claim_of_ones_own_is_good_until_it_is_released, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_row_comes_with_done_and_goes_with_undone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(steps_and_events_come_back_in_their_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(deployments_are_listed_newest_first_by_what_is_asked, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_target_is_found_behind_many_changes_of_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rows_are_listed_and_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_sealed_is_read_by_its_deployment_alone_until_it_is_erased,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_machine_without_the_key_or_with_another_one_is_refused, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_deployment_of_a_living_process_is_nobody_elses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_was_taken_over_is_not_written_by_its_former_owner, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_another_machine_ended_is_not_written_by_a_process_that_was_cut_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_decided_is_its_owners_until_it_is_cleaned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_process_that_connected_again_is_nobody_elses_once_its_lock_is_free,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_journal_of_an_earlier_davit_is_written_and_made_whole, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_machine_does_not_leave_what_it_owns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_url_with_a_password_is_refused_and_not_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_newer_format_is_refused_with_both_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_folder_is_closed_to_others_and_keeps_its_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_there_is_no_journal_reading_says_so, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
