/* A job's `strategy.matrix` → the combinations that it is run with, as GitHub's server makes them. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

enum { MATRIX_MAX = 256 };
/* matrix: evaluated, a map of lists with include and exclude. ret: a list of maps, the caller's, empty where everything is excluded. */
int matrix_expand(const json_t *matrix, json_t **ret, struct err *err);
/* "ubuntu, 18": what a leg's name ends with, from its values in order. free(). */
char *matrix_suffix(const json_t *leg);
