/* Reading the journal for people: shared by history, show and report. */
#include "agent/cmd/journal.h"

#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/deployment/find.h"
#include "engine/journal/postgres/open.h"
#include "engine/journal/state_dir.h"

int cmd_open_journal(struct store **ret, struct err *err)
{
	_cleanup_free_ char *dir = state_dir(err);
	if (dir == NULL)
		return err->code;
	int r = journal_open_readonly(dir, ret, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	return r < 0 ? state_dir_hint(err, err_wrap(err, r, "open the journal in %s", dir)) : 0;
}

int cmd_journal_fail(const struct err *err)
{
	int status = err_exit_status(err->code);
	return cli_fail(err, status == 1 ? 2 : status);
}

void cmd_make_readable(json_t *deployment)
{
	static const char *const undecided[] = {"preparing", "open", "undoing"};
	const char *state = json_get_string(deployment, "state");
	bool decided = json_object_get(deployment, "exit_status") != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(undecided); i++)
		decided = decided && (state == NULL || strcmp(state, undecided[i]) != 0);
	json_object_del(deployment, "kept");
	if (!decided)
		json_object_set_new(deployment, "exit_status", json_null());
}

static json_t *changes_as_json(const struct plan *plan)
{
	json_t *changes = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		json_t *record = change_record(&plan->changes[i]);
		if (plan->changes[i].note != NULL)
			json_object_set_new(record, "note", json_string(plan->changes[i].note));
		json_array_append_new(changes, record);
	}
	return changes;
}

int cmd_read_report(struct store *store, const char *word, json_t **ret, struct err *err)
{
	json_t *deployment _cleanup_json_ = NULL, *steps _cleanup_json_ = NULL, *events _cleanup_json_ = NULL;
	struct plan changes _cleanup_(plan_done) = {0};
	if (store == NULL) {
		err_set(err, ERR_INVALID, "no deployment has been made from here");
		return err_hint(err, ERR_INVALID,
		                "`davit deploy FILE` makes one; a journal elsewhere is named by DAVIT_STATE");
	}
	int r = deployment_find(store, word, &deployment, err);
	if (r < 0)
		return r;
	r = deployment_describe(store, deployment, err);
	if (r < 0)
		return r;
	cmd_make_readable(deployment);
	const char *id = json_get_string(deployment, "id");
	r = store_step_list(store, id, &steps, err);
	if (r >= 0)
		r = store_change_list(store, id, &changes, err);
	if (r >= 0)
		r = store_event_list(store, id, &events, err);
	if (r < 0)
		return err_wrap(err, r, "read deployment %s", id);
	*ret = json_pack("{s:O, s:O, s:o, s:O}", "deployment", deployment, "steps", steps, "changes",
	                 changes_as_json(&changes), "events", events);
	return 0;
}
