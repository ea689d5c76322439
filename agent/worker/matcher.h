/* Problem matchers [5.9]: patterns that find errors and warnings in what steps print. Reading and matching only, no effects. Observed with
 * the official runner 2.33x: the order of patterns, what is kept between lines, and what a result of one matcher does to the others. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

struct matchers;
void matchers_free(struct matchers *m);
/* Those of a document {"problemMatcher": […]} in front of the ones that there are; one of the same owner is replaced. All or none: ERR_INVALID,
 * ERR_UNSUPPORTED, ERR_LIMIT say which one is wrong, and how. *m NULL: the first ones. */
int matchers_add(struct matchers **m, const json_t *document, struct err *err);
/* Names of the owners in a document, with a blank and a comma between them; "" for none. free() */
char *matchers_owners(const json_t *document);
void matchers_remove(struct matchers *m, const char *owner);
bool matchers_any(const struct matchers *m);

/* The next lines are of that trail (a stream of a process): what several lines make up is looked for in each by
 * itself. A small number, since memory goes by the highest; 0 at first. */
void matchers_follow(struct matchers *m, size_t trail);
/* Nothing is kept of the lines of that trail, nor memory for it. */
void matchers_forget(struct matchers *m, size_t trail);

enum matcher_field {
	MATCHER_FROM_PATH,
	MATCHER_FILE,
	MATCHER_LINE,
	MATCHER_COLUMN,
	MATCHER_SEVERITY,
	MATCHER_CODE,
	MATCHER_MESSAGE,
	MATCHER_FIELDS
};
struct matcher_result {
	char *fields
		[MATCHER_FIELDS]; /* NULL: not found; from_path and severity are the matcher's own where no pattern gives them */
};
void matcher_result_done(struct matcher_result *r);
/* The next result for this line; false: there is none. *at: 0 at first. *ret_given_up: the owner of a matcher that took too long three times and was
 * removed; free(), NULL: none. */
bool matchers_look(struct matchers *m, const char *line, size_t len, size_t *at, struct matcher_result *ret,
                   char **ret_given_up);
