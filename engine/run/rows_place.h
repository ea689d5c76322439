/* The state of an environment, for a person: what is kept of it, going back to a former version, and its lock. No deployment is made. */
#pragma once
#include "engine/run/engine.h"
#include "engine/target/keeper.h"

struct rows_place {
	char *name, *environment, *scope;
	struct target *t; /* NULL: the journal */
	struct keeper keeper;
	struct store *store;
};
/* places: {"name","environment","targets","state"} as of a deployment file. */
int rows_place_open(const json_t *places, const struct engine_options *o, struct rows_place *ret, struct err *err);
void rows_place_done(struct rows_place *p);

/* {"state":SCOPE,"at":PLACE,"serial":n,"versions":[…]} (engine/state/state.h); with "damaged":WHY in place of the serial where it is. */
int rows_place_show(struct rows_place *p, json_t **ret, struct err *err);
/* Under the lock. ERR_LOCKED: somebody has it, or a deployment of the environment is undecided here. */
int rows_place_restore(struct rows_place *p, int64_t serial, int64_t *ret_new, struct err *err);
/* 1: there was no lock, 0: it was freed. Proof is that the journal here knows its deployment as decided, or that its process was of this machine and is
 * gone. consent: a person says that the holder's machine is gone; a lock that is renewed must also stand still for after_ms. ERR_LOCKED: neither. */
int rows_place_unlock(struct rows_place *p, bool consent, int64_t after_ms, struct wait *w, struct err *err);
