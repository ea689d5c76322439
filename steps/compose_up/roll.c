/* Replaces services without a gap. `rolling`: one container after the other, a new one beside an old one, until it is healthy and gets
 * requests; then the old one stops. `blue-green`: all new ones beside all old ones, until all are healthy; then the requests go to the new.
 * Everything is told from what stands there, so that it can be done again where it was interrupted. Compose makes the containers, and never
 * starts those of a service that rolls: it would run one-shot services once more each time. */
#include "steps/compose_up/compose_up.h"
#include "base/core/clock.h"

#include <inttypes.h>

enum { PAUSE_MS = 300, STEADY_LOOKS = 4, STOP_EXTRA_MS = 60000 };

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
		if (compose_needs_rolled(input_of(r), r->p, r->now, name))
			continue;
		str_append_c(&words, ' ');
		str_append_shell(&words, name);
		count++;
	}
	return count > 0 ? run_compose(r, &words, err) : 0;
}

/* ---- counts ---- */

static void count_containers(const struct roll *r, const struct compose_service *one, const struct docker_containers *l,
                             int64_t *ret_new, int64_t *ret_old)
{
	*ret_new = *ret_old = 0;
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].service, one->name) == 0)
			++*(compose_is_new(r->p, one, &l->items[i]) ? ret_new : ret_old);
}

/* As many as there are, former ones too, of it and of what it depends on where that rolls: compose would take some away. */
static void scale_words(const struct roll *r, const char *name, const struct docker_containers *l, int64_t more,
                        struct strv *seen, struct str *words)
{
	const struct compose_service *one = compose_find(&r->p->stack, name);
	const char *need;
	json_t *ignored;
	int64_t new, old;
	if (one == NULL || strv_has(seen, name))
		return;
	strv_add(seen, name);
	count_containers(r, one, l, &new, &old);
	if (more > 0 || compose_rolls_one(input_of(r), r->p, r->now, one)) {
		_cleanup_free_ char *scale =
			xasprintf("%s=%" PRId64, name, more > 0 ? old + more : MAX(new + old, one->replicas));
		str_append(words, " --scale ");
		str_append_shell(words, scale);
	}
	json_object_foreach(json_get_object(compose_service_json(&r->p->stack, name), "depends_on"), need, ignored)
		scale_words(r, need, l, 0, seen, words);
}

/* ---- what stands upon them ---- */

/* A service that depends on what rolled, and has not as many containers as it should. */
static bool lacks_above(const struct roll *r, const struct docker_containers *l)
{
	for (size_t i = 0; i < r->p->stack.count; i++) {
		const struct compose_service *one = &r->p->stack.services[i];
		int64_t new, old;
		count_containers(r, one, l, &new, &old);
		if (!compose_rolls_one(input_of(r), r->p, r->now, one) && new + old != one->replicas)
			return true;
	}
	return false;
}

static int make_above(const struct roll *r, const struct docker_containers *l, struct err *err)
{
	_cleanup_(str_done) struct str words = STR_INIT(64 << 10);
	_cleanup_(strv_done) struct strv seen = {0};
	if (r->p->standing.count == 0) {
		str_append(&words, " up --no-start --no-build --pull never --remove-orphans");
		return run_compose(r, &words, err);
	}
	if (!lacks_above(r, l))
		return 0;
	str_append(&words, " up --no-start --no-recreate --no-build --pull never");
	for (size_t i = 0; i < r->p->stack.count; i++)
		scale_words(r, r->p->stack.services[i].name, l, 0, &seen, &words);
	return run_compose(r, &words, err);
}

/* What is no longer in the file goes. */
static int remove_orphans(const struct roll *r, const struct docker_containers *l, struct err *err)
{
	_cleanup_(strv_done) struct strv orphans = {0};
	for (size_t i = 0; i < l->count; i++)
		if (compose_find(&r->p->stack, l->items[i].service) == NULL)
			strv_add(&orphans, l->items[i].id);
	return compose_remove_containers(r->d, input_of(r)->project, &orphans, input_of(r)->timeout_ms, err);
}

/* A proxy that differs itself for one. */
static int start_above(const struct roll *r, struct err *err)
{
	const struct compose_up_in *in = input_of(r);
	_cleanup_(docker_containers_done) struct docker_containers was = {0}, l = {0};
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	int result = docker_project(r->d, in->project, &was, err);
	if (result == 0)
		result = make_above(r, &was, err);
	if (result == 0)
		result = remove_orphans(r, &was, err);
	if (result == 0)
		result = docker_project(r->d, in->project, &l, err);
	for (size_t i = 0; i < l.count; i++) {
		const struct compose_service *one = compose_find(&r->p->stack, l.items[i].service);
		if (one == NULL || one->once || l.items[i].up || strv_has(&r->p->standing, l.items[i].id))
			continue;
		str_append(&script, "docker start ");
		str_append_shell(&script, l.items[i].id);
		str_append(&script, " >/dev/null || exit\n");
	}
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true};
	return result == 0 && script.len > 0 ? docker_must(r->d, &call, &said, err) : result;
}

/* The new containers of a service, standing still. */
static int make_new(const struct roll *r, const struct compose_service *one, struct err *err)
{
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(str_done) struct str words = STR_INIT(64 << 10);
	int64_t new, old;
	int result = docker_project(r->d, input_of(r)->project, &l, err);
	if (result < 0)
		return result;
	count_containers(r, one, &l, &new, &old);
	if (new >= one->replicas)
		return 0;
	_cleanup_(strv_done) struct strv seen = {0};
	str_append(&words, " up --no-start --no-recreate --no-build --pull never");
	scale_words(r, one->name, &l, one->replicas, &seen, &words);
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

static int wait_routed(const struct roll *r, const struct docker_container *new, const struct docker_container *old,
                       struct err *err)
{
	_cleanup_(compose_route_done) struct compose_route route = {.service = new->service};
	strv_add(&route.ids, new->id);
	strv_add(&route.names, new->name);
	if (old != NULL)
		strv_add(&route.old, old->name);
	return compose_route(r->c, r->t, r->d, &route, err);
}

/* A former one is kept, standing still, until the deployment is committed. */
static int retire(const struct roll *r, const struct docker_container *old, struct err *err)
{
	int result = old->up ? run_docker(r, "stop", old->id, err) : 0;
	return result == 0 && !strv_has(&r->p->standing, old->id) ? run_docker(r, "rm", old->id, err) : result;
}

static int raise(const struct roll *r, const struct docker_container *new, struct err *err)
{
	int result = new->up ? 0 : run_docker(r, "start", new->id, err);
	return result == 0 ? wait_healthy(r, new, err) : result;
}

static int replace(const struct roll *r, const struct docker_container *new, const struct docker_container *old,
                   struct err *err)
{
	int result = raise(r, new, err);
	if (result == 0)
		result = wait_routed(r, new, old, err);
	if (result == 0 && old != NULL)
		result = wait_ms(r->c->wait, input_of(r)->drain_ms, err);
	if (result == 0 && old != NULL)
		result = retire(r, old, err);
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
		if (strcmp(l->items[*at].service, one->name) == 0 && compose_is_new(r->p, one, &l->items[*at]) == new)
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
	while (result == 0 && (old = next_of(r, one, &l, false, &at_old)) != NULL)
		result = retire(r, old, err);
	return result < 0 ? err_wrap(err, result, "roll '%s'", one->name) : 0;
}

/* ---- blue-green ---- */

/* All new ones of a service, beside all old ones. */
static int raise_service(const struct roll *r, const struct compose_service *one, struct err *err)
{
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	int result = make_new(r, one, err);
	if (result == 0)
		result = docker_project(r->d, input_of(r)->project, &l, err);
	const struct docker_container *new;
	for (size_t at = 0; result == 0 && (new = next_of(r, one, &l, true, &at)) != NULL;)
		result = raise(r, new, err);
	return result < 0 ? err_wrap(err, result, "start the new '%s' beside the old", one->name) : 0;
}

static int switch_service(const struct roll *r, const struct compose_service *one, struct err *err)
{
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(compose_route_done) struct compose_route route = {.service = one->name};
	int result = docker_project(r->d, input_of(r)->project, &l, err);
	for (size_t i = 0; result == 0 && i < l.count; i++) {
		bool new = compose_is_new(r->p, one, &l.items[i]);
		if (strcmp(l.items[i].service, one->name) != 0)
			continue;
		strv_add(new ? &route.names : &route.old, l.items[i].name);
		if (new)
			strv_add(&route.ids, l.items[i].id);
	}
	if (result == 0)
		result = compose_route(r->c, r->t, r->d, &route, err);
	if (result == 0)
		r->c->report(r->c->engine, "%s: %zu new beside %zu former ones, which stand until the commit",
		             one->name, route.names.count, route.old.count);
	return result < 0 ? err_wrap(err, result, "switch '%s' to the new", one->name) : 0;
}

/* ---- all ---- */

/* Each service after those that it depends on. */
static void order(const struct roll *r, struct strv *ret)
{
	for (size_t before = SIZE_MAX; before != ret->count;) {
		before = ret->count;
		for (size_t i = 0; i < r->p->stack.count; i++) {
			const struct compose_service *one = &r->p->stack.services[i];
			const char *need;
			json_t *ignored;
			bool waits = strv_has(ret, one->name) || !compose_rolls_one(input_of(r), r->p, r->now, one);
			json_object_foreach(
				json_get_object(compose_service_json(&r->p->stack, one->name), "depends_on"), need,
				ignored) waits = waits || (compose_needs_rolled(input_of(r), r->p, r->now, need) &&
			                                   !strv_has(ret, need));
			if (!waits)
				strv_add(ret, one->name);
		}
	}
}

static int roll_all(const struct roll *r, struct err *err)
{
	bool both = input_of(r)->strategy == COMPOSE_UP_STRATEGY_BLUE_GREEN;
	_cleanup_(strv_done) struct strv names = {0};
	int result = 0;
	order(r, &names);
	for (size_t i = 0; result == 0 && i < names.count; i++)
		result = (both ? raise_service : roll_service)(r, compose_find(&r->p->stack, names.items[i]), err);
	for (size_t i = 0; both && result == 0 && i < names.count; i++)
		result = switch_service(r, compose_find(&r->p->stack, names.items[i]), err);
	return result;
}

int compose_roll(const struct step_context *c, struct target *t, const struct docker *d,
                 const struct compose_payload *p, const struct docker_containers *now, const char *file,
                 struct err *err)
{
	const struct compose_up_in *in = c->input;
	const struct roll roll = {.c = c, .t = t, .d = d, .p = p, .file = file, .now = now};
	int r = start_below(&roll, err);
	if (r == 0)
		r = roll_all(&roll, err);
	if (r == 0)
		r = start_above(&roll, err);
	if (r == ERR_FAILED)
		compose_tell_troubles(c, d, &p->stack);
	return r < 0 ? err_wrap(err, r, "replace '%s' on '%s'", in->project, d->v->name) : 0;
}
