/* Comments on GitHub that agree to a parked deployment: on its commit, and on any issue or pull request of its repository. Whoever may write
 * there can write what he likes, so a comment is read as one fixed line, and only its author's login counts, which GitHub vouches for. */
#include "steps/approve/approve.h"

#include "base/core/clock.h"
#include "base/data/json.h"
#include "providers/github/rest.h"
#include <string.h>

enum { PREFIX_LEAST = 12, DIGEST_DIGITS = 64, PAGE = 100, PAGES_MAX = 10, BODY_MAX = 64 << 10 };
static const char order[] = "/davit approve ";

/* "/davit approve ID PREFIX" is the whole line; blanks behind it, and a CR, are nothing. */
static bool line_agrees(const char *line, size_t len, const struct step_request *r)
{
	size_t head = strlen(order), id = strlen(r->id);
	while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL)
		len--;
	if (len < head + id + 1 + PREFIX_LEAST || memcmp(line, order, head) != 0 ||
	    memcmp(line + head, r->id, id) != 0 || line[head + id] != ' ')
		return false;
	const char *prefix = line + head + id + 1;
	size_t digits = len - head - id - 1;
	return digits <= DIGEST_DIGITS && strncmp(r->digest, prefix, digits) == 0;
}

static bool body_agrees(const char *body, const struct step_request *r)
{
	for (const char *at = body; *at;) {
		size_t len = strcspn(at, "\n");
		if (line_agrees(at, len, r))
			return true;
		at += len + (at[len] == '\n');
	}
	return false;
}

/* As it was first written, by a person, in time. An app that writes for a person is not that person. */
static bool is_sound(const json_t *comment, const struct step_request *r)
{
	const char *made = json_get_string(comment, "created_at"), *changed = json_get_string(comment, "updated_at");
	const char *type = json_get_string(json_get_object(comment, "user"), "type");
	const json_t *app = json_object_get(comment, "performed_via_github_app");
	int64_t at_ms;
	if (made == NULL || changed == NULL || strcmp(made, changed) != 0 || clock_parse_rfc3339(made, &at_ms) < 0)
		return false;
	if (app != NULL && !json_is_null(app))
		return false;
	return at_ms < r->until_ms && type != NULL && strcmp(type, "User") == 0;
}

/* NULL where a NUL would hide what stands behind it. */
static const char *whole_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

json_t *approve_comment_read(const struct step_request *r, const json_t *comment)
{
	const char *login = whole_text(json_get_object(comment, "user"), "login"), *body = whole_text(comment, "body"),
		   *url = json_get_string(comment, "html_url");
	if (login == NULL || body == NULL || strlen(body) > BODY_MAX || !is_sound(comment, r) || !body_agrees(body, r))
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:s}", "how", "comment", "login", login, "digest", r->digest, "url",
	                 url != NULL ? url : "a comment");
}

static int read_list(const struct rest *g, const struct step_request *r, const char *path, json_t *ret, struct err *err)
{
	for (int page = 1; page <= PAGES_MAX; page++) {
		_cleanup_(rest_reply_done) struct rest_reply reply = {0};
		_cleanup_free_ char *paged =
			xasprintf("%s%cper_page=%d&page=%d", path, strchr(path, '?') ? '&' : '?', PAGE, page);
		int code = rest_call(g, "GET", paged, NULL, &reply, err);
		if (code < 0)
			return code;
		if (reply.status != 200)
			return rest_refused(&reply, "read the comments", "issues: read, contents: read", err);
		size_t i;
		json_t *comment;
		json_array_foreach(reply.body, i, comment)
		{
			json_t *approval = approve_comment_read(r, comment);
			if (approval != NULL)
				json_array_append_new(ret, approval);
		}
		if (json_array_size(reply.body) < PAGE)
			return 0;
	}
	return err_set(err, ERR_LIMIT, "there are more than %d comments since the deployment was parked",
	               PAGE * PAGES_MAX);
}

int approve_comments(const struct step_context *c, const char *token, const struct step_request *r, int64_t since_ms,
                     json_t *ret, struct err *err)
{
	const char *repository = c->deployment->repository, *commit = c->deployment->commit;
	const struct rest g = rest_of_step(c, token);
	char since[CLOCK_TEXT_SIZE];
	/* GitHub's times have whole seconds. */
	clock_rfc3339(since_ms - 1000, since);
	_cleanup_free_ char *issues =
		xasprintf("/repos/%s/issues/comments?since=%.19sZ&sort=created&direction=asc", repository, since);
	int code = read_list(&g, r, issues, ret, err);
	if (code < 0 || commit == NULL)
		return code;
	_cleanup_free_ char *on_commit = xasprintf("/repos/%s/commits/%s/comments", repository, commit);
	return read_list(&g, r, on_commit, ret, err);
}
