/* How a runner is put into the service's list and taken out of it: registration.c, which finds out by runner-registration which generation the
 * server has, over one of two types: the REST API (there too) and the older services (v1_registration.c). */
#pragma once
#include "agent/service/registration.h"
#include "agent/service/urls.h"

struct v1_locations;
struct registration_type;
/* Calls block: only `configure` and `remove` make them. */
struct rest {
	struct http *http;
	struct wait *wait;
	const char *token; /* registration or removal token */
	char *management;  /* token from runner-registration, tried if the first is refused [10.4] */
	const struct registration_type *type;
	struct v1_locations *locations; /* of the older services; NULL: not asked for */
};

struct registration_type {
	const char *generation;                     /* as a registration keeps it; NULL: the REST API */
	const char *hosted_member, *default_member; /* of a group */
	/* Before the others; server_url is known. */
	int (*begin)(struct rest *rest, const struct registration *reg, struct err *err);
	int (*groups)(struct rest *rest, const struct github_url *u, json_t **ret, struct err *err); /* a list */
	/* The runner of that name; NULL: there is none. */
	int (*find)(struct rest *rest, const struct github_url *u, const char *name, json_t **ret, struct err *err);
	/* existing: to be replaced; NULL: none. Fills in what the service gives. */
	int (*add)(struct rest *rest, const struct registration_request *q, const struct github_url *u,
	           const json_t *existing, struct registration *reg, struct err *err);
	/* 1: there is none of that name. */
	int (*remove)(struct rest *rest, const struct github_url *u, const struct registration *reg, struct err *err);
};
extern const struct registration_type registration_v1;

/* runner-registration [1.6]: finds the generation and the service. event: "register", "remove". */
int registration_hello(struct rest *rest, const struct github_url *u, const char *event, struct registration *reg,
                       struct err *err);
/* Default labels and the request's, for a body; reg gets their names. */
json_t *registration_labels(const struct registration_request *q, struct registration *reg);
/* Between two tries: as long as the last answer asks for, at most 2 minutes of that. False: it is over. */
bool registration_pause(struct rest *rest, const struct http_response *response);
