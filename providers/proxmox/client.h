/* A client of Proxmox VE's interface (API2, 7 to 9): a token, form-encoded requests, answers {"data": …} with a ceiling. Nothing that it
 * answers is trusted: names and numbers are checked where they become part of a path. The token goes to nobody but the server whose
 * certificate was verified by its fingerprint, by a CA file or by the system. */
#pragma once
#include "base/net/http.h"
#include "base/data/json.h"

struct proxmox;
struct proxmox_config {
	const char *url;          /* "https://pve.example:8006" */
	const char *token_id;     /* "deploy@pve!davit" */
	const char *token_secret; /* a UUID */
	const char *fingerprint;  /* SHA-256 of the server's certificate; NULL: its issuer is verified */
	const char *ca_file;      /* NULL: the system's */
	int64_t task_timeout_ms;  /* of one task */
};
int proxmox_new(const struct proxmox_config *config, struct proxmox **ret, struct err *err);
void proxmox_free(struct proxmox *p);
void proxmox_freep(struct proxmox **p);
const char *proxmox_host(const struct proxmox *p);  /* "pve.example:8006" */
const char *proxmox_token(const struct proxmox *p); /* "deploy@pve!davit" */
int64_t proxmox_task_timeout(const struct proxmox *p);

/* Calls one(context, i) for each i below count, several of them at once: see http_together(). */
int proxmox_each(struct proxmox *p, size_t count, void (*one)(void *context, size_t i), void *context, struct wait *w,
                 struct err *err);
/* method NULL: GET, which is repeated after a failure. path from "/nodes"; params: an object of strings, numbers and booleans, or NULL.
 * ret (may be NULL): "data". ERR_UNKNOWN: a request that changes something lost its reply. ERR_PERMISSION, ERR_INVALID, ERR_FAILED, ERR_CONFLICT
 * (a config that somebody else changed): the server's own words. */
int proxmox_call(struct proxmox *p, const char *method, const char *path, const json_t *params, struct wait *w,
                 json_t **ret, struct err *err);
/* A name as one part of a path: escaped. free() */
char *proxmox_segment(const char *text);
