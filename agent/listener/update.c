/* Another davit takes this one's place, in the same process: `davit agent update` asks for it by a file in the agent's own directory, which is
 * looked at when somebody asks how it goes. No further job is taken, and those that run are waited for. Then the new one shows, as a child, that
 * it opens each session that this one had (`agent run --probe`). Only then is it executed; else this one is, anew, and goes on. One that was
 * executed and that the service does not hear in time executes the former one again, which is replaced on the disk behind that alone. */
#include "agent/listener/listener_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/listener/update.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum {
	REQUEST_MAX = 16 << 10,
	PROBE_MS = 90 * 1000,
	HEARD_MS = 60 * 1000,
	LATER_MS = 1000,
	SAID_MAX = 256 << 10,
	ARGUMENTS_MAX = 32,
	SESSIONS_MAX = 1000,
	WHY_MAX = 400
};

/* How it ended, for the program that is executed: {"program", "state", "why", "former", "sessions"}. */
static const char told[] = "DAVIT_AGENT_UPDATE";

void update_begin(struct listener *l)
{
	const char *text = getenv(told);
	if (text != NULL)
		(void)json_parse(text, strlen(text), REQUEST_MAX, &l->update.ended, NULL);
	unsetenv(told);
	const char *state = json_get_string(l->update.ended, "state"),
		   *former = json_get_string(l->update.ended, "former");
	if (former == NULL || state == NULL || strcmp(state, UPDATE_DONE) != 0 || l->options.probe > 0)
		return;
	l->update.former = xstrdup(former);
	l->update.sessions = (int)json_get_int(l->update.ended, "sessions", 1);
	l->update.until_ms = clock_mono_ms() + wire_limit_ms(HEARD_MS);
}

void update_done(struct listener *l)
{
	json_decref(l->update.ended);
	free(l->update.program);
	free(l->update.former);
}

json_t *update_describe(const struct listener *l)
{
	if (l->update.program != NULL)
		return json_pack("{s:s, s:s}", "program", l->update.program, "state", UPDATE_WAITING);
	return l->update.ended != NULL ? json_incref(l->update.ended) : json_null();
}

static char *request_path(const struct listener *l)
{
	return fs_join(l->store->dir, UPDATE_REQUEST);
}

/* The program that is asked for; NULL: none. free() */
static char *read_request(const struct listener *l)
{
	_cleanup_free_ char *path = request_path(l);
	_cleanup_(str_done) struct str text = STR_INIT(REQUEST_MAX);
	_cleanup_json_ json_t *request = NULL;
	if (fs_read_plain(AT_FDCWD, path, REQUEST_MAX, &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, REQUEST_MAX, &request, NULL) < 0)
		return NULL;
	const char *program = json_get_string(request, "program");
	return program != NULL && program[0] == '/' ? xstrdup(program) : NULL;
}

/* Nobody but this user and root may have written it: it gets the keys. */
static bool may_execute(const char *program)
{
	struct stat st;
	return lstat(program, &st) == 0 && S_ISREG(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && access(program, X_OK) == 0;
}

static int count_sessions(const struct listener *l)
{
	int count = 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		count += l->endpoints[i]->session != NULL;
	return count;
}

void update_look(struct listener *l)
{
	if (l->store == NULL || l->update.program != NULL || l->stopping || l->draining || l->options.once)
		return;
	_cleanup_free_ char *program = read_request(l);
	const char *before = json_get_string(l->update.ended, "program");
	if (program == NULL || (before != NULL && strcmp(before, program) == 0))
		return;
	json_decref(l->update.ended);
	l->update.ended = NULL;
	if (!may_execute(program)) {
		l->update.ended = json_pack("{s:s, s:s, s:s}", "program", program, "state", UPDATE_FAILED, "why",
		                            "it is no program that only root or the agent's user may write");
		return;
	}
	l->update.program = TAKE(program);
	l->update.sessions = count_sessions(l);
	listener_say("Another davit takes over: no further jobs; those that run are waited for.");
	listener_drain(l);
}

const char *listener_program(struct listener *l)
{
	const char *state = json_get_string(l->update.ended, "state");
	bool took_over = state != NULL && strcmp(state, UPDATE_DONE) == 0;
	char *now = took_over && access(l->program, X_OK) < 0 ? fs_real_path("/proc/self/exe", NULL) : NULL;
	if (now != NULL) {
		free(l->program);
		l->program = now;
	}
	return l->program;
}

/* ---- the change of programs, when nothing runs any more ---- */

struct words {
	const char *argv[ARGUMENTS_MAX];
	size_t count;
	struct strv texts;
};

static void add(struct words *w, const char *name, const char *value)
{
	if (value == NULL || w->count + 3 > ARGUMENTS_MAX)
		return;
	w->argv[w->count++] = name;
	w->argv[w->count++] = value;
}

static void add_number(struct words *w, const char *name, int64_t value)
{
	if (value == 0)
		return;
	char *text = xasprintf("%lld", (long long)value);
	strv_add(&w->texts, text);
	add(w, name, text);
	w->argv[w->count - 1] = w->texts.items[w->texts.count - 1];
	free(text);
}

/* What may be a secret goes by the environment. The version that services are told is the other's own business. */
static void make_environment(const struct listener *l)
{
	if (l->options.ping != NULL)
		setenv("ACTIONS_RUNNER_INPUT_PING", l->options.ping, 1);
	if (l->options.version_source != NULL)
		setenv("ACTIONS_RUNNER_INPUT_VERSION-SOURCE", l->options.version_source, 1);
	unsetenv(WIRE_VERSION_VARIABLE);
}

/* What this one was told, in the words of another: `agent run` with its options. */
static void make_words(const struct listener *l, const char *program, struct words *w)
{
	const struct listener_options *o = &l->options;
	w->argv[w->count++] = program;
	w->argv[w->count++] = "agent";
	w->argv[w->count++] = "run";
	if (o->drain)
		w->argv[w->count++] = "--drain";
	add_number(w, "--slots", o->slots);
	add(w, "--worker-user", o->worker_user);
	add(w, "--isolation", o->isolation);
	add(w, "--native", o->native);
	add(w, "--policy", o->policy);
	add(w, "--runner-version", o->runner_version);
	add(w, "--version-key", o->version_key);
	add_number(w, "--quota", o->quota);
	add_number(w, "--free-space", o->free_space);
}

/* The last line that it wrote says why. */
static char *last_line(struct str *said)
{
	while (said->len > 0 && strchr("\r\n", said->data[said->len - 1]) != NULL)
		str_truncate(said, said->len - 1);
	const char *text = str_peek(said), *newline = strrchr(text, '\n');
	_cleanup_(str_done) struct str safe = STR_INIT(4 * SAID_MAX);
	str_append_safe(&safe, newline != NULL ? newline + 1 : text, strlen(newline != NULL ? newline + 1 : text));
	return xasprintf("%.*s", WHY_MAX, str_peek(&safe));
}

/* NULL: the service saw it. Else why not; free() */
static char *probe(const struct listener *l)
{
	struct words w = {.count = 0};
	struct err err = ERR_INIT;
	char line[1024];
	int status = -1;
	_cleanup_(str_done) struct str said = STR_INIT(SAID_MAX);
	make_environment(l);
	make_words(l, l->update.program, &w);
	add_number(&w, "--probe", MIN(MAX(l->update.sessions, 1), SESSIONS_MAX));
	const struct proc_options options = {.argv = w.argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = PROC_PIPE};
	struct wait wait = WAIT_INIT;
	wait.cancel_fd = l->cancel_fd;
	wait.deadline_mono_ms = clock_mono_ms() + wire_limit_ms(PROBE_MS);
	int r = proc_run(&options, NULL, 0, SAID_MAX, &wait, NULL, &said, &status, &err);
	strv_done(&w.texts);
	if (r == ERR_TIMEOUT)
		return xasprintf("the service did not hear it within %d s", (int)(wire_limit_ms(PROBE_MS) / 1000));
	if (r < 0)
		return xstrdup(err_line(&err, line, sizeof(line)));
	if (status == 0)
		return NULL;
	_cleanup_free_ char *last = last_line(&said);
	return xasprintf("it ended with %d%s%s", status, last[0] != '\0' ? ": " : "", last);
}

/* former: may have to be executed again; NULL. */
static void execute(struct listener *l, const char *program, const char *state, const char *why, const char *former)
{
	struct words w = {.count = 0};
	_cleanup_json_ json_t *ended = json_pack("{s:s, s:s}", "program", l->update.program, "state", state);
	if (why != NULL)
		json_object_set_new(ended, "why", json_string_lossy(why, strlen(why)));
	if (former != NULL) {
		json_set_string(ended, "former", former);
		json_object_set_new(ended, "sessions", json_integer(MAX(l->update.sessions, 1)));
	}
	_cleanup_free_ char *text = json_text(ended);
	setenv(told, text, 1);
	make_environment(l);
	supervisor_give_back(&l->supervisor);
	make_words(l, program, &w);
	execv(program, (char *const *)(uintptr_t)w.argv);
	struct err err = ERR_INIT;
	err_errno(&err, errno, "execute %s", program);
	log_err(&err);
	strv_done(&w.texts);
	supervisor_take(&l->supervisor);
}

bool update_carry_out(struct listener *l)
{
	if (l->update.program == NULL || l->stopping || cancel_requested())
		return false;
	struct err err = ERR_INIT;
	_cleanup_free_ char *own = fs_helper_program("davit", &err), *asked = read_request(l), *why = NULL;
	if (own == NULL) {
		log_err(&err);
		return false;
	}
	areas_end(l);
	ping_end(l);
	/* Who asked for it may have thought better of it. */
	if (asked == NULL || strcmp(asked, l->update.program) != 0)
		why = xstrdup("it is not asked for any more");
	else
		why = probe(l);
	if (cancel_requested())
		return false;
	teller_end(l);
	if (why == NULL) {
		listener_say("%s was seen by the service: it goes on from here.", l->update.program);
		execute(l, l->update.program, UPDATE_DONE, NULL, own);
		why = xstrdup("it could not be executed");
	} else {
		log_warning("listen", "%s does not take over: %s; this one goes on", l->update.program, why);
	}
	execute(l, own, UPDATE_FAILED, why, NULL);
	return true;
}

/* ---- in the new one: heard, or back ---- */

static int count_heard(const struct listener *l)
{
	int count = 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		count += l->endpoints[i]->session != NULL && l->endpoints[i]->heard_ms != 0;
	return count;
}

static void go_back(struct listener *l)
{
	_cleanup_free_ char *former = TAKE(l->update.former),
			    *why = xasprintf("the service did not hear it within %d s",
	                                     (int)(wire_limit_ms(HEARD_MS) / 1000));
	free(l->update.program);
	l->update.program = xstrdup(json_get_string(l->update.ended, "program"));
	l->update.until_ms = 0;
	log_warning("listen", "%s does not take over: %s; %s goes on", l->update.program, why, former);
	areas_end(l);
	ping_end(l);
	teller_end(l);
	execute(l, former, UPDATE_FAILED, why, NULL);
	free(TAKE(l->update.program));
	teller_begin(l);
	ping_begin(l);
	areas_begin(l);
}

void update_timer(struct listener *l, int64_t now_ms)
{
	if (l->update.until_ms == 0)
		return;
	if (count_heard(l) >= l->update.sessions) {
		json_object_set_new(l->update.ended, "heard", json_true());
		free(TAKE(l->update.former));
		l->update.until_ms = 0;
	} else if (l->stopping || l->draining) {
		l->update.until_ms = 0;
	} else if (now_ms >= l->update.until_ms) {
		if (l->jobs == NULL && l->recoveries == NULL)
			go_back(l);
		else
			l->update.until_ms = now_ms + LATER_MS;
	}
}
