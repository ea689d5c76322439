#include "unit/cmocka_all.h"

#include <fcntl.h>
#include <unistd.h>

#include "agent/listener/options.h"
#include "base/sys/fs.h"

static char words[16][128];
static char *argv_[17];

/* Builds an argument vector whose texts may be written to. */
static int vector(const char *const *texts, int count)
{
	for (int i = 0; i < count; i++) {
		strncpy(words[i], texts[i], sizeof(words[i]) - 1);
		argv_[i] = words[i];
	}
	argv_[count] = NULL;
	return count;
}
#define ARGV(...)                                                                                                      \
	vector((const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void options_take_values_and_the_first_one_counts(void **state)
{
	(void)state;
	struct agent_options o;
	int argc = ARGV("configure", "--url", "https://github.com/a/b", "--URL=https://x/y", "--Name", "box",
	                "--replace", "--labels", "a, b,,A");
	assert_int_equal(agent_options_read(argc, argv_, &o, NULL), 0);
	assert_string_equal(o.url, "https://github.com/a/b");
	assert_string_equal(o.name, "box");
	assert_true(o.replace);
	assert_false(o.unattended);
	assert_int_equal(o.labels.count, 2);
	assert_string_equal(o.labels.items[1], "b");
	agent_options_done(&o);
}

static void a_secret_leaves_the_argument_list_at_once(void **state)
{
	(void)state;
	struct agent_options o;
	int argc = ARGV("configure", "--token", "SECRET1", "--pat=SECRET2");
	assert_int_equal(agent_options_read(argc, argv_, &o, NULL), 0);
	assert_string_equal(o.token, "SECRET1");
	assert_string_equal(o.pat, "SECRET2");
	assert_null(strstr(words[2], "SECRET1"));
	assert_null(strstr(words[3], "SECRET2"));
	agent_options_done(&o);
}

static void a_flag_may_be_followed_by_true_or_false(void **state)
{
	(void)state;
	struct agent_options o;
	int argc = ARGV("configure", "--unattended", "true", "--ephemeral", "false", "--replace=true", "--name", "n");
	assert_int_equal(agent_options_read(argc, argv_, &o, NULL), 0);
	assert_true(o.unattended);
	assert_false(o.ephemeral);
	assert_true(o.replace);
	assert_string_equal(o.name, "n");
	agent_options_done(&o);
}

static void the_environment_fills_what_the_command_line_leaves_out_and_is_emptied(void **state)
{
	(void)state;
	struct agent_options o;
	setenv("ACTIONS_RUNNER_INPUT_URL", "https://from/env", 1);
	setenv("actions_runner_input_token", "  ENVTOKEN ", 1);
	setenv("ACTIONS_RUNNER_INPUT_NAME", "env-name", 1);
	setenv("ACTIONS_RUNNER_INPUT_EPHEMERAL", "True", 1);
	setenv("ACTIONS_RUNNER_INPUT_REPLACE", "yes", 1);
	setenv("ACTIONS_RUNNER_INPUT_WORK", "", 1);
	int argc = ARGV("configure", "--name", "word-name");
	assert_int_equal(agent_options_read(argc, argv_, &o, NULL), 0);
	assert_string_equal(o.url, "https://from/env");
	assert_string_equal(o.token, "ENVTOKEN");
	assert_string_equal(o.name, "word-name");
	assert_true(o.ephemeral);
	assert_false(o.replace);
	assert_null(o.work);
	assert_null(getenv("ACTIONS_RUNNER_INPUT_URL"));
	assert_null(getenv("actions_runner_input_token"));
	assert_null(getenv("ACTIONS_RUNNER_INPUT_NAME"));
	agent_options_done(&o);
}

static void an_unknown_option_is_refused_with_the_nearest_and_secrets_are_wiped_all_the_same(void **state)
{
	(void)state;
	struct agent_options o;
	struct err err = ERR_INIT;
	int argc = ARGV("configure", "--labelz", "x", "--token", "SECRET1");
	assert_int_equal(agent_options_read(argc, argv_, &o, &err), ERR_INVALID);
	assert_non_null(strstr(err.hint, "did you mean --labels?"));
	assert_null(strstr(words[4], "SECRET1"));
	assert_int_equal(agent_options_read(ARGV("configure", "--name", "n", "stray"), argv_, &o, NULL), ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("status", "--frobnicate"), argv_, &o, NULL), ERR_INVALID);
}

static void an_option_of_another_part_is_refused_and_says_whose_it_is(void **state)
{
	(void)state;
	struct agent_options o;
	struct err err = ERR_INIT;
	char line[512];
	assert_int_equal(agent_options_read(ARGV("configure", "--slots", "2"), argv_, &o, &err), ERR_INVALID);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "'agent run'"));
	struct str help _cleanup_(str_done) = STR_INIT(64 << 10);
	agent_options_help("run", &help);
	assert_non_null(strstr(str_peek(&help), "--slots"));
	assert_null(strstr(str_peek(&help), "--labels"));
}

static void what_cannot_be_is_refused(void **state)
{
	(void)state;
	struct agent_options o;
	assert_int_equal(agent_options_read(ARGV("run", "--slots", "0"), argv_, &o, NULL), ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("run", "--slots"), argv_, &o, NULL), ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("configure", "--on-failure", "explode"), argv_, &o, NULL),
	                 ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("configure", "--no-default-labels"), argv_, &o, NULL), ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("configure", "--actions-repository", "x"), argv_, &o, NULL),
	                 ERR_INVALID);
	assert_int_equal(agent_options_read(ARGV("configure", "--replace=maybe"), argv_, &o, NULL), ERR_INVALID);
	struct strv labels = {0};
	char *big = xmalloc(300);
	memset(big, 'x', 299);
	big[299] = '\0';
	assert_int_equal(agent_options_labels(big, &labels, NULL), ERR_INVALID);
	free(big);
	strv_done(&labels);
}

static void a_token_comes_from_a_file_by_its_first_line(void **state)
{
	(void)state;
	struct agent_options o;
	char path[] = "/tmp/davit-options-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, " FILETOKEN\nmore\n", 16), 16);
	close(fd);
	assert_int_equal(agent_options_read(ARGV("configure", "--token-file", path), argv_, &o, NULL), 0);
	assert_string_equal(o.token, "FILETOKEN");
	agent_options_done(&o);
	unlink(path);
	assert_int_equal(agent_options_read(ARGV("configure", "--token-file", path), argv_, &o, NULL), ERR_NOT_FOUND);
}

static void a_token_comes_from_standard_input(void **state)
{
	(void)state;
	struct agent_options o;
	int fds[2], old = dup(STDIN_FILENO);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "STDTOKEN\nrest", 13), 13);
	close(fds[1]);
	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	int r = agent_options_read(ARGV("configure", "--token", "-"), argv_, &o, NULL);
	dup2(old, STDIN_FILENO);
	close(old);
	assert_int_equal(r, 0);
	assert_string_equal(o.token, "STDTOKEN");
	agent_options_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_take_values_and_the_first_one_counts),
		cmocka_unit_test(a_secret_leaves_the_argument_list_at_once),
		cmocka_unit_test(a_flag_may_be_followed_by_true_or_false),
		cmocka_unit_test(the_environment_fills_what_the_command_line_leaves_out_and_is_emptied),
		cmocka_unit_test(an_unknown_option_is_refused_with_the_nearest_and_secrets_are_wiped_all_the_same),
		cmocka_unit_test(an_option_of_another_part_is_refused_and_says_whose_it_is),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_token_comes_from_a_file_by_its_first_line),
		cmocka_unit_test(a_token_comes_from_standard_input),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
