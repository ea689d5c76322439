/* Deployments, their locks and their steps. */
#include "engine/journal/sql.h"

#include "base/core/mem.h"
#include <stdlib.h>
#include <string.h>

enum { LOCK_TRIES = 3 };

static const char *text_or(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_get_string(object, key);
	return text ? text : otherwise;
}

static int add_deployment(struct store *s, void *context, struct err *err)
{
	const json_t *deployment = context;
	_cleanup_free_ char *doc = json_text(deployment);
	return sql_run(s, err,
	               "INSERT INTO deployment(id, name, environment, job_key, state, doc) VALUES(?1,?2,?3,?4,?5,?6)",
	               "ssssss", text_or(deployment, "id", NULL), text_or(deployment, "name", NULL),
	               text_or(deployment, "environment", NULL), json_get_string(deployment, "job_key"),
	               text_or(deployment, "state", "preparing"), doc);
}

int store_deployment_add(struct store *s, const json_t *deployment, struct err *err)
{
	const struct sql_write w = {.deployment = json_get_string(deployment, "id"),
	                            .creates = true,
	                            .work = add_deployment,
	                            .context = (json_t *)deployment};
	return sql_write(s, &w, err);
}

/* ---- locks ---- */

struct locking {
	const char *name, *environment, *id;
	char *holder;
};

static int find_holder(struct store *s, struct locking *l, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	free(l->holder);
	l->holder = NULL;
	int r = sql_query(s, &rows, err, "SELECT id FROM deployment WHERE name=?1 AND environment=?2 AND holds=1", "ss",
	                  l->name, l->environment);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r > 0)
		l->holder = xstrdup(sql_text(&rows, 0));
	return MIN(r, 0);
}

static int take_lock(struct store *s, void *context, struct err *err)
{
	struct locking *l = context;
	int r = find_holder(s, l, err);
	if (r < 0)
		return r;
	if (l->holder && strcmp(l->holder, l->id) != 0)
		return err_set(err, ERR_LOCKED, "%s.%s is locked by the deployment %s", l->name, l->environment,
		               l->holder);
	return sql_run(s, err, "UPDATE deployment SET holds=1 WHERE id=?1", "s", l->id);
}

int store_lock(struct store *s, const char *name, const char *environment, const char *id, char **ret_holder,
               struct err *err)
{
	struct locking l = {.name = name, .environment = environment, .id = id};
	const struct sql_write w = {.deployment = id, .work = take_lock, .context = &l};
	int r = sql_write(s, &w, err);
	/* Another machine took it between our look and our write, which the index refused: now the holder is seen. */
	for (int i = 0; r == ERR_EXISTS && i < LOCK_TRIES; i++) {
		if (err)
			err_clear(err);
		r = sql_write(s, &w, err);
	}
	if (r == ERR_LOCKED && ret_holder)
		*ret_holder = TAKE(l.holder);
	free(l.holder);
	return r;
}

static int give_lock_back(struct store *s, void *context, struct err *err)
{
	return sql_run(s, err, "UPDATE deployment SET holds=0 WHERE id=?1", "s", (const char *)context);
}

int store_unlock(struct store *s, const char *id, struct err *err)
{
	const struct sql_write w = {.deployment = id, .work = give_lock_back, .context = (char *)id};
	return sql_write(s, &w, err);
}

/* ---- documents ---- */

struct setting {
	const char *id;
	int index;
	const json_t *members;
};

static int read_document(struct store *s, const char *id, json_t **ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT doc FROM deployment WHERE id=?1", "s", id);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		r = err_set(err, ERR_NOT_FOUND, "there is no deployment '%s'", id);
	return r < 0 ? r : sql_json(&rows, 0, ret, err);
}

static int set_deployment(struct store *s, void *context, struct err *err)
{
	const struct setting *set = context;
	_cleanup_json_ json_t *doc = NULL;
	int r = read_document(s, set->id, &doc, err);
	if (r < 0)
		return r;
	sql_json_merge(doc, set->members);
	_cleanup_free_ char *text = json_text(doc);
	return sql_run(s, err, "UPDATE deployment SET doc=?1, state=?2, cleaned=?3, job_key=?4 WHERE id=?5", "ssiss",
	               text, text_or(doc, "state", "preparing"), (int64_t)json_get_bool(doc, "cleaned", false),
	               json_get_string(doc, "job_key"), set->id);
}

/* Once more, from what is durable: a proxy that sends reads to a replica, or a trigger, would show here. */
static int read_back(struct store *s, const char *id, const json_t *members, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	const char *key;
	json_t *value;
	int r = read_document(s, id, &doc, err);
	if (r < 0)
		return r;
	json_object_foreach((json_t *)members, key, value)
	{
		const json_t *there = json_object_get(doc, key);
		if (json_is_null(value) ? there != NULL : !json_equal(there, value))
			return err_set(
				err, ERR_PROTOCOL,
				"the journal does not keep what is written: '%s' of the deployment %s is another one",
				key, id);
	}
	return 0;
}

int store_deployment_set(struct store *s, const char *id, const json_t *members, struct err *err)
{
	struct setting set = {.id = id, .members = members};
	const struct sql_write w = {.deployment = id, .work = set_deployment, .context = &set};
	int r = sql_write(s, &w, err);
	return r == 0 && store_is_shared(s) ? read_back(s, id, members, err) : r;
}

int store_deployment_get(struct store *s, const char *id, json_t **ret, struct err *err)
{
	return read_document(s, id, ret, err);
}

int store_deployment_list(struct store *s, const struct store_filter *f, json_t **ret_array, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int64_t limit = f && f->limit > 0 ? f->limit : INT64_MAX;
	int r = sql_query(
		s, &rows, err,
		"SELECT doc FROM deployment WHERE (CAST(?1 AS TEXT) IS NULL OR name=?1)"
		" AND (CAST(?2 AS TEXT) IS NULL OR environment=?2) AND (CAST(?3 AS TEXT) IS NULL OR job_key=?3)"
		" AND (CAST(?4 AS INTEGER)=0 OR holds=1 OR state IN ('preparing','open','undoing','held','parked')"
		" OR (state IN ('committed','undone') AND cleaned=0)) ORDER BY seq DESC LIMIT ?5",
		"sssii", f ? f->name : NULL, f ? f->environment : NULL, f ? f->job_key : NULL,
		(int64_t)(f && f->undecided), limit);
	return r < 0 ? r : sql_documents(&rows, ret_array, err);
}

/* ---- steps ---- */

static int add_step(struct store *s, void *context, struct err *err)
{
	const struct setting *set = context;
	_cleanup_free_ char *doc = json_text(set->members);
	return sql_run(s, err,
	               "INSERT INTO step(deployment, idx, doc) VALUES(?1,?2,?3)"
	               " ON CONFLICT(deployment, idx) DO UPDATE SET doc=excluded.doc",
	               "sis", set->id, (int64_t)set->index, doc);
}

int store_step_add(struct store *s, const char *id, int index, const json_t *step, struct err *err)
{
	struct setting set = {.id = id, .index = index, .members = step};
	const struct sql_write w = {.deployment = id, .work = add_step, .context = &set};
	return sql_write(s, &w, err);
}

static int read_step(struct store *s, const struct setting *set, json_t **ret, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT doc FROM step WHERE deployment=?1 AND idx=?2", "si", set->id,
	                  (int64_t)set->index);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		r = err_set(err, ERR_NOT_FOUND, "the deployment %s has no step %d", set->id, set->index + 1);
	return r < 0 ? r : sql_json(&rows, 0, ret, err);
}

static int set_step(struct store *s, void *context, struct err *err)
{
	const struct setting *set = context;
	_cleanup_json_ json_t *doc = NULL;
	int r = read_step(s, set, &doc, err);
	if (r < 0)
		return r;
	sql_json_merge(doc, set->members);
	_cleanup_free_ char *text = json_text(doc);
	return sql_run(s, err, "UPDATE step SET doc=?1 WHERE deployment=?2 AND idx=?3", "ssi", text, set->id,
	               (int64_t)set->index);
}

int store_step_set(struct store *s, const char *id, int index, const json_t *members, struct err *err)
{
	struct setting set = {.id = id, .index = index, .members = members};
	const struct sql_write w = {.deployment = id, .work = set_step, .context = &set};
	return sql_write(s, &w, err);
}

int store_step_list(struct store *s, const char *id, json_t **ret_array, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(s, &rows, err, "SELECT doc FROM step WHERE deployment=?1 ORDER BY idx", "s", id);
	return r < 0 ? r : sql_documents(&rows, ret_array, err);
}
