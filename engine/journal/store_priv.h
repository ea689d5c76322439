/* Inside the journal: what the databases share of the state directory. */
#pragma once
#include "engine/journal/sql.h"

/* Makes the directory where it is missing; refuses one of another user, or on a network file system. */
int store_prepare_dir(const char *dir, struct err *err);
/* A missing reserve is no reason to refuse: the previous undo may have given it up. */
void store_make_reserve(const char *dir);
/* Sets s->place, which it makes once. */
int store_load_place(struct store *s, struct err *err);

#define STORE_DATABASE_FILE "journal.db"
/* In the state directory: says that the journal is elsewhere, and the key of what is sealed there (32 bytes). */
#define STORE_PLACE_FILE "journal.url"
#define STORE_KEY_FILE "journal.key"
