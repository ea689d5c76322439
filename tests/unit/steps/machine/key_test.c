/* Lines of authorized_keys: what sshd takes for a key with its options, and nothing else. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "steps/machine/machine.h"

#include <string.h>

#define BLOB "AAAAC3NzaC1lZDI1NTE5AAAAIHWRD0f/1GfcUqZk5TDMYpsNF/iw4xphpCyRVMKaI1UB"
#define KEY "ssh-ed25519 " BLOB
static const char rsa[] =
	"ssh-rsa "
	"AAAAB3NzaC1yc2EAAAADAQABAAABAQDUpJ5oQolwWNgDoMAx/jfn33WNTviy6SjqyBHOnStU6DOOXFgwW/vCVJBM3Hz19k3N9rOi"
	"cwxySiQrNSWnMyCzfa1MvMcpPBGL26uOUSDJjaycDz5gwAEGdnymlxz8lcvrlneTcyGxNg/2Pgdm8ML0MJIc2b6jV7UcfRucWXxP"
	"oWv/iV31cmg6PMWJnfX+sSf7ajsWMc0mLc5n0SQUcHbVWYTjDB7om4I2WGzu+FQMop+a3Bo0zdwDZXP54HuwO869i8KRd4NJiQCO"
	"q0pKp6QMR0cgrOIQCUnieuEwE/X+UbkkUzRr8TSMvZtPagYEIm+oifkTCGMW/01WWlbvPqIx";
/* Of 1024 bits, and of 1008. */
static const char small_rsa[] =
	"ssh-rsa "
	"AAAAB3NzaC1yc2EAAAADAQABAAAAgQC2cbpSLE3g4FA1oudpoI2+eh8GjPk3RmR5NxDig4bKb5QbdlP/LPUG7t3b3QNJo25ubH+Z"
	"fy9ltxH+yyvl24wVVhDZfm0p7bW3IiRBM+guG1eyqJX1t23+NurCBl9WCC8KDDiZhgrvRrrRZ3SDBoy2nTK8+ohqpI5M9lOOnVDM"
	"aw==";
static const char short_rsa[] =
	"ssh-rsa "
	"AAAAB3NzaC1yc2EAAAADAQABAAAAfwC6UixN4OBQNaLnaaCNvnofBoz5N0ZkeTcQ4oOGym+UG3ZT/yz1Bu7d290DSaNubmx/mX8v"
	"ZbcR/ssr5duMFVYQ2X5tKe21tyIkQTPoLhtXsqiV9bdt/jbqwgZfVggvCgw4mYYK70a60Wd0gwaMtp0yvPqIaqSOTPZTjp1QzGs=";
static const char ecdsa[] =
	"ecdsa-sha2-nistp256 "
	"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAOkwIx0J5RNht/r5uBTHthyW9LRgD36RQ9/UbKuIWmnH8hW"
	"xqe3GjbWOG3Qu0wZOLvLUzDVGoPganmV9j/WFOE=";

static void a_key_is_found_behind_options_and_before_a_comment(void **state)
{
	static const struct {
		const char *line, *options, *comment;
	} lines[] = {
		{KEY, "", ""},
		{"  " KEY " a comment  ", "", "a comment"},
		{"restrict,pty " KEY, "restrict,pty", ""},
		{"command=\"echo \\\"ssh-rsa AAAA\\\" x\",no-pty " KEY " c",
	         "command=\"echo \\\"ssh-rsa AAAA\\\" x\",no-pty", "c"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_(machine_key_line_done) struct machine_key_line read = {0};
		if (!machine_key_read(lines[i].line, &read))
			fail_msg("not taken: %s", lines[i].line);
		assert_string_equal(read.key, KEY);
		assert_string_equal(read.options, lines[i].options);
		assert_string_equal(read.comment, lines[i].comment);
	}
}

static void keys_of_each_type_are_taken(void **state)
{
	static const char *const lines[] = {rsa, ecdsa};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_(machine_key_line_done) struct machine_key_line read = {0};
		if (!machine_key_read(lines[i], &read))
			fail_msg("not taken: %s", lines[i]);
		assert_string_equal(read.key, lines[i]);
	}
}

static void what_is_no_line_with_one_key_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"ssh-ed25519",
		"ssh-ed25519 ",
		"ssh-ed25519 AAAA",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE", /* a half of one */
		"ssh-ed25519 " BLOB "AAAA",               /* and more than one */
		"ssh-rsa " BLOB,                          /* of another type */
		"ssh-nothing " BLOB,
		"command=\"x " KEY,
		"# " KEY,
		KEY "\nssh-rsa AAAA",
		KEY "\r",
		"restrict\t" KEY, /* which no record could carry */
		"ssh-ed25519 " BLOB "$(id) x",
		"a b " KEY,
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct machine_key_line read;
		if (machine_key_read(lines[i], &read))
			fail_msg("taken: %s", lines[i]);
		assert_null(read.key);
	}
}

static void an_rsa_key_that_sshd_finds_too_short_is_refused(void **state)
{
	struct machine_key_line read;
	(void)state;
	assert_true(machine_key_read(small_rsa, &read));
	machine_key_line_done(&read);
	assert_false(machine_key_read(short_rsa, &read));
}

static void a_key_has_the_name_that_ssh_keygen_shows(void **state)
{
	_cleanup_free_ char *id = machine_key_id("deploy", KEY);
	(void)state;
	assert_string_equal(id, "deploy:SHA256:ijodMFmOs1kYCZaDzr+xA7GHvHXSL+IZWua5NbJgMf4");
}

static void options_that_sshd_would_pass_over_are_refused_with_the_nearest_name(void **state)
{
	static const struct {
		const char *options, *why; /* NULL: they are taken */
	} tries[] = {
		{"", NULL},
		{"restrict,pty", NULL},
		{"No-PTY", NULL},
		{"command=\"/bin/a \\\"b, c\\\"\",from=\"10.0.0.0/8,!10.0.0.1\"", NULL},
		{"restrct", "did you mean 'restrict'?"},
		{"forced=\"x\"", "sshd knows no option 'forced'"},
		{"command", "needs a value"},
		{"restrict=\"yes\"", "takes no value"},
		{"command=/bin/date", "not in quotation marks"},
		{"command=\"/bin/date", "not in quotation marks"},
		{"command=\"a\"pty", "not in quotation marks"},
		{"restrict,", "ends with a comma"},
		{"restrict,,pty", "sshd knows no option ''"},
		{"restrict pty", "no comma behind the option 'restrict'"},
		{"command=\"a\nssh-rsa x\"", "control characters"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		_cleanup_(str_done) struct str why = STR_INIT(1024);
		bool fits = machine_key_options_fit(tries[i].options, &why);
		if (fits != (tries[i].why == NULL) || (!fits && strstr(str_peek(&why), tries[i].why) == NULL))
			fail_msg("%s: %s", tries[i].options, fits ? "taken" : str_peek(&why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_found_behind_options_and_before_a_comment),
		cmocka_unit_test(keys_of_each_type_are_taken),
		cmocka_unit_test(what_is_no_line_with_one_key_is_refused),
		cmocka_unit_test(an_rsa_key_that_sshd_finds_too_short_is_refused),
		cmocka_unit_test(a_key_has_the_name_that_ssh_keygen_shows),
		cmocka_unit_test(options_that_sshd_would_pass_over_are_refused_with_the_nearest_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
