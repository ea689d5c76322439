/* One deployment as a page: self-contained HTML without scripts, readable light and dark, narrow and wide. */
#include "agent/report/page_priv.h"
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

#include "base/core/clock.h"
#include "base/secret/mask.h"

enum { PAGE_MAX = 64 << 20, TEXT_MAX = 1 << 20, CHANGES_MAX = 5000, EVENTS_MAX = 5000 };

static const char style[] =
	":root{color-scheme:light dark;--paper:#fff;--ink:#1c2128;--faint:#5b6572;--line:#d4dae1;--panel:#f4f6f8;"
	"--good:#1a7f37;--bad:#c4321c;--undo:#9a6700;--wait:#6e7781}"
	"@media(prefers-color-scheme:dark){:root{--paper:#10151b;--ink:#e4e9ef;--faint:#9aa5b1;--line:#323b46;--panel:#1a212a;"
	"--good:#4ac26b;--bad:#ff7b6b;--undo:#e3b341;--wait:#8b949e}}"
	"*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem;background:var(--paper);color:var(--ink);"
	"font:15px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
	"h3{font-size:1rem;margin:1.2rem 0 .3rem}.state{display:inline-block;margin:.4rem 0;padding:.05rem .6rem;border:2px solid;"
	"border-radius:1rem;font-weight:600}.state.committed{color:var(--good)}.state.undone{color:var(--undo)}"
	".state.held,.state.refused{color:var(--bad)}.reason{background:var(--panel);border-left:4px solid var(--bad);"
	"padding:.5rem .8rem;overflow-wrap:anywhere}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.8rem 0}"
	"dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}.wide{overflow-x:auto}svg{display:block;width:100%;min-width:42rem;"
	"height:auto}svg.plot{width:20rem;min-width:12rem}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .label{text-anchor:end}"
	"svg .tick{text-anchor:middle;fill:var(--faint)}svg .took{fill:var(--faint)}.grid{stroke:var(--line)}.bar{fill:var(--wait)}"
	".bar.done{fill:var(--good)}.bar.failed{fill:var(--bad)}.bar.undo,.bar.undone{fill:var(--undo)}.probe{stroke-width:1.5}"
	".probe.ok{fill:var(--good);stroke:var(--good)}.probe.bad{fill:var(--bad);stroke:var(--bad)}.probe.before{fill:var(--paper)}"
	"table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;"
	"border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--faint);font-weight:600}td.what{white-space:normal;"
	"overflow-wrap:anywhere;min-width:12rem}"
	"code,pre{font:13px/1.45 ui-monospace,monospace}pre{margin:.2rem 0;white-space:pre-wrap;overflow-wrap:anywhere}"
	"summary{cursor:pointer}.faint,.legend{color:var(--faint)}.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;"
	"border:2px solid var(--wait)}.dot.ok{background:var(--good);border-color:var(--good)}.dot.bad{background:var(--bad);"
	"border-color:var(--bad)}@media print{.wide{overflow:visible}}";

static void append_escaped(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		switch (text[i]) {
		case '<':
			str_append(out, "&lt;");
			break;
		case '>':
			str_append(out, "&gt;");
			break;
		case '&':
			str_append(out, "&amp;");
			break;
		case '"':
			str_append(out, "&quot;");
			break;
		case '\'':
			str_append(out, "&#39;");
			break;
		default:
			str_append_c(out, text[i]);
		}
}

void page_text(struct str *out, const char *text)
{
	struct str masked _cleanup_(str_done) = STR_INIT(TEXT_MAX), shown _cleanup_(str_done) = STR_INIT(4 * TEXT_MAX);
	mask_apply(mask_process(), text, strlen(text), &masked);
	report_safe(&shown, str_peek(&masked));
	append_escaped(out, str_peek(&shown), shown.len);
}

/* Masked before it is cut: half of a secret would be shown in clear. */
void page_short_text(struct str *out, const char *text, size_t columns)
{
	struct str masked _cleanup_(str_done) = STR_INIT(TEXT_MAX), shown _cleanup_(str_done) = STR_INIT(4 * TEXT_MAX);
	mask_apply(mask_process(), text, strlen(text), &masked);
	report_safe(&shown, str_peek(&masked));
	const char *from = str_peek(&shown);
	size_t at = 0;
	for (size_t left = columns; from[at] != '\0' && (left > 0 || ((unsigned char)from[at] & 0xc0) == 0x80); at++)
		left -= ((unsigned char)from[at] & 0xc0) != 0x80 && left > 0;
	append_escaped(out, from, at);
	if (from[at] != '\0')
		str_append(out, "…");
}

struct page_span page_span_of(const json_t *report)
{
	const json_t *deployment = json_object_get(report, "deployment");
	struct page_span span = {json_get_int(deployment, "created_ms", 0), json_get_int(deployment, "decided_ms", 0)};
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(report, "events"), i, item) span.to =
		MAX(span.to, json_get_int(item, "at_ms", 0));
	json_array_foreach(json_object_get(report, "steps"), i, item) span.to =
		MAX(span.to, json_get_int(item, "ended_ms", json_get_int(item, "started_ms", 0)));
	span.to = MAX(span.to, span.from + 1);
	return span;
}

double page_place(const struct page_span *span, int64_t at_ms)
{
	double place = (double)(at_ms - span->from) / (double)(span->to - span->from);
	return place < 0 ? 0 : place > 1 ? 1 : place;
}

void page_since(struct str *out, const struct page_span *span, int64_t at_ms)
{
	str_append(out, "+");
	report_append_duration(out, MAX(at_ms - span->from, 0));
}

static void append_fact(struct str *out, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	str_appendf(out, "<dt>%s</dt><dd>", name);
	page_text(out, value);
	str_append(out, "</dd>");
}

static void append_moment(struct str *out, const char *name, int64_t wall_ms)
{
	struct str when _cleanup_(str_done) = STR_INIT(64);
	if (wall_ms <= 0)
		return;
	report_append_time(&when, wall_ms);
	str_append(&when, " UTC");
	append_fact(out, name, str_peek(&when));
}

/* Makes a link only if a browser may follow it from here. */
static void append_run(struct str *out, const char *url)
{
	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0) {
		append_fact(out, "run", url);
		return;
	}
	str_append(out, "<dt>run</dt><dd><a rel=\"noreferrer\" href=\"");
	page_text(out, url);
	str_append(out, "\">");
	page_text(out, url);
	str_append(out, "</a></dd>");
}

static void append_targets(struct str *out, const json_t *deployment)
{
	size_t i;
	json_t *target;
	json_array_foreach(json_object_get(deployment, "targets"), i, target)
	{
		_cleanup_free_ char *line =
			xasprintf("%s: %s@%s (%s)", report_text_of(target, "name"), report_text_of(target, "user"),
		                  report_text_of(target, "host"), report_text_of(target, "identity"));
		append_fact(out, "target", line);
	}
}

static void append_head(struct str *out, const json_t *d, const struct page_span *span)
{
	struct str took _cleanup_(str_done) = STR_INIT(64);
	str_append(out, "<header><h1>");
	page_text(out, report_text_of(d, "name"));
	str_append(out, " → ");
	page_text(out, report_text_of(d, "environment"));
	str_append(out, "</h1><span class=\"state ");
	page_text(out, report_text_of(d, "state"));
	str_append(out, "\">");
	page_text(out, report_text_of(d, "state"));
	str_append(out, "</span>");
	if (report_text_of(d, "reason")[0] != '\0') {
		str_append(out, "<p class=\"reason\">");
		page_text(out, report_text_of(d, "reason"));
		str_append(out, "</p>");
	}
	str_append(out, "<dl>");
	append_fact(out, "deployment", report_text_of(d, "id"));
	if (strcmp(report_text_of(d, "kind"), "rollback") == 0)
		append_fact(out, "rollback of", report_text_of(d, "from"));
	append_fact(out, "release", report_text_of(d, "release"));
	append_fact(out, "commit", report_text_of(d, "commit"));
	append_fact(out, "repository", report_text_of(d, "repository"));
	if (report_text_of(d, "run_url")[0] != '\0')
		append_run(out, report_text_of(d, "run_url"));
	append_fact(out, "by", report_text_of(d, "user"));
	append_moment(out, "begun", span->from);
	report_append_duration(&took, span->to - span->from);
	append_fact(out, "took", str_peek(&took));
	append_targets(out, d);
	append_fact(out, "plan", report_text_of(d, "plan_digest"));
	str_append(out, "</dl></header>\n");
}

static void append_value(struct str *out, const char *name, const json_t *value)
{
	_cleanup_free_ char *text = value != NULL ? json_text(value) : NULL;
	str_appendf(out, "%s ", name);
	page_text(out, text != NULL ? text : "");
	str_append(out, "\n");
}

static void append_change(struct str *out, const json_t *change)
{
	const char *summary = report_text_of(change, "summary"), *path = report_text_of(change, "path");
	str_append(out, "<tr><td>");
	page_text(out, report_text_of(change, "action"));
	str_append(out, "</td><td>");
	page_text(out, report_text_of(change, "target"));
	str_append(out, "</td><td class=\"what\"><details><summary>");
	page_text(out, summary[0] != '\0' ? summary : path);
	str_append(out, "</summary><pre>");
	page_text(out, path);
	str_append(out, "\n");
	append_value(out, "before", json_object_get(change, "before"));
	append_value(out, "after ", json_object_get(change, "after"));
	str_append(out, "</pre></details></td><td class=\"what\">");
	page_text(out, report_text_of(change, "state"));
	if (report_text_of(change, "note")[0] != '\0') {
		str_append(out, ": ");
		page_text(out, report_text_of(change, "note"));
	}
	str_append(out, "</td></tr>\n");
}

static void append_step(struct str *out, const json_t *report, const json_t *step, int64_t number, size_t *shown)
{
	const json_t *changes = json_object_get(report, "changes");
	const char *name = report_text_of(step, "name");
	size_t i, own = 0;
	json_t *change;
	str_append(out, "<h3>");
	page_text(out, name[0] != '\0' ? name : report_text_of(step, "step"));
	str_append(out, " <span class=\"faint\">");
	page_text(out, report_text_of(step, "state"));
	str_append(out, "</span></h3>");
	json_array_foreach((json_t *)changes, i, change)
	{
		if (json_get_int(change, "step", -1) != number || ++*shown > CHANGES_MAX)
			continue;
		if (own++ == 0)
			str_append(out,
			           "<div class=\"wide\"><table><thead><tr><th>change</th><th>target</th><th>what</th>"
			           "<th>state</th></tr></thead><tbody>\n");
		append_change(out, change);
	}
	str_append(out, own > 0 ? "</tbody></table></div>\n" : "<p class=\"faint\">No change.</p>\n");
}

static void append_steps(struct str *out, const json_t *report)
{
	size_t i, shown = 0;
	json_t *step;
	str_append(out, "<section><h2>Steps and changes</h2>\n");
	json_array_foreach(json_object_get(report, "steps"), i, step)
		append_step(out, report, step, json_get_int(step, "index", (int64_t)i), &shown);
	if (shown > CHANGES_MAX)
		str_appendf(out, "<p>%zu further changes are not shown; <code>davit show</code> has all of them.</p>",
		            shown - CHANGES_MAX);
	str_append(out, "</section>\n");
}

static void append_events(struct str *out, const json_t *report, const struct page_span *span)
{
	const json_t *events = json_object_get(report, "events");
	size_t i, count = json_array_size(events);
	json_t *event;
	if (count == 0)
		return;
	str_appendf(
		out,
		"<section><h2>Events</h2><details><summary>%zu events</summary><div class=\"wide\"><table><tbody>\n",
		count);
	json_array_foreach((json_t *)events, i, event)
	{
		struct str words _cleanup_(str_done) = STR_INIT(TEXT_MAX);
		if (i == EVENTS_MAX)
			break;
		report_append_event_words(&words, event);
		str_append(out, "<tr><td>");
		page_since(out, span, json_get_int(event, "at_ms", 0));
		str_append(out, "</td><td>");
		page_text(out, report_text_of(event, "kind"));
		str_append(out, "</td><td class=\"what\">");
		page_text(out, str_peek(&words));
		str_append(out, "</td></tr>\n");
	}
	str_append(out, "</tbody></table></div>");
	if (count > EVENTS_MAX)
		str_appendf(out, "<p>%zu further events are not shown.</p>", count - EVENTS_MAX);
	str_append(out, "</details></section>\n");
}

void page_begin(struct str *out, const char *title, int refresh_s)
{
	str_append(
		out,
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
	if (refresh_s > 0)
		str_appendf(out, "<meta http-equiv=\"refresh\" content=\"%d\">", refresh_s);
	str_append(out, "<title>");
	page_text(out, title);
	str_appendf(out, "</title><style>%s</style></head><body>\n", style);
}

void page_end(struct str *out)
{
	str_append(out, "</body></html>\n");
}

char *report_page(const json_t *report)
{
	struct str out _cleanup_(str_done) = STR_INIT(PAGE_MAX);
	const json_t *deployment = json_object_get(report, "deployment");
	struct page_span span = page_span_of(report);
	_cleanup_free_ char *title =
		xasprintf("%s: %s", report_text_of(deployment, "name"), report_text_of(deployment, "state"));
	page_begin(&out, title, 0);
	append_head(&out, deployment, &span);
	page_timeline(&out, report, &span);
	page_probes(&out, report, &span);
	append_steps(&out, report);
	append_events(&out, report, &span);
	page_end(&out);
	return out.failed ? NULL : str_take(&out);
}
