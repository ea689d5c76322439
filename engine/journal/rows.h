/* The rows of an environment as a whole: all targets at once, and copies of former ones. Beside store_state_get and its like, which speak of one.
 * scope: "NAME.ENVIRONMENT". What is kept beside the rows lies below names that no target can have. */
#pragma once
#include "engine/journal/store.h"

/* ret_rows: TARGET → KEY → ROW. ret_head: as rows_replace wrote it; NULL: none. Both are the caller's. ERR_INVALID: a row is no JSON. */
int rows_list(struct store *s, const char *scope, json_t **ret_rows, json_t **ret_head, struct err *err);
/* All of them, in one transaction, if `check` (may be NULL) says 0 in it. head NULL: stays as it is. */
int rows_replace(struct store *s, const char *scope, const json_t *rows, const json_t *head,
                 int (*check)(struct store *s, void *context, struct err *err), void *context, struct err *err);

/* text: JSON. It comes back as canonical JSON. */
int rows_keep_copy(struct store *s, const char *scope, int64_t serial, const char *text, struct err *err);
int rows_read_copy(struct store *s, const char *scope, int64_t serial, struct str *ret, struct err *err);
/* Ascending; the newest `max`. */
int rows_list_copies(struct store *s, const char *scope, int64_t *ret, size_t max, size_t *ret_count, struct err *err);
int rows_drop_copy(struct store *s, const char *scope, int64_t serial, struct err *err);
