#include "base/git/convert.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

#include "base/git/git_priv.h"

void git_content_done(struct git_content *c)
{
	git_buf_dispose(&c->filtered);
	str_done(&c->named);
	str_done(&c->masked);
	str_done(&c->encoded);
}

void git_conversion_done(struct git_conversion *c)
{
	git_filter_list_free(c->filters);
	free(c->encoding);
	*c = (struct git_conversion){0};
}

bool git_conversion_is_none(const struct git_conversion *c)
{
	return c->filters == NULL && !c->ident && c->encoding == NULL;
}

/* ---- encodings ---- */

/* git takes "utf16le" for "UTF-16LE". */
static bool is_utf(const char *name, const char *kind)
{
	if (strncasecmp(name, "utf", 3) != 0)
		return false;
	name += 3;
	return strcasecmp(name + (*name == '-'), kind) == 0;
}

/* Names that are git's own; iconv knows the others. */
static iconv_t open_encoding(const char *encoding, struct str *out)
{
	const char *name = encoding;
	if (is_utf(encoding, "16LE-BOM")) {
		name = "UTF-16LE";
		str_append_n(out, "\xff\xfe", 2);
	} else if (is_utf(encoding, "16BE-BOM")) {
		name = "UTF-16BE";
		str_append_n(out, "\xfe\xff", 2);
	}
	iconv_t converter = iconv_open(name, "UTF-8");
	if (converter == (iconv_t)-1 && strcasecmp(name, "latin-1") == 0)
		converter = iconv_open("ISO-8859-1", "UTF-8");
	if (converter == (iconv_t)-1 && strncasecmp(name, "utf", 3) == 0 && name[3] != '-') {
		_cleanup_free_ char *dashed = xasprintf("UTF-%s", name + 3);
		converter = iconv_open(dashed, "UTF-8");
	}
	return converter;
}

/* 0, 1: not possible, or an error. */
static int encode(const char *encoding, const char *data, size_t len, struct str *out, const char *path,
                  struct err *err)
{
	iconv_t converter = open_encoding(encoding, out);
	if (converter == (iconv_t)-1)
		return 1;
	char *in = (char *)(uintptr_t)data;
	size_t left = len;
	int r = 0;
	while (left > 0 && r == 0) {
		size_t room = left * 2 + 16;
		char *to = str_reserve(out, room);
		if (to == NULL) {
			r = err_set(err, ERR_LIMIT, "%s is too large to convert", path);
			break;
		}
		size_t free_bytes = room;
		size_t n = iconv(converter, &in, &left, &to, &free_bytes);
		out->len += room - free_bytes;
		if (n == (size_t)-1 && errno != E2BIG)
			r = 1;
	}
	iconv_close(converter);
	return r;
}

/* ---- ident ---- */

/* The length of "$Id$" or of an "$Id: …$" that git made, at data; 0: neither. One that holds blanks within, or a line feed, belongs
 * to another program and stays. */
static size_t keyword(const char *data, size_t len)
{
	if (len < 4 || memcmp(data, "$Id", 3) != 0)
		return 0;
	if (data[3] == '$')
		return 4;
	if (data[3] != ':')
		return 0;
	const char *end = memchr(data + 4, '$', len - 4);
	if (end == NULL || memchr(data + 4, '\n', (size_t)(end - data) - 4) != NULL)
		return 0;
	const char *blank = end - data > 5 ? memchr(data + 5, ' ', (size_t)(end - data) - 5) : NULL;
	return blank != NULL && blank < end - 1 ? 0 : (size_t)(end - data) + 1;
}

/* Offset at which the next keyword may begin, after a '$' that begins none. git has two readers: the one used without an encoding
 * does not look again at the character that broke off a beginning, so that "$$Id$" stays; the other one does. */
static size_t broken_off(const char *data, size_t len, bool streams)
{
	static const char head[] = "$Id";
	size_t n = 1;
	while (streams && n < 3 && n < len && data[n] == head[n])
		n++;
	if (n == 3 && n < len && data[n] == ':') {
		/* The '$' that ends a keyword of another program begins none. */
		while (n < len && data[n] != '\n' && data[n] != '$')
			n++;
	}
	return MIN(len, streams ? n + 1 : n);
}

static int expand(const git_oid *id, const char *path, bool streams, struct git_content *c, struct err *err)
{
	char hex[GIT_HEX];
	git_oid_tostr(hex, sizeof(hex), id);
	const char *at = c->data, *end = c->data + c->len;
	while (at < end) {
		size_t n = keyword(at, (size_t)(end - at));
		if (n > 0) {
			str_appendf(&c->named, "$Id: %s $", hex);
			at += n;
			continue;
		}
		n = *at == '$' ? broken_off(at, (size_t)(end - at), streams) : 1;
		const char *next = at + n < end ? memchr(at + n, '$', (size_t)(end - at) - n) : NULL;
		n = (size_t)((next ? next : end) - at);
		str_append_n(&c->named, at, n);
		at += n;
	}
	if (c->named.failed)
		return err_set(err, ERR_LIMIT, "%s is too large to convert", path);
	c->data = str_peek(&c->named);
	c->len = c->named.len;
	return 0;
}

/* libgit2's filters include an ident filter, which writes another form: it must not find any keyword. Line-end conversion does not
 * change the order of the keywords. */
static const char ours[] = "$Id", hidden[] = "$iD";

static void hide(const struct git_content *c, struct str *out, struct str *which)
{
	str_append_n(out, c->data, c->len);
	for (size_t i = 0; i + 3 <= out->len; i++) {
		bool is_ours = memcmp(out->data + i, ours, 3) == 0;
		if (is_ours)
			memcpy(out->data + i, hidden, 3);
		if (is_ours || memcmp(out->data + i, hidden, 3) == 0)
			str_append_c(which, is_ours ? '1' : '0');
	}
}

static void show(git_buf *buf, const struct str *which)
{
	size_t n = 0;
	for (size_t i = 0; i + 3 <= buf->size && n < which->len; i++)
		if (memcmp(buf->ptr + i, hidden, 3) == 0 && which->data[n++] == '1')
			memcpy(buf->ptr + i, ours, 3);
}

static int convert_lines(const struct git_conversion *c, const char *path, struct git_content *ret, struct err *err)
{
	struct str which _cleanup_(str_done) = STR_INIT(GIT_CONVERTED_MAX);
	if (c->ident) {
		hide(ret, &ret->masked, &which);
		if (ret->masked.failed || which.failed)
			return err_set(err, ERR_LIMIT, "%s is too large to convert", path);
		ret->data = str_peek(&ret->masked);
	}
	int r = git_filter_list_apply_to_buffer(&ret->filtered, c->filters, ret->data, ret->len);
	if (r != 0)
		return git_area_error(err, r, path);
	ret->data = ret->filtered.ptr;
	ret->len = ret->filtered.size;
	if (c->ident)
		show(&ret->filtered, &which);
	return 0;
}

/* ---- the whole ---- */

int git_conversion_find(git_repository *repo, const git_oid *commit, git_blob *blob, const char *path,
                        struct git_conversion *ret, struct err *err)
{
	static const char *names[] = {"ident", "working-tree-encoding"};
	const char *values[ARRAY_SIZE(names)];
	git_filter_options options;
	git_attr_options attributes;
	memset(&options, 0, sizeof(options));
	options.version = GIT_FILTER_OPTIONS_VERSION;
	options.flags = GIT_FILTER_ATTRIBUTES_FROM_COMMIT;
	options.attr_commit_id = *commit;
	int r = git_filter_list_load_ext(&ret->filters, repo, blob, path, GIT_FILTER_TO_WORKTREE, &options);
	memset(&attributes, 0, sizeof(attributes));
	attributes.version = GIT_ATTR_OPTIONS_VERSION;
	attributes.flags = GIT_ATTR_CHECK_INCLUDE_COMMIT | GIT_ATTR_CHECK_NO_SYSTEM;
	attributes.attr_commit_id = *commit;
	if (r == 0)
		r = git_attr_get_many_ext(values, repo, &attributes, path, ARRAY_SIZE(names), names);
	if (r != 0) {
		git_conversion_done(ret);
		return git_area_error(err, r, path);
	}
	ret->ident = git_attr_value(values[0]) == GIT_ATTR_VALUE_TRUE;
	if (git_attr_value(values[1]) == GIT_ATTR_VALUE_STRING && !is_utf(values[1], "8"))
		ret->encoding = xstrdup(values[1]);
	return 0;
}

int git_convert(const struct git_conversion *c, const git_oid *id, const char *path, struct git_content *ret,
                struct err *err)
{
	int r = 0;
	if (c->ident)
		r = expand(id, path, c->encoding == NULL, ret, err);
	if (r == 0 && c->filters != NULL && ret->len > 0)
		r = convert_lines(c, path, ret, err);
	if (r < 0 || c->encoding == NULL || ret->len == 0)
		return r;
	r = encode(c->encoding, ret->data, ret->len, &ret->encoded, path, err);
	ret->unencoded = r > 0;
	if (r == 0) {
		ret->data = str_peek(&ret->encoded);
		ret->len = ret->encoded.len;
	}
	return MIN(r, 0);
}
