/* What can be known of each resource before the first change: the file, every source, and what an API must have. */
#include "steps/apply/apply.h"

struct checks {
	const struct step_context *c;
	struct resource *resources;
	size_t count;
	struct err **found; /* one for each; NULL: nothing is wrong with it */
	bool *done;
	size_t *same; /* those that are asked together now */
};

static void check_one(struct checks *k, size_t i)
{
	const struct resource *r = &k->resources[i];
	struct err own = ERR_INIT;
	k->done[i] = true;
	if (r->type->check == NULL || r->type->check(k->c, r, &own) == 0)
		return;
	k->found[i] = xcalloc(1, sizeof(*k->found[i]));
	*k->found[i] = own;
}

static void check_same(void *context, size_t at)
{
	struct checks *k = context;
	check_one(k, k->same[at]);
}

static struct view *api_of(const struct step_context *c, const struct resource_type *type)
{
	for (size_t i = 0; i < c->target_count; i++)
		if (resource_type_fits(type, &c->targets[i]->view))
			return &c->targets[i]->view;
	return NULL;
}

static bool is_first_of_its_type(const struct checks *k, size_t i)
{
	for (size_t before = 0; before < i; before++)
		if (k->resources[before].type == k->resources[i].type)
			return false;
	return true;
}

/* The first of each type by itself: what it learns of the service (what is sold there) the others need not ask. */
static int check_together(struct checks *k, size_t first, struct err *err)
{
	const struct resource_type *type = k->resources[first].type;
	struct view *v = api_of(k->c, type);
	size_t count = 0;
	for (size_t i = first; i < k->count; i++) {
		if (k->done[i] || k->resources[i].type->together != type->together)
			continue;
		if (v == NULL || is_first_of_its_type(k, i))
			check_one(k, i);
		else
			k->same[count++] = i;
	}
	return v != NULL ? type->together(v, count, check_same, k, err) : 0;
}

static int check_all(struct checks *k, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < k->count; i++) {
		if (k->done[i])
			continue;
		if (k->resources[i].type->together != NULL)
			r = check_together(k, i, err);
		else
			check_one(k, i);
	}
	return r;
}

static void tell(const struct step_context *c, const struct resource *r, const struct err *found, struct faults *faults)
{
	const struct apply_in *in = c->input;
	const char *pointer = in->file != NULL ? "/file" : r->pointer;
	char line[1024];
	for (size_t i = 0; i < c->target_count; i++)
		if (!resource_type_fits(r->type, &c->targets[i]->view))
			faults_add(faults, NULL, pointer, "a %s cannot be on '%s', which is of the kind '%s'",
			           r->type->choice.name, c->targets[i]->view.name, c->targets[i]->view.kind->name);
	if (found == NULL)
		return;
	faults_add(faults, NULL, pointer, "%s", err_line(found, line, sizeof(line)));
	if (found->hint[0] != '\0')
		faults_hint(faults, "%s", found->hint);
}

static int check_resources(const struct step_context *c, const struct resources *all, struct faults *faults,
                           struct err *err)
{
	_cleanup_free_ struct err **found = xcalloc(all->count + 1, sizeof(*found));
	_cleanup_free_ bool *done = xcalloc(all->count + 1, sizeof(*done));
	_cleanup_free_ size_t *same = xcalloc(all->count + 1, sizeof(*same));
	struct checks k = {c, all->items, all->count, found, done, same};
	int r = check_all(&k, err);
	for (size_t i = 0; i < all->count; i++) {
		if (r == 0)
			tell(c, &all->items[i], found[i], faults);
		free(found[i]);
	}
	return r;
}

int apply_check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct apply_in *in = c->input;
	_cleanup_(resources_done) struct resources all = {0};
	struct err own = ERR_INIT;
	char line[1024];
	struct faults again = {0};
	int r = apply_read(c, &all, in->file != NULL ? faults : &again, &own);
	faults_done(&again);
	if (r < 0) {
		faults_add(faults, NULL, in->destroy != NULL ? "/destroy" : "/file", "%s",
		           err_line(&own, line, sizeof(line)));
		return 0;
	}
	return check_resources(c, &all, faults, err);
}
