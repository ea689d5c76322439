#include "steps/common/manifest.h"
#include "base/secret/digest.h"
#include <inttypes.h>

void manifest_done(struct manifest *m)
{
	json_decref(m->head);
	tree_done(&m->tree);
	free(m->blobs);
	*m = (struct manifest){0};
}

static void write_name(struct str *out, const char *name)
{
	for (;;) {
		size_t n = strcspn(name, "\\\n\t");
		str_append_n(out, name, n);
		name += n;
		if (*name == 0)
			return;
		str_append(out, *name == '\\' ? "\\\\" : *name == '\n' ? "\\n" : "\\t");
		name++;
	}
}

/* In place; false when an escape makes no sense. */
static bool read_name(char *name)
{
	char *out = name;

	for (const char *p = name; *p; p++) {
		if (*p != '\\') {
			*out++ = *p;
			continue;
		}
		p++;
		if (*p != '\\' && *p != 'n' && *p != 't')
			return false;
		*out++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : '\\';
	}
	*out = 0;
	return true;
}

/* Without printf, which would be most of the cost of a list of many thousand lines. */
static void write_mode(mode_t mode, struct str *out)
{
	char text[5] = {(char)('0' + (mode >> 9 & 7)), (char)('0' + (mode >> 6 & 7)), (char)('0' + (mode >> 3 & 7)),
	                (char)('0' + (mode & 7)), ' '};
	str_append_n(out, text, sizeof(text));
}

static void write_size(int64_t size, struct str *out)
{
	char text[24], *p = text + sizeof(text);
	uint64_t left = size > 0 ? (uint64_t)size : 0;

	*--p = ' ';
	do
		*--p = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	str_append_n(out, p, (size_t)(text + sizeof(text) - p));
}

bool manifest_blob_known(const struct manifest_blob *b)
{
	static const struct manifest_blob none;
	return memcmp(b, &none, sizeof(none)) != 0;
}

bool manifest_blob_same(const struct manifest_blob *a, const struct manifest_blob *b)
{
	return manifest_blob_known(a) && memcmp(a, b, sizeof(*a)) == 0;
}

/* with_blob: without one it is the line of a tree's digest. */
static void write_entry(const struct tree_entry *e, bool with_blob, const struct manifest_blob *blob, struct str *out)
{
	if (S_ISLNK(e->mode)) {
		str_append(out, "l ");
		write_name(out, e->path);
		str_append_c(out, '\t');
		write_name(out, e->link);
	} else if (S_ISDIR(e->mode)) {
		str_append_n(out, "d ", 2);
		write_mode(e->mode, out);
		write_name(out, e->path);
	} else {
		str_append_n(out, "f ", 2);
		write_mode(e->mode, out);
		write_size(e->size, out);
		char hex[2 * TREE_DIGEST_BYTES + 1];
		tree_entry_hex(e, hex);
		str_append(out, *hex ? hex : "-");
		str_append_c(out, ' ');
		if (with_blob) {
			char id[BLOB_HEX] = "-";
			if (blob && manifest_blob_known(blob))
				str_hex(blob->id, sizeof(blob->id), id);
			str_append(out, id);
			str_append_c(out, ' ');
		}
		write_name(out, e->path);
	}
	str_append_c(out, '\n');
}

void manifest_write(const json_t *head, const struct tree *tree, const struct manifest_blob *blobs, struct str *out)
{
	_cleanup_free_ char *text = json_text(head);

	str_append(out, text);
	str_append_c(out, '\n');
	for (size_t i = 0; i < tree->count; i++)
		write_entry(&tree->entries[i], true, blobs ? &blobs[i] : NULL, out);
}

void manifest_digest(const json_t *head, const struct tree *tree, const struct manifest_blob *blobs, char hex[65])
{
	_cleanup_(digest_freep) struct digest *d = digest_new();
	_cleanup_(str_done) struct str line = STR_INIT(MANIFEST_MAX);
	_cleanup_free_ char *text = json_text(head);

	digest_update(d, text, strlen(text));
	digest_update(d, "\n", 1);
	for (size_t i = 0; i < tree->count; i++) {
		str_clear(&line);
		write_entry(&tree->entries[i], true, blobs ? &blobs[i] : NULL, &line);
		digest_update(d, line.data, line.len);
	}
	digest_hex(d, hex);
}

void manifest_tree_digest(const struct tree *tree, char hex[65])
{
	_cleanup_(digest_freep) struct digest *d = digest_new();
	_cleanup_(str_done) struct str line = STR_INIT(1 << 20);

	for (size_t i = 0; i < tree->count; i++) {
		str_clear(&line);
		write_entry(&tree->entries[i], false, NULL, &line);
		digest_update(d, line.data, line.len);
	}
	digest_hex(d, hex);
}

bool manifest_same(const struct tree_entry *a, const struct tree_entry *b)
{
	/* A directory inherits the bit from its parent. */
	if (S_ISDIR(a->mode) && S_ISDIR(b->mode))
		return (a->mode & ~(mode_t)S_ISGID) == (b->mode & ~(mode_t)S_ISGID);
	if (a->mode != b->mode)
		return S_ISLNK(a->mode) && S_ISLNK(b->mode) && strcmp(a->link, b->link) == 0;
	if (S_ISLNK(a->mode))
		return strcmp(a->link, b->link) == 0;
	return a->size == b->size && a->digest_from != TREE_DIGEST_NONE && b->digest_from != TREE_DIGEST_NONE &&
	       memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

/* The word at *p; terminates it and moves past it. NULL when there is none. */
static char *word(char **p)
{
	char *start = *p, *end = strchr(start, ' ');

	if (!end || end == start)
		return NULL;
	*end = 0;
	*p = end + 1;
	return start;
}

static bool read_mode(const char *text, mode_t type, mode_t *ret)
{
	char *end;

	if (!text || strlen(text) != 4)
		return false;
	unsigned long mode = strtoul(text, &end, 8);
	*ret = type | (mode_t)mode;
	return *end == 0;
}

static bool read_file_line(char *line, struct tree_entry *e, struct manifest_blob *blob)
{
	long long size;
	char *mode = word(&line), *length = word(&line), *digest = word(&line), *id = word(&line);

	if (!id || !read_mode(mode, S_IFREG, &e->mode) || !str_parse_i64(length, 0, INT64_MAX, &size))
		return false;
	if (strcmp(digest, "-") != 0 && (strlen(digest) != 2 * TREE_DIGEST_BYTES || !tree_entry_set_hex(e, digest)))
		return false;
	if (strcmp(id, "-") != 0 && (strlen(id) != BLOB_HEX - 1 || !str_from_hex(id, BLOB_BYTES, blob->id)))
		return false;
	e->size = size;
	e->path = line;
	return true;
}

/* Its path and link are in the line. */
static bool read_line(char *line, struct tree_entry *e, struct manifest_blob *blob)
{
	char type = *line;

	if (type == 0 || line[1] != ' ')
		return false;
	line += 2;
	if (type == 'f')
		return read_file_line(line, e, blob) && read_name(e->path);
	if (type == 'd') {
		char *mode = word(&line);
		if (!read_mode(mode, S_IFDIR, &e->mode))
			return false;
		e->path = line;
		return read_name(e->path);
	}
	char *tab = type == 'l' ? strchr(line, '\t') : NULL;
	if (!tab)
		return false;
	*tab = 0;
	e->mode = S_IFLNK | 0777;
	e->path = line;
	e->link = tab + 1;
	return read_name(e->path) && read_name(e->link);
}

/* Relative, without "..": these paths are joined to a directory of the target. */
static bool good_path(const char *path)
{
	if (*path == 0 || *path == '/')
		return false;
	for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
		size_t len = strcspn(p, "/");
		if (len == 0 || (len == 1 && *p == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

int manifest_next(struct manifest_reader *r, struct err *err)
{
	if (r->at == r->end)
		return 0;
	const char *end = memchr(r->at, '\n', (size_t)(r->end - r->at));
	r->number++;
	if (!end)
		return err_set(err, ERR_INVALID, "%s:%zu: the manifest ends in the middle of a line", r->name,
		               r->number);
	str_clear(&r->last);
	if (r->entry.path)
		str_append(&r->last, r->entry.path);
	str_clear(&r->line);
	str_append_n(&r->line, r->at, (size_t)(end - r->at));
	r->at = end + 1;
	r->entry = (struct tree_entry){0};
	r->blob = (struct manifest_blob){0};
	if (r->line.len == 0 || !read_line(r->line.data, &r->entry, &r->blob) || !good_path(r->entry.path))
		return err_set(err, ERR_INVALID, "%s:%zu: not a line of a manifest", r->name, r->number);
	if (r->last.len > 0 && strcmp(r->last.data, r->entry.path) >= 0)
		return err_set(err, ERR_INVALID, "%s:%zu: the manifest is not in order", r->name, r->number);
	return 1;
}

void manifest_close(struct manifest_reader *r)
{
	str_done(&r->line);
	str_done(&r->last);
}

static int check_format(const char *name, const json_t *head, struct err *err)
{
	int64_t format = json_get_int(head, "format", 0);
	if (format > MANIFEST_FORMAT)
		return err_set(err, ERR_UNSUPPORTED, "manifest '%s' has format %" PRId64 ", this davit reads up to %d",
		               name, format, MANIFEST_FORMAT);
	return format < 1 ? err_set(err, ERR_INVALID, "'%s' is not a manifest", name) : 0;
}

int manifest_open(const char *name, const char *text, size_t len, struct manifest_reader *ret, json_t **ret_head,
                  struct err *err)
{
	_cleanup_json_ json_t *head = NULL;
	const char *end = len > 0 ? memchr(text, '\n', len) : NULL;

	if (!end || memchr(text, 0, len))
		return err_set(err, ERR_INVALID, "'%s' is not a manifest", name);
	int r = json_parse(text, (size_t)(end - text), 1 << 20, &head, err);
	if (r < 0)
		return err_wrap(err, r, "read manifest '%s'", name);
	r = check_format(name, head, err);
	if (r < 0)
		return r;
	*ret = (struct manifest_reader){.name = name,
	                                .at = end + 1,
	                                .end = text + len,
	                                .number = 1,
	                                .line = STR_INIT(MANIFEST_MAX),
	                                .last = STR_INIT(MANIFEST_MAX)};
	*ret_head = TAKE(head);
	return 0;
}

static size_t count_lines(const char *at, const char *end)
{
	size_t count = 0;
	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		count++;
		at++;
	}
	return count;
}

int manifest_parse(const char *name, const char *text, size_t len, struct manifest *ret, struct err *err)
{
	struct manifest m = {0};
	struct manifest_reader lines;
	int r = manifest_open(name, text, len, &lines, &m.head, err);

	if (r < 0)
		return r;
	m.tree.cap = count_lines(lines.at, lines.end) + 1;
	m.tree.entries = xcalloc(m.tree.cap, sizeof(*m.tree.entries));
	m.blobs = xcalloc(m.tree.cap, sizeof(*m.blobs));
	while ((r = manifest_next(&lines, err)) > 0) {
		struct tree_entry *e = tree_add(&m.tree);
		*e = lines.entry;
		e->path = xstrdup(lines.entry.path);
		e->link = xstrdup(lines.entry.link);
		m.blobs[m.tree.count - 1] = lines.blob;
		m.tree.bytes += e->size;
	}
	manifest_close(&lines);
	if (r < 0)
		manifest_done(&m);
	else
		*ret = m;
	return r;
}
