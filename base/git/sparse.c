#include "base/git/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/archive/ignore.h"
#include "base/sys/fs.h"

enum { TEXT_MAX = 4 << 20 };
static const char patterns_file[] = "info/sparse-checkout", worktree_file[] = "config.worktree"; /* in .git */

struct git_sparse {
	bool cone;
	struct strv whole;   /* of a cone: directories with all below them, sorted, none below another */
	struct strv parents; /* those above them, of which the files alone count, sorted */
	struct ignore *patterns;
	struct str text; /* of the file */
	/* The last directory that was looked at, of which every file has the verdict, or those that no pattern speaks of. */
	char *dir;
	bool known, included;
};

void git_sparse_free(struct git_sparse *s)
{
	if (s == NULL)
		return;
	strv_done(&s->whole);
	strv_done(&s->parents);
	ignore_free(s->patterns);
	str_done(&s->text);
	free(s->dir);
	free(s);
}

void git_sparse_freep(struct git_sparse **s)
{
	git_sparse_free(*s);
	*s = NULL;
}

/* ---- a cone ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has(const struct strv *sorted, const char *text)
{
	return sorted->count > 0 &&
	       bsearch(&text, sorted->items, sorted->count, sizeof(sorted->items[0]), compare) != NULL;
}

/* The directory itself or one above it. */
static bool is_whole(const struct git_sparse *s, const char *directory)
{
	_cleanup_free_ char *path = xstrdup(directory);
	for (char *slash; *path != '\0'; *slash = '\0') {
		if (has(&s->whole, path))
			return true;
		slash = strrchr(path, '/');
		if (slash == NULL)
			return false;
	}
	return false;
}

static bool is_whole_above(const struct git_sparse *s, const char *directory)
{
	const char *slash = strrchr(directory, '/');
	_cleanup_free_ char *above = slash != NULL ? xstrndup(directory, (size_t)(slash - directory)) : NULL;
	return above != NULL && is_whole(s, above);
}

static int normal(const char *line, char **ret, struct err *err)
{
	struct err why = ERR_INIT;
	bool odd = line[0] == '/' || line[0] == '!' || line[0] == '-' || strpbrk(line, "*?[]\\") != NULL;
	if (!odd && fs_normalize(line, ret, &why) >= 0)
		return 0;
	int r = err_set(err, ERR_INVALID, "'%s' is not a directory of the repository", line);
	return err_hint(err, r, "name directories, or set `sparse-checkout-cone-mode: false` for patterns");
}

static void add_parents(struct git_sparse *s, const char *directory)
{
	for (const char *slash = strchr(directory, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *parent = xstrndup(directory, (size_t)(slash - directory));
		strv_add(&s->parents, parent);
	}
}

/* Sorts, and takes out those that stand twice or that a whole directory holds. */
static void tidy(const struct git_sparse *s, struct strv *list,
                 bool (*is_held)(const struct git_sparse *s, const char *dir))
{
	struct strv kept = {0};
	strv_sort(list);
	for (size_t i = 0; i < list->count; i++)
		if ((i == 0 || strcmp(list->items[i - 1], list->items[i]) != 0) && !is_held(s, list->items[i]))
			strv_add(&kept, list->items[i]);
	strv_done(list);
	*list = kept;
}

static bool held_by_none(const struct git_sparse *s, const char *directory)
{
	(void)s, (void)directory;
	return false;
}

static int new_cone(struct git_sparse *s, const struct git_sparse_wish *wish, struct err *err)
{
	for (size_t i = 0; i < wish->count; i++) {
		_cleanup_free_ char *directory = NULL;
		int r = normal(wish->lines[i], &directory, err);
		if (r < 0)
			return r;
		if (directory[0] != '\0' && strcmp(directory, ".") != 0)
			strv_add(&s->whole, directory);
	}
	tidy(s, &s->whole, held_by_none);
	struct strv topmost = {0};
	for (size_t i = 0; i < s->whole.count; i++)
		if (!is_whole_above(s, s->whole.items[i]))
			strv_add(&topmost, s->whole.items[i]);
	strv_done(&s->whole);
	s->whole = topmost;
	for (size_t i = 0; i < s->whole.count; i++)
		add_parents(s, s->whole.items[i]);
	tidy(s, &s->parents, is_whole);
	str_append(&s->text, "/*\n!/*/\n");
	for (size_t i = 0; i < s->parents.count; i++)
		str_appendf(&s->text, "/%s/\n!/%s/*/\n", s->parents.items[i], s->parents.items[i]);
	for (size_t i = 0; i < s->whole.count; i++)
		str_appendf(&s->text, "/%s/\n", s->whole.items[i]);
	return 0;
}

/* ---- patterns ---- */

static void new_patterns(struct git_sparse *s, const struct git_sparse_wish *wish)
{
	s->patterns = ignore_new();
	str_append(&s->text, "\n");
	for (size_t i = 0; i < wish->count; i++) {
		ignore_add(s->patterns, wish->lines[i]);
		str_appendf(&s->text, "%s\n", wish->lines[i]);
	}
}

/* What no pattern speaks of goes with its directory. */
static bool is_directory_included(const struct git_sparse *s, const char *directory)
{
	_cleanup_free_ char *path = xstrdup(directory);
	while (*path != '\0') {
		int verdict = ignore_verdict(s->patterns, path, true);
		char *slash = strrchr(path, '/');
		if (verdict >= 0)
			return verdict == 1;
		if (slash == NULL)
			return false;
		*slash = '\0';
	}
	return false;
}

/* ---- both ---- */

int git_sparse_new(const struct git_sparse_wish *wish, struct git_sparse **ret, struct err *err)
{
	struct git_sparse *s _cleanup_(git_sparse_freep) = xcalloc(1, sizeof(*s));
	s->cone = wish->cone;
	s->text = (struct str)STR_INIT(TEXT_MAX);
	int r = 0;
	if (s->cone)
		r = new_cone(s, wish, err);
	else
		new_patterns(s, wish);
	if (r >= 0 && s->text.failed)
		r = err_set(err, ERR_LIMIT, "`sparse-checkout` has more than %d MiB", TEXT_MAX >> 20);
	if (r >= 0)
		*ret = TAKE(s);
	return r;
}

static void look_at(struct git_sparse *s, const char *path, size_t len)
{
	if (s->known && strncmp(s->dir, path, len) == 0 && s->dir[len] == '\0')
		return;
	free(s->dir);
	s->dir = xstrndup(path, len);
	s->known = true;
	if (!s->cone)
		s->included = is_directory_included(s, s->dir);
	else
		s->included = len == 0 || has(&s->parents, s->dir) || is_whole(s, s->dir);
}

bool git_sparse_includes(struct git_sparse *s, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	look_at(s, path, slash != NULL ? (size_t)(slash - path) : 0);
	if (s->cone)
		return s->included || has(&s->whole, path);
	int verdict = ignore_verdict(s->patterns, path, is_dir);
	return verdict >= 0 ? verdict == 1 : s->included;
}

/* ---- what tells git ---- */

static int unset(git_config *config, const char *key)
{
	int r = git_config_delete_entry(config, key);
	return r == GIT_ENOTFOUND ? 0 : r;
}

static int configure(git_repository *repo, bool cone, bool patterns)
{
	git_config *config _cleanup_(config_freep) = NULL, *own _cleanup_(config_freep) = NULL;
	int r = git_repository_config(&config, repo);
	if (r == 0)
		r = git_config_open_level(&own, config, GIT_CONFIG_LEVEL_LOCAL);
	if (r == 0)
		r = cone ? git_config_set_bool(own, "extensions.worktreeConfig", 1)
		         : unset(own, "extensions.worktreeConfig");
	if (r == 0)
		r = patterns ? git_config_set_bool(own, "core.sparseCheckout", 1) : unset(own, "core.sparseCheckout");
	return r == 0 ? unset(own, "core.sparseCheckoutCone") : r;
}

static int remove_file(struct git_area *a, const char *name, struct err *err)
{
	return unlinkat(a->git, name, 0) == 0 || errno == ENOENT || errno == ENOTDIR
	               ? 0
	               : err_errno(err, errno, "remove .git/%s", name);
}

int git_sparse_configure(struct git_area *a, const struct git_sparse *s, struct err *err)
{
	static const char cone[] = "[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = true\n";
	if (s == NULL && !a->kept)
		return 0;
	int r = configure(a->repo, s != NULL && s->cone, s != NULL && !s->cone);
	if (r != 0)
		return git_area_error(err, r, "change the configuration of the work area");
	if (s == NULL)
		r = remove_file(a, patterns_file, err);
	else if (mkdirat(a->git, "info", 0777) != 0 && errno != EEXIST)
		r = err_errno(err, errno, "make .git/info");
	else
		r = fs_write_replace(a->git, patterns_file, str_peek(&s->text), s->text.len, 0644, err);
	if (r >= 0)
		r = s != NULL && s->cone ? fs_write_replace(a->git, worktree_file, cone, sizeof(cone) - 1, 0644, err)
		                         : remove_file(a, worktree_file, err);
	return r < 0 ? err_wrap(err, r, "note which files the work area has") : 0;
}
