/* Use of libcurl, shared by base/net/net.c and base/net/http*.c. */
#pragma once
#include "base/core/err.h"
#include "base/core/wait.h"
#include <curl/curl.h>

/* Starts libcurl, with memory of ours (net_memory.c). */
CURLcode net_memory_init(void);
/* Once a process, which ends if libcurl cannot start. */
void net_init(void);
/* Sets the options of all our handles: no signals, no CA directory, names resolved so that a cancel need not wait for the
 * resolver. */
void net_easy_defaults(CURL *easy);
/* An error of ours from a result of libcurl; `detail` is its error buffer, may be empty. `what` names host or URL. */
int net_curl_err(CURLcode code, const char *detail, const char *what, struct err *err);
