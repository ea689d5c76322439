#include "base/secret/mask_expressions.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <string.h>

enum { MATCH_LIMIT = 100000, COUNT_MAX = 100 };

struct expression {
	pcre2_code *code;
	pcre2_match_data *match;
	bool within_line; /* finds the same in a text as in each of its lines */
};

struct expressions {
	struct expression *items;
	size_t count, cap;
	pcre2_match_context *context;
};

struct expressions *mask_expressions_new(void)
{
	struct expressions *e = xcalloc(1, sizeof(*e));
	e->context = pcre2_match_context_create(NULL);
	if (e->context == NULL)
		abort();
	pcre2_set_match_limit(e->context, MATCH_LIMIT);
	return e;
}

void mask_expressions_free(struct expressions *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->count; i++) {
		pcre2_match_data_free(e->items[i].match);
		pcre2_code_free(e->items[i].code);
	}
	pcre2_match_context_free(e->context);
	free(e->items);
	free(e);
}

size_t mask_expressions_count(const struct expressions *e)
{
	return e->count;
}

/* The end of a class of plain characters and ranges; NULL: it is another one. */
static const char *behind_class(const char *p)
{
	for (p++; *p != '\0'; p++) {
		if (*p == ']')
			return p + 1;
		if (!isalnum((unsigned char)*p) && strchr("_-.+/=", *p) == NULL)
			return NULL;
	}
	return NULL;
}

/* True if the pattern has only elements that do not match a line end and treat it like the end of the text: plain characters,
 * classes of them, \b, repetitions. Anything else may look across lines. */
static bool stays_in_line(const char *pattern)
{
	for (const char *p = pattern; p != NULL && *p != '\0';) {
		if (p[0] == '\\' && (p[1] == 'b' || (p[1] != '\0' && strchr("-.+/=_", p[1]) != NULL)))
			p += 2;
		else if (*p == '[')
			p = behind_class(p);
		else if (isalnum((unsigned char)*p) || strchr("_-/=+{},", *p) != NULL)
			p++;
		else
			p = NULL;
		if (p == NULL)
			return false;
	}
	return true;
}

int mask_expressions_add(struct expressions *e, const char *pattern, struct err *err)
{
	if (e->count >= COUNT_MAX)
		return err_set(err, ERR_LIMIT, "more than %d mask patterns", COUNT_MAX);
	int code = 0;
	PCRE2_SIZE at = 0;
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
	                                     PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
	if (compiled == NULL)
		return err_set(err, ERR_INVALID, "mask pattern: not understood at offset %zu (PCRE2 error %d)", at,
		               code);
	pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without JIT it is interpreted */
	pcre2_match_data *match = pcre2_match_data_create_from_pattern(compiled, NULL);
	if (match == NULL)
		abort();
	e->items = xgrow(e->items, &e->cap, e->count + 1, sizeof(e->items[0]));
	e->items[e->count++] = (struct expression){compiled, match, stays_in_line(pattern)};
	return 0;
}

/* False: gave up before the end of the text. */
static bool find_in(const struct expressions *e, const struct expression *x, const char *text, size_t from, size_t to,
                    struct ranges *found)
{
	for (size_t at = 0; at < to - from;) {
		int n = pcre2_match(x->code, (PCRE2_SPTR)text + from, to - from, at, 0, x->match, e->context);
		if (n < 0)
			return n == PCRE2_ERROR_NOMATCH;
		const PCRE2_SIZE *where = pcre2_get_ovector_pointer(x->match);
		if (where[1] > where[0])
			mask_ranges_add(found, from + where[0], from + where[1]);
		at = where[0] + 1;
	}
	return true;
}

static void find_by_line(const struct expressions *e, const struct expression *x, const char *text, size_t len,
                         struct ranges *found)
{
	for (size_t from = 0; from < len;) {
		const char *end = memchr(text + from, '\n', len - from);
		size_t to = end != NULL ? (size_t)(end - text) : len;
		find_in(e, x, text, from, to, found);
		from = to + 1;
	}
}

void mask_expressions_find(const struct expressions *e, const char *text, size_t len, bool by_line,
                           struct ranges *found)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct expression *x = &e->items[i];
		/* A line that is too hard for it must not hide the next ones. */
		bool whole = (!by_line || x->within_line) && find_in(e, x, text, 0, len, found);
		if (!whole && by_line)
			find_by_line(e, x, text, len, found);
	}
}
