/* Bytes of a pipe into lines: \n, \r\n and a lone \r end one [5.7]. */
#pragma once
#include "base/secret/mask.h"

struct line_taker {
	void (*line)(void *context, const char *line, size_t len); /* one without its end, followed by a NUL */
	/* Many at once, each with its \n and no other end; no NUL after them. NULL: they too come one by one. */
	void (*lines)(void *context, const char *text, size_t len);
	void *context;
};
struct lines {
	struct str part;         /* the line so far; its ceiling cuts longer ones */
	const struct mask *mask; /* a secret never crosses a cut; NULL: no secrets */
	bool after_cr;           /* a \n that comes now belongs to the \r before it */
	bool dropping;           /* until the line ends: a secret is longer than the limit */
};
void lines_init(struct lines *l, size_t max, const struct mask *mask);
void lines_feed(struct lines *l, const char *data, size_t len, const struct line_taker *to);
void lines_end(struct lines *l, const struct line_taker *to); /* a last line without an end counts */
void lines_done(struct lines *l);
