/* The engine's locks: begun in the journal, taken on the targets by name, renewed, and fenced against ourselves. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/secret/seal.h"
#include <string.h>

enum { POLL_MS = 500, FENCE_TRIES = 4, CLEAR_TRIES = 6, SEALED_MAX = 32 << 20 };

int engine_set_state(struct engine *e, enum deployment_state state, json_t *members, struct err *err)
{
	_cleanup_json_ json_t *all = members ? members : json_object();
	json_object_set_new(all, "state", json_string(deployment_state_name(state)));
	int r = store_deployment_set(e->store, e->id, all, err);
	if (r == ERR_NO_SPACE && state != DEPLOYMENT_OPEN && state != DEPLOYMENT_PREPARING) {
		/* The reserve was kept for this. */
		store_give_up_reserve(e->store);
		r = store_deployment_set(e->store, e->id, all, err);
	}
	if (r < 0) {
		e->maybe_open = e->maybe_open || state == DEPLOYMENT_OPEN;
		return err_wrap(err, r, "record that the deployment is %s", deployment_state_name(state));
	}
	const char *key;
	json_t *value;
	json_object_foreach(all, key, value) json_object_set(e->doc, key, value);
	e->state = state;
	return 0;
}

static bool may_seal(const struct engine *e)
{
	return e->o->seal && json_get_bool(e->deployment, "seal", true);
}

int engine_begin(struct engine *e, struct err *err)
{
	engine_make_doc(e);
	e->fresh_locks = true;
	/* Its logins are in no file here: recovery must not mistake it for one that died before its first lock. */
	if (!may_seal(e))
		json_object_set_new(e->doc, "unsealed", json_true());
	engine_note_machine(e);
	int r = lock_owner_claim(e->store, e->id, &e->owner_fd, NULL, err);
	if (r == 0)
		r = store_deployment_add(e->store, e->doc, err);
	if (r < 0) {
		lock_owner_drop(e->store, e->id, &e->owner_fd, true);
		return err_wrap(err, r, "begin the deployment");
	}
	e->recorded = true;
	e->state = DEPLOYMENT_PREPARING;
	/* Before the first lock: recovery needs the targets' logins to release it. */
	return engine_seal(e, err);
}

static void say_who(struct engine *e, const char *holder, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	if (store_deployment_get(e->store, holder, &doc, NULL) < 0)
		return;
	char since[CLOCK_TEXT_SIZE];
	const char *state = json_get_string(doc, "state"), *user = json_get_string(doc, "user"),
		   *host = json_get_string(doc, "host");
	bool held = state && strcmp(state, "held") == 0;
	err_set(err, ERR_LOCKED, "%s.%s is locked by the deployment %s (%s) of %s on %s since %s", e->name,
	        e->environment, holder, state ? state : "?", user ? user : "?", host ? host : "?",
	        clock_rfc3339(json_get_int(doc, "created_ms", 0), since));
	if (held)
		err_hint(err, ERR_LOCKED, "decide it: davit rollback %s, or davit unlock %s.%s --accept", holder,
		         e->name, e->environment);
	else if (json_get_bool(doc, "unsealed", false))
		err_hint(
			err, ERR_LOCKED,
			"wait for it (--wait 10m); if it died: davit recover FILE --secret NAME, since nothing was sealed");
	else
		err_hint(err, ERR_LOCKED, "wait for it (--wait 10m); if it died: davit recover %s; see davit show %s",
		         holder, holder);
}

/* Once: an onlooker should know what a stalled process waits for. */
static void say_waiting(struct engine *e, bool *said, const struct err *err)
{
	char line[ERR_FRAME_SIZE];
	if (!*said && err)
		engine_say(e, "info", "waiting: %s", err_line(err, line, sizeof(line)));
	*said = true;
}

static int lock_journal(struct engine *e, int64_t deadline, struct err *err)
{
	bool said = false;
	for (;;) {
		_cleanup_free_ char *holder = NULL;
		int r = store_lock(e->store, e->name, e->environment, e->id, &holder, err);
		if (r != ERR_LOCKED)
			return r;
		say_who(e, holder, err);
		if (clock_mono_ms() >= deadline)
			return ERR_LOCKED;
		say_waiting(e, &said, err);
		r = engine_pause(e, POLL_MS, err);
		if (r < 0)
			return r;
		/* The owner of the awaited lock may have died. */
		engine_recover_environment(e->o, e->name, e->environment);
	}
}

static int make_renewer(struct engine *e, struct etarget *et, struct err *err)
{
	int r = e->o->make_target(&et->config, &et->renewer, err);
	if (r < 0)
		return r;
	/* Not e->wait: its tick is where we come from. */
	et->renewer->view.wait = NULL;
	et->renewer->view.op_timeout_ms = LOCK_TICK_MS;
	return 0;
}

int engine_tick(void *engine, struct err *err)
{
	struct engine *e = engine;
	int64_t now = clock_mono_ms();
	engine_live_tick(e);
	/* A person who watches gets updates more often than a lock needs them. */
	if (now < e->next_renewal)
		return 0;
	e->next_renewal = e->o->live ? now + engine_alone_tick_ms(e) - e->wait.tick_ms / 2 : 0;
	for (size_t i = 0; i < e->host_count; i++) {
		struct etarget *et = &e->targets[i];
		if (!et->locked || et->t->lock_dir == NULL)
			continue;
		int r = et->renewer ? 0 : make_renewer(e, et, NULL);
		/* Called each time: does nothing after a success. */
		if (r == 0)
			r = target_open(&et->renewer->view, NULL);
		if (r < 0)
			continue;
		struct target *t = et->renewer;
		free(t->lock_dir);
		free(t->token);
		t->lock_dir = xstrdup(et->t->lock_dir);
		t->token = xstrdup(et->t->token);
		/* A renewal that fails is tried again at the next tick; only a lost lock matters now. */
		if (lock_renew(t, ++et->renewals, NULL) == ERR_FENCED)
			return err_set(err, ERR_FENCED, "the lock on '%s' was taken over", et->name);
	}
	return engine_rows_renew(e, err);
}

bool engine_changed_earlier(const struct engine *e, const struct etarget *et)
{
	bool changed = false;
	return store_target_changed(e->store, e->name, e->environment, et->name, &changed, NULL) == 0 && changed;
}

/* Retries an operation after a lost connection; a lock that somebody holds is not retried here. */
int engine_lock_target(struct engine *e, struct etarget *et, json_t **ret_holder, struct err *err)
{
	_cleanup_free_ char *dir = lock_dir_of(&et->t->view, e->name, e->environment);
	_cleanup_json_ json_t *record = lock_record(e->store, e->doc, NULL);
	/* Taken again for cleaning only: the decision is marked again. */
	if (e->state == DEPLOYMENT_COMMITTED || e->state == DEPLOYMENT_UNDONE)
		json_object_set_new(record, "mark", json_string(deployment_state_name(e->state)));
	et->earlier = engine_changed_earlier(e, et);
	if (et->earlier)
		json_object_set_new(record, "earlier", json_true());
	int r = 0;
	for (int i = 0; i < FENCE_TRIES; i++) {
		r = lock_take(et->t, dir, record, ret_holder, err);
		if (!engine_again(e, et, r, engine_tries_left_ms(300, i, FENCE_TRIES), err))
			break;
		if (engine_pause(e, 300 << i, NULL) < 0)
			break;
	}
	/* It may be ours although a later part failed: then it must be given back. */
	et->locked = et->t->lock_dir != NULL;
	return r;
}

/* Two names of one place: what is found there is the lock that was taken a moment ago. Only that proves it: machines that were cloned have the
 * same ids and even the same host keys. */
static int tell_same_place(struct engine *e, const struct etarget *et, const json_t *holder, int r, struct err *err)
{
	const char *token = json_get_string(holder, "token");
	for (const struct etarget *other = e->targets; token != NULL && other < et; other++) {
		if (!other->locked || strcmp(other->t->token, token) != 0)
			continue;
		err_clear(err);
		err_set(err, ERR_INVALID,
		        "the targets '%s' and '%s' are one: the same machine with the same directory %s", other->name,
		        et->name, et->t->view.facts.base);
		return err_hint(err, ERR_INVALID, "name it once, or give each a 'base' of its own");
	}
	return r;
}

static int lock_targets(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *holder = NULL;
	e->fresh_locks = false;
	for (size_t i = 0; i < e->host_count; i++) {
		int r = engine_lock_target(e, &e->targets[i], &holder, err);
		if (r < 0)
			return r == ERR_LOCKED ? tell_same_place(e, &e->targets[i], holder, r, err) : r;
	}
	return 0;
}

/* All must be ours at once: a process that stalled between two of them may have lost the first to another machine. */
static int check_all_locked(struct engine *e, struct err *err)
{
	for (size_t i = 0; e->host_count > 1 && i < e->host_count; i++) {
		struct target *t = e->targets[i].t;
		_cleanup_json_ json_t *record = NULL;
		int r = 0;
		for (int k = 0; k < FENCE_TRIES; k++) {
			r = lock_read(&t->view, t->lock_dir, &record, err);
			if (!engine_may_retry(r) || engine_pause(e, 300 << k, NULL) < 0)
				break;
		}
		const char *token = json_get_string(record, "token");
		if (r == ERR_NOT_FOUND || (r == 0 && (token == NULL || strcmp(token, t->token) != 0)))
			return err_set(err, ERR_FENCED, "the lock on '%s' was taken over while the others were made",
			               t->view.name);
		if (r < 0)
			return r;
	}
	return 0;
}

static void give_targets_back(struct engine *e)
{
	for (size_t i = 0; i < e->host_count; i++) {
		if (!e->targets[i].locked)
			continue;
		if (lock_release(e->targets[i].t, NULL) == 0)
			e->targets[i].locked = false;
	}
}

int engine_lock_all(struct engine *e, struct err *err)
{
	int64_t deadline = clock_mono_ms() + e->o->lock_wait_ms;
	bool said = false;
	int r = lock_journal(e, deadline, err);
	if (r == 0)
		r = engine_rows_lock(e, deadline, err);
	if (r < 0)
		return r;
	for (;;) {
		r = lock_targets(e, err);
		if (r != ERR_LOCKED || clock_mono_ms() >= deadline)
			break;
		say_waiting(e, &said, err);
		give_targets_back(e);
		int waited = engine_pause(e, POLL_MS, err);
		if (waited < 0)
			return waited;
	}
	if (r == 0)
		r = check_all_locked(e, err);
	if (r == 0)
		r = engine_rows_take(e, err);
	if (r == ERR_LOCKED)
		err_hint(err, r, "wait for it (--wait 10m); if its machine is gone: davit recover FILE --takeover");
	return r;
}

/* BASE if it stays (it may be a file system of its own), else its parent. */
static int barrier_behind(struct target *t, const char *base, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(&t->view, base, &n, err);
	if (r < 0)
		return r;
	const char *slash = strrchr(base, '/');
	_cleanup_free_ char *parent = slash && slash != base ? xstrndup(base, (size_t)(slash - base)) : xstrdup("/");
	const char *const paths[] = {n.type == NODE_ABSENT ? parent : base};
	return host_barrier(t, paths, 1, err);
}

/* Looks for this environment on the target. 0: nothing; 1: a lock of ours, or entries without a lock (the caller takes it and removes
 * them); 2: another deployment's lock. */
static int look_at_lock(struct engine *e, struct etarget *et, const char *dir, json_t **ret_ours, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_json_ json_t *record = NULL;
	int r = host_list(&et->t->view, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	r = lock_read(&et->t->view, dir, &record, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return names.count > 0 ? 1 : 0;
	}
	if (r < 0)
		return r;
	const char *id = json_get_string(record, "deployment"), *store = json_get_string(record, "store_id");
	if (id == NULL || strcmp(id, e->id) != 0 || store == NULL || strcmp(store, store_id(e->store)) != 0)
		return 2;
	*ret_ours = TAKE(record);
	return 1;
}

/* One try to give the lock back, remove leftovers without a lock (a power cut may have brought them back), make that durable. 1: look again. */
static int clear_once(struct engine *e, struct etarget *et, const char *dir, struct err *err)
{
	_cleanup_json_ json_t *ours = NULL, *holder = NULL;
	bool release = et->locked && et->t->lock_dir;
	int r = release ? lock_release(et->t, err) : lock_sweep(et->t, dir, e->id, err);
	if (r < 0 && r != ERR_FENCED)
		return r;
	et->locked = false;
	if (r == ERR_FENCED)
		r = lock_sweep(et->t, dir, e->id, err);
	if (r == 0)
		r = barrier_behind(et->t, et->t->view.facts.base, err);
	if (r < 0)
		return r;
	int there = look_at_lock(e, et, dir, &ours, err);
	if (there != 1)
		return there == 2 ? 0 : there;
	/* In a shared journal it may be of who took the deployment over from here. */
	r = store_check_claim(e->store, e->id, err);
	if (r == 0)
		r = ours ? engine_take_over_target(e, et, ours, err) : engine_lock_target(e, et, &holder, err);
	return r == ERR_LOCKED ? 0 : r < 0 ? r : 1;
}

static int clear_target(struct engine *e, struct etarget *et, struct err *err)
{
	_cleanup_free_ char *dir = lock_dir_of(&et->t->view, e->name, e->environment);
	int r = 0;
	for (int i = 0; i < CLEAR_TRIES; i++) {
		r = clear_once(e, et, dir, err);
		if (r == 0 || (r < 0 && !engine_may_retry(r)))
			return r;
		if (r < 0 && engine_pause(e, 300 << MIN(i, 5), NULL) < 0)
			return r;
	}
	return r < 0 ? r : err_set(err, ERR_TIMEOUT, "the lock on '%s' comes back again and again", et->name);
}

int engine_unlock_all(struct engine *e, struct err *err)
{
	int unlocked = engine_rows_unlock(e, err);
	if (unlocked < 0)
		return unlocked;
	/* Whoever has the journal's lock may be making its own there just now: a sweep would come in between. */
	if (e->fresh_locks)
		return 0;
	/* The anchor's mark tells another machine how it ended: it is removed last. */
	for (size_t i = e->host_count; i-- > 0;) {
		int r = e->targets[i].t->view.facts.base ? clear_target(e, &e->targets[i], err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int engine_take_over_target(struct engine *e, struct etarget *et, const json_t *former, struct err *err)
{
	_cleanup_free_ char *dir = lock_dir_of(&et->t->view, e->name, e->environment);
	_cleanup_json_ json_t *record = lock_record(e->store, e->doc, former);
	_cleanup_json_ json_t *seen = json_incref((json_t *)former);
	int r = 0;
	et->earlier = json_get_bool(former, "earlier", false);
	for (int i = 0; i < FENCE_TRIES; i++) {
		r = lock_take_over(et->t, dir, seen, record, err);
		if (!engine_may_retry(r))
			break;
		if (engine_pause(e, 300 << i, NULL) < 0)
			break;
		/* The try whose reply was lost may have succeeded: then we replace our own record. */
		json_t *now = NULL;
		if (lock_read(&et->t->view, dir, &now, NULL) == 0) {
			json_decref(seen);
			seen = now;
			/* It may have been decided meanwhile. */
			if (json_get_string(seen, "mark"))
				json_object_set(record, "mark", json_object_get(seen, "mark"));
		}
	}
	et->locked = r == 0;
	return r;
}

int engine_refence(struct engine *e, struct etarget *et, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	et = et->anchor;
	if (!et->locked || et->t->lock_dir == NULL)
		return 0;
	_cleanup_free_ char *token = xstrdup(et->t->token);
	int r = lock_read(&et->t->view, et->t->lock_dir, &now, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_FENCED, "the lock on '%s' is gone", et->name);
	if (r < 0)
		return r;
	const char *seen = json_get_string(now, "token");
	if (seen == NULL || strcmp(seen, token) != 0)
		return err_set(err, ERR_FENCED, "the lock on '%s' was taken over", et->name);
	return engine_take_over_target(e, et, now, err);
}

int engine_seal(struct engine *e, struct err *err)
{
	if (!may_seal(e))
		return 0;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SEALED_MAX);
	if (!json_text_secret(e->deployment, &text))
		return err_set(err, ERR_LIMIT, "seal what an undo would need: it is larger than %d MiB",
		               SEALED_MAX >> 20);
	int r = store_seal(e->store, e->id, str_peek(&text), text.len, err);
	if (r == 0 && !json_get_bool(e->doc, "sealed", false)) {
		/* So its absence later means that it was erased, which is the last action but one. */
		_cleanup_json_ json_t *members = json_pack("{s:b}", "sealed", 1);
		json_object_set_new(e->doc, "sealed", json_true());
		r = store_deployment_set(e->store, e->id, members, err);
	}
	return r < 0 ? err_wrap(err, r, "seal what an undo would need") : 0;
}
