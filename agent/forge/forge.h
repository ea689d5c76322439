/* GitHub on loopback: enough of its services that an agent can run jobs against it and cannot tell the difference.
 *
 * Git hosting by smart HTTP, a push that starts workflows, runner registration, the message broker, the run service,
 * the results service with its blob storage, and the parts of the REST API that steps use. What arrives is checked as
 * strictly as the documents allow: a request that GitHub would not understand is refused, and each oddity is recorded
 * as a complaint, so that a test can ask for "no complaints". Everything received is kept in memory and served as JSON
 * (GET /runs).
 *
 * It is a server for trials and tests: one thread a connection, no real access control, loopback only. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <stdint.h>

struct forge_config {
	const char *host; /* "127.0.0.1" */
	int port;         /* 0: a free one */
	bool tls;         /* with a certificate made at start */
	const char *url; /* what it says its address is, where clients reach it through something else; NULL: its own */
	const char *ca_file;      /* where that certificate is written for clients (--tls); NULL: nowhere */
	const char *port_file;    /* gets the URL's port as text once it listens; NULL */
	int ready_fd;             /* gets the URL and a line end; -1 */
	const char *state_dir;    /* runs are written there as they end; NULL: nowhere */
	const char *token;        /* push and administration need it; NULL: any credential will do */
	const char *secrets_file; /* {"owner/name": {"secrets": {…}, "vars": {…}}, "*": {…}}; NULL */
	struct strv repos;        /* "owner/name=DIR" or "DIR" */
	const char *releases_dir; /* DIR/OWNER/NAME/TAG/FILE: releases of repositories; NULL: none */
	bool read_only;           /* nothing can be pushed */
	bool closed;              /* for tokens of jobs and this user's processes only, and nobody administers it */
	const char *work_tree;    /* reusable workflows are read there; NULL: from the run's commit */
	int64_t poll_ms;          /* how long a message poll is held */
	int64_t lease_ms;         /* how long a job's lock lasts after a renewal */
	int64_t cancel_ms;        /* time a cancelled job gets */
	int64_t cache_bytes;      /* all caches of a repository; 0: 10 GiB */
	int64_t storage_bytes;    /* all artifacts and caches; 0: 40 GiB */
	bool acknowledge;         /* job references ask for an acknowledgement */
	bool lines;               /* lines of running steps on standard output, as they come */
	bool verbose;             /* one line for each event on standard output */
};

struct forge;
/* Listens, in threads of its own. Until forge_close. */
int forge_open(const struct forge_config *config, struct forge **ret, struct err *err);
void forge_close(struct forge *f);
/* Serves until SIGINT or SIGTERM (or until cancel_fd is readable). Prints the URL first. */
int forge_run(const struct forge_config *config, int cancel_fd, struct err *err);
