#include "providers/proxmox/snapshot_move.h"

#include "base/core/mem.h"
#include "providers/proxmox/self.h"
#include "providers/proxmox/snapshots.h"
#include "providers/proxmox/target.h"

#include <inttypes.h>
#include <string.h>

enum { ROUNDS_MAX = 16 };

int snapshot_guest_read(const struct change *c, const json_t *node, struct snapshot_guest *ret, struct err *err)
{
	*ret = (struct snapshot_guest){json_get_int(node, "vmid", -1), json_get_string(node, "guest"),
	                               json_get_string(node, "name"), json_get_string(node, "node")};
	if (ret->vmid > 0 && ret->type != NULL && ret->name != NULL && ret->node != NULL && upid_is_node(ret->node))
		return 0;
	return err_set(err, ERR_INVALID, "the record of '%s' names no guest", c->path);
}

int snapshot_look(struct change_call *x, const struct snapshot_guest *of, struct guest *ret, json_t **ret_rows,
                  struct err *err)
{
	struct proxmox *p = proxmox_of_target(x->v);
	if (p == NULL)
		return err_set(err, ERR_INVALID, "target '%s' is not a Proxmox server", x->v->name);
	int r = guest_read(p, of->vmid, x->v->wait, ret, err);
	if (r < 0)
		return r;
	if (ret->there && (strcmp(ret->type, of->type) != 0 || ret->name == NULL || strcmp(ret->name, of->name) != 0))
		guest_done(ret);
	return ret->there ? snapshots_read(p, ret, x->v->wait, ret_rows, err) : 0;
}

static const char *rollback_of(const char *type)
{
	return strcmp(type, "lxc") == 0 ? "vzrollback" : "qmrollback";
}

int snapshot_last_rollback(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct err *err)
{
	const struct task_watch watch = {p, w, NULL, NULL};
	return task_last_good(&watch, g->node, g->vmid, rollback_of(g->type), ret, err);
}

/* ---- put back ---- */

static int has_new_task(struct change_call *x, const struct snapshot_goal *goal, bool *ret, struct err *err)
{
	const struct task_watch watch = request_watch(x);
	_cleanup_free_ char *last = NULL;
	int r = task_last_good(&watch, goal->guest.node, goal->guest.vmid, rollback_of(goal->guest.type), &last, err);
	*ret = r == 0 && last != NULL && (goal->seen == NULL || strcmp(last, goal->seen) != 0);
	return r;
}

int snapshot_is_put_back(struct change_call *x, const struct snapshot_goal *goal, const json_t *rows, bool *ret,
                         struct err *err)
{
	*ret = strcmp(snapshots_parent(rows), goal->snapshot) == 0;
	return *ret && strcmp(goal->from, goal->snapshot) == 0 ? has_new_task(x, goal, ret, err) : 0;
}

static int gone(const struct snapshot_goal *goal, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "guest %" PRId64 " '%s' is not there any more", goal->guest.vmid,
	               goal->guest.name);
}

static int roll_back(struct change_call *x, const struct snapshot_goal *goal, const struct guest *g, const json_t *rows,
                     struct err *err)
{
	const json_t *row = snapshots_find(rows, goal->snapshot);
	json_t *params _cleanup_json_ = goal->running ? json_pack("{s:b}", "start", 1) : NULL;
	_cleanup_free_ char *segment = proxmox_segment(goal->snapshot),
			    *behind = xasprintf("/snapshot/%s/rollback", segment), *path = guest_path(g, behind);
	if (row == NULL || !snapshots_is_whole(row))
		return err_set(err, ERR_CONFLICT, "guest %" PRId64 " '%s' has no whole snapshot '%s' any more", g->vmid,
		               g->name, goal->snapshot);
	int r = self_refuse(proxmox_of_target(x->v), g, "put back", x->v->wait, err);
	return r < 0 ? r : request_task(x, "POST", path, params, err);
}

static int set_state(struct change_call *x, const struct snapshot_goal *goal, const struct guest *g, struct err *err)
{
	_cleanup_free_ char *path = guest_path(g, goal->running ? "/status/start" : "/status/stop");
	int r = self_refuse(proxmox_of_target(x->v), g, "stopped", x->v->wait, err);
	return r < 0 ? r : request_task(x, "POST", path, NULL, err);
}

/* 1: something was done, and is looked at. */
static int next(struct change_call *x, const struct snapshot_goal *goal, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	bool back = false;
	int r = snapshot_look(x, &goal->guest, &g, &rows, err);
	if (r == 0 && !g.there)
		r = gone(goal, err);
	if (r == 0)
		r = snapshot_is_put_back(x, goal, rows, &back, err);
	if (r < 0)
		return r;
	if (back && g.running == goal->running)
		return 0;
	r = back ? set_state(x, goal, &g, err) : roll_back(x, goal, &g, rows, err);
	return r < 0 ? r : 1;
}

int snapshot_put_back(struct change_call *x, const struct snapshot_goal *goal, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {.vmid = goal->guest.vmid};
	snprintf(g.node, sizeof(g.node), "%s", goal->guest.node);
	snprintf(g.type, sizeof(g.type), "%s", goal->guest.type);
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int r = request_settle(x, &g, err);
		if (r == 0)
			r = next(x, goal, err);
		if (r <= 0)
			return r;
	}
	return err_set(err, ERR_FAILED, "guest %" PRId64 " does not go back to '%s'", goal->guest.vmid, goal->snapshot);
}
