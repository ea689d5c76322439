#include "providers/proxmox/request.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "engine/change/change.h"
#include "providers/proxmox/target.h"

#include <inttypes.h>
#include <string.h>

enum { ROUNDS_MAX = 16, LOCK_MS = 20000, LOCK_PAUSE_MS = 500, QUIET_LOOKS = 2, QUIET_MS = 700 };

static void tell(void *context, const char *line)
{
	struct view *v = context;
	if (v->report != NULL)
		v->report(v->report_context, line);
}

struct task_watch request_watch(const struct change_call *x)
{
	return (struct task_watch){proxmox_of_target(x->v), x->v->wait, tell, x->v};
}

bool request_task_is(const struct change *c, const char *const *types)
{
	struct upid u;
	if (c->task == NULL || upid_read(c->task, &u, NULL) < 0)
		return false;
	for (size_t i = 0; types[i] != NULL; i++)
		if (strcmp(u.type, types[i]) == 0)
			return true;
	return false;
}

/* A task that is begun is noted before it is waited for. */
int request_task(struct change_call *x, const char *method, const char *path, const json_t *params, struct err *err)
{
	struct task_watch watch = request_watch(x);
	json_t *answer _cleanup_json_ = NULL;
	int r = change_guard(x, err);
	if (r == 0)
		r = proxmox_call(watch.p, method, path, params, watch.wait, &answer, err);
	if (r < 0 || json_is_null(answer))
		return r;
	struct upid u;
	const char *upid = json_string_value(answer);
	if (upid == NULL || upid_read(upid, &u, NULL) < 0)
		return err_set(err, ERR_UNKNOWN, "%s %s: what was answered is not the name of a task", method, path);
	r = change_note_task(x, upid, err);
	return r < 0 ? r : task_follow(&watch, upid, proxmox_task_timeout(watch.p), err);
}

/* ---- what may be at work ---- */

/* Not a backup that somebody else began. */
static bool is_ours(const struct proxmox *p, const char *upid)
{
	struct upid u;
	return upid_read(upid, &u, NULL) == 0 && strcmp(u.user, proxmox_token(p)) == 0;
}

static int wait_for_tasks(struct change_call *x, const struct guest *g, struct err *err)
{
	struct task_watch watch = request_watch(x);
	for (int i = 0; i < ROUNDS_MAX; i++) {
		_cleanup_free_ char *upid = NULL;
		int r = task_at_work(&watch, g->node, g->vmid, &upid, err);
		if (r < 0 || upid == NULL)
			return r;
		r = is_ours(watch.p, upid) && x->note_task != NULL ? change_note_task(x, upid, err) : 0;
		if (r == 0)
			r = task_follow(&watch, upid, proxmox_task_timeout(watch.p), err);
		if (r < 0 && r != ERR_FAILED)
			return r;
		err_clear(err);
	}
	return err_set(err, ERR_TIMEOUT, "there is always another task at work for guest %" PRId64, g->vmid);
}

static int still_locked(const struct guest *g, struct err *err)
{
	err_set(err, ERR_FAILED, "guest %" PRId64 " is locked (%s), and no task is at work for it", g->vmid, g->lock);
	return err_hint(err, ERR_FAILED, "when nothing holds it any more: `%s unlock %" PRId64 "` on the node '%s'",
	                strcmp(g->type, "lxc") == 0 ? "pct" : "qm", g->vmid, g->node);
}

int request_settle(struct change_call *x, const struct guest *g, struct err *err)
{
	int64_t until = clock_mono_ms() + LOCK_MS;
	for (;;) {
		struct guest now _cleanup_(guest_done) = {0};
		int r = wait_for_tasks(x, g, err);
		if (r == 0)
			r = guest_read(proxmox_of_target(x->v), g->vmid, x->v->wait, &now, err);
		if (r < 0 || !now.there || now.lock == NULL)
			return r;
		if (clock_mono_ms() >= until)
			return still_locked(&now, err);
		r = wait_aside(x->v->wait, LOCK_PAUSE_MS, err);
		if (r < 0)
			return r;
	}
}

/* ---- resumed ---- */

/* A request whose reply was lost may only just have begun its task: two looks in a row must find none. */
static int wait_for_unnamed(struct change_call *x, const struct change *c, const char *node, int64_t vmid,
                            struct err *err)
{
	struct guest g _cleanup_(guest_done) = {.vmid = vmid};
	if (node == NULL || !upid_is_node(node) || vmid < 0)
		return err_set(err, ERR_INVALID, "'%s' is on no node", c->path);
	snprintf(g.node, sizeof(g.node), "%s", node);
	int r = 0;
	for (int i = 0; r == 0 && i < QUIET_LOOKS; i++) {
		r = i > 0 ? wait_aside(x->v->wait, QUIET_MS, err) : 0;
		if (r == 0)
			r = request_settle(x, &g, err);
	}
	return r;
}

static int end_named(struct change_call *x, const struct change *c, struct err *err)
{
	struct task_watch watch = request_watch(x);
	watch.tell = NULL;
	int r = task_follow(&watch, c->task, proxmox_task_timeout(watch.p), err);
	if (r == ERR_TIMEOUT && x->undoing)
		r = task_stop(&watch, c->task, err);
	return r;
}

int request_resume(struct change_call *x, const struct change *c, const char *node, int64_t vmid, struct err *err)
{
	if (proxmox_of_target(x->v) == NULL)
		return err_set(err, ERR_INVALID, "target '%s' is not a Proxmox server", x->v->name);
	int r = c->task != NULL ? end_named(x, c, err) : 0;
	int rest = r == 0 || r == ERR_FAILED ? wait_for_unnamed(x, c, node, vmid, r == 0 ? err : NULL) : 0;
	return r < 0 ? r : rest;
}
