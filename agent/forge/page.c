/* The pages that links to runs lead to: rendered here, readable without scripts. Output of jobs is always shown as text. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

#include <string.h>

enum { PAGE_MAX = 128 << 20, LOG_SHOWN = 1 << 20 };

static const char style[] =
	"body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1f2328}"
	"a{color:#0969da}h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.5rem 0 .3rem}table{border-collapse:collapse;width:100%}"
	"td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d1d9e0}pre{background:#f6f8fa;padding:.6rem;overflow:auto;"
	"font-size:13px;line-height:1.4}summary{cursor:pointer;padding:.2rem 0}.success{color:#1a7f37}.failure{color:#d1242f}"
	".cancelled,.skipped,.queued,.waiting{color:#59636e}.in_progress{color:#9a6700}.note{border-left:3px solid #d1242f;padding-left:.6rem}";

/* Escapes text for an element or an attribute in double quotes. Control characters other than line feed and tab are dropped
 * with the rest of their sequence. */
static void put(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == 0x1b && i + 1 < len && text[i + 1] == '[') {
			i += 2;
			while (i < len && (text[i] < '@' || text[i] > '~'))
				i++;
		} else if (c == '&') {
			str_append(out, "&amp;");
		} else if (c == '<') {
			str_append(out, "&lt;");
		} else if (c == '>') {
			str_append(out, "&gt;");
		} else if (c == '"') {
			str_append(out, "&quot;");
		} else if (c >= ' ' || c == '\n' || c == '\t') {
			str_append_c(out, (char)c);
		}
	}
}

static void put_text(struct str *out, const char *text)
{
	put(out, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

static void begin_page(struct str *out, const char *title)
{
	str_append(
		out,
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>");
	put_text(out, title);
	str_appendf(out, "</title><style>%s</style></head><body>\n", style);
}

static void end_page(struct req *r, struct str *out)
{
	str_append(out, "</body></html>\n");
	req_reply_header(r, "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'");
	req_reply_header(r, "X-Content-Type-Options: nosniff");
	if (out->failed)
		req_reply_error(r, 500, "the page is too large");
	else
		req_reply_text(r, 200, "text/html; charset=utf-8", str_peek(out), out->len);
}

static const char *state_of(const json_t *object)
{
	const char *conclusion = json_get_string(object, "conclusion"), *status = json_get_string(object, "status");
	return conclusion != NULL ? conclusion : status != NULL ? status : "queued";
}

static void put_state(struct str *out, const json_t *object)
{
	str_append(out, "<span class=\"");
	put_text(out, state_of(object));
	str_append(out, "\">");
	put_text(out, state_of(object));
	str_append(out, "</span>");
}

static void put_annotations(struct str *out, const json_t *list)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		const char *path = json_get_string(one, "path");
		str_append(out, "<p class=\"note\">");
		put_text(out, json_get_string(one, "level"));
		str_append(out, ": ");
		if (path != NULL) {
			put_text(out, path);
			str_appendf(out, ":%lld: ", (long long)json_get_int(one, "startLine", 0));
		}
		put_text(out, json_get_string(one, "message"));
		str_append(out, "</p>\n");
	}
}

/* What a running step has printed so far. */
static void put_live(struct str *out, const json_t *lines)
{
	size_t i;
	json_t *line;
	if (json_array_size(lines) == 0)
		return;
	str_append(out, "<pre>");
	json_array_foreach((json_t *)(uintptr_t)lines, i, line)
	{
		put(out, json_string_value(line), json_string_length(line));
		str_append_c(out, '\n');
	}
	str_append(out, "</pre>\n");
}

/* The end of a long log is the interesting part. */
static void put_log(struct str *out, const json_t *step)
{
	const char *log = json_get_string(step, "log");
	size_t len = log != NULL ? strlen(log) : 0, from = len > LOG_SHOWN ? len - LOG_SHOWN : 0;
	if (len == 0) {
		put_live(out, json_get_array(step, "live"));
		return;
	}
	str_append(out, "<pre>");
	if (from > 0)
		str_appendf(out, "(%zu bytes before this are left out)\n", from);
	put(out, log + from, len - from);
	str_append(out, "</pre>\n");
}

static void put_job(struct str *out, const json_t *job)
{
	size_t i;
	json_t *step;
	str_append(out, "<h2>");
	put_text(out, json_get_string(job, "name"));
	str_append(out, " ");
	put_state(out, job);
	str_append(out, "</h2>\n");
	put_annotations(out, json_object_get(job, "annotations"));
	json_array_foreach(json_object_get(job, "steps"), i, step)
	{
		str_appendf(out, "<details%s><summary>", strcmp(state_of(step), "failure") == 0 ? " open" : "");
		put_state(out, step);
		str_append(out, " ");
		put_text(out, json_get_string(step, "name"));
		str_append(out, "</summary>\n");
		put_annotations(out, json_object_get(step, "annotations"));
		put_log(out, step);
		str_append(out, "</details>\n");
	}
}

static void run_page(struct req *r)
{
	long long id = 0;
	struct forge_repo *repo = forge_repo_need(r, 0, 1);
	struct forge_run *run =
		repo != NULL && str_parse_i64(r->args[2], 1, INT64_MAX, &id) ? forge_run_find(r->f, id) : NULL;
	if (repo == NULL)
		return;
	if (run == NULL || run->repo != repo) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	_cleanup_json_ json_t *shown = forge_run_json(r->f, run, true);
	_cleanup_(str_done) struct str out = STR_INIT(PAGE_MAX);
	begin_page(&out, run->title);
	str_append(&out, "<p><a href=\"/");
	put_text(&out, repo->full_name);
	str_append(&out, "/actions\">");
	put_text(&out, repo->full_name);
	str_append(&out, "</a></p>\n<h1>");
	put_text(&out, run->title);
	str_append(&out, " ");
	put_state(&out, shown);
	str_append(&out, "</h1>\n<p>");
	put_text(&out, run->name);
	str_appendf(&out, " #%lld, %s of ", (long long)run->number, run->event);
	put_text(&out, run->ref);
	str_appendf(&out, " at %.12s</p>\n", run->sha);
	put_annotations(&out, json_object_get(shown, "annotations"));
	size_t i;
	json_t *job;
	json_array_foreach(json_object_get(shown, "jobs"), i, job) put_job(&out, job);
	end_page(r, &out);
}

static void list_page(struct req *r)
{
	struct forge_repo *repo = forge_repo_need(r, 0, 1);
	if (repo == NULL)
		return;
	_cleanup_(str_done) struct str out = STR_INIT(PAGE_MAX);
	begin_page(&out, repo->full_name);
	str_append(&out, "<h1>");
	put_text(&out, repo->full_name);
	str_append(&out, "</h1>\n<table><tr><th>run</th><th>workflow</th><th>event</th><th>state</th></tr>\n");
	for (size_t i = r->f->run_count; i-- > 0;) {
		const struct forge_run *run = r->f->runs[i];
		if (run->repo != repo)
			continue;
		_cleanup_json_ json_t *shown = forge_run_json(r->f, run, false);
		str_append(&out, "<tr><td><a href=\"/");
		put_text(&out, repo->full_name);
		str_appendf(&out, "/actions/runs/%lld\">", (long long)run->id);
		put_text(&out, run->title);
		str_append(&out, "</a></td><td>");
		put_text(&out, run->name);
		str_append(&out, "</td><td>");
		put_text(&out, run->event);
		str_append(&out, "</td><td>");
		put_state(&out, shown);
		str_append(&out, "</td></tr>\n");
	}
	str_append(&out, "</table>\n");
	end_page(r, &out);
}

const struct route page_routes[] = {
	{"GET", "+/+/actions", list_page, ROUTE_QUIET | ROUTE_OWNER},
	{"GET", "+/+/actions/runs/+", run_page, ROUTE_QUIET | ROUTE_OWNER},
	{0},
};
