/* The shell target: commands. Each has a session of its own, so that it can be ended through another one, and so that
 * processes left by it do not belong to the shell that continues. */
#include "engine/target/shell/shell.h"
#include "engine/target/grace.h"
#include "base/core/rand.h"
#include "base/secret/mask.h"

#include <ctype.h>
#include <stdio.h>

enum {
	DEFAULT_MS = 60000,
	DEFAULT_OUTPUT = 256 * 1024,
	LINE_MAX_BYTES = 64 * 1024,
	KILL_MS = 900,
	KILL_LATE_MS = 5000,
	GIVEN_UP_ROUNDS = 30,
	START_MS = 180000 /* a login shell that waits for its start files, too */
};

/* ---- output ---- */

struct lines {
	struct str text;
	bool is_stderr;
};
struct output {
	const struct target_command *command;
	struct target_result *ret;
	size_t max;
	struct lines lines[2];
};

static void give_lines(struct output *o, struct lines *l, bool end)
{
	const struct target_command *c = o->command;
	size_t start = 0;
	for (size_t i = 0; i < l->text.len; i++) {
		if (l->text.data[i] != '\n')
			continue;
		c->on_line(c->context, l->is_stderr, l->text.data + start, i - start);
		start = i + 1;
	}
	str_remove_front(&l->text, start);
	if (l->text.len > 0 && end) {
		c->on_line(c->context, l->is_stderr, l->text.data, l->text.len);
		str_clear(&l->text);
	} else if (l->text.len >= LINE_MAX_BYTES) {
		size_t cut = mask_cut(mask_process(), l->text.data, l->text.len);
		/* A secret longer than a line: none of it is shown. */
		if (cut > 0)
			c->on_line(c->context, l->is_stderr, l->text.data, cut);
		str_remove_front(&l->text, cut > 0 ? cut : l->text.len);
	}
}

static int on_output(void *context, bool is_stderr, const char *data, size_t len, struct err *err)
{
	struct output *o = context;
	if (o->command->on_data != NULL && !is_stderr)
		return o->command->on_data(o->command->context, data, len, err);
	struct str *kept = is_stderr ? &o->ret->err : &o->ret->out;
	size_t max = MIN(o->max, kept->max);
	size_t room = max > kept->len ? max - kept->len : 0;
	str_append_n(kept, data, MIN(len, room));
	/* The text for people ends before a secret that does not fit. */
	if (is_stderr && room > 0 && len > room && !mask_is_empty(mask_process()))
		str_truncate(kept, mask_cut(mask_process(), kept->data, kept->len));
	if (o->command->on_line == NULL)
		return 0;
	while (len > 0) {
		size_t n = MIN(len, (size_t)LINE_MAX_BYTES);
		str_append_n(&o->lines[is_stderr].text, data, n);
		give_lines(o, &o->lines[is_stderr], false);
		data += n;
		len -= n;
	}
	return 0;
}

/* ---- the script ---- */

static bool is_name(const char *text)
{
	if (!isalpha((unsigned char)*text) && *text != '_')
		return false;
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && *text != '_')
			return false;
	return true;
}

/* Environment and command, to be run in a subshell or a shell of its own. */
static int body_text(const struct target_command *c, const char *mark, struct str *out, struct err *err)
{
	if (*mark != '\0')
		str_appendf(out, "export " COMMAND_MARK_NAME "=%s\n", mark);
	if (c->input_len == 0)
		str_append(out, "exec </dev/null\n");
	for (size_t i = 0; i < c->env_count; i++) {
		if (!is_name(c->env[i].key))
			return err_set(err, ERR_INVALID, "'%s' is not a name of an environment variable",
			               c->env[i].key);
		str_appendf(out, "export %s=", c->env[i].key);
		str_append_shell(out, c->env[i].value);
		str_append(out, "\n");
	}
	if (c->script != NULL) {
		str_append(out, "eval ");
		str_append_shell(out, c->script);
	} else {
		str_append(out, "exec");
		for (const char *const *a = c->argv; a != NULL && *a != NULL; a++) {
			str_append(out, " ");
			str_append_shell(out, *a);
		}
	}
	return out->failed ? err_set(err, ERR_LIMIT, "the command is too long") : 0;
}

/* A shell of another user reads its script from the input too: the environment is never an argument. */
static const char inner_boot[] = "IFS= read -r E;X=$(printf \"\\nx\");X=${X%x};S=;while IFS= read -r L;do case $L in "
				 "\"$E\")break;;esac;S=$S$L$X;done;unset E L X;eval \"$S\"";

/* A killed command (128 and a signal) did not end by itself: its note stays. */
static const char command_ended[] = "; r=$?; [ $r -le 128 ] || [ $r -gt 192 ] || N=; d r $r n";

static int frame_text(const struct shell_target *s, const struct target *t, const struct target_command *c,
                      const char *command, struct str *frame, struct str *input, struct err *err)
{
	const char *cwd = c->cwd != NULL ? c->cwd : "/";
	if (t != NULL) {
		str_appendf(frame, "M='%s '", command);
		str_append_shell(frame, c->user != NULL ? c->user : "-");
		str_appendf(frame, " J=%lld\n", (long long)c->grace_ms / 1000);
	}
	str_append(frame, "if ");
	if (t != NULL)
		shell_guard_text(t, frame);
	else
		str_append(frame, "n");
	/* The shell itself outlives the signals that its group gets when it is given up, so that the group keeps its
	 * leader. */
	str_append(frame, "; then trap : TERM INT; else d \"$Q\" 0; exit 0; fi\n");
	if (c->user != NULL) {
		str_append(frame, "id -u -- ");
		str_append_shell(frame, c->user);
		str_append(frame, " >/dev/null 2>&1 || { d u 0; exit 0; }\n");
	}
	str_append(frame, "cd -- ");
	str_append_shell(frame, cwd);
	str_append(frame, " 2>/dev/null || { d c 0; exit 0; }\n"
	                  "if [ -n \"$Y\" ]; then LC_ALL=$Y; else unset LC_ALL; fi\n");
	if (c->user == NULL) {
		str_append(frame, "(\ntrap - EXIT TERM INT\n"
		                  "unset E S L X Q N T B G U W M J Y s i; unset -f d q n g k h v alive\n");
		int r = body_text(c, command, frame, err);
		if (r < 0)
			return r;
		str_append(frame, "\n)");
		str_append(frame, command_ended);
	} else {
		char mark[41];
		rand_hex(mark, 40);
		str_appendf(input, "%s\n", mark);
		int r = body_text(c, command, input, err);
		if (r < 0)
			return r;
		str_appendf(input, "\n%s\n", mark);
		_cleanup_(str_done) struct str user = STR_INIT(4096), boot = STR_INIT(4096);
		str_append_shell(&user, c->user);
		str_append_shell(&boot, inner_boot);
		shell_as_user(s, str_peek(&user), str_peek(&boot), frame);
		str_append(frame, command_ended);
	}
	if (!str_append_n(input, c->input, c->input_len))
		return err_set(err, ERR_LIMIT, "the command's input is too long");
	return frame->failed ? err_set(err, ERR_LIMIT, "the command is too long") : 0;
}

/* ---- the end of one that was given up ---- */

/* First SIGTERM, then SIGKILL; true when it has surely ended. Neither a cancel nor a deadline of the caller shortens it: it
 * has its own. */
static bool end_command(struct shell_target *s, struct shell_process process, int64_t ms)
{
	struct wait quick = WAIT_INIT;
	struct shell_session *session;
	struct shell_reply reply;
	_cleanup_(str_done) struct str frame = STR_INIT(64 * 1024);
	shell_end_function(s, &frame);
	str_appendf(&frame, "k %lld %lld %lld; ", process.pid, process.start_time, process.group);
	shell_end_call(&process, GIVEN_UP_ROUNDS, &frame);
	str_append(&frame, "; d r $?");
	quick = wait_within(&quick, ms);
	if (!link_is_open(s->link) || shell_session_get(s, &quick, &session, NULL) < 0) {
		shell_stray(s, process);
		return false;
	}
	if (session_call(session, str_peek(&frame), NULL, &quick, &reply, NULL, NULL) < 0) {
		shell_session_drop(s, session);
		shell_stray(s, process);
		return false;
	}
	if (reply.status != 0)
		shell_stray(s, process);
	return reply.status == 0;
}

struct asked {
	struct shell_target *s;
	const struct shell_process *process;
};

/* Through the shell that is there to end it. What does not hear it is killed when its grace is over. */
static void ask_to_end(void *context)
{
	const struct asked *a = context;
	struct wait quick = WAIT_INIT;
	struct shell_session *session;
	struct shell_reply reply;
	_cleanup_(str_done) struct str frame = STR_INIT(1024);
	str_appendf(&frame, "! alive %lld %lld || kill -s INT -- -%lld 2>/dev/null; d r 0", a->process->pid,
	            a->process->start_time, a->process->group);
	quick = wait_within(&quick, KILL_LATE_MS);
	if (link_is_open(a->s->link) && shell_session_get(a->s, &quick, &session, NULL) == 0 &&
	    session_call(session, str_peek(&frame), NULL, &quick, &reply, NULL, NULL) < 0)
		shell_session_drop(a->s, session);
}

static int given_up(struct shell_target *s, struct shell_process process, const struct target *t, bool sent, int r,
                    struct target_result *ret, struct err *err)
{
	if (!sent)
		return r;
	if (r == ERR_NETWORK) {
		shell_stray(s, process);
		if (t == NULL)
			return r;
		if (err != NULL)
			err->code = ERR_UNKNOWN;
		return err_wrap(err, ERR_UNKNOWN, "the command's end is not known");
	}
	bool own_time = r == ERR_TIMEOUT && wait_check(s->t.view.wait, NULL) == 0;
	bool ended = end_command(s, process, own_time ? KILL_LATE_MS : KILL_MS);
	if (r != ERR_TIMEOUT)
		return r;
	if (!ended && t != NULL)
		return err_set(err, ERR_UNKNOWN,
		               "the command on '%s' took too long, and it is not sure that it has ended",
		               s->t.view.name);
	/* Its own timeout is a result of the command. The caller's timeout is his own matter. */
	if (!own_time)
		return r;
	err_clear(err);
	ret->timed_out = true;
	ret->status = 128 + 15;
	return 0;
}

/* ---- both ---- */

static int call_it(struct shell_target *s, const struct target *t, const struct target_command *c, const char *mark,
                   struct shell_session *session, struct wait *w, struct output *o, bool *ret_sent, struct err *err)
{
	_cleanup_(str_done) struct str frame = STR_SECRET_INIT(SIZE_MAX / 2), input = STR_SECRET_INIT(SIZE_MAX / 2);
	struct shell_reply reply;
	int r = frame_text(s, t, c, mark, &frame, &input, err);
	if (r < 0)
		return r;
	struct shell_io io = {.input = input.data,
	                      .input_len = input.len,
	                      .on_output = on_output,
	                      .output_context = o,
	                      .close_input = true};
	r = session_call(session, frame.data, &io, w, &reply, ret_sent, err);
	if (r < 0)
		return r;
	switch (reply.kind) {
	case SHELL_FENCED:
		return err_set(err, ERR_FENCED, "the lock '%s' on '%s' is no longer ours", t != NULL ? t->lock_dir : "",
		               s->t.view.name);
	case SHELL_NO_SPACE:
		return err_set(err, ERR_NO_SPACE, "the note of a command cannot be written on '%s'", s->t.view.name);
	case SHELL_NO_USER:
		return err_set(err, ERR_NOT_FOUND, "there is no user '%s' on '%s'", c->user, s->t.view.name);
	case SHELL_NO_DIR:
		return err_set(err, ERR_NOT_FOUND, "there is no directory '%s' on '%s'", c->cwd != NULL ? c->cwd : "/",
		               s->t.view.name);
	case SHELL_DONE:
		break;
	}
	o->ret->status = reply.status;
	return 0;
}

static int run_command(struct view *v, const struct target *t, const struct target_command *c,
                       struct target_result *ret, struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	struct shell_session *session = NULL, *main;
	struct output o = {.command = c,
	                   .ret = ret,
	                   .max = c->max_output > 0 ? c->max_output : DEFAULT_OUTPUT,
	                   .lines = {{.text = STR_INIT(3 * LINE_MAX_BYTES)},
	                             {.text = STR_INIT(3 * LINE_MAX_BYTES), .is_stderr = true}}};
	struct shell_stretch stretch;
	bool sent = false;
	int r = shell_open(v, err);
	if (r < 0)
		return r;
	/* Before it starts, the shell that would end it must exist, and a lost connection must be noticed. */
	struct wait *w = shell_enter(v, START_MS, &stretch);
	r = shell_session_get(s, w, &main, err);
	if (r == 0)
		r = session_open(s->link, s->become, w, &session, err);
	if (r == ERR_NETWORK && !link_is_open(s->link)) {
		err_clear(err);
		r = shell_session_get(s, w, &main, err);
		if (r == 0)
			r = session_open(s->link, s->become, w, &session, err);
	}
	shell_leave(&stretch);
	if (r < 0)
		return r;
	struct shell_process process = session->process;
	process.has_grace = c->grace_ms > 0;
	if (t != NULL)
		command_mark(process.mark);
	if (c->user != NULL && strlen(c->user) < sizeof(process.user))
		snprintf(process.user, sizeof(process.user), "%s", c->user);
	int64_t time = c->timeout_ms > 0 ? c->timeout_ms : DEFAULT_MS;
	struct asked asked = {s, &process};
	struct grace g = {0};
	w = shell_enter(v, time, &stretch);
	if (c->grace_ms > 0)
		w = grace_begin(&g, w, time, c->grace_ms, ask_to_end, &asked);
	r = call_it(s, t, c, process.mark, session, w, &o, &sent, err);
	shell_leave(&stretch);
	if (r < 0 && c->grace_ms > 0)
		r = grace_end(&g, r, err);
	if (r < 0 && r != ERR_FENCED && r != ERR_NO_SPACE && r != ERR_NOT_FOUND)
		r = given_up(s, process, t, sent, r, ret, err);
	else if (r == 0 && t != NULL && target_was_killed(ret->status))
		end_command(s, process, KILL_LATE_MS);
	/* It ended in its time, once it was asked to. */
	if (r == 0 && g.why != 0 && !ret->timed_out) {
		ret->timed_out = g.why == ERR_TIMEOUT;
		r = ret->timed_out ? 0 : grace_end(&g, 0, err);
	}
	session_free(session);
	if (c->on_line != NULL) {
		give_lines(&o, &o.lines[0], true);
		give_lines(&o, &o.lines[1], true);
	}
	str_done(&o.lines[0].text);
	str_done(&o.lines[1].text);
	return r;
}

int shell_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err)
{
	return run_command(v, NULL, command, ret, err);
}

int shell_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err)
{
	int r = shell_open(&t->view, err);
	if (r == 0 && t->lock_dir == NULL)
		r = err_set(err, ERR_INTERNAL, "a command was to be run on '%s' without a lock", t->view.name);
	return r < 0 ? r : run_command(&t->view, t, command, ret, err);
}
