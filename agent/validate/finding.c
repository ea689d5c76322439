/* finding: the list of what was found. */
#include "agent/validate/finding.h"
#include "base/core/mem.h"
#include "base/core/shown.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 600 };

static void append(struct findings *f, struct finding *finding)
{
	if (f->count == FINDINGS_MAX) {
		f->left_off++;
		free(finding->file);
		free(finding->message);
		free(finding->hint);
		return;
	}
	if (f->count == f->cap) {
		f->cap = f->cap > 0 ? f->cap * 2 : 16;
		f->items = xrealloc(f->items, f->cap * sizeof(*f->items));
	}
	f->items[f->count++] = *finding;
}

/* What files say reaches terminals and logs: without control characters. */
static char *shown(const char *text)
{
	if (text == NULL)
		return NULL;
	_cleanup_free_ char *cut = shown_text(text, strlen(text), MESSAGE_MAX);
	_cleanup_(str_done) struct str safe = STR_INIT(MESSAGE_MAX * 8);
	str_append_safe(&safe, cut, strlen(cut));
	return str_take(&safe);
}

void finding_add(struct findings *f, const char *file, struct yaml_mark mark, enum finding_severity severity,
                 const char *code, const char *hint, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	struct finding finding = {.file = shown(file),
	                          .line = mark.line == INT32_MAX ? 0 : mark.line,
	                          .column = mark.line == INT32_MAX ? 0 : mark.column,
	                          .severity = severity,
	                          .code = code,
	                          .message = shown(text != NULL ? text : "out of memory"),
	                          .hint = shown(hint)};
	append(f, &finding);
}

void finding_add_faults(struct findings *f, const char *file, const struct faults *faults,
                        enum finding_severity severity, const char *code)
{
	for (size_t i = 0; i < faults->count; i++) {
		const struct fault *fault = &faults->items[i];
		finding_add(f, file, fault->mark, severity, fault->code != NULL ? fault->code : code, fault->hint, "%s",
		            fault->text);
	}
}

void finding_add_err(struct findings *f, const char *file, const char *code, const struct err *err)
{
	char buf[1024];
	const char *line = err_line(err, buf, sizeof(buf));
	struct yaml_mark mark = {0, 0};
	size_t len = strlen(file);
	if (strncmp(line, file, len) == 0 && line[len] == ':') {
		char *end;
		long row = strtol(line + len + 1, &end, 10), column = *end == ':' ? strtol(end + 1, &end, 10) : 0;
		if (row > 0 && column > 0 && *end == ':') {
			mark = (struct yaml_mark){(int)row, (int)column};
			line = end + 1 + strspn(end + 1, " ");
		} else {
			line += len + 1 + strspn(line + len + 1, " ");
		}
	}
	finding_add(f, file, mark, FINDING_ERROR, code, err->hint[0] != '\0' ? err->hint : NULL, "%s", line);
}

static int compare(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;
	int r = strcmp(x->file, y->file);
	if (r == 0)
		r = (x->line > y->line) - (x->line < y->line);
	if (r == 0)
		r = (x->column > y->column) - (x->column < y->column);
	if (r == 0)
		r = strcmp(x->code, y->code);
	return r != 0 ? r : strcmp(x->message, y->message);
}

static void finding_done(struct finding *finding)
{
	free(finding->file);
	free(finding->message);
	free(finding->hint);
}

void findings_sort(struct findings *f)
{
	if (f->count > 1)
		qsort(f->items, f->count, sizeof(*f->items), compare);
	size_t kept = 0;
	for (size_t i = 0; i < f->count; i++) {
		if (kept > 0 && compare(&f->items[kept - 1], &f->items[i]) == 0)
			finding_done(&f->items[i]);
		else
			f->items[kept++] = f->items[i];
	}
	f->count = kept;
}

size_t findings_count(const struct findings *f, enum finding_severity severity)
{
	size_t n = 0;
	for (size_t i = 0; i < f->count; i++)
		n += f->items[i].severity == severity;
	return n;
}

void findings_done(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		finding_done(&f->items[i]);
	free(f->items);
	*f = (struct findings){0};
}
