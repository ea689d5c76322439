/* What a target does by itself when nobody renews its lock any more (docs/semantics.md 11): a POSIX sh program beside the lock, and a
 * file of lines for each part of the deployment, which name what was there and what was made.
 *
 * LOCK_DIR/alone/watch: the program. LOCK_DIR/alone/c-NUMBER: the changes that were intended together, newest first; a-NUMBER: what
 * runs after the undo. LOCK_DIR/armed: the watch's token; without it the target does nothing by itself. LOCK_DIR/alone/said: what it did.
 * The lines are calls of functions of the program:
 *   restore ID PATH BESIDE (TYPE MODE OWNER GROUP WHAT) of what was there, and of what was made. WHAT: a file's digest, a link's
 *           text; + for the digests that lie in undo/; empty for what is not compared
 *   back ID PATH TO                   a rename
 *   undo ID DIRECTORY SECONDS WORD…   a command that takes another one back, if that one was started
 *   after ID DIRECTORY SECONDS WORD…  a command once all is restored; `former` is the release that is valid then
 *   stays ID PATH                     a change that a target cannot take back alone
 */
#pragma once
#include "base/core/err.h"
#include "engine/record/change.h"

enum { ALONE_TOKEN_DIGITS = 32, ALONE_MAX = 4 << 20, ALONE_SAID_MAX = 16 << 10 };

struct alone_program {
	const char *lock_dir, *deployment, *token;
	int64_t after_ms;
};
/* Run with `start` it starts itself in the background, once, and waits until it watches. */
void alone_program_text(const struct alone_program *p, struct str *out);

/* digests_aside: those of its file lie in undo/, not in its record. */
void alone_line_restore(const struct change *c, bool digests_aside, struct str *out);
void alone_line_back(const struct change *c, const char *to, struct str *out);
/* blind: nothing else waits for it, since nobody can tell what it touched. */
void alone_line_stays(const struct change *c, bool blind, struct str *out);
struct alone_command {
	const char *const *argv; /* either an argument list … */
	const char *script;      /* … or text for sh */
	const char *cwd;
	int64_t timeout_ms;
};
/* what: "undo" or "after". */
void alone_line_command(const char *what, int64_t id, const struct alone_command *c, struct str *out);

/* What a target says that it did; data from outside. */
struct alone_said {
	bool went, ended;
	int64_t at_ms; /* its wall clock */
	size_t left;   /* changes that it could not take back */
};
void alone_said_read(const char *text, struct alone_said *ret);
