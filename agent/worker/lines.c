#include "agent/worker/lines.h"

void lines_init(struct lines *l, size_t max, const struct mask *mask)
{
	*l = (struct lines){.part = STR_INIT(max), .mask = mask};
}

static void give(struct lines *l, const struct line_taker *to)
{
	to->line(to->context, str_peek(&l->part), l->part.len);
	str_clear(&l->part);
}

/* A line longer than the limit: passes on the part that no secret crosses, the rest waits for its continuation. */
static void give_part(struct lines *l, const struct line_taker *to)
{
	static const char lost[] = "(the rest of this line was left out: a secret in it is longer than what is masked)";
	size_t cut = l->mask != NULL ? mask_cut(l->mask, l->part.data, l->part.len) : l->part.len;
	if (cut == 0) {
		l->dropping = true;
		str_clear(&l->part);
		str_append(&l->part, lost);
		give(l, to);
		return;
	}
	to->line(to->context, l->part.data, cut);
	str_remove_front(&l->part, cut);
}

static void add(struct lines *l, const char *data, size_t len, const struct line_taker *to)
{
	while (len > 0 && !l->dropping) {
		size_t n = MIN(len, l->part.max - l->part.len);
		str_append_n(&l->part, data, n);
		data += n;
		len -= n;
		if (len > 0)
			give_part(l, to);
	}
}

/* Takes bytes up to the end of a line, or all of them. Returns the number taken. */
static size_t feed_line(struct lines *l, const char *data, size_t len, const struct line_taker *to)
{
	const char *end = memchr(data, '\n', len);
	size_t n = end != NULL ? (size_t)(end - data) : len;
	const char *cr = memchr(data, '\r', n);
	n = cr != NULL ? (size_t)(cr - data) : n;
	add(l, data, n, to);
	if (n == len)
		return len;
	l->after_cr = data[n] == '\r';
	if (!l->dropping)
		give(l, to);
	l->dropping = false;
	return n + 1;
}

/* The lines that are whole and end as most do. */
static size_t feed_lines(struct lines *l, const char *data, size_t len, const struct line_taker *to)
{
	if (to->lines == NULL || l->part.len > 0 || l->dropping)
		return 0;
	const char *cr = memchr(data, '\r', len);
	const char *end = memrchr(data, '\n', cr != NULL ? (size_t)(cr - data) : len);
	if (end == NULL || (size_t)(end + 1 - data) > l->part.max)
		return 0;
	size_t n = (size_t)(end + 1 - data);
	to->lines(to->context, data, n);
	return n;
}

void lines_feed(struct lines *l, const char *data, size_t len, const struct line_taker *to)
{
	while (len > 0) {
		bool ended_before = l->after_cr && *data == '\n';
		l->after_cr = false;
		size_t n = ended_before ? 1 : feed_lines(l, data, len, to);
		if (n == 0)
			n = feed_line(l, data, len, to);
		data += n;
		len -= n;
	}
}

void lines_end(struct lines *l, const struct line_taker *to)
{
	if (l->part.len > 0)
		give(l, to);
}

void lines_done(struct lines *l)
{
	str_done(&l->part);
}
