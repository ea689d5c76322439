#include "base/git/lfs_login.h"

#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/git/lfs_batch.h"
#include "base/git/ssh.h"
#include "base/net/net.h"

#include <limits.h>
#include <stdint.h>
#include <strings.h>

enum { LOGIN_MS = 60 * 1000, TRIES = 2, EARLY_MS = 5 * 1000, SECONDS_MAX = 100 * 366 * 24 * 3600LL };

void lfs_login_done(struct lfs_login *l)
{
	lfs_headers_done(&l->headers);
	free(l->url);
	free(l->shown);
	*l = (struct lfs_login){.url = NULL};
}

/* ---- the answer ---- */

static int take_url(struct lfs_login *l, const char *url, struct err *err)
{
	struct net_service service = {.host = NULL};
	struct err ignored = ERR_INIT;
	size_t len = strlen(url);
	if (!lfs_is_plain(url) || net_service_read(url, "", &service, &ignored) < 0) {
		int r = err_set(err, ERR_PROTOCOL, "the address that its git-lfs-authenticate names is none of https");
		return err_hint(err, r,
		                "one of http would carry the login in clear; it is taken for hosts of loopback only");
	}
	while (len > 0 && url[len - 1] == '/')
		len--;
	l->url = xstrndup(url, len);
	l->shown = xasprintf("%s://%s", service.secure ? "https" : "http", service.host);
	net_service_done(&service);
	return 0;
}

/* These two are the request's own. */
static bool is_of_request(const char *header)
{
	static const char *const own[] = {"Accept:", "Content-Type:"};
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strncasecmp(header, own[i], strlen(own[i])) == 0)
			return true;
	return false;
}

static int take_headers(struct lfs_login *l, const json_t *headers, struct err *err)
{
	struct strv all _cleanup_(lfs_headers_done) = {0};
	if (lfs_headers_take(headers, &all) < 0)
		return err_set(err, ERR_PROTOCOL, "its git-lfs-authenticate names headers that are none");
	for (size_t i = 0; i < all.count; i++)
		if (!is_of_request(all.items[i]))
			strv_add(&l->headers, all.items[i]);
	return 0;
}

/* A lifetime in seconds goes before a time of the day: their clock may be another. */
static int64_t until(const json_t *answer)
{
	int64_t seconds = json_get_int(answer, "expires_in", 0), now = clock_mono_ms(), wall;
	const char *at = json_get_string(answer, "expires_at");
	if (seconds != 0)
		return now + (seconds < 0 ? 0 : MIN(seconds, (int64_t)SECONDS_MAX)) * 1000 - EARLY_MS;
	if (at == NULL || at[0] == '\0' || clock_parse_rfc3339(at, &wall) < 0)
		return INT64_MAX;
	return now + wall - clock_wall_ms() - EARLY_MS;
}

int lfs_login_read(const char *text, size_t len, const char *otherwise, struct lfs_login *ret, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct lfs_login l _cleanup_(lfs_login_done) = {.url = NULL};
	struct err ignored = ERR_INIT;
	/* Its reason would quote a piece of the login. */
	if (json_parse(text, len, LFS_LOGIN_MAX, &answer, &ignored) < 0 || !json_is_object(answer))
		return err_set(err, ERR_PROTOCOL, "what its git-lfs-authenticate answers is no JSON object");
	const char *href = json_get_string(answer, "href");
	int r = take_url(&l, href != NULL && href[0] != '\0' ? href : otherwise, err);
	if (r >= 0)
		r = take_headers(&l, json_object_get(answer, "header"), err);
	if (r < 0)
		return r;
	l.until_ms = until(answer);
	lfs_login_done(ret);
	*ret = l;
	l = (struct lfs_login){.url = NULL};
	return 0;
}

/* ---- the program ---- */

int lfs_login_ask(struct git_ssh *s, struct wait *w, struct lfs_login *ret, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_SECRET_INIT(LFS_LOGIN_MAX + 1);
	struct wait within = wait_within(w, LOGIN_MS);
	_cleanup_free_ char *web = git_ssh_web(s),
			    *otherwise = xasprintf("%s%s/info/lfs", web, str_ends(web, ".git") ? "" : ".git");
	int r = ERR_NETWORK;
	/* The connection may have been given up while contents came. */
	for (int i = 0; (r == ERR_NETWORK || r == ERR_UNKNOWN) && i < TRIES; i++) {
		str_clear(&text);
		r = git_ssh_ask(s, "git-lfs-authenticate", "download", LFS_LOGIN_MAX, &within, &text, err);
	}
	if (r >= 0)
		r = lfs_login_read(str_peek(&text), text.len, otherwise, ret, err);
	if (r >= 0)
		return 0;
	if (err != NULL && err->hint[0] == '\0')
		err_hint(err, r, "check that Git LFS is switched on there, or leave `lfs: false`");
	return err_wrap(err, r, "look for its contents of LFS");
}
