#include "agent/review/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "base/secret/seal.h"
#include "base/sys/fs.h"

enum {
	FORMAT = 1,
	SEALED_MAX = 4 << 20,
	OF_MAX = 2 << 20,
	DAYS_KEPT = 30,
	KEPT_MAX = 300,          /* in all */
	KEPT_OF_REPOSITORY = 60, /* so that one repository cannot push out those of all others */
	REPOSITORY_DIGITS = 16,
	PLAN_DIGITS = 32,
};
static const char place[] = "plans";
#define KEPT_MS (DAYS_KEPT * INT64_C(24) * 3600 * 1000)

static const char *api_of(const struct review_plan *plan)
{
	return plan->api_url != NULL ? plan->api_url : "https://api.github.com";
}

/* REPOSITORY-PLAN, a piece of a digest each: the names of others are no part of a path here. */
static char *file_name(const struct review_plan *plan)
{
	char repository[DIGEST_HEX], one[DIGEST_HEX];
	_cleanup_free_ char *of = xasprintf("%s\n%s", api_of(plan), plan->repository);
	_cleanup_free_ char *which =
		xasprintf("%s\n%lld\n%s\n%s", of, (long long)plan->number, plan->name, plan->environment);
	digest_of(of, strlen(of), repository);
	digest_of(which, strlen(which), one);
	return xasprintf("%.*s-%.*s", REPOSITORY_DIGITS, repository, PLAN_DIGITS, one);
}

/* ---- bounds ---- */

struct kept {
	char name[REPOSITORY_DIGITS + 1 + PLAN_DIGITS + 1];
	int64_t made_ms;
};

static int by_age(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	return (x->made_ms < y->made_ms) - (x->made_ms > y->made_ms);
}

static size_t list_kept(int dirfd, DIR *d, struct kept **ret)
{
	size_t count = 0, cap = 0;
	for (struct dirent *one; (one = readdir(d)) != NULL;) {
		struct stat st;
		if (strlen(one->d_name) != sizeof(((struct kept *)0)->name) - 1 ||
		    fstatat(dirfd, one->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		*ret = xgrow(*ret, &cap, count + 1, sizeof(**ret));
		memcpy((*ret)[count].name, one->d_name, sizeof((*ret)->name));
		(*ret)[count++].made_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	}
	return count;
}

static void closedirp(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

/* What is over goes, then the oldest of a repository that has too many, then the oldest of all. */
static void keep_bounds(const char *state_dir)
{
	_cleanup_free_ char *directory = fs_join(state_dir, place);
	_cleanup_free_ struct kept *all = NULL;
	_cleanup_(closedirp) DIR *d = opendir(directory);
	if (d == NULL)
		return;
	size_t count = list_kept(dirfd(d), d, &all), stay = 0;
	int64_t now = clock_wall_ms();
	if (count > 1)
		qsort(all, count, sizeof(*all), by_age);
	for (size_t i = 0; i < count; i++) {
		size_t same = 0;
		for (size_t k = 0; k < i; k++)
			same += memcmp(all[k].name, all[i].name, REPOSITORY_DIGITS) == 0;
		bool over = now - all[i].made_ms > KEPT_MS || same >= KEPT_OF_REPOSITORY || stay >= KEPT_MAX;
		if (over)
			unlinkat(dirfd(d), all[i].name, 0);
		else
			stay++;
	}
	seal_sweep_at(state_dir, place, NULL);
}

/* ---- one ---- */

int review_plan_keep(const char *state_dir, const struct review_plan *plan, const char *digest, const json_t *of,
                     struct err *err)
{
	_cleanup_free_ char *name = file_name(plan), *shown = of != NULL ? json_text(of) : NULL;
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
	int r = seal_write_at(state_dir, place, name, text, strlen(text), err);
	if (r < 0)
		return err_wrap(err, r, "keep the plan of #%lld", (long long)plan->number);
	keep_bounds(state_dir);
	return 0;
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

int review_plan_find(const char *state_dir, const struct review_plan *plan, json_t **ret, struct err *err)
{
	_cleanup_free_ char *name = file_name(plan);
	_cleanup_(str_done) struct str text = STR_INIT(SEALED_MAX);
	_cleanup_json_ json_t *kept = NULL;
	int r = seal_read_at(state_dir, place, name, &text, err);
	if (r == ERR_NOT_FOUND)
		return none(plan, "none was made on this machine, or its time is over", err);
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

int review_plan_drop(const char *state_dir, const struct review_plan *plan, struct err *err)
{
	_cleanup_free_ char *name = file_name(plan), *directory = fs_join(state_dir, place);
	if (access(directory, F_OK) != 0)
		return 0;
	return seal_erase_at(state_dir, place, name, err);
}
