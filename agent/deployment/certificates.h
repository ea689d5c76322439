/* The servers' certificates that a step asks for: what `davit status` looks at. */
#pragma once
#include "base/data/json.h"
#include "schemas/step_info.h"

/* The items of its list that have `tls`, with nothing but that; NULL: it has none. */
json_t *certificates_of(const struct step_info *info, const json_t *input);
