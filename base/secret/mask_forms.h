/* The derived forms of a secret under which it usually shows up: Base64 at three offsets, escaped for JSON, XML, URIs
 * and shells, and the parts of a connection string. Source: protocol notes 02, 6.2. Used by base/secret/mask.c. */
#pragma once
#include "base/core/str.h"

typedef void (*mask_form_fn)(void *context, const char *form, size_t len);
/* Calls `add` for each form, some of them equal to the value or to each other; the text is wiped afterwards. */
void mask_forms(const char *value, size_t len, mask_form_fn add, void *context);
