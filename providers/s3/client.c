#include "providers/s3/client.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/core/shown.h"
#include "base/net/net.h"
#include "base/secret/digest.h"
#include "providers/s3/answer.h"
#include "providers/s3/sign.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 120000, RETRIES = 3, LOGIN_MAX = 64 << 10, KEY_MAX = 1024, URL_MAX = 16 << 10, SHOWN_MAX = 200 };

struct s3 {
	char *origin;               /* "https://HOST" */
	char *host, *bucket, *base; /* base: "/BUCKET" or "" */
	char *region, *access_key;
	struct str secret_key, session_token;
	const struct s3_quirks *quirks;
	struct http *http;
};

static int read_url(struct s3 *s, const struct s3_config *config, struct err *err)
{
	struct net_service service _cleanup_(net_service_done) = {0};
	int r = net_service_read(config->url, "an S3 service", &service, err);
	if (r < 0)
		return r;
	if (strcmp(service.path, "/") != 0)
		return err_set(err, ERR_INVALID, "'%s' is not the URL of an S3 service: a path follows the host",
		               config->url);
	s->host = config->host_style ? xasprintf("%s.%s", config->bucket, service.host) : TAKE(service.host);
	s->origin = xasprintf("%s://%s", service.secure ? "https" : "http", s->host);
	s->base = config->host_style ? xstrdup("") : xasprintf("/%s", config->bucket);
	return 0;
}

int s3_new(const struct s3_config *config, struct s3 **ret, struct err *err)
{
	struct s3 *s _cleanup_(s3_freep) = xcalloc(1, sizeof(*s));
	const struct http_config http = {.ca_file = config->ca_file};
	s->secret_key = s->session_token = (struct str)STR_SECRET_INIT(LOGIN_MAX);
	int r = read_url(s, config, err);
	if (r < 0)
		return r;
	s->quirks = s3_quirks_of(config->provider, s->host);
	s->bucket = xstrdup(config->bucket);
	s->region = xstrdup(config->region);
	s->access_key = xstrdup(config->access_key);
	str_append(&s->secret_key, config->secret_key);
	str_append(&s->session_token, config->session_token ? config->session_token : "");
	s->http = http_new(&http, err);
	if (s->http == NULL)
		return err != NULL ? err->code : ERR_INTERNAL;
	*ret = TAKE(s);
	return 0;
}

void s3_free(struct s3 *s)
{
	if (s == NULL)
		return;
	http_free(s->http);
	str_done(&s->secret_key);
	str_done(&s->session_token);
	free(s->origin);
	free(s->host);
	free(s->bucket);
	free(s->base);
	free(s->region);
	free(s->access_key);
	free(s);
}

void s3_freep(struct s3 **s)
{
	s3_free(*s);
}

const char *s3_host(const struct s3 *s)
{
	return s->host;
}

const char *s3_bucket(const struct s3 *s)
{
	return s->bucket;
}

const struct s3_quirks *s3_quirks(const struct s3 *s)
{
	return s->quirks;
}

/* A part "." or ".." would be taken out on the way, and the signature be another one's. */
static int check_key(const char *key, struct err *err)
{
	_cleanup_free_ char *between = xasprintf("/%s/", key);
	if (strlen(key) > KEY_MAX || strstr(between, "/./") || strstr(between, "/../"))
		return err_set(err, ERR_INVALID, "'%s' cannot be the key of an object", key);
	return 0;
}

int s3_send(struct s3 *s, const struct s3_call *call, struct wait *w, struct http_response *ret, struct err *err)
{
	_cleanup_(str_done) struct str path = STR_INIT(URL_MAX), url = STR_INIT(URL_MAX);
	struct strv headers _cleanup_(strv_done) = {0};
	char digest[DIGEST_HEX];
	const char *extra[2];
	size_t count = 0;
	int r = check_key(call->key, err);
	if (r < 0)
		return r;
	str_appendf(&path, "%s/", s->base);
	s3_escape(call->key, true, &path);
	str_appendf(&url, "%s%s%s%s", s->origin, str_peek(&path), call->query ? "?" : "",
	            call->query ? call->query : "");
	if (path.failed || url.failed)
		return err_set(err, ERR_LIMIT, "the request to '%s' is too long", s->host);
	digest_of(call->body ? call->body : "", call->body_len, digest);
	if (call->body)
		extra[count++] = "content-type: application/octet-stream";
	if (call->header)
		extra[count++] = call->header;
	const struct s3_login login = {.access_key = s->access_key,
	                               .secret_key = str_peek(&s->secret_key),
	                               .session_token = s->session_token.len > 0 ? str_peek(&s->session_token) : NULL,
	                               .region = s->region};
	const struct s3_signed request = {.method = call->method,
	                                  .host = s->host,
	                                  .path = str_peek(&path),
	                                  .query = call->query ? call->query : "",
	                                  .headers = extra,
	                                  .header_count = count,
	                                  .payload_sha256 = digest,
	                                  .wall_ms = clock_wall_ms()};
	s3_sign(&login, &request, &headers);
	const struct http_request q = {.method = call->method,
	                               .url = str_peek(&url),
	                               .headers = (const char *const *)strv_null_terminated(&headers),
	                               .body = call->body,
	                               .body_len = call->body_len,
	                               .borrow_body = true,
	                               .max_body = call->max_body,
	                               .timeout_ms = TIMEOUT_MS,
	                               .retries = call->once ? 0 : RETRIES};
	r = http_perform(s->http, &q, w, ret, err);
	for (size_t i = 0; i < headers.count; i++)
		if (str_starts(headers.items[i], "x-amz-security-token"))
			explicit_bzero(headers.items[i], strlen(headers.items[i]));
	return r < 0 ? err_wrap(err, r, "ask '%s'", s->host) : 0;
}

static int code_for(int status, const char *word)
{
	if (strcmp(word, "QuotaExceeded") == 0 || strcmp(word, "EntityTooLarge") == 0 || status == 507)
		return ERR_NO_SPACE;
	switch (status) {
	case 401:
	case 403:
		return ERR_AUTH;
	case 404:
		return ERR_NOT_FOUND;
	case 409:
	case 412:
		return ERR_CONFLICT;
	case 408:
	case 429:
		return ERR_NETWORK;
	default:
		return status >= 500 ? ERR_NETWORK : ERR_PROTOCOL;
	}
}

static int hint_for(const char *word, int status, int r, struct err *err)
{
	if (strcmp(word, "RequestTimeTooSkewed") == 0)
		return err_hint(err, r, "the clock of this machine is wrong: set it, or let it be set (NTP)");
	if (strcmp(word, "SignatureDoesNotMatch") == 0 || strcmp(word, "InvalidAccessKeyId") == 0)
		return err_hint(err, r, "check the target's `access_key`, `secret_key` and `region`");
	if (strcmp(word, "NoSuchBucket") == 0)
		return err_hint(err, r, "make the bucket, or check `bucket`, `region` and `style`");
	if (status == 301 || status == 307 || strcmp(word, "AuthorizationHeaderMalformed") == 0)
		return err_hint(err, r, "the bucket is in another region: check the target's `url` and `region`");
	if (r == ERR_AUTH)
		return err_hint(err, r,
		                "the login must be allowed to list the bucket, and to read, write and delete there");
	return r;
}

int s3_refused(const struct s3 *s, const struct http_response *answer, const char *what, struct err *err)
{
	_cleanup_(str_done) struct str word = STR_INIT(256), message = STR_INIT(2048);
	const struct s3_text body = {str_peek(&answer->body), answer->body.len};
	s3_answer_text(body, "Code", &word);
	s3_answer_text(body, "Message", &message);
	_cleanup_free_ char *shown_word = shown_text(str_peek(&word), word.len, SHOWN_MAX),
			    *shown = shown_text(str_peek(&message), message.len, SHOWN_MAX);
	int r = err_set(err, code_for(answer->status, str_peek(&word)),
	                "%s in the bucket '%s': '%s' answered %d %s%s%s", what, s->bucket, s->host, answer->status,
	                shown_word, *shown ? ": " : "", shown);
	if (err)
		err->foreign = answer->status;
	return hint_for(str_peek(&word), answer->status, r, err);
}
