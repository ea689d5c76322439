/* The walls of base/sys/walls.h as one process tells another to raise them: {"processes","signals","files": true or false,
 * "closed","open": lists of directories}. */
#pragma once
#include "base/data/json.h"

/* Without "processes" none is raised. */
int walls_told_raise(const json_t *told, struct err *err);
