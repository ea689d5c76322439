/* A plan as `show -json` tells it (format 1.x): what happens to each resource, attribute by attribute, without the values that terraform
 * calls sensitive. All text in it is foreign. */
#pragma once
#include "base/data/json.h"

enum terraform_action {
	TERRAFORM_NOTHING, /* with `imported` or `moved` it changes the state alone */
	TERRAFORM_READ,
	TERRAFORM_CREATE,
	TERRAFORM_UPDATE,
	TERRAFORM_DESTROY,
	TERRAFORM_REPLACE,       /* destroyed, then made */
	TERRAFORM_REPLACE_FIRST, /* made, then destroyed */
	TERRAFORM_FORGET,        /* it stays, and is nobody's any more */
};

struct terraform_row {
	char *address, *moved_from, *reason; /* reason: why it is replaced or destroyed; NULL */
	enum terraform_action action;
	bool imported, is_output;
	json_t *before, *after; /* attribute → text of what differs; "(sensitive)", "(known after apply)" */
	char *forced;           /* "size, zone": the attributes that force a new one; NULL */
};

struct terraform_plan {
	struct terraform_row
		*rows; /* what changes something, outputs too (`output.NAME`); what is only read is left out */
	size_t count, cap;
	struct strv drifted; /* addresses that were changed outside of terraform */
	struct strv failing; /* checks that fail: "check.NAME: why" */
	char *version;       /* of the program */
	size_t deferred;
	bool errored, complete;
};

/* ERR_PROTOCOL: not such a document; ERR_UNSUPPORTED: of another format. */
int terraform_plan_read(const json_t *doc, struct terraform_plan *ret, struct err *err);
void terraform_plan_done(struct terraform_plan *p);
bool terraform_action_destroys(enum terraform_action a);
/* "would be replaced (destroyed first)" and the like, for people. */
const char *terraform_action_name(enum terraform_action a);

/* The attributes that differ, flat: "tags.owner" → text. Sensitive and unknown are maps as plans have them. Texts are masked and cut. */
void terraform_difference(const json_t *change, json_t *before, json_t *after);
/* "size, tags.owner" of replace_paths; NULL: none. free() */
char *terraform_paths(const json_t *replace_paths);
