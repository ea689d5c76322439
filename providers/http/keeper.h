/* The protocol itself; the target hands its own over. */
#pragma once
#include "base/net/http.h"
#include "engine/target/keeper.h"

struct http_place {
	struct http *http;
	char *address, *lock_address, *unlock_address;
	const char *update_method, *lock_method, *unlock_method;
	struct str authorization; /* "Authorization: Basic …"; empty: nobody logs in */
};
void http_place_done(struct http_place *p);

/* The place that a view of such a target has. */
struct http_place *http_place_of(void *view);
extern const struct keeper_type http_keeper; /* of: the view of a target of http */
