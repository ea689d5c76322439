/* The lines that terraform and tofu write with -json: one JSON object each (ui 1.x). What fits nothing is no event: a provider's panic, a
 * newer kind. All text in it is foreign. */
#pragma once
#include "base/core/str.h"
#include <stdint.h>

enum terraform_event_type {
	TERRAFORM_OTHER,
	TERRAFORM_DIAGNOSTIC,
	TERRAFORM_APPLY_START,
	TERRAFORM_APPLY_PROGRESS,
	TERRAFORM_APPLY_COMPLETE,
	TERRAFORM_APPLY_ERRORED,
	TERRAFORM_REFRESH,
	TERRAFORM_PROVISION,
	TERRAFORM_SUMMARY,
	TERRAFORM_LOG,
};

struct terraform_event {
	enum terraform_event_type type;
	bool is_error;          /* of a diagnostic: else a warning */
	char *message;          /* for people; "" none */
	char *address, *action; /* of one about a resource; NULL */
	char *summary, *detail; /* of a diagnostic; NULL */
	char *operation;        /* of a summary: "plan", "apply", "destroy"; NULL */
	int64_t elapsed_s, add, change, remove;
};
/* false: that is no event, and ret is empty. */
bool terraform_event_read(const char *line, size_t len, struct terraform_event *ret);
void terraform_event_done(struct terraform_event *e);

/* The holder of a state's lock, as "Error acquiring the state lock" tells it. */
struct terraform_lock {
	char *id, *who, *operation, *created; /* NULL: not told */
};
/* From a diagnostic's detail, or the same text as people see it. false: it is about no lock. */
bool terraform_lock_read(const char *text, struct terraform_lock *ret);
void terraform_lock_done(struct terraform_lock *l);
