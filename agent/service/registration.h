/* A registration: the data that GitHub and we share, made by `agent configure` (V2 [1.6, 1.10], or V1 [1.9]: the server says which), or given whole by
 * a just-in-time configuration [1.13]. */
#pragma once
#include "base/net/http.h"
#include "base/data/json.h"

struct registration {
	char *url; /* the operator's; NULL for just-in-time ones */
	char *name;
	int64_t id;
	int64_t group_id;
	char *group;
	struct strv labels;
	char *work;       /* as given: absolute, or below the worker's state directory */
	char *server_url; /* the older services' base; may be NULL */
	char *broker_url; /* of the queue; NULL: it is the older services' */
	char *generation; /* "v1": the older services registered it, and remove it; NULL: the REST API */
	char *client_id;
	char *authorization_url; /* also the assertion's audience */
	char *token_url;         /* NULL: the authorization URL */
	bool pss;                /* PS256, else RS256 */
	bool ephemeral, disable_update;
	/* davit's own */
	char *worker_user;        /* NULL: the agent's */
	char *actions_repository; /* OWNER/REPO whose actions run natively; NULL: the build's */
	char *native;     /* which actions this program carries out (agent/actions/native.h); NULL: the default */
	char *on_failure; /* "rollback", "hold" */
	char *isolation;  /* "auto", "on", "off"; NULL: "auto" */
	char *actions;    /* which actions may run (agent/actions/policy.h); NULL: all */
	char *credential; /* "app", "token": kept to register again (records.h); NULL: none */
	char *node;       /* the program that runs JavaScript actions; NULL: that of PATH */
	int64_t kept_ns;  /* when its record was written; 0: it is not kept */
};
void registration_done(struct registration *r);
/* What `agent run` was told in place of what is kept; NULL: nothing. */
void registration_overlay(struct registration *r, const char *worker_user, const char *native);
/* The record that is kept (format 1; a newer one is refused with both numbers). */
json_t *registration_to_json(const struct registration *r);
int registration_from_json(const json_t *record, struct registration *ret, struct err *err);

struct registration_request {
	const char *url;
	const char *token; /* registration or removal token; NULL: obtained by pat */
	const char *pat;
	const char *name;
	const char *group;         /* NULL: the default group */
	const struct strv *labels; /* the operator's */
	bool no_default_labels, ephemeral, replace, disable_update;
	const char *public_key; /* XML [1.8] */
};
/* Fills in the service's values, and the request's name, labels, flags. Each call has three tries; 404 is final.
 * ERR_EXISTS: the name is taken and replace was not requested. */
int registration_add(struct http *h, const struct registration_request *request, struct wait *w,
                     struct registration *ret, struct err *err);
/* Takes the runner out of GitHub's list. token NULL: obtained by pat. 1: the list was read, and nobody of that name is in it. ERR_NOT_FOUND: the
 * service does not know the runner, or not the token. */
int registration_remove(struct http *h, const struct registration *r, const char *token, const char *pat,
                        struct wait *w, struct err *err);

/* --jitconfig: the registration and its private key (PEM, wipe). Names with path separators are refused. Nothing is
 * written. */
int registration_from_jit(const char *text, struct registration *ret, struct str *ret_key, struct err *err);
/* Percentage of every pause of the protocol that is really waited, from DAVIT_PACE_PERCENT (1 to 100): for trials
 * against a service on loopback. */
int64_t registration_pace(int64_t ms);
