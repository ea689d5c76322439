/* terminal: lines of a run as they are printed, and those at a terminal's bottom that show what runs now. */
#include "agent/run/view_priv.h"

#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/core/clock.h"
#include "base/core/mem.h"

enum { WIDTH_DEFAULT = 80, ROWS_DEFAULT = 24 };

static const struct {
	const char *on_terminal, *plain, *colour;
} looks[] = {
	[MARK_START] = {"▸", ">", "\033[1m"},   [MARK_LINE] = {" ", " ", ""},
	[MARK_DONE] = {"✓", "ok", "\033[32m"},  [MARK_FAILED] = {"✗", "!!", "\033[31m"},
	[MARK_SKIPPED] = {"-", "-", "\033[2m"}, [MARK_NOTE] = {"!", "!", "\033[33m"},
};

/* Of the character that text begins with: bytes, and columns of a terminal. */
static size_t one_character(const char *text, size_t *ret_columns)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, text, MB_LEN_MAX, &state);
	bool known = n > 0 && n <= MB_LEN_MAX;
	int columns = known ? wcwidth(c) : 1;
	*ret_columns = columns >= 0 ? (size_t)columns : 1;
	return known ? n : 1;
}

size_t view_columns(const char *text, size_t max, size_t *ret_len)
{
	locale_t mine = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t former = mine != (locale_t)0 ? uselocale(mine) : (locale_t)0;
	size_t used = 0, len = 0, columns;
	while (text[len] != '\0') {
		size_t n = one_character(text + len, &columns);
		if (used + columns > max)
			break;
		used += columns;
		len += n;
	}
	if (mine != (locale_t)0) {
		uselocale(former);
		freelocale(mine);
	}
	if (ret_len != NULL)
		*ret_len = len;
	return used;
}

void view_clear(struct view *v)
{
	for (; v->drawn > 0; v->drawn--)
		fputs("\033[1A\033[2K", stdout);
}

void view_say(struct view *v, const struct seen_job *job, enum mark mark, const char *text)
{
	const char *colour = v->colours ? looks[mark].colour : "";
	view_clear(v);
	if (job != NULL) {
		size_t width = view_columns(job->name, SIZE_MAX, NULL);
		printf("%s%s%*s%s ", v->colours ? "\033[36m" : "", job->name,
		       (int)(v->name_width - MIN(width, v->name_width)), "", v->colours ? "\033[0m" : "");
	}
	printf("%s%-*s %s%s\n", colour, v->live ? 1 : 2, v->live ? looks[mark].on_terminal : looks[mark].plain, text,
	       *colour != '\0' ? "\033[0m" : "");
	if (!v->live)
		fflush(stdout);
}

static void size_of_terminal(size_t *ret_width, size_t *ret_rows)
{
	struct winsize size = {0};
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
	*ret_width = known ? size.ws_col : WIDTH_DEFAULT;
	*ret_rows = known ? size.ws_row : ROWS_DEFAULT;
}

/* A line that is wider would take two, and could not be taken away again. */
static void draw(struct view *v, const char *text, size_t width)
{
	size_t len;
	view_columns(text, width - 1, &len);
	printf("%.*s\n", (int)len, text);
	v->drawn++;
}

/* What runs in the background, below the step that the job is at. */
static void draw_beside(struct view *v, const struct seen_job *job, const struct seen_step *step, size_t width)
{
	char time[32];
	view_time(clock_mono_ms() - step->started_ms, time);
	_cleanup_free_ char *text = xasprintf("… %s | %s (%s)", job->name, step->title, time);
	draw(v, text, width);
}

void view_refresh(struct view *v)
{
	size_t width, rows, left = 0, shown = 0;
	if (!v->live)
		return;
	view_clear(v);
	size_of_terminal(&width, &rows);
	for (struct seen_job *job = v->jobs; job != NULL; job = job->next) {
		char time[32];
		if (job->calls || job->status == NULL || strcmp(job->status, "in_progress") != 0)
			continue;
		if (++shown > rows / 2) {
			left++;
			continue;
		}
		const struct seen_step *step = job->steps;
		view_time(clock_mono_ms() - (step != NULL ? step->started_ms : job->started_ms), time);
		_cleanup_free_ char *text =
			xasprintf("… %s: %s (%s)", job->name, step != NULL ? step->title : "starting", time);
		draw(v, text, width);
		for (step = step != NULL ? step->next : NULL; step != NULL && shown < rows / 2;
		     step = step->next, shown++)
			draw_beside(v, job, step, width);
	}
	if (left > 0) {
		_cleanup_free_ char *text = xasprintf("… and %zu more", left);
		draw(v, text, width);
	}
	fflush(stdout);
}
