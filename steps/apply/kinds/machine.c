/* Groups, users and packages of a host: looks and changes are steps/machine's, which bootstrap uses too. */
#include "steps/apply/kinds/machine.h"
#include "schemas/resources/group.h"
#include "schemas/resources/package.h"
#include "schemas/resources/user.h"

#include <inttypes.h>
#include <string.h>

static const struct change_type *const kinds[] = {&machine_group.change, &machine_user.change, &machine_package.change,
                                                  NULL};

/* ---- looked at ---- */

/* The kind's change is its first member. */
static const struct machine_kind *machine_of(const struct resource_type *type)
{
	return (const struct machine_kind *)(const void *)type->change;
}

static char *words_of(const struct resource_type *type, const struct resource *wanted, const json_t *row)
{
	return type->words != NULL ? type->words(wanted, row) : xstrdup("");
}

static int need_root(const struct resource_call *x, const struct resource_type *type, const char *id, struct err *err)
{
	const struct machine_kind *kind = machine_of(type);
	if (x->v->facts.is_root || kind->by_anyone || (kind->of_user != '\0' && strchr(id, kind->of_user) != NULL))
		return 0;
	return err_hint(err,
	                err_set(err, ERR_PERMISSION, "resources of the kind %s need root on '%s'", type->choice.name,
	                        x->v->name),
	                "give the target `become: sudo`, or log in as root");
}

static char *name_in_found(const struct machine_sight *s)
{
	return xasprintf("%s:%s\t%s", s->kind->change.name, s->id, s->arg);
}

/* What is noted goes along in the state, where the driver finds it. */
static json_t *state_of(const struct machine_sight *s)
{
	json_t *node = json_deep_copy(s->node), *notes = json_deep_copy(s->notes);
	if (*s->arg != '\0')
		json_object_set_new(notes, "arg", json_string(s->arg));
	if (json_object_size(notes) > 0)
		json_object_set(node, "notes", notes);
	json_decref(notes);
	return node;
}

int machine_resource_ahead(struct resource_call *x, const struct resource_sight *sights, size_t count, bool with_way,
                           struct err *err)
{
	_cleanup_free_ struct machine_sight *seen = xcalloc(count + 1, sizeof(*seen));
	_cleanup_(strv_done) struct strv words = {0};
	size_t asked = 0;
	(void)with_way;
	for (size_t i = 0; i < count; i++) {
		/* What refers to others is asked about once that is filled in. */
		if (sights[i].wanted != NULL && sights[i].wanted->written != NULL)
			continue;
		strv_add_take(&words, words_of(sights[i].type, sights[i].wanted, sights[i].row));
		seen[asked++] = (struct machine_sight){
			.kind = machine_of(sights[i].type), .id = sights[i].id, .arg = words.items[words.count - 1]};
	}
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = asked > 0 ? need_root(x, sights[i].type, sights[i].id, err) : 0;
	if (r == 0)
		r = machine_look(x->v, seen, asked, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < asked; i++) {
		_cleanup_free_ char *name = name_in_found(&seen[i]);
		json_object_set_new(x->found, name, state_of(&seen[i]));
	}
	machine_sights_done(seen, asked);
	return 0;
}

int machine_resource_look(struct resource_call *x, const struct resource_type *type, const char *id, json_t **ret,
                          struct err *err)
{
	_cleanup_free_ char *words = words_of(type, x->wanted, x->row);
	struct machine_sight seen = {.kind = machine_of(type), .id = id, .arg = words};
	_cleanup_free_ char *name = name_in_found(&seen);
	json_t *found = json_object_get(x->found, name);
	int r = found == NULL ? need_root(x, type, id, err) : 0;
	if (r == 0 && found == NULL)
		r = machine_look(x->v, &seen, 1, err);
	if (r < 0)
		return r;
	*ret = found != NULL ? json_deep_copy(found) : state_of(&seen);
	machine_sights_done(&seen, 1);
	return 0;
}

bool machine_resource_differs(const json_t *before, const json_t *after)
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

extern const struct resource_type resource_group;

static int group_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return machine_resource_look(x, &resource_group, id, ret, err);
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
	.ahead = machine_resource_ahead,
	.look = group_look,
	.want = group_want,
	.differs = machine_resource_differs,
	.forbids = group_forbids,
};

/* ---- user ---- */

extern const struct resource_type resource_user;

static char *home_of(const struct resource *r)
{
	const struct resource_user *in = r->in;
	return in->home != NULL ? xstrdup(in->home) : xasprintf("/home/%s", in->name);
}

static char *user_words(const struct resource *wanted, const json_t *row)
{
	(void)row;
	return wanted != NULL ? home_of(wanted) : xstrdup("");
}

static int user_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return machine_resource_look(x, &resource_user, id, ret, err);
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
	.ahead = machine_resource_ahead,
	.words = user_words,
	.look = user_look,
	.want = user_want,
	.differs = machine_resource_differs,
	.forbids = user_forbids,
	.keeps = user_keeps,
};

/* ---- package ---- */

extern const struct resource_type resource_package;

static int package_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return machine_resource_look(x, &resource_package, id, ret, err);
}

static int package_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                        struct str *content, struct err *err)
{
	const json_t *notes = json_object_get(before, "notes");
	const char *why = json_get_string(notes, "impossible");
	(void)content;
	if (json_get_string(notes, "nomanager") != NULL)
		return err_set(err, ERR_INVALID, "there is no apt-get, dnf or apk on '%s' to install '%s'", x->v->name,
		               r->id);
	if (why != NULL && *why != '\0')
		return err_set(err, ERR_INVALID, "'%s' cannot be installed on '%s': %s", r->id, x->v->name, why);
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
	.ahead = machine_resource_ahead,
	.look = package_look,
	.want = package_want,
	.differs = machine_resource_differs,
};
