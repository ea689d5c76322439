/* One request of protocol version 2 and its answer, for the files that ask something (base/git/protocol_v2.h). */
#pragma once
#include "base/git/protocol_v2.h"

/* git's own http-backend takes no more than 10 MB. */
enum { GIT_WIRE_PKT_MAX = 65520, GIT_WIRE_REQUEST_MAX = 8 << 20 };

struct git_exchange {
	struct pkt_reader reader;
	int result; /* of the reader; the transfer continues so that the status is seen first */
	struct err err;
};
#define GIT_EXCHANGE_INIT(callback, ctx)                                                                               \
	{                                                                                                              \
		.reader = {.line = STR_INIT(GIT_WIRE_PKT_MAX), .on_line = (callback), .context = (ctx) }               \
	}
void git_exchange_done(struct git_exchange *x);

void git_wire_line(struct str *out, const char *text);
void git_wire_linef(struct str *out, const char *key, const char *value);
/* Sends the lines of body and feeds the answer to x->reader. */
int git_wire_post(const struct git_remote_access *remote, const struct str *body, int64_t timeout_ms,
                  struct git_exchange *x, struct err *err);
/* Looks at a line of the answer to ls-refs, "ID NAME[ ATTRIBUTES]": 40 digits and a blank. Takes the line feed off len; bytes is the sum
 * of all lines (ERR_LIMIT above GIT_REFS_MAX). A server that says something else speaks another protocol (ERR_UNSUPPORTED). */
int git_wire_ref(const char *data, size_t *len, size_t *bytes, struct err *err);
