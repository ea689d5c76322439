#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "steps/terraform/terraform.h"

static int judge(const char *changes, const struct terraform_in *in, const struct strv *own, struct err *err)
{
	struct terraform_plan p;
	_cleanup_free_ char *text = xasprintf("{\"format_version\":\"1.2\",%s}", changes);
	_cleanup_json_ json_t *doc = json_loads(text, 0, NULL);
	assert_non_null(doc);
	assert_int_equal(terraform_plan_read(doc, &p, NULL), 0);
	int r = terraform_judge(in, &p, own, err);
	terraform_plan_done(&p);
	return r;
}

static struct field_strings list(const char *const *items)
{
	return (struct field_strings){.items = (const char **)(uintptr_t)items, .count = 1};
}

#define CHANGE(address, actions) "{\"address\":\"" address "\",\"change\":{\"actions\":" actions "}}"
#define CHANGES(list) "\"resource_changes\":[" list "]"

static void what_destroys_needs_its_address(void **state)
{
	static const char *const named[] = {"x.a"}, *const other[] = {"x.a[0]"};
	static const char *const ways[] = {"[\"delete\"]", "[\"delete\",\"create\"]", "[\"create\",\"delete\"]",
	                                   "[\"forget\"]"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct err err = ERR_INIT;
		char line[ERR_FRAME_SIZE];
		struct terraform_in in = {0};
		_cleanup_free_ char *changes =
			xasprintf("\"resource_changes\":[{\"address\":\"x.a\",\"change\":{\"actions\":%s}}]", ways[i]);
		assert_int_equal(judge(changes, &in, NULL, &err), ERR_REFUSED);
		assert_non_null(strstr(err_line(&err, line, sizeof(line)), "x.a would be"));
		assert_non_null(strstr(err.hint, "allow_destroy: [\"x.a\"]"));
		in.allow_destroy = list(other);
		assert_int_equal(judge(changes, &in, NULL, NULL), ERR_REFUSED);
		in.allow_destroy = list(named);
		assert_int_equal(judge(changes, &in, NULL, NULL), 0);
	}
}

static void what_is_protected_is_never_destroyed(void **state)
{
	static const char *const all[][1] = {{"x.a"}, {"module.m"}, {"x.a[\"k\"]"}, {"x.ab"}};
	static const struct {
		const char *changes, *allowed;
		int refused_by; /* one of `all`; others do not concern it */
	} cases[] = {
		{CHANGES(CHANGE("x.a", "[\"delete\"]")), "x.a", 0},
		{CHANGES(CHANGE("x.a[0]", "[\"delete\"]")), "x.a[0]", 0},
		{CHANGES(CHANGE("module.m.x.a", "[\"delete\"]")), "module.m.x.a", 1},
		{CHANGES(CHANGE("x.ab", "[\"delete\"]")), "x.ab", 3},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
			struct terraform_in in = {.protect = list(all[k]), .allow_destroy = list(&cases[i].allowed)};
			assert_int_equal(judge(cases[i].changes, &in, NULL, NULL),
			                 (int)k == cases[i].refused_by ? ERR_REFUSED : 0);
		}
}

static void caps_count_resources(void **state)
{
	static const char *const named[] = {"x.a"};
	static const char changes[] = CHANGES(CHANGE("x.a", "[\"delete\"]") "," CHANGE(
		"x.b", "[\"create\"]")) ",\"output_changes\":{\"o\":{\"actions\":[\"create\"],\"after\":1}}";
	struct terraform_in in = {.allow_destroy = list(named), .has_max_changes = true, .max_changes = 2};
	(void)state;
	assert_int_equal(judge(changes, &in, NULL, NULL), 0);
	in.max_changes = 1;
	assert_int_equal(judge(changes, &in, NULL, NULL), ERR_REFUSED);
	in.max_changes = 2;
	in.has_max_destroy = true;
	assert_int_equal(judge(changes, &in, NULL, NULL), ERR_REFUSED);
	in.max_destroy = 1;
	assert_int_equal(judge(changes, &in, NULL, NULL), 0);
}

/* An undo destroys what the deployment made, whatever the caps, but nothing that is protected. */
static void an_undo_may_destroy_what_was_made(void **state)
{
	static const char *const guarded[] = {"x.a"};
	static const char changes[] = CHANGES(CHANGE("x.a", "[\"delete\"]"));
	_cleanup_(strv_done) struct strv own = {0};
	struct terraform_in in = {.has_max_destroy = true, .has_max_changes = true};
	(void)state;
	assert_int_equal(judge(changes, &in, &own, NULL), ERR_REFUSED);
	strv_add(&own, "x.a");
	assert_int_equal(judge(changes, &in, &own, NULL), 0);
	in.protect = list(guarded);
	assert_int_equal(judge(changes, &in, &own, NULL), ERR_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_destroys_needs_its_address),
		cmocka_unit_test(what_is_protected_is_never_destroyed),
		cmocka_unit_test(caps_count_resources),
		cmocka_unit_test(an_undo_may_destroy_what_was_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
