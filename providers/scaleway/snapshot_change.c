#include "providers/scaleway/snapshot_change.h"

#include "base/core/mem.h"
#include "engine/change/address.h"
#include "engine/change/change.h"
#include "providers/scaleway/target.h"

#include <string.h>

enum { ROUNDS_MAX = 8, QUIET_LOOKS = 3, QUIET_MS = 700 };

static int service_of(const struct change_call *x, const struct change *c, struct scaleway **ret, struct err *err)
{
	static const char *const needed[] = {"disk", "volume", "snapshot", "name"};
	*ret = scaleway_of_target(x->v);
	bool whole = *ret != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		whole = whole && json_get_string(c->after, needed[i]) != NULL;
	return whole ? 0 : err_set(err, ERR_INVALID, "'%s' is nothing that target '%s' has", c->path, x->v->name);
}

/* By the input that names the disk: {"scaleway":{"volumes":[…],"instances":[…]}}. */
static bool is_listed(const json_t *names, const char *wanted)
{
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (name != NULL && strcmp(name, wanted) == 0)
			return true;
	}
	return false;
}

/* `snapshot: before` of an apply keeps what that describes. */
static bool is_described(const json_t *input, const char *kind, const char *name)
{
	return json_get_string(input, "snapshot") != NULL && address_resource(input, kind, name) != NULL;
}

static bool is_named(const struct change *c, const json_t *input)
{
	const json_t *own = json_object_get(input, "scaleway");
	const char *key = json_get_string(c->after, "disk"), *snapshot = json_get_string(c->after, "snapshot");
	bool root = key != NULL && str_starts(key, "instance:");
	const json_t *names = json_get_array(own, root ? "instances" : "volumes");
	if (key == NULL || snapshot == NULL || strchr(key, ':') == NULL || !str_starts(snapshot, SNAPSHOT_OF_DAVIT))
		return false;
	const char *name = strchr(key, ':') + 1;
	return is_listed(names, name) || is_described(input, root ? "scaleway_instance" : "scaleway_volume", name);
}

/* ---- a snapshot ---- */

static int find_own(struct scaleway *s, const struct change_call *x, const struct change *c, json_t **ret,
                    struct err *err)
{
	return disk_find_snapshot(s, json_get_string(c->after, "snapshot"), json_get_string(c->after, "mark"),
	                          x->v->wait, ret, err);
}

static int compare_snapshot(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	json_t *own _cleanup_json_ = NULL;
	struct scaleway *s;
	int r = service_of(x, c, &s, err);
	if (r == 0)
		r = find_own(s, x, c, &own, err);
	if (r == 0)
		*ret = own == NULL ? MATCH_BEFORE : disk_is_whole(own) ? MATCH_AFTER : MATCH_PART;
	return r;
}

static int explain_snapshot(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	json_t *own _cleanup_json_ = NULL;
	struct scaleway *s;
	int r = service_of(x, c, &s, err);
	if (r == 0)
		r = find_own(s, x, c, &own, err);
	if (r == 0)
		str_append(out, own == NULL ? "there is no such snapshot" : "the snapshot is not whole");
	return r;
}

static int remove_snapshot(struct change_call *x, struct scaleway *s, const json_t *own, struct err *err)
{
	_cleanup_free_ char *path = object_path(s, &scaleway_kind_snapshot, object_id(own), "");
	int r = change_guard(x, err);
	if (r == 0)
		r = scaleway_call(s, "DELETE", path, NULL, x->v->wait, NULL, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

static int take(struct change_call *x, struct scaleway *s, const struct change *c, struct err *err)
{
	json_t *body _cleanup_json_ = json_pack("{s:s, s:s, s:s, s:[s]}", "name", json_get_string(c->after, "snapshot"),
	                                        "volume_id", json_get_string(c->after, "volume"), "project_id",
	                                        scaleway_project(s), "tags", json_get_string(c->after, "mark"));
	json_t *answer _cleanup_json_ = NULL;
	_cleanup_free_ char *path = scaleway_block_path(s, "snapshots");
	int r = body == NULL ? err_set(err, ERR_INVALID, "the record of '%s' is not whole", c->path)
	                     : change_guard(x, err);
	if (r == 0)
		r = scaleway_call(s, "POST", path, body, x->v->wait, &answer, err);
	if (r < 0)
		return r;
	if (object_id(answer) == NULL)
		return err_set(err, ERR_UNKNOWN, "POST %s: the answer names no snapshot", path);
	return change_note_task(x, object_id(answer), err);
}

/* 1: something was done, and is looked at. One that came to nothing is taken once more. */
static int take_next(struct change_call *x, struct scaleway *s, const struct change *c, int *broken, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_snapshot, x->v->wait};
	json_t *own _cleanup_json_ = NULL, *settled _cleanup_json_ = NULL;
	int r = find_own(s, x, c, &own, err);
	if (r < 0)
		return r;
	if (own == NULL) {
		r = take(x, s, c, err);
		return r < 0 ? r : MOVE_MORE;
	}
	r = object_settle(&o, object_id(own), &settled, err);
	if (r < 0 || settled == NULL)
		return r < 0 ? r : MOVE_MORE;
	if (disk_is_whole(settled))
		return MOVE_DONE;
	if ((*broken)++ > 0)
		return err_set(err, ERR_FAILED, "the snapshot of %s came to nothing, twice",
		               json_get_string(c->after, "disk"));
	r = remove_snapshot(x, s, settled, err);
	return r < 0 ? r : MOVE_MORE;
}

static int apply_snapshot(struct change_call *x, struct change *c, struct err *err)
{
	struct scaleway *s;
	int broken = 0, r = service_of(x, c, &s, err);
	for (int i = 0; r == 0 && i < ROUNDS_MAX; i++) {
		r = take_next(x, s, c, &broken, err);
		if (r <= 0)
			return r;
		r = 0;
	}
	return r < 0 ? r : err_set(err, ERR_FAILED, "'%s' does not become what was asked for", c->path);
}

/* A request that lost its reply may be carried out late. */
static int resume_snapshot(struct change_call *x, const struct change *c, struct err *err)
{
	struct scaleway *s;
	bool may_come = c->task == NULL && c->state != CHANGE_INTENT && c->state != CHANGE_DONE;
	int r = service_of(x, c, &s, err);
	for (int i = 0; r == 0 && may_come && i < QUIET_LOOKS; i++) {
		json_t *own _cleanup_json_ = NULL;
		r = i > 0 ? wait_aside(x->v->wait, QUIET_MS, err) : 0;
		if (r == 0)
			r = find_own(s, x, c, &own, err);
		may_come = own == NULL;
	}
	return r;
}

/* One that never became whole kept nothing, and nothing was changed before it was. */
static int put_back(struct change_call *x, struct scaleway *s, const struct change *c, const json_t *own,
                    struct err *err)
{
	json_t *to _cleanup_json_ = json_deep_copy(c->after);
	const struct disk_way way = {x, s, c->after, to, false};
	if (!json_get_bool(c->extra, "restore", false) || !disk_is_whole(own))
		return 0;
	json_object_set_new(to, "of", json_string(json_get_string(c->after, "mark")));
	json_object_set_new(to, "mark", json_stringf("%s/undone", json_get_string(c->after, "mark")));
	return disk_go(&way, err);
}

static int undo_snapshot(struct change_call *x, const struct change *c, struct err *err)
{
	const struct object_call o = {scaleway_of_target(x->v), &scaleway_kind_snapshot, x->v->wait};
	json_t *own _cleanup_json_ = NULL, *settled _cleanup_json_ = NULL;
	struct scaleway *s;
	int r = service_of(x, c, &s, err);
	if (r == 0)
		r = find_own(s, x, c, &own, err);
	if (r < 0 || own == NULL)
		return r;
	r = object_settle(&o, object_id(own), &settled, err);
	if (r == 0)
		r = put_back(x, s, c, settled, err);
	return r == 0 ? remove_snapshot(x, s, own, err) : r;
}

const struct change_type scaleway_snapshot = {
	.name = "scaleway-snapshot",
	.flags = CHANGE_ASIDE,
	.compare = compare_snapshot,
	.explain = explain_snapshot,
	.apply = apply_snapshot,
	.resume = resume_snapshot,
	.undo = undo_snapshot,
	.is_named = is_named,
};

/* ---- a way back ---- */

static int way_of(struct change_call *x, const struct change *c, bool back, struct disk_way *ret, struct err *err)
{
	*ret = (struct disk_way){x, NULL, c->before, c->after, back};
	return service_of(x, c, &ret->s, err);
}

static int compare_rollback(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	static const enum change_match matches[] = {[DISK_BEFORE] = MATCH_BEFORE,
	                                            [DISK_AFTER] = MATCH_AFTER,
	                                            [DISK_BETWEEN] = MATCH_PART,
	                                            [DISK_LOST] = MATCH_NEITHER};
	enum disk_place place = DISK_LOST;
	struct disk_way way;
	int r = way_of(x, c, false, &way, err);
	if (r == 0)
		r = disk_look(&way, &place, err);
	if (r == 0)
		*ret = matches[place];
	return r;
}

static int explain_rollback(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	enum disk_place place = DISK_LOST;
	struct disk_way way;
	int r = way_of(x, c, false, &way, err);
	if (r == 0)
		r = disk_look(&way, &place, err);
	if (r == 0)
		str_append(out, place == DISK_LOST ? "none of its volumes exists"
		                                   : "it is on the way from one volume to another");
	return r;
}

static int apply_rollback(struct change_call *x, struct change *c, struct err *err)
{
	struct disk_way way;
	int r = way_of(x, c, false, &way, err);
	return r < 0 ? r : disk_go(&way, err);
}

/* Each look of its way waits for what goes on; only the making of a volume may come late. */
static int resume_rollback(struct change_call *x, const struct change *c, struct err *err)
{
	enum disk_place place = DISK_BEFORE;
	struct disk_way way;
	int r = way_of(x, c, false, &way, err);
	for (int i = 0; r == 0 && i < QUIET_LOOKS && place == DISK_BEFORE && c->state == CHANGE_UNKNOWN; i++) {
		r = i > 0 ? wait_aside(x->v->wait, QUIET_MS, err) : 0;
		if (r == 0)
			r = disk_look(&way, &place, err);
	}
	return r;
}

static int undo_rollback(struct change_call *x, const struct change *c, struct err *err)
{
	struct disk_way way;
	int r = way_of(x, c, true, &way, err);
	return r < 0 ? r : disk_go(&way, err);
}

const struct change_type scaleway_rollback = {
	.name = "scaleway-rollback",
	.compare = compare_rollback,
	.explain = explain_rollback,
	.apply = apply_rollback,
	.resume = resume_rollback,
	.undo = undo_rollback,
	.is_named = is_named,
};
