/* notify: reports the result of a deployment on GitHub. It runs after the decision, and its own failure changes nothing. */
#include "steps/notify/notify.h"
#include "providers/github/rest.h"

static const char *token_of(const struct step_context *c)
{
	const struct notify_in *in = c->input;
	return in->token != NULL ? in->token : c->deployment->token;
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct notify_in *in = c->input;
	size_t count = 0;
	str_append(out, "say how it ended:");
	if (in->commit_comment)
		str_appendf(out, "%s a comment on the commit", count++ > 0 ? "," : "");
	if (in->has_pull_request)
		str_appendf(out, "%s a comment on pull request %lld", count++ > 0 ? "," : "",
		            (long long)in->pull_request);
	if (in->deployment_status)
		str_appendf(out, "%s a deployment status", count++ > 0 ? "," : "");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct notify_in *in = c->input;
	if (!in->commit_comment && !in->has_pull_request && !in->deployment_status)
		faults_add(faults, NULL, "",
		           "nothing is to be said: all of `commit_comment`, `pull_request` and `deployment_status` are "
		           "off");
}

/* A request without a required member: with the permission it is refused as incomplete (422), without it as
 * forbidden, and it never does anything. */
static int probe_permission(const struct step_context *c, const char *path, const char *what, const char *permission,
                            const char *pointer, struct faults *faults)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	_cleanup_json_ json_t *nothing = json_object();
	struct err err = ERR_INIT;
	char line[1024];
	int r = rest_call(c, token_of(c), "POST", path, nothing, &reply, &err);
	if (r == ERR_CANCELLED)
		return r;
	if (r == 0 && reply.status != 401 && reply.status != 403 && reply.status != 404)
		return 0;
	if (r == 0)
		rest_refused(&reply, what, permission, &err);
	faults_add(faults, NULL, pointer, "%s", err_line(&err, line, sizeof(line)));
	if (err.hint[0] != '\0')
		faults_hint(faults, "%s", err.hint);
	return 0;
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct notify_in *in = c->input;
	const struct step_deployment *d = c->deployment;
	if (d->repository == NULL) {
		if (c->report != NULL)
			c->report(c->engine,
			          "outside a workflow there is no repository to notify; the step will do nothing");
		return 0;
	}
	if (token_of(c) == NULL || *token_of(c) == '\0') {
		faults_add(faults, NULL, "/token", "there is no token for GitHub");
		faults_hint(faults, "token: ${{ github.token }}");
		return 0;
	}
	int r = 0;
	if (in->commit_comment && d->commit != NULL) {
		_cleanup_free_ char *path = xasprintf("/repos/%s/commits/%s/comments", d->repository, d->commit);
		r = probe_permission(c, path, "a comment on the commit", "contents: write", "/commit_comment", faults);
	}
	if (r == 0 && in->has_pull_request) {
		_cleanup_free_ char *path =
			xasprintf("/repos/%s/issues/%lld/comments", d->repository, (long long)in->pull_request);
		r = probe_permission(c, path, "a comment on the pull request", "pull-requests: write", "/pull_request",
		                     faults);
	}
	if (r == 0 && in->deployment_status) {
		_cleanup_free_ char *path = xasprintf("/repos/%s/deployments", d->repository);
		r = probe_permission(c, path, "a deployment status", "deployments: write", "/deployment_status",
		                     faults);
	}
	return r < 0 ? err_set(err, r, "the check of the token was cancelled") : 0;
}

static int send(const struct step_context *c, const char *method, const char *path, const json_t *body,
                const char *what, const char *permission, json_t **ret_body, struct err *err)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	int r = rest_call(c, token_of(c), method, path, body, &reply, err);
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	if (reply.status < 200 || reply.status > 299)
		return rest_refused(&reply, what, permission, err);
	if (ret_body != NULL)
		*ret_body = TAKE(reply.body);
	return 0;
}

static int comment_commit(const struct step_context *c, const char *text, struct err *err)
{
	const struct step_deployment *d = c->deployment;
	if (d->commit == NULL)
		return 0;
	_cleanup_free_ char *path = xasprintf("/repos/%s/commits/%s/comments", d->repository, d->commit);
	_cleanup_json_ json_t *body = json_object();
	json_object_set_new(body, "body", json_string_lossy(text, strlen(text)));
	return send(c, "POST", path, body, "the comment on the commit", "contents: write", NULL, err);
}

/* The id of our comment on the pull request; 0: none yet. Looks at the first 1000. */
static int find_comment(const struct step_context *c, const char *marker, json_int_t *ret_id, struct err *err)
{
	const struct notify_in *in = c->input;
	*ret_id = 0;
	for (int page = 1; page <= 10; page++) {
		_cleanup_free_ char *path = xasprintf("/repos/%s/issues/%lld/comments?per_page=100&page=%d",
		                                      c->deployment->repository, (long long)in->pull_request, page);
		_cleanup_json_ json_t *list = NULL;
		json_t *comment;
		size_t i;
		int r = send(c, "GET", path, NULL, "the comments of the pull request", "pull-requests: read", &list,
		             err);
		if (r < 0)
			return r;
		json_array_foreach(list, i, comment)
		{
			const char *text = json_get_string(comment, "body");
			if (text != NULL && strstr(text, marker) != NULL) {
				*ret_id = json_get_int(comment, "id", 0);
				return 0;
			}
		}
		if (json_array_size(list) < 100)
			return 0;
	}
	return 0;
}

static int comment_pull_request(const struct step_context *c, const char *text, struct err *err)
{
	const struct notify_in *in = c->input;
	const char *repository = c->deployment->repository;
	_cleanup_(str_done) struct str marker = STR_INIT(1024), whole = STR_INIT(128 << 10);
	json_int_t id;
	notify_marker(c, &marker);
	str_appendf(&whole, "%s\n%s", str_peek(&marker), text);
	int r = find_comment(c, str_peek(&marker), &id, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path =
		id != 0 ? xasprintf("/repos/%s/issues/comments/%lld", repository, (long long)id)
			: xasprintf("/repos/%s/issues/%lld/comments", repository, (long long)in->pull_request);
	_cleanup_json_ json_t *body = json_object();
	json_object_set_new(body, "body", json_string_lossy(str_peek(&whole), whole.len));
	return send(c, id != 0 ? "PATCH" : "POST", path, body, "the comment on the pull request",
	            "pull-requests: write", NULL, err);
}

static int set_status(const struct step_context *c, const struct step_outcome *outcome, struct err *err)
{
	const struct notify_in *in = c->input;
	const struct step_deployment *d = c->deployment;
	if (d->commit == NULL)
		return 0;
	_cleanup_(str_done) struct str headline = STR_INIT(2048);
	_cleanup_free_ char *path = xasprintf("/repos/%s/deployments", d->repository);
	_cleanup_json_ json_t *made = NULL;
	_cleanup_json_ json_t *body =
		json_pack("{s:s,s:s,s:b,s:[],s:s}", "ref", d->commit, "environment", d->environment, "auto_merge", 0,
	                  "required_contexts", "description", d->name);
	int r = send(c, "POST", path, body, "the deployment", "deployments: write", &made, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *status_path =
		xasprintf("/repos/%s/deployments/%lld/statuses", d->repository, (long long)json_get_int(made, "id", 0));
	_cleanup_json_ json_t *status = json_object();
	notify_headline(c, outcome, &headline);
	json_object_set_new(status, "state",
	                    json_string(outcome->state == OUTCOME_COMMITTED ? "success"
	                                : outcome->state == OUTCOME_UNDONE  ? "failure"
	                                                                    : "error"));
	json_object_set_new(status, "description", json_string_lossy(str_peek(&headline), headline.len));
	if (d->run_url != NULL)
		json_object_set_new(status, "log_url", json_string(d->run_url));
	if (in->environment_url != NULL && outcome->state == OUTCOME_COMMITTED)
		json_object_set_new(status, "environment_url", json_string(in->environment_url));
	return send(c, "POST", status_path, status, "the deployment status", "deployments: write", NULL, err);
}

static int settled(const struct step_context *c, const struct step_outcome *outcome, struct err *err)
{
	const struct notify_in *in = c->input;
	bool success = outcome->state == OUTCOME_COMMITTED;
	if ((in->on == NOTIFY_ON_SUCCESS && !success) || (in->on == NOTIFY_ON_FAILURE && success))
		return 0;
	if (c->deployment->repository == NULL || token_of(c) == NULL)
		return 0;
	_cleanup_(str_done) struct str text = STR_INIT(120 << 10);
	struct err own = ERR_INIT;
	int ret = 0, r;
	notify_text(c, outcome, &text);
	/* A failure does not stop the others; the first one is reported. */
	if (in->commit_comment)
		ret = comment_commit(c, str_peek(&text), err);
	if (in->has_pull_request && (r = comment_pull_request(c, str_peek(&text), ret == 0 ? err : &own)) < 0 &&
	    ret == 0)
		ret = r;
	if (in->deployment_status && (r = set_status(c, outcome, ret == 0 ? err : &own)) < 0 && ret == 0)
		ret = r;
	return ret;
}

const struct step_type notify_step = {
	.info = &notify_info,
	.describe = describe,
	.validate = validate,
	.check = check,
	.settled = settled,
};
