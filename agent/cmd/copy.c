/* davit copy key: the key of this machine's copies, for whoever keeps it.
 * davit copy open FILE: a copy of a snapshot as the tar that it holds, by its key alone: no deployment, no target, no journal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "base/core/mem.h"
#include "base/data/json.h"
#include "base/secret/pieces.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

enum { READ_SIZE = 1 << 20, KEY_FILE_MAX = 8192, EXIT_REFUSED = 2 };

struct copy_call {
	const char *name, *key_file, *output;
};

static int show_key(struct err *err)
{
	_cleanup_free_ char *dir = state_dir(err);
	_cleanup_(str_done) struct str key = STR_SECRET_INIT(256);

	if (dir == NULL)
		return ERR_NOT_FOUND;
	int r = pieces_key_of_host(dir, true, &key, err);
	if (r == 0 && cli_json())
		printf("{\"key\": \"%s\"}\n", str_peek(&key));
	else if (r == 0)
		printf("%s\n", str_peek(&key));
	return r;
}

/* The last three parts of its path are what it was sealed as, as long as it lies where copies lie. */
static char *name_of(const char *file, struct err *err)
{
	_cleanup_free_ char *whole = realpath(file, NULL);
	const char *at = whole ? whole + strlen(whole) : NULL;

	for (int i = 0; at && i < 3; i++)
		while (at > whole && *--at != '/')
			;
	if (at == NULL || at == whole) {
		err_hint(err, err_set(err, ERR_INVALID, "'%s' does not say what copy it is", file),
		         "--name NAME.ENVIRONMENT/ID/FILE, as it was called where it lay");
		return NULL;
	}
	return xstrdup(at + 1);
}

static int read_key(const struct copy_call *c, struct pieces_key *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(KEY_FILE_MAX + 1);
	_cleanup_free_ char *dir = NULL;

	if (c->key_file) {
		int r = fs_read(AT_FDCWD, c->key_file, KEY_FILE_MAX, &text, err);
		return r < 0 ? r : pieces_key_read(str_peek(&text), ret, err);
	}
	dir = state_dir(err);
	int r = dir ? pieces_key_of_host(dir, false, &text, err) : ERR_NOT_FOUND;
	if (r < 0)
		return err_hint(err, r, "--key-file FILE with what `davit copy key` printed where the copy was made");
	return pieces_key_read(str_peek(&text), ret, err);
}

/* The first piece says what it is; the rest is the tar. */
static int put_tar(void *context, uint64_t number, const void *data, size_t len, struct err *err)
{
	const int *fd = context;

	return number > 0 ? fs_write_all(*fd, data, len, err) : 0;
}

static int open_into(int in, int out, const struct pieces_key *key, const char *name, struct err *err)
{
	struct pieces_reader *reader _cleanup_(pieces_reader_freep) = NULL;
	_cleanup_free_ char *buffer = xmalloc(READ_SIZE);
	ssize_t n = 1;

	int r = pieces_reader_new(key, name, put_tar, &out, &reader, err);
	while (r == 0 && n > 0) {
		n = read(in, buffer, READ_SIZE);
		r = n < 0 ? err_errno(err, errno, "read") : pieces_read(reader, buffer, (size_t)n, err);
	}
	if (r == 0)
		r = pieces_read_end(reader, err);
	return r < 0 || fsync(out) == 0 ? r : err_errno(err, errno, "write");
}

static int refuse_part(const char *part, int errnum, struct err *err)
{
	int r = err_errno(err, errnum, "make '%s'", part);
	if (errnum == EEXIST)
		err_hint(err, r, "remove it, unless another call is writing it: one that was killed leaves it behind");
	return r;
}

/* Nothing has the name until all of it is proven. */
static int open_copy(const struct copy_call *c, const char *file, struct err *err)
{
	_cleanup_free_ char *name = c->name ? xstrdup(c->name) : name_of(file, err),
			    *part = xasprintf("%s.part", c->output ? c->output : "");
	struct pieces_key key = {0};

	if (name == NULL)
		return ERR_INVALID;
	if (c->output == NULL)
		return err_set(err, ERR_INVALID, "--output FILE is missing: where the tar is to lie");
	_cleanup_close_ int in = open(file, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return err_errno(err, errno, "open '%s'", file);
	int r = read_key(c, &key, err);
	if (r < 0)
		return r;
	_cleanup_close_ int out = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = out < 0 ? refuse_part(part, errno, err) : open_into(in, out, &key, name, err);
	pieces_key_done(&key);
	if (r == 0 && rename(part, c->output) != 0)
		r = err_errno(err, errno, "make '%s'", c->output);
	if (r < 0 && out >= 0)
		unlink(part);
	return r < 0 ? err_wrap(err, r, "open the copy '%s'", file) : 0;
}

int cmd_copy(int argc, char **argv)
{
	struct copy_call c = {0};
	struct err err = ERR_INIT;
	const struct cli_option options[] = {
		{"name", 0, CLI_TEXT, &c.name, "NAME",
	         "what the copy was called: NAME.ENVIRONMENT/ID/FILE; left out: the end of its path"},
		{"key-file", 0, CLI_TEXT, &c.key_file, "FILE",
	         "the key that it was made with; left out: this machine's own"},
		{"output", 'o', CLI_TEXT, &c.output, "FILE", "where the tar of the snapshot is to lie"},
		{0}};
	const struct cli_command command = {"copy",
	                                    "key | open FILE --output FILE [options]",
	                                    "Copies of snapshots: the key of this machine's own, and what is in one.",
	                                    options,
	                                    1,
	                                    2};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	const char *what = rest.words[0];
	int r;
	if (strcmp(what, "key") == 0 && rest.count == 1)
		r = show_key(&err);
	else if (strcmp(what, "open") == 0 && rest.count == 2)
		r = open_copy(&c, rest.words[1], &err);
	else
		r = err_hint(&err, err_set(&err, ERR_INVALID, "'davit copy %s' is no command", what),
		             "davit copy key, or davit copy open FILE --output FILE");
	if (r < 0)
		return cli_fail(&err, EXIT_REFUSED);
	return cli_output_failed() ? 1 : 0;
}
