#include "engine/journal/rows.h"

#include "base/core/mem.h"
#include "engine/journal/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In the place of a target's name. */
#define HEAD_OF_ROWS "@head"
#define COPIES_OF_ROWS "@copies"

enum { KEY_SIZE = 24 };

/* With leading zeros: in the order of their numbers. */
static void copy_key(int64_t serial, char key[KEY_SIZE])
{
	snprintf(key, KEY_SIZE, "%019" PRId64, serial);
}

int rows_list(struct store *s, const char *scope, json_t **ret_rows, json_t **ret_head, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_json_ json_t *all = json_object(), *head = NULL;
	int r = sql_query(s, &rows, err,
	                  "SELECT target, key, row FROM state WHERE scope=?1 AND target<>?2 ORDER BY target, key", "ss",
	                  scope, COPIES_OF_ROWS);
	while (r >= 0 && (r = sql_next(&rows, err)) > 0) {
		json_t *row = NULL;
		r = sql_json(&rows, 2, &row, err);
		if (r < 0)
			return r;
		const char *target = sql_text(&rows, 0);
		if (strcmp(target, HEAD_OF_ROWS) == 0) {
			json_decref(head);
			head = row;
			continue;
		}
		json_t *of = json_object_get(all, target);
		if (of == NULL)
			json_object_set_new(all, target, of = json_object());
		json_object_set_new(of, sql_text(&rows, 1), row);
	}
	if (r < 0)
		return r;
	*ret_rows = TAKE(all);
	*ret_head = TAKE(head);
	return 0;
}

struct replacing {
	const char *scope;
	const json_t *rows, *head;
	int (*check)(struct store *s, void *context, struct err *err);
	void *context;
};

static int put(struct store *s, const char *scope, const char *target, const char *key, const char *row,
               struct err *err)
{
	return sql_run(s, err,
	               "INSERT INTO state(scope, target, key, row) VALUES(?1,?2,?3,?4)"
	               " ON CONFLICT(scope, target, key) DO UPDATE SET row=excluded.row",
	               "ssss", scope, target, key, row);
}

/* Ten thousand rows are read faster than they are written. */
static bool is_there(struct store *s, const struct replacing *x)
{
	_cleanup_json_ json_t *rows = NULL, *head = NULL;
	struct err ignored = ERR_INIT;
	return rows_list(s, x->scope, &rows, &head, &ignored) == 0 && json_equal(rows, x->rows);
}

static int replace(struct store *s, void *context, struct err *err)
{
	const struct replacing *x = context;
	const char *target, *key;
	json_t *of, *row;
	int r = x->check != NULL ? x->check(s, x->context, err) : 0;
	bool same = r == 0 && is_there(s, x);
	if (r == 0 && !same)
		r = sql_run(s, err, "DELETE FROM state WHERE scope=?1 AND target<>?2 AND target<>?3", "sss", x->scope,
		            HEAD_OF_ROWS, COPIES_OF_ROWS);
	if (!same)
		json_object_foreach((json_t *)(uintptr_t)x->rows, target, of)
		{
			json_object_foreach(of, key, row)
			{
				_cleanup_free_ char *text = json_text(row);
				r = r == 0 ? put(s, x->scope, target, key, text, err) : r;
			}
		}
	if (r == 0 && x->head != NULL) {
		_cleanup_free_ char *text = json_text(x->head);
		r = put(s, x->scope, HEAD_OF_ROWS, "head", text, err);
	}
	return r;
}

int rows_replace(struct store *s, const char *scope, const json_t *rows, const json_t *head,
                 int (*check)(struct store *s, void *context, struct err *err), void *context, struct err *err)
{
	struct replacing x = {scope, rows, head, check, context};
	const struct sql_write w = {.work = replace, .context = &x};
	return sql_write(s, &w, err);
}

/* ---- copies ---- */

struct copying {
	const char *scope, *text;
	char key[KEY_SIZE];
};

static int put_copy(struct store *s, void *context, struct err *err)
{
	const struct copying *c = context;
	return put(s, c->scope, COPIES_OF_ROWS, c->key, c->text, err);
}

static int drop_copy(struct store *s, void *context, struct err *err)
{
	const struct copying *c = context;
	return sql_run(s, err, "DELETE FROM state WHERE scope=?1 AND target=?2 AND key=?3", "sss", c->scope,
	               COPIES_OF_ROWS, c->key);
}

int rows_keep_copy(struct store *s, const char *scope, int64_t serial, const char *text, struct err *err)
{
	struct copying c = {.scope = scope, .text = text};
	const struct sql_write w = {.work = put_copy, .context = &c};
	copy_key(serial, c.key);
	return sql_write(s, &w, err);
}

int rows_drop_copy(struct store *s, const char *scope, int64_t serial, struct err *err)
{
	struct copying c = {.scope = scope};
	const struct sql_write w = {.work = drop_copy, .context = &c};
	copy_key(serial, c.key);
	return sql_write(s, &w, err);
}

int rows_read_copy(struct store *s, const char *scope, int64_t serial, struct str *ret, struct err *err)
{
	char key[KEY_SIZE];
	_cleanup_json_ json_t *row = NULL;
	copy_key(serial, key);
	int r = store_state_get(s, scope, COPIES_OF_ROWS, key, &row, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = json_canonical(row);
	return str_append(ret, text) ? 0 : err_set(err, ERR_LIMIT, "the copy is larger than what is taken");
}

int rows_list_copies(struct store *s, const char *scope, int64_t *ret, size_t max, size_t *ret_count, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	size_t count = 0;
	int r = sql_query(s, &rows, err,
	                  "SELECT key FROM state WHERE scope=?1 AND target=?2 ORDER BY key DESC LIMIT ?3", "ssi", scope,
	                  COPIES_OF_ROWS, (int64_t)max);
	while (r >= 0 && count < max && (r = sql_next(&rows, err)) > 0) {
		long long serial;
		if (str_parse_i64(sql_text(&rows, 0), 0, INT64_MAX, &serial))
			ret[count++] = serial;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < count / 2; i++) {
		int64_t swapped = ret[i];
		ret[i] = ret[count - 1 - i];
		ret[count - 1 - i] = swapped;
	}
	*ret_count = count;
	return 0;
}
