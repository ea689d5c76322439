/* A deployment of GitHub's for the commit and the environment, and its status. One deployment of davit's is one of GitHub's, which is found
 * again by the id in its payload: what was held and is taken back later gets a second status, not a second deployment. */
#include "steps/notify/notify_priv.h"

enum { HEADLINE_MAX = 2048, LISTED = 100 };

static const char permission[] = "deployments: write";

static bool is_asked(const struct notify_in *in)
{
	return in->deployment_status;
}

static char *probe(const struct step_context *c)
{
	return xasprintf("/repos/%s/deployments", c->deployment->repository);
}

static const char *state_of(const struct step_outcome *outcome)
{
	switch (outcome->state) {
	case OUTCOME_COMMITTED:
		return "success";
	case OUTCOME_UNDONE:
		return "failure";
	case OUTCOME_HELD:
	case OUTCOME_REFUSED:
	default:
		return "error";
	}
}

static json_t *status_of(const struct step_context *c, const struct step_outcome *outcome)
{
	const struct notify_in *in = c->input;
	_cleanup_(str_done) struct str headline = STR_INIT(HEADLINE_MAX);
	json_t *status = json_pack("{s:s}", "state", state_of(outcome));
	notify_headline(c, outcome, &headline);
	json_set_string(status, "description", str_peek(&headline));
	json_set_string(status, "log_url", c->deployment->run_url);
	if (outcome->state == OUTCOME_COMMITTED)
		json_set_string(status, "environment_url", in->environment_url);
	return status;
}

static void compose(const struct step_context *c, const struct step_outcome *outcome, json_t *messages)
{
	const struct step_deployment *d = c->deployment;
	if (d->commit == NULL)
		return;
	const char *id = d->id != NULL ? d->id : "";
	_cleanup_free_ char *key = xasprintf("%s:%s", d->repository, id);
	json_t *message = notify_message(c, messages, notify_deployment_status.name, key);
	json_object_set_new(message, "deployment",
	                    json_pack("{s:s, s:s, s:s, s:b, s:[], s:s, s:{s:s}}", "ref", d->commit, "environment",
	                              d->environment, "task", "deploy", "auto_merge", 0, "required_contexts",
	                              "description", d->name, "payload", "davit", id));
	json_object_set_new(message, "status", status_of(c, outcome));
}

static const char *id_in(const json_t *deployment)
{
	return json_get_string(json_get_object(deployment, "payload"), "davit");
}

/* The number of the deployment that has our id; 0: none. */
static enum notify_sent find(const struct step_context *c, const json_t *wanted, json_int_t *ret, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_free_ char *path = xasprintf("/repos/%s/deployments?sha=%s&environment=%s&task=deploy&per_page=%d",
	                                      c->deployment->repository, json_get_string(wanted, "ref"),
	                                      json_get_string(wanted, "environment"), LISTED);
	enum notify_sent sent = notify_ask(c, "GET", path, NULL, "the deployments", permission, &list, err);
	size_t i;
	json_t *deployment;
	*ret = 0;
	json_array_foreach(list, i, deployment)
	{
		const char *id = id_in(deployment), *own = id_in(wanted);
		if (*ret == 0 && id != NULL && own != NULL && *own != '\0' && strcmp(id, own) == 0)
			*ret = json_get_int(deployment, "id", 0);
	}
	return sent;
}

static enum notify_sent send(const struct step_context *c, const json_t *message, struct err *err)
{
	const json_t *wanted = json_get_object(message, "deployment"), *status = json_get_object(message, "status");
	json_int_t id = 0;
	if (!notify_is_ours(c, message))
		return NOTIFY_NOT_OURS;
	if (json_get_string(wanted, "ref") == NULL || json_get_string(wanted, "environment") == NULL ||
	    status == NULL) {
		err_set(err, ERR_INVALID, "the deployment status: the kept message is not whole");
		return NOTIFY_NEVER;
	}
	enum notify_sent sent = find(c, wanted, &id, err);
	if (sent == NOTIFY_SENT && id == 0) {
		_cleanup_json_ json_t *made = NULL;
		_cleanup_free_ char *path = probe(c);
		sent = notify_ask(c, "POST", path, wanted, "the deployment", permission, &made, err);
		id = json_get_int(made, "id", 0);
	}
	if (sent != NOTIFY_SENT)
		return sent;
	_cleanup_free_ char *path =
		xasprintf("/repos/%s/deployments/%lld/statuses", c->deployment->repository, (long long)id);
	return notify_ask(c, "POST", path, status, "the deployment status", permission, NULL, err);
}

const struct notify_channel notify_deployment_status = {
	.name = "deployment-status",
	.said = "a deployment status",
	.permission = permission,
	.pointer = "/deployment_status",
	.is_asked = is_asked,
	.probe = probe,
	.compose = compose,
	.send = send,
};
