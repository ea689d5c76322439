/* No locks are left: another machine finished the deployment, and the targets show how. */
#include "engine/run/run_priv.h"

#include <stdlib.h>
#include <string.h>

static bool path_changed_before(const struct plan *all, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(all->changes[j].target, all->changes[i].target) == 0 &&
		    strcmp(all->changes[j].path, all->changes[i].path) == 0)
			return true;
	return false;
}

static bool path_changed_after(const struct plan *all, size_t i)
{
	for (size_t j = i + 1; j < all->count; j++)
		if (strcmp(all->changes[j].target, all->changes[i].target) == 0 &&
		    strcmp(all->changes[j].path, all->changes[i].path) == 0)
			return true;
	return false;
}

struct seen {
	bool before, after;
};

static int look_at(struct engine *e, const struct plan *all, size_t i, struct seen *ret, struct err *err)
{
	const struct change *c = &all->changes[i];
	struct etarget *et = engine_target(e, c->target);
	enum change_match match;
	*ret = (struct seen){true, true};
	if (change_has(c, CHANGE_BLIND) || et == NULL)
		return 0;
	int r = change_compare(&et->t->view, NULL, c, &match, err);
	if (r == 0) {
		ret->after = path_changed_after(all, i) || match == MATCH_AFTER || match == MATCH_BOTH;
		ret->before = path_changed_before(all, i) || match == MATCH_BEFORE || match == MATCH_BOTH;
	}
	return r;
}

/* Leftovers are named only if the world is neither of the two versions. */
static int look_at_all(struct engine *e, bool *ret_after, bool *ret_before, struct err *err)
{
	_cleanup_(plan_done) struct plan all = {0};
	int r = engine_changes(e, &all, err);
	struct seen *seen = xcalloc(all.count + 1, sizeof(*seen));
	*ret_after = *ret_before = true;
	for (size_t i = 0; r == 0 && i < all.count; i++) {
		r = look_at(e, &all, i, &seen[i], err);
		*ret_after = *ret_after && seen[i].after;
		*ret_before = *ret_before && seen[i].before;
	}
	for (size_t i = 0; r == 0 && !*ret_after && !*ret_before && i < all.count; i++)
		if (!seen[i].before)
			engine_leave_over(e, all.changes[i].target, all.changes[i].path, all.changes[i].id, "%s",
			                  seen[i].after ? "it is as it was made"
			                                : "it is neither as it was nor as it was made");
	free(seen);
	return r;
}

int engine_settle_by_looking(struct engine *e, struct err *err)
{
	bool after, before;
	int r = look_at_all(e, &after, &before, err);
	if (r < 0)
		return 4;
	engine_say(e, "info", "the targets carry no lock of %s any more: another machine finished it", e->id);
	if (before)
		r = engine_finish_undone(e, 1, err);
	else if (after)
		r = engine_finish_commit(e, err);
	else
		r = engine_hold(
			e, "another machine finished it, and the targets are neither the old nor the new version", err);
	return r < 0 || (!before && !after) ? 4 : 0;
}
