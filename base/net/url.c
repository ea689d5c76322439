#include "base/net/url.h"

#include "base/core/mem.h"

char *net_url_part(CURLU *url, CURLUPart part, unsigned int flags)
{
	char *text = NULL;
	if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
		return NULL;
	char *own = xstrdup(text);
	curl_free(text);
	return own;
}

void net_url_freep(CURLU **url)
{
	curl_url_cleanup(*url);
}
