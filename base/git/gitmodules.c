#include "base/git/gitmodules.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/git/git_priv.h"
#include "base/sys/fs.h"

enum { NAME_MAX_BYTES = 1024 };
static const char *const update_words[] = {
	[MODULE_UPDATE_UNSAID] = "",     [MODULE_UPDATE_CHECKOUT] = "checkout", [MODULE_UPDATE_REBASE] = "rebase",
	[MODULE_UPDATE_MERGE] = "merge", [MODULE_UPDATE_NONE] = "none",
};

const char *git_module_update_word(enum git_module_update update)
{
	return update_words[update];
}

void git_modules_done(struct git_modules *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->items[i].name);
		free(m->items[i].path);
		free(m->items[i].url);
	}
	free(m->items);
	*m = (struct git_modules){.count = 0};
}

/* ---- what is taken ---- */

static bool is_plain(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return true;
}

/* No part of it is empty, "." or "..", whichever slash divides them. */
static bool is_safe_name(const char *name)
{
	const char *part = name;
	if (strlen(name) > NAME_MAX_BYTES || !is_plain(name))
		return false;
	while (true) {
		size_t len = strcspn(part, "/\\");
		if (len == 0 || (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.'))))
			return false;
		if (part[len] == '\0')
			return true;
		part += len + 1;
	}
}

/* One that begins with a dash would be an option of some program. */
static char *harmless(const char *value)
{
	return value == NULL || value[0] == '-' || value[0] == '\0' || !is_plain(value) ? NULL : xstrdup(value);
}

static int set_update(struct git_module *m, const char *value, struct err *err)
{
	for (size_t i = MODULE_UPDATE_CHECKOUT; value != NULL && i < ARRAY_SIZE(update_words); i++) {
		if (strcmp(update_words[i], value) == 0) {
			m->update = (enum git_module_update)i;
			return 0;
		}
	}
	int r = err_set(err, ERR_INVALID, "invalid value for 'submodule.%.200s.update' in .gitmodules", m->name);
	return err_hint(err, r, "it is `checkout`, `rebase`, `merge` or `none`; a command is never run from there");
}

static struct git_module *find_or_add(struct git_modules *list, const char *name)
{
	for (size_t i = list->count; i > 0; i--)
		if (strcmp(list->items[i - 1].name, name) == 0)
			return &list->items[i - 1];
	if (list->count == GIT_MODULES_MAX)
		return NULL;
	if ((list->count & (list->count - 1)) == 0)
		list->items = xrealloc(list->items, MAX(2 * list->count, (size_t)1) * sizeof(list->items[0]));
	list->items[list->count] = (struct git_module){.name = xstrdup(name)};
	return &list->items[list->count++];
}

/* "submodule.NAME.KEY" */
static int take(struct git_modules *list, const git_config_entry *entry, struct err *err)
{
	static const char section[] = "submodule.";
	const char *key = strrchr(entry->name, '.');
	if (!str_starts(entry->name, section) || key < entry->name + strlen(section))
		return 0;
	_cleanup_free_ char *name =
		xstrndup(entry->name + strlen(section), (size_t)(key - entry->name) - strlen(section));
	if (!is_safe_name(name))
		return 0;
	struct git_module *m = find_or_add(list, name);
	int yes;
	if (m == NULL)
		return err_set(err, ERR_LIMIT, ".gitmodules names more than %d submodules", GIT_MODULES_MAX);
	if (strcmp(key, ".path") == 0) {
		free(m->path);
		m->path = harmless(entry->value);
	} else if (strcmp(key, ".url") == 0) {
		free(m->url);
		m->url = harmless(entry->value);
	} else if (strcmp(key, ".update") == 0) {
		return set_update(m, entry->value, err);
	} else if (strcmp(key, ".shallow") == 0) {
		m->shallow = git_config_parse_bool(&yes, entry->value) == 0 && yes;
	}
	return 0;
}

/* ---- the file ---- */

/* git does not follow `include` there, libgit2 would, to any file: the section gets a name that says nothing. */
static void disarm_includes(char *text)
{
	for (char *c = strchr(text, '['); c != NULL; c = strchr(c + 1, '[')) {
		char *word = c + 1 + strspn(c + 1, " \t\r\n\f\v");
		if (strncasecmp(word, "include", strlen("include")) == 0)
			word[0] = 'x';
	}
}

/* libgit2 reads configurations of a path only. */
static int open_text(const char *text, size_t len, git_config **ret, struct err *err)
{
	char path[64];
	int fd _cleanup_close_ = memfd_create("davit-gitmodules", MFD_CLOEXEC);
	if (fd < 0)
		return err_set(err, ERR_IO, "no memory for .gitmodules");
	int r = fs_write_all(fd, text, len, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = git_config_open_ondisk(ret, path);
	if (r == 0)
		return 0;
	git_area_error(err, r, "read .gitmodules");
	return err_set(err, ERR_INVALID, ".gitmodules of the commit cannot be read: %s",
	               git_error_last() != NULL ? git_error_last()->message : "it is no configuration of git");
}

int git_modules_parse(const char *text, size_t len, struct git_modules *ret, struct err *err)
{
	struct git_modules list _cleanup_(git_modules_done) = {.count = 0};
	git_config *config _cleanup_(config_freep) = NULL;
	git_config_iterator *all = NULL;
	git_config_entry *entry;
	_cleanup_free_ char *copy = xstrndup(text, len);
	git_area_library();
	disarm_includes(copy);
	int r = open_text(copy, strlen(copy), &config, err);
	if (r < 0)
		return r;
	int e = git_config_iterator_new(&all, config);
	while (r >= 0 && e == 0 && (e = git_config_next(&entry, all)) == 0)
		r = take(&list, entry, err);
	git_config_iterator_free(all);
	if (r < 0)
		return r;
	if (e != GIT_ITEROVER)
		return git_area_error(err, e, "read .gitmodules");
	*ret = list;
	list = (struct git_modules){.count = 0};
	return 0;
}

int git_modules_read(git_repository *repo, struct git_modules *ret, struct err *err)
{
	git_index *index _cleanup_(index_freep) = NULL;
	git_blob *blob _cleanup_(blob_freep) = NULL;
	int r = git_repository_index(&index, repo);
	if (r != 0)
		return git_area_error(err, r, "open the index");
	const git_index_entry *entry = git_index_get_bypath(index, ".gitmodules", 0);
	*ret = (struct git_modules){.count = 0};
	if (entry == NULL || (entry->mode != GIT_FILEMODE_BLOB && entry->mode != GIT_FILEMODE_BLOB_EXECUTABLE))
		return 0;
	r = git_blob_lookup(&blob, repo, &entry->id);
	if (r != 0)
		return git_area_error(err, r, "read .gitmodules");
	if (git_blob_rawsize(blob) > GIT_MODULES_TEXT_MAX)
		return err_set(err, ERR_LIMIT, ".gitmodules is larger than %d KiB", GIT_MODULES_TEXT_MAX >> 10);
	return git_modules_parse(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob), ret, err);
}

int git_modules_links(git_repository *repo, struct strv *ret_paths, struct strv *ret_commits, struct err *err)
{
	git_index *index _cleanup_(index_freep) = NULL;
	int r = git_repository_index(&index, repo);
	if (r != 0)
		return git_area_error(err, r, "open the index");
	for (size_t i = 0; i < git_index_entrycount(index); i++) {
		const git_index_entry *entry = git_index_get_byindex(index, i);
		char hex[GIT_HEX];
		if (entry->mode != GIT_FILEMODE_COMMIT)
			continue;
		strv_add(ret_paths, entry->path);
		strv_add(ret_commits, git_oid_tostr(hex, sizeof(hex), &entry->id));
	}
	return 0;
}

const struct git_module *git_modules_at(const struct git_modules *m, const char *path)
{
	const struct git_module *found = NULL;
	for (size_t i = 0; i < m->count; i++)
		if (m->items[i].path != NULL && strcmp(m->items[i].path, path) == 0)
			found = &m->items[i];
	return found;
}

int git_modules_check_nesting(const struct strv *used, struct err *err)
{
	struct strv names _cleanup_(strv_done) = {0};
	for (size_t i = 0; i < used->count; i++)
		strv_addf(&names, "%s/", used->items[i]);
	strv_sort(&names);
	/* What lies in a directory sorts right behind it. */
	for (size_t i = 1; i < names.count; i++) {
		if (!str_starts(names.items[i], names.items[i - 1]))
			continue;
		int r = err_set(err, ERR_REFUSED,
		                "the git directory of the submodule '%.200s' would lie in that of '%.200s'",
		                names.items[i], names.items[i - 1]);
		return err_hint(err, r, "give one of them another name in .gitmodules");
	}
	return 0;
}
