/* Where the targets of a command that only looks stand: in a deployment file, or in what the journal's newest committed deployments knew. */
#include "agent/cmd/places.h"

#include <string.h>
#include <sys/stat.h>

#include "agent/cmd/cli.h"
#include "agent/deployment/file.h"
#include "agent/deployment/find.h"
#include "agent/deployment/replay.h"

int places_open(struct places *p, struct deployment_session *session, bool makes_journal, struct err *err)
{
	deployment_values_init(&p->values);
	deployment_values_environment(&p->values);
	p->session = session;
	int r = deployment_session_open(session, makes_journal, err);
	session->json = cli_json();
	return r;
}

void places_done(struct places *p)
{
	deployment_values_done(&p->values);
	strv_done(&p->secrets);
	strv_done(&p->vars);
	strv_done(&p->inputs);
}

static int look_by_file(struct places *p, struct err *err)
{
	json_t *places _cleanup_json_ = NULL;
	int r = deployment_file_places(p->word, &p->values, &places, &p->session->faults, err);
	return r < 0 ? r : p->look(p->context, places, err);
}

/* As the newest committed deployment knew them. */
static int look_by_journal(struct places *p, const json_t *doc, struct err *err)
{
	const json_t *kept = json_object_get(doc, "kept");
	json_t *places _cleanup_json_ = NULL, *filled _cleanup_json_ = NULL;
	if (!json_is_object(kept)) {
		int r = err_set(err, ERR_INVALID, "the targets of %s.%s were not kept%s%s",
		                json_get_string(doc, "name"), json_get_string(doc, "environment"),
		                json_is_string(kept) ? ": " : "", json_is_string(kept) ? json_string_value(kept) : "");
		return err_hint(err, r, "%s, its deployment file", p->usage);
	}
	places = replay_places(kept);
	int r = replay_fill(places, p->values.secrets, &filled, &p->session->faults, err);
	return r < 0 ? r : p->look(p->context, filled, err);
}

static int look_by_scope(struct places *p, const char *name, const char *environment, struct err *err)
{
	json_t *list _cleanup_json_ = NULL, *doc;
	struct strv scopes _cleanup_(strv_done) = {0};
	const struct store_filter filter = {.name = name, .environment = environment};
	size_t i;
	int r = store_deployment_list(p->session->store, &filter, &list, err);
	json_array_foreach(list, i, doc)
	{
		const char *state = json_get_string(doc, "state");
		_cleanup_free_ char *scope =
			xasprintf("%s.%s", json_get_string(doc, "name"), json_get_string(doc, "environment"));
		if (r < 0 || state == NULL || strcmp(state, "committed") != 0 || strv_has(&scopes, scope))
			continue;
		strv_add(&scopes, scope);
		r = look_by_journal(p, doc, err);
	}
	if (r < 0 || scopes.count > 0)
		return r;
	r = err_set(err, ERR_INVALID, "the journal here knows no committed deployment%s",
	            name || environment ? " of that name and environment" : "");
	return err_hint(err, r, "%s reads the deployment file and its targets", p->usage);
}

/* FILE, or a deployment of the journal, or every one. */
int places_look(struct places *p, struct err *err)
{
	struct stat st;
	json_t *doc _cleanup_json_ = NULL;
	int r = deployment_values_given(&p->values, &p->secrets, p->secrets_file, &p->vars, &p->inputs, err);
	if (r < 0)
		return r;
	bool filtered = p->name != NULL || p->environment != NULL;
	if (p->word != NULL && filtered) {
		r = err_set(err, ERR_INVALID, "--name and --environment choose among what the journal knows");
		return err_hint(err, r, "a file or a deployment is one name and environment: leave them out");
	}
	bool file = p->word != NULL && (stat(p->word, &st) == 0 || strchr(p->word, '/') != NULL);
	if (file || (p->word != NULL && p->session->store == NULL))
		return look_by_file(p, err);
	if (p->session->store == NULL) {
		r = err_set(err, ERR_INVALID, "no deployment has been made from here");
		return err_hint(err, r, "%s reads the deployment file and its targets", p->usage);
	}
	if (p->word == NULL)
		return look_by_scope(p, p->name, p->environment, err);
	r = deployment_find(p->session->store, p->word, &doc, err);
	if (r < 0)
		return err_hint(err, r, "name a deployment file, or a deployment that `davit history` lists");
	return look_by_scope(p, json_get_string(doc, "name"), json_get_string(doc, "environment"), err);
}
