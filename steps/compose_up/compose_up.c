#include "steps/compose_up/compose_up.h"
#include "engine/change/change.h"
#include "steps/common/command.h"
#include "steps/common/retention.h"
#include "base/sys/fs.h"

static void describe(const struct step_context *c, struct str *out)
{
	const struct compose_up_in *in = c->input;
	str_appendf(out, "bring the Compose project %s to what lies in %s", in->project, in->directory);
}

static void check_names(const struct field_strings *list, const char *input, struct faults *faults)
{
	for (size_t i = 0; i < list->count; i++)
		if (*list->items[i] == '\0' || *list->items[i] == '-') {
			_cleanup_free_ char *pointer = xasprintf("/%s/%zu", input, i);
			faults_add(faults, NULL, pointer, "'%s' is not a name that compose takes here", list->items[i]);
		}
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct compose_up_in *in = c->input;
	check_names(&in->files, "files", faults);
	check_names(&in->env_file, "env_file", faults);
	check_names(&in->profiles, "profiles", faults);
	if (in->strategy == COMPOSE_UP_STRATEGY_RECREATE &&
	    (in->roll.count > 0 || in->routed != NULL || in->has_drain || in->behind.count > 0)) {
		faults_add(faults, NULL, "",
		           "`roll`, `routed`, `behind` and `drain` are of `strategy: rolling` and `blue-green`");
		faults_hint(faults, "add it, or leave them out");
	}
	compose_behind_faults(in, faults);
	if (in->routed != NULL)
		step_command_faults(in->routed, "/routed", faults);
	if (in->timeout_ms <= 0)
		faults_add(faults, NULL, "/timeout", "the time must be longer than nothing");
}

/* What runs, without what an earlier version left standing. */
static int look_at_own(const struct step_context *c, const struct docker *d, struct docker_containers *ret,
                       struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(strv_done) struct strv standing = {0};
	_cleanup_json_ json_t *model = NULL;
	int r = docker_project(d, in->project, ret, err);
	if (r == 0)
		r = compose_read_own(c, d, &model, err);
	if (r == 0)
		compose_hide(ret, json_get_object(model, "x-davit"), &standing);
	return r;
}

static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, v, NULL);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	int r = look_at_own(c, &d, &l, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *found = compose_state_found(&l);
	if (compose_state_is(found, change->after))
		return 0;
	_cleanup_(str_done) struct str why = STR_INIT(1024);
	compose_state_explain(change->before, change->after, found, &why);
	return err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as it was started: %s", in->project, v->name,
	               str_peek(&why));
}

static int images(const struct step_context *c, struct view *v, json_t *ret, struct err *err)
{
	struct docker d = compose_docker(c, v, NULL);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(strv_done) struct strv ids = {0}, digests = {0};
	int r = look_at_own(c, &d, &l, err);
	for (size_t i = 0; r == 0 && i < l.count; i++)
		if (!strv_has(&ids, l.items[i].image))
			strv_add(&ids, l.items[i].image);
	if (r == 0)
		r = docker_image_digests(&d, &ids, &digests, err);
	for (size_t i = 0; r == 0 && i < digests.count; i++)
		json_array_append_new(ret, json_string_lossy(digests.items[i], strlen(digests.items[i])));
	return r;
}

/* ---- behind a committed deployment ---- */

static bool is_of_release(const char *directory, const char *release)
{
	_cleanup_free_ char *part = xasprintf("/%s/", release), *whole = xasprintf("%s/", directory);
	return strstr(whole, part) != NULL;
}

/* The newest configuration that was started from that release. */
static int find_of_release(struct view *v, const char *project, const char *release, char **ret_name, json_t **ret,
                           struct err *err)
{
	_cleanup_free_ char *dir = compose_dir(v, project);
	_cleanup_(retention_done) struct retention_list list = {0};
	int r = retention_list(v, dir, "", ".json", &list, err);
	for (size_t i = list.count; r == 0 && i-- > 0;) {
		_cleanup_json_ json_t *model = NULL;
		_cleanup_free_ char *path = compose_file(v, project, list.items[i].name);
		r = compose_read_model(v, path, &model, err);
		const char *directory = json_get_string(json_get_object(model, "x-davit"), "directory");
		if (r == 0 && directory != NULL && is_of_release(directory, release)) {
			*ret_name = xstrdup(list.items[i].name);
			*ret = TAKE(model);
			return 0;
		}
	}
	return r;
}

static int current_name(struct view *v, const char *project, char **ret, struct err *err)
{
	_cleanup_free_ char *dir = compose_dir(v, project), *link = fs_join(dir, "current");
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(v, link, &n, err);
	if (r == 0 && n.type == NODE_LINK && str_ends(n.link, ".json"))
		*ret = xstrndup(n.link, strlen(n.link) - strlen(".json"));
	return r;
}

static int restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_free_ char *name = NULL, *now = NULL;
	_cleanup_json_ json_t *model = NULL;
	if (former_release == NULL || *former_release == '\0')
		return 0;
	int r = find_of_release(&t->view, in->project, former_release, &name, &model, err);
	if (r == 0)
		r = current_name(&t->view, in->project, &now, err);
	if (r < 0 || name == NULL || (now != NULL && strcmp(now, name) == 0))
		return r;
	_cleanup_free_ char *dir = compose_dir(&t->view, in->project), *link = fs_join(dir, "current"),
			    *goal = xasprintf("%s.json", name);
	c->report(c->engine, "bring back %s as %s started it", in->project, name);
	r = compose_go_back(&d, in->project, name, model, in->timeout_ms, err);
	return r == 0 ? host_symlink(t, link, goal, err) : r;
}

static void describe_after(const struct step_context *c, struct str *out)
{
	const struct compose_up_in *in = c->input;
	str_appendf(out, "start %s as that release had it, where it was started from one", in->project);
}

/* ---- retention ---- */

static int drop(const struct step_context *c, struct target *t, const char *name, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_free_ char *path = compose_file(&t->view, in->project, name);
	int r = compose_drop_tags(&d, in->project, name, err);
	if (r == 0)
		r = host_remove(t, path, err);
	if (r == 0)
		c->report(c->engine, "removed the kept configuration %s of %s", name, in->project);
	return r;
}

/* What the running one replaced: a rollback goes there. */
static int former_of(struct view *v, const char *project, const char *now, char **ret, struct err *err)
{
	_cleanup_json_ json_t *model = NULL;
	if (now == NULL)
		return 0;
	_cleanup_free_ char *path = compose_file(v, project, now);
	int r = compose_read_model(v, path, &model, err);
	const char *name = json_get_string(json_get_object(model, "x-davit"), "former");
	if (r == 0 && name != NULL)
		*ret = xstrdup(name);
	return r;
}

static bool is_one(const char *name, const char *now, const char *former)
{
	return (now != NULL && strcmp(now, name) == 0) || (former != NULL && strcmp(former, name) == 0);
}

static int clean(const struct step_context *c, struct target *t, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_free_ char *dir = compose_dir(&t->view, in->project), *now = NULL, *former = NULL;
	_cleanup_(retention_done) struct retention_list list = {0};
	int r = retention_list(&t->view, dir, "", ".json", &list, err);
	if (r == 0)
		r = current_name(&t->view, in->project, &now, err);
	if (r == 0)
		r = compose_drop_standing(c, t, now, err);
	if (r == 0 && in->keep > 1 && list.count > (size_t)in->keep)
		r = former_of(&t->view, in->project, now, &former, err);
	/* What was adopted has no time in its name: it is older than what replaced it. */
	size_t left = list.count;
	for (size_t i = 0; r == 0 && i < 2 * list.count && left > (size_t)in->keep; i++) {
		const char *name = list.items[i % list.count].name;
		bool adopted = strcmp(name, compose_adopted) == 0, first = i < list.count;
		if (adopted != first || is_one(name, now, former))
			continue;
		r = drop(c, t, name, err);
		left--;
	}
	return r;
}

static const struct change_type *const kinds[] = {&change_compose, NULL};

const struct step_type compose_up_step = {
	.info = &compose_up_info,
	.kinds = kinds,
	.describe = describe,
	.validate = validate,
	.plan = compose_plan,
	.apply = compose_apply,
	.verify = verify,
	.undo = compose_undo,
	.restore = restore,
	.after = describe_after,
	.images = images,
	.clean = clean,
	.back = compose_back,
};
