/* What davit keeps of a project on the target: configurations, the link to the one that runs, and a tag for each image that a way back
 * needs. An image that has a name is not removed as dangling when its own name has moved on. */
#include "steps/compose_up/compose_up.h"
#include "base/sys/fs.h"

/* ---- files of davit's own ---- */

int compose_put_json(struct target *t, const char *path, const json_t *value, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(COMPOSE_CONFIG_MAX);
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	if (!json_text_secret(value, &text))
		return err_set(err, ERR_LIMIT, "the configuration is too large");
	str_append_c(&text, '\n');
	return host_put(t, path, text.data, text.len, &attr, err);
}

int compose_make_dir(struct target *t, const char *project, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0700};
	_cleanup_free_ char *dir = compose_dir(&t->view, project), *above = xasprintf("%s/compose", t->view.facts.base);
	const char *const paths[] = {above, dir};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int r = host_mkdir(t, paths[i], &attr, err);
		if (r < 0 && r != ERR_EXISTS)
			return r;
		if (r < 0)
			err_clear(err);
	}
	return 0;
}

/* Removes what is empty of it. */
int compose_remove_dir(struct target *t, const char *project, struct err *err)
{
	_cleanup_free_ char *dir = compose_dir(&t->view, project), *above = xasprintf("%s/compose", t->view.facts.base);
	const char *const paths[] = {dir, above};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int r = host_remove(t, paths[i], err);
		if (r < 0 && r != ERR_EXISTS && r != ERR_NOT_FOUND)
			return r;
		if (r < 0)
			err_clear(err);
	}
	return 0;
}

int compose_remove_file(struct target *t, const char *path, struct err *err)
{
	int r = host_remove(t, path, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

int compose_point_to(struct target *t, const char *project, const char *name, struct err *err)
{
	_cleanup_free_ char *dir = compose_dir(&t->view, project), *link = fs_join(dir, "current");
	_cleanup_free_ char *goal = xasprintf("%s.json", name != NULL ? name : "");
	return name != NULL ? host_symlink(t, link, goal, err) : compose_remove_file(t, link, err);
}

int compose_make_durable(struct target *t, const char *project, struct err *err)
{
	_cleanup_free_ char *dir = compose_dir(&t->view, project);
	const char *const paths[] = {dir, t->lock_dir};
	return host_barrier(t, paths, t->lock_dir != NULL ? 2 : 1, err);
}

/* ---- images that a way back needs ---- */

static const char kept_tag[] = "davit-kept/";

static void add_tag(struct str *script, const char *image, const char *project, const char *id, const char *service)
{
	_cleanup_free_ char *tag = xasprintf("%s%s:%s-%s", kept_tag, project, id, service);
	str_append(script, "docker tag ");
	str_append_shell(script, image);
	str_append_c(script, ' ');
	str_append_shell(script, tag);
	str_append(script, " || exit\n");
}

int compose_keep_images(const struct docker *d, const char *project, const json_t *about, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(1 << 20);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	const char *name, *id = json_get_string(about, "id");
	json_t *one;
	json_object_foreach(json_get_object(about, "services"), name, one)
		add_tag(&script, json_get_string(one, "image"), project, id, name);
	if (script.len == 0)
		return 0;
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS, .changes = true};
	int r = docker_must(d, &call, &said, err);
	return r < 0 ? err_wrap(err, r, "keep the images of '%s' on '%s'", project, d->v->name) : 0;
}

int compose_drop_tags(const struct docker *d, const char *project, const char *id, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(4096), reference = STR_INIT(1024);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_appendf(&reference, "reference=%s%s:%s-*", kept_tag, project, id);
	str_append(&script, "for i in $(docker images --format '{{.Repository}}:{{.Tag}}' --filter ");
	str_append_shell(&script, str_peek(&reference));
	str_append(&script, "); do docker rmi --no-prune \"$i\" >/dev/null 2>&1 || :; done\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = COMPOSE_LOOK_MS, .changes = true};
	return docker_must(d, &call, &said, err);
}
