#include "providers/scaleway/disk.h"

#include "base/core/mem.h"
#include "engine/change/change.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/reply.h"
#include "providers/scaleway/volume.h"

#include <string.h>

enum { ROUNDS_MAX = 40, REFUSED_MAX = 4, REFUSED_PAUSE_MS = 500 };

/* Of one name: the volume that was there, the one that took its place, and the one that took its place again. */
struct seen {
	json_t *former, *made, *again, *server;
	json_t *snapshot; /* that the volume which is wanted is made from; NULL: it is gone */
};

static void seen_done(struct seen *n)
{
	json_decref(n->former);
	json_decref(n->made);
	json_decref(n->again);
	json_decref(n->server);
	json_decref(n->snapshot);
}

static bool is_text(const json_t *object, const char *member, const char *text)
{
	const char *own = json_get_string(object, member);
	return own != NULL && text != NULL && strcmp(own, text) == 0;
}

/* What an undo makes is another one than what it undoes. */
static char *mark_of(const struct disk_way *way, bool back)
{
	const char *mark = json_get_string(way->after, "mark");
	return xasprintf("%s%s", mark != NULL ? mark : "", back ? "/back" : "");
}

static int find_volumes(const struct disk_way *way, struct seen *n, struct err *err)
{
	const struct object_call o = {way->s, &scaleway_kind_volume, way->x->v->wait};
	const char *name = json_get_string(way->before, "name"), *former = json_get_string(way->before, "volume");
	_cleanup_free_ char *made = mark_of(way, false), *again = mark_of(way, true);
	json_t *all _cleanup_json_ = NULL;
	int r = object_find(&o, name != NULL ? name : "", &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		json_t *one = json_array_get(all, i);
		if (is_text(one, "id", former))
			n->former = json_incref(one);
		else if (n->made == NULL && object_has_mark(one, made))
			n->made = json_incref(one);
		else if (n->again == NULL && object_has_mark(one, again))
			n->again = json_incref(one);
	}
	return r;
}

static int look(const struct disk_way *way, bool settled, struct seen *n, struct err *err)
{
	const struct object_call o = {way->s, &scaleway_kind_instance, way->x->v->wait};
	const char *id = json_get_string(way->before, "instance");
	*n = (struct seen){0};
	int r = find_volumes(way, n, err);
	if (r == 0 && id != NULL)
		r = settled ? object_settle(&o, id, &n->server, err) : object_get(&o, id, &n->server, err);
	return r;
}

static const char *slotted(const struct disk_way *way, const struct seen *n)
{
	const char *slot = json_get_string(way->before, "slot");
	return object_id(json_object_get(json_object_get(n->server, "volumes"), slot != NULL ? slot : ""));
}

static bool is_running(const json_t *server)
{
	return strcmp(instance_state(server), "stopped") != 0;
}

/* It is in its place, with the power that it shall have. */
static bool stands(const struct disk_way *way, const struct seen *n, const json_t *volume, bool running)
{
	if (volume == NULL || json_get_string(way->before, "instance") == NULL)
		return volume != NULL && !is_text(volume, "status", "creating");
	const char *there = slotted(way, n);
	return n->server != NULL && there != NULL && strcmp(there, object_id(volume)) == 0 &&
	       is_running(n->server) == running;
}

int disk_look(const struct disk_way *way, enum disk_place *ret, struct err *err)
{
	struct seen n _cleanup_(seen_done) = {0};
	bool was = json_get_bool(way->before, "running", false), shall = json_get_bool(way->after, "running", false);
	int r = look(way, false, &n, err);
	if (r < 0)
		return r;
	bool former = n.former != NULL && stands(way, &n, n.former, was),
	     again = n.again != NULL && stands(way, &n, n.again, was);
	if (n.made == NULL && (former || again) && !(n.former != NULL && n.again != NULL))
		*ret = DISK_BEFORE;
	else if (n.made != NULL && n.former == NULL && n.again == NULL && stands(way, &n, n.made, shall))
		*ret = DISK_AFTER;
	else
		*ret = n.former != NULL || n.made != NULL || n.again != NULL ? DISK_BETWEEN : DISK_LOST;
	return 0;
}

/* ---- one step of the way ---- */

static int ask(const struct disk_way *way, const char *method, const char *path, const json_t *body, struct err *err)
{
	int r = change_guard(way->x, err);
	if (r == 0)
		r = scaleway_call(way->s, method, path, body, way->x->v->wait, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

static int no_snapshot(const json_t *to, struct err *err)
{
	const char *name = json_get_string(to, "snapshot");
	return err_set(err, ERR_CONFLICT, "there is no whole snapshot '%s' any more", name != NULL ? name : "");
}

/* As the former one is, but for what it holds. */
static int make(const struct disk_way *way, const struct seen *n, struct err *err)
{
	const json_t *to = way->back ? way->before : way->after, *like = n->former != NULL ? n->former : n->made;
	const char *name = json_get_string(way->before, "name");
	json_t *snapshot _cleanup_json_ = NULL, *body _cleanup_json_ = NULL, *tags = json_array();
	_cleanup_free_ char *mark = mark_of(way, way->back), *path = scaleway_block_path(way->s, "volumes");
	const json_t *iops = json_object_get(json_object_get(like, "specs"), "perf_iops");
	int r = disk_find_snapshot(way->s, json_get_string(to, "snapshot"), json_get_string(to, "of"), way->x->v->wait,
	                           &snapshot, err);
	if (r == 0 && !disk_is_whole(snapshot))
		r = no_snapshot(to, err);
	for (size_t i = 0; i < json_array_size(json_get_array(like, "tags")); i++) {
		const char *tag = json_string_value(json_array_get(json_get_array(like, "tags"), i));
		if (tag != NULL && !str_starts(tag, OBJECT_MARK))
			json_array_append_new(tags, json_string(tag));
	}
	json_array_append_new(tags, json_string(mark));
	body = json_pack("{s:s, s:s, s:o, s:I}", "name", name, "project_id", scaleway_project(way->s), "tags", tags,
	                 "perf_iops", (json_int_t)(json_is_integer(iops) ? json_integer_value(iops) : 5000));
	if (r < 0)
		return r;
	json_object_set_new(body, "from_snapshot", json_pack("{s:s}", "snapshot_id", object_id(snapshot)));
	return ask(way, "POST", path, body, err);
}

static int act(const struct disk_way *way, const struct seen *n, const char *action, const char **acted,
               struct err *err)
{
	json_t *body _cleanup_json_ = json_pack("{s:s}", "action", action);
	_cleanup_free_ char *path = object_path(way->s, &scaleway_kind_instance, object_id(n->server), "/action");
	if (*acted != NULL && strcmp(*acted, action) == 0)
		return err_set(err, ERR_FAILED, "`%s` of the instance %s came to nothing: it is %s", action,
		               object_id(n->server), instance_state(n->server));
	int r = ask(way, "POST", path, body, err);
	if (r >= 0)
		*acted = action;
	return r;
}

/* A request names all that is attached. */
static int put_in_place(const struct disk_way *way, const struct seen *n, const json_t *volume, struct err *err)
{
	json_t *volumes = json_object(), *one, *body _cleanup_json_ = json_pack("{s:o}", "volumes", volumes);
	const char *slot = json_get_string(way->before, "slot"), *key;
	_cleanup_free_ char *path = object_path(way->s, &scaleway_kind_instance, object_id(n->server), "");
	json_object_foreach(json_object_get(n->server, "volumes"), key, one)
	{
		const char *type = json_get_string(one, "volume_type");
		json_t *given =
			json_pack("{s:s, s:b}", "id", object_id(one), "boot", json_get_bool(one, "boot", false));
		json_set_string(given, "volume_type", type);
		json_object_set_new(volumes, key, given);
	}
	json_object_set_new(
		volumes, slot != NULL ? slot : "0",
		json_pack("{s:s, s:b, s:s}", "id", object_id(volume), "boot", 0, "volume_type", "sbs_volume"));
	return ask(way, "PATCH", path, body, err);
}

static int drop(const struct disk_way *way, const json_t *volume, struct err *err)
{
	_cleanup_free_ char *path = object_path(way->s, &scaleway_kind_volume, object_id(volume), "");
	int r = ask(way, "DELETE", path, NULL, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return MOVE_MORE;
}

static int drop_others(const struct disk_way *way, const struct seen *n, const json_t *wanted, struct err *err)
{
	const json_t *const all[] = {n->former, n->made, n->again};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] != NULL && all[i] != wanted)
			return drop(way, all[i], err);
	return MOVE_DONE;
}

static int next(const struct disk_way *way, const char **acted, struct err *err)
{
	const struct object_call o = {way->s, &scaleway_kind_volume, way->x->v->wait};
	struct seen n _cleanup_(seen_done) = {0};
	json_t *settled _cleanup_json_ = NULL;
	int r = look(way, true, &n, err);
	if (r < 0)
		return r;
	bool attached = json_get_string(way->before, "instance") != NULL;
	bool running = json_get_bool(way->back ? way->before : way->after, "running", false);
	json_t *wanted = !way->back ? n.made : n.former != NULL ? n.former : n.again;
	if (attached && n.server == NULL)
		return err_set(err, ERR_CONFLICT, "the instance %s does not exist any more",
		               json_get_string(way->before, "instance"));
	if (wanted == NULL)
		return make(way, &n, err);
	r = object_settle(&o, object_id(wanted), &settled, err);
	if (r < 0 || !attached)
		return r < 0 ? r : drop_others(way, &n, wanted, err);
	const char *there = slotted(way, &n);
	if (there == NULL || strcmp(there, object_id(wanted)) != 0) {
		if (!is_running(n.server))
			return put_in_place(way, &n, wanted, err);
		r = instance_refuse_self(n.server, "switched off", err);
		return r < 0 ? r : act(way, &n, "poweroff", acted, err);
	}
	if (running != is_running(n.server))
		return act(way, &n, running ? "poweron" : "poweroff", acted, err);
	return drop_others(way, &n, wanted, err);
}

int disk_go(const struct disk_way *way, struct err *err)
{
	const char *acted = NULL;
	struct err own = ERR_INIT;
	int refused = 0;
	for (int i = 0; i < ROUNDS_MAX; i++) {
		err_clear(&own);
		int r = next(way, &acted, &own);
		if (move_is_refused_now(r, &own) && refused++ < REFUSED_MAX)
			r = wait_aside(way->x->v->wait, REFUSED_PAUSE_MS, &own) == 0 ? MOVE_MORE : own.code;
		if (r < 0 && err != NULL)
			*err = own;
		if (r <= 0)
			return r;
	}
	return err_set(err, ERR_FAILED, "the %s does not go back", json_get_string(way->before, "disk"));
}
