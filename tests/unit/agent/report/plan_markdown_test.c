#include "unit/cmocka_all.h"
#include "agent/report/report.h"
#include "base/secret/mask.h"
#include "harness/markdown.h"

#include <string.h>

enum { ROOM = 65000 };

static const struct report_plan plain = {.title = "Plan",
                                         .name = "shop",
                                         .environment = "production",
                                         .commit = "0123456789abcdef0123456789abcdef01234567",
                                         .digest = "ab54",
                                         .nothing = "Nothing to change.",
                                         .note = "A note."};

static json_t *change(const char *action, const char *path, const char *summary, json_t *before, json_t *after)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "action", action, "target", "web", "path", path, "summary",
	                 summary, "before", before, "after", after);
}

static json_t *update(const char *path)
{
	return change("update", path, "file", json_pack("{s:s, s:s}", "type", "file", "mode", "0600"),
	              json_pack("{s:s, s:s}", "type", "file", "mode", "0644"));
}

static json_t *plan_of(const char *name, json_t *changes)
{
	return json_pack("{s:[{s:s, s:s, s:s, s:o, s:[s]}], s:[]}", "plan", "name", name, "step", "apply",
	                 "description", name, "changes", changes, "warnings", name, "findings");
}

static char *shown(const struct report_plan *plan, json_t *report)
{
	char *text = report_plan_markdown(plan, report, ROOM);
	json_decref(report);
	assert_true(strlen(text) <= ROOM);
	if (!markdown_is_safe(text))
		fail_msg("not safe: %s", text);
	return text;
}

static const char *at(const char *text, const char *what)
{
	const char *found = strstr(text, what);
	if (found == NULL)
		fail_msg("no '%s' in: %s", what, text);
	return found;
}

static void counts_and_risky_changes_come_first_and_the_digest_last(void **state)
{
	(void)state;
	json_t *risky = update("lxc:db");
	json_object_set_new(risky, "extra", json_pack("{s:[s, s]}", "risk", "stateful", "protected"));
	json_t *changes =
		json_pack("[o, o, o, o]", update("/etc/a"),
	                  change("destroy", "lxc:old", "the lxc left the desired state",
	                         json_pack("{s:s}", "type", "guest"), json_pack("{s:s}", "type", "absent")),
	                  risky,
	                  change("create", "/etc/b", "file", json_pack("{s:s}", "type", "absent"),
	                         json_pack("{s:s, s:s}", "type", "file", "digest",
	                                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")));
	_cleanup_free_ char *text = shown(&plain, plan_of("apply", changes));
	const char *counts = at(text, "**4 changes**: **1 destroy**, 1 create, 2 update.");
	const char *first = at(text, "**Look at these first:**");
	const char *folded = at(text, "<details><summary>1. <code>apply</code>: 4 changes, 1 warning</summary>");
	assert_true(counts < first && first < at(text, "**destroy** `web` `lxc:old`") &&
	            at(text, "`lxc:old`") < folded);
	assert_true(at(text, "`lxc:db`: `file`, `stateful`, `protected`") < folded);
	assert_true(folded < at(text, "**update** `web` `/etc/a`") && at(text, "  - `mode`: `0600` → `0644`") > folded);
	at(text, "  - `digest`: nothing → `0123456789ab`");
	assert_string_equal(strrchr(text, 'P'), "Plan `ab54`\n");
	assert_true(at(text, "</details>") < at(text, "A note."));
}

static void what_others_named_means_nothing(void **state)
{
	(void)state;
	static const char *const hostile[] = {
		"@octocat closes #7",
		"</details><img src=x onerror=1>",
		"`` ` ``` \n\n# heading",
		"<!-- davit plan shop.production -->",
		"| a | b |\\|",
		"[x](https://evil.example) ![y](z)",
		"\xE2\x80\xAE\x1b[31m\r\n---\n- list",
		"&lt;script&gt; <code></code>",
		"",
		" ",
		"\\",
		"'\"",
	};
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		const char *bad = hostile[i];
		json_t *one = change("replace", bad, bad, json_pack("{s:s, s:s}", "type", bad, bad, bad),
		                     json_pack("{s:s, s:s, s:{s:s}}", "type", "file", "x", bad, bad, bad, bad));
		json_object_set_new(one, "target", json_string(bad));
		json_object_set_new(one, "action", json_string(i % 2 ? bad : "replace"));
		json_object_set_new(one, "extra", json_pack("{s:[s]}", "risk", bad));
		json_t *report = plan_of(bad, json_pack("[o]", one));
		json_array_append_new(json_object_get(report, "findings"),
		                      json_pack("{s:s, s:s, s:s, s:s, s:s}", "severity", bad, "target", bad, "at", bad,
		                                "text", bad, "hint", bad));
		struct report_plan plan = plain;
		plan.name = plan.environment = plan.reason = plan.commit = bad;
		_cleanup_free_ char *text = shown(&plan, report);
		assert_true(strncmp(text, "### Plan", strlen("### Plan")) == 0);
	}
}

static void secrets_are_covered_before_anything_is_cut_or_escaped(void **state)
{
	(void)state;
	static const char secret[] = "hunter2`hunter2|hunter2";
	mask_add(mask_process(), secret, strlen(secret));
	char path[800];
	memset(path, 'x', sizeof(path));
	/* It lies across the place where a path is cut. */
	memcpy(path + 290, secret, strlen(secret));
	path[sizeof(path) - 1] = '\0';
	json_t *changes = json_pack("[o, o]", update(path), update(secret));
	_cleanup_free_ char *text = shown(&plain, plan_of(secret, changes));
	assert_null(strstr(text, "hunter2"));
}

static void what_does_not_fit_is_counted(void **state)
{
	(void)state;
	json_t *changes = json_array();
	for (int i = 0; i < 5000; i++) {
		_cleanup_free_ char *path = xasprintf("/etc/%d/@everyone", i);
		json_array_append_new(changes, i % 2 ? update(path)
		                                     : change("destroy", path, "goes", json_object(), json_object()));
	}
	_cleanup_free_ char *text = shown(&plain, plan_of("big", changes));
	long more = strtol(at(text, "- and ") + strlen("- and "), NULL, 10);
	static const char left_out[] = "**Left out here for lack of room: ";
	at(text, "**5000 changes**: **2500 destroy**, 2500 update.");
	assert_true(more > 0 && more < 2500);
	const char *said = at(text, left_out) + strlen(left_out);
	size_t listed = 0;
	for (const char *p = at(text, "<details>"); (p = strstr(p, "\n- **")) != NULL; p++)
		listed++;
	/* One warning beside them. */
	assert_int_equal(strtol(said, NULL, 10) + (long)listed, 5001);
	assert_string_equal(strrchr(text, 'P'), "Plan `ab54`\n");
}

static void a_change_with_more_attributes_than_there_is_room_for_shows_what_fits(void **state)
{
	(void)state;
	json_t *after = json_object();
	char long_one[150];
	memset(long_one, 'v', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	for (int i = 0; i < 500; i++) {
		_cleanup_free_ char *name = xasprintf("attribute-%d-%s", i, long_one);
		json_object_set_new(after, name, json_string(long_one));
	}
	json_t *changes = json_pack("[o, o]", change("create", "/a", "many", json_object(), after), update("/b"));
	_cleanup_free_ char *text = shown(&plain, plan_of("apply", changes));
	at(text, "`attribute-0-");
	at(text, "`/a`");
	at(text, " attributes.** The job's log has all of them.");
	assert_string_equal(strrchr(text, 'P'), "Plan `ab54`\n");
}

static void a_plan_of_nothing_and_a_refused_one_say_so(void **state)
{
	(void)state;
	_cleanup_free_ char *nothing = shown(&plain, plan_of("apply", json_array()));
	at(nothing, "\nNothing to change.\n");
	struct report_plan plan = plain;
	plan.digest = NULL;
	plan.reason = "the disk is @full";
	_cleanup_free_ char *refused = shown(&plan, plan_of("apply", json_array()));
	at(refused, "**Refused:** `the disk is @full`");
	assert_null(strstr(refused, "Nothing to change"));
	assert_null(strstr(refused, "Plan `"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_and_risky_changes_come_first_and_the_digest_last),
		cmocka_unit_test(what_others_named_means_nothing),
		cmocka_unit_test(secrets_are_covered_before_anything_is_cut_or_escaped),
		cmocka_unit_test(what_does_not_fit_is_counted),
		cmocka_unit_test(a_change_with_more_attributes_than_there_is_room_for_shows_what_fits),
		cmocka_unit_test(a_plan_of_nothing_and_a_refused_one_say_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
