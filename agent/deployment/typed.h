/* Secrets, vars and inputs are always strings: a value that an expression filled in is read as the type that the schema wants
 * there. A string where a number, or true or false, is wanted becomes one if it spells one; blanks and line feeds around it are
 * removed where they can mean nothing (numbers, durations, names of a list, and what the schema marks with x-line: host, user). "[a, b]" is a
 * list where one is possible; an empty text in place of a step's input is no input. */
#pragma once
#include "base/data/json.h"

/* schema: the name of a built-in one. raw: as written; value: the same, filled in, changed in place. */
void deployment_typed_step(const char *step, const json_t *raw, json_t *value);
void deployment_typed_target(const json_t *raw, json_t *target);
void deployment_typed_targets(const json_t *raw, json_t *targets);
