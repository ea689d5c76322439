/* The configuration that what runs was started from. davit keeps that of each deployment; of a stack that somebody else started, the labels of
 * its containers say where its files lie, and the hashes say whether they are still the same. */
#include "steps/compose_up/compose_up.h"
#include "base/sys/fs.h"

const char compose_adopted[] = "adopted";

char *compose_dir(const struct view *v, const char *project)
{
	return xasprintf("%s/compose/%s", v->facts.base, project);
}

char *compose_file(const struct view *v, const char *project, const char *id)
{
	return xasprintf("%s/compose/%s/%s.json", v->facts.base, project, id);
}

int compose_read_model(struct view *v, const char *path, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(COMPOSE_CONFIG_MAX);
	int r = host_read(v, path, COMPOSE_CONFIG_MAX, &text, err);
	return r < 0 ? r : json_parse(str_peek(&text), text.len, COMPOSE_CONFIG_MAX, ret, err);
}

static json_t *services_of(const struct docker_containers *l)
{
	json_t *services = json_object();
	for (size_t i = 0; i < l->count; i++) {
		const struct docker_container *c = &l->items[i];
		json_t *one = json_object_get(services, c->service);
		if (one == NULL) {
			one = json_pack("{s:s,s:s,s:s,s:i,s:i}", "hash", c->hash, "image", c->image, "name",
			                c->image_name, "count", 0, "up", 0);
			json_object_set_new(services, c->service, one);
		}
		json_object_set_new(one, "count", json_integer(json_get_int(one, "count", 0) + 1));
		json_object_set_new(one, "up", json_integer(json_get_int(one, "up", 0) + c->up));
	}
	return services;
}

json_t *compose_about(const char *id, const struct step_context *c, const char *directory,
                      const struct docker_containers *l)
{
	return json_pack("{s:s,s:o,s:s,s:o}", "id", id, "deployment",
	                 json_stringf("%s.%s", c->deployment->name, c->deployment->environment), "directory", directory,
	                 "services", services_of(l));
}

/* Every container is of the hash that its service has there. */
static bool fits(const json_t *hashes, const struct docker_containers *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const json_t *one = json_object_get(hashes, l->items[i].service);
		const char *hash = json_is_object(one) ? json_get_string(one, "hash") : json_string_value(one);
		if (hash == NULL || strcmp(hash, l->items[i].hash) != 0)
			return false;
	}
	return true;
}

static bool is_mixed(const struct docker_containers *l)
{
	for (size_t i = 1; i < l->count; i++) {
		const struct docker_container *a = &l->items[i - 1], *b = &l->items[i];
		if (strcmp(a->service, b->service) == 0 &&
		    (strcmp(a->hash, b->hash) != 0 || strcmp(a->image, b->image) != 0))
			return true;
	}
	return false;
}

/* ---- what davit started ---- */

int compose_read_own(const struct step_context *c, const struct docker *d, json_t **ret, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_free_ char *path = compose_file(d->v, in->project, "current");
	_cleanup_json_ json_t *model = NULL;
	path[strlen(path) - strlen(".json")] = '\0';
	int r = compose_read_model(d->v, path, &model, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return err_wrap(err, r, "read the configuration that '%s' runs", in->project);
	_cleanup_free_ char *us = xasprintf("%s.%s", c->deployment->name, c->deployment->environment);
	const char *owner = json_get_string(json_get_object(model, "x-davit"), "deployment");
	if (owner != NULL && strcmp(owner, us) != 0) {
		err_set(err, ERR_REFUSED, "the project '%s' on '%s' belongs to the deployment %s", in->project,
		        d->v->name, owner);
		return err_hint(err, ERR_REFUSED,
		                "give this one a `project` of its own: volumes and networks go by that name");
	}
	*ret = TAKE(model);
	return 0;
}

/* ---- what somebody else started ---- */

static void add_files(struct str *script, const char *option, const char *list)
{
	for (const char *at = list; at != NULL && *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
		_cleanup_free_ char *one = xstrndup(at, strcspn(at, ","));
		str_appendf(script, " %s ", option);
		str_append_shell(script, one);
	}
}

static int resolve_labels(const struct docker *d, const char *project, const struct docker_container *one, json_t **ret,
                          struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	if (*one->directory == '\0' || *one->files == '\0')
		return 0;
	said.out.wipe = true;
	str_append(&script, "cd / && ");
	compose_words(&script, project);
	str_append(&script, " --project-directory ");
	str_append_shell(&script, one->directory);
	add_files(&script, "-f", one->files);
	add_files(&script, "--env-file", one->env_files);
	str_append(&script, " --profile '*' config --format json\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS};
	int r = docker_ask(d, &call, &said, err);
	if (r < 0 || said.status != 0)
		return r;
	/* What does not parse is no configuration to go back to. */
	if (json_parse(str_peek(&said.out), said.out.len, COMPOSE_CONFIG_MAX, ret, NULL) < 0)
		*ret = NULL;
	return 0;
}

/* Services that do not run, behind a profile or not started, were no part of what is brought back. */
static void drop_others(json_t *model, const struct docker_containers *l)
{
	json_t *services = json_get_object(model, "services"), *one;
	const char *name;
	void *next;
	json_object_foreach_safe(services, next, name, one)
	{
		bool runs = false;
		for (size_t i = 0; i < l->count; i++)
			runs = runs || strcmp(l->items[i].service, name) == 0;
		if (!runs)
			json_object_del(services, name);
	}
}

static int find_by_labels(const struct step_context *c, const struct docker *d, const struct docker_containers *l,
                          json_t **ret, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_json_ json_t *model = NULL, *hashes = NULL;
	int r = resolve_labels(d, in->project, &l->items[0], &model, err);
	if (r < 0 || model == NULL)
		return r;
	drop_others(model, l);
	struct err why = ERR_INIT;
	r = compose_hashes(d, in->project, model, &hashes, &why);
	if (r == 0 && fits(hashes, l)) {
		json_object_set_new(model, "x-davit", compose_about(compose_adopted, c, l->items[0].directory, l));
		*ret = TAKE(model);
	}
	return r == ERR_FAILED ? 0 : r;
}

int compose_former(const struct step_context *c, const struct docker *d, struct compose_payload *p, char **ret_why,
                   struct err *err)
{
	struct docker_containers *l = &p->was;
	_cleanup_json_ json_t *model = NULL, *other = NULL;
	int r = compose_read_own(c, d, &model, err);
	if (r < 0)
		return r;
	json_t *about = json_get_object(model, "x-davit");
	compose_hide(l, about, &p->hidden);
	if (l->count == 0)
		return 0;
	if (is_mixed(l)) {
		*ret_why = xstrdup("containers of one service differ from each other");
		return 0;
	}
	if (fits(json_get_object(about, "services"), l)) {
		json_object_set_new(about, "services", services_of(l));
		p->former_name = xstrdup(json_get_string(about, "id"));
		p->former = TAKE(model);
		return 0;
	}
	r = find_by_labels(c, d, l, &other, err);
	if (r == 0 && other != NULL) {
		p->former_name = xstrdup(compose_adopted);
		p->former = TAKE(other);
	} else if (r == 0) {
		*ret_why = xasprintf("it was started from %s as it is not there any more", l->items[0].files);
	}
	return r;
}
