/* davit releases: lists the releases on the targets of a deployment, read from them, so that every machine that can log in sees the same. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/find.h"
#include "agent/deployment/replay.h"
#include "agent/deployment/session.h"
#include "agent/report/report.h"
#include "base/core/log.h"
#include "steps/common/releases.h"

struct releases_call {
	const char *word, *name, *environment, *secrets_file;
	struct strv secrets, vars, inputs;
	struct deployment_session session;
	struct deployment_values values;
	json_t *found; /* array of what releases_read tells */
	int unread;
	struct err err;
};

static int read_values(struct releases_call *c)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < c->secrets.count; i++)
		r = deployment_values_secret_from_env(&c->values, c->secrets.items[i], &c->err);
	if (r >= 0 && c->secrets_file != NULL)
		r = deployment_values_secrets_file(&c->values, c->secrets_file, &c->err);
	for (size_t i = 0; r >= 0 && i < c->vars.count; i++)
		r = deployment_values_pair(c->values.vars, "var", c->vars.items[i], &c->err);
	for (size_t i = 0; r >= 0 && i < c->inputs.count; i++)
		r = deployment_values_pair(c->values.inputs, "input", c->inputs.items[i], &c->err);
	return r;
}

static int look(struct releases_call *c, const json_t *places)
{
	json_t *answer = NULL;
	int r = releases_read(places, &c->session.options, &answer, &c->err);
	if (r < 0)
		return r;
	c->unread += r;
	json_array_append_new(c->found, answer);
	return 0;
}

static int look_by_file(struct releases_call *c)
{
	json_t *places _cleanup_json_ = NULL;
	int r = deployment_file_places(c->word, &c->values, &places, &c->session.faults, &c->err);
	return r < 0 ? r : look(c, places);
}

/* As the newest committed deployment knew them. */
static int look_by_journal(struct releases_call *c, const json_t *doc)
{
	const json_t *kept = json_object_get(doc, "kept");
	json_t *places _cleanup_json_ = NULL, *filled _cleanup_json_ = NULL;
	if (!json_is_object(kept)) {
		int r = err_set(&c->err, ERR_INVALID, "where the releases of %s.%s lie was not kept%s%s",
		                json_get_string(doc, "name"), json_get_string(doc, "environment"),
		                json_is_string(kept) ? ": " : "", json_is_string(kept) ? json_string_value(kept) : "");
		return err_hint(&c->err, r, "davit releases FILE, its deployment file");
	}
	places = replay_places(kept);
	int r = replay_fill(places, c->values.secrets, &filled, &c->session.faults, &c->err);
	return r < 0 ? r : look(c, filled);
}

static int look_by_scope(struct releases_call *c, const char *name, const char *environment)
{
	json_t *list _cleanup_json_ = NULL, *doc;
	struct strv scopes _cleanup_(strv_done) = {0};
	const struct store_filter filter = {.name = name, .environment = environment};
	size_t i;
	int r = store_deployment_list(c->session.store, &filter, &list, &c->err);
	json_array_foreach(list, i, doc)
	{
		const char *state = json_get_string(doc, "state");
		_cleanup_free_ char *scope =
			xasprintf("%s.%s", json_get_string(doc, "name"), json_get_string(doc, "environment"));
		if (r < 0 || state == NULL || strcmp(state, "committed") != 0 || strv_has(&scopes, scope))
			continue;
		strv_add(&scopes, scope);
		r = look_by_journal(c, doc);
	}
	if (r < 0 || scopes.count > 0)
		return r;
	r = err_set(&c->err, ERR_INVALID, "the journal here knows no committed deployment%s",
	            name || environment ? " of that name and environment" : "");
	return err_hint(&c->err, r, "davit releases FILE reads the deployment file and its targets");
}

/* FILE, or a deployment of the journal, or every one. */
static int look_at_all(struct releases_call *c)
{
	struct stat st;
	json_t *doc _cleanup_json_ = NULL;
	bool filtered = c->name != NULL || c->environment != NULL;
	if (c->word != NULL && filtered) {
		int r = err_set(&c->err, ERR_INVALID, "--name and --environment choose among what the journal knows");
		return err_hint(&c->err, r, "a file or a deployment is one name and environment: leave them out");
	}
	bool file = c->word != NULL && (stat(c->word, &st) == 0 || strchr(c->word, '/') != NULL);
	if (file || (c->word != NULL && c->session.store == NULL))
		return look_by_file(c);
	if (c->session.store == NULL) {
		int r = err_set(&c->err, ERR_INVALID, "no deployment has been made from here");
		return err_hint(&c->err, r, "davit releases FILE reads the deployment file and its targets");
	}
	if (c->word == NULL)
		return look_by_scope(c, c->name, c->environment);
	int r = deployment_find(c->session.store, c->word, &doc, &c->err);
	if (r < 0)
		return err_hint(&c->err, r, "name a deployment file, or a deployment that `davit history` lists");
	return look_by_scope(c, json_get_string(doc, "name"), json_get_string(doc, "environment"));
}

static int tell(struct releases_call *c)
{
	deployment_session_begin_text(&c->session);
	if (c->session.json)
		deployment_session_print_json(c->found);
	else
		report_print_releases(c->found, c->session.colours, stdout);
	return c->unread > 0 ? 2 : 0;
}

int cmd_releases(int argc, char **argv)
{
	struct releases_call c = {.err = ERR_INIT};
	const struct cli_option options[] = {
		{"name", 0, CLI_TEXT, &c.name, "NAME", "without FILE: only deployments of this name"},
		{"environment", 0, CLI_TEXT, &c.environment, "ENV", "without FILE: only this environment"},
		{"secret", 0, CLI_LIST, &c.secrets, "NAME",
	         "a secret that the targets need: the value of that environment variable"},
		{"secrets", 0, CLI_TEXT, &c.secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},
		{"var", 0, CLI_LIST, &c.vars, "NAME=VALUE", "with FILE: a value of the context vars"},
		{"input", 0, CLI_LIST, &c.inputs, "NAME=VALUE", "with FILE: a value of the context inputs"},
		{0},
	};
	const struct cli_command command = {
		"releases",
		"[FILE|ID|last] [options]",
		"What each target runs, which releases `rollback --to` takes there, and who holds the lock; read from the targets.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	deployment_values_init(&c.values);
	deployment_values_environment(&c.values);
	c.word = rest.count > 0 ? rest.words[0] : NULL;
	c.found = json_array();
	int r = deployment_session_open(&c.session, false, &c.err);
	c.session.json = cli_json();
	if (r >= 0)
		r = read_values(&c);
	if (r >= 0)
		r = look_at_all(&c);
	status = r < 0 ? deployment_session_fail(&c.session, &c.err) : tell(&c);
	json_decref(c.found);
	deployment_values_done(&c.values);
	deployment_session_done(&c.session);
	strv_done(&c.secrets);
	strv_done(&c.vars);
	strv_done(&c.inputs);
	return cli_output_failed() && status == 0 ? 1 : status;
}
