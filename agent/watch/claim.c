/* Whose a deployment is, and what is told of it: GitHub's deployment statuses, whose numbers rise. Who wrote the first one that says more than
 * that it waits carries it out. */
#include "agent/watch/watch_priv.h"

#include <string.h>

#include "base/sys/host.h"

enum { DESCRIPTION_MAX = 140 };

static char *statuses_path(const struct place *p)
{
	return xasprintf("/repos/%s/deployments/%lld/statuses", p->repository,
	                 (long long)json_get_int(place_current(p), "deployment", 0));
}

static bool is_waiting(const json_t *status)
{
	const char *state = json_get_string(status, "state");
	return state == NULL || strcmp(state, "queued") == 0 || strcmp(state, "pending") == 0;
}

static bool is_ours(const struct place *p, const json_t *status)
{
	const char *text = json_get_string(status, "description"), *nonce = json_get_string(place_current(p), "nonce");
	return text != NULL && nonce != NULL && strstr(text, nonce) != NULL;
}

/* The first one that takes it; NULL: nobody has. New. */
static int first_taker(struct place *p, struct wait *w, json_t **ret, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *plain = statuses_path(p), *path = xasprintf("%s?per_page=100", plain);
	int r = api_get(p->api, path, w, &answer, err);
	size_t i;
	json_t *one, *first = NULL;
	if (r < 0)
		return r;
	json_array_foreach(answer.body, i,
	                   one) if (!is_waiting(one) &&
	                            (first == NULL || json_get_int(one, "id", 0) < json_get_int(first, "id", 0)))
		first = one;
	*ret = json_incref(first);
	return 0;
}

static int post(struct place *p, const char *state, const char *text, const char *log_url, struct wait *w,
                struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = statuses_path(p);
	_cleanup_(str_done) struct str shown = STR_INIT(1 << 16);
	str_append_safe(&shown, text, strlen(text));
	str_truncate(&shown,
	             shown.len > DESCRIPTION_MAX ? str_whole_characters(str_peek(&shown), DESCRIPTION_MAX) : shown.len);
	_cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "state", state, "description", str_peek(&shown));
	json_set_string(body, "log_url", log_url);
	return api_send(p->api, "POST", path, body, w, &answer, err);
}

int place_claim(struct place *p, struct wait *w, bool *ret, struct err *err)
{
	_cleanup_json_ json_t *taker = NULL;
	_cleanup_free_ char *text =
		xasprintf("davit on %.60s [%s]", host_name(), json_get_string(place_current(p), "nonce"));
	int r = first_taker(p, w, &taker, err);
	if (r == 0 && taker == NULL) {
		r = post(p, "in_progress", text, NULL, w, err);
		if (r == 0)
			r = first_taker(p, w, &taker, err);
	}
	if (r < 0)
		return err_wrap(err, r, "take the deployment %lld",
		                (long long)json_get_int(place_current(p), "deployment", 0));
	*ret = taker != NULL && is_ours(p, taker);
	return 0;
}

/* The page of davit's own deployment, where people can reach one. free() */
static char *log_url(const struct place *p)
{
	const char *davit = json_get_string(place_current(p), "davit");
	if (p->page == NULL || davit == NULL)
		return NULL;
	return xasprintf("%s%sdeployments/%s", p->page, p->page[strlen(p->page) - 1] == '/' ? "" : "/", davit);
}

int place_report(struct place *p, struct wait *w, struct err *err)
{
	const json_t *current = place_current(p);
	_cleanup_free_ char *url = log_url(p);
	int r = post(p, json_get_string(current, "state"), json_get_string(current, "text"), url, w, err);
	/* It was deleted meanwhile: nobody is left who would want to know. */
	if (r == ERR_NOT_FOUND) {
		if (err != NULL)
			err_clear(err);
		r = 0;
	}
	return r < 0 ? err_wrap(err, r, "tell how the deployment went") : 0;
}

int place_end(struct place *p, const char *state, const char *davit, const char *text, struct err *err)
{
	json_t *current = place_current(p);
	json_object_set_new(current, "state", json_string(state));
	json_set_string(current, "text", text);
	json_set_string(current, "davit", davit);
	p->bad += strcmp(state, "success") != 0;
	return place_enter(p, "ended", err);
}
