/* Context data: plain JSON and the typed form in which job messages carry it (protocol notes on job execution, 1.9). */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

/* Plain JSON → the typed form. New. Dictionaries compare without case ("t":2). */
json_t *context_data(const json_t *plain);
/* The typed form → plain JSON. Dictionaries whose keys differ in case only keep the first spelling and the last
 * value. New. */
int context_data_decode(const json_t *data, json_t **ret, struct err *err);
