#include "steps/common/paths.h"
#include "base/sys/fs.h"

static bool plan_has(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct change *c = &plan->changes[i];
		if ((node_type_of(c->after) == NODE_DIR || c->type == &change_release) && strcmp(c->path, path) == 0)
			return true;
	}
	return false;
}

static int plan_parent(struct view *v, struct node_cache *seen, struct plan *plan, const char *dir, struct err *err)
{
	const struct node *node;
	bool is_dir = false;
	int r = node_cache_stat(seen, v, dir, &node, err);
	if (r < 0 || node->type == NODE_DIR || plan_has(plan, dir))
		return r;
	if (node->type != NODE_ABSENT) {
		r = node_cache_is_directory(seen, v, dir, &is_dir, err);
		if (r < 0 || is_dir)
			return r;
		return err_set(err, ERR_INVALID, "'%s' on '%s' is not a directory", dir, v->name);
	}
	struct change *change = plan_add(plan, &change_dir, ACTION_CREATE, dir);
	json_decref(change->before);
	json_decref(change->after);
	change->before = json_pack("{s:s}", "type", "absent");
	/* No mode: its directory's default, or 0755. */
	change->after = json_pack("{s:s}", "type", "dir");
	free(change->summary);
	change->summary = xstrdup("a directory on the way");
	return 0;
}

int step_plan_parents(struct view *v, struct node_cache *seen, struct plan *plan, const char *path, struct err *err)
{
	_cleanup_free_ char *dir = xstrdup(path);
	for (char *p = strchr(dir + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		int r = plan_parent(v, seen, plan, dir, err);
		*p = '/';
		if (r < 0)
			return r;
	}
	return 0;
}

int step_ask(struct view *v, const char *script, const struct field_pair *env, size_t env_count, const char *user,
             struct str *ret_out, struct err *err)
{
	struct target_command command = {
		.script = script, .env = env, .env_count = env_count, .user = user, .max_output = 64 << 10};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	int r = host_query(v, &command, &result, err);
	if (r < 0)
		return r;
	if (result.timed_out)
		return err_set(err, ERR_TIMEOUT, "'%s' did not answer in time", v->name);
	if (ret_out != NULL)
		str_append_n(ret_out, str_peek(&result.out), result.out.len);
	return result.status;
}

char *step_target_path(const char *path, const char *pointer, struct faults *faults)
{
	struct err err = ERR_INIT;
	char line[512];
	char *ret = NULL;
	if (path[0] != '/') {
		faults_add(faults, NULL, pointer, "'%s' is not absolute", path);
		faults_hint(faults, "paths on a target start with /");
		return NULL;
	}
	if (fs_normalize(path, &ret, &err) < 0) {
		faults_add(faults, NULL, pointer, "%s", err_line(&err, line, sizeof(line)));
		return NULL;
	}
	if (strcmp(ret, "/") == 0) {
		faults_add(faults, NULL, pointer, "the root directory is refused");
		free(TAKE(ret));
	}
	return ret;
}
