#include "agent/api/api_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

enum {
	ANSWER_MAX = 8 << 20,
	TIMEOUT_MS = 30000,
	KNOWN_MAX = 256, /* answers that are kept */
	ETAG_MAX = 512,
	SECONDARY_MS = 60 * 1000, /* where the service gives no time */
	PAUSE_MAX_MS = 2 * 60 * 60 * 1000,
};

struct known {
	char *path, *etag;
	json_t *body;
	bool more;
	uint64_t used;
};

struct api {
	struct http *http;
	char *base;
	struct access *access;
	int64_t until_mono_ms; /* nothing is asked before; 0 */
	int refusals;          /* in a row, without a time */
	struct known known[KNOWN_MAX];
	size_t known_count;
	uint64_t uses;
};

struct api *api_new(struct http *http, const char *base, struct access *access)
{
	struct api *a = xcalloc(1, sizeof(*a));
	*a = (struct api){.http = http, .base = xstrdup(base), .access = access};
	return a;
}

int api_open(struct http *http, const char *base, const struct api_access *given, struct api **ret, struct err *err)
{
	struct access *access = NULL;
	int r = access_new(http, base, given, &access, err);
	*ret = r < 0 ? NULL : api_new(http, base, access);
	return r;
}

bool api_is_app(const struct api *a)
{
	return access_is_app(a->access);
}

void api_set_owner(struct api *a, const char *owner)
{
	access_set_owner(a->access, owner);
}

static void forget(struct known *k)
{
	free(k->path);
	free(k->etag);
	json_decref(k->body);
	*k = (struct known){0};
}

void api_free(struct api *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->known_count; i++)
		forget(&a->known[i]);
	access_free(a->access);
	free(a->base);
	free(a);
}

void api_freep(struct api **a)
{
	api_free(*a);
	*a = NULL;
}

void api_answer_done(struct api_answer *answer)
{
	json_decref(answer->body);
	*answer = (struct api_answer){0};
}

/* ---- what is known ---- */

static struct known *find(struct api *a, const char *path)
{
	for (size_t i = 0; path != NULL && i < a->known_count; i++)
		if (strcmp(a->known[i].path, path) == 0) {
			a->known[i].used = ++a->uses;
			return &a->known[i];
		}
	return NULL;
}

/* The one for that path, else a free one, else the one that was not asked for longest. */
static struct known *place(struct api *a, const char *path)
{
	struct known *oldest = &a->known[0], *k = find(a, path);
	if (k == NULL && a->known_count < KNOWN_MAX)
		return &a->known[a->known_count++];
	for (size_t i = 0; k == NULL && i < a->known_count; i++)
		if (a->known[i].used < oldest->used)
			oldest = &a->known[i];
	k = k != NULL ? k : oldest;
	forget(k);
	return k;
}

static void keep(struct api *a, const char *path, const struct http_response *response, const struct api_answer *answer)
{
	const char *etag = http_header(response, "ETag");
	if (etag == NULL || strlen(etag) > ETAG_MAX || answer->body == NULL)
		return;
	*place(a, path) = (struct known){.path = xstrdup(path),
	                                 .etag = xstrdup(etag),
	                                 .body = json_incref(answer->body),
	                                 .more = answer->more,
	                                 .used = ++a->uses};
}

/* ---- limits ---- */

int64_t api_pause_ms(const struct api *a)
{
	int64_t left = a->until_mono_ms - clock_mono_ms();
	return left > 0 ? left : 0;
}

static void pause_for(struct api *a, int64_t ms)
{
	int64_t until = clock_mono_ms() + MIN(MAX(ms, 1000), (int64_t)PAUSE_MAX_MS);
	a->until_mono_ms = MAX(a->until_mono_ms, until);
}

static bool number_of(const struct http_response *response, const char *header, long long *ret)
{
	const char *text = http_header(response, header);
	return text != NULL && str_parse_i64(text, 0, INT64_MAX / 1000, ret);
}

/* The service's own clock tells how far away its times are, whatever ours says. */
static int64_t their_now(const struct http_response *response)
{
	int64_t now = http_date_ms(response);
	return (now >= 0 ? now : clock_wall_ms()) / 1000;
}

static bool says_limit(const json_t *body)
{
	const char *message = json_get_string(body, "message");
	return message != NULL && (strcasestr(message, "rate limit") != NULL || strcasestr(message, "abuse") != NULL);
}

/* True: the answer is none but "later". What is left is looked at on every answer: at none nothing is asked until it is given anew. */
static bool heed_limits(struct api *a, const struct http_response *response, const json_t *body)
{
	long long after = 0, left = 1, reset = 0;
	bool refused = response->status == 429 || response->status == 403;
	bool named = number_of(response, "Retry-After", &after),
	     none = number_of(response, "X-RateLimit-Remaining", &left) && left == 0;
	if (refused && named) {
		pause_for(a, after * 1000);
	} else if (none && number_of(response, "X-RateLimit-Reset", &reset)) {
		pause_for(a, (reset - their_now(response) + 1) * 1000);
	} else if (refused && (response->status == 429 || says_limit(body))) {
		pause_for(a, (int64_t)SECONDARY_MS << MIN(a->refusals, 6));
		a->refusals++;
		return true;
	} else {
		a->refusals = refused ? a->refusals : 0;
		return false;
	}
	return refused;
}

/* ---- calls ---- */

static int may_ask(const struct api *a, struct err *err)
{
	char text[CLOCK_TEXT_SIZE];
	int64_t left = api_pause_ms(a);
	if (left == 0)
		return 0;
	return err_set(err, ERR_NETWORK, "GitHub has had enough of our requests for another %s",
	               clock_duration(left / 1000 * 1000, text));
}

static int refused(const struct http_response *response, const char *what, bool limited, struct err *err)
{
	int code = wire_status_error(response, what, err);
	code = limited || response->status == 408                   ? ERR_NETWORK
	       : response->status == 404 || response->status == 410 ? ERR_NOT_FOUND
	       : response->status == 422                            ? ERR_INVALID
	                                                            : code;
	if (err != NULL) {
		err->code = code;
		err->foreign = response->status;
	}
	return code;
}

int api_read(struct api *a, const char *path, const struct http_response *response, const char *what,
             struct api_answer *ret, struct err *err)
{
	struct known *known = find(a, path);
	long long seconds = 0;
	const char *link = http_header(response, "Link");
	struct api_answer answer = {.status = response->status};
	if (response->body.len > 0)
		(void)json_parse(response->body.data, response->body.len, ANSWER_MAX, &answer.body, NULL);
	bool limited = heed_limits(a, response, answer.body);
	if (number_of(response, "X-Poll-Interval", &seconds))
		answer.pause_ms = MIN(seconds, 3600) * 1000;
	answer.more = link != NULL && strstr(link, "rel=\"next\"") != NULL;
	if (response->status == 304 && known != NULL) {
		json_decref(answer.body);
		answer.body = json_incref(known->body);
		answer.more = known->more;
		answer.unchanged = true;
		answer.status = 200;
	} else if (response->status < 200 || response->status > 299) {
		api_answer_done(&answer);
		return refused(response, what, limited, err);
	} else if (path != NULL) {
		keep(a, path, response, &answer);
	}
	*ret = answer;
	return 0;
}

static int call_once(struct api *a, const char *method, const char *path, const json_t *body, struct wait *w,
                     struct api_answer *ret, struct err *err)
{
	bool get = strcmp(method, "GET") == 0;
	const struct known *known = get ? find(a, path) : NULL;
	_cleanup_free_ char *url = xasprintf("%s%s", a->base, path), *text = body != NULL ? json_text(body) : NULL,
			    *etag = known != NULL ? xasprintf("If-None-Match: %s", known->etag) : NULL,
			    *what = xasprintf("%s %.*s", method, (int)strcspn(path, "?"), path);
	const char *headers[6] = {NULL, "Accept: application/vnd.github+json", "X-GitHub-Api-Version: 2022-11-28"};
	size_t count = 3;
	if (text != NULL)
		headers[count++] = "Content-Type: application/json";
	if (etag != NULL)
		headers[count++] = etag;
	struct http_request request = {.method = method,
	                               .url = url,
	                               .headers = headers,
	                               .body = text,
	                               .body_len = text != NULL ? strlen(text) : 0,
	                               .max_body = ANSWER_MAX,
	                               .follow = get, /* a repository that was renamed */
	                               .fresh = !get, /* over one that has died meanwhile libcurl would send it again */
	                               .timeout_ms = TIMEOUT_MS};
	_cleanup_(http_response_done) struct http_response response = {0};
	int r = may_ask(a, err);
	if (r == 0)
		r = access_header(a->access, path, w, &headers[0], err);
	if (r == 0)
		r = http_perform(a->http, &request, w, &response, err);
	return r < 0 ? err_wrap(err, r, "%s", what) : api_read(a, get ? path : NULL, &response, what, ret, err);
}

/* A token of an App's may end before its time: once more with a new one. */
static int call(struct api *a, const char *method, const char *path, const json_t *body, struct wait *w,
                struct api_answer *ret, struct err *err)
{
	int r = call_once(a, method, path, body, w, ret, err);
	if (r >= 0 || err->foreign != 401 || !access_refused(a->access, path))
		return r;
	err_clear(err);
	return call_once(a, method, path, body, w, ret, err);
}

int api_get(struct api *a, const char *path, struct wait *w, struct api_answer *ret, struct err *err)
{
	return call(a, "GET", path, NULL, w, ret, err);
}

int api_send(struct api *a, const char *method, const char *path, const json_t *body, struct wait *w,
             struct api_answer *ret, struct err *err)
{
	return call(a, method, path, body, w, ret, err);
}

struct sink {
	int fd;
	int64_t left;
};

static int take_bytes(void *context, const void *data, size_t len, struct err *err)
{
	struct sink *sink = context;
	if ((int64_t)len > sink->left)
		return err_set(err, ERR_LIMIT, "it is larger than may be");
	sink->left -= (int64_t)len;
	return fs_write_all(sink->fd, data, len, err);
}

int api_download(struct api *a, const char *path, int fd, int64_t max, int64_t timeout_ms, struct wait *w,
                 struct err *err)
{
	_cleanup_free_ char *url = xasprintf("%s%s", a->base, path), *what = xasprintf("download %s", path);
	const char *headers[] = {NULL, "X-GitHub-Api-Version: 2022-11-28", NULL};
	struct sink sink = {.fd = fd, .left = max};
	struct http_request request = {.url = url,
	                               .headers = headers,
	                               .timeout_ms = timeout_ms,
	                               .follow = true,
	                               .on_body = take_bytes,
	                               .context = &sink};
	_cleanup_(http_response_done) struct http_response response = {0};
	int r = may_ask(a, err);
	if (r == 0)
		r = access_header(a->access, path, w, &headers[0], err);
	if (r == 0)
		r = http_perform(a->http, &request, w, &response, err);
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	if (response.status == 401)
		(void)access_refused(a->access, path);
	bool limited = heed_limits(a, &response, NULL);
	return response.status >= 200 && response.status <= 299 ? 0 : refused(&response, what, limited, err);
}
