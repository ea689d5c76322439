/* A list of this machine, never a deployment's, that says whom it trusts: /etc/davit/NAME where that is there, else NAME in the state directory. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { MACHINE_LIST_MAX = 1 << 20, MACHINE_LIST_NAME_MAX = 64 };
/* lines: for the hint, what it is made of. ret: of MACHINE_LIST_MAX at least. *ret_path: free(). ERR_NOT_FOUND: there is none.
 * ERR_PERMISSION: others than its owner can change it. */
int machine_list_read(const char *state_dir, const char *name, const char *lines, char **ret_path, struct str *ret,
                      struct err *err);
/* Its lines, one after the other, until one is negative; the error names path and line. A line may be changed. */
int machine_list_parse(const char *text, const char *path, int (*line)(void *context, char *line, struct err *err),
                       void *context, struct err *err);
/* Letters, digits and these: a name that can be shown. */
bool machine_list_is_name(const char *text, size_t max, const char *also);
