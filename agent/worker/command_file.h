/* The files through which a step returns values [5.6]: GITHUB_ENV, GITHUB_OUTPUT, GITHUB_STATE (names and values)
 * and GITHUB_PATH (lines). Reading only. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

/* Called for each pair in order; < 0 ends the reading with that error. Strings are as in the file, made valid UTF-8. */
typedef int (*command_pair_fn)(void *context, const char *name, const char *value, size_t value_len, struct err *err);
/* Pairs before a malformed line are still passed on. */
int command_file_pairs(const char *data, size_t len, command_pair_fn pair, void *context, struct err *err);
/* Lines end with \n, \r\n or \r; empty ones are skipped. */
void command_file_lines(const char *data, size_t len, struct strv *ret);
/* Invalid UTF-8 becomes U+FFFD. free() */
char *command_file_utf8(const char *data, size_t len, size_t *ret_len);
