#include "engine/run/rows_place.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/sys/host.h"
#include "engine/lock/lock.h"
#include "engine/run/run_priv.h"
#include "engine/state/holder.h"
#include "engine/state/state.h"

#include <string.h>

enum { LOOK_MS = 5000 };

static int find_target(const json_t *places, const char *name, const struct engine_options *o, struct rows_place *p,
                       struct err *err)
{
	const json_t *config = json_object_get(json_object_get(places, "targets"), name);
	if (config == NULL)
		return err_set(err, ERR_INVALID, "'state' names the target '%s', and there is none", name);
	int r = target_config_use(o->target_kinds, name, config, o->make_target, &p->t, err);
	if (r == 0)
		r = target_open(&p->t->view, err);
	if (r < 0)
		return r;
	p->t->view.wait = o->wait;
	if (p->t->view.kind->keeper == NULL)
		return err_set(err, ERR_INVALID, "the target '%s' cannot keep a state: it is of the kind '%s'", name,
		               p->t->view.kind->name);
	p->keeper.type = p->t->view.kind->keeper;
	p->keeper.of = &p->t->view;
	return 0;
}

int rows_place_open(const json_t *places, const struct engine_options *o, struct rows_place *ret, struct err *err)
{
	const char *name = json_get_string(places, "name"), *environment = json_get_string(places, "environment"),
		   *state = json_get_string(places, "state");
	*ret = (struct rows_place){.name = xstrdup(name),
	                           .environment = xstrdup(environment),
	                           .scope = xasprintf("%s.%s", name, environment),
	                           .store = o->store};
	ret->keeper = (struct keeper){.type = &state_journal,
	                              .of = o->store,
	                              .name = ret->scope,
	                              .dir = store_dir(o->store),
	                              .wait = o->wait};
	return state != NULL ? find_target(places, state, o, ret, err) : 0;
}

void rows_place_done(struct rows_place *p)
{
	target_free(p->t);
	free(p->name);
	free(p->environment);
	free(p->scope);
	*p = (struct rows_place){0};
}

int rows_place_show(struct rows_place *p, json_t **ret, struct err *err)
{
	_cleanup_(state_head_done) struct state_head head = {0};
	_cleanup_json_ json_t *versions = NULL;
	_cleanup_free_ char *place = p->keeper.type->place(&p->keeper);
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE * 2];
	int read = state_read(&p->keeper, &head, &why);
	if (read < 0 && read != ERR_PROTOCOL) {
		*err = why;
		return read;
	}
	int r = state_versions(&p->keeper, &head, &versions, err);
	if (r < 0)
		return r;
	json_t *o = json_pack("{s:s, s:s, s:O}", "state", p->scope, "at", place, "versions", versions);
	if (read < 0)
		json_object_set_new(o, "damaged", json_stringf("%s", err_line(&why, line, sizeof(line))));
	else
		json_object_set_new(o, "serial", json_integer(head.document.serial));
	*ret = o;
	return 0;
}

/* ---- the lock ---- */

/* A person's, not a deployment's. */
static json_t *own_record(const struct rows_place *p)
{
	char word[17];
	rand_hex(word, 16);
	_cleanup_free_ char *id = xasprintf("by-hand-%s", word);
	_cleanup_json_ json_t *who =
		json_pack("{s:s, s:s, s:s}", "id", id, "name", p->name, "environment", p->environment);
	return state_holder_make(p->store, who);
}

static int nothing_undecided(const struct rows_place *p, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.name = p->name, .environment = p->environment, .undecided = true};
	int r = store_deployment_list(p->store, &filter, &list, err);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *doc = json_array_get(list, i);
		const char *id = json_get_string(doc, "id");
		if (engine_state_of(doc) == DEPLOYMENT_PARKED)
			continue;
		err_set(err, ERR_LOCKED, "the deployment %s of %s is not decided yet", id, p->scope);
		return err_hint(err, ERR_LOCKED, "davit show %s; davit recover %s", id, id);
	}
	return r;
}

static int tell_holder(const struct rows_place *p, const json_t *holder, struct err *err)
{
	_cleanup_(state_holder_done) struct state_holder h = {0};
	state_holder_read(holder, &h);
	_cleanup_free_ char *who = state_holder_describe(&h);
	return err_set(err, ERR_LOCKED, "the state of %s is locked %s", p->scope, who);
}

int rows_place_restore(struct rows_place *p, int64_t serial, int64_t *ret_new, struct err *err)
{
	_cleanup_json_ json_t *record = own_record(p), *holder = NULL;
	struct err ignored = ERR_INIT;
	int r = nothing_undecided(p, err);
	/* The journal's rows change in one transaction, and only where they are as they were read. */
	if (r < 0 || p->t == NULL)
		return r < 0 ? r : state_restore(&p->keeper, serial, NULL, ret_new, err);
	r = p->keeper.type->lock(&p->keeper, record, &holder, err);
	if (r < 0)
		return r == ERR_LOCKED ? tell_holder(p, holder, err) : r;
	r = state_restore(&p->keeper, serial, record, ret_new, err);
	int freed = p->keeper.type->unlock(&p->keeper, record, r == 0 ? err : &ignored);
	return r < 0 ? r : freed;
}

/* 1: nobody needs the lock any more, 0: nobody knows, negative: it lives. */
static int is_proven(const struct rows_place *p, const struct state_holder *h, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	if (strcmp(h->store_id, store_id(p->store)) == 0 &&
	    store_deployment_get(p->store, h->deployment, &doc, NULL) == 0) {
		int r = nothing_undecided(p, err);
		return r < 0 ? r : 1;
	}
	return strcmp(h->machine_id, host_machine_id()) == 0 && lock_owner_process_gone(h->process);
}

/* Its record stands still for so long. A place without leases says nothing of that. */
static int stands_still(struct rows_place *p, const json_t *record, const json_t *holder, int64_t after_ms,
                        struct wait *w, struct err *err)
{
	int64_t end = clock_mono_ms() + after_ms;
	while (p->keeper.type->renew != NULL && clock_mono_ms() < end) {
		_cleanup_json_ json_t *now = NULL;
		int r = wait_ms(w, MIN((int64_t)LOOK_MS, end - clock_mono_ms()), err);
		if (r == 0)
			r = p->keeper.type->lock(&p->keeper, record, &now, err);
		if (r != ERR_LOCKED)
			return r;
		if (!json_equal(now, holder))
			return err_set(err, ERR_LOCKED, "the holder of the lock lives: it was renewed meanwhile");
	}
	return 0;
}

int rows_place_unlock(struct rows_place *p, bool consent, int64_t after_ms, struct wait *w, struct err *err)
{
	_cleanup_json_ json_t *record = own_record(p), *holder = NULL;
	_cleanup_(state_holder_done) struct state_holder h = {0};
	struct err held = ERR_INIT;
	if (p->t == NULL) {
		err_set(err, ERR_INVALID, "the state of %s lies in the journal, which locks with the deployment",
		        p->scope);
		return err_hint(err, ERR_INVALID, "davit unlock %s", p->scope);
	}
	int r = p->keeper.type->lock(&p->keeper, record, &holder, &held);
	if (r == 0) {
		r = p->keeper.type->unlock(&p->keeper, record, err);
		return r < 0 ? r : 1;
	}
	if (r != ERR_LOCKED) {
		*err = held;
		return r;
	}
	state_holder_read(holder, &h);
	r = is_proven(p, &h, err);
	if (r == 0 && !consent) {
		tell_holder(p, holder, err);
		return err_hint(err, ERR_LOCKED, "if its machine is gone for good: --takeover");
	}
	if (r == 0)
		r = stands_still(p, record, holder, after_ms, w, err);
	if (r < 0)
		return r;
	/* As it lies there, so that one without an id goes too. */
	return p->keeper.type->unlock(&p->keeper, holder, err);
}
