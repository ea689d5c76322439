/* One sh on the target that runs scripts one after the other, so that an operation costs a round trip and no new
 * command (a login shell's start files alone cost 0.15 s each).
 *
 * Input: a line MARK (random), then frames: lines of sh up to a line MARK, evaluated in the sh itself; a frame
 * may read more of the input by `h COUNT` (exactly that many bytes). Output: the frame's output and errors,
 * each followed by "MARK KIND STATUS\n" after the last byte. MARK is only known to the two ends, so no content can end a
 * frame.
 *
 * The sh notes itself in LOCK_DIR/pids (engine/target/command_end.h) once, before it looks at a token for the first time. A process that takes the
 * lock over ends it and all that belongs to it (engine/target/target.h). The note stays if the sh is killed in the middle of a
 * frame. */
#pragma once
#include "engine/target/command_end.h"
#include "engine/target/shell/link.h"
#include "base/core/str.h"

/* A remote process: enough to end it, and what belongs to it, later without hitting another one. Without /proc start_time is 0, and
 * began_s says in seconds when it began. mark and user: of a command, else empty (engine/target/command_end.h). */
struct shell_process {
	long long pid, start_time, group, began_s;
	char mark[COMMAND_MARK_DIGITS + 1], user[64];
	bool has_grace; /* only the fence ends it, which gives it its time */
};

struct shell_call;
struct shell_session {
	struct shell_stream *stream;
	struct shell_call *call; /* in progress, for session_write */
	char mark[48];
	struct shell_process process;
	bool busy; /* in a call: a call inside a wait's tick must take another session */
	bool dead; /* unusable */
};

/* The sh's result of a frame. */
enum shell_kind { SHELL_DONE = 'r', SHELL_FENCED = 'f', SHELL_NO_SPACE = 's', SHELL_NO_USER = 'u', SHELL_NO_DIR = 'c' };
struct shell_reply {
	enum shell_kind kind;
	int status;
};

/* The frame's input, and receivers of its output. All may be NULL. */
struct shell_io {
	const void *input;
	size_t input_len;
	/* Produces input piece by piece with `write` (then input is NULL). */
	int (*produce)(void *context, struct shell_session *s, struct wait *w, struct err *err);
	void *produce_context;
	struct str *out;
	size_t out_max; /* more is ERR_LIMIT */
	struct str *err;
	size_t err_max; /* more is dropped */
	/* as it comes, instead of out and err; < 0 ends the call */
	int (*on_output)(void *context, bool is_stderr, const char *data, size_t len, struct err *err);
	void *output_context;
	bool close_input; /* end of input after it: the sh ends after this frame */
};

int session_open(struct shell_link *l, bool become, struct wait *w, struct shell_session **ret, struct err *err);
/* *ret_sent: the whole frame was sent, so it may have been executed. Any error makes the session dead. */
int session_call(struct shell_session *s, const char *frame, const struct shell_io *io, struct wait *w,
                 struct shell_reply *ret, bool *ret_sent, struct err *err);
/* For produce: writes all bytes. ERR_FAILED when the sh has already answered: it accepts no more. */
int session_write(struct shell_session *s, const void *data, size_t len, struct wait *w, struct err *err);
void session_free(struct shell_session *s);
