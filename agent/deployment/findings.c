#include "agent/deployment/findings.h"

#include "agent/deployment/session.h"
#include "agent/report/report.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1 << 20 };

/* An annotation has one text: what is wrong, and below it what to do. */
static void annotate(struct deployment_session *s, const json_t *finding)
{
	const char *at = json_get_string(finding, "at"), *text = json_get_string(finding, "text"),
		   *hint = json_get_string(finding, "hint"), *target = json_get_string(finding, "target");
	_cleanup_(str_done) struct str line = STR_INIT(LINE_MAX_BYTES);
	if (at != NULL)
		str_appendf(&line, "%s: ", at);
	str_append(&line, text != NULL ? text : "");
	if (target != NULL && strstr(str_peek(&line), target) == NULL)
		str_appendf(&line, " (on '%s')", target);
	if (hint != NULL)
		str_appendf(&line, "\n%s", hint);
	s->options.report(s, json_get_string(finding, "severity"), str_peek(&line));
}

void deployment_findings_tell(void *session, const json_t *findings)
{
	struct deployment_session *s = session;
	size_t i;
	json_t *finding;
	if (s->workflow) {
		json_array_foreach((json_t *)(uintptr_t)findings, i, finding) annotate(s, finding);
		return;
	}
	if (s->options.live != NULL)
		s->options.live(s, NULL);
	report_print_findings(findings, s->colours, stderr);
	fflush(stderr);
}
