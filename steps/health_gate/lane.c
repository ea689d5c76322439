/* A thread for each target that is asked something: a session answers one question at a time, and blocks. While it does, the target's view
 * belongs to that thread; nobody else uses it during a gate, since the lock is renewed by a connection of its own. */
#include "base/core/clock.h"
#include "base/core/thread.h"
#include "engine/target/host.h"
#include "steps/health_gate/health_gate.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SLACK_MS = 5000 };

struct gate_lane {
	struct target *target;
	struct gate_check *check; /* being asked; NULL: idle */
	pthread_t thread;
	atomic_bool over;
	struct wait wait, *former_wait;
	void (*former_report)(void *context, const char *line);
	int woken_fd;
};

static struct gate_lane *lane_of(struct gate *g, const struct target *t)
{
	for (size_t i = 0; i < g->lane_count; i++)
		if (g->lanes[i].target == t)
			return &g->lanes[i];
	return NULL;
}

int gate_lanes_open(struct gate *g, struct err *err)
{
	g->lanes = xcalloc(g->count + 1, sizeof(*g->lanes));
	for (size_t i = 0; i < g->count; i++)
		if (g->checks[i].target != NULL && lane_of(g, g->checks[i].target) == NULL)
			g->lanes[g->lane_count++] = (struct gate_lane){.target = g->checks[i].target};
	if (g->lane_count == 0)
		return 0;
	g->woken_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return g->woken_fd >= 0 && g->stop_fd >= 0 ? 0 : err_errno(err, errno, "watch the targets of a gate");
}

static void wake(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));
	(void)n;
}

static void *ask(void *context)
{
	struct gate_lane *lane = context;
	lane->check->type->ask(lane->check);
	atomic_store(&lane->over, true);
	wake(lane->woken_fd);
	return NULL;
}

static void give_back_view(struct gate_lane *lane)
{
	struct view *v = &lane->target->view;
	v->wait = lane->former_wait;
	v->report = lane->former_report;
	lane->check = NULL;
}

bool gate_lane_start(struct gate_check *check)
{
	struct gate *g = check->gate;
	struct gate_lane *lane = lane_of(g, check->target);
	struct view *v = &lane->target->view;
	if (lane->check != NULL)
		return false;
	lane->check = check;
	lane->woken_fd = g->woken_fd;
	atomic_store(&lane->over, false);
	lane->former_wait = v->wait;
	lane->former_report = v->report;
	lane->wait = (struct wait)WAIT_INIT;
	lane->wait.cancel_fd = g->stop_fd;
	lane->wait.deadline_mono_ms = clock_mono_ms() + gate_left_ms(check) + SLACK_MS;
	v->wait = &lane->wait;
	v->report = NULL;
	if (thread_start(&lane->thread, ask, lane) == 0)
		return true;
	/* Without a thread the others wait. */
	check->type->ask(check);
	give_back_view(lane);
	check->answered = true;
	check->in_flight = true;
	check->tries++;
	gate_take(check);
	return false;
}

static void join(struct gate_lane *lane)
{
	pthread_join(lane->thread, NULL);
	give_back_view(lane);
}

void gate_lanes_collect(struct gate *g)
{
	uint64_t count;
	ssize_t n = g->woken_fd >= 0 ? read(g->woken_fd, &count, sizeof(count)) : 0;
	(void)n;
	for (size_t i = 0; i < g->lane_count; i++) {
		struct gate_check *check = g->lanes[i].check;
		if (check == NULL || !atomic_load(&g->lanes[i].over))
			continue;
		join(&g->lanes[i]);
		gate_take(check);
	}
}

void gate_lanes_close(struct gate *g)
{
	if (g->stop_fd >= 0)
		wake(g->stop_fd);
	for (size_t i = 0; i < g->lane_count; i++)
		if (g->lanes[i].check != NULL)
			join(&g->lanes[i]);
	free(TAKE(g->lanes));
	g->lane_count = 0;
	closep(&g->woken_fd);
	closep(&g->stop_fd);
}
