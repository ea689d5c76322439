/* A comment of our own, one for what it is about, updated in place. It is found by the line at its beginning, which Markdown hides, and by its
 * author: who else writes that line into a comment of his own does not get it replaced, though a token that may write could do so. */
#pragma once
#include "providers/github/rest.h"

struct comment_place {
	const char *list;              /* the path of all comments there */
	const char *single;            /* the path of one; its id follows */
	const char *what, *permission; /* "a comment on the commit", "contents: write" */
};
/* A service that does not say whose token it is gets a new one. *ret_later (may be NULL): it failed, and may succeed later. */
int comment_put(const struct rest *g, const struct comment_place *place, const char *marker, const char *text,
                bool *ret_later, struct err *err);
/* The object (a comment or an issue) is by this author and its body begins with the marker. */
bool comment_is_own(const json_t *object, const char *marker, const char *author);
