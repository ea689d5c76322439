/* The parameters of requests for a guest, from nodes (attributes.h). The caller's. */
#pragma once
#include "base/data/json.h"

json_t *guest_params_create(const json_t *to);
/* source: the node that has the original. */
json_t *guest_params_clone(const json_t *to, int64_t vmid, const char *source);
/* What of the configuration has to be set or deleted; NULL: nothing. */
json_t *guest_params_config(const json_t *now, const json_t *from, const json_t *to);
