#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/terraform/plan.h"

static void read(const char *text, struct terraform_plan *ret)
{
	_cleanup_json_ json_t *doc = json_loads(text, 0, NULL);
	assert_non_null(doc);
	assert_int_equal(terraform_plan_read(doc, ret, NULL), 0);
}

static const char *after(const struct terraform_row *row, const char *attribute)
{
	const char *text = json_get_string(row->after, attribute);
	return text != NULL ? text : "";
}

static void each_attribute_that_differs_is_told_and_no_value_that_is_sensitive(void **state)
{
	struct terraform_plan p;
	(void)state;
	read("{\"format_version\":\"1.2\",\"terraform_version\":\"1.11.4\",\"resource_changes\":[{\"address\":\"x.a\",\"change\":{"
	     "\"actions\":[\"delete\",\"create\"],\"before\":{\"size\":1,\"same\":[1],\"tags\":{\"a\":\"x\",\"b\":\"y\"},\"key\":\"old-secret\","
	     "\"list\":[\"in-a-list\"]},\"after\":{\"size\":2,\"same\":[1],\"tags\":{\"a\":\"x\"},\"key\":\"new-secret\",\"list\":[\"in-b-list\"]},"
	     "\"after_unknown\":{\"id\":true},\"before_sensitive\":{\"key\":true},\"after_sensitive\":{\"key\":true,\"list\":[true]},"
	     "\"replace_paths\":[[\"size\"],[\"disk\",0,\"type\"]]}}]}",
	     &p);
	assert_int_equal(p.count, 1);
	const struct terraform_row *row = &p.rows[0];
	assert_int_equal(row->action, TERRAFORM_REPLACE);
	assert_string_equal(row->forced, "size, disk[0].type");
	assert_string_equal(json_get_string(row->before, "size"), "1");
	assert_string_equal(after(row, "size"), "2");
	assert_string_equal(after(row, "tags.b"), "(gone)");
	assert_string_equal(after(row, "id"), "(known after apply)");
	assert_string_equal(after(row, "key"), "(sensitive, another value)");
	assert_null(json_object_get(row->after, "same"));
	_cleanup_free_ char *all = json_text(row->after), *was = json_text(row->before);
	assert_null(strstr(all, "secret"));
	assert_null(strstr(was, "secret"));
	assert_null(strstr(all, "in-b-list"));
	assert_null(strstr(was, "in-a-list"));
	terraform_plan_done(&p);
}

static void what_is_sensitive_as_a_whole_is_not_shown_by_its_members(void **state)
{
	struct terraform_plan p;
	(void)state;
	read("{\"format_version\":\"1.2\",\"resource_changes\":[],\"output_changes\":{\"login\":{\"actions\":[\"update\"],\"before\":{\"user\":\"u1\"},"
	     "\"after\":{\"user\":\"u2\"},\"before_sensitive\":true,\"after_sensitive\":true},\"same\":{\"actions\":[\"no-op\"]}}}",
	     &p);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.rows[0].address, "output.login");
	_cleanup_free_ char *all = json_text(p.rows[0].after), *was = json_text(p.rows[0].before);
	assert_null(strstr(all, "u2"));
	assert_null(strstr(was, "u1"));
	terraform_plan_done(&p);
}

static void what_destroys_is_known_as_such(void **state)
{
	static const struct {
		const char *actions;
		enum terraform_action action;
		bool destroys;
	} known[] = {
		{"[\"create\"]", TERRAFORM_CREATE, false},
		{"[\"update\"]", TERRAFORM_UPDATE, false},
		{"[\"delete\"]", TERRAFORM_DESTROY, true},
		{"[\"create\",\"delete\"]", TERRAFORM_REPLACE_FIRST, true},
		{"[\"delete\",\"create\"]", TERRAFORM_REPLACE, true},
		{"[\"forget\"]", TERRAFORM_FORGET, true},
		{"[\"create\",\"forget\"]", TERRAFORM_FORGET, true},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct terraform_plan p;
		_cleanup_free_ char *text = xasprintf(
			"{\"format_version\":\"1.9\",\"resource_changes\":[{\"address\":\"x.a\",\"change\":{\"actions\":%s}}]}",
			known[i].actions);
		read(text, &p);
		assert_int_equal(p.rows[0].action, known[i].action);
		assert_int_equal(terraform_action_destroys(p.rows[0].action), known[i].destroys);
		terraform_plan_done(&p);
	}
}

static void refuses(const char *text, int code)
{
	struct terraform_plan p;
	_cleanup_json_ json_t *doc = json_loads(text, 0, NULL);
	assert_int_equal(terraform_plan_read(doc, &p, NULL), code);
}

static void what_is_not_known_is_refused(void **state)
{
	(void)state;
	refuses("{}", ERR_PROTOCOL);
	refuses("{\"format_version\":\"2.0\"}", ERR_UNSUPPORTED);
	refuses("{\"format_version\":\"1.2\",\"resource_changes\":[{\"address\":\"x.a\",\"change\":{\"actions\":[\"melt\"]}}]}",
	        ERR_UNSUPPORTED);
	refuses("{\"format_version\":\"1.2\",\"resource_changes\":[{\"address\":\"x.a\",\"change\":{\"actions\":[\"delete\",\"melt\"]}}]}",
	        ERR_UNSUPPORTED);
	refuses("{\"format_version\":\"1.2\",\"resource_changes\":[{\"change\":{\"actions\":[\"delete\"]}}]}",
	        ERR_PROTOCOL);
}

static void moves_imports_and_drift_are_told(void **state)
{
	struct terraform_plan p;
	(void)state;
	read("{\"format_version\":\"1.2\",\"resource_changes\":[{\"address\":\"x.b\",\"previous_address\":\"x.a\",\"change\":{\"actions\":[\"no-op\"]}},"
	     "{\"address\":\"x.c\",\"change\":{\"actions\":[\"no-op\"],\"importing\":{\"id\":\"1\"}}},{\"address\":\"x.d\",\"change\":{\"actions\":"
	     "[\"no-op\"]}},{\"address\":\"data.x.e\",\"change\":{\"actions\":[\"read\"]}},{\"address\":\"x.f\",\"deposed\":\"00aa\",\"change\":"
	     "{\"actions\":[\"delete\"]}}],\"resource_drift\":[{\"address\":\"x.g\"}],\"checks\":[{\"address\":{\"to_display\":\"check.up\"},\"status\":"
	     "\"fail\",\"instances\":[{\"problems\":[{\"message\":\"it is down\"}]}]}]}",
	     &p);
	assert_int_equal(p.count, 3);
	assert_string_equal(p.rows[0].moved_from, "x.a");
	assert_true(p.rows[1].imported);
	assert_string_equal(p.rows[2].address, "x.f (deposed 00aa)");
	assert_string_equal(p.drifted.items[0], "x.g");
	assert_string_equal(p.failing.items[0], "check.up: it is down");
	terraform_plan_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_attribute_that_differs_is_told_and_no_value_that_is_sensitive),
		cmocka_unit_test(what_is_sensitive_as_a_whole_is_not_shown_by_its_members),
		cmocka_unit_test(what_destroys_is_known_as_such),
		cmocka_unit_test(what_is_not_known_is_refused),
		cmocka_unit_test(moves_imports_and_drift_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
