#include "providers/scaleway/volume.h"

#include "base/core/clock.h"
#include "base/core/mem.h"

#include <inttypes.h>
#include <string.h>

enum { POLL_MS = 100, POLL_MOST_MS = 4000 };

static bool is_status(const json_t *object, const char *const *all)
{
	const char *status = json_get_string(object, "status");
	for (size_t i = 0; status != NULL && all[i] != NULL; i++)
		if (strcmp(all[i], status) == 0)
			return true;
	return false;
}

static bool is_settled(const json_t *object)
{
	static const char *const busy[] = {"creating", "updating", "resizing", "snapshotting", "deleting", NULL};
	return !is_status(object, busy);
}

static const char *why_broken(const json_t *object)
{
	static const char *const error[] = {"error", NULL}, *const locked[] = {"locked", NULL};
	return is_status(object, error)    ? "is in the state `error`"
	       : is_status(object, locked) ? "is locked by Scaleway"
	                                   : NULL;
}

int64_t volume_gb(const json_t *object)
{
	int64_t size = json_get_int(object, "size", -1);
	return size < 0 ? -1 : size / VOLUME_GB;
}

bool volume_is_used(const json_t *object)
{
	static const char *const in_use[] = {"in_use", NULL};
	return is_status(object, in_use) || json_array_size(json_get_array(object, "references")) > 0;
}

static int volume_node(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	int64_t iops = json_get_int(json_get_object(object, "specs"), "perf_iops", -1);
	(void)s;
	(void)w;
	if (volume_gb(object) < 0)
		return err_set(err, ERR_PROTOCOL, "the volume %s has no size", object_id(object));
	json_object_set_new(ret, "size", json_integer(volume_gb(object)));
	if (iops > 0)
		json_object_set_new(ret, "iops", json_integer(iops));
	return 0;
}

static int volume_body(struct scaleway_move *m, json_t *body, struct err *err)
{
	json_t *iops = json_object_get(m->to, "iops");
	(void)err;
	json_object_set_new(body, "from_empty",
	                    json_pack("{s:I}", "size", (json_int_t)(json_get_int(m->to, "size", 0) * VOLUME_GB)));
	if (iops != NULL)
		json_object_set(body, "perf_iops", iops);
	return 0;
}

/* The answer to the request has the old size, and the volume may not say at once that it is at work. */
static int wait_for_size(struct scaleway_move *m, const char *id, int64_t gb, struct err *err)
{
	const struct object_call o = {m->s, &scaleway_kind_volume, m->x->v->wait};
	int64_t pause = POLL_MS, until = clock_mono_ms() + scaleway_timeout(m->s);
	for (;;) {
		json_t *object _cleanup_json_ = NULL;
		int r = object_get(&o, id, &object, err);
		if (r < 0)
			return r;
		if (object == NULL || why_broken(object) != NULL)
			return err_set(err, ERR_FAILED, "the volume %s did not grow: it %s", id,
			               object == NULL ? "is gone" : why_broken(object));
		if (is_settled(object) && volume_gb(object) >= gb)
			return 0;
		if (clock_mono_ms() >= until)
			return err_set(err, ERR_FAILED, "the volume %s does not reach %" PRId64 " GB", id, gb);
		r = wait_aside(o.wait, pause, err);
		if (r < 0)
			return r;
		pause = MIN(pause * 2, (int64_t)POLL_MOST_MS);
	}
}

int volume_grow(struct scaleway_move *m, const char *id, int64_t gb, struct err *err)
{
	json_t *body _cleanup_json_ = json_pack("{s:I}", "size", (json_int_t)(gb * VOLUME_GB));
	_cleanup_free_ char *path = object_path(m->s, &scaleway_kind_volume, id, "");
	int r = move_ask(m, "PATCH", path, body, NULL, err);
	if (r == 0)
		r = wait_for_size(m, id, gb, err);
	return r < 0 ? r : MOVE_MORE;
}

static int volume_next(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object();
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "");
	int64_t size = json_get_int(m->to, "size", 0);
	if (move_wants(m, now, "size") && size > json_get_int(now, "size", 0))
		return volume_grow(m, object_id(object), size, err);
	move_add_tags(m, object, now, body);
	if (move_wants(m, now, "iops"))
		json_object_set(body, "perf_iops", json_object_get(m->to, "iops"));
	if (json_object_size(body) == 0)
		return MOVE_DONE;
	int r = move_ask(m, "PATCH", path, body, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

const struct scaleway_kind scaleway_kind_volume = {
	.name = "scaleway_volume",
	.word = "volume",
	.block = true,
	.path = "volumes",
	.list = "volumes",
	.lost = "its data is lost for good",
	.settled = is_settled,
	.broken = why_broken,
	.node = volume_node,
	.body = volume_body,
	.next = volume_next,
};
