/* The plan of a rollback: the switches or the changes to take back, what runs afterwards, and what stays as it is. */
#include "engine/run/run_priv.h"

#include <string.h>

/* ---- things that stay ---- */

static void add_stay(json_t *stays, const char *text)
{
	for (size_t i = 0; i < json_array_size(stays); i++)
		if (strcmp(json_string_value(json_array_get(stays, i)), text) == 0)
			return;
	json_array_append_new(stays, json_string_lossy(text, strlen(text)));
}

void engine_add_stay(struct engine *e, const char *text)
{
	if (e->stays)
		add_stay(e->stays, text);
}

/* Releases are switched. */
static bool is_of_releases(const struct change *c)
{
	const struct step_info *info = step_info(c->step);
	bool led = json_object_get(json_object_get(c->extra, "of"), "step") != NULL;
	return (info != NULL && info->releases != NULL) || (!led && strcmp(c->step, engine_way_back.info->name) == 0);
}

/* A snapshot does not change the deployed files. */
static void add_changes_that_stay(struct engine *e, json_t *stays, const struct plan *changes, bool all)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *c = &changes->changes[i];
		bool led = !all && engine_leads_back(e, c);
		if (c->step == NULL || change_has(c, CHANGE_ASIDE) || is_of_releases(c) || c->state == CHANGE_UNDONE ||
		    led)
			continue;
		_cleanup_free_ char *text =
			change_has(c, CHANGE_BLIND)
				? xasprintf("what `%s` did on %s", c->summary ? c->summary : c->path, c->target)
				: xasprintf("%s:%s (%s)", c->target, c->path, c->step);
		add_stay(stays, text);
	}
}

static void add_deployment(struct engine *e, json_t *stays, const char *id, bool all)
{
	_cleanup_(plan_done) struct plan changes = {0};
	if (id && engine_changes_of(e->o, id, &changes, NULL) == 0)
		add_changes_that_stay(e, stays, &changes, all);
}

/* Adds those that were committed since the release was made. If that time is unknown here, nothing is said of them. */
static void add_newer(struct engine *e, json_t *stays, const char *release)
{
	_cleanup_json_ json_t *list = NULL, *made = NULL;
	const struct store_filter filter = {.name = e->name, .environment = e->environment};
	if (store_deployment_get(e->store, release, &made, NULL) < 0 ||
	    store_deployment_list(e->store, &filter, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *doc = json_array_get(list, i);
		const char *id = json_get_string(doc, "id");
		if (id && strcmp(id, release) == 0)
			return;
		if (engine_state_of(doc) == DEPLOYMENT_COMMITTED)
			add_deployment(e, stays, id, true);
	}
}

static bool is_led_back(struct engine *e, const struct estep *s)
{
	const json_t *formers = json_object_get(engine_way_back_of(e)->input, "formers");
	for (size_t i = 0; i < json_array_size(formers); i++)
		if (json_get_int(json_array_get(formers, i), "place", -1) == s->place)
			return true;
	return false;
}

/* --data was given, and that deployment kept nothing by these steps, as where there was nothing yet. */
static void add_data_not_kept(struct engine *e, json_t *stays)
{
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		if (!engine_keeps_data(s) || is_led_back(e, s))
			continue;
		_cleanup_free_ char *text = xasprintf("data: that deployment kept none by '%s'", s->display);
		add_stay(stays, text);
	}
}

static bool has_snapshots(const struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (engine_keeps_data(&e->steps[i]))
			return true;
	return false;
}

json_t *engine_stays_behind(struct engine *e, const json_t *doc, const char *to)
{
	json_t *stays = json_array();
	if (e->store && to)
		add_newer(e, stays, to);
	else if (e->store)
		add_deployment(e, stays, json_get_string(doc, "id"), false);
	if (!has_snapshots(e))
		add_stay(stays, "data: no snapshot of it is made");
	else if (!e->o->data)
		add_stay(stays, "data: --data puts back what the snapshots kept");
	else if (to == NULL)
		add_data_not_kept(e, stays);
	return stays;
}

/* ---- afterwards ---- */

static json_t *entry(const struct estep *s, const char *description)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < s->target_count; i++)
		json_array_append_new(targets, json_string(s->etargets[i]->name));
	return json_pack("{s:i, s:s, s:s, s:s, s:o, s:o, s:[], s:[]}", "index", s->index, "step", s->type->info->name,
	                 "id", s->id, "name", s->display, "description",
	                 json_string_lossy(description, strlen(description)), "targets", targets, "changes",
	                 "warnings");
}

static void add_after(struct engine *e, json_t *list)
{
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
		if (s->type->after == NULL || engine_led_back(e, s))
			continue;
		s->type->after(&s->context, &text);
		if (text.len == 0)
			continue;
		_cleanup_free_ char *line = xasprintf(
			"afterwards: %s%s", str_peek(&text),
			engine_is_unresolved(s->input) ? " (left out: it names what another step gives)" : "");
		json_array_append_new(list, entry(s, line));
	}
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
		if (s->type->probe == NULL)
			continue;
		if (s->type->describe)
			s->type->describe(&s->context, &text);
		_cleanup_free_ char *line = xasprintf("then the gate: %s", str_peek(&text));
		json_array_append_new(list, entry(s, line));
	}
}

/* ---- of a committed deployment ---- */

static json_t *switches_planned(struct engine *e)
{
	_cleanup_json_ json_t *all = engine_plan_json(e);
	json_t *list = json_array();
	json_array_append(list, json_array_get(all, (size_t)engine_way_back_of(e)->index));
	return list;
}

static int plan_committed(struct engine *e, const json_t *doc, const char *to, const struct engine_options *o,
                          json_t **ret, struct err *err)
{
	int r = engine_load_way_back(e, doc, to, o, err);
	if (r == 0)
		e->stays = engine_stays_behind(e, doc, to);
	if (r == 0)
		r = engine_open_targets(e, err);
	if (r == 0)
		r = engine_plan_way_back(e, err);
	if (r < 0)
		return r;
	*ret = switches_planned(e);
	return 0;
}

/* ---- an open or held one ---- */

static bool is_in_place(const struct engine *e, const struct change *c)
{
	bool untouched = c->state == CHANGE_INTENT && (!e->from_copy || change_has(c, CHANGE_BLIND));
	return c->state != CHANGE_UNDONE && !untouched;
}

static bool has_no_way_back(const struct estep *s, const struct change *c)
{
	return change_has(c, CHANGE_BLIND) && json_object_get(s->input, "undo") == NULL &&
	       json_object_get(s->input, "after_undo") == NULL;
}

static json_t *taken_back(const struct change *c)
{
	json_t *record = change_record(c);
	json_object_set(record, "before", c->after);
	json_object_set(record, "after", c->before);
	json_object_set_new(record, "action", json_string("undo"));
	return record;
}

static void add_step_back(struct engine *e, const struct estep *s, const struct plan *all, json_t *list)
{
	json_t *changes = json_array();
	for (size_t i = all->count; i-- > 0;) {
		const struct change *c = &all->changes[i];
		if (c->step_index != s->index || !is_in_place(e, c))
			continue;
		if (has_no_way_back(s, c)) {
			_cleanup_free_ char *text =
				xasprintf("what `%s` did on %s", c->summary ? c->summary : c->path, c->target);
			add_stay(e->stays, text);
			continue;
		}
		json_array_append_new(changes, taken_back(c));
	}
	if (json_array_size(changes) > 0) {
		json_t *one = entry(s, "take back");
		json_object_set(one, "changes", changes);
		json_array_append_new(list, one);
	}
	json_decref(changes);
}

static int plan_undo(struct engine *e, const json_t *doc, const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_load_to_look(e, doc, o, err);
	if (r == 0)
		r = engine_changes(e, &all, err);
	if (r < 0)
		return r;
	e->facts.undoing = true;
	e->stays = json_array();
	*ret = json_array();
	for (size_t i = e->step_count; i-- > 0;)
		add_step_back(e, &e->steps[i], &all, *ret);
	return 0;
}

/* ---- the choice ---- */

static int plan_one(struct engine *e, const json_t *doc, const char *to, const struct engine_options *o, json_t **ret,
                    struct err *err)
{
	enum deployment_state state = doc ? engine_state_of(doc) : DEPLOYMENT_COMMITTED;
	switch (state) {
	case DEPLOYMENT_COMMITTED:
		return plan_committed(e, doc, to, o, ret, err);
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
	case DEPLOYMENT_HELD:
		return plan_undo(e, doc, o, ret, err);
	case DEPLOYMENT_REFUSED:
	case DEPLOYMENT_PARKED:
	case DEPLOYMENT_UNDONE:
	case DEPLOYMENT_PREPARING:
	default:
		return 0; /* none of its changes is in place */
	}
}

int engine_rollback_plan(const char *id, const char *to, const struct engine_options *o, struct engine_result *ret,
                         struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_json_ json_t *doc = NULL, *list = NULL;
	memset(ret, 0, sizeof(*ret));
	int r = to ? 0 : engine_find_for_rollback(id, o, &doc, err);
	if (r == ERR_NOT_FOUND)
		err_hint(err, r, "davit history lists the deployments that this host knows");
	if (r == 0)
		r = plan_one(&e, doc, to, o, &list, err);
	if (list && json_array_size(list) > 0)
		add_after(&e, list);
	if (r == 0)
		engine_result_fill(&e, ret, 0);
	ret->exit_status = r == 0 ? 0 : r == ERR_CANCELLED ? 130 : 2;
	if (r == 0 && list)
		json_object_set(ret->report, "plan", list);
	return 0;
}
