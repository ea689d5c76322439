/* What was found before the first change, as one table: for a terminal, and in Markdown. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

enum { TABLE_MAX = 1 << 20, SEVERITY_WIDTH = 8, WHERE_MAX = 24, ROWS_MAX = 100 };

/* The target, else the step. */
static const char *where_of(const json_t *finding)
{
	const char *target = report_text_of(finding, "target"), *step = report_text_of(finding, "step");
	return *target != '\0' ? target : *step != '\0' ? step : "-";
}

static size_t where_width(const json_t *findings)
{
	size_t i, width = strlen("where");
	json_t *finding;
	json_array_foreach((json_t *)(uintptr_t)findings, i, finding) width =
		MAX(width, MIN(strlen(where_of(finding)), (size_t)WHERE_MAX));
	return width;
}

static void append_row(struct str *out, const json_t *finding, size_t width, bool colours)
{
	const char *severity = report_text_of(finding, "severity"), *at = report_text_of(finding, "at"),
		   *hint = report_text_of(finding, "hint");
	str_append(out, report_colour(colours, strcmp(severity, "error") == 0 ? "\x1b[31m" : "\x1b[33m"));
	report_append_column(out, severity, SEVERITY_WIDTH);
	str_append(out, report_colour(colours, "\x1b[0m"));
	report_append_column(out, where_of(finding), width);
	report_safe(out, at);
	str_append(out, *at != '\0' ? ": " : "");
	report_safe(out, report_text_of(finding, "text"));
	str_append_c(out, '\n');
	if (*hint == '\0')
		return;
	report_append_column(out, "", SEVERITY_WIDTH);
	report_append_column(out, "", width);
	str_append(out, "  ");
	report_safe(out, hint);
	str_append_c(out, '\n');
}

void report_print_findings(const json_t *findings, bool colours, FILE *out)
{
	_cleanup_(str_done) struct str text = STR_INIT(TABLE_MAX);
	size_t i, width = where_width(findings);
	json_t *finding;
	report_append_column(&text, "", SEVERITY_WIDTH);
	report_append_column(&text, "where", width);
	str_append(&text, "finding, and what to do\n");
	json_array_foreach((json_t *)(uintptr_t)findings, i, finding) append_row(&text, finding, width, colours);
	report_print_out(&text, out);
}

void report_append_findings_markdown(struct str *out, const json_t *findings)
{
	static const char *const cells[] = {"severity", "target", "step", "text", "hint"};
	size_t i, count = json_array_size(findings);
	json_t *finding;
	if (count > 0)
		str_append(out,
		           "\n| severity | where | step | finding | what to do |\n| --- | --- | --- | --- | --- |\n");
	json_array_foreach((json_t *)(uintptr_t)findings, i, finding)
	{
		for (size_t k = 0; i < ROWS_MAX && k < ARRAY_SIZE(cells); k++) {
			str_append(out, "| ");
			report_append_plain(out, report_text_of(finding, cells[k]));
			str_append_c(out, ' ');
		}
		str_append(out, i < ROWS_MAX ? "|\n" : "");
	}
	if (count > ROWS_MAX)
		str_appendf(out, "\nand %zu more\n", count - ROWS_MAX);
}
