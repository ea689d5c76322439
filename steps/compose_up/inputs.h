#pragma once
#include "base/secret/digest.h"
#include "steps/compose_up/compose_up.h"

/* {"files":[…],"names":[…],"digest"}: all that the resolution of the input's configuration reads. *ret NULL: that cannot be told. */
int compose_inputs_take(const struct step_context *c, const struct docker *d, const char *directory, json_t **ret,
                        struct err *err);
/* Are they so now? */
int compose_inputs_still(const struct step_context *c, const struct docker *d, const json_t *inputs, bool *ret,
                         struct err *err);
/* What reads the same again, to be compared by its digest, and its standard input. */
void compose_inputs_script(struct str *script, const struct compose_up_in *in);
void compose_inputs_words(const json_t *inputs, struct str *ret);
/* false: said is not its whole answer. */
bool compose_inputs_digest(const struct compose_up_in *in, const struct str *said, char ret[DIGEST_HEX]);
