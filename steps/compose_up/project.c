/* The driver of "compose-project". The former configuration lies as undo/ID in the target's copy, what will be as undo/ID.after: a process that
 * has the record and the target only can tell the two apart, and go back. */
#include "steps/compose_up/compose_up.h"
#include "base/sys/fs.h"
#include "engine/change/change.h"

#include <inttypes.h>

enum { DEFAULT_TIMEOUT_MS = 600000 };

char *compose_undo_path(const char *lock_dir, const struct change *c, const char *suffix)
{
	return xasprintf("%s/undo/%" PRId64 "%s", lock_dir, c->id, suffix);
}

static const char *project_of(const struct change *c)
{
	return c->path + strcspn(c->path, ":") + (c->path[strcspn(c->path, ":")] == ':');
}

static struct docker docker_of(const struct change_call *x, const struct change *c)
{
	return (struct docker){.v = x->v,
	                       .t = x->t,
	                       .host = json_get_string(c->extra, "docker_host"),
	                       .config = json_get_string(c->extra, "docker_config")};
}

static int read_after(struct change_call *x, const struct change *c, json_t **ret, struct err *err)
{
	*ret = NULL;
	if (x->lock_dir == NULL)
		return 0;
	_cleanup_free_ char *path = compose_undo_path(x->lock_dir, c, ".after");
	int r = compose_read_model(x->v, path, ret, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

/* The configuration of this deployment is laid before its first container and removed last: while it is there, something is left to do. */
static int is_laid(struct change_call *x, const struct change *c, bool *ret, struct err *err)
{
	const char *id = json_get_string(c->extra, "id");
	_cleanup_free_ char *own = compose_file(x->v, project_of(c), id ? id : "");
	_cleanup_(node_done) struct node n = {0};
	*ret = false;
	if (id == NULL)
		return 0;
	int r = host_stat(x->v, own, &n, err);
	*ret = r == 0 && n.type != NODE_ABSENT;
	return r;
}

static int match_containers(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct docker d = docker_of(x, c);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_json_ json_t *after = NULL;
	int r = read_after(x, c, &after, err);
	if (r == 0)
		r = docker_project(&d, project_of(c), &l, err);
	if (r < 0)
		return r;
	_cleanup_(strv_done) struct strv hidden = {0};
	compose_hide(&l, c->extra, &hidden);
	_cleanup_json_ json_t *found = compose_state_found(&l);
	*ret = compose_state_match(c->before, after != NULL ? after : c->after, found);
	return 0;
}

/* The link leads to the configuration once all of it was watched: containers that run are not all that is made. */
static int is_not_pointed_to(struct change_call *x, const struct change *c, bool *ret, struct err *err)
{
	const char *id = json_get_string(c->extra, "id"), *name = id ? id : json_get_string(c->extra, "back");
	_cleanup_free_ char *dir = compose_dir(x->v, project_of(c)), *link = fs_join(dir, "current"),
			    *goal = xasprintf("%s.json", name ? name : "");
	_cleanup_(node_done) struct node n = {0};
	*ret = false;
	if (name == NULL)
		return 0;
	int r = host_stat(x->v, link, &n, err);
	*ret = r == 0 && (n.type != NODE_LINK || strcmp(n.link, goal) != 0);
	return r;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	bool part = false;
	int r = match_containers(x, c, ret, err);
	if (r == 0 && *ret == MATCH_BEFORE)
		r = is_laid(x, c, &part, err);
	else if (r == 0 && *ret == MATCH_AFTER)
		r = is_not_pointed_to(x, c, &part, err);
	if (part)
		*ret = MATCH_PART;
	return r;
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct docker d = docker_of(x, c);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	int r = docker_project(&d, project_of(c), &l, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *found = compose_state_found(&l);
	compose_state_explain(c->before, c->after, found, out);
	return 0;
}

static int save(struct change_call *x, const struct change *c, struct err *err)
{
	const struct compose_payload *p = c->payload;
	_cleanup_free_ char *path = compose_undo_path(x->lock_dir, c, "");
	struct docker d = docker_of(x, c);
	if (p == NULL || p->former == NULL)
		return 0;
	int r = compose_put_json(x->t, path, p->former, err);
	return r == 0 ? compose_keep_images(&d, project_of(c), json_get_object(p->former, "x-davit"), err) : r;
}

/* What a later `up` or an undo of an earlier deployment reads. */
static int undo_files(struct change_call *x, const struct change *c, const char *former, const json_t *model,
                      struct err *err)
{
	const char *project = project_of(c);
	int r = 0;
	if (model != NULL) {
		_cleanup_free_ char *file = compose_file(x->v, project, former);
		r = compose_make_dir(x->t, project, err);
		if (r == 0)
			r = compose_put_json(x->t, file, model, err);
	}
	if (r == 0)
		r = compose_point_to(x->t, project, model != NULL ? former : NULL, err);
	return r == 0 && model != NULL ? compose_make_durable(x->t, project, err) : r;
}

/* Without a former configuration there is a way back only while all containers still are as they were. */
static int must_be_untouched(struct change_call *x, const struct change *c, struct err *err)
{
	enum change_match match;
	int r = match_containers(x, c, &match, err);
	if (r < 0 || match == MATCH_BEFORE || match == MATCH_BOTH)
		return r;
	return err_set(err, ERR_UNSUPPORTED,
	               "what ran of '%s' before is not known (`forget_former`): what runs now stays", project_of(c));
}

/* What a killed process left of a file that it was about to put there, of this change only. */
static int sweep(struct change_call *x, const struct change *c, const char *own, struct err *err)
{
	const char *former = json_get_string(c->extra, "former");
	_cleanup_free_ char *dir = compose_dir(x->v, project_of(c)), *link = fs_join(dir, "current"),
			    *before = compose_file(x->v, project_of(c), former ? former : compose_adopted);
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(x->v, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names.items[i]);
		if (target_is_private_name(names.items[i], own) || target_is_private_name(names.items[i], link) ||
		    target_is_private_name(names.items[i], before))
			r = host_remove_tree(x->t, path, err);
	}
	return r;
}

/* Last: whoever finds the configuration undoes all of it once more. */
static int undo_laid(struct change_call *x, const struct docker *d, const struct change *c, struct err *err)
{
	const char *project = project_of(c), *id = json_get_string(c->extra, "id");
	if (id == NULL)
		return 0;
	_cleanup_free_ char *own = compose_file(x->v, project, id);
	int r = compose_drop_tags(d, project, id, err);
	if (r == 0)
		r = sweep(x, c, own, err);
	if (r == 0)
		r = compose_remove_file(x->t, own, err);
	return r == 0 ? compose_remove_dir(x->t, project, err) : r;
}

static int undo_with(struct change_call *x, struct docker *d, const struct change *c, struct err *err)
{
	const char *project = project_of(c), *former = json_get_string(c->extra, "former");
	int64_t timeout = json_get_int(c->extra, "timeout_ms", DEFAULT_TIMEOUT_MS);
	_cleanup_free_ char *saved = compose_undo_path(x->lock_dir, c, "");
	_cleanup_json_ json_t *model = NULL;
	int r;
	if (former == NULL && !compose_state_is_absent(c->before)) {
		r = must_be_untouched(x, c, err);
		return r == 0 ? undo_laid(x, d, c, err) : r;
	}
	r = former != NULL ? compose_read_model(x->v, saved, &model, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "read the former configuration of '%s'", project);
	r = undo_files(x, c, former, model, err);
	if (r == 0 && model != NULL)
		r = compose_go_back(d, project, former, model, timeout, err);
	else if (r == 0)
		r = compose_take_down(d, project, timeout, err);
	return r == 0 ? undo_laid(x, d, c, err) : r;
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct docker d = docker_of(x, c);
	return undo_with(x, &d, c, err);
}

/* Where the former containers still stand they get the requests before the new ones go. Without that the way back is the same, with a gap. */
static void route_back(const struct step_context *c, struct target *t, const struct docker *d,
                       const struct change *change)
{
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	_cleanup_json_ json_t *model = NULL;
	_cleanup_free_ char *saved = compose_undo_path(t->lock_dir, change, "");
	if (change->extra == NULL || json_get_string(change->extra, "former") == NULL)
		return;
	int r = compose_read_model(&t->view, saved, &model, &why);
	if (r == 0)
		r = compose_route_back(c, t, d, model, &why);
	if (r < 0)
		c->report(c->engine, "the requests do not go to the former containers first: %s",
		          err_line(&why, line, sizeof(line)));
}

/* With a step at hand, whose log it tells to. */
int compose_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	struct change_call x = {.v = &t->view, .t = t, .lock_dir = t->lock_dir, .undoing = true};
	struct docker d = compose_docker(c, &t->view, t);
	route_back(c, t, &d, change);
	int r = undo_with(&x, &d, change, err);
	if (r < 0 || change->extra == NULL || json_get_string(change->extra, "former") == NULL)
		return r;
	_cleanup_free_ char *saved = compose_undo_path(t->lock_dir, change, "");
	_cleanup_json_ json_t *model = NULL;
	r = compose_read_model(&t->view, saved, &model, err);
	return r == 0 ? compose_routed_again(c, t, model, err) : r;
}

/* A record that only a target has: it counts for the project that its step names, on the engine that its step names. */
static bool same_word(const json_t *extra, const json_t *input, const char *key)
{
	const char *a = json_get_string(extra, key), *b = json_get_string(input, key);
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_plain(const char *name)
{
	return name == NULL ||
	       (*name != '\0' && *name != '.' && name[strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzT-")] == '\0');
}

static bool is_named(const struct change *c, const json_t *input)
{
	const char *project = json_get_string(input, "project");
	return str_starts(c->path, "compose:") && project != NULL && strcmp(project_of(c), project) == 0 &&
	       same_word(c->extra, input, "docker_host") && same_word(c->extra, input, "docker_config") &&
	       is_plain(json_get_string(c->extra, "id")) && is_plain(json_get_string(c->extra, "former"));
}

const struct change_type change_compose = {
	.name = "compose-project",
	.compare = compare,
	.explain = explain,
	.save = save,
	.undo = undo,
	.is_named = is_named,
};
