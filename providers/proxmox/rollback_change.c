#include "base/core/mem.h"
#include "providers/proxmox/snapshot_change.h"
#include "providers/proxmox/snapshots.h"

#include <inttypes.h>
#include <string.h>

/* The way there, or back from there. */
static int goal_of(const struct change *c, bool forwards, struct snapshot_goal *ret, struct err *err)
{
	const json_t *to = forwards ? c->after : c->before, *from = forwards ? c->before : c->after;
	*ret = (struct snapshot_goal){.snapshot = json_get_string(to, "snapshot"),
	                              .running = json_get_bool(to, "running", false),
	                              .from = json_get_string(from, "snapshot"),
	                              .seen = json_get_string(c->extra, "seen")};
	if (ret->snapshot == NULL || ret->from == NULL)
		return err_set(err, ERR_INVALID, "the record of '%s' names no snapshot", c->path);
	return snapshot_guest_read(c, to, &ret->guest, err);
}

/* ---- looked at ---- */

/* With the snapshot of what was replaced goes what tells the two sides apart: its own undo removes it, behind the one of this change. */
static bool lost_former(const struct change *c, const struct snapshot_goal *goal, const json_t *rows)
{
	return json_get_bool(c->extra, "former", false) && snapshots_find(rows, goal->from) == NULL;
}

static int match_of(struct change_call *x, const struct change *c, const struct snapshot_goal *goal,
                    const struct guest *g, const json_t *rows, enum change_match *ret, struct err *err)
{
	bool was_running = json_get_bool(c->before, "running", false), back = false;
	if (lost_former(c, goal, rows)) {
		*ret = c->state == CHANGE_UNDONE ? MATCH_BEFORE : MATCH_NEITHER;
		return 0;
	}
	int r = g->there ? snapshot_is_put_back(x, goal, rows, &back, err) : 0;
	if (r < 0)
		return r;
	bool former = g->there && strcmp(snapshots_parent(rows), goal->from) == 0;
	*ret = back     ? (g->running == goal->running ? MATCH_AFTER : MATCH_PART)
	       : former ? (g->running == was_running ? MATCH_BEFORE : MATCH_PART)
	                : MATCH_NEITHER;
	return 0;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	struct snapshot_goal goal;
	int r = goal_of(c, true, &goal, err);
	if (r == 0)
		r = snapshot_look(x, &goal.guest, &g, &rows, err);
	return r < 0 ? r : match_of(x, c, &goal, &g, rows, ret, err);
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	struct snapshot_goal goal;
	int r = goal_of(c, true, &goal, err);
	if (r == 0)
		r = snapshot_look(x, &goal.guest, &g, &rows, err);
	if (r < 0)
		return r;
	const char *parent = snapshots_parent(rows);
	if (!g.there)
		str_append(out, "there is no such guest");
	else if (lost_former(c, &goal, rows))
		str_append(out, "the snapshot of what was replaced is gone");
	else
		str_appendf(out, "it is %s and comes from %s%.40s", g.running ? "running" : "stopped",
		            parent[0] != '\0' ? "the snapshot " : "no snapshot", parent);
	return 0;
}

/* ---- made and taken back ---- */

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct snapshot_goal goal;
	int r = goal_of(c, true, &goal, err);
	return r < 0 ? r : snapshot_put_back(x, &goal, err);
}

static int resume(struct change_call *x, const struct change *c, struct err *err)
{
	struct snapshot_goal goal;
	int r = goal_of(c, true, &goal, err);
	return r < 0 ? r : request_resume(x, c, goal.guest.node, goal.guest.vmid, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct snapshot_goal goal;
	int r = goal_of(c, false, &goal, err);
	if (r < 0 || json_get_bool(c->extra, "former", false))
		return r < 0 ? r : snapshot_put_back(x, &goal, err);
	err_set(err, ERR_UNSUPPORTED, "guest %" PRId64 " '%s' was put back, and what it replaced was not kept",
	        goal.guest.vmid, goal.guest.name);
	return err_hint(err, ERR_UNSUPPORTED, "`keep_former` was false; accept it: davit unlock ENVIRONMENT --accept");
}

static bool is_named(const struct change *c, const json_t *input)
{
	return snapshot_is_named(c, json_get_array(json_object_get(input, "proxmox"), "guests"));
}

const struct change_type proxmox_rollback = {
	.name = "proxmox-rollback",
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.resume = resume,
	.undo = undo,
	.is_named = is_named,
};
