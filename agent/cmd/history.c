/* davit history and davit show: what the journal of this host knows. Only reading: it works beside a running deployment. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/find.h"
#include "agent/report/report.h"
#include "base/core/log.h"
#include "engine/journal/state_dir.h"

/* The journal for reading; NULL without error when there is none yet. */
static int open_journal(struct store **ret, struct err *err)
{
	_cleanup_free_ char *dir = state_dir(err);
	if (dir == NULL)
		return err->code;
	int r = store_open_readonly(dir, ret, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	return r < 0 ? state_dir_hint(err, err_wrap(err, r, "open the journal in %s", dir)) : 0;
}

static int fail(const struct err *err)
{
	int status = err_exit_status(err->code);
	return cli_fail(err, status == 1 ? 2 : status);
}

/* As it is shown: without what a rollback needs, which is long and nobody's reading, and with the exit status in any case. A held
 * deployment that is being taken back has none for the moment. */
static void make_readable(json_t *deployment)
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

int cmd_history(int argc, char **argv)
{
	const char *name = NULL, *environment = NULL, *limit_text = NULL;
	const struct cli_option options[] = {
		{"name", 0, CLI_TEXT, &name, "NAME", "only deployments of this name"},
		{"environment", 0, CLI_TEXT, &environment, "ENV", "only this environment"},
		{"limit", 'n', CLI_TEXT, &limit_text, "N", "the newest N; default 50"},
		{0},
	};
	const struct cli_command command = {"history", "[options]", "What was deployed from here, newest first.",
	                                    options,   0,           0};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	json_t *deployments _cleanup_json_ = NULL;
	long long limit = 50;
	if (limit_text != NULL && !str_parse_i64(limit_text, 1, 100000, &limit)) {
		err_set(&err, ERR_INVALID, "--limit '%s' is no number from 1 to 100000", limit_text);
		err_hint(&err, ERR_INVALID, "as in: davit history --limit 20");
		return fail(&err);
	}
	if (open_journal(&store, &err) < 0)
		return fail(&err);
	struct store_filter filter = {.name = name, .environment = environment, .limit = (int)limit};
	if (store != NULL && store_deployment_list(store, &filter, &deployments, &err) < 0)
		return fail(&err);
	if (deployments == NULL)
		deployments = json_array();
	size_t i;
	json_t *deployment;
	json_array_foreach(deployments, i, deployment)
	{
		if (deployment_describe(store, deployment, &err) < 0)
			return fail(&err);
		make_readable(deployment);
	}
	deployment_mark_live(deployments);
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(deployments);
		report_print_masked(text, stdout);
	} else {
		report_print_history(deployments, log_colours(STDOUT_FILENO), stdout);
	}
	return 0;
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

static int read_report(struct store *store, const char *word, json_t **ret, struct err *err)
{
	json_t *deployment _cleanup_json_ = NULL, *steps _cleanup_json_ = NULL, *events _cleanup_json_ = NULL;
	struct plan changes _cleanup_(plan_done) = {0};
	int r = deployment_find(store, word, &deployment, err);
	if (r < 0)
		return r;
	r = deployment_describe(store, deployment, err);
	if (r < 0)
		return r;
	make_readable(deployment);
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

int cmd_show(int argc, char **argv)
{
	const struct cli_option options[] = {{0}};
	const struct cli_command command = {"show",  "[ID|last]", "One deployment: each step, each change, each probe.",
	                                    options, 0,           1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	struct store *store _cleanup_(store_closep) = NULL;
	json_t *report _cleanup_json_ = NULL;
	if (open_journal(&store, &err) < 0)
		return fail(&err);
	if (store == NULL) {
		err_set(&err, ERR_INVALID, "no deployment has been made from here");
		err_hint(&err, ERR_INVALID,
		         "`davit deploy FILE` makes one; a journal elsewhere is named by DAVIT_STATE");
		return fail(&err);
	}
	if (read_report(store, rest.count ? rest.words[0] : "last", &report, &err) < 0)
		return fail(&err);
	if (cli_json()) {
		_cleanup_free_ char *text = json_pretty(report);
		report_print_masked(text, stdout);
	} else {
		report_print_deployment(report, log_colours(STDOUT_FILENO), stdout);
	}
	return 0;
}
