/* hash_files: hashFiles() of the expression language [3.8]: glob patterns below the workspace, one digest over the
 * digests of all files that match. */
#include "agent/worker/worker_priv.h"

#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <locale.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, LIMIT_MS = 120000 };

struct glob {
	char *text; /* absolute, normalized, without slash at the end */
	char *root; /* its literal prefix */
	bool exclude, directories;
};

struct hashing {
	const char *base;
	bool follow;
	struct glob *globs;
	size_t count, cap;
	struct digest *sum;
	size_t files;
	int64_t deadline;
	struct strv seen;  /* roots already walked */
	const char *shown; /* the call, for messages */
};

static bool has_wildcard(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr("*?[", p[i]) != NULL)
			return true;
	return false;
}

/* The directories in front of the first wildcard. */
static char *literal_front(const char *text)
{
	size_t end = 0;
	for (size_t at = 1; at <= strlen(text);) {
		size_t n = strcspn(text + at, "/");
		if (has_wildcard(text + at, n))
			return end > 0 ? xstrndup(text, end) : xstrdup("/");
		end = at + n;
		at = end + 1;
	}
	return xstrdup(text);
}

static int add_pattern(struct hashing *h, const char *line, size_t len, struct err *err)
{
	bool exclude = false;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
		len--;
	if (len == 0 || *line == '#')
		return 0;
	while (len > 0 && *line == '!') {
		exclude = !exclude;
		line++;
		len--;
	}
	_cleanup_free_ char *pattern = xstrndup(line, len);
	const char *p = pattern, *home = getenv("HOME");
	_cleanup_free_ char *whole = NULL;
	if (strcmp(p, ".") == 0 || str_starts(p, "./"))
		p += p[1] == '/' ? 2 : 1;
	_cleanup_free_ char *slashed = xasprintf("/%s/", p);
	if (strstr(slashed, "/../") != NULL || strstr(slashed, "/./") != NULL)
		return err_set(err, ERR_INVALID, "Invalid pattern '%s'. Relative pathing '.' and '..' is not allowed.",
		               pattern);
	if (p[0] == '/')
		whole = xstrdup(p);
	else if (p[0] == '~' && (p[1] == '/' || p[1] == '\0') && home != NULL)
		whole = xasprintf("%s%s", home, p + 1);
	else
		whole = p[0] != '\0' ? xasprintf("%s/%s", h->base, p) : xstrdup(h->base);
	size_t end = strlen(whole);
	struct glob g = {.exclude = exclude, .directories = end > 1 && whole[end - 1] == '/'};
	while (end > 1 && whole[end - 1] == '/')
		whole[--end] = '\0';
	g.root = literal_front(whole);
	g.text = TAKE(whole);
	h->globs = xgrow(h->globs, &h->cap, h->count + 1, sizeof(h->globs[0]));
	h->globs[h->count++] = g;
	return 0;
}

static const char *next_part(const char *p, size_t *len)
{
	p += *p == '/';
	*len = strcspn(p, "/");
	return p;
}

/* Segment by segment; ** stands for any number of them. */
static bool matches(const char *pattern, const char *path)
{
	while (*pattern != '\0') {
		size_t n, m;
		const char *part = next_part(pattern, &n);
		if (n == 2 && memcmp(part, "**", 2) == 0) {
			for (const char *rest = path;;) {
				if (matches(part + 2, rest))
					return true;
				if (*rest == '\0')
					return false;
				const char *name = next_part(rest, &m);
				rest = name + m;
			}
		}
		if (*path == '\0')
			return false;
		const char *name = next_part(path, &m);
		_cleanup_free_ char *one = xstrndup(part, n), *other = xstrndup(name, m);
		if (fnmatch(one, other, 0) != 0)
			return false;
		pattern = part + n;
		path = name + m;
	}
	return true; /* also for everything below what matched */
}

/* True if the pattern could match something below the directory. */
static bool reaches_below(const char *pattern, const char *path)
{
	size_t n, m;
	while (*pattern != '\0' && *path != '\0') {
		const char *part = next_part(pattern, &n), *name = next_part(path, &m);
		if (n == 2 && memcmp(part, "**", 2) == 0)
			return true;
		_cleanup_free_ char *one = xstrndup(part, n), *other = xstrndup(name, m);
		if (fnmatch(one, other, 0) != 0)
			return false;
		pattern = part + n;
		path = name + m;
	}
	return true;
}

/* Skips everything below a directory that no pattern reaches, or that a later one excludes as a whole. */
static bool is_worth_reading(const struct hashing *h, const char *path)
{
	bool worth = false;
	for (size_t i = 0; i < h->count; i++) {
		const struct glob *g = &h->globs[i];
		if (!g->exclude)
			worth = worth || reaches_below(g->text, path);
		else if (matches(g->text, path))
			worth = false;
	}
	return worth;
}

static bool is_exact(const char *pattern, const char *path)
{
	size_t slashes = 0, path_slashes = 0;
	for (const char *p = pattern; *p != '\0'; p++)
		slashes += *p == '/';
	for (const char *p = path; *p != '\0'; p++)
		path_slashes += *p == '/';
	return slashes == path_slashes;
}

static bool is_wanted(const struct hashing *h, const char *path)
{
	bool wanted = false;
	for (size_t i = 0; i < h->count; i++) {
		const struct glob *g = &h->globs[i];
		/* A trailing slash means a directory: a file of that name does not match, entries below it do. */
		if (matches(g->text, path) && !(g->directories && is_exact(g->text, path)))
			wanted = !g->exclude;
	}
	return wanted;
}

static int hash_file(struct hashing *h, const char *path, struct err *err)
{
	char hex[DIGEST_HEX];
	unsigned char raw[DIGEST_BYTES];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open '%s'", path);
	int r = digest_of_fd(fd, hex, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
		raw[i] = (unsigned char)strtoul(byte, NULL, 16);
	}
	digest_update(h->sum, raw, sizeof(raw));
	h->files++;
	return 0;
}

static int walk(struct hashing *h, const char *path, int depth, struct err *err);

static int walk_names(struct hashing *h, const char *path, int depth, struct err *err)
{
	struct strv names = {.count = 0};
	DIR *dir = opendir(path);
	if (dir == NULL)
		return err_errno(err, errno, "read the directory '%s'", path);
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			strv_add(&names, entry->d_name);
	closedir(dir);
	strv_sort(&names);
	int r = 0;
	for (size_t i = 0; i < names.count && r == 0; i++) {
		_cleanup_free_ char *child = fs_join(path, names.items[i]);
		r = walk(h, child, depth + 1, err);
	}
	strv_done(&names);
	return r;
}

static int walk(struct hashing *h, const char *path, int depth, struct err *err)
{
	struct stat st;
	if (clock_mono_ms() > h->deadline)
		return err_set(err, ERR_TIMEOUT, "hashFiles('%s') couldn't finish within 120 seconds.", h->shown);
	if (depth > DEPTH_MAX)
		return h->follow ? 0
		                 : err_set(err, ERR_LIMIT, "more than %d directories deep at '%s'", DEPTH_MAX, path);
	if (lstat(path, &st) < 0)
		return depth == 0 && errno == ENOENT ? 0 : err_errno(err, errno, "look at '%s'", path);
	size_t base = strlen(h->base);
	bool below = strncmp(path, h->base, base) == 0 && path[base] == '/';
	if (S_ISLNK(st.st_mode)) {
		/* If links are not followed, one that no pattern matches may be dangling. */
		if (!h->follow && depth > 0 && !(below && is_wanted(h, path)))
			return 0;
		if (stat(path, &st) < 0) {
			if (h->follow)
				return 0;
			return err_errno(err, errno, "follow the link '%s'", path);
		}
		if (S_ISDIR(st.st_mode) && !h->follow && depth > 0)
			return 0;
	}
	if (S_ISDIR(st.st_mode))
		return depth == 0 || is_worth_reading(h, path) ? walk_names(h, path, depth, err) : 0;
	return S_ISREG(st.st_mode) && below && is_wanted(h, path) ? hash_file(h, path, err) : 0;
}

static int walk_roots(struct hashing *h, struct err *err)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->globs[i].exclude)
			continue;
		bool covered = false;
		for (size_t k = 0; k < h->seen.count; k++)
			covered = covered || fs_below(h->seen.items[k], h->globs[i].root);
		if (covered)
			continue;
		strv_add(&h->seen, h->globs[i].root);
		int r = walk(h, h->globs[i].root, 0, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_patterns(struct hashing *h, const char *const *patterns, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		for (const char *p = patterns[i]; *p != '\0';) {
			size_t n = strcspn(p, "\n");
			int r = add_pattern(h, p, n, err);
			if (r < 0)
				return r;
			p += n + (p[n] == '\n');
		}
	}
	return 0;
}

int hash_files(void *user, const char *const *patterns, size_t count, struct str *ret, struct err *err)
{
	const struct job *j = user;
	struct hashing h = {
		.base = j->workspace, .deadline = clock_mono_ms() + LIMIT_MS, .shown = count > 0 ? patterns[0] : ""};
	char hex[DIGEST_HEX];
	if (count > 0 && str_starts(patterns[0], "--")) {
		if (strcasecmp(patterns[0], "--follow-symbolic-links") != 0)
			return err_set(err, ERR_INVALID,
			               "Invalid glob option '%s', available option: '--follow-symbolic-links'.",
			               patterns[0]);
		h.follow = true;
		patterns++;
		count--;
	}
	h.sum = digest_new();
	/* `?` is a character, not a byte. */
	locale_t characters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before = (locale_t)0;
	if (characters != (locale_t)0)
		before = uselocale(characters);
	int r = add_patterns(&h, patterns, count, err);
	if (r == 0)
		r = walk_roots(&h, err);
	if (characters != (locale_t)0) {
		uselocale(before);
		freelocale(characters);
	}
	digest_hex(h.sum, hex);
	digest_free(h.sum);
	for (size_t i = 0; i < h.count; i++) {
		free(h.globs[i].text);
		free(h.globs[i].root);
	}
	free(h.globs);
	strv_done(&h.seen);
	if (r < 0)
		return err_wrap(err, r, "hashFiles('%s') failed. Fail to hash files under directory '%s'", h.shown,
		                j->workspace);
	if (h.files > 0)
		str_append(ret, hex);
	return 0;
}
