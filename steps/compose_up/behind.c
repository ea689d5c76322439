/* Back behind a committed deployment: to the configuration that it replaced, which is kept below BASE/compose with its images. */
#include "steps/compose_up/compose_up.h"
#include "engine/change/change.h"

#include <inttypes.h>

/* ---- what there was ---- */

static int read_goal(const struct compose_up_in *in, const struct docker *d, const char *name, json_t **ret,
                     struct err *err)
{
	_cleanup_free_ char *path = compose_file(d->v, in->project, name);
	int r = compose_read_model(d->v, path, ret, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_set(err, ERR_REFUSED, "the configuration %s of '%s' on '%s' is not kept any more", name, in->project,
	        d->v->name);
	return err_hint(err, ERR_REFUSED, "`keep` says of how many deployments it is; deploy the commit of before");
}

static int must_have_images(const struct compose_up_in *in, const struct docker *d, const json_t *goal, struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	_cleanup_json_ json_t *here = NULL;
	const char *name;
	json_t *one;
	json_object_foreach(json_get_object(json_get_object(goal, "x-davit"), "services"), name,
	                    one) if (json_get_string(one, "image") != NULL &&
	                             !strv_has(&ids, json_get_string(one, "image")))
		strv_add(&ids, json_get_string(one, "image"));
	int r = docker_images(d, &ids, &here, err);
	for (size_t i = 0; r == 0 && i < ids.count; i++)
		if (json_object_get(here, ids.items[i]) == NULL) {
			err_set(err, ERR_REFUSED, "the image %.19s, which '%s' ran before, is not on '%s' any more",
			        ids.items[i], in->project, d->v->name);
			return err_hint(err, ERR_REFUSED, "deploy the commit of before: that fetches it");
		}
	return r;
}

/* What ran, as it was kept: so many containers of each service, as many of them up. */
static json_t *state_of(const json_t *goal)
{
	json_t *services = json_object(), *one;
	const char *name;
	json_object_foreach(json_get_object(json_get_object(goal, "x-davit"), "services"), name, one)
	{
		const char *hash = json_get_string(one, "hash"), *image = json_get_string(one, "image");
		json_object_set_new(
			services, name,
			compose_state_service(hash, image, json_get_int(one, "count", 1), json_get_int(one, "up", 0)));
	}
	return json_pack("{s:s,s:o}", "type", "compose", "services", services);
}

/* ---- planned ---- */

static json_t *images_of(const json_t *goal)
{
	json_t *images = json_object(), *one;
	const char *name;
	json_object_foreach(json_get_object(json_get_object(goal, "x-davit"), "services"), name, one)
		json_object_set_new(images, name,
	                            json_pack("{s:s?,s:s?,s:s}", "image", json_get_string(one, "name"), "id",
	                                      json_get_string(one, "image"), "from", "here"));
	return images;
}

static json_t *extra_of(const struct step_context *c, const struct compose_payload *p)
{
	const struct compose_up_in *in = c->input;
	json_t *extra = json_pack("{s:s,s:I,s:s,s:O}", "project", in->project, "timeout_ms", (json_int_t)in->timeout_ms,
	                          "back", p->goal_name, "images", p->images);
	json_set_string(extra, "former", p->former_name);
	json_set_string(extra, "docker_host", in->docker_host);
	json_set_string(extra, "docker_config", in->docker_config);
	return extra;
}

static void add_change(const struct step_context *c, const struct change *former, struct compose_payload *p,
                       json_t *found, struct plan *plan)
{
	const struct compose_up_in *in = c->input;
	p->images = images_of(p->goal);
	struct change *change = plan_add(plan, &change_compose, ACTION_UPDATE, former->path);
	change->before = json_incref(found);
	change->after = state_of(p->goal);
	json_decref(change->extra);
	change->extra = extra_of(c, p);
	change->payload = p;
	change->payload_free = compose_payload_free;
	free(change->summary);
	change->summary = xasprintf("bring back %s as %s started it", in->project, p->goal_name);
}

/* A crash loop or a container that somebody stopped is no reason to stay with it; one that neither of the two made is. */
static int must_be_ours(const struct compose_up_in *in, const struct docker *d, const struct change *former,
                        const json_t *found, bool force, struct err *err)
{
	if (force || compose_state_match(former->before, former->after, found) != MATCH_NEITHER)
		return 0;
	_cleanup_(str_done) struct str why = STR_INIT(1024);
	compose_state_explain(former->before, former->after, found, &why);
	err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as that deployment left it: %s", in->project, d->v->name,
	        str_peek(&why));
	return err_hint(err, ERR_CONFLICT, "--force goes back all the same");
}

static int look_at_now(const struct step_context *c, const struct docker *d, struct compose_payload *p, struct err *err)
{
	_cleanup_free_ char *why = NULL;
	int r = compose_former(c, d, p, &why, err);
	return r == 0 ? compose_must_have_former(c->input, d, why, err) : r;
}

static int plan_back(const struct step_context *c, const struct docker *d, const struct change *former, bool force,
                     struct compose_payload *p, struct plan *plan, struct err *err)
{
	const struct compose_up_in *in = c->input;
	int r = docker_project(d, in->project, &p->was, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *found = compose_state_found(&p->was);
	if (compose_state_is(found, former->before))
		return 0;
	r = must_be_ours(in, d, former, found, force, err);
	if (r == 0)
		r = look_at_now(c, d, p, err);
	if (r == 0)
		r = read_goal(in, d, p->goal_name, &p->goal, err);
	if (r == 0)
		r = must_have_images(in, d, p->goal, err);
	if (r == 0)
		add_change(c, former, p, found, plan);
	return r;
}

int compose_back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                 struct plan *plan, struct err *err)
{
	const struct compose_up_in *in = c->input;
	const char *name = json_get_string(former->extra, "former");
	struct docker d = compose_docker(c, v, NULL);
	if (compose_state_is_absent(former->before))
		return err_set(
			err, ERR_UNSUPPORTED,
			"nothing ran before that deployment; `docker compose --project-name %s down` takes it down",
			in->project);
	if (name == NULL)
		return err_set(err, ERR_UNSUPPORTED, "what ran before is not known (`forget_former`)");
	struct compose_payload *p = xcalloc(1, sizeof(*p));
	p->goal_name = xstrdup(name);
	size_t before = plan->count;
	int r = plan_back(c, &d, former, force, p, plan, err);
	if (plan->count == before)
		compose_payload_free(p);
	return r;
}

/* ---- made ---- */

int compose_apply_back(const struct step_context *c, struct target *t, const struct compose_payload *p, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, &t->view, t);
	int r = compose_keep_images(&d, in->project, json_get_object(p->goal, "x-davit"), err);
	if (r == 0)
		r = compose_go_back(&d, in->project, p->goal_name, p->goal, in->timeout_ms, err);
	if (r == 0)
		r = compose_point_to(t, in->project, p->goal_name, err);
	if (r == 0)
		r = compose_make_durable(t, in->project, err);
	return r == 0 ? compose_routed_again(c, t, p->goal, err) : r;
}
