/* Building blocks of the texts of this directory. */
#pragma once
#include <stdio.h>

#include "base/data/json.h"
#include "base/core/str.h"

const char *report_text_of(const json_t *object, const char *key); /* "" when it is not a string */
void report_safe(struct str *out, const char *text);               /* text from outside, made visible for a terminal */
const char *report_colour(bool colours, const char *code);
void report_append_time(struct str *out, int64_t wall_ms);
void report_append_column(struct str *out, const char *value, size_t width); /* filled up, and a blank */
/* The releases of a target by path, and an error of it, as `davit releases` shows them. */
void report_append_release_paths(struct str *out, const json_t *target, const char *scope, bool colours);
void report_append_error(struct str *out, const json_t *of, const char *indent, bool colours);
void report_print_out(struct str *text, FILE *out); /* masked */
/* An event in one line, control characters made visible. */
void report_append_event_words(struct str *out, const json_t *event);
/* For Markdown: masked, in one line, nothing in it means anything. */
void report_append_plain(struct str *out, const char *text);
void report_append_findings_markdown(struct str *out, const json_t *findings);
/* The changes of all steps of the plan, one list. The caller's. */
json_t *report_planned_changes(const json_t *report);
