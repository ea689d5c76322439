/* Where the rows of an environment lie. With `state` in the deployment they lie at a target of that name: they are read under its lock and put into the journal before
 * the plan, come and go there with the records of their changes, and are written back as one document before the decision is marked. What
 * the journal's object says of it, "rows": {"locked"} before the place is asked for its lock, {"serial","lineage","digest"} as read, "writing" before the first
 * write: a recovery needs no more. Without `state` they lie in the journal alone, which keeps copies of what was committed. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "engine/journal/rows.h"
#include "engine/state/holder.h"
#include "engine/state/state.h"
#include <string.h>

enum { RENEW_MS = 30000, WAIT_MS = 500 };

int engine_rows_find(struct engine *e, struct err *err)
{
	const char *name = json_get_string(e->deployment, "state");
	e->keeper = (struct keeper){.type = &state_journal,
	                            .of = e->store,
	                            .name = e->scope,
	                            .dir = e->store != NULL ? store_dir(e->store) : NULL,
	                            .wait = &e->wait};
	if (name == NULL)
		return 0;
	struct etarget *et = engine_target(e, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "'state' names the target '%s', and there is none", name);
	if (et->t->view.kind->keeper == NULL) {
		err_set(err, ERR_INVALID, "the target '%s' cannot keep a state: it is of the kind '%s'", name,
		        et->t->view.kind->name);
		return err_hint(err, ERR_INVALID, "name one of the kind `s3` or `http`");
	}
	e->rows_at = et;
	e->keeper.type = et->t->view.kind->keeper;
	e->keeper.of = &et->t->view;
	return 0;
}

/* ---- what the journal's object says of it ---- */

static const json_t *note_of(const struct engine *e)
{
	return json_get_object(e->doc, "rows");
}

static int note(struct engine *e, json_t *members, struct err *err)
{
	_cleanup_json_ json_t *rows = json_object(), *all = json_object();
	json_object_update(rows, (json_t *)(uintptr_t)note_of(e));
	json_object_update(rows, members);
	json_decref(members);
	json_object_set(all, "rows", rows);
	int r = store_deployment_set(e->store, e->id, all, err);
	if (r < 0)
		return err_wrap(err, r, "record where the state lies");
	json_object_set(e->doc, "rows", rows);
	return 0;
}

static void digest_rows(const json_t *rows, char hex[DIGEST_HEX])
{
	_cleanup_free_ char *text = json_canonical(rows);
	digest_of(text, strlen(text), hex);
}

static int rows_here(struct engine *e, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *head = NULL;
	return rows_list(e->store, e->scope, ret, &head, err);
}

/* ---- the lock ---- */

static json_t *own_record(const struct engine *e)
{
	json_t *record = state_holder_make(e->store, e->doc);
	state_holder_renew(record, e->rows_renewals);
	return record;
}

/* Its journal says that it holds nothing any more: it died between the two, or the place lost the unlock. */
static bool is_left_over(const struct engine *e, const struct state_holder *h)
{
	_cleanup_json_ json_t *doc = NULL;
	if (h->deployment[0] == '\0' || strcmp(h->store_id, store_id(e->store)) != 0)
		return false;
	if (store_deployment_get(e->store, h->deployment, &doc, NULL) < 0)
		return false;
	enum deployment_state state = engine_state_of(doc);
	return state == DEPLOYMENT_REFUSED || state == DEPLOYMENT_PARKED ||
	       ((state == DEPLOYMENT_COMMITTED || state == DEPLOYMENT_UNDONE) && json_get_bool(doc, "cleaned", false));
}

static int tell_holder(struct engine *e, const struct state_holder *h, struct err *err)
{
	_cleanup_free_ char *who = state_holder_describe(h), *place = e->keeper.type->place(&e->keeper);
	err_set(err, ERR_LOCKED, "the state of %s in %s is locked %s", e->scope, place, who);
	return err_hint(err, ERR_LOCKED,
	                "wait for it (--wait 10m); if its machine is gone for good: davit state FILE --unlock");
}

/* takes: of this deployment, whoever locked it; its owner was proven dead. */
static int lock_once(struct engine *e, bool takes, struct err *err)
{
	_cleanup_json_ json_t *record = own_record(e), *holder = NULL;
	_cleanup_(state_holder_done) struct state_holder h = {0};
	int r = e->keeper.type->lock(&e->keeper, record, &holder, err);
	if (r == ERR_LOCKED) {
		state_holder_read(holder, &h);
		if (is_left_over(e, &h) || (takes && strcmp(h.deployment, e->id) == 0)) {
			r = e->keeper.type->unlock(&e->keeper, holder, err);
			json_decref(holder);
			holder = NULL;
			if (r == 0)
				r = e->keeper.type->lock(&e->keeper, record, &holder, err);
		}
	}
	if (r == ERR_LOCKED)
		return tell_holder(e, &h, err);
	_cleanup_free_ char *place = e->keeper.type->place(&e->keeper);
	if (r < 0)
		return err_wrap(err, r, "lock the state of %s in %s", e->scope, place);
	e->rows_locked = true;
	e->rows_renewed_ms = clock_mono_ms();
	return 0;
}

int engine_rows_lock(struct engine *e, int64_t deadline, struct err *err)
{
	bool said = false;
	char line[ERR_FRAME_SIZE];
	if (e->rows_at == NULL)
		return 0;
	int r = note(e, json_pack("{s:b}", "locked", 1), err);
	while (r == 0) {
		r = lock_once(e, false, err);
		if (r != ERR_LOCKED || clock_mono_ms() >= deadline)
			return r;
		if (!said)
			engine_say(e, "info", "waiting: %s", err_line(err, line, sizeof(line)));
		said = true;
		r = engine_pause(e, WAIT_MS, err);
	}
	return r;
}

int engine_rows_unlock(struct engine *e, struct err *err)
{
	if (e->rows_at == NULL || !json_get_bool(note_of(e), "locked", false))
		return 0;
	_cleanup_json_ json_t *record = own_record(e);
	struct err why = ERR_INIT;
	int r = e->keeper.type->unlock(&e->keeper, record, &why);
	/* Another's: ours was freed before, or a person took it away. */
	if (engine_may_retry(r) || r == ERR_AUTH) {
		*err = why;
		return err_wrap(err, r, "unlock the state of %s", e->scope);
	}
	e->rows_locked = false;
	return 0;
}

/* From the tick: by a handle of its own, while the first one is busy. What fails is tried again at the next; only a lost lock matters now. */
int engine_rows_renew(struct engine *e, struct err *err)
{
	if (!e->rows_locked || e->keeper.type->renew == NULL || clock_mono_ms() - e->rows_renewed_ms < RENEW_MS)
		return 0;
	if (e->rows_at->renewer == NULL && e->o->make_target(&e->rows_at->config, &e->rows_at->renewer, NULL) < 0)
		return 0;
	struct wait own = WAIT_INIT;
	struct wait within = wait_within(&own, LOCK_TICK_MS);
	struct keeper k = e->keeper;
	struct err why = ERR_INIT;
	k.of = &e->rows_at->renewer->view;
	k.wait = &within;
	e->rows_renewals++;
	e->rows_renewed_ms = clock_mono_ms();
	_cleanup_json_ json_t *record = own_record(e);
	if (k.type->renew(&k, record, &why) != ERR_FENCED)
		return 0;
	e->rows_locked = false;
	return err_set(err, ERR_CONFLICT, "the lock of the state of %s was taken away", e->scope);
}

/* ---- reading ---- */

/* For a plan, which takes no lock and writes nothing. */
int engine_rows_look(struct engine *e, struct err *err)
{
	_cleanup_(state_head_done) struct state_head head = {0};
	if (e->rows_at == NULL)
		return 0;
	int r = state_read(&e->keeper, &head, err);
	if (r < 0)
		return r;
	e->rows = head.document.rows != NULL ? json_incref(head.document.rows) : json_object();
	return 0;
}

int engine_rows_take(struct engine *e, struct err *err)
{
	_cleanup_(state_head_done) struct state_head head = {0};
	_cleanup_json_ json_t *here = NULL;
	char digest[DIGEST_HEX];
	struct err ignored = ERR_INIT;
	if (e->rows_at == NULL)
		return 0;
	int r = state_read(&e->keeper, &head, err);
	if (r < 0)
		return r;
	if (head.document.rows == NULL)
		head.document.rows = json_object();
	digest_rows(head.document.rows, digest);
	r = note(e,
	         json_pack("{s:I, s:s, s:s}", "serial", (json_int_t)head.document.serial, "lineage",
	                   head.document.lineage, "digest", digest),
	         err);
	/* What was left of another time is nothing: the document is the state. */
	if (r == 0 && rows_here(e, &here, &ignored) == 0 && json_equal(here, head.document.rows))
		return 0;
	return r < 0 ? r : rows_replace(e->store, e->scope, head.document.rows, NULL, NULL, NULL, err);
}

int engine_rows_take_over(struct engine *e, struct err *err)
{
	if (e->rows_at == NULL)
		return 0;
	int r = note(e, json_pack("{s:b}", "locked", 1), err);
	if (r == 0)
		r = lock_once(e, true, err);
	return r < 0 ? r : engine_rows_take(e, err);
}

/* ---- writing ---- */

static bool is_as_read(const struct engine *e, const struct state_document *now)
{
	const char *lineage = json_get_string(note_of(e), "lineage");
	return (now->deployment != NULL && strcmp(now->deployment, e->id) == 0) ||
	       (now->serial == json_get_int(note_of(e), "serial", -1) && lineage != NULL &&
	        strcmp(lineage, now->lineage) == 0);
}

static int write_over(struct engine *e, struct state_head *head, const json_t *rows, struct err *err)
{
	_cleanup_json_ json_t *record = own_record(e);
	if (!is_as_read(e, &head->document)) {
		char when[CLOCK_TEXT_SIZE];
		_cleanup_(str_done) struct str who = STR_INIT(512);
		const char *by = head->document.deployment != NULL ? head->document.deployment : "a person";
		str_append_safe(&who, by, MIN(strlen(by), 80U));
		return err_set(err, ERR_CONFLICT, "the state of %s was written by %s at %s meanwhile: serial %lld",
		               e->scope, str_peek(&who), clock_rfc3339(head->document.written_ms, when),
		               (long long)head->document.serial);
	}
	int r = e->rows_locked ? 0 : lock_once(e, false, err);
	return r < 0 ? r : state_write(&e->keeper, head, rows, e->id, record, err);
}

int engine_rows_publish(struct engine *e, struct err *err)
{
	_cleanup_(state_head_done) struct state_head head = {0};
	_cleanup_json_ json_t *rows = NULL, *none = json_object();
	char digest[DIGEST_HEX];
	const char *read = json_get_string(note_of(e), "digest");
	if (e->rows_at == NULL || read == NULL)
		return 0;
	int r = rows_here(e, &rows, err);
	if (r < 0)
		return r;
	digest_rows(rows, digest);
	bool writing = json_get_bool(note_of(e), "writing", false);
	if (!writing && strcmp(digest, read) == 0)
		return 0;
	if (!writing)
		r = note(e, json_pack("{s:b}", "writing", 1), err);
	if (r == 0)
		r = state_read(&e->keeper, &head, err);
	if (r < 0 || json_equal(rows, head.document.rows != NULL ? head.document.rows : none))
		return r;
	return write_over(e, &head, rows, err);
}

int engine_rows_commit(struct engine *e, struct err *err)
{
	int r = engine_rows_publish(e, err);
	/* The locks of the targets are ours all the same: what was changed there is taken back. */
	if (r == ERR_FENCED || r == ERR_LOCKED || r == ERR_PROTOCOL)
		r = err->code = ERR_CONFLICT;
	return r;
}

int engine_rows_settle(struct engine *e, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	int r = engine_rows_publish(e, &why);
	if (r == 0)
		return 0;
	if (engine_may_retry(r) || r == ERR_AUTH) {
		*err = why;
		engine_say(e, "info", "  davit recover %s, once the place of the state answers", e->id);
		return r;
	}
	engine_say(e, "warning", "the state was not written: %s", err_line(&why, line, sizeof(line)));
	return 0;
}

/* Of a journal's own rows, once they are decided. */
static int keep_copy(struct engine *e, struct err *err)
{
	_cleanup_(state_head_done) struct state_head head = {0};
	_cleanup_(state_document_done) struct state_document last = {0};
	struct err none = ERR_INIT;
	int64_t serial;
	int r = state_read(&e->keeper, &head, err);
	if (r < 0 || head.document.rows == NULL)
		return r;
	if (state_last_good(&e->keeper, &serial, &last, &none) == 0 && json_equal(last.rows, head.document.rows))
		return 0;
	_cleanup_json_ json_t *rows = json_incref(head.document.rows);
	return state_write(&e->keeper, &head, rows, e->id, NULL, err);
}

void engine_rows_keep_copy(struct engine *e)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	if (e->rows_at == NULL && keep_copy(e, &why) < 0)
		engine_say(e, "warning", "no copy of the state was kept: %s", err_line(&why, line, sizeof(line)));
}

/* ---- what steps see ---- */

static int damaged_here(struct engine *e, int r, struct err *err)
{
	_cleanup_(state_document_done) struct state_document good = {0};
	struct err ignored = ERR_INIT;
	int64_t serial;
	if (r != ERR_INVALID && r != ERR_PROTOCOL)
		return r;
	err_wrap(err, r, "the state of %s in the journal is damaged", e->scope);
	if (state_last_good(&e->keeper, &serial, &good, &ignored) == 0)
		err_hint(err, r, "the last good version is %lld: davit state FILE --restore %lld", (long long)serial,
		         (long long)serial);
	return r;
}

int engine_rows_get(struct engine *e, const char *target, const char *key, json_t **ret, struct err *err)
{
	if (e->rows == NULL && e->store != NULL) {
		int r = store_state_get(e->store, e->scope, target, key, ret, err);
		return r == ERR_NOT_FOUND ? r : r < 0 ? damaged_here(e, r, err) : r;
	}
	json_t *row = json_object_get(json_object_get(e->rows, target), key);
	/* Also a plan on a host that has no journal yet. */
	if (row == NULL)
		return err_set(err, ERR_NOT_FOUND, "no state of '%s'", key);
	*ret = json_incref(row);
	return 0;
}

int engine_rows_list(struct engine *e, const char *target, json_t **ret, struct err *err)
{
	if (e->rows == NULL && e->store != NULL) {
		int r = store_state_list(e->store, e->scope, target, ret, err);
		return r < 0 ? damaged_here(e, r, err) : r;
	}
	json_t *of = json_object_get(e->rows, target);
	*ret = of != NULL ? json_copy(of) : json_object();
	return 0;
}
