/* The forge's side of `davit run`: one run, whose jobs are given to the caller instead of a runner. */
#include "agent/forge/local.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

static struct forge_run *run_of(struct forge *f)
{
	return f->runs[0];
}

/* Its login is not known here: the name stands for it. */
static char *author_of(const json_t *payload)
{
	const char *login = json_get_string(json_object_get(payload, "sender"), "login");
	const char *name = json_get_string(json_object_get(json_object_get(payload, "head_commit"), "author"), "name");
	return xstrdup(name != NULL && *name != '\0' ? name : login != NULL ? login : "nobody");
}

static json_t *payload_of(struct forge *f, struct forge_repo *repo, const struct forge_local_run *what)
{
	static const char zero[] = "0000000000000000000000000000000000000000";
	json_object_set_new(what->head_commit, "url",
	                    json_stringf("%s/%s/commit/%s", f->base, repo->full_name, what->sha));
	json_t *payload = push_payload_of(f, repo, what->ref, zero, what->sha, what->head_commit, "nobody");
	_cleanup_free_ char *author = author_of(payload);
	json_object_set_new(json_object_get(payload, "pusher"), "name", json_string(author));
	json_object_set_new(json_object_get(payload, "sender"), "login", json_string(author));
	if (strcmp(what->event, "push") == 0)
		return payload;
	json_t *other = json_pack("{s:O, s:O}", "repository", json_object_get(payload, "repository"), "sender",
	                          json_object_get(payload, "sender"));
	if (strcmp(what->event, "workflow_dispatch") == 0) {
		json_object_set_new(other, "ref", json_string(what->ref));
		json_object_set_new(other, "workflow", json_string(what->workflow->path));
		json_object_set_new(other, "inputs", push_input_texts(what->inputs));
	}
	json_decref(payload);
	return other;
}

static void add_waiter(struct forge *f)
{
	struct waiter *me = xcalloc(1, sizeof(*me));
	*me = (struct waiter){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .next = f->waiters};
	f->local = f->waiters = me;
}

static void drop(const struct forge_local_run *what)
{
	workflow_free(what->workflow);
	json_decref(what->payload);
	json_decref(what->head_commit);
	json_decref(what->inputs);
}

int forge_local_begin(struct forge *f, const struct forge_local_run *what, struct err *err)
{
	int r = 0;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < what->repositories->count && r >= 0; i++)
		r = forge_repo_add(f, what->repositories->items[i], err);
	f->config.work_tree = what->work_tree;
	pthread_mutex_unlock(&f->lock);
	if (r < 0) {
		drop(what);
		return r;
	}
	struct forge_repo *repo = f->repos[0];
	json_t *payload = what->payload != NULL ? what->payload : payload_of(f, repo, what);
	pthread_mutex_lock(&f->lock);
	add_waiter(f);
	json_object_update(repo->secrets, (json_t *)(uintptr_t)what->secrets);
	json_object_update(repo->vars, (json_t *)(uintptr_t)what->vars);
	struct forge_run *run = forge_run_new(f, repo, what->workflow, what->workflow->path, what->event, what->ref,
	                                      what->sha, payload);
	run->inputs = what->inputs;
	run->actor = author_of(payload);
	forge_run_advance(f, run);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static struct forge_job *first_queued(const struct forge_run *run)
{
	for (size_t i = 0; i < run->job_count; i++)
		if (run->jobs[i]->state == JOB_QUEUED)
			return run->jobs[i];
	return NULL;
}

json_t *forge_local_take(struct forge *f)
{
	json_t *taken = NULL;
	pthread_mutex_lock(&f->lock);
	struct forge_job *job = first_queued(run_of(f));
	if (job != NULL) {
		forge_job_begin(f, job);
		job->renewed = true; /* nothing can lose it: its worker is a child of this process */
		job->locked_until_ms = INT64_MAX;
		taken = json_pack("{s:s, s:s, s:O}", "job_id", job->job_id, "name", job->name, "message", job->message);
	}
	pthread_mutex_unlock(&f->lock);
	return taken;
}

static struct forge_job *job_of(struct forge *f, const char *job_id)
{
	struct forge_run *run = run_of(f);
	for (size_t i = 0; i < run->job_count; i++)
		if (strcmp(run->jobs[i]->job_id, job_id) == 0)
			return run->jobs[i];
	return NULL;
}

struct forge_local_job forge_local_look(struct forge *f, const char *job_id)
{
	struct forge_local_job look = {.over = true};
	pthread_mutex_lock(&f->lock);
	const struct forge_job *job = job_of(f, job_id);
	if (job != NULL)
		look = (struct forge_local_job){.cancelled = job->cancelled,
		                                .cancel_left_ms = job->cancel_deadline_ms - clock_mono_ms(),
		                                .over = job->state == JOB_COMPLETED,
		                                .lost = job->lost};
	pthread_mutex_unlock(&f->lock);
	return look;
}

void forge_local_end(struct forge *f, const char *job_id, const char *why)
{
	pthread_mutex_lock(&f->lock);
	struct forge_job *job = job_of(f, job_id);
	if (job != NULL && job->state == JOB_RUNNING) {
		json_array_append_new(job->annotations, json_pack("{s:s, s:s}", "level", "failure", "message", why));
		forge_job_complete(f, job, job->cancelled ? "cancelled" : "failure");
	}
	pthread_mutex_unlock(&f->lock);
}

void forge_local_cancel(struct forge *f)
{
	pthread_mutex_lock(&f->lock);
	forge_run_cancel(f, run_of(f));
	pthread_mutex_unlock(&f->lock);
}

int forge_local_fd(const struct forge *f)
{
	return f->local->fd;
}

void forge_local_pass(struct forge *f)
{
	uint64_t count;
	pthread_mutex_lock(&f->lock);
	while (read(f->local->fd, &count, sizeof(count)) > 0)
		continue;
	forge_tick(f);
	pthread_mutex_unlock(&f->lock);
}

json_t *forge_local_show(struct forge *f)
{
	pthread_mutex_lock(&f->lock);
	json_t *run = forge_run_json(f, run_of(f), false);
	pthread_mutex_unlock(&f->lock);
	return run;
}
