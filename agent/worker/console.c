/* console: what a job does and prints, as it happens, for the process that started the worker and shows it to a person
 * (`davit run`): a JSON object a line on standard output. */
#include "agent/worker/worker_priv.h"

#include "base/sys/fs.h"

#include <unistd.h>

/* Who watches may be gone; the end of the input tells (loop.c). */
static void tell(json_t *event)
{
	_cleanup_free_ char *text = json_text(event);
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	(void)fs_write_all(STDOUT_FILENO, line, strlen(line), NULL);
	json_decref(event);
}

void console_step(struct job *j, const struct record *r, const char *name)
{
	if (!j->watched)
		return;
	bool over = r->completed_wall_ms != 0;
	const char *state = over ? "completed" : r->started_wall_ms != 0 ? "in_progress" : "pending";
	json_t *step = json_pack("{s:i, s:o, s:s, s:s?, s:I, s:I}", "number", r->number, "name",
	                         json_string_lossy(name, strlen(name)), "status", state, "conclusion",
	                         over ? result_context(r->result) : NULL, "started_ms", (json_int_t)r->started_wall_ms,
	                         "completed_ms", (json_int_t)r->completed_wall_ms);
	if (r->background)
		json_object_set_new(step, "background", json_true());
	if (r->frame)
		json_object_set_new(step, "frame", json_true());
	if (over && json_array_size(r->annotations) > 0)
		json_object_set(step, "annotations", r->annotations);
	tell(json_pack("{s:o}", "step", step));
}

static void tell_text(const struct record *r, const char *what, const char *text, size_t len)
{
	tell(json_pack("{s:i, s:o}", "number", r->number, what, json_string_lossy(text, len)));
}

void console_lines(struct job *j, const struct record *r, const char *text, size_t len)
{
	reports_lines(j->reports, r->id, text, len, r->log.lines + 1);
	if (j->watched)
		tell_text(r, "lines", text, len);
}

void console_end(struct job *j)
{
	if (j->watched)
		tell(json_pack("{s:b}", "end", 1));
}

void console_summary(struct job *j, const struct record *r, const char *text, size_t len)
{
	if (j->watched)
		tell_text(r->top, "summary", text, len);
}
