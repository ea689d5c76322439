/* The journal in SQLite: its handle, for tests that make the database fail. */
#pragma once
#include "engine/journal/sql.h"
#include <sqlite3.h>

sqlite3 *sqlite_handle(const struct store *s);
