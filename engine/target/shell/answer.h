/* What a target's shell says on one of its two outputs while it works off a frame (session.h): content, and behind its last byte
 * "MARK KIND STATUS\n". It comes in pieces that are cut anywhere, from a peer that may say anything. */
#pragma once
#include "base/core/str.h"
#include "base/core/err.h"

enum { ANSWER_HELD_MAX = 1 << 20, ANSWER_STATUS_MAX = 255 };

struct answer {
	struct str held; /* what may be the beginning of the mark, or stands behind it */
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
/* Hands on what is surely not the beginning of the mark. What comes behind the end is not looked at. ERR_PROTOCOL: the mark is there, and
 * no end follows it. */
int answer_take(struct answer *a, const char *data, size_t len, answer_content_fn content, void *context,
                struct err *err);
/* The last line of what was said is that many numbers, none of them negative, with a blank between two. False: it is not. */
bool answer_numbers(const char *said, size_t len, long long *const *to, size_t count);
