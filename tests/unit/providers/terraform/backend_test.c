#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/terraform/backend.h"

static bool has_none(const void *context, const char *name)
{
	(void)context;
	(void)name;
	return false;
}

/* All that is told of it, "; " between. */
static char *quirks_of(const char *text, bool json, const char *workspace)
{
	struct terraform_backend b = {0};
	struct terraform_quirks q = {0};
	_cleanup_(str_done) struct str all = STR_INIT(4096);
	terraform_backend_find(text, strlen(text), json, &b);
	terraform_backend_quirks(&b, workspace, has_none, NULL, &q);
	for (size_t i = 0; i < q.count; i++)
		str_appendf(&all, "%s%s", i > 0 ? "; " : "", q.items[i].text);
	terraform_quirks_done(&q);
	terraform_backend_done(&b);
	return str_take(&all);
}

static void expect(const char *text, const char *words)
{
	_cleanup_free_ char *said = quirks_of(text, false, NULL);
	if (*words == '\0' ? *said != '\0' : strstr(said, words) == NULL)
		fail_msg("of %s: '%s' instead of '%s'", text, said, words);
}

static void a_backend_is_found_among_comments_strings_and_other_blocks(void **state)
{
	struct terraform_backend b = {0};
	(void)state;
	static const char text[] =
		"# backend \"gcs\" {}\n/* terraform { backend \"azurerm\" {} } */\n"
		"locals { a = \"terraform { backend ${\"x}\"} {\" }\n"
		"resource \"x\" \"y\" { text = <<-EOT\n  terraform { backend \"pg\" {} }\n  EOT\n}\n"
		"terraform {\n  required_providers { x = { source = \"a/b\" } }\n  backend \"s3\" { # here\n"
		"    bucket = \"b\" // its name\n    use_lockfile = true\n    key = \"${local.a}/state\"\n"
		"    endpoints = { s3 = \"https://s3.example\", iam = null }\n    region=\"fr\"}\n}\n";
	terraform_backend_find(text, strlen(text), false, &b);
	assert_string_equal(b.type, "s3");
	assert_string_equal(terraform_backend_get(&b, "bucket"), "b");
	assert_string_equal(terraform_backend_get(&b, "endpoints.s3"), "https://s3.example");
	assert_string_equal(terraform_backend_get(&b, "region"), "fr");
	assert_true(json_is_true(json_object_get(b.settings, "use_lockfile")));
	assert_true(json_is_null(json_object_get(b.settings, "key")));
	terraform_backend_done(&b);
}

static void a_backend_in_json_is_found(void **state)
{
	(void)state;
	_cleanup_free_ char *said =
		quirks_of("{\"terraform\":[{\"backend\":{\"http\":{\"address\":\"https://x\"}}}]}", true, NULL);
	assert_non_null(strstr(said, "nothing locks the state"));
	_cleanup_free_ char *cloud = quirks_of("{\"terraform\":{\"cloud\":{\"organization\":\"x\"}}}", true, NULL);
	assert_non_null(strstr(cloud, "`cloud` plans and applies on another machine"));
}

static void what_goes_wrong_with_a_backend_is_told(void **state)
{
	(void)state;
	expect("terraform {}", "");
	expect("terraform {\n backend \"http\" {\n address = \"https://x\"\n }\n}", "no `lock_address`");
	expect("terraform {\n backend \"http\" {\n address = \"x\"\n lock_address = \"x\"\n }\n}",
	       "no `unlock_address`");
	expect("terraform {\n backend \"http\" {\n address = \"x\"\n lock_address = \"x\"\n unlock_address = \"x\"\n }\n}",
	       "");
	expect("terraform {\n backend \"s3\" {\n bucket = \"b\"\n }\n}", "neither `use_lockfile` nor `dynamodb_table`");
	expect("terraform {\n backend \"s3\" {\n use_lockfile = true\n }\n}", "");
	expect("terraform {\n backend \"s3\" {\n use_lockfile = true\n endpoints = { s3 = \"https://s3.fr-par.scw.cloud\" }\n "
	       "skip_region_validation = true\n }\n}",
	       "skip_credentials_validation, skip_requesting_account_id");
	expect("terraform {\n cloud {}\n}", "`cloud` plans");
	expect("terraform {\n backend \"remote\" {}\n}", "`remote` plans");
	expect("terraform {\n backend \"consul\" {\n lock = false\n }\n}", "`lock = false`");
	_cleanup_free_ char *said = quirks_of(
		"terraform {\n backend \"http\" {\n address = \"x\"\n lock_address = \"x\"\n unlock_address = \"x\"\n }\n}",
		false, "staging");
	assert_non_null(strstr(said, "no workspaces"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backend_is_found_among_comments_strings_and_other_blocks),
		cmocka_unit_test(a_backend_in_json_is_found),
		cmocka_unit_test(what_goes_wrong_with_a_backend_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
