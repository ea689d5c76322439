/* The step types of scenarios: small ones that plan every kind of change, a release with its switch, a command with its after_undo, a
 * snapshot and a gate. They rest on the public interface of steps only. */
#include "sim/sim.h"

#include "base/secret/digest.h"
#include "base/core/mem.h"
#include "provider/provider.h"
#include <stdio.h>
#include <string.h>

const char sim_old_release[] = "releases/r0";

static const char *text_of(const json_t *o, const char *key)
{
	const char *t = json_get_string(o, key);
	return t ? t : "";
}

/* ---- change: single resources ---- */

static int plan_effect(struct view *v, struct plan *plan, const json_t *effect, struct err *err)
{
	const char *kind = text_of(effect, "kind"), *path = text_of(effect, "path"),
		   *mode = json_get_string(effect, "mode");
	bool secret = json_get_bool(effect, "secret", false);
	_cleanup_json_ json_t *now = NULL;
	char hex[65];
	int r = target_look(v, path, !secret, &now, err);
	if (r < 0)
		return r;
	bool absent = strcmp(text_of(now, "type"), "absent") == 0;
	enum change_action action = absent ? ACTION_CREATE : ACTION_UPDATE;
	json_t *after = NULL;
	struct change *c = NULL;
	if (strcmp(kind, "file") == 0) {
		const char *text = text_of(effect, "text");
		if (secret)
			json_object_del(now, "size");
		digest_of(text, strlen(text), hex);
		if (!secret && strcmp(text_of(now, "digest"), hex) == 0)
			return 0;
		c = plan_add(plan, &change_file, action, path);
		str_append(&c->content, text);
		c->secret = secret;
		after = json_pack("{s:s}", "type", "file");
		if (!secret)
			json_object_set_new(after, "digest", json_string(hex));
	} else if (strcmp(kind, "dir") == 0 || strcmp(kind, "attr") == 0) {
		c = plan_add(plan, &change_dir, action, path);
		after = json_pack("{s:s}", "type", "dir");
	} else if (strcmp(kind, "link") == 0) {
		c = plan_add(plan, &change_link, action, path);
		after = json_pack("{s:s, s:s}", "type", "link", "link", text_of(effect, "to"));
	} else if (strcmp(kind, "remove") == 0) {
		if (absent)
			return 0;
		c = plan_add(plan, &change_remove, ACTION_DESTROY, path);
		after = json_pack("{s:s}", "type", "absent");
	} else {
		if (absent)
			return 0;
		c = plan_add(plan, &change_move, ACTION_UPDATE, path);
		c->extra = json_pack("{s:s}", "to", text_of(effect, "to"));
		after = json_pack("{s:s}", "type", "absent");
	}
	if (mode)
		json_object_set_new(after, "mode", json_string(mode));
	if (json_get_string(effect, "owner"))
		json_object_set(after, "owner", json_object_get(effect, "owner"));
	c->before = json_incref(now);
	c->after = after;
	if (json_get_bool(effect, "row", false)) {
		_cleanup_json_ json_t *row = json_pack("{s:s}", "path", path);
		change_set_state_row(c, path, row, NULL);
	}
	return 0;
}

static int plan_changes(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const json_t *effects = json_object_get(c->input_json, "effects");
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(effects); i++)
		r = plan_effect(v, plan, json_array_get(effects, i), err);
	return r;
}

/* ---- release ---- */

static int plan_release(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/app/releases/%s", c->deployment->id);
	_cleanup_json_ json_t *now = NULL;
	int r = target_look(v, "/app/current", false, &now, err);
	if (r < 0)
		return r;
	struct change *fill = plan_add(plan, &change_release, ACTION_CREATE, path);
	fill->before = json_pack("{s:s}", "type", "absent");
	fill->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0755");
	fill->extra = json_object();
	json_object_set_new(fill->extra, "manifest", json_stringf("/app/releases/.%s.manifest", c->deployment->id));
	struct change *current = plan_add(plan, &change_link, ACTION_UPDATE, "/app/current");
	current->before = json_incref(now);
	current->after = json_object();
	json_object_set_new(current->after, "type", json_string("link"));
	json_object_set_new(current->after, "link", json_stringf("releases/%s", c->deployment->id));
	return 0;
}

static int fill_release(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	const char *name;
	json_t *text;
	if (change->type != &change_release)
		return change_apply(t, change, err);
	int r = change_apply(t, change, err);
	json_object_foreach(json_object_get(c->input_json, "files"), name, text)
	{
		_cleanup_free_ char *path = xasprintf("%s/%s", change->path, name);
		/* As a stream of a tar leaves it: written, not synced. Again from the start when it is repeated. */
		if (r == 0)
			r = host_remove_tree(t, path, err);
		if (r == 0)
			r = host_append(t, path, json_string_value(text), json_string_length(text), err);
	}
	if (r == 0)
		r = host_put(t, json_get_string(change->extra, "manifest"), "manifest", 8, NULL, err);
	return r;
}

static int verify_release(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	const char *name;
	json_t *text;
	if (change->type != &change_release) {
		enum change_match match;
		int r = change_compare(v, NULL, change, &match, err);
		if (r == 0 && match != MATCH_AFTER && match != MATCH_BOTH)
			r = err_set(err, ERR_CONFLICT, "'%s' is not as it was made", change->path);
		return r;
	}
	json_object_foreach(json_object_get(c->input_json, "files"), name, text)
	{
		_cleanup_free_ char *path = xasprintf("%s/%s", change->path, name);
		_cleanup_(str_done) struct str now = STR_INIT(4096);
		int r = host_read(v, path, 4000, &now, err);
		if (r == 0 && strcmp(str_peek(&now), json_string_value(text)) != 0)
			r = err_set(err, ERR_CONFLICT, "'%s' is not as it was sent", path);
		if (r < 0)
			return r == ERR_NOT_FOUND ? err_set(err, ERR_CONFLICT, "'%s' is missing", path) : r;
	}
	return 0;
}

/* keep: 2. Newest last by name, "r1" before "r0" before what deployments make. */
static int clean_releases(const struct step_context *c, struct target *t, struct err *err)
{
	(void)c;
	int r = host_remove_tree(t, "/app/releases/r1", err);
	return r;
}

/* ---- restart: a command that cannot be looked at ---- */

static int run_restart(struct target *t, struct err *err)
{
	const char *const argv[] = {"restart", NULL};
	const struct target_command command = {.argv = argv};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	int r = host_run(t, &command, &result, err);
	return r < 0 ? r : result.status == 0 ? 0 : err_set(err, ERR_FAILED, "restart failed");
}

static int plan_restart(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)c;
	(void)v;
	(void)err;
	struct change *change = plan_add(plan, &change_command, ACTION_RUN, "restart");
	change->summary = xstrdup("restart");
	return 0;
}

static int apply_restart(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	(void)c;
	(void)change;
	return run_restart(t, err);
}

/* Nothing: after_undo does it. */
static int undo_restart(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	(void)t;
	(void)change;
	(void)err;
	return 0;
}

static int restore_restart(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	(void)c;
	(void)former_release;
	return run_restart(t, err);
}

/* ---- snapshot ---- */

static int make_parents(struct target *t, struct err *err)
{
	const char *const dirs[] = {"/var/lib/davit/snapshots", "/var/lib/davit/snapshots/sim.world"};
	const struct node_attr ours = {.set_mode = true, .mode = 0700};
	int r = 0;
	for (size_t i = 0; r == 0 && i < 2; i++) {
		r = host_mkdir(t, dirs[i], &ours, err);
		if (r == ERR_EXISTS)
			r = 0;
	}
	return r;
}

static int plan_snapshot(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	(void)v;
	(void)err;
	_cleanup_free_ char *path = xasprintf("/var/lib/davit/snapshots/sim.world/%s", c->deployment->id);
	struct change *change = plan_add(plan, &change_snapshot, ACTION_CREATE, path);
	change->before = json_pack("{s:s}", "type", "absent");
	change->after = json_pack("{s:s, s:s}", "type", "dir", "mode", "0700");
	return 0;
}

static int take_snapshot(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	(void)c;
	_cleanup_free_ char *data = xasprintf("%s/data", change->path);
	int r = make_parents(t, err);
	if (r == 0)
		r = change_apply(t, change, err);
	if (r == 0)
		r = host_remove_tree(t, data, err);
	if (r == 0)
		r = host_copy(t, "/srv/dx", data, err);
	return r;
}

static int undo_snapshot(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c;
	int r = change_undo(t, change, err);
	if (r == 0)
		r = host_remove(t, "/var/lib/davit/snapshots/sim.world", err);
	return r == ERR_EXISTS || r == ERR_NOT_FOUND ? 0 : r;
}

/* ---- gate ---- */

void sim_person_comes(void)
{
	struct starget *t = &world->targets[world->sc.person_target];
	const struct snode *n = stree_find(&t->now, world->sc.person_path);
	if (world->person_came || n == NULL || n->type != NODE_FILE || !world->faults_on)
		return;
	world->person_came = true;
	snprintf(world->person_content, sizeof(world->person_content), "a person was here");
	const struct blob *b = sim_blob(world->person_content, strlen(world->person_content));
	struct snode *changed = stree_set(&t->now, world->sc.person_path, NODE_FILE, n->mode, b);
	changed->synced = b;
	stree_make_durable(t, changed);
	stree_parents_durable(t, world->sc.person_path); /* an editor syncs what it writes */
	sim_trace("*** a person writes t%d:%s", world->sc.person_target, world->sc.person_path);
}

static bool all_serve_as_before(void)
{
	for (int i = 0; i < world->sc.target_count; i++)
		if (!world->targets[i].fresh && (strcmp(world->targets[i].serving, world->targets[i].served) != 0 ||
		                                 (world->sc.real && sim_service_differs(&world->targets[i]))))
			return false;
	return true;
}

static int probe(const struct step_context *c, bool baseline, struct err *err)
{
	sim_step("probe");
	int r = wait_check(c->wait, err);
	if (r < 0)
		return r;
	if (baseline && world->sc.person == PERSON_AFTER_PLAN)
		sim_person_comes();
	if (baseline || c->deployment->undoing) {
		bool healthy =
			!world->sc.baseline_sick && (!world->sc.has_restart || baseline || all_serve_as_before());
		return healthy ? 0 : err_set(err, ERR_FAILED, "the old version does not answer");
	}
	if (world->in_prelude)
		return 0;
	world->gate_came = true;
	sim_users_write();
	if (world->sc.person == PERSON_AT_GATE)
		sim_person_comes();
	r = world->sc.gate == GATE_HANGS ? wait_ms(c->wait, 120000, err) : 0;
	if (r == ERR_CANCELLED)
		return r;
	for (int i = 0; world->sc.refused_from_gate > 0 && i < world->sc.target_count; i++)
		world->targets[i].denied_until_op = world->ops + world->sc.refused_from_gate;
	return world->sc.gate == GATE_PASSES ? 0 : err_set(err, ERR_FAILED, "the new version does not answer");
}

/* ---- people ---- */

static int park(const struct step_context *c, int64_t *ret_wait_ms, json_t **ret_asked, struct err *err)
{
	(void)c;
	(void)err;
	*ret_wait_ms = 60 * 60 * 1000;
	*ret_asked = json_object();
	return 0;
}

/* Who counts is not the engine's business. */
static int agreed(const struct step_context *c, const struct step_request *request, struct str *ret_missing,
                  struct err *err)
{
	(void)c;
	(void)request;
	(void)ret_missing;
	(void)err;
	return 0;
}

/* ---- the table ---- */

/* The product's own. */
extern const struct step_type apply_step, archive_upload_step, run_step, secret_write_step, snapshot_step;
static const struct step_type *const real_types[] = {&apply_step, &archive_upload_step, &run_step, &secret_write_step,
                                                     &snapshot_step};

static const struct step_type types[] = {
	{.info = &(const struct step_info){.name = "change", .changes = true},
         .plan = plan_changes,
         .images = sim_images,
         .back = sim_back_lead},
	{.info = &(const struct step_info){.name = "release", .changes = true},
         .plan = plan_release,
         .apply = fill_release,
         .verify = verify_release,
         .clean = clean_releases},
	{.info = &(const struct step_info){.name = "restart", .changes = true},
         .plan = plan_restart,
         .apply = apply_restart,
         .undo = undo_restart,
         .restore = restore_restart},
	{.info = &(const struct step_info){.name = "snap", .changes = true},
         .plan = plan_snapshot,
         .apply = take_snapshot,
         .undo = undo_snapshot},
	{.info = &(const struct step_info){.name = "gate", .joins = true}, .probe = probe},
	{.info = &(const struct step_info){.name = "wait", .waits = true}, .park = park, .agreed = agreed},
};

const struct step_type *sim_find_step(const char *name)
{
	if (sim_api_is_step(name))
		return &provider_step;
	for (size_t i = 0; i < ARRAY_SIZE(real_types); i++)
		if (strcmp(real_types[i]->info->name, name) == 0)
			return real_types[i];
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].info->name, name) == 0)
			return &types[i];
	return NULL;
}
