/* The engine's side of a driver's calls: how the target is guarded, and where a task is noted. */
#include "engine/run/run_priv.h"

struct at {
	struct engine *e;
	struct etarget *et;
	struct change *c;
};

static int guard(void *context, struct err *err)
{
	const struct at *at = context;
	return lock_guard(at->et->anchor->t, err);
}

/* Stored in the journal, and for another machine in the copy; the state of the change stays. */
static int note_task(void *context, const char *task, struct err *err)
{
	const struct at *at = context;
	struct target *t = at->et->anchor->t;
	const char *const paths[] = {t->lock_dir};
	free(at->c->task);
	at->c->task = xstrdup(task);
	int r = store_change_set(at->e->store, at->e->id, at->c, at->c->state, at->c->note, err);
	if (r == 0)
		r = lock_append_state(t, at->c, at->c->state, err);
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	return r < 0 ? err_wrap(err, r, "note the task '%s' of '%s'", task, at->c->path) : 0;
}

bool engine_step_makes(const struct etarget *et)
{
	return target_is_host(et->t);
}

static struct change_call call_of(struct at *at)
{
	struct target *t = at->et->t;
	struct change_call x = {
		.v = &t->view,
		.t = t,
		.lock_dir = t->lock_dir,
		.undoing = at->e->facts.undoing,
		.note_task = note_task,
		.context = at,
	};
	if (!target_is_host(t))
		x.guard = guard;
	return x;
}

int engine_change_apply(struct engine *e, struct etarget *et, struct change *c, struct err *err)
{
	struct at at = {e, et, c};
	struct change_call x = call_of(&at);
	return change_call_apply(&x, c, err);
}

int engine_change_undo(struct engine *e, struct etarget *et, struct change *c, struct err *err)
{
	struct at at = {e, et, c};
	struct change_call x = call_of(&at);
	return change_call_undo(&x, c, err);
}

int engine_change_resume(struct engine *e, struct etarget *et, struct change *c, struct err *err)
{
	struct at at = {e, et, c};
	struct change_call x = call_of(&at);
	return change_call_resume(&x, c, err);
}
