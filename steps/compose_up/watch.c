/* Whether what was started works, from the engine itself: `up --wait` calls a service healthy that dies and comes back once a second. A
 * service is well when it runs, is not starting or unhealthy, and has not been restarted for the settling time. */
#include "steps/compose_up/compose_up.h"
#include "base/core/clock.h"

#include <inttypes.h>

enum { PAUSE_MS = 500, MOST_RESTARTS = 2, LAST_LINES = 20, MOST_TOLD = 8 };

enum wellness { WELL, NOT_YET, LOST };
struct watch {
	const struct step_context *c;
	const struct docker *d;
	const struct compose_stack *s;
	const struct strv *standing;
	json_t *seen;       /* container → {"restarts","started"} when it was first seen well or starting */
	int64_t well_since; /* 0: not yet */
	struct str why;     /* what is not well */
};

static bool is_once(const struct compose_stack *s, const char *service)
{
	const struct compose_service *one = compose_find(s, service);
	return one != NULL && one->once;
}

/* Restarts since it was first looked at; true in *ret_new where it has started anew since the last time. */
static int64_t restarts_of(struct watch *w, const struct docker_container *c, bool *ret_new)
{
	json_t *seen = json_object_get(w->seen, c->id);
	*ret_new = false;
	if (seen == NULL) {
		seen = json_pack("{s:I,s:s}", "restarts", (json_int_t)c->restarts, "started", c->started);
		json_object_set_new(w->seen, c->id, seen);
		/* A container that was made by this deployment begins at none. */
		if (c->restarts > 0)
			*ret_new = true;
	}
	if (strcmp(json_get_string(seen, "started"), c->started) != 0) {
		*ret_new = true;
		json_object_set_new(seen, "started", json_string(c->started));
	}
	return c->restarts - json_get_int(seen, "restarts", 0);
}

static enum wellness judge_once(struct watch *w, const struct docker_container *c)
{
	if (!c->ended) {
		str_appendf(&w->why, "%s%s has not ended", w->why.len > 0 ? ", " : "", c->service);
		return NOT_YET;
	}
	if (c->exit_code == 0)
		return WELL;
	str_clear(&w->why);
	str_appendf(&w->why, "%s exited with %" PRId64, c->service, c->exit_code);
	return LOST;
}

static enum wellness judge(struct watch *w, const struct docker_container *c)
{
	bool anew;
	if (is_once(w->s, c->service))
		return judge_once(w, c);
	int64_t restarts = restarts_of(w, c, &anew);
	const char *lost = restarts >= MOST_RESTARTS             ? "is restarted again and again"
	                   : strcmp(c->health, "unhealthy") == 0 ? "is unhealthy"
	                   : c->ended && c->killed_by_memory     ? "was killed: out of memory"
	                   : c->ended                            ? "has ended"
	                                                         : NULL;
	if (lost != NULL) {
		str_clear(&w->why);
		str_appendf(&w->why, "%s %s", c->service, lost);
		if (strcmp(c->state, "running") != 0)
			str_appendf(&w->why, " (exit status %" PRId64 ")", c->exit_code);
		return LOST;
	}
	bool running = strcmp(c->state, "running") == 0;
	if (running && !anew && strcmp(c->health, "starting") != 0)
		return WELL;
	str_appendf(&w->why, "%s%s is %s", w->why.len > 0 ? ", " : "", c->service, running ? "starting" : c->state);
	return NOT_YET;
}

static enum wellness judge_counts(struct watch *w, const struct docker_containers *l)
{
	enum wellness all = WELL;
	for (size_t i = 0; i < w->s->count; i++) {
		const struct compose_service *one = &w->s->services[i];
		int64_t there = 0;
		for (size_t k = 0; k < l->count; k++)
			there += strcmp(l->items[k].service, one->name) == 0;
		if (there >= one->replicas)
			continue;
		str_appendf(&w->why, "%s%s has %" PRId64 " of %" PRId64 " containers", w->why.len > 0 ? ", " : "",
		            one->name, there, one->replicas);
		all = NOT_YET;
	}
	return all;
}

static int look(struct watch *w, enum wellness *ret, struct err *err)
{
	const struct compose_up_in *in = w->c->input;
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	int r = docker_project(w->d, in->project, &l, err);
	if (r < 0)
		return r;
	str_clear(&w->why);
	*ret = judge_counts(w, &l);
	for (size_t i = 0; i < l.count && *ret != LOST; i++)
		if (!strv_has(w->standing, l.items[i].id)) {
			enum wellness one = judge(w, &l.items[i]);
			*ret = MAX(*ret, one);
		}
	return 0;
}

static int fail(struct watch *w, struct err *err)
{
	const struct compose_up_in *in = w->c->input;
	compose_tell_troubles(w->c, w->d, w->s);
	return err_set(err, ERR_FAILED, "'%s' on '%s' does not work: %s", in->project, w->d->v->name,
	               str_peek(&w->why));
}

static int watch(struct watch *w, struct err *err)
{
	const struct compose_up_in *in = w->c->input;
	int64_t deadline = clock_mono_ms() + in->timeout_ms;
	for (;;) {
		enum wellness now = NOT_YET;
		int r = look(w, &now, err);
		if (r < 0)
			return r;
		if (now == LOST)
			return fail(w, err);
		int64_t at = clock_mono_ms();
		w->well_since = now == WELL ? (w->well_since > 0 ? w->well_since : at) : 0;
		if (now == WELL && at - w->well_since >= in->settle_ms)
			return 0;
		if (now != WELL && at >= deadline)
			return fail(w, err);
		r = wait_ms(w->c->wait, PAUSE_MS, err);
		if (r < 0)
			return r;
	}
}

int compose_watch(const struct step_context *c, const struct docker *d, const struct compose_payload *p,
                  struct err *err)
{
	struct watch w = {
		.c = c, .d = d, .s = &p->stack, .standing = &p->standing, .seen = json_object(), .why = STR_INIT(2048)};
	const struct compose_up_in *in = c->input;
	char took[CLOCK_TEXT_SIZE];
	c->report(c->engine, "watching '%s' until all of it is well for %s", in->project,
	          clock_duration(in->settle_ms, took));
	int r = watch(&w, err);
	json_decref(w.seen);
	str_done(&w.why);
	return r;
}

/* ---- the last lines ---- */

static bool is_in_trouble(const struct compose_stack *s, const struct docker_container *c)
{
	bool once = is_once(s, c->service);
	if (strcmp(c->state, "restarting") == 0 || strcmp(c->health, "unhealthy") == 0 || c->restarts > 0)
		return true;
	return once ? c->ended && c->exit_code != 0
	            : strcmp(c->state, "running") != 0 || strcmp(c->health, "starting") == 0;
}

static void tell(const struct step_context *c, const struct docker *d, const struct docker_container *one)
{
	_cleanup_(strv_done) struct strv lines = {0};
	if (docker_logs(d, one->id, LAST_LINES, &lines, NULL) < 0)
		return;
	c->report(c->engine,
	          "%s (%s) %s%s%s, exit status %" PRId64 ", %" PRId64 " restarts; its last lines:", one->service,
	          one->name, one->state, *one->health != '\0' ? ", " : "", one->health, one->exit_code, one->restarts);
	for (size_t i = 0; i < lines.count; i++)
		c->report(c->engine, "  | %s", lines.items[i]);
	if (lines.count == 0)
		c->report(c->engine, "  (it has written nothing)");
}

void compose_tell_troubles(const struct step_context *c, const struct docker *d, const struct compose_stack *s)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	int told = 0;
	if (docker_project(d, in->project, &l, NULL) < 0)
		return;
	for (size_t i = 0; i < l.count && told < MOST_TOLD; i++)
		if (is_in_trouble(s, &l.items[i])) {
			tell(c, d, &l.items[i]);
			told++;
		}
}
