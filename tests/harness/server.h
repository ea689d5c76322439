/* A server from tests/servers as a child: it prints one JSON object when it is ready and ends when its input closes. */
#pragma once
#include "base/core/clock.h"
#include "base/sys/proc.h"
#include "base/core/wait.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

struct server {
	struct proc proc;
	json_t *facts;
};

static inline bool server_read_line(struct server *s, char *line, size_t size)
{
	struct wait w = WAIT_INIT;
	size_t len = 0;
	w = wait_within(&w, 60000);
	while (len + 1 < size) {
		ssize_t n = read(s->proc.stdout_fd, line + len, 1);
		if (n < 0 && errno == EAGAIN) {
			if (wait_fd(&w, s->proc.stdout_fd, POLLIN, NULL) < 0)
				return false;
			continue;
		}
		if (n <= 0)
			return false;
		if (line[len] == '\n') {
			line[len] = '\0';
			return true;
		}
		len++;
	}
	return false;
}

/* argv after "python3 tests/servers/NAME"; NULL-terminated. False: it did not start, or has to be skipped ("skip"). */
static inline bool server_start(struct server *s, const char *name, const char *const *arguments)
{
	char path[4096], line[4096];
	const char *argv[32] = {"python3", path};
	size_t count = 2;
	snprintf(path, sizeof(path), "%s/tests/servers/%s", DAVIT_SOURCE_DIR, name);
	for (; arguments != NULL && *arguments != NULL && count < 31; arguments++)
		argv[count++] = *arguments;
	struct proc_options o = {
		.argv = argv, .stdin_fd = PROC_PIPE, .stdout_fd = PROC_PIPE, .stderr_fd = STDERR_FILENO};
	*s = (struct server){.proc = PROC_INIT};
	if (proc_spawn(&o, &s->proc, NULL) < 0 || !server_read_line(s, line, sizeof(line)))
		return false;
	s->facts = json_loads(line, 0, NULL);
	return s->facts != NULL && json_object_get(s->facts, "skip") == NULL;
}

static inline const char *server_text(const struct server *s, const char *name)
{
	const char *text = json_string_value(json_object_get(s->facts, name));
	return text != NULL ? text : "";
}

static inline int server_port(const struct server *s)
{
	return (int)json_integer_value(json_object_get(s->facts, "port"));
}

/* A line to it, a line back. */
static inline bool server_ask(struct server *s, const char *question, char *answer, size_t size)
{
	size_t len = strlen(question);
	return write(s->proc.stdin_fd, question, len) == (ssize_t)len && server_read_line(s, answer, size);
}

static inline void server_stop(struct server *s)
{
	struct wait w = WAIT_INIT;
	int status;
	if (s->proc.pid != 0) {
		closep(&s->proc.stdin_fd);
		w = wait_within(&w, 20000);
		proc_wait(&s->proc, &w, &status, NULL);
	}
	proc_done(&s->proc);
	json_decref(s->facts);
	s->facts = NULL;
}
