/* What GitHub's REST answers: what is kept of it, when nothing may be asked any more, and what a failure is. */
#include "unit/cmocka_all.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/api_priv.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

struct world {
	char *dir, *token_file;
	struct http *http;
	struct api *api;
};

static char *write_file(const struct world *w, const char *name, const char *text, mode_t mode)
{
	char *path = fs_join(w->dir, name);
	assert_int_equal(fs_write_atomic(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
	return path;
}

static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	unsetenv("GITHUB_TOKEN");
	assert_int_equal(fs_make_temp_dir("davit-api-", &w->dir, NULL), 0);
	w->token_file = write_file(w, "token", "a-token\nmore", 0600);
	w->http = http_new(NULL, NULL);
	const struct api_access access = {.token_file = w->token_file};
	assert_int_equal(api_open(w->http, "https://api.invalid", &access, &w->api, NULL), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	api_free(w->api);
	http_free(w->http);
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w->token_file);
	free(w);
	return 0;
}

/* headers: lines, each ended by \n. */
static int answer(struct world *w, const char *path, int status, const char *headers, const char *body,
                  struct api_answer *ret, struct err *err)
{
	struct http_response response = {.status = status, .body = STR_INIT(1 << 20)};
	str_append(&response.body, body);
	for (const char *line = headers; *line != '\0'; line += strcspn(line, "\n") + 1)
		strv_add_take(&response.headers, xstrndup(line, strcspn(line, "\n")));
	*ret = (struct api_answer){0};
	int r = api_read(w->api, path, &response, "GET /x", ret, err);
	http_response_done(&response);
	return r;
}

static void what_did_not_change_is_the_body_of_before(void **state)
{
	struct api_answer a, again;
	struct err err = ERR_INIT;
	assert_int_equal(answer(*state, "/x", 200, "ETag: \"1\"\nLink: <https://api.invalid/x?page=2>; rel=\"next\"\n",
	                        "[1]", &a, NULL),
	                 0);
	assert_true(a.more && !a.unchanged);
	assert_int_equal(answer(*state, "/x", 304, "", "", &again, NULL), 0);
	assert_true(again.unchanged && again.more && again.status == 200);
	assert_true(json_equal(a.body, again.body));
	api_answer_done(&a);
	api_answer_done(&again);
	/* Of another path nothing is known. */
	assert_int_equal(answer(*state, "/y", 304, "", "", &a, &err), ERR_PROTOCOL);
}

static void only_the_last_answers_are_kept(void **state)
{
	struct api_answer a;
	struct err err = ERR_INIT;
	char path[32];
	for (int i = 0; i <= 256; i++) {
		(void)snprintf(path, sizeof(path), "/%d", i);
		assert_int_equal(answer(*state, path, 200, "ETag: \"1\"\n", "[]", &a, NULL), 0);
		api_answer_done(&a);
	}
	assert_int_equal(answer(*state, "/256", 304, "", "", &a, NULL), 0);
	api_answer_done(&a);
	assert_int_equal(answer(*state, "/1", 304, "", "", &a, NULL), 0);
	api_answer_done(&a);
	assert_true(answer(*state, "/0", 304, "", "", &a, &err) < 0);
}

static void a_failure_has_its_kind_and_its_status(void **state)
{
	static const struct {
		int status, code;
		const char *headers, *body;
	} rows[] = {{401, ERR_AUTH, "", "{\"message\": \"Bad credentials\"}"},
	            {403, ERR_AUTH, "", "{\"message\": \"Resource not accessible by integration\"}"},
	            {404, ERR_NOT_FOUND, "", "{}"},
	            {410, ERR_NOT_FOUND, "", ""},
	            {408, ERR_NETWORK, "", ""},
	            {422, ERR_INVALID, "", "{\"message\": \"Validation Failed\"}"},
	            {500, ERR_NETWORK, "", "<html>"},
	            {503, ERR_NETWORK, "", ""}};
	struct world *w = *state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct api_answer a;
		struct err err = ERR_INIT;
		assert_int_equal(answer(w, NULL, rows[i].status, rows[i].headers, rows[i].body, &a, &err),
		                 rows[i].code);
		assert_int_equal(err.foreign, rows[i].status);
		assert_null(a.body);
		assert_int_equal(api_pause_ms(w->api), 0);
	}
}

static void assert_pause(struct world *w, int64_t from_ms, int64_t to_ms)
{
	int64_t pause = api_pause_ms(w->api);
	assert_true(pause > from_ms && pause <= to_ms);
}

static void a_limit_with_a_time_is_later_and_no_error_of_rights(void **state)
{
	struct api_answer a;
	struct err err = ERR_INIT;
	assert_int_equal(
		answer(*state, NULL, 403, "Retry-After: 120\n", "{\"message\": \"secondary rate limit\"}", &a, &err),
		ERR_NETWORK);
	assert_pause(*state, 110000, 120000);
}

static void none_left_pauses_until_the_reset_by_the_services_own_clock(void **state)
{
	struct api_answer a;
	/* Ours may be wrong by years. */
	assert_int_equal(
		answer(*state, NULL, 200,
	               "Date: Thu, 01 Jan 2015 00:00:00 GMT\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1420070460\n",
	               "[]", &a, NULL),
		0);
	api_answer_done(&a);
	assert_pause(*state, 55000, 61000);
}

static void a_time_far_away_is_cut(void **state)
{
	struct api_answer a;
	struct err err = ERR_INIT;
	assert_true(answer(*state, NULL, 429, "Retry-After: 99999999999\n", "", &a, &err) < 0);
	assert_pause(*state, 7100 * 1000, 7200 * 1000);
}

static void a_limit_without_a_time_doubles_the_pause_each_time(void **state)
{
	struct api_answer a;
	struct err err = ERR_INIT;
	assert_int_equal(
		answer(*state, NULL, 403, "", "{\"message\": \"You have triggered an abuse detection\"}", &a, &err),
		ERR_NETWORK);
	assert_pause(*state, 55000, 60000);
	assert_int_equal(answer(*state, NULL, 429, "", "", &a, &err), ERR_NETWORK);
	assert_pause(*state, 115000, 120000);
}

static void the_interval_of_polls_is_told_within_reason(void **state)
{
	struct api_answer a;
	assert_int_equal(answer(*state, NULL, 200, "X-Poll-Interval: 60\n", "[]", &a, NULL), 0);
	assert_int_equal(a.pause_ms, 60000);
	api_answer_done(&a);
	assert_int_equal(answer(*state, NULL, 200, "X-Poll-Interval: 86400\n", "[]", &a, NULL), 0);
	assert_int_equal(a.pause_ms, 3600000);
	api_answer_done(&a);
	assert_int_equal(answer(*state, NULL, 200, "X-Poll-Interval: -1\n", "no JSON", &a, NULL), 0);
	assert_int_equal(a.pause_ms, 0);
	assert_null(a.body);
}

static void a_wrong_date_leaves_our_own_clock(void **state)
{
	struct api_answer a;
	char headers[128];
	(void)snprintf(headers, sizeof(headers),
	               "Date: Mon, 99 Fxb 2026\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: %lld\n",
	               (long long)clock_wall_ms() / 1000 + 60);
	assert_int_equal(answer(*state, NULL, 200, headers, "[]", &a, NULL), 0);
	api_answer_done(&a);
	assert_pause(*state, 55000, 62000);
}

static void assert_refused(struct world *w, struct api_access access, const char *says)
{
	struct err err = ERR_INIT;
	struct api *api = NULL;
	char line[ERR_FRAME_SIZE];
	assert_true(api_open(w->http, "https://api.invalid", &access, &api, &err) < 0);
	assert_null(api);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), says));
}

static void a_token_of_everybody_and_half_an_app_are_refused(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *open = write_file(w, "open", "t", 0644), *empty = write_file(w, "empty", "", 0600),
			    *blank = write_file(w, "blank", " \n", 0600), *key = write_file(w, "key", "no PEM", 0600);
	assert_refused(w, (struct api_access){.token_file = open}, "can be read by others");
	assert_refused(w, (struct api_access){.token_file = empty}, "is empty");
	assert_refused(w, (struct api_access){.token_file = blank}, "is empty");
	assert_refused(w, (struct api_access){.token_file = w->dir}, "can be read by others");
	assert_refused(w, (struct api_access){0}, "there is no token");
	assert_refused(w, (struct api_access){.app_id = "1"}, "belong together");
	assert_refused(w, (struct api_access){.app_id = "1", .app_key = open}, "can be read by others");
	assert_refused(w, (struct api_access){.app_id = "1", .app_key = key, .token_file = w->token_file},
	               "exclude each other");
}

static void the_token_is_the_first_word_of_its_file_or_of_the_environment(void **state)
{
	struct world *w = *state;
	struct access *a = NULL;
	const char *header = NULL;
	const struct api_access file = {.token_file = w->token_file}, none = {0};
	assert_int_equal(access_new(w->http, "https://api.invalid", &file, &a, NULL), 0);
	assert_int_equal(access_header(a, "/repos/a/b", NULL, &header, NULL), 0);
	assert_string_equal(header, "Authorization: Bearer a-token");
	assert_false(access_refused(a, "/repos/a/b"));
	access_free(a);
	setenv("GITHUB_TOKEN", "of-the-environment", 1);
	assert_int_equal(access_new(w->http, "https://api.invalid", &none, &a, NULL), 0);
	assert_int_equal(access_header(a, "/user/repos", NULL, &header, NULL), 0);
	assert_string_equal(header, "Authorization: Bearer of-the-environment");
	access_free(a);
	unsetenv("GITHUB_TOKEN");
}

static void an_app_is_not_asked_for_where_no_owner_is_named(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *key = write_file(w, "key", "no PEM", 0600);
	static const char *const rights[] = {"actions", "read", NULL};
	const struct api_access app = {.app_id = "1", .app_key = key, .rights = rights};
	struct access *a = NULL;
	const char *header = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(access_new(w->http, "https://api.invalid", &app, &a, NULL), 0);
	assert_true(access_is_app(a));
	assert_int_equal(access_header(a, "/installation/repositories", NULL, &header, &err), ERR_INVALID);
	assert_int_equal(access_header(a, "/repos/alone", NULL, &header, &err), ERR_INVALID);
	err_clear(&err);
	assert_true(access_header(a, "/repos/a/b/actions/runs", NULL, &header, &err) < 0);
	char line[ERR_FRAME_SIZE];
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "the App's private key"));
	access_free(a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_did_not_change_is_the_body_of_before),
		TEST(only_the_last_answers_are_kept),
		TEST(a_failure_has_its_kind_and_its_status),
		TEST(a_limit_with_a_time_is_later_and_no_error_of_rights),
		TEST(none_left_pauses_until_the_reset_by_the_services_own_clock),
		TEST(a_time_far_away_is_cut),
		TEST(a_limit_without_a_time_doubles_the_pause_each_time),
		TEST(the_interval_of_polls_is_told_within_reason),
		TEST(a_wrong_date_leaves_our_own_clock),
		TEST(a_token_of_everybody_and_half_an_app_are_refused),
		TEST(the_token_is_the_first_word_of_its_file_or_of_the_environment),
		TEST(an_app_is_not_asked_for_where_no_owner_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
