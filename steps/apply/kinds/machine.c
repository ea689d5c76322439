/* Groups, users and packages of a host: looks and changes are steps/machine's, which bootstrap uses too. */
#include "steps/machine/machine.h"
#include "schemas/resources/group.h"
#include "schemas/resources/package.h"
#include "schemas/resources/user.h"
#include "steps/apply/resource.h"

#include <inttypes.h>
#include <string.h>

static const struct change_type *const kinds[] = {&machine_group.change, &machine_user.change, &machine_package.change,
                                                  NULL};

/* What is noted goes along in the state, where the driver finds it. */
static int look(struct resource_call *x, const struct machine_kind *kind, const char *id, const char *arg, json_t **ret,
                struct err *err)
{
	struct machine_sight seen = {.kind = kind, .id = id, .arg = arg};
	if (!x->v->facts.is_root)
		return err_hint(err,
		                err_set(err, ERR_PERMISSION, "a %s needs root on '%s'", kind->change.name, x->v->name),
		                "give the target `become: sudo`, or log in as root");
	int r = machine_look(x->v, &seen, 1, err);
	if (r < 0)
		return r;
	*ret = json_incref(seen.node);
	if (json_object_size(seen.notes) > 0)
		json_object_set(*ret, "notes", seen.notes);
	machine_sights_done(&seen, 1);
	return 0;
}

static bool differs(const json_t *before, const json_t *after)
{
	return !machine_covers(before, after);
}

static int forbid_number(const json_t *before, const json_t *after, const char *member, struct str *ret_why)
{
	const char *now = json_get_string(before, member), *wanted = json_get_string(after, member);
	if (now != NULL && wanted != NULL && strcmp(now, wanted) != 0)
		str_appendf(ret_why, "has the number %s: files belong to it", now);
	return 0;
}

/* ---- group ---- */

static int group_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return look(x, &machine_group, id, NULL, ret, err);
}

static int group_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                      struct str *content, struct err *err)
{
	const struct resource_group *in = r->in;
	(void)x;
	(void)before;
	(void)content;
	(void)err;
	*ret = json_pack("{s:s}", "type", "group");
	if (in->has_gid)
		json_object_set_new(*ret, "gid", json_stringf("%" PRId64, in->gid));
	return 0;
}

static int group_forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                         struct str *ret_why, struct err *err)
{
	(void)x;
	(void)action;
	(void)err;
	return forbid_number(before, after, "gid", ret_why);
}

const struct resource_type resource_group = {
	.choice = RESOURCE_GROUP_CHOICE,
	.kinds = kinds,
	.change = &machine_group.change,
	.remove = &machine_group.change,
	.space = "group",
	.what = "group",
	.by_key = true,
	.look = group_look,
	.want = group_want,
	.differs = differs,
	.forbids = group_forbids,
};

/* ---- user ---- */

static char *home_of(const struct resource *r)
{
	const struct resource_user *in = r->in;
	return in->home != NULL ? xstrdup(in->home) : xasprintf("/home/%s", in->name);
}

static int user_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	_cleanup_free_ char *home = x->wanted != NULL ? home_of(x->wanted) : NULL;
	return look(x, &machine_user, id, home, ret, err);
}

static void user_validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_user *in = r->in;
	if (in->home != NULL && !machine_text_fits(in->home))
		resource_fault(f, r, "home", "control characters cannot be part of it");
}

static int user_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                     struct str *content, struct err *err)
{
	const struct resource_user *in = r->in;
	_cleanup_free_ char *home = home_of(r);
	const struct machine_user_want want = {.name = in->name,
	                                       .home = home,
	                                       .shell = in->shell,
	                                       .groups = &in->groups,
	                                       .uid = in->has_uid ? in->uid : -1};
	(void)x;
	(void)content;
	(void)err;
	*ret = machine_user_after(before, &want);
	return 0;
}

static int user_forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                        struct str *ret_why, struct err *err)
{
	(void)x;
	(void)action;
	(void)err;
	return forbid_number(before, after, "uid", ret_why);
}

static int user_keeps(struct resource_call *x, const char *id, const char **ret_why, struct err *err)
{
	(void)x;
	(void)id;
	(void)err;
	*ret_why = "files belong to the user, who stays";
	return 0;
}

const struct resource_type resource_user = {
	.choice = RESOURCE_USER_CHOICE,
	.kinds = kinds,
	.change = &machine_user.change,
	.remove = &machine_user.change,
	.space = "user",
	.what = "user",
	.by_key = true,
	.validate = user_validate,
	.look = user_look,
	.want = user_want,
	.differs = differs,
	.forbids = user_forbids,
	.keeps = user_keeps,
};

/* ---- package ---- */

static int package_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return look(x, &machine_package, id, NULL, ret, err);
}

static int package_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                        struct str *content, struct err *err)
{
	(void)x;
	(void)r;
	(void)before;
	(void)content;
	(void)err;
	*ret = json_pack("{s:s}", "type", "package");
	return 0;
}

const struct resource_type resource_package = {
	.choice = RESOURCE_PACKAGE_CHOICE,
	.kinds = kinds,
	.change = &machine_package.change,
	.remove = &machine_package.change,
	.space = "package",
	.what = "package",
	.by_key = true,
	.look = package_look,
	.want = package_want,
	.differs = differs,
};
