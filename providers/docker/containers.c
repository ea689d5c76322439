/* The containers of a compose project, as the engine itself describes them. */
#include "providers/docker/docker.h"
#include "base/core/shown.h"

#include <stdlib.h>

enum { LOOK_MS = 60000, LOGS_MAX = 256 << 10, LOG_LINE = 500 };

static const char project_label[] = "com.docker.compose.project";

static void free_container(struct docker_container *c)
{
	free(c->id);
	free(c->name);
	free(c->service);
	free(c->hash);
	free(c->image);
	free(c->image_name);
	free(c->state);
	free(c->health);
	free(c->started);
	free(c->directory);
	free(c->files);
	free(c->env_files);
}

void docker_containers_drop(struct docker_containers *l, size_t index)
{
	free_container(&l->items[index]);
	memmove(&l->items[index], &l->items[index + 1], (l->count - index - 1) * sizeof(*l->items));
	l->count--;
}

void docker_containers_done(struct docker_containers *l)
{
	for (size_t i = 0; i < l->count; i++)
		free_container(&l->items[i]);
	free(l->items);
	*l = (struct docker_containers){0};
}

static char *copy_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return xstrdup(text != NULL ? text : "");
}

static void add(struct docker_containers *l, const json_t *from)
{
	const json_t *state = json_get_object(from, "State"), *config = json_get_object(from, "Config"),
		     *labels = json_get_object(config, "Labels"), *health = json_get_object(state, "Health");
	const char *oneoff = json_get_string(labels, "com.docker.compose.oneoff");
	if (oneoff != NULL && strcmp(oneoff, "True") == 0)
		return;
	l->items = xgrow(l->items, &l->cap, l->count + 1, sizeof(*l->items));
	struct docker_container *c = &l->items[l->count++];
	const char *name = json_get_string(from, "Name");
	*c = (struct docker_container){
		.id = copy_of(from, "Id"),
		.name = xstrdup(name != NULL ? name + (*name == '/') : ""),
		.service = copy_of(labels, "com.docker.compose.service"),
		.hash = copy_of(labels, "com.docker.compose.config-hash"),
		.image = copy_of(from, "Image"),
		.image_name = copy_of(config, "Image"),
		.state = copy_of(state, "Status"),
		.health = copy_of(health, "Status"),
		.started = copy_of(state, "StartedAt"),
		.directory = copy_of(labels, "com.docker.compose.project.working_dir"),
		.files = copy_of(labels, "com.docker.compose.project.config_files"),
		.env_files = copy_of(labels, "com.docker.compose.project.environment_file"),
		.restarts = json_get_int(from, "RestartCount", 0),
		.exit_code = json_get_int(state, "ExitCode", 0),
		.killed_by_memory = json_get_bool(state, "OOMKilled", false),
	};
	docker_container_judge(c);
}

void docker_container_judge(struct docker_container *c)
{
	c->up = strcmp(c->state, "running") == 0 || strcmp(c->state, "restarting") == 0 ||
	        strcmp(c->state, "paused") == 0;
	c->ended = strcmp(c->state, "exited") == 0 || strcmp(c->state, "dead") == 0;
}

static int by_service(const void *a, const void *b)
{
	const struct docker_container *x = a, *y = b;
	int r = strcmp(x->service, y->service);
	return r != 0 ? r : strcmp(x->name, y->name);
}

void docker_containers_sort(struct docker_containers *l)
{
	if (l->count > 0)
		qsort(l->items, l->count, sizeof(*l->items), by_service);
}

int docker_project(const struct docker *d, const char *project, struct docker_containers *ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10), label = STR_INIT(4096);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_json_ json_t *list = NULL;
	str_appendf(&label, "label=%s=%s", project_label, project);
	str_append(&script, "ids=$(docker ps --all --quiet --no-trunc --filter ");
	str_append_shell(&script, str_peek(&label));
	/* One that goes between the two is none: the rest is printed all the same. */
	str_append(
		&script,
		") || exit\n[ -z \"$ids\" ] && { echo '[]'; exit 0; }\n"
		"docker inspect --type container $ids || { s=$?; docker ps --quiet >/dev/null && exit 0; exit $s; }\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = LOOK_MS};
	int r = docker_must(d, &call, &said, err);
	if (r == 0)
		r = json_parse(str_peek(&said.out), said.out.len, 64 << 20, &list, err);
	if (r < 0)
		return err_wrap(err, r, "look at the containers of '%s' on '%s'", project, d->v->name);
	for (size_t i = 0; i < json_array_size(list); i++)
		add(ret, json_array_get(list, i));
	docker_containers_sort(ret);
	return 0;
}

int docker_logs(const struct docker *d, const char *id, int lines, struct strv *ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(4096);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_appendf(&script, "docker logs --tail %d ", lines);
	str_append_shell(&script, id);
	str_append(&script, " 2>&1\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = LOOK_MS, .max_output = LOGS_MAX};
	int r = docker_must(d, &call, &said, err);
	const char *at = str_peek(&said.out), *end = at + said.out.len;
	while (r == 0 && at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline != NULL ? newline : end) - at);
		_cleanup_free_ char *line = shown_text(at, len, LOG_LINE);
		_cleanup_(str_done) struct str safe = STR_INIT(4096);
		str_append_safe(&safe, line, strlen(line));
		strv_add(ret, str_peek(&safe));
		at += len + 1;
	}
	return r;
}
