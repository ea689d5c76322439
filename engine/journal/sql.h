/* Inside the journal: what its operations (deployments.c, changes.c) ask of a database, and what a database answers. Not for other files.
 *
 * The operations are written once, and each statement is one string for every database: what the journal needs of SQL (rows by their key, an
 * upsert, one partial unique index) reads the same in SQLite and in PostgreSQL. What differs is behind struct store_type: how a transaction
 * becomes durable, how rows arrive, what an error means, and the tables (schema of each). Parameters are ?1, ?2 … */
#pragma once
#include "base/data/json.h"
#include "engine/journal/store.h"

struct sql_value {
	const char *text; /* NULL, and no number: null */
	int64_t number;
	bool is_number;
};

enum { SQL_VALUES_MAX = 8 };

struct sql_rows {
	struct store *store;
	void *found; /* the database's own */
	int at;
};

/* One transaction. `work` may be called again, after a connection was lost before anything could be durable: it begins from nothing. */
struct sql_write {
	const char *deployment; /* which it is about; NULL: none */
	bool creates;           /* it makes that deployment */
	bool relaxed;           /* durable once anything else is written behind it */
	int (*work)(struct store *s, void *context, struct err *err);
	void *context;
};

struct store_type {
	const char *name;
	bool shared; /* by several machines: then with claim and all below it */
	/* Runs the work, makes it durable. All of it, or nothing. */
	int (*write)(struct store *s, const struct sql_write *w, struct err *err);
	int (*query)(struct store *s, const char *sql, const struct sql_value *values, size_t count,
	             struct sql_rows *rows, struct err *err);
	int (*next)(struct sql_rows *rows, struct err *err); /* 1: a row, 0: no more, negative: failed */
	/* Valid until the next row; NULL: null. */
	const char *(*column)(struct sql_rows *rows, int column, size_t *ret_len);
	void (*done)(struct sql_rows *rows);
	void (*close)(struct store *s);
	/* store_claim and its like. */
	int (*claim)(struct store *s, const char *id, bool *ret_elsewhere, struct err *err);
	int (*take_over)(struct store *s, const char *id, struct err *err);
	int (*check_claim)(struct store *s, const char *id, struct err *err);
	void (*release)(struct store *s, const char *id);
};

struct store {
	const struct store_type *type;
	void *database; /* the type's own */
	char *dir, *id;
	char *place; /* the state directory's own id; that of a journal which is not shared is the same */
	bool readonly;
};

/* `types`: s const char * (NULL: null), i int64_t; the values in the order of the parameters. */
int sql_query(struct store *s, struct sql_rows *rows, struct err *err, const char *sql, const char *types, ...);
int sql_next(struct sql_rows *rows, struct err *err);
const char *sql_text(struct sql_rows *rows, int column);
int64_t sql_int(struct sql_rows *rows, int column);
/* A column of JSON; the caller's. */
int sql_json(struct sql_rows *rows, int column, json_t **ret, struct err *err);
void sql_rows_done(struct sql_rows *rows);
#define _cleanup_rows_ _cleanup_(sql_rows_done)
/* For statements without rows. */
int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...);
/* Calls store_after_write. */
int sql_write(struct store *s, const struct sql_write *w, struct err *err);
/* Each row's document in an array. */
int sql_documents(struct sql_rows *rows, json_t **ret_array, struct err *err);

/* Sets `members` in a document; null removes one. */
void sql_json_merge(json_t *object, const json_t *members);
