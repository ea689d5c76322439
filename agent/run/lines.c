/* lines: what a step prints, for a person: groups folded, marks of the log as words, nothing that a terminal would obey. */
#include <string.h>

#include "agent/run/view_priv.h"

enum { HELD_MAX = 16 << 10, LINE_SHOWN_MAX = 4096 };

/* Colours are no harm, and no news where they do not arrive: a sequence ESC [ … m at p is so long. 0: there is none. */
static size_t colour_at(const char *p, const char *end)
{
	if (end - p < 3 || p[0] != '\033' || p[1] != '[')
		return 0;
	size_t n = 2;
	while (p + n < end && (strchr("0123456789;:", p[n]) != NULL && p[n] != '\0'))
		n++;
	return p + n < end && p[n] == 'm' ? n + 1 : 0;
}

/* One line without colours, tabs as blanks, anything else that is not seen as its code. */
static char *shown(const char *line, size_t len)
{
	_cleanup_(str_done) struct str plain = STR_INIT(1 << 20), safe = STR_INIT(1 << 22);
	const char *end = line + MIN(len, (size_t)LINE_SHOWN_MAX);
	for (const char *p = line; p < end;) {
		size_t colour = colour_at(p, end);
		if (colour == 0 && *p == '\t')
			str_append(&plain, "    ");
		else if (colour == 0 && !(*p == '\r' && p + 1 == end))
			str_append_c(&plain, *p);
		p += MAX(colour, (size_t)1);
	}
	str_append_safe(&safe, str_peek(&plain), plain.len);
	if (len > LINE_SHOWN_MAX)
		str_append(&safe, " …");
	return str_take(&safe);
}

static void hold(struct seen_step *step, const char *text)
{
	str_append(&step->held, text);
	str_append_c(&step->held, '\n');
	while (step->held.len > HELD_MAX) {
		const char *end = memchr(step->held.data, '\n', step->held.len);
		str_remove_front(&step->held, end != NULL ? (size_t)(end - step->held.data) + 1 : step->held.len);
	}
}

/* The first group of a script says what is run, as the step's name mostly does. */
static bool is_header(const struct seen_step *step)
{
	return step->group_count == 1 && str_starts(step->group, "Run ");
}

static void open_group(struct seen_step *step, const char *title)
{
	step->group = xstrdup(title);
	step->group_lines = 0;
	step->group_count++;
	str_clear(&step->held);
}

static void close_group(struct view *v, const struct seen_job *job, struct seen_step *step)
{
	if (step->group == NULL)
		return;
	if (is_header(step)) {
		str_clear(&step->held);
	} else {
		_cleanup_free_ char *text = xasprintf("▸ %s (%zu line%s)", step->group, step->group_lines,
		                                      step->group_lines == 1 ? "" : "s");
		view_step_says(v, job, step, MARK_LINE, text);
	}
	freep(&step->group);
}

static const struct {
	const char *mark, *word;
	enum mark shown_as;
} marks[] = {
	{"##[error]", "Error: ", MARK_FAILED}, {"##[warning]", "Warning: ", MARK_NOTE},
	{"##[notice]", "Notice: ", MARK_NOTE}, {"##[debug]", "Debug: ", MARK_LINE},
	{"##[command]", "", MARK_LINE},        {"[command]", "", MARK_LINE},
};

static void show_line(struct view *v, const struct seen_job *job, const struct seen_step *step, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (str_starts(text, marks[i].mark)) {
			_cleanup_free_ char *line = xasprintf("%s%s", marks[i].word, text + strlen(marks[i].mark));
			view_step_says(v, job, step, marks[i].shown_as, line);
			return;
		}
	view_step_says(v, job, step, MARK_LINE, text);
}

static bool is_issue(const char *text)
{
	return str_starts(text, "##[error]") || str_starts(text, "##[warning]");
}

static void take_line(struct view *v, const struct seen_job *job, struct seen_step *step, const char *line, size_t len)
{
	static const char begin[] = "##[group]", end[] = "##[endgroup]";
	_cleanup_free_ char *text = shown(line, len);
	bool folds = v->live && !v->verbose && !step->quiet;
	bool coloured =
		len > 0 && line[0] == '\033'; /* the script as it is shown before it runs: no mark is meant there */
	view_head(v, job, step);
	if (coloured && !step->quiet && step->group == NULL) {
		view_step_says(v, job, step, MARK_LINE, text);
	} else if (coloured) {
		step->group_lines++;
		hold(step, text);
	} else if (str_starts(text, begin)) {
		close_group(v, job, step);
		if (folds)
			open_group(step, text + strlen(begin));
		else if (!step->quiet && strcmp(text + strlen(begin), step->title) != 0)
			view_step_says(v, job, step, MARK_LINE, text + strlen(begin));
	} else if (strcmp(text, end) == 0) {
		close_group(v, job, step);
	} else if (step->quiet || (step->group != NULL && !is_issue(text))) {
		step->group_lines++;
		hold(step, text);
	} else {
		show_line(v, job, step, text);
	}
}

void lines_show(struct view *v, const struct seen_job *job, struct seen_step *step, const char *text, size_t len)
{
	for (const char *p = text, *stop = text + len; p < stop;) {
		const char *end = memchr(p, '\n', (size_t)(stop - p));
		size_t n = (size_t)((end != NULL ? end : stop) - p);
		take_line(v, job, step, p, n);
		p += n + 1;
	}
}

void lines_close(struct view *v, const struct seen_job *job, struct seen_step *step, bool failed)
{
	close_group(v, job, step);
	for (char *p = step->held.data, *end; p != NULL && (end = strchr(p, '\n')) != NULL; p = end + 1) {
		*end = '\0';
		if (failed || (step->quiet && is_issue(p)))
			show_line(v, job, step, p);
	}
	str_clear(&step->held);
}
