/* Comments on the commit and on a pull request. There is one for each name and environment, and it is updated in place: it is found by a
 * hidden line at its beginning, and by its author. Who else writes that line into a comment of his own does not get it replaced, though a
 * token that may write could do so. */
#include "steps/notify/notify_priv.h"

enum { PAGE = 100, PAGES_MAX = 10, TEXT_MAX = 64 << 10 };

/* The id of our comment in the list at `path`; 0: there is none. */
static enum notify_sent find(const struct step_context *c, const char *path, const char *marker, const char *author,
                             const char *what, const char *permission, json_int_t *ret_id, struct err *err)
{
	size_t len = strlen(marker);
	*ret_id = 0;
	for (int page = 1; page <= PAGES_MAX; page++) {
		_cleanup_free_ char *paged = xasprintf("%s?per_page=%d&page=%d", path, PAGE, page);
		_cleanup_json_ json_t *list = NULL;
		size_t i;
		json_t *comment;
		enum notify_sent sent = notify_ask(c, "GET", paged, NULL, what, permission, &list, err);
		if (sent != NOTIFY_SENT)
			return sent;
		json_array_foreach(list, i, comment)
		{
			const char *text = json_get_string(comment, "body");
			const char *login = json_get_string(json_get_object(comment, "user"), "login");
			if (text == NULL || login == NULL || strcmp(login, author) != 0)
				continue;
			if (strncmp(text, marker, len) == 0 && (text[len] == '\n' || text[len] == '\r'))
				*ret_id = json_get_int(comment, "id", 0);
		}
		if (*ret_id != 0 || json_array_size(list) < PAGE)
			break;
	}
	return NOTIFY_SENT;
}

struct place {
	const char *list;   /* the path of all comments there */
	const char *single; /* the path of one, its id follows */
	const char *what, *permission;
};

static enum notify_sent write_comment(const struct step_context *c, const json_t *message, const struct place *place,
                                      struct err *err)
{
	const char *marker = json_get_string(message, "marker"), *text = json_get_string(message, "text");
	_cleanup_free_ char *author = NULL;
	json_int_t id = 0;
	if (marker == NULL || text == NULL) {
		err_set(err, ERR_INVALID, "%s: the kept message is not whole", place->what);
		return NOTIFY_NEVER;
	}
	int r = rest_author(c, notify_token(c), &author, err);
	if (r < 0 && r != ERR_NOT_FOUND)
		return NOTIFY_LATER;
	err_clear(err);
	/* Whose comments are ours is not known then: a new one is made. */
	if (author != NULL) {
		enum notify_sent sent = find(c, place->list, marker, author, place->what, place->permission, &id, err);
		if (sent != NOTIFY_SENT)
			return sent;
	}
	_cleanup_free_ char *one = xasprintf("%s/%lld", place->single, (long long)id);
	_cleanup_json_ json_t *body = json_object();
	json_object_set_new(body, "body", json_stringf("%s\n%s", marker, text));
	return notify_ask(c, id != 0 ? "PATCH" : "POST", id != 0 ? one : place->list, body, place->what,
	                  place->permission, NULL, err);
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
	const struct place place = {list, single, notify_commit_comment.said, notify_commit_comment.permission};
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
	const struct place place = {list, single, notify_pull_request.said, notify_pull_request.permission};
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
