/* A plan whose every name is somebody else's: its Markdown stays within its room, is valid UTF-8, and holds nothing of others outside of code. */
#include "agent/report/report.h"
#include "harness/markdown.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *text_of(const json_t *report, const char *key)
{
	const char *text = json_get_string(report, key);
	return text != NULL ? text : "";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { ROOM = 16 << 10 };
	_cleanup_json_ json_t *report = NULL;
	if (json_parse((const char *)data, size, 1 << 20, &report, NULL) < 0)
		return 0;
	const struct report_plan plan = {.title = "Plan",
	                                 .name = text_of(report, "name"),
	                                 .environment = text_of(report, "environment"),
	                                 .commit = json_get_string(report, "commit"),
	                                 .digest = "ab54",
	                                 .reason = json_get_string(report, "reason"),
	                                 .nothing = "Nothing to change."};
	_cleanup_free_ char *text = report_plan_markdown(&plan, report, ROOM);
	size_t len = strlen(text);
	if (len > ROOM || !str_is_utf8(text, len) || !markdown_is_safe(text) || !str_ends(text, "\nPlan `ab54`\n"))
		abort();
	return 0;
}
