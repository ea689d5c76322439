#include "unit/cmocka_all.h"
#include "agent/report/page_priv.h"
#include "agent/report/report.h"
#include "base/secret/mask.h"

#include <string.h>

static json_t *event(const char *kind, int64_t at, const char *check, bool ok, int64_t ms, const char *seen)
{
	return json_pack("{s:i, s:s, s:I, s:{s:s, s:b, s:I, s:s}}", "step", -1, "kind", kind, "at_ms", (json_int_t)at,
	                 "data", "check", check, "ok", ok, "ms", (json_int_t)ms, "seen", seen);
}

static json_t *report_of(const char *name, const char *state)
{
	return json_pack("{s:{s:s, s:s, s:s, s:s, s:I, s:I}, s:[{s:i, s:s, s:s, s:s, s:I, s:I}], s:[], s:[]}",
	                 "deployment", "id", "20260101T000000-aaaaaa", "name", name, "environment", "production",
	                 "state", state, "created_ms", (json_int_t)1000000, "decided_ms", (json_int_t)1010000, "steps",
	                 "index", 0, "step", "run", "name", name, "state", "done", "started_ms", (json_int_t)1001000,
	                 "ended_ms", (json_int_t)1004000, "changes", "events");
}

static size_t occurrences(const char *text, const char *of)
{
	size_t count = 0;
	for (const char *p = text; (p = strstr(p, of)) != NULL; p += strlen(of))
		count++;
	return count;
}

static void what_comes_from_outside_is_text_and_nothing_else(void **state)
{
	(void)state;
	const char *evil = "</title><script>alert(1)</script>\"' onload=x \xe2\x80\xae\x1b[2J & \xc2\x9b";
	json_t *report _cleanup_json_ = report_of(evil, "committed");
	json_object_set_new(json_object_get(report, "deployment"), "run_url", json_string("javascript:alert(1)"));
	json_object_set_new(json_object_get(report, "deployment"), "reason", json_string(evil));
	json_array_append_new(json_object_get(report, "events"), event("probe", 1002000, evil, true, 3, evil));
	json_array_append_new(json_object_get(report, "changes"),
	                      json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "step", 0, "action", evil, "target",
	                                evil, "path", evil, "state", evil, "note", evil, "after", "link", evil));
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(page);
	assert_null(strstr(page, "<script"));
	assert_null(strstr(page, "href=\"javascript"));
	assert_null(strstr(page, "\" onload"));
	assert_null(strchr(page, '\x1b'));
	assert_null(strstr(page, "\xe2\x80\xae"));
	assert_null(strstr(page, "\xc2\x9b"));
	assert_int_equal(occurrences(page, "</title>"), 1 + occurrences(page, "<circle") + occurrences(page, "<rect"));
}

static void a_secret_is_masked_before_a_text_is_cut(void **state)
{
	(void)state;
	const char *secret = "correct-horse-battery-staple-correct-horse";
	mask_add(mask_process(), secret, strlen(secret));
	json_t *report _cleanup_json_ = report_of("shop", "committed");
	char seen[300];
	snprintf(seen, sizeof(seen), "%0180d%s", 0, secret);
	json_array_append_new(json_object_get(report, "events"), event("probe", 1002000, seen, true, 3, seen));
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(page);
	assert_null(strstr(page, "correct-"));
}

static void a_page_needs_nothing_that_a_journal_may_lack(void **state)
{
	(void)state;
	json_t *report _cleanup_json_ = json_pack("{s:{s:s}}", "deployment", "state", "preparing");
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(page);
	assert_null(strstr(page, "<svg"));
	assert_non_null(strstr(page, "preparing"));
}

static void an_undo_has_a_bar_from_the_failure_to_the_decision(void **state)
{
	(void)state;
	json_t *report _cleanup_json_ = report_of("shop", "undone");
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(strstr(page, "taking back: undo, +4.0 s + 6.0 s"));
	json_t *good _cleanup_json_ = report_of("shop", "committed");
	_cleanup_free_ char *other = report_page(good);
	assert_null(strstr(other, "taking back"));
}

static void latencies_are_ranked_and_ten_thousand_probes_make_no_endless_page(void **state)
{
	(void)state;
	json_t *report _cleanup_json_ = report_of("shop", "committed");
	for (int i = 1; i <= 10000; i++)
		json_array_append_new(
			json_object_get(report, "events"),
			event("probe", 1000000 + i, i % 2 == 0 ? "even" : "odd", true, i, "answered 200"));
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(page);
	assert_in_range(occurrences(page, "<circle"), 1000, 2000);
	assert_non_null(strstr(page, "<td>5.0 s</td><td>9.5 s</td><td>10 s</td>"));
	assert_non_null(strstr(page, "5000 further events are not shown"));
	assert_in_range(strlen(page), 1, 3 << 20);
}

static void the_axis_has_round_ticks(void **state)
{
	(void)state;
	struct page_span span = {1000, 13000};
	assert_true(page_place(&span, 7000) > 0.49 && page_place(&span, 7000) < 0.51);
	assert_true(page_place(&span, 0) >= 0 && page_place(&span, 99999) <= 1);
	json_t *report _cleanup_json_ = report_of("shop", "committed");
	_cleanup_free_ char *page = report_page(report);
	assert_non_null(strstr(page, ">2.0 s</text>"));
	assert_non_null(strstr(page, ">10 s</text>"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_from_outside_is_text_and_nothing_else),
		cmocka_unit_test(a_secret_is_masked_before_a_text_is_cut),
		cmocka_unit_test(a_page_needs_nothing_that_a_journal_may_lack),
		cmocka_unit_test(an_undo_has_a_bar_from_the_failure_to_the_decision),
		cmocka_unit_test(latencies_are_ranked_and_ten_thousand_probes_make_no_endless_page),
		cmocka_unit_test(the_axis_has_round_ticks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
