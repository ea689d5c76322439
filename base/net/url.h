/* Parts of a URL that libcurl has parsed (curl_url_set). */
#pragma once
#include <curl/curl.h>

/* NULL: it has no such part. flags: CURLU_… of curl_url_get. free() */
char *net_url_part(CURLU *url, CURLUPart part, unsigned int flags);
void net_url_freep(CURLU **url);
/* Why libcurl would not ask this address, in a few words; NULL: it would. A constant. */
const char *net_url_fault(const char *text);
