/* What a step sees of the engine: its context, and the calls in it. */
#include "engine/run/run_priv.h"

#include "base/core/shown.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void step_report(void *engine, const char *fmt, ...) _printf_(2, 3);
static void step_report(void *engine, const char *fmt, ...)
{
	struct engine *e = engine;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(ENGINE_MAX_LINE - 1, fmt, args);
	va_end(args);
	engine_say(e, "info", "%s", line);
}

static void step_event(void *engine, const char *kind, json_t *data)
{
	struct engine *e = engine;
	if (e->recorded)
		store_event_note(e->store, e->id, kind, data, NULL);
	json_decref(data);
}

static struct http *step_http(void *engine)
{
	struct engine *e = engine;
	return e->o->http ? e->o->http(e->o->http_context) : NULL;
}

static int step_state_get(void *engine, const char *target, const char *key, json_t **ret, struct err *err)
{
	return engine_rows_get(engine, target, key, ret, err);
}

static int step_state_list(void *engine, const char *target, json_t **ret_object, struct err *err)
{
	return engine_rows_list(engine, target, ret_object, err);
}

static int step_state_forget(void *engine, const char *target, const char *key, struct err *err)
{
	struct engine *e = engine;
	return e->store == NULL ? 0 : store_state_forget(e->store, e->scope, target, key, err);
}

static int step_guard(void *engine, const char *target, struct err *err)
{
	struct etarget *et = engine_target(engine, target);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "there is no target '%s'", target);
	return lock_guard(et->anchor->t, err);
}

static int step_other(void *engine, const char *name, struct target **ret, struct err *err)
{
	struct engine *e = engine;
	struct etarget *et = engine_target(e, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "there is no target '%s'", name);
	if (et->config.host.read_only) {
		err_set(err, ERR_INVALID, "the target '%s' is only looked at (`read_only`)", name);
		return err_hint(err, ERR_INVALID, "name another target, or leave `read_only` out");
	}
	*ret = et->unreached ? NULL : et->t;
	/* Whoever takes something back may not have needed it so far. */
	return *ret ? target_open(&(*ret)->view, err) : 0;
}

static int step_look(void *engine, const char *name, struct view **ret, struct err *err)
{
	struct etarget *et = engine_target(engine, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "there is no target '%s'", name);
	*ret = et->unreached ? NULL : &et->t->view;
	return *ret ? target_open(*ret, err) : 0;
}

static bool counts_as_change(const struct change *c, int index, const char *target)
{
	return c->step_index < index && strcmp(c->target, target) == 0 && !change_has(c, CHANGE_BLIND) &&
	       !change_has(c, CHANGE_ASIDE) && c->state != CHANGE_UNDONE;
}

static bool step_changed_before(void *engine, int index, const char *target)
{
	struct engine *e = engine;
	_cleanup_(plan_done) struct plan made = {0};
	for (size_t i = 0; i < e->step_count; i++)
		for (size_t j = 0; e->steps[i].plans != NULL && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++)
				if (counts_as_change(&e->steps[i].plans[j].changes[k], index, target))
					return true;
	/* What it would change is not known: something about it was found before. */
	for (size_t i = 0; i < e->step_count && e->steps[i].index < index; i++)
		if (e->steps[i].unplanned && e->steps[i].type->info->changes &&
		    engine_step_has_target(&e->steps[i], target))
			return true;
	/* Steps of a job before this process. */
	if (e->id != NULL && e->recorded && engine_changes(e, &made, NULL) == 0)
		for (size_t i = 0; i < made.count; i++)
			if (counts_as_change(&made.changes[i], index, target))
				return true;
	return false;
}

static void *memory_of(struct engine *e, const struct step_type *type)
{
	for (size_t i = 0; i < e->memory_count; i++)
		if (e->memories[i].type == type)
			return e->memories[i].data;
	if (type->memory == 0)
		return NULL;
	e->memories = xrealloc(e->memories, (e->memory_count + 1) * sizeof(*e->memories));
	e->memories[e->memory_count] = (struct ememory){.type = type, .data = xcalloc(1, type->memory)};
	return e->memories[e->memory_count++].data;
}

void engine_forget(struct engine *e)
{
	for (size_t i = 0; i < e->memory_count; i++) {
		if (e->memories[i].type->forget)
			e->memories[i].type->forget(e->memories[i].data);
		free(e->memories[i].data);
	}
	free(e->memories);
}

void engine_make_context(struct engine *e, struct estep *s)
{
	s->context = (struct step_context){
		.type = s->type,
		.input = s->typed,
		.input_json = s->input,
		.index = s->index,
		.memory = memory_of(e, s->type),
		.place = s->place,
		.id = s->id,
		.display_name = s->display,
		.deployment = &e->facts,
		.targets = s->targets,
		.target_count = s->target_count,
		.wait = &e->wait,
		.outputs = s->outputs,
		.http = step_http,
		.engine = e,
		.report = step_report,
		.live = e->o->live ? engine_live_step : NULL,
		.event = step_event,
		.state_get = step_state_get,
		.state_list = step_state_list,
		.state_forget = step_state_forget,
		.guard = step_guard,
		.other = step_other,
		.look = step_look,
		.changed_before = step_changed_before,
	};
}
