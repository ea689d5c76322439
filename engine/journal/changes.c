/* Changes, events and the rows that steps keep. */
#include "engine/journal/sql.h"

#include "base/core/clock.h"
#include <stdlib.h>
#include <string.h>

enum { PAGE_ROWS = 500 };

void (*store_after_change)(enum change_state state);

static int changed(int r, enum change_state state)
{
	if (r == 0 && store_after_change)
		store_after_change(state);
	return r;
}

/* ---- changes ---- */

static int apply_state_row(struct store *s, const char *id, const struct change *c, bool back, struct err *err);

static int insert_change(struct store *s, const char *id, const struct change *c, struct err *err)
{
	_cleanup_json_ json_t *record = change_record(c);
	_cleanup_free_ char *doc = json_text(record);
	return sql_run(s, err, "INSERT INTO change(deployment, id, doc) VALUES(?1,?2,?3)", "sis", id, c->id, doc);
}

struct adding {
	const char *id;
	struct change *changes;
	size_t count;
};

static int next_id(struct store *s, const char *id, int64_t *ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT coalesce(max(id),0)+1 FROM change WHERE deployment=?1", "s", id);
	if (r == 0)
		r = sql_next(&rows, err);
	*ret = r > 0 ? sql_int(&rows, 0) : 1;
	return MIN(r, 0);
}

static int import_changes(struct store *s, void *context, struct err *err)
{
	const struct adding *a = context;
	int r = 0;
	for (size_t i = 0; r == 0 && i < a->count; i++)
		r = insert_change(s, a->id, &a->changes[i], err);
	return r;
}

/* With the rows of what was made: whoever accepts it knows them, and an undo takes them back. */
static int import_with_rows(struct store *s, void *context, struct err *err)
{
	const struct adding *a = context;
	int r = import_changes(s, context, err);
	for (size_t i = 0; r == 0 && i < a->count; i++)
		if (a->changes[i].state == CHANGE_DONE)
			r = apply_state_row(s, a->id, &a->changes[i], false, err);
	return r;
}

static int add_changes(struct store *s, void *context, struct err *err)
{
	struct adding *a = context;
	int64_t next = 1;
	int r = next_id(s, a->id, &next, err);
	for (size_t i = 0; i < a->count; i++)
		a->changes[i].id = next + (int64_t)i;
	return r < 0 ? r : import_changes(s, a, err);
}

int store_changes_add(struct store *s, const char *id, struct change *changes, size_t count, struct err *err)
{
	struct adding a = {.id = id, .changes = changes, .count = count};
	const struct sql_write w = {.deployment = id, .work = add_changes, .context = &a};
	return changed(sql_write(s, &w, err), CHANGE_INTENT);
}

int store_changes_import(struct store *s, const char *id, const struct plan *changes, struct err *err)
{
	struct adding a = {.id = id, .changes = changes->changes, .count = changes->count};
	const struct sql_write w = {.deployment = id, .work = import_with_rows, .context = &a};
	return sql_write(s, &w, err);
}

static int read_change(struct store *s, const char *id, int64_t change_id, struct change *ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_json_ json_t *doc = NULL;
	int r = sql_query(s, &rows, err, "SELECT doc FROM change WHERE deployment=?1 AND id=?2", "si", id, change_id);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "the deployment %s has no change %lld", id, (long long)change_id);
	if (r > 0)
		r = sql_json(&rows, 0, &doc, err);
	return r < 0 ? r : change_from_record(doc, ret, err);
}

/* The row of a resource, which comes and goes with its change. */
static int apply_state_row(struct store *s, const char *id, const struct change *c, bool back, struct err *err)
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
		return sql_run(s, err, "DELETE FROM state WHERE scope=?1 AND target=?2 AND key=?3", "sss", scope,
		               c->target, key);
	_cleanup_free_ char *text = json_text(row);
	return sql_run(s, err,
	               "INSERT INTO state(scope, target, key, row) VALUES(?1,?2,?3,?4)"
	               " ON CONFLICT(scope, target, key) DO UPDATE SET row=excluded.row",
	               "ssss", scope, c->target, key, text);
}

struct changing {
	const char *id;
	const struct change *change;
	enum change_state state;
	const char *note;
};

static int set_change(struct store *s, void *context, struct err *err)
{
	const struct changing *to = context;
	const struct change *c = to->change;
	const char *id = to->id;
	enum change_state state = to->state;
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
	stored.note = xstrdup(to->note);
	_cleanup_json_ json_t *record = change_record(&stored);
	_cleanup_free_ char *doc = json_text(record);
	r = sql_run(s, err, "UPDATE change SET doc=?1 WHERE deployment=?2 AND id=?3", "ssi", doc, id, c->id);
	if (r == 0 && state == CHANGE_DONE && former != CHANGE_DONE)
		r = apply_state_row(s, id, &stored, false, err);
	if (r == 0 && state == CHANGE_UNDONE && former != CHANGE_INTENT && former != CHANGE_UNDONE)
		r = apply_state_row(s, id, &stored, true, err);
	return r;
}

int store_change_set(struct store *s, const char *id, const struct change *c, enum change_state state, const char *note,
                     struct err *err)
{
	struct changing to = {.id = id, .change = c, .state = state, .note = note};
	const struct sql_write w = {.deployment = id, .work = set_change, .context = &to};
	return changed(sql_write(s, &w, err), state);
}

/* Newest first: the first row says yes, mostly. In pages, since a database may send all that it finds; an index on the state would sort them
 * first, so none is used. */
struct changed_page {
	const char *name, *environment, *target;
	int64_t seq, id; /* where the next page begins */
	size_t rows;
};

static int look_at_page(struct store *s, struct changed_page *p, bool *ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err,
	                  "SELECT c.doc, d.seq, c.id FROM deployment d CROSS JOIN change c WHERE c.deployment=d.id"
	                  " AND d.name=?1 AND d.environment=?2 AND d.state||''='committed'"
	                  " AND d.seq<=?3 AND (d.seq<?3 OR c.id>?4) ORDER BY d.seq DESC, c.id LIMIT ?5",
	                  "ssiii", p->name, p->environment, p->seq, p->id, (int64_t)PAGE_ROWS);
	p->rows = 0;
	while (r >= 0 && !*ret && (r = sql_next(&rows, err)) > 0) {
		_cleanup_json_ json_t *doc = NULL;
		p->seq = sql_int(&rows, 1);
		p->id = sql_int(&rows, 2);
		p->rows++;
		r = sql_json(&rows, 0, &doc, err);
		const char *of = json_get_string(doc, "target");
		*ret = of != NULL && strcmp(of, p->target) == 0;
	}
	return MIN(r, 0);
}

int store_target_changed(struct store *s, const char *name, const char *environment, const char *target, bool *ret,
                         struct err *err)
{
	struct changed_page p = {.name = name, .environment = environment, .target = target, .seq = INT64_MAX};
	int r = 0;
	*ret = false;
	do
		r = look_at_page(s, &p, ret, err);
	while (r == 0 && !*ret && p.rows == PAGE_ROWS);
	return r;
}

int store_change_list(struct store *s, const char *id, struct plan *ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_(plan_done) struct plan list = {0};
	int r = sql_query(s, &rows, err, "SELECT doc FROM change WHERE deployment=?1 ORDER BY id", "s", id);
	while (r >= 0 && (r = sql_next(&rows, err)) > 0) {
		_cleanup_json_ json_t *doc = NULL;
		r = sql_json(&rows, 0, &doc, err);
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

/* ---- events ---- */

struct happening {
	const char *id, *kind, *data;
	int step;
	int64_t at_ms;
};

static int add_event(struct store *s, void *context, struct err *err)
{
	const struct happening *h = context;
	return sql_run(s, err, "INSERT INTO event(deployment, step, kind, at_ms, data) VALUES(?1,?2,?3,?4,?5)", "sisis",
	               h->id, (int64_t)h->step, h->kind, h->at_ms, h->data);
}

static int write_event(struct store *s, const struct happening *given, const json_t *data, bool relaxed,
                       struct err *err)
{
	_cleanup_free_ char *text = data ? json_text(data) : xstrdup("null");
	struct happening h = *given;
	h.data = text;
	h.at_ms = clock_wall_ms();
	const struct sql_write w = {.deployment = h.id, .relaxed = relaxed, .work = add_event, .context = &h};
	return sql_write(s, &w, err);
}

int store_event_add(struct store *s, const char *id, int step_index, const char *kind, const json_t *data,
                    struct err *err)
{
	const struct happening h = {.id = id, .step = step_index, .kind = kind};
	return write_event(s, &h, data, false, err);
}

int store_event_note(struct store *s, const char *id, const char *kind, const json_t *data, struct err *err)
{
	const struct happening h = {.id = id, .step = -1, .kind = kind};
	return write_event(s, &h, data, true, err);
}

int store_event_list(struct store *s, const char *id, json_t **ret_array, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_json_ json_t *list = json_array();
	int r = sql_query(s, &rows, err,
	                  "SELECT step, kind, at_ms, '['||data||']' FROM event WHERE deployment=?1 ORDER BY seq", "s",
	                  id);
	while (r >= 0 && (r = sql_next(&rows, err)) > 0) {
		_cleanup_json_ json_t *data = NULL;
		r = sql_json(&rows, 3, &data, err);
		if (r < 0)
			return r;
		json_array_append_new(list, json_pack("{s:I, s:s, s:I, s:O}", "step", (json_int_t)sql_int(&rows, 0),
		                                      "kind", sql_text(&rows, 1), "at_ms",
		                                      (json_int_t)sql_int(&rows, 2), "data", json_array_get(data, 0)));
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(list);
	return 0;
}

/* ---- rows ---- */

int store_state_get(struct store *s, const char *scope, const char *target, const char *key, json_t **ret,
                    struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT row FROM state WHERE scope=?1 AND target=?2 AND key=?3", "sss", scope,
	                  target, key);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		r = err_set(err, ERR_NOT_FOUND, "no state of '%s'", key);
	return r < 0 ? r : sql_json(&rows, 0, ret, err);
}

struct state_key {
	const char *scope, *target, *key;
};

static int forget_row(struct store *s, void *context, struct err *err)
{
	const struct state_key *k = context;
	return sql_run(s, err, "DELETE FROM state WHERE scope=?1 AND target=?2 AND key=?3", "sss", k->scope, k->target,
	               k->key);
}

int store_state_forget(struct store *s, const char *scope, const char *target, const char *key, struct err *err)
{
	struct state_key k = {.scope = scope, .target = target, .key = key};
	const struct sql_write w = {.work = forget_row, .context = &k};
	return sql_write(s, &w, err);
}

int store_state_list(struct store *s, const char *scope, const char *target, json_t **ret_object, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	_cleanup_json_ json_t *o = json_object();
	int r = sql_query(s, &rows, err, "SELECT key, row FROM state WHERE scope=?1 AND target=?2 ORDER BY key", "ss",
	                  scope, target);
	while (r >= 0 && (r = sql_next(&rows, err)) > 0) {
		json_t *row = NULL;
		r = sql_json(&rows, 1, &row, err);
		if (r < 0)
			return r;
		json_object_set_new(o, sql_text(&rows, 0), row);
	}
	if (r < 0)
		return r;
	*ret_object = TAKE(o);
	return 0;
}
