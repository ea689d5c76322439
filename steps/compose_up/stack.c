/* The configuration is resolved where it lies, by the compose that will start it: invocations that only read, and a single one where it is the
 * same as the one that runs. */
#include "steps/compose_up/compose_up.h"
#include "base/core/shown.h"

enum { MOST_SERVICES = 200, NO_DIRECTORY = 90, NO_COMPOSE = 91 };

static const char mark[] = "\n--davit--\n"; /* no line of JSON is like it */

void compose_stack_done(struct compose_stack *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->services[i].name);
		free(s->services[i].image);
		free(s->services[i].hash);
		free(s->services[i].platform);
		free(s->services[i].container_name);
	}
	free(s->services);
	free(s->directory);
	json_decref(s->model);
	*s = (struct compose_stack){0};
}

const struct compose_service *compose_find(const struct compose_stack *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->services[i].name, name) == 0)
			return &s->services[i];
	return NULL;
}

struct docker compose_docker(const struct step_context *c, struct view *v, struct target *t)
{
	const struct compose_up_in *in = c->input;
	return (struct docker){
		.v = v,
		.t = t,
		.host = in->docker_host,
		.config = in->docker_config,
		.env = in->env.items,
		.env_count = in->env.count,
		.on_line = compose_show_lines,
		.context = (void *)(uintptr_t)c,
	};
}

void compose_words(struct str *out, const char *project)
{
	str_append(out, "docker compose --ansi never -p ");
	str_append_shell(out, project);
}

static void add_words(struct str *out, const char *option, const struct field_strings *list)
{
	for (size_t i = 0; i < list->count; i++) {
		str_appendf(out, " %s ", option);
		str_append_shell(out, list->items[i]);
	}
}

void compose_input_words(struct str *out, const struct compose_up_in *in)
{
	add_words(out, "-f", &in->files);
	add_words(out, "--env-file", &in->env_file);
	add_words(out, "--profile", &in->profiles);
}

/* ---- the services ---- */

static enum compose_pull pull_of(const struct compose_up_in *in, const char *policy, bool builds)
{
	if (in->pull != COMPOSE_UP_PULL_FILE)
		return in->pull == COMPOSE_UP_PULL_ALWAYS  ? COMPOSE_ALWAYS
		       : in->pull == COMPOSE_UP_PULL_NEVER ? COMPOSE_NEVER
		                                           : COMPOSE_MISSING;
	if (policy == NULL)
		return builds ? COMPOSE_NEVER : COMPOSE_MISSING;
	if (strcmp(policy, "never") == 0 || strcmp(policy, "build") == 0)
		return COMPOSE_NEVER;
	return strcmp(policy, "missing") == 0 || strcmp(policy, "if_not_present") == 0 ? COMPOSE_MISSING
	                                                                               : COMPOSE_ALWAYS;
}

static bool is_once(const struct compose_up_in *in, const json_t *services, const char *name)
{
	const char *other;
	json_t *service;
	for (size_t i = 0; i < in->once.count; i++)
		if (strcmp(in->once.items[i], name) == 0)
			return true;
	json_object_foreach((json_t *)(uintptr_t)services, other, service)
	{
		const json_t *need = json_get_object(json_get_object(service, "depends_on"), name);
		const char *condition = json_get_string(need, "condition");
		if (condition != NULL && strcmp(condition, "service_completed_successfully") == 0)
			return true;
	}
	return false;
}

static void add_service(struct compose_stack *s, const struct compose_up_in *in, const char *project, const char *name,
                        const json_t *from)
{
	struct compose_service *one = &s->services[s->count++];
	const char *image = json_get_string(from, "image"), *container = json_get_string(from, "container_name");
	bool builds = json_object_get(from, "build") != NULL;
	int64_t replicas = json_get_int(json_get_object(from, "deploy"), "replicas", json_get_int(from, "scale", 1));
	*one = (struct compose_service){
		.name = xstrdup(name),
		.image = image != NULL ? xstrdup(image) : xasprintf("%s-%s", project, name),
		.platform = xstrdup(json_get_string(from, "platform")),
		.container_name = xstrdup(container),
		.pull = pull_of(in, json_get_string(from, "pull_policy"), builds),
		.builds = builds,
		.once = is_once(in, json_get_object(s->model, "services"), name),
		.replicas = replicas,
	};
}

/* Their content is taken from variables when a container is made, and those are not kept: an undo could not make it again. */
static int check_inline(const json_t *model, struct err *err)
{
	static const char *const kinds[] = {"secrets", "configs"};
	const char *name;
	json_t *one;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		json_object_foreach(json_get_object(model, kinds[i]), name, one)
		{
			if (json_get_string(one, "environment") == NULL)
				continue;
			err_set(err, ERR_UNSUPPORTED,
			        "%s.%s takes its content from a variable, which compose-up does not support", kinds[i],
			        name);
			return err_hint(err, ERR_UNSUPPORTED, "write it with secret-write and give it as `file:`");
		}
	return 0;
}

static int read_services(const struct compose_up_in *in, struct compose_stack *s, struct err *err)
{
	const json_t *services = json_get_object(s->model, "services");
	const char *name;
	json_t *one;
	size_t count = json_object_size(services);
	if (count == 0)
		return err_set(err, ERR_REFUSED,
		               "no service is meant: all of them are behind profiles, or there are none");
	if (count > MOST_SERVICES)
		return err_set(err, ERR_LIMIT, "more than %d services", MOST_SERVICES);
	s->services = xcalloc(count, sizeof(*s->services));
	json_object_foreach((json_t *)(uintptr_t)services, name, one) add_service(s, in, in->project, name, one);
	for (size_t i = 0; i < in->once.count; i++)
		if (compose_find(s, in->once.items[i]) == NULL)
			return err_set(err, ERR_REFUSED, "`once` names '%s', and there is no such service",
			               in->once.items[i]);
	return check_inline(s->model, err);
}

int compose_hashes(const struct docker *d, const char *project, const json_t *model, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(COMPOSE_CONFIG_MAX), script = STR_INIT(4096);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_json_ json_t *hashes = json_object();
	if (!json_text_secret(model, &text))
		return err_set(err, ERR_LIMIT, "the configuration is too large");
	str_append(&script, "cd /\n");
	compose_words(&script, project);
	str_append(&script, " --project-directory / --profile '*' -f - config --hash '*'\n");
	const struct docker_call call = {
		.script = str_peek(&script), .input = text.data, .input_len = text.len, .timeout_ms = COMPOSE_LOOK_MS};
	int r = docker_must(d, &call, &said, err);
	for (const char *at = str_peek(&said.out); r == 0 && *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t name = strcspn(at, " \n");
		if (at[name] == ' ')
			json_object_setn_new(hashes, at, name,
			                     json_stringn(at + name + 1, strcspn(at + name + 1, "\n")));
	}
	if (r == 0)
		*ret = TAKE(hashes);
	return r;
}

/* known: NULL, or service → {"hash"} of the same configuration as it was started. */
static int take_hashes(const struct docker *d, const char *project, const json_t *known, struct compose_stack *s,
                       struct err *err)
{
	_cleanup_json_ json_t *hashes = NULL;
	int r = known == NULL ? compose_hashes(d, project, s->model, &hashes, err) : 0;
	for (size_t i = 0; r == 0 && i < s->count; i++) {
		const char *name = s->services[i].name;
		const char *hash = known != NULL ? json_get_string(json_object_get(known, name), "hash")
		                                 : json_get_string(hashes, name);
		if (hash == NULL)
			return err_set(err, ERR_PROTOCOL, "compose gives no hash of the service '%s'", name);
		s->services[i].hash = xstrdup(hash);
	}
	return r;
}

/* ---- asked of compose ---- */

static void make_script(const struct compose_up_in *in, bool raw, struct str *out)
{
	str_append(out, "cd -P -- ");
	str_append_shell(out, in->directory);
	str_append(out, " 2>/dev/null || exit 90\npwd -P\necho --davit--\n");
	compose_words(out, in->project);
	compose_input_words(out, in);
	str_append(
		out,
		raw ? " config --no-interpolate --format json 2>/dev/null\n"
		    : " config --format json || { s=$?; docker compose version >/dev/null 2>&1 || exit 91; exit $s; }\n");
}

static int say_refusal(const struct docker *d, const struct compose_up_in *in, const struct target_result *said,
                       struct err *err)
{
	if (said->status == NO_COMPOSE) {
		err_set(err, ERR_REFUSED, "'%s' has no Compose v2 (`docker compose`)", d->v->name);
		return err_hint(
			err, ERR_REFUSED,
			"install the plugin docker-compose there, 2.20 or later; docker-compose 1 is not taken");
	}
	if (said->status == NO_DIRECTORY)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is not a directory", in->directory, d->v->name);
	_cleanup_free_ char *line = docker_last_line(&said->err);
	return err_set(err, ERR_REFUSED, "the configuration in '%s' on '%s' is not right: %s", in->directory,
	               d->v->name, line);
}

static int refuse_variables(const struct docker *d, const struct compose_up_in *in, const struct strv *names,
                            struct err *err)
{
	_cleanup_(str_done) struct str list = STR_INIT(8192);
	for (size_t i = 0; i < names->count; i++)
		str_appendf(&list, "%s%s", i > 0 ? ", " : "", names->items[i]);
	err_set(err, ERR_REFUSED, "the configuration in '%s' on '%s': %s", in->directory, d->v->name, str_peek(&list));
	return err_hint(
		err, ERR_REFUSED,
		"give them by `env`, `env_file` or a default in the file (${NAME:-value}); name in `allow_empty` what may be empty");
}

/* *ret NULL: compose says no, in said. */
static int ask_config(const struct docker *d, const struct compose_up_in *in, bool raw, struct target_result *said,
                      char **ret_directory, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	said->out.wipe = said->err.wipe = true;
	make_script(in, raw, &script);
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS};
	int r = docker_ask(d, &call, said, err);
	const char *text = str_peek(&said->out), *from = r == 0 ? strstr(text, mark) : NULL;
	if (from == NULL)
		return r;
	*ret_directory = xstrndup(text, strcspn(text, "\n"));
	from += strlen(mark);
	if (said->status == 0 &&
	    json_parse(from, (size_t)(text + said->out.len - from), COMPOSE_CONFIG_MAX, ret, NULL) < 0)
		*ret = NULL;
	return 0;
}

/* What runs was started from the same, and its variables were looked at then. */
static bool is_known(const json_t *known, const struct compose_stack *s)
{
	const json_t *about = json_object_get(known, "x-davit"), *services = json_object_get(about, "services");
	const char *directory = json_get_string(about, "directory"), *name;
	json_t *one;
	if (s->model == NULL || directory == NULL || strcmp(directory, s->directory) != 0)
		return false;
	_cleanup_json_ json_t *plain = json_copy((json_t *)(uintptr_t)known);
	json_object_del(plain, "x-davit");
	json_object_foreach(json_get_object(s->model, "services"), name,
	                    one) if (json_object_get(services, name) == NULL) return false;
	return json_equal(plain, s->model);
}

static int look_at_variables(const struct step_context *c, const struct docker *d, const struct target_result *said,
                             const json_t *model, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(target_result_done) struct target_result raw_said = TARGET_RESULT_INIT;
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_free_ char *directory = NULL;
	_cleanup_json_ json_t *raw = NULL;
	int r = ask_config(d, in, true, &raw_said, &directory, &raw, err);
	if (r == 0)
		r = compose_variables(c, d, raw, str_peek(&said->err), model, &names, err);
	if (r == 0 && names.count > 0)
		r = refuse_variables(d, in, &names, err);
	return r;
}

int compose_known_stack(const struct compose_up_in *in, const json_t *known, struct compose_stack *ret)
{
	const json_t *about = json_get_object(known, "x-davit");
	_cleanup_(compose_stack_done) struct compose_stack s = {0};
	const char *directory = json_get_string(about, "directory");
	if (directory == NULL)
		return ERR_NOT_FOUND;
	s.directory = xstrdup(directory);
	s.model = json_copy((json_t *)(uintptr_t)known);
	json_object_del(s.model, "x-davit");
	int r = read_services(in, &s, NULL);
	if (r == 0)
		r = take_hashes(NULL, in->project, json_get_object(about, "services"), &s, NULL);
	if (r == 0) {
		*ret = s;
		s = (struct compose_stack){0};
	}
	return r;
}

int compose_is_resolved_as(const struct step_context *c, const struct docker *d, const struct compose_stack *s,
                           bool *ret, struct err *err)
{
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_free_ char *directory = NULL;
	_cleanup_json_ json_t *model = NULL, *plain = json_copy(s->model);
	int r = ask_config(d, c->input, false, &said, &directory, &model, err);
	json_object_del(plain, "x-davit");
	*ret = r == 0 && directory != NULL && strcmp(directory, s->directory) == 0 && model != NULL &&
	       json_equal(plain, model);
	return r;
}

int compose_resolve(const struct step_context *c, const struct docker *d, const json_t *known,
                    struct compose_stack *ret, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_(compose_stack_done) struct compose_stack s = {0};
	int r = ask_config(d, in, false, &said, &s.directory, &s.model, err);
	if (r < 0)
		return r;
	if (s.directory == NULL)
		return say_refusal(d, in, &said, err);
	bool same = is_known(known, &s);
	if (!same)
		r = look_at_variables(c, d, &said, s.model, err);
	if (r == 0 && s.model == NULL)
		r = say_refusal(d, in, &said, err);
	if (r == 0)
		r = read_services(in, &s, err);
	if (r == 0)
		r = take_hashes(d, in->project,
		                same ? json_get_object(json_get_object(known, "x-davit"), "services") : NULL, &s, err);
	if (r == 0) {
		*ret = s;
		s = (struct compose_stack){0};
	}
	return r;
}
