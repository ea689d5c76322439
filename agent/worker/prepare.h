/* An action that is ready to run: its manifest is read, its files lie in a directory. */
#pragma once
#include "agent/actions/manifest.h"
#include "agent/worker/worker_priv.h"

/* Of a job. What an action uses is its author's choice, and all of it is in memory at once: the bounds hold before it is read. */
enum {
	PREPARE_DEPTH_MAX = 9,
	PREPARE_USES_MAX = 10000,
	PREPARE_ACTIONS_MAX = 1000,      /* different ones of other repositories */
	PREPARE_REPOSITORIES_MAX = 500,  /* the same at two versions: two */
	PREPARE_MANIFESTS_MAX = 32 << 20 /* bytes of all manifests */
};
struct prepared {
	char *name;             /* "OWNER/REPO/PATH@REF", "./path" */
	char *directory;        /* with its manifest */
	char *repository, *ref; /* NULL: it lies in the workspace */
	struct action_manifest manifest;
};
/* ERR_LIMIT: PREPARE_USES_MAX is passed. */
int prepare_too_many_uses(struct err *err);
/* "OWNER/REPO/PATH@REF" of a reference to another repository. free() */
char *prepare_name(const json_t *reference);
