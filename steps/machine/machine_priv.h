/* Shared by the looks and the driver of steps/machine. */
#pragma once
#include "steps/machine/machine.h"

extern const char machine_prelude[]; /* of every script */
/* With what `before` printed of the one thing that is asked about. */
int machine_look_begun(struct view *v, struct machine_sight *sights, size_t count, const char *begun, struct err *err);
