/* Shared by the commands of davit-step: the store, the cancel descriptor, where lines go, and how a result is reported.
 * In a workflow (GITHUB_ACTIONS=true or a job document) lines become workflow commands and outputs go to GITHUB_OUTPUT. */
#pragma once
#include "engine/run/engine.h"

struct deployment_session {
	struct store *store;
	struct http *http; /* made on first use */
	struct wait wait;
	struct engine_options options; /* report, wait, store, make_target, target_kinds, seal are set */
	bool workflow;                 /* lines are workflow commands */
	bool json;                     /* the result goes to standard output as JSON, lines to standard error */
	bool colours;
	bool live;            /* the terminal shows a progress line, to be replaced */
	char token[33];       /* of ::stop-commands::, made on first use */
	bool stopped;         /* the runner takes all output as text */
	const char *title;    /* title of the summary of a workflow's step: "archive-upload"; NULL: none is written */
	char last_error[512]; /* an error is reported once */
	json_t *faults;       /* of the file that was read: reported with the error; owned */
};

/* needs_store false: for --plan, where a missing journal is not made. */
int deployment_session_open(struct deployment_session *s, bool needs_store, struct err *err);
void deployment_session_done(struct deployment_session *s);
/* Marks all further standard output as text: a workflow's runner executes no commands in it. */
void deployment_session_begin_text(struct deployment_session *s);
void deployment_session_print_json(const json_t *value);
/* Warns that a secret has lines too short to be masked by themselves, unless a runner masks and says so. */
void deployment_session_tell_masks(struct deployment_session *s);
/* Reports how it ended (plan or report, reason and hint), once; returns the exit status. r: the engine's result. */
int deployment_session_tell(struct deployment_session *s, int r, const struct engine_result *result, bool plan,
                            const struct err *err);
/* Reports one error, from before the first change, and returns the exit status that fits it: 5 locked, 130 cancelled, else 2. */
int deployment_session_fail(struct deployment_session *s, const struct err *err);
