/* GraphQL as far as clients ask a forge: a query becomes a tree of fields with variables and fragments resolved, which is answered from a
 * tree of JSON. Not here: mutations, directives that leave fields out, introspection. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

/* [{"name", "alias", "args": {…}, "fields": […]}]: what the one operation, or the named one, asks of the root. The caller's. ERR_INVALID, ERR_LIMIT. */
int graphql_read(const char *query, size_t len, const char *operation, const json_t *variables, json_t **ret,
                 struct err *err);
/* Of an object the members that the fields name, of a list those of each item. A field that the object has not is an error, as at
 * GitHub. *ret is the caller's. */
int graphql_pick(const json_t *value, const json_t *fields, json_t **ret, struct err *err);
