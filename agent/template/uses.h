/* What a `uses:` names, in the form of job messages: of a workflow's step and of a composite action's. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

/* OWNER/REPOSITORY[/PATH]@REF, ./PATH, docker://IMAGE → {"type", "name", "ref", "repositoryType", "path"} or {"type", "image"}. The
 * caller's. */
int uses_read(const char *text, json_t **ret, struct err *err);
/* What was written, from that form. NULL: it is a script's. free() */
char *uses_text(const json_t *reference);
/* A name for a step without id: __run, __actions_checkout, with _2, _3, … where `taken` says so. free(). */
char *uses_context_name(const json_t *reference, bool (*taken)(void *user, const char *name), void *user);
