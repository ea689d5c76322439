#include "providers/proxmox/snapshot_change.h"

#include "base/core/mem.h"
#include "engine/change/address.h"
#include "providers/proxmox/snapshots.h"

#include <inttypes.h>
#include <string.h>

enum { ROUNDS_MAX = 8 };

json_t *snapshot_node(const struct guest *g, const char *type, const char *snapshot, bool running)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:b}", "type", type, "guest", g->type, "vmid",
	                 (json_int_t)g->vmid, "name", g->name != NULL ? g->name : "", "node", g->node, "snapshot",
	                 snapshot, "running", running);
}

bool snapshot_is_named(const struct change *c, const json_t *guests)
{
	const char *snapshot = json_get_string(c->after, "snapshot"), *name = json_get_string(c->after, "name");
	const json_t *one;
	size_t i;
	_cleanup_free_ char *id = xasprintf("%" PRId64, json_get_int(c->after, "vmid", -1));
	if (snapshot == NULL || name == NULL || !str_starts(snapshot, SNAPSHOT_PREFIX))
		return false;
	json_array_foreach((json_t *)(uintptr_t)guests, i, one)
	{
		const char *text = json_string_value(one);
		if (text != NULL && (strcmp(text, id) == 0 || strcmp(text, name) == 0))
			return true;
	}
	return false;
}

/* `snapshot: before` of an apply keeps what that describes. */
static bool is_described(const struct change *c, const json_t *input)
{
	const char *kind = json_get_string(c->after, "guest"), *name = json_get_string(c->after, "name");
	if (json_get_string(input, "snapshot") == NULL || kind == NULL || name == NULL)
		return false;
	const json_t *guest = address_resource(input, kind, name);
	_cleanup_json_ json_t *names = json_pack("[s]", name);
	return json_get_int(guest, "vmid", -2) == json_get_int(c->after, "vmid", -1) && snapshot_is_named(c, names);
}

static bool is_named(const struct change *c, const json_t *input)
{
	return snapshot_is_named(c, json_get_array(json_object_get(input, "proxmox"), "guests")) ||
	       is_described(c, input);
}

struct own {
	struct snapshot_guest guest;
	const char *snapshot, *description;
	bool running, vmstate, restores;
};

static int read_own(const struct change *c, struct own *ret, struct err *err)
{
	*ret = (struct own){.snapshot = json_get_string(c->after, "snapshot"),
	                    .description = json_get_string(c->after, "description"),
	                    .running = json_get_bool(c->after, "running", false),
	                    .vmstate = json_get_bool(c->after, "vmstate", false),
	                    .restores = json_get_bool(c->extra, "restore", false)};
	if (ret->snapshot == NULL || ret->description == NULL)
		return err_set(err, ERR_INVALID, "the record of '%s' names no snapshot", c->path);
	return snapshot_guest_read(c, c->after, &ret->guest, err);
}

/* ---- looked at ---- */

static bool is_own(const struct own *own, const json_t *row)
{
	return snapshots_is_described(row, own->description);
}

/* What its guest lost with it nobody can put back. */
static enum change_match match_of(const struct own *own, const struct guest *g, const json_t *rows)
{
	const json_t *row = snapshots_find(rows, own->snapshot);
	if (!g->there)
		return own->restores ? MATCH_NEITHER : MATCH_BEFORE;
	if (row == NULL)
		return MATCH_BEFORE;
	/* One that is only being made says nothing yet. */
	if (!snapshots_is_whole(row))
		return MATCH_PART;
	return is_own(own, row) ? MATCH_AFTER : MATCH_NEITHER;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	struct own own;
	int r = read_own(c, &own, err);
	if (r == 0)
		r = snapshot_look(x, &own.guest, &g, &rows, err);
	if (r == 0)
		*ret = match_of(&own, &g, rows);
	return r;
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	struct own own;
	int r = read_own(c, &own, err);
	if (r == 0)
		r = snapshot_look(x, &own.guest, &g, &rows, err);
	if (r < 0)
		return r;
	const json_t *row = snapshots_find(rows, own.snapshot);
	str_append(out, !g.there            ? "there is no such guest"
	                : row == NULL       ? "there is no such snapshot"
	                : is_own(&own, row) ? "the snapshot is not whole"
	                                    : "a snapshot of that name is somebody else's");
	return 0;
}

/* ---- made ---- */

static int take(struct change_call *x, const struct own *own, const struct guest *g, struct err *err)
{
	json_t *params _cleanup_json_ =
		json_pack("{s:s, s:s}", "snapname", own->snapshot, "description", own->description);
	_cleanup_free_ char *path = guest_path(g, "/snapshot");
	if (own->vmstate)
		json_object_set_new(params, "vmstate", json_true());
	return request_task(x, "POST", path, params, err);
}

/* force: what a task that died left of it goes, although the storage has nothing of it. */
static int remove_it(struct change_call *x, const struct own *own, const struct guest *g, bool force, struct err *err)
{
	json_t *params _cleanup_json_ = force ? json_pack("{s:b}", "force", 1) : NULL;
	_cleanup_free_ char *segment = proxmox_segment(own->snapshot), *behind = xasprintf("/snapshot/%s", segment),
			    *path = guest_path(g, behind);
	return request_task(x, "DELETE", path, params, err);
}

static int not_there(const struct own *own, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "guest %" PRId64 " '%s' is not there any more", own->guest.vmid,
	               own->guest.name);
}

/* 1: something was done, and is looked at. */
static int make_next(struct change_call *x, const struct own *own, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	int r = snapshot_look(x, &own->guest, &g, &rows, err);
	if (r == 0 && !g.there)
		r = not_there(own, err);
	if (r < 0)
		return r;
	const json_t *row = snapshots_find(rows, own->snapshot);
	if (row != NULL && !is_own(own, row))
		return err_set(err, ERR_CONFLICT, "guest %" PRId64 " '%s' has a snapshot '%s' that is somebody else's",
		               g.vmid, g.name, own->snapshot);
	if (row != NULL && snapshots_is_whole(row))
		return 0;
	r = row != NULL ? remove_it(x, own, &g, true, err) : take(x, own, &g, err);
	return r < 0 ? r : 1;
}

/* 1: something was done, and is looked at. */
static int drop_next(struct change_call *x, const struct own *own, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	int r = snapshot_look(x, &own->guest, &g, &rows, err);
	const json_t *row = snapshots_find(rows, own->snapshot);
	if (r < 0 || row == NULL)
		return r;
	if (!is_own(own, row))
		return err_set(err, ERR_CONFLICT, "the snapshot '%s' of guest %" PRId64 " is somebody else's",
		               own->snapshot, g.vmid);
	r = remove_it(x, own, &g, !snapshots_is_whole(row), err);
	return r < 0 ? r : 1;
}

static int repeat(struct change_call *x, const struct own *own,
                  int (*step)(struct change_call *x, const struct own *own, struct err *err), struct err *err)
{
	struct guest g _cleanup_(guest_done) = {.vmid = own->guest.vmid};
	snprintf(g.node, sizeof(g.node), "%s", own->guest.node);
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int r = request_settle(x, &g, err);
		if (r == 0)
			r = step(x, own, err);
		if (r <= 0)
			return r;
	}
	return err_set(err, ERR_FAILED, "the snapshot '%s' of guest %" PRId64 " does not become what was asked for",
	               own->snapshot, own->guest.vmid);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct own own;
	int r = read_own(c, &own, err);
	return r < 0 ? r : repeat(x, &own, make_next, err);
}

static int resume(struct change_call *x, const struct change *c, struct err *err)
{
	struct own own;
	int r = read_own(c, &own, err);
	return r < 0 ? r : request_resume(x, c, own.guest.node, own.guest.vmid, err);
}

/* ---- taken back ---- */

/* A guest whose snapshot never became whole was not changed since: nothing changes before all of its step is made. */
static int put_back(struct change_call *x, const struct change *c, const struct own *own, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *rows _cleanup_json_ = NULL;
	const struct snapshot_goal goal = {own->guest, own->snapshot, own->running, own->snapshot,
	                                   json_get_string(c->extra, "seen")};
	int r = snapshot_look(x, &own->guest, &g, &rows, err);
	const json_t *row = snapshots_find(rows, own->snapshot);
	return r < 0 || row == NULL || !snapshots_is_whole(row) || !is_own(own, row) ? r
	                                                                             : snapshot_put_back(x, &goal, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct own own;
	int r = read_own(c, &own, err);
	if (r == 0 && own.restores)
		r = put_back(x, c, &own, err);
	return r < 0 ? r : repeat(x, &own, drop_next, err);
}

const struct change_type proxmox_snapshot = {
	.name = "proxmox-snapshot",
	.flags = CHANGE_ASIDE,
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.resume = resume,
	.undo = undo,
	.is_named = is_named,
};
