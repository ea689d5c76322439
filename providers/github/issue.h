/* One issue of our own for what it is about, found as comments are (comment.h), updated, closed and opened again in place. */
#pragma once
#include "providers/github/rest.h"

struct issue {
	const char *repository, *marker, *title, *text;
	bool open; /* false: it is closed; where there is none, or it is closed already, nothing is done */
};
/* *ret_number (may be NULL): its number, 0 where there is none. */
int issue_put(const struct rest *g, const struct issue *issue, int64_t *ret_number, struct err *err);
