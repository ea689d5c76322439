/* Changes, events and the rows that steps keep, in the SQLite store. */
#include "engine/journal/sql.h"

#include "base/core/clock.h"
#include <string.h>

void (*store_after_change)(enum change_state state);

static int changed(int r, enum change_state state)
{
	if (r == 0 && store_after_change)
		store_after_change(state);
	return r;
}

static int insert_change(struct store *s, const char *id, const struct change *c, struct err *err)
{
	_cleanup_json_ json_t *record = change_record(c);
	_cleanup_free_ char *doc = json_text(record);
	return sql_run(s, err, "INSERT INTO change(deployment, id, doc) VALUES(?,?,?)", "sis", id, c->id, doc);
}

int store_changes_add(struct store *s, const char *id, struct change *changes, size_t count, struct err *err)
{
	int64_t next = 1;
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	{
		_cleanup_stmt_ sqlite3_stmt *st = NULL;
		r = sql_prepare(s, &st, err, "SELECT coalesce(max(id),0)+1 FROM change WHERE deployment=?", "s", id);
		if (r == 0)
			r = sql_step(s, st, err);
		if (r > 0) {
			next = sqlite3_column_int64(st, 0);
			r = 0;
		}
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		changes[i].id = next + (int64_t)i;
		r = insert_change(s, id, &changes[i], err);
	}
	return changed(sql_end(s, r, err), CHANGE_INTENT);
}

int store_changes_import(struct store *s, const char *id, const struct plan *changes, struct err *err)
{
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < changes->count; i++)
		r = insert_change(s, id, &changes->changes[i], err);
	return sql_end(s, r, err);
}

static int read_change(struct store *s, const char *id, int64_t change_id, struct change *ret, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_json_ json_t *doc = NULL;
	int r = sql_prepare(s, &st, err, "SELECT doc FROM change WHERE deployment=? AND id=?", "si", id, change_id);
	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "the deployment %s has no change %lld", id, (long long)change_id);
	r = sql_json(st, 0, &doc, err);
	return r < 0 ? r : change_from_record(doc, ret, err);
}

static int set_in_transaction(struct store *s, const char *id, const struct change *c, enum change_state state,
                              const char *note, struct err *err)
{
	_cleanup_(change_done) struct change stored = {0};
	int r = read_change(s, id, c->id, &stored, err);
	if (r < 0)
		return r;
	/* Data that a step learned in its apply (extra) is stored when the change is done. */
	if (c->extra) {
		json_decref(stored.extra);
		stored.extra = json_incref(c->extra);
	}
	if (c->task) {
		free(stored.task);
		stored.task = xstrdup(c->task);
	}
	enum change_state former = stored.state;
	stored.state = state;
	free(stored.note);
	stored.note = xstrdup(note);
	_cleanup_json_ json_t *record = change_record(&stored);
	_cleanup_free_ char *doc = json_text(record);
	r = sql_run(s, err, "UPDATE change SET doc=? WHERE deployment=? AND id=?", "ssi", doc, id, c->id);
	if (r == 0 && state == CHANGE_DONE && former != CHANGE_DONE)
		r = store_apply_state_row(s, id, &stored, false, err);
	if (r == 0 && state == CHANGE_UNDONE && former != CHANGE_INTENT && former != CHANGE_UNDONE)
		r = store_apply_state_row(s, id, &stored, true, err);
	return r;
}

int store_change_set(struct store *s, const char *id, const struct change *c, enum change_state state, const char *note,
                     struct err *err)
{
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = set_in_transaction(s, id, c, state, note, err);
	return changed(sql_end(s, r, err), state);
}

/* Newest first: the first row says yes, mostly. */
int store_target_changed(struct store *s, const char *name, const char *environment, const char *target, bool *ret,
                         struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	*ret = false;
	int r = sql_prepare(s, &st, err,
	                    "SELECT c.doc FROM deployment d CROSS JOIN change c ON c.deployment=d.id"
	                    " WHERE d.name=? AND d.environment=? AND d.state='committed' ORDER BY d.seq DESC",
	                    "ss", name, environment);
	if (r < 0)
		return r;
	while (!*ret && (r = sql_step(s, st, err)) > 0) {
		_cleanup_json_ json_t *doc = NULL;
		r = sql_json(st, 0, &doc, err);
		if (r < 0)
			return r;
		const char *of = json_get_string(doc, "target");
		*ret = of != NULL && strcmp(of, target) == 0;
	}
	return MIN(r, 0);
}

int store_change_list(struct store *s, const char *id, struct plan *ret, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_(plan_done) struct plan list = {0};
	int r = sql_prepare(s, &st, err, "SELECT doc FROM change WHERE deployment=? ORDER BY id", "s", id);
	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		_cleanup_json_ json_t *doc = NULL;
		r = sql_json(st, 0, &doc, err);
		if (r < 0)
			return r;
		list.changes = xgrow(list.changes, &list.cap, list.count + 1, sizeof(list.changes[0]));
		r = change_from_record(doc, &list.changes[list.count], err);
		if (r < 0)
			return err_wrap(err, r, "the deployment %s", id);
		list.count++;
	}
	if (r < 0)
		return r;
	*ret = list;
	memset(&list, 0, sizeof(list));
	return 0;
}

int store_event_add(struct store *s, const char *id, int step_index, const char *kind, const json_t *data,
                    struct err *err)
{
	_cleanup_free_ char *text = data ? json_text(data) : xstrdup("null");
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = sql_run(s, err, "INSERT INTO event(deployment, step, kind, at_ms, data) VALUES(?,?,?,?,?)", "sisis", id,
	            (int64_t)step_index, kind, clock_wall_ms(), text);
	return sql_end(s, r, err);
}

int store_event_note(struct store *s, const char *id, const char *kind, const json_t *data, struct err *err)
{
	int r = sql_run(s, err, "PRAGMA synchronous=NORMAL", "");
	if (r == 0)
		r = store_event_add(s, id, -1, kind, data, err);
	int back = sql_run(s, r == 0 ? err : NULL, "PRAGMA synchronous=FULL", "");
	return r < 0 ? r : back;
}

int store_event_list(struct store *s, const char *id, json_t **ret_array, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_json_ json_t *list = json_array();
	int r = sql_prepare(s, &st, err,
	                    "SELECT step, kind, at_ms, '['||data||']' FROM event WHERE deployment=? ORDER BY seq", "s",
	                    id);
	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		_cleanup_json_ json_t *data = NULL;
		r = sql_json(st, 3, &data, err);
		if (r < 0)
			return r;
		json_array_append_new(
			list, json_pack("{s:I, s:s, s:I, s:O}", "step", (json_int_t)sqlite3_column_int64(st, 0), "kind",
		                        (const char *)sqlite3_column_text(st, 1), "at_ms",
		                        (json_int_t)sqlite3_column_int64(st, 2), "data", json_array_get(data, 0)));
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(list);
	return 0;
}

/* ---- rows ---- */

int store_apply_state_row(struct store *s, const char *id, const struct change *c, bool back, struct err *err)
{
	const json_t *o = json_get_object(c->extra, "state_row");
	const char *key = json_get_string(o, "key");
	if (key == NULL)
		return 0;
	_cleanup_json_ json_t *doc = NULL;
	int r = store_deployment_get(s, id, &doc, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *scope =
		xasprintf("%s.%s", json_get_string(doc, "name"), json_get_string(doc, "environment"));
	const json_t *row = json_object_get(o, back ? "former" : "row");
	if (row == NULL || json_is_null(row))
		return sql_run(s, err, "DELETE FROM state WHERE scope=? AND target=? AND key=?", "sss", scope,
		               c->target, key);
	_cleanup_free_ char *text = json_text(row);
	return sql_run(s, err, "INSERT OR REPLACE INTO state(scope, target, key, row) VALUES(?,?,?,?)", "ssss", scope,
	               c->target, key, text);
}

int store_state_get(struct store *s, const char *scope, const char *target, const char *key, json_t **ret,
                    struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, "SELECT row FROM state WHERE scope=? AND target=? AND key=?", "sss", scope,
	                    target, key);
	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no state of '%s'", key);
	return sql_json(st, 0, ret, err);
}

int store_state_forget(struct store *s, const char *scope, const char *target, const char *key, struct err *err)
{
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = sql_run(s, err, "DELETE FROM state WHERE scope=? AND target=? AND key=?", "sss", scope, target, key);
	return sql_end(s, r, err);
}

int store_state_list(struct store *s, const char *scope, const char *target, json_t **ret_object, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_json_ json_t *o = json_object();
	int r = sql_prepare(s, &st, err, "SELECT key, row FROM state WHERE scope=? AND target=? ORDER BY key", "ss",
	                    scope, target);
	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		json_t *row = NULL;
		r = sql_json(st, 1, &row, err);
		if (r < 0)
			return r;
		json_object_set_new(o, (const char *)sqlite3_column_text(st, 0), row);
	}
	if (r < 0)
		return r;
	*ret_object = TAKE(o);
	return 0;
}
