/* The shell target: settings, connection, and how one operation goes to the sh and back. The operations themselves:
 * look.c, write.c, tree.c (copies, trees, archives), run.c. */
#include "engine/target/shell/shell.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/core/shown.h"

#include <ctype.h>
#include <stdio.h>

enum { CONNECT_MS = 180000, FACTS_MAX = 64 * 1024, STRAY_MS = 20000 };

void shell_result_done(struct shell_result *r)
{
	str_done(&r->out);
	str_done(&r->err);
}

/* ---- errors ---- */

int shell_code_of(const char *words)
{
	static const struct {
		const char *text;
		int code;
	} known[] = {
		{"No space left on device", ERR_NO_SPACE},
		{"Disk quota exceeded", ERR_NO_SPACE},
		{"File exists", ERR_EXISTS},
		{"Directory not empty", ERR_EXISTS},
		{"Permission denied", ERR_PERMISSION},
		{"Operation not permitted", ERR_PERMISSION},
		{"Read-only file system", ERR_PERMISSION},
		{"File name too long", ERR_LIMIT},
		{"File too large", ERR_LIMIT},
		{"invalid user", ERR_NOT_FOUND},
		{"invalid group", ERR_NOT_FOUND},
		{"unknown user", ERR_NOT_FOUND},
		{"unknown group", ERR_NOT_FOUND},
		{"No such file", ERR_NOT_FOUND},
		{"Not a directory", ERR_NOT_FOUND},
		{"nonexistent", ERR_NOT_FOUND},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(words, known[i].text) != NULL)
			return known[i].code;
	return ERR_IO;
}

int shell_fail(const struct shell_result *result, struct err *err, const char *fmt, ...)
{
	_cleanup_(str_done) struct str words = STR_INIT(400);
	const char *said = str_peek(&result->err);
	/* The last lines say most; several errors of a program are joined. */
	/* Masks all of it before its end is taken: a mask does not recognise half of a secret. */
	_cleanup_free_ char *masked = shown_text(said, result->err.len, SIZE_MAX);
	size_t all = strlen(masked), start = all > 300 ? all - 300 : 0, len = all - start;
	while (len > 0 && isspace((unsigned char)masked[start + len - 1]))
		len--;
	for (size_t i = start; i < start + len; i++)
		str_append_c(&words, masked[i] == '\n' ? ';' : masked[i]);
	va_list args;
	va_start(args, fmt);
	char text[320];
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (words.len == 0)
		return err_set(err, ERR_IO, "%s: status %d", text, result->status);
	return err_set(err, shell_code_of(said), "%s: %s", text, str_peek(&words));
}

/* ---- settings ---- */

static const struct target_type shell_ssh_type, shell_local_type;
static const struct host_type shell_host;

static int make(const struct target_config *config, struct shell_link *link, struct target **ret, struct err *err)
{
	struct shell_target *s = xcalloc(1, sizeof(*s));
	const char *base = config->host.base;
	int r = 0;
	s->t.view.type = &shell_host;
	s->t.view.kind = link_is_ssh(link) ? &shell_ssh_type : &shell_local_type;
	s->t.view.name = xstrdup(config->name);
	s->link = link;
	s->become = config->host.has_become;
	s->no_wait = (struct wait)WAIT_INIT;
	if (base != NULL) {
		r = fs_normalize(base, &s->configured_base, err);
		if (r < 0) {
			target_free(&s->t);
			return err_wrap(err, r, "target '%s': base", config->name);
		}
	}
	*ret = &s->t;
	return 0;
}

int target_shell_new(const struct target_config *config, struct target **ret, struct err *err)
{
	struct shell_link *link = NULL;
	bool is_ssh = config->kind.choice->table == &target_ssh_fields;
	int r = is_ssh ? link_new_ssh(config->kind.typed, &link, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "target '%s'", config->name);
	return make(config, is_ssh ? link : link_new_local(NULL), ret, err);
}

int target_shell_new_local(const struct target_config *config, const char *const *argv, struct target **ret,
                           struct err *err)
{
	return make(config, link_new_local(argv), ret, err);
}

static void shell_free(struct target *t)
{
	struct shell_target *s = (struct shell_target *)t;
	session_free(s->main);
	session_free(s->side);
	link_free(s->link);
	free(s->configured_base);
	free(s->strays);
	target_done(t);
	free(s);
}

/* ---- sessions ---- */

struct wait *shell_enter(struct view *v, int64_t ms, struct shell_stretch *ret)
{
	struct shell_target *s = (struct shell_target *)v;
	struct wait *w = v->wait != NULL ? v->wait : &s->no_wait;
	/* In place, not in a copy: a tick inside must see that it is not due again. */
	*ret = (struct shell_stretch){.owner = s, .wait = w, .deadline_mono_ms = w->deadline_mono_ms, .tick = w->tick};
	w->deadline_mono_ms = wait_within(w, ms).deadline_mono_ms;
	if (s->depth == 0)
		s->caller_deadline_mono_ms = ret->deadline_mono_ms;
	if (s->depth++ > 0)
		w->tick = NULL;
	return w;
}

void shell_leave(const struct shell_stretch *stretch)
{
	stretch->wait->deadline_mono_ms = stretch->deadline_mono_ms;
	stretch->wait->tick = stretch->tick;
	stretch->owner->depth--;
}

void shell_stray(struct shell_target *s, struct shell_process process)
{
	if (process.pid <= 1 || process.has_grace)
		return;
	s->strays = xgrow(s->strays, &s->stray_cap, s->stray_count + 1, sizeof(s->strays[0]));
	s->strays[s->stray_count++] = process;
}

void shell_session_drop(struct shell_target *s, struct shell_session *session)
{
	if (session == NULL)
		return;
	shell_stray(s, session->process);
	if (s->main == session)
		s->main = NULL;
	if (s->side == session)
		s->side = NULL;
	session_free(session);
}

int shell_end_strays(struct shell_target *s, struct shell_session *session, struct wait *w, struct err *err)
{
	_cleanup_(str_done) struct str frame = STR_INIT(64 * 1024);
	struct shell_reply reply;
	if (s->stray_count == 0)
		return 0;
	shell_end_function(s, &frame);
	str_append(&frame, "r=0");
	for (size_t i = 0; i < s->stray_count; i++) {
		str_append(&frame, "; ");
		shell_end_call(&s->strays[i], 0, &frame);
		str_append(&frame, " || r=1");
	}
	str_append(&frame, "; d r $r");
	int r = session_call(session, str_peek(&frame), NULL, w, &reply, NULL, err);
	if (r < 0)
		return r;
	if (reply.status != 0)
		return err_hint(
			err,
			err_set(err, ERR_TIMEOUT, "a command that was given up on '%s' does not end", s->t.view.name),
			"look on the target for a process that hangs on its disk or network");
	s->stray_count = 0;
	return 0;
}

static void report(struct shell_target *s, const char *what)
{
	if (s->t.view.report != NULL) {
		_cleanup_free_ char *line = xasprintf("%s: %s", s->t.view.name, what);
		s->t.view.report(s->t.view.report_context, line);
	}
}

/* A login shell whose start files take a minute must not use up the time of the operation that happens to come first: both
 * have their own. One that tries whether the target can be reached (op_timeout_ms) has its own limit, and a tick's none of
 * its own. */
static void session_time(struct shell_target *s, struct wait *w)
{
	if (s->depth == 1 && s->t.view.op_timeout_ms <= 0)
		w->deadline_mono_ms = s->caller_deadline_mono_ms;
	w->deadline_mono_ms = wait_within(w, CONNECT_MS).deadline_mono_ms;
}

static int64_t later(const struct shell_target *s, int64_t deadline, int64_t spent_ms)
{
	if (deadline == 0 || s->depth != 1 || s->t.view.op_timeout_ms > 0)
		return deadline;
	deadline += spent_ms;
	return s->caller_deadline_mono_ms != 0 ? MIN(deadline, s->caller_deadline_mono_ms) : deadline;
}

static int start_session(struct shell_target *s, struct shell_session **slot, struct wait *w, struct err *err)
{
	int64_t saved = w->deadline_mono_ms, began = clock_mono_ms();
	bool again = s->opened && !link_is_open(s->link);
	if (s->connecting)
		return err_set(err, ERR_NETWORK, "'%s' is being connected", s->t.view.name);
	/* A tick inside an operation must not take the connection from under it. */
	if (s->depth > 1 && !link_is_open(s->link))
		return err_set(err, ERR_NETWORK, "the connection to '%s' was lost", s->t.view.name);
	session_time(s, w);
	s->connecting = true;
	if (!link_is_open(s->link)) {
		/* Their streams were closed with it. */
		shell_session_drop(s, s->main);
		shell_session_drop(s, s->side);
	}
	int r = link_connect(s->link, w, err);
	if (r == 0)
		r = session_open(s->link, s->become, w, slot, err);
	if (r == 0)
		r = shell_end_strays(s, *slot, w, err);
	if (r < 0) {
		shell_session_drop(s, *slot);
		*slot = NULL;
	}
	s->connecting = false;
	w->deadline_mono_ms = later(s, saved, clock_mono_ms() - began);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", s->t.view.name);
	if (again)
		report(s, "connected again");
	return 0;
}

int shell_session_get(struct shell_target *s, struct wait *w, struct shell_session **ret, struct err *err)
{
	struct shell_session **slot = s->main != NULL && s->main->busy ? &s->side : &s->main;
	if (*slot != NULL && (*slot)->busy)
		return err_set(err, ERR_INTERNAL, "a third request to '%s' while two are pending", s->t.view.name);
	if (*slot != NULL && ((*slot)->dead || !link_is_open(s->link)))
		shell_session_drop(s, *slot);
	if (*slot == NULL) {
		int r = start_session(s, slot, w, err);
		if (r < 0)
			return r;
	}
	*ret = *slot;
	return 0;
}

/* ---- one operation ---- */

static int look_once(struct shell_target *s, const char *frame, const struct str *input, struct shell_result *ret,
                     struct wait *w, bool *ret_fresh, struct err *err)
{
	struct shell_session *session;
	struct shell_reply reply;
	*ret_fresh = s->main == NULL;
	int r = shell_session_get(s, w, &session, err);
	if (r < 0) {
		*ret_fresh = true;
		return r;
	}
	struct shell_io io = {.input = input != NULL ? input->data : NULL,
	                      .input_len = input != NULL ? input->len : 0,
	                      .out = &ret->out,
	                      .out_max = ret->out.max,
	                      .err = &ret->err,
	                      .err_max = SHELL_MESSAGE_MAX - 1};
	r = session_call(session, frame, &io, w, &reply, NULL, err);
	if (r < 0) {
		shell_session_drop(s, session);
		return r;
	}
	if (ret->out.failed)
		return err_set(err, ERR_LIMIT, "'%s' answers with more than %zu bytes", s->t.view.name, ret->out.max);
	ret->status = reply.status;
	return 0;
}

static int look(struct view *v, const char *script, const struct str *input, int64_t ms, struct shell_result *ret,
                struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(str_done) struct str frame = STR_INIT(SIZE_MAX / 2);
	struct shell_stretch stretch;
	bool fresh;
	int r = s->opened ? 0 : shell_open(v, err);
	if (r < 0)
		return r;
	/* Input that the script does not read is read here, so that the next frame is found. */
	if (input != NULL && input->len > 0)
		str_appendf(&frame, "h %zu | { (\n%s\n); r=$?; cat >/dev/null; exit $r; }; d r $?", input->len, script);
	else
		str_appendf(&frame, "(\n%s\n) </dev/null; d r $?", script);
	struct wait *w = shell_enter(v, v->op_timeout_ms > 0 ? v->op_timeout_ms : ms, &stretch);
	r = look_once(s, str_peek(&frame), input, ret, w, &fresh, err);
	/* The connection died since its last use: looking again is harmless. */
	if (r == ERR_NETWORK && !fresh) {
		err_clear(err);
		str_clear(&ret->out);
		str_clear(&ret->err);
		r = look_once(s, str_peek(&frame), input, ret, w, &fresh, err);
	}
	shell_leave(&stretch);
	return r;
}

int shell_look(struct view *v, const char *script, struct shell_result *ret, struct err *err)
{
	return look(v, script, NULL, SHELL_OP_MS, ret, err);
}

int shell_look_long(struct view *v, const char *script, struct shell_result *ret, struct err *err)
{
	return look(v, script, NULL, SHELL_LONG_MS, ret, err);
}

int shell_look_at(struct view *v, const char *script, const struct str *input, struct shell_result *ret,
                  struct err *err)
{
	return look(v, script, input, SHELL_LONG_MS, ret, err);
}

int shell_may_change(const struct target *t, const char *path, struct err *err)
{
	const char *base = t->view.facts.base;
	if (t->lock_dir != NULL || (base != NULL && (fs_below(base, path) || fs_below(path, base))))
		return 0;
	return err_set(err, ERR_INTERNAL, "'%s' was to be changed without a lock", path);
}

void shell_guard_text(const struct target *t, struct str *out)
{
	if (t->lock_dir == NULL) {
		str_append(out, "n");
		return;
	}
	str_append(out, "g ");
	str_append_shell(out, t->lock_dir);
	str_append(out, " ");
	str_append_shell(out, t->token != NULL ? t->token : "");
}

static void change_frame(const struct target *t, const char *script, const struct shell_input *input, struct str *out)
{
	str_append(out, "if ");
	shell_guard_text(t, out);
	if (input->prepare != NULL)
		str_appendf(out, "; then %s\nd r $?; else %s\nd \"$Q\" 0; fi", script, input->prepare);
	else if (input->len == 0)
		str_appendf(out, "; then (umask 077\n%s\n) </dev/null; d r $?; else d \"$Q\" 0; fi", script);
	else
		str_appendf(out,
		            "; then h %zu | { (umask 077\n%s\n); r=$?; cat >/dev/null; exit $r; }; d r $?; else h %zu "
		            ">/dev/null; d \"$Q\" 0; fi",
		            input->len, script, input->len);
}

static int change_once(struct shell_target *s, const char *frame, const struct shell_input *input,
                       struct shell_result *ret, struct wait *w, struct err *err)
{
	struct shell_session *session;
	struct shell_reply reply;
	bool sent = false;
	int r = shell_session_get(s, w, &session, err);
	if (r < 0)
		return r;
	struct shell_io io = {.input = input->data,
	                      .input_len = input->len,
	                      .produce = input->produce,
	                      .produce_context = input->context,
	                      .out = &ret->out,
	                      .out_max = ret->out.max,
	                      .err = &ret->err,
	                      .err_max = SHELL_MESSAGE_MAX - 1};
	r = session_call(session, frame, &io, w, &reply, &sent, err);
	if (r < 0) {
		shell_session_drop(s, session);
		/* A cancel is the caller's own doing; a deadline and a lost connection leave the question open. */
		if (sent && (r == ERR_NETWORK || r == ERR_TIMEOUT)) {
			if (err != NULL)
				err->code = ERR_UNKNOWN;
			return err_wrap(err, ERR_UNKNOWN, "nobody knows whether it was done on '%s'", s->t.view.name);
		}
		return r;
	}
	if (reply.kind == SHELL_FENCED)
		return err_set(err, ERR_FENCED, "the lock '%s' on '%s' is no longer ours", s->t.lock_dir,
		               s->t.view.name);
	if (reply.kind == SHELL_NO_SPACE)
		return err_set(err,
		               shell_code_of(str_peek(&ret->err)) == ERR_IO ? ERR_NO_SPACE
		                                                            : shell_code_of(str_peek(&ret->err)),
		               "the note in '%s/pids' on '%s' cannot be written: %s", s->t.lock_dir, s->t.view.name,
		               str_peek(&ret->err));
	ret->status = reply.status;
	return 0;
}

static const struct shell_input no_input = {0};

static int change_within(struct target *t, const char *frame, const struct shell_input *input, struct shell_result *ret,
                         struct err *err)
{
	struct shell_stretch stretch;
	int64_t ms = t->view.op_timeout_ms > 0 ? t->view.op_timeout_ms
	             : input->timeout_ms > 0   ? input->timeout_ms
	                                       : SHELL_OP_MS;
	struct wait *w = shell_enter(&t->view, ms, &stretch);
	int r = change_once((struct shell_target *)t, frame, input, ret, w, err);
	shell_leave(&stretch);
	return r;
}

int shell_change(struct target *t, const char *path, const char *script, const struct shell_input *input,
                 struct shell_result *ret, struct err *err)
{
	_cleanup_(str_done) struct str frame = STR_SECRET_INIT(SIZE_MAX / 2);
	if (input == NULL)
		input = &no_input;
	int r = shell_open(&t->view, err);
	if (r == 0)
		r = shell_may_change(t, path, err);
	if (r < 0)
		return r;
	change_frame(t, script, input, &frame);
	return change_within(t, str_peek(&frame), input, ret, err);
}

int shell_change_frame(struct target *t, const char *frame, struct shell_result *ret, struct err *err)
{
	const struct shell_input slow = {.timeout_ms = SHELL_LONG_MS};
	return change_within(t, frame, &slow, ret, err);
}

/* ---- open ---- */

/* Few processes: GNU coreutils of the last ten years have everything that is tested one by one elsewhere. */
static const char facts_script[] =
	"f() { \"$@\" >/dev/null 2>&1 && echo \"$n=1\" || echo \"$n=0\"; }\n"
	"id; echo \"home=$HOME\"; echo \"boot_id=$B\"\n"
	"m=; { IFS= read -r m </etc/machine-id || IFS= read -r m </var/lib/dbus/machine-id; } 2>/dev/null; echo "
	"\"machine_id=$m\"\n"
	"o=; { IFS= read -r o </proc/sys/kernel/hostname; } 2>/dev/null; echo \"hostname=${o:-$(uname -n)}\"\n"
	"for n in zstd gzip setfacl sha256sum tar runuser perl openssl; do f command -v $n; done\n"
	"case $(command -v printf) in /*) echo printf=0;; *) echo printf=1;; esac\n"
	"case $(stat --version 2>/dev/null) in *'(GNU coreutils) '8.2[5-9]*|*'(GNU coreutils) '8.3*|*'(GNU coreutils) "
	"'9*|*'(GNU coreutils) '[1-9][0-9]*)\n"
	"for n in sync_f sum_z cp stat one_fs; do echo $n=1; done;; *)\n"
	"n=sync_f; f sync -f /proc; n=sum_z; f sha256sum -z /dev/null; n=one_fs; f rm -f --one-file-system -- "
	"/.davit-not-there\n"
	"case $(cp --help 2>&1) in *--reflink*--parents*|*--parents*--reflink*) echo cp=1;; *) echo cp=0;; esac\n"
	"case $(stat -c %.9Y / 2>/dev/null) in *.[0-9][0-9][0-9]*) echo stat=1;; *) echo stat=0;; esac;; esac\n"
	"case $(tar --version 2>/dev/null) in *GNU*) echo gnu_tar=1;; *) echo gnu_tar=0;; esac\n"
	"case $(printf ab | dd bs=4 count=1 iflag=fullblock,count_bytes status=none 2>/dev/null) in a) echo dd=1;; *) echo dd=0;; esac\n"
	"case $(find / -maxdepth 0 -printf x 2>/dev/null) in x) echo find=1;; *) echo find=0;; esac\n";

/* "uid=0(root) gid=0(root) …", the output of id. */
static bool identity_of(const struct str *said, long long *ret_uid, long long *ret_gid, char **ret_user)
{
	const char *at = strstr(str_peek(said), "\nuid=");
	int name = 0;
	if (at == NULL || sscanf(at, "\nuid=%lld%n", ret_uid, &name) != 1)
		return false;
	at += name;
	size_t len = *at == '(' ? strcspn(at + 1, ")\n") : 0;
	*ret_user = len > 0 ? xstrndup(at + 1, len) : xasprintf("%lld", *ret_uid);
	at = strstr(at, " gid=");
	return at != NULL && sscanf(at, " gid=%lld", ret_gid) == 1;
}

static char *fact(const struct str *facts, const char *name)
{
	_cleanup_free_ char *key = xasprintf("\n%s=", name);
	const char *at = strstr(str_peek(facts), key);
	if (at == NULL)
		return xstrdup("");
	at += strlen(key);
	return xstrndup(at, strcspn(at, "\n"));
}

static bool fact_yes(const struct str *facts, const char *name)
{
	_cleanup_free_ char *value = fact(facts, name);
	return strcmp(value, "1") == 0;
}

static int keep_facts(struct shell_target *s, const struct str *said, struct err *err)
{
	struct target_facts *f = &s->t.view.facts;
	long long uid, gid;
	if (!identity_of(said, &uid, &gid, &f->user))
		return err_set(err, ERR_PROTOCOL, "'%s' does not say who we are there", s->t.view.name);
	_cleanup_free_ char *home = fact(said, "home");
	s->uid = (uid_t)uid;
	s->gid = (gid_t)gid;
	f->is_root = uid == 0;
	f->machine_id = fact(said, "machine_id");
	f->boot_id = fact(said, "boot_id");
	f->hostname = fact(said, "hostname");
	if (*f->machine_id == '\0') {
		free(f->machine_id);
		f->machine_id = xstrdup(f->hostname);
	}
	f->has_zstd = fact_yes(said, "zstd");
	f->has_gzip = fact_yes(said, "gzip");
	f->has_setfacl = fact_yes(said, "setfacl");
	f->has_sha256sum = fact_yes(said, "sha256sum");
	f->has_tar = fact_yes(said, "tar");
	f->has_sync_f = fact_yes(said, "sync_f");
	f->has_reflink = s->has_cp_parents = fact_yes(said, "cp");
	s->has_find_printf = fact_yes(said, "find");
	s->has_sum_z = fact_yes(said, "sum_z");
	s->has_stat_ns = fact_yes(said, "stat");
	s->has_one_fs = fact_yes(said, "one_fs");
	s->has_runuser = fact_yes(said, "runuser");
	s->has_gnu_tar = fact_yes(said, "gnu_tar");
	s->has_dd = fact_yes(said, "dd");
	s->has_openssl = fact_yes(said, "openssl");
	s->has_perl = fact_yes(said, "perl");
	s->has_printf = fact_yes(said, "printf");
	f->identity = link_is_ssh(s->link) ? xstrdup(link_host_key(s->link)) : xasprintf("local:%s", f->machine_id);
	if (s->configured_base != NULL)
		f->base = xstrdup(s->configured_base);
	else if (f->is_root)
		f->base = xstrdup("/var/lib/davit");
	else if (home[0] == '/')
		f->base = xasprintf("%s/.local/state/davit", home);
	else
		return err_hint(err,
		                err_set(err, ERR_INVALID, "'%s': the user '%s' has no home directory there",
		                        s->t.view.name, f->user),
		                "say where davit may keep its locks: base: /some/path");
	return 0;
}

int shell_open(struct view *v, struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(FACTS_MAX);
	struct shell_stretch stretch;
	bool fresh;
	if (s->opened)
		return 0;
	struct wait *w = shell_enter(v, CONNECT_MS, &stretch);
	_cleanup_free_ char *frame = xasprintf("(\necho\n%s) </dev/null; d r $?", facts_script);
	int r = look_once(s, frame, NULL, &said, w, &fresh, err);
	shell_leave(&stretch);
	if (r == 0)
		r = keep_facts(s, &said.out, err);
	if (r < 0)
		return r;
	s->opened = true;
	return 0;
}

static const struct host_type shell_host = {
	.stat = shell_stat,
	.read = shell_read,
	.list = shell_list,
	.digest = shell_digest,
	.tree = shell_tree,
	.space = shell_space,
	.query = shell_query,
	.mkdir = shell_mkdir,
	.put = shell_put,
	.append = shell_append,
	.symlink = shell_symlink,
	.link_new = shell_link_new,
	.rename = shell_rename,
	.remove = shell_remove,
	.remove_tree = shell_remove_tree,
	.set_attr = shell_set_attr,
	.dress_like = shell_dress_like,
	.copy = shell_copy,
	.clone_files = shell_clone_files,
	.unpack = shell_unpack,
	.run = shell_run,
	.barrier = shell_barrier,
	.fence = shell_fence,
	.stat_all = shell_stat_all,
	.digests = shell_digests,
	.put_like = shell_put_like,
	.do_all = shell_do_all,
	.barrier_read = shell_barrier_read,
};
static const struct target_type shell_ssh_type = {
	.name = "ssh", .open = shell_open, .host = &shell_host, .free = shell_free};
static const struct target_type shell_local_type = {
	.name = "local", .open = shell_open, .host = &shell_host, .free = shell_free};
