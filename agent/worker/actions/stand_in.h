/* Actions of others that typed steps of ours carry out. */
#pragma once
#include "agent/worker/worker_priv.h"

struct uses;
bool stand_in_takes(const struct job *j, const json_t *reference);
void stand_in_resolve(const json_t *reference, struct uses *ret);
/* What the step gets; of other actions what they were given. New; NULL: one of them is not carried out here. */
json_t *stand_in_inputs(const struct uses *uses, const json_t *inputs, struct err *err);
