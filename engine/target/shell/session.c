#include "engine/target/shell/session.h"
#include "engine/target/shell/answer.h"
#include "base/core/rand.h"
#include "base/secret/mask.h"

#include <stdio.h>

enum { CHUNK = 64 * 1024, MARK_DIGITS = 32, NOISE_MAX = 64 * 1024, SMALL = 4096 };

/* One line and no exclamation mark: it passes through any login shell of the user. */
static const char boot[] =
	"while IFS= read -r E;do case $E in davit-*)break;;esac;done;X=$(printf '\\nx');X=${X%x};"
	"while :;do S=;while IFS= read -r L||exit 0;do case $L in \"$E\")break;;esac;S=$S$L$X;done;eval \"$S\";done";

/* The functions of every session, in the order of use:
 *   d KIND STATUS [n]  ends a frame; n: and removes our note, between the marks of the two outputs
 *   q PID              state, group and start time of a process: "S 12 3456"; fails when it is gone or a zombie
 *   n                  removes our note
 *   g DIR TOKEN        the guard: notes this sh in DIR/pids, then looks for the token in DIR/lock; Q says why not
 *   alive PID START    is it this very process?
 *   k PID START GROUP  asks a process and its group to end (SIGTERM), and waits a moment
 *   h COUNT            exactly that many bytes of the input
 *   v PATH             true if something exists there, even a dangling link
 * Only builtins if possible: a process costs a millisecond. */
/* clang-format off */
static const char helpers[] =
	"d() { printf '%s %s %s\\n' \"$E\" \"$1\" \"$2\" && { W=; ${3:-:}; }; printf '%s %s %s\\n' \"$E\" \"$1\" \"$2\" >&2; }\n"

	"q() {\n"
	" { IFS= read -r s </proc/$1/stat; } 2>/dev/null || return 1\n"
	" set -f; set -- ${s##*) }; set +f\n"
	" case $1 in Z|X) return 1;; esac\n"
	" echo \"$1 $3 ${20}\"\n"
	"}\n"

	/* W: a frame is being processed. M: "MARK USER" of its command, J: its grace. */
	"B=; { read -r B </proc/sys/kernel/random/boot_id; } 2>/dev/null\n"
	"if s=$(q $$); then set -- $s; G=$2; T=$3; U=; else G=$$; T=0; U=$(date +%s); fi\n"
	"N= W= M= J=\n"
	"n() { [ -z \"$N\" ] || [ -n \"$W\" ] || rm -f \"$N/pids/$$\"; N=; }\n"
	"trap n EXIT\n"

	"g() {\n"
	" Q=f\n"
	" if [ \"$N\" != \"$1\" ] || [ ! -f \"$1/pids/$$\" ]; then\n"
	"  W=; n\n"
	"  [ -d \"$1/pids\" ] || mkdir -m 700 \"$1/pids\" 2>/dev/null\n"
	"  [ -d \"$1/pids\" ] || return 1\n"
	"  (umask 077; printf '%s %s %s\\n%s %s\\n' \"$T\" \"${B:--}\" \"$G\" \"${M:-- -}\" \"${U:--} ${J:-}\" >\"$1/pids/$$\") || { Q=s; rm -f \"$1/pids/$$\"; return 1; }\n"
	"  N=$1\n"
	" fi\n"
	" W=1\n"
	" [ -r \"$1/lock\" ] || return 1\n"
	" while IFS= read -r s || [ -n \"$s\" ]; do\n"
	"  case $s in *\"\\\"$2\\\"\"*) return 0;; esac\n"
	" done <\"$1/lock\"\n"
	" return 1\n"
	"}\n"

	"alive() { s=$(q \"$1\") && [ \"${s##* }\" = \"$2\" ]; }\n"

	"k() {\n"
	" alive \"$1\" \"$2\" || return 0\n"
	" kill -s TERM -- \"-$3\" 2>/dev/null || kill -s TERM \"$1\" 2>/dev/null\n"
	" i=0; while alive \"$1\" \"$2\" && [ $i -lt 3 ]; do sleep 0.1; i=$((i+1)); done\n"
	"}\n"

	/* We parse error messages: in the C locale. Commands of the deployment get their own locale back. */
	"Y=${LC_ALL-}; LC_ALL=C; export LC_ALL\n"

	"case $(head --version 2>/dev/null || printf abcdef | { head -c 2 >/dev/null; cat; }) in\n"
	" *GNU*|cdef) h() { head -c \"$1\"; };;\n"
	" *) h() { dd bs=1 count=\"$1\" 2>/dev/null; };;\n"
	"esac\n"
	"v() { [ -e \"$1\" ] || [ -L \"$1\" ]; }\n"
	"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin\n";
/* clang-format on */

static int deliver(const struct shell_io *io, bool is_stderr, const char *data, size_t len, struct err *err)
{
	if (len == 0)
		return 0;
	if (io->on_output != NULL)
		return io->on_output(io->output_context, is_stderr, data, len, err);
	struct str *to = is_stderr ? io->err : io->out;
	size_t max = is_stderr ? io->err_max : io->out_max;
	if (to == NULL)
		return 0;
	if (is_stderr)
		len = MIN(len, max > to->len ? max - to->len : 0);
	else if (to->len + len > max)
		to->failed = true;
	if (!to->failed)
		str_append_n(to, data, len);
	return 0;
}

struct sink {
	const struct shell_io *io;
	bool is_stderr;
	int result;
	struct err *err;
};

static void pass_on(void *context, const char *data, size_t len)
{
	struct sink *sink = context;
	if (sink->result == 0)
		sink->result = deliver(sink->io, sink->is_stderr, data, len, sink->err);
}

static int take(struct answer *a, const struct shell_io *io, bool is_stderr, const char *data, size_t len,
                struct err *err)
{
	struct sink sink = {.io = io, .is_stderr = is_stderr, .err = err};
	int r = answer_take(a, data, len, pass_on, &sink, err);
	return sink.result < 0 ? sink.result : r;
}

static int gone(struct shell_session *s, const struct str *last_words, struct err *err)
{
	s->dead = true;
	const char *words = str_peek(last_words);
	return err_set(err, ERR_NETWORK, "the shell on the target is gone%s%s", *words != '\0' ? ": " : "", words);
}

/* One turn of a call: writes from *input, feeds both outputs to their marks. */
struct shell_call {
	struct shell_session *s;
	const struct shell_io *io;
	struct answer out, err;
	char *buffer;
};

static int call_turn(struct shell_call *c, const char **input, size_t *left, bool may_wait, struct wait *w,
                     struct err *err)
{
	struct shell_turn t = {.in = *input,
	                       .in_len = MIN(*left, (size_t)1 << 20),
	                       .out = c->buffer,
	                       .err = c->buffer + CHUNK,
	                       .out_size = CHUNK,
	                       .err_size = CHUNK};
	int r = stream_turn(c->s->stream, &t, may_wait, w, err);
	if (r < 0)
		return r;
	if (t.sent > 0) {
		*input += t.sent;
		*left -= t.sent;
	}
	int took = take(&c->out, c->io, false, t.out, t.out_len, err);
	if (took == 0)
		took = take(&c->err, c->io, true, t.err, t.err_len, err);
	if (took < 0)
		return took;
	if (r == 0 && !(c->out.done && c->err.done))
		return gone(c->s, &c->err.held, err);
	return 0;
}

static int feed(struct shell_call *c, const char *data, size_t len, struct wait *w, struct err *err)
{
	while (len > 0) {
		int r = call_turn(c, &data, &len, true, w, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int session_write(struct shell_session *s, const void *data, size_t len, struct wait *w, struct err *err)
{
	struct shell_call *c = s->call;
	const char *p = data;
	while (len > 0) {
		if (c->out.done)
			return err_set(err, ERR_FAILED, "the target takes no more");
		int r = call_turn(c, &p, &len, true, w, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int call(struct shell_call *c, const char *frame, struct wait *w, bool *ret_sent, struct err *err)
{
	struct shell_session *s = c->s;
	const struct shell_io *io = c->io;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SIZE_MAX / 2);
	str_appendf(&text, "%s\n%s\n", frame, s->mark);
	int r = feed(c, text.data, text.len, w, err);
	if (r < 0)
		return r;
	*ret_sent = true;
	if (io->produce != NULL)
		r = io->produce(io->produce_context, s, w, err);
	else
		r = feed(c, io->input, io->input_len, w, err);
	if (r == 0 && io->close_input)
		r = stream_close_input(s->stream, w, err);
	while (r == 0 && !(c->out.done && c->err.done)) {
		const char *none = NULL;
		size_t zero = 0;
		r = call_turn(c, &none, &zero, true, w, err);
	}
	return r;
}

int session_call(struct shell_session *s, const char *frame, const struct shell_io *io, struct wait *w,
                 struct shell_reply *ret, bool *ret_sent, struct err *err)
{
	static const struct shell_io nothing = {0};
	bool sent = false;
	struct shell_call c = {.s = s, .io = io != NULL ? io : &nothing};
	c.out = c.err = (struct answer)ANSWER_INIT(s->mark);
	c.buffer = xmalloc(2 * CHUNK);
	s->busy = true;
	s->call = &c;
	int r = call(&c, frame, w, &sent, err);
	s->call = NULL;
	s->busy = false;
	free(c.buffer);
	str_done(&c.out.held);
	str_done(&c.err.held);
	if (ret_sent != NULL)
		*ret_sent = sent;
	if (r < 0) {
		s->dead = true;
		return r;
	}
	*ret = (struct shell_reply){.kind = (enum shell_kind)c.out.kind, .status = c.out.status};
	return 0;
}

/* Finds a hint by sudo's own message. */
static int hint_for_sudo(const char *words, int code, struct err *err)
{
	static const struct {
		const char *said, *hint;
	} known[] = {
		{"must have a tty", "sudoers has requiretty; take it off for this user: Defaults:USER !requiretty"},
		{"not found", "install sudo there, or log in as root and leave become out"},
		{"No such file", "install sudo there, or log in as root and leave become out"},
		{"is not in the sudoers", "allow it in sudoers: USER ALL=(ALL) NOPASSWD: ALL, or log in as root"},
		{"may not run sudo", "allow it in sudoers: USER ALL=(ALL) NOPASSWD: ALL, or log in as root"},
		{"not allowed to execute",
	         "allow all commands in sudoers: USER ALL=(ALL) NOPASSWD: ALL, or log in as root"},
		{"password",
	         "let the user become root without a password (in sudoers: USER ALL=(ALL) NOPASSWD: ALL), or log "
	         "in as root"},
		{"no new privileges",
	         "the host keeps its logins from becoming root (NoNewPrivileges, a container): log in as "
	         "root"},
		{"setuid",
	         "sudo has lost its set-user-id bit or its disk is mounted nosuid: reinstall it, or log in as root"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(words, known[i].said) != NULL)
			return err_hint(err, code, "%s", known[i].hint);
	return code;
}

/* It ended before it began: the output of sudo or the login shell is the reason. */
static int does_not_start(const struct str *out, const struct str *words, int code, struct err *err)
{
	_cleanup_(str_done) struct str all = STR_INIT(2 * NOISE_MAX);
	str_append_safe(&all, str_peek(words), words->len);
	str_append_safe(&all, str_peek(out), MIN(out->len, (size_t)200));
	if (code == ERR_TIMEOUT)
		return err_hint(err,
		                err_set(err, ERR_TIMEOUT, "the login shell on the target did not start in time%s%.200s",
		                        all.len > 0 ? ": " : "", str_peek(&all)),
		                "look what the user's start files (.bashrc, .profile, config.fish) wait for");
	if (all.len == 0)
		return code;
	int r = err_set(err, ERR_AUTH, "the shell on the target does not start: %s", str_peek(&all));
	return strstr(str_peek(&all), "sudo") != NULL ? hint_for_sudo(str_peek(&all), r, err) : r;
}

static int hello(struct shell_session *s, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str start = STR_INIT(16 * 1024), out = STR_INIT(NOISE_MAX), words = STR_INIT(SMALL);
	struct shell_io io = {.out = &out, .out_max = NOISE_MAX, .err = &words, .err_max = SMALL};
	struct shell_reply reply;
	/* The first line is the mark itself; output of the user's start files comes before the answer. */
	str_appendf(&start, "%s\n%s\nprintf '\\n%%s %%s %%s %%s\\n' $$ \"$T\" \"$G\" \"${U:-0}\"; d r 0", s->mark,
	            helpers);
	int r = session_call(s, str_peek(&start), &io, w, &reply, NULL, err);
	if (r == ERR_NETWORK || r == ERR_TIMEOUT)
		return does_not_start(&out, &words, r, err);
	if (r < 0)
		return r;
	struct shell_process *p = &s->process;
	long long *const numbers[] = {&p->pid, &p->start_time, &p->group, &p->began_s};
	if (!answer_numbers(str_peek(&out), out.len, numbers, ARRAY_SIZE(numbers)))
		return err_set(err, ERR_PROTOCOL, "unexpected reply from the shell on the target");
	return 0;
}

int session_open(struct shell_link *l, bool become, struct wait *w, struct shell_session **ret, struct err *err)
{
	struct shell_session *s = xcalloc(1, sizeof(*s));
	char random[MARK_DIGITS + 1];
	rand_hex(random, MARK_DIGITS);
	snprintf(s->mark, sizeof(s->mark), "davit-%s", random);
	int r = link_start(l, become, boot, w, &s->stream, err);
	if (r == 0)
		r = hello(s, w, err);
	if ((r == ERR_NETWORK || r == ERR_AUTH || r == ERR_PROTOCOL) && link_is_sftp_only(l, w))
		r = err_hint(
			err,
			err_set(err, ERR_UNSUPPORTED, "the account on the target runs no commands, it gives SFTP only"),
			"davit works by a shell: take ForceCommand (in sshd_config) or command= (in "
			"authorized_keys) off this account, give it a login shell, or name another user");
	if (r < 0) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void session_free(struct shell_session *s)
{
	if (s == NULL)
		return;
	stream_free(s->stream);
	free(s);
}
