/* workers: each job in a process of its own, as under the agent: told its job and its cancel on standard input, heard on
 * standard output. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/actions/native.h"
#include "agent/listener/handover.h"
#include "agent/listener/orphans.h"
#include "agent/run/run_priv.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

enum {
	REAP_MS = 5000,
	CANCEL_GRACE_MS = 2000, /* beyond the time that a cancelled job has */
	LINE_MAX_BYTES = 64 << 20,
	READ_CHUNK = 1 << 16,
	STOP_MS = 5000,
	LOOK_MS = 10,
};

struct worker {
	struct worker *next;
	char job_id[37], tracking_id[64];
	struct proc proc;
	int pidfd;
	struct str out;
	bool told, killed;
	bool heard; /* all that it had to say */
};

/* What a step sees of the caller's environment, if nothing else is asked for: no variable that may be a credential. */
static const char *const kept[] = {"PATH",         "HOME",          "USER",         "LOGNAME",          "SHELL",
                                   "LANG",         "LANGUAGE",      "TZ",           "TMPDIR",           "TERM",
                                   "DAVIT_TRACE",  "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH",  "ASAN_OPTIONS",
                                   "LSAN_OPTIONS", "UBSAN_OPTIONS", "DOCKER_HOST",  "RUNNER_TOOL_CACHE"};

static void take_environment(struct workers *w)
{
	for (char **e = environ; *e != NULL; e++) {
		_cleanup_free_ char *name = xstrndup(*e, strcspn(*e, "="));
		bool wanted = str_starts(name, "LC_") || strv_has(&w->options->environment, name);
		for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
			wanted |= strcmp(kept[i], name) == 0;
		if (wanted)
			strv_add(&w->env, *e);
	}
}

/* ---- the start of one */

/* Who says where that action lies wants itself. */
static bool has_checkout(const struct strv *repositories)
{
	for (size_t i = 0; i < repositories->count; i++)
		if (strncasecmp(repositories->items[i], "actions/checkout=", strlen("actions/checkout=")) == 0)
			return true;
	return false;
}

static json_t *settings_of(const struct workers *w, const struct worker *k)
{
	_cleanup_free_ char *work = xasprintf("%s/%lld", w->dir, (long long)w->started);
	char name[] = "davit run", group[] = "Default";
	char native[sizeof(NATIVE_DEFAULT)];
	(void)snprintf(native, sizeof(native), "%s", has_checkout(&w->options->repositories) ? "own" : NATIVE_DEFAULT);
	struct registration r = {.name = name,
	                         .group = group,
	                         .id = 1,
	                         .group_id = 1,
	                         .work = work,
	                         .native = w->options->native != NULL ? (char *)(uintptr_t)w->options->native : native};
	json_t *settings = handover_settings(&r, w->state, k->tracking_id, NULL);
	json_object_set_new(settings, "work_folder", json_string(work));
	json_object_set_new(settings, "watched", json_true());
	return settings;
}

static int spawn(struct workers *w, struct worker *k, struct err *err)
{
	const char *argv[] = {w->program, "worker", NULL};
	struct proc_options options = {
		.argv = argv,
		.env = (const char *const *)strv_null_terminated(&w->env),
		.stdin_fd = PROC_PIPE,
		.stdout_fd = PROC_PIPE,
		.stderr_fd = STDERR_FILENO,
		/* What is typed into the terminal is for us: a job is cancelled by its message. */
		.new_session = true};
	int r = proc_spawn(&options, &k->proc, err);
	if (r < 0)
		return err_wrap(err, r, "start the worker");
	k->pidfd = proc_pidfd(&k->proc, err);
	if (k->pidfd < 0)
		return k->pidfd;
	fcntl(k->proc.stdin_fd, F_SETFL, fcntl(k->proc.stdin_fd, F_GETFL) & ~O_NONBLOCK);
	return 0;
}

static int hand_over(struct workers *w, struct worker *k, json_t *message, struct err *err)
{
	_cleanup_json_ json_t *first = json_pack("{s:O, s:o}", "message", message, "settings", settings_of(w, k));
	_cleanup_free_ char *text = json_text(first);
	_cleanup_(str_done) struct str line = STR_SECRET_INIT(LINE_MAX_BYTES);
	str_append(&line, text);
	str_append_c(&line, '\n');
	explicit_bzero(text, strlen(text));
	return fs_write_all(k->proc.stdin_fd, str_peek(&line), line.len, err);
}

static void worker_free(struct worker *k)
{
	proc_done(&k->proc);
	closep(&k->pidfd);
	str_done(&k->out);
	free(k);
}

/* A process that waits for its job: its libraries are loaded while that is made ready. */
static int make_worker(struct workers *w, struct worker **ret, struct err *err)
{
	char id[37];
	struct worker *k = xcalloc(1, sizeof(*k));
	k->proc = (struct proc)PROC_INIT;
	k->pidfd = -1;
	k->out = (struct str)STR_INIT(LINE_MAX_BYTES);
	rand_uuid4(id);
	(void)snprintf(k->tracking_id, sizeof(k->tracking_id), "davit_run_%s", id);
	int r = spawn(w, k, err);
	if (r < 0)
		worker_free(k);
	else
		*ret = k;
	return r;
}

int workers_open(struct workers *w, struct err *err)
{
	w->program = fs_helper_program("davit-agent", err);
	w->state = w->program != NULL ? state_dir(err) : NULL;
	if (w->state == NULL)
		return err->code;
	take_environment(w);
	int r = fs_make_temp_dir("davit-run-", &w->dir, err);
	return r < 0 ? r : make_worker(w, &w->idle, err);
}

static void start(struct workers *w, const json_t *job)
{
	struct err err = ERR_INIT;
	char line[1024];
	const char *job_id = json_get_string(job, "job_id");
	struct worker *k = TAKE(w->idle);
	int r = k != NULL ? 0 : make_worker(w, &k, &err);
	w->started++;
	if (r >= 0)
		r = hand_over(w, k, json_object_get(job, "message"), &err);
	if (r < 0) {
		forge_local_end(w->forge, job_id, err_line(&err, line, sizeof(line)));
		if (k != NULL)
			worker_free(k);
		return;
	}
	(void)snprintf(k->job_id, sizeof(k->job_id), "%s", job_id);
	k->next = w->first;
	w->first = k;
	w->running++;
}

void workers_start_ready(struct workers *w)
{
	while (w->running < w->options->slots) {
		_cleanup_json_ json_t *job = forge_local_take(w->forge);
		if (job == NULL)
			return;
		start(w, job);
	}
}

/* ---- while it runs */

static void tell_cancel(struct worker *k, int64_t left_ms)
{
	_cleanup_json_ json_t *word = handover_cancel(MAX(left_ms / 1000, 1), "cancelled");
	_cleanup_free_ char *text = json_text(word), *line = xasprintf("%s\n", text);
	k->told = true;
	(void)fs_write_all(k->proc.stdin_fd, line, strlen(line), NULL);
}

/* A step that takes a deployment back stops that at a further SIGINT, and leaves it to `davit recover`. All else ends at
 * once; new processes may be born while others end. */
static void end_tree(struct worker *k)
{
	int64_t until = clock_mono_ms() + STOP_MS;
	k->killed = true;
	proc_signal(&k->proc, SIGKILL);
	orphans_find(k->tracking_id, SIGINT);
	while (orphans_find(k->tracking_id, SIGKILL).count > 0 && clock_mono_ms() < until)
		clock_pause_ms(LOOK_MS);
}

void workers_look(struct workers *w)
{
	for (struct worker *k = w->first; k != NULL; k = k->next) {
		struct forge_local_job job = forge_local_look(w->forge, k->job_id);
		if (job.cancelled && !job.over && !k->told)
			tell_cancel(k, job.cancel_left_ms);
		if (job.lost && !k->killed && job.cancel_left_ms < -CANCEL_GRACE_MS)
			end_tree(k);
	}
}

size_t workers_poll(const struct workers *w, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	for (const struct worker *k = w->first; k != NULL && n + 2 <= max; k = k->next) {
		fds[n++] = (struct pollfd){.fd = k->pidfd, .events = POLLIN};
		if (k->proc.stdout_fd >= 0)
			fds[n++] = (struct pollfd){.fd = k->proc.stdout_fd, .events = POLLIN};
	}
	return n;
}

static void take_lines(struct workers *w, struct worker *k)
{
	char *end;
	size_t taken = 0;
	while (k->out.len > taken && (end = memchr(k->out.data + taken, '\n', k->out.len - taken)) != NULL) {
		_cleanup_json_ json_t *event = NULL;
		size_t len = (size_t)(end - k->out.data) - taken;
		bool good = json_parse(k->out.data + taken, len, LINE_MAX_BYTES, &event, NULL) == 0;
		if (good && json_get_bool(event, "end", false))
			k->heard = true;
		else if (good)
			view_event(w->view, k->job_id, event);
		taken += len + 1;
	}
	str_remove_front(&k->out, taken);
}

static void read_output(struct workers *w, struct worker *k)
{
	while (k->proc.stdout_fd >= 0) {
		char *room = str_reserve(&k->out, READ_CHUNK);
		ssize_t n = room != NULL ? read(k->proc.stdout_fd, room, READ_CHUNK) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			closep(&k->proc.stdout_fd);
		else
			k->out.len += (size_t)n;
		take_lines(w, k);
	}
}

static bool has_ended(const struct worker *k)
{
	struct pollfd p = {.fd = k->pidfd, .events = POLLIN};
	return poll(&p, 1, 0) > 0;
}

static void reap(struct workers *w, struct worker *k)
{
	int status = -1;
	struct wait wait = WAIT_INIT;
	wait.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	proc_wait(&k->proc, &wait, &status, NULL);
	if (!forge_local_look(w->forge, k->job_id).over)
		end_tree(k);
	_cleanup_free_ char *why =
		xasprintf("The worker of this job ended with status %d before it reported a result.", status);
	forge_local_end(w->forge, k->job_id, why);
	w->running--;
	worker_free(k);
}

void workers_read(struct workers *w)
{
	for (struct worker **p = &w->first; *p != NULL;) {
		struct worker *k = *p;
		bool ended = has_ended(k);
		read_output(w, k);
		if (ended) {
			*p = k->next;
			reap(w, k);
		} else {
			p = &k->next;
		}
	}
}

bool workers_have(const struct workers *w, const char *job_id)
{
	for (const struct worker *k = w->first; k != NULL; k = k->next)
		if (strcmp(k->job_id, job_id) == 0)
			return !k->heard;
	return false;
}

void workers_kill(struct workers *w)
{
	for (struct worker *k = w->first; k != NULL; k = k->next)
		end_tree(k);
}

void workers_close(struct workers *w)
{
	struct err err = ERR_INIT;
	if (w->idle != NULL)
		worker_free(w->idle);
	for (struct worker *k = w->first, *next; k != NULL; k = next) {
		next = k->next;
		worker_free(k);
	}
	if (w->dir != NULL && fs_remove_tree(AT_FDCWD, w->dir, &err) < 0)
		log_err(&err);
	strv_done(&w->env);
	free(w->dir);
	free(w->program);
	free(w->state);
}
