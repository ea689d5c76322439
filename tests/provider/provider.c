#include "provider/provider.h"

#include "base/core/clock.h"
#include "schemas/targets/test-provider.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK_TICKS = 3, LATER_TICKS = 9, POLL_MS = 100 };

struct provider {
	struct target t;
	char *file;
	int64_t timeout_ms;
};

/* ---- the API itself ---- */

json_t *provider_load(const char *file)
{
	json_t *world = json_load_file(file, 0, NULL);
	if (world == NULL)
		abort();
	return world;
}

void provider_save(const char *file, const json_t *world)
{
	_cleanup_free_ char *beside = xasprintf("%s.new", file);
	if (json_dump_file(world, beside, JSON_INDENT(1)) != 0 || rename(beside, file) != 0)
		abort();
}

static json_t *member(json_t *world, const char *name, json_t *(*make)(void))
{
	if (json_object_get(world, name) == NULL)
		json_object_set_new(world, name, make());
	return json_object_get(world, name);
}

static void end_task(json_t *world, json_t *task)
{
	json_t *guests = member(world, "guests", json_object);
	const char *guest = json_get_string(task, "guest"), *verb = json_get_string(task, "do");
	bool there = json_object_get(guests, guest) != NULL;
	bool fine = !json_get_bool(task, "fails", false) && there == (strcmp(verb, "create") != 0);
	if (fine && strcmp(verb, "delete") == 0)
		json_object_del(guests, guest);
	else if (fine)
		json_object_set(guests, guest, json_object_get(task, "size"));
	json_object_set_new(task, "state", json_string(fine ? "ok" : "failed"));
}

static void move_on(json_t *world)
{
	json_t *task;
	size_t i;
	json_array_foreach(member(world, "tasks", json_array), i, task)
	{
		int64_t left = json_get_int(task, "left", 0);
		if (strcmp(json_get_string(task, "state"), "running") != 0 || left == 0)
			continue;
		json_object_set_new(task, "left", json_integer(left - 1));
		if (left == 1)
			end_task(world, task);
	}
}

void provider_let_pass(const char *file)
{
	_cleanup_json_ json_t *world = provider_load(file);
	for (int i = 0; i < 4 * LATER_TICKS; i++)
		move_on(world);
	provider_save(file, world);
}

void (*provider_on_request)(const char *verb, bool done);

static void tell(const char *verb, bool done)
{
	if (provider_on_request)
		provider_on_request(verb, done);
}

/* As it is when the request arrives, and the fault that this one meets ("" none). Counts it. */
static json_t *meet(const struct provider *p, const char *verb, char fault[16])
{
	tell(verb, false);
	json_t *world = provider_load(p->file);
	json_t *requests = member(world, "requests", json_object);
	json_t *faults = json_object_get(member(world, "faults", json_object), verb);
	json_object_set_new(requests, verb, json_integer(json_get_int(requests, verb, 0) + 1));
	snprintf(fault, 16, "%s", json_array_size(faults) > 0 ? json_string_value(json_array_get(faults, 0)) : "");
	json_array_remove(faults, 0);
	move_on(world);
	return world;
}

static int reply(const struct provider *p, const json_t *world, const char *verb, const char *fault, struct err *err)
{
	provider_save(p->file, world);
	tell(verb, true);
	if (strcmp(fault, "away") == 0)
		return err_set(err, ERR_NETWORK, "the provider does not answer");
	if (strcmp(fault, "lost") == 0)
		return err_set(err, ERR_UNKNOWN, "the provider's reply was lost");
	return 0;
}

static char *add_task(json_t *world, const char *verb, const char *guest, int64_t size, int ticks, bool fails)
{
	json_t *tasks = member(world, "tasks", json_array);
	char *id = xasprintf("UPID:%zu", json_array_size(tasks) + 1);
	json_array_append_new(tasks,
	                      json_pack("{s:s, s:s, s:s, s:I, s:i, s:b, s:s}", "id", id, "guest", guest, "do", verb,
	                                "size", (json_int_t)size, "left", ticks, "fails", fails, "state", "running"));
	return id;
}

/* POST: begins a task. *ret: its id, free(). */
static int api_begin(const struct provider *p, const char *verb, const char *guest, int64_t size, char **ret,
                     struct err *err)
{
	char fault[16];
	_cleanup_json_ json_t *world = meet(p, verb, fault);
	_cleanup_free_ char *id = NULL;
	if (strcmp(fault, "away") != 0)
		id = add_task(world, verb, guest, size, strcmp(fault, "hangs") == 0 ? 0 : TASK_TICKS,
		              strcmp(fault, "fails") == 0);
	if (strcmp(fault, "twice") == 0)
		free(add_task(world, verb, guest, size, LATER_TICKS, false));
	int r = reply(p, world, verb, fault, err);
	*ret = r == 0 ? TAKE(id) : NULL;
	return r;
}

/* GET /guests/NAME: NODE-like JSON. */
static int api_look(const struct provider *p, const char *guest, json_t **ret, struct err *err)
{
	char fault[16];
	_cleanup_json_ json_t *world = meet(p, "look", fault);
	int r = reply(p, world, "look", fault, err);
	json_t *size = json_object_get(json_object_get(world, "guests"), guest);
	if (r == 0)
		*ret = size ? json_pack("{s:s, s:O}", "type", "guest", "size", size)
		            : json_pack("{s:s}", "type", "absent");
	return r;
}

/* GET /tasks: those of a guest. */
static int api_tasks(const struct provider *p, const char *guest, json_t **ret, struct err *err)
{
	char fault[16];
	_cleanup_json_ json_t *world = meet(p, "poll", fault);
	json_t *task;
	size_t i;
	int r = reply(p, world, "poll", fault, err);
	if (r < 0)
		return r;
	*ret = json_array();
	json_array_foreach(json_object_get(world, "tasks"), i,
	                   task) if (strcmp(json_get_string(task, "guest"), guest) == 0) json_array_append(*ret, task);
	return 0;
}

/* DELETE /tasks/ID */
static void api_cancel(const struct provider *p, const char *id)
{
	_cleanup_json_ json_t *world = provider_load(p->file);
	json_t *task;
	size_t i;
	json_array_foreach(json_object_get(world, "tasks"), i, task)
	{
		if (strcmp(json_get_string(task, "id"), id) == 0 &&
		    strcmp(json_get_string(task, "state"), "running") == 0)
			json_object_set_new(task, "state", json_string("cancelled"));
	}
	provider_save(p->file, world);
}

/* ---- the target ---- */

static int provider_open(struct view *v, struct err *err)
{
	(void)err;
	if (v->facts.identity == NULL)
		v->facts.identity = xstrdup("test-provider:1");
	return 0;
}

static void provider_free(struct target *t)
{
	struct provider *p = (struct provider *)t;
	target_done(t);
	free(p->file);
	free(p);
}

static const struct target_type provider_type = {.name = "test-provider", .open = provider_open, .free = provider_free};

static int make(const struct target_config *config, struct target **ret, struct err *err)
{
	const struct target_test_provider *in = config->kind.typed;
	struct provider *p = xcalloc(1, sizeof(*p));
	(void)err;
	p->t.view.kind = &provider_type;
	p->t.view.name = xstrdup(config->name);
	p->file = xstrdup(in->file);
	p->timeout_ms = in->timeout_ms;
	*ret = &p->t;
	return 0;
}

const struct target_kind provider_kind = {.choice = TARGET_TEST_PROVIDER_CHOICE, .make = make};

int provider_look(struct view *v, const char *guest, json_t **ret, struct err *err)
{
	return api_look((struct provider *)v, guest, ret, err);
}

/* ---- the kind of changes ---- */

static struct provider *of(struct change_call *x)
{
	return (struct provider *)x->v;
}

static const char *guest_of(const struct change *c)
{
	return c->path + strlen("guest:");
}

static int64_t size_of(const json_t *guest)
{
	return json_get_int(guest, "size", -1);
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	int r = api_look(of(x), guest_of(c), &now, err);
	if (r < 0)
		return r;
	bool before = size_of(now) == size_of(c->before), after = size_of(now) == size_of(c->after);
	*ret = before ? (after ? MATCH_BOTH : MATCH_BEFORE) : after ? MATCH_AFTER : MATCH_NEITHER;
	return 0;
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	int r = api_look(of(x), guest_of(c), &now, err);
	if (r == 0)
		str_appendf(out, "its size is %lld instead of %lld", (long long)size_of(now),
		            (long long)size_of(c->after));
	return r;
}

static const json_t *task_named(const json_t *tasks, const char *id)
{
	for (size_t i = 0; id && i < json_array_size(tasks); i++)
		if (strcmp(json_get_string(json_array_get(tasks, i), "id"), id) == 0)
			return json_array_get(tasks, i);
	return NULL;
}

static const json_t *task_at_work(const json_t *tasks)
{
	for (size_t i = 0; i < json_array_size(tasks); i++)
		if (strcmp(json_get_string(json_array_get(tasks, i), "state"), "running") == 0)
			return json_array_get(tasks, i);
	return NULL;
}

/* Until nothing is at work for the guest, whoever asked for it: a request that was carried out twice has two tasks, and one whose reply
 * was lost has a task that nobody knows by name. */
static int wait_for(struct change_call *x, const struct change *c, const char *task, bool cancel, struct err *err)
{
	int64_t until = clock_mono_ms() + of(x)->timeout_ms;
	for (;;) {
		_cleanup_json_ json_t *tasks = NULL;
		int r = api_tasks(of(x), guest_of(c), &tasks, err);
		if (r < 0)
			return r;
		const json_t *own = task_named(tasks, task), *other = task_at_work(tasks);
		if (other == NULL && own && strcmp(json_get_string(own, "state"), "ok") != 0)
			return err_set(err, ERR_FAILED, "the task '%s' ended as '%s'", task,
			               json_get_string(own, "state"));
		if (other == NULL)
			return 0;
		if (cancel && strcmp(json_get_string(other, "do"), "create") == 0)
			api_cancel(of(x), json_get_string(other, "id"));
		if (clock_mono_ms() >= until)
			return err_set(err, ERR_TIMEOUT, "the task '%s' does not end", json_get_string(other, "id"));
		r = wait_ms(x->v->wait, POLL_MS, err);
		if (r < 0)
			return r;
	}
}

static int resume(struct change_call *x, const struct change *c, struct err *err)
{
	return wait_for(x, c, c->task, x->undoing, err);
}

/* From what is there now to what is wanted; nothing where that is so already. */
static int go_to(struct change_call *x, const struct change *c, const json_t *wanted, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	_cleanup_free_ char *task = NULL;
	int r = api_look(of(x), guest_of(c), &now, err);
	if (r < 0 || size_of(now) == size_of(wanted))
		return r;
	const char *verb = size_of(wanted) < 0 ? "delete" : size_of(now) < 0 ? "create" : "change";
	r = change_guard(x, err);
	if (r == 0)
		r = api_begin(of(x), verb, guest_of(c), size_of(wanted), &task, err);
	if (r == 0)
		r = change_note_task(x, task, err);
	return r < 0 ? r : wait_for(x, c, task, false, err);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	return go_to(x, c, c->after, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	return go_to(x, c, c->before, err);
}

/* As a resource of apply, or as one that it may destroy. */
static bool is_resource(const struct change *c, const json_t *input)
{
	const json_t *item;
	size_t i;
	json_array_foreach(json_object_get(input, "resources"), i, item)
	{
		const char *name = json_get_string(json_object_get(item, "guest"), "name");
		if (name && strcmp(name, guest_of(c)) == 0)
			return true;
	}
	json_array_foreach(json_object_get(input, "allow_destroy"), i, item)
	{
		if (strcmp(json_string_value(item), c->path) == 0)
			return true;
	}
	return false;
}

static bool is_named(const struct change *c, const json_t *input)
{
	return str_starts(c->path, "guest:") &&
	       (is_resource(c, input) || json_object_get(json_object_get(input, "guests"), guest_of(c)));
}

const struct change_type provider_guest = {
	.name = "test-guest",
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.resume = resume,
	.undo = undo,
	.is_named = is_named,
};

const struct change_type *provider_find_change(const char *kind)
{
	return strcmp(kind, provider_guest.name) == 0 ? &provider_guest : NULL;
}

/* ---- the step ---- */

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const char *name;
	json_t *size;
	json_object_foreach(json_object_get(c->input_json, "guests"), name, size)
	{
		_cleanup_json_ json_t *now = NULL;
		_cleanup_free_ char *path = xasprintf("guest:%s", name);
		int r = api_look((struct provider *)v, name, &now, err);
		if (r < 0)
			return r;
		int64_t wanted = json_is_null(size) ? -1 : json_integer_value(size);
		if (size_of(now) == wanted)
			continue;
		struct change *change = plan_add(plan, &provider_guest,
		                                 wanted < 0         ? ACTION_DESTROY
		                                 : size_of(now) < 0 ? ACTION_CREATE
		                                                    : ACTION_UPDATE,
		                                 path);
		change->before = json_incref(now);
		change->after = wanted < 0 ? json_pack("{s:s}", "type", "absent")
		                           : json_pack("{s:s, s:O}", "type", "guest", "size", size);
	}
	return 0;
}

static const struct change_type *const kinds[] = {&provider_guest, NULL};
static const struct step_info info = {.name = "guests", .changes = true};
const struct step_type provider_step = {.info = &info, .kinds = kinds, .plan = plan};
