/* What lies in no directory, by the server of tests/servers that has it: one JSON object a line to it, one back. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "harness/server.h"
#include "base/core/mem.h"

enum { LIST_MAX = 256 << 10 };

static json_t *ask(struct server *outside, json_t *question)
{
	static char line[LIST_MAX];
	_cleanup_json_ json_t *asked = question;
	_cleanup_free_ char *text = json_text(asked);
	_cleanup_free_ char *whole = xasprintf("%s\n", text);
	if (!server_ask(outside, whole, line, sizeof(line)))
		fail_msg("no answer to %s", text);
	json_t *answer = json_loads(line, 0, NULL);
	const char *why = json_get_string(answer, "failed");
	if (answer == NULL || why != NULL)
		fail_msg("%s: %s", text, why != NULL ? why : line);
	return answer;
}

void suite_outside_list(struct server *outside, enum suite_detail detail, struct str *out)
{
	static const char *const details[] = {"roughly", "wholly", "touched"};
	_cleanup_json_ json_t *answer = ask(outside, json_pack("{s:s, s:s}", "do", "list", "detail", details[detail]));
	size_t i;
	json_t *line;
	json_array_foreach(json_object_get(answer, "lines"), i, line) str_appendf(out, "%s\n", json_string_value(line));
}

void suite_outside_save(struct server *outside, const char *name)
{
	json_decref(ask(outside, json_pack("{s:s, s:s}", "do", "save", "name", name)));
}

void suite_outside_load(struct server *outside, const struct suite_world *w, const char *name)
{
	json_decref(ask(outside, json_pack("{s:s, s:s, s:s}", "do", "load", "name", name, "base", w->base)));
}
