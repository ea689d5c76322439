#include "agent/listener/listener.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "agent/admission/admission.h"
#include "agent/listener/listener_priv.h"
#include "agent/listener/isolation.h"
#include "agent/listener/worker_user.h"
#include "base/core/clock.h"
#include "base/core/cancel.h"
#include "base/sys/fs.h"
#include "base/core/log.h"
#include "base/core/rand.h"
#include "base/sys/walls.h"
#include "engine/journal/state_dir.h"

enum { IDLE_MS = 3600 * 1000, SLOTS_MIN = 2, ASKED_MAX_MS = 10 * 60 * 1000, SAID_MAX = 2048 };

void listener_say(const char *fmt, ...)
{
	char when[CLOCK_TEXT_SIZE], text[SAID_MAX];
	_cleanup_(str_done) struct str safe = STR_INIT(8 * SAID_MAX);
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	clock_rfc3339(clock_wall_ms(), when);
	when[10] = ' ';
	/* A repository chooses the names of its jobs: they steer no terminal, and begin no line of the journal. */
	str_append_safe(&safe, text, strlen(text));
	printf("%.19sZ: %s\n", when, str_peek(&safe));
	(void)fflush(stdout);
}

char *listener_state_dir(const struct listener *l, const char *user, struct err *err)
{
	return user == NULL ? xstrdup(l->state_dir) : worker_user_state_dir(user, err);
}

void listener_connected(struct listener *l)
{
	if (l->connected)
		return;
	l->connected = true;
	if (isatty(STDOUT_FILENO)) {
		printf("\n√ Connected to GitHub\n\nCurrent runner version: '%s'\n", wire_runner_version());
		(void)fflush(stdout);
		return;
	}
	/* A log has a time on every line. */
	listener_say("√ Connected to GitHub");
	listener_say("Current runner version: '%s'", wire_runner_version());
}

/* ---- Jobs and their slots. */

/* Spreads a try over [low, high], paced. */
int64_t listener_pause(int64_t low_ms, int64_t high_ms)
{
	return registration_pace(low_ms + (int64_t)rand_below((uint64_t)(high_ms - low_ms)));
}

int64_t listener_pause_asked(int64_t own_ms, const struct http_response *response)
{
	int64_t asked = http_retry_after_ms(response);
	asked = MIN(asked, (int64_t)ASKED_MAX_MS);
	return MAX(own_ms, asked);
}

void listener_start_jobs(struct listener *l)
{
	int used = 0;
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		used += lease_holds_slot(j);
	/* Newest first in the list: the oldest that waits is the last one. */
	while (used < l->options.slots) {
		struct lease *next = NULL;
		for (struct lease *j = l->jobs; j != NULL; j = j->next)
			if (j->phase == LEASE_WAITING)
				next = j;
		if (next == NULL)
			return;
		lease_begin(next);
		used += lease_holds_slot(next);
	}
}

static void sweep(struct listener *l)
{
	bool freed = false;
	for (struct lease **p = &l->jobs; *p != NULL;) {
		struct lease *j = *p;
		/* A worker without a job ends by itself; waits for it. */
		if (j->phase != LEASE_OVER || j->pidfd >= 0) {
			p = &j->next;
			continue;
		}
		*p = j->next;
		lease_free(j);
		freed = true;
	}
	for (struct recovery **p = &l->recoveries; *p != NULL;) {
		struct recovery *r = *p;
		if (!r->over) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		recovery_free(r);
		freed = true;
	}
	if (freed) {
		listener_start_jobs(l);
		listener_trim_soon(l);
	}
}

/* ---- The loop. */

static int64_t wait_time(const struct listener *l)
{
	int64_t due = l->endpoints_due_ms;
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		listener_nearer(&due, lease_due(j));
	for (const struct recovery *r = l->recoveries; r != NULL; r = r->next)
		if (!r->over && r->pidfd < 0 && !call_is_running(&r->comment))
			listener_nearer(&due, MAX(r->due_ms, 1));
	listener_nearer(&due, l->trim_due_ms);
	listener_nearer(&due, l->running_due_ms);
	listener_nearer(&due, teller_due(l));
	listener_nearer(&due, l->ping.due_ms);
	listener_nearer(&due, l->version.due_ms);
	listener_nearer(&due, l->watchdog_due_ms);
	listener_nearer(&due, l->update.until_ms);
	if (l->areas.pidfd < 0)
		listener_nearer(&due, l->areas.due_ms);
	if (due == 0)
		return IDLE_MS;
	return MIN(MAX(due - clock_mono_ms(), 0), IDLE_MS);
}

static void run_endpoints(struct listener *l, int64_t now)
{
	if (l->endpoints_due_ms == 0 || now < l->endpoints_due_ms)
		return;
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_timer(l->endpoints[i], now);
	l->endpoints_due_ms = 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		listener_nearer(&l->endpoints_due_ms, l->endpoints[i]->due_ms);
}

static void run_timers(struct listener *l)
{
	int64_t now = clock_mono_ms();
	run_endpoints(l, now);
	for (struct lease *j = l->jobs; j != NULL; j = j->next)
		lease_timer(j, now);
	for (struct recovery *r = l->recoveries; r != NULL; r = r->next)
		recovery_timer(r, now);
	listener_trim(l, now);
	running_timer(l, now);
	teller_timer(l, now);
	ping_timer(l, now);
	version_timer(l, now);
	areas_timer(l, now);
	update_timer(l, now);
}

static void close_all(struct listener *l)
{
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_close(l->endpoints[i]);
}

static bool has_work(const struct listener *l)
{
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->phase != LEASE_OVER && lease_can_be_told(j))
			return true;
	return false;
}

/* What is not this runner's yet goes to another one; what is runs on. */
void listener_drain(struct listener *l)
{
	l->draining = true;
	for (struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->phase == LEASE_WAITING || j->phase == LEASE_ACKNOWLEDGE || j->phase == LEASE_TOKEN)
			lease_shutdown(j);
	close_all(l);
}

void listener_stop(struct listener *l)
{
	bool first = !l->told;
	l->told = true;
	/* An update may have it drained already. */
	if (l->options.drain && first && has_work(l)) {
		uint64_t signals;
		ssize_t n = read(l->cancel_fd, &signals, sizeof(signals));
		(void)n;
		watchdog_stopping(l);
		listener_say("Draining: no further jobs; those that run are waited for. A second signal cancels them.");
		listener_drain(l);
		return;
	}
	l->stopping = true;
	watchdog_stopping(l);
	listener_say("Exiting...");
	for (struct lease *j = l->jobs; j != NULL; j = j->next)
		if (lease_can_be_told(j))
			lease_shutdown(j);
	close_all(l);
}

static bool is_over(const struct listener *l)
{
	for (size_t i = 0; i < l->endpoint_count; i++)
		if (l->endpoints[i]->step != STEP_ENDED)
			return false;
	/* Finishes a recovery that was begun for a job, so that the host is left as it should be. A pending retry is
	 * left to the next start. */
	for (const struct recovery *r = l->recoveries; r != NULL; r = r->next)
		if (!r->over && (r->pidfd >= 0 || r->tries == 0 || call_is_running(&r->comment)))
			return false;
	/* A worker that cannot be told to stop is found again by the next start, or its leftovers are. */
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (lease_can_be_told(j) && (j->pidfd >= 0 || j->phase != LEASE_OVER))
			return false;
	return true;
}

static int loop(struct listener *l)
{
	struct watch watch = {0};
	struct err err = ERR_INIT;
	int r = 0;
	while (!is_over(l)) {
		watch_fill(&watch, l);
		r = http_step(l->http, watch.fds, watch.count, wait_time(l), &err);
		if (r < 0) {
			log_err(&err);
			break;
		}
		watch_handle(&watch, l);
		if (l->once_done)
			close_all(l);
		run_timers(l);
		sweep(l);
		watchdog_timer(l, clock_mono_ms());
	}
	watch_done(&watch);
	return r < 0 ? LISTEN_RETRY : 0;
}

/* ---- Start and end. */

static int default_slots(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	return processors > SLOTS_MIN ? (int)processors : SLOTS_MIN;
}

static int prepare(struct listener *l, const struct listener_options *options, struct err *err)
{
	l->options = *options;
	listener_set_up_memory();
	if (l->options.slots == 0)
		l->options.slots = default_slots();
	l->last_result = -1;
	l->started_wall_ms = clock_wall_ms();
	supervisor_take(&l->supervisor);
	update_begin(l);
	/* Keys and messages with secrets pass through this memory. */
	walls_close_process();
	l->cancel_fd = cancel_install(err);
	if (l->cancel_fd < 0)
		return l->cancel_fd;
	l->program = options->program != NULL ? xstrdup(options->program) : fs_real_path("/proc/self/exe", err);
	if (l->program == NULL)
		return err->code;
	l->state_dir = state_dir(err);
	if (l->state_dir == NULL)
		return err->code;
	_cleanup_(admission_freep) struct admission *policy = NULL;
	if (listener_policy(l, &policy, err) < 0)
		return err->code;
	if (version_begin(l, err) < 0)
		return err->code;
	struct http_config config = wire_http_config();
	l->http = http_new(&config, err);
	return l->http == NULL ? err->code : 0;
}

static void add_endpoint(struct listener *l, struct endpoint *e)
{
	l->endpoints = xrealloc(l->endpoints, (l->endpoint_count + 1) * sizeof(struct endpoint *));
	l->endpoints[l->endpoint_count++] = e;
}

/* The worst exit code of all registrations; with one registration exactly its own. */
static int exit_code(const struct listener *l)
{
	int code = LISTEN_DONE;
	for (size_t i = 0; i < l->endpoint_count; i++)
		code = MAX(code, l->endpoints[i]->exit_code);
	if (code == LISTEN_DONE && l->last_result >= 0 &&
	    wire_is_true(getenv("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED")))
		return LISTEN_RESULT + l->last_result;
	return code;
}

static void listener_done(struct listener *l)
{
	for (struct lease *j; (j = l->jobs) != NULL;) {
		l->jobs = j->next;
		lease_free(j);
	}
	for (struct recovery *r; (r = l->recoveries) != NULL;) {
		l->recoveries = r->next;
		recovery_free(r);
	}
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_free(l->endpoints[i]);
	free(l->endpoints);
	teller_end(l);
	ping_end(l);
	version_end(l);
	areas_end(l);
	update_done(l);
	json_decref(l->refusals);
	http_free(l->http);
	supervisor_done(&l->supervisor);
	free(l->program);
	free(l->state_dir);
}

static int decide_isolation(const struct listener *l, struct survey *survey, size_t which, bool for_a_job, json_t **ret,
                            struct err *err)
{
	struct isolation isolation = {0};
	const struct isolation_question q = {
		.survey = survey, .which = which, .mode = l->options.isolation, .for_a_job = for_a_job};
	int r = isolation_decide(&q, &isolation, err);
	if (r >= 0)
		*ret = isolation_settings(&isolation);
	isolation_done(&isolation);
	return r;
}

/* all: room for every registration. */
static struct survey *look_at_all(const struct listener *l, const struct registration **all)
{
	const struct survey_question q = {
		.all = all, .count = l->endpoint_count, .agent_dir = l->store != NULL ? l->store->dir : NULL};
	for (size_t i = 0; i < l->endpoint_count; i++)
		all[i] = &l->endpoints[i]->reg;
	return survey_new(&q);
}

/* Checked once: the jobs that share a user depend on the registrations, and those are read at the start. */
static int choose_isolation(struct listener *l, struct err *err)
{
	_cleanup_free_ const struct registration **all = xcalloc(l->endpoint_count, sizeof(*all));
	_cleanup_(survey_freep) struct survey *survey = look_at_all(l, all);
	int r = 0;
	for (size_t i = 0; r >= 0 && i < l->endpoint_count; i++) {
		struct endpoint *e = l->endpoints[i], *before = i > 0 ? l->endpoints[i - 1] : NULL;
		r = decide_isolation(l, survey, i, false, &e->isolation, err);
		/* Usually all are equal: one object serves hundreds of registrations. */
		if (r >= 0 && before != NULL && json_equal(before->isolation, e->isolation)) {
			json_decref(e->isolation);
			e->isolation = json_incref(before->isolation);
		}
	}
	return r;
}

int listener_isolation(struct listener *l, const struct endpoint *e, json_t **ret, struct err *err)
{
	size_t which = 0;
	while (which < l->endpoint_count && l->endpoints[which] != e)
		which++;
	if (which < l->endpoint_count && json_get_bool(e->isolation, "processes", false)) {
		_cleanup_free_ const struct registration **all = xcalloc(l->endpoint_count, sizeof(*all));
		_cleanup_(survey_freep) struct survey *survey = look_at_all(l, all);
		return decide_isolation(l, survey, which, true, ret, err);
	}
	*ret = json_incref(e->isolation);
	return 0;
}

/* Shows that this program and the service understand each other, in the place of one that waits for that: no job, nothing of its own. */
static int probe_all(struct listener *l)
{
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_start(l->endpoints[i]);
	int code = loop(l);
	return code != 0 ? code : l->probed >= l->options.probe ? LISTEN_DONE : LISTEN_TERMINATED;
}

static int listen_all(struct listener *l)
{
	struct err err = ERR_INIT;
	if (l->options.probe > 0)
		return probe_all(l);
	if (choose_isolation(l, &err) < 0) {
		log_err(&err);
		return LISTEN_TERMINATED;
	}
	running_begin(l);
	teller_begin(l);
	ping_begin(l);
	areas_begin(l);
	recovery_at_start(l);
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_start(l->endpoints[i]);
	watchdog_begin(l);
	int code = loop(l);
	running_write(l);
	if (code == 0 && update_carry_out(l))
		return LISTEN_RETRY;
	return code != 0 ? code : exit_code(l);
}

/* What `agent run` was told stands in place of what is kept. The user of its jobs is checked now; otherwise the first job would fail. */
static int choose_settings(const struct listener *l, struct registration *reg, struct err *err)
{
	registration_overlay(reg, l->options.worker_user, l->options.native);
	const struct endpoint *before = l->endpoint_count > 0 ? l->endpoints[l->endpoint_count - 1] : NULL;
	if (before != NULL && before->reg.worker_user != NULL && reg->worker_user != NULL &&
	    strcmp(before->reg.worker_user, reg->worker_user) == 0)
		return 0;
	int r = worker_user_check(reg->worker_user, l->program, err);
	return r >= 0 ? worker_user_make_state_dir(reg->worker_user, err) : r;
}

static int load_endpoints(struct listener *l, struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	int r = records_list(l->store, &ids, err);
	for (size_t i = 0; r >= 0 && i < ids.count; i++) {
		struct registration reg = {0};
		r = records_load(l->store, ids.items[i], &reg, err);
		if (r >= 0)
			r = choose_settings(l, &reg, err);
		if (r >= 0)
			add_endpoint(l, endpoint_new(l, ids.items[i], &reg, NULL));
		registration_done(&reg);
	}
	if (r >= 0 && l->endpoint_count == 0) {
		r = err_set(err, ERR_NOT_FOUND, "this agent is not configured");
		err_hint(err, r,
		         "register it: davit agent configure --url https://github.com/OWNER/REPO --token TOKEN");
	}
	return r;
}

int listener_run_records(const struct records *store, const struct listener_options *options)
{
	struct err err = ERR_INIT;
	struct listener l = LISTENER_INIT;
	l.store = store;
	_cleanup_close_ int lock = -1;
	/* Of a probe the one that waits for it has the lock. */
	int r = options->probe > 0 ? 0 : records_lock(store, &lock, &err);
	if (r >= 0)
		r = listener_read_environment(store->dir, &err);
	if (r >= 0)
		r = prepare(&l, options, &err);
	if (r >= 0)
		r = load_endpoints(&l, &err);
	int code = r == ERR_LOCKED ? LISTEN_CONFLICT : LISTEN_TERMINATED;
	if (r < 0)
		log_err(&err);
	else
		code = listen_all(&l);
	listener_done(&l);
	return code;
}

int listener_run_jit(const char *text, const struct listener_options *options)
{
	struct err err = ERR_INIT;
	struct listener l = LISTENER_INIT;
	struct registration reg = {0};
	struct str key = STR_SECRET_INIT(64 << 10);
	int r = prepare(&l, options, &err);
	if (r >= 0)
		r = registration_from_jit(text, &reg, &key, &err);
	if (r >= 0)
		r = choose_settings(&l, &reg, &err);
	int code = LISTEN_TERMINATED;
	if (r < 0) {
		err_hint(&err, r, "give the whole value of encoded_jit_config, as the service made it");
		log_err(&err);
		registration_done(&reg);
		str_done(&key);
	} else {
		add_endpoint(&l, endpoint_new(&l, NULL, &reg, &key));
		code = listen_all(&l);
	}
	listener_done(&l);
	return code;
}
