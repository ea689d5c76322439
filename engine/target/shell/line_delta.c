#include "engine/target/shell/line_delta.h"

struct line {
	const char *text;
	size_t len;
};

/* Open addressing; as many lines as there are, at half load. */
struct line_table {
	struct line *slots;
	size_t mask;
};

static uint64_t hash_line(const char *text, size_t len)
{
	uint64_t h = len, word;

	for (; len >= sizeof(word); text += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, text, sizeof(word));
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	for (; len > 0; len--)
		h = (h ^ (unsigned char)*text++) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

/* With its line break, if it has one. */
static size_t line_length(const char *text, size_t left)
{
	const char *end = memchr(text, '\n', left);
	return end ? (size_t)(end + 1 - text) : left;
}

static struct line *slot_of(const struct line_table *t, const char *text, size_t len)
{
	for (size_t i = hash_line(text, len) & t->mask;; i = (i + 1) & t->mask) {
		struct line *s = &t->slots[i];
		if (!s->text || (s->len == len && memcmp(s->text, text, len) == 0))
			return s;
	}
}

static void index_lines(const char *from, size_t len, struct line_table *t)
{
	size_t lines = 1, size = 16;

	for (const char *p = from; (p = memchr(p, '\n', len - (size_t)(p - from))); p++)
		lines++;
	while (size < 2 * lines)
		size *= 2;
	t->slots = xcalloc(size, sizeof(*t->slots));
	t->mask = size - 1;
	for (size_t at = 0; at < len;) {
		size_t n = line_length(from + at, len - at);
		struct line *s = slot_of(t, from + at, n);
		if (!s->text)
			*s = (struct line){from + at, n};
		at += n;
	}
}

struct run {
	bool copy;
	size_t start, len;
}; /* start: in `from` of a copy, else in `to` */

static size_t write_run(const struct run *r, const char *to, struct str *out)
{
	if (r->len == 0)
		return 0;
	if (r->copy) {
		str_appendf(out, "c %zu %zu\n", r->start, r->len);
		return 0;
	}
	str_appendf(out, "d %zu\n", r->len);
	str_append_n(out, to + r->start, r->len);
	return r->len;
}

size_t line_delta(const char *from, size_t from_len, const char *to, size_t to_len, struct str *out)
{
	struct line_table table = {0};
	struct run run = {0};
	size_t fresh = 0, next = 0; /* next: in `from`, after the last copied part */

	index_lines(from, from_len, &table);
	for (size_t at = 0; at < to_len;) {
		size_t n = line_length(to + at, to_len - at), start = at;
		bool copy = from_len - next >= n && memcmp(from + next, to + at, n) == 0;
		if (copy) {
			start = next;
		} else {
			const struct line *s = slot_of(&table, to + at, n);
			copy = s->text != NULL;
			start = copy ? (size_t)(s->text - from) : at;
		}
		if (run.copy == copy && run.start + run.len == start) {
			run.len += n;
		} else {
			fresh += write_run(&run, to, out);
			run = (struct run){copy, start, n};
		}
		next = copy ? start + n : next;
		at += n;
	}
	fresh += write_run(&run, to, out);
	free(table.slots);
	return fresh;
}
