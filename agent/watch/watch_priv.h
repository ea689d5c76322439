/* Shared by the files of this directory. One deployment of GitHub's goes through phases, each of which is kept (record.c) before what it names is
 * done, so that a process that dies is continued by the next one:
 *
 *   claiming   it is known; a status `in_progress` with our nonce says that it is ours, unless an older one is there
 *   claimed    it is ours: the host's policy is asked, the commit is fetched
 *   running    a process carries it out: it waits for its input until its pid is kept
 *   ended      the outcome is known; its status is told, as often as it takes
 */
#pragma once
#include "agent/api/api.h"
#include "agent/watch/watch.h"
#include "base/sys/proc.h"

enum { WATCH_ASK_MS = 60000 };

struct place {
	const struct watch_options *options;
	char *server, *api_url; /* "https://github.com", "https://api.github.com" */
	char *repository;       /* OWNER/NAME */
	char *branch;           /* NULL: deployments are watched */
	char *environment;      /* NULL: of any */
	char *task, *file, *wait, *page, *secrets_file;
	char *shown; /* for messages */
	json_t *vars;
	struct api *api; /* may be shared with others of the same token */
	char *dir;       /* STATE/watch/ID, 0700 */
	json_t *record;  /* what is kept: record.c */
	struct proc proc;
	int pidfd; /* of proc; -1: none of ours runs */
	int64_t due_mono_ms, interval_ms, asked_pause_ms;
	int failures;    /* in a row */
	char *last_told; /* of what did not work; NULL */
	bool found_none; /* at the last look */
	bool given_up;   /* with `once`: it does not work, and will not */
	int bad;         /* how many did not succeed */
};

/* ---- place.c: the entries of the file ---- */
struct place_list {
	struct place *items;
	size_t count;
	struct api **apis;
	size_t api_count;
};
int place_list_read(const struct watch_options *options, struct http *http, struct place_list *ret, struct err *err);
void place_list_done(struct place_list *list);

/* ---- record.c: what is kept of a place ---- */
int place_load(struct place *p, struct err *err);
int place_save(struct place *p, struct err *err);
json_t *place_current(const struct place *p); /* NULL: nothing is under way; borrowed */
const char *place_phase(const struct place *p);
int place_enter(struct place *p, const char *phase, struct err *err); /* keeps it */
bool place_has_handled(const struct place *p, int64_t id);
/* All up to that one are. */
int place_settle(struct place *p, int64_t id, struct err *err);
/* The current one is handled; nothing is under way any more. */
int place_finish(struct place *p, struct err *err);

/* ---- find.c, claim.c ---- */

/* The next deployment becomes the current one. *ret: false, there is none. */
int place_find(struct place *p, struct wait *w, bool *ret, struct err *err);
/* *ret: true, it is ours; false: somebody else has it. */
int place_claim(struct place *p, struct wait *w, bool *ret, struct err *err);
/* Tells the outcome of the current one. */
int place_report(struct place *p, struct wait *w, struct err *err);
/* Its outcome is known now: a state of GitHub's deployment statuses, and a sentence. davit: the id of davit's own deployment, NULL. */
int place_end(struct place *p, const char *state, const char *davit, const char *text, struct err *err);

/* ---- admit.c, fetch.c, carry.c, journal.c ---- */

/* *ret: NULL, it may run; else why not: free(). */
int place_admit(struct place *p, struct wait *w, char **ret, struct err *err);
/* The tree of the current one's commit. free() */
char *place_tree(const struct place *p);
int place_fetch(struct place *p, struct wait *w, struct err *err);
void place_sweep(struct place *p);
int place_begin(struct place *p, struct err *err);
/* The process that carries it out lives: ours, or of a watcher before. */
bool place_runs(const struct place *p);
/* It has ended: what came of it goes into the record, or it begins again. status: of our own process; -1: not known. */
int place_conclude(struct place *p, int status, struct err *err);
char *place_log(const struct place *p); /* where the process writes; free() */
/* What marks it in davit's journal: its address at GitHub. free() */
char *place_mark(const struct place *p);
/* davit's own deployment of that mark, the newest that was not refused first; NULL: none. recover: settle first what is open. */
int journal_find(const char *mark, bool recover, json_t **ret, struct err *err);

/* ---- watch.c ---- */

/* A line for people, or an object for programs. what: "taken", "left", "refused", "ended", "again". */
void place_tell(const struct place *p, const char *what, const char *text);
