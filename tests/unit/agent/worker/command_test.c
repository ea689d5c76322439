#include "unit/cmocka_all.h"
#include "agent/worker/command.h"
#include "agent/worker/command_file.h"
#include "agent/worker/lines.h"

#include <string.h>

static struct command command;

static enum command_kind read_command(const char *line, const char *stopped)
{
	struct command_rules rules = {.notice = true, .stopped = stopped};
	command_done(&command);
	command_read(line, &rules, &command);
	return command.kind;
}

static void both_forms_of_commands_are_read(void **state)
{
	(void)state;
	assert_int_equal(read_command("::set-output name=a%2Cb::x%0Ay%2525", NULL), COMMAND_SET_OUTPUT);
	assert_string_equal(command_property(&command, "NAME"), "a,b");
	assert_string_equal(command.data, "x\ny%25");
	assert_int_equal(read_command("  ::group::T", NULL), COMMAND_GROUP);
	assert_string_equal(command.data, "T");
	assert_int_equal(read_command("x ::group::T", NULL), COMMAND_NONE);
	assert_int_equal(read_command("abc ##[group]T", NULL), COMMAND_GROUP);
	assert_int_equal(read_command("::warning file=a.js,line=,title=::m", NULL), COMMAND_WARNING);
	assert_string_equal(command_property(&command, "file"), "a.js");
	assert_null(command_property(&command, "line"));
	assert_int_equal(read_command("::warning title=== Build = failed ==,=line==3,==::m", NULL), COMMAND_WARNING);
	assert_string_equal(command_property(&command, "title"), " Build = failed ==");
	assert_string_equal(command_property(&command, "line"), "3");
	assert_int_equal(read_command("::unknown::x", NULL), COMMAND_NONE);
	assert_int_equal(read_command("::ERROR::x", NULL), COMMAND_ERROR);
	assert_int_equal(read_command("##[error file=a%3Bb;line=3]x%5D", NULL), COMMAND_ERROR);
	assert_string_equal(command_property(&command, "file"), "a;b");
	assert_string_equal(command.data, "x]");
	assert_int_equal(read_command("::error no end", NULL), COMMAND_NONE);
	assert_int_equal(read_command("::", NULL), COMMAND_NONE);
	assert_int_equal(read_command("::::", NULL), COMMAND_NONE);
}

static void a_stop_turns_commands_into_text_until_its_token(void **state)
{
	(void)state;
	assert_int_equal(read_command("::stop-commands::tok12345", NULL), COMMAND_STOP);
	assert_string_equal(command.data, "tok12345");
	assert_int_equal(read_command("::error::no", "tok12345"), COMMAND_NONE);
	assert_int_equal(read_command("##[error]no", "tok12345"), COMMAND_NONE);
	assert_int_equal(read_command("said ##[tok12345]", "tok12345"), COMMAND_RESUME);
	assert_int_equal(read_command("::TOK12345::", "tok12345"), COMMAND_RESUME);
	assert_true(command_token_is_allowed("tok12345"));
	assert_false(command_token_is_allowed(""));
	assert_false(command_token_is_allowed("Error"));
	assert_false(command_token_is_allowed("pause-logging"));
}

static void notices_are_text_where_the_service_does_not_know_them(void **state)
{
	(void)state;
	struct command_rules rules = {.notice = false};
	command_done(&command);
	command_read("::notice::x", &rules, &command);
	assert_int_equal(command.kind, COMMAND_NONE);
}

static int collect(void *context, const char *name, const char *value, size_t len, struct err *err)
{
	(void)err;
	struct str *out = context;
	str_appendf(out, "%s=[%.*s];", name, (int)len, value);
	return 0;
}

static const char *pairs(const char *text)
{
	static char result[1024];
	_cleanup_(str_done) struct str out = STR_INIT(1000);
	struct err err = ERR_INIT;
	char line[512];
	if (command_file_pairs(text, strlen(text), collect, &out, &err) < 0)
		str_appendf(&out, "! %s", err_line(&err, line, sizeof(line)));
	memcpy(result, str_peek(&out), out.len + 1);
	return result;
}

static void names_and_values_are_read_from_command_files(void **state)
{
	(void)state;
	assert_string_equal(pairs("A=1\nB<<EOF\nx\ny\nEOF\nC=\n"), "A=[1];B=[x\ny];C=[];");
	assert_string_equal(pairs("K<<X\nX\n"), "K=[];");
	assert_string_equal(pairs("K<<X\n\nX"), "K=[];");
	assert_string_equal(pairs("K=<<x\n"), "K=[<<x];");
	assert_string_equal(pairs("A<<B=C\nv\nB=C\n"), "A=[v];");
	assert_string_equal(pairs("A<<E\nv"), "! Invalid value. EOF marker missing new line.");
	assert_string_equal(pairs("A<<E\nv\n"), "! Invalid value. Matching delimiter not found 'E'");
	assert_string_equal(pairs("plain\n"), "! Invalid format 'plain'");
	assert_string_equal(pairs("\xef\xbb\xbf"
	                          "A=1\n\nB=2"),
	                    "A=[1];B=[2];");
	assert_string_equal(pairs("A=1\r\nB<<E\r\nv\r\nE\r\n"), "A=[1\r];B=[v\r];");
	assert_string_equal(pairs("A=1\nbad\nB=2\n"), "A=[1];! Invalid format 'bad'");
	assert_string_equal(pairs("<<E\nE\n"),
	                    "! Invalid format '<<E'. Name must not be empty and delimiter must not be empty");
	assert_non_null(strstr(pairs("=v\n"), "! Value cannot be null or empty"));
	assert_string_equal(pairs("A=\xff\n"), "A=[\xef\xbf\xbd];");
}

static void paths_are_lines(void **state)
{
	(void)state;
	struct strv lines = {.count = 0};
	static const char text[] = "/a\r\n\n/b c\r/d";
	command_file_lines(text, sizeof(text) - 1, &lines);
	assert_int_equal(lines.count, 3);
	assert_string_equal(lines.items[0], "/a");
	assert_string_equal(lines.items[1], "/b c");
	assert_string_equal(lines.items[2], "/d");
	strv_done(&lines);
}

static void add_line(void *context, const char *line, size_t len)
{
	assert_int_equal(line[len], '\0');
	str_appendf(context, "%.*s|", (int)len, line);
}

static void add_lines(void *context, const char *text, size_t len)
{
	assert_int_equal(text[len - 1], '\n');
	assert_null(memchr(text, '\r', len));
	for (const char *p = text, *stop; p < text + len; p = stop + 1) {
		stop = memchr(p, '\n', (size_t)(text + len - p));
		str_appendf(context, "%.*s|", (int)(stop - p), p);
	}
}

/* Both ways of taking lines, the text given in pieces of this length. */
static void assert_lines(const char *text, size_t len, size_t max, size_t piece, const char *expected)
{
	for (int together = 0; together < 2; together++) {
		struct lines l;
		_cleanup_(str_done) struct str out = STR_INIT(100000);
		struct line_taker to = {.line = add_line, .lines = together ? add_lines : NULL, .context = &out};
		lines_init(&l, max, NULL);
		for (size_t at = 0; at < len; at += piece)
			lines_feed(&l, text + at, MIN(piece, len - at), &to);
		lines_end(&l, &to);
		assert_string_equal(str_peek(&out), expected);
		lines_done(&l);
	}
}

static void pieces_of_output_become_lines_wherever_they_are_cut(void **state)
{
	(void)state;
	static const char text[] = "a\rb\r\nc\n\n\rd\r\n\r\ne", plain[] = "one\ntwo\n\nthree\r\nfour\nfive";
	for (size_t piece = 1; piece <= sizeof(text); piece++)
		assert_lines(text, sizeof(text) - 1, 100, piece, "a|b|c|||d||e|");
	for (size_t piece = 1; piece <= sizeof(plain); piece++)
		assert_lines(plain, sizeof(plain) - 1, 100, piece, "one|two||three|four|five|");
	assert_lines("0123456789\n", 11, 4, 11, "0123|4567|89|");
	assert_lines("ab\ncd\n0123456789\nef\n", 20, 4, 20, "ab|cd|0123|4567|89|ef|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_forms_of_commands_are_read),
		cmocka_unit_test(a_stop_turns_commands_into_text_until_its_token),
		cmocka_unit_test(notices_are_text_where_the_service_does_not_know_them),
		cmocka_unit_test(names_and_values_are_read_from_command_files),
		cmocka_unit_test(paths_are_lines),
		cmocka_unit_test(pieces_of_output_become_lines_wherever_they_are_cut),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	command_done(&command);
	return failed;
}
