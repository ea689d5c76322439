#include "steps/apply/kinds/scaleway.h"

#include "base/secret/mask.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/resource_change.h"
#include "providers/scaleway/target.h"
#include "steps/apply/apply.h"

#include <inttypes.h>

const char *const scaleway_targets[] = {"scaleway", NULL};
const char *const scaleway_output_names[] = {"id", "ip", "address", NULL};
const struct change_type *const scaleway_kinds[] = {&scaleway_resource, NULL};

/* A change of one of these means another object in its place. */
static const char *const fixed[] = {"image", "root_type", "cloud_init", "family"};
/* Only grow. */
static const char *const sizes[] = {"size", "root_size"};

static bool is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

/* ---- the input ---- */

static bool is_list_of_names(const char *name)
{
	return strcmp(name, "tags") == 0 || strcmp(name, "ips") == 0 || strcmp(name, "volumes") == 0;
}

json_t *scaleway_asked_for(const struct resource *r)
{
	static const char *const others[] = {"name",           "id",         "depends_on", "protect",
	                                     "ignore_changes", "replace_on", "running"};
	json_t *in _cleanup_json_ = fields_write_whole(r->type->choice.table, r->in), *value,
		   *running = json_object_get(in, "running"), *all = json_object();
	const char *name;
	json_object_foreach(in, name, value)
	{
		if (!json_is_null(value))
			json_object_set_new(all, name,
			                    is_list_of_names(name) ? object_sorted(value) : json_deep_copy(value));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		json_object_del(all, others[i]);
	if (running != NULL)
		json_object_set_new(all, "status", json_string(json_is_true(running) ? "running" : "stopped"));
	return all;
}

/* Whoever may look at the project sees it all, and it stands in plan and journal. */
void scaleway_validate(const struct resource *r, const struct resource_faults *f)
{
	json_t *in _cleanup_json_ = fields_write_whole(r->type->choice.table, r->in), *value;
	const char *name;
	json_object_foreach(in, name, value)
	{
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
		if (text != NULL && mask_finds(mask_process(), text, strlen(text)))
			resource_fault(f, r, name,
			               "`%s` of '%s' holds a secret, which everybody who may look at the "
			               "project could read",
			               name, r->id);
	}
}

/* ---- look ---- */

static const char *kind_of(const struct resource_call *x)
{
	return x->wanted != NULL ? x->wanted->type->what : json_get_string(x->row, "type");
}

static int refuse_several(const struct object_call *o, const char *name, const json_t *all, struct err *err)
{
	struct str ids _cleanup_(str_done) = STR_INIT(400);
	for (size_t i = 0; i < json_array_size(all); i++)
		str_appendf(&ids, "%s%s", i > 0 ? ", " : "", object_id(json_array_get(all, i)));
	err_set(err, ERR_REFUSED, "%zu of the project's objects of the kind %s are called '%s': %s",
	        json_array_size(all), o->kind->word, name, str_peek(&ids));
	return err_hint(err, ERR_REFUSED, "rename or remove those that are not meant");
}

/* By the id that was recorded, and where that is gone by the name. */
static int find(const struct object_call *o, const char *name, const char *recorded, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	int r = recorded != NULL ? object_get(o, recorded, ret, err) : 0;
	if (r < 0 || *ret != NULL)
		return r;
	r = object_find(o, name, &all, err);
	if (r == 0 && json_array_size(all) > 1)
		return refuse_several(o, name, all, err);
	/* A list may tell less than the object itself. */
	return r == 0 && json_array_size(all) == 1 ? object_get(o, object_id(json_array_get(all, 0)), ret, err) : r;
}

/* Neither one that was renamed, nor one that somebody else made in place of ours. */
static bool is_other(const struct object_call *o, const char *name, const char *recorded, const json_t *object)
{
	const char *own = object_name(o->kind, object);
	bool same = recorded != NULL && strcmp(recorded, object_id(object)) == 0;
	if (own == NULL || strcmp(own, name) != 0)
		return true;
	return recorded != NULL && !same && !object_has_mark(object, NULL);
}

int scaleway_together(struct view *v, size_t count, void (*one)(void *context, size_t i), void *context,
                      struct err *err)
{
	return scaleway_each(scaleway_of_target(v), count, one, context, v->wait, err);
}

int scaleway_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	const struct object_call o = {scaleway_of_target(x->v), scaleway_kind_named(kind_of(x)), x->v->wait};
	const char *recorded = json_get_string(x->row, "id");
	json_t *object _cleanup_json_ = NULL, *node _cleanup_json_ = NULL;
	if (o.kind == NULL)
		return err_set(err, ERR_INTERNAL, "'%s' is of no kind that Scaleway has", id);
	int r = find(&o, id, recorded, &object, err);
	if (r < 0)
		return r;
	if (object == NULL) {
		*ret = json_pack("{s:s}", "type", "absent");
		return 0;
	}
	r = object_node(&o, object, &node, err);
	if (r < 0)
		return r;
	if (is_other(&o, id, recorded, object))
		json_object_set_new(node, "type", json_string("other"));
	/* What it was made from only the row knows. */
	json_set_string(node, "image", json_get_string(x->row, "image"));
	*ret = TAKE(node);
	return 0;
}

/* ---- want ---- */

static bool differs(const json_t *before, const json_t *after, const char *name)
{
	const json_t *wanted = json_object_get(after, name);
	return wanted != NULL && !json_equal(json_object_get(before, name), wanted);
}

void scaleway_forces(const json_t *before, const json_t *after, struct str *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (differs(before, after, fixed[i]))
			str_appendf(out, "%s`%s`", out->len > 0 ? ", " : "", fixed[i]);
}

static int refuse_other(const struct resource *r, const json_t *before, const json_t *row, struct err *err)
{
	const char *id = json_get_string(before, "id"), *name = json_get_string(before, "name"),
		   *recorded = json_get_string(row, "id");
	if (recorded != NULL && strcmp(recorded, id) == 0)
		err_set(err, ERR_REFUSED, "%s was made as %s, which is called '%s' now", r->key, recorded,
		        name != NULL ? name : "");
	else
		err_set(err, ERR_REFUSED, "%s was made as %s, and somebody else made %s of that name", r->key,
		        recorded != NULL ? recorded : "something else", id);
	return err_hint(err, ERR_REFUSED, "rename it, or name another one in the file");
}

/* A new one in its place has any size. */
static int refuse_size(const json_t *before, const json_t *after, struct err *err)
{
	struct str forced _cleanup_(str_done) = STR_INIT(1024);
	const char *type = json_get_string(before, "root_type");
	scaleway_forces(before, after, &forced);
	if (forced.len > 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int64_t there = json_get_int(before, sizes[i], 0), wanted = json_get_int(after, sizes[i], 0);
		if (there > 0 && wanted > 0 && wanted < there)
			return err_set(err, ERR_REFUSED,
			               "the volume has %" PRId64 " GB, and a volume cannot shrink to %" PRId64 " GB",
			               there, wanted);
	}
	if (type == NULL || strcmp(type, "sbs_volume") == 0 || json_object_get(before, "root_size") == NULL ||
	    json_get_int(after, "root_size", 0) <= json_get_int(before, "root_size", 0))
		return 0;
	err_set(err, ERR_REFUSED, "the root volume is a local one (%s), which never grows", type);
	return err_hint(err, ERR_REFUSED,
	                "name a block volume in `volumes`, or let a new instance take its place: `root_type: "
	                "sbs_volume`, with allow_destroy");
}

/* A plan that nobody makes has no id of a deployment: its digest counts both alike. */
static json_t *mark_of(const struct resource_call *x)
{
	const char *id = x->c->deployment->id;
	return json_stringf("%s%s", OBJECT_MARK, id != NULL ? id : "ID");
}

/* The document goes with the change; its digest stands for it. */
static void take_cloud_init(json_t *after, struct str *content)
{
	const char *text = json_get_string(after, "cloud_init");
	if (text == NULL || str_starts(text, "sha256:"))
		return;
	str_append(content, text);
	_cleanup_free_ char *digest = instance_digest(text, strlen(text));
	json_object_set_new(after, "cloud_init", json_string(digest));
}

int scaleway_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                  struct str *content, struct err *err)
{
	json_t *after _cleanup_json_ = NULL, *asked _cleanup_json_ = scaleway_asked_for(r);
	const char *type = json_get_string(before, "type");
	if (type != NULL && strcmp(type, "other") == 0)
		return refuse_other(r, before, x->row, err);
	after = is_absent(before)
	                ? json_pack("{s:s, s:s, s:o}", "type", r->type->what, "name", r->id, "mark", mark_of(x))
	                : json_deep_copy(before);
	/* One that was there before is taken for what it was made from. */
	if (!is_absent(before) && json_object_get(before, "image") == NULL)
		json_object_del(asked, "image");
	json_object_update(after, asked);
	take_cloud_init(after, content);
	if (!is_absent(before))
		apply_keep_ignored(r, before, after);
	int e = refuse_size(before, after, err);
	if (e == 0)
		*ret = TAKE(after);
	return e;
}

/* ---- what a change means ---- */

void scaleway_identity(const json_t *before, struct str *out)
{
	const char *id = json_get_string(before, "id");
	str_appendf(out, "=%s", id != NULL ? id : "");
}

void scaleway_means(const json_t *before, const json_t *after, enum change_action action, struct str *out)
{
	const struct scaleway_kind *kind = scaleway_kind_named(json_get_string(before, "type"));
	const char *status = json_get_string(after, "status");
	bool runs = status != NULL && strcmp(status, "running") == 0;
	if ((action == ACTION_DESTROY || action == ACTION_REPLACE) && kind != NULL && kind->lost != NULL)
		str_appendf(out, "; %s: an undo cannot bring it back", kind->lost);
	if (action != ACTION_UPDATE)
		return;
	if (differs(before, after, "commercial_type"))
		str_appendf(out, "; it is switched off for `commercial_type`%s", runs ? " and on again" : "");
	else if (differs(before, after, "status") && !runs)
		str_append(out, "; it is switched off");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (differs(before, after, sizes[i]))
			str_append(out, "; an undo cannot shrink the volume");
}
