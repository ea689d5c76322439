/* turns: steps in the background take turns with the main line: each has a fiber, which gives its turn back wherever the job's loop
 * would wait, and its own view of the job, which is put in place for its turn. */
#include "agent/worker/background.h"

#include <poll.h>

enum { LONG_MS = 60000 };

#define SWAP(a, b)                                                                                                     \
	do {                                                                                                           \
		__typeof__(a) swapped = (a);                                                                           \
		(a) = (b);                                                                                             \
		(b) = swapped;                                                                                         \
	} while (0)

static void exchange_views(struct job *j, struct job_view *v)
{
	SWAP(j->contexts, v->contexts);
	SWAP(j->github, v->github);
	SWAP(j->steps_context, v->steps_context);
	SWAP(j->global_env, v->global_env);
	SWAP(j->outer_env, v->outer_env);
	SWAP(j->defaults_run, v->defaults_run);
	SWAP(j->prepend_path, v->prepend_path);
	SWAP(j->prepend_len, v->prepend_len);
	SWAP(j->action_status, v->action_status);
	SWAP(j->frame, v->frame);
	SWAP(j->scope, v->scope);
}

static json_t *github_of_its_own(const struct job *j)
{
	static const char *const files[] = {"path",   "env",       "step_summary",  "state",
	                                    "output", "artifacts", "artifacts_list"};
	json_t *github = json_copy(j->github);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		json_object_del(github, files[i]);
	return github;
}

void job_view_take(const struct job *j, struct job_view *ret)
{
	*ret = (struct job_view){.contexts = json_copy(j->contexts),
	                         .github = github_of_its_own(j),
	                         .steps_context = json_copy(j->steps_context),
	                         .global_env = json_copy(j->global_env),
	                         .defaults_run = json_incref(j->defaults_run),
	                         .prepend_path = json_copy(j->prepend_path),
	                         .prepend_len = j->prepend_len,
	                         .scope = j->scope};
	json_object_set(ret->contexts, "github", ret->github);
	json_object_set(ret->contexts, "steps", ret->steps_context);
	ret->scope.expr.contexts = ret->contexts;
}

void job_view_done(struct job_view *v)
{
	json_t *values[] = {v->contexts, v->github, v->steps_context, v->global_env, v->defaults_run, v->prepend_path};
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		json_decref(values[i]);
}

int background_resume(struct background *b, struct err *err)
{
	struct job *j = b->job;
	exchange_views(j, &b->view);
	j->active = b;
	b->fds = NULL;
	b->fd_count = 0;
	int r = fiber_resume(b->fiber, err);
	j->active = NULL;
	exchange_views(j, &b->view);
	return r;
}

void background_yield(struct background *b, struct pollfd *fds, size_t count, int64_t max_ms)
{
	for (size_t i = 0; i < count; i++)
		fds[i].revents = 0;
	b->fds = fds;
	b->fd_count = count;
	b->until_mono_ms = clock_mono_ms() + MIN(max_ms, (int64_t)LONG_MS);
	b->cancels_seen = b->job->cancel.serial + b->cancels;
	fiber_yield(b->fiber);
}

static bool is_cancelled_anew(const struct background *b)
{
	return b->cancels_seen != b->job->cancel.serial + b->cancels;
}

static bool waits(const struct background *b)
{
	return b->running && b->fiber != NULL && !fiber_is_over(b->fiber);
}

size_t background_fd_count(const struct job *j)
{
	size_t count = 0;
	for (size_t i = 0; i < j->background_count; i++)
		count += waits(j->backgrounds[i]) ? j->backgrounds[i]->fd_count : 0;
	return count;
}

size_t background_gather(const struct job *j, struct pollfd *fds, int64_t *max_ms)
{
	size_t n = 0;
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < j->background_count; i++) {
		const struct background *b = j->backgrounds[i];
		if (!waits(b))
			continue;
		for (size_t k = 0; k < b->fd_count; k++)
			fds[n++] = b->fds[k];
		*max_ms = is_cancelled_anew(b) ? 0 : MIN(*max_ms, MAX(b->until_mono_ms - now, 0));
	}
	return n;
}

/* What it waits for has come, or may have: a call of a service ends without a descriptor. */
static bool is_ready(const struct background *b)
{
	bool ready = b->fd_count == 0 || clock_mono_ms() >= b->until_mono_ms || is_cancelled_anew(b);
	for (size_t k = 0; k < b->fd_count; k++)
		ready |= b->fds[k].revents != 0;
	return ready;
}

void background_take_turns(struct job *j, const struct pollfd *fds)
{
	size_t n = 0;
	for (size_t i = 0; i < j->background_count; i++)
		for (size_t k = 0; waits(j->backgrounds[i]) && k < j->backgrounds[i]->fd_count; k++)
			j->backgrounds[i]->fds[k].revents = fds[n++].revents;
	for (size_t i = 0; i < j->background_count; i++) {
		struct background *b = j->backgrounds[i];
		if (waits(b) && is_ready(b))
			background_resume(b, NULL);
		if (b->running && fiber_is_over(b->fiber)) {
			b->running = false;
			j->background_running--;
			j->background_next(j);
		}
	}
}

int job_cancels(const struct job *j)
{
	return j->cancel.serial + (j->active != NULL ? j->active->cancels : 0);
}
