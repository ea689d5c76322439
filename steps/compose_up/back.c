/* Back to a configuration that ran before: its images by their ids, its services in their order, nothing else. */
#include "steps/compose_up/compose_up.h"

#include <inttypes.h>

enum { HEALTHY_S = 60 };

/* Compose makes the new container under the old one's name with twelve digits in front, and renames it once the old one is gone. Killed in
 * between it leaves both, and would take the wrong one for the old the next time. */
void compose_tidy(struct str *script, const char *project)
{
	_cleanup_(str_done) struct str of = STR_INIT(1024);
	str_appendf(&of, "label=com.docker.compose.project=%s", project);
	str_append(script, "for n in $(docker ps --all --format '{{.Names}}' --filter ");
	str_append_shell(script, str_peek(&of));
	str_append(
		script,
		"); do\n"
		"o=${n#????????????_}; case ${n%\"_$o\"} in \"$n\"|*[!0-9a-f]*) continue ;; esac\n"
		"if docker inspect --type container \"$o\" >/dev/null 2>&1; then docker rm --force \"$n\" >/dev/null || exit\n"
		"else docker rename \"$n\" \"$o\" || exit; fi\ndone\n");
}

bool compose_is_former(const json_t *about, const struct docker_container *c)
{
	const json_t *one = json_object_get(json_get_object(about, "services"), c->service);
	const char *hash = json_get_string(one, "hash"), *image = json_get_string(one, "image");
	return hash != NULL && image != NULL && strcmp(hash, c->hash) == 0 && strcmp(image, c->image) == 0;
}

static bool has_former(const json_t *about, const struct docker_containers *l, const char *service)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].service, service) == 0 && compose_is_former(about, &l->items[i]))
			return true;
	return false;
}

/* New containers beside former ones of the same service: compose would choose among them which to keep. */
static void drop_newer(struct str *script, const struct docker_containers *l, const json_t *about)
{
	for (size_t i = 0; i < l->count; i++) {
		if (compose_is_former(about, &l->items[i]) || !has_former(about, l, l->items[i].service))
			continue;
		str_append(script, "docker stop ");
		str_append_shell(script, l->items[i].id);
		str_append(script, " >/dev/null 2>&1; docker rm --force ");
		str_append_shell(script, l->items[i].id);
		str_append(script, " >/dev/null 2>&1\n");
	}
}

static void move_tags_back(struct str *script, const json_t *services)
{
	const char *service;
	json_t *one;
	json_object_foreach((json_t *)(uintptr_t)services, service, one)
	{
		const char *name = json_get_string(one, "name"), *id = json_get_string(one, "image");
		if (name == NULL || id == NULL || strchr(name, '@') != NULL || str_starts(name, "sha256:"))
			continue;
		str_append(script, "i=$(docker image inspect --format '{{.Id}}' -- ");
		str_append_shell(script, name);
		str_append(script, " 2>/dev/null); [ \"$i\" = ");
		str_append_shell(script, id);
		str_append(script, " ] || docker tag ");
		str_append_shell(script, id);
		str_append_c(script, ' ');
		str_append_shell(script, name);
		str_append(script, " || exit\n");
	}
}

static bool runs(const json_t *about, const char *service)
{
	return json_get_int(json_object_get(json_get_object(about, "services"), service), "up", 0) > 0;
}

/* All that it waits for is among the `done`, or does not run. */
static bool may_start(const json_t *about, const json_t *service, const struct strv *done)
{
	const char *need;
	json_t *ignored;
	json_object_foreach(json_get_object(service, "depends_on"), need,
	                    ignored) if (runs(about, need) && !strv_has(done, need)) return false;
	return true;
}

static bool somebody_waits(const json_t *services, const char *name)
{
	const char *other;
	json_t *one;
	json_object_foreach((json_t *)(uintptr_t)services, other, one)
	{
		const char *condition =
			json_get_string(json_get_object(json_get_object(one, "depends_on"), name), "condition");
		if (condition != NULL && strcmp(condition, "service_healthy") == 0)
			return true;
	}
	return false;
}

static void scale_word(struct str *script, const char *name, const json_t *about)
{
	_cleanup_free_ char *scale = xasprintf("%s=%" PRId64, name, json_get_int(about, "count", 1));
	str_append(script, " --scale ");
	str_append_shell(script, scale);
}

/* It and what it depends on: for those, and no others, compose takes a scale with it. */
static void scale_words(struct str *script, const json_t *model, const char *name, struct strv *seen)
{
	const json_t *about = json_object_get(json_get_object(json_get_object(model, "x-davit"), "services"), name);
	const char *need;
	json_t *ignored;
	if (strv_has(seen, name))
		return;
	strv_add(seen, name);
	if (about != NULL)
		scale_word(script, name, about);
	json_object_foreach(json_get_object(json_object_get(json_get_object(model, "services"), name), "depends_on"),
	                    need, ignored) scale_words(script, model, need, seen);
}

/* Its containers are newer ones, and none is as it was. */
static bool was_replaced(const json_t *about, const struct docker_containers *l, const char *service)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].service, service) == 0)
			return !has_former(about, l, service);
	return false;
}

/* One that lives in another's network, or the like, goes with it. */
static bool lives_in(const json_t *service, const struct strv *replaced)
{
	static const char *const KEYS[] = {"network_mode", "ipc", "pid"};
	for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
		const char *mode = json_get_string(service, KEYS[i]);
		if (mode != NULL && str_starts(mode, "service:") && strv_has(replaced, mode + strlen("service:")))
			return true;
	}
	return false;
}

/* A service that was replaced is made anew from the newer container, whose volumes without a name it takes over. Each by itself, those that it
 * depends on first: compose makes all anew that depend on what it makes anew, and would take away containers that have never stopped. */
static void make_replaced(struct str *script, const json_t *model, const struct docker_containers *l, const char *words)
{
	const json_t *services = json_get_object(model, "services"), *about = json_get_object(model, "x-davit");
	_cleanup_(strv_done) struct strv done = {0}, replaced = {0};
	for (size_t before = SIZE_MAX; before != done.count;) {
		const char *name;
		json_t *one;
		before = done.count;
		json_object_foreach((json_t *)(uintptr_t)services, name, one)
		{
			const char *need;
			json_t *ignored;
			bool waits = strv_has(&done, name);
			json_object_foreach(json_get_object(one, "depends_on"), need, ignored) waits =
				waits || (json_object_get(services, need) != NULL && !strv_has(&done, need));
			if (waits)
				continue;
			strv_add(&done, name);
			if (!was_replaced(about, l, name) && !lives_in(one, &replaced))
				continue;
			strv_add(&replaced, name);
			_cleanup_(strv_done) struct strv seen = {0};
			str_appendf(script, "%s up --no-start --no-build --pull never", words);
			scale_words(script, model, name, &seen);
			str_append_c(script, ' ');
			str_append_shell(script, name);
			str_append(script, " || exit\n");
		}
	}
}

/* What is missing, standing still. Not by `--no-deps`: compose would take the services for others. */
static void make_missing(struct str *script, const json_t *model, const char *words)
{
	const json_t *services = json_get_object(json_get_object(model, "x-davit"), "services");
	const char *name;
	json_t *one;
	str_appendf(script, "%s up --no-start --no-recreate --no-build --pull never --remove-orphans", words);
	json_object_foreach((json_t *)(uintptr_t)services, name, one) scale_word(script, name, one);
	json_object_foreach((json_t *)(uintptr_t)services, name, one)
	{
		str_append_c(script, ' ');
		str_append_shell(script, name);
	}
	str_append(script, " || exit\n");
}

static void start_service(struct str *script, const char *project, const char *name, bool waits)
{
	_cleanup_(str_done) struct str service = STR_INIT(1024), of = STR_INIT(1024);
	str_appendf(&service, "label=com.docker.compose.service=%s", name);
	str_appendf(&of, "label=com.docker.compose.project=%s", project);
	str_append(script, "ids=$(docker ps --all --quiet --filter label=com.docker.compose.oneoff=False --filter ");
	str_append_shell(script, str_peek(&of));
	str_append(script, " --filter ");
	str_append_shell(script, str_peek(&service));
	str_append(script, ") || exit\ndocker start $ids >/dev/null || exit\n");
	/* One that does not become healthy now is the gate's to tell. */
	if (waits)
		str_appendf(
			script,
			"n=0; while [ $n -lt %d ] && docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{end}}' $ids | "
			"grep -q starting; do sleep 1; n=$((n+1)); done\n",
			HEALTHY_S);
}

/* In the order that they wait for each other. What stood still stays so: one-shot services do not run again. */
static void start_levels(struct str *script, const json_t *model, const char *project)
{
	const json_t *services = json_get_object(model, "services"), *about = json_get_object(model, "x-davit");
	_cleanup_(strv_done) struct strv done = {0};
	for (size_t before = SIZE_MAX; before != done.count;) {
		_cleanup_(strv_done) struct strv now = {0};
		const char *name;
		json_t *one;
		before = done.count;
		json_object_foreach((json_t *)(uintptr_t)services, name,
		                    one) if (runs(about, name) && !strv_has(&done, name) &&
		                             may_start(about, one, &done)) strv_add(&now, name);
		for (size_t i = 0; i < now.count; i++) {
			start_service(script, project, now.items[i], somebody_waits(services, now.items[i]));
			strv_add(&done, now.items[i]);
		}
	}
}

/* Networks that only the newer configuration had; one in use stays. */
static void drop_networks(struct str *script, const char *project, const json_t *model)
{
	const char *key;
	json_t *one;
	_cleanup_(str_done) struct str label = STR_INIT(1024);
	str_appendf(&label, "label=com.docker.compose.project=%s", project);
	str_append(script, "for n in $(docker network ls --format '{{.Name}}' --filter ");
	str_append_shell(script, str_peek(&label));
	str_append(script, "); do case $n in\n");
	json_object_foreach(json_get_object(model, "networks"), key, one)
	{
		const char *name = json_get_string(one, "name");
		if (name == NULL)
			continue;
		str_append_shell(script, name);
		str_append(script, ") ;;\n");
	}
	str_append(script, "*) docker network rm \"$n\" >/dev/null 2>&1 || : ;;\nesac; done\n");
}

int compose_go_back(const struct docker *d, const char *project, const char *name, const json_t *model,
                    int64_t timeout_ms, struct err *err)
{
	const json_t *about = json_get_object(model, "x-davit");
	const char *directory = json_get_string(about, "directory");
	_cleanup_free_ char *file = compose_file(d->v, project, name);
	_cleanup_(str_done) struct str script = STR_INIT(1 << 20), words = STR_INIT(16384);
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	compose_words(&words, project);
	str_append(&words, " --project-directory ");
	str_append_shell(&words, directory != NULL ? directory : "/");
	str_append(&words, " -f ");
	str_append_shell(&words, file);
	str_append(&words, " --profile '*'");
	int r = docker_project(d, project, &l, err);
	if (r < 0)
		return r;
	str_append(&script, "cd /\n");
	compose_tidy(&script, project);
	drop_newer(&script, &l, about);
	move_tags_back(&script, json_get_object(about, "services"));
	make_replaced(&script, model, &l, str_peek(&words));
	make_missing(&script, model, str_peek(&words));
	start_levels(&script, model, project);
	drop_networks(&script, project, model);
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = timeout_ms, .changes = true, .loud = d->on_line != NULL};
	r = docker_must(d, &call, &said, err);
	return r < 0 ? err_wrap(err, r, "bring back '%s' on '%s' as it was", project, d->v->name) : 0;
}

int compose_take_down(const struct docker *d, const char *project, int64_t timeout_ms, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(4096);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "cd /\n");
	compose_words(&script, project);
	str_append(&script, " down --remove-orphans\n");
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = timeout_ms, .changes = true, .loud = d->on_line != NULL};
	int r = docker_must(d, &call, &said, err);
	return r < 0 ? err_wrap(err, r, "take down '%s' on '%s'", project, d->v->name) : 0;
}
