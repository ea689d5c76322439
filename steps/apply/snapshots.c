/* snapshot: before. What is changed in place is kept first, by what keeps it in a `snapshot` step too (steps/sources): the records are the same
 * rows, so that `restore` and `davit rollback --data` find them, and retention is the source's own. */
#include "steps/apply/apply.h"
#include "steps/apply/former.h"
#include "steps/sources/sources.h"

#include <string.h>

static bool keeps(const struct step_context *c)
{
	const struct apply_in *in = c->input;
	return in->has_snapshot;
}

void keeping_done(struct keeping *k)
{
	json_decref(k->in);
	*k = (struct keeping){0};
}

/* A target is of one kind, and one source keeps what that has. */
void keeping_add(struct keeping *k, const struct resource *r)
{
	const char *member;
	json_t *names;
	if (r->type->source == NULL || r->type->kept == NULL)
		return;
	json_t *own = r->type->kept(r);
	k->source = r->type->source;
	if (k->in == NULL)
		k->in = json_object();
	json_object_foreach(own, member, names)
	{
		json_t *all = json_object_get(k->in, member);
		if (all != NULL)
			json_array_extend(all, names);
		else
			json_object_set(k->in, member, names);
	}
	json_decref(own);
}

/* The inputs of a `snapshot` step that would do the same. */
static struct source_call call_of(const struct keeping *k, const struct step_context *c)
{
	const struct apply_in *in = c->input;
	json_object_set_new(k->in, "keep", json_integer(in->keep_snapshots));
	json_object_set_new(k->in, "when_none", json_string("skip"));
	return (struct source_call){.source = k->source, .c = c, .in = k->in};
}

/* The changes from `mid` on come to stand before those from `from` on. */
static void bring_forward(struct plan *plan, size_t from, size_t mid)
{
	size_t early = mid - from, late = plan->count - mid;
	_cleanup_free_ struct change *moved = xcalloc(early + 1, sizeof(*moved));
	memcpy(moved, &plan->changes[from], early * sizeof(*moved));
	memmove(&plan->changes[from], &plan->changes[mid], late * sizeof(*moved));
	memcpy(&plan->changes[from + late], moved, early * sizeof(*moved));
}

/* What goes is kept by nobody: the plan says so while people can still think of it. */
static void warn_of_lost(const struct step_context *c, struct plan *plan, size_t from)
{
	for (size_t i = from; i < plan->count; i++) {
		const struct change *change = &plan->changes[i];
		bool goes = change->action == ACTION_DESTROY || change->action == ACTION_REPLACE;
		const char *key = json_get_string(json_object_get(change->extra, "state_row"), "key");
		_cleanup_free_ char *name = key != NULL ? xstrndup(key, strcspn(key, ":")) : NULL;
		const struct resource_type *type = goes && name != NULL ? resource_type_named(c->type, name) : NULL;
		if (type == NULL || type->source == NULL || type->kept == NULL)
			continue;
		strv_add_take(&plan->warnings,
		              xasprintf("`snapshot: before` keeps nothing of '%s', which is %s: %s", change->path,
		                        change->action == ACTION_DESTROY ? "destroyed" : "replaced",
		                        type->outlived ? "a `snapshot` step before this one does"
		                                       : "its snapshots go with it, so that only a backup does"));
	}
}

int keeping_plan(const struct keeping *k, const struct step_context *c, struct view *v, size_t from, struct plan *plan,
                 struct err *err)
{
	const struct apply_in *in = c->input;
	size_t mid = plan->count;
	if (keeps(c))
		warn_of_lost(c, plan, from);
	if (!keeps(c) || k->source == NULL)
		return 0;
	const struct source_call s = call_of(k, c);
	int r = k->source->outside->keep(&s, v, in->restore_on_rollback, plan, err);
	if (r < 0)
		return err_wrap(err, r, "`snapshot: before`");
	bring_forward(plan, from, mid);
	return 0;
}

/* ---- afterwards ---- */

int apply_clean(const struct step_context *c, struct target *t, struct err *err)
{
	_cleanup_(resources_done) struct resources all = {0};
	_cleanup_(keeping_done) struct keeping k = {0};
	struct faults faults = {0};
	int r = target_is_host(t) ? former_keep(c, t, err) : 0;
	if (r < 0 || !keeps(c))
		return r;
	r = apply_read(c, &all, &faults, err);
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	for (size_t i = 0; r == 0 && i < all.count; i++)
		keeping_add(&k, &all.items[i]);
	if (r < 0 || k.source == NULL)
		return r;
	const struct source_call s = call_of(&k, c);
	return k.source->outside->clean(&s, t, err);
}
