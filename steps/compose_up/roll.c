/* Replaces services one container after the other: a new one beside an old one, until it is healthy and gets requests; then the old one goes.
 * Everything is told from what stands there, so that it can be done again where it was interrupted. Compose makes the containers, and never
 * starts those of a service that rolls: it would run one-shot services once more each time. */
#include "steps/compose_up/compose_up.h"
#include "base/core/clock.h"
#include "steps/common/command.h"

#include <inttypes.h>

enum { PAUSE_MS = 300, STEADY_LOOKS = 4, MOST_DEPTH = 50, STOP_EXTRA_MS = 60000 };

struct roll {
	const struct step_context *c;
	struct target *t;
	const struct docker *d;
	const struct compose_payload *p;
	const char *file;
	const struct docker_containers *now; /* as it began */
};

static const struct compose_up_in *input_of(const struct roll *r)
{
	return r->c->input;
}

/* ---- which ---- */

static const json_t *service_json(const struct compose_stack *s, const char *name)
{
	return json_object_get(json_get_object(s->model, "services"), name);
}

/* NULL: it can. */
static const char *why_never(const json_t *service)
{
	const json_t *ports = json_get_array(service, "ports");
	for (size_t i = 0; i < json_array_size(ports); i++) {
		const char *published = json_get_string(json_array_get(ports, i), "published");
		if (published != NULL && *published != '\0' && strcmp(published, "0") != 0)
			return "publishes a port of the host";
	}
	if (json_get_string(service, "container_name") != NULL)
		return "has a `container_name`";
	return json_get_string(service, "network_mode") != NULL ? "has the network of another (`network_mode`)" : NULL;
}

static bool writes_to_volumes(const json_t *service)
{
	const json_t *volumes = json_get_array(service, "volumes");
	for (size_t i = 0; i < json_array_size(volumes); i++) {
		const json_t *one = json_array_get(volumes, i);
		const char *type = json_get_string(one, "type");
		if (!json_get_bool(one, "read_only", false) && (type == NULL || strcmp(type, "tmpfs") != 0))
			return true;
	}
	return false;
}

static bool may_roll(const struct compose_up_in *in, const struct compose_stack *s, const struct compose_service *one)
{
	const json_t *service = service_json(s, one->name);
	if (in->strategy != COMPOSE_UP_STRATEGY_ROLLING || one->once || why_never(service) != NULL)
		return false;
	for (size_t i = 0; i < in->roll.count; i++)
		if (strcmp(in->roll.items[i], one->name) == 0)
			return true;
	return in->roll.count == 0 && !writes_to_volumes(service);
}

void compose_roll_faults(const struct compose_up_in *in, const struct compose_stack *s, struct strv *faults)
{
	for (size_t i = 0; i < in->roll.count; i++) {
		const struct compose_service *one = compose_find(s, in->roll.items[i]);
		const char *why = one == NULL ? "is not a service"
		                  : one->once ? "runs to its end"
		                              : why_never(service_json(s, one->name));
		if (why != NULL)
			strv_addf(faults, "'%s' cannot roll: it %s", in->roll.items[i], why);
	}
}

static bool is_new(const struct compose_payload *p, const struct compose_service *one, const struct docker_container *c)
{
	const char *id = json_get_string(json_object_get(p->images, one->name), "id");
	return strcmp(c->service, one->name) == 0 && strcmp(c->hash, one->hash) == 0 && id != NULL &&
	       strcmp(c->image, id) == 0;
}

/* An old container of it runs, so that there is something to keep going. */
static bool rolls(const struct compose_up_in *in, const struct compose_payload *p, const struct docker_containers *now,
                  const struct compose_service *one)
{
	for (size_t i = 0; may_roll(in, &p->stack, one) && i < now->count; i++)
		if (strcmp(now->items[i].service, one->name) == 0 && now->items[i].up &&
		    !is_new(p, one, &now->items[i]))
			return true;
	return false;
}

bool compose_rolls(const struct step_context *c, const struct compose_payload *p, const struct docker_containers *now)
{
	for (size_t i = 0; i < p->stack.count; i++)
		if (rolls(c->input, p, now, &p->stack.services[i]))
			return true;
	return false;
}

/* It, or something that it depends on. */
static bool needs_rolled(const struct roll *r, const char *name, int depth)
{
	const struct compose_service *one = compose_find(&r->p->stack, name);
	const char *need;
	json_t *ignored;
	if (one == NULL || depth > MOST_DEPTH)
		return false;
	if (rolls(input_of(r), r->p, r->now, one))
		return true;
	json_object_foreach(json_get_object(service_json(&r->p->stack, name), "depends_on"), need,
	                    ignored) if (needs_rolled(r, need, depth + 1)) return true;
	return false;
}

/* ---- by compose ---- */

static int run_compose(const struct roll *r, const struct str *words, struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "cd /\n");
	compose_tidy(&script, in->project);
	compose_file_words(&script, in, &r->p->stack, r->file);
	str_append(&script, str_peek(words));
	str_append_c(&script, '\n');
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true, .loud = true};
	int result = docker_must(r->d, &call, &said, err);
	if (result == ERR_TIMEOUT && err != NULL)
		err->code = result = ERR_FAILED;
	return result;
}

/* Databases, migrations, and whatever else the services that roll stand upon. */
static int start_below(const struct roll *r, struct err *err)
{
	_cleanup_(str_done) struct str words = STR_INIT(16384);
	size_t count = 0;
	str_append(&words, " up --detach --no-build --pull never");
	for (size_t i = 0; i < r->p->stack.count; i++) {
		const char *name = r->p->stack.services[i].name;
		if (needs_rolled(r, name, 0))
			continue;
		str_append_c(&words, ' ');
		str_append_shell(&words, name);
		count++;
	}
	return count > 0 ? run_compose(r, &words, err) : 0;
}

/* What stands upon them, a proxy that differs itself for one; and what is no longer in the file goes. */
static int start_above(const struct roll *r, struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(str_done) struct str words = STR_INIT(1024), script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&words, " up --no-start --no-build --pull never --remove-orphans");
	int result = run_compose(r, &words, err);
	if (result == 0)
		result = docker_project(r->d, in->project, &l, err);
	for (size_t i = 0; i < l.count; i++) {
		const struct compose_service *one = compose_find(&r->p->stack, l.items[i].service);
		if (one == NULL || one->once || l.items[i].up)
			continue;
		str_append(&script, "docker start ");
		str_append_shell(&script, l.items[i].id);
		str_append(&script, " >/dev/null || exit\n");
	}
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true};
	return result == 0 && script.len > 0 ? docker_must(r->d, &call, &said, err) : result;
}

static void count_containers(const struct roll *r, const struct compose_service *one, const struct docker_containers *l,
                             int64_t *ret_new, int64_t *ret_old)
{
	*ret_new = *ret_old = 0;
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].service, one->name) == 0)
			++*(is_new(r->p, one, &l->items[i]) ? ret_new : ret_old);
}

/* The new containers of a service, standing still. */
static int make_new(const struct roll *r, const struct compose_service *one, struct err *err)
{
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(str_done) struct str words = STR_INIT(4096);
	int64_t new, old;
	int result = docker_project(r->d, input_of(r)->project, &l, err);
	if (result < 0)
		return result;
	count_containers(r, one, &l, &new, &old);
	if (new >= one->replicas)
		return 0;
	_cleanup_free_ char *scale = xasprintf("%s=%" PRId64, one->name, old + one->replicas);
	str_append(&words, " up --no-start --no-recreate --no-build --pull never --scale ");
	str_append_shell(&words, scale);
	str_append_c(&words, ' ');
	str_append_shell(&words, one->name);
	return run_compose(r, &words, err);
}

/* ---- one container ---- */

static int run_docker(const struct roll *r, const char *verb, const char *id, struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	_cleanup_(str_done) struct str script = STR_INIT(1024);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_appendf(&script, "docker %s ", verb);
	str_append_shell(&script, id);
	str_append(&script, " >/dev/null\n");
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = in->timeout_ms + STOP_EXTRA_MS, .changes = true};
	return docker_must(r->d, &call, &said, err);
}

static const struct docker_container *find_id(const struct docker_containers *l, const char *id)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].id, id) == 0)
			return &l->items[i];
	return NULL;
}

/* Healthy, or without a check running steadily. */
static int wait_healthy(const struct roll *r, const struct docker_container *new, struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	int64_t deadline = clock_mono_ms() + in->timeout_ms;
	for (int steady = 0; steady < STEADY_LOOKS;) {
		_cleanup_(docker_containers_done) struct docker_containers l = {0};
		int result = docker_project(r->d, in->project, &l, err);
		if (result < 0)
			return result;
		const struct docker_container *c = find_id(&l, new->id);
		bool lost = c == NULL || c->ended || c->restarts > 0 || strcmp(c->health, "unhealthy") == 0;
		if (lost || clock_mono_ms() >= deadline)
			return err_set(err, ERR_FAILED, "the new container of '%s' %s", new->service,
			               c == NULL                             ? "is gone"
			               : strcmp(c->health, "unhealthy") == 0 ? "is unhealthy"
			               : lost                                ? "does not stay up"
			                                                     : "did not become healthy in time");
		bool running = strcmp(c->state, "running") == 0;
		if (running && strcmp(c->health, "healthy") == 0)
			return 0;
		steady = running && *c->health == '\0' ? steady + 1 : 0;
		result = wait_ms(r->c->wait, PAUSE_MS, err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int ask_routed(const struct step_context *c, struct target *t, const struct field_map *env, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct step_command command = step_command_read(in->routed, &arena);
	struct step_run_options o = {.env = env, .timeout_ms = in->timeout_ms};
	int64_t deadline = clock_mono_ms() + in->timeout_ms;
	for (;;) {
		int r = step_command_run(c, t, &command, &o, err);
		if (r != ERR_FAILED || clock_mono_ms() >= deadline)
			return r < 0 ? err_wrap(err, r, "`routed`") : 0;
		err_clear(err);
		r = wait_ms(c->wait, PAUSE_MS, err);
		if (r < 0)
			return r;
	}
}

static int address_of(const struct roll *r, const char *id, char **ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(1024);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' ");
	str_append_shell(&script, id);
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS};
	int result = docker_must(r->d, &call, &said, err);
	if (result == 0)
		*ret = xstrndup(str_peek(&said.out), strcspn(str_peek(&said.out), " \n"));
	return result;
}

static int wait_routed(const struct roll *r, const struct docker_container *new, const struct docker_container *old,
                       struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	_cleanup_free_ char *address = NULL;
	if (in->routed == NULL)
		return 0;
	int result = address_of(r, new->id, &address, err);
	if (result < 0)
		return result;
	struct field_pair pairs[] = {{"DAVIT_SERVICE", new->service},
	                             {"DAVIT_CONTAINER", new->name},
	                             {"DAVIT_ADDRESS", address},
	                             {"DAVIT_OLD", old != NULL ? old->name : ""}};
	const struct field_map env = {pairs, ARRAY_SIZE(pairs)};
	return ask_routed(r->c, r->t, &env, err);
}

static int replace(const struct roll *r, const struct docker_container *new, const struct docker_container *old,
                   struct err *err)
{
	int result = new->up ? 0 : run_docker(r, "start", new->id, err);
	if (result == 0)
		result = wait_healthy(r, new, err);
	if (result == 0)
		result = wait_routed(r, new, old, err);
	if (result == 0 && old != NULL)
		result = wait_ms(r->c->wait, input_of(r)->drain_ms, err);
	if (result == 0 && old != NULL)
		result = run_docker(r, "stop", old->id, err);
	if (result == 0 && old != NULL)
		result = run_docker(r, "rm", old->id, err);
	if (result == 0)
		r->c->report(r->c->engine, "%s: %s runs%s%s", new->service, new->name,
		             old != NULL ? " in place of " : "", old != NULL ? old->name : "");
	return result;
}

/* The next one of a service that is new, or old; NULL: none. */
static const struct docker_container *next_of(const struct roll *r, const struct compose_service *one,
                                              const struct docker_containers *l, bool new, size_t *at)
{
	for (; *at < l->count; ++*at)
		if (strcmp(l->items[*at].service, one->name) == 0 && is_new(r->p, one, &l->items[*at]) == new)
			return &l->items[(*at)++];
	return NULL;
}

static int roll_service(const struct roll *r, const struct compose_service *one, struct err *err)
{
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	size_t at_new = 0, at_old = 0;
	int result = make_new(r, one, err);
	if (result == 0)
		result = docker_project(r->d, input_of(r)->project, &l, err);
	const struct docker_container *new, *old = NULL;
	while (result == 0 && (new = next_of(r, one, &l, true, &at_new)) != NULL) {
		old = next_of(r, one, &l, false, &at_old);
		result = replace(r, new, old, err);
	}
	/* There were more than are wanted. */
	while (result == 0 && (old = next_of(r, one, &l, false, &at_old)) != NULL) {
		result = run_docker(r, "stop", old->id, err);
		if (result == 0)
			result = run_docker(r, "rm", old->id, err);
	}
	return result < 0 ? err_wrap(err, result, "roll '%s'", one->name) : 0;
}

/* A service after those that it depends on. */
static int roll_all(const struct roll *r, struct err *err)
{
	_cleanup_(strv_done) struct strv done = {0};
	for (size_t before = SIZE_MAX; before != done.count;) {
		before = done.count;
		for (size_t i = 0; i < r->p->stack.count; i++) {
			const struct compose_service *one = &r->p->stack.services[i];
			const char *need;
			json_t *ignored;
			bool waits = strv_has(&done, one->name) || !rolls(input_of(r), r->p, r->now, one);
			json_object_foreach(json_get_object(service_json(&r->p->stack, one->name), "depends_on"), need,
			                    ignored) waits =
				waits || (needs_rolled(r, need, 0) && !strv_has(&done, need));
			if (waits)
				continue;
			int result = roll_service(r, one, err);
			if (result < 0)
				return result;
			strv_add(&done, one->name);
		}
	}
	return 0;
}

int compose_roll(const struct step_context *c, struct target *t, const struct docker *d,
                 const struct compose_payload *p, const char *file, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(docker_containers_done) struct docker_containers now = {0};
	int r = docker_project(d, in->project, &now, err);
	const struct roll roll = {.c = c, .t = t, .d = d, .p = p, .file = file, .now = &now};
	if (r == 0)
		r = start_below(&roll, err);
	if (r == 0)
		r = roll_all(&roll, err);
	if (r == 0)
		r = start_above(&roll, err);
	if (r == ERR_FAILED)
		compose_tell_troubles(c, d, &p->stack);
	return r < 0 ? err_wrap(err, r, "replace '%s' on '%s'", in->project, d->v->name) : 0;
}

int compose_routed_again(const struct step_context *c, struct target *t, const json_t *model, struct err *err)
{
	const struct compose_up_in *in = c->input;
	const char *name;
	json_t *one;
	int r = 0;
	if (in->routed == NULL)
		return 0;
	json_object_foreach(json_get_object(json_get_object(model, "x-davit"), "services"), name, one)
	{
		struct field_pair pairs[] = {
			{"DAVIT_SERVICE", name}, {"DAVIT_CONTAINER", ""}, {"DAVIT_ADDRESS", ""}, {"DAVIT_OLD", ""}};
		const struct field_map env = {pairs, ARRAY_SIZE(pairs)};
		if (r == 0 && json_get_int(one, "up", 0) > 0 &&
		    why_never(json_object_get(json_get_object(model, "services"), name)) == NULL)
			r = ask_routed(c, t, &env, err);
	}
	return r;
}
