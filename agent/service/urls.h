/* The URL that the operator gives, and what follows from it: API base and entity [1.4]. The port is kept. */
#pragma once
#include "base/core/err.h"

enum github_kind { GITHUB_REPOSITORY, GITHUB_ORGANIZATION, GITHUB_ENTERPRISE };

struct github_url {
	char *url;       /* as given, without slashes at its end */
	char *authority; /* host[:port], lower case */
	char *api;       /* "https://api.github.com", "https://HOST/api/v3" */
	char *entity;    /* "repos/OWNER/REPO", "orgs/ORG", "enterprises/NAME" */
	char *path;      /* "OWNER/REPO" */
	enum github_kind kind;
	bool hosted;
};
/* ERR_INVALID names the accepted forms. */
int github_url_parse(const char *text, struct github_url *ret, struct err *err);
void github_url_done(struct github_url *u);
/* True when `url` lies on the same authority as the operator's or on a subdomain of it [1.3 step 3]. */
bool github_url_same_site(const struct github_url *u, const char *url);
