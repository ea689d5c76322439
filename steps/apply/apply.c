/* apply: resources of a target as a desired state. The changes themselves are those of their kinds. */
#include "steps/apply/apply.h"

bool apply_fits(const struct step_type *type, const struct view *v)
{
	for (size_t i = 0; type->choices[i] != NULL; i++)
		if (resource_type_fits(resource_type_of(type->choices[i]), v))
			return true;
	return false;
}

void apply_describe(const struct step_context *c, struct str *out)
{
	const struct apply_in *in = c->input;
	if (in->destroy != NULL)
		str_appendf(out, "destroy all that this step made in %s", in->destroy);
	else if (in->file != NULL)
		str_appendf(out, "bring the target to the state in %s", in->file);
	else
		str_appendf(out, "bring %zu resource%s to the desired state", in->resources_count,
		            in->resources_count == 1 ? "" : "s");
}

void apply_validate(const struct step_context *c, struct faults *faults)
{
	const struct apply_in *in = c->input;
	_cleanup_(resources_done) struct resources all = {0};
	if (in->file == NULL)
		apply_read_inline(c, &all, faults);
}

int apply_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(resources_done) struct resources all = {0};
	struct faults faults = {0};
	int r = apply_read(c, &all, &faults, err);
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	return r < 0 ? r : apply_plan_resources(c, v, &all, plan, err);
}

static int tell_one(struct resource_call *x, const struct resource *given, json_t *facts, struct arena *arena,
                    struct err *err)
{
	_cleanup_json_ json_t *node = NULL, *unknown = NULL;
	struct resource filled = *given;
	int r = given->written != NULL ? reference_fill(given, facts, arena, &filled, &unknown, err) : 0;
	if (r < 0 || unknown != NULL)
		return r;
	x->wanted = &filled;
	r = filled.type->look(x, filled.id, &node, err);
	if (r < 0)
		return r;
	json_t *own = reference_facts(&filled, node);
	json_object_set_new(facts, filled.name, own);
	return filled.type->outputs != NULL ? filled.type->outputs(x, &filled, own, err) : 0;
}

/* Of each resource with an id, for later steps. */
int apply_outputs(const struct step_context *c, struct view *v, struct err *err)
{
	_cleanup_(resources_done) struct resources all = {0};
	_cleanup_(node_cache_done) struct node_cache seen = {0};
	_cleanup_json_ json_t *facts = json_object();
	struct resource_call x = {.c = c, .v = v, .seen = &seen};
	struct faults faults = {0};
	int r = apply_read(c, &all, &faults, err);
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	for (size_t i = 0; r == 0 && i < all.count; i++)
		if (all.order[i]->name != NULL)
			r = tell_one(&x, all.order[i], facts, &all.arena, err);
	if (r < 0 || json_object_size(facts) == 0)
		return r;
	_cleanup_free_ char *text = json_text(facts);
	json_set_string(c->outputs, "resources", text);
	return 0;
}
