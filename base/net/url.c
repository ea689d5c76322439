#include "base/net/url.h"

#include "base/core/mem.h"
#include "base/net/net.h"

#include <strings.h>

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

const char *net_url_fault(const char *text)
{
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	CURLUcode code = url != NULL ? curl_url_set(url, CURLUPART_URL, text, 0) : CURLUE_OUT_OF_MEMORY;
	return code == CURLUE_OK ? NULL : curl_url_strerror(code);
}

bool net_same_origin(const char *a, const char *b)
{
	static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
	CURLU *one = curl_url(), *other = curl_url();
	bool same = one != NULL && other != NULL && curl_url_set(one, CURLUPART_URL, a, 0) == CURLUE_OK &&
	            curl_url_set(other, CURLUPART_URL, b, 0) == CURLUE_OK;
	for (size_t i = 0; same && i < ARRAY_SIZE(parts); i++) {
		char *x = NULL, *y = NULL;
		same = curl_url_get(one, parts[i], &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		       curl_url_get(other, parts[i], &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
		curl_free(x);
		curl_free(y);
	}
	curl_url_cleanup(one);
	curl_url_cleanup(other);
	return same;
}
