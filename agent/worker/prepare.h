/* An action that is ready to run: its manifest is read, its files lie in a directory. */
#pragma once
#include "agent/actions/manifest.h"
#include "agent/worker/worker_priv.h"

enum { PREPARE_DEPTH_MAX = 9, PREPARE_USES_MAX = 10000 };
struct prepared {
	char *name;             /* "OWNER/REPO/PATH@REF", "./path" */
	char *directory;        /* with its manifest */
	char *repository, *ref; /* NULL: it lies in the workspace */
	struct action_manifest manifest;
};
