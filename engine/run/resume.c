/* Claims and loads a deployment of the journal whose process is gone, from its sealed object or a file. */
#include "engine/run/run_priv.h"

#include "base/secret/seal.h"
#include <string.h>

enum { MAX_SEALED = 16 << 20 };

enum deployment_state engine_state_of(const json_t *doc)
{
	const char *name = json_get_string(doc, "state");
	for (int s = DEPLOYMENT_PREPARING; name && s <= DEPLOYMENT_PARKED; s++)
		if (strcmp(deployment_state_name((enum deployment_state)s), name) == 0)
			return (enum deployment_state)s;
	return DEPLOYMENT_HELD;
}

/* ---- loading ---- */

static int read_sealed(struct store *s, const char *id, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(MAX_SEALED + 1024);
	int r = store_unseal(s, id, &text, err);
	return r < 0 ? r : json_parse(str_peek(&text), text.len, MAX_SEALED, ret, err);
}

/* *ret_given: what was given in place of a sealed object that is not there; NULL: it is. */
static int find_object(const json_t *doc, const struct engine_options *o, const struct deployment *given, json_t **ret,
                       const struct deployment **ret_given, struct err *err)
{
	const char *id = json_get_string(doc, "id");
	_cleanup_json_ json_t *object = NULL;
	int r = read_sealed(o->store, id, &object, err);
	const struct deployment *other = given ? given : o->deployment;
	if (r < 0 && other) {
		object = json_deep_copy(other->json);
		*ret_given = other;
		r = 0;
	}
	if (r == ERR_NOT_FOUND) {
		err_set(err, ERR_AUTH, "what the undo of %s needs was not sealed on this host", id);
		return err_hint(err, ERR_AUTH,
		                "give the deployment file and its secrets: davit recover FILE --secret NAME");
	}
	if (r < 0)
		return r;
	json_object_set(object, "id", json_object_get(doc, "id"));
	json_object_set(object, "name", json_object_get(doc, "name"));
	json_object_set(object, "environment", json_object_get(doc, "environment"));
	*ret = TAKE(object);
	return 0;
}

int engine_load_history(struct engine *e, struct err *err)
{
	_cleanup_json_ json_t *steps = NULL, *events = NULL;
	int r = store_step_list(e->store, e->id, &steps, err);
	if (r == 0)
		r = store_event_list(e->store, e->id, &events, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *s = json_array_get(steps, i);
		int64_t index = json_get_int(s, "index", -1);
		if (index >= 0 && (size_t)index < e->step_count)
			e->steps[index].begun = json_get_bool(s, "begun", false) || e->from_copy;
	}
	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *event = json_array_get(events, i);
		int64_t index = json_get_int(event, "step", -1);
		const char *kind = json_get_string(event, "kind");
		const json_t *data = json_object_get(event, "data"), *healthy = json_object_get(data, "healthy");
		if (kind == NULL || strcmp(kind, "baseline") != 0 || index < 0 || (size_t)index >= e->step_count)
			continue;
		/* What single checks saw has neither. */
		if (healthy == NULL && !json_get_bool(data, "open", false))
			continue;
		e->steps[index].baseline_open = healthy == NULL;
		e->steps[index].has_baseline = healthy != NULL;
		e->steps[index].baseline_ok = json_is_true(healthy);
	}
	return 0;
}

/* The journal counts the steps that a rollback kept, a file has all its steps: the gate of a baseline is unknown then. */
static void doubt_baselines(struct engine *e)
{
	const struct estep *way_back = engine_way_back_of(e);
	for (size_t i = 0; way_back && (size_t)way_back->index + 1 < e->step_count && i < e->step_count; i++) {
		e->steps[i].has_baseline = e->steps[i].type->probe != NULL;
		e->steps[i].baseline_ok = false;
	}
}

/* Between the steps of a job none of our processes lives: the runner's does, as long as another step may come. */
static bool job_goes_on(const json_t *doc)
{
	const json_t *runner = json_object_get(doc, "runner");
	return runner && engine_state_of(doc) == DEPLOYMENT_OPEN && !lock_owner_process_gone(runner);
}

/* Loads it, owned or not, from the journal and the sealed object, or the file. */
int engine_load_known(struct engine *e, json_t *doc, const struct engine_options *o, const struct deployment *given,
                      struct err *err)
{
	_cleanup_json_ json_t *object = NULL;
	const struct deployment *file = NULL;
	int r = engine_check_machine(o->store, doc, err);
	if (r == 0)
		r = find_object(doc, o, given, &object, &file, err);
	if (r < 0)
		return r;
	bool from_file = file != NULL;
	struct deployment known = from_file ? *file : (struct deployment){0};
	known.json = object;
	r = from_file ? engine_load(e, &known, o, err) : engine_load_recorded(e, object, o, err);
	if (r == 0 && from_file)
		r = engine_recall_way_back(e, doc, err);
	if (r < 0)
		return r;
	e->recorded = true;
	e->from_file = from_file;
	e->doc = json_incref(doc);
	e->state = engine_state_of(e->doc);
	e->from_copy = json_get_bool(e->doc, "from_copy", false);
	if (e->state == DEPLOYMENT_UNDOING)
		e->hold = false;
	return 0;
}

int engine_load_to_look(struct engine *e, const json_t *doc, const struct engine_options *o, struct err *err)
{
	return engine_load_known(e, (json_t *)doc, o, o->deployment, err);
}

int engine_resume(struct engine *e, const json_t *doc, const struct engine_options *o, const struct deployment *given,
                  bool in_job, struct err *err)
{
	_cleanup_json_ json_t *fresh = NULL;
	const char *id = json_get_string(doc, "id");
	int fd = -1;
	bool elsewhere = false;
	int r = engine_check_machine(o->store, doc, err);
	if (r == 0)
		r = lock_owner_claim(o->store, id, &fd, in_job ? NULL : &elsewhere, err);
	if (r < 0)
		return r;
	/* Read again: the owner may have worked until just now. */
	r = store_deployment_get(o->store, id, &fresh, err);
	if (r == 0 && !in_job && !elsewhere && job_goes_on(fresh))
		r = err_set(err, ERR_LOCKED, "the job of the deployment %s is still running", id);
	if (r == 0)
		r = engine_load_known(e, fresh, o, given, err);
	if (r == 0 && elsewhere)
		r = engine_prove_gone(e, err);
	if (r < 0) {
		lock_owner_drop(o->store, id, &fd, elsewhere);
		return r;
	}
	e->owner_fd = fd;
	r = engine_load_history(e, err);
	if (e->from_file)
		doubt_baselines(e);
	return r;
}
