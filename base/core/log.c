#include "base/core/log.h"

#include "base/core/clock.h"
#include "base/core/shown.h"
#include "base/core/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENT_MAX = 8192, LINE_MAX_BYTES = 65536, TRACE_MAX = 256 };

static struct {
	enum log_level level;
	enum log_format format;
	char trace[TRACE_MAX]; /* ",net,journal," */
	bool times, journal;
} setup = {.level = LOG_INFO};

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const level_colours[] = {"\x1b[31m", "\x1b[33m", "", "\x1b[2m"};

/* Of syslog, which the journal counts in. */
static const int priorities[] = {3, 4, 6, 7};

/* $JOURNAL_STREAM names the device and inode of the standard error that a service was started with; this one may be another. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	if (stream == NULL || fstat(STDERR_FILENO, &st) < 0)
		return false;
	char own[64];
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return strcmp(own, stream) == 0;
}

void log_times(void)
{
	setup.times = true;
}

void log_setup(enum log_level level, enum log_format format, const char *trace_components)
{
	setup.level = level;
	setup.format = format;
	setup.journal = stderr_is_journal();
	if (trace_components == NULL)
		trace_components = getenv("DAVIT_TRACE");
	setup.trace[0] = '\0';
	if (trace_components != NULL && trace_components[0] != '\0')
		snprintf(setup.trace, sizeof(setup.trace), ",%s,", trace_components);
}

static bool is_traced(const char *component)
{
	if (setup.trace[0] == '\0')
		return false;
	char word[TRACE_MAX];
	snprintf(word, sizeof(word), ",%s,", component);
	return strstr(setup.trace, word) != NULL || strstr(setup.trace, ",all,") != NULL;
}

bool log_colours(int fd)
{
	const char *term = getenv("TERM");
	const char *no = getenv("NO_COLOR");
	return isatty(fd) && (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* One write for one line, so that lines of several processes do not mix. A failed write to the log is no reason to
 * stop. */
static void emit(const struct str *line)
{
	size_t done = 0;
	while (done < line->len) {
		ssize_t n = write(STDERR_FILENO, line->data + done, line->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

/* What stands before the words of a line. */
static void append_head(struct str *line, enum log_level level)
{
	if (setup.journal)
		str_appendf(line, "<%d>", priorities[level]);
	if (!setup.times)
		return;
	char now[CLOCK_TEXT_SIZE];
	clock_rfc3339(clock_wall_ms(), now);
	str_appendf(line, "%.10s %.8sZ: ", now, now + sizeof("2026-01-02T") - 1);
}

static void append_json_text(struct str *out, const char *text)
{
	str_append_c(out, '"');
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			str_append_c(out, '\\');
			str_append_c(out, (char)*p);
		} else if (*p < 0x20) {
			str_appendf(out, "\\u%04x", *p);
		} else {
			str_append_c(out, (char)*p);
		}
	}
	str_append_c(out, '"');
}

static void write_event(enum log_level level, const char *component, const char *safe)
{
	_cleanup_(str_done) struct str line = STR_INIT(LINE_MAX_BYTES);
	if (setup.format == LOG_JSON) {
		char now[CLOCK_TEXT_SIZE];
		str_appendf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\",\"text\":",
		            clock_rfc3339(clock_wall_ms(), now), level_names[level], component);
		append_json_text(&line, safe);
		str_append(&line, "}\n");
	} else {
		append_head(&line, level);
		bool colours = log_colours(STDERR_FILENO) && level_colours[level][0] != '\0';
		str_appendf(&line, "%s%s%s %s: ", colours ? level_colours[level] : "", level_names[level],
		            colours ? "\x1b[0m" : "", component);
		str_append(&line, safe);
		str_append_c(&line, '\n');
	}
	emit(&line);
}

static void append_masked(struct str *out, const char *text)
{
	_cleanup_free_ char *masked = shown_text(text, strlen(text), LINE_MAX_BYTES);
	str_append_safe(out, masked, strlen(masked));
}

void log_event(enum log_level level, const char *component, const char *fmt, ...)
{
	if (level > setup.level && !is_traced(component))
		return;
	int saved = errno;
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = shown_format(EVENT_MAX, fmt, args);
	va_end(args);
	_cleanup_(str_done) struct str safe = STR_INIT(LINE_MAX_BYTES);
	str_append_safe(&safe, text, strlen(text));
	write_event(level, component, str_peek(&safe));
	errno = saved;
}

void log_err(const struct err *err)
{
	char text[EVENT_MAX];
	err_line(err, text, sizeof(text));
	_cleanup_(str_done) struct str safe = STR_INIT(LINE_MAX_BYTES);
	append_masked(&safe, text);
	if (setup.format == LOG_JSON) {
		write_event(LOG_ERROR, "davit", str_peek(&safe));
		return;
	}
	_cleanup_(str_done) struct str line = STR_INIT(LINE_MAX_BYTES);
	append_head(&line, LOG_ERROR);
	str_appendf(&line, "davit: %s\n", str_peek(&safe));
	if (err->hint[0] != '\0') {
		append_head(&line, LOG_ERROR);
		str_append(&line, "  ");
		append_masked(&line, err->hint);
		str_append_c(&line, '\n');
	}
	emit(&line);
}
