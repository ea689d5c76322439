/* Secrets: strings that are wiped, and the mask that keeps them out of all our output.
 * A value added to a mask is covered with its usual encodings (docs/semantics.md 8; protocol notes "Observed" 24): each
 * line of it, JSON-, URI- and XML-escaped forms, Base64 at the three offsets. Overlapping matches become one "***". */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct mask;
struct mask *mask_new(void);
void mask_free(struct mask *m);
void mask_freep(struct mask **m);
void mask_add(struct mask *m, const char *value, size_t len); /* empty and blank values are ignored */
/* A value in a secret that is a document: covered as others are, but mask_finds() does not know it. It may be a name that stands in many places
 * ("host": "shop.example"). */
void mask_add_leaf(struct mask *m, const char *value, size_t len);
void mask_add_plain(struct mask *m, const char *value, size_t len); /* without encodings: workflow tokens */
/* The shortest line of a value of several lines that is covered by itself, in characters: shorter ones would cover every
 * such letter or brace of a log. The whole value and its forms are always covered. */
enum { MASK_LINE_MIN = 4 };
/* True if a value had a line that was too short for that: log writers say so in the log. */
bool mask_has_short_lines(const struct mask *m);
/* A regular expression (PCRE2) whose matches are covered: the service's patterns for tokens. At most 100. */
int mask_add_pattern(struct mask *m, const char *pattern, struct err *err);
bool mask_is_empty(const struct mask *m);
/* Appends `text` with secrets replaced. A secret that spans two calls is not seen: feed whole lines. */
void mask_apply(const struct mask *m, const char *text, size_t len, struct str *out);
/* The same for whole lines at once, each as if it were given alone. False: nothing is covered, and `out` is unchanged. */
bool mask_apply_lines(const struct mask *m, const char *text, size_t len, struct str *out);
/* The place to cut a text of which more will come: the longest prefix such that no secret crosses its end. 0: nowhere. */
size_t mask_cut(const struct mask *m, const char *text, size_t len);
/* True if it holds a secret, so that it must not stand where others read it. */
bool mask_finds(const struct mask *m, const char *text, size_t len);
/* The mask that log_…, errors and the reports of this process use (base/core/shown.h). Made on first use. */
struct mask *mask_process(void);
