/* mask: finds what to cover. Fixed strings are found by base/secret/mask_patterns.c, the token patterns that the service sends as
 * regular expressions by base/secret/mask_expressions.c; both only report ranges, and those that overlap or touch become one
 * "***". */
#include "base/secret/mask.h"

#include "base/core/shown.h"
#include "base/secret/mask_expressions.h"
#include "base/secret/mask_forms.h"
#include "base/secret/mask_patterns.h"

#include <pthread.h>

enum {
	SECRET_MAX = 1 << 20,        /* a longer value is covered as it is, without its derived forms */
	EXPRESSION_REACH = 64 << 10, /* a token that a pattern finds is shorter */
};
static const char stars[] = "***";

struct mask {
	struct patterns *patterns;
	struct patterns *leaves; /* covered, and no more */
	struct expressions *expressions;
	bool short_lines; /* one was left out */
	/* A thread may print what it saw while another one learns a secret. */
	pthread_rwlock_t *lock;
};

static void find_all(const struct mask *m, const char *text, size_t len, bool by_line, struct ranges *found)
{
	mask_ranges_init(found);
	pthread_rwlock_rdlock(m->lock);
	mask_patterns_find(m->patterns, text, len, by_line, found);
	mask_patterns_find(m->leaves, text, len, by_line, found);
	mask_expressions_find(m->expressions, text, len, by_line, found);
	pthread_rwlock_unlock(m->lock);
	mask_ranges_merge(found);
}

static void append_covered(const char *text, size_t len, const struct ranges *found, struct str *out)
{
	size_t at = 0;
	for (size_t i = 0; i < found->count; i++) {
		str_append_n(out, text + at, found->items[i].from - at);
		str_append(out, stars);
		at = found->items[i].to;
	}
	str_append_n(out, text + at, len - at);
}

void mask_apply(const struct mask *m, const char *text, size_t len, struct str *out)
{
	if (mask_is_empty(m)) {
		str_append_n(out, text, len);
		return;
	}
	struct ranges found;
	find_all(m, text, len, false, &found);
	append_covered(text, len, &found, out);
	mask_ranges_done(&found);
}

bool mask_apply_lines(const struct mask *m, const char *text, size_t len, struct str *out)
{
	if (mask_is_empty(m))
		return false;
	struct ranges found;
	find_all(m, text, len, true, &found);
	bool any = found.count > 0;
	if (any)
		append_covered(text, len, &found, out);
	mask_ranges_done(&found);
	return any;
}

size_t mask_cut(const struct mask *m, const char *text, size_t len)
{
	pthread_rwlock_rdlock(m->lock);
	size_t reach = mask_expressions_count(m->expressions) > 0 ? (size_t)EXPRESSION_REACH : (size_t)1;
	reach = MAX(reach, mask_patterns_longest(m->patterns));
	reach = MAX(reach, mask_patterns_longest(m->leaves));
	pthread_rwlock_unlock(m->lock);
	if (len <= reach)
		return 0;
	size_t at = str_whole_characters(text, len - reach);
	if (mask_is_empty(m))
		return at;
	struct ranges found;
	find_all(m, text, len, false, &found);
	for (size_t i = 0; i < found.count; i++)
		if (found.items[i].from < at && at < found.items[i].to)
			at = found.items[i].from;
	mask_ranges_done(&found);
	return at;
}

bool mask_finds(const struct mask *m, const char *text, size_t len)
{
	if (mask_is_empty(m))
		return false;
	struct ranges found;
	mask_ranges_init(&found);
	pthread_rwlock_rdlock(m->lock);
	mask_patterns_find(m->patterns, text, len, false, &found);
	mask_expressions_find(m->expressions, text, len, false, &found);
	pthread_rwlock_unlock(m->lock);
	bool any = found.count > 0;
	mask_ranges_done(&found);
	return any;
}

bool mask_is_empty(const struct mask *m)
{
	pthread_rwlock_rdlock(m->lock);
	bool empty = mask_patterns_count(m->patterns) == 0 && mask_patterns_count(m->leaves) == 0 &&
	             mask_expressions_count(m->expressions) == 0;
	pthread_rwlock_unlock(m->lock);
	return empty;
}

/* Where a value is added. */
struct place {
	struct mask *mask;
	struct patterns *patterns;
};

static void add_form(void *context, const char *form, size_t len)
{
	const struct place *to = context;
	pthread_rwlock_wrlock(to->mask->lock);
	mask_patterns_add(to->patterns, form, len);
	pthread_rwlock_unlock(to->mask->lock);
}

void mask_add_plain(struct mask *m, const char *value, size_t len)
{
	struct place to = {m, m->patterns};
	add_form(&to, value, len);
}

static void add_with_forms(struct place *to, const char *value, size_t len)
{
	add_form(to, value, len);
	if (len <= SECRET_MAX)
		mask_forms(value, len, add_form, to);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

static void trim(const char **p, size_t *len)
{
	while (*len > 0 && is_blank((*p)[0])) {
		(*p)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*p)[*len - 1]))
		(*len)--;
}

static size_t count_characters(const char *text, size_t len)
{
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += ((unsigned char)text[i] & 0xc0) != 0x80;
	return count;
}

static void add_line(struct place *to, const char *line, size_t len)
{
	if (len == 0)
		return;
	if (count_characters(line, len) < MASK_LINE_MIN)
		to->mask->short_lines = true;
	else
		add_with_forms(to, line, len);
}

bool mask_has_short_lines(const struct mask *m)
{
	return m->short_lines;
}

static void add(struct place *to, const char *value, size_t len)
{
	const char *whole = value;
	size_t whole_len = len;
	trim(&whole, &whole_len);
	if (whole_len == 0)
		return;
	if (whole_len != len)
		add_form(to, value, len);
	add_with_forms(to, whole, whole_len);
	for (size_t from = 0; from < whole_len;) {
		size_t end = from;
		while (end < whole_len && whole[end] != '\n' && whole[end] != '\r')
			end++;
		const char *line = whole + from;
		size_t line_len = end - from;
		trim(&line, &line_len);
		if (line_len < whole_len)
			add_line(to, line, line_len);
		from = end + 1;
	}
}

void mask_add(struct mask *m, const char *value, size_t len)
{
	struct place to = {m, m->patterns};
	add(&to, value, len);
}

void mask_add_leaf(struct mask *m, const char *value, size_t len)
{
	struct place to = {m, m->leaves};
	add(&to, value, len);
}

int mask_add_pattern(struct mask *m, const char *pattern, struct err *err)
{
	pthread_rwlock_wrlock(m->lock);
	int r = mask_expressions_add(m->expressions, pattern, err);
	pthread_rwlock_unlock(m->lock);
	return r;
}

struct mask *mask_new(void)
{
	struct mask *m = xcalloc(1, sizeof(*m));
	m->patterns = mask_patterns_new();
	m->leaves = mask_patterns_new();
	m->expressions = mask_expressions_new();
	m->lock = xmalloc(sizeof(*m->lock));
	pthread_rwlock_init(m->lock, NULL);
	return m;
}

void mask_free(struct mask *m)
{
	if (m == NULL)
		return;
	mask_patterns_free(m->patterns);
	mask_patterns_free(m->leaves);
	mask_expressions_free(m->expressions);
	pthread_rwlock_destroy(m->lock);
	free(m->lock);
	free(m);
}

void mask_freep(struct mask **m)
{
	mask_free(*m);
}

static struct mask *process;

static void mask_process_apply(const char *text, size_t len, struct str *out)
{
	mask_apply(process, text, len, out);
}

struct mask *mask_process(void)
{
	if (process == NULL) {
		process = mask_new();
		shown_set_mask(mask_process_apply);
	}
	return process;
}
