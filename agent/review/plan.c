#include "agent/review/plan.h"

#include <string.h>

#include "base/core/clock.h"
#include "base/secret/digest.h"

enum {
	FORMAT = 1,
	SEALED_MAX = 4 << 20,
	OF_MAX = 2 << 20,
	REPOSITORY_DIGITS = STORE_PLAN_REPOSITORY,
	PLAN_DIGITS = STORE_PLAN_NAME - STORE_PLAN_REPOSITORY - 2,
};
#define KEPT_MS (STORE_PLAN_DAYS * INT64_C(24) * 3600 * 1000)

static const char *api_of(const struct review_plan *plan)
{
	return plan->api_url != NULL ? plan->api_url : "https://api.github.com";
}

/* REPOSITORY-PLAN, a piece of a digest each: the names of others are no part of a path or a key here. */
static char *name_of(const struct review_plan *plan)
{
	char repository[DIGEST_HEX], one[DIGEST_HEX];
	_cleanup_free_ char *of = xasprintf("%s\n%s", api_of(plan), plan->repository);
	_cleanup_free_ char *which =
		xasprintf("%s\n%lld\n%s\n%s", of, (long long)plan->number, plan->name, plan->environment);
	digest_of(of, strlen(of), repository);
	digest_of(which, strlen(which), one);
	return xasprintf("%.*s-%.*s", REPOSITORY_DIGITS, repository, PLAN_DIGITS, one);
}

int review_plan_keep(struct store *store, const struct review_plan *plan, const char *digest, const json_t *of,
                     struct err *err)
{
	_cleanup_free_ char *name = name_of(plan), *shown = of != NULL ? json_text(of) : NULL;
	_cleanup_json_ json_t *kept =
		json_pack("{s:i, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:I}", "format", FORMAT, "api_url", api_of(plan),
	                  "repository", plan->repository, "number", (json_int_t)plan->number, "name", plan->name,
	                  "environment", plan->environment, "head", plan->head, "digest", digest, "until_ms",
	                  (json_int_t)(clock_wall_ms() + KEPT_MS));
	if (kept == NULL)
		return err_set(err, ERR_INVALID, "the plan of #%lld cannot be kept: a part of its name is missing",
		               (long long)plan->number);
	if (shown != NULL && strlen(shown) <= OF_MAX)
		json_object_set(kept, "of", (json_t *)(uintptr_t)of);
	_cleanup_free_ char *text = json_text(kept);
	int r = store_plan_keep(store, name, text, strlen(text), err);
	return r < 0 ? err_wrap(err, r, "keep the plan of #%lld", (long long)plan->number) : 0;
}

static bool says(const json_t *kept, const char *member, const char *wanted)
{
	const char *text = json_get_string(kept, member);
	return text != NULL && wanted != NULL && strcmp(text, wanted) == 0;
}

static bool is_of(const json_t *kept, const struct review_plan *plan)
{
	return json_get_int(kept, "format", 0) == FORMAT && says(kept, "api_url", api_of(plan)) &&
	       says(kept, "repository", plan->repository) && json_get_int(kept, "number", 0) == plan->number &&
	       says(kept, "name", plan->name) && says(kept, "environment", plan->environment) &&
	       json_get_string(kept, "digest") != NULL && json_get_string(kept, "head") != NULL;
}

static int none(const struct review_plan *plan, const char *why, struct err *err)
{
	err_set(err, ERR_REFUSED, "no plan of %s.%s is kept here for the pull request #%lld of %s: %s", plan->name,
	        plan->environment, (long long)plan->number, plan->repository, why);
	return err_hint(err, ERR_REFUSED, "look at the plan of this commit, and deploy it with `expect: DIGEST`");
}

int review_plan_find(struct store *store, const struct review_plan *plan, json_t **ret, struct err *err)
{
	_cleanup_free_ char *name = name_of(plan);
	_cleanup_(str_done) struct str text = STR_INIT(SEALED_MAX);
	_cleanup_json_ json_t *kept = NULL;
	int r = store_plan_read(store, name, &text, err);
	if (r == ERR_NOT_FOUND)
		return none(plan,
		            store_is_shared(store) ? "none was made by a machine of this journal, or its time is over"
		                                   : "none was made on this machine, or its time is over",
		            err);
	if (r == 0)
		r = json_parse(str_peek(&text), text.len, SEALED_MAX, &kept, err);
	if (r < 0)
		return err_wrap(err, r, "read the plan of #%lld", (long long)plan->number);
	if (!is_of(kept, plan))
		return none(plan, "what lies in its place is of another one", err);
	if (clock_wall_ms() > json_get_int(kept, "until_ms", 0))
		return none(plan, "its time is over", err);
	if (!says(kept, "head", plan->head)) {
		_cleanup_free_ char *why = xasprintf("the newest is of %.12s, and what was merged is %.12s",
		                                     json_get_string(kept, "head"), plan->head);
		return none(plan, why, err);
	}
	*ret = TAKE(kept);
	return 0;
}

int review_plan_drop(struct store *store, const struct review_plan *plan, struct err *err)
{
	_cleanup_free_ char *name = name_of(plan);
	return store_plan_drop(store, name, err);
}
