/* Where a configuration keeps its state, as far as its files say so, and what is known to go wrong there. */
#pragma once
#include "base/data/json.h"

struct terraform_backend {
	char *type;       /* "s3"; "cloud" for the block of that name; NULL: the files name none, so it is "local" */
	json_t *settings; /* name → string, true or false; null: an expression; of a map inside "endpoints.s3" */
};
/* Looks for the backend in the text of one file; `json` for those of JSON. What it finds is added to ret. Text that is not in order is
 * terraform's own to complain about. */
void terraform_backend_find(const char *text, size_t len, bool json, struct terraform_backend *ret);
void terraform_backend_done(struct terraform_backend *b);
/* The literal text of a setting; NULL: it is not given, or an expression. */
const char *terraform_backend_get(const struct terraform_backend *b, const char *key);

struct terraform_quirk {
	const char *hint; /* NULL: none */
	char *text;
	bool unlocked; /* it is about a state that nothing locks */
};
struct terraform_quirks {
	struct terraform_quirk *items;
	size_t count, cap;
};
/* has: is that variable of the environment given? workspace: NULL or its name. */
void terraform_backend_quirks(const struct terraform_backend *b, const char *workspace,
                              bool (*has)(const void *context, const char *name), const void *context,
                              struct terraform_quirks *ret);
void terraform_quirks_done(struct terraform_quirks *q);
