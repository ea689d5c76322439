/* The targets, each asked on a thread of its own: what takes long is the way there. */
#include "base/core/clock.h"
#include "base/core/thread.h"
#include "engine/lock/lock.h"
#include "steps/common/releases.h"
#include "steps/status/status.h"

enum { ASK_MS = 60000, SCRIPT_MS = 45000, AT_ONCE = 16 };

struct ask {
	const char *name;
	const json_t *config, *places;
	const struct engine_options *o;
	json_t *answer;
	struct wait wait;
	struct err err;
	int result;
	pthread_t thread;
	bool started;
};

static void set_error(json_t *answer, const struct err *why)
{
	char line[ERR_FRAME_SIZE];
	json_set_string(answer, "error", err_line(why, line, sizeof(line)));
	if (why->hint[0] != '\0')
		json_set_string(answer, "hint", why->hint);
}

static void take_facts(json_t *answer, const struct target_facts *f)
{
	json_set_string(answer, "host", f->hostname);
	json_set_string(answer, "user", f->user);
	json_set_string(answer, "identity", f->identity);
	json_set_string(answer, "base", f->base);
}

/* What is missing where the script was given up is said, the rest is shown. */
static int run_script(struct view *v, json_t *answer, struct err *err)
{
	const struct field_pair env[] = {
		{"BASE", v->facts.base}, {"CONTAINER", status_container_format}, {"IMAGE", status_image_format}};
	const struct target_command command = {.script = status_script,
	                                       .env = env,
	                                       .env_count = ARRAY_SIZE(env),
	                                       .timeout_ms = SCRIPT_MS,
	                                       .max_output = STATUS_OUTPUT_MAX};
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	int r = host_query(v, &command, &said, err);
	if (r < 0)
		return r;
	status_answer(str_peek(&said.out), said.out.len, v->facts.base, clock_wall_ms() / 1000, answer);
	return 0;
}

/* As releases_read tells it: the holder of the lock of this name and environment, or null. */
static void take_lock(const struct ask *a)
{
	_cleanup_free_ char *scope =
		xasprintf("%s.%s", json_get_string(a->places, "name"), json_get_string(a->places, "environment"));
	size_t i;
	json_t *one;
	json_object_set_new(a->answer, "lock", json_null());
	json_array_foreach(json_object_get(a->answer, "open"), i, one)
	{
		if (strcmp(json_get_string(one, "scope"), scope) == 0)
			json_object_set(a->answer, "lock", one);
	}
}

static int look(struct ask *a)
{
	_cleanup_(target_freep) struct target *t = NULL;
	int r = target_config_use(a->o->target_kinds, a->name, a->config, a->o->make_target, &t, &a->err);
	if (r < 0)
		return r;
	if (!target_is_host(t)) {
		json_set_string(a->answer, "kind", t->view.kind->name);
		return 0;
	}
	t->view.wait = &a->wait;
	r = target_open(&t->view, &a->err);
	if (r < 0)
		return r;
	take_facts(a->answer, &t->view.facts);
	r = run_script(&t->view, a->answer, &a->err);
	take_lock(a);
	if (r == 0)
		r = releases_of_target(&t->view, a->places, a->answer, &a->err);
	return MIN(r, 0);
}

static void *thread_of(void *context)
{
	struct ask *a = context;
	a->result = look(a);
	return NULL;
}

/* A thread that cannot be made is this one. */
static void begin(struct ask *a)
{
	a->wait = wait_within(a->o->wait, ASK_MS);
	a->started = thread_start(&a->thread, thread_of, a) == 0;
	if (!a->started)
		thread_of(a);
}

static int finish(struct ask *a, struct err *err)
{
	if (a->started)
		pthread_join(a->thread, NULL);
	if (a->result == ERR_CANCELLED) {
		*err = a->err;
		return a->result;
	}
	if (a->result < 0)
		set_error(a->answer, &a->err);
	return a->result < 0;
}

static int ask_some(struct ask *asks, size_t count, struct err *err)
{
	int failed = 0, cancelled = 0;
	for (size_t i = 0; i < count; i++)
		begin(&asks[i]);
	for (size_t i = 0; i < count; i++) {
		int r = finish(&asks[i], err);
		cancelled = r < 0 ? r : cancelled;
		failed += r > 0;
	}
	return cancelled < 0 ? cancelled : failed;
}

int status_read(const json_t *places, const char *only, const struct engine_options *o, json_t **ret, struct err *err)
{
	json_t *configs = json_object_get(places, "targets"), *targets = json_array(), *config;
	json_t *answer _cleanup_json_ =
		json_pack("{s:O?, s:O?, s:o}", "name", json_object_get(places, "name"), "environment",
	                  json_object_get(places, "environment"), "targets", targets);
	_cleanup_free_ struct ask *asks = xcalloc(json_object_size(configs) + 1, sizeof(*asks));
	size_t count = 0;
	const char *name;
	int failed = 0;
	json_object_foreach(configs, name, config)
	{
		if (only != NULL && strcmp(only, name) != 0)
			continue;
		json_t *one = json_pack("{s:s}", "name", name);
		json_array_append_new(targets, one);
		asks[count++] = (struct ask){
			.name = name, .config = config, .places = places, .o = o, .answer = one, .err = ERR_INIT};
	}
	for (size_t at = 0; at < count; at += AT_ONCE) {
		int r = ask_some(&asks[at], MIN(count - at, (size_t)AT_ONCE), err);
		if (r < 0)
			return r;
		failed += r;
	}
	json_t *certificates = NULL;
	int r = only == NULL ? status_certificates(places, o, &certificates, err) : 0;
	if (r < 0)
		return r;
	if (certificates != NULL)
		json_object_set_new(answer, "certificates", certificates);
	*ret = TAKE(answer);
	return failed;
}
