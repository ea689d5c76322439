/* Scenarios whose steps have images: each of their targets keeps the record of what passed the gate, which must never speak of what did not. */
#include "sim/sim.h"

#include "base/secret/digest.h"
#include "engine/record/passed.h"
#include <stdio.h>
#include <string.h>

static const char directory[] = "/var/lib/davit/passed", record[] = "/var/lib/davit/passed/sim.world";

/* By the seed itself: no chance is drawn for it. */
static bool has_images(void)
{
	return world->sc.seed % 2 == 1;
}

static char *digest_for(const char *id)
{
	char hex[DIGEST_HEX];
	digest_of(id, strlen(id), hex);
	return xasprintf("sha256:%s", hex);
}

int sim_images(const struct step_context *c, struct view *v, json_t *ret, struct err *err)
{
	(void)v;
	(void)err;
	_cleanup_free_ char *digest = digest_for(c->deployment->id);
	if (has_images())
		json_array_append_new(ret, json_string(digest));
	return 0;
}

bool sim_passed_keep(const char *path)
{
	bool above = strcmp(path, "/var/lib/davit") == 0;
	return has_images() && (above || strcmp(path, directory) == 0 || is_within(directory, path));
}

/* What a rollback goes back behind did pass. */
static bool may_stand(const struct passed_line *l, enum deployment_state state)
{
	bool passes = world->sc.has_gate && world->sc.gate == GATE_PASSES;
	return world->sc.goes_back || strcmp(l->deployment, world->first.id) != 0 ||
	       (passes && state == DEPLOYMENT_COMMITTED);
}

static bool check_target(int target, enum deployment_state state)
{
	_cleanup_(passed_done) struct passed p = {0};
	const struct snode *n = stree_find(&world->targets[target].now, record);
	bool found = false;
	if (n == NULL)
		return false;
	if (n->content == NULL || passed_read((const char *)n->content->data, n->content->len, &p, NULL) < 0 ||
	    p.damaged > 0) {
		sim_violation("t%d: what passed the gate cannot be read", target);
		return false;
	}
	for (size_t i = 0; i < p.count; i++) {
		_cleanup_free_ char *digest = digest_for(p.items[i].deployment);
		if (!passed_is_signed(&p.items[i]) || !passed_has(&p.items[i], digest) || p.items[i].digests.count != 1)
			sim_violation("t%d: what passed the gate is not what was signed", target);
		if (!may_stand(&p.items[i], state))
			sim_violation("t%d: %s passed the gate, and is %s", target, p.items[i].deployment,
			              deployment_state_name(state));
		for (size_t k = 0; k < i; k++)
			/* Of a shared journal, each machine that finished it signs for itself. */
			if (strcmp(p.items[i].deployment, p.items[k].deployment) == 0 &&
			    memcmp(p.items[i].key, p.items[k].key, sizeof(p.items[i].key)) == 0)
				sim_violation("t%d: %s passed the gate twice", target, p.items[i].deployment);
		/* One that was killed before it could tell its name. */
		found = found || world->first.id[0] == '\0' || strcmp(p.items[i].deployment, world->first.id) == 0;
	}
	return found;
}

/* Nothing is there that could lose it, and nobody said that it could not be written. */
static bool is_due(enum deployment_state state)
{
	const struct scenario *sc = &world->sc;
	const struct rates *r = &sc->rates;
	bool passes = state == DEPLOYMENT_COMMITTED && sc->has_gate && sc->gate == GATE_PASSES &&
	              strstr(sc->deployment, "\"change\"") != NULL;
	bool may_be_lost = world->deaths_power + world->target_powers > 0 || r->journal_full > 0 || r->journal_io > 0 ||
	                   world->unrecorded || world->store.faults > 0;
	bool others = sc->real || sc->goes_back || sc->machine_lost || sc->missed_steps != 0 ||
	              sc->contender != CONTENDER_NONE || world->person_came || world->cancels > 0;
	return has_images() && passes && !may_be_lost && !others;
}

void sim_passed_check(enum deployment_state state)
{
	for (int i = 0; i < world->sc.target_count; i++)
		if (!check_target(i, state) && is_due(state))
			sim_violation("t%d: what passed the gate is not recorded", i);
}
