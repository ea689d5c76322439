#include "steps/common/releases.h"

#include <string.h>

#include "base/sys/fs.h"
#include "steps/common/retention.h"
#include "engine/lock/lock.h"
#include "engine/target/target.h"

enum {
	SHOWN_MAX = 100, /* releases of one path; `keep` usually leaves five */
	HEAD_MAX = 8192, /* of a manifest: its first line */
	HEADS_MAX = 1 << 20,
};

/* ---- the first line of a manifest ---- */

/* Prints the name of every regular file DIR/.NAME.manifest, and its first line if that is short. */
static const char read_heads[] = "cd -- \"$DIR\" || exit 0\n"
				 "for m in .*.manifest; do\n"
				 "  [ -f \"$m\" ] && [ ! -L \"$m\" ] || continue\n"
				 "  printf '%s\\n' \"$m\"\n"
				 "  head -c 8192 -- \"$m\" | head -n 1\n"
				 "done\n";

static json_t *find_release(const json_t *releases, const char *manifest, size_t len)
{
	static const char ending[] = ".manifest";
	size_t i;
	json_t *release;
	if (len <= sizeof(ending) || manifest[0] != '.')
		return NULL;
	json_array_foreach((json_t *)releases, i, release)
	{
		const char *name = json_get_string(release, "release");
		if (strlen(name) == len - sizeof(ending) && strncmp(name, manifest + 1, strlen(name)) == 0)
			return release;
	}
	return NULL;
}

static void take_head(json_t *release, const char *line, size_t len)
{
	static const char *const members[] = {"commit", "dirty", "deployment"};
	json_t *head _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	if (json_parse(line, len, HEAD_MAX, &head, &ignored) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		json_t *value = json_object_get(head, members[i]);
		if (json_is_string(value) || json_is_boolean(value))
			json_object_set(release, members[i], value);
	}
}

/* On a target without a shell, or with an unreadable head, only the names remain. */
static void add_heads(struct view *v, const char *dir, json_t *releases)
{
	const struct field_pair env[] = {{(char *)"DIR", (char *)dir}};
	const struct target_command command = {
		.script = read_heads, .env = env, .env_count = 1, .max_output = HEADS_MAX};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct err ignored = ERR_INIT;
	if (host_query(v, &command, &result, &ignored) < 0 || result.status != 0)
		return;
	const char *line = str_peek(&result.out);
	while (*line != '\0') {
		size_t name = strcspn(line, "\n");
		const char *head = line + name + (line[name] == '\n');
		size_t len = strcspn(head, "\n");
		json_t *release = find_release(releases, line, name);
		if (release != NULL)
			take_head(release, head, len);
		line = head + len + (head[len] == '\n');
	}
}

/* ---- one path ---- */

/* Newest first, as many as a person would read. */
static json_t *list_releases(const struct retention_list *all, const char *current, bool *ret_more)
{
	json_t *list = json_array();
	for (size_t i = all->count; i > 0; i--) {
		const struct retention_entry *k = &all->items[i - 1];
		bool valid = current != NULL && strcmp(k->name, current) == 0;
		if (json_array_size(list) >= SHOWN_MAX && !valid) {
			*ret_more = true;
			continue;
		}
		json_array_append_new(list, json_pack("{s:o, s:b, s:I}", "release",
		                                      json_string_lossy(k->name, strlen(k->name)), "current", valid,
		                                      "made_ms", (json_int_t)(k->made_ns / 1000000)));
	}
	return list;
}

/* As --to takes them: directories, by their name. Names with a dot are davit's own. */
static int find_releases(struct view *v, const char *dir, struct retention_list *ret, struct err *err)
{
	int r = retention_list(v, dir, "", "", ret, err);
	size_t kept = 0;
	if (r < 0)
		return r;
	_cleanup_(strv_done) struct strv paths = {0};
	for (size_t i = 0; i < ret->count; i++)
		strv_addf(&paths, "%s/%s", dir, ret->items[i].name);
	_cleanup_free_ struct node *nodes = xcalloc(ret->count + 1, sizeof(*nodes));
	if (ret->count > 0)
		r = target_stat_all(v, (const char *const *)paths.items, paths.count, nodes, err);
	for (size_t i = 0; r == 0 && i < ret->count; i++) {
		bool is_release = nodes[i].type == NODE_DIR && ret->items[i].name[0] != '.';
		node_done(&nodes[i]);
		if (is_release)
			ret->items[kept++] = ret->items[i];
		else
			free(ret->items[i].name);
	}
	if (r == 0)
		ret->count = kept;
	return r;
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text != NULL && text[0] != '\0')
		json_object_set_new(object, key, json_string_lossy(text, strlen(text)));
}

static int look_at_path(struct view *v, const char *path, json_t *answer, struct err *err)
{
	_cleanup_free_ char *dir = fs_join(path, "releases"), *link = fs_join(path, "current");
	_cleanup_(retention_done) struct retention_list all = {0};
	_cleanup_(node_done) struct node n = {0};
	bool more = false;
	int r = host_stat(v, link, &n, err);
	if (r == 0)
		r = find_releases(v, dir, &all, err);
	if (r < 0)
		return err_wrap(err, r, "look at the releases of '%s' on '%s'", path, v->name);
	const char *current = n.type == NODE_LINK ? retention_name_of_link(dir, n.link) : NULL;
	json_t *releases = list_releases(&all, current, &more);
	json_object_set_new(answer, "releases", releases);
	json_object_set_new(answer, "current", current ? json_string_lossy(current, strlen(current)) : json_null());
	if (current == NULL && n.type != NODE_ABSENT)
		set_text(answer, "leads_to", n.type == NODE_LINK ? n.link : "is not a link");
	if (more)
		json_object_set_new(answer, "more", json_true());
	if (json_array_size(releases) > 0)
		add_heads(v, dir, releases);
	return 0;
}

/* ---- one target ---- */

static void set_error(json_t *answer, const struct err *why)
{
	char line[ERR_FRAME_SIZE];
	set_text(answer, "error", err_line(why, line, sizeof(line)));
	set_text(answer, "hint", why->hint);
}

static int look_at_lock(struct view *v, const json_t *deployment, json_t *answer, struct err *err)
{
	static const char *const shown[] = {"deployment", "host", "user", "made_ms", "commit", "mark"};
	_cleanup_free_ char *dir =
		lock_dir_of(v, json_get_string(deployment, "name"), json_get_string(deployment, "environment"));
	json_t *record _cleanup_json_ = NULL, *holder = NULL;
	int r = lock_read(v, dir, &record, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		json_object_set_new(answer, "lock", json_null());
		return 0;
	}
	if (r < 0)
		return r;
	holder = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		if (json_object_get(record, shown[i]) != NULL)
			json_object_set(holder, shown[i], json_object_get(record, shown[i]));
	json_object_set_new(answer, "lock", holder);
	return 0;
}

static bool acts_on(const json_t *step, const char *target)
{
	const json_t *names = json_object_get(step, "target");
	size_t i;
	json_t *name;
	json_array_foreach((json_t *)names, i, name)
	{
		if (json_is_string(name) && strcmp(json_string_value(name), target) == 0)
			return true;
	}
	return json_array_size(names) == 0;
}

static bool has_path(const json_t *paths, const char *path)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)paths, i, one)
	{
		if (strcmp(json_get_string(one, "path"), path) == 0)
			return true;
	}
	return false;
}

/* Returns the number of entries that could not be read. */
int releases_of_target(struct view *v, const json_t *deployment, json_t *answer, struct err *err)
{
	json_t *paths = json_array(), *step;
	int unread = 0;
	size_t i;
	json_object_set_new(answer, "paths", paths);
	json_array_foreach(json_object_get(deployment, "steps"), i, step)
	{
		const char *path = step_releases_path(json_get_string(step, "step"), json_object_get(step, "input"));
		if (path == NULL || !acts_on(step, v->name) || has_path(paths, path))
			continue;
		json_t *one = json_pack("{s:s}", "path", path);
		json_array_append_new(paths, one);
		struct err why = ERR_INIT;
		int r = look_at_path(v, path, one, &why);
		if (r == ERR_CANCELLED) {
			*err = why;
			return r;
		}
		if (r < 0) {
			set_error(one, &why);
			unread++;
		}
	}
	return unread;
}

static int look_at_target(const char *name, const json_t *config, const json_t *deployment,
                          const struct engine_options *o, json_t *answer, struct err *err)
{
	_cleanup_(target_freep) struct target *t = NULL;
	struct err why = ERR_INIT;
	int r = target_config_use(o->target_kinds, name, config, o->make_target, &t, &why);
	if (r == 0) {
		t->view.wait = o->wait;
		r = target_open(&t->view, &why);
	}
	if (r == 0) {
		set_text(answer, "host", t->view.facts.hostname);
		set_text(answer, "user", t->view.facts.user);
		set_text(answer, "identity", t->view.facts.identity);
		set_text(answer, "base", t->view.facts.base);
		r = look_at_lock(&t->view, deployment, answer, &why);
	}
	if (r == ERR_CANCELLED) {
		*err = why;
		return r;
	}
	if (r < 0)
		set_error(answer, &why);
	if (t == NULL || t->view.facts.base == NULL)
		return 1;
	int unread = releases_of_target(&t->view, deployment, answer, err);
	return unread < 0 ? unread : unread + (r < 0);
}

int releases_read(const json_t *deployment, const struct engine_options *o, json_t **ret, struct err *err)
{
	json_t *targets = json_array(), *config;
	json_t *answer _cleanup_json_ =
		json_pack("{s:O?, s:O?, s:o}", "name", json_object_get(deployment, "name"), "environment",
	                  json_object_get(deployment, "environment"), "targets", targets);
	const char *name;
	int unread = 0;
	json_object_foreach(json_object_get(deployment, "targets"), name, config)
	{
		json_t *one = json_pack("{s:s}", "name", name);
		json_array_append_new(targets, one);
		int r = look_at_target(name, config, deployment, o, one, err);
		if (r < 0)
			return r;
		unread += r;
	}
	*ret = TAKE(answer);
	return unread;
}
