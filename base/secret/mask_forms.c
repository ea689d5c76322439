#include "base/secret/mask_forms.h"

#include "base/secret/base64.h"

enum {
	FORM_MAX = 8 << 20, /* six bytes for one at worst, of SECRET_MAX */
	PART_MIN = 6,       /* a shorter part of a connection string is not a secret */
	HEX_MIN = 4,        /* the hex form of less could be any number */
	QUOTED_MIN = 9,
};

struct forms {
	const char *value;
	size_t len;
	struct str text;
	mask_form_fn add;
	void *context;
};

static void flush(struct forms *f)
{
	if (!f->text.failed && f->text.len > 0)
		f->add(f->context, f->text.data, f->text.len);
	str_clear(&f->text);
}

/* The tail of the value at any of the three alignments shows up in Base64("user:" + value). */
static void add_base64(struct forms *f)
{
	for (size_t skip = 0; skip < 3; skip++) {
		size_t from = skip < f->len ? skip : 0;
		base64_encode(f->value + from, f->len - from, &f->text);
		flush(f);
	}
}

/* As `echo "$SECRET" | base64` and xxd, od and their like print it, in lower and upper case. */
static void add_base64_line(struct forms *f)
{
	_cleanup_(str_done) struct str line = STR_SECRET_INIT(FORM_MAX);
	str_append_n(&line, f->value, f->len);
	str_append_c(&line, '\n');
	for (size_t skip = 0; skip < 3 && skip < line.len; skip++) {
		base64_encode(line.data + skip, line.len - skip, &f->text);
		flush(f);
	}
}

static void add_hex(struct forms *f)
{
	if (f->len < HEX_MIN)
		return;
	for (int upper = 0; upper < 2; upper++) {
		for (size_t i = 0; i < f->len; i++)
			str_appendf(&f->text, upper ? "%02X" : "%02x", (unsigned char)f->value[i]);
		flush(f);
	}
}

static void add_replaced(struct forms *f, char c, const char *by)
{
	for (size_t i = 0; i < f->len; i++) {
		if (f->value[i] == c)
			str_append(&f->text, by);
		else
			str_append_c(&f->text, f->value[i]);
	}
	flush(f);
}

/* U+0085, U+2028, U+2029 are line ends to the service's JSON writer, which escapes them. Returns the bytes taken, 0:
 * none. */
static size_t json_line_end(const char *p, size_t left, const char **escape)
{
	if (left >= 2 && memcmp(p, "\xc2\x85", 2) == 0) {
		*escape = "\\u0085";
		return 2;
	}
	if (left >= 3 && memcmp(p, "\xe2\x80\xa8", 3) == 0) {
		*escape = "\\u2028";
		return 3;
	}
	if (left >= 3 && memcmp(p, "\xe2\x80\xa9", 3) == 0) {
		*escape = "\\u2029";
		return 3;
	}
	return 0;
}

static void append_json_char(struct str *out, unsigned char c)
{
	static const char plain[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
	const char *at = c != '\0' ? strchr(plain, c) : NULL;
	if (at != NULL)
		str_appendf(out, "\\%c", letters[at - plain]);
	else if (c < 0x20)
		str_appendf(out, "\\u%04x", c);
	else
		str_append_c(out, (char)c);
}

static void add_json(struct forms *f)
{
	for (size_t i = 0; i < f->len;) {
		const char *escape = NULL;
		size_t n = json_line_end(f->value + i, f->len - i, &escape);
		if (n > 0) {
			str_append(&f->text, escape);
			i += n;
		} else {
			append_json_char(&f->text, (unsigned char)f->value[i++]);
		}
	}
	flush(f);
}

static void add_uri(struct forms *f)
{
	for (size_t i = 0; i < f->len; i++) {
		unsigned char c = (unsigned char)f->value[i];
		bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		             c == '.' || c == '_' || c == '~';
		if (plain)
			str_append_c(&f->text, (char)c);
		else
			str_appendf(&f->text, "%%%02X", c);
	}
	flush(f);
}

static void add_xml(struct forms *f)
{
	static const struct {
		char c;
		const char *entity;
	} entities[] = {
		{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&apos;"},
	};
	for (size_t i = 0; i < f->len; i++) {
		const char *entity = NULL;
		for (size_t k = 0; k < ARRAY_SIZE(entities); k++)
			if (entities[k].c == f->value[i])
				entity = entities[k].entity;
		if (entity != NULL)
			str_append(&f->text, entity);
		else
			str_append_c(&f->text, f->value[i]);
	}
	flush(f);
}

static void add_unquoted(struct forms *f)
{
	if (f->len >= QUOTED_MIN && f->value[0] == '"' && f->value[f->len - 1] == '"') {
		str_append_n(&f->text, f->value + 1, f->len - 2);
		flush(f);
	}
}

/* PowerShell prints a command with `&` in two parts: up to the first "&+" (else the last "&"), and after it. */
static void add_ampersand_parts(struct forms *f)
{
	const char *plus = memmem(f->value, f->len, "&+", 2);
	const char *last = memrchr(f->value, '&', f->len);
	if (last == NULL)
		return;
	const char *end = f->value + f->len;
	const char *head_end = plus != NULL ? plus + 2 : last + 1;
	const char *tail = plus != NULL ? MIN(plus + 3, end) : last + 1;
	if (head_end - f->value >= PART_MIN) {
		str_append_n(&f->text, f->value, (size_t)(head_end - f->value));
		flush(f);
	}
	if (end - tail >= PART_MIN) {
		str_append_n(&f->text, tail, (size_t)(end - tail));
		flush(f);
	}
}

void mask_forms(const char *value, size_t len, mask_form_fn add, void *context)
{
	struct forms f = {
		.value = value, .len = len, .text = STR_SECRET_INIT(FORM_MAX), .add = add, .context = context};
	add_base64(&f);
	add_base64_line(&f);
	add_hex(&f);
	add_replaced(&f, '"', "\\\"");
	add_replaced(&f, '\'', "''");
	add_json(&f);
	add_uri(&f);
	add_xml(&f);
	add_unquoted(&f);
	add_ampersand_parts(&f);
	str_done(&f.text);
}
