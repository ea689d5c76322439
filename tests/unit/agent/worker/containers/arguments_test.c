#include "unit/cmocka_all.h"
#include "agent/worker/containers/containers.h"

#include <string.h>

static void expect_words(struct strv *argv, const char *expected)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 16);
	for (size_t i = 0; i < argv->count; i++)
		str_appendf(&text, "%s%s", i > 0 ? "|" : "", argv->items[i]);
	assert_string_equal(str_peek(&text), expected);
}

static bool takes(const char *options, const char *expected)
{
	struct strv words = {.count = 0};
	struct err err = ERR_INIT;
	bool good = container_options(options, &words, &err) == 0;
	if (good)
		expect_words(&words, expected);
	strv_done(&words);
	return good;
}

static void options_are_words_with_their_values_and_never_an_image(void **state)
{
	(void)state;
	assert_true(takes("", ""));
	assert_true(takes("--cpus 1 -e A=B --init -it -v /a:/b", "--cpus|1|-e|A=B|--init|-it|-v|/a:/b"));
	assert_true(takes("--health-cmd \"curl -f \\\"x y\\\"\" --hostname=a -eA=B -ie A",
	                  "--health-cmd|curl -f \"x y\"|--hostname=a|-eA=B|-ie|A"));
	assert_true(takes("--label '$(touch x);'", "--label|'$(touch|x);'") == false);
	assert_true(takes("--label $(id)", "--label|$(id)"));
	static const char *const bad[] = {"evil/image",        "--cpus 1 evil", "--init evil", "-it evil",
	                                  "--privileged evil", "-- evil",       "-",           "--cpus=1 evil",
	                                  "-eA=B evil",        "--cpus",        "-e",          "\"\""};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(takes(bad[i], ""));
}

static void create_has_the_words_of_the_reference_in_its_order(void **state)
{
	(void)state;
	struct mask *mask = mask_new();
	struct strv argv = {.count = 0}, env = {.count = 0};
	struct container c = {.image = (char *)"node:20",
	                      .env = json_pack("{s:s, s:s, s:s}", "A", "secret value", "PATH", "/x", "CI", "no")};
	struct container_place p = {.program = "/bin/docker", .name = "n", .network = "net", .workdir = "/__w/a/a"};
	strv_add(&c.options, "--cpus");
	strv_add(&c.options, "1");
	strv_add(&c.ports, "80:80");
	strv_add(&p.labels, "davit=1");
	strv_add(&p.mounts, "/w:/__w");
	container_create_arguments(&c, &p, mask, &argv, &env);
	expect_words(
		&argv,
		"/bin/docker|create|--name|n|--workdir|/__w/a/a|--network|net|-p|80:80|--cpus|1|--label|davit=1|-e|A|-e|PATH=/x|-e|CI|-e|"
		"GITHUB_ACTIONS|-v|/w:/__w|--entrypoint|tail|node:20|-f|/dev/null");
	expect_words(&env, "A=secret value|CI=no|GITHUB_ACTIONS=true");
	strv_done(&argv);
	strv_done(&env);
	argv = env = (struct strv){.count = 0};
	c.alias = (char *)"db";
	p.workdir = NULL;
	container_create_arguments(&c, &p, mask, &argv, &env);
	expect_words(
		&argv,
		"/bin/docker|create|--name|n|--network|net|--network-alias|db|-p|80:80|--cpus|1|--label|davit=1|-e|A|-e|PATH=/x|-e|CI|-e|"
		"GITHUB_ACTIONS|-v|/w:/__w|node:20");
	strv_done(&argv);
	strv_done(&env);
	argv = env = (struct strv){.count = 0};
	c.entrypoint = (char *)"serve";
	strv_add(&c.command, "-v");
	container_create_arguments(&c, &p, mask, &argv, &env);
	assert_string_equal(argv.items[argv.count - 4], "--entrypoint");
	assert_string_equal(argv.items[argv.count - 3], "serve");
	assert_string_equal(argv.items[argv.count - 1], "-v");
	struct strv *lists[] = {&argv, &env, &c.options, &c.ports, &c.command, &p.labels, &p.mounts};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strv_done(lists[i]);
	json_decref(c.env);
	mask_free(mask);
}

static void exec_names_variables_and_keeps_their_values_out_of_its_arguments(void **state)
{
	(void)state;
	struct mask *mask = mask_new();
	struct strv words = {.count = 0}, variables = {.count = 0}, argv = {.count = 0}, env = {.count = 0};
	struct container_program p = {.docker = "docker",
	                              .id = "1a",
	                              .workdir = "/__w/a/a",
	                              .path = "/new:/bin",
	                              .pid_file = "/__w/_temp/p",
	                              .words = &words};
	strv_add(&words, "sh");
	strv_add(&words, "-e");
	strv_add(&variables, "TOKEN=a=b");
	strv_add(&variables, "PATH=/of/the/step");
	strv_add(&variables, "DOCKER_HOST=tcp://x");
	container_exec_arguments(&p, &variables, mask, &argv, &env);
	expect_words(
		&argv,
		"docker|exec|-i|--workdir|/__w/a/a|-e|TOKEN|-e|DOCKER_HOST=tcp://x|-e|PATH=/new:/bin|1a|sh|-c|{ echo $$ >\"$0\"; } "
		"2>/dev/null; exec \"$@\"|/__w/_temp/p|sh|-e");
	expect_words(&env, "TOKEN=a=b");
	struct strv *lists[] = {&words, &variables, &argv, &env};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strv_done(lists[i]);
	mask_free(mask);
}

static void expect_path(const struct job *j, const char *here, const char *inside)
{
	_cleanup_free_ char *in = containers_inside_path(j, here), *out = containers_outside(j, inside);
	assert_string_equal(in, inside);
	assert_string_equal(out, here);
}

static void paths_are_moved_by_whole_components_and_back(void **state)
{
	(void)state;
	struct containers all = {.inside = true};
	struct job j = {.work = (char *)"/var/w",
	                .temp = (char *)"/var/w/_temp",
	                .tools = (char *)"/opt/tools",
	                .containers = &all};
	expect_path(&j, "/var/w", "/__w");
	expect_path(&j, "/var/w/demo/demo/x", "/__w/demo/demo/x");
	expect_path(&j, "/var/w/_temp/_github_home", "/github/home");
	expect_path(&j, "/var/w/_temp/_github_workflow/event.json", "/github/workflow/event.json");
	expect_path(&j, "/var/w/_temp/_github_homes", "/__w/_temp/_github_homes");
	expect_path(&j, "/opt/tools/node", "/__t/node");
	expect_path(&j, "/var/ww", "/var/ww");
	expect_path(&j, "a /var/w", "a /var/w");
	all.inside = false;
	expect_path(&j, "/var/w", "/var/w");
}

static void an_image_has_the_letters_of_one(void **state)
{
	(void)state;
	static const char *const good[] = {"alpine", "ghcr.io:443/a/b_c:1.2-x", "a@sha256:0123"};
	static const char *const bad[] = {"", "-v", "--privileged", "a b", "a\nb", "a;b", "$(a)", "/a", "é"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(docker_check_image(good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(docker_check_image(bad[i], NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_words_with_their_values_and_never_an_image),
		cmocka_unit_test(create_has_the_words_of_the_reference_in_its_order),
		cmocka_unit_test(exec_names_variables_and_keeps_their_values_out_of_its_arguments),
		cmocka_unit_test(paths_are_moved_by_whole_components_and_back),
		cmocka_unit_test(an_image_has_the_letters_of_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
