/* What the files of this directory share: the reader's place in the document. */
#pragma once
#include "agent/workflow/workflow.h"

enum { WORKFLOW_MAX_JOBS = 256 };

struct reader {
	struct template_source source;
	struct str at; /* JSON pointer of the value being read */
};

/* A fault at the present place. */
void reader_fault(struct reader *r, const char *fmt, ...) _printf_(2, 3);
void reader_known_keys(struct reader *r, const json_t *object, const char *what, const char *const *names,
                       size_t count);
/* Goes down one key; give the result to reader_leave. */
size_t reader_enter(struct reader *r, const char *key);
void reader_leave(struct reader *r, size_t mark);

/* `on:` in its three forms (text, list, map) → a map of events (trigger.c). Never NULL. */
json_t *reader_triggers(struct reader *r, const json_t *root);
