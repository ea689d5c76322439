/* The address of a service, as a person gives it. */
#include "base/net/net.h"

#include "base/core/mem.h"
#include "base/net/url.h"

#include <string.h>

int net_service_read(const char *text, const char *kind, struct net_service *ret, struct err *err)
{
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return err_set(err, ERR_INVALID, "'%s' is not a URL", text);
	_cleanup_free_ char *scheme = net_url_part(url, CURLUPART_SCHEME, 0),
			    *host = net_url_part(url, CURLUPART_HOST, 0),
			    *port = net_url_part(url, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT),
			    *user = net_url_part(url, CURLUPART_USER, 0), *path = net_url_part(url, CURLUPART_PATH, 0);
	if (scheme == NULL || host == NULL || user != NULL)
		return err_set(err, ERR_INVALID, "'%s' is not the URL of %s", text, kind);
	bool secure = strcmp(scheme, "https") == 0;
	if (!secure && (strcmp(scheme, "http") != 0 || !net_is_loopback(host))) {
		err_set(err, ERR_INVALID, "'%s' is not https", text);
		return err_hint(err, ERR_INVALID,
		                "http would carry the login in clear; it is taken for hosts of loopback only");
	}
	ret->secure = secure;
	ret->host = port != NULL ? xasprintf("%s:%s", host, port) : TAKE(host);
	ret->path = path != NULL ? TAKE(path) : xstrdup("/");
	return 0;
}

void net_service_done(struct net_service *s)
{
	free(s->host);
	free(s->path);
	*s = (struct net_service){0};
}
