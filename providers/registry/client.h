/* A container registry over HTTP (OCI distribution 1.1; seen with docker-registry 2.8.2): one address, one login, its connections and
 * the tokens that it gave. Nothing of the login leaves for another host than the registry's and the token service's that it names, and
 * a registry behind https cannot name one that is not. */
#pragma once
#include "base/net/http.h"

struct registry;
struct registry_config {
	const char *url;                 /* "https://ghcr.io"; http only for a host of loopback */
	const char *username, *password; /* NULL: none */
	const char *ca_file;             /* NULL: the system's */
};
int registry_new(const struct registry_config *config, struct registry **ret, struct err *err);
void registry_free(struct registry *r);
void registry_freep(struct registry **r);
const char *registry_host(const struct registry *r);                    /* "ghcr.io", "127.0.0.1:5000" */
bool registry_same(const struct registry *a, const struct registry *b); /* address and user */

struct registry_request {
	const char *method; /* NULL: GET */
	const char *path;   /* from "/v2/"; or what an upload's Location was read to */
	const char *scope;  /* "repository:shop/web:pull"; several: blanks between them */
	const char *accept, *content_type, *content_range; /* NULL: none */
	const void *body;
	size_t body_len;
	size_t max_body; /* of the answer; 0: 1 MiB */
	bool repeats;    /* may be sent again after a failure: at most three more times */
};
/* Asks for a login where the registry wants one, once a call. Any other status is a success here. ret: zeroed by the caller.
 * ERR_AUTH: the login was refused, with the scope. ERR_UNKNOWN: a request that may not be repeated lost its reply. */
int registry_call(struct registry *r, const struct registry_request *q, struct wait *w, struct http_response *ret,
                  struct err *err);
/* The same for requests that may be sent again, all of them at once; ret: zeroed by the caller, to be freed in any case. */
int registry_call_all(struct registry *r, const struct registry_request *q, size_t count, struct wait *w,
                      struct http_response *ret, struct err *err);
/* The body as it comes, for blobs. Redirects are followed; the login stays here. As http_stream_open. */
int registry_open_blob(struct registry *r, const char *path, const char *scope, struct wait *w,
                       struct http_stream **ret, struct err *err);
/* The path of a Location header of this registry; one that leads to another host is ERR_PROTOCOL. free() */
int registry_location(const struct registry *r, const struct http_response *response, char **ret, struct err *err);
/* A status that was not expected, with the registry's code and message. what: "put the manifest …". */
int registry_refused(const struct http_response *response, const char *what, struct err *err);
