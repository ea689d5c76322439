/* What an undo leaves: told and collected for a person. */
#include "engine/run/run_priv.h"

#include "base/core/shown.h"
#include <stdarg.h>
#include <string.h>

enum { MAX_REASON = 1023 };

void engine_leave_over(struct engine *e, const char *target, const char *path, int64_t change, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *reason = shown_format(MAX_REASON, fmt, args);
	va_end(args);
	json_array_append_new(e->left_over, json_pack("{s:s, s:s, s:I, s:o}", "target", target ? target : "", "path",
	                                              path ? path : "", "change", (json_int_t)change, "reason",
	                                              json_string_lossy(reason, strlen(reason))));
	engine_say(e, "error", "not undone: %s%s%s%s%s", target ? target : "", target ? ":" : "", path ? path : "",
	           path ? ": " : "", reason);
}

static bool is_left_over(const struct engine *e, int64_t change)
{
	for (size_t i = 0; i < json_array_size(e->left_over); i++)
		if (json_get_int(json_array_get(e->left_over, i), "change", 0) == change)
			return true;
	return false;
}

void engine_leave_rest(struct engine *e, int code)
{
	const char *why = code == ERR_CANCELLED
	                          ? "the undo was stopped before it came to this"
	                          : "an earlier step of the job made it, and it stays until the deployment is decided";
	_cleanup_(plan_done) struct plan all = {0};
	struct err err = ERR_INIT;
	if (engine_changes(e, &all, &err) < 0) {
		char line[ERR_FRAME_SIZE];
		engine_leave_over(e, NULL, NULL, 0, "the journal cannot say what else is in place: %s",
		                  err_line(&err, line, sizeof(line)));
		return;
	}
	bool undone = false;
	for (size_t i = all.count; i-- > 0;) {
		const struct change *c = &all.changes[i];
		bool untouched = c->state == CHANGE_INTENT && (!e->from_copy || change_has(c, CHANGE_BLIND));
		undone = undone || (c->state == CHANGE_UNDONE && !untouched);
		if (c->state != CHANGE_UNDONE && !untouched && !is_left_over(e, c->id))
			engine_leave_over(e, c->target, c->path, c->id, "%s", why);
	}
	if (undone && code == ERR_CANCELLED)
		engine_leave_over(
			e, NULL, NULL, 0,
			"the undo was stopped before it was made sure that what was taken back stays so at a power cut");
}
