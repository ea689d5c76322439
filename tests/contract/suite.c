/* What must hold of every step. Each check gives the first thing that does not, as a text. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "steps/registry.h"

#include <fcntl.h>

enum { LIST_MAX = 8 << 20, WHY_MAX = 64 << 10 };

struct check {
	struct suite_trial trial;
	const struct suite_world *world;
	long stride;
	struct str before, after; /* the tree: wholly, and roughly */
	struct str why;           /* what does not hold; empty: all does */
};

static bool holds(const struct check *c)
{
	return c->why.len == 0;
}

/* What lies in no directory. */
static void list_outside(const struct check *c, enum suite_detail detail, struct str *out)
{
	const struct suite_subject *subject = c->trial.subject;
	if (subject->api && subject->api->list)
		subject->api->list(c->world->api, detail, out);
	if (subject->outside)
		suite_outside_list(subject->outside, detail, out);
}

/* What deployments change. */
static void list_changed(const struct check *c, enum suite_detail detail, struct str *out)
{
	suite_list(c->world->tree, detail, out);
	list_outside(c, detail, out);
}

static void save(const struct check *c, const char *name)
{
	suite_world_save(c->world, name);
	if (c->trial.subject->outside)
		suite_outside_save(c->trial.subject->outside, name);
}

static void load(const struct check *c, const char *name)
{
	suite_world_load(c->world, name);
	if (c->trial.subject->outside)
		suite_outside_load(c->trial.subject->outside, c->world, name);
}

static void expect_tree(struct check *c, enum suite_detail detail, const struct str *want, const char *when)
{
	_cleanup_(str_done) struct str now = STR_INIT(LIST_MAX), difference = STR_INIT(WHY_MAX);
	list_changed(c, detail, &now);
	suite_difference(str_peek(want), str_peek(&now), &difference);
	if (holds(c) && difference.len > 0)
		str_appendf(&c->why, "%s: the tree differs%s", when, str_peek(&difference));
}

static void expect_no_secret(struct check *c, const struct suite_answer *a, const char *when)
{
	const char *const dirs[] = {c->world->state, c->world->base};
	const char *keeps = c->trial.subject->keeps;
	_cleanup_free_ char *own = keeps ? fs_join(c->world->base, keeps) : NULL;
	for (size_t i = 0; holds(c) && i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *found = suite_find(dirs[i], c->trial.secret, own);
		if (found != NULL)
			str_appendf(&c->why, "%s: the secret stands in %s", when, found);
	}
	if (holds(c) && a->log.len > 0 && strstr(str_peek(&a->log), c->trial.secret) != NULL)
		str_appendf(&c->why, "%s: the secret is told: %s", when, str_peek(&a->log));
}

static void expect_empty(struct check *c, const char *part, const char *when)
{
	_cleanup_free_ char *dir = fs_join(c->world->dir, part);
	_cleanup_(str_done) struct str left = STR_INIT(LIST_MAX);
	if (holds(c) && fs_exists(AT_FDCWD, dir))
		suite_list(dir, SUITE_ROUGHLY, &left);
	if (left.len > 0)
		str_appendf(&c->why, "%s: left in %s: %s", when, part, str_peek(&left));
}

/* Locks, copies and sealed secrets end with their deployment. */
static void expect_nothing_left(struct check *c, const char *when)
{
	expect_empty(c, "base/open", when);
	expect_empty(c, "state/sealed", when);
}

/* Runs it, and expects that it ends so. */
static void run(struct check *c, enum suite_act act, int status, enum deployment_state state, const char *when,
                struct suite_answer *ret)
{
	suite_run(&c->trial, act, 0, ret);
	if (holds(c) && (ret->died || ret->status != status || (act != SUITE_PLAN && ret->state != state)))
		str_appendf(&c->why, "%s: exit %d, %s: %s", when, ret->status, deployment_state_name(ret->state),
		            str_peek(&ret->log));
	expect_no_secret(c, ret, when);
}

/* ---- a plan ---- */

static void collect_changes(json_t *value, json_t *list)
{
	const char *key;
	size_t i;
	json_t *item;
	if (json_is_object(value) && json_get_string(value, "kind") != NULL && json_get_string(value, "action") != NULL)
		json_array_append(list, value);
	else if (json_is_object(value))
		json_object_foreach(value, key, item) collect_changes(item, list);
	else
		json_array_foreach(value, i, item) collect_changes(item, list);
}

struct strv suite_kinds;

static void note_kinds(const json_t *report)
{
	_cleanup_json_ json_t *changes = json_array();
	collect_changes(json_object_get(report, "plan"), changes);
	for (size_t i = 0; i < json_array_size(changes); i++) {
		const char *kind = json_get_string(json_array_get(changes, i), "kind");
		if (!strv_has(&suite_kinds, kind))
			strv_add(&suite_kinds, kind);
	}
}

static void list_all(const struct check *c, struct str *out)
{
	static const char *const parts[] = {"tree", "base", "state", "source"};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_(str_done) struct str part = STR_INIT(LIST_MAX);
		_cleanup_free_ char *dir = fs_join(c->world->dir, parts[i]);
		suite_list(dir, SUITE_TOUCHED, &part);
		str_appendf(out, "%s\n%s", parts[i], str_peek(&part));
	}
	list_outside(c, SUITE_TOUCHED, out);
}

static void plan_writes_nothing(struct check *c)
{
	_cleanup_(str_done) struct str before = STR_INIT(LIST_MAX), now = STR_INIT(LIST_MAX),
				       difference = STR_INIT(WHY_MAX);
	_cleanup_(suite_answer_done) struct suite_answer a;
	list_all(c, &before);
	run(c, SUITE_PLAN, 0, DEPLOYMENT_PREPARING, "plan", &a);
	list_all(c, &now);
	suite_difference(str_peek(&before), str_peek(&now), &difference);
	if (holds(c) && difference.len > 0)
		str_appendf(&c->why, "the plan writes%s", str_peek(&difference));
	note_kinds(a.report);
}

static const struct change_type *kind_of(const struct check *c, const char *name)
{
	const struct change_type *type = change_type_find(name);
	const struct suite_api *api = c->trial.subject->api;
	return type ? type : api ? api->find_change(name) : change_find(name);
}

/* A release and a snapshot are new ones each time; whether a command has to run cannot be looked at. */
static bool is_made_anew(const struct check *c, const json_t *change)
{
	const struct change_type *type = kind_of(c, json_get_string(change, "kind"));
	return type != NULL && (type->flags & (CHANGE_BLIND | CHANGE_TREE | CHANGE_ASIDE)) != 0;
}

static void the_next_plan_is_empty(struct check *c)
{
	_cleanup_(suite_answer_done) struct suite_answer a;
	_cleanup_json_ json_t *changes = json_array();
	run(c, SUITE_PLAN, 0, DEPLOYMENT_PREPARING, "the plan behind it", &a);
	collect_changes(json_object_get(a.report, "plan"), changes);
	for (size_t i = 0; i < json_array_size(changes); i++)
		if (is_made_anew(c, json_array_get(changes, i)))
			return;
	_cleanup_free_ char *text = json_text(changes);
	if (holds(c) && json_array_size(changes) > 0)
		str_appendf(&c->why, "made, and planned again: %s", text);
}

/* ---- a deployment and its undo ---- */

static long undo_restores(struct check *c, const char *when)
{
	_cleanup_(suite_answer_done) struct suite_answer a;
	load(c, "before");
	run(c, SUITE_FAIL, 1, DEPLOYMENT_UNDONE, when, &a);
	expect_tree(c, SUITE_WHOLLY, &c->before, when);
	expect_nothing_left(c, when);
	return a.records;
}

static long deploy(struct check *c, const char *when)
{
	_cleanup_(suite_answer_done) struct suite_answer a;
	load(c, "before");
	run(c, SUITE_DEPLOY, 0, DEPLOYMENT_COMMITTED, when, &a);
	expect_nothing_left(c, when);
	return a.records;
}

static void twice_is_once(struct check *c)
{
	c->trial.twice = true;
	undo_restores(c, "made twice and taken back twice");
	deploy(c, "made twice");
	expect_tree(c, SUITE_ROUGHLY, &c->after, "made twice");
	c->trial.twice = false;
}

static void die_and_recover(struct check *c, enum suite_act act, long at)
{
	_cleanup_(suite_answer_done) struct suite_answer dead, recovered;
	enum deployment_state state = DEPLOYMENT_REFUSED;
	bool cleaned = true;
	_cleanup_free_ char *when = xasprintf("killed behind record %ld of a deployment that %s, and recovered", at,
	                                      act == SUITE_FAIL ? "fails" : "succeeds");
	load(c, "before");
	suite_run(&c->trial, act, at, &dead);
	if (holds(c) && !dead.died)
		str_appendf(&c->why, "%s: it was not killed", when);
	expect_no_secret(c, &dead, when);
	suite_run(&c->trial, SUITE_RECOVER, 0, &recovered);
	bool there = suite_newest(c->world, &state, &cleaned);
	expect_no_secret(c, &recovered, when);
	if (holds(c) && (recovered.status != 0 || (there && state != DEPLOYMENT_REFUSED && !cleaned)))
		str_appendf(&c->why, "%s: exit %d: %s", when, recovered.status, str_peek(&recovered.log));
	if (act == SUITE_DEPLOY && state == DEPLOYMENT_COMMITTED)
		expect_tree(c, SUITE_ROUGHLY, &c->after, when);
	else
		expect_tree(c, SUITE_WHOLLY, &c->before, when);
	expect_nothing_left(c, when);
}

static void each_death_is_recovered(struct check *c, enum suite_act act, long records)
{
	/* With a stride, other ones for each example, and for what succeeds and fails. */
	long first = (long)c->trial.number + (act == SUITE_FAIL ? c->stride / 2 : 0);
	for (long at = 1 + first % c->stride; holds(c) && at <= records; at += c->stride)
		die_and_recover(c, act, at);
}

/* ---- a deployment that waits ---- */

enum { EXIT_PARKED = 7 };

static void expect_untouched(struct check *c, const char *when)
{
	expect_tree(c, SUITE_WHOLLY, &c->before, when);
	expect_empty(c, "base/open", when);
}

static void die_while_it_parks(struct check *c, long at)
{
	_cleanup_(suite_answer_done) struct suite_answer dead, recovered;
	_cleanup_free_ char *when = xasprintf("killed behind record %ld of parking, and recovered", at);
	load(c, "before");
	suite_run(&c->trial, SUITE_FAIL, at, &dead);
	suite_run(&c->trial, SUITE_RECOVER, 0, &recovered);
	if (holds(c) && (!dead.died || recovered.status != 0))
		str_appendf(&c->why, "%s: exit %d: %s", when, recovered.status, str_peek(&recovered.log));
	expect_untouched(c, when);
}

/* While people decide nothing is changed and nothing locked, whenever its process dies. */
static void check_waiting(struct check *c)
{
	_cleanup_(suite_answer_done) struct suite_answer a;
	save(c, "before");
	list_changed(c, SUITE_WHOLLY, &c->before);
	run(c, SUITE_FAIL, EXIT_PARKED, DEPLOYMENT_PARKED, "parked", &a);
	expect_untouched(c, "parked");
	for (long at = 1; holds(c) && at <= a.records; at++)
		die_while_it_parks(c, at);
}

/* What must hold of a step that is part of a deployment. */
static void check_deployment(struct check *c)
{
	save(c, "before");
	list_changed(c, SUITE_WHOLLY, &c->before);
	long undone = undo_restores(c, "made and taken back"), committed = deploy(c, "made");
	list_changed(c, SUITE_ROUGHLY, &c->after);
	save(c, "after");
	twice_is_once(c);
	each_death_is_recovered(c, SUITE_DEPLOY, committed);
	each_death_is_recovered(c, SUITE_FAIL, undone);
	load(c, "after");
	the_next_plan_is_empty(c);
}

static void check_example(struct check *c, const json_t *example, size_t number)
{
	_cleanup_free_ char *secret = suite_secret(number);
	c->trial.input = example;
	c->trial.number = number;
	c->trial.secret = secret;
	suite_world_next_source(c->world, number);
	plan_writes_nothing(c);
	if (c->trial.subject->type->info->waits)
		check_waiting(c);
	else
		check_deployment(c);
	if (!holds(c)) {
		_cleanup_free_ char *why = xstrdup(str_peek(&c->why));
		str_clear(&c->why);
		str_appendf(&c->why, "%s, example %zu: %s", c->trial.subject->type->info->name, number + 1, why);
	}
}

char *suite_check(const struct suite_subject *subject, const struct suite_servers *servers, long stride)
{
	struct suite_world world;
	suite_world_make(&world);
	if (subject->api && subject->api->make)
		subject->api->make(world.api);
	struct check c = {.world = &world,
	                  .stride = stride,
	                  .trial = {.world = &world, .servers = servers, .subject = subject},
	                  .before = STR_INIT(LIST_MAX),
	                  .after = STR_INIT(LIST_MAX),
	                  .why = STR_INIT(WHY_MAX)};
	_cleanup_json_ json_t *examples = suite_examples(subject, &world, servers, &c.why);
	for (size_t i = 0; holds(&c) && i < json_array_size(examples); i++)
		check_example(&c, json_array_get(examples, i), i);
	suite_world_done(&world);
	str_done(&c.before);
	str_done(&c.after);
	char *why = holds(&c) ? NULL : xstrdup(str_peek(&c.why));
	str_done(&c.why);
	return why;
}
