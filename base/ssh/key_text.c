/* Private keys come through forms, secret stores and environment files that turn line ends into blanks, write them as two
 * characters, indent, quote or encode them. The body is Base64, where blanks mean nothing: the text is rebuilt from its
 * label and its body. An ambiguous text is refused, with the reason. */
#include "base/secret/base64.h"
#include "base/ssh/ssh_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 40, LINE_WIDTH = 64, TEXT_MAX = 128 * 1024 };

static const char begin[] = "-----BEGIN ", end[] = "-----END", dashes[] = "-----";

static int refuse(const char *hint, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(const char *hint, struct err *err, const char *fmt, ...)
{
	char why[200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	int r = err_set(err, ERR_INVALID, "the private key cannot be read: %s", why);
	return err_hint(err, r, "%s",
	                hint != NULL ? hint
	                             : "give the whole text of the file that ssh-keygen -t ed25519 wrote, from "
	                               "-----BEGIN to -----END");
}

static void note(struct str *notes, const char *what)
{
	if (notes != NULL && strstr(str_peek(notes), what) == NULL)
		str_appendf(notes, "%s%s", notes->len > 0 ? ", " : "", what);
}

static void trim(const char **text, size_t *len)
{
	while (*len > 0 && isspace((unsigned char)**text)) {
		++*text;
		--*len;
	}
	while (*len > 0 && isspace((unsigned char)(*text)[*len - 1]))
		--*len;
}

/* Removes a byte order mark and quotes, turns \n into line ends; into out without CR. */
static void unwrap(const char *text, size_t len, struct str *out, struct str *notes)
{
	trim(&text, &len);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
		note(notes, "a byte order mark");
		trim(&text, &len);
	}
	if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
		text++;
		len -= 2;
		note(notes, "quotes around it");
		trim(&text, &len);
	}
	for (size_t i = 0; i < len; i++) {
		size_t slashes = 0;
		while (i + slashes < len && text[i + slashes] == '\\')
			slashes++;
		char next = slashes > 0 && i + slashes < len ? text[i + slashes] : '\0';
		if (next == 'n' || next == 'r') {
			str_append_c(out, '\n');
			i += slashes;
			note(notes, "line ends written as \\n");
		} else if (text[i] == '\r') {
			note(notes, "CRLF line ends");
			str_append_c(out, '\n');
		} else {
			str_append_c(out, text[i]);
		}
	}
}

/* The whole text is once more in Base64, as people do to pass it in one line. */
static void decode_around(struct str *text, struct str *notes)
{
	_cleanup_(str_done) struct str inner = STR_SECRET_INIT(TEXT_MAX), plain = STR_SECRET_INIT(TEXT_MAX);
	if (text->len == 0 || base64_decode(text->data, text->len, &inner, NULL) < 0 ||
	    memchr(str_peek(&inner), '\0', inner.len) != NULL || strstr(str_peek(&inner), begin) == NULL)
		return;
	note(notes, "Base64 around it");
	unwrap(inner.data, inner.len, &plain, notes);
	str_clear(text);
	str_append_n(text, str_peek(&plain), plain.len);
}

static int other_form(const char *text, struct err *err)
{
	if (*text == '\0')
		return refuse(NULL, err, "it is empty");
	if (str_starts(text, "ssh-") || str_starts(text, "ecdsa-") || str_starts(text, "sk-"))
		return refuse(NULL, err, "this is a public key");
	if (str_starts(text, "PuTTY-User-Key-File"))
		return refuse("write it as OpenSSH does: puttygen KEY.ppk -O private-openssh -o KEY", err,
		              "it is in PuTTY's format");
	if (str_starts(text, "---- BEGIN SSH2"))
		return refuse("write it as OpenSSH does: ssh-keygen -i -f FILE", err, "it is in the format of SSH2");
	if (strstr(text, begin) != NULL)
		return refuse(NULL, err, "something stands before -----BEGIN");
	if (strchr(text, '\n') == NULL && (*text == '/' || *text == '~' || str_starts(text, "./")))
		return refuse("name the file by key_file", err, "this is a path");
	return refuse(NULL, err, "it does not begin with -----BEGIN");
}

/* "-----BEGIN LABEL-----" at *text; moves past it. */
static int take_label(const char **text, char label[LABEL_MAX + 1], struct err *err)
{
	const char *name = *text + sizeof(begin) - 1, *stop = strstr(name, dashes);
	size_t len = stop != NULL ? (size_t)(stop - name) : 0;
	if (stop == NULL || len == 0 || len > LABEL_MAX || memchr(name, '-', len) != NULL)
		return refuse(NULL, err, "its first line is damaged");
	memcpy(label, name, len);
	label[len] = '\0';
	for (char *c = label; *c != '\0'; c++)
		if (isspace((unsigned char)*c))
			*c = ' ';
	*text = stop + sizeof(dashes) - 1;
	return 0;
}

/* The two headers of an old PEM file keep their lines. */
static bool take_header(const char **body, size_t *len, struct str *out)
{
	static const char *const known[] = {"Proc-Type:", "DEK-Info:"};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t name = strlen(known[i]);
		if (*len < name || memcmp(*body, known[i], name) != 0)
			continue;
		*body += name;
		*len -= name;
		trim(body, len);
		size_t n = 0;
		while (n < *len && !isspace((unsigned char)(*body)[n]))
			n++;
		str_appendf(out, "%s %.*s\n", known[i], (int)n, *body);
		*body += n;
		*len -= n;
		trim(body, len);
		return true;
	}
	return false;
}

static int rebuild_body(const char *body, size_t len, struct str *out, struct str *notes, struct err *err)
{
	bool headers = false, line_ends = false, blanks = false;
	size_t column = 0;
	trim(&body, &len);
	for (size_t i = 0; i < len; i++) {
		line_ends |= body[i] == '\n';
		blanks |= body[i] == ' ' || body[i] == '\t';
	}
	while (take_header(&body, &len, out))
		headers = true;
	if (headers)
		str_append(out, "\n");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)body[i];
		if (isspace(c))
			continue;
		if (!isalnum(c) && c != '+' && c != '/' && c != '=')
			return c > ' ' && c < 127 ? refuse(NULL, err, "it holds a '%c', which no key has", c)
			                          : refuse(NULL, err, "it holds a byte %02x, which no key has", c);
		str_append_c(out, (char)c);
		if (++column == LINE_WIDTH) {
			str_append_c(out, '\n');
			column = 0;
		}
	}
	if (column > 0)
		str_append_c(out, '\n');
	if (blanks && !headers)
		note(notes, line_ends ? "blanks in its lines" : "blanks in place of line ends");
	else if (!line_ends && len > 2 * LINE_WIDTH)
		note(notes, "missing line ends");
	return len > 0 ? 0 : refuse(NULL, err, "nothing follows its first line");
}

static int rebuild(const char *text, const char *label, struct str *out, struct str *notes, struct err *err)
{
	_cleanup_free_ char *last = xasprintf("-----END %s-----", label);
	const char *stop = strstr(text, dashes), *rest = "";
	size_t len = stop != NULL ? (size_t)(stop - text) : strlen(text);
	/* Cut somewhere in its last line, or before it: the body's own lengths tell if it is complete. */
	if (stop != NULL && str_starts(stop, last))
		rest = stop + strlen(last);
	else if (stop != NULL && strncmp(stop, end, MIN(strlen(stop), sizeof(end) - 1)) != 0)
		return refuse(NULL, err, "its end is missing");
	else if (stop != NULL && strlen(stop) >= strlen(last))
		return refuse(NULL, err, "its last line does not fit its first one");
	else
		note(notes, "a missing last line");
	while (isspace((unsigned char)*rest))
		rest++;
	if (strstr(rest, begin) != NULL)
		return refuse(NULL, err, "it holds more than one key");
	if (*rest != '\0')
		note(notes, "text after it");
	str_appendf(out, "-----BEGIN %s-----\n", label);
	int r = rebuild_body(text, len, out, notes, err);
	if (r < 0)
		return r;
	str_appendf(out, "%s\n", last);
	return out->failed ? refuse(NULL, err, "it is longer than 64 KiB") : 0;
}

int ssh_key_mend(const char *text, struct str *ret_text, struct str *ret_notes, struct err *err)
{
	_cleanup_(str_done) struct str plain = STR_SECRET_INIT(TEXT_MAX);
	char label[LABEL_MAX + 1];
	unwrap(text, strlen(text), &plain, ret_notes);
	if (strstr(str_peek(&plain), begin) == NULL)
		decode_around(&plain, ret_notes);
	if (plain.failed)
		return refuse(NULL, err, "it is longer than 64 KiB");
	const char *at = str_peek(&plain);
	if (!str_starts(at, begin))
		return other_form(at, err);
	int r = take_label(&at, label, err);
	/* openssl ecparam writes the curve in front of the key. */
	if (r == 0 && strcmp(label, "EC PARAMETERS") == 0) {
		at = strstr(at, begin);
		if (at == NULL)
			return refuse(NULL, err, "it holds the parameters of a key only");
		r = take_label(&at, label, err);
	}
	if (r < 0)
		return r;
	if (!str_ends(label, "PRIVATE KEY"))
		return refuse(NULL, err, "this is a %s", label);
	return rebuild(at, label, ret_text, ret_notes, err);
}
