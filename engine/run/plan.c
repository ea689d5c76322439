/* Before the first change: validate, check, plan. */
#include "engine/run/run_priv.h"
#include "engine/run/needs.h"

#include <string.h>

int engine_faults(struct engine *e, struct faults *faults, struct err *err)
{
	for (size_t i = 0; i < faults->count; i++) {
		engine_say(e, "error", "%s%s%s", faults->items[i].pointer ? faults->items[i].pointer : "",
		           faults->items[i].pointer && *faults->items[i].pointer ? ": " : "", faults->items[i].text);
		if (faults->items[i].hint)
			engine_say(e, "info", "  %s", faults->items[i].hint);
	}
	return faults_to_err(faults, NULL, err);
}

/* A step speaks of its own input: "/keys" becomes "/steps/2/secret-write/keys". */
static void place_faults(const struct estep *s, struct faults *faults, size_t from)
{
	for (size_t i = from; i < faults->count; i++) {
		char *own = faults->items[i].pointer;
		faults->items[i].pointer = xasprintf("/steps/%d/%s%s", s->index, s->type->info->name, own ? own : "");
		free(own);
	}
}

int engine_validate(struct engine *e, struct err *err)
{
	struct faults faults = {0};
	for (size_t i = 0; i < e->step_count; i++) {
		size_t before = faults.count;
		if (e->steps[i].type->validate && !e->steps[i].validated)
			e->steps[i].type->validate(&e->steps[i].context, &faults);
		place_faults(&e->steps[i], &faults, before);
	}
	int r = engine_faults(e, &faults, err);
	faults_done(&faults);
	return r < 0 ? r : engine_check_waiting(e, err);
}

bool engine_step_has_target(const struct estep *s, const char *target)
{
	for (size_t i = 0; i < s->target_count; i++)
		if (strcmp(s->etargets[i]->name, target) == 0)
			return true;
	return false;
}

static const char *only_target(const struct estep *s)
{
	return s->target_count == 1 ? s->etargets[0]->name : NULL;
}

/* A step is asked about the targets that answer. */
static int check_step(struct estep *s, struct faults *faults, struct err *err)
{
	_cleanup_free_ struct target **there = xcalloc(s->target_count + 1, sizeof(struct target *));
	struct step_context c = s->context;
	c.targets = there;
	c.target_count = 0;
	for (size_t i = 0; i < s->target_count; i++)
		if (!s->etargets[i]->unreached)
			there[c.target_count++] = s->targets[i];
	return s->type->check(&c, faults, err);
}

static int check_steps(struct engine *e, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		_cleanup_(faults_done) struct faults faults = {0};
		struct err own = ERR_INIT;
		int r = s->type->check ? check_step(s, &faults, &own) : 0;
		s->unplanned = faults.count > 0 || r < 0;
		engine_find_faults(e, s, only_target(s), &faults);
		if (r < 0)
			err_wrap(&own, r, "check step %d (%s)", s->index + 1, s->display);
		if (r < 0 && !engine_find(e, s, only_target(s), r, &own)) {
			if (err)
				*err = own;
			return r;
		}
	}
	return 0;
}

static void complete_changes(struct estep *s, size_t target, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct change *c = &plan->changes[i];
		c->step_index = s->index;
		if (c->step == NULL)
			c->step = xstrdup(s->type->info->name);
		if (c->target == NULL)
			c->target = xstrdup(s->etargets[target]->name);
		if (c->before == NULL)
			c->before = json_pack("{s:s}", "type", "absent");
		if (c->after == NULL)
			c->after = json_pack("{s:s}", "type", change_has(c, CHANGE_TREE) ? "dir" : "absent");
	}
}

static int plan_target(struct estep *s, size_t i, struct plan *ret_plans, struct err *err)
{
	plan_done(&ret_plans[i]);
	int r = s->type->plan(&s->context, &s->targets[i]->view, &ret_plans[i], err);
	if (r < 0)
		return err_wrap(err, r, "plan step %d (%s)", s->index + 1, s->display);
	complete_changes(s, i, &ret_plans[i]);
	return 0;
}

int engine_plan_step(struct engine *e, struct estep *s, struct plan *ret_plans, struct err *err)
{
	(void)e;
	int r = 0;
	s->fresh = ret_plans == s->plans;
	for (size_t i = 0; r == 0 && s->type->plan && i < s->target_count; i++)
		r = plan_target(s, i, ret_plans, err);
	return r;
}

void engine_begin_steps(struct engine *e)
{
	bool remote = false;
	for (size_t i = 0; i < e->target_count; i++)
		remote = remote || target_config_kind(&e->targets[i].config)->is_remote;
	for (size_t i = 0; remote && i < e->step_count; i++)
		if (e->steps[i].type->begin)
			e->steps[i].type->begin(&e->steps[i].context);
}

void engine_plans_are_stale(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		e->steps[i].fresh = false;
}

/* An earlier step that runs commands may make users, groups and directories. */
static bool commands_before(const struct engine *e, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (e->steps[i].unplanned)
			return true;
	for (size_t i = 0; i < index; i++)
		for (size_t j = 0; e->steps[i].plans && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++)
				if (change_has(&e->steps[i].plans[j].changes[k], CHANGE_BLIND))
					return true;
	return false;
}

static int check_needs(struct engine *e, struct estep *s, size_t target, struct err *err)
{
	_cleanup_(faults_done) struct faults faults = {0};
	int r = needs_check(&s->targets[target]->view, &s->plans[target], commands_before(e, (size_t)s->index), &faults,
	                    err);
	engine_find_faults(e, s, s->etargets[target]->name, &faults);
	return r;
}

static int plan_one(struct engine *e, struct estep *s, size_t target, struct err *err)
{
	const char *name = s->etargets[target]->name;
	struct err own = ERR_INIT;
	int r = s->type->plan ? plan_target(s, target, s->plans, &own) : 0;
	if (r == 0)
		r = check_needs(e, s, target, &own);
	if (r < 0) {
		plan_done(&s->plans[target]);
		s->unplanned = true;
		if (engine_find(e, s, name, r, &own))
			return 0;
		if (err)
			*err = own;
		return r;
	}
	engine_alone_warn(e, s, target);
	for (size_t k = 0; k < s->plans[target].warnings.count; k++)
		engine_say(e, "warning", "%s", s->plans[target].warnings.items[k]);
	return 0;
}

/* What was found about one step or target does not hide what there is about the next ones. */
static int plan_steps(struct engine *e, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		bool checked = !s->unplanned;
		s->fresh = true;
		for (size_t j = 0; j < s->target_count; j++) {
			if (!checked || s->etargets[j]->unreached) {
				s->unplanned = true;
				continue;
			}
			int r = plan_one(e, s, j, err);
			if (r < 0)
				return r;
		}
	}
	return engine_check_room(e, err);
}

int engine_examine(struct engine *e, bool plan, struct err *err)
{
	int r = check_steps(e, err);
	if (r == 0 && plan)
		r = plan_steps(e, err);
	int found = engine_findings_end(e, r == 0 ? err : NULL);
	if (r == 0)
		r = found;
	if (r == 0 && plan)
		engine_make_digest(e);
	return r;
}

static json_t *planned_change(const struct engine *e, const struct change *c)
{
	json_t *record = change_record(c);
	if (e->o->refresh && engine_is_drift(c))
		json_object_set_new(record, "drift", json_true());
	return record;
}

json_t *engine_plan_json(const struct engine *e)
{
	json_t *list = json_array();
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
		json_t *o = json_pack("{s:i, s:s, s:s, s:s}", "index", s->index, "step", s->type->info->name, "id",
		                      s->id, "name", s->display);
		json_t *changes = json_array(), *warnings = json_array(), *targets = json_array();
		if (s->type->describe && s->context.type)
			s->type->describe(&s->context, &text);
		json_object_set_new(o, "description",
		                    json_string_lossy(text.len ? str_peek(&text) : s->type->info->name,
		                                      text.len ? text.len : strlen(s->type->info->name)));
		for (size_t j = 0; s->plans && j < s->target_count; j++) {
			json_array_append_new(targets, json_string(s->etargets[j]->name));
			for (size_t k = 0; k < s->plans[j].count; k++)
				json_array_append_new(changes, planned_change(e, &s->plans[j].changes[k]));
			for (size_t k = 0; k < s->plans[j].warnings.count; k++)
				json_array_append_new(warnings, json_string(s->plans[j].warnings.items[k]));
			if (s->plans[j].shown)
				json_object_set(o, "shown", s->plans[j].shown);
		}
		json_object_set_new(o, "targets", targets);
		json_object_set_new(o, "changes", changes);
		json_object_set_new(o, "warnings", warnings);
		json_array_append_new(list, o);
	}
	return list;
}
