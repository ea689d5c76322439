/* The state of an environment as a document: the rows of the resources that `apply` made, and of snapshots that an API keeps.
 *
 * Version 1, JSON, keys sorted: {"version":1,"davit":"1.2.3","name":"shop.production","lineage":32 digits,"serial":12,"deployment":ID,
 *   "written_ms":n,"rows":{TARGET:{KEY:ROW}},"sha256":…}
 * "version", "serial" and "lineage" are where servers of terraform's protocol look for them. The digest is of the canonical JSON of all else, so that a
 * service may lay it out anew. A row is as the journal has it: what was asked for, without contents and secrets. Unknown members are refused
 * only by a higher version.
 */
#pragma once
#include "base/data/json.h"

enum { STATE_VERSION = 1, STATE_MAX = 16 << 20, STATE_LINEAGE = 33 };

struct state_document {
	char lineage[STATE_LINEAGE]; /* "": there is no document */
	int64_t serial, written_ms;
	char *deployment; /* which wrote it; NULL: a person did */
	json_t *rows;
};
void state_document_done(struct state_document *d);

/* As it is kept; the same document gives the same bytes. ERR_LIMIT: more than STATE_MAX. name: "shop.production". */
int state_document_text(const struct state_document *d, const char *name, struct str *out, struct err *err);
/* Of anything that somebody may have written there. ERR_UNSUPPORTED: of a newer version; ERR_INVALID: not davit's, or of another name; ERR_PROTOCOL:
 * damaged, and err says how. */
int state_document_read(const char *text, size_t len, const char *name, struct state_document *ret, struct err *err);
size_t state_document_count(const struct state_document *d); /* rows */
