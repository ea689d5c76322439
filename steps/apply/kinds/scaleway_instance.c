/* An instance of Scaleway. */
#include "base/data/reference.h"
#include "providers/scaleway/catalog.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/resource_change.h"
#include "providers/scaleway/target.h"
#include "schemas/resources/scaleway_instance.h"
#include "steps/apply/kinds/scaleway.h"

/* ---- what the service must have ---- */

/* It refers to something, and what that says is not known yet. */
static bool is_open(const char *text)
{
	struct reference ref;
	return text == NULL || reference_find(text, 0, &ref);
}

static int check_on(struct view *v, const struct resource *r, struct err *err)
{
	const struct object_call o = {scaleway_of_target(v), &scaleway_kind_instance, v->wait};
	json_t *asked _cleanup_json_ = scaleway_asked_for(r), *all _cleanup_json_ = NULL;
	_cleanup_free_ char *image = NULL;
	struct catalog_wish wish = {json_get_string(asked, "commercial_type"), json_get_string(asked, "root_type"),
	                            json_get_int(asked, "root_size", 0), false};
	if (o.s == NULL || is_open(r->id) || is_open(wish.commercial_type) || is_open(json_get_string(asked, "image")))
		return 0;
	int e = object_find(&o, r->id, &all, err);
	wish.makes = json_array_size(all) == 0;
	if (e == 0)
		e = catalog_check_type(o.s, &wish, v->wait, err);
	if (e == 0 && wish.makes)
		e = catalog_find_image(o.s, json_get_string(asked, "image"), wish.commercial_type, wish.root_type,
		                       v->wait, &image, err);
	return e < 0 ? err_wrap(err, e, "%s", r->key) : 0;
}

static int check(const struct step_context *c, const struct resource *r, struct err *err)
{
	int e = 0;
	for (size_t i = 0; e == 0 && i < c->target_count; i++)
		e = check_on(&c->targets[i]->view, r, err);
	return e;
}

/* ---- want ---- */

/* The label leads to another image from time to time: what is planned is what is made. */
static int find_image(struct resource_call *x, const json_t *before, json_t *after, struct err *err)
{
	const char *image = json_get_string(after, "image"), *former = json_get_string(before, "image");
	_cleanup_free_ char *id = NULL;
	struct str forced _cleanup_(str_done) = STR_INIT(1024);
	bool there = json_get_string(before, "id") != NULL;
	if (there)
		scaleway_forces(before, after, &forced);
	if (there && forced.len == 0)
		return 0;
	int r = catalog_find_image(scaleway_of_target(x->v),
	                           image != NULL    ? image
	                           : former != NULL ? former
	                                            : "",
	                           json_get_string(after, "commercial_type"), json_get_string(after, "root_type"),
	                           x->v->wait, &id, err);
	json_set_string(after, "image_id", id);
	return r;
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	json_t *after _cleanup_json_ = NULL;
	int e = scaleway_want(x, r, before, &after, content, err);
	if (e < 0)
		return e;
	e = find_image(x, before, after, err);
	if (e == 0)
		*ret = TAKE(after);
	return e;
}

static void remember(const struct resource *r, json_t *row)
{
	json_t *asked _cleanup_json_ = scaleway_asked_for(r);
	json_object_set(row, "image", json_object_get(asked, "image"));
}

/* ---- this machine ---- */

static bool is_running(const json_t *node)
{
	const char *status = json_get_string(node, "status");
	return status != NULL && strcmp(status, "stopped") != 0;
}

static int forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                   struct str *ret_why, struct err *err)
{
	const struct object_call o = {scaleway_of_target(x->v), &scaleway_kind_instance, x->v->wait};
	const json_t *was = json_object_get(before, "commercial_type"),
		     *shall = json_object_get(after, "commercial_type");
	bool goes = action == ACTION_DESTROY || action == ACTION_REPLACE;
	bool stops = is_running(before) && (!is_running(after) || !json_equal(was, shall));
	json_t *object _cleanup_json_ = NULL;
	struct err own = ERR_INIT;
	char line[1024];
	if (!goes && !stops)
		return 0;
	int r = object_get(&o, json_get_string(before, "id"), &object, err);
	if (r == 0 && object != NULL && instance_refuse_self(object, goes ? "destroyed" : "switched off", &own) < 0)
		str_appendf(ret_why, "stays: %s", err_line(&own, line, sizeof(line)));
	return r;
}

/* Its root volume. */
static json_t *kept(const struct resource *r)
{
	return json_pack("{s:[s]}", "instances", r->id);
}

static const char *const holds[] = {"ips", "volumes", NULL};

extern const struct resource_type resource_scaleway_instance;
const struct resource_type resource_scaleway_instance = {.choice = RESOURCE_SCALEWAY_INSTANCE_CHOICE,
                                                         .what = "scaleway_instance",
                                                         .holds = holds,
                                                         .space = "scaleway_instance",
                                                         .validate = scaleway_validate,
                                                         .check = check,
                                                         .want = want,
                                                         .remember = remember,
                                                         .forbids = forbids,
                                                         .source = &source_scaleway,
                                                         .kept = kept,
                                                         .outlived = true,
                                                         SCALEWAY_RESOURCE};
