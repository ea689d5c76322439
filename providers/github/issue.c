#include "providers/github/issue.h"
#include "providers/github/comment.h"

#include <string.h>

enum { PAGE = 100, PAGES_MAX = 10 };
static const char what[] = "an issue", permission[] = "issues: write";

/* The one that was changed last comes first: an open one is updated by every look. *ret NULL: there is none. */
static int find(const struct rest *g, const struct issue *issue, const char *author, json_t **ret, struct err *err)
{
	for (int page = 1; page <= PAGES_MAX && *ret == NULL; page++) {
		_cleanup_free_ char *path =
			xasprintf("/repos/%s/issues?state=all&sort=updated&direction=desc&per_page=%d&page=%d",
		                  issue->repository, PAGE, page);
		_cleanup_json_ json_t *list = NULL;
		size_t i;
		json_t *one;
		int r = rest_ask(g, "GET", path, NULL, what, permission, &list, NULL, err);
		if (r < 0)
			return r;
		json_array_foreach(list, i, one) if (*ret == NULL && json_object_get(one, "pull_request") == NULL &&
		                                     comment_is_own(one, issue->marker, author)) *ret =
			json_incref(one);
		if (json_array_size(list) < PAGE)
			break;
	}
	return 0;
}

static int write_one(const struct rest *g, const struct issue *issue, int64_t number, int64_t *ret_number,
                     struct err *err)
{
	_cleanup_free_ char *list = xasprintf("/repos/%s/issues", issue->repository),
			    *one = xasprintf("%s/%lld", list, (long long)number);
	_cleanup_json_ json_t *answer = NULL, *body = json_object();
	json_set_string(body, "title", issue->title);
	json_object_set_new(body, "body", json_stringf("%s\n%s", issue->marker, issue->text));
	if (number != 0)
		json_set_string(body, "state", issue->open ? "open" : "closed");
	int r = rest_ask(g, number != 0 ? "PATCH" : "POST", number != 0 ? one : list, body, what, permission, &answer,
	                 NULL, err);
	if (r == 0 && ret_number != NULL)
		*ret_number = json_get_int(answer, "number", number);
	return r;
}

int issue_put(const struct rest *g, const struct issue *issue, int64_t *ret_number, struct err *err)
{
	_cleanup_free_ char *author = NULL;
	_cleanup_json_ json_t *there = NULL;
	if (ret_number != NULL)
		*ret_number = 0;
	int r = rest_author(g, &author, err);
	if (r == 0)
		r = find(g, issue, author, &there, err);
	if (r < 0)
		return err_wrap(err, r, "find the issue of '%s'", issue->title);
	const char *state = json_get_string(there, "state");
	bool is_open = state != NULL && strcmp(state, "open") == 0;
	if (!issue->open && !is_open)
		return 0;
	return write_one(g, issue, json_get_int(there, "number", 0), ret_number, err);
}
