/* A `uses:` of an action with a manifest, in another repository or in the job's workspace: what all of its kinds share. */
#include "agent/worker/actions/use.h"

#include "agent/actions/policy.h"
#include "agent/service/wire.h"

#include <strings.h>

bool action_is_foreign(const struct job *j, const json_t *reference)
{
	const struct action_type *type = action_type_of(j, reference);
	return type == &action_repository || type == &action_image || type == &action_stand_in;
}

/* ---- stages ---- */

static bool any_step_has(const struct use *u, enum stage stage)
{
	for (size_t i = 0; i < u->step_count; i++)
		if (u->steps[i].type->stage != NULL && u->steps[i].type->stage(u->steps[i].memory, stage) != NULL)
			return true;
	return false;
}

/* One of the workspace may have a post until it is read; its pre comes too late. */
const char *use_stage(const void *memory, enum stage stage)
{
	const struct use *u = memory;
	if (u->action == NULL)
		return stage == STAGE_POST ? "always()" : NULL;
	const struct action_manifest *m = &u->action->manifest;
	if (m->kind == MANIFEST_COMPOSITE)
		return any_step_has(u, stage) ? "always()" : NULL;
	bool docker = m->kind == MANIFEST_DOCKER;
	const char *pre = docker ? m->pre_entrypoint : m->pre, *post = docker ? m->post_entrypoint : m->post;
	if (stage == STAGE_PRE)
		return pre != NULL && u->own == NULL ? m->pre_if : NULL;
	return stage == STAGE_POST && post != NULL ? m->post_if : NULL;
}

/* ---- life ---- */

static void release(void *memory)
{
	struct use *u = memory;
	if (u == NULL)
		return;
	for (size_t i = 0; i < u->step_count; i++) {
		if (u->steps[i].type->release != NULL)
			u->steps[i].type->release(u->steps[i].memory);
		free(u->steps[i].shown);
	}
	free(u->steps);
	free(u->posts);
	free(u->shown);
	json_decref(u->reference);
	json_decref(u->state);
	json_decref(u->scope);
	prepared_free(u->own);
	free(u);
}

int use_make_steps(struct job *j, struct use *u, struct err *err)
{
	json_t *steps = u->action->manifest.steps, *step;
	size_t i, count = json_array_size(steps);
	u->steps = xcalloc(count, sizeof(u->steps[0]));
	u->posts = xcalloc(count, sizeof(u->posts[0]));
	json_array_foreach(steps, i, step)
	{
		struct use_step *s = &u->steps[u->step_count];
		struct action_place place = {.reference = json_object_get(step, "reference"), .depth = u->depth + 1};
		s->step = step;
		s->type = action_type_of(j, place.reference);
		int e = s->type->prepare(j, &place, &s->memory, &s->shown, err);
		if (e < 0)
			return e;
		u->step_count++;
	}
	return 0;
}

static char *shown_of(const json_t *reference)
{
	const char *path = wire_string(reference, "path");
	if (wire_string(reference, "name") == NULL || wire_string(reference, "ref") == NULL)
		return xstrdup(path != NULL ? path : "");
	return prepare_name(reference);
}

static bool is_of_workspace(const json_t *reference)
{
	const char *kind = wire_string(reference, "repositoryType");
	return kind != NULL && strcasecmp(kind, "self") == 0;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	_cleanup_free_ char *shown = shown_of(place->reference);
	const struct prepared *action = prepare_find(j, place->reference);
	if (action == NULL && !is_of_workspace(place->reference))
		return err_set(err, ERR_UNSUPPORTED, "uses: %s is of a kind that this agent does not know", shown);
	if (++j->uses_count > PREPARE_USES_MAX)
		return prepare_too_many_uses(err);
	struct use *u = xcalloc(1, sizeof(*u));
	*u = (struct use){.shown = xstrdup(shown),
	                  .reference = json_incref((json_t *)(uintptr_t)place->reference),
	                  .depth = place->depth,
	                  .action = action,
	                  .state = json_object(),
	                  .scope = json_object()};
	int e = action != NULL && action->manifest.kind == MANIFEST_COMPOSITE ? use_make_steps(j, u, err) : 0;
	if (e < 0) {
		release(u);
		return e;
	}
	*ret_shown = TAKE(shown);
	*ret_memory = u;
	return 0;
}

/* ---- one run ---- */

/* What an action of the workspace uses is fetched now. */
static int load(struct job *j, struct record *r, struct use *u, struct err *err)
{
	if (u->action != NULL)
		return 0;
	int e = prepare_local(j, u->reference, &u->own, err);
	if (e < 0)
		return e;
	u->action = u->own;
	if (u->own->manifest.pre != NULL || u->own->manifest.pre_entrypoint != NULL) {
		_cleanup_free_ char *text =
			xasprintf("`pre` execution is not supported for local action from '%s'", u->shown);
		record_issue(j, r, ISSUE_WARNING, text, NULL);
	}
	if (u->own->manifest.kind != MANIFEST_COMPOSITE)
		return 0;
	record_line(j, r, "Prepare all required actions");
	e = prepare_actions(j, r, u->own->manifest.steps, u->depth + 1, err);
	return e < 0 ? e : use_make_steps(j, u, err);
}

static void expect_post(struct job *j, struct record *r, struct use *u)
{
	const char *condition = use_stage(u, STAGE_POST);
	if (r->stage == STAGE_POST || u->expects_post || condition == NULL)
		return;
	u->expects_post = true;
	if (r->parent != NULL)
		return;
	const char *name = r->stage == STAGE_PRE && str_starts(r->name, "Pre ") ? r->name + strlen("Pre ") : r->name;
	_cleanup_free_ char *shown = xasprintf("Post %s", name);
	record_expect_post(j, r, shown)->stage_condition = xstrdup(condition);
}

static void set_keys(struct job *j, struct record *r, const struct use *u)
{
	if (u->action->repository != NULL) {
		json_object_set_new(j->github, "action_repository", json_string(u->action->repository));
		json_object_set_new(j->github, "action_ref", json_string(u->action->ref));
	}
	if (r->parent != NULL || r->type != NULL)
		return;
	const struct action_manifest *m = &u->action->manifest;
	r->type = m->kind == MANIFEST_NODE ? xasprintf("node%d", m->node < 20 ? 20 : m->node)
	                                   : xstrdup(m->kind == MANIFEST_COMPOSITE ? "composite" : "Dockerfile");
	const char *at = strrchr(u->shown, '@');
	r->action_name = at != NULL ? xstrndup(u->shown, (size_t)(at - u->shown)) : xstrdup(u->shown);
	r->ref = xstrdup(u->action->ref);
}

void use_log_head(struct job *j, struct record *r, const char *shown, const json_t *inputs)
{
	const char *name;
	json_t *value;
	if (r->stage == STAGE_POST) {
		record_line(j, r, "Post job cleanup.");
		return;
	}
	record_line(j, r, "##[group]Run %s", shown);
	if (json_object_size(inputs) > 0)
		record_line(j, r, "with:");
	json_object_foreach((json_t *)(uintptr_t)inputs, name, value) if (json_string_length(value) > 0)
		record_line(j, r, "  %s: %s", name, json_string_value(value));
	step_log_env(j, r);
	record_line(j, r, "##[endgroup]");
}

static int run(struct job *j, struct record *r, const json_t *given, enum result *ret, struct err *err)
{
	struct use *u = r->memory;
	_cleanup_json_ json_t *inputs = NULL;
	int e = load(j, r, u, err);
	if (e < 0)
		return e;
	expect_post(j, r, u);
	set_keys(j, r, u);
	r->state = u->state;
	e = use_inputs(j, r, u, given, &inputs, err);
	if (e < 0)
		return e;
	r->inputs = inputs;
	use_log_head(j, r, u->shown, inputs);
	if (u->action->manifest.kind == MANIFEST_COMPOSITE)
		e = use_run_composite(j, r, u, inputs, ret, err);
	else if (u->action->manifest.kind == MANIFEST_NODE)
		e = use_run_node(j, r, u, ret, err);
	else
		e = use_run_docker(j, r, u, inputs, ret, err);
	r->inputs = NULL;
	return e;
}

static bool takes(const struct job *j, const json_t *reference)
{
	const char *type = wire_string(reference, "type");
	(void)j;
	return type != NULL ? strcasecmp(type, "repository") == 0 : wire_int(reference, "type", 0) == 1;
}

const struct action_type action_repository = {
	.takes = takes, .prepare = prepare, .run = run, .stage = use_stage, .release = release};
