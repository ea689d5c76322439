#include "base/git/module_url.h"

#include <string.h>
#include <strings.h>

#include "base/core/mem.h"
#include "base/git/ssh.h"
#include "base/net/url.h"

/* ---- relative ones ---- */

/* git's url_is_local_not_ssh */
static bool is_local(const char *url)
{
	const char *colon = strchr(url, ':'), *slash = strchr(url, '/');
	return colon == NULL || (slash != NULL && slash < colon);
}

/* True if a colon ended what is left, as in "git@host:owner". */
static bool chop(char *origin)
{
	char *slash = strrchr(origin, '/'), *colon = strrchr(origin, ':');
	char *cut = slash != NULL ? slash : colon;
	if (cut != NULL)
		*cut = '\0';
	return slash == NULL && colon != NULL;
}

char *git_module_absolute(const char *origin, const char *url)
{
	if (!is_local(url) || url[0] == '/')
		return xstrdup(url);
	_cleanup_free_ char *base = xstrdup(origin);
	size_t len = strlen(base);
	bool by_colon = false;
	if (len > 0 && base[len - 1] == '/')
		base[len - 1] = '\0';
	for (;;) {
		if (str_starts(url, "../")) {
			url += 3;
			by_colon |= chop(base);
		} else if (str_starts(url, "./")) {
			url += 2;
		} else {
			break;
		}
	}
	char *whole = xasprintf("%s%s%s", base, by_colon ? ":" : "/", url);
	if (str_ends(url, "/"))
		whole[strlen(whole) - 1] = '\0';
	return whole;
}

/* ---- the server ---- */

static CURLU *parse(const char *url)
{
	CURLU *u _cleanup_(net_url_freep) = curl_url();
	if (u == NULL || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
		return NULL;
	return TAKE(u);
}

static bool is_web(CURLU *u)
{
	_cleanup_free_ char *scheme = net_url_part(u, CURLUPART_SCHEME, 0);
	return scheme != NULL && (strcasecmp(scheme, "https") == 0 || strcasecmp(scheme, "http") == 0);
}

static char *origin_of(CURLU *u)
{
	_cleanup_free_ char *scheme = net_url_part(u, CURLUPART_SCHEME, 0), *host = net_url_part(u, CURLUPART_HOST, 0),
			    *port = net_url_part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
	if (scheme == NULL || host == NULL)
		return NULL;
	return xasprintf("%s://%s%s%s/", scheme, host, port != NULL ? ":" : "", port != NULL ? port : "");
}

char *git_module_origin(const char *url)
{
	CURLU *u _cleanup_(net_url_freep) = parse(url);
	return u != NULL && is_web(u) ? origin_of(u) : NULL;
}

void git_module_aliases(const struct git_module_server *server, struct strv *ret)
{
	CURLU *u _cleanup_(net_url_freep) = parse(server->url);
	_cleanup_free_ char *host = u != NULL ? net_url_part(u, CURLUPART_HOST, 0) : NULL;
	if (host == NULL)
		return;
	strv_addf(ret, "git@%s:", host);
	if (server->owner_id != NULL)
		strv_addf(ret, "org-%s@github.com:", server->owner_id);
	strv_addf(ret, "ssh://git@%s/", host);
}

/* ---- one address ---- */

void git_module_source_done(struct git_module_source *s)
{
	free(s->url);
	str_done(&s->login);
	s->url = NULL;
}

/* A program git-remote-NAME, by "NAME::ADDRESS". The colons; NULL: none. */
static const char *helper_of(const char *url)
{
	const char *end = url + strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	return str_starts(end, "::") ? end : NULL;
}

static bool is_behind_ssh(const char *url)
{
	if (strstr(url, "://") != NULL)
		return git_ssh_is_url(url);
	return helper_of(url) == NULL && !is_local(url);
}

static int refuse(const char *url, struct err *err)
{
	const char *helper = helper_of(url);
	if (helper != NULL) {
		int r = err_set(err, ERR_REFUSED, "transport '%.*s' not allowed", (int)MIN(helper - url, (ptrdiff_t)40),
		                url);
		return err_hint(err, r, "submodules are fetched by https://, http:// and SSH");
	}
	if (strstr(url, "://") == NULL ? is_local(url) : str_starts(url, "file://")) {
		int r = err_set(err, ERR_REFUSED, "transport 'file' not allowed");
		return err_hint(err, r, "a submodule comes from a server, not from a directory of this machine");
	}
	int r = err_set(err, ERR_UNSUPPORTED, "submodules are not fetched by %s here",
	                is_behind_ssh(url) ? "SSH without a key" : "this protocol");
	return err_hint(
		err, r,
		"give it an address with https://, or the step a `ssh-key:`; or run the action itself (`configure --native own`)");
}

int git_module_find(const struct git_module_server *server, const char *url, struct git_module_source *ret,
                    struct err *err)
{
	struct strv aliases _cleanup_(strv_done) = {0};
	_cleanup_free_ char *origin = git_module_origin(server->url), *whole = NULL, *own = NULL;
	if (server->by_ssh && is_behind_ssh(url)) {
		*ret = (struct git_module_source){
			.url = xstrdup(url), .ssh = true, .login = STR_SECRET_INIT(sizeof("x"))};
		return 0;
	}
	if (!server->by_ssh)
		git_module_aliases(server, &aliases);
	for (size_t i = 0; origin != NULL && whole == NULL && i < aliases.count; i++)
		if (str_starts(url, aliases.items[i]))
			whole = xasprintf("%s%s", origin, url + strlen(aliases.items[i]));
	if (whole == NULL)
		whole = xstrdup(url);
	bool is_address = strncasecmp(whole, "https://", 8) == 0 || strncasecmp(whole, "http://", 7) == 0;
	CURLU *u _cleanup_(net_url_freep) = is_address ? parse(whole) : NULL;
	if (!is_address)
		return refuse(whole, err);
	if (u == NULL || (own = origin_of(u)) == NULL)
		return err_set(err, ERR_INVALID, "its address in .gitmodules is none");
	_cleanup_free_ char *user = net_url_part(u, CURLUPART_USER, CURLU_URLDECODE),
			    *password = net_url_part(u, CURLUPART_PASSWORD, CURLU_URLDECODE);
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	*ret = (struct git_module_source){.url = net_url_part(u, CURLUPART_URL, 0),
	                                  .ours = origin != NULL && strcasecmp(own, origin) == 0,
	                                  .login = STR_SECRET_INIT(4096)};
	if (ret->url == NULL)
		return err_set(err, ERR_INVALID, "its address in .gitmodules is none");
	for (size_t len = strlen(ret->url); len > 0 && ret->url[len - 1] == '/'; len--)
		ret->url[len - 1] = '\0';
	if (user != NULL)
		str_appendf(&ret->login, "%s:%s", user, password != NULL ? password : "");
	return 0;
}
