/* A client of Scaleway's interfaces of instances, block volumes and images: a token in a header, JSON both ways, answers with a ceiling, lists read to
 * their end. Nothing that it answers is trusted: ids are checked before they become part of a path. */
#pragma once
#include "base/core/str.h"
#include "base/core/wait.h"
#include "base/data/json.h"

struct scaleway;
struct scaleway_config {
	const char *url;     /* "https://api.scaleway.com" */
	const char *project; /* a UUID */
	const char *zone;    /* "fr-par-1" */
	const char *token;   /* the secret key, a UUID */
	const char *ca_file; /* NULL: the system's */
	int64_t timeout_ms;  /* of what it does in the background, as a start */
};
int scaleway_new(const struct scaleway_config *config, struct scaleway **ret, struct err *err);
void scaleway_free(struct scaleway *s);
void scaleway_freep(struct scaleway **s);
const char *scaleway_host(const struct scaleway *s);
const char *scaleway_project(const struct scaleway *s);
const char *scaleway_zone(const struct scaleway *s);
int64_t scaleway_timeout(const struct scaleway *s);

/* "/instance/v1/zones/fr-par-1/" and what follows, by format. free() */
char *scaleway_instance_path(const struct scaleway *s, const char *fmt, ...) _printf_(2, 3);
/* "/block/v1/zones/fr-par-1/". free() */
char *scaleway_block_path(const struct scaleway *s, const char *fmt, ...) _printf_(2, 3);
/* "NAME=VALUE" of a query, the value escaped. free() */
char *scaleway_query(const char *name, const char *value);

/* Calls one(context, i) for each i below count, several of them at once: see http_together(). */
int scaleway_each(struct scaleway *s, size_t count, void (*one)(void *context, size_t i), void *context, struct wait *w,
                  struct err *err);
/* method NULL: GET, which is repeated after a failure; others are repeated only when the service says that they came too fast, since then nothing was done.
 * ret (may be NULL): what was answered, {} where nothing was. ERR_UNKNOWN: a request that changes something lost its reply.
 * ERR_NOT_FOUND, ERR_INVALID, ERR_AUTH, ERR_PERMISSION, ERR_FAILED: the service's own words; err->foreign is the status. */
int scaleway_call(struct scaleway *s, const char *method, const char *path, const json_t *body, struct wait *w,
                  json_t **ret, struct err *err);
/* Plain text in place of JSON: the user data of an instance. */
int scaleway_set_text(struct scaleway *s, const char *path, const char *text, size_t len, struct wait *w,
                      struct err *err);
int scaleway_get_text(struct scaleway *s, const char *path, struct wait *w, struct str *ret, struct err *err);
/* All pages of a list. key: its member of each page, an array, or an object whose members are collected. path: may have a query. */
int scaleway_list(struct scaleway *s, const char *path, const char *key, struct wait *w, json_t **ret, struct err *err);
/* The same, asked once for as long as the client lives: what the service sells. *ret is not to be changed. */
int scaleway_list_once(struct scaleway *s, const char *path, const char *key, struct wait *w, json_t **ret,
                       struct err *err);
