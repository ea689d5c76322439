/* Env files, in the dialect of who reads them. A value of nothing but letters, digits and _./:@%+,=- is bare in each; else:
 *   any       'literal', line breaks included; with ' in it or a backslash at its end "with \ " and $ escaped by a backslash", which sh
 *             would run where it holds a `: that is refused, with a hint (a dialect, or format: file or dir)
 *   compose   the same; there ` is an ordinary character
 *   sh        'literal', and ' as '\''
 *   systemd   'literal'; with ' in it "with \ " $ and ` escaped by a backslash"
 * An existing file is kept byte for byte; only the lines of keys that are set are replaced. */
#include "steps/secret_write/secret_write.h"

#include <ctype.h>

bool env_is_name(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name != '\0'; name++) {
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	}
	return true;
}

static bool is_bare(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)value[i]) && (value[i] == '\0' || strchr("_./:@%+,=-", value[i]) == NULL))
			return false;
	}
	return len > 0;
}

/* Inside of single quotes everything is literal; some end them by a ' only, some also take a backslash before it. */
static bool is_literal(enum secret_write_dialect dialect, const char *value, size_t len)
{
	bool ends_badly = len > 0 && value[len - 1] == '\\' &&
	                  (dialect == SECRET_WRITE_DIALECT_ANY || dialect == SECRET_WRITE_DIALECT_COMPOSE);
	return memchr(value, '\'', len) == NULL && !ends_badly;
}

int env_value_check(enum secret_write_dialect dialect, const char *name, const char *value, size_t len, struct err *err)
{
	if (memchr(value, '\0', len) != NULL)
		return err_hint(err,
		                err_set(err, ERR_UNSUPPORTED,
		                        "the value of '%s' holds a NUL, which no env file can carry", name),
		                "write it with `format: file` or `dir`");
	if (dialect == SECRET_WRITE_DIALECT_ANY && !is_literal(dialect, value, len) && memchr(value, '`', len) != NULL)
		return err_hint(
			err,
			err_set(err, ERR_UNSUPPORTED,
		                "the value of '%s' holds both ' and `, which sh, systemd and Compose do not read alike",
		                name),
			"say in `dialect:` which of them reads the file, or write it with `format: file` or `dir`");
	return 0;
}

static void quote_for_sh(const char *value, size_t len, struct str *out)
{
	str_append_c(out, '\'');
	for (size_t i = 0; i < len; i++) {
		if (value[i] == '\'')
			str_append(out, "'\\''");
		else
			str_append_c(out, value[i]);
	}
	str_append_c(out, '\'');
}

static void quote_double(enum secret_write_dialect dialect, const char *value, size_t len, struct str *out)
{
	const char *escaped = dialect == SECRET_WRITE_DIALECT_SYSTEMD ? "\\\"$`" : "\\\"$";
	str_append_c(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (strchr(escaped, value[i]) != NULL)
			str_append_c(out, '\\');
		str_append_c(out, value[i]);
	}
	str_append_c(out, '"');
}

int env_quote(enum secret_write_dialect dialect, const char *name, const char *value, size_t len, struct str *out,
              struct err *err)
{
	int r = env_value_check(dialect, name, value, len, err);
	if (r < 0)
		return r;
	str_append(out, name);
	str_append_c(out, '=');
	if (is_bare(value, len))
		str_append_n(out, value, len);
	else if (dialect == SECRET_WRITE_DIALECT_SH || is_literal(dialect, value, len))
		quote_for_sh(value, len, out);
	else
		quote_double(dialect, value, len, out);
	str_append_c(out, '\n');
	return out->failed ? err_set(err, ERR_LIMIT, "the env file is too large") : 0;
}

static const char *read_single(const char *p, const char *end, struct str *out)
{
	const char *close = memchr(p, '\'', (size_t)(end - p));
	if (close == NULL)
		return NULL;
	str_append_n(out, p, (size_t)(close - p));
	return close + 1;
}

static const char *read_double(const char *p, const char *end, struct str *out)
{
	for (; p < end && *p != '"'; p++) {
		if (*p != '\\' || p + 1 == end) {
			str_append_c(out, *p);
			continue;
		}
		p++;
		if (*p == '\n')
			continue;
		if (strchr("\"\\$`", *p) == NULL || *p == '\0')
			str_append_c(out, '\\');
		str_append_c(out, *p);
	}
	return p < end ? p + 1 : NULL;
}

/* Starts after the `=`; returns the line's end, after its line feed, or NULL when a quote is never closed. */
static const char *read_value(const char *p, const char *end, struct str *out)
{
	while (p < end && *p != '\n') {
		if (*p == '\'' || *p == '"') {
			p = *p == '\'' ? read_single(p + 1, end, out) : read_double(p + 1, end, out);
			if (p == NULL)
				return NULL;
		} else if (*p == '\\' && p + 1 < end && p[1] != '\n') {
			str_append_c(out, p[1]);
			p += 2;
		} else if (isspace((unsigned char)*p)) {
			/* Blanks end the value; a comment may follow. Anything else belongs to it (`KEY=a b`), as
			 * Compose reads it. */
			const char *blank = p;
			while (p < end && *p != '\n' && isspace((unsigned char)*p))
				p++;
			if (p == end || *p == '\n')
				break;
			if (*p == '#') {
				const char *newline = memchr(p, '\n', (size_t)(end - p));
				p = newline != NULL ? newline : end;
				break;
			}
			str_append_n(out, blank, (size_t)(p - blank));
		} else {
			str_append_c(out, *p++);
		}
	}
	return p < end ? p + 1 : end;
}

/* The name of an assignment, else NULL; ret_value: the part after the `=`. */
static char *read_name(const char *p, const char *end, const char **ret_value)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if ((size_t)(end - p) > 7 && memcmp(p, "export ", 7) == 0)
		p += 7;
	const char *start = p;
	while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
		p++;
	if (p == start || p == end || *p != '=' || isdigit((unsigned char)*start))
		return NULL;
	*ret_value = p + 1;
	return xstrndup(start, (size_t)(p - start));
}

static size_t line_number(const char *data, const char *at)
{
	size_t line = 1;
	for (; data < at; data++)
		line += *data == '\n';
	return line;
}

int env_read(const char *data, size_t len, struct env_file *ret, struct err *err)
{
	*ret = (struct env_file){.text = STR_SECRET_INIT(SECRET_MAX_FILE)};
	str_append_n(&ret->text, data, len);
	if (ret->text.failed)
		return err_set(err, ERR_LIMIT, "the env file is larger than %d bytes", SECRET_MAX_FILE);
	const char *start = str_peek(&ret->text), *end = start + len, *p = start;
	while (p < end) {
		ret->lines = xgrow(ret->lines, &ret->cap, ret->count + 1, sizeof(*ret->lines));
		struct env_line *line = &ret->lines[ret->count++];
		*line = (struct env_line){.start = (size_t)(p - start), .value = STR_SECRET_INIT(SECRET_MAX_VALUE)};
		const char *value = NULL;
		line->name = read_name(p, end, &value);
		if (line->name != NULL) {
			const char *next = read_value(value, end, &line->value);
			if (next == NULL)
				return err_hint(
					err,
					err_set(err, ERR_INVALID,
				                "line %zu of the file that is there: the quote of '%s' is never closed",
				                line_number(start, p), line->name),
					"fix the file, or remove it");
			p = next;
		} else {
			const char *newline = memchr(p, '\n', (size_t)(end - p));
			p = newline != NULL ? newline + 1 : end;
		}
		line->readable = !line->value.failed;
		line->end = (size_t)(p - start);
	}
	return 0;
}

const struct env_line *env_find(const struct env_file *f, const char *name)
{
	for (size_t i = f->count; i > 0; i--) {
		if (f->lines[i - 1].name != NULL && strcmp(f->lines[i - 1].name, name) == 0)
			return &f->lines[i - 1];
	}
	return NULL;
}

void env_file_done(struct env_file *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->lines[i].name);
		str_done(&f->lines[i].value);
	}
	free(f->lines);
	str_done(&f->text);
	*f = (struct env_file){0};
}
