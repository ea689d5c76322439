/* Comments on commits, issues and pull requests. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"

#include <string.h>

static json_t *read_comment(struct req *r, const char *resource)
{
	static const struct member members[] = {
		{"body", 'n', true}, {"path", 's', false}, {"position", 'i', false}, {"line", 'n', false}};
	json_t *body = req_json(r);
	if (!body)
		return NULL;
	const char *text = json_get_string(body, "body");
	if (!check_members(r, body, resource, members, ARRAY_SIZE(members)) || !text || !*text) {
		rest_invalid(r, resource, "body", "missing");
	} else if (strlen(text) > 65536) {
		rest_invalid(r, resource, "body", "too long (maximum is 65536 characters)");
	} else {
		return body;
	}
	json_decref(body);
	return NULL;
}

void rest_create_commit_comment(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Contents", "read", &job);
	if (!repo)
		return;
	_cleanup_free_ char *sha = forge_repo_commit(repo, r->args[2]);
	if (!sha) {
		req_reply_error(r, 404, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	json_t *comment = read_comment(r, "CommitComment");
	if (!comment)
		return;
	rest_add_common(r, comment, job);
	long long id = json_get_int(comment, "id", 0);
	json_object_set_new(comment, "commit_id", json_string(sha));
	json_object_set_new(comment, "author_association", json_string("NONE"));
	static const char *const places[] = {"path", "position", "line"};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!json_object_get(comment, places[i]))
			json_object_set_new(comment, places[i], json_null());
	json_object_set_new(comment, "url",
	                    json_stringf("%s/api/v3/repos/%s/comments/%lld", r->f->base, repo->full_name, id));
	json_object_set_new(comment, "html_url",
	                    json_stringf("%s/%s/commit/%s#commitcomment-%lld", r->f->base, repo->full_name, sha, id));
	json_array_append_new(repo->comments, comment);
	forge_event(r->f, "comment on %.12s of %s", sha, repo->full_name);
	req_reply_header(r, "Location: %s", json_get_string(comment, "url"));
	req_reply_json(r, 201, json_incref(comment));
}

void rest_list_commit_comments(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Metadata", "read", NULL);
	_cleanup_free_ char *sha = repo ? forge_repo_commit(repo, r->args[2]) : NULL;
	if (!repo)
		return;
	_cleanup_json_ json_t *out = json_array();
	size_t i;
	json_t *comment;
	json_array_foreach(repo->comments, i, comment) if (sha && strcmp(json_get_string(comment, "commit_id"), sha) ==
	                                                                  0) json_array_append(out, comment);
	rest_reply_page(r, out);
}

static void change_comment_in(struct req *r, struct forge_repo *repo, json_t *list, const char *id)
{
	json_t *comment = repo ? rest_find(list, id) : NULL;
	if (!repo)
		return;
	if (!comment) {
		req_reply_error(r, 404, "Not Found");
	} else if (strcmp(r->method, "GET") == 0) {
		req_reply_json(r, 200, json_incref(comment));
	} else {
		_cleanup_json_ json_t *change = read_comment(r, "Comment");
		if (!change)
			return;
		char time[CLOCK_TEXT_SIZE];
		json_object_set(comment, "body", json_object_get(change, "body"));
		json_object_set_new(comment, "updated_at", json_string(clock_rfc3339(r->begun_ms, time)));
		req_reply_json(r, 200, json_incref(comment));
	}
}

void rest_one_commit_comment(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, strcmp(r->method, "GET") == 0 ? "Metadata" : "Contents",
	                                     strcmp(r->method, "GET") == 0 ? "read" : "write", NULL);
	change_comment_in(r, repo, repo ? repo->comments : NULL, r->args[2]);
}

/* A pull request is an issue too: either permission is enough. */
static struct forge_repo *begin_issue(struct req *r, const char *level, struct forge_job **ret_job)
{
	struct identity who = token_identify(r, "Bearer token Basic");
	const struct forge_job *job = who.token && who.token->kind == TOKEN_GITHUB ? who.token->job : NULL;
	const char *have = job ? json_get_string(job->permissions, "PullRequests") : NULL;
	bool suffices = have && (strcmp(have, "write") == 0 || strcmp(have, level) == 0);
	return rest_begin(r, suffices ? "PullRequests" : "Issues", level, ret_job);
}

void rest_create_issue_comment(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin_issue(r, "write", &job);
	if (!repo)
		return;
	json_t *comment = read_comment(r, "IssueComment");
	if (!comment)
		return;
	rest_add_common(r, comment, job);
	json_object_set_new(comment, "issue_url",
	                    json_stringf("%s/api/v3/repos/%s/issues/%s", r->f->base, repo->full_name, r->args[2]));
	long long id = json_get_int(comment, "id", 0);
	json_object_set_new(comment, "url",
	                    json_stringf("%s/api/v3/repos/%s/issues/comments/%lld", r->f->base, repo->full_name, id));
	json_object_set_new(
		comment, "html_url",
		json_stringf("%s/%s/issues/%s#issuecomment-%lld", r->f->base, repo->full_name, r->args[2], id));
	json_array_append_new(repo->issue_comments, comment);
	req_reply_json(r, 201, json_incref(comment));
}

void rest_list_issue_comments(struct req *r)
{
	struct forge_repo *repo = begin_issue(r, "read", NULL);
	if (!repo)
		return;
	_cleanup_json_ json_t *out = json_array();
	_cleanup_free_ char *tail = xasprintf("/issues/%s", r->args[2]);
	size_t i;
	json_t *comment;
	json_array_foreach(repo->issue_comments, i, comment) if (str_ends(json_get_string(comment, "issue_url"), tail))
		json_array_append(out, comment);
	rest_reply_page(r, out);
}

/* Of all its issues and pull requests, those that were made or changed since. */
void rest_list_repo_comments(struct req *r)
{
	struct forge_repo *repo = begin_issue(r, "read", NULL);
	if (!repo)
		return;
	_cleanup_json_ json_t *out = json_array();
	const char *since = req_query(r, "since");
	size_t i;
	json_t *comment;
	/* Times of one form and zone sort as texts do. */
	json_array_foreach(repo->issue_comments, i,
	                   comment) if (!since || strcmp(json_get_string(comment, "updated_at"), since) >= 0)
		json_array_append(out, comment);
	rest_reply_page(r, out);
}

void rest_one_issue_comment(struct req *r)
{
	struct forge_repo *repo = begin_issue(r, strcmp(r->method, "GET") == 0 ? "read" : "write", NULL);
	change_comment_in(r, repo, repo ? repo->issue_comments : NULL, r->args[2]);
}
