/* Changes of an API that need nothing of each other are made at the same time, as many as their plan says. Each is a fiber that gives its turn back
 * where it waits for what the API works on (wait_aside), and only there: each request, each record of the journal and of the copy lies in one
 * turn, so that they are as whole as of one change after the other. Whoever recovers finds several that are started, each with its task. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/fiber.h"

struct one {
	struct engine *e;
	struct estep *s;
	struct etarget *et;
	struct change *c;
	struct fiber *fiber;
	int64_t wake_ms; /* it has its next turn then */
	int r;
	struct err err;
};

struct crew {
	struct one *all;
	size_t count, begun, at_work, most;
	struct one *active; /* whose turn it is */
	int stop;           /* < 0: that ends all waits */
	struct err why;
};

static void run_one(struct fiber *f, void *context)
{
	struct one *o = context;
	(void)f;
	o->r = engine_apply_change(o->e, o->s, o->et, o->c, &o->err);
}

static int give_turn_back(void *context, int64_t ms, struct err *err)
{
	struct engine *e = context;
	struct crew *crew = e->crew;
	struct one *o = crew != NULL ? crew->active : NULL;
	if (o == NULL)
		return 0;
	if (crew->stop == 0) {
		o->wake_ms = clock_mono_ms() + ms;
		fiber_yield(o->fiber);
	}
	if (crew->stop == 0)
		return 1;
	if (err != NULL)
		*err = crew->why;
	return crew->stop;
}

/* The first that failed says why; what is at work by then goes on to its end, and nothing new begins. */
static void give_turn(struct crew *crew, struct one *o, int *failed, struct err *err)
{
	crew->active = o;
	int r = fiber_resume(o->fiber, &o->err);
	crew->active = NULL;
	if (r == 0 && !fiber_is_over(o->fiber))
		return;
	crew->at_work--;
	o->r = r < 0 ? r : o->r;
	o->wake_ms = INT64_MAX;
	if (o->r == 0 || *failed < 0)
		return;
	*failed = o->r;
	if (err != NULL)
		*err = o->err;
}

static int64_t next_turn(const struct crew *crew)
{
	int64_t next = INT64_MAX;
	for (size_t i = 0; i < crew->begun; i++)
		next = MIN(next, crew->all[i].wake_ms);
	return next;
}

static void wait_for_turn(struct engine *e, struct crew *crew)
{
	int64_t left = next_turn(crew) - clock_mono_ms();
	if (left <= 0 || crew->stop < 0)
		return;
	crew->stop = wait_ms(&e->wait, left, &crew->why);
}

static int run_crew(struct engine *e, struct crew *crew, struct err *err)
{
	int failed = 0;
	while (crew->at_work > 0 || (failed == 0 && crew->begun < crew->count)) {
		for (; failed == 0 && crew->stop == 0 && crew->begun < crew->count && crew->at_work < crew->most;
		     crew->at_work++)
			crew->all[crew->begun++].wake_ms = 0;
		for (size_t i = 0; i < crew->begun; i++)
			if (crew->all[i].wake_ms != INT64_MAX &&
			    (crew->stop < 0 || crew->all[i].wake_ms <= clock_mono_ms()))
				give_turn(crew, &crew->all[i], &failed, err);
		if (crew->at_work > 0)
			wait_for_turn(e, crew);
		else if (crew->stop < 0 && failed == 0) {
			failed = crew->stop;
			if (err != NULL)
				*err = crew->why;
		}
	}
	return failed;
}

static int run_level(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, int level,
                     struct err *err)
{
	struct crew crew = {
		.all = xcalloc(plan->count + 1, sizeof(*crew.all)), .most = plan->together, .why = ERR_INIT};
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->changes[i].level != level)
			continue;
		struct one *o = &crew.all[crew.count++];
		*o = (struct one){.e = e, .s = s, .et = et, .c = &plan->changes[i], .err = ERR_INIT};
		o->fiber = fiber_new(run_one, o);
	}
	e->crew = &crew;
	e->wait.aside = give_turn_back;
	int r = run_crew(e, &crew, err);
	e->wait.aside = NULL;
	e->crew = NULL;
	for (size_t i = 0; i < crew.count; i++)
		fiber_free(crew.all[i].fiber);
	free(crew.all);
	return r;
}

/* The lowest level above that one; -1: there is none. */
static int level_above(const struct plan *plan, int level)
{
	int next = -1;
	for (size_t i = 0; i < plan->count; i++) {
		int own = plan->changes[i].level;
		if (own > level && (next < 0 || own < next))
			next = own;
	}
	return next;
}

int engine_apply_together(struct engine *e, struct estep *s, struct etarget *et, struct plan *plan, struct err *err)
{
	int r = 0;
	for (int level = level_above(plan, -1); r == 0 && level >= 0; level = level_above(plan, level))
		r = run_level(e, s, et, plan, level, err);
	return r;
}
