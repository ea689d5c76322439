/* The engine: loading a deployment, its steps' contexts and its targets; deploy and plan. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"
#include "base/core/shown.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ID_RANDOM_DIGITS = 6, MAX_REPORT_LINE = 8192, LIVE_TICK_MS = 1000 };

/* ---- helpers ---- */

const char *step_releases_path(const char *step, const json_t *input)
{
	const struct step_info *info = step != NULL ? step_info(step) : NULL;
	return info != NULL && info->releases != NULL ? json_get_string(input, info->releases) : NULL;
}

void engine_say(struct engine *e, const char *level, const char *fmt, ...)
{
	if (e->o->report == NULL)
		return;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(MAX_REPORT_LINE - 1, fmt, args);
	va_end(args);
	e->o->report(e->o->report_context, level, line);
}

json_t *engine_line(const struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	err_line(err, line, sizeof(line));
	return json_string_lossy(line, strlen(line));
}

bool engine_may_retry(int code)
{
	return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_UNKNOWN;
}

int engine_pause(struct engine *e, int64_t ms, struct err *err)
{
	return wait_ms(&e->wait, ms, err);
}

/* Two of one second sort by their time, too: the newest snapshot is the one with the last name. */
char *engine_make_id(void)
{
	char time[CLOCK_TEXT_SIZE], random[ID_RANDOM_DIGITS + 1];
	int64_t now = clock_wall_ms();
	clock_rfc3339(now, time);
	rand_hex(random, ID_RANDOM_DIGITS);
	/* 2026-01-31T10:20:30.123Z → 20260131T102030-07b and three random digits */
	return xasprintf("%.4s%.2s%.2sT%.2s%.2s%.2s-%03x%s", time, time + 5, time + 8, time + 11, time + 14, time + 17,
	                 (unsigned)(now % 1000), random + ID_RANDOM_DIGITS / 2);
}

/* ---- called by steps ---- */

static void step_report(void *engine, const char *fmt, ...) _printf_(2, 3);
static void step_report(void *engine, const char *fmt, ...)
{
	struct engine *e = engine;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(MAX_REPORT_LINE - 1, fmt, args);
	va_end(args);
	engine_say(e, "info", "%s", line);
}

static void step_event(void *engine, const char *kind, json_t *data)
{
	struct engine *e = engine;
	if (e->recorded)
		store_event_note(e->store, e->id, kind, data, NULL);
	json_decref(data);
}

static struct http *step_http(void *engine)
{
	struct engine *e = engine;
	return e->o->http ? e->o->http(e->o->http_context) : NULL;
}

static int step_state_get(void *engine, const char *target, const char *key, json_t **ret, struct err *err)
{
	struct engine *e = engine;
	/* A plan on a host that has no journal yet. */
	if (e->store == NULL)
		return err_set(err, ERR_NOT_FOUND, "no state of '%s'", key);
	return store_state_get(e->store, e->scope, target, key, ret, err);
}

static int step_state_list(void *engine, const char *target, json_t **ret_object, struct err *err)
{
	struct engine *e = engine;
	if (e->store == NULL) {
		*ret_object = json_object();
		return 0;
	}
	return store_state_list(e->store, e->scope, target, ret_object, err);
}

static int step_other(void *engine, const char *name, struct target **ret, struct err *err)
{
	struct engine *e = engine;
	struct etarget *et = engine_target(e, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "there is no target '%s'", name);
	*ret = et->unreached ? NULL : et->t;
	/* Whoever takes something back may not have needed it so far. */
	return *ret ? target_open(&(*ret)->view, err) : 0;
}

/* ---- loading ---- */

struct etarget *engine_target(struct engine *e, const char *name)
{
	for (size_t i = 0; i < e->target_count; i++)
		if (strcmp(e->targets[i].name, name) == 0)
			return &e->targets[i];
	return NULL;
}

static void target_line(void *context, const char *line)
{
	engine_say(context, "info", "%s", line);
}

static int compare_targets(const void *a, const void *b)
{
	const struct etarget *x = a, *y = b;
	bool x_is_host = target_is_host(x->t), y_is_host = target_is_host(y->t);
	return x_is_host != y_is_host ? (x_is_host ? -1 : 1) : strcmp(x->name, y->name);
}

static int add_target(struct engine *e, const char *name, const json_t *config, struct err *err)
{
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_free_ char *pointer = xasprintf("/targets/%s", name);
	struct etarget *et = &e->targets[e->target_count++];
	et->name = xstrdup(name);
	const struct target_config *read = deployment_target(e->given, name);
	int r = 0;
	if (read != NULL)
		et->config = *read;
	else
		r = target_config_read(e->o->target_kinds, et->name, config, NULL, pointer, &e->arena, &et->config,
		                       &faults, err);
	if (r == 0)
		r = e->o->make_target(&et->config, &et->t, err);
	if (r < 0)
		return r;
	et->t->view.wait = &e->wait;
	et->t->view.report = target_line;
	et->t->view.report_context = e;
	e->host_count += target_is_host(et->t);
	return 0;
}

/* APIs hold no lock and no records: if a file names only APIs, these lie on this machine. */
static int add_anchor(struct engine *e, struct err *err)
{
	static const char plain[] = "local", other[] = "davit-host";
	_cleanup_json_ json_t *config = json_pack("{s:{}}", "local");
	return e->host_count > 0 ? 0 : add_target(e, engine_target(e, plain) ? other : plain, config, err);
}

static int load_targets(struct engine *e, struct err *err)
{
	json_t *targets = json_object_get(e->deployment, "targets");
	const char *name;
	json_t *config;
	if (targets == NULL || json_object_size(targets) == 0) {
		targets = json_pack("{s:{s:{}}}", "local", "local");
		json_object_set_new(e->deployment, "targets", targets);
	}
	e->targets = xcalloc(json_object_size(targets) + 1, sizeof(e->targets[0]));
	json_object_foreach(targets, name, config)
	{
		int r = add_target(e, name, config, err);
		if (r < 0)
			return r;
	}
	e->named_count = e->target_count;
	int r = add_anchor(e, err);
	if (r < 0)
		return r;
	qsort(e->targets, e->target_count, sizeof(e->targets[0]), compare_targets);
	for (size_t i = 0; i < e->target_count; i++)
		e->targets[i].anchor = i < e->host_count ? &e->targets[i] : &e->targets[0];
	return 0;
}

/* Only a step with its own kinds of changes can handle an API. */
static bool suits(const struct estep *s, const struct etarget *et)
{
	return s->type->fits ? s->type->fits(s->type, &et->t->view) : target_is_host(et->t) || s->type->kinds != NULL;
}

static int add_step_target(struct engine *e, struct estep *s, const char *name, struct err *err)
{
	struct etarget *et = engine_target(e, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "step %d (%s): there is no target '%s'", s->index + 1,
		               s->type->info->name, name);
	if (!suits(s, et))
		return err_set(err, ERR_INVALID, "step %d (%s): the target '%s' has no files or commands: it is an API",
		               s->index + 1, s->type->info->name, name);
	for (size_t i = 0; i < s->target_count; i++)
		if (s->etargets[i] == et)
			return err_set(err, ERR_INVALID, "step %d (%s): the target '%s' is named twice", s->index + 1,
			               s->type->info->name, name);
	s->etargets[s->target_count] = et;
	s->targets[s->target_count++] = et->t;
	return 0;
}

/* Left out: the only target. A step that changes nothing may look at all of them. */
static int load_step_targets(struct engine *e, struct estep *s, const json_t *given, struct err *err)
{
	size_t named = json_is_array(given) ? json_array_size(given) : 1;
	s->targets = xcalloc(named + e->target_count, sizeof(s->targets[0]));
	s->etargets = xcalloc(named + e->target_count, sizeof(s->etargets[0]));
	if (json_is_string(given))
		return add_step_target(e, s, json_string_value(given), err);
	for (size_t i = 0; i < json_array_size(given); i++) {
		const char *name = json_string_value(json_array_get(given, i));
		int r = add_step_target(e, s, name ? name : "", err);
		if (r < 0)
			return r;
	}
	if (s->target_count > 0)
		return 0;
	if (e->named_count > 1 && s->type->info->changes)
		return err_set(err, ERR_INVALID, "step %d (%s) must name its target: there are %zu", s->index + 1,
		               s->type->info->name, e->named_count);
	/* The host that no file named serves steps that need one. */
	bool for_apis = s->type->kinds != NULL || s->type->fits != NULL;
	for (size_t i = for_apis ? e->target_count - e->named_count : 0; i < e->target_count; i++)
		if (suits(s, &e->targets[i]))
			add_step_target(e, s, e->targets[i].name, err);
	return 0;
}

static bool counts_as_change(const struct change *c, int index, const char *target)
{
	return c->step_index < index && strcmp(c->target, target) == 0 && !change_has(c, CHANGE_BLIND) &&
	       !change_has(c, CHANGE_ASIDE) && c->state != CHANGE_UNDONE;
}

static bool step_changed_before(void *engine, int index, const char *target)
{
	struct engine *e = engine;
	_cleanup_(plan_done) struct plan made = {0};
	for (size_t i = 0; i < e->step_count; i++)
		for (size_t j = 0; e->steps[i].plans != NULL && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++)
				if (counts_as_change(&e->steps[i].plans[j].changes[k], index, target))
					return true;
	/* What it would change is not known: something about it was found before. */
	for (size_t i = 0; i < e->step_count && e->steps[i].index < index; i++)
		if (e->steps[i].unplanned && e->steps[i].type->info->changes &&
		    engine_step_has_target(&e->steps[i], target))
			return true;
	/* Steps of a job before this process. */
	if (e->id != NULL && e->recorded && engine_changes(e, &made, NULL) == 0)
		for (size_t i = 0; i < made.count; i++)
			if (counts_as_change(&made.changes[i], index, target))
				return true;
	return false;
}

static void *memory_of(struct engine *e, const struct step_type *type)
{
	for (size_t i = 0; i < e->memory_count; i++)
		if (e->memories[i].type == type)
			return e->memories[i].data;
	if (type->memory == 0)
		return NULL;
	e->memories = xrealloc(e->memories, (e->memory_count + 1) * sizeof(*e->memories));
	e->memories[e->memory_count] = (struct ememory){.type = type, .data = xcalloc(1, type->memory)};
	return e->memories[e->memory_count++].data;
}

static void forget_all(struct engine *e)
{
	for (size_t i = 0; i < e->memory_count; i++) {
		if (e->memories[i].type->forget)
			e->memories[i].type->forget(e->memories[i].data);
		free(e->memories[i].data);
	}
	free(e->memories);
}

static void make_context(struct engine *e, struct estep *s)
{
	s->context = (struct step_context){
		.type = s->type,
		.input = s->typed,
		.input_json = s->input,
		.index = s->index,
		.memory = memory_of(e, s->type),
		.place = s->place,
		.id = s->id,
		.display_name = s->display,
		.deployment = &e->facts,
		.targets = s->targets,
		.target_count = s->target_count,
		.wait = &e->wait,
		.outputs = s->outputs,
		.http = step_http,
		.engine = e,
		.report = step_report,
		.live = e->o->live ? engine_live_step : NULL,
		.event = step_event,
		.state_get = step_state_get,
		.state_list = step_state_list,
		.other = step_other,
		.changed_before = step_changed_before,
	};
}

int engine_read_input(struct engine *e, struct estep *s, struct faults *faults, struct err *err)
{
	int r = 0;
	s->validated = false;
	if (s->type->info->inputs) {
		_cleanup_free_ char *pointer = xasprintf("/steps/%d/%s", s->index, s->type->info->name);
		void *typed = arena_alloc(&s->arena, s->type->info->input_size ? s->type->info->input_size : 1);
		s->typed = typed;
		r = fields_read_choices(s->type->info->inputs, s->type->choices, s->input, NULL, pointer, s->texts,
		                        &s->arena, typed, faults, err);
	}
	make_context(e, s);
	return r;
}

/* The engine's own step is only valid in the engine's own records. */
static const struct step_type *type_named(const struct engine *e, const char *name)
{
	if (name && e->recorded_object && strcmp(name, engine_way_back.info->name) == 0)
		return &engine_way_back;
	return name ? e->o->find_step(name) : NULL;
}

static int load_step(struct engine *e, struct estep *s, const json_t *given, const struct deployment_step *read,
                     struct faults *faults, struct err *err)
{
	const char *name = json_get_string(given, "step");
	s->e = e;
	s->place = (int)json_get_int(given, "place", s->index);
	s->type = type_named(e, name);
	if (s->type == NULL && name && strcmp(name, engine_way_back.info->name) == 0)
		return err_set(err, ERR_INVALID, "step %d: '%s' is not a step of a deployment: it decides one",
		               s->index + 1, name);
	if (s->type == NULL)
		return err_set(err, ERR_INVALID, "step %d: there is no step '%s'", s->index + 1, name ? name : "");
	const char *id = json_get_string(given, "id"), *display = json_get_string(given, "name");
	s->id = id ? xstrdup(id) : xasprintf("%d", s->index + 1);
	s->display = xstrdup(display ? display : s->type->info->name);
	json_t *input = json_object_get(given, "input");
	s->input = input && !json_is_null(input) ? json_incref(input) : json_object();
	s->outputs = json_object();
	s->arena.wipe = true;
	int r = load_step_targets(e, s, json_object_get(given, "target"), err);
	if (r < 0)
		return r;
	s->plans = xcalloc(s->target_count ? s->target_count : 1, sizeof(s->plans[0]));
	s->texts = json_get_bool(given, "texts", true);
	if (read == NULL)
		return engine_read_input(e, s, faults, err);
	s->typed = read->typed;
	s->validated = read->validated;
	make_context(e, s);
	return 0;
}

static void load_facts(struct engine *e)
{
	const json_t *d = e->deployment;
	const char *root = json_get_string(d, "source_root");
	e->source_root = xstrdup(root ? root : "/");
	e->facts = (struct step_deployment){
		.id = e->id,
		.name = e->name,
		.environment = e->environment,
		.commit = json_get_string(d, "commit"),
		.dirty = json_get_bool(d, "dirty", false),
		.source_root = e->source_root,
		.state_dir = e->store ? store_dir(e->store) : NULL,
		.repository = json_get_string(d, "repository"),
		.run_url = json_get_string(d, "run_url"),
		.api_url = json_get_string(d, "api_url"),
		.token = json_get_string(d, "token"),
		.targets = json_object_get(d, "targets"),
	};
}

static bool is_name(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	if (len < 1 || len > 63 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") != len)
		return false;
	return (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= '0' && text[0] <= '9');
}

static int load_names(struct engine *e, struct err *err)
{
	const char *name = json_get_string(e->deployment, "name"),
		   *environment = json_get_string(e->deployment, "environment");
	const char *on_failure = json_get_string(e->deployment, "on_failure");
	if (!is_name(name))
		return err_set(err, ERR_INVALID, "'name' must be [a-z0-9][a-z0-9._-]{0,62}, not '%s'",
		               name ? name : "");
	if (!is_name(environment))
		return err_set(err, ERR_INVALID, "'environment' must be [a-z0-9][a-z0-9._-]{0,62}, not '%s'",
		               environment ? environment : "");
	if (on_failure && strcmp(on_failure, "rollback") != 0 && strcmp(on_failure, "hold") != 0)
		return err_set(err, ERR_INVALID, "'on_failure' is 'rollback' or 'hold', not '%s'", on_failure);
	e->name = xstrdup(name);
	e->environment = xstrdup(environment);
	e->scope = xasprintf("%s.%s", name, environment);
	e->hold = on_failure && strcmp(on_failure, "hold") == 0;
	if (e->hold && engine_alone_after_ms(e) > 0)
		return err_set(err, ERR_INVALID, "'on_failure: hold' and 'undo_alone' exclude each other");
	return 0;
}

static struct estep *grow_steps(struct engine *e)
{
	e->steps = xgrow(e->steps, &e->step_cap, e->step_count + 1, sizeof(e->steps[0]));
	struct estep *s = &e->steps[e->step_count];
	memset(s, 0, sizeof(*s));
	s->index = (int)e->step_count++;
	return s;
}

static int load_steps(struct engine *e, struct err *err)
{
	const json_t *steps = json_object_get(e->deployment, "steps");
	struct faults faults = {0};
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(steps); i++) {
		struct estep *s = grow_steps(e);
		r = load_step(e, s, json_array_get(steps, i), deployment_step_read(e->given, i), &faults, err);
		if (r == 0)
			engine_step_identity(e, s);
	}
	if (r == 0 || r == ERR_INVALID) {
		int bad = engine_faults(e, &faults, r == 0 ? err : NULL);
		r = r < 0 ? r : bad;
	}
	faults_done(&faults);
	return r;
}

int engine_insert_step(struct engine *e, size_t at, const json_t *given, struct err *err)
{
	json_array_insert(json_object_get(e->deployment, "steps"), at, (json_t *)given);
	grow_steps(e);
	for (size_t i = e->step_count - 1; i > at; i--) {
		e->steps[i] = e->steps[i - 1];
		e->steps[i].index = e->steps[i].context.index = (int)i;
	}
	struct estep *s = &e->steps[at];
	struct faults faults = {0};
	bool recorded = e->recorded_object;
	memset(s, 0, sizeof(*s));
	s->index = (int)at;
	e->recorded_object = true;
	int r = load_step(e, s, given, NULL, &faults, err);
	e->recorded_object = recorded;
	faults_done(&faults);
	if (r == 0)
		engine_step_identity(e, s);
	return r;
}

static int load(struct engine *e, const struct deployment *given, const struct engine_options *o, bool recorded,
                struct err *err)
{
	const char *id = json_get_string(given->json, "id");
	memset(e, 0, sizeof(*e));
	e->arena.wipe = true;
	e->recorded_object = recorded;
	e->o = o;
	e->store = o->store;
	e->owner_fd = -1;
	e->only_step = -1;
	e->left_over = json_array();
	e->given = given;
	e->deployment = json_deep_copy(given->json);
	if (o->wait)
		e->wait = *o->wait;
	else
		e->wait = (struct wait)WAIT_INIT;
	e->wait.tick = engine_tick;
	e->wait.tick_ms = o->live ? MIN((int64_t)LIVE_TICK_MS, engine_alone_tick_ms(e)) : engine_alone_tick_ms(e);
	e->wait.context = e;
	e->id = id ? xstrdup(id) : engine_make_id();
	int r = load_names(e, err);
	if (r == 0)
		r = load_targets(e, err);
	if (r == 0) {
		load_facts(e);
		r = load_steps(e, err);
	}
	e->given = NULL;
	return r;
}

int engine_load(struct engine *e, const struct deployment *deployment, const struct engine_options *o, struct err *err)
{
	return load(e, deployment, o, false, err);
}

int engine_load_recorded(struct engine *e, const json_t *deployment, const struct engine_options *o, struct err *err)
{
	return load(e, DEPLOYMENT_UNREAD(deployment), o, true, err);
}

void engine_done(struct engine *e)
{
	for (size_t i = 0; i < e->step_count; i++) {
		struct estep *s = &e->steps[i];
		if (s->type && s->type->end)
			s->type->end(&s->context);
		for (size_t j = 0; s->plans && j < s->target_count; j++)
			plan_done(&s->plans[j]);
		free(s->plans);
		free(s->id);
		free(s->display);
		free(s->targets);
		free(s->etargets);
		json_decref(s->input);
		json_decref(s->outputs);
		arena_done(&s->arena);
	}
	forget_all(e);
	for (size_t i = 0; i < e->target_count; i++) {
		free(e->targets[i].name);
		free(e->targets[i].alone_token);
		free(e->targets[i].alone_former);
		target_free(e->targets[i].t);
		target_free(e->targets[i].renewer);
	}
	free(e->steps);
	free(e->targets);
	arena_done(&e->arena);
	free(e->id);
	free(e->name);
	free(e->environment);
	free(e->scope);
	free(e->source_root);
	json_decref(e->deployment);
	json_decref(e->doc);
	json_decref(e->left_over);
	json_decref(e->digested);
	json_decref(e->stays);
	json_decref(e->findings);
	faults_done(&e->found);
	free(e->live_what);
	closep(&e->owner_fd);
}

/* ---- changes ---- */

int engine_changes_of(const struct engine_options *o, const char *id, struct plan *ret, struct err *err)
{
	int r = store_change_list(o->store, id, ret, err);
	if (r == 0)
		change_find_types(ret, o->find_change);
	return r;
}

int engine_changes(const struct engine *e, struct plan *ret, struct err *err)
{
	return engine_changes_of(e->o, e->id, ret, err);
}

/* ---- the journal's object ---- */

static void copy_member(json_t *to, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);
	if (value && !json_is_null(value))
		json_object_set(to, key, value);
}

json_t *engine_targets_json(const struct engine *e)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < e->target_count; i++) {
		const struct etarget *et = &e->targets[i];
		const struct target_facts *f = &et->t->view.facts;
		json_t *t = json_pack("{s:s, s:s}", "name", et->name, "kind", et->t->view.kind->name);
		const struct {
			const char *key, *value;
		} known[] = {{"identity", f->identity}, {"user", f->user}, {"host", f->hostname}};
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			if (known[k].value && *known[k].value)
				json_object_set_new(t, known[k].key,
				                    json_string_lossy(known[k].value, strlen(known[k].value)));
		json_array_append_new(targets, t);
	}
	return targets;
}

void engine_make_doc(struct engine *e)
{
	const char *const members[] = {"on_failure",       "commit", "dirty",    "repository",    "run_url", "file",
	                               "undo_deadline_ms", "kept",   "rollback", "undo_alone_ms", "actor"};
	json_t *doc = json_object();
	_cleanup_json_ json_t *owner = lock_owner_process(0);
	_cleanup_json_ json_t *record = lock_record(e->store, doc, NULL);
	json_t *names = json_array();
	json_object_set_new(doc, "format", json_integer(1));
	json_object_set_new(doc, "id", json_string(e->id));
	json_object_set_new(doc, "name", json_string(e->name));
	json_object_set_new(doc, "environment", json_string(e->environment));
	json_object_set_new(doc, "state", json_string(deployment_state_name(DEPLOYMENT_PREPARING)));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		copy_member(doc, e->deployment, members[i]);
	if (e->o->job_key)
		json_object_set_new(doc, "job_key", json_string(e->o->job_key));
	if (e->o->runner_decides)
		json_object_set_new(doc, "runner_decides", json_true());
	copy_member(doc, record, "user");
	copy_member(doc, record, "host");
	json_object_set_new(doc, "created_ms", json_integer(clock_wall_ms()));
	json_object_set(doc, "owner", owner);
	for (size_t i = 0; i < e->target_count; i++)
		json_array_append_new(names, json_string(e->targets[i].name));
	json_object_set_new(doc, "targets", engine_targets_json(e));
	json_object_set_new(doc, "target_names", names);
	json_decref(e->doc);
	e->doc = doc;
}

/* ---- deploy and plan ---- */

int engine_look(struct engine *e, struct err *err)
{
	engine_begin_steps(e);
	int r = engine_reach(e, err);
	if (r == 0 && e->found.count == 0)
		r = engine_lock_all(e, err);
	if (r == 0)
		r = engine_examine(e, true, err);
	if (r == 0 && e->o->expect_digest && strcmp(e->o->expect_digest, e->digest) != 0) {
		r = err_set(err, ERR_CONFLICT, "the plan is not the expected one: %s instead of %s", e->digest,
		            e->o->expect_digest);
		err_hint(err, r, "look at the new plan, and approve its digest");
	}
	return r;
}

static int open_deployment(struct engine *e, struct err *err)
{
	int r = engine_baseline(e, err);
	if (r == 0)
		r = engine_alone_arm(e, err);
	if (r == 0)
		r = engine_set_state(
			e, DEPLOYMENT_OPEN,
			json_pack("{s:s, s:o}", "plan_digest", e->digest, "targets", engine_targets_json(e)), err);
	return r;
}

int engine_refused_status(int code)
{
	switch (code) {
	case ERR_LOCKED:
		return 5;
	case ERR_CANCELLED:
		return 130;
	case ERR_CONFLICT:
		return 3;
	default:
		return 2;
	}
}

int engine_carry_out(struct engine *e, struct engine_result *ret, struct err *err)
{
	int r = open_deployment(e, err);
	if (r < 0)
		return r;
	r = engine_apply_all(e, err);
	if (r == 0)
		r = engine_commit(e, err);
	if (r < 0)
		engine_fail(e, r, err, ret);
	else
		engine_result_fill(e, ret, 0);
	return 0;
}

static void deploy(struct engine *e, struct engine_result *ret, struct err *err)
{
	int r = engine_begin(e, err);
	if (r < 0) {
		engine_result_fill(e, ret, engine_refused_status(r));
		return;
	}
	r = engine_look(e, err);
	if (r == 0 && engine_must_wait(e)) {
		engine_result_fill(e, ret, engine_park_planned(e, err));
		return;
	}
	if (r == 0)
		r = engine_carry_out(e, ret, err);
	if (r < 0) {
		int status = engine_refused_status(r);
		engine_refuse(e, status, err);
		engine_result_fill(e, ret, status);
	}
}

int engine_deploy(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                  struct err *err)
{
	_cleanup_(engine_done) struct engine e;
	memset(ret, 0, sizeof(*ret));
	int r = engine_load(&e, deployment, o, err);
	if (r == 0)
		r = engine_validate(&e, err);
	if (r < 0) {
		ret->state = DEPLOYMENT_REFUSED;
		engine_result_fill(&e, ret, engine_refused_status(r));
		return 0;
	}
	engine_recover_environment(o, e.name, e.environment);
	deploy(&e, ret, err);
	return 0;
}

/* A command says nothing of how the world is, what is not known yet nothing of how it shall be, and what is only adopted is as described. */
static size_t count_drift(const struct engine *e)
{
	size_t count = 0;
	for (size_t i = 0; i < e->step_count; i++)
		for (size_t j = 0; e->steps[i].plans != NULL && j < e->steps[i].target_count; j++)
			for (size_t k = 0; k < e->steps[i].plans[j].count; k++) {
				const struct change *c = &e->steps[i].plans[j].changes[k];
				count += c->action != ACTION_ADOPT && !change_has(c, CHANGE_BLIND) &&
				         !change_has(c, CHANGE_ASIDE) && !change_has(c, CHANGE_LATER);
			}
	return count;
}

int engine_plan(const struct deployment *deployment, const struct engine_options *o, struct engine_result *ret,
                struct err *err)
{
	_cleanup_(engine_done) struct engine e;
	memset(ret, 0, sizeof(*ret));
	int r = engine_load(&e, deployment, o, err);
	if (r == 0)
		r = engine_validate(&e, err);
	if (r == 0)
		engine_begin_steps(&e);
	if (r == 0)
		r = engine_reach(&e, err);
	if (r == 0)
		r = engine_examine(&e, true, err);
	if (r == 0 && o->expect_digest && strcmp(o->expect_digest, e.digest) != 0)
		r = err_set(err, ERR_CONFLICT, "the plan is not the expected one: %s instead of %s", e.digest,
		            o->expect_digest);
	ret->state = DEPLOYMENT_PREPARING;
	ret->drift = r == 0 && o->refresh ? count_drift(&e) : 0;
	if (ret->drift > 0)
		err_set(err, ERR_CONFLICT, "not as described: %zu change%s would bring that back", ret->drift,
		        ret->drift == 1 ? "" : "s");
	engine_result_fill(&e, ret, r < 0 ? engine_refused_status(r) : ret->drift > 0 ? 6 : 0);
	return 0;
}
