/* What REST answers carry beside their body: an ETag, by which a request that brings it is answered 304 at no cost, and how many requests are
 * left of an hour. The forge counts and does not refuse, unless a limit was set (PUT /_forge/limit). */
#include "agent/forge/rest_priv.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"

#include <string.h>

enum { HOURLY = 5000, HOUR_MS = 3600 * 1000, TAG_DIGITS = 40 };

/* True: nothing is left; answered. */
bool limits_refuse(struct req *r)
{
	struct forge *f = r->f;
	r->is_counted = true;
	if (clock_wall_ms() >= f->rate_reset_ms) {
		f->rate_used = 0;
		f->rate_reset_ms = clock_wall_ms() + (f->rate_window_ms > 0 ? f->rate_window_ms : HOUR_MS);
	}
	if (f->rate_limit == 0 || f->rate_used < f->rate_limit)
		return false;
	req_reply_error(r, 403, "API rate limit exceeded for user ID 1.");
	return true;
}

static bool is_known(const struct req *r, const char *tag)
{
	const char *given = req_header(r, "If-None-Match");
	return given != NULL && (strcmp(given, "*") == 0 || strstr(given, tag) != NULL);
}

void limits_finish(struct req *r)
{
	struct forge *f = r->f;
	int64_t limit = f->rate_limit > 0 ? f->rate_limit : HOURLY;
	if (!r->is_counted)
		return;
	if (r->status == 200 && strcmp(r->method, "GET") == 0 && r->content == NULL && !r->streams) {
		char hex[DIGEST_HEX];
		digest_of(str_peek(&r->out), r->out.len, hex);
		hex[TAG_DIGITS] = '\0';
		_cleanup_free_ char *tag = xasprintf("\"%s\"", hex);
		req_reply_header(r, "ETag: W/%s", tag);
		req_reply_header(r, "Cache-Control: private, max-age=60, s-maxage=60");
		if (is_known(r, tag)) {
			str_clear(&r->out);
			r->status = 304;
		}
	}
	if (r->status != 304 && f->rate_used < limit)
		f->rate_used++;
	req_reply_header(r, "X-RateLimit-Limit: %lld", (long long)limit);
	req_reply_header(r, "X-RateLimit-Remaining: %lld", (long long)(limit - f->rate_used));
	req_reply_header(r, "X-RateLimit-Used: %lld", (long long)f->rate_used);
	req_reply_header(r, "X-RateLimit-Reset: %lld", (long long)(f->rate_reset_ms / 1000));
	req_reply_header(r, "X-RateLimit-Resource: core");
}

/* {"limit": 20, "window_ms": 60000}: so many requests a window from now on, then 403 until it is over; 0: as many as one likes. */
void limits_set(struct req *r)
{
	_cleanup_json_ json_t *body = req_json(r);
	if (!body)
		return;
	r->f->rate_limit = json_get_int(body, "limit", 0);
	r->f->rate_window_ms = json_get_int(body, "window_ms", HOUR_MS);
	r->f->rate_used = 0;
	r->f->rate_reset_ms = clock_wall_ms() + r->f->rate_window_ms;
	req_reply(r, 204);
}
