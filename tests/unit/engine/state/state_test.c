/* What every place of a state keeps to: the journal in SQLite, the journal in PostgreSQL (its URL in DAVIT_TEST_JOURNAL), a bucket or an HTTP address (the
 * target's entry as JSON in DAVIT_TEST_STATE, with % for a name that each test has of its own). integration/state_places.py starts the servers. */
#include "unit/cmocka_all.h"
#include "base/core/rand.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "engine/journal/postgres/open.h"
#include "engine/journal/store.h"
#include "engine/state/holder.h"
#include "engine/state/state.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <sqlite3.h>

struct world {
	char *dir;
	char environment[17];
	char *scope;
	struct store *store;
	struct target *target; /* NULL: the journal */
	struct keeper keeper;
	json_t *mine, *theirs; /* two deployments' locks */
	struct err err;
};

static void tell(const struct err *err)
{
	char line[1000];
	fail_msg("%s", err_line(err, line, sizeof(line)));
}

static json_t *deployment(struct world *w, const char *id)
{
	_cleanup_json_ json_t *doc = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", "shop", "environment",
	                                       w->environment, "state", "preparing");
	if (store_deployment_add(w->store, doc, &w->err) < 0)
		tell(&w->err);
	return state_holder_make(w->store, doc);
}

static int open_journal(struct world *w)
{
	const char *url = getenv("DAVIT_TEST_JOURNAL");
	if (url == NULL)
		return store_open(w->dir, NULL, &w->store, &w->err);
	int r = journal_use(w->dir, url, getenv("DAVIT_TEST_KEY"), &w->err);
	return r < 0 ? r : journal_open(w->dir, &w->store, &w->err);
}

static int open_target(struct world *w)
{
	const char *text = getenv("DAVIT_TEST_STATE"), *mark = text != NULL ? strchr(text, '%') : NULL;
	json_t *config _cleanup_json_ = NULL;
	if (text == NULL)
		return 0;
	_cleanup_free_ char *own = mark != NULL
	                                   ? xasprintf("%.*s%s%s", (int)(mark - text), text, w->environment, mark + 1)
	                                   : xstrdup(text);
	int r = json_parse(own, strlen(own), 4096, &config, &w->err);
	if (r == 0)
		r = target_config_use(target_kinds, "shared", config, target_config_make, &w->target, &w->err);
	if (r == 0)
		r = target_open(&w->target->view, &w->err);
	return r;
}

static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	rand_hex(w->environment, 16);
	w->scope = xasprintf("shop.%s", w->environment);
	if (fs_make_temp_dir("davit-state-test", &w->dir, &w->err) < 0 || open_journal(w) < 0 || open_target(w) < 0)
		tell(&w->err);
	w->keeper = (struct keeper){.type = w->target != NULL ? w->target->view.kind->keeper : &state_journal,
	                            .of = w->target != NULL ? (void *)&w->target->view : w->store,
	                            .name = w->scope,
	                            .dir = w->dir};
	_cleanup_free_ char *mine = xasprintf("mine-%s", w->environment),
			    *theirs = xasprintf("theirs-%s", w->environment);
	w->mine = deployment(w, mine);
	w->theirs = deployment(w, theirs);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	struct err ignored = ERR_INIT;
	w->keeper.type->unlock(&w->keeper, w->mine, &ignored);
	w->keeper.type->unlock(&w->keeper, w->theirs, &ignored);
	json_decref(w->mine);
	json_decref(w->theirs);
	target_free(w->target);
	store_close(w->store);
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w->scope);
	free(w);
	return 0;
}

static void lock(struct world *w)
{
	_cleanup_json_ json_t *holder = NULL;
	if (w->keeper.type->lock(&w->keeper, w->mine, &holder, &w->err) < 0)
		tell(&w->err);
}

static json_t *rows_of(const char *digest)
{
	return json_pack("{s:{s:{s:s, s:s}}}", "web", "file:/etc/x", "type", "file", "digest", digest);
}

static void write_rows(struct world *w, struct state_head *head, const char *digest)
{
	_cleanup_json_ json_t *rows = rows_of(digest);
	if (state_write(&w->keeper, head, rows, "d1", w->mine, &w->err) < 0)
		tell(&w->err);
}

static void read_head(struct world *w, struct state_head *head)
{
	if (state_read(&w->keeper, head, &w->err) < 0)
		tell(&w->err);
}

static void none_is_a_state_of_no_rows(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0};
	read_head(w, &head);
	assert_null(head.document.rows);
	assert_string_equal(head.tag, "");
	assert_string_equal(head.document.lineage, "");
}

static void what_is_written_is_read_again_with_the_next_serial_and_the_same_lineage(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0}, again = {0};
	_cleanup_json_ json_t *second = rows_of("two");
	lock(w);
	read_head(w, &head);
	write_rows(w, &head, "one");
	assert_int_equal(head.document.serial, 1);
	write_rows(w, &head, "two");
	read_head(w, &again);
	assert_int_equal(again.document.serial, 2);
	assert_string_equal(again.document.lineage, head.document.lineage);
	assert_string_equal(again.document.deployment, "d1");
	assert_true(json_equal(again.document.rows, second));
	assert_string_equal(again.tag, head.tag);
}

static void nobody_writes_over_what_they_did_not_read(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0}, old = {0}, none = {0}, now = {0};
	_cleanup_json_ json_t *rows = rows_of("three"), *second = rows_of("two");
	lock(w);
	read_head(w, &head);
	write_rows(w, &head, "one");
	read_head(w, &old);
	write_rows(w, &head, "two");
	assert_int_equal(state_write(&w->keeper, &old, rows, "d2", w->mine, &w->err), ERR_CONFLICT);
	err_clear(&w->err);
	assert_int_equal(state_write(&w->keeper, &none, rows, "d2", w->mine, &w->err), ERR_CONFLICT);
	err_clear(&w->err);
	read_head(w, &now);
	assert_true(json_equal(now.document.rows, second));
}

static void the_lock_has_one_holder_who_is_named_to_others(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *holder = NULL, *none = NULL;
	_cleanup_(state_holder_done) struct state_holder h = {0};
	lock(w);
	lock(w);
	assert_int_equal(w->keeper.type->lock(&w->keeper, w->theirs, &holder, &w->err), ERR_LOCKED);
	err_clear(&w->err);
	state_holder_read(holder, &h);
	assert_string_equal(h.id, json_get_string(w->mine, "ID"));
	assert_non_null(strstr(h.deployment, "mine-"));
	assert_string_equal(h.store_id, store_id(w->store));
	assert_int_equal(w->keeper.type->unlock(&w->keeper, w->theirs, &w->err), ERR_FENCED);
	err_clear(&w->err);
	assert_int_equal(w->keeper.type->unlock(&w->keeper, w->mine, &w->err), 0);
	assert_int_equal(w->keeper.type->unlock(&w->keeper, w->mine, &w->err), 0);
	assert_int_equal(w->keeper.type->lock(&w->keeper, w->theirs, &none, &w->err), 0);
}

static void a_lock_that_was_taken_away_is_noticed_by_its_renewal(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *none = NULL, *seen = NULL, *later = NULL;
	if (w->keeper.type->renew == NULL)
		return;
	lock(w);
	w->keeper.type->lock(&w->keeper, w->theirs, &seen, &w->err);
	state_holder_renew(w->mine, 1);
	err_clear(&w->err);
	if (w->keeper.type->renew(&w->keeper, w->mine, &w->err) < 0)
		tell(&w->err);
	w->keeper.type->lock(&w->keeper, w->theirs, &later, &w->err);
	assert_false(json_equal(seen, later));
	assert_int_equal(w->keeper.type->unlock(&w->keeper, w->mine, &w->err), 0);
	assert_int_equal(w->keeper.type->renew(&w->keeper, w->mine, &w->err), ERR_FENCED);
	assert_int_equal(w->keeper.type->lock(&w->keeper, w->theirs, &none, &w->err), 0);
	assert_int_equal(w->keeper.type->renew(&w->keeper, w->mine, &w->err), ERR_FENCED);
	err_clear(&w->err);
}

static void the_newest_versions_are_kept_and_the_rest_goes(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0};
	_cleanup_json_ json_t *versions = NULL;
	lock(w);
	read_head(w, &head);
	for (int i = 0; i < STATE_KEPT + 2; i++) {
		_cleanup_free_ char *digest = xasprintf("v%d", i + 1);
		write_rows(w, &head, digest);
	}
	assert_int_equal(state_versions(&w->keeper, &head, &versions, &w->err), 0);
	assert_int_equal(json_array_size(versions), STATE_KEPT);
	assert_int_equal(json_get_int(json_array_get(versions, 0), "serial", 0), STATE_KEPT + 2);
	assert_true(json_get_bool(json_array_get(versions, 0), "current", false));
	assert_int_equal(json_get_int(json_array_get(versions, STATE_KEPT - 1), "serial", 0), 3);
	assert_false(json_get_bool(json_array_get(versions, 1), "current", true));
}

static void a_former_version_comes_back_as_the_next_one(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0}, now = {0};
	_cleanup_json_ json_t *first = rows_of("one");
	int64_t made = 0;
	lock(w);
	read_head(w, &head);
	write_rows(w, &head, "one");
	write_rows(w, &head, "two");
	if (state_restore(&w->keeper, 1, w->mine, &made, &w->err) < 0)
		tell(&w->err);
	assert_int_equal(made, 3);
	read_head(w, &now);
	assert_int_equal(now.document.serial, 3);
	assert_true(json_equal(now.document.rows, first));
	assert_int_equal(state_restore(&w->keeper, 77, w->mine, &made, &w->err), ERR_NOT_FOUND);
	err_clear(&w->err);
}

static void a_state_of_ten_thousand_resources_is_read_whole(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0}, now = {0};
	_cleanup_json_ json_t *rows = json_object(), *web = json_object();
	for (int i = 0; i < 10000; i++) {
		_cleanup_free_ char *key = xasprintf("file:/srv/site/%05d.html", i);
		json_object_set_new(web, key,
		                    json_pack("{s:s, s:s, s:s}", "type", "file", "set", "site.yml", "digest",
		                              "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"));
	}
	json_object_set(rows, "web", web);
	lock(w);
	read_head(w, &head);
	if (state_write(&w->keeper, &head, rows, "d1", w->mine, &w->err) < 0)
		tell(&w->err);
	read_head(w, &now);
	assert_int_equal(state_document_count(&now.document), 10000);
	assert_true(json_equal(now.document.rows, rows));
}

/* ---- the document itself, and the journal's own rows: once, in the ordinary run ---- */

static struct state_document some_document(void)
{
	struct state_document d = {.serial = 4, .written_ms = 1, .deployment = xstrdup("d"), .rows = rows_of("x")};
	memset(d.lineage, 'a', STATE_LINEAGE - 1);
	return d;
}

static int read_text(const char *text, struct err *err)
{
	_cleanup_(state_document_done) struct state_document d = {0};
	err_clear(err);
	return state_document_read(text, strlen(text), "shop.production", &d, err);
}

static void each_kind_of_damage_is_told_from_what_is_not_davits(void **state)
{
	(void)state;
	_cleanup_(state_document_done) struct state_document d = some_document();
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX);
	struct err err = ERR_INIT;
	char line[1000];
	assert_int_equal(state_document_text(&d, "shop.production", &text, &err), 0);
	assert_int_equal(read_text(str_peek(&text), &err), 0);
	_cleanup_free_ char *cut = xstrndup(str_peek(&text), text.len / 2), *other = xstrdup(str_peek(&text));
	*strstr(other, "\"x\"") = '"';
	other[strstr(other, "\"digest\":\"x") - other + 10] = 'y';
	assert_int_equal(read_text(cut, &err), ERR_PROTOCOL);
	assert_int_equal(read_text(other, &err), ERR_PROTOCOL);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "digest"));
	assert_int_equal(read_text("", &err), ERR_PROTOCOL);
	assert_int_equal(read_text("[]", &err), ERR_PROTOCOL);
	assert_int_equal(read_text("{\"version\":4,\"terraform_version\":\"1.11.4\",\"serial\":1}", &err), ERR_INVALID);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "terraform's"));
	assert_int_equal(read_text("{\"version\":2,\"davit\":\"9\\u001b[31m\",\"name\":\"shop.production\"}", &err),
	                 ERR_UNSUPPORTED);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "version 2"));
	assert_null(strchr(err_line(&err, line, sizeof(line)), 0x1b));
	assert_int_equal(read_text("{\"version\":1,\"davit\":\"1\",\"name\":\"shop.staging\"}", &err), ERR_INVALID);
}

static void a_service_may_lay_a_document_out_anew(void **state)
{
	(void)state;
	_cleanup_(state_document_done) struct state_document d = some_document();
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX);
	_cleanup_json_ json_t *o = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(state_document_text(&d, "shop.production", &text, &err), 0);
	assert_int_equal(json_parse(str_peek(&text), text.len, STATE_MAX, &o, &err), 0);
	_cleanup_free_ char *pretty = json_pretty(o);
	assert_int_equal(read_text(pretty, &err), 0);
}

static void a_holder_cannot_write_on_the_terminal(void **state)
{
	(void)state;
	static const char *const hostile[] = {
		"{\"ID\":\"a b\",\"Who\":\"x\\u001b]0;owned\\u0007\",\"Created\":\"\\u202enow\",\"Info\":\"{}\"}",
		"{\"ID\":\"\\u001b[2J\",\"Who\":7,\"Info\":\"{\\\"deployment\\\":\\\"../../x\\\",\\\"store_id\\\":\\\"\\\\u001b\\\"}\"}",
		"{\"ID\":[],\"Info\":{}}", "{}"};
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		_cleanup_json_ json_t *o = NULL;
		_cleanup_(state_holder_done) struct state_holder h = {0};
		assert_int_equal(json_parse(hostile[i], strlen(hostile[i]), 4096, &o, NULL), 0);
		state_holder_read(o, &h);
		_cleanup_free_ char *text = state_holder_describe(&h);
		assert_null(strchr(text, 0x1b));
		assert_null(strchr(text, 0x07));
		assert_null(strstr(text, "\xe2\x80\xae"));
		assert_string_equal(h.deployment, "");
		assert_string_equal(h.id, "");
	}
}

static void a_row_of_the_journal_that_is_no_json_offers_the_last_good_version(void **state)
{
	struct world *w = *state;
	_cleanup_(state_head_done) struct state_head head = {0}, now = {0};
	_cleanup_json_ json_t *first = rows_of("one");
	int64_t made = 0;
	if (w->target != NULL || getenv("DAVIT_TEST_JOURNAL") != NULL)
		return;
	lock(w);
	read_head(w, &head);
	write_rows(w, &head, "one");
	_cleanup_free_ char *path = fs_join(w->dir, "journal.db");
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE state SET row='{\"type\":\"fi' WHERE target='web'", NULL, NULL, NULL),
	                 SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(state_read(&w->keeper, &now, &w->err), ERR_PROTOCOL);
	assert_non_null(strstr(w->err.hint, "--restore 1"));
	err_clear(&w->err);
	if (state_restore(&w->keeper, 1, w->mine, &made, &w->err) < 0)
		tell(&w->err);
	read_head(w, &now);
	assert_true(json_equal(now.document.rows, first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(none_is_a_state_of_no_rows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_written_is_read_again_with_the_next_serial_and_the_same_lineage,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_writes_over_what_they_did_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_lock_has_one_holder_who_is_named_to_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lock_that_was_taken_away_is_noticed_by_its_renewal, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_newest_versions_are_kept_and_the_rest_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_former_version_comes_back_as_the_next_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_of_ten_thousand_resources_is_read_whole, set_up, tear_down),
		cmocka_unit_test(each_kind_of_damage_is_told_from_what_is_not_davits),
		cmocka_unit_test(a_service_may_lay_a_document_out_anew),
		cmocka_unit_test(a_holder_cannot_write_on_the_terminal),
		cmocka_unit_test_setup_teardown(a_row_of_the_journal_that_is_no_json_offers_the_last_good_version,
	                                        set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
