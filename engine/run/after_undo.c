/* Once the changes are taken back: what steps do after an undo, and the gate. */
#include "engine/run/undo_priv.h"

#include <string.h>

/* True if something of an earlier deployment existed: a release, a file that this one changed, or an entry in the journal. Directories
 * mean nothing: they may have been made for the first one. */
static bool had_before(const struct engine *e, const struct plan *all, const struct etarget *et)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct change *c = &all->changes[i];
		enum node_type before = node_type_of(c->before);
		if (strcmp(c->target, et->name) == 0 && !change_has(c, CHANGE_BLIND) && before != NODE_ABSENT &&
		    before != NODE_DIR)
			return true;
	}
	/* The lock of an older davit does not say it. */
	return et->earlier || engine_changed_earlier(e, et);
}

/* DAVIT_FORMER_RELEASE of one target, read from it once its changes are taken back: a release that this deployment did not touch also
 * counts. NULL in *ret: it had nothing of an earlier deployment. */
int engine_former_release(struct engine *e, const struct plan *all, struct etarget *et, char **ret, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		for (size_t j = 0; s->type->release != NULL && j < s->target_count; j++) {
			_cleanup_free_ char *name = NULL;
			if (s->etargets[j] != et)
				continue;
			int r = s->type->release(&s->context, &et->t->view, &name, err);
			if (r < 0)
				return r;
			if (name != NULL && *name != '\0') {
				*ret = TAKE(name);
				return 0;
			}
		}
	}
	*ret = had_before(e, all, et) ? xstrdup("") : NULL;
	return 0;
}

/* An expression names an output of a step that was not reached: its value is unknown. */
bool engine_is_unresolved(const json_t *value)
{
	size_t i;
	const char *key, *open;
	json_t *member;
	if (json_is_string(value))
		return (open = strstr(json_string_value(value), "${{")) != NULL && strstr(open, "}}") != NULL;
	json_array_foreach((json_t *)value, i, member) if (engine_is_unresolved(member)) return true;
	json_object_foreach((json_t *)value, key, member) if (engine_is_unresolved(member)) return true;
	return false;
}

static int restore_on(struct engine *e, struct estep *s, size_t i, const struct plan *all, struct err *err)
{
	_cleanup_free_ char *former = NULL;
	int r = engine_former_release(e, all, s->etargets[i], &former, err);
	return r < 0 ? r : s->type->restore(&s->context, s->targets[i], former, err);
}

static int restore_step(struct engine *e, struct estep *s, const struct plan *all, struct err *err)
{
	for (size_t i = 0; i < s->target_count; i++) {
		int64_t pause = ENGINE_UNDO_PAUSE_MS;
		int r;
		if (!s->etargets[i]->anchor->locked) {
			engine_leave_over(e, s->etargets[i]->name, s->display, 0,
			                  "after the undo: the lock is not ours");
			continue;
		}
		do {
			r = restore_on(e, s, i, all, err);
			if (!engine_is_away(e, s->etargets[i], r, err))
				break;
			r = engine_meet_again(e, s->etargets[i], r, &pause, err);
		} while (r == 0);
		if (r == ERR_FENCED || r == ERR_CANCELLED)
			return r;
		if (r < 0) {
			char line[ERR_FRAME_SIZE];
			engine_leave_over(e, s->etargets[i]->name, s->display, 0, "after the undo: %s",
			                  err_line(err, line, sizeof(line)));
		}
	}
	return 0;
}

int engine_restore_steps(struct engine *e, const struct plan *all, struct err *err)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		/* All of them, even those that were not reached: a target that was restarted in between already runs the new version. */
		if (s->type->restore == NULL || (e->only_step >= 0 && s->index != e->only_step))
			continue;
		if (engine_is_unresolved(s->input)) {
			engine_say(
				e, "info",
				"%s: nothing is done for it after the undo, since it names what a step gives that was not reached",
				s->display);
			continue;
		}
		int r = restore_step(e, s, all, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The baseline says whether the gate decides. */
int engine_gate_again(struct engine *e, struct err *err)
{
	engine_baseline_late(e);
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		if (s->type->probe == NULL || engine_is_unresolved(s->input) || (!s->has_baseline && !s->baseline_open))
			continue;
		if (s->baseline_open)
			engine_borrow_baseline(e, s, NULL);
		struct err why = ERR_INIT;
		char line[ERR_FRAME_SIZE];
		int r = s->type->probe(&s->context, false, &why);
		if (r == ERR_CANCELLED || r == ERR_FENCED)
			return err_set(err, r, "the gate after the undo was stopped");
		err_line(&why, line, sizeof(line));
		_cleanup_json_ json_t *data = json_pack("{s:b, s:b, s:s}", "healthy", r >= 0, "decides", s->baseline_ok,
		                                        "reason", r < 0 ? line : "");
		store_event_add(e->store, e->id, s->index, "gate after undo", data, NULL);
		if (r < 0 && s->baseline_ok)
			engine_leave_over(e, NULL, s->display, 0, "the old version is not healthy again: %s", line);
		else
			engine_say(e, "info", "%s after the undo: %s", s->display, r < 0 ? line : "healthy");
	}
	return 0;
}
