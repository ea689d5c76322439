#include "providers/github/pull.h"

#include <string.h>
#include <strings.h>

enum { PAGE = 100 };

void pull_done(struct pull *p)
{
	free(p->head);
	*p = (struct pull){0};
}

static const char *side(const json_t *pull, const char *which, const char *member)
{
	const json_t *of = json_get_object(pull, which);
	return strcmp(member, "sha") == 0 ? json_get_string(of, member)
	                                  : json_get_string(json_get_object(of, "repo"), "full_name");
}

/* The commit may also be one of several of a branch that was merged, or lie in a pull request that is still open. */
static bool is_merged_by(const json_t *pull, const char *repository, const char *commit)
{
	const char *merge = json_get_string(pull, "merge_commit_sha"), *base = side(pull, "base", "repo");
	return json_get_string(pull, "merged_at") != NULL && merge != NULL && strcmp(merge, commit) == 0 &&
	       base != NULL && strcasecmp(base, repository) == 0;
}

static int take(const json_t *pull, const char *repository, struct pull *ret, struct err *err)
{
	int64_t number = json_get_int(pull, "number", 0);
	const char *from = side(pull, "head", "repo"), *head = side(pull, "head", "sha");
	if (from == NULL || strcasecmp(from, repository) != 0)
		return err_set(err, ERR_REFUSED, "the pull request #%lld comes from %s%s: no plan of it counts",
		               (long long)number, from != NULL ? "the fork " : "a fork that is gone",
		               from != NULL ? from : "");
	if (number <= 0 || head == NULL)
		return err_set(err, ERR_PROTOCOL, "unexpected reply: a pull request without number or head");
	*ret = (struct pull){.number = number, .head = xstrdup(head)};
	return 0;
}

int pull_of_commit(const struct rest *g, const char *repository, const char *commit, struct pull *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/repos/%s/commits/%s/pulls?per_page=%d", repository, commit, PAGE);
	_cleanup_json_ json_t *list = NULL;
	const json_t *merged = NULL;
	size_t i, count = 0;
	json_t *pull;
	int r = rest_ask(g, "GET", path, NULL, "the pull request of this commit", "pull-requests: read", &list, NULL,
	                 err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, pull)
	{
		if (!is_merged_by(pull, repository, commit))
			continue;
		merged = pull;
		count++;
	}
	if (count == 1)
		return take(merged, repository, ret, err);
	if (count == 0)
		err_set(err, ERR_REFUSED, "no pull request of %s was merged as %.12s", repository, commit);
	else
		err_set(err, ERR_REFUSED, "%zu pull requests of %s were merged as %.12s", count, repository, commit);
	return err_hint(err, ERR_REFUSED, "look at the plan of this commit, and deploy it with `expect: DIGEST`");
}
