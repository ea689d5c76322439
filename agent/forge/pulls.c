/* Pull requests: opened and merged by REST, moved by pushes to their branch; each of these starts the workflows of what the merge would be. */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"

#include <string.h>
#include <strings.h>

enum { SHA_LEN = 40, OUT_MAX = 64 << 10 };

/* ---- git ---- */

/* The first word of what git prints; NULL: it failed. free() */
static char *git_word(const struct forge_repo *repo, const char *const *args)
{
	_cleanup_(str_done) struct str out = STR_INIT(OUT_MAX);
	if (forge_repo_git(repo, args, OUT_MAX, &out, NULL) < 0)
		return NULL;
	return xstrndup(str_peek(&out), strcspn(str_peek(&out), "\n "));
}

static bool set_ref(const struct forge_repo *repo, const char *ref, const char *sha)
{
	const char *args[] = {"update-ref", "--", ref, sha, NULL};
	_cleanup_free_ char *word = git_word(repo, args);
	return word != NULL;
}

/* The tree of both sides; NULL: they conflict. free() */
static char *merged_tree(const struct forge_repo *repo, const char *base, const char *head)
{
	const char *args[] = {"merge-tree", "--write-tree", base, head, NULL};
	return git_word(repo, args);
}

/* second NULL: a squash. free() */
static char *make_commit(const struct forge_repo *repo, const char *tree, const char *first, const char *second,
                         const char *message)
{
	const char *args[16] = {"-c",          "user.name=GitHub",
	                        "-c",          "user.email=noreply@github.com",
	                        "commit-tree", tree,
	                        "-p",          first,
	                        "-m",          message};
	if (second != NULL) {
		args[10] = "-p";
		args[11] = second;
	}
	return git_word(repo, args);
}

/* ---- the object, as REST answers it ---- */

static json_t *side_json(struct forge *f, const struct forge_repo *repo, const char *branch, const char *sha)
{
	return json_pack("{s:o, s:s, s:s, s:o, s:{s:s}}", "label", json_stringf("%s:%s", repo->owner, branch), "ref",
	                 branch, "sha", sha, "repo", forge_repo_json(f, repo), "user", "login", repo->owner);
}

static const char *of_side(const json_t *pull, const char *which, const char *member)
{
	const json_t *side = json_get_object(pull, which);
	return strcmp(member, "repo") == 0 ? json_get_string(json_get_object(side, "repo"), "full_name")
	                                   : json_get_string(side, member);
}

static bool is_open(const json_t *pull)
{
	return strcmp(json_get_string(pull, "state"), "open") == 0;
}

static bool is_from_fork(const json_t *pull)
{
	return strcmp(of_side(pull, "head", "repo"), of_side(pull, "base", "repo")) != 0;
}

static void stamp(json_t *object, const char *member)
{
	char time[CLOCK_TEXT_SIZE];
	clock_rfc3339(clock_wall_ms(), time);
	time[19] = 'Z';
	time[20] = '\0';
	json_object_set_new(object, member, json_string(time));
}

/* ---- what starts ---- */

/* refs/pull/N/head and /merge of the base's repository; the merge commit, or NULL where both sides conflict. free() */
static char *prepare_merge(const struct forge_repo *base, const struct forge_repo *head, json_t *pull)
{
	long long number = json_get_int(pull, "number", 0);
	const char *branch = of_side(pull, "head", "ref");
	_cleanup_free_ char *there = xasprintf("refs/heads/%s", branch),
			    *here = xasprintf("refs/pull/%lld/head", number);
	_cleanup_free_ char *spec = xasprintf("+%s:%s", there, here),
			    *merge = xasprintf("refs/pull/%lld/merge", number);
	_cleanup_free_ char *onto = xasprintf("refs/heads/%s", of_side(pull, "base", "ref"));
	const char *fetch[] = {"fetch", "--quiet", "--no-tags", head->dir, spec, NULL};
	_cleanup_free_ char *fetched = git_word(base, fetch), *base_sha = forge_repo_commit(base, onto),
			    *head_sha = forge_repo_commit(base, here);
	if (fetched == NULL || base_sha == NULL || head_sha == NULL)
		return NULL;
	_cleanup_free_ char *tree = merged_tree(base, base_sha, head_sha);
	_cleanup_free_ char *message = xasprintf("Merge %s into %s", head_sha, base_sha);
	_cleanup_free_ char *sha = tree != NULL ? make_commit(base, tree, base_sha, head_sha, message) : NULL;
	json_object_set_new(json_get_object(pull, "head"), "sha", json_string(head_sha));
	json_object_set_new(json_get_object(pull, "base"), "sha", json_string(base_sha));
	json_object_set_new(pull, "mergeable", json_boolean(sha != NULL));
	stamp(pull, "updated_at");
	return sha != NULL && set_ref(base, merge, sha) ? TAKE(sha) : NULL;
}

static void begin_runs(struct forge *f, struct forge_repo *base, json_t *pull, const char *action, const char *sha,
                       const char *actor)
{
	_cleanup_free_ char *ref = xasprintf("refs/pull/%lld/merge", (long long)json_get_int(pull, "number", 0));
	_cleanup_json_ json_t *payload =
		json_pack("{s:s, s:O, s:O, s:o, s:{s:s, s:i, s:s}}", "action", action, "number",
	                  json_object_get(pull, "number"), "pull_request", pull, "repository", forge_repo_json(f, base),
	                  "sender", "login", actor, "id", 1, "type", "User");
	const struct push_event event = {.name = "pull_request",
	                                 .filter = action,
	                                 .branch = of_side(pull, "base", "ref"),
	                                 .ref = ref,
	                                 .sha = sha,
	                                 .payload = payload,
	                                 .actor = actor,
	                                 .from_fork = is_from_fork(pull)};
	push_event_begin(f, base, &event);
}

static void pull_changed(struct forge *f, struct forge_repo *base, struct forge_repo *head, json_t *pull,
                         const char *action, const char *actor)
{
	_cleanup_free_ char *sha = prepare_merge(base, head, pull);
	pthread_mutex_lock(&f->lock);
	forge_event(f, "pull request #%lld of %s: %s%s", (long long)json_get_int(pull, "number", 0), base->full_name,
	            action, sha != NULL ? "" : ", in conflict");
	pthread_mutex_unlock(&f->lock);
	if (sha != NULL && !push_asks_for_nothing(f, base, of_side(pull, "head", "sha")))
		begin_runs(f, base, pull, action, sha, actor);
}

void pulls_pushed(struct forge *f, struct forge_repo *repo, const char *ref, const char *actor)
{
	pthread_mutex_lock(&f->pull_lock);
	for (size_t i = 0; i < f->repo_count; i++) {
		struct forge_repo *base = f->repos[i];
		size_t n;
		json_t *pull;
		json_array_foreach(base->pulls, n, pull)
		{
			_cleanup_free_ char *branch = xasprintf("refs/heads/%s", of_side(pull, "head", "ref"));
			if (is_open(pull) && strcmp(branch, ref) == 0 &&
			    strcmp(of_side(pull, "head", "repo"), repo->full_name) == 0)
				pull_changed(f, base, repo, pull, "synchronize", actor);
		}
	}
	pthread_mutex_unlock(&f->pull_lock);
}

/* ---- REST ---- */

static struct forge_repo *begin(struct req *r, const char *level, struct forge_job **ret_job)
{
	pthread_mutex_lock(&r->f->lock);
	struct forge_repo *repo = rest_begin(r, "PullRequests", level, ret_job);
	pthread_mutex_unlock(&r->f->lock);
	return repo;
}

/* "branch", or "owner:branch" of a repository of the same name. */
static struct forge_repo *find_head(struct req *r, struct forge_repo *base, const char *given, const char **ret_branch)
{
	const char *colon = strchr(given, ':');
	_cleanup_free_ char *owner = colon != NULL ? xstrndup(given, (size_t)(colon - given)) : NULL;
	*ret_branch = colon != NULL ? colon + 1 : given;
	return owner != NULL ? forge_repo_find(r->f, owner, base->name) : base;
}

static json_t *make_pull(struct req *r, struct forge_repo *base, struct forge_repo *head, const char *branch,
                         const json_t *body, const struct forge_job *job)
{
	const char *onto = json_get_string(body, "base");
	json_t *pull = json_object();
	rest_add_common(r, pull, job);
	long long number = ++base->issue_number;
	json_t *text = json_object_get(body, "body");
	json_object_set_new(pull, "number", json_integer(number));
	json_object_set_new(pull, "state", json_string("open"));
	json_object_set(pull, "title", json_object_get(body, "title"));
	json_object_set(pull, "body", text != NULL ? text : json_null());
	json_object_set_new(pull, "draft", json_false());
	json_object_set_new(pull, "merged", json_false());
	json_object_set_new(pull, "merged_at", json_null());
	json_object_set_new(pull, "closed_at", json_null());
	json_object_set_new(pull, "locked", json_false());
	json_object_set_new(pull, "labels", json_array());
	json_object_set_new(pull, "merge_commit_sha", json_null());
	json_object_set_new(pull, "head", side_json(r->f, head, branch, ""));
	json_object_set_new(pull, "base", side_json(r->f, base, onto, ""));
	json_object_set_new(pull, "url",
	                    json_stringf("%s/api/v3/repos/%s/pulls/%lld", r->f->base, base->full_name, number));
	json_object_set_new(pull, "html_url", json_stringf("%s/%s/pull/%lld", r->f->base, base->full_name, number));
	json_array_append_new(base->pulls, pull);
	return pull;
}

static void create(struct req *r)
{
	static const struct member members[] = {{"title", 'S', true},  {"head", 'S', true},
	                                        {"base", 'S', true},   {"body", 'n', false},
	                                        {"draft", 'b', false}, {"maintainer_can_modify", 'b', false}};
	struct forge_job *job = NULL;
	struct forge_repo *base = begin(r, "write", &job);
	_cleanup_json_ json_t *body = base != NULL ? req_json(r) : NULL;
	const char *branch = NULL;
	if (body == NULL)
		return;
	if (!check_members(r, body, "PullRequest", members, ARRAY_SIZE(members))) {
		rest_invalid(r, "PullRequest", "head", "missing");
		return;
	}
	struct forge_repo *head = find_head(r, base, json_get_string(body, "head"), &branch);
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", branch);
	_cleanup_free_ char *sha = head != NULL ? forge_repo_commit(head, ref) : NULL;
	if (sha == NULL) {
		rest_invalid(r, "PullRequest", "head", "invalid");
		return;
	}
	pthread_mutex_lock(&r->f->lock);
	json_t *pull = make_pull(r, base, head, branch, body, job);
	pthread_mutex_unlock(&r->f->lock);
	pull_changed(r->f, base, head, pull, "opened", rest_actor_of(job));
	req_reply_json(r, 201, json_deep_copy(pull));
}

static json_t *find_pull(struct req *r, const struct forge_repo *repo)
{
	long long number = 0;
	size_t i;
	json_t *pull;
	if (str_parse_i64(r->args[2], 1, INT64_MAX, &number))
		json_array_foreach(repo->pulls, i, pull) if (json_get_int(pull, "number", 0) == number) return pull;
	req_reply_error(r, 404, "Not Found");
	return NULL;
}

static void get(struct req *r)
{
	struct forge_repo *repo = begin(r, "read", NULL);
	json_t *pull = repo != NULL ? find_pull(r, repo) : NULL;
	if (pull != NULL)
		req_reply_json(r, 200, json_deep_copy(pull));
}

/* What the base's branch becomes. free(); NULL: the sides conflict. */
static char *make_merge(const struct forge_repo *base, const json_t *pull, const char *base_sha, const char *method)
{
	const char *head = of_side(pull, "head", "sha");
	_cleanup_free_ char *tree = merged_tree(base, base_sha, head);
	_cleanup_free_ char *message =
		xasprintf("Merge pull request #%lld", (long long)json_get_int(pull, "number", 0));
	bool squash = method != NULL && strcmp(method, "squash") == 0;
	return tree != NULL ? make_commit(base, tree, base_sha, squash ? NULL : head, message) : NULL;
}

static void merge(struct req *r)
{
	static const struct member members[] = {{"merge_method", 's', false},
	                                        {"commit_title", 's', false},
	                                        {"commit_message", 's', false},
	                                        {"sha", 's', false}};
	struct forge_job *job = NULL;
	struct forge_repo *repo = begin(r, "write", &job);
	_cleanup_json_ json_t *body = repo != NULL ? req_json(r) : NULL;
	json_t *pull = body != NULL ? find_pull(r, repo) : NULL;
	if (pull == NULL)
		return;
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", of_side(pull, "base", "ref"));
	_cleanup_free_ char *before = forge_repo_commit(repo, ref);
	_cleanup_free_ char *sha = check_members(r, body, "a merge", members, ARRAY_SIZE(members)) && is_open(pull)
	                                   ? make_merge(repo, pull, before, json_get_string(body, "merge_method"))
	                                   : NULL;
	if (sha == NULL || !set_ref(repo, ref, sha)) {
		req_reply_error(r, 405, "Pull Request is not mergeable");
		return;
	}
	pthread_mutex_lock(&r->f->lock);
	json_object_set_new(pull, "state", json_string("closed"));
	json_object_set_new(pull, "merged", json_true());
	json_object_set_new(pull, "merge_commit_sha", json_string(sha));
	stamp(pull, "merged_at");
	stamp(pull, "closed_at");
	pthread_mutex_unlock(&r->f->lock);
	/* A merge by a job's token starts nothing, as its pushes do not. */
	if (job == NULL)
		push_received(r->f, repo, ref, before, sha, rest_actor_of(job));
	req_reply_json(
		r, 200,
		json_pack("{s:s, s:b, s:s}", "sha", sha, "merged", 1, "message", "Pull Request successfully merged"));
}

/* Those that have the commit: merged as it, or with it as their head. */
static void list_of_commit(struct req *r)
{
	struct forge_repo *repo = begin(r, "read", NULL);
	_cleanup_free_ char *sha = repo != NULL ? forge_repo_commit(repo, r->args[2]) : NULL;
	_cleanup_json_ json_t *out = json_array();
	size_t i;
	json_t *pull;
	if (repo == NULL)
		return;
	if (sha == NULL) {
		req_reply_error(r, 422, "No commit found for SHA: %s", r->args[2]);
		return;
	}
	json_array_foreach(repo->pulls, i, pull)
	{
		const char *merge = json_get_string(pull, "merge_commit_sha"), *head = of_side(pull, "head", "sha");
		if ((merge != NULL && strcmp(merge, sha) == 0) || strcmp(head, sha) == 0)
			json_array_append_new(out, json_deep_copy(pull));
	}
	rest_reply_page(r, out);
}

/* Git works long: only pull requests wait for it, not all requests. */
static void alone(struct req *r, void (*handle)(struct req *r))
{
	pthread_mutex_lock(&r->f->pull_lock);
	handle(r);
	pthread_mutex_unlock(&r->f->pull_lock);
}

void pulls_create(struct req *r)
{
	alone(r, create);
}

void pulls_get(struct req *r)
{
	alone(r, get);
}

void pulls_merge(struct req *r)
{
	alone(r, merge);
}

void pulls_of_commit(struct req *r)
{
	alone(r, list_of_commit);
}
