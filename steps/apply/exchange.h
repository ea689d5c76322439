/* What only one resource can hold at a time (an address, a volume), handed on from one to another by the same plan. */
#pragma once
#include "steps/apply/resource.h"

/* Does one of the changes from that one on give up what another takes? Then they cannot be made at the same time. */
bool exchange_is_in(const struct step_type *step, const struct plan *plan, size_t from);
