#include "engine/target/shell/answer.h"

#include <stdint.h>
#include <string.h>

enum { SHOWN = 100, END_MAX = 32 };

/* Length of the longest suffix of data that may become the mark. */
static size_t may_be_mark(const char *data, size_t len, const char *mark, size_t mark_len)
{
	for (size_t n = MIN(len, mark_len - 1); n > 0; n--)
		if (data[len - n] == mark[0] && memcmp(data + len - n, mark, n) == 0)
			return n;
	return 0;
}

/* " KIND STATUS", and nothing else. */
static bool read_end(const char *text, size_t len, char *ret_kind, int *ret_status)
{
	long long status;
	if (len < 4 || len > END_MAX || text[0] != ' ' || memchr(ANSWER_KINDS, text[1], strlen(ANSWER_KINDS)) == NULL ||
	    text[2] != ' ' || memchr(text, '\0', len) != NULL)
		return false;
	_cleanup_free_ char *number = xstrndup(text + 3, len - 3);
	if (!str_parse_i64(number, 0, ANSWER_STATUS_MAX, &status))
		return false;
	*ret_kind = text[1];
	*ret_status = (int)status;
	return true;
}

static int no_end(const char *text, size_t len, struct err *err)
{
	_cleanup_(str_done) struct str shown = STR_INIT(16 * SHOWN);
	str_append_safe(&shown, text, MIN(len, (size_t)SHOWN));
	return err_set(err, ERR_PROTOCOL, "the target's shell answers '%s'", str_peek(&shown));
}

int answer_take(struct answer *a, const char *data, size_t len, answer_content_fn content, void *context,
                struct err *err)
{
	if (len == 0 || a->done)
		return 0;
	if (!str_append_n(&a->held, data, len))
		return err_set(err, ERR_LIMIT, "the target's shell says too much");
	char *at = memmem(a->held.data, a->held.len, a->mark, a->mark_len);
	size_t give = at != NULL ? (size_t)(at - a->held.data)
	                         : a->held.len - may_be_mark(a->held.data, a->held.len, a->mark, a->mark_len);
	if (give > 0)
		content(context, a->held.data, give);
	str_remove_front(&a->held, give);
	if (at == NULL)
		return 0;
	const char *text = a->held.data + a->mark_len;
	size_t rest = a->held.len - a->mark_len;
	const char *end = memchr(text, '\n', rest);
	if (end == NULL)
		return rest > END_MAX ? no_end(text, rest, err) : 0;
	if (!read_end(text, (size_t)(end - text), &a->kind, &a->status))
		return no_end(text, (size_t)(end - text), err);
	a->done = true;
	return 0;
}

bool answer_numbers(const char *said, size_t len, long long *const *to, size_t count)
{
	const char *line = len > 1 ? memrchr(said, '\n', len - 1) : NULL;
	if (line == NULL || said[len - 1] != '\n' || memchr(line, '\0', len - (size_t)(line - said)) != NULL)
		return false;
	const char *at = line + 1, *end = said + len - 1;
	for (size_t i = 0; i < count; i++) {
		const char *blank = i + 1 < count ? memchr(at, ' ', (size_t)(end - at)) : end;
		if (blank == NULL)
			return false;
		_cleanup_free_ char *number = xstrndup(at, (size_t)(blank - at));
		if (!str_parse_i64(number, 0, INT64_MAX, to[i]))
			return false;
		at = blank + (blank < end);
	}
	return true;
}
