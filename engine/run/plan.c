/* Before the first change: validate, check, plan, baseline. */
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
	return r;
}

static void keep_finding(const struct estep *s, const struct err *why, struct faults *faults)
{
	char line[1024];
	size_t before = faults->count;
	faults_add(faults, NULL, "", "%s", err_line(why, line, sizeof(line)));
	if (why->hint[0] != '\0')
		faults_hint(faults, "%s", why->hint);
	place_faults(s, faults, before);
}

int engine_check(struct engine *e, struct err *err)
{
	struct faults faults = {0};
	struct err first = ERR_INIT;
	int r = 0, refused = 0;
	for (size_t i = 0; r == 0 && i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		struct err own = ERR_INIT;
		size_t before = faults.count;
		r = s->type->check ? s->type->check(&s->context, &faults, &own) : 0;
		place_faults(s, &faults, before);
		if (r < 0)
			err_wrap(&own, r, "check step %d (%s)", s->index + 1, s->display);
		if (r == ERR_REFUSED || r == ERR_INVALID) {
			if (refused == 0)
				first = own;
			refused = refused == 0 ? r : refused;
			keep_finding(s, &own, &faults);
		} else if (r < 0 && err) {
			*err = own;
		}
		r = r == ERR_REFUSED || r == ERR_INVALID || r > 0 ? 0 : r;
	}
	if (r == 0 && refused < 0 && faults.count == 1) {
		r = refused;
		if (err)
			*err = first;
	} else if (r == 0 && engine_faults(e, &faults, err) < 0) {
		r = ERR_REFUSED;
	}
	faults_done(&faults);
	return r;
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

int engine_plan_step(struct engine *e, struct estep *s, struct plan *ret_plans, struct err *err)
{
	(void)e;
	s->fresh = ret_plans == s->plans;
	for (size_t i = 0; s->type->plan && i < s->target_count; i++) {
		plan_done(&ret_plans[i]);
		int r = s->type->plan(&s->context, &s->targets[i]->view, &ret_plans[i], err);
		if (r < 0)
			return err_wrap(err, r, "plan step %d (%s)", s->index + 1, s->display);
		complete_changes(s, i, &ret_plans[i]);
	}
	return 0;
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
		for (size_t j = 0; e->steps[i].plans && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++)
				if (change_has(&e->steps[i].plans[j].changes[k], CHANGE_BLIND))
					return true;
	return false;
}

static int check_needs(struct engine *e, size_t index, struct faults *faults, struct err *err)
{
	struct estep *s = &e->steps[index];
	size_t before = faults->count;
	int r = 0;
	for (size_t j = 0; r == 0 && s->plans && j < s->target_count; j++)
		r = needs_check(&s->targets[j]->view, &s->plans[j], commands_before(e, index), faults, err);
	place_faults(s, faults, before);
	return r;
}

/* A refusal by one step's plan does not hide those of the next ones. */
int engine_plan_all(struct engine *e, struct err *err)
{
	struct faults faults = {0};
	struct err first = ERR_INIT;
	int r = 0, refused = 0;
	for (size_t i = 0; r == 0 && i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		struct err own = ERR_INIT;
		r = engine_plan_step(e, s, s->plans, &own);
		if (r == 0)
			r = check_needs(e, i, &faults, &own);
		if (r == ERR_REFUSED || r == ERR_INVALID) {
			if (refused == 0)
				first = own;
			refused = refused == 0 ? r : refused;
			keep_finding(s, &own, &faults);
			r = 0;
		} else if (r < 0 && err) {
			*err = own;
		}
		for (size_t j = 0; r == 0 && j < s->target_count; j++)
			for (size_t k = 0; k < s->plans[j].warnings.count; k++)
				engine_say(e, "warning", "%s", s->plans[j].warnings.items[k]);
	}
	if (r == 0 && refused < 0 && faults.count == 1) {
		r = refused;
		if (err)
			*err = first;
	} else if (r == 0 && faults.count > 0) {
		engine_faults(e, &faults, err);
		r = ERR_REFUSED;
	}
	faults_done(&faults);
	if (r == 0)
		engine_make_digest(e);
	return r;
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
				json_array_append_new(changes, change_record(&s->plans[j].changes[k]));
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
