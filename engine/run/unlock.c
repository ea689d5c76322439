/* A person decides about a lock: proof that its owner is dead, or consent. */
#include "engine/run/run_priv.h"

#include <string.h>

/* Nothing to free is a success, but a name that no deployment has ever had is a mistake. */
static int nothing_open(struct store *s, const char *wanted, struct err *err)
{
	_cleanup_json_ json_t *all = NULL;
	int r = store_deployment_list(s, NULL, &all, err);
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++) {
		const json_t *doc = json_array_get(all, i);
		const char *name = json_get_string(doc, "name"), *environment = json_get_string(doc, "environment");
		_cleanup_free_ char *full = xasprintf("%s.%s", name ? name : "", environment ? environment : "");
		if (strcmp(full, wanted) == 0 || (environment && strcmp(environment, wanted) == 0))
			return err_set(err, ERR_NOT_FOUND, "nothing is locked or open in '%s' on this host", wanted);
	}
	if (r < 0)
		return r;
	err_set(err, ERR_INVALID, "nothing has been deployed to '%s' from this host", wanted);
	return err_hint(err, ERR_INVALID,
	                "davit history lists names and environments; DAVIT_STATE names another journal");
}

/* "NAME.ENVIRONMENT", or the environment where only one name has it. 0, ERR_NOT_FOUND, ERR_INVALID (several). */
static int find_deployment(struct store *s, const char *wanted, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.undecided = true};
	const json_t *found = NULL;
	int r = store_deployment_list(s, &filter, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *doc = json_array_get(list, i);
		const char *name = json_get_string(doc, "name"), *environment = json_get_string(doc, "environment");
		_cleanup_free_ char *full = xasprintf("%s.%s", name ? name : "", environment ? environment : "");
		/* It locks nothing. */
		if (engine_state_of(doc) == DEPLOYMENT_PARKED)
			continue;
		if (strcmp(full, wanted) == 0) {
			found = doc;
			break;
		}
		if (environment == NULL || strcmp(environment, wanted) != 0)
			continue;
		if (found && strcmp(json_get_string(found, "name"), name) != 0)
			return err_set(err, ERR_INVALID, "several names have the environment '%s': say NAME.%s", wanted,
			               wanted);
		found = found ? found : doc;
	}
	if (found == NULL)
		return nothing_open(s, wanted, err);
	*ret = json_deep_copy(found);
	return 0;
}

/* A person's word decides, also where the state's place does not answer. */
static void tell_rows(struct engine *e)
{
	char line[ERR_FRAME_SIZE];
	struct err why = ERR_INIT;
	if (engine_rows_publish(e, &why) < 0)
		engine_say(e, "warning", "the state was not written: %s", err_line(&why, line, sizeof(line)));
}

static int accept_world(struct engine *e, struct err *err)
{
	_cleanup_free_ char *mark = NULL;
	size_t found = 0;
	int r = engine_take_over_all(e, &mark, &found, err);
	/* Already decided, but its owner died before it could say so. */
	if (r == 0 && mark && strcmp(mark, "undone") == 0)
		return engine_finish_undone(e, 1, err);
	if (r == 0 && mark == NULL)
		r = engine_note_accepted(e, err);
	if (r == 0)
		r = engine_alone_disarm(e, 1, err);
	if (r == 0)
		tell_rows(e);
	if (r == 0 && e->targets[0].locked)
		r = lock_mark(e->targets[0].t, "committed", err);
	return r < 0 ? r : engine_finish_commit(e, err);
}

static int decide(const json_t *doc, bool yes, bool accept, const struct engine_options *o, struct engine_result *ret,
                  struct err *err)
{
	_cleanup_(engine_done) struct engine e = {.owner_fd = -1};
	enum deployment_state state = engine_state_of(doc);
	const char *id = json_get_string(doc, "id");
	bool changed = state == DEPLOYMENT_OPEN || state == DEPLOYMENT_UNDOING || state == DEPLOYMENT_HELD;
	if (!changed)
		return engine_recover_one(doc, o, o->deployment, ret, err);
	if (!yes && !accept) {
		err_set(err, ERR_LOCKED, "the deployment %s is %s and may have changed something", id,
		        deployment_state_name(state));
		err_hint(err, ERR_LOCKED,
		         "undo it: davit rollback %s; keep the targets as they are: --accept; only give it up: --yes",
		         id);
		return 5;
	}
	int r = engine_resume(&e, doc, o, o->deployment, true, err);
	if (r < 0)
		return r == ERR_LOCKED ? 5 : 4;
	if (accept) {
		r = accept_world(&e, err);
	} else if (state != DEPLOYMENT_HELD) {
		r = engine_hold(&e, "given up by a person", err);
	}
	engine_result_fill(&e, ret, r < 0 ? 4 : 0);
	return ret->exit_status;
}

int engine_unlock(const char *environment, bool yes, bool accept, const struct engine_options *o,
                  struct engine_result *ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	memset(ret, 0, sizeof(*ret));
	int r = find_deployment(o->store, environment, &doc, err);
	if (r < 0) {
		/* Nothing to free is a success. */
		ret->exit_status = r == ERR_NOT_FOUND ? 0 : 2;
		return 0;
	}
	int status = decide(doc, yes, accept, o, ret, err);
	ret->exit_status = status;
	return 0;
}
