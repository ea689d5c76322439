#include "agent/worker/command_file.h"

#include "base/data/json.h"
#include "base/core/shown.h"

enum { SHOWN_MAX = 200 };

char *command_file_utf8(const char *data, size_t len, size_t *ret_len)
{
	if (str_is_utf8(data, len)) {
		char *copy = xmalloc(len + 1);
		if (len > 0)
			memcpy(copy, data, len);
		copy[len] = '\0';
		*ret_len = len;
		return copy;
	}
	_cleanup_json_ json_t *text = json_string_lossy(data, len);
	*ret_len = json_string_length(text);
	return xmemdup(json_string_value(text), *ret_len + 1);
}

struct reader {
	const char *at, *end;
	command_pair_fn pair;
	void *context;
	struct err *err;
};

/* The next line without its \n; *ret_ended: it had one. False at the end. */
static bool next_line(struct reader *r, const char **line, size_t *len, bool *ret_ended)
{
	if (r->at >= r->end)
		return false;
	const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
	*line = r->at;
	*ret_ended = stop != NULL;
	*len = (size_t)((stop != NULL ? stop : r->end) - r->at);
	r->at = stop != NULL ? stop + 1 : r->end;
	return true;
}

static int give(struct reader *r, const char *name, size_t name_len, const char *value, size_t value_len)
{
	_cleanup_free_ char *name_text = xstrndup(name, name_len);
	if (name_len == 0)
		return err_set(r->err, ERR_INVALID, "Value cannot be null or empty. (Parameter 'name')");
	return r->pair(r->context, name_text, value, value_len, r->err);
}

/* Reads the lines after "name<<delimiter". */
static int read_lines(struct reader *r, const char *name, size_t name_len, const char *delimiter, size_t delimiter_len)
{
	const char *line, *from = r->at;
	size_t len;
	bool ended = true;
	while (next_line(r, &line, &len, &ended)) {
		if (len != delimiter_len || memcmp(line, delimiter, len) != 0)
			continue;
		/* The line end before the delimiter belongs to the delimiter. */
		return give(r, name, name_len, from, line > from ? (size_t)(line - from) - 1 : 0);
	}
	if (!ended)
		return err_set(r->err, ERR_INVALID, "Invalid value. EOF marker missing new line.");
	_cleanup_free_ char *shown = shown_text(delimiter, delimiter_len, SHOWN_MAX);
	return err_set(r->err, ERR_INVALID, "Invalid value. Matching delimiter not found '%s'", shown);
}

static int invalid_format(struct reader *r, const char *line, size_t len, const char *why)
{
	_cleanup_free_ char *shown = shown_text(line, len, SHOWN_MAX);
	return err_set(r->err, ERR_INVALID, "Invalid format '%s'%s", shown, why);
}

static int read_pair(struct reader *r, const char *line, size_t len)
{
	const char *equals = memchr(line, '=', len), *heredoc = memmem(line, len, "<<", 2), *end = line + len;
	if (equals != NULL && (heredoc == NULL || equals < heredoc))
		return give(r, line, (size_t)(equals - line), equals + 1, (size_t)(end - equals - 1));
	if (heredoc == NULL)
		return invalid_format(r, line, len, "");
	if (heredoc == line || heredoc + 2 == end)
		return invalid_format(r, line, len, ". Name must not be empty and delimiter must not be empty");
	return read_lines(r, line, (size_t)(heredoc - line), heredoc + 2, (size_t)(end - heredoc - 2));
}

int command_file_pairs(const char *data, size_t len, command_pair_fn pair, void *context, struct err *err)
{
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	size_t text_len;
	_cleanup_free_ char *text = command_file_utf8(data, len, &text_len);
	struct reader r = {.at = text, .end = text + text_len, .pair = pair, .context = context, .err = err};
	const char *line;
	bool ended;
	while (next_line(&r, &line, &len, &ended)) {
		if (len == 0)
			continue;
		int result = read_pair(&r, line, len);
		if (result < 0)
			return result;
	}
	return 0;
}

void command_file_lines(const char *data, size_t len, struct strv *ret)
{
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	for (size_t at = 0; at < len;) {
		size_t n = 0, text_len;
		while (at + n < len && data[at + n] != '\n' && data[at + n] != '\r')
			n++;
		if (n > 0)
			strv_add_take(ret, command_file_utf8(data + at, n, &text_len));
		at += n + 1;
	}
}
