#include "base/git/lfs_config.h"

#include "base/archive/archive.h"
#include "base/core/shown.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { CONFIG_MAX = 64 << 10, PATTERN_MAX = 4096 };

void lfs_config_done(struct lfs_config *c)
{
	free(c->url);
	ignore_free(c->include);
	ignore_free(c->exclude);
	*c = (struct lfs_config){0};
}

bool lfs_config_wants(const struct lfs_config *c, const char *path)
{
	if (c->include != NULL && !ignore_matches(c->include, path, false))
		return false;
	return c->exclude == NULL || !ignore_matches(c->exclude, path, false);
}

/* Comma-separated. */
static struct ignore *patterns(const char *list)
{
	struct ignore *i = NULL;
	_cleanup_free_ char *own = xstrdup(list);
	char *rest = NULL;
	for (char *word = strtok_r(own, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		word += strspn(word, " \t");
		size_t len = strlen(word);
		while (len > 0 && (word[len - 1] == ' ' || word[len - 1] == '\t'))
			word[--len] = '\0';
		if (len == 0 || len > PATTERN_MAX)
			continue;
		if (i == NULL)
			i = ignore_new();
		/* A `!` or `#` stands for itself here. */
		_cleanup_free_ char *pattern =
			word[0] == '!' || word[0] == '#' ? xasprintf("\\%s", word) : xstrdup(word);
		ignore_add(i, pattern);
	}
	return i;
}

static int set_url(struct lfs_config *c, const char *url, struct err *err)
{
	size_t len = strlen(url);
	while (len > 0 && url[len - 1] == '/')
		len--;
	if (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0) {
		_cleanup_free_ char *shown = shown_text(url, strlen(url), 100);
		int r = err_set(err, ERR_UNSUPPORTED, ".lfsconfig says that the contents are at '%s'", shown);
		return err_hint(
			err, r,
			"an address of http or https is understood; else `lfs: false`, and `git lfs pull` in a step");
	}
	free(c->url);
	c->url = xstrndup(url, len);
	return 0;
}

static const char *value_of(git_config *config, const char *key)
{
	const char *value = NULL;
	return git_config_get_string(&value, config, key) == 0 && value != NULL && value[0] != '\0' ? value : NULL;
}

static int take(struct lfs_config *c, git_config *config, struct err *err)
{
	const char *url = value_of(config, "lfs.url"), *of_remote = value_of(config, "remote.origin.lfsurl"),
		   *include = value_of(config, "lfs.fetchinclude"), *exclude = value_of(config, "lfs.fetchexclude"),
		   *skips = value_of(config, "lfs.skipdownloaderrors");
	int yes = 0;
	c->include = include != NULL ? patterns(include) : NULL;
	c->exclude = exclude != NULL ? patterns(exclude) : NULL;
	c->skips = skips != NULL && git_config_parse_bool(&yes, skips) == 0 && yes;
	url = url != NULL ? url : of_remote;
	return url != NULL ? set_url(c, url, err) : 0;
}

/* libgit2 reads files only, and would follow what they include to anywhere. */
static int check_text(const char *text, size_t len, struct err *err)
{
	if (len > CONFIG_MAX)
		return err_set(err, ERR_LIMIT, ".lfsconfig is larger than %d KiB", CONFIG_MAX >> 10);
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0' || (text[i] == '[' && len - i > 8 &&
		                        strncasecmp(text + i + 1 + strspn(text + i + 1, " \t"), "include", 7) == 0))
			return err_set(err, ERR_INVALID, ".lfsconfig includes another file, or is no text");
	return 0;
}

static int parse(struct lfs_config *c, const char *text, size_t len, struct err *err)
{
	_cleanup_free_ char *dir = NULL;
	git_config *whole _cleanup_(config_freep) = NULL, *config _cleanup_(config_freep) = NULL;
	int r = fs_make_temp_dir("davit-lfs-", &dir, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = fs_join(dir, "config");
	r = fs_write_replace(AT_FDCWD, path, text, len, 0600, err);
	if (r >= 0 && (git_config_open_ondisk(&whole, path) != 0 || git_config_snapshot(&config, whole) != 0))
		r = err_set(err, ERR_INVALID, ".lfsconfig cannot be read: it is no configuration of git");
	if (r >= 0)
		r = take(c, config, err);
	fs_remove_tree(AT_FDCWD, dir, NULL);
	return r;
}

int lfs_config_read(struct lfs_config *c, git_repository *repo, const git_oid *blob, const char *remote,
                    struct err *err)
{
	git_blob *file _cleanup_(blob_freep) = NULL;
	if (str_starts(remote, "https://") || str_starts(remote, "http://"))
		c->url = xasprintf("%s%s/info/lfs", remote, str_ends(remote, ".git") ? "" : ".git");
	if (blob == NULL)
		return 0;
	int r = git_blob_lookup(&file, repo, blob);
	if (r != 0)
		return git_area_error(err, r, ".lfsconfig");
	const char *text = git_blob_rawcontent(file);
	size_t len = (size_t)git_blob_rawsize(file);
	r = check_text(text, len, err);
	return r < 0 ? r : parse(c, text, len, err);
}
