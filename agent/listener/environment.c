/* environment: what files beside the agent's keys add to its environment, and so to that of its jobs, as the official runner's do:
 * `.env`, a line NAME=VALUE each, and `.path`, PATH. */
#include "agent/listener/listener_priv.h"

#include "base/core/log.h"
#include "base/sys/fs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

/* No quotes, no comments: a line without a name says nothing, one without a value takes the variable away. */
static void take_line(char *line)
{
	char *equals = strchr(line, '=');
	if (str_ends(line, "\r"))
		line[strlen(line) - 1] = '\0';
	if (equals == NULL || equals == line)
		return;
	*equals = '\0';
	if (strcmp(line, "DAVIT_STATE") == 0)
		log_warning("listen",
		            "DAVIT_STATE in the agent's .env is passed over: where that file lies depends on it");
	else if (equals[1] == '\0')
		unsetenv(line);
	else
		setenv(line, equals + 1, 1);
}

static int read_file(const char *dir, const char *name, struct str *text, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, name);
	int r = fs_read_plain(AT_FDCWD, path, FILE_MAX, text, err);
	if (r == ERR_NOT_FOUND)
		err_clear(err);
	else if (r < 0)
		err_wrap(err, r, "the agent's environment, %s", path);
	return r;
}

int listener_read_environment(const char *dir, struct err *err)
{
	_cleanup_(str_done) struct str variables = STR_SECRET_INIT(FILE_MAX), path = STR_INIT(FILE_MAX);
	int r = read_file(dir, ".env", &variables, err);
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	for (char *rest = r == 0 ? variables.data : NULL, *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;)
		take_line(line);
	r = read_file(dir, ".path", &path, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : r;
	str_truncate(&path, strcspn(str_peek(&path), "\r\n"));
	if (path.len > 0)
		setenv("PATH", str_peek(&path), 1);
	return 0;
}
