/* Shared by the parts of the page that `davit report --html` writes. Everything from outside passes the mask, then is made visible
 * (control and direction characters), then escaped. */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"

/* The time that a deployment took, for every picture of the page alike. Milliseconds since 1970. */
struct page_span {
	int64_t from, to; /* to > from */
};

/* Up to the begin of the body. refresh_s: 0: never. */
void page_begin(struct str *out, const char *title, int refresh_s);
void page_end(struct str *out);
struct page_span page_span_of(const json_t *report);
/* 0…1 along the span; times outside are drawn at its end. */
double page_place(const struct page_span *span, int64_t at_ms);
/* As text or as an attribute's value. */
void page_text(struct str *out, const char *text);
/* At most `columns` characters, then an ellipsis. */
void page_short_text(struct str *out, const char *text, size_t columns);
/* "1.2 s" after the begin of the span. */
void page_since(struct str *out, const struct page_span *span, int64_t at_ms);
/* Steps, the undo and each probe along the time axis, as SVG. */
void page_timeline(struct str *out, const json_t *report, const struct page_span *span);
/* Each check with its latencies along the same axis; nothing where nothing was probed. */
void page_probes(struct str *out, const json_t *report, const struct page_span *span);
