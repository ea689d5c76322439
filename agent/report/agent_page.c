/* The status page of an agent. Names of repositories, jobs and steps, and reasons of deployments are others': nothing in them means anything. */
#include "agent/report/page_priv.h"
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

enum { PAGE_MAX = 64 << 20, REFRESH_S = 30, SHOWN_MAX = 50, TEXT_COLUMNS = 300 };

static void cell(struct str *out, const char *text)
{
	str_append(out, "<td class=\"what\">");
	page_short_text(out, text, TEXT_COLUMNS);
	str_append(out, "</td>");
}

static void cell_number(struct str *out, long long number)
{
	str_appendf(out, "<td>%lld</td>", number);
}

static void table_begin(struct str *out, const char *heading, const char *const *columns)
{
	str_appendf(out, "<section><h2>%s</h2><div class=\"wide\"><table><thead><tr>", heading);
	for (size_t i = 0; columns[i] != NULL; i++)
		str_appendf(out, "<th>%s</th>", columns[i]);
	str_append(out, "</tr></thead><tbody>\n");
}

static void table_end(struct str *out)
{
	str_append(out, "</tbody></table></div></section>\n");
}

static void append_head(struct str *out, const json_t *status)
{
	bool runs = json_get_int(status, "pid", 0) > 0, well = json_get_bool(status, "healthy", false);
	const json_t *disk = json_get_object(status, "disk");
	str_appendf(out, "<header><h1>davit agent</h1><span class=\"state %s\">%s</span><dl>",
	            well ? "committed" : "held",
	            !runs  ? "does not run"
	            : well ? "well"
	                   : "not well");
	str_append(out, "<dt>version</dt><dd>");
	page_text(out, report_text_of(status, "version"));
	str_append(out, "</dd>");
	if (runs)
		str_appendf(out, "<dt>process</dt><dd>%lld</dd><dt>since</dt><dd>",
		            (long long)json_get_int(status, "pid", 0));
	if (runs)
		page_text(out, report_text_of(status, "started"));
	if (runs)
		str_append(out, "</dd>");
	if (disk != NULL) {
		str_appendf(out, "<dt>disk</dt><dd>%lld of %lld MiB free at ",
		            (long long)(json_get_int(disk, "free", 0) >> 20),
		            (long long)(json_get_int(disk, "size", 0) >> 20));
		page_text(out, report_text_of(disk, "path"));
		str_append(out, "</dd>");
	}
	str_append(out, "</dl></header>\n");
}

static char *joined(const json_t *list)
{
	_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
		str_appendf(&out, "%s%s", i > 0 ? ", " : "", json_string_value(item));
	return str_take(&out);
}

static void append_registrations(struct str *out, const json_t *list)
{
	static const char *const columns[] = {"registration", "name",   "labels",  "state", "session",
	                                      "last poll",    "answer", "refused", NULL};
	size_t i;
	json_t *one;
	table_begin(out, "Registrations", columns);
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		const json_t *answer = json_get_object(one, "last_answer");
		_cleanup_free_ char *labels = joined(json_object_get(one, "labels"));
		str_append(out, "<tr>");
		cell(out, report_text_of(one, "url"));
		cell(out, report_text_of(one, "name"));
		cell(out, labels);
		cell(out, report_text_of(one, "state"));
		cell(out, json_get_bool(one, "session", false) ? "open" : "none");
		cell(out, report_text_of(one, "last_poll"));
		cell_number(out, json_get_int(answer, "status", 0));
		cell_number(out, json_get_int(one, "refused", 0));
		str_append(out, "</tr>\n");
	}
	table_end(out);
}

static void append_jobs(struct str *out, const json_t *list)
{
	static const char *const columns[] = {"job", "repository", "phase", "step", "since", "lease until", NULL};
	size_t i;
	json_t *job;
	if (json_array_size(list) == 0) {
		str_append(out, "<section><h2>Jobs</h2><p class=\"faint\">None runs.</p></section>\n");
		return;
	}
	table_begin(out, "Jobs", columns);
	json_array_foreach((json_t *)(uintptr_t)list, i, job)
	{
		str_append(out, "<tr>");
		cell(out, report_text_of(job, "name"));
		cell(out, report_text_of(job, "repository"));
		cell(out, report_text_of(job, "phase"));
		cell(out, report_text_of(json_object_get(job, "step"), "name"));
		cell(out, report_text_of(job, "began"));
		cell(out, report_text_of(job, "lease_until"));
		str_append(out, "</tr>\n");
	}
	table_end(out);
}

static void append_refusals(struct str *out, const json_t *refusals)
{
	static const char *const columns[] = {"at", "job", "repository", "rule", "reason", NULL};
	const json_t *last = json_get_array(refusals, "last");
	if (json_array_size(last) == 0)
		return;
	table_begin(out, "Refused by the policy", columns);
	for (size_t i = json_array_size(last); i-- > 0;) {
		const json_t *one = json_array_get(last, i);
		str_append(out, "<tr>");
		for (size_t c = 0; columns[c] != NULL; c++)
			cell(out, report_text_of(one, columns[c]));
		str_append(out, "</tr>\n");
	}
	table_end(out);
}

/* ---- deployments ---- */

static bool is_in(const json_t *deployment, const char *state)
{
	return strcmp(report_text_of(deployment, "state"), state) == 0;
}

static void append_link(struct str *out, const char *user, const char *id)
{
	str_append(out, "<td><a href=\"/deployments/");
	page_text(out, user);
	str_append_c(out, '/');
	page_text(out, id);
	str_append(out, "\">");
	page_text(out, id);
	str_append(out, "</a></td>");
}

static void append_command(struct str *out, const char *prefix, const char *what, const char *suffix)
{
	_cleanup_(str_done) struct str word = STR_INIT(4096);
	str_append_shell(&word, what);
	str_appendf(out, "<pre>davit %s ", prefix);
	page_text(out, str_peek(&word));
	str_appendf(out, "%s</pre>", suffix);
}

/* What ends it is a person's to choose: look, take back, or let stand. */
static void append_held(struct str *out, const char *user, const json_t *d)
{
	const char *id = report_text_of(d, "id");
	_cleanup_free_ char *scope = xasprintf("%s.%s", report_text_of(d, "name"), report_text_of(d, "environment"));
	str_append(out, "<tr>");
	append_link(out, user, id);
	cell(out, scope);
	cell(out, report_text_of(d, "reason"));
	str_append(out, "<td class=\"what\">");
	append_command(out, "show", id, "");
	append_command(out, "rollback", id, "");
	append_command(out, "unlock", scope, " --accept");
	str_append(out, "</td></tr>\n");
}

static void append_all_held(struct str *out, const json_t *hosts)
{
	static const char *const columns[] = {"deployment", "what", "why", "what ends it", NULL};
	size_t i, n;
	json_t *host, *d;
	bool any = false;
	json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
		json_array_foreach(json_object_get(host, "deployments"), n, d)
	{
		if (!is_in(d, "held"))
			continue;
		if (!any)
			table_begin(out, "Held: a person is needed", columns);
		any = true;
		append_held(out, report_text_of(host, "user"), d);
	}
	if (any)
		table_end(out);
}

static void append_deployments(struct str *out, const json_t *host, bool live)
{
	static const char *const columns[] = {"deployment", "name", "environment", "state", "commit", "reason", NULL};
	size_t i, shown = 0;
	json_t *d;
	json_array_foreach(json_object_get(host, "deployments"), i, d)
	{
		if (live && !json_get_bool(d, "live", false))
			continue;
		if (shown++ >= SHOWN_MAX)
			break;
		str_append(out, "<tr>");
		append_link(out, report_text_of(host, "user"), report_text_of(d, "id"));
		for (size_t c = 1; columns[c] != NULL; c++)
			cell(out, report_text_of(d, columns[c]));
		str_append(out, "</tr>\n");
	}
}

static void append_hosts(struct str *out, const json_t *hosts)
{
	static const char *const columns[] = {"deployment", "name", "environment", "state", "commit", "reason", NULL};
	size_t i;
	json_t *host;
	table_begin(out, "What is live", columns);
	json_array_foreach((json_t *)(uintptr_t)hosts, i, host) append_deployments(out, host, true);
	table_end(out);
	table_begin(out, "Deployments", columns);
	json_array_foreach((json_t *)(uintptr_t)hosts, i, host) append_deployments(out, host, false);
	table_end(out);
	json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
	{
		if (report_text_of(host, "error")[0] == '\0')
			continue;
		str_append(out, "<p class=\"reason\">The deployments of ");
		page_text(out, report_text_of(host, "user"));
		str_append(out, " cannot be read: ");
		page_text(out, report_text_of(host, "error"));
		str_append(out, "</p>\n");
	}
}

char *report_agent_page(const json_t *status, const json_t *hosts)
{
	struct str out _cleanup_(str_done) = STR_INIT(PAGE_MAX);
	page_begin(&out, "davit agent", REFRESH_S);
	append_head(&out, status);
	append_all_held(&out, hosts);
	append_jobs(&out, json_get_array(status, "jobs"));
	append_registrations(&out, json_get_array(status, "registrations"));
	append_refusals(&out, json_get_object(status, "refusals"));
	append_hosts(&out, hosts);
	page_end(&out);
	return out.failed ? NULL : str_take(&out);
}
