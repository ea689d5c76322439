/* Shared by the files of this directory: the reader's place in the document. */
#pragma once
#include "agent/workflow/workflow.h"

enum { WORKFLOW_MAX_JOBS = 256 };

struct reader {
	struct template_source source;
	struct faults *refusals; /* what GitHub takes and this agent does not do */
	struct str at;           /* JSON pointer of the value being read */
};

/* ---- reader.c */
/* Contexts by position, as GitHub's schema lists them: of an environment's URL and a condition, and of all else of a step. */
extern const char *const workflow_in_url[], *const workflow_in_step[];
/* A fault at the present place; at its key. */
void reader_fault(struct reader *r, const char *fmt, ...) _printf_(2, 3);
void reader_fault_key(struct reader *r, const char *fmt, ...) _printf_(2, 3);
/* A member that may not stand there: a fault at its key. */
void reader_forbid(struct reader *r, const json_t *object, const char *key, const char *belongs);
void reader_known_keys(struct reader *r, const json_t *object, const char *what, const char *const *names,
                       size_t count);
/* Members that may be missing, but not null, as they are where all below them is a comment. */
void reader_refuse_empty(struct reader *r, const json_t *object, const char *const *names, size_t count);
/* Goes down one key; give the result to reader_leave. */
size_t reader_enter(struct reader *r, const char *key);
size_t reader_enter_index(struct reader *r, size_t index);
void reader_leave(struct reader *r, size_t mark);
/* The contexts and functions that expressions may name from here on. */
void reader_allow(struct reader *r, const char *const *names, int flags);
/* Of a member, new; null where there is none. */
json_t *reader_token(struct reader *r, const json_t *object, const char *key);
json_t *reader_scalars(struct reader *r, const json_t *object, const char *key);
char *reader_condition(struct reader *r, const json_t *object);
char *reader_string(struct reader *r, const json_t *object, const char *key, bool expressions);
json_t *reader_number(struct reader *r, const json_t *object, const char *key);
json_t *reader_boolean(struct reader *r, const json_t *object, const char *key);
json_t *reader_as_text(json_t *token); /* a number or boolean as the string that was written; taken */
bool reader_is_name(const char *text);
/* An id of a job or a step that GitHub takes; a fault else. */
void reader_check_id(struct reader *r, const char *id);
bool reader_is_expression(const json_t *value); /* a text with one in it */

/* ---- settings.c */
json_t *reader_permissions(struct reader *r, const json_t *object);
json_t *reader_defaults(struct reader *r, const json_t *object);
void reader_concurrency(struct reader *r, const json_t *object, json_t **group, json_t **cancel);
/* A key that GitHub knows and this agent does not do. */
void reader_refuse(struct reader *r, const json_t *object, const char *key, const char *why);
/* The same, of the present place. */
void reader_refuse_here(struct reader *r, const char *fmt, ...) _printf_(2, 3);

/* ---- call.c */
void reader_call(struct reader *r, struct workflow_job *job, const json_t *object);
void reader_call_trigger(struct reader *r, const json_t *call);

/* ---- container.c */
json_t *reader_container(struct reader *r, const json_t *object);
json_t *reader_services(struct reader *r, const json_t *object);

/* ---- strategy.c, step.c, job.c */
void reader_strategy(struct reader *r, struct workflow_job *job, const json_t *object);
void reader_steps(struct reader *r, struct workflow_job *job, const json_t *object);
void reader_jobs(struct reader *r, struct workflow *w, const json_t *root);

/* `on:` in its three forms (string, list, map) → a map of events (event.c). Never NULL. */
json_t *reader_triggers(struct reader *r, const json_t *root);
