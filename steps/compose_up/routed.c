/* That a new container gets requests: told to the proxy in front by a command of the user's, or asked of it. */
#include "steps/compose_up/compose_up.h"
#include "base/core/clock.h"
#include "steps/common/command.h"

enum { PAUSE_MS = 300, HEALTHY_MS = 60000 };

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

/* The addresses of each container, a line each. */
static int ask_addresses(const struct docker *d, const struct strv *ids, struct target_result *said, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	str_append(&script, "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}'");
	for (size_t i = 0; i < ids->count; i++) {
		str_append_c(&script, ' ');
		str_append_shell(&script, ids->items[i]);
	}
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS};
	return docker_must(d, &call, said, err);
}

static void join(struct str *out, const struct strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		str_appendf(out, "%s%s", i > 0 ? " " : "", list->items[i]);
}

/* The first address of each. */
static void join_first(struct str *out, const char *lines)
{
	for (const char *at = lines; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
		_cleanup_free_ char *first = xstrndup(at, strcspn(at, " \n"));
		str_appendf(out, "%s%s", out->len > 0 ? " " : "", first);
	}
}

static int tell(const struct step_context *c, struct target *t, const struct compose_route *route,
                const char *addresses, struct err *err)
{
	_cleanup_(str_done) struct str names = STR_INIT(64 << 10), old = STR_INIT(64 << 10), first = STR_INIT(64 << 10);
	join(&names, &route->names);
	join(&old, &route->old);
	join_first(&first, addresses);
	struct field_pair pairs[] = {{"DAVIT_SERVICE", route->service},
	                             {"DAVIT_CONTAINER", str_peek(&names)},
	                             {"DAVIT_ADDRESS", str_peek(&first)},
	                             {"DAVIT_OLD", str_peek(&old)}};
	const struct field_map env = {pairs, ARRAY_SIZE(pairs)};
	return ask_routed(c, t, &env, err);
}

void compose_route_done(struct compose_route *route)
{
	strv_done(&route->names);
	strv_done(&route->ids);
	strv_done(&route->old);
}

int compose_route(const struct step_context *c, struct target *t, const struct docker *d,
                  const struct compose_route *route, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	if (in->routed == NULL && in->behind.count == 0)
		return 0;
	int r = ask_addresses(d, &route->ids, &said, err);
	if (r == 0 && in->routed != NULL)
		r = tell(c, t, route, str_peek(&said.out), err);
	if (r == 0 && in->behind.count > 0)
		r = compose_behind(c, t, route, str_peek(&said.out), err);
	return r;
}

/* ---- back ---- */

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
		    compose_why_alone(json_object_get(json_get_object(model, "services"), name)) == NULL)
			r = ask_routed(c, t, &env, err);
	}
	return r;
}

static void sort_out(const struct docker_containers *l, const json_t *about, const char *service,
                     struct compose_route *route, struct strv *still)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct docker_container *one = &l->items[i];
		if (strcmp(one->service, service) != 0)
			continue;
		if (!compose_is_former(about, one)) {
			strv_add(&route->old, one->name);
			continue;
		}
		strv_add(&route->ids, one->id);
		strv_add(&route->names, one->name);
		if (!one->up)
			strv_add(still, one->id);
	}
}

static int start_all(const struct docker *d, const struct strv *ids, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "docker start");
	for (size_t i = 0; i < ids->count; i++) {
		str_append_c(&script, ' ');
		str_append_shell(&script, ids->items[i]);
	}
	str_append(&script, " >/dev/null\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS, .changes = true};
	return ids->count > 0 ? docker_must(d, &call, &said, err) : 0;
}

/* No longer than it takes a service that was well before. */
static int wait_well(const struct step_context *c, const struct docker *d, const struct strv *ids, struct err *err)
{
	const struct compose_up_in *in = c->input;
	int64_t deadline = clock_mono_ms() + HEALTHY_MS;
	for (bool starting = true; starting && clock_mono_ms() < deadline;) {
		_cleanup_(docker_containers_done) struct docker_containers l = {0};
		int r = docker_project(d, in->project, &l, err);
		starting = false;
		for (size_t i = 0; r == 0 && i < l.count; i++)
			starting = starting ||
			           (strv_has(ids, l.items[i].id) && strcmp(l.items[i].health, "starting") == 0);
		if (r == 0 && starting)
			r = wait_ms(c->wait, PAUSE_MS, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int route_back_one(const struct step_context *c, struct target *t, const struct docker *d, const json_t *about,
                          const char *service, const struct docker_containers *l, struct err *err)
{
	_cleanup_(compose_route_done) struct compose_route route = {.service = service};
	_cleanup_(strv_done) struct strv still = {0};
	sort_out(l, about, service, &route, &still);
	if (route.ids.count == 0 || route.old.count == 0)
		return 0;
	int r = start_all(d, &still, err);
	if (r == 0)
		r = wait_well(c, d, &route.ids, err);
	return r == 0 ? compose_route(c, t, d, &route, err) : r;
}

int compose_route_back(const struct step_context *c, struct target *t, const struct docker *d, const json_t *model,
                       struct err *err)
{
	const struct compose_up_in *in = c->input;
	const json_t *about = json_get_object(model, "x-davit");
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	const char *name;
	json_t *one;
	if (in->strategy == COMPOSE_UP_STRATEGY_RECREATE)
		return 0;
	int r = docker_project(d, in->project, &l, err);
	json_object_foreach(json_get_object(about, "services"), name,
	                    one) if (r == 0 && json_get_int(one, "up", 0) > 0 &&
	                             compose_why_alone(json_object_get(json_get_object(model, "services"), name)) ==
	                                     NULL) r = route_back_one(c, t, d, about, name, &l, err);
	return r;
}
