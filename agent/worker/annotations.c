/* annotations: errors, warnings and notices of a step: a line of its log, and what the service shows beside the run. */
#include "agent/worker/worker_priv.h"
#include "agent/worker/containers/containers.h"

#include <stdio.h>
#include <strings.h>

static const char *const levels[] = {"failure", "warning", "notice"};
static const char *const tags[] = {"error", "warning", "notice"};

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
	const char *given = text_property(properties, "file");
	_cleanup_free_ char *here = given != NULL ? containers_outside(j, given) : NULL;
	const char *file = here;
	size_t root = strlen(j->workspace != NULL ? j->workspace : "");
	if (file != NULL && root > 0 && strncmp(file, j->workspace, root) == 0 && file[root] == '/')
		file += root + 1;
	json_object_set_new(a, "message", json_string_lossy(masked, strlen(masked)));
	record_set_masked(j, a, "title", text_property(properties, "title"));
	record_set_masked(j, a, "path", file);
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
	record_issue_in_line(j, r, kind, message, NULL, properties);
}

void record_issue_in_line(struct job *j, struct record *r, enum issue_kind kind, const char *message, const char *line,
                          const json_t *properties)
{
	r = r->top;
	_cleanup_free_ char *masked = job_masked(j, message);
	cut_chars(masked, ISSUE_CHARS);
	const char *shown = line != NULL ? line : masked;
	if (shown[0] != '\0')
		record_line(j, r, "##[%s]%s", tags[kind], shown);
	/* One that says nothing has its place among the ten all the same. */
	if (r->issues[kind] >= ISSUES_MAX || (r->issues[kind]++, masked[strspn(masked, " \t\r\n")] == '\0'))
		return;
	json_array_append_new(r->annotations, annotation_of(j, r, kind, masked, properties));
}

void job_issue(struct job *j, enum issue_kind kind, const char *message)
{
	_cleanup_free_ char *masked = job_masked(j, message);
	cut_chars(masked, ISSUE_CHARS);
	_cleanup_free_ char *line = xasprintf("##[%s]%s", tags[kind], masked);
	job_write(j, line);
	json_t *a = json_pack("{s:s}", "level", levels[kind]);
	json_object_set_new(a, "message", json_string_lossy(masked, strlen(masked)));
	json_array_append_new(j->annotations, a);
}
