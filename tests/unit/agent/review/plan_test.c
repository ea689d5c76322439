/* Kept plans: found by what they are of and by nothing else, sealed, bounded in number and time; in files, or in the PostgreSQL whose URL is in
 * DAVIT_TEST_JOURNAL (journal_in_postgres.py starts one), where a second machine finds what the first one kept. */
#include "unit/cmocka_all.h"
#include "agent/review/plan.h"
#include "base/sys/fs.h"
#include "engine/journal/postgres/open.h"

#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD "0123456789abcdef0123456789abcdef01234567"
static const struct review_plan shop = {
	.repository = "acme/shop", .number = 7, .name = "shop", .environment = "production", .head = HEAD};

/* `finds` is another machine's where the journal is shared, else the same. */
static char *dirs[2];
static struct store *keeps, *finds;

static const char *url(void)
{
	return getenv("DAVIT_TEST_JOURNAL");
}

/* The first value of its answer; free() */
static char *in_postgres(const char *sql)
{
	PGconn *conn = PQconnectdb(url());
	PGresult *done = PQexec(conn, sql);
	if (PQresultStatus(done) == PGRES_FATAL_ERROR)
		fail_msg("%s: %s", sql, PQresultErrorMessage(done));
	char *first = xstrdup(PQntuples(done) > 0 ? PQgetvalue(done, 0, 0) : "");
	PQclear(done);
	PQfinish(conn);
	return first;
}

static void in_journal(const char *sql)
{
	free(in_postgres(sql));
}

static void join(const char *dir, const char *key, struct store **ret)
{
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	int r = journal_use(dir, url(), key, &err);
	if (r == 0)
		r = journal_open(dir, ret, &err);
	if (r < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
}

static int setup(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str key = STR_INIT(100);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(fs_make_temp_dir("davit-plans-", &dirs[i], NULL), 0);
	if (url() == NULL) {
		assert_int_equal(store_open(dirs[0], NULL, &keeps, NULL), 0);
		finds = keeps;
		return 0;
	}
	in_journal("SET client_min_messages TO warning; DROP SCHEMA IF EXISTS davit CASCADE");
	join(dirs[0], NULL, &keeps);
	assert_int_equal(journal_key(dirs[0], &key, NULL), 0);
	join(dirs[1], str_peek(&key), &finds);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (finds != keeps)
		store_close(finds);
	store_close(keeps);
	for (size_t i = 0; i < 2; i++) {
		fs_remove_tree(AT_FDCWD, dirs[i], NULL);
		free(dirs[i]);
	}
	return 0;
}

static void keep(const struct review_plan *plan, const char *digest)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *of = json_pack("{s:s}", "name", "a-name-to-look-for");
	char line[ERR_FRAME_SIZE];
	if (review_plan_keep(keeps, plan, digest, of, &err) < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
}

static int find(const struct review_plan *plan, json_t **ret)
{
	struct err err = ERR_INIT;
	json_t *kept = NULL;
	int r = review_plan_find(finds, plan, &kept, &err);
	if (ret != NULL)
		*ret = kept;
	else
		json_decref(kept);
	return r;
}

/* One of them in ret_one. */
static size_t files(char *ret_one)
{
	_cleanup_free_ char *place = fs_join(dirs[0], "plans");
	size_t count = 0;
	DIR *d = opendir(place);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			count++;
			if (ret_one != NULL)
				snprintf(ret_one, 512, "%s/%s", place, e->d_name);
		}
	if (d != NULL)
		closedir(d);
	return count;
}

static size_t kept_plans(void)
{
	if (url() == NULL)
		return files(NULL);
	_cleanup_free_ char *count = in_postgres("SELECT count(*) FROM davit.plan");
	assert_int_equal(files(NULL), 0);
	long long number = 0;
	assert_true(str_parse_i64(count, 0, INT64_MAX, &number));
	return (size_t)number;
}

static void only(bool shared)
{
	if ((url() != NULL) != shared)
		skip();
}

static void a_plan_is_found_by_all_that_it_is_of(void **state)
{
	(void)state;
	_cleanup_json_ json_t *kept = NULL;
	keep(&shop, "d1");
	assert_int_equal(find(&shop, &kept), 0);
	assert_string_equal(json_get_string(kept, "digest"), "d1");
	assert_string_equal(json_get_string(json_object_get(kept, "of"), "name"), "a-name-to-look-for");
	struct review_plan other = shop;
	other.repository = "evil/shop";
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
	other = shop;
	other.api_url = "https://github.example/api/v3";
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
	other = shop;
	other.number = 8;
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
	other = shop;
	other.environment = "staging";
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
	other = shop;
	other.head = "f123456789abcdef0123456789abcdef01234567";
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
}

static void a_newer_plan_takes_the_place_and_a_dropped_one_is_gone(void **state)
{
	(void)state;
	_cleanup_json_ json_t *kept = NULL;
	struct review_plan next = shop;
	next.head = "f123456789abcdef0123456789abcdef01234567";
	keep(&shop, "d1");
	keep(&next, "d2");
	assert_int_equal(kept_plans(), 1);
	assert_int_equal(find(&next, &kept), 0);
	assert_string_equal(json_get_string(kept, "digest"), "d2");
	assert_int_equal(review_plan_drop(finds, &next, NULL), 0);
	assert_int_equal(find(&next, NULL), ERR_REFUSED);
	assert_int_equal(review_plan_drop(finds, &next, NULL), 0);
}

static void what_lies_there_is_sealed_and_a_changed_or_moved_file_is_refused(void **state)
{
	(void)state;
	only(false);
	char one[512], two[512];
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	struct stat st;
	keep(&shop, "d1");
	assert_int_equal(files(one), 1);
	assert_int_equal(fs_read(AT_FDCWD, one, 1 << 20, &text, NULL), 0);
	assert_null(memmem(text.data, text.len, "a-name-to-look-for", strlen("a-name-to-look-for")));
	assert_null(memmem(text.data, text.len, "acme", strlen("acme")));
	assert_int_equal(stat(one, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	struct review_plan other = shop;
	other.number = 8;
	keep(&other, "d8");
	assert_int_equal(review_plan_drop(finds, &shop, NULL), 0);
	assert_int_equal(files(two), 1);
	assert_int_equal(rename(two, one), 0);
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
	text.data[text.len - 1] ^= 1;
	assert_int_equal(fs_write_replace(AT_FDCWD, one, text.data, text.len, 0600, NULL), 0);
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
}

static void the_oldest_of_a_repository_go_and_those_of_others_stay(void **state)
{
	(void)state;
	struct review_plan one = shop, other = shop;
	other.repository = "acme/other";
	keep(&other, "d");
	for (int i = 1; i <= 63; i++) {
		one.number = i;
		keep(&one, "d");
	}
	assert_int_equal(kept_plans(), 61);
	assert_int_equal(find(&other, NULL), 0);
	assert_int_equal(find(&one, NULL), 0);
}

/* Whoever can write to the database has neither the journal's key nor a way to give one plan out for another. */
static void what_the_journal_has_is_sealed_and_a_changed_moved_or_foreign_row_is_refused(void **state)
{
	(void)state;
	only(true);
	struct review_plan other = shop;
	other.number = 8;
	keep(&shop, "d1");
	_cleanup_free_ char *kept = in_postgres("SELECT data FROM davit.plan");
	assert_null(strstr(kept, "acme"));
	in_journal(
		"UPDATE davit.plan SET data = overlay(data PLACING CASE substr(data, 60, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM 60 FOR 1)");
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
	in_journal("UPDATE davit.plan SET data = '!'");
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
	keep(&shop, "d1");
	in_journal("DELETE FROM davit.plan");
	keep(&other, "d8");
	in_journal("UPDATE davit.plan SET name = (SELECT substr(name, 1, 17) || repeat('0', 32))");
	assert_int_equal(find(&other, NULL), ERR_REFUSED);
	keep(&other, "d8");
	keep(&shop, "d1");
	in_journal(
		"UPDATE davit.plan p SET data = (SELECT q.data FROM davit.plan q WHERE q.name <> p.name AND q.name NOT LIKE '%000000000000')"
		" WHERE p.name NOT LIKE '%000000000000'");
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
	assert_int_equal(find(&other, NULL), ERR_AUTH);
	/* Nor does what is sealed of a deployment open as a plan. */
	keep(&shop, "d1");
	_cleanup_free_ char *name = in_postgres("SELECT name FROM davit.plan ORDER BY made_ms DESC LIMIT 1");
	assert_int_equal(store_seal(keeps, name, "{}", 2, NULL), 0);
	in_journal("UPDATE davit.plan p SET data = s.data FROM davit.sealed s WHERE s.deployment = p.name");
	assert_int_equal(find(&shop, NULL), ERR_AUTH);
}

static void a_journal_of_an_earlier_program_says_what_it_lacks(void **state)
{
	(void)state;
	only(true);
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *of = json_object();
	in_journal("DROP TABLE davit.plan");
	assert_int_equal(review_plan_keep(keeps, &shop, "d1", of, &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.hint, "davit journal use"));
	assert_int_equal(journal_use(dirs[1], url(), NULL, NULL), 0);
	keep(&shop, "d1");
	assert_int_equal(find(&shop, NULL), 0);
}

static void make_old(void)
{
	char path[512];
	if (url() != NULL) {
		in_journal("UPDATE davit.plan SET made_ms = made_ms - 31::bigint * 24 * 3600 * 1000");
		return;
	}
	assert_int_equal(files(path), 1);
	const struct timespec old = {.tv_sec = time(NULL) - 31 * 24 * 3600};
	const struct timespec times[2] = {old, old};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void a_plan_whose_time_is_over_goes(void **state)
{
	(void)state;
	struct review_plan other = shop;
	keep(&shop, "d1");
	make_old();
	other.number = 8;
	keep(&other, "d8");
	assert_int_equal(kept_plans(), 1);
	assert_int_equal(find(&shop, NULL), ERR_REFUSED);
}

static void a_plan_that_is_too_large_is_kept_as_its_digest_alone(void **state)
{
	(void)state;
	_cleanup_free_ char *much = malloc((3 << 20) + 1);
	memset(much, 'x', 3 << 20);
	much[3 << 20] = '\0';
	_cleanup_json_ json_t *of = json_pack("{s:s}", "name", much), *kept = NULL;
	assert_int_equal(review_plan_keep(keeps, &shop, "d1", of, NULL), 0);
	assert_int_equal(find(&shop, &kept), 0);
	assert_null(json_object_get(kept, "of"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_plan_is_found_by_all_that_it_is_of),
		T(a_newer_plan_takes_the_place_and_a_dropped_one_is_gone),
		T(what_lies_there_is_sealed_and_a_changed_or_moved_file_is_refused),
		T(what_the_journal_has_is_sealed_and_a_changed_moved_or_foreign_row_is_refused),
		T(a_journal_of_an_earlier_program_says_what_it_lacks),
		T(the_oldest_of_a_repository_go_and_those_of_others_stay),
		T(a_plan_whose_time_is_over_goes),
		T(a_plan_that_is_too_large_is_kept_as_its_digest_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
