#include "base/git/mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/core/mem.h"

enum {
	DEPTH_MAX = 64,
	REFERENCE_MAX = 4096,
	SHALLOW_MAX = 4 << 20,
	PACKED_REFS_MAX = 64 << 20,
	ID = 20,
	PACK_HEADER = 12,
	INDEX_TRAILER = 2 * ID
};

struct mending {
	char *why; /* cannot be fixed */
};

/* The place decides what a file must be. */
enum place { PLACE_TOP, PLACE_REFS, PLACE_OBJECTS, PLACE_LOOSE, PLACE_PACK, PLACE_OTHER };

static void give_up(struct mending *m, const char *what, const char *name)
{
	if (m->why == NULL)
		m->why = xasprintf("%s %s", name, what);
}

/* A power cut leaves files without content, or with holes in place of content. */
static bool has_hole(int fd, const struct stat *st)
{
	off_t hole = lseek(fd, 0, SEEK_HOLE);
	return hole >= 0 && hole < st->st_size;
}

static int open_file(int dir, const char *name, struct stat *ret)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, ret) != 0 || !S_ISREG(ret->st_mode)))
		closep(&fd);
	return fd;
}

static bool is_filled(int dir, const char *name)
{
	struct stat st;
	int fd _cleanup_close_ = open_file(dir, name, &st);
	return fd >= 0 && st.st_size > 0 && !has_hole(fd, &st);
}

static bool is_id(const char *text)
{
	return strspn(text, "0123456789abcdef") == 2 * ID;
}

static bool is_reference(int dir, const char *name)
{
	struct str text _cleanup_(str_done) = STR_INIT(REFERENCE_MAX + 1);
	if (fs_read_beneath(dir, name, REFERENCE_MAX, &text, NULL) < 0 || text.data == NULL)
		return false;
	if (str_starts(text.data, "ref: "))
		return true;
	return is_id(text.data) && (text.data[2 * ID] == '\n' || text.data[2 * ID] == '\0');
}

/* An empty list would mean a complete history. */
static bool is_shallow_list(int dir, const char *name)
{
	struct str text _cleanup_(str_done) = STR_INIT(SHALLOW_MAX + 1);
	if (fs_read_beneath(dir, name, SHALLOW_MAX, &text, NULL) < 0 || text.len == 0)
		return false;
	for (size_t at = 0; at < text.len; at += 2 * ID + 1)
		if (!is_id(text.data + at) || text.data[at + 2 * ID] != '\n')
			return false;
	return true;
}

/* "# …", "ID NAME", "^ID", each with its line feed. */
static bool is_packed_refs(int dir, const char *name)
{
	struct str text _cleanup_(str_done) = STR_INIT(PACKED_REFS_MAX + 1);
	if (fs_read_beneath(dir, name, PACKED_REFS_MAX, &text, NULL) < 0 || text.len == 0 ||
	    memchr(text.data, '\0', text.len) != NULL)
		return false;
	for (const char *line = text.data, *end; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		if (end == NULL)
			return false;
		if (*line == '#' || (*line == '^' && is_id(line + 1)))
			continue;
		if (!is_id(line) || line[2 * ID] != ' ' || strncmp(line + 2 * ID + 1, "refs/", 5) != 0)
			return false;
	}
	return true;
}

/* The pack ends with its checksum, which its index repeats. */
static bool is_pack(int dir, const char *name)
{
	struct stat st, index_st;
	unsigned char head[PACK_HEADER], end[ID], named[ID];
	_cleanup_free_ char *index_name = xasprintf("%.*s.idx", (int)(strlen(name) - strlen(".pack")), name);
	int pack _cleanup_close_ = open_file(dir, name, &st);
	int index _cleanup_close_ = open_file(dir, index_name, &index_st);
	if (index < 0 || pack < 0 || st.st_size < PACK_HEADER + ID || index_st.st_size < INDEX_TRAILER ||
	    has_hole(pack, &st) || has_hole(index, &index_st))
		return false;
	return pread(pack, head, sizeof(head), 0) == PACK_HEADER && memcmp(head, "PACK", 4) == 0 &&
	       pread(pack, end, sizeof(end), st.st_size - ID) == ID &&
	       pread(index, named, sizeof(named), index_st.st_size - INDEX_TRAILER) == ID &&
	       memcmp(end, named, ID) == 0;
}

static void remove_file(int dir, const char *name, struct mending *m)
{
	if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
		give_up(m, "cannot be removed", name);
}

static void mend_top(int dir, const char *name, bool is_file, struct mending *m)
{
	static const char *const needed[] = {"HEAD", "config"};
	static const char *const directories[] = {"objects", "refs", "logs", "info"};
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (strcmp(name, needed[i]) == 0 && !is_filled(dir, name))
			give_up(m, "is not a complete file", name);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (strcmp(name, directories[i]) == 0)
			give_up(m, "is not a directory", name);
	if (strcmp(name, "shallow") == 0 && (!is_file || !is_shallow_list(dir, name)))
		give_up(m, "is not a list of commits", name);
	if (strcmp(name, "packed-refs") == 0 && !is_packed_refs(dir, name))
		remove_file(dir, name, m);
	if (strcmp(name, "index") == 0 && !is_filled(dir, name))
		remove_file(dir, name, m);
}

static void mend_pack(int dir, const char *name, struct mending *m)
{
	/* git's tmp_pack_…, libgit2's pack_git2_… */
	if (str_starts(name, "tmp_") || str_starts(name, "pack_git2_"))
		remove_file(dir, name, m);
	else if (str_ends(name, ".pack") && !is_pack(dir, name))
		give_up(m, "is cut, has holes or no index", name);
	else if (str_ends(name, ".idx")) {
		_cleanup_free_ char *pack = xasprintf("%.*s.pack", (int)(strlen(name) - strlen(".idx")), name);
		if (!fs_exists(dir, pack))
			give_up(m, "has no pack", name);
	}
}

/* No directory. */
static void mend_file(int dir, const char *name, enum place place, bool is_file, struct mending *m)
{
	if (str_ends(name, ".lock")) {
		remove_file(dir, name, m);
	} else if (place == PLACE_TOP) {
		mend_top(dir, name, is_file, m);
	} else if (place == PLACE_REFS) {
		if (!is_file || !is_reference(dir, name))
			remove_file(dir, name, m);
	} else if (place == PLACE_LOOSE) {
		if (str_starts(name, "tmp_obj_") || !is_filled(dir, name))
			remove_file(dir, name, m);
	} else if (place == PLACE_PACK) {
		mend_pack(dir, name, m);
	} else if (place == PLACE_OBJECTS && (str_starts(name, "tmp_obj_") || str_starts(name, "pack_git2_"))) {
		remove_file(dir, name, m);
	}
}

static enum place place_of(enum place parent, const char *name)
{
	if (parent == PLACE_TOP)
		return strcmp(name, "refs") == 0      ? PLACE_REFS
		       : strcmp(name, "objects") == 0 ? PLACE_OBJECTS
		                                      : PLACE_OTHER;
	if (parent == PLACE_OBJECTS)
		return strcmp(name, "pack") == 0 ? PLACE_PACK : strlen(name) == 2 ? PLACE_LOOSE : PLACE_OTHER;
	return parent == PLACE_REFS ? PLACE_REFS : PLACE_OTHER;
}

static int mend_directory(int parent, const char *name, enum place place, int depth, struct mending *m,
                          struct err *err);

static int mend_entry(int dir, const struct dirent *entry, enum place place, int depth, struct mending *m,
                      struct err *err)
{
	struct stat st;
	if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "look at .git/%s", entry->d_name);
	if (!S_ISDIR(st.st_mode)) {
		mend_file(dir, entry->d_name, place, S_ISREG(st.st_mode), m);
		return 0;
	}
	if (str_ends(entry->d_name, ".lock"))
		return fs_remove_tree(dir, entry->d_name, err);
	/* Not git's own. */
	if (place == PLACE_TOP && (strcmp(entry->d_name, "hooks") == 0 || strcmp(entry->d_name, "lfs") == 0))
		return 0;
	return mend_directory(dir, entry->d_name, place_of(place, entry->d_name), depth, m, err);
}

static int mend_directory(int parent, const char *name, enum place place, int depth, struct mending *m, struct err *err)
{
	if (depth > DEPTH_MAX) {
		give_up(m, "lies too deep", name);
		return 0;
	}
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		give_up(m, "cannot be read", name);
		closep(&fd);
		return 0;
	}
	int r = 0;
	const struct dirent *entry;
	while (r >= 0 && m->why == NULL && (entry = readdir(d)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = mend_entry(dirfd(d), entry, place, depth + 1, m, err);
	closedir(d);
	return r;
}

int git_mend(int parent, const char *git, char **ret_why, struct err *err)
{
	struct mending m = {NULL};
	int r = mend_directory(parent, git, PLACE_TOP, 0, &m, err);
	if (r < 0) {
		free(m.why);
		return r;
	}
	*ret_why = m.why;
	return m.why != NULL;
}
