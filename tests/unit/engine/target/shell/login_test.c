#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/secret/mask.h"
#include "engine/target/shell/login.h"

#include <fcntl.h>

static const char first_line[] = "bG9uZyBlbm91Z2ggdG8gYmUgYSBsaW5lIG9mIGEga2V5IG9mIGl0cyBvd24";
static const char second_line[] = "YW5vdGhlciBsaW5lIG9mIHRoZSBzYW1lIGtleSwgd2hpY2ggaXMgbm8ga2V5";

static void a_key_that_a_file_holds_is_masked_as_one_from_the_secrets_is(void **state)
{
	(void)state;
	_cleanup_free_ char *dir = NULL;
	assert_int_equal(fs_make_temp_dir("davit-login-test", &dir, NULL), 0);
	_cleanup_free_ char *path = fs_join(dir, "id"),
			    *key = xasprintf(
				    "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n%s\n-----END OPENSSH PRIVATE KEY-----\n",
				    first_line, second_line),
			    *printed = xasprintf("debug: read %s", second_line);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, key, strlen(key), 0600, NULL), 0);
	const char *user = "u";
	const struct target_ssh config = {.host = "h", .port = 22, .user = {&user, 1}, .key_file = path};
	struct arena arena = {0};
	struct ssh_login *login;
	struct err err = ERR_INIT;
	assert_false(mask_finds(mask_process(), printed, strlen(printed)));
	assert_int_equal(shell_login_read(&arena, &config, &login, &err), 0);
	assert_string_equal(login->key, key);
	assert_true(mask_finds(mask_process(), printed, strlen(printed)));
	assert_true(mask_finds(mask_process(), key, strlen(key)));
	assert_true(mask_finds(mask_process(), first_line, strlen(first_line)));
	arena_done(&arena);
	assert_int_equal(fs_remove_tree(AT_FDCWD, dir, NULL), 0);
}

static bool agent_of(const struct target_ssh *config)
{
	struct arena arena = {0};
	struct ssh_login *login;
	assert_int_equal(shell_login_read(&arena, config, &login, NULL), 0);
	bool agent = login->agent;
	arena_done(&arena);
	return agent;
}

static void the_agent_is_meant_where_it_is_there_and_nothing_else_is_given(void **state)
{
	(void)state;
	const struct target_ssh bare = {.host = "h"}, key = {.host = "h", .key = "k"},
				password = {.host = "h", .password = "p"}, off = {.host = "h", .has_agent = true},
				both = {.host = "h", .key = "k", .has_agent = true, .agent = true};
	assert_int_equal(setenv("SSH_AUTH_SOCK", "/run/agent", 1), 0);
	assert_true(agent_of(&bare));
	assert_false(agent_of(&key));
	assert_false(agent_of(&password));
	assert_false(agent_of(&off));
	assert_true(agent_of(&both));
	assert_int_equal(unsetenv("SSH_AUTH_SOCK"), 0);
	assert_false(agent_of(&bare));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_that_a_file_holds_is_masked_as_one_from_the_secrets_is),
		cmocka_unit_test(the_agent_is_meant_where_it_is_there_and_nothing_else_is_given)};
	return cmocka_run_group_tests_name("shell login", tests, NULL, NULL);
}
