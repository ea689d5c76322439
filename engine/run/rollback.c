/* Undoing an open or held deployment by its journal; going back behind a committed one by a new deployment. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include <string.h>

/* ---- which one ---- */

static int list_candidates(const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *all = NULL, *list = json_array();
	const struct store_filter filter = {.undecided = true};
	int r = store_deployment_list(o->store, &filter, &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		json_t *doc = json_array_get(all, i);
		enum deployment_state state = engine_state_of(doc);
		if (state == DEPLOYMENT_OPEN || state == DEPLOYMENT_UNDOING || state == DEPLOYMENT_HELD)
			json_array_append(list, doc);
	}
	if (r == 0)
		*ret = TAKE(list);
	return r;
}

static int find_for_rollback(const char *id, const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	if (id)
		return store_deployment_get(o->store, id, ret, err);
	int r = list_candidates(o, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; o->job_key && i < json_array_size(list); i++) {
		const char *key = json_get_string(json_array_get(list, i), "job_key");
		if (key && strcmp(key, o->job_key) == 0) {
			*ret = json_incref(json_array_get(list, i));
			return 0;
		}
	}
	if (json_array_size(list) == 1 && o->job_key == NULL) {
		*ret = json_incref(json_array_get(list, 0));
		return 0;
	}
	_cleanup_(str_done) struct str names = STR_INIT(4096);
	for (size_t i = 0; i < json_array_size(list); i++)
		str_appendf(&names, "%s%s", i ? ", " : "", json_get_string(json_array_get(list, i), "id"));
	if (json_array_size(list) == 0 || o->job_key)
		err_set(err, ERR_INVALID,
		        o->job_key ? "this job has no open deployment" : "no deployment is open or held here");
	else
		err_set(err, ERR_INVALID, "several deployments are open or held here: %s", str_peek(&names));
	return err_hint(err, ERR_INVALID, "davit rollback ID; davit history lists them");
}

/* ---- open or held ---- */

static int rollback_open(const json_t *doc, const struct engine_options *o, struct engine_result *ret, struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_free_ char *mark = NULL;
	size_t found = 0;
	const char *key = json_get_string(doc, "job_key");
	bool own_job = key && o->job_key && strcmp(key, o->job_key) == 0;
	bool held = engine_state_of(doc) == DEPLOYMENT_HELD;
	int r = engine_resume(&e, doc, o, o->deployment, own_job || held, err);
	if (r < 0)
		return r == ERR_LOCKED ? 5 : 4;
	r = engine_take_over_all(&e, &mark, &found, err);
	int status;
	if (r < 0) {
		status = r == ERR_LOCKED ? 5 : 4;
	} else if (mark && strcmp(mark, "committed") == 0) {
		r = engine_finish_commit(&e, err);
		status = 2;
		err_set(err, ERR_REFUSED,
		        "the deployment %s was committed; davit rollback %s again goes back behind it", e.id, e.id);
	} else if (mark && strcmp(mark, "undone") == 0) {
		status = engine_finish_undone(&e, 1, err) < 0 ? 4 : 0;
	} else if (found == 0) {
		status = engine_settle_by_looking(&e, err);
	} else {
		err_set(&e.reason, ERR_FAILED, "rolled back");
		status = e.from_copy && engine_import_changes(&e, err) < 0 ? 4 : engine_undo_and_decide(&e, 1, err);
	}
	engine_result_fill(&e, ret, status);
	return status;
}

/* ---- committed: a new deployment that goes back ---- */

struct way_back {
	const struct plan *changes; /* of the deployment to go back behind; NULL with `to` */
	const char *to;             /* a release's name */
	const json_t *deployment;
};

static const struct way_back *current_way; /* for the plan of the one rollback that this process makes */

static int add_switch(struct view *v, struct plan *plan, const char *path, const char *link, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *release =
		link[0] == '/' ? xstrdup(link) : xasprintf("%.*s/%s", slash ? (int)(slash - path) : 0, path, link);
	_cleanup_(node_done) struct node n = {0};
	int r = v->type->stat(v, release, &n, err);
	if (r < 0)
		return r;
	if (n.type != NODE_DIR)
		return err_set(err, ERR_REFUSED, "the release '%s' on '%s' is not there any more", release, v->name);
	r = target_look(v, path, false, &now, err);
	if (r < 0)
		return r;
	const char *at = json_get_string(now, "link");
	if (at && strcmp(at, link) == 0)
		return 0;
	struct change *c = plan_add(plan, CHANGE_LINK, ACTION_UPDATE, path);
	c->before = json_incref(now);
	c->after = json_pack("{s:s, s:s}", "type", "link", "link", link);
	c->summary = xasprintf("switch back to %s", link);
	return 0;
}

static int plan_from_changes(struct view *v, struct plan *plan, struct err *err)
{
	const struct plan *changes = current_way->changes;
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *c = &changes->changes[i];
		const char *after = c->kind == CHANGE_LINK ? json_get_string(c->after, "link") : NULL;
		if (after == NULL || !str_starts(after, "releases/") || strcmp(c->target, v->name) != 0)
			continue;
		const char *before = json_get_string(c->before, "link");
		if (before == NULL)
			return err_set(err, ERR_REFUSED, "'%s' on '%s' named no release before that deployment",
			               c->path, v->name);
		int r = add_switch(v, plan, c->path, before, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --to: every PATH of an archive-upload on this target that has such a release. */
static int plan_to_release(struct view *v, struct plan *plan, struct err *err)
{
	const json_t *steps = json_object_get(current_way->deployment, "steps");
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *s = json_array_get(steps, i);
		const char *name = json_get_string(s, "step"),
			   *path = json_get_string(json_object_get(s, "input"), "path");
		if (name == NULL || strcmp(name, "archive-upload") != 0 || path == NULL)
			continue;
		_cleanup_free_ char *current = xasprintf("%s/current", path);
		_cleanup_free_ char *release = xasprintf("%s/releases/%s", path, current_way->to);
		_cleanup_free_ char *link = xasprintf("releases/%s", current_way->to);
		_cleanup_(node_done) struct node n = {0};
		int r = v->type->stat(v, release, &n, err);
		if (r == 0 && n.type == NODE_DIR)
			r = add_switch(v, plan, current, link, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_back(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	return current_way->to ? plan_to_release(v, plan, err) : plan_from_changes(v, plan, err);
}

static const struct step_type back_type = {.name = "rollback", .changes = true, .has_undo = true, .plan = plan_back};
static const struct engine_options *back_options;

static const struct step_type *find_back(const char *name)
{
	return strcmp(name, back_type.name) == 0 ? &back_type : back_options->find_step(name);
}

/* The file's steps are there for their after_undo and their gates; the one that changes is appended. */
static json_t *back_object(const json_t *deployment)
{
	json_t *object = json_deep_copy(deployment);
	json_t *targets = json_array(), *steps = json_object_get(object, "steps");
	const char *name;
	json_t *config;
	json_object_foreach(json_object_get(object, "targets"), name, config)
		json_array_append_new(targets, json_string(name));
	json_object_del(object, "id");
	json_array_append_new(steps, json_pack("{s:s, s:s, s:o, s:{}}", "step", "rollback", "name", "go back", "target",
	                                       targets, "input"));
	return object;
}

static size_t planned_changes(const struct estep *s)
{
	size_t count = 0;
	for (size_t i = 0; i < s->target_count; i++)
		count += s->plans[i].count;
	return count;
}

static int restart_and_gate(struct engine *e, const char *release, struct err *err)
{
	for (size_t i = 0; i + 1 < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		/* Snapshots come back with --data only; a restart always. */
		bool data = strcmp(s->type->name, "snapshot") == 0;
		for (size_t j = 0; s->type->restore && (!data || e->o->data) && j < s->target_count; j++) {
			int r = s->type->restore(&s->context, s->targets[j], release, err);
			if (r < 0)
				return err_wrap(err, r, "%s", s->display);
		}
	}
	for (size_t i = 0; i + 1 < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		int r = s->type->probe ? s->type->probe(&s->context, false, err) : 0;
		if (r < 0)
			return err_wrap(err, r, "%s", s->display);
	}
	return 0;
}

static int go_back(struct engine *e, struct engine_result *ret, struct err *err)
{
	struct estep *s = &e->steps[e->step_count - 1];
	int r = engine_open_targets(e, err);
	if (r == 0)
		r = engine_lock_all(e, err);
	if (r == 0)
		r = engine_plan_step(e, s, s->plans, err);
	if (r == 0 && planned_changes(s) == 0)
		r = err_set(err, ERR_REFUSED,
		            "there is nothing to go back to: no release is switched by it, or it is already current");
	if (r == 0)
		r = engine_baseline(e, err);
	if (r == 0)
		r = engine_set_state(e, DEPLOYMENT_OPEN, NULL, err);
	if (r < 0) {
		int status = r == ERR_LOCKED ? 5 : r == ERR_CANCELLED ? 130 : 2;
		engine_refuse(e, status, err);
		engine_result_fill(e, ret, status);
		return status;
	}
	const char *link = NULL;
	for (size_t i = 0; link == NULL && i < s->target_count; i++)
		link = s->plans[i].count ? json_get_string(s->plans[i].changes[0].after, "link") : NULL;
	_cleanup_free_ char *release = xstrdup(link && strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
	for (size_t i = 0; i < e->step_count; i++)
		e->steps[i].begun = true; /* a failure restarts the services again */
	r = engine_apply_step(e, s, err);
	if (r == 0)
		r = restart_and_gate(e, release, err);
	if (r == 0)
		r = engine_commit(e, err);
	if (r < 0) {
		engine_fail(e, r, err, ret);
		return ret->exit_status;
	}
	engine_result_fill(e, ret, 0);
	return 0;
}

/* Such a deployment stands in nobody's way: what it found is still what the one before it made. */
static bool changed_nothing(struct store *store, const char *id)
{
	_cleanup_(plan_done) struct plan changes = {0};
	return store_change_list(store, id, &changes, NULL) == 0 && changes.count == 0;
}

static int rollback_committed(const json_t *doc, const char *to, const struct engine_options *o,
                              struct engine_result *ret, struct err *err)
{
	_cleanup_(plan_done) struct plan changes = {0};
	struct engine_options options = *o;
	const char *name = json_get_string(o->deployment, "name"),
		   *environment = json_get_string(o->deployment, "environment");
	if (o->deployment == NULL) {
		err_set(err, ERR_INVALID,
		        "to go back behind a committed deployment that this host did not keep, its file is needed");
		err_hint(err, ERR_INVALID, "davit rollback %s%s --file FILE", to ? "--to " : "",
		         to ? to : json_get_string(doc, "id"));
		return 2;
	}
	engine_recover_environment(o, name, environment);
	if (doc) {
		_cleanup_json_ json_t *newer = NULL;
		const struct store_filter filter = {.name = json_get_string(doc, "name"),
		                                    .environment = json_get_string(doc, "environment")};
		int r = store_deployment_list(o->store, &filter, &newer, err);
		for (size_t i = 0; r == 0 && i < json_array_size(newer); i++) {
			const json_t *other = json_array_get(newer, i);
			if (engine_state_of(other) != DEPLOYMENT_COMMITTED)
				continue;
			if (strcmp(json_get_string(other, "id"), json_get_string(doc, "id")) != 0) {
				if (changed_nothing(o->store, json_get_string(other, "id")))
					continue;
				err_set(err, ERR_REFUSED, "%s is not the newest committed deployment: %s is",
				        json_get_string(doc, "id"), json_get_string(other, "id"));
				err_hint(err, ERR_REFUSED, "davit rollback --to RELEASE");
				return 2;
			}
			break;
		}
		if (r == 0)
			r = store_change_list(o->store, json_get_string(doc, "id"), &changes, err);
		if (r < 0)
			return 2;
	}
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	_cleanup_json_ json_t *object = back_object(o->deployment);
	const struct way_back way = {.changes = &changes, .to = to, .deployment = o->deployment};
	current_way = &way;
	back_options = o;
	options.find_step = find_back;
	int r = engine_load(&e, object, &options, err);
	if (r == 0)
		r = engine_begin(&e, err);
	int status = r < 0 ? 2 : go_back(&e, ret, err);
	if (r < 0)
		engine_result_fill(&e, ret, 2);
	return status;
}

int engine_rollback(const char *id, const char *to, const json_t *secrets, const struct engine_options *o,
                    struct engine_result *ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	(void)secrets;
	memset(ret, 0, sizeof(*ret));
	if (to) {
		ret->exit_status = rollback_committed(NULL, to, o, ret, err);
		return 0;
	}
	int r = find_for_rollback(id, o, &doc, err);
	if (r == ERR_NOT_FOUND)
		err_hint(err, r, "davit history lists the deployments that this host knows");
	if (r < 0) {
		ret->exit_status = 2;
		return 0;
	}
	int status;
	switch (engine_state_of(doc)) {
	case DEPLOYMENT_COMMITTED:
		status = rollback_committed(doc, NULL, o, ret, err);
		break;
	case DEPLOYMENT_REFUSED:
		status = 0;
		break;
	case DEPLOYMENT_UNDONE:
		status = json_get_bool(doc, "cleaned", false) ? 0 : engine_recover_one(doc, o, o->deployment, ret, err);
		break;
	case DEPLOYMENT_PREPARING:
		status = engine_recover_one(doc, o, o->deployment, ret, err);
		break;
	case DEPLOYMENT_OPEN:
	case DEPLOYMENT_UNDOING:
	case DEPLOYMENT_HELD:
	default:
		status = rollback_open(doc, o, ret, err);
		break;
	}
	ret->exit_status = status;
	if (ret->id == NULL)
		ret->id = xstrdup(json_get_string(doc, "id"));
	return 0;
}
