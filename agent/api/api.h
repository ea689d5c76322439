/* GitHub's REST for programs that watch it for long: what is known already is asked for by its ETag, so that an answer that did not change (304)
 * counts against no limit, and a service that says "too much" is left alone until the time that it names. One of these stands for one
 * token, or for one App. Source: GitHub's "Best practices for using the REST API" and "Rate limits for the REST API" (2022-11-28). */
#pragma once
#include "base/data/json.h"
#include "base/net/http.h"

struct api;
/* Who asks: a token, or a GitHub App, which gets a token of its installation at the owner of what is asked for, with no other rights than these, and
 * another one before that ends. The files must be their owner's alone. */
struct api_access {
	const char *token_file;       /* NULL: GITHUB_TOKEN */
	const char *app_id, *app_key; /* the file of its private key, PEM; NULL, NULL: a token */
	const char *const *rights;    /* of an App's tokens: "actions", "read", …, NULL */
};
/* base: "https://api.github.com", "https://HOST/api/v3". */
int api_open(struct http *http, const char *base, const struct api_access *access, struct api **ret, struct err *err);
bool api_is_app(const struct api *a);
/* Of an App: at whom it is installed, for paths that name no repository. */
void api_set_owner(struct api *a, const char *owner);
void api_free(struct api *a);
void api_freep(struct api **a);

struct api_answer {
	int status;       /* 200 to 299 */
	bool unchanged;   /* it is the body of before */
	json_t *body;     /* NULL: none, or it is no JSON */
	int64_t pause_ms; /* X-Poll-Interval: ask for this again no sooner; 0: it does not say */
	bool more;        /* of a list: there is a further page */
};
void api_answer_done(struct api_answer *answer);

/* path from "/": with its query. Any other status than 2xx is an error: ERR_AUTH (401, 403), ERR_NOT_FOUND (404, 410), ERR_NETWORK (408, 429, 5xx, and
 * a 403 that is a limit: later), ERR_INVALID (422), ERR_PROTOCOL; err->foreign is the status. Nothing is retried here. */
int api_get(struct api *a, const char *path, struct wait *w, struct api_answer *ret, struct err *err);
/* body NULL: none. */
int api_send(struct api *a, const char *method, const char *path, const json_t *body, struct wait *w,
             struct api_answer *ret, struct err *err);
/* A file of the service into the descriptor, which is empty before; at most max bytes. */
int api_download(struct api *a, const char *path, int fd, int64_t max, int64_t timeout_ms, struct wait *w,
                 struct err *err);
/* For so long nothing may be asked; 0: now. */
int64_t api_pause_ms(const struct api *a);
