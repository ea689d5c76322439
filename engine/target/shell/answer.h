/* One of the two outputs of a target's shell for a frame (session.h): content, and after its last byte
 * "MARK KIND STATUS\n". It comes in pieces that are cut anywhere, from a peer that may send anything. */
#pragma once
#include "base/core/str.h"
#include "base/core/err.h"

enum { ANSWER_HELD_MAX = 1 << 20, ANSWER_STATUS_MAX = 255 };

struct answer {
	struct str held; /* bytes that may be the beginning of the mark, or follow it */
	const char *mark;
	size_t mark_len;
	bool done;
	char kind; /* one of ANSWER_KINDS */
	int status;
};
#define ANSWER_KINDS "rfsuc"
#define ANSWER_INIT(text)                                                                                              \
	{                                                                                                              \
		.held = STR_INIT(ANSWER_HELD_MAX), .mark = (text), .mark_len = strlen(text)                            \
	}

typedef void (*answer_content_fn)(void *context, const char *data, size_t len);
/* Passes on bytes that are surely not the beginning of the mark. Ignores bytes after the end. ERR_PROTOCOL: the mark came, but
 * no end after it. */
int answer_take(struct answer *a, const char *data, size_t len, answer_content_fn content, void *context,
                struct err *err);
/* Reads that many non-negative numbers, separated by blanks, from the last line of the output. False: the line has another form. */
bool answer_numbers(const char *said, size_t len, long long *const *to, size_t count);
