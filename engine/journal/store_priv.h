/* Inside the journal: what the databases share of the state directory. */
#pragma once
#include "engine/journal/sql.h"

/* Makes the directory where it is missing; refuses one of another user, or on a network file system. */
int store_prepare_dir(const char *dir, struct err *err);
/* A missing reserve is no reason to refuse: the previous undo may have given it up. */
void store_make_reserve(const char *dir);
/* Sets s->id, which it makes once. */
int store_load_id(struct store *s, struct err *err);
