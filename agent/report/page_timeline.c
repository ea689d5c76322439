/* The timeline of a deployment as SVG: one row a step, one for its undo, one for the probes. */
#include "agent/report/page_priv.h"
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <math.h>
#include <string.h>

enum {
	WIDTH = 960,
	LABEL = 200, /* the column of names */
	MARGIN = 90, /* right of the axis: durations */
	ROW = 30,
	BAR = 16,
	TOP = 8,
	AXIS = 26,
	LABEL_COLUMNS = 28,
	ROWS_MAX = 200,
	PROBES_MAX = 1000,
};

static double x_of(const struct page_span *span, int64_t at_ms)
{
	return LABEL + page_place(span, at_ms) * (WIDTH - LABEL - MARGIN);
}

static void append_label(struct str *out, const char *label, int y)
{
	str_appendf(out, "<text class=\"label\" x=\"%d\" y=\"%d\">", LABEL - 12, y + BAR - 3);
	page_short_text(out, label, LABEL_COLUMNS);
	str_append(out, "</text>");
}

/* class: the name of one of our states, as in the style sheet. */
static void append_bar(struct str *out, const struct page_span *span, const char *label, const char *class,
                       int64_t from, int64_t to, int row)
{
	int y = TOP + row * ROW;
	double left = x_of(span, from), width = fmax(x_of(span, to) - left, 2);
	append_label(out, label, y);
	str_appendf(out, "<rect class=\"bar %s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"3\"><title>",
	            class, left, y, width, BAR);
	page_text(out, label);
	str_appendf(out, ": %s, ", class);
	page_since(out, span, from);
	str_append(out, " + ");
	report_append_duration(out, MAX(to - from, 0));
	str_append(out, "</title></rect>");
	str_appendf(out, "<text class=\"took\" x=\"%.1f\" y=\"%d\">", left + width + 6, y + BAR - 3);
	report_append_duration(out, MAX(to - from, 0));
	str_append(out, "</text>");
}

/* The class of a step's bar. Unknown names are drawn as pending. */
static const char *class_of(const char *state)
{
	static const char *const known[] = {"done", "failed", "undone", "cancelled", "skipped"};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(state, known[i]) == 0)
			return known[i];
	return "pending";
}

static int append_steps(struct str *out, const json_t *report, const struct page_span *span, int64_t *ret_last)
{
	size_t i;
	json_t *step;
	int row = 0;
	json_array_foreach(json_object_get(report, "steps"), i, step)
	{
		int64_t from = json_get_int(step, "started_ms", 0);
		if (from == 0 || row == ROWS_MAX)
			continue;
		int64_t to = json_get_int(step, "ended_ms", span->to);
		const char *name = report_text_of(step, "name");
		*ret_last = MAX(*ret_last, to);
		append_bar(out, span, name[0] ? name : report_text_of(step, "step"),
		           class_of(report_text_of(step, "state")), from, to, row++);
	}
	return row;
}

static bool was_taken_back(const json_t *deployment)
{
	static const char *const states[] = {"undone", "held", "undoing"};
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(report_text_of(deployment, "state"), states[i]) == 0)
			return true;
	return false;
}

static bool is_probe(const json_t *event)
{
	const char *kind = report_text_of(event, "kind");
	return strcmp(kind, "probe") == 0 || strcmp(kind, "baseline") == 0;
}

/* Baseline probes are hollow: they judge the previous state. Failed ones are drawn lower, so that none hides another. */
static void append_probe(struct str *out, const json_t *event, const struct page_span *span, int y)
{
	const json_t *data = json_object_get(event, "data");
	bool ok = json_get_bool(data, "ok", false), before = strcmp(report_text_of(event, "kind"), "baseline") == 0;
	str_appendf(out, "<circle class=\"probe %s%s\" cx=\"%.1f\" cy=\"%d\" r=\"4\"><title>", ok ? "ok" : "bad",
	            before ? " before" : "", x_of(span, json_get_int(event, "at_ms", 0)), y + BAR / 2 + (ok ? -5 : 5));
	page_text(out, report_text_of(data, "check"));
	str_append(out, ": ");
	page_short_text(out, report_text_of(data, "seen"), 200);
	str_append(out, "</title></circle>");
}

static int append_probes(struct str *out, const json_t *report, const struct page_span *span, int row)
{
	size_t i, drawn = 0;
	json_t *event;
	json_array_foreach(json_object_get(report, "events"), i, event)
	{
		if (!is_probe(event) || report_text_of(json_object_get(event, "data"), "check")[0] == '\0' ||
		    drawn == PROBES_MAX)
			continue;
		if (drawn++ == 0)
			append_label(out, "checks", TOP + row * ROW);
		append_probe(out, event, span, TOP + row * ROW);
	}
	return drawn > 0 ? row + 1 : row;
}

/* A round step of 1, 2 or 5 that gives at most eight ticks. */
static int64_t tick_of(int64_t length)
{
	int64_t tick = 1;
	for (int i = 0; length / tick > 8; i++)
		tick = i % 3 == 1 ? tick * 5 / 2 : tick * 2;
	return tick;
}

static void append_axis(struct str *out, const struct page_span *span, int rows)
{
	int bottom = TOP + rows * ROW;
	int64_t length = span->to - span->from, tick = tick_of(length);
	for (int64_t at = 0; at <= length; at += tick) {
		double x = x_of(span, span->from + at);
		str_appendf(out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>", x, TOP, x,
		            bottom);
		str_appendf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">", x, bottom + 16);
		report_append_duration(out, at);
		str_append(out, "</text>");
	}
}

void page_timeline(struct str *out, const json_t *report, const struct page_span *span)
{
	_cleanup_(str_done) struct str rows = STR_INIT(out->max);
	const json_t *deployment = json_object_get(report, "deployment");
	int64_t last = 0;
	int count = append_steps(&rows, report, span, &last);
	if (count > 0 && was_taken_back(deployment)) {
		int64_t end = json_get_int(deployment, "decided_ms", span->to);
		append_bar(&rows, span, "taking back", "undo", last, MAX(end, last), count++);
	}
	count = append_probes(&rows, report, span, count);
	if (count == 0)
		return;
	str_appendf(out,
	            "<section><h2>Timeline</h2><div class=\"wide\"><svg viewBox=\"0 0 %d %d\" role=\"img\" "
	            "aria-label=\"The steps of the deployment along its time\">",
	            WIDTH, TOP + count * ROW + AXIS);
	append_axis(out, span, count);
	str_append_n(out, str_peek(&rows), rows.len);
	str_append(out, "</svg></div></section>\n");
}
