/* Issues, as far as one is written and looked for. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"

#include <string.h>

static const struct member members[] = {{"title", 'S', false},        {"body", 'n', false},
                                        {"state", 's', false},        {"labels", 'a', false},
                                        {"state_reason", 'n', false}, {"assignees", 'a', false}};

static json_t *read_issue(struct req *r, bool created)
{
	json_t *body = req_json(r);
	const char *text = json_get_string(body, "body"), *state = json_get_string(body, "state");
	if (body == NULL)
		return NULL;
	bool good = check_members(r, body, "Issue", members, ARRAY_SIZE(members));
	if (!good || (created && json_get_string(body, "title") == NULL))
		rest_invalid(r, "Issue", "title", "missing_field");
	else if (text != NULL && strlen(text) > 65536)
		rest_invalid(r, "Issue", "body", "too long (maximum is 65536 characters)");
	else if (state != NULL && strcmp(state, "open") != 0 && strcmp(state, "closed") != 0)
		rest_invalid(r, "Issue", "state", "invalid");
	else
		return body;
	json_decref(body);
	return NULL;
}

void rest_create_issue(struct req *r)
{
	struct forge_job *job = NULL;
	struct forge_repo *repo = rest_begin(r, "Issues", "write", &job);
	json_t *issue = repo != NULL ? read_issue(r, true) : NULL;
	if (issue == NULL)
		return;
	rest_add_common(r, issue, job);
	long long number = ++repo->issue_number;
	json_object_set_new(issue, "number", json_integer(number));
	json_object_set_new(issue, "state", json_string("open"));
	json_object_set_new(issue, "closed_at", json_null());
	json_object_set_new(issue, "locked", json_false());
	json_object_set_new(issue, "comments", json_integer(0));
	if (json_object_get(issue, "labels") == NULL)
		json_object_set_new(issue, "labels", json_array());
	json_object_set_new(issue, "url",
	                    json_stringf("%s/api/v3/repos/%s/issues/%lld", r->f->base, repo->full_name, number));
	json_object_set_new(issue, "html_url", json_stringf("%s/%s/issues/%lld", r->f->base, repo->full_name, number));
	json_array_append_new(repo->issues, issue);
	forge_event(r->f, "issue #%lld of %s opened", number, repo->full_name);
	req_reply_json(r, 201, json_incref(issue));
}

static json_t *find_issue(const struct forge_repo *repo, const char *text)
{
	long long number = 0;
	size_t i;
	json_t *issue;
	if (str_parse_i64(text, 1, INT64_MAX, &number))
		json_array_foreach(repo->issues, i, issue) if (json_get_int(issue, "number", 0) == number) return issue;
	return NULL;
}

static void set_closed(json_t *issue)
{
	bool closed = strcmp(json_get_string(issue, "state"), "closed") == 0;
	char time[CLOCK_TEXT_SIZE];
	json_object_set_new(issue, "closed_at",
	                    closed ? json_string(clock_rfc3339(clock_wall_ms(), time)) : json_null());
}

void rest_one_issue(struct req *r)
{
	bool reads = strcmp(r->method, "GET") == 0;
	struct forge_repo *repo = rest_begin(r, "Issues", reads ? "read" : "write", NULL);
	json_t *issue = repo != NULL ? find_issue(repo, r->args[2]) : NULL;
	if (repo == NULL)
		return;
	if (issue == NULL) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *change = reads ? NULL : read_issue(r, false);
	char time[CLOCK_TEXT_SIZE];
	if (!reads && change == NULL)
		return;
	if (change != NULL) {
		json_object_update(issue, change);
		set_closed(issue);
		json_object_set_new(issue, "updated_at", json_string(clock_rfc3339(r->begun_ms, time)));
		forge_event(r->f, "issue #%s of %s is %s", r->args[2], repo->full_name,
		            json_get_string(issue, "state"));
	}
	req_reply_json(r, 200, json_incref(issue));
}

/* By `state`; the newest first, as GitHub sorts where nothing else is asked. */
void rest_list_issues(struct req *r)
{
	struct forge_repo *repo = rest_begin(r, "Issues", "read", NULL);
	const char *state = req_query(r, "state");
	_cleanup_json_ json_t *out = json_array();
	size_t i;
	json_t *issue;
	if (repo == NULL)
		return;
	json_array_foreach(repo->issues, i,
	                   issue) if (strcmp(state != NULL ? state : "open", "all") == 0 ||
	                              strcmp(state != NULL ? state : "open", json_get_string(issue, "state")) == 0)
		json_array_insert(out, 0, issue);
	rest_reply_page(r, out);
}
