/* What the gates say before the first change, so that the one after an undo knows whether it decides. */
#include "engine/run/run_priv.h"

#include <string.h>

/* A healthy system answers within that; who does not is not waited for, since most deployments are never undone. */
enum { BASELINE_WAIT_MS = 50 };

/* Without a change there is nothing that an undo could bring back, and so nothing to compare with afterwards. */
static bool may_change(const struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		if (s->type->plan != NULL && (s->plans == NULL || !s->fresh))
			return true;
		for (size_t j = 0; s->type->plan != NULL && j < s->target_count; j++)
			if (s->plans[j].count > 0)
				return true;
	}
	return false;
}

static void begin_all(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type->baseline_begin != NULL)
			e->steps[i].type->baseline_begin(&e->steps[i].context);
}

static int record(struct engine *e, const struct estep *s, int r, const struct err *why, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	const char *reason = r < 0 ? err_line(why, line, sizeof(line)) : "";
	_cleanup_json_ json_t *data = r == ERR_TIMEOUT ? json_pack("{s:b, s:s}", "open", 1, "reason", reason)
	                                               : json_pack("{s:b, s:s}", "healthy", r >= 0, "reason", reason);
	return store_event_add(e->store, e->id, s->index, "baseline", data, err);
}

static int ask(struct engine *e, struct estep *s, struct err *err)
{
	struct err why = ERR_INIT;
	bool may_be_open = s->type->baseline_end != NULL;
	int r = may_be_open ? s->type->baseline_end(&s->context, BASELINE_WAIT_MS, &why)
	                    : s->type->probe(&s->context, true, &why);
	if (r == ERR_CANCELLED || r == ERR_FENCED)
		return err_set(err, r, "cancelled");
	s->baseline_open = may_be_open && r == ERR_TIMEOUT;
	s->has_baseline = !s->baseline_open;
	s->baseline_ok = r >= 0;
	return record(e, s, s->baseline_open || r >= 0 ? r : ERR_FAILED, &why, err);
}

int engine_baseline(struct engine *e, struct err *err)
{
	int r = 0;
	/* Who has nothing to change asks nobody twice. */
	if (!may_change(e))
		return 0;
	begin_all(e);
	for (size_t i = 0; r == 0 && i < e->step_count; i++) {
		if (e->steps[i].type->probe == NULL)
			continue;
		engine_plans_are_stale(e);
		r = ask(e, &e->steps[i], err);
	}
	return r;
}

void engine_baseline_late(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		if (!s->baseline_open || s->type->baseline_end == NULL ||
		    s->type->baseline_end(&s->context, 0, NULL) != 0)
			continue;
		s->baseline_open = false;
		s->has_baseline = s->baseline_ok = true;
		record(e, s, 0, NULL, NULL);
	}
}

/* Whether a gate let that deployment in. */
static bool passed_a_gate(const struct engine *e, const json_t *doc)
{
	_cleanup_json_ json_t *events = NULL;
	if (store_event_list(e->store, json_get_string(doc, "id"), &events, NULL) < 0)
		return false;
	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *event = json_array_get(events, i);
		const char *kind = json_get_string(event, "kind");
		if (kind && strcmp(kind, "gate") == 0 &&
		    json_get_bool(json_object_get(event, "data"), "healthy", false))
			return true;
	}
	return false;
}

/* Without such a gate nothing is known, and this one does not decide after an undo. */
int engine_borrow_baseline(struct engine *e, struct estep *s, struct err *err)
{
	const struct store_filter filter = {.name = e->name, .environment = e->environment, .limit = 50};
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *doc;
	int r = store_deployment_list(e->store, &filter, &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, doc)
	{
		if (engine_state_of(doc) != DEPLOYMENT_COMMITTED)
			continue;
		if (!passed_a_gate(e, doc))
			return 0;
		_cleanup_json_ json_t *data =
			json_pack("{s:b, s:s, s:s}", "healthy", 1, "reason", "", "of", json_get_string(doc, "id"));
		s->has_baseline = s->baseline_ok = true;
		return store_event_add(e->store, e->id, s->index, "baseline", data, err);
	}
	return 0;
}
