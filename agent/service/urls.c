#include "agent/service/urls.h"

#include <ctype.h>
#include <strings.h>

#include "agent/service/wire.h"
#include "base/net/url.h"

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* "host[:port]" in lower case, or NULL. free() */
static char *authority_of(CURLU *handle)
{
	_cleanup_free_ char *host = net_url_part(handle, CURLUPART_HOST, 0),
			    *port = net_url_part(handle, CURLUPART_PORT, 0);
	char *result = host == NULL ? NULL : xasprintf("%s%s%s", host, port ? ":" : "", port ? port : "");
	if (result != NULL)
		lower(result);
	return result;
}

static bool is_hosted(const char *host)
{
	if (wire_is_true(getenv("GITHUB_ACTIONS_RUNNER_FORCE_GHES")))
		return false;
	static const char *const whole[] = {"github.com", "www.github.com", "github.localhost"};
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
		if (strcasecmp(host, whole[i]) == 0)
			return true;
	return str_ends(host, ".ghe.localhost") || str_ends(host, ".ghe.com");
}

/* True for a valid GitHub name of an owner or a repository, which needs no escaping in our paths. */
static bool is_name(const char *segment)
{
	if (segment[strspn(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] != '\0')
		return false;
	return strcmp(segment, ".") != 0 && strcmp(segment, "..") != 0;
}

static int split_path(const char *path, struct strv *segments)
{
	while (*path != '\0') {
		size_t len = strcspn(path, "/");
		if (len > 0) {
			char *segment = xstrndup(path, len);
			bool fine = is_name(segment);
			strv_add_take(segments, segment);
			if (!fine || segments->count > 2)
				return ERR_INVALID;
		}
		path += len + (path[len] == '/');
	}
	return 0;
}

static int read_entity(const char *path, struct github_url *u)
{
	_cleanup_(strv_done) struct strv segments = {0};
	if (split_path(path, &segments) < 0 || segments.count == 0)
		return ERR_INVALID;
	if (segments.count == 1) {
		u->kind = GITHUB_ORGANIZATION;
		u->entity = xasprintf("orgs/%s", segments.items[0]);
		u->path = xstrdup(segments.items[0]);
		return 0;
	}
	u->kind = strcasecmp(segments.items[0], "enterprises") == 0 ? GITHUB_ENTERPRISE : GITHUB_REPOSITORY;
	u->path = xasprintf("%s/%s", segments.items[0], segments.items[1]);
	u->entity = u->kind == GITHUB_ENTERPRISE ? xasprintf("enterprises/%s", segments.items[1])
	                                         : xasprintf("repos/%s", u->path);
	return 0;
}

static int parse(CURLU *handle, const char *text, struct github_url *u)
{
	if (curl_url_set(handle, CURLUPART_URL, text, 0) != CURLUE_OK)
		return ERR_INVALID;
	_cleanup_free_ char *scheme = net_url_part(handle, CURLUPART_SCHEME, 0),
			    *host = net_url_part(handle, CURLUPART_HOST, 0),
			    *path = net_url_part(handle, CURLUPART_PATH, 0),
			    *query = net_url_part(handle, CURLUPART_QUERY, 0),
			    *user = net_url_part(handle, CURLUPART_USER, 0);
	if (scheme == NULL || host == NULL || path == NULL || query != NULL || user != NULL ||
	    (strcasecmp(scheme, "https") != 0 && strcasecmp(scheme, "http") != 0))
		return ERR_INVALID;
	lower(host);
	u->authority = authority_of(handle);
	u->hosted = is_hosted(host);
	u->api = u->hosted ? xasprintf("%s://api.%s", scheme, u->authority)
	                   : xasprintf("%s://%s/api/v3", scheme, u->authority);
	return read_entity(path, u);
}

int github_url_parse(const char *text, struct github_url *ret, struct err *err)
{
	struct github_url u = {0};
	size_t len = strlen(text);
	while (len > 0 && text[len - 1] == '/')
		len--;
	u.url = xstrndup(text, len);
	_cleanup_(net_url_freep) CURLU *handle = curl_url();
	int r = handle == NULL ? ERR_INTERNAL : parse(handle, u.url, &u);
	if (r < 0) {
		github_url_done(&u);
		err_set(err, ERR_INVALID, "'%.200s' is not a URL of a repository, organisation or enterprise", text);
		return err_hint(err, ERR_INVALID,
		                "use https://github.com/OWNER/REPO, https://github.com/ORG or "
		                "https://github.com/enterprises/NAME (or the same on your own server)");
	}
	*ret = u;
	return 0;
}

void github_url_done(struct github_url *u)
{
	free(u->url);
	free(u->authority);
	free(u->api);
	free(u->entity);
	free(u->path);
	*u = (struct github_url){0};
}

bool github_url_same_site(const struct github_url *u, const char *url)
{
	_cleanup_(net_url_freep) CURLU *handle = curl_url();
	_cleanup_free_ char *other = NULL;
	if (handle != NULL && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK)
		other = authority_of(handle);
	if (other == NULL)
		return false;
	if (strcmp(other, u->authority) == 0)
		return true;
	size_t own = strlen(u->authority), len = strlen(other);
	return len > own + 1 && other[len - own - 1] == '.' && strcmp(other + len - own, u->authority) == 0;
}
