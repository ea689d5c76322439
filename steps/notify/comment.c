/* Comments on the commit and on a pull request: one for each name and environment, updated in place (providers/github/comment.h). */
#include "steps/notify/notify_priv.h"

#include "providers/github/comment.h"

enum { TEXT_MAX = 64 << 10 };

static enum notify_sent write_comment(const struct step_context *c, const json_t *message,
                                      const struct comment_place *place, struct err *err)
{
	const char *marker = json_get_string(message, "marker"), *text = json_get_string(message, "text");
	const struct rest g = rest_of_step(c, notify_token(c));
	bool later = false;
	if (marker == NULL || text == NULL) {
		err_set(err, ERR_INVALID, "%s: the kept message is not whole", place->what);
		return NOTIFY_NEVER;
	}
	if (comment_put(&g, place, marker, text, &later, err) == 0)
		return NOTIFY_SENT;
	return later ? NOTIFY_LATER : NOTIFY_NEVER;
}

static json_t *compose(const struct step_context *c, const struct step_outcome *outcome, const char *channel,
                       const char *key, json_t *messages)
{
	_cleanup_(str_done) struct str marker = STR_INIT(1024), text = STR_INIT(TEXT_MAX);
	json_t *message = notify_message(c, messages, channel, key);
	notify_marker(c, &marker);
	notify_text(c, outcome, &text);
	json_set_string(message, "marker", str_peek(&marker));
	json_set_string(message, "text", str_peek(&text));
	return message;
}

/* ---- on the commit ---- */

static bool commit_is_asked(const struct notify_in *in)
{
	return in->commit_comment;
}

static char *commit_probe(const struct step_context *c)
{
	const struct step_deployment *d = c->deployment;
	return d->commit != NULL ? xasprintf("/repos/%s/commits/%s/comments", d->repository, d->commit) : NULL;
}

static void commit_compose(const struct step_context *c, const struct step_outcome *outcome, json_t *messages)
{
	const struct step_deployment *d = c->deployment;
	if (d->commit == NULL)
		return;
	_cleanup_free_ char *key = xasprintf("%s@%s", d->repository, d->commit);
	json_set_string(compose(c, outcome, notify_commit_comment.name, key, messages), "commit", d->commit);
}

static enum notify_sent commit_send(const struct step_context *c, const json_t *message, struct err *err)
{
	if (!notify_is_ours(c, message))
		return NOTIFY_NOT_OURS;
	const char *repository = c->deployment->repository;
	_cleanup_free_ char *list =
		xasprintf("/repos/%s/commits/%s/comments", repository, json_get_string(message, "commit"));
	_cleanup_free_ char *single = xasprintf("/repos/%s/comments", repository);
	const struct comment_place place = {list, single, notify_commit_comment.said, notify_commit_comment.permission};
	return write_comment(c, message, &place, err);
}

const struct notify_channel notify_commit_comment = {
	.name = "commit-comment",
	.said = "a comment on the commit",
	.permission = "contents: write",
	.pointer = "/commit_comment",
	.is_asked = commit_is_asked,
	.probe = commit_probe,
	.compose = commit_compose,
	.send = commit_send,
};

/* ---- on a pull request ---- */

static bool pull_is_asked(const struct notify_in *in)
{
	return in->has_pull_request;
}

static char *pull_probe(const struct step_context *c)
{
	const struct notify_in *in = c->input;
	return xasprintf("/repos/%s/issues/%lld/comments", c->deployment->repository, (long long)in->pull_request);
}

static void pull_compose(const struct step_context *c, const struct step_outcome *outcome, json_t *messages)
{
	const struct notify_in *in = c->input;
	_cleanup_free_ char *key = xasprintf("%s#%lld", c->deployment->repository, (long long)in->pull_request);
	json_object_set_new(compose(c, outcome, notify_pull_request.name, key, messages), "number",
	                    json_integer(in->pull_request));
}

static enum notify_sent pull_send(const struct step_context *c, const json_t *message, struct err *err)
{
	if (!notify_is_ours(c, message))
		return NOTIFY_NOT_OURS;
	const char *repository = c->deployment->repository;
	_cleanup_free_ char *list =
		xasprintf("/repos/%s/issues/%lld/comments", repository, (long long)json_get_int(message, "number", 0));
	_cleanup_free_ char *single = xasprintf("/repos/%s/issues/comments", repository);
	const struct comment_place place = {list, single, notify_pull_request.said, notify_pull_request.permission};
	return write_comment(c, message, &place, err);
}

const struct notify_channel notify_pull_request = {
	.name = "pull-request",
	.said = "a comment on the pull request",
	.permission = "pull-requests: write",
	.pointer = "/pull_request",
	.is_asked = pull_is_asked,
	.probe = pull_probe,
	.compose = pull_compose,
	.send = pull_send,
};
