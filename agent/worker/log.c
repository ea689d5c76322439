/* log: lines of a step, masked and stamped, into its log and the job's; what is shown elsewhere is masked here too. */
#include "agent/worker/worker_priv.h"

#include "base/core/clock.h"

#include <stdio.h>

enum {
	LINE_SLACK = 64 << 20,
	ROOM = 256 << 10, /* of a block, beyond what it is sent at */
};

char *job_masked(const struct job *j, const char *text)
{
	_cleanup_(str_done) struct str out = STR_INIT(LINE_SLACK);
	mask_apply(j->mask, text, strlen(text), &out);
	if (out.failed)
		return xstrdup("***");
	return str_take(&out);
}

char *job_shown(const struct job *j, const char *text, size_t len, size_t max)
{
	_cleanup_(str_done) struct str out = STR_INIT(LINE_SLACK);
	mask_apply(j->mask, text, len, &out);
	if (out.failed)
		return xstrdup("***");
	if (out.len > max) {
		while (max > 0 && ((unsigned char)out.data[max] & 0xc0) == 0x80)
			max--;
		str_truncate(&out, max);
	}
	return str_take(&out);
}

void record_set_masked(const struct job *j, json_t *object, const char *key, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	_cleanup_free_ char *masked = job_masked(j, text);
	json_object_set_new(object, key, json_string_lossy(masked, strlen(masked)));
}

static const char too_long[] = "(a line too long to be masked was left out)\n";

static void send_block(struct job *j, const char *step_id, struct log_stream *log, bool final)
{
	if (!reports_any(j->reports) || (final && log->block.len == 0 && !log->started)) {
		str_clear(&log->block);
		return;
	}
	size_t len = log->block.len;
	char *data = str_take(&log->block);
	log->block = (struct str)STR_INIT(LINE_SLACK);
	reports_log(j->reports, step_id, data, len, !log->started, final, log->lines);
	log->started = true;
	if (!final)
		str_reserve(&log->block, RESULTS_BLOCK + ROOM);
}

static void append(struct job *j, const char *step_id, struct log_stream *log, const char *text, size_t len,
                   int64_t lines)
{
	str_append_n(&log->block, text, len);
	log->lines += lines;
	if (log->block.len >= RESULTS_BLOCK)
		send_block(j, step_id, log, false);
}

/* What stands in front of a line. Of a thousand lines in a millisecond the first makes it. */
static const char *stamp(struct job *j)
{
	int64_t now = clock_wall_ms();
	if (now != j->stamp_wall_ms)
		snprintf(j->stamp, sizeof(j->stamp), "%s ", clock_rfc3339_ticks(now, (char[CLOCK_TEXT_SIZE]){0}));
	j->stamp_wall_ms = now;
	return j->stamp;
}

void record_write(struct job *j, struct record *r, const char *text, size_t len)
{
	r = r->top;
	_cleanup_(str_done) struct str out = STR_INIT(LINE_SLACK);
	const char *front = stamp(j);
	str_append(&out, front);
	mask_apply(j->mask, text, len, &out);
	if (out.failed || !str_append_c(&out, '\n')) {
		str_clear(&out);
		str_append(&out, front);
		str_append(&out, too_long);
	}
	int64_t lines = 0;
	for (const char *p = out.data, *end = p + out.len; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
		lines++;
	size_t front_len = strlen(front);
	console_lines(j, r, out.data + front_len, out.len - front_len);
	if (j->feed != NULL)
		feed_text(j->feed, r->id, r->log.lines + 1, out.data + front_len, out.len - front_len - 1);
	append(j, r->id, &r->log, out.data, out.len, lines);
	append(j, NULL, &j->log, out.data, out.len, lines);
}

/* Lines up to the end of the text, of the room, or of the block. Returns what was taken. */
static size_t stamp_lines(const char *front, const char *text, size_t len, struct str *out, int64_t *ret_lines)
{
	size_t front_len = strlen(front);
	const char *from = text, *end = text + len;
	while (from < end && out->len < RESULTS_BLOCK) {
		const char *stop = memchr(from, '\n', (size_t)(end - from));
		size_t n = (size_t)(stop + 1 - from);
		if (out->cap - out->len <= front_len + n)
			break;
		memcpy(out->data + out->len, front, front_len);
		memcpy(out->data + out->len + front_len, from, n);
		out->len += front_len + n;
		from = stop + 1;
		(*ret_lines)++;
	}
	return (size_t)(from - text);
}

void record_write_lines(struct job *j, struct record *r, const char *text, size_t len)
{
	r = r->top;
	_cleanup_(str_done) struct str masked = STR_INIT(LINE_SLACK);
	if (mask_apply_lines(j->mask, text, len, &masked)) {
		if (masked.failed)
			str_append(&masked, too_long);
		text = masked.data;
		len = masked.len;
	}
	console_lines(j, r, text, len);
	if (j->feed != NULL)
		feed_lines(j->feed, r->id, r->log.lines + 1, text, len);
	const char *front = stamp(j);
	struct str *block = &r->log.block;
	while (len > 0) {
		size_t start = block->len, first = (size_t)((const char *)memchr(text, '\n', len) - text);
		int64_t lines = 0;
		str_reserve(block, MAX(strlen(front) + first + 1, (size_t)ROOM));
		size_t taken = stamp_lines(front, text, len, block, &lines);
		append(j, NULL, &j->log, block->data + start, block->len - start, lines);
		r->log.lines += lines;
		if (block->len >= RESULTS_BLOCK)
			send_block(j, r->id, &r->log, false);
		text += taken;
		len -= taken;
	}
}

void record_short_lines(struct job *j, struct record *r)
{
	if (j->short_lines_told || !mask_has_short_lines(j->mask))
		return;
	j->short_lines_told = true;
	record_line(j, r, "A secret has lines of fewer than %d characters: they are not masked by themselves",
	            MASK_LINE_MIN);
}

void record_line(struct job *j, struct record *r, const char *fmt, ...)
{
	char small[1024];
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(small, sizeof(small), fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(small)) {
		record_write(j, r, small, (size_t)n);
	} else if (n >= 0) {
		_cleanup_free_ char *large = xmalloc((size_t)n + 1);
		vsnprintf(large, (size_t)n + 1, fmt, again);
		record_write(j, r, large, (size_t)n);
	}
	va_end(again);
}

/* Never cut: the mask comes first. */
static char *format(const char *fmt, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

void record_debug(struct job *j, struct record *r, const char *fmt, ...)
{
	if (!j->debug)
		return;
	_cleanup_free_ char *text = NULL;
	va_list args;
	va_start(args, fmt);
	text = format(fmt, args);
	va_end(args);
	record_line(j, r, "##[debug]%s", text);
}

void record_error(struct job *j, struct record *r, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	va_start(args, fmt);
	text = format(fmt, args);
	va_end(args);
	record_issue(j, r, ISSUE_ERROR, text, NULL);
}

void record_close_log(struct job *j, struct record *r)
{
	send_block(j, r->id, &r->log, true);
}

void job_write(struct job *j, const char *masked)
{
	size_t len = strlen(masked);
	_cleanup_free_ char *line = xasprintf("%s%s\n", stamp(j), masked), *shown = xasprintf("%s\n", masked);
	reports_lines(j->reports, j->run.job_id, shown, len + 1, j->log.lines + 1);
	if (j->feed != NULL)
		feed_text(j->feed, j->run.job_id, j->log.lines + 1, masked, len);
	append(j, NULL, &j->log, line, strlen(line), 1);
}

void job_close_log(struct job *j)
{
	send_block(j, NULL, &j->log, true);
}
