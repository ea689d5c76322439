/* The lists of this program's typed steps and kinds of targets. Nothing below knows their names; a new one is one
 * more line here. */
#pragma once
#include "engine/run/step.h"

/* All steps of this program, in the order of docs/steps. */
const struct step_type *step_find(const char *name);
const struct step_type *const *step_all(size_t *ret_count);

/* A kind of changes that a step brings along; NULL: none of that name. */
const struct change_type *change_find(const char *kind);

/* The kinds of targets, each a struct target_kind; NULL at the end. */
extern const struct field_choice *const target_kinds[];
