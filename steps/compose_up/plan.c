/* What stands there, what is wanted, and whether the two differ. */
#include "steps/compose_up/compose_up.h"

void compose_payload_clear(struct compose_payload *p)
{
	compose_stack_done(&p->stack);
	strv_done(&p->standing);
	strv_done(&p->hidden);
	strv_done(&p->warnings);
	docker_containers_done(&p->was);
	json_decref(p->former);
	json_decref(p->images);
	free(p->former_name);
	json_decref(p->goal);
	free(p->goal_name);
	free(p->unresolved);
	*p = (struct compose_payload){0};
}

void compose_payload_free(void *payload)
{
	if (payload != NULL)
		compose_payload_clear(payload);
	free(payload);
}

static int refuse(const struct compose_up_in *in, const struct docker *d, const struct strv *faults, struct err *err)
{
	_cleanup_(str_done) struct str list = STR_INIT(8192);
	for (size_t i = 0; i < faults->count; i++)
		str_appendf(&list, "%s%s", i > 0 ? "; " : "", faults->items[i]);
	return err_set(err, ERR_REFUSED, "'%s' on '%s': %s", in->project, d->v->name, str_peek(&list));
}

int compose_must_have_former(const struct compose_up_in *in, const struct docker *d, const char *why, struct err *err)
{
	if (why == NULL || in->forget_former)
		return 0;
	err_set(err, ERR_REFUSED, "what runs of '%s' on '%s' could not be brought back: %s", in->project, d->v->name,
	        why);
	return err_hint(
		err, ERR_REFUSED,
		"start it once from the files that are there (`docker compose up -d`), or give `forget_former: true`: then a rollback "
		"leaves what is new");
}

/* A one-shot service that failed the last time has to run again. */
static bool a_once_failed(const struct compose_payload *p)
{
	for (size_t i = 0; i < p->was.count; i++) {
		const struct compose_service *one = compose_find(&p->stack, p->was.items[i].service);
		if (one != NULL && one->once && p->was.items[i].exit_code != 0)
			return true;
	}
	return false;
}

static bool fetches(const struct compose_payload *p)
{
	const char *name;
	json_t *one;
	json_object_foreach(p->images, name, one) if (json_get_string(one, "id") == NULL) return true;
	return false;
}

bool compose_is_same(const struct compose_payload *p)
{
	_cleanup_json_ json_t *found = compose_state_found(&p->was),
			      *wanted = compose_state_wanted(&p->stack, p->images);
	return compose_state_is(found, wanted) && !a_once_failed(p) && !fetches(p) && p->hidden.count == 0;
}

/* What runs as configured need not be asked whether it can. */
static int look_at_stack(const struct step_context *c, const struct docker *d, struct compose_payload *p,
                         struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(strv_done) struct strv faults = {0};
	_cleanup_json_ json_t *here = NULL;
	int r = compose_resolve(c, d, p->former, &p->stack, err);
	if (r == 0)
		compose_roll_faults(in, &p->stack, &faults);
	if (r == 0)
		r = compose_look_at_images(in, d, &p->stack, &p->images, &here, err);
	p->same = r == 0 && compose_is_same(p);
	if (r == 0 && !p->same)
		r = compose_check_names(in, d, &p->stack, &faults, err);
	if (r == 0 && !p->same)
		r = compose_check_ports(in, d, &p->stack, &faults, err);
	if (r == 0 && !p->same)
		r = compose_check_images(d, &p->stack, p->images, here, &faults, &p->warnings, err);
	if (r == 0 && !p->same)
		compose_stand_faults(in, p, &faults);
	if (r == 0 && faults.count > 0)
		r = refuse(in, d, &faults, err);
	return r;
}

int compose_look(const struct step_context *c, const struct docker *d, bool may_wait, struct compose_payload *p,
                 struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_free_ char *why = NULL;
	struct err own = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	int r = 0;
	/* What the steps before it are about to change is read when they are done. */
	if (!may_wait)
		r = compose_unchanged(c, d, p, &p->same, err);
	if (r < 0 || p->same)
		return r;
	r = docker_project(d, in->project, &p->was, err);
	if (r == 0)
		r = compose_former(c, d, p, &why, err);
	if (r == 0)
		r = compose_must_have_former(in, d, why, err);
	if (r < 0)
		return r;
	r = look_at_stack(c, d, p, &own);
	if (r == ERR_REFUSED && may_wait) {
		p->unresolved = xstrdup(err_line(&own, line, sizeof(line)));
		return 0;
	}
	if (r < 0 && err != NULL)
		*err = own;
	return r;
}

static void show_images(const struct compose_payload *p, struct str *out)
{
	const char *name;
	json_t *one;
	json_object_foreach(p->images, name, one)
		str_appendf(out, "%s%s: %s (%s)", out->len > 0 ? ", " : "", name, json_get_string(one, "image"),
	                    json_get_string(one, "from"));
}

void compose_report_images(const struct step_context *c, const struct compose_payload *p)
{
	const char *name;
	json_t *one;
	json_object_foreach(p->images, name, one)
		c->report(c->engine, "%s: %s (%s)", name, json_get_string(one, "image"), json_get_string(one, "from"));
}

static void describe_change(const struct compose_up_in *in, const struct compose_payload *p, struct change *change)
{
	_cleanup_(str_done) struct str text = STR_INIT(16384);
	if (p->unresolved == NULL)
		show_images(p, &text);
	change->summary =
		p->unresolved == NULL
			? xasprintf("%s %s: %s", p->was.count > 0 ? "update" : "start", in->project, str_peek(&text))
			: xasprintf("start %s once the steps before it have put its files there", in->project);
}

static json_t *extra_of(const struct step_context *c, const struct compose_payload *p)
{
	const struct compose_up_in *in = c->input;
	json_t *extra =
		json_pack("{s:s,s:I,s:{s:s,s:s}}", "project", in->project, "timeout_ms", (json_int_t)in->timeout_ms,
	                  "plan", "project", in->project, "directory", in->directory);
	json_set_string(extra, "id", c->deployment->id);
	json_set_string(extra, "former", p->former_name);
	json_set_string(extra, "docker_host", in->docker_host);
	json_set_string(extra, "docker_config", in->docker_config);
	if (p->images != NULL)
		json_object_set(extra, "images", p->images);
	json_t *hidden = json_array();
	for (size_t i = 0; i < p->hidden.count; i++)
		json_array_append_new(hidden, json_string(p->hidden.items[i]));
	json_object_set_new(extra, "standing", hidden);
	return extra;
}

int compose_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, v, NULL);
	bool may_wait = c->changed_before != NULL && c->changed_before(c->engine, c->index, v->name);
	struct compose_payload *p = xcalloc(1, sizeof(*p));
	int r = compose_look(c, &d, may_wait, p, err);
	_cleanup_json_ json_t *found = r == 0 ? compose_state_found(&p->was) : NULL;
	_cleanup_json_ json_t *wanted =
		r == 0 && p->unresolved == NULL ? compose_state_wanted(&p->stack, p->images) : NULL;
	bool same = wanted != NULL && p->same;
	/* What the steps before it are about to change may make it differ. */
	if (r < 0 || (same && !may_wait)) {
		compose_payload_free(p);
		return r;
	}
	_cleanup_free_ char *path = xasprintf("compose:%s", in->project);
	struct change *change = plan_add(plan, &change_compose, p->was.count > 0 ? ACTION_UPDATE : ACTION_CREATE, path);
	change->before = json_incref(found);
	change->after = wanted != NULL ? json_incref(wanted) : json_pack("{s:s}", "type", "compose");
	json_decref(change->extra);
	change->extra = extra_of(c, p);
	change->payload = p;
	change->payload_free = compose_payload_free;
	free(change->summary);
	describe_change(in, p, change);
	if (p->unresolved != NULL)
		strv_addf(&plan->warnings, "%s: looked at again once the steps before it are done", p->unresolved);
	for (size_t i = 0; i < p->warnings.count; i++)
		strv_addf(&plan->warnings, "%s", p->warnings.items[i]);
	json_t *shown = json_pack("{s:s}", "project", in->project);
	if (p->images != NULL)
		json_object_set(shown, "images", p->images);
	plan->shown = shown;
	return 0;
}
