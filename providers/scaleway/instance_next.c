/* What of an instance is not as wanted yet, in the order in which it can be had: what needs it switched off before it is switched on. */
#include "providers/scaleway/instance.h"

#include "base/core/mem.h"
#include "engine/change/change.h"
#include "providers/scaleway/volume.h"

#include <string.h>

static bool is_state(const json_t *object, const char *state)
{
	return strcmp(instance_state(object), state) == 0;
}

/* ---- power ---- */

bool instance_may_stop(const json_t *before, const json_t *after)
{
	static const char *const attributes[] = {"commercial_type", "root_size"};
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		const json_t *to = json_object_get(after, attributes[i]);
		if (to != NULL && !object_same(json_object_get(before, attributes[i]), to))
			return true;
	}
	return false;
}

static int came_to_nothing(const struct scaleway_move *m, const json_t *object, const char *action, struct err *err)
{
	const char *name = json_get_string(object, "name"), *detail = json_get_string(object, "state_detail");
	struct str shown _cleanup_(str_done) = STR_INIT(400);
	if (detail != NULL)
		str_append_safe(&shown, detail, MIN(strlen(detail), (size_t)100));
	err_set(err, ERR_FAILED, "`%s` of the instance '%s' came to nothing: it is %s%s%s", action,
	        name != NULL ? name : "", instance_state(object), shown.len > 0 ? ", " : "", str_peek(&shown));
	return err_hint(err, ERR_FAILED, "its id is %s, in %s", object_id(object), scaleway_zone(m->s));
}

static int act(struct scaleway_move *m, const json_t *object, const char *action, struct err *err)
{
	json_t *body _cleanup_json_ = json_pack("{s:s}", "action", action);
	_cleanup_free_ char *path = object_path(m->s, &scaleway_kind_instance, object_id(object), "/action");
	if (m->acted != NULL && strcmp(m->acted, action) == 0)
		return came_to_nothing(m, object, action, err);
	int r = move_ask(m, "POST", path, body, NULL, err);
	if (r < 0)
		return r;
	m->acted = action;
	return MOVE_MORE;
}

static int switch_off(struct scaleway_move *m, const json_t *object, const char *what, struct err *err)
{
	int r = instance_refuse_self(object, what, err);
	return r < 0 ? r : act(m, object, "poweroff", err);
}

int instance_clear(struct scaleway_move *m, const json_t *object, struct err *err)
{
	int r = instance_refuse_self(object, "destroyed", err);
	if (r < 0)
		return r;
	return is_state(object, "stopped") ? MOVE_DONE : act(m, object, "poweroff", err);
}

/* One that was switched off on the way to something else is switched on again, also by whoever goes on in another process. */
static int set_status(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	const char *status = json_get_string(m->to, "status");
	bool counts = move_wants(m, now, "status") || instance_may_stop(m->from, m->to);
	if (status == NULL || is_state(object, status) || !counts)
		return MOVE_DONE;
	return strcmp(status, "running") == 0 ? act(m, object, "poweron", err)
	                                      : switch_off(m, object, "switched off", err);
}

/* ---- settings ---- */

static int patch(struct scaleway_move *m, const json_t *object, const json_t *body, struct err *err)
{
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "");
	if (json_object_size(body) == 0)
		return MOVE_DONE;
	int r = move_ask(m, "PATCH", path, body, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

static int add_group(struct scaleway_move *m, const json_t *now, json_t *body, struct err *err)
{
	const char *name = json_get_string(m->to, "security_group");
	_cleanup_free_ char *id = NULL;
	if (name == NULL || !move_wants(m, now, "security_group"))
		return 0;
	int r = instance_find_group(m->s, name, m->x->v->wait, &id, err);
	if (r == 0)
		json_object_set_new(body, "security_group", json_pack("{s:s, s:s}", "id", id, "name", name));
	return r;
}

/* Protection stands in the way of what follows, so it is taken away first and put up last. */
static int set_settings(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object();
	int r = add_group(m, now, body, err);
	if (r < 0)
		return r;
	move_add_tags(m, object, now, body);
	if (move_wants(m, now, "dynamic_ip"))
		json_object_set(body, "dynamic_ip_required", json_object_get(m->to, "dynamic_ip"));
	if (move_wants(m, now, "protected") && !json_get_bool(m->to, "protected", false))
		json_object_set_new(body, "protected", json_false());
	return patch(m, object, body, err);
}

static int protect(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object();
	if (move_wants(m, now, "protected"))
		json_object_set_new(body, "protected", json_true());
	return patch(m, object, body, err);
}

static int set_type(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object();
	if (!move_wants(m, now, "commercial_type"))
		return MOVE_DONE;
	if (!is_state(object, "stopped"))
		return switch_off(m, object, "switched off", err);
	json_object_set(body, "commercial_type", json_object_get(m->to, "commercial_type"));
	return patch(m, object, body, err);
}

/* Before its first start, or never: later nothing reads it. */
static int set_cloud_init(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	const struct str *text = &m->c->content;
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "/user_data/cloud-init");
	if (text->len == 0 || !is_state(object, "stopped") || !move_wants(m, now, "cloud_init"))
		return MOVE_DONE;
	int r = change_guard(m->x, err);
	if (r == 0)
		r = scaleway_set_text(m->s, path, str_peek(text), text->len, m->x->v->wait, err);
	return r < 0 ? r : MOVE_MORE;
}

/* ---- the root volume ---- */

static int refuse_type(const json_t *object, const char *type, struct err *err)
{
	err_set(err, ERR_UNSUPPORTED, "the root volume of '%s' is a %s, which cannot grow",
	        json_get_string(object, "name"), type != NULL ? type : "volume of no known type");
	return err_hint(err, ERR_UNSUPPORTED,
	                "make a new instance from a snapshot with another size, or attach a block volume");
}

/* Online; where the service wants it switched off for that, it is, and is switched on again behind it. */
static int grow_root(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	int64_t wanted = json_get_int(m->to, "root_size", 0), there = json_get_int(now, "root_size", 0);
	const char *type = json_get_string(now, "root_type"), *id = json_get_string(instance_root(object), "id");
	struct err own = ERR_INIT;
	if (!move_wants(m, now, "root_size") || wanted <= there)
		return MOVE_DONE;
	if (type == NULL || strcmp(type, "sbs_volume") != 0 || id == NULL)
		return refuse_type(object, type, err);
	int r = volume_grow(m, id, wanted, &own);
	if (move_is_refused_now(r, &own) && !is_state(object, "stopped"))
		return switch_off(m, object, "switched off", err);
	if (r < 0 && err != NULL)
		*err = own;
	return r;
}

int instance_next(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	typedef int piece(struct scaleway_move *, const json_t *, const json_t *, struct err *);
	static piece *const pieces[] = {set_settings,          set_type,  set_cloud_init, instance_link_ips,
	                                instance_link_volumes, grow_root, set_status,     protect};
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		int r = pieces[i](m, object, now, err);
		if (r != MOVE_DONE)
			return r;
	}
	return MOVE_DONE;
}
