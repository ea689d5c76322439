/* Shared by the files that read manifests: the place in the document, and its faults. */
#pragma once
#include "agent/actions/manifest.h"
#include "agent/template/read.h"

struct manifest_look {
	const struct yaml_doc *doc;
	struct faults faults;
	struct str at; /* JSON pointer of the value being read */
	struct action_manifest *manifest;
};

/* ---- manifest.c */
void manifest_fault(struct manifest_look *l, const char *fmt, ...) _printf_(2, 3);
size_t manifest_enter(struct manifest_look *l, const char *key); /* give the result to str_truncate */
void manifest_known_keys(struct manifest_look *l, const json_t *object, const char *what, const char *const *names,
                         size_t count);
/* Of a member, new; NULL: absent or null. */
json_t *manifest_token(struct manifest_look *l, const json_t *object, const char *key, const char *const *contexts,
                       int flags);
char *manifest_text(struct manifest_look *l, const json_t *object, const char *key);

/* ---- manifest_steps.c */
void manifest_steps_read(struct manifest_look *l, const json_t *runs);
