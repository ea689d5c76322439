/* What steps other than archive-upload know of a way back from a committed deployment (step_type.back). Their changes belong to the one step
 * of the rollback, so that recovery, another machine and an undo treat them as its switches; each names the step that it leads back in
 * extra.of = {"place","step","change"}, and that step makes it, looks at it and takes it back. */
#include "engine/run/run_priv.h"

#include <string.h>

/* ---- whose change it is ---- */

static struct estep *find_step(struct engine *e, int64_t place, const char *name)
{
	for (size_t i = 0; name && i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		if (s->place == place && s->type->back && strcmp(s->type->info->name, name) == 0)
			return s;
	}
	return NULL;
}

static struct estep *find_led(struct engine *e, const struct change *c)
{
	const json_t *of = json_object_get(c->extra, "of");
	return find_step(e, json_get_int(of, "place", -1), json_get_string(of, "step"));
}

struct estep *engine_maker(struct engine *e, struct estep *s, const struct change *c)
{
	struct estep *led = s && s->type == &engine_way_back ? find_led(e, c) : NULL;
	return led ? led : s;
}

static bool is_on(const struct estep *s, const char *target)
{
	for (size_t i = 0; i < s->target_count; i++)
		if (strcmp(s->etargets[i]->name, target) == 0)
			return true;
	return false;
}

/* ---- what there is to lead back ---- */

bool engine_keeps_data(const struct estep *s)
{
	const char *aside = s->type->info->aside;
	return s->type->info->data || (aside && json_object_get(s->input, aside));
}

/* Of a rollback that is rolled back itself: the step that its change led back. */
static struct estep *step_of(struct engine *e, const struct change *c)
{
	bool by_rollback = c->step && strcmp(c->step, engine_way_back.info->name) == 0;
	struct estep *s = by_rollback ? find_led(e, c) : find_step(e, c->step_index, c->step);
	if (s == NULL || !is_on(s, c->target))
		return NULL;
	if (s->type->back_aside && !target_is_host(engine_target(e, c->target)->t))
		return e->o->data && (by_rollback || change_has(c, CHANGE_ASIDE)) ? s : NULL;
	return !s->type->info->data || e->o->data ? s : NULL;
}

bool engine_leads_back(struct engine *e, const struct change *c)
{
	return step_of(e, c) != NULL;
}

json_t *engine_back_formers(struct engine *e, const struct plan *changes)
{
	json_t *formers = json_array();
	for (size_t i = changes->count; i-- > 0;) {
		const struct change *c = &changes->changes[i];
		const struct estep *s = c->state == CHANGE_UNDONE ? NULL : step_of(e, c);
		if (s)
			json_array_append_new(formers, json_pack("{s:i, s:s, s:o}", "place", s->place, "step",
			                                         s->type->info->name, "record", change_record(c)));
	}
	return formers;
}

bool engine_led_back(struct engine *e, const struct estep *s)
{
	const struct estep *way_back = engine_way_back_of(e);
	return way_back && ((s->type->back && json_object_get(way_back->input, "formers")) || s->type->back_to);
}

/* ---- planned ---- */

static void add_stay(struct engine *e, const struct change *c, const char *step, const struct err *why)
{
	char line[ERR_FRAME_SIZE];
	_cleanup_free_ char *text =
		xasprintf("%s:%s (%s): %s", c->target, c->path, step, err_line(why, line, sizeof(line)));
	engine_add_stay(e, text);
}

static void name_maker(struct change *c, const struct estep *s, int64_t former)
{
	if (c->extra == NULL)
		c->extra = json_object();
	json_object_set_new(c->extra, "of",
	                    json_pack("{s:i, s:s, s:I}", "place", s->place, "step", s->type->info->name, "change",
	                              (json_int_t)former));
}

static int plan_one(struct engine *e, struct view *v, const json_t *one, struct plan *plan, struct err *err)
{
	_cleanup_(change_done) struct change former = {0};
	struct err own = ERR_INIT;
	int r = change_from_record(json_object_get(one, "record"), &former, err);
	if (r < 0 || strcmp(former.target, v->name) != 0)
		return r;
	const struct estep *s = find_step(e, json_get_int(one, "place", -1), json_get_string(one, "step"));
	if (s == NULL)
		return err_set(err, ERR_INVALID, "the step that '%s' is of is not named any more", former.path);
	size_t before = plan->count;
	r = s->type->back(&s->context, v, &former, e->o->force, plan, &own);
	for (size_t i = before; i < plan->count; i++)
		name_maker(&plan->changes[i], s, former.id);
	if (r == ERR_UNSUPPORTED) {
		add_stay(e, &former, s->type->info->name, &own);
		return 0;
	}
	if (r < 0 && err)
		*err = own;
	return r < 0 ? err_wrap(err, r, "the way back of %s", s->display) : 0;
}

/* A release was named, not a deployment: the last step's first, as an undo does. */
static int plan_to(struct engine *e, struct view *v, const char *release, struct plan *plan, struct err *err)
{
	int r = 0;
	for (size_t i = e->step_count; r == 0 && i-- > 0;) {
		const struct estep *s = &e->steps[i];
		size_t before = plan->count;
		if (s->type->back_to == NULL || !is_on(s, v->name) || engine_is_unresolved(s->input))
			continue;
		r = s->type->back_to(&s->context, v, release, plan, err);
		for (size_t k = before; k < plan->count; k++)
			name_maker(&plan->changes[k], s, 0);
		if (r < 0)
			return err_wrap(err, r, "the way back of %s", s->display);
	}
	return r;
}

int engine_back_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const json_t *formers = json_object_get(c->input_json, "formers");
	const char *release = json_get_string(c->input_json, "release");
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(formers); i++)
		r = plan_one(c->engine, v, json_array_get(formers, i), plan, err);
	if (r == 0 && release && json_get_bool(c->input_json, "data", false))
		r = plan_to(c->engine, v, release, plan, err);
	return r;
}

/* ---- made: newest first over all targets ---- */

/* Of the change that it leads back; 0: not known, as of a switch to a release that was named. */
static int64_t number_of(const struct plan *p, size_t at)
{
	return at < p->count ? json_get_int(json_object_get(p->changes[at].extra, "of"), "change", 0) : -1;
}

/* What leads back one change stays in its order. */
void engine_back_sort(struct plan *plan)
{
	for (size_t i = 1; i < plan->count; i++)
		for (size_t k = i; k > 0 && number_of(plan, k - 1) < number_of(plan, k); k--) {
			struct change c = plan->changes[k];
			plan->changes[k] = plan->changes[k - 1];
			plan->changes[k - 1] = c;
		}
}

static size_t newest(const struct estep *s, const struct plan *plans, const size_t *at)
{
	size_t best = 0;
	for (size_t i = 1; i < s->target_count; i++)
		if (number_of(&plans[i], at[i]) > number_of(&plans[best], at[best]))
			best = i;
	return best;
}

/* All of that target up to where another one has something newer. */
static size_t how_many(const struct estep *s, const struct plan *plans, const size_t *at, size_t target)
{
	int64_t other = -1;
	size_t n = 1;
	for (size_t i = 0; i < s->target_count; i++)
		if (i != target && number_of(&plans[i], at[i]) > other)
			other = number_of(&plans[i], at[i]);
	while (number_of(&plans[target], at[target] + n) >= MAX(other, 0))
		n++;
	return n;
}

int engine_back_apply(struct engine *e, struct estep *s, struct plan *plans, struct err *err)
{
	_cleanup_free_ size_t *at = xcalloc(s->target_count + 1, sizeof(at[0]));
	int r = 0;
	while (r == 0 && s->target_count > 0) {
		size_t i = newest(s, plans, at);
		if (at[i] >= plans[i].count)
			break;
		size_t n = how_many(s, plans, at, i);
		struct plan part = {.changes = plans[i].changes + at[i], .count = n};
		r = engine_apply_changes(e, s, s->etargets[i], &part, err);
		at[i] += n;
	}
	return r;
}
