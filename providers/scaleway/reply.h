/* What Scaleway answers when it does not do what was asked: an error object with a type and, by type, further fields. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include "base/data/json.h"

/* An id is a UUID in lower case: only such a one becomes a part of a path. NULL is none. */
bool reply_is_id(const char *text);
/* The error code of a status and its body (NULL: not JSON). reads: nothing can have been changed. A request that changes something and may have been
 * carried out is ERR_UNKNOWN. */
int reply_code(int status, const json_t *body, bool reads);
/* What the body says, for people: what the service wrote is hostile and comes out in one line of plain characters. */
void reply_describe(const json_t *body, struct str *out);
/* What to do about it; "" nothing. */
const char *reply_hint(int status, const json_t *body);
