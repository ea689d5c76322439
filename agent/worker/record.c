#include "agent/worker/worker_priv.h"

#include "base/core/clock.h"
#include "base/core/rand.h"

#include <stdio.h>

enum {
	LINE_SLACK = 64 << 20,
	ROOM = 256 << 10, /* of a block, beyond what it is sent at */
};

static const char *const context_names[] = {"success", "success", "failure", "cancelled", "skipped", "success"};
static const char *const wire_names[] = {"succeeded", "succeededWithIssues", "failed", "canceled", "skipped",
                                         "succeeded"};
static const char *const levels[] = {"failure", "warning", "notice"};
static const char *const tags[] = {"error", "warning", "notice"};

const char *result_context(enum result r)
{
	return context_names[r];
}

const char *result_wire(enum result r)
{
	return wire_names[r];
}

enum result result_merge(enum result current, enum result incoming)
{
	if (current == RESULT_NONE)
		return incoming;
	if (incoming == RESULT_NONE || current > RESULT_FAILED)
		return current;
	return MAX(current, incoming);
}

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

struct record *record_new(struct job *j, const char *id, const char *name, enum step_kind kind)
{
	struct record *r = xcalloc(1, sizeof(*r));
	*r = (struct record){.number = ++j->counter,
	                     .name = xstrdup(name),
	                     .kind = kind,
	                     .result = RESULT_NONE,
	                     .outcome = RESULT_NONE,
	                     .command_result = RESULT_NONE,
	                     .annotations = json_array(),
	                     .outputs = json_object(),
	                     .output_names = json_object()};
	r->log.block = (struct str)STR_INIT(LINE_SLACK);
	if (id != NULL && strlen(id) < sizeof(r->id))
		memcpy(r->id, id, strlen(id) + 1);
	else
		rand_uuid4(r->id);
	j->records = xgrow(j->records, &j->record_cap, j->record_count + 1, sizeof(j->records[0]));
	j->records[j->record_count++] = r;
	return r;
}

void record_free(struct record *r)
{
	str_done(&r->log.block);
	json_decref(r->annotations);
	json_decref(r->outputs);
	json_decref(r->output_names);
	json_decref(r->env);
	free(r->name);
	free(r->type);
	free(r->action_name);
	free(r->ref);
	free(r->stopped);
	free(r);
}

void record_tell(struct job *j, const struct record *r)
{
	static const enum results_conclusion conclusions[] = {
		RESULTS_SUCCESS, RESULTS_SUCCESS, RESULTS_FAILURE, RESULTS_CANCELLED, RESULTS_SKIPPED, RESULTS_NONE,
	};
	if (j->results == NULL)
		return;
	_cleanup_free_ char *name = job_masked(j, r->name);
	struct results_step step = {
		.id = r->id,
		.number = r->number,
		.name = name,
		.started_wall_ms = r->started_wall_ms,
		.completed_wall_ms = r->completed_wall_ms,
		.conclusion = r->completed_wall_ms != 0 ? conclusions[r->result] : RESULTS_NONE,
		.status = r->completed_wall_ms != 0 ? RESULTS_COMPLETED
	                  : r->started_wall_ms != 0 ? RESULTS_IN_PROGRESS
	                                            : RESULTS_PENDING,
	};
	results_step(j->results, &step);
}

void record_start(struct job *j, struct record *r)
{
	r->started_wall_ms = clock_wall_ms();
	r->echo = j->debug;
	record_tell(j, r);
}

/* ---- logs ---- */

static const char too_long[] = "(a line too long to be masked was left out)\n";

static void send_block(struct job *j, const char *step_id, struct log_stream *log, bool final)
{
	if (j->results == NULL || (final && log->block.len == 0 && !log->started)) {
		str_clear(&log->block);
		return;
	}
	size_t len = log->block.len;
	char *data = str_take(&log->block);
	log->block = (struct str)STR_INIT(LINE_SLACK);
	results_log(j->results, step_id, data, len, !log->started, final, log->lines);
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
	_cleanup_(str_done) struct str masked = STR_INIT(LINE_SLACK);
	if (mask_apply_lines(j->mask, text, len, &masked)) {
		if (masked.failed)
			str_append(&masked, too_long);
		text = masked.data;
		len = masked.len;
	}
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

void job_close_log(struct job *j)
{
	send_block(j, NULL, &j->log, true);
}

/* ---- issues ---- */

/* Cut after a number of characters. */
static void cut_chars(char *text, size_t chars)
{
	char *p = text;
	for (size_t n = 0; *p != '\0'; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80 && n++ == chars) {
			*p = '\0';
			return;
		}
	}
}

/* A number among the properties; false: not given, or no number. */
static bool number_property(const json_t *properties, const char *name, int64_t *ret)
{
	const char *key, *text = NULL;
	json_t *value;
	long long number;
	json_object_foreach((json_t *)properties, key, value) if (strcasecmp(key, name) == 0) text =
		json_string_value(value);
	if (text == NULL || !str_parse_i64(text, INT32_MIN, INT32_MAX, &number))
		return false;
	*ret = number;
	return true;
}

struct place {
	int64_t line, end_line, column, end_column;
	bool has_line, has_end_line, has_column, has_end_column;
};

/* The rules of [5.8], in their order. */
static struct place place_of(const json_t *properties)
{
	struct place p = {0};
	p.has_line = number_property(properties, "line", &p.line);
	p.has_end_line = number_property(properties, "endLine", &p.end_line);
	p.has_column = number_property(properties, "col", &p.column);
	p.has_end_column = number_property(properties, "endColumn", &p.end_column);
	if (p.has_end_line && !p.has_line) {
		p.line = p.end_line;
		p.has_line = true;
	}
	if (p.has_end_column && !p.has_column) {
		p.column = p.end_column;
		p.has_column = true;
	}
	if (!p.has_line || (p.has_end_line && p.end_line != p.line))
		p.has_column = p.has_end_column = false;
	if (p.has_end_line && p.end_line < p.line)
		p.has_line = p.has_end_line = false;
	if (p.has_end_column && p.end_column < p.column)
		p.has_column = p.has_end_column = false;
	return p;
}

static const char *text_property(const json_t *properties, const char *name)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)properties, key,
	                    value) if (strcasecmp(key, name) == 0) return json_string_value(value);
	return NULL;
}

static void set_text(const struct job *j, json_t *object, const char *key, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	_cleanup_free_ char *masked = job_masked(j, text);
	json_object_set_new(object, key, json_string_lossy(masked, strlen(masked)));
}

static void set_number(json_t *object, const char *key, bool given, int64_t number)
{
	if (given && number != 0)
		json_object_set_new(object, key, json_integer(number));
}

static json_t *annotation_of(struct job *j, const struct record *r, enum issue_kind kind, const char *masked,
                             const json_t *properties)
{
	json_t *a = json_pack("{s:s}", "level", levels[kind]);
	struct place p = place_of(properties);
	const char *file = text_property(properties, "file");
	size_t root = strlen(j->workspace != NULL ? j->workspace : "");
	if (file != NULL && root > 0 && strncmp(file, j->workspace, root) == 0 && file[root] == '/')
		file += root + 1;
	json_object_set_new(a, "message", json_string_lossy(masked, strlen(masked)));
	set_text(j, a, "title", text_property(properties, "title"));
	set_text(j, a, "path", file);
	if (file == NULL && !p.has_line) {
		p.line = p.end_line = r->log.lines;
		p.has_line = p.has_end_line = true;
	}
	set_number(a, "startLine", p.has_line, p.line);
	set_number(a, "endLine", p.has_line, p.has_end_line ? p.end_line : p.line);
	set_number(a, "startColumn", p.has_column, p.column);
	set_number(a, "endColumn", p.has_column, p.has_end_column ? p.end_column : p.column);
	json_object_set_new(a, "stepNumber", json_integer(r->number));
	return a;
}

void record_issue(struct job *j, struct record *r, enum issue_kind kind, const char *message, const json_t *properties)
{
	_cleanup_free_ char *masked = job_masked(j, message);
	cut_chars(masked, ISSUE_CHARS);
	record_line(j, r, "##[%s]%s", tags[kind], masked);
	if (masked[strspn(masked, " \t\r\n")] == '\0' || r->issues[kind] >= ISSUES_MAX)
		return;
	r->issues[kind]++;
	json_array_append_new(r->annotations, annotation_of(j, r, kind, masked, properties));
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

void job_issue(struct job *j, enum issue_kind kind, const char *message)
{
	_cleanup_free_ char *masked = job_masked(j, message);
	cut_chars(masked, ISSUE_CHARS);
	json_t *a = json_pack("{s:s}", "level", levels[kind]);
	json_object_set_new(a, "message", json_string_lossy(masked, strlen(masked)));
	json_array_append_new(j->annotations, a);
}

void record_complete(struct job *j, struct record *r, enum result result)
{
	r->result = result;
	r->completed_wall_ms = clock_wall_ms();
	if (r->started_wall_ms == 0)
		r->started_wall_ms = r->completed_wall_ms;
	send_block(j, r->id, &r->log, true);
	record_tell(j, r);
}

json_t *record_result(struct job *j, const struct record *r)
{
	char text[CLOCK_TEXT_SIZE];
	if (r->completed_wall_ms == 0)
		return NULL;
	_cleanup_free_ char *name = job_masked(j, r->name);
	json_t *s = json_pack("{s:s, s:i, s:s, s:s, s:O}", "external_id", r->id, "number", r->number, "status",
	                      "completed", "conclusion", result_wire(r->result), "annotations", r->annotations);
	json_object_set_new(s, "name", json_string_lossy(name, strlen(name)));
	set_text(j, s, "action_name", r->action_name);
	set_text(j, s, "ref", r->ref);
	set_text(j, s, "type", r->type);
	json_object_set_new(s, "started_at", json_string(clock_rfc3339(r->started_wall_ms, text)));
	json_object_set_new(s, "completed_at", json_string(clock_rfc3339(r->completed_wall_ms, text)));
	return s;
}
