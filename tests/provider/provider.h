/* A provider as scripted as a test wants it: an API of guests, each of a size, which creates, changes and deletes them in tasks. Its
 * world is one JSON file, so that it outlives the process that is killed:
 *   {"guests": {NAME: SIZE}, "tasks": [{"id","guest","do","size","left","state"}], "faults": {VERB: [FAULT …]}, "requests": {VERB: n}}
 * Each request moves its time on by one. A request takes the first fault that is listed for its verb:
 *   create, change, delete: "fails" (the task ends badly), "hangs" (it never ends), "twice" (it is done again later), "lost" (done, but
 *   the reply is lost), "away" (surely not done); poll, look: "lost", "away". */
#pragma once
#include "engine/run/step.h"

extern const struct change_type provider_guest; /* "test-guest"; its paths are "guest:NAME" */
extern const struct step_type provider_step;    /* "guests": {"guests": {NAME: SIZE, NAME: null}} */
extern const struct step_type provider_apply;   /* apply with files and {"guest": {"name", "size"}} */

extern const struct target_kind provider_kind; /* {"test-provider": {"file", "timeout"}} */
/* {"type": "guest", "size"}, or {"type": "absent"}. */
int provider_look(struct view *v, const char *guest, json_t **ret, struct err *err);
const struct change_type *provider_find_change(const char *kind);

/* For a world in which processes die: a request is about to be made, or its reply is on the way (done). NULL: nobody asks. */
extern void (*provider_on_request)(const char *verb, bool done);

json_t *provider_load(const char *file);
void provider_save(const char *file, const json_t *world);
/* All that is at work runs to its end, what hangs excepted. */
void provider_let_pass(const char *file);
