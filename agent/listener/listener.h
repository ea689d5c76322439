/* The listener: one thread, one event loop on base/net/http.h, any number of registrations, each a small state machine
 * (registration.c), and jobs with a worker process each (lease.c). It runs no job content. */
#pragma once
#include "agent/listener/records.h"

/* Exit codes of the official runner (protocol 6.5). */
enum {
	LISTEN_DONE = 0,
	LISTEN_TERMINATED = 1,
	LISTEN_RETRY = 2,
	LISTEN_CONFLICT = 5,
	LISTEN_VERSION = 7,
	LISTEN_RESULT = 100, /* + result of the job, where it is asked for */
};

struct listener_options {
	bool once;                  /* stop after one job */
	bool drain;                 /* a first signal lets running jobs end */
	int slots;                  /* 0: one a processor, at least two */
	const char *worker_user;    /* instead of what the registrations say; NULL: as they say */
	const char *native;         /* the same */
	const char *isolation;      /* the same; "auto", "on", "off" */
	const char *policy;         /* its file; NULL: where admission_path finds it */
	int64_t quota;              /* bytes of all work areas of a user; 0: none */
	int64_t free_space;         /* bytes below which no job is taken; 0: none */
	int probe;                  /* opens so many sessions and ends: nothing else; 0: listens */
	const char *ping;           /* a URL that is asked for while all is well; NULL */
	const char *runner_version; /* that the services are told; NULL: the one that is built in */
	const char *version_source; /* a file or URL with a newer one, signed (agent/service/version.h); NULL */
	const char *version_key;    /* the file of the key that signs it (PEM) */
	const char *program;        /* this program, for workers; NULL: /proc/self/exe */
};
/* All registrations of the store. Returns the exit code; logs and prints itself. */
int listener_run_records(const struct records *store, const struct listener_options *options);
/* One registration that is kept nowhere. */
int listener_run_jit(const char *text, const struct listener_options *options);
