/* Opens the journal of a state directory wherever it lies, and says where that is. */
#pragma once
#include "engine/journal/store.h"

/* As store_open and store_open_readonly. */
int journal_open(const char *dir, struct store **ret, struct err *err);
int journal_open_readonly(const char *dir, struct store **ret, struct err *err);

/* From now on the journal of this directory lies at `url`, where one is made if there is none. key: its key in 64 hexadecimal digits, from
 * another machine; NULL: the journal is new, or this directory has the key already. ERR_CONFLICT: something here is undecided. */
int journal_use(const char *dir, const char *url, const char *key, struct err *err);
/* From now on it lies in SQLite again. ERR_CONFLICT as above, for what this machine owns there. */
int journal_leave(const char *dir, struct err *err);
/* The key, in hexadecimal digits. ERR_NOT_FOUND: this directory's journal is not shared. */
int journal_key(const char *dir, struct str *out, struct err *err);
/* Where it lies, for people: "PATH/journal.db", "HOST/DATABASE". free() */
char *journal_name(const struct store *s);
