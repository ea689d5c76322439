#include "base/core/mem.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/reply.h"

#include <string.h>

/* ---- what is attached ---- */

static const json_t *by_id(const json_t *all, const char *id)
{
	for (size_t i = 0; id != NULL && i < json_array_size(all); i++)
		if (strcmp(object_id(json_array_get(all, i)), id) == 0)
			return json_array_get(all, i);
	return NULL;
}

static void add_name(const struct scaleway_kind *kind, const json_t *object, json_t *names)
{
	const char *name = object != NULL ? object_name(kind, object) : NULL;
	if (name != NULL)
		json_array_append_new(names, json_string(name));
}

int instance_ips(struct scaleway *s, const json_t *object, struct wait *w, json_t **ret, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_ip, w};
	const json_t *attached = json_get_array(object, "public_ips");
	json_t *all _cleanup_json_ = NULL, *names _cleanup_json_ = json_array();
	int r = json_array_size(attached) > 0 ? object_list(&o, &all, err) : 0;
	for (size_t i = 0; r == 0 && i < json_array_size(attached); i++)
		add_name(o.kind, by_id(all, object_id(json_array_get(attached, i))), names);
	if (r == 0)
		*ret = object_sorted(names);
	return r;
}

int instance_volumes(struct scaleway *s, const json_t *object, struct wait *w, json_t **ret, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_volume, w};
	json_t *attached = json_get_object(object, "volumes"), *volume;
	json_t *all _cleanup_json_ = NULL, *names _cleanup_json_ = json_array();
	const char *key;
	int r = json_object_size(attached) > 1 ? object_list(&o, &all, err) : 0;
	if (r < 0)
		return r;
	json_object_foreach(attached, key, volume)
	{
		if (strcmp(key, "0") != 0)
			add_name(o.kind, by_id(all, object_id(volume)), names);
	}
	*ret = object_sorted(names);
	return 0;
}

/* ---- attached and detached ---- */

static bool has(const json_t *names, const char *name)
{
	for (size_t i = 0; i < json_array_size(names); i++)
		if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
			return true;
	return false;
}

static int find_one(const struct object_call *o, const char *name, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	int r = object_find(o, name, &all, err);
	if (r < 0)
		return r;
	if (json_array_size(all) != 1)
		return err_set(err, json_array_size(all) == 0 ? ERR_NOT_FOUND : ERR_REFUSED,
		               json_array_size(all) == 0 ? "there is no %s '%s' in the project"
		                                         : "more than one %s of the project is called '%s'",
		               o->kind->word, name);
	*ret = json_incref(json_array_get(all, 0));
	return 0;
}

int instance_find_group(struct scaleway *s, const char *name, struct wait *w, char **ret, struct err *err)
{
	const struct object_call o = {s, &scaleway_kind_security_group, w};
	json_t *group _cleanup_json_ = NULL;
	int r = find_one(&o, name, &group, err);
	if (r == 0)
		*ret = xstrdup(object_id(group));
	return r;
}

/* The first name that is in one list and not in the other; NULL: none. */
static const char *first_beside(const json_t *names, const json_t *others)
{
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!has(others, name))
			return name;
	}
	return NULL;
}

typedef int link_fn(struct scaleway_move *m, const json_t *object, const json_t *other, bool attach, struct err *err);

/* One of them at a time: each is looked at again. */
static int link_next(struct scaleway_move *m, const struct scaleway_kind *kind, const char *attribute,
                     const json_t *object, const json_t *now, link_fn *on, struct err *err)
{
	const struct object_call o = {m->s, kind, m->x->v->wait};
	const json_t *there = json_object_get(now, attribute), *wanted = json_object_get(m->to, attribute);
	json_t *other _cleanup_json_ = NULL;
	if (wanted == NULL || !move_wants(m, now, attribute))
		return MOVE_DONE;
	const char *more = first_beside(wanted, there), *less = first_beside(there, wanted);
	if (more == NULL && less == NULL)
		return MOVE_DONE;
	int r = find_one(&o, less != NULL ? less : more, &other, err);
	if (r == 0)
		r = on(m, object, other, less == NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

/* What is attached elsewhere is never taken from there. */
static int refuse_taken(const struct scaleway_kind *kind, const json_t *other, const char *by, struct err *err)
{
	err_set(err, ERR_CONFLICT, "the %s '%s' is attached to the instance %s", kind->word, object_name(kind, other),
	        by);
	return err_hint(err, ERR_CONFLICT, "detach it there first");
}

static int link_ip(struct scaleway_move *m, const json_t *object, const json_t *ip, bool attach, struct err *err)
{
	const char *by = json_get_string(json_object_get(ip, "server"), "id");
	_cleanup_free_ char *path = object_path(m->s, &scaleway_kind_ip, object_id(ip), "");
	json_t *body _cleanup_json_ = json_object();
	if (attach && reply_is_id(by) && strcmp(by, object_id(object)) != 0)
		return refuse_taken(&scaleway_kind_ip, ip, by, err);
	json_object_set_new(body, "server", attach ? json_string(object_id(object)) : json_null());
	return move_ask(m, "PATCH", path, body, NULL, err);
}

int instance_link_ips(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	return link_next(m, &scaleway_kind_ip, "ips", object, now, link_ip, err);
}

static const char *user_of(const json_t *volume)
{
	const json_t *first = json_array_get(json_get_array(volume, "references"), 0);
	return json_get_string(first, "product_resource_id");
}

static int link_volume(struct scaleway_move *m, const json_t *object, const json_t *volume, bool attach,
                       struct err *err)
{
	const char *by = user_of(volume);
	_cleanup_free_ char *path = object_path(m->s, &scaleway_kind_instance, object_id(object),
	                                        attach ? "/attach-volume" : "/detach-volume");
	json_t *body _cleanup_json_ = json_pack("{s:s}", "volume_id", object_id(volume));
	if (attach && reply_is_id(by) && strcmp(by, object_id(object)) != 0)
		return refuse_taken(&scaleway_kind_volume, volume, by, err);
	if (attach)
		json_object_set_new(body, "volume_type", json_string("sbs_volume"));
	return move_ask(m, "POST", path, body, NULL, err);
}

int instance_link_volumes(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	return link_next(m, &scaleway_kind_volume, "volumes", object, now, link_volume, err);
}
