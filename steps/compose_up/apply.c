/* Makes the change: images first, then what has to be known for the way back, then compose, then a look at what came of it. */
#include "steps/compose_up/inputs.h"

static json_t *about_new(const struct step_context *c, const struct compose_payload *p)
{
	const struct docker_containers none = {0};
	json_t *about = compose_about(c->deployment->id, c, p->stack.directory, &none),
	       *services = json_get_object(about, "services");
	for (size_t i = 0; i < p->stack.count; i++) {
		const struct compose_service *one = &p->stack.services[i];
		const char *id = json_get_string(json_object_get(p->images, one->name), "id");
		json_object_set_new(services, one->name,
		                    json_pack("{s:s,s:s,s:s,s:I,s:I}", "hash", one->hash, "image", id, "name",
		                              one->image, "count", (json_int_t)one->replicas, "up",
		                              (json_int_t)(one->once ? 0 : one->replicas)));
	}
	json_set_string(about, "former", p->former_name);
	json_t *standing = json_array();
	for (size_t i = 0; i < p->standing.count; i++)
		json_array_append_new(standing, json_string(p->standing.items[i]));
	json_object_set_new(about, "standing", standing);
	return about;
}

static void set_outputs(const struct step_context *c, const struct compose_payload *p, bool changed)
{
	_cleanup_(str_done) struct str images = STR_INIT(64 << 10);
	const char *name;
	json_t *one;
	json_object_foreach(p->images, name, one)
		str_appendf(&images, "%s%s=%s", images.len > 0 ? " " : "", name, json_get_string(one, "id"));
	json_set_string(c->outputs, "project", ((const struct compose_up_in *)c->input)->project);
	json_set_string(c->outputs, "images", str_peek(&images));
	json_set_string(c->outputs, "changed", changed ? "true" : "false");
}

/* What one-shot services ran before and run now. */
static void tell_versions(const struct step_context *c, const struct compose_payload *p)
{
	const json_t *was = json_get_object(json_get_object(p->former, "x-davit"), "services");
	json_t *versions = json_object();
	for (size_t i = 0; i < p->stack.count; i++) {
		const struct compose_service *one = &p->stack.services[i];
		const json_t *before = json_object_get(was, one->name);
		const char *id = json_get_string(json_object_get(p->images, one->name), "id");
		if (!one->once)
			continue;
		c->report(c->engine, "%s ran to its end: %s (%.19s), before: %s (%.19s)", one->name, one->image, id,
		          before != NULL ? json_get_string(before, "name") : "none",
		          before != NULL ? json_get_string(before, "image") : "-");
		json_object_set_new(versions, one->name,
		                    json_pack("{s:s,s:s,s:s?,s:s?}", "image", one->image, "id", id, "image_before",
		                              json_get_string(before, "name"), "id_before",
		                              json_get_string(before, "image")));
	}
	if (json_object_size(versions) > 0 && c->event != NULL)
		c->event(c->engine, "once", json_incref(versions));
	json_decref(versions);
}

/* What somebody else started is in no file of ours: a rollback behind the commit would not find it. */
static int keep_adopted(struct target *t, const char *project, const struct compose_payload *p, struct err *err)
{
	if (p->former == NULL || strcmp(p->former_name, compose_adopted) != 0)
		return 0;
	_cleanup_free_ char *file = compose_file(&t->view, project, compose_adopted);
	return compose_put_json(t, file, p->former, err);
}

static int write_new(const struct step_context *c, struct target *t, struct change *change,
                     const struct compose_payload *p, const struct docker_containers *now, const char *file,
                     struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_json_ json_t *about = about_new(c, p),
			      *state = compose_state_with(json_deep_copy(change->after), &p->standing, now);
	_cleanup_free_ char *after = compose_undo_path(t->lock_dir, change, ".after");
	struct docker d = compose_docker(c, &t->view, t);
	json_object_set(p->stack.model, "x-davit", about);
	int r = compose_make_dir(t, in->project, err);
	/* First of all that is kept: it says that there is something to take back. */
	if (r == 0)
		r = compose_put_json(t, file, p->stack.model, err);
	if (r == 0)
		r = keep_adopted(t, in->project, p, err);
	if (r == 0)
		r = compose_put_json(t, after, state, err);
	if (r == 0)
		r = compose_make_durable(t, in->project, err);
	return r == 0 ? compose_keep_images(&d, in->project, about, err) : r;
}

/* So that the next deployment can tell that nothing has changed. Without it all is well too. */
static void keep_inputs(const struct step_context *c, struct target *t, struct compose_payload *p, const char *file)
{
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_json_ json_t *inputs = NULL;
	bool is_it = false, still = false;
	int r = compose_inputs_take(c, &d, p->stack.directory, &inputs, NULL);
	if (r == 0 && inputs != NULL)
		r = compose_is_resolved_as(c, &d, &p->stack, &is_it, NULL);
	if (r == 0 && is_it)
		r = compose_inputs_still(c, &d, inputs, &still, NULL);
	if (r < 0 || !still)
		return;
	json_object_set(json_object_get(p->stack.model, "x-davit"), "inputs", inputs);
	(void)compose_put_json(t, file, p->stack.model, NULL);
}

static int start(const struct step_context *c, struct target *t, struct change *change, struct compose_payload *p,
                 const struct docker_containers *now, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_free_ char *file = compose_file(&t->view, in->project, c->deployment->id);
	int r = compose_remove_containers(&d, in->project, &p->hidden, in->timeout_ms, err);
	if (r == 0)
		r = write_new(c, t, change, p, now, file, err);
	if (r == 0)
		r = compose_rolls(c, p, now) ? compose_roll(c, t, &d, p, now, file, err)
		                             : compose_up(c, &d, p, file, err);
	if (r == 0)
		r = compose_watch(c, &d, p, err);
	if (r == 0)
		keep_inputs(c, t, p, file);
	if (r == 0)
		r = compose_point_to(t, in->project, c->deployment->id, err);
	if (r == 0)
		r = compose_make_durable(t, in->project, err);
	if (r == 0)
		tell_versions(c, p);
	return r;
}

/* Its reply was lost: containers that run are not all that it makes. */
static int is_begun(const struct step_context *c, struct target *t, bool *ret, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_free_ char *file = compose_file(&t->view, in->project, c->deployment->id);
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(&t->view, file, &n, err);
	*ret = r == 0 && n.type != NODE_ABSENT;
	return r;
}

int compose_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	struct compose_payload *p = change->payload, *fresh = NULL;
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_(docker_containers_done) struct docker_containers now = {0};
	bool begun = false;
	int r = 0;
	if (p == NULL)
		return err_set(err, ERR_INTERNAL, "'%s' was planned by another process", change->path);
	if (p->goal != NULL)
		return compose_apply_back(c, t, p, err);
	if (p->unresolved != NULL) {
		fresh = xcalloc(1, sizeof(*fresh));
		r = compose_look(c, &d, false, fresh, err);
	}
	struct compose_payload *use = fresh != NULL ? fresh : p;
	if (r == 0)
		compose_report_images(c, use);
	if (r == 0)
		r = compose_fetch(c, &d, use, err);
	if (r == 0)
		r = docker_project(&d, ((const struct compose_up_in *)c->input)->project, &now, err);
	if (r == 0)
		r = is_begun(c, t, &begun, err);
	if (r == 0) {
		_cleanup_json_ json_t *found = compose_state_found(&now);
		json_decref(change->after);
		change->after = compose_state_wanted(&use->stack, use->images);
		bool same = !begun && compose_state_is(found, change->after);
		compose_stand(c->input, use, &now);
		if (same)
			c->report(c->engine, "all of it runs as configured: nothing is touched");
		else
			r = start(c, t, change, use, &now, err);
		if (r == 0)
			set_outputs(c, use, !same);
	}
	compose_payload_free(fresh);
	return r;
}
