/* davit journal: where this machine's journal lies.
 *   davit journal            says where, and whether it answers
 *   davit journal use URL    from now on in PostgreSQL, shared with other machines
 *   davit journal use here   from now on in the state directory
 *   davit journal key        the key of what is sealed in a shared journal, for the next machine */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "base/core/mem.h"
#include "base/data/json.h"
#include "base/sys/fs.h"
#include "engine/journal/postgres/open.h"
#include "engine/journal/state_dir.h"
#include <fcntl.h>
#include <unistd.h>

enum { KEY_FILE_MAX = 1024, EXIT_REFUSED = 2 };

static int show_key(const char *dir, struct err *err)
{
	_cleanup_(str_done) struct str key = STR_SECRET_INIT(256);
	int r = journal_key(dir, &key, err);
	if (r == 0)
		printf(cli_json() ? "{\"key\": \"%s\"}\n" : "%s\n", str_peek(&key));
	return r;
}

static int show_place(const char *dir, struct err *err)
{
	_cleanup_(store_closep) struct store *s = NULL;
	int r = journal_open_readonly(dir, &s, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *name = journal_name(s);
	_cleanup_json_ json_t *o =
		json_pack("{s:s, s:b, s:s}", "at", name, "shared", store_is_shared(s), "id", store_id(s));
	_cleanup_free_ char *text = json_text(o);
	if (cli_json())
		puts(text);
	else
		printf("%s%s\n", name, store_is_shared(s) ? " (shared)" : "");
	return 0;
}

/* From a file, or standard input: it is in no list of processes. */
static int read_key(const char *file, struct str *out, struct err *err)
{
	bool from_input = strcmp(file, "-") == 0;
	int r = from_input ? fs_read_fd(STDIN_FILENO, "standard input", KEY_FILE_MAX, out, err)
	                   : fs_read(AT_FDCWD, file, KEY_FILE_MAX, out, err);
	while (r == 0 && out->len > 0 && strchr(" \t\r\n", out->data[out->len - 1]))
		out->data[--out->len] = '\0';
	return r < 0 ? err_wrap(err, r, "read the key") : 0;
}

static int use(const char *dir, const char *place, const char *key_file, struct err *err)
{
	_cleanup_(str_done) struct str key = STR_SECRET_INIT(KEY_FILE_MAX + 1);
	if (strcmp(place, "here") == 0)
		return journal_leave(dir, err);
	int r = key_file ? read_key(key_file, &key, err) : 0;
	return r < 0 ? r : journal_use(dir, place, key_file ? str_peek(&key) : NULL, err);
}

int cmd_journal(int argc, char **argv)
{
	const char *key_file = NULL;
	const struct cli_option options[] = {
		{"key", 0, CLI_TEXT, &key_file, "FILE",
	         "with use: what `davit journal key` printed on a machine that works with that journal; - reads it from standard input"},
		{0}};
	const struct cli_command command = {
		"journal",
		"[use URL | use here | key] [options]",
		"Where the journal of this machine lies; several machines share one in PostgreSQL.",
		options,
		0,
		2};
	struct cli_rest rest;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	_cleanup_free_ char *dir = state_dir(&err);
	int r = dir ? store_check_owner(dir, &err) : ERR_INVALID;
	if (r == 0 && rest.count == 0)
		r = show_place(dir, &err);
	else if (r == 0 && rest.count == 1 && strcmp(rest.words[0], "key") == 0)
		r = show_key(dir, &err);
	else if (r == 0 && rest.count == 2 && strcmp(rest.words[0], "use") == 0)
		r = use(dir, rest.words[1], key_file, &err);
	else if (r == 0)
		r = err_hint(&err, err_set(&err, ERR_INVALID, "'davit journal %s' is no command", rest.words[0]),
		             "davit journal, davit journal use URL, davit journal use here, or davit journal key");
	if (r < 0)
		return cli_fail(&err, EXIT_REFUSED);
	return cli_output_failed() ? 1 : 0;
}
