#include "base/data/schema/pattern.h"
#include "base/core/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { PATTERN_MAX = 64 << 10, MATCH_LIMIT = 1000000, DEPTH_LIMIT = 10000, HEAP_LIMIT_KIB = 20000 };

struct pattern {
	pcre2_code *code;
	pcre2_match_context *context;
};

/* White space of ECMA-262 is more than that of PCRE2 without UCP, and `.` stops at two more line ends. */
#define SPACE_RANGES                                                                                                   \
	"\\x{09}-\\x{0d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}"
#define NOT_SPACE_RANGES                                                                                               \
	"\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"         \
	"\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

struct translation {
	const char *text, *at, *end;
	struct str *out;
	struct err *err;
	bool in_class;
};

static int refuse(struct translation *t, const char *what)
{
	return err_set(t->err, ERR_INVALID, "pattern, byte %td: %s", t->at - t->text, what);
}

static int peek(const struct translation *t, size_t ahead)
{
	return (size_t)(t->end - t->at) > ahead ? (unsigned char)t->at[ahead] : -1;
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_letter(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Hexadecimal digits from `ahead` on: exactly count of them, or -1. */
static long hex_digits(const struct translation *t, size_t ahead, size_t count)
{
	long value = 0;
	for (size_t i = 0; i < count; i++) {
		int digit = hex_value(peek(t, ahead + i));
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static int code_point(struct translation *t, long value, size_t length)
{
	if (value < 0 || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return refuse(t, "an escape that is not a character");
	str_appendf(t->out, "\\x{%lx}", (unsigned long)value);
	t->at += length;
	return 0;
}

/* \u0041, \ud83d\ude00, \u{1f600} */
static int unicode_escape(struct translation *t)
{
	if (peek(t, 2) == '{') {
		long value = 0;
		size_t n = 3;
		for (; hex_value(peek(t, n)) >= 0 && n < 11; n++)
			value = value * 16 + hex_value(peek(t, n));
		if (peek(t, n) != '}' || n == 3)
			return refuse(t, "\\u{ needs hexadecimal digits and }");
		return code_point(t, value, n + 1);
	}
	long high = hex_digits(t, 2, 4);
	if (high < 0)
		return refuse(t, "\\u needs four hexadecimal digits");
	if (high < 0xd800 || high > 0xdbff || peek(t, 6) != '\\' || peek(t, 7) != 'u')
		return code_point(t, high, 6);
	long low = hex_digits(t, 8, 4);
	if (low < 0xdc00 || low > 0xdfff)
		return refuse(t, "half a surrogate pair");
	return code_point(t, 0x10000 + (high - 0xd800) * 0x400 + (low - 0xdc00), 12);
}

/* Long names of general categories; PCRE2 knows the short ones, the scripts and the binary properties. */
static const char *short_category(const char *name)
{
	static const struct {
		const char *long_name, *short_name;
	} names[] = {
		{"Letter", "L"},
		{"Cased_Letter", "L&"},
		{"LC", "L&"},
		{"Uppercase_Letter", "Lu"},
		{"Lowercase_Letter", "Ll"},
		{"Titlecase_Letter", "Lt"},
		{"Modifier_Letter", "Lm"},
		{"Other_Letter", "Lo"},
		{"Mark", "M"},
		{"Combining_Mark", "M"},
		{"Nonspacing_Mark", "Mn"},
		{"Spacing_Mark", "Mc"},
		{"Enclosing_Mark", "Me"},
		{"Number", "N"},
		{"Decimal_Number", "Nd"},
		{"digit", "Nd"},
		{"Letter_Number", "Nl"},
		{"Other_Number", "No"},
		{"Punctuation", "P"},
		{"punct", "P"},
		{"Connector_Punctuation", "Pc"},
		{"Dash_Punctuation", "Pd"},
		{"Open_Punctuation", "Ps"},
		{"Close_Punctuation", "Pe"},
		{"Initial_Punctuation", "Pi"},
		{"Final_Punctuation", "Pf"},
		{"Other_Punctuation", "Po"},
		{"Symbol", "S"},
		{"Math_Symbol", "Sm"},
		{"Currency_Symbol", "Sc"},
		{"Modifier_Symbol", "Sk"},
		{"Other_Symbol", "So"},
		{"Separator", "Z"},
		{"Space_Separator", "Zs"},
		{"Line_Separator", "Zl"},
		{"Paragraph_Separator", "Zp"},
		{"Other", "C"},
		{"Control", "Cc"},
		{"cntrl", "Cc"},
		{"Format", "Cf"},
		{"Surrogate", "Cs"},
		{"Private_Use", "Co"},
		{"Unassigned", "Cn"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i].long_name, name) == 0)
			return names[i].short_name;
	return name;
}

static int property_escape(struct translation *t)
{
	char kind = (char)peek(t, 1);
	const char *start = t->at + 3;
	const char *end = peek(t, 2) == '{' ? memchr(start, '}', (size_t)(t->end - start)) : NULL;
	if (end == NULL || end == start || end - start > 60)
		return refuse(t, "\\p needs a property in braces");
	_cleanup_free_ char *name = xstrndup(start, (size_t)(end - start));
	if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=") != strlen(name))
		return refuse(t, "\\p needs a property in braces");
	const char *value = strchr(name, '=');
	if (value == NULL)
		str_appendf(t->out, "\\%c{%s}", kind, short_category(name));
	else if (str_starts(name, "gc=") || str_starts(name, "General_Category="))
		str_appendf(t->out, "\\%c{%s}", kind, short_category(value + 1));
	else if (str_starts(name, "sc=") || str_starts(name, "Script="))
		str_appendf(t->out, "\\%c{sc:%s}", kind, value + 1);
	else if (str_starts(name, "scx=") || str_starts(name, "Script_Extensions="))
		str_appendf(t->out, "\\%c{scx:%s}", kind, value + 1);
	else
		return refuse(t, "\\p with an unknown property");
	t->at = end + 1;
	return 0;
}

static int back_reference(struct translation *t)
{
	if (t->in_class)
		return refuse(t, "a digit after \\ in a class");
	size_t n = 1;
	long value = 0;
	for (; peek(t, n) >= '0' && peek(t, n) <= '9' && n < 5; n++)
		value = value * 10 + (peek(t, n) - '0');
	str_appendf(t->out, "\\g{%ld}", value);
	t->at += n;
	return 0;
}

static int named_reference(struct translation *t)
{
	const char *end = peek(t, 2) == '<' ? memchr(t->at, '>', (size_t)(t->end - t->at)) : NULL;
	if (end == NULL || t->in_class)
		return refuse(t, "\\k needs the name of a group");
	str_append_n(t->out, t->at, (size_t)(end + 1 - t->at));
	t->at = end + 1;
	return 0;
}

static int copy(struct translation *t, size_t count)
{
	str_append_n(t->out, t->at, count);
	t->at += count;
	return 0;
}

static int replace(struct translation *t, size_t count, const char *text)
{
	str_append(t->out, text);
	t->at += count;
	return 0;
}

/* A set of ranges inside a class: a hyphen after it is a hyphen, not a range from the last one. */
static int class_ranges(struct translation *t, const char *ranges)
{
	replace(t, 2, ranges);
	return peek(t, 0) == '-' && peek(t, 1) != ']' ? replace(t, 1, "\\-") : 0;
}

static int escape(struct translation *t)
{
	int c = peek(t, 1);
	switch (c) {
	case -1:
		return refuse(t, "\\ at the end");
	case 'd':
	case 'D':
	case 'w':
	case 'W':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return copy(t, 2);
	case 'b':
		return t->in_class ? replace(t, 2, "\\x{08}") : copy(t, 2);
	case 'B':
		return t->in_class ? refuse(t, "\\B in a class") : copy(t, 2);
	case 'v':
		return replace(t, 2, "\\x{0b}");
	case 's':
		return t->in_class ? class_ranges(t, SPACE_RANGES) : replace(t, 2, "[" SPACE_RANGES "]");
	case 'S':
		return t->in_class ? class_ranges(t, NOT_SPACE_RANGES) : replace(t, 2, "[^" SPACE_RANGES "]");
	case 'c':
		return is_letter(peek(t, 2)) ? code_point(t, peek(t, 2) & 0x1f, 3) : refuse(t, "\\c needs a letter");
	case 'x':
		return hex_digits(t, 2, 2) < 0 ? refuse(t, "\\x needs two hexadecimal digits")
		                               : code_point(t, hex_digits(t, 2, 2), 4);
	case 'u':
		return unicode_escape(t);
	case 'p':
	case 'P':
		return property_escape(t);
	case 'k':
		return named_reference(t);
	case '0':
		if (peek(t, 2) >= '0' && peek(t, 2) <= '9')
			return refuse(t, "an octal escape");
		return code_point(t, 0, 2);
	default:
		break;
	}
	if (c >= '1' && c <= '9')
		return back_reference(t);
	if (is_letter(c))
		return refuse(t, "an escape that ECMA-262 does not have");
	if (c < 0x80)
		return copy(t, 2);
	return replace(t, 1, ""); /* a character beyond ASCII is literal */
}

static bool is_class_escape(int c)
{
	return c != -1 && strchr("dDwWsSpP", c) != NULL && c != 0;
}

static int class(struct translation *t)
{
	copy(t, 1);
	if (peek(t, 0) == '^')
		copy(t, 1);
	t->in_class = true;
	int r = 0;
	while (r == 0 && peek(t, 0) != ']') {
		int c = peek(t, 0);
		if (c == -1)
			r = refuse(t, "a class without ]");
		else if (c == '\\')
			r = escape(t);
		else if (c == '[')
			r = replace(t, 1, "\\[");
		else if (c == '-' && peek(t, 1) == '\\' && is_class_escape(peek(t, 2)))
			r = replace(t, 1, "\\-");
		else
			r = copy(t, 1);
	}
	t->in_class = false;
	return r < 0 ? r : copy(t, 1);
}

/* ( and its ECMA-262 forms; PCRE2 has many more. */
static int group(struct translation *t)
{
	if (peek(t, 1) == '*')
		return refuse(t, "nothing to repeat");
	if (peek(t, 1) != '?')
		return copy(t, 1);
	int c = peek(t, 2), next = peek(t, 3);
	if (c == ':' || c == '=' || c == '!')
		return copy(t, 3);
	if (c == '<' && (next == '=' || next == '!'))
		return copy(t, 4);
	if (c == '<' && (is_letter(next) || next == '_'))
		return copy(t, 3);
	return refuse(t, "a kind of group that ECMA-262 does not have");
}

/* The length of {n}, {n,} or {n,m}, else 0: then the brace is a character. */
static size_t braces(const struct translation *t)
{
	size_t n = 1, digits = 0;
	for (; peek(t, n) >= '0' && peek(t, n) <= '9'; n++)
		digits++;
	if (digits == 0)
		return 0;
	if (peek(t, n) == ',')
		for (n++; peek(t, n) >= '0' && peek(t, n) <= '9'; n++)
			continue;
	return peek(t, n) == '}' ? n + 1 : 0;
}

static int quantifier(struct translation *t, size_t length)
{
	copy(t, length);
	if (peek(t, 0) == '?')
		copy(t, 1);
	int c = peek(t, 0);
	if (c == '+' || c == '*' || c == '?' || (c == '{' && braces(t) > 0))
		return refuse(t, "nothing to repeat");
	return 0;
}

static int translate_one(struct translation *t)
{
	switch (peek(t, 0)) {
	case '\\':
		return escape(t);
	case '[':
		return class(t);
	case '(':
		return group(t);
	case '.':
		return replace(t, 1, "[^\\n\\r\\x{2028}\\x{2029}]");
	case '*':
	case '+':
	case '?':
		return quantifier(t, 1);
	case '{':
		return braces(t) > 0 ? quantifier(t, braces(t)) : replace(t, 1, "\\{");
	default:
		return copy(t, 1);
	}
}

int pattern_translate(const char *text, size_t len, struct str *out, struct err *err)
{
	struct translation t = {.text = text, .at = text, .end = text + len, .out = out, .err = err};
	int r = 0;
	while (r == 0 && t.at < t.end)
		r = translate_one(&t);
	if (r == 0 && out->failed)
		return err_set(err, ERR_LIMIT, "the pattern is too long");
	return r;
}

static int compile_failed(int code, size_t offset, struct err *err)
{
	PCRE2_UCHAR text[160];
	pcre2_get_error_message(code, text, sizeof(text));
	bool lookbehind = code == PCRE2_ERROR_LOOKBEHIND_NOT_FIXED_LENGTH;
	bool property = code == PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY;
	return err_set(err, lookbehind || property ? ERR_UNSUPPORTED : ERR_INVALID, "pattern, about byte %zu: %s",
	               offset, (char *)text);
}

int pattern_compile(const char *text, size_t len, struct pattern **ret, struct err *err)
{
	_cleanup_(str_done) struct str translated = STR_INIT(16 * PATTERN_MAX);
	if (len > PATTERN_MAX)
		return err_set(err, ERR_LIMIT, "a pattern of %zu bytes; %d is the most", len, (int)PATTERN_MAX);
	int r = pattern_translate(text, len, &translated, err);
	if (r < 0)
		return r;
	int code;
	size_t offset;
	const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
	                         PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;
	pcre2_code *compiled =
		pcre2_compile((PCRE2_SPTR)str_peek(&translated), translated.len, options, &code, &offset, NULL);
	if (compiled == NULL)
		return compile_failed(code, offset, err);
	struct pattern *p = xcalloc(1, sizeof(*p));
	p->code = compiled;
	p->context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(p->context, MATCH_LIMIT);
	pcre2_set_depth_limit(p->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(p->context, HEAP_LIMIT_KIB);
	*ret = p;
	return 0;
}

int pattern_group_count(const struct pattern *p)
{
	uint32_t count = 0;
	pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &count);
	return (int)count;
}

static void take_spans(pcre2_match_data *data, int pairs, struct pattern_span *spans, size_t count)
{
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
	for (size_t i = 0; i < count; i++) {
		bool found = (int)i < pairs && ends[2 * i] != PCRE2_UNSET && ends[2 * i] <= ends[2 * i + 1];
		spans[i] = found ? (struct pattern_span){.from = ends[2 * i], .to = ends[2 * i + 1], .found = true}
		                 : (struct pattern_span){.found = false};
	}
}

int pattern_match(const struct pattern *p, const char *text, size_t len, struct err *err)
{
	return pattern_find(p, text, len, NULL, 0, err);
}

int pattern_find(const struct pattern *p, const char *text, size_t len, struct pattern_span *spans, size_t count,
                 struct err *err)
{
	pcre2_match_data *data =
		count == 0 ? pcre2_match_data_create(1, NULL) : pcre2_match_data_create_from_pattern(p->code, NULL);
	int r = pcre2_match(p->code, (PCRE2_SPTR)text, len, 0, 0, data, p->context);
	if (r > 0)
		take_spans(data, r, spans, count);
	pcre2_match_data_free(data);
	if (r >= 0)
		return 1;
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r == PCRE2_ERROR_MATCHLIMIT || r == PCRE2_ERROR_DEPTHLIMIT || r == PCRE2_ERROR_HEAPLIMIT)
		return err_set(err, ERR_LIMIT, "a pattern needs too many tries to be decided");
	PCRE2_UCHAR message[160];
	pcre2_get_error_message(r, message, sizeof(message));
	return err_set(err, ERR_INVALID, "a pattern cannot be matched: %s", (char *)message);
}

void pattern_free(struct pattern *p)
{
	if (p == NULL)
		return;
	pcre2_code_free(p->code);
	pcre2_match_context_free(p->context);
	free(p);
}

void pattern_freep(struct pattern **p)
{
	pattern_free(*p);
	*p = NULL;
}

const char *pattern_in_words(const char *text)
{
	static const struct {
		const char *pattern, *words;
	} known[] = {
		{"^/", "an absolute path, one that begins with '/'"},
		{"^sha256:[0-9a-f]{64}$", "a digest: sha256: and 64 digits of 0-9a-f"},
		{"^https?://", "an address that begins with http:// or https://"},
		{"^[a-z0-9][a-z0-9._-]{0,62}$", "1 to 63 of a-z, 0-9, '.', '_' and '-', with a letter or digit first"},
		{"^[A-Za-z_][A-Za-z0-9_-]*$", "letters, digits, '_' and '-', with a letter or '_' first"},
		{"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", "OWNER/NAME"},
		{"^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d)?)+$", "a duration such as 90s, 2m or 1h30m"},
		{":[0-9]{1,5}$", "HOST:PORT"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].pattern, text) == 0)
			return known[i].words;
	return NULL;
}
