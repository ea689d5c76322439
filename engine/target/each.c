#include "engine/target/each.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/core/thread.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct asked {
	struct view *v;
	size_t index;
	target_ask_fn ask;
	void *context;
	int *ret;
	struct err *err;
	struct wait wait, *former_wait;
	void (*former_report)(void *context, const char *line);
	void *former_context;
	struct strv lines;
	pthread_t thread;
	bool begun;
	int ended_fd;
};

static void keep_line(void *context, const char *line)
{
	struct asked *a = context;
	strv_add(&a->lines, line);
}

static void *answer(void *context)
{
	struct asked *a = context;
	uint64_t one = 1;
	*a->ret = a->ask(a->context, a->index, a->v, a->err);
	ssize_t n = a->ended_fd >= 0 ? write(a->ended_fd, &one, sizeof(one)) : 0;
	(void)n;
	return NULL;
}

static void lend(struct asked *a, const struct wait *w, int64_t deadline_ms)
{
	a->former_wait = a->v->wait;
	a->former_report = a->v->report;
	a->former_context = a->v->report_context;
	a->wait = (struct wait)WAIT_INIT;
	a->wait.cancel_fd = w != NULL ? w->cancel_fd : -1;
	a->wait.deadline_mono_ms = clock_mono_ms() + deadline_ms;
	a->v->wait = &a->wait;
	a->v->report = keep_line;
	a->v->report_context = a;
}

static void give_back(struct asked *a)
{
	a->v->wait = a->former_wait;
	a->v->report = a->former_report;
	a->v->report_context = a->former_context;
	for (size_t i = 0; a->v->report != NULL && i < a->lines.count; i++)
		a->v->report(a->v->report_context, a->lines.items[i]);
	strv_done(&a->lines);
}

/* While the others work the caller's tick goes on. What it says (a lock that was lost) is found again by the next guarded operation. */
static void await(struct wait *w, int ended_fd, size_t running)
{
	uint64_t count;
	while (running > 0 && ended_fd >= 0) {
		if (wait_fd(w, ended_fd, POLLIN, NULL) < 0)
			return;
		if (read(ended_fd, &count, sizeof(count)) != sizeof(count))
			return;
		running -= count < running ? (size_t)count : running;
	}
}

void target_each(struct view *const *views, size_t count, struct wait *w, int64_t deadline_ms, target_ask_fn ask,
                 void *context, int *ret, struct err *errs)
{
	_cleanup_free_ struct asked *all = xcalloc(count + 1, sizeof(*all));
	_cleanup_close_ int ended = eventfd(0, EFD_CLOEXEC);
	size_t running = 0;
	for (size_t i = 0; i < count; i++) {
		if (views[i] == NULL)
			continue;
		all[i] = (struct asked){.v = views[i],
		                        .index = i,
		                        .ask = ask,
		                        .context = context,
		                        .ret = &ret[i],
		                        .err = &errs[i],
		                        .ended_fd = ended};
		lend(&all[i], w, deadline_ms);
		all[i].begun = thread_start(&all[i].thread, answer, &all[i]) == 0;
		running += all[i].begun;
	}
	/* Without a thread the others wait. */
	for (size_t i = 0; i < count; i++)
		if (views[i] != NULL && !all[i].begun)
			all[i].ret[0] = ask(context, i, views[i], &errs[i]);
	await(w, ended, running);
	for (size_t i = 0; i < count; i++) {
		if (views[i] == NULL)
			continue;
		if (all[i].begun)
			pthread_join(all[i].thread, NULL);
		give_back(&all[i]);
	}
}
