/* The agent's status page: HTTP on loopback, to be read only. Requests are hostile: any page that a browser shows may send some, and so may every
 * user of this machine. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

/* Where its contents come from; called one after the other. */
struct page_source {
	int (*status)(void *context, json_t **ret, struct err *err);
	/* [{"user", "deployments", "error"}]: agent/report/report.h */
	int (*hosts)(void *context, json_t **ret, struct err *err);
	/* ERR_NOT_FOUND: there is no such user here, or no such deployment. Both come from the request. */
	int (*deployment)(void *context, const char *user, const char *id, json_t **ret, struct err *err);
	void *context;
};
struct page_config {
	const char *host; /* IPv4 */
	int port;         /* 0: a free one */
	bool all_users;   /* of this machine; else only this process's user and root */
};
struct page;
int page_open(const struct page_config *config, const struct page_source *source, struct page **ret, struct err *err);
int page_port(const struct page *p);
void page_close(struct page *p);
/* "localhost", a loopback address, each with or without a port: what a browser says that asks this machine by no other name. A name of somebody
 * else's that leads here is none (DNS rebinding). */
bool page_is_own_host(const char *header);
