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

/* Without their ends; *ret_ended: the last one has one, or there is none. */
static void split(const struct str *text, struct strv *ret, bool *ret_ended)
{
	const char *at = str_peek(text), *end = at + text->len;
	*ret_ended = text->len == 0 || end[-1] == '\n';
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
		strv_add_take(ret, xstrndup(at, len));
		at += len + 1;
	}
}

static void join(const struct strv *lines, bool ended, struct str *out)
{
	str_clear(out);
	for (size_t i = 0; i < lines->count; i++)
		str_appendf(out, "%s%s", lines->items[i], i + 1 < lines->count || ended ? "\n" : "");
}

static void remove_all(struct strv *lines, const char *line)
{
	size_t kept = 0;
	for (size_t i = 0; i < lines->count; i++) {
		if (strcmp(lines->items[i], line) == 0)
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
		r = pattern_match(pattern, lines->items[i], strlen(lines->items[i]), err);
		if (r > 0)
			*ret = i;
	}
	return r < 0 ? r : 0;
}

static int set_line(struct strv *lines, const struct resource_lines_lines *item, bool *ended, struct err *err)
{
	size_t at = lines->count;
	int r = item->match != NULL ? find(lines, item->match, &at, err) : 0;
	if (r < 0)
		return r;
	if (at < lines->count) {
		free(lines->items[at]);
		lines->items[at] = xstrdup(item->line);
	} else if (!strv_has(lines, item->line)) {
		strv_add(lines, item->line);
		*ended = true;
	}
	return 0;
}

static int edit(const struct resource *r, struct str *content, struct err *err)
{
	const struct resource_lines *in = r->in;
	_cleanup_(strv_done) struct strv lines = {0};
	bool ended;
	int e = 0;
	if (content->len > 0 && memchr(content->data, '\0', content->len) != NULL)
		return err_set(err, ERR_INVALID, "'%s' is no file of lines: it holds a NUL", r->id);
	split(content, &lines, &ended);
	for (size_t i = 0; i < in->absent.count; i++)
		remove_all(&lines, in->absent.items[i]);
	for (size_t i = 0; e == 0 && i < in->lines_count; i++)
		e = set_line(&lines, &in->lines[i], &ended, err);
	if (e == 0)
		join(&lines, ended, content);
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
