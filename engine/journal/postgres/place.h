/* Where a state directory has its journal: the file journal.url, one URL of PostgreSQL, without a password. Absent: SQLite, beside it. */
#pragma once
#include "base/core/err.h"

/* What libpq is given (with verify-full where the URL leaves sslmode open and a network is in between), and what people read. */
struct journal_place {
	char *url, *name;
};
void journal_place_done(struct journal_place *p);
/* ERR_INVALID: no URL of PostgreSQL, or one with a password in it. */
int journal_place_parse(const char *url, struct journal_place *ret, struct err *err);
/* ERR_NOT_FOUND: there is no such file. */
int journal_place_read(const char *dir, struct journal_place *ret, struct err *err);
int journal_place_write(const char *dir, const char *url, struct err *err);
int journal_place_remove(const char *dir, struct err *err);
/* A job can set variables for its later steps (GITHUB_ENV), and libpq reads some: what the machine has said of its journal counts alone. */
void journal_place_drop_environment(void);
