/* text: comparison without case like .NET's OrdinalIgnoreCase, and numbers as strings. Upper-case forms are the
 * simple mappings of Unicode, one character for one; no letter outside ASCII folds into ASCII (ı is not I). */
#include "agent/expr/expr_priv.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <wctype.h>

enum { ASCII_END = 0x80, SURROGATES = 0xd800, SUPPLEMENTARY = 0x10000 };

static locale_t unicode_locale, plain_locale;

static void make_locales(void)
{
	unicode_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	plain_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static void locales(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_locales);
}

static uint32_t upper(uint32_t c)
{
	if (c < ASCII_END)
		return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
	if (unicode_locale == (locale_t)0)
		return c;
	uint32_t up = (uint32_t)towupper_l((wint_t)c, unicode_locale);
	return up < ASCII_END ? c : up;
}

/* Decodes one character; a byte that begins none stands for itself beyond Unicode. */
static uint32_t next_char(const char **p, const char *end)
{
	const unsigned char *s = (const unsigned char *)*p;
	size_t left = (size_t)(end - *p);
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
	uint32_t c = n == 1 ? s[0] : n == 2 ? s[0] & 0x1fu : n == 3 ? s[0] & 0x0fu : s[0] & 0x07u;
	if (n == 0 || n > left) {
		(*p)++;
		return 0x110000u + s[0];
	}
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			(*p)++;
			return 0x110000u + s[0];
		}
		c = c << 6 | (s[i] & 0x3fu);
	}
	*p += n;
	return c;
}

/* Order of UTF-16 units: what lies beyond the basic plane is written with surrogates and comes before U+E000. */
static uint32_t order_of(uint32_t c)
{
	if (c >= SUPPLEMENTARY)
		return c - SUPPLEMENTARY + SURROGATES;
	return c >= SURROGATES ? c + 0x200000u : c;
}

int expr_compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	locales();
	const char *a_end = a + a_len, *b_end = b + b_len;
	while (a < a_end && b < b_end) {
		uint32_t x = upper(next_char(&a, a_end)), y = upper(next_char(&b, b_end));
		if (x != y)
			return order_of(x) < order_of(y) ? -1 : 1;
	}
	return a < a_end ? 1 : b < b_end ? -1 : 0;
}

bool expr_same_text(const char *a, const char *b)
{
	return expr_compare_text(a, strlen(a), b, strlen(b)) == 0;
}

static void append_char(struct str *out, uint32_t c)
{
	char b[4];
	size_t n = 0;
	if (c < 0x80) {
		b[n++] = (char)c;
	} else if (c < 0x800) {
		b[n++] = (char)(0xc0 | c >> 6);
		b[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		b[n++] = (char)(0xe0 | c >> 12);
		b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x110000) {
		b[n++] = (char)(0xf0 | c >> 18);
		b[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		b[n++] = (char)(c - 0x110000u);
	}
	str_append_n(out, b, n);
}

void expr_fold(const char *text, size_t len, struct str *out)
{
	locales();
	const char *end = text + len;
	while (text < end)
		append_char(out, upper(next_char(&text, end)));
}

json_t *expr_member(const json_t *object, const char *name, size_t len)
{
	if (!json_is_object(object) || memchr(name, '\0', len) != NULL)
		return NULL;
	_cleanup_free_ char *key = xstrndup(name, len);
	json_t *exact = json_object_get(object, key);
	if (exact != NULL)
		return exact;
	const char *other;
	json_t *value;
	json_object_foreach((json_t *)object, other,
	                    value) if (expr_compare_text(other, strlen(other), name, len) == 0) return value;
	return NULL;
}

const char *expr_number_text(double number, char buf[EXPR_NUMBER_SIZE])
{
	locales();
	if (isnan(number)) {
		snprintf(buf, EXPR_NUMBER_SIZE, "NaN");
	} else if (number == 0) { /* -0 too */
		snprintf(buf, EXPR_NUMBER_SIZE, "0");
	} else if (isinf(number)) {
		snprintf(buf, EXPR_NUMBER_SIZE, number > 0 ? "Infinity" : "-Infinity");
	} else {
		locale_t before = plain_locale != (locale_t)0 ? uselocale(plain_locale) : (locale_t)0;
		snprintf(buf, EXPR_NUMBER_SIZE, "%.15G", number);
		if (before != (locale_t)0)
			uselocale(before);
	}
	return buf;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* [sign] digits [. digits] [e [sign] digits], at least one digit before the exponent. */
static bool is_decimal(const char *p)
{
	if (*p == '+' || *p == '-')
		p++;
	size_t digits = 0;
	for (; is_digit(*p); p++)
		digits++;
	if (*p == '.')
		for (p++; is_digit(*p); p++)
			digits++;
	if (digits == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		if (!is_digit(*p))
			return false;
		while (is_digit(*p))
			p++;
	}
	return *p == '\0';
}

/* Hexadecimal and octal numbers are 32 bits with a sign: 0xFFFFFFFF is -1. */
static double radix_number(const char *digits, int bits_each)
{
	if (*digits == '\0')
		return NAN;
	uint64_t n = 0;
	for (const char *p = digits; *p != '\0'; p++) {
		int d = is_digit(*p)             ? *p - '0'
		        : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
		        : *p >= 'A' && *p <= 'F' ? *p - 'A' + 10
		                                 : 99;
		if (d >= 1 << bits_each)
			return NAN;
		n = n << bits_each | (uint64_t)d;
		if (n > UINT32_MAX)
			return NAN;
	}
	return (double)(int32_t)(uint32_t)n;
}

double text_to_number(const char *text, size_t len)
{
	locales();
	while (len > 0 && is_blank(text[0])) {
		text++;
		len--;
	}
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	if (len == 0)
		return 0;
	if (len > EXPR_LENGTH_MAX || memchr(text, '\0', len) != NULL)
		return NAN;
	_cleanup_free_ char *t = xstrndup(text, len);
	if (str_starts(t, "0x"))
		return radix_number(t + 2, 4);
	if (str_starts(t, "0o"))
		return radix_number(t + 2, 3);
	if (strcasecmp(t, "Infinity") == 0)
		return INFINITY;
	if (strcasecmp(t, "-Infinity") == 0)
		return -INFINITY;
	if (!is_decimal(t))
		return NAN;
	return plain_locale != (locale_t)0 ? strtod_l(t, NULL, plain_locale) : strtod(t, NULL);
}
