#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/git/lfs_batch.h"
#include "base/git/lfs_login.h"

#include <string.h>

static const char otherwise[] = "https://git.example/o/r.git/info/lfs";

static int64_t at_ms(void *context)
{
	return *(int64_t *)context;
}

static void where_and_with_what_is_read(void **state)
{
	(void)state;
	static const struct {
		const char *text, *url, *shown, *header;
		size_t count;
	} cases[] = {
		{"{\"href\":\"https://lfs.example:8443/o/r.git/info/lfs/\",\"header\":{\"Authorization\":\"RemoteAuth x\"}}",
	         "https://lfs.example:8443/o/r.git/info/lfs", "https://lfs.example:8443", "Authorization: RemoteAuth x",
	         1},
		{"{\"href\":\"http://127.0.0.1:3000/x?y=z\"}", "http://127.0.0.1:3000/x?y=z", "http://127.0.0.1:3000",
	         NULL, 0},
		{"{\"header\":{\"Accept\":\"*/*\",\"content-type\":\"x\",\"Host\":\"evil\",\"X-A\":\"b\"}}", otherwise,
	         "https://git.example", "X-A: b", 1},
		{" {} \n", otherwise, "https://git.example", NULL, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lfs_login l _cleanup_(lfs_login_done) = {.url = NULL};
		struct err err = ERR_INIT;
		assert_int_equal(lfs_login_read(cases[i].text, strlen(cases[i].text), otherwise, &l, &err), 0);
		assert_string_equal(l.url, cases[i].url);
		assert_string_equal(l.shown, cases[i].shown);
		assert_int_equal(l.headers.count, cases[i].count);
		if (cases[i].count > 0)
			assert_string_equal(l.headers.items[0], cases[i].header);
	}
}

static void what_leads_elsewhere_is_refused_and_shows_no_secret(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"[]",
		"{\"href\":\"https://lfs.example/s3cret\"",
		"s3cret",
		"{\"href\":\"http://lfs.example/s3cret\"}",
		"{\"href\":\"http://127.0.0.1.example/s3cret\"}",
		"{\"href\":\"file:///s3cret\"}",
		"{\"href\":\"https://u:s3cret@lfs.example/\"}",
		"{\"href\":\"https://lfs.example/\\r\\nX-Evil: s3cret\"}",
		"{\"header\":{\"X-A\":\"s3cret\\r\\nX-Evil: 1\"}}",
		"{\"header\":{\"X-A: 1\\r\\nX-Evil\":\"s3cret\"}}",
		"{\"header\":{\"X-A\":[\"s3cret\"]}}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct lfs_login l _cleanup_(lfs_login_done) = {.url = xstrdup("before")};
		struct err err = ERR_INIT;
		char line[1024];
		assert_int_equal(lfs_login_read(texts[i], strlen(texts[i]), otherwise, &l, &err), ERR_PROTOCOL);
		assert_null(strstr(err_line(&err, line, sizeof(line)), "s3cret"));
		assert_string_equal(l.url, "before");
	}
	struct str many _cleanup_(str_done) = STR_INIT(4096);
	struct lfs_login l = {.url = NULL};
	str_append(&many, "{\"header\":{");
	for (int i = 0; i <= LFS_HEADERS_MAX; i++)
		str_appendf(&many, "%s\"X-%d\":\"y\"", i > 0 ? "," : "", i);
	str_append(&many, "}}");
	assert_int_equal(lfs_login_read(str_peek(&many), many.len, otherwise, &l, NULL), ERR_PROTOCOL);
}

static void it_is_asked_again_before_it_ends(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ends; /* from now, by the clock that only goes forward */
	} cases[] = {
		{"{\"expires_in\":600}", 600000},
		{"{\"expires_at\":\"2026-12-01T00:10:00Z\"}", 600000},
		{"{\"expires_at\":\"2020-01-01T00:00:00Z\",\"expires_in\":600}", 600000},
		{"{\"expires_at\":\"0001-01-01T00:00:00Z\",\"expires_in\":600}", 600000},
		{"{\"expires_in\":-1}", 0},
	};
	int64_t now;
	assert_int_equal(clock_parse_rfc3339("2026-12-01T00:00:00Z", &now), 0);
	struct clock_source fixed = {.mono_ms = at_ms, .wall_ms = at_ms, .context = &now};
	clock_set_source(&fixed);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lfs_login l _cleanup_(lfs_login_done) = {.url = NULL};
		assert_int_equal(lfs_login_read(cases[i].text, strlen(cases[i].text), otherwise, &l, NULL), 0);
		assert_in_range(now + cases[i].ends - l.until_ms, 1, 10000);
	}
	struct lfs_login l _cleanup_(lfs_login_done) = {.url = NULL};
	assert_int_equal(lfs_login_read("{}", 2, otherwise, &l, NULL), 0);
	assert_true(l.until_ms == INT64_MAX);
	clock_set_source(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_and_with_what_is_read),
		cmocka_unit_test(what_leads_elsewhere_is_refused_and_shows_no_secret),
		cmocka_unit_test(it_is_asked_again_before_it_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
