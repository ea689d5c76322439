/* Shared by the files of this directory. */
#pragma once
#include "agent/api/api.h"

/* ---- access.c: what the requests carry ---- */

struct access;
int access_new(struct http *http, const char *base, const struct api_access *given, struct access **ret,
               struct err *err);
void access_free(struct access *a);
/* "Authorization: …" for a request of this path; an App's is got, or renewed, first. Lent until the next call. */
int access_header(struct access *a, const char *path, struct wait *w, const char **ret, struct err *err);
/* The service does not know it (any more). True: another one can be had. */
bool access_refused(struct access *a, const char *path);
bool access_is_app(const struct access *a);
void access_set_owner(struct access *a, const char *owner);

/* ---- api.c ---- */

struct api *api_new(struct http *http, const char *base, struct access *access); /* takes access */
/* What an answer says. path NULL: it is not kept. */
int api_read(struct api *a, const char *path, const struct http_response *response, const char *what,
             struct api_answer *ret, struct err *err);
