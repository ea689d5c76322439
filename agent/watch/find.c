/* What is to be carried out next: the oldest deployment at GitHub that is not handled, or the newest commit of a branch, for which a deployment is
 * made there, once, whoever else watches it. */
#include "agent/watch/watch_priv.h"

#include <string.h>

#include "agent/service/wire.h"
#include "base/core/log.h"
#include "base/core/rand.h"

enum { PER_PAGE = 100, PAGES_MAX = 20, NONCE_DIGITS = 8 };
static const char branch_task[] = "davit:watch";

static bool is_commit(const char *sha)
{
	return sha != NULL && (strlen(sha) == 40 || strlen(sha) == 64) && sha[strspn(sha, "0123456789abcdef")] == '\0';
}

static void take(struct place *p, const json_t *deployment, const char *ref)
{
	char nonce[NONCE_DIGITS + 1];
	const char *sha = json_get_string(deployment, "sha"), *environment = json_get_string(deployment, "environment"),
		   *actor = json_get_string(json_get_object(deployment, "creator"), "login");
	rand_hex(nonce, NONCE_DIGITS);
	if (ref == NULL)
		ref = json_get_string(deployment, "ref");
	json_object_set_new(p->record, "current",
	                    json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:i}", "phase", "claiming", "deployment",
	                              (json_int_t)json_get_int(deployment, "id", 0), "sha", is_commit(sha) ? sha : "",
	                              "ref", ref != NULL ? ref : "", "environment",
	                              environment != NULL ? environment : "production", "actor",
	                              p->branch == NULL && actor != NULL ? actor : "", "nonce", nonce, "attempt", 1));
}

/* "/repos/O/R/deployments?task=…&environment=…&per_page=100&page=2". free() */
static char *list_path(const struct place *p, const char *task, int page)
{
	_cleanup_(str_done) struct str path = STR_INIT(8192);
	str_appendf(&path, "/repos/%s/deployments?per_page=%d&task=", p->repository, PER_PAGE);
	wire_escape(&path, task);
	if (p->environment != NULL) {
		str_append(&path, "&environment=");
		wire_escape(&path, p->environment);
	}
	if (page > 1)
		str_appendf(&path, "&page=%d", page);
	return str_take(&path);
}

/* ---- deployments ---- */

struct search {
	json_t *oldest; /* of those that are not handled; owned */
	int64_t lowest, highest;
};

static void look_through(const struct place *p, const json_t *list, struct search *s)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		int64_t id = json_get_int(one, "id", 0);
		s->highest = MAX(s->highest, id);
		s->lowest = s->lowest == 0 ? id : MIN(s->lowest, id);
		if (id <= 0 || place_has_handled(p, id) || (s->oldest != NULL && id > json_get_int(s->oldest, "id", 0)))
			continue;
		json_decref(s->oldest);
		s->oldest = json_incref(one);
	}
}

/* The lists have the newest first. At the very first look what is behind the first page is too old to be meant. */
static int find_deployment(struct place *p, struct wait *w, bool *ret, struct err *err)
{
	struct search s = {0};
	bool first = json_object_get(p->record, "low") == NULL, more = true;
	int64_t low = json_get_int(p->record, "low", 0);
	int r = 0;
	for (int page = 1; r == 0 && more && page <= PAGES_MAX; page++) {
		_cleanup_(api_answer_done) struct api_answer answer = {0};
		_cleanup_free_ char *path = list_path(p, p->task, page);
		r = api_get(p->api, path, w, &answer, err);
		if (r == 0)
			look_through(p, answer.body, &s);
		p->asked_pause_ms = r == 0 ? answer.pause_ms : p->asked_pause_ms;
		more = answer.more && !first && s.lowest > low;
	}
	if (r == 0 && s.oldest != NULL)
		take(p, s.oldest, NULL);
	*ret = s.oldest != NULL;
	json_decref(s.oldest);
	if (r == 0 && !*ret)
		return place_settle(p, s.highest, err);
	return r < 0 ? r : place_save(p, err);
}

/* ---- a branch ---- */

static bool is_of_branch(const struct place *p, const json_t *deployment)
{
	const json_t *payload = json_object_get(deployment, "payload");
	_cleanup_json_ json_t *read = NULL;
	if (json_is_string(payload)) {
		(void)json_parse(json_string_value(payload), json_string_length(payload), 1 << 16, &read, NULL);
		payload = read;
	}
	const char *branch = json_get_string(payload, "branch");
	return branch != NULL && strcmp(branch, p->branch) == 0;
}

/* Of those newer than `after`, for that commit, the oldest one: of several watchers that made one each, all come to the same. *ret_newest: the newest
 * of this branch at all; 0. New, or NULL. */
static int made_for(struct place *p, const char *sha, int64_t after, struct wait *w, json_t **ret, json_t **ret_newest,
                    struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = list_path(p, branch_task, 1);
	int r = api_get(p->api, path, w, &answer, err);
	size_t i;
	json_t *one, *oldest = NULL, *newest = NULL;
	if (r < 0)
		return r;
	json_array_foreach(answer.body, i, one)
	{
		const char *its = json_get_string(one, "sha");
		int64_t id = json_get_int(one, "id", 0);
		if (!is_of_branch(p, one))
			continue;
		if (newest == NULL || id > json_get_int(newest, "id", 0))
			newest = one;
		if (id > after && its != NULL && strcmp(its, sha) == 0 &&
		    (oldest == NULL || id < json_get_int(oldest, "id", 0)))
			oldest = one;
	}
	*ret = json_incref(oldest);
	if (ret_newest != NULL)
		*ret_newest = json_incref(newest);
	return 0;
}

static int make(struct place *p, const char *sha, struct wait *w, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = xasprintf("/repos/%s/deployments", p->repository);
	_cleanup_json_ json_t *body =
		json_pack("{s:s, s:s, s:s, s:b, s:[], s:{s:s}, s:o}", "ref", sha, "environment", p->environment, "task",
	                  branch_task, "auto_merge", 0, "required_contexts", "payload", "branch", p->branch,
	                  "description", json_stringf("%.60s at %.7s", p->branch, sha));
	return api_send(p->api, "POST", path, body, w, &answer, err);
}

/* A commit that the branch goes back to is wanted again: the newest deployment decides, not any of that commit. */
static int deployment_of(struct place *p, const char *sha, struct wait *w, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *found = NULL, *newest = NULL;
	int r = made_for(p, sha, 0, w, &found, &newest, err);
	const char *its = json_get_string(newest, "sha");
	int64_t before = json_get_int(newest, "id", 0);
	if (r == 0 && its != NULL && strcmp(its, sha) == 0) {
		*ret = TAKE(newest);
		return 0;
	}
	json_decref(TAKE(found));
	if (r == 0)
		r = make(p, sha, w, err);
	if (r == 0)
		r = made_for(p, sha, before, w, &found, NULL, err);
	if (r == 0 && found == NULL)
		r = err_set(err, ERR_PROTOCOL, "the deployment that was made is not in the list");
	if (r == 0)
		*ret = TAKE(found);
	return r;
}

static int find_head(struct place *p, struct wait *w, bool *ret, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_(str_done) struct str path = STR_INIT(4096);
	_cleanup_json_ json_t *deployment = NULL;
	const char *known = json_get_string(p->record, "head");
	str_appendf(&path, "/repos/%s/branches/", p->repository);
	wire_escape(&path, p->branch);
	int r = api_get(p->api, str_peek(&path), w, &answer, err);
	if (r < 0)
		return r;
	p->asked_pause_ms = answer.pause_ms;
	const char *sha = json_get_string(json_get_object(answer.body, "commit"), "sha");
	if (!is_commit(sha))
		return err_set(err, ERR_PROTOCOL, "the answer about the branch '%s' names no commit", p->branch);
	*ret = known == NULL || strcmp(known, sha) != 0;
	if (!*ret)
		return 0;
	r = deployment_of(p, sha, w, &deployment, err);
	if (r < 0)
		return err_wrap(err, r, "a deployment of %.7s", sha);
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", p->branch);
	take(p, deployment, ref);
	return place_save(p, err);
}

int place_find(struct place *p, struct wait *w, bool *ret, struct err *err)
{
	*ret = false;
	return p->branch != NULL ? find_head(p, w, ret, err) : find_deployment(p, w, ret, err);
}
