/* The step of a rollback of a committed deployment, and only of a rollback: no file can name it. Its input is all that it needs,
 * so that recovery, another machine and an undo need nothing of the process that began it:
 *   {"switches":[{"target","path","to","from","change"}],"release","data","formers":[{"place","step","record"}]}
 * path: the link that is switched; to, from: its target afterwards and before, from NULL if that is not known; change: the number
 * of the change that switched it; release: with --to, the name of the release, and then a switch to a missing one is left out;
 * data: the steps that keep data lead back to that release as well; formers: the changes whose steps know a way back themselves (back.c). */
#include "engine/run/run_priv.h"

#include "base/sys/fs.h"
#include <string.h>

/* ---- the plan ---- */

static bool is_on(const json_t *one, const char *target)
{
	const char *name = json_get_string(one, "target");
	return name && strcmp(name, target) == 0;
}

/* Relative links start at their own directory. */
static char *release_path(const char *path, const char *link)
{
	const char *slash = strrchr(path, '/');
	return link[0] == '/' ? xstrdup(link) : xasprintf("%.*s/%s", slash ? (int)(slash - path) : 0, path, link);
}

static int missing(struct view *v, struct plan *plan, const json_t *one, const char *release, bool may_lack,
                   struct err *err)
{
	if (!may_lack)
		return err_set(err, ERR_REFUSED, "the release '%s' on '%s' is not there any more", release, v->name);
	_cleanup_free_ char *text = xasprintf("'%s' on '%s' stays as it is: there is no '%s'",
	                                      json_get_string(one, "path"), v->name, release);
	strv_add(&plan->warnings, text);
	return 0;
}

static int plan_switch(struct view *v, struct plan *plan, const json_t *one, bool may_lack, struct err *err)
{
	const char *path = json_get_string(one, "path"), *to = json_get_string(one, "to"),
		   *from = json_get_string(one, "from");
	_cleanup_json_ json_t *now = NULL;
	_cleanup_(node_done) struct node n = {0};
	if (path == NULL || to == NULL)
		return err_set(err, ERR_INVALID, "a switch names neither a path nor a release");
	_cleanup_free_ char *release = release_path(path, to);
	int r = host_stat(v, release, &n, err);
	if (r < 0)
		return r;
	if (n.type != NODE_DIR)
		return missing(v, plan, one, release, may_lack, err);
	r = target_look(v, path, false, &now, err);
	if (r < 0)
		return r;
	const char *at = json_get_string(now, "link");
	if (at && strcmp(at, to) == 0)
		return 0;
	if (from && (at == NULL || strcmp(at, from) != 0)) {
		_cleanup_free_ char *text = xasprintf("'%s' on '%s' names '%s', not '%s' as that deployment left it",
		                                      path, v->name, at ? at : "nothing", from);
		strv_add(&plan->warnings, text);
	}
	struct change *c = plan_add(plan, &change_link, ACTION_UPDATE, path);
	c->before = json_incref(now);
	c->after = json_pack("{s:s, s:s}", "type", "link", "link", to);
	c->summary = xasprintf("switch back from %s to %s", at ? at : "nothing", to);
	int64_t change = json_get_int(one, "change", 0);
	if (change > 0)
		c->extra = json_pack("{s:{s:I}}", "of", "change", (json_int_t)change);
	return 0;
}

static int plan_back(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const json_t *switches = json_object_get(c->input_json, "switches");
	bool may_lack = json_get_string(c->input_json, "release") != NULL;
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(switches); i++) {
		const json_t *one = json_array_get(switches, i);
		if (is_on(one, v->name))
			r = plan_switch(v, plan, one, may_lack, err);
	}
	if (r == 0)
		r = engine_back_plan(c, v, plan, err);
	engine_back_sort(plan);
	return r;
}

/* An API may have something to lead back, too. */
static bool fits(const struct step_type *type, const struct view *v)
{
	(void)type;
	(void)v;
	return true;
}

static void describe(const struct step_context *c, struct str *out)
{
	const char *release = json_get_string(c->input_json, "release");
	str_appendf(out, "switch back to %s", release ? release : "what was valid before");
}

/* Links are verified and undone like every link, by their record; the rest by the step that led it back. */
static const struct step_info way_back_info = {.name = "rollback", .targets = STEP_TARGETS_MANY, .changes = true};
const struct step_type engine_way_back = {
	.info = &way_back_info, .fits = fits, .describe = describe, .plan = plan_back};

/* ---- its input ---- */

static json_t *make_switch(const char *target, const char *path, const char *to, const char *from)
{
	return json_pack("{s:s, s:s, s:s?, s:s?}", "target", target, "path", path, "to", to, "from", from);
}

static bool releases_of(const struct estep *s, char **ret_path)
{
	const char *path = step_releases_path(s->type->info->name, s->input);
	*ret_path = NULL;
	return path && fs_normalize(path, ret_path, NULL) == 0;
}

/* Every PATH of an archive-upload, on each of its targets; to NULL: unknown. */
static json_t *switches_of_steps(const struct engine *e, const char *to)
{
	json_t *switches = json_array();
	for (size_t i = 0; i < e->step_count; i++) {
		_cleanup_free_ char *path = NULL;
		if (!releases_of(&e->steps[i], &path))
			continue;
		_cleanup_free_ char *current = xasprintf("%s/current", path);
		_cleanup_free_ char *link = to ? xasprintf("releases/%s", to) : NULL;
		for (size_t j = 0; j < e->steps[i].target_count; j++)
			json_array_append_new(switches,
			                      make_switch(e->steps[i].etargets[j]->name, current, link, NULL));
	}
	return switches;
}

json_t *engine_way_to_release(const struct engine *e, const char *release)
{
	return json_pack("{s:o, s:s, s:b}", "switches", switches_of_steps(e, release), "release", release, "data",
	                 e->o->data);
}

int engine_way_behind(struct engine *e, const struct plan *changes, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *switches = json_array();
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *c = &changes->changes[i];
		const char *after = change_release_of(c) ? json_get_string(c->after, "link") : NULL;
		const char *before = json_get_string(c->before, "link");
		if (after == NULL)
			continue;
		if (before == NULL)
			return err_set(err, ERR_REFUSED, "'%s' on '%s' named no release before that deployment",
			               c->path, c->target);
		if (engine_target(e, c->target) == NULL)
			return err_set(
				err, ERR_REFUSED,
				"the deployment also switched '%s' on the target '%s', which is not named any more",
				c->path, c->target);
		json_t *one = make_switch(c->target, c->path, before, after);
		json_object_set_new(one, "change", json_integer((json_int_t)c->id));
		json_array_append_new(switches, one);
	}
	*ret = json_pack("{s:O, s:o}", "switches", switches, "formers", engine_back_formers(e, changes));
	return 0;
}

/* ---- in its deployment ---- */

int engine_add_way_back(struct engine *e, size_t at, const json_t *input, struct err *err)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < e->target_count; i++)
		if (!e->targets[i].config.host.read_only)
			json_array_append_new(targets, json_string(e->targets[i].name));
	_cleanup_json_ json_t *step =
		json_pack("{s:s, s:s, s:s, s:o, s:O}", "step", engine_way_back.info->name, "id",
	                  engine_way_back.info->name, "name", "go back", "target", targets, "input", input);
	json_object_set_new(e->deployment, "rollback",
	                    json_pack("{s:I, s:O}", "index", (json_int_t)at, "input", input));
	return engine_insert_step(e, at, step, err);
}

struct estep *engine_way_back_of(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].type == &engine_way_back)
			return &e->steps[i];
	return NULL;
}

int engine_recall_way_back(struct engine *e, const json_t *doc, struct err *err)
{
	const json_t *way = json_object_get(doc, "rollback");
	int64_t index = json_get_int(way, "index", -1);
	if (way == NULL || engine_way_back_of(e))
		return 0;
	if (index < 0 || (size_t)index > e->step_count)
		return err_set(err, ERR_CONFLICT, "the file does not have the steps that the rollback %s was made with",
		               e->id);
	return engine_add_way_back(e, (size_t)index, json_object_get(way, "input"), err);
}

/* ---- releases to go back to ---- */

static int list_releases(struct view *v, const char *path, struct strv *names, struct err *err)
{
	_cleanup_free_ char *releases = release_path(path, "releases");
	_cleanup_(strv_done) struct strv found = {0};
	int r = host_list(v, releases, &found, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < found.count; i++)
		if (found.items[i][0] != '.' && !strv_has(names, found.items[i]))
			strv_add(names, found.items[i]);
	return r;
}

int engine_releases_there(struct engine *e, struct strv *ret, struct err *err)
{
	const struct estep *s = engine_way_back_of(e);
	const json_t *switches = s ? json_object_get(s->input, "switches") : NULL;
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(switches); i++) {
		const json_t *one = json_array_get(switches, i);
		const char *path = json_get_string(one, "path"), *name = json_get_string(one, "target");
		struct etarget *et = name ? engine_target(e, name) : NULL;
		if (et && path)
			r = list_releases(&et->t->view, path, ret, err);
	}
	return r;
}

/* ---- from the copies on the targets ---- */

/* A copy's record of a rollback counts for the links that the file's own steps switch. */
int engine_expect_way_back(struct engine *e, int index, struct err *err)
{
	if (engine_way_back_of(e))
		return 0;
	if (index < 0 || (size_t)index > e->step_count)
		return err_set(err, ERR_CONFLICT, "the record of a rollback is of a step that the file does not have");
	_cleanup_json_ json_t *input = json_pack("{s:o}", "switches", switches_of_steps(e, NULL));
	int r = engine_add_way_back(e, (size_t)index, input, err);
	_cleanup_json_ json_t *members = json_pack("{s:O}", "rollback", json_object_get(e->deployment, "rollback"));
	if (r == 0)
		r = store_deployment_set(e->store, e->id, members, err);
	return r < 0 ? r : engine_seal(e, err);
}

bool engine_may_switch(const struct estep *s, const char *target, const struct change *c)
{
	const json_t *switches = json_object_get(s->input, "switches");
	for (size_t i = 0; change_has(c, CHANGE_SWITCH) && i < json_array_size(switches); i++) {
		const json_t *one = json_array_get(switches, i);
		const char *path = json_get_string(one, "path");
		if (is_on(one, target) && path && strcmp(path, c->path) == 0)
			return true;
	}
	return false;
}
