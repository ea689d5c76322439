/* Undoes an open or held deployment by its journal; rolls back a committed one by a new deployment. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include <string.h>

/* ---- the choice ---- */

static int list_candidates(const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *all = NULL, *list = json_array();
	const struct store_filter filter = {.undecided = true};
	int r = store_deployment_list(o->store, &filter, &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		json_t *doc = json_array_get(all, i);
		enum deployment_state state = engine_state_of(doc);
		if (state == DEPLOYMENT_OPEN || state == DEPLOYMENT_UNDOING || state == DEPLOYMENT_HELD)
			json_array_append(list, doc);
	}
	if (r == 0)
		*ret = TAKE(list);
	return r;
}

int engine_find_for_rollback(const char *id, const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	if (id)
		return store_deployment_get(o->store, id, ret, err);
	int r = list_candidates(o, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; o->job_key && i < json_array_size(list); i++) {
		const char *key = json_get_string(json_array_get(list, i), "job_key");
		if (key && strcmp(key, o->job_key) == 0) {
			*ret = json_incref(json_array_get(list, i));
			return 0;
		}
	}
	if (json_array_size(list) == 1 && o->job_key == NULL) {
		*ret = json_incref(json_array_get(list, 0));
		return 0;
	}
	_cleanup_(str_done) struct str names = STR_INIT(4096);
	for (size_t i = 0; i < json_array_size(list); i++)
		str_appendf(&names, "%s%s", i ? ", " : "", json_get_string(json_array_get(list, i), "id"));
	if (json_array_size(list) == 0 || o->job_key)
		err_set(err, ERR_INVALID,
		        o->job_key ? "this job has no open deployment" : "no deployment is open or held here");
	else
		err_set(err, ERR_INVALID, "several deployments are open or held here: %s", str_peek(&names));
	return err_hint(err, ERR_INVALID, "davit rollback ID; davit history lists them");
}

/* ---- open or held ---- */

static int rollback_open(const json_t *doc, const struct engine_options *o, struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_free_ char *mark = NULL;
	size_t found = 0;
	const char *key = json_get_string(doc, "job_key");
	bool own_job = key && o->job_key && strcmp(key, o->job_key) == 0;
	bool held = engine_state_of(doc) == DEPLOYMENT_HELD;
	int r = engine_resume(&e, doc, o, o->deployment, own_job || held, err);
	if (r < 0)
		return r == ERR_LOCKED ? 5 : 4;
	r = engine_take_over_all(&e, &mark, &found, err);
	int status;
	if (r < 0) {
		status = r == ERR_LOCKED ? 5 : 4;
	} else if (mark && strcmp(mark, "committed") == 0) {
		r = engine_finish_commit(&e, err);
		status = r < 0 ? 4 : 2;
		if (r >= 0)
			err_set(err, ERR_REFUSED,
			        "the deployment %s was committed; run davit rollback %s again to roll it back", e.id,
			        e.id);
	} else if (mark && strcmp(mark, "undone") == 0) {
		status = engine_finish_undone(&e, 1, err) < 0 ? 4 : 0;
	} else if (found == 0) {
		status = engine_settle_by_looking(&e, err);
	} else {
		err_set(&e.reason, ERR_FAILED, "rolled back");
		status = e.from_copy && engine_import_changes(&e, err) < 0 ? 4 : engine_undo_and_decide(&e, 1, err);
	}
	engine_result_fill(&e, ret, status);
	return status;
}

/* ---- committed: a new deployment that goes back ---- */

/* Such a deployment does not matter: it changed nothing, so the state is still that of the previous one. */
static bool changed_nothing(struct store *store, const char *id)
{
	_cleanup_(plan_done) struct plan changes = {0};
	return store_change_list(store, id, &changes, NULL) == 0 && changes.count == 0;
}

static int must_be_newest(const json_t *doc, const struct engine_options *o, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const char *id = json_get_string(doc, "id");
	const struct store_filter filter = {.name = json_get_string(doc, "name"),
	                                    .environment = json_get_string(doc, "environment")};
	int r = store_deployment_list(o->store, &filter, &list, err);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const char *other = json_get_string(json_array_get(list, i), "id");
		if (engine_state_of(json_array_get(list, i)) != DEPLOYMENT_COMMITTED)
			continue;
		if (strcmp(other, id) == 0)
			return 0;
		if (changed_nothing(o->store, other))
			continue;
		err_set(err, ERR_REFUSED, "%s is not the newest committed deployment: %s is", id, other);
		return err_hint(err, ERR_REFUSED, "davit rollback --to RELEASE");
	}
	return r;
}

/* The file's steps are kept for their after_undo and their gates. */
static int load_file(struct engine *e, const json_t *doc, const char *to, const struct engine_options *o,
                     struct err *err)
{
	if (o->deployment == NULL) {
		err_set(err, ERR_INVALID,
		        "the rollback of a committed deployment that this host did not keep needs its file");
		return err_hint(err, ERR_INVALID, "davit rollback %s%s --file FILE", to ? "--to " : "",
		                to ? to : json_get_string(doc, "id"));
	}
	_cleanup_json_ json_t *object = json_deep_copy(o->deployment->json);
	struct deployment given = *o->deployment;
	given.json = object;
	json_object_del(object, "id");
	return engine_load(e, &given, o, err);
}

int engine_load_way_back(struct engine *e, const json_t *doc, const char *to, const struct engine_options *o,
                         struct err *err)
{
	_cleanup_(plan_done) struct plan changes = {0};
	_cleanup_json_ json_t *input = NULL;
	int r = to ? 0 : must_be_newest(doc, o, err);
	if (r == 0)
		r = load_file(e, doc, to, o, err);
	if (r == 0 && to == NULL)
		r = engine_changes_of(o, json_get_string(doc, "id"), &changes, err);
	if (r == 0 && to)
		input = engine_way_to_release(e, to);
	else if (r == 0)
		r = engine_way_behind(e, &changes, &input, err);
	return r == 0 ? engine_add_way_back(e, e->step_count, input, err) : r;
}

static bool switches_nothing(const struct estep *s)
{
	for (size_t i = 0; i < s->target_count; i++)
		if (s->plans[i].count > 0)
			return false;
	return true;
}

/* said: so many things were known to stay before the plan. NULL: all of it is as before already. */
static const char *why_nothing(struct engine *e, size_t said)
{
	const json_t *input = engine_way_back_of(e)->input;
	bool none = json_array_size(json_object_get(input, "switches")) == 0 &&
	            json_array_size(json_object_get(input, "formers")) == 0;
	return json_string_value(json_array_get(e->stays, none ? 0 : said));
}

static int nothing_to_go_back_to(struct engine *e, const char *to, size_t said, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = to ? engine_releases_there(e, &names, err) : 0;
	if (r < 0)
		return r;
	const char *why = why_nothing(e, said);
	if (to == NULL && why) {
		err_set(err, ERR_REFUSED, "nothing of that deployment can be taken back: %s", why);
		return err_hint(err, ERR_REFUSED, "deploy the commit of before; `davit history` has it");
	}
	if (to == NULL || strv_has(&names, to))
		return err_set(err, ERR_REFUSED, "there is nothing to go back to: %s is current already",
		               to ? to : "what was valid before it");
	_cleanup_(str_done) struct str text = STR_INIT(8192);
	for (size_t i = 0; i < names.count; i++)
		str_appendf(&text, "%s%s", i ? ", " : "", names.items[i]);
	err_set(err, ERR_REFUSED, "no target has a release '%s'", to);
	return err_hint(err, ERR_REFUSED, "the releases there are: %s; `davit releases` tells more of them",
	                names.count ? str_peek(&text) : "none");
}

int engine_plan_way_back(struct engine *e, struct err *err)
{
	struct estep *s = engine_way_back_of(e);
	size_t said = json_array_size(e->stays);
	int r = engine_plan_step(e, s, s->plans, err);
	if (r == 0 && switches_nothing(s))
		r = nothing_to_go_back_to(e, json_get_string(s->input, "release"), said, err);
	return r;
}

enum { STAYS_SAID = 20 };

static void say_what_happens(struct engine *e)
{
	const struct estep *s = engine_way_back_of(e);
	for (size_t i = 0; i < s->target_count; i++) {
		for (size_t k = 0; k < s->plans[i].warnings.count; k++)
			engine_say(e, "warning", "%s", s->plans[i].warnings.items[k]);
		for (size_t k = 0; k < s->plans[i].count; k++)
			engine_say(e, "info", "%s:%s: %s", s->etargets[i]->name, s->plans[i].changes[k].path,
			           s->plans[i].changes[k].summary);
	}
	size_t count = json_array_size(e->stays);
	for (size_t i = 0; i < MIN(count, (size_t)STAYS_SAID); i++)
		engine_say(e, "info", "not taken back: %s", json_string_value(json_array_get(e->stays, i)));
	if (count > STAYS_SAID)
		engine_say(e, "info", "not taken back: %zu more, see davit show %s", count - STAYS_SAID, e->id);
}

static bool comes_after(struct engine *e, const struct estep *s)
{
	return s->type->restore && !engine_is_unresolved(s->input) && !engine_led_back(e, s);
}

static int restart_on(struct engine *e, struct estep *s, size_t i, const struct plan *all, struct err *err)
{
	_cleanup_free_ char *release = NULL;
	int r = engine_former_release(e, all, s->etargets[i], &release, err);
	if (r == 0)
		r = wait_check(&e->wait, err);
	return r < 0 ? r : s->type->restore(&s->context, s->targets[i], release, err);
}

static int restart_all(struct engine *e, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_changes(e, &all, err);
	for (size_t i = 0; r == 0 && i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		for (size_t j = 0; r == 0 && comes_after(e, s) && j < s->target_count; j++)
			r = restart_on(e, s, j, &all, err);
		if (r < 0)
			return err_wrap(err, r, "%s", s->display);
	}
	return r;
}

static int gate_all(struct engine *e, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		int r = s->type->probe && !engine_is_unresolved(s->input) ? s->type->probe(&s->context, false, err) : 0;
		if (r < 0)
			return err_wrap(err, r, "%s", s->display);
	}
	return 0;
}

static int prepare_way_back(struct engine *e, struct err *err)
{
	int r = engine_open_targets(e, err);
	if (r == 0)
		r = engine_lock_all(e, err);
	if (r == 0)
		r = engine_plan_way_back(e, err);
	if (r == 0)
		r = engine_baseline(e, err);
	if (r == 0)
		r = engine_set_state(e, DEPLOYMENT_OPEN, NULL, err);
	return r;
}

static int go_back(struct engine *e, struct engine_result *ret, struct err *err)
{
	struct estep *s = engine_way_back_of(e);
	int r = prepare_way_back(e, err);
	if (r < 0) {
		int status = r == ERR_LOCKED ? 5 : r == ERR_CANCELLED ? 130 : 2;
		engine_refuse(e, status, err);
		engine_result_fill(e, ret, status);
		return status;
	}
	say_what_happens(e);
	r = engine_apply_step(e, s, err);
	if (r == 0)
		r = restart_all(e, err);
	if (r == 0)
		r = gate_all(e, err);
	if (r == 0)
		r = engine_commit(e, err);
	if (r < 0) {
		engine_fail(e, r, err, ret);
		return ret->exit_status;
	}
	engine_result_fill(e, ret, 0);
	return 0;
}

static int rollback_committed(const json_t *doc, const char *to, const struct engine_options *o,
                              struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	if (o->deployment)
		engine_recover_environment(o, json_get_string(o->deployment->json, "name"),
		                           json_get_string(o->deployment->json, "environment"));
	int r = engine_load_way_back(&e, doc, to, o, err);
	if (r == 0)
		e.stays = engine_stays_behind(&e, doc, to);
	if (r == 0)
		r = engine_begin(&e, err);
	if (r == 0)
		return go_back(&e, ret, err);
	engine_result_fill(&e, ret, 2);
	return 2;
}

int engine_rollback(const char *id, const char *to, const json_t *secrets, const struct engine_options *o,
                    struct engine_result *ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	(void)secrets;
	memset(ret, 0, sizeof(*ret));
	if (to) {
		ret->exit_status = rollback_committed(NULL, to, o, ret, err);
		return 0;
	}
	int r = engine_find_for_rollback(id, o, &doc, err);
	if (r == ERR_NOT_FOUND)
		err_hint(err, r, "davit history lists the deployments that this host knows");
	if (r < 0) {
		ret->exit_status = 2;
		return 0;
	}
	int status;
	switch (engine_state_of(doc)) {
	case DEPLOYMENT_COMMITTED:
		status = rollback_committed(doc, NULL, o, ret, err);
		break;
	case DEPLOYMENT_REFUSED:
		status = 0;
		break;
	case DEPLOYMENT_PARKED:
		status = 2;
		err_set(err, ERR_REFUSED, "the deployment %s is parked: nothing was changed, nothing is taken back",
		        json_get_string(doc, "id"));
		err_hint(err, ERR_REFUSED, "davit reject %s closes it", json_get_string(doc, "id"));
		break;
	case DEPLOYMENT_UNDONE:
		status = json_get_bool(doc, "cleaned", false) ? 0 : engine_recover_one(doc, o, o->deployment, ret, err);
		break;
	case DEPLOYMENT_PREPARING:
		status = engine_recover_one(doc, o, o->deployment, ret, err);
		break;
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
	case DEPLOYMENT_HELD:
	default:
		status = rollback_open(doc, o, ret, err);
		break;
	}
	ret->exit_status = status;
	if (ret->id == NULL)
		ret->id = xstrdup(json_get_string(doc, "id"));
	return 0;
}
