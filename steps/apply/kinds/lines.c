/* Lines in a file of which the rest belongs to others. The change is that of a file, so it is made whole and taken back whole. */
#include "schemas/resources/lines.h"
#include "base/data/schema/pattern.h"
#include "base/secret/digest.h"
#include "base/secret/mask.h"
#include "steps/apply/kinds/path.h"

enum { MAX_FILE = 8 << 20, NEW_FILE = 0644 };

/* ---- the input ---- */

static void validate_line(const struct resource *r, const char *member, const char *line,
                          const struct resource_faults *f)
{
	if (strpbrk(line, "\r\n") != NULL)
		resource_fault(f, r, member, "a line of '%s' holds the end of a line", r->id);
	if (mask_finds(mask_process(), line, strlen(line))) {
		resource_fault(f, r, member, "a line of '%s' holds a secret", r->id);
		faults_hint(f->faults, "write it with secret-write, which keeps it out of plan, journal and reports");
	}
}

/* A pattern that did not fit the line itself would find another one to change each time. */
static void validate_match(const struct resource *r, const struct resource_lines_lines *item,
                           const struct resource_faults *f)
{
	_cleanup_(pattern_freep) struct pattern *pattern = NULL;
	struct err err = ERR_INIT;
	char line[300];
	if (item->match == NULL)
		return;
	int e = pattern_compile(item->match, strlen(item->match), &pattern, &err);
	if (e == 0)
		e = pattern_match(pattern, item->line, strlen(item->line), &err);
	if (e < 0)
		resource_fault(f, r, "lines", "`match` of '%s': %s", item->line, err_line(&err, line, sizeof(line)));
	else if (e == 0)
		resource_fault(f, r, "lines", "`match` does not fit its own line '%s'", item->line);
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_lines *in = r->in;
	for (size_t i = 0; i < in->lines_count; i++) {
		validate_line(r, "lines", in->lines[i].line, f);
		validate_match(r, &in->lines[i], f);
		for (size_t k = 0; k < in->absent.count; k++)
			if (strcmp(in->absent.items[k], in->lines[i].line) == 0)
				resource_fault(f, r, "absent", "'%s' shall be in '%s' and shall not",
				               in->absent.items[k], r->id);
	}
	for (size_t i = 0; i < in->absent.count; i++)
		validate_line(r, "absent", in->absent.items[i], f);
}

/* ---- the file ---- */

/* Its lines without their line feeds. A carriage return before one stays with its line, and is no part of what is looked for: a file of
 * Windows stays one, and a file of both kinds keeps each line's. */
struct text {
	struct strv lines;
	bool ended;   /* the last line has an end, or there is none */
	bool returns; /* what is added gets a carriage return, as the last whole line has one */
};

static void text_done(struct text *t)
{
	strv_done(&t->lines);
}

static size_t line_len(const char *line)
{
	size_t len = strlen(line);
	return len > 0 && line[len - 1] == '\r' ? len - 1 : len;
}

static bool is_line(const char *there, const char *line)
{
	return line_len(there) == strlen(line) && memcmp(there, line, strlen(line)) == 0;
}

static bool is_windows(const char *line)
{
	return line[line_len(line)] == '\r';
}

static void split(const struct str *content, struct text *ret)
{
	const char *at = str_peek(content), *end = at + content->len;
	ret->ended = content->len == 0 || end[-1] == '\n';
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
		strv_add_take(&ret->lines, xstrndup(at, len));
		if (newline != NULL)
			ret->returns = is_windows(ret->lines.items[ret->lines.count - 1]);
		at += len + 1;
	}
}

static void join(const struct text *t, struct str *out)
{
	str_clear(out);
	for (size_t i = 0; i < t->lines.count; i++)
		str_appendf(out, "%s%s", t->lines.items[i], i + 1 < t->lines.count || t->ended ? "\n" : "");
}

/* With the carriage return that a line of its kind has. */
static void put(char **item, const char *line, bool returns)
{
	char *whole = xasprintf("%s%s", line, returns ? "\r" : "");
	free(*item);
	*item = whole;
}

static void add(struct text *t, const char *line)
{
	char *whole = NULL;
	if (!t->ended && t->returns)
		put(&t->lines.items[t->lines.count - 1], t->lines.items[t->lines.count - 1], true);
	put(&whole, line, t->returns);
	strv_add_take(&t->lines, whole);
	t->ended = true;
}

static bool has(const struct strv *lines, const char *line)
{
	for (size_t i = 0; i < lines->count; i++)
		if (is_line(lines->items[i], line))
			return true;
	return false;
}

static void remove_all(struct strv *lines, const char *line)
{
	size_t kept = 0;
	for (size_t i = 0; i < lines->count; i++) {
		if (is_line(lines->items[i], line))
			free(lines->items[i]);
		else
			lines->items[kept++] = lines->items[i];
	}
	lines->count = kept;
}

/* The last line that the pattern fits; the count where there is none. */
static int find(const struct strv *lines, const char *match, size_t *ret, struct err *err)
{
	_cleanup_(pattern_freep) struct pattern *pattern = NULL;
	int r = pattern_compile(match, strlen(match), &pattern, err);
	*ret = lines->count;
	for (size_t i = lines->count; r == 0 && i-- > 0;) {
		r = pattern_match(pattern, lines->items[i], line_len(lines->items[i]), err);
		if (r > 0)
			*ret = i;
	}
	return r < 0 ? r : 0;
}

static int set_line(struct text *t, const struct resource_lines_lines *item, struct err *err)
{
	size_t at = t->lines.count;
	int r = item->match != NULL ? find(&t->lines, item->match, &at, err) : 0;
	if (r < 0)
		return r;
	if (at < t->lines.count)
		put(&t->lines.items[at], item->line, is_windows(t->lines.items[at]));
	else if (!has(&t->lines, item->line))
		add(t, item->line);
	return 0;
}

static int edit(const struct resource *r, struct str *content, struct err *err)
{
	const struct resource_lines *in = r->in;
	_cleanup_(text_done) struct text text = {0};
	int e = 0;
	if (content->len > 0 && memchr(content->data, '\0', content->len) != NULL)
		return err_set(err, ERR_INVALID, "'%s' is no file of lines: it holds a NUL", r->id);
	split(content, &text);
	for (size_t i = 0; i < in->absent.count; i++)
		remove_all(&text.lines, in->absent.items[i]);
	for (size_t i = 0; e == 0 && i < in->lines_count; i++)
		e = set_line(&text, &in->lines[i], err);
	if (e == 0)
		join(&text, content);
	return e;
}

static void input_digest(const struct resource *r, char hex[DIGEST_HEX])
{
	_cleanup_json_ json_t *in = fields_write_whole(r->type->choice.table, r->in);
	_cleanup_free_ char *text = json_canonical(in);
	digest_of(text, strlen(text), hex);
}

static void remember(const struct resource *r, json_t *row)
{
	char hex[DIGEST_HEX];
	input_digest(r, hex);
	json_object_set_new(row, "input", json_string(hex));
}

static bool same_text(const json_t *row, const char *name, const char *text)
{
	const char *recorded = json_get_string(row, name);
	return recorded != NULL && text != NULL && strcmp(recorded, text) == 0;
}

/* The content that these lines were brought into is still there: it need not be read, which would be a round trip for each file. */
static bool is_settled(const struct resource_call *x, const struct resource *r, const json_t *before)
{
	char hex[DIGEST_HEX];
	input_digest(r, hex);
	return same_text(x->row, "digest", json_get_string(before, "digest")) && same_text(x->row, "input", hex);
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	const struct path_owner owner = {NULL, NULL, -1, NEW_FILE};
	char hex[DIGEST_HEX];
	bool there = strcmp(node_type_name(before), "file") == 0;
	if (there && is_settled(x, r, before)) {
		*ret = json_deep_copy(before);
		return 0;
	}
	int e = there ? host_read(x->v, r->id, MAX_FILE, content, err) : 0;
	if (e == 0)
		e = edit(r, content, err);
	if (e == 0)
		e = path_want(x, r, before, &owner, ret, err);
	if (e < 0)
		return e;
	digest_of(str_peek(content), content->len, hex);
	json_object_set_new(*ret, "digest", json_string(hex));
	json_object_set_new(*ret, "size", json_integer((json_int_t)content->len));
	return 0;
}

static void explain(const struct resource *r, struct str *out)
{
	const struct resource_lines *in = r->in;
	for (size_t i = 0; i < in->lines_count; i++)
		str_appendf(out, "%s '%s'", i == 0 ? " with" : ",", in->lines[i].line);
	for (size_t i = 0; i < in->absent.count; i++)
		str_appendf(out, "%s '%s'", i == 0 ? " without" : ",", in->absent.items[i]);
}

static const char *const facts[] = {"digest", "size", NULL};

const struct resource_type resource_lines = {
	.choice = RESOURCE_LINES_CHOICE,
	.change = &change_file,
	.remove = &change_remove,
	.space = PATH_SPACE,
	.nests = true,
	.edits = true,
	.what = "file",
	.facts = facts,
	.id = path_id,
	.validate = validate,
	.bars = path_bars,
	.ahead = path_ahead,
	.look = path_look,
	.want = want,
	.first = path_first,
	.differs = node_differs,
	.remember = remember,
	.explain = explain,
};
