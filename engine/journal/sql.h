/* Inside the SQLite store: one statement, one short transaction. Not for other files than store*.c. */
#pragma once
#include "base/data/json.h"
#include "engine/journal/store.h"
#include <sqlite3.h>

struct store {
	sqlite3 *db;
	char *dir, *id;
	bool readonly;
};

void sql_stmt_done(sqlite3_stmt **st);
#define _cleanup_stmt_ _cleanup_(sql_stmt_done)

/* Binds by `types`: s text (NULL: null), i int64_t. */
int sql_prepare(struct store *s, sqlite3_stmt **ret, struct err *err, const char *sql, const char *types, ...);
/* 1: a row, 0: no more, negative: failed. */
int sql_step(struct store *s, sqlite3_stmt *st, struct err *err);
/* For statements without rows. */
int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...);
int sql_begin(struct store *s, struct err *err);
/* Commits when r is 0, else rolls back; returns the result. Calls store_after_write. */
int sql_end(struct store *s, int r, struct err *err);
int sql_fail(struct store *s, int rc, struct err *err, const char *what);
/* A column of JSON; the caller's. */
int sql_json(sqlite3_stmt *st, int column, json_t **ret, struct err *err);
/* Sets `members` in the document of one row; `column` = doc. */
void sql_json_merge(json_t *object, const json_t *members);

/* Within a transaction: applies the state row of a change (engine/run/step.h), forwards or back. */
int store_apply_state_row(struct store *s, const char *id, const struct change *c, bool back, struct err *err);
