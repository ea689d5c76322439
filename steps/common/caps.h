/* Caps on what one plan may change, for steps that plan resources. */
#pragma once
#include "base/core/err.h"
#include <stdint.h>

struct caps {
	bool has_max_changes, has_max_destroy;
	int64_t max_changes, max_destroy;
};
/* ERR_REFUSED: there are more. */
int caps_check(const struct caps *caps, size_t changes, size_t destroyed, struct err *err);
