/* Pull requests: the one that a commit of its base merged. */
#pragma once
#include "providers/github/rest.h"

struct pull {
	int64_t number;
	char *head; /* the commit of its branch that was merged */
};
void pull_done(struct pull *p);
/* Of this repository and from it: one that comes from a fork is refused (ERR_REFUSED), and so is a commit that merged none or several. */
int pull_of_commit(const struct rest *g, const char *repository, const char *commit, struct pull *ret, struct err *err);
