/* The parts of bootstrap: its input (bootstrap.c), packages and the engine (packages.c), addresses (network.c), and the rest (plan.c). */
#pragma once
#include "engine/target/node_cache.h"
#include "schemas/bootstrap.h"
#include "steps/machine/machine.h"
#include "engine/run/step.h"

/* One plan on one target. */
struct bootstrap_plan {
	const struct bootstrap_in *in;
	struct view *v;
	struct plan *plan;
	struct faults faults;         /* what stands in the way, all of it */
	struct machine_sight *sights; /* of everything but files, in the order of their changes */
	size_t count, cap;
	struct node_cache seen; /* of files and directories */
	struct arena arena;
	bool brings; /* packages come: what is missing now may come with them */
};
void bootstrap_plan_done(struct bootstrap_plan *p);
/* arg NULL: none. */
void bootstrap_want(struct bootstrap_plan *p, const struct machine_kind *kind, const char *id, const char *arg);
/* NULL: nobody wanted it. */
const struct machine_sight *bootstrap_seen(const struct bootstrap_plan *p, const struct machine_kind *kind,
                                           const char *id);
bool bootstrap_makes_user(const struct bootstrap_in *in, const char *name);
bool bootstrap_makes_group(const struct bootstrap_in *in, const char *name);

/* "10.0.0.0/8" of "10.1.2.3/8", "2001:db8::1" of "2001:DB8:0::1/128"; NULL: it is neither an address nor a network. free() */
char *bootstrap_network(const char *written);

void bootstrap_want_packages(struct bootstrap_plan *p);
int bootstrap_plan_packages(struct bootstrap_plan *p, struct err *err);
int bootstrap_plan_rest(struct bootstrap_plan *p, struct err *err);
