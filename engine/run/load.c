/* Loads a deployment: names, targets, steps and their inputs; and frees it. */
#include "engine/run/run_priv.h"

#include "base/sys/fs.h"
#include <stdlib.h>
#include <string.h>

enum { LIVE_TICK_MS = 1000 };

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

/* A host that is only looked at keeps nothing of the deployment: like an API it is behind those that are locked. */
static bool holds_lock(const struct etarget *et)
{
	return target_is_host(et->t) && !et->config.host.read_only;
}

static int compare_targets(const void *a, const void *b)
{
	const struct etarget *x = a, *y = b;
	bool x_holds = holds_lock(x), y_holds = holds_lock(y);
	return x_holds != y_holds ? (x_holds ? -1 : 1) : strcmp(x->name, y->name);
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
	e->host_count += holds_lock(et);
	return 0;
}

/* APIs hold no lock and no records: if a file names no host that does, these lie on this machine. */
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
	if (et->config.host.read_only)
		return false;
	return s->type->fits ? s->type->fits(s->type, &et->t->view) : target_is_host(et->t) || s->type->kinds != NULL;
}

static int add_step_target(struct engine *e, struct estep *s, const char *name, struct err *err)
{
	struct etarget *et = engine_target(e, name);
	if (et == NULL)
		return err_set(err, ERR_INVALID, "step %d (%s): there is no target '%s'", s->index + 1,
		               s->type->info->name, name);
	if (et->config.host.read_only) {
		err_set(err, ERR_INVALID, "step %d (%s): the target '%s' is only looked at (`read_only`)", s->index + 1,
		        s->type->info->name, name);
		return err_hint(err, ERR_INVALID, "name another target, or leave `read_only` out");
	}
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
	engine_make_context(e, s);
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
	engine_make_context(e, s);
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
		.ref = json_get_string(d, "ref"),
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
	int r = load_names(e, err);
	e->id = id ? xstrdup(id) : engine_make_id(e->store, e->name, e->environment);
	if (r == 0)
		r = load_targets(e, err);
	if (r == 0)
		r = engine_rows_find(e, err);
	if (r == 0) {
		load_facts(e);
		r = load_steps(e, err);
	}
	e->given = NULL;
	return r;
}

int engine_load(struct engine *e, const struct deployment *deployment, const struct engine_options *o, struct err *err)
{
	int r = load(e, deployment, o, false, err);
	return r < 0 ? r : engine_check_environment(e, err);
}

int engine_load_recorded(struct engine *e, const json_t *deployment, const struct engine_options *o, struct err *err)
{
	int r = load(e, DEPLOYMENT_UNREAD(deployment), o, true, err);
	return r < 0 ? r : engine_check_environment(e, err);
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
		json_decref(s->named);
		json_decref(s->outputs);
		arena_done(&s->arena);
	}
	engine_forget(e);
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
	json_decref(e->rows);
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
