/* Every required draft-07 test of the JSON-Schema-Test-Suite (Debian package json-schema-test-suite). */
#include "unit/cmocka_all.h"
#include "base/data/schema/compile.h"

#include <dirent.h>
#include <stdio.h>

#define SUITE "/usr/share/json-schema-test-suite"

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static json_t *load(const char *path)
{
	json_error_t e;
	json_t *value = json_load_file(path, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
	if (value == NULL)
		fail_msg("%s: %s", path, e.text);
	return value;
}

static void add_remotes(json_t *remotes, const char *directory, const char *uri)
{
	struct dirent **names;
	int count = scandir(directory, &names, NULL, by_name);
	for (int i = 0; i < count; i++) {
		char path[1024], name[1024];
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
		snprintf(name, sizeof(name), "%s/%s", uri, names[i]->d_name);
		if (names[i]->d_type == DT_DIR && names[i]->d_name[0] != '.')
			add_remotes(remotes, path, name);
		else if (str_ends(path, ".json"))
			json_object_set_new(remotes, name, load(path));
		free(names[i]);
	}
	free(names);
}

static int run_case(const char *file, const json_t *group, const json_t *remotes)
{
	const char *about = json_get_string(group, "description");
	struct schema_options options = {.remotes = remotes};
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	int wrong = 0;
	if (schema_compile(json_object_get(group, "schema"), &options, &schema, &err) < 0) {
		print_error("%s: %s: %s\n", file, about, err.frames[0].text);
		return 1;
	}
	size_t i;
	json_t *test;
	json_array_foreach(json_object_get(group, "tests"), i, test)
	{
		struct faults faults = {0};
		bool expected = json_is_true(json_object_get(test, "valid"));
		int r = schema_check(schema, json_object_get(test, "data"), NULL, &faults, &err);
		int quiet = schema_check(schema, json_object_get(test, "data"), NULL, NULL, NULL);
		if (r != (expected ? 0 : ERR_INVALID) || quiet != r || (faults.count == 0) != expected) {
			print_error("%s: %s: %s: %d, quietly %d\n", file, about, json_get_string(test, "description"),
			            r, quiet);
			wrong++;
		}
		faults_done(&faults);
	}
	schema_free(schema);
	return wrong;
}

static void every_required_draft_07_test_passes(void **state)
{
	(void)state;
	struct dirent **names;
	int count = scandir(SUITE "/tests/draft7", &names, NULL, by_name);
	if (count < 0) {
		print_message("json-schema-test-suite is not installed\n");
		skip();
	}
	json_t *remotes = json_object();
	add_remotes(remotes, SUITE "/remotes", "http://localhost:1234");
	int wrong = 0;
	size_t groups = 0;
	for (int i = 0; i < count; i++) {
		char path[1024];
		snprintf(path, sizeof(path), "%s/tests/draft7/%s", SUITE, names[i]->d_name);
		if (str_ends(path, ".json")) {
			json_t *file = load(path);
			size_t k;
			json_t *group;
			json_array_foreach(file, k, group) wrong += run_case(names[i]->d_name, group, remotes);
			groups += json_array_size(file);
			json_decref(file);
		}
		free(names[i]);
	}
	free(names);
	json_decref(remotes);
	assert_int_equal(wrong, 0);
	assert_true(groups > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_required_draft_07_test_passes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
