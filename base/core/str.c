#include "base/core/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *str_reserve(struct str *s, size_t more)
{
	if (s->failed)
		return NULL;
	if (more > s->max || s->len > s->max - more) {
		s->failed = true;
		return NULL;
	}
	size_t need = s->len + more + 1;
	if (need > s->cap) {
		size_t want = s->cap ? s->cap * 2 : 64;
		if (want < need)
			want = need;
		if (want > s->max + 1)
			want = s->max + 1;
		if (s->wipe) {
			char *moved = xmalloc(want);
			if (s->len > 0)
				memcpy(moved, s->data, s->len);
			if (s->data != NULL)
				explicit_bzero(s->data, s->cap);
			free(s->data);
			s->data = moved;
		} else {
			s->data = xrealloc(s->data, want);
		}
		s->cap = want;
	}
	s->data[s->len] = '\0';
	return s->data + s->len;
}

bool str_append_n(struct str *s, const void *data, size_t len)
{
	char *room = str_reserve(s, len);
	if (room == NULL)
		return false;
	if (len > 0)
		memcpy(room, data, len);
	s->len += len;
	s->data[s->len] = '\0';
	return true;
}

bool str_append(struct str *s, const char *text)
{
	return str_append_n(s, text, strlen(text));
}

bool str_append_c(struct str *s, char c)
{
	return str_append_n(s, &c, 1);
}

bool str_appendf(struct str *s, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	char *room = n < 0 ? NULL : str_reserve(s, (size_t)n);
	if (room != NULL) {
		vsnprintf(room, (size_t)n + 1, fmt, again);
		s->len += (size_t)n;
	}
	va_end(again);
	if (n < 0)
		s->failed = true;
	return room != NULL;
}

bool str_append_shell(struct str *s, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
	if (word[0] != '\0' && word[strspn(word, plain)] == '\0' && strchr(word, '=') == NULL)
		return str_append(s, word);
	str_append_c(s, '\'');
	for (const char *p = word; *p != '\0'; p++) {
		if (*p == '\'')
			str_append(s, "'\\''");
		else
			str_append_c(s, *p);
	}
	return str_append_c(s, '\'');
}

/* Length of the valid UTF-8 sequence at p, 0 if it is invalid (also overlong forms and surrogates). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	if (n == 0 || p[0] > 0xf4 || left < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool str_is_utf8(const char *data, size_t len)
{
	static const uint64_t high_bits = 0x8080808080808080u;
	for (size_t i = 0; i < len;) {
		/* Most of it is ASCII: eight bytes at once. */
		uint64_t eight;
		for (; len - i >= sizeof(eight); i += sizeof(eight)) {
			memcpy(&eight, data + i, sizeof(eight));
			if ((eight & high_bits) != 0)
				break;
		}
		if (i == len)
			break;
		size_t n = utf8_sequence((const unsigned char *)data + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

/* Marks that change the direction or the order of what follows, and U+2028, U+2029: no glyph of their own. */
static bool is_format_mark(const unsigned char *p, size_t n)
{
	if (n == 2)
		return p[0] == 0xd8 && p[1] == 0x9c;
	if (n != 3 || p[0] != 0xe2)
		return false;
	return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
	       (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

static unsigned code_of(const unsigned char *p, size_t n)
{
	return n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
	              : (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
}

static bool is_control(const unsigned char *p, size_t n)
{
	return p[0] < 0x20 || p[0] == 0x7f || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

size_t str_unseen(const char *text, size_t len, unsigned *ret_code)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n = utf8_sequence(p, len);
	if (n == 0 || (!is_control(p, n) && !is_format_mark(p, n)))
		return 0;
	*ret_code = n == 1 ? p[0] : code_of(p, n);
	return n;
}

bool str_append_safe(struct str *s, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		const unsigned char *p = (const unsigned char *)text + i;
		size_t n = utf8_sequence(p, len - i);
		if (n == 0 || is_control(p, n)) {
			str_appendf(s, "\\x%02x", p[0]);
			i++;
		} else if (is_format_mark(p, n)) {
			str_appendf(s, "\\u%04x", code_of(p, n));
			i += n;
		} else {
			str_append_n(s, p, n);
			i += n;
		}
	}
	return !s->failed;
}

void str_hex(const void *data, size_t len, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = data;
	for (size_t i = 0; i < len; i++) {
		*hex++ = digits[bytes[i] >> 4];
		*hex++ = digits[bytes[i] & 15];
	}
	*hex = '\0';
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_from_hex(const char *hex, size_t len, void *ret)
{
	unsigned char *bytes = ret;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(hex[2 * i]), low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);
		if (low < 0)
			return false;
		bytes[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

void str_remove_front(struct str *s, size_t count)
{
	if (count == 0 || s->data == NULL)
		return;
	memmove(s->data, s->data + count, s->len - count + 1);
	s->len -= count;
}

void str_truncate(struct str *s, size_t len)
{
	if (len < s->len) {
		s->len = len;
		s->data[len] = '\0';
	}
}

void str_clear(struct str *s)
{
	if (s->wipe && s->data != NULL)
		explicit_bzero(s->data, s->cap);
	s->len = 0;
	s->failed = false;
	if (s->data != NULL)
		s->data[0] = '\0';
}

char *str_take(struct str *s)
{
	char *data = s->data ? s->data : xstrdup("");
	s->data = NULL;
	s->len = s->cap = 0;
	return data;
}

const char *str_peek(const struct str *s)
{
	return s->data ? s->data : "";
}

void str_done(struct str *s)
{
	if (s->wipe && s->data != NULL)
		explicit_bzero(s->data, s->cap);
	freep(&s->data);
	s->len = s->cap = 0;
}

void strv_add_take(struct strv *v, char *text)
{
	v->items = xgrow(v->items, &v->cap, v->count + 1, sizeof(v->items[0]));
	v->items[v->count++] = text;
}

void strv_add(struct strv *v, const char *text)
{
	strv_add_take(v, xstrdup(text));
}

void strv_addf(struct strv *v, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *made = NULL;
	if (vasprintf(&made, fmt, args) < 0)
		made = NULL;
	va_end(args);
	strv_add_take(v, made != NULL ? made : xstrdup(""));
}

bool strv_has(const struct strv *v, const char *text)
{
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->items[i], text) == 0)
			return true;
	return false;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *v)
{
	if (v->count > 1)
		qsort(v->items, v->count, sizeof(v->items[0]), compare_items);
}

char **strv_null_terminated(struct strv *v)
{
	v->items = xgrow(v->items, &v->cap, v->count + 1, sizeof(v->items[0]));
	v->items[v->count] = NULL;
	return v->items;
}

void strv_done(struct strv *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->items[i]);
	freep(&v->items);
	v->count = v->cap = 0;
}

enum { NEAREST_MAX = 64 };

static size_t edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
	size_t row[NEAREST_MAX + 1];
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t above = row[j];
			size_t change =
				diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
			size_t step = MIN(row[j - 1], above) + 1;
			row[j] = MIN(change, step);
			diagonal = above;
		}
	}
	return row[lb];
}

const char *str_near(const char *word, size_t edits, const char *const *names, size_t count)
{
	size_t len = strlen(word);
	if (len > NEAREST_MAX)
		return NULL;
	const char *best = NULL;
	size_t best_distance = edits + 1;
	for (size_t i = 0; i < count; i++) {
		size_t name_len = strlen(names[i]);
		if (name_len > NEAREST_MAX)
			continue;
		size_t distance = edit_distance(word, len, names[i], name_len);
		if (distance < best_distance && distance < MAX(len, name_len)) {
			best = names[i];
			best_distance = distance;
		}
	}
	return best;
}

const char *str_nearest(const char *word, const char *const *names, size_t count)
{
	return str_near(word, strlen(word) / 3 + 1, names, count);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t ls = strlen(s), lx = strlen(suffix);
	return ls >= lx && memcmp(s + ls - lx, suffix, lx) == 0;
}

bool str_glob(const char *pattern, const char *name)
{
	const char *star = NULL, *resume = NULL;
	while (*name != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			resume = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star != NULL) {
			pattern = star + 1;
			name = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

bool str_parse_i64(const char *text, long long min, long long max, long long *ret)
{
	if (!(isdigit((unsigned char)text[0]) || (text[0] == '-' && isdigit((unsigned char)text[1]))))
		return false;
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || value < min || value > max)
		return false;
	*ret = value;
	return true;
}

bool str_parse_size(const char *text, int64_t *ret_bytes)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	double value = strtod(text, &end);
	static const char units[] = "KMGTP";
	end += strspn(end, " ");
	const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
	if (unit != NULL) {
		for (long i = 0; i <= unit - units; i++)
			value *= 1024;
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end != '\0' || value >= 9.2e18)
		return false;
	*ret_bytes = (int64_t)value;
	return true;
}

int str_parse_duration_ms(const char *text, long long *ret_ms)
{
	static const struct {
		const char *unit;
		long long ms;
	} units[] = {
		{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
	};
	const long long most = 366LL * 86400000;
	long long total = 0;
	if (*text == '\0')
		return -1;
	while (*text != '\0') {
		if (!isdigit((unsigned char)*text))
			return -1;
		char *end;
		errno = 0;
		long long number = strtoll(text, &end, 10);
		if (errno != 0 || number > most)
			return -1;
		size_t len = 0;
		while (isalpha((unsigned char)end[len]))
			len++;
		long long ms = 0;
		if (len == 0 && *end == '\0' && total == 0)
			ms = 1000;
		for (size_t i = 0; i < ARRAY_SIZE(units); i++)
			if (strlen(units[i].unit) == len && strncmp(units[i].unit, end, len) == 0)
				ms = units[i].ms;
		if (ms == 0 || number > most / ms || (total += number * ms) > most)
			return -1;
		text = end + len;
	}
	*ret_ms = total;
	return 0;
}

size_t str_whole_characters(const char *text, size_t at)
{
	for (size_t back = 0; back < 4 && back < at; back++) {
		unsigned char c = (unsigned char)text[at - back];
		if ((c & 0xc0) != 0x80)
			return at - back;
	}
	return at;
}
