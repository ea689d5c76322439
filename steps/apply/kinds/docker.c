/* Networks and volumes of a Docker engine: looks and changes are steps/machine's. */
#include "schemas/resources/docker_network.h"
#include "schemas/resources/docker_volume.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/machine.h"

#include <string.h>

static const struct change_type *const kinds[] = {&machine_network.change, &machine_volume.change, NULL};

/* ---- shared ---- */

static const char *engine_of(const struct resource *r)
{
	return *(const char *const *)fields_member(r->type->choice.table, r->in, "docker_host");
}

static char *words(const struct resource *wanted, const json_t *row)
{
	const char *engine = wanted != NULL ? engine_of(wanted) : json_get_string(row, "docker_host");
	return xstrdup(engine != NULL ? engine : "");
}

static void remember(const struct resource *r, json_t *row)
{
	json_set_string(row, "docker_host", engine_of(r));
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const char *engine = engine_of(r);
	if (engine != NULL && !machine_text_fits(engine))
		resource_fault(f, r, "docker_host", "control characters cannot be part of it");
}

/* A thing that only seems absent must neither be made nor forgotten. */
static int look_at(struct resource_call *x, const struct resource_type *type, const char *id, json_t **ret,
                   struct err *err)
{
	int r = machine_resource_look(x, type, id, ret, err);
	if (r < 0)
		return r;
	const json_t *notes = json_object_get(*ret, "notes");
	const char *said = json_get_string(notes, "noanswer");
	if (said != NULL)
		return err_set(err, ERR_NETWORK, "the Docker engine of '%s' does not answer: %s", x->v->name, said);
	if (json_get_string(notes, "nodocker") != NULL)
		return err_set(err, ERR_REFUSED, "there is no docker command on '%s'", x->v->name);
	return 0;
}

static int refuse_others(const struct resource_call *x, const struct resource *r, const json_t *before, struct err *err)
{
	const char *project = json_get_string(json_object_get(before, "notes"), "project");
	if (project == NULL)
		return 0;
	err_set(err, ERR_REFUSED, "'%s' on '%s' belongs to the Compose project '%s'", r->id, x->v->name, project);
	return err_hint(err, ERR_REFUSED, "take another name, or let that project have it");
}

static void add_forced(const json_t *before, const json_t *after, const char *name, struct str *out)
{
	const char *was = json_get_string(before, name), *shall = json_get_string(after, name);
	if (shall != NULL && (was == NULL || strcmp(was, shall) != 0))
		str_appendf(out, "%s`%s`", out->len > 0 ? ", " : "", name);
}

static void forces(const json_t *before, const json_t *after, struct str *out)
{
	static const char *const fixed[] = {"driver", "internal", "subnet"};
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		add_forced(before, after, fixed[i], out);
}

static int forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                   struct str *ret_why, struct err *err)
{
	const char *users = json_get_string(json_object_get(before, "notes"), "users");
	(void)x;
	(void)after;
	(void)err;
	if (users != NULL && (action == ACTION_DESTROY || action == ACTION_REPLACE))
		str_appendf(ret_why, "stays: containers use it: %s", users);
	return 0;
}

/* ---- network ---- */

extern const struct resource_type resource_docker_network;

static void network_validate(const struct resource *r, const struct resource_faults *f)
{
	static const char *const own[] = {"bridge", "host", "none"};
	validate(r, f);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(r->id, own[i]) == 0)
			resource_fault(f, r, "name", "'%s' is the engine's own network", r->id);
}

static int network_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return look_at(x, &resource_docker_network, id, ret, err);
}

static int network_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                        struct str *content, struct err *err)
{
	const struct resource_docker_network *in = r->in;
	int e = refuse_others(x, r, before, err);
	(void)content;
	if (e < 0)
		return e;
	*ret = json_pack("{s:s, s:s, s:s}", "type", "network", "driver", in->driver, "internal",
	                 in->internal ? "yes" : "no");
	json_set_string(*ret, "subnet", in->subnet);
	return 0;
}

const struct resource_type resource_docker_network = {
	.choice = RESOURCE_DOCKER_NETWORK_CHOICE,
	.kinds = kinds,
	.change = &machine_network.change,
	.remove = &machine_network.change,
	.space = "docker_network",
	.what = "network",
	.by_key = true,
	.validate = network_validate,
	.ahead = machine_resource_ahead,
	.words = words,
	.look = network_look,
	.want = network_want,
	.differs = machine_resource_differs,
	.remember = remember,
	.forces = forces,
	.forbids = forbids,
};

/* ---- volume ---- */

extern const struct resource_type resource_docker_volume;

static int volume_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return look_at(x, &resource_docker_volume, id, ret, err);
}

static int volume_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                       struct str *content, struct err *err)
{
	const struct resource_docker_volume *in = r->in;
	int e = refuse_others(x, r, before, err);
	(void)content;
	if (e == 0)
		*ret = json_pack("{s:s, s:s}", "type", "volume", "driver", in->driver);
	return e;
}

/* One that somebody made anew under the same name is another one. */
static void volume_identity(const json_t *before, struct str *out)
{
	const char *created = json_get_string(json_object_get(before, "notes"), "created");
	str_appendf(out, "=%s", created != NULL ? created : "");
}

static void volume_means(const json_t *before, const json_t *after, enum change_action action, struct str *out)
{
	(void)after;
	if ((action == ACTION_DESTROY || action == ACTION_REPLACE) &&
	    json_get_string(json_object_get(before, "notes"), "data") != NULL)
		str_append(out, "; its data are lost for good: an undo cannot bring them back");
}

const struct resource_type resource_docker_volume = {
	.choice = RESOURCE_DOCKER_VOLUME_CHOICE,
	.kinds = kinds,
	.change = &machine_volume.change,
	.remove = &machine_volume.change,
	.space = "docker_volume",
	.what = "volume",
	.by_key = true,
	.validate = validate,
	.ahead = machine_resource_ahead,
	.words = words,
	.look = volume_look,
	.want = volume_want,
	.differs = machine_resource_differs,
	.remember = remember,
	.forces = forces,
	.identity = volume_identity,
	.forbids = forbids,
	.means = volume_means,
};
