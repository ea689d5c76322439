/* Deployments, their locks and their steps in the SQLite store. */
#include "engine/journal/sql.h"

#include <inttypes.h>
#include <string.h>

static const char *text_or(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_get_string(object, key);
	return text ? text : otherwise;
}

int store_deployment_add(struct store *s, const json_t *deployment, struct err *err)
{
	_cleanup_free_ char *doc = json_text(deployment);
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = sql_run(s, err, "INSERT INTO deployment(id, name, environment, job_key, state, doc) VALUES(?,?,?,?,?,?)",
	            "ssssss", text_or(deployment, "id", NULL), text_or(deployment, "name", NULL),
	            text_or(deployment, "environment", NULL), json_get_string(deployment, "job_key"),
	            text_or(deployment, "state", "preparing"), doc);
	return sql_end(s, r, err);
}

static int find_holder(struct store *s, const char *name, const char *environment, char **ret, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, "SELECT id FROM deployment WHERE name=? AND environment=? AND holds=1", "ss",
	                    name, environment);
	if (r == 0)
		r = sql_step(s, st, err);
	if (r > 0)
		*ret = xstrdup((const char *)sqlite3_column_text(st, 0));
	return r < 0 ? r : 0;
}

int store_lock(struct store *s, const char *name, const char *environment, const char *id, char **ret_holder,
               struct err *err)
{
	_cleanup_free_ char *holder = NULL;
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = find_holder(s, name, environment, &holder, err);
	if (r == 0 && holder && strcmp(holder, id) != 0)
		r = err_set(err, ERR_LOCKED, "%s.%s is locked by the deployment %s", name, environment, holder);
	if (r == 0)
		r = sql_run(s, err, "UPDATE deployment SET holds=1 WHERE id=?", "s", id);
	r = sql_end(s, r, err);
	if (r == ERR_LOCKED && ret_holder)
		*ret_holder = TAKE(holder);
	return r;
}

int store_unlock(struct store *s, const char *id, struct err *err)
{
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = sql_run(s, err, "UPDATE deployment SET holds=0 WHERE id=?", "s", id);
	return sql_end(s, r, err);
}

static int read_document(struct store *s, const char *id, json_t **ret, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, "SELECT doc FROM deployment WHERE id=?", "s", id);
	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no deployment '%s'", id);
	return sql_json(st, 0, ret, err);
}

int store_deployment_set(struct store *s, const char *id, const json_t *members, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = read_document(s, id, &doc, err);
	if (r == 0) {
		sql_json_merge(doc, members);
		_cleanup_free_ char *text = json_text(doc);
		r = sql_run(s, err, "UPDATE deployment SET doc=?, state=?, cleaned=?, job_key=? WHERE id=?", "ssiss",
		            text, text_or(doc, "state", "preparing"), (int64_t)json_get_bool(doc, "cleaned", false),
		            json_get_string(doc, "job_key"), id);
	}
	return sql_end(s, r, err);
}

int store_deployment_get(struct store *s, const char *id, json_t **ret, struct err *err)
{
	return read_document(s, id, ret, err);
}

int store_deployment_list(struct store *s, const struct store_filter *f, json_t **ret_array, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_json_ json_t *list = json_array();
	int64_t limit = f && f->limit > 0 ? f->limit : -1;
	int r = sql_prepare(
		s, &st, err,
		"SELECT doc FROM deployment WHERE (?1 IS NULL OR name=?1) AND (?2 IS NULL OR environment=?2)"
		" AND (?3 IS NULL OR job_key=?3) AND (?4=0 OR holds=1 OR state IN ('preparing','open','undoing','held','parked')"
		" OR (state IN ('committed','undone') AND cleaned=0)) ORDER BY seq DESC LIMIT ?5",
		"sssii", f ? f->name : NULL, f ? f->environment : NULL, f ? f->job_key : NULL,
		(int64_t)(f && f->undecided), limit);
	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		json_t *doc = NULL;
		r = sql_json(st, 0, &doc, err);
		if (r < 0)
			return r;
		json_array_append_new(list, doc);
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(list);
	return 0;
}

int store_step_add(struct store *s, const char *id, int index, const json_t *step, struct err *err)
{
	_cleanup_free_ char *doc = json_text(step);
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	r = sql_run(s, err, "INSERT OR REPLACE INTO step(deployment, idx, doc) VALUES(?,?,?)", "sis", id,
	            (int64_t)index, doc);
	return sql_end(s, r, err);
}

int store_step_set(struct store *s, const char *id, int index, const json_t *members, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = sql_begin(s, err);
	if (r < 0)
		return r;
	{
		_cleanup_stmt_ sqlite3_stmt *st = NULL;
		r = sql_prepare(s, &st, err, "SELECT doc FROM step WHERE deployment=? AND idx=?", "si", id,
		                (int64_t)index);
		if (r == 0)
			r = sql_step(s, st, err);
		if (r == 0)
			r = err_set(err, ERR_NOT_FOUND, "the deployment %s has no step %d", id, index + 1);
		else if (r > 0)
			r = sql_json(st, 0, &doc, err);
	}
	if (r == 0) {
		sql_json_merge(doc, members);
		_cleanup_free_ char *text = json_text(doc);
		r = sql_run(s, err, "UPDATE step SET doc=? WHERE deployment=? AND idx=?", "ssi", text, id,
		            (int64_t)index);
	}
	return sql_end(s, r, err);
}

int store_step_list(struct store *s, const char *id, json_t **ret_array, struct err *err)
{
	_cleanup_stmt_ sqlite3_stmt *st = NULL;
	_cleanup_json_ json_t *list = json_array();
	int r = sql_prepare(s, &st, err, "SELECT doc FROM step WHERE deployment=? ORDER BY idx", "s", id);
	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		json_t *doc = NULL;
		r = sql_json(st, 0, &doc, err);
		if (r < 0)
			return r;
		json_array_append_new(list, doc);
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(list);
	return 0;
}
