/* Where the targets of a command that only looks stand: in a deployment file, or in what the journal's newest committed deployments knew. */
#pragma once
#include "agent/deployment/session.h"
#include "agent/deployment/values.h"

struct places {
	const char *usage; /* for hints: "davit releases FILE" */
	struct deployment_session *session;
	const char *word; /* FILE, ID or "last"; NULL: every name and environment of the journal */
	const char *name, *environment, *secrets_file;
	struct strv secrets, vars, inputs;
	struct deployment_values values;
	int (*look)(void *context, const json_t *places, struct err *err); /* called for each name and environment */
	void *context;
};
/* Rows of a table of options. */
#define PLACES_OPTIONS(p)                                                                                              \
	{"name", 0, CLI_TEXT, &(p)->name, "NAME", "without FILE: only deployments of this name"},                      \
		{"environment", 0, CLI_TEXT, &(p)->environment, "ENV", "without FILE: only this environment"},         \
		{"secret",      0,      CLI_LIST,                                                                      \
	         &(p)->secrets, "NAME", "a secret that the targets need: the value of that environment variable"},     \
		{"secrets", 0, CLI_TEXT, &(p)->secrets_file, "FILE", "the same from a JSON or YAML map, mode 0600"},   \
		{"var", 0, CLI_LIST, &(p)->vars, "NAME=VALUE", "with FILE: a value of the context vars"},              \
	{                                                                                                              \
		"input", 0, CLI_LIST, &(p)->inputs, "NAME=VALUE", "with FILE: a value of the context inputs"           \
	}

/* Once the options are read: opens the session, whose answers are JSON where that was asked for. makes_journal: one that is missing is made. On failure
 * the session can report the error all the same. */
int places_open(struct places *p, struct deployment_session *session, bool makes_journal, struct err *err);
int places_look(struct places *p, struct err *err);
void places_done(struct places *p);
