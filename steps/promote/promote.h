/* promote: a tag leads to what another one, or a digest, has.
 *
 *   promote.c  the step
 *   passed.c   what an earlier environment's record must say first
 *   agents.c   the machines whose signatures this machine accepts */
#pragma once
#include "base/secret/ed25519.h"
#include "engine/run/step.h"
#include "schemas/promote.h"

/* ---- passed.c ---- */
/* The digest passed the gate that `passed` names. *ret: the deployment that it passed in, free(). ERR_REFUSED: it did not, as far as can
 * be proven. */
int promote_must_have_passed(const struct step_context *c, const char *digest, char **ret, struct err *err);

/* ---- agents.c ---- */
/* Other machines' keys: the list `agents`, a line each: NAME ssh-ed25519 BASE64 [comment]. */
struct agents;
/* ERR_NOT_FOUND: there is no list. ERR_PERMISSION: others than its owner can change it. */
int agents_read(const char *state_dir, struct agents **ret, struct err *err);
int agents_parse(const char *text, const char *path, struct agents **ret, struct err *err);
void agents_freep(struct agents **a);
/* NULL: nobody's. Borrowed. */
const char *agents_of_key(const struct agents *a, const unsigned char key[ED25519_KEY_SIZE]);
