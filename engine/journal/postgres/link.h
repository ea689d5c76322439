/* One connection to a PostgreSQL server: every wait has a deadline, every reply a ceiling, and a connection that broke says so. */
#pragma once
#include "base/core/err.h"
#include <libpq-fe.h>
#include <stdint.h>

struct postgres_link {
	PGconn *conn;           /* NULL: there is none, or it broke */
	const char *url, *name; /* where to; what people call it, without any secret. Borrowed */
};

/* The rows of a reply; each a result of its own, since they arrive one by one. */
struct postgres_link_rows {
	PGresult **rows;
	size_t count, cap;
};

/* One try. */
int postgres_link_open(struct postgres_link *l, struct err *err);
void postgres_link_close(struct postgres_link *l);
/* ERR_NETWORK: the connection broke, and is closed; whether the server did it is unknown. Any other error: it did not.
 * values: NULL is null. Without any, `sql` may be several statements. */
int postgres_link_run(struct postgres_link *l, const char *sql, const char *const *values, int count,
                      struct postgres_link_rows *ret, struct err *err);
const char *postgres_link_text(const struct postgres_link_rows *rows, size_t row,
                               int column); /* NULL: null, or no such row */
void postgres_link_rows_done(struct postgres_link_rows *rows);
