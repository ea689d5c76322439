/* The report that `davit show` prints and a result carries. */
#include "engine/run/run_priv.h"

#include <stdio.h>
#include <string.h>

static json_t *records(const struct plan *all)
{
	json_t *list = json_array();
	for (size_t i = 0; i < all->count; i++)
		json_array_append_new(list, change_record(&all->changes[i]));
	return list;
}

json_t *engine_report(struct engine *e)
{
	json_t *report = json_object();
	json_t *steps = NULL, *events = NULL, *doc = NULL;
	_cleanup_(plan_done) struct plan all = {0};
	if (e->recorded) {
		store_deployment_get(e->store, e->id, &doc, NULL);
		store_step_list(e->store, e->id, &steps, NULL);
		store_event_list(e->store, e->id, &events, NULL);
		store_change_list(e->store, e->id, &all, NULL);
	}
	json_object_set_new(report, "format", json_integer(1));
	json_object_set_new(report, "deployment", doc ? doc : json_incref(e->doc) ? e->doc : json_object());
	json_object_set_new(report, "plan", engine_plan_json(e));
	json_object_set_new(report, "steps", steps ? steps : json_array());
	json_object_set_new(report, "changes", records(&all));
	json_object_set_new(report, "events", events ? events : json_array());
	json_object_set(report, "left_over", e->left_over);
	if (e->findings)
		json_object_set(report, "findings", e->findings);
	if (e->stays)
		json_object_set(report, "not_taken_back", e->stays);
	return report;
}

void engine_result_fill(struct engine *e, struct engine_result *ret, int exit_status)
{
	ret->exit_status = exit_status;
	if (e->recorded) {
		ret->state = e->state;
		free(ret->id);
		ret->id = xstrdup(e->id);
	}
	snprintf(ret->digest, sizeof(ret->digest), "%s", e->digest);
	json_decref(ret->report);
	json_decref(ret->outputs);
	ret->report = engine_report(e);
	ret->outputs = json_object();
	for (size_t i = 0; i < e->step_count; i++)
		if (e->steps[i].id && e->steps[i].outputs)
			json_object_set(ret->outputs, e->steps[i].id, e->steps[i].outputs);
}

void engine_result_done(struct engine_result *r)
{
	free(r->id);
	json_decref(r->report);
	json_decref(r->outputs);
	json_decref(r->planned);
	json_decref(r->decided);
	memset(r, 0, sizeof(*r));
}
