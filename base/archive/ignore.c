/* The pattern language of .gitignore, byte by byte as git reads it.
 *
 * A pattern is compiled into segments (the parts between slashes), a segment into tokens. "**" as a whole segment stands for
 * any number of segments. Both levels only ever go back to the latest star, so matching is at most the product of the two
 * lengths, whatever the pattern.
 */
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include "base/archive/ignore.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum token_type { TOKEN_BYTE, TOKEN_ANY, TOKEN_STAR, TOKEN_SET };
struct token {
	enum token_type type;
	unsigned char byte;
	unsigned char set[32];
};

struct segment {
	bool any_depth; /* "**" */
	struct token *tokens;
	size_t count, cap;
};

struct rule {
	bool negated, dir_only, basename_only, never;
	size_t base_len; /* length of the directory that the pattern is relative to, with its slash; 0: the top */
	char *base;
	struct segment *segments;
	size_t count, cap;
};

struct rule_list {
	struct rule *items;
	size_t count, cap;
};

struct ignore {
	struct rule_list given; /* decide first */
	struct rule_list found; /* of the files found on the way (ignore_enter), deepest last */
	struct strv file_names; /* which files ignore_enter looks for */
};

enum { IGNORE_FILE_MAX = 4 << 20 };

static void rule_free(struct rule *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->segments[i].tokens);
	free(r->segments);
	free(r->base);
}

static void list_truncate(struct rule_list *l, size_t count)
{
	while (l->count > count)
		rule_free(&l->items[--l->count]);
}

static void list_done(struct rule_list *l)
{
	list_truncate(l, 0);
	free(l->items);
	*l = (struct rule_list){0};
}

struct ignore *ignore_new(void)
{
	return xcalloc(1, sizeof(struct ignore));
}

void ignore_free(struct ignore *i)
{
	if (!i)
		return;
	list_done(&i->given);
	list_done(&i->found);
	strv_done(&i->file_names);
	free(i);
}

/* Compiling. */

static void set_add(unsigned char set[32], int c)
{
	set[c >> 3] = (unsigned char)(set[c >> 3] | (1 << (c & 7)));
}

static bool set_has(const unsigned char set[32], unsigned char c)
{
	return (set[c >> 3] >> (c & 7)) & 1;
}

/* git's character types are ASCII only. */
static bool in_named_class(const char *name, size_t len, int c, bool *known)
{
	static const struct {
		const char *name;
		int (*is)(int);
	} classes[] = {
		{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
		{"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
		{"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit},
	};
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (strlen(classes[i].name) == len && memcmp(classes[i].name, name, len) == 0) {
			*known = true;
			return c < 128 && classes[i].is(c);
		}
	}
	*known = false;
	return false;
}

/* p is after "[:". Returns the position after ":]", NULL when this is not a named class; *bad when it is an unknown one. */
static const char *named_class(const char *p, unsigned char set[32], bool *bad)
{
	const char *end = strchr(p, ']');

	if (!end) {
		*bad = true;
		return NULL;
	}
	if (end == p || end[-1] != ':')
		return NULL;
	for (int c = 0; c < 256; c++) {
		bool known;
		if (in_named_class(p, (size_t)(end - 1 - p), c, &known))
			set_add(set, c);
		if (!known) {
			*bad = true;
			return NULL;
		}
	}
	return end + 1;
}

/* p is after "[". Returns the position after "]", or NULL: such a pattern matches nothing. */
static const char *parse_set(const char *p, unsigned char set[32])
{
	bool negated = false, first = true;
	int former = 0;

	memset(set, 0, 32);
	if (*p == '!' || *p == '^') {
		negated = true;
		p++;
	}
	while (first || *p != ']') {
		unsigned char c = (unsigned char)*p;
		first = false;
		if (c == 0)
			return NULL;
		if (c == '[' && p[1] == ':') {
			bool bad = false;
			const char *behind = named_class(p + 2, set, &bad);
			if (bad)
				return NULL;
			if (behind) {
				p = behind;
				former = 0;
				continue;
			}
		}
		if (c == '-' && former != 0 && p[1] != 0 && p[1] != ']') {
			p++;
			if (*p == '\\' && *++p == 0)
				return NULL;
			for (int x = former; x <= (unsigned char)*p; x++)
				set_add(set, x);
			former = 0;
			p++;
			continue;
		}
		if (c == '\\') {
			c = (unsigned char)*++p;
			if (c == 0)
				return NULL;
		}
		set_add(set, c);
		former = c;
		p++;
	}
	if (negated) {
		for (int i = 0; i < 32; i++)
			set[i] = (unsigned char)~set[i];
	}
	return p + 1;
}

static struct token *segment_token(struct segment *s, enum token_type type)
{
	s->tokens = xgrow(s->tokens, &s->cap, s->count + 1, sizeof(*s->tokens));
	struct token *t = &s->tokens[s->count++];
	*t = (struct token){.type = type};
	return t;
}

static struct segment *rule_segment(struct rule *r)
{
	r->segments = xgrow(r->segments, &r->cap, r->count + 1, sizeof(*r->segments));
	struct segment *s = &r->segments[r->count++];
	*s = (struct segment){0};
	return s;
}

/* One segment from p; returns where it ends (at a slash or the end), NULL when the pattern can match nothing. */
static const char *parse_segment(const char *p, struct segment *s)
{
	const char *start = p;
	size_t stars = strspn(p, "*");

	if (stars >= 2 && (p[stars] == 0 || p[stars] == '/')) {
		s->any_depth = true;
		return p + stars;
	}
	while (*p && *p != '/') {
		if (*p == '*') {
			if (s->count == 0 || s->tokens[s->count - 1].type != TOKEN_STAR)
				segment_token(s, TOKEN_STAR);
			p++;
		} else if (*p == '?') {
			segment_token(s, TOKEN_ANY);
			p++;
		} else if (*p == '[') {
			p = parse_set(p + 1, segment_token(s, TOKEN_SET)->set);
			if (!p)
				return NULL;
		} else {
			if (*p == '\\') {
				p++;
				if (*p == 0)
					return NULL;
				if (*p == '/')
					break;
			}
			segment_token(s, TOKEN_BYTE)->byte = (unsigned char)*p++;
		}
	}
	return p == start ? NULL : p;
}

static void parse_segments(struct rule *r, const char *p)
{
	for (;;) {
		p = parse_segment(p, rule_segment(r));
		if (!p) {
			r->never = true;
			return;
		}
		if (*p == 0)
			return;
		p++;
	}
}

/* Trailing blanks do not count unless a backslash stands before them. */
static void trim_trailing_spaces(char *line)
{
	char *last = NULL;

	for (char *p = line; *p; p++) {
		if (*p == ' ') {
			if (!last)
				last = p;
		} else {
			last = NULL;
			if (*p == '\\' && *++p == 0)
				return;
		}
	}
	if (last)
		*last = 0;
}

static void list_add(struct rule_list *l, const char *base, const char *pattern)
{
	_cleanup_free_ char *line = xstrdup(pattern);
	struct rule r = {0};
	char *p = line;

	trim_trailing_spaces(line);
	if (*p == 0 || *p == '#')
		return;
	if (*p == '!') {
		r.negated = true;
		p++;
	}
	size_t len = strlen(p);
	if (len > 0 && p[len - 1] == '/') {
		r.dir_only = true;
		p[--len] = 0;
	}
	r.basename_only = strchr(p, '/') == NULL;
	if (*p == '/')
		p++;
	if (*p == 0)
		return;
	r.base = xstrdup(base);
	r.base_len = strlen(base);
	parse_segments(&r, p);
	l->items = xgrow(l->items, &l->cap, l->count + 1, sizeof(*l->items));
	l->items[l->count++] = r;
}

static void list_add_text(struct rule_list *l, const char *base, char *text)
{
	char *line = text;

	if (memcmp(line, "\xef\xbb\xbf", MIN(strlen(line), (size_t)3)) == 0 && strlen(line) >= 3)
		line += 3;
	while (line && *line) {
		char *end = strchr(line, '\n');
		if (end)
			*end = 0;
		size_t len = strlen(line);
		if (end && len > 0 && line[len - 1] == '\r')
			line[len - 1] = 0;
		list_add(l, base, line);
		line = end ? end + 1 : NULL;
	}
}

void ignore_add(struct ignore *i, const char *pattern)
{
	list_add(&i->given, "", pattern);
}

int ignore_add_file(struct ignore *i, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_wrap(err, err_errno(err, errno, "open '%s'", path), "read the exclude patterns");
	return ignore_add_open_file(i, fd, path, err);
}

int ignore_add_open_file(struct ignore *i, int fd, const char *path, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(IGNORE_FILE_MAX);
	int r = fs_read_fd(fd, path, IGNORE_FILE_MAX, &text, err);

	if (r < 0)
		return err_wrap(err, r, "read the exclude patterns of '%s'", path);
	if (text.len > 0)
		list_add_text(&i->given, "", text.data);
	return 0;
}

void ignore_add_file_name(struct ignore *i, const char *name)
{
	if (!strv_has(&i->file_names, name))
		strv_add(&i->file_names, name);
}

/* Matching. */

static bool token_takes(const struct token *t, unsigned char c)
{
	switch (t->type) {
	case TOKEN_BYTE:
		return t->byte == c;
	case TOKEN_SET:
		return set_has(t->set, c);
	case TOKEN_ANY:
		return true;
	case TOKEN_STAR:
		break;
	}
	return false;
}

static bool segment_matches(const struct segment *s, const char *text, size_t len)
{
	size_t t = 0, i = 0, star = SIZE_MAX, star_i = 0;

	while (i < len) {
		if (t < s->count && s->tokens[t].type == TOKEN_STAR) {
			star = t++;
			star_i = i;
		} else if (t < s->count && token_takes(&s->tokens[t], (unsigned char)text[i])) {
			t++;
			i++;
		} else if (star != SIZE_MAX) {
			t = star + 1;
			i = ++star_i;
		} else {
			return false;
		}
	}
	while (t < s->count && s->tokens[t].type == TOKEN_STAR)
		t++;
	return t == s->count;
}

static size_t part_len(const char *path)
{
	const char *slash = strchr(path, '/');
	return slash ? (size_t)(slash - path) : strlen(path);
}

static const char *next_part(const char *path)
{
	path += part_len(path);
	return *path ? path + 1 : NULL;
}

static bool segments_match(const struct rule *r, const char *path)
{
	size_t s = 0, star = SIZE_MAX;
	const char *star_path = NULL;

	while (path) {
		if (s < r->count && r->segments[s].any_depth) {
			if (s + 1 == r->count)
				return true; /* "a/ **": all that lies below */
			star = s++;
			star_path = path;
		} else if (s < r->count && segment_matches(&r->segments[s], path, part_len(path))) {
			s++;
			path = next_part(path);
		} else if (star != SIZE_MAX && (star_path = next_part(star_path)) != NULL) {
			s = star + 1;
			path = star_path;
		} else {
			return false;
		}
	}
	return s == r->count;
}

static bool rule_matches(const struct rule *r, const char *path, size_t name_at, bool is_dir)
{
	if (r->never || (r->dir_only && !is_dir))
		return false;
	if (r->base_len > 0 && strncmp(path, r->base, r->base_len) != 0)
		return false;
	if (r->basename_only) {
		if (r->segments[0].any_depth)
			return true;
		return segment_matches(&r->segments[0], path + name_at, strlen(path + name_at));
	}
	return segments_match(r, path + r->base_len);
}

/* 1 excluded, 0 included again by a negated pattern, -1 no rule matches. The last matching rule decides. */
static int list_verdict(const struct rule_list *l, const char *path, size_t name_at, bool is_dir)
{
	for (size_t i = l->count; i > 0; i--) {
		if (rule_matches(&l->items[i - 1], path, name_at, is_dir))
			return l->items[i - 1].negated ? 0 : 1;
	}
	return -1;
}

int ignore_verdict(const struct ignore *i, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	size_t name_at = slash ? (size_t)(slash + 1 - path) : 0;
	int verdict = list_verdict(&i->given, path, name_at, is_dir);

	if (verdict < 0)
		verdict = list_verdict(&i->found, path, name_at, is_dir);
	return verdict;
}

bool ignore_matches_here(const struct ignore *i, const char *path, bool is_dir)
{
	return ignore_verdict(i, path, is_dir) == 1;
}

bool ignore_matches(const struct ignore *i, const char *path, bool is_dir)
{
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		bool excluded = ignore_matches_here(i, copy, true);
		*slash = '/';
		if (excluded)
			return true;
	}
	return ignore_matches_here(i, path, is_dir);
}

/* The walk's own view: the given rules, shared with it, and those found on the way. */

struct ignore *ignore_begin(const struct ignore *i)
{
	struct ignore *walk = ignore_new();

	walk->given = i->given;
	for (size_t n = 0; n < i->file_names.count; n++)
		strv_add(&walk->file_names, i->file_names.items[n]);
	return walk;
}

void ignore_end(struct ignore *walk)
{
	if (!walk)
		return;
	walk->given = (struct rule_list){0};
	ignore_free(walk);
}

int ignore_enter(struct ignore *walk, int dirfd, const char *prefix, size_t *ret_mark, struct err *err)
{
	*ret_mark = walk->found.count;
	for (size_t n = 0; n < walk->file_names.count; n++) {
		const char *name = walk->file_names.items[n];
		_cleanup_(str_done) struct str text = STR_INIT(IGNORE_FILE_MAX);
		struct stat st;

		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		int r = fs_read(dirfd, name, IGNORE_FILE_MAX, &text, err);
		if (r < 0)
			return err_wrap(err, r, "read the exclude patterns of '%s%s'", prefix, name);
		if (text.len > 0)
			list_add_text(&walk->found, prefix, text.data);
	}
	return 0;
}

void ignore_leave(struct ignore *walk, size_t mark)
{
	list_truncate(&walk->found, mark);
}
