/* The location of this host's state: the journal, sealed secrets, owner files. */
#pragma once
#include "base/core/err.h"

/* $DAVIT_STATE, else /var/lib/davit (root), else $XDG_STATE_HOME/davit, else ~/.local/state/davit. free() */
char *state_dir(struct err *err);
/* Adds a hint for a journal that cannot be opened; returns the code. */
int state_dir_hint(struct err *err, int code);
