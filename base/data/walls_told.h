/* The JSON form in which one process tells another to raise the walls of base/sys/walls.h: {"processes","signals","files": true or false,
 * "closed","open": lists of directories}. */
#pragma once
#include "base/data/json.h"

/* Without "processes" no wall is raised. */
int walls_told_raise(const json_t *told, struct err *err);
