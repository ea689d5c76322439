/* Takes over from another machine, with a person's consent: the deployment from its file, the changes from the copies on the targets. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include <inttypes.h>
#include <string.h>

enum { LOOK_EVERY_MS = 5000, MAX_COUNTER = 4096 };

/* The values that change as long as the owner lives: the token and the counter. */
static int pulse(struct etarget *et, const char *dir, struct str *out, json_t **ret_record, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/renewed", dir);
	_cleanup_json_ json_t *record = NULL;
	int r = lock_read(&et->t->view, dir, &record, err);
	if (r < 0)
		return r;
	const char *token = json_get_string(record, "token");
	str_append(out, token ? token : "");
	str_append_c(out, '\n');
	r = host_read(&et->t->view, path, MAX_COUNTER, out, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	if (r == 0 && ret_record)
		*ret_record = TAKE(record);
	return r;
}

static int pulse_all(struct engine *e, struct str *out, json_t **records, struct err *err)
{
	for (size_t i = 0; i < e->host_count; i++) {
		_cleanup_free_ char *dir = lock_dir_of(&e->targets[i].t->view, e->name, e->environment);
		int r = pulse(&e->targets[i], dir, out, records ? &records[i] : NULL, err);
		if (r < 0 && r != ERR_NOT_FOUND)
			return r;
		if (r == ERR_NOT_FOUND)
			err_clear(err);
		str_append(out, "\n--\n");
	}
	return 0;
}

int engine_stands_still(struct engine *e, int64_t after_ms, struct err *err)
{
	_cleanup_(str_done) struct str first = STR_INIT(1 << 20);
	int64_t until = clock_mono_ms() + after_ms;
	int r = pulse_all(e, &first, NULL, err);
	while (r == 0 && clock_mono_ms() < until) {
		_cleanup_(str_done) struct str now = STR_INIT(1 << 20);
		r = engine_pause(e, MIN(LOOK_EVERY_MS, until - clock_mono_ms()), err);
		if (r == 0)
			r = pulse_all(e, &now, NULL, err);
		if (r == 0 && strcmp(str_peek(&now), str_peek(&first)) != 0)
			return err_set(err, ERR_LOCKED, "the owner of the lock lives: its counter moves");
	}
	return r;
}

/* The one deployment that the locks name; NULL: none. */
static int named_by(struct engine *e, json_t **records, const json_t **ret, struct err *err)
{
	*ret = NULL;
	for (size_t i = 0; i < e->host_count; i++) {
		const char *id = json_get_string(records[i], "deployment");
		const char *first = *ret ? json_get_string(*ret, "deployment") : NULL;
		if (id == NULL)
			continue;
		if (first && strcmp(first, id) != 0)
			return err_set(err, ERR_CONFLICT, "the targets are locked by two deployments: %s and %s", first,
			               id);
		if (*ret == NULL)
			*ret = records[i];
	}
	return 0;
}

static int check_targets(struct engine *e, const json_t *record, struct err *err)
{
	const json_t *names = json_object_get(record, "targets");
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (name && engine_target(e, name) == NULL)
			return err_set(
				err, ERR_REFUSED,
				"the deployment also changed the target '%s', which the file does not name any more",
				name);
	}
	return 0;
}

static int record_here(struct engine *e, const json_t *record, struct err *err)
{
	_cleanup_json_ json_t *known = NULL;
	int r = store_deployment_get(e->store, e->id, &known, NULL);
	engine_make_doc(e);
	json_object_set_new(e->doc, "state", json_string(deployment_state_name(DEPLOYMENT_OPEN)));
	json_object_set_new(e->doc, "from_copy", json_true());
	json_object_set_new(e->doc, "created_ms", json_integer(json_get_int(record, "made_ms", 0)));
	if (json_get_string(record, "commit"))
		json_object_set(e->doc, "commit", json_object_get(record, "commit"));
	if (r == ERR_NOT_FOUND)
		r = store_deployment_add(e->store, e->doc, err);
	else if (r == 0)
		r = store_deployment_set(e->store, e->id, e->doc, err);
	if (r < 0)
		return r;
	e->recorded = true;
	e->from_copy = true;
	e->state = DEPLOYMENT_OPEN;
	r = store_lock(e->store, e->name, e->environment, e->id, NULL, err);
	return r < 0 ? r : engine_seal(e, err);
}

static int take_all(struct engine *e, json_t **records, struct err *err)
{
	for (size_t i = 0; i < e->host_count; i++) {
		if (records[i] == NULL)
			continue;
		int r = engine_take_over_target(e, &e->targets[i], records[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int decide(struct engine *e, const char *mark, struct err *err)
{
	if (mark && strcmp(mark, "committed") == 0)
		return engine_finish_commit(e, err) < 0 ? 4 : 0;
	if (mark && strcmp(mark, "undone") == 0)
		return engine_finish_undone(e, 1, err) < 0 ? 4 : 0;
	if (e->reason.code == 0)
		err_set(&e->reason, ERR_FAILED, "the machine that deployed is gone");
	if (e->hold && engine_anything_begun(e)) {
		engine_hold(e, "the machine that deployed is gone; on_failure is hold", err);
		err_set(err, ERR_CONFLICT, "the deployment %s is held: the machine that deployed is gone", e->id);
		err_hint(err, ERR_CONFLICT, "davit rollback %s, or davit unlock %s.%s --accept", e->id, e->name,
		         e->environment);
		return 4;
	}
	/* Gates without a known baseline are shown and do not decide. */
	for (size_t i = 0; i < e->step_count; i++)
		e->steps[i].has_baseline = e->steps[i].type->probe != NULL;
	return engine_undo_and_decide(e, 1, err);
}

/* A machine that died while it took or gave back the locks leaves names without a lock. */
static int sweep_targets(struct engine *e, struct err *err)
{
	engine_make_doc(e);
	return engine_unlock_all(e, err) < 0 ? 4 : 0;
}

static int take_over(struct engine *e, const struct engine_recover_options *ro, json_t **records, struct err *err)
{
	const json_t *record = NULL;
	_cleanup_free_ char *mark = NULL;
	_cleanup_(str_done) struct str ignored = STR_INIT(1 << 20);
	int r = engine_open_targets(e, err);
	if (r == 0)
		r = pulse_all(e, &ignored, records, err);
	if (r == 0)
		r = named_by(e, records, &record, err);
	if (r < 0)
		return r == ERR_CONFLICT ? 4 : 5;
	if (record == NULL) {
		engine_say(e, "info", "no target carries a lock of %s.%s: nothing to recover", e->name, e->environment);
		return ro->takeover ? sweep_targets(e, err) : 0;
	}
	if (!ro->takeover) {
		_cleanup_free_ char *who = lock_describe(record);
		err_set(err, ERR_LOCKED, "the targets are locked %s", who);
		err_hint(err, ERR_LOCKED, "if that machine is gone for good: davit recover FILE --takeover");
		return 5;
	}
	free(e->id);
	e->id = xstrdup(json_get_string(record, "deployment"));
	e->facts.id = e->id;
	r = check_targets(e, record, err);
	if (r == 0)
		r = engine_stands_still(e, ro->takeover_after_ms > 0 ? ro->takeover_after_ms : LOCK_STANDSTILL_MS, err);
	if (r < 0)
		return r == ERR_REFUSED ? 2 : 5;
	r = lock_owner_claim(e->store, e->id, &e->owner_fd, NULL, err);
	if (r == 0)
		engine_make_doc(e);
	if (r == 0)
		r = take_all(e, records, err);
	if (r == 0)
		r = engine_mark_there(e, &mark, err);
	if (r < 0)
		return r == ERR_FENCED || r == ERR_LOCKED ? 5 : 4;
	r = record_here(e, record, err);
	if (r == 0)
		r = engine_rows_take_over(e, err);
	if (r == 0)
		r = engine_import_changes(e, err);
	for (size_t i = 0; r == 0 && i < e->host_count; i++)
		engine_alone_hear(e, &e->targets[i]);
	if (r < 0)
		return 4;
	return decide(e, mark, err);
}

int engine_recover_from_targets(const struct engine_recover_options *ro, const struct engine_options *o,
                                struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	int r = engine_load(&e, ro->deployment, o, err);
	if (r < 0)
		return 2;
	json_t **records = xcalloc(e.target_count + 1, sizeof(json_t *));
	int status = take_over(&e, ro, records, err);
	for (size_t i = 0; i < e.target_count; i++)
		json_decref(records[i]);
	free(records);
	engine_result_fill(&e, ret, status);
	return status;
}
