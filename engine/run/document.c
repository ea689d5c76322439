/* The journal's object of a deployment, and its changes. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"

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
