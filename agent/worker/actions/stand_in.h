/* Actions of others that a typed step of ours carries out. */
#pragma once
#include "agent/worker/worker_priv.h"

/* True if it does so for this reference, unless its inputs are of another mind: the action itself is fetched then, when its step runs. */
bool stand_in_takes(const struct job *j, const json_t *reference);
