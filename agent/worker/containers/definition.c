/* definition: what the message's jobContainer and jobServiceContainers ask for [11.4]. */
#include "agent/worker/containers/containers.h"

#include "agent/actions/policy.h"
#include "agent/service/wire.h"
#include "agent/worker/message.h"

#include <ctype.h>
#include <stdio.h>

enum { CONTAINERS_MAX = 100, ALIAS_MAX = 99, TEXT_MAX = 1 << 20 };

static void container_done(struct container *c)
{
	char *texts[] = {c->alias, c->image, c->username, c->password, c->entrypoint, c->name, c->id};
	if (c->password != NULL)
		explicit_bzero(c->password, strlen(c->password));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	json_decref(c->env);
	strv_done(&c->options);
	strv_done(&c->ports);
	strv_done(&c->volumes);
	strv_done(&c->command);
}

void containers_free(struct containers *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->count; i++)
		container_done(&c->all[i]);
	free(c->all);
	docker_done(&c->docker);
	free(c->network);
	free(c->path);
	free(c->node);
	free(c);
}

/* ---- members ---- */

static const json_t *member(const json_t *object, const char *name)
{
	return json_is_object(object) ? expr_member(object, name, strlen(name)) : NULL;
}

/* Scalars in their string form; others are refused. NULL: nothing is given. free() */
static int text_of(const json_t *value, const char *what, char **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(TEXT_MAX);
	struct expr_value v = EXPR_VALUE_INIT;
	*ret = NULL;
	if (value == NULL || json_is_null(value))
		return 0;
	if (json_is_object(value) || json_is_array(value))
		return err_set(err, ERR_INVALID, "%s: a text is expected", what);
	expr_value_from_json(value, &v);
	expr_value_text(&v, &text);
	expr_value_done(&v);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "%s is longer than %d bytes", what, TEXT_MAX);
	*ret = str_take(&text);
	return 0;
}

static int read_texts(const json_t *list, const char *what, struct strv *ret, struct err *err)
{
	size_t i;
	json_t *item;
	if (list != NULL && !json_is_null(list) && !json_is_array(list))
		return err_set(err, ERR_INVALID, "%s: a list is expected", what);
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		char *text;
		int r = text_of(item, what, &text, err);
		if (r < 0)
			return r;
		if (text != NULL && text[0] != '\0')
			strv_add(ret, text);
		free(text);
	}
	return 0;
}

static int read_env(const json_t *map, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *env = json_object();
	const char *name;
	json_t *value;
	if (map != NULL && !json_is_null(map) && !json_is_object(map))
		return err_set(err, ERR_INVALID, "env: a map is expected");
	json_object_foreach((json_t *)(uintptr_t)map, name, value)
	{
		_cleanup_free_ char *text = NULL;
		if (name[0] == '\0' || strchr(name, '=') != NULL)
			return err_set(err, ERR_INVALID, "env: '%.100s' cannot name a variable", name);
		int r = text_of(value, name, &text, err);
		if (r < 0)
			return r;
		json_object_set_new(env, name, json_string(text != NULL ? text : ""));
	}
	*ret = TAKE(env);
	return 0;
}

/* Proxies of this machine hold in its containers too. */
static void add_proxies(const struct job *j, json_t *env)
{
	json_object_update_missing(env, j->proxies);
}

static int read_credentials(struct job *j, const json_t *map, struct container *c, struct err *err)
{
	if (map == NULL || json_is_null(map))
		return 0;
	int r = text_of(member(map, "username"), "username", &c->username, err);
	if (r == 0)
		r = text_of(member(map, "password"), "password", &c->password, err);
	if (r < 0)
		return r;
	if (c->username == NULL || c->username[0] == '\0' || c->password == NULL || c->password[0] == '\0')
		return err_set(err, ERR_INVALID, "credentials: 'username' and 'password' must be given and not empty");
	mask_add(j->mask, c->password, strlen(c->password));
	return 0;
}

/* GitHub's own registries take the job's token. */
static void lend_token(const struct job *j, struct container *c)
{
	const char *server = json_get_string(j->github, "server_url"), *actor = json_get_string(j->github, "actor"),
		   *token = json_get_string(j->github, "token");
	bool own = str_starts(c->image, "ghcr.io/") || str_starts(c->image, "containers.pkg.github.com/");
	if (c->username != NULL || !own || server == NULL || strcmp(server, "https://github.com") != 0 ||
	    actor == NULL || token == NULL)
		return;
	c->username = xstrdup(actor);
	c->password = xstrdup(token);
}

static int read_command(struct job *j, const json_t *map, struct container *c, struct err *err)
{
	static const char *const names[] = {"entrypoint", "command"};
	bool allowed = message_flag(j->message, "actions_service_container_command", false) ||
	               wire_is_true(json_get_string(j->job_environ, "ACTIONS_SERVICE_CONTAINER_COMMAND"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *value = member(map, names[i]);
		if (value == NULL || json_is_null(value))
			continue;
		if (c->alias == NULL || !allowed)
			return err_set(err, ERR_INVALID, "The key '%s' is not allowed", names[i]);
		_cleanup_free_ char *text = NULL;
		int r = text_of(value, names[i], &text, err);
		if (r < 0)
			return r;
		if (i == 0)
			c->entrypoint = TAKE(text);
		else
			shell_split(text, &c->command);
	}
	return 0;
}

static int read_map(struct job *j, const json_t *value, struct container *c, struct err *err)
{
	_cleanup_free_ char *options = NULL;
	int r = text_of(member(value, "options"), "options", &options, err);
	if (r == 0 && options != NULL)
		r = container_options(options, &c->options, err);
	if (r == 0)
		r = read_texts(member(value, "ports"), "ports", &c->ports, err);
	if (r == 0)
		r = read_texts(member(value, "volumes"), "volumes", &c->volumes, err);
	if (r == 0)
		r = read_credentials(j, member(value, "credentials"), c, err);
	return r == 0 ? read_command(j, value, c, err) : r;
}

/* ---- a definition ---- */

static const char prefix[] = "docker://";

static int read_image(const json_t *value, char **ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	int r = text_of(json_is_object(value) ? member(value, "image") : value, "image", &text, err);
	if (r < 0)
		return r;
	*ret = text == NULL ? xstrdup("") : xstrdup(str_starts(text, prefix) ? text + strlen(prefix) : text);
	return 0;
}

static int check(struct job *j, const struct container *c, struct err *err)
{
	int r = docker_check_image(c->image, err);
	return r < 0 ? r : policy_allows_image(job_setting(j, "actions"), c->image, err);
}

/* Where it has no image nothing is added. */
static int add(struct job *j, struct containers *all, const char *alias, const json_t *value, struct err *err)
{
	struct container *c = &all->all[all->count];
	*c = (struct container){.alias = xstrdup(alias)};
	all->count++;
	int r = read_image(value, &c->image, err);
	if (r == 0 && c->image[0] == '\0') {
		if (alias != NULL)
			record_line(j, j->setup,
			            "The service '%s' will not be started because the container definition has an "
			            "empty image.",
			            alias);
		container_done(c);
		all->count--;
		return 0;
	}
	if (r == 0)
		r = read_env(member(value, "env"), &c->env, err);
	if (r == 0)
		r = read_map(j, value, c, err);
	if (r == 0)
		r = check(j, c, err);
	if (r < 0)
		return r;
	add_proxies(j, c->env);
	lend_token(j, c);
	return 0;
}

/* It is a name in the network, and part of the container's. */
static int check_alias(const char *alias, struct err *err)
{
	bool good = (isalpha((unsigned char)alias[0]) || alias[0] == '_') && strlen(alias) <= ALIAS_MAX;
	for (const char *p = alias; *p != '\0'; p++)
		good &= isalnum((unsigned char)*p) || *p == '_' || *p == '-';
	return good ? 0 : err_set(err, ERR_INVALID, "'%.100s' cannot name a service", alias);
}

static int add_services(struct job *j, struct containers *all, const json_t *services, struct err *err)
{
	const char *alias;
	json_t *value;
	if (services == NULL || json_is_null(services))
		return 0;
	if (!json_is_object(services))
		return err_set(err, ERR_INVALID, "services: a map is expected");
	if (json_object_size(services) >= CONTAINERS_MAX)
		return err_set(err, ERR_LIMIT, "the job asks for more than %d services", CONTAINERS_MAX - 1);
	json_object_foreach((json_t *)(uintptr_t)services, alias, value)
	{
		int r = check_alias(alias, err);
		if (r == 0)
			r = add(j, all, alias, value, err);
		if (r < 0)
			return err_wrap(err, r, "service '%.100s'", alias);
	}
	return 0;
}

static int eval(struct job *j, const char *member_name, json_t **ret, struct err *err)
{
	struct template_scope scope = step_value_scope(j);
	const json_t *token = wire_get(j->message, member_name);
	return template_is_null(token) ? 0 : template_eval(token, &scope, ret, err);
}

/* A host may want no step outside of a container. */
static int check_wanted(const struct job *j, struct err *err)
{
	if (containers_inside(j) ||
	    !wire_is_true(json_get_string(j->job_environ, "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER")))
		return 0;
	int r = err_set(err, ERR_REFUSED, "Jobs without a job container are forbidden on this runner");
	return err_hint(err, r, "add a 'container:' to the job, or ask who keeps this runner");
}

int containers_read(struct job *j, struct err *err)
{
	_cleanup_json_ json_t *own = NULL, *services = NULL;
	int r = eval(j, "jobContainer", &own, err);
	if (r < 0)
		return err_wrap(err, r, "the job's container");
	r = eval(j, "jobServiceContainers", &services, err);
	if (r < 0)
		return err_wrap(err, r, "the job's services");
	struct containers *all = xcalloc(1, sizeof(*all));
	all->all = xcalloc(json_is_object(services) ? json_object_size(services) + 1 : 1, sizeof(all->all[0]));
	if (own != NULL && !json_is_null(own))
		r = add(j, all, NULL, own, err);
	if (r < 0)
		err_wrap(err, r, "the job's container");
	all->inside = all->count > 0;
	if (r == 0)
		r = add_services(j, all, services, err);
	if (r < 0 || all->count == 0) {
		containers_free(all);
		return r < 0 ? r : check_wanted(j, err);
	}
	j->containers = all;
	return check_wanted(j, err);
}
