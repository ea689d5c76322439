/* Room on the disk: work areas together take no more than --quota, and below --free-space no job is taken. What areas take is looked at by a process of
 * their user beside the loop, behind jobs and once a minute at most. */
#include "agent/listener/endpoint_priv.h"

#include <unistd.h>

#include "agent/listener/handover.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs_usage.h"

enum { PAUSE_MS = 60000, REAP_MS = 5000, SWEPT_MAX = 16 << 20, AREAS_MAX = 2000 };

static bool same_user(const struct endpoint *a, const struct endpoint *b)
{
	const char *one = a->reg.worker_user, *other = b->reg.worker_user;
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool is_first_of_user(const struct listener *l, size_t which)
{
	for (size_t i = 0; i < which; i++)
		if (same_user(l->endpoints[i], l->endpoints[which]))
			return false;
	return true;
}

static char *area_of(const struct listener *l, const struct endpoint *e)
{
	_cleanup_free_ char *state = listener_state_dir(l, e->reg.worker_user, NULL);
	return state != NULL ? handover_work_folder(&e->reg, state) : NULL;
}

static int spawn(struct listener *l, const struct endpoint *of, struct err *err)
{
	_cleanup_(strv_done) struct strv words = {0};
	const char *program = listener_program(l);
	const char *front[] = {program, "agent", "as-user", of->reg.worker_user, program, "worker", "sweep"};
	for (size_t i = of->reg.worker_user != NULL ? 0 : 4; i < ARRAY_SIZE(front); i++)
		strv_add(&words, front[i]);
	strv_addf(&words, "%lld", (long long)l->options.quota);
	for (size_t i = 0; i < l->endpoint_count && i < AREAS_MAX; i++) {
		char *area = same_user(l->endpoints[i], of) ? area_of(l, l->endpoints[i]) : NULL;
		if (area != NULL)
			strv_add_take(&words, area);
	}
	struct proc_options options = {.argv = (const char *const *)strv_null_terminated(&words),
	                               .stdin_fd = -1,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = STDERR_FILENO,
	                               .new_session = true};
	int r = proc_spawn(&options, &l->areas.proc, err);
	if (r < 0)
		return r;
	l->areas.pidfd = proc_pidfd(&l->areas.proc, err);
	return l->areas.pidfd < 0 ? l->areas.pidfd : 0;
}

/* That of the next user from `next` on; behind the last one it is over. */
static void sweep_next(struct listener *l)
{
	struct err err = ERR_INIT;
	struct areas *a = &l->areas;
	while (a->next < l->endpoint_count && !is_first_of_user(l, a->next))
		a->next++;
	if (a->next >= l->endpoint_count) {
		a->ended_ms = clock_mono_ms();
		return;
	}
	str_clear(&a->output);
	if (spawn(l, l->endpoints[a->next++], &err) < 0) {
		log_err(&err);
		proc_done(&a->proc);
		closep(&a->pidfd);
		a->ended_ms = clock_mono_ms();
	}
}

void areas_begin(struct listener *l)
{
	l->areas.proc = (struct proc)PROC_INIT;
	l->areas.pidfd = -1;
	l->areas.output = (struct str)STR_INIT(SWEPT_MAX);
	areas_look_soon(l);
}

void areas_look_soon(struct listener *l)
{
	struct areas *a = &l->areas;
	if (l->options.quota == 0 || l->stopping || a->due_ms != 0)
		return;
	a->due_ms = a->ended_ms == 0 ? clock_mono_ms() + 1 : a->ended_ms + registration_pace(PAUSE_MS);
}

void areas_timer(struct listener *l, int64_t now_ms)
{
	struct areas *a = &l->areas;
	if (a->due_ms == 0 || now_ms < a->due_ms || a->pidfd >= 0)
		return;
	a->due_ms = 0;
	a->next = 0;
	sweep_next(l);
}

void areas_read(struct listener *l)
{
	struct areas *a = &l->areas;
	char *room = str_reserve(&a->output, 4096);
	ssize_t n = room != NULL ? read(a->proc.stdout_fd, room, 4096) : 0;
	if (n > 0)
		a->output.len += (size_t)n;
	else if (n == 0)
		closep(&a->proc.stdout_fd);
}

static void note(struct endpoint *e, const json_t *swept)
{
	const char *area = e->area;
	const json_t *one = area != NULL ? json_get_object(swept, area) : NULL;
	if (one == NULL)
		return;
	bool removed = json_get_bool(one, "removed", false);
	char when[CLOCK_TEXT_SIZE];
	int64_t bytes = json_get_int(one, "bytes", 0);
	e->area_bytes = removed ? 0 : bytes;
	if (removed)
		log_info("listen", "%s: removed its work area (%lld MiB), which was not used since %s",
		         endpoint_place(e), (long long)(bytes >> 20),
		         clock_rfc3339(json_get_int(one, "used", 0) * 1000, when));
}

void areas_ended(struct listener *l)
{
	struct areas *a = &l->areas;
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	int status = -1;
	_cleanup_json_ json_t *swept = NULL;
	w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	while (a->proc.stdout_fd >= 0 && !a->output.failed) {
		size_t before = a->output.len;
		areas_read(l);
		if (a->output.len == before)
			break;
	}
	int r = proc_wait(&a->proc, &w, &status, &err);
	proc_done(&a->proc);
	closep(&a->pidfd);
	if (r >= 0 && status == 0 && json_parse(str_peek(&a->output), a->output.len, SWEPT_MAX, &swept, &err) >= 0)
		for (size_t i = 0; i < l->endpoint_count; i++) {
			struct endpoint *e = l->endpoints[i];
			if (e->area == NULL)
				e->area = area_of(l, e);
			note(e, swept);
		}
	else
		log_warning("listen", "the room that work areas take could not be looked at (status %d)", status);
	sweep_next(l);
}

void areas_end(struct listener *l)
{
	proc_done(&l->areas.proc);
	closep(&l->areas.pidfd);
	str_done(&l->areas.output);
}

/* ---- the floor ---- */

bool areas_are_full(struct endpoint *e)
{
	int64_t free_bytes = 0, size = 0, floor = e->listener->options.free_space;
	if (floor == 0)
		return false;
	if (e->area == NULL)
		e->area = area_of(e->listener, e);
	if (e->area == NULL || fs_free_space(e->area, &free_bytes, &size, NULL) < 0)
		return false;
	bool full = free_bytes < floor;
	if (full == e->full)
		return full;
	e->full = full;
	_cleanup_free_ char *text = xasprintf("only %lld MiB are free at %s, less than --free-space",
	                                      (long long)(free_bytes >> 20), e->area);
	if (full)
		log_warning("listen", "%s: %s; no job is taken", endpoint_place(e), text);
	else
		log_info("listen", "%s: there is room again; jobs are taken", endpoint_place(e));
	endpoint_write_state(e, full ? "full" : "listening", full ? text : NULL);
	return full;
}
