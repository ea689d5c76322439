/* The job message, read once: context data to plain JSON, what is secret, and what is requested [1]. */
#pragma once
#include "agent/service/runservice.h"
#include "base/secret/mask.h"

/* A variable's value; NULL: not sent. */
const char *message_variable(const json_t *message, const char *name);
/* true, false; otherwise when it is neither or not sent. */
bool message_flag(const json_t *message, const char *name, bool otherwise);
/* Adds every secret of the message to the mask [6.1]. Patterns that PCRE2 does not accept are skipped.
 */
void message_mask(const json_t *message, struct mask *mask);
/* The context `secrets`: new. */
json_t *message_secrets(const json_t *message);
/* A member of the system connection's `data`; NULL: absent or empty. */
const char *message_connection_data(const json_t *message, const char *name);
