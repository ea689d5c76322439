/* The scripts of postgres.c, for sh on the target. Their variables:
 *   DAVIT_DIR      the snapshot's directory (of `restore`: of the dump)
 *   DAVIT_DB       the database
 *   DAVIT_MAIN     another one of the server, from where it is created, renamed and dropped
 *   DAVIT_NEW, DAVIT_FORMER  names that only davit uses, known in advance: a scratch database, and the one that was replaced
 *   DAVIT_CONTAINER, DAVIT_SERVICE, DAVIT_PASS  where the programs run, and which variables go in; empty: here
 *   DAVIT_USER, DAVIT_PROGRAMS  the user who runs them here, and their directory with a slash; empty: as found
 *   DAVIT_LOCK_MS, DAVIT_PROVE, DAVIT_NO_OWNER
 * Whatever connects to a database of users looks names up in pg_catalog only: nobody there can put a function in its way. */
#pragma once

/* "SIZE|VERSION|MAY_CREATE|OWNS|TOOL", or "none". */
extern const char *const postgres_script_look;
/* Into DIR: dump, list, and where it is to be proven counts; prints the server's version, then the program's. */
extern const char *const postgres_script_dump;
/* The dump into NEW, counted against `counts`; NEW goes. */
extern const char *const postgres_script_prove;
/* The dump into NEW, counted where there are counts, and then NEW in the place of DB, which becomes FORMER. Done before: nothing. */
extern const char *const postgres_script_restore;
/* Prints 1 where FORMER is there. */
extern const char *const postgres_script_replaced;
/* NEW and FORMER go, and what davit's programs still do there. */
extern const char *const postgres_script_sweep;
