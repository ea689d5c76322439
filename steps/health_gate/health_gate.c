/* health-gate: the judge of a deployment. See health_gate.h for how its checks run. */
#include "steps/health_gate/health_gate.h"
#include "base/core/clock.h"
#include "base/net/net.h"
#include "base/secret/mask.h"
#include "base/sys/host.h"
#include "engine/target/host.h"

void gate_fault(const struct gate_place *place, const char *member, const char *hint, const char *fmt, ...)
{
	_cleanup_free_ char *at = xasprintf("/checks/%zu%s%s", place->index, member != NULL ? "/" : "",
	                                    member != NULL ? member : ""),
			    *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	faults_add(place->faults, NULL, at, "%s", text);
	if (hint != NULL)
		faults_hint(place->faults, "%s", hint);
}

struct target *gate_find_target(const struct step_context *c, const char *name)
{
	for (size_t i = 0; i < c->target_count; i++)
		if (target_is_host(c->targets[i]) && (name == NULL || strcmp(c->targets[i]->view.name, name) == 0))
			return c->targets[i];
	return NULL;
}

int gate_needs_program(struct view *v, const char *name, const char *hint, const struct gate_place *place,
                       struct err *err)
{
	const char *const argv[] = {"sh", "-c", "command -v \"$1\"", "sh", name, NULL};
	const struct target_command call = {.argv = argv};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	int r = host_query(v, &call, &result, err);
	if (r == 0 && result.status != 0)
		gate_fault(place, NULL, hint, "'%s' has no %s to ask with", v->name, name);
	return r;
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct health_gate_in *in = c->input;
	char took[CLOCK_TEXT_SIZE];
	_cleanup_(gate_done) struct gate g;
	gate_init(&g, c, true);
	str_appendf(out, "wait at most %s for %zu check%s:", clock_duration(in->deadline_ms, took), in->checks_count,
	            in->checks_count == 1 ? "" : "s");
	for (size_t i = 0; i < in->checks_count; i++) {
		gate_add(&g, &in->checks[i], NULL);
		str_appendf(out, "%s %s", i == 0 ? "" : ",", g.checks[i].label);
	}
}

static bool has_member(const struct field_part *part, const char *name)
{
	for (size_t i = 0; part->members[i] != NULL; i++)
		if (strcmp(part->members[i], name) == 0)
			return true;
	return false;
}

/* An input of another probe would be left out without a word. */
static void validate_members(const json_t *check, const struct probe_type *type, const struct gate_place *place)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)check, name, value)
	{
		for (const struct field_part *part = health_gate_checks_parts; part->name != NULL; part++)
			if (strcmp(part->name, type->name) != 0 && has_member(part, name))
				gate_fault(place, name, NULL,
				           "`%s` belongs to a check by `%s`, and this one is by `%s`", name, part->name,
				           type->name);
	}
}

static void validate_bounds(const struct health_gate_checks *in, const struct probe_type *type,
                            const struct gate_place *place)
{
	const struct health_gate_in *whole = place->c->input;
	int64_t settle = in->has_settle ? in->settle_ms : type->settle_ms;
	if (in->timeout_ms <= 0 || in->interval_ms <= 0)
		gate_fault(place, NULL, NULL, "`timeout` and `interval` must be longer than nothing");
	if (settle >= whole->deadline_ms)
		gate_fault(place, in->has_settle ? "settle" : NULL,
		           "give the gate a longer `deadline`, or the check a shorter `settle`",
		           "it cannot settle before the gate's deadline is over");
	if (in->has_latency && !in->latency.has_p50 && !in->latency.has_p95 && !in->latency.has_times)
		gate_fault(place, "latency", NULL, "none of `p50`, `p95` and `times` is given");
}

static void validate_one(const struct health_gate_checks *in, const json_t *given, const struct gate_place *place)
{
	const struct probe_type *type = probe_type_of(in);
	struct err err = ERR_INIT;
	char line[512];
	if (in->matches != NULL && gate_pattern_check(in->matches, &err) < 0)
		gate_fault(place, "matches", NULL, "%s", err_line(&err, line, sizeof(line)));
	if (in->from != NULL && (type->ask == NULL || type->start == NULL))
		gate_fault(place, NULL, NULL, "`from` belongs to an http check");
	_cleanup_free_ char *env_at = xasprintf("/checks/%zu/env", place->index);
	step_env_faults(&in->env, env_at, place->faults);
	validate_members(given, type, place);
	validate_bounds(in, type, place);
	if (type->validate != NULL)
		type->validate(in, place);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct health_gate_in *in = c->input;
	const json_t *given = json_object_get(c->input_json, "checks");
	for (size_t i = 0; i < in->checks_count; i++)
		validate_one(&in->checks[i], json_array_get(given, i),
		             &(struct gate_place){.faults = faults, .c = c, .index = i});
	if (in->deadline_ms <= 0)
		faults_add(faults, NULL, "/deadline", "the deadline must be longer than nothing");
}

static bool is_said(const char *text)
{
	return text != NULL && *text != '\0';
}

/* By its id, or by its kernel: davit may run in a container on it. */
static bool may_be_this_machine(const struct target_facts *f)
{
	return !is_said(f->machine_id) || strcmp(f->machine_id, host_machine_id()) == 0 ||
	       (is_said(f->boot_id) && strcmp(f->boot_id, host_boot_id()) == 0);
}

/* None of the step's hosts is the machine that davit runs on. */
static const struct target *elsewhere(const struct step_context *c)
{
	const struct target *first = NULL;
	for (size_t i = 0; i < c->target_count; i++) {
		if (!target_is_host(c->targets[i]) || may_be_this_machine(&c->targets[i]->view.facts))
			return NULL;
		first = first != NULL ? first : c->targets[i];
	}
	return first;
}

/* A check of 127.0.0.1 says how the runner is, whatever becomes of the target. */
static void check_from_here(const struct health_gate_checks *in, const struct probe_type *type,
                            const struct gate_place *place)
{
	_cleanup_free_ char *host = type->host != NULL ? type->host(in) : NULL;
	const struct target *t = elsewhere(place->c);
	if (host == NULL || t == NULL || !net_is_loopback(host))
		return;
	_cleanup_free_ char *hint =
		type->ask != NULL
			? xasprintf("ask `from: %s`", t->view.name)
			: xasprintf("name the address that '%s' has here, or ask by a `command` on it", t->view.name);
	gate_fault(place, NULL, hint, "%s is this machine, which asks, and not '%s'", host, t->view.name);
}

static int check_target(const struct health_gate_checks *in, const struct gate_place *place, struct err *err)
{
	const struct probe_type *type = probe_type_of(in);
	const struct step_context *c = place->c;
	const char *name = in->from != NULL ? in->from : in->target, *member = in->from != NULL ? "from" : "target";
	if (!gate_is_there(in, type)) {
		check_from_here(in, type, place);
		return 0;
	}
	struct target *t = gate_find_target(c, name);
	if (name == NULL && c->target_count > 1)
		gate_fault(place, member, NULL, "the step has %zu targets: name the one that is asked by `%s`",
		           c->target_count, type->name);
	else if (t == NULL)
		gate_fault(place, member, "name it in the step's `target:` too", "there is no target '%s' in this step",
		           name != NULL ? name : "");
	else if (type->can_ask != NULL)
		return type->can_ask(in, &t->view, place, err);
	return 0;
}

static int check_targets(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct health_gate_in *in = c->input;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < in->checks_count; i++)
		r = check_target(&in->checks[i], &(struct gate_place){.faults = faults, .c = c, .index = i}, err);
	return r;
}

/* A baseline goes by begin and end below. */
static int probe(const struct step_context *c, bool baseline, struct err *err)
{
	const struct health_gate_in *in = c->input;
	_cleanup_(gate_done) struct gate g;
	gate_init(&g, c, baseline);
	g.http = c->http(c->engine);
	if (g.http == NULL)
		return err_set(err, ERR_INTERNAL, "this process has no HTTP client");
	int r = 0;
	for (size_t i = 0; r == 0 && i < in->checks_count; i++)
		r = gate_add(&g, &in->checks[i], err);
	if (r == 0)
		r = gate_run(&g, err);
	return r < 0 || gate_is_healthy(&g) ? r : gate_failed(&g, err);
}

const struct step_type health_gate_step = {
	.info = &health_gate_info,
	.memory = sizeof(struct gate_memory),
	.forget = gate_baseline_forget,
	.describe = describe,
	.validate = validate,
	.check = check_targets,
	.probe = probe,
	.baseline_begin = gate_baseline_begin,
	.baseline_end = gate_baseline_end,
};
