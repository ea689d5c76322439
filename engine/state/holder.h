/* Who holds the lock of a state, in the words of terraform's lock: {"ID","Operation","Info","Who","Version","Created","Path"}. "Info" is the record of
 * engine/lock/lock.h as text, by which davit knows its own: a service may keep no other members. */
#pragma once
#include "engine/journal/store.h"

/* deployment: the journal's object. The same deployment of the same journal has the same ID, so that a recovery is the holder. */
json_t *state_holder_make(const struct store *s, const json_t *deployment);
/* Another record of the same holder. */
void state_holder_renew(json_t *record, int64_t count);

/* What a holder wrote, which anybody may have: lengths, characters and kinds are checked. */
struct state_holder {
	char id[129];        /* printable, without spaces; "": none that could be told back */
	char deployment[80]; /* "": not davit's */
	char store_id[65], machine_id[65];
	char who[200], since[64]; /* for people, as it may be printed */
	json_t *process;          /* lock_owner_process; NULL: not said */
};
void state_holder_read(const json_t *record, struct state_holder *ret);
void state_holder_done(struct state_holder *h);
/* "by the deployment ID of WHO since TIME". free() */
char *state_holder_describe(const struct state_holder *h);
