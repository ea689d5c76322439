#include "base/sys/landlock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/core/str.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* As in <linux/landlock.h>, which lacks the newer ones on older systems. */
enum { CREATE_VERSION = 1, RULE_PATH = 1 };
enum { ON_EXECUTE = 1 << 0, ON_WRITE = 1 << 1, ON_READ = 1 << 2, ON_MOVE = 1 << 13, ON_TRUNCATE = 1 << 14 };
enum { ON_FILE = ON_EXECUTE | ON_WRITE | ON_READ | ON_TRUNCATE, ON_ANYTHING = (1 << 15) - 1 };
enum { SCOPE_SOCKETS = 1, SCOPE_SIGNALS = 2 };
struct rules {
	uint64_t files, network, scopes;
};
struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	return abi < 0 ? 0 : (int)abi;
}

/* ---- allowed paths ---- */

/* Paths in their order: of a thousand directories one is found by halving, or those below a directory. */
struct paths {
	const char **items;
	size_t count;
};

struct walk {
	int rules;
	uint64_t handled;
	struct paths closed, open;
};

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct paths sort_paths(const char *const *given)
{
	struct paths p = {0};
	while (given != NULL && given[p.count] != NULL)
		p.count++;
	p.items = xcalloc(p.count, sizeof(p.items[0]));
	for (size_t i = 0; i < p.count; i++)
		p.items[i] = given[i];
	qsort(p.items, p.count, sizeof(p.items[0]), compare_paths);
	return p;
}

/* The first one that is not before `path`. */
static size_t place_of(const struct paths *p, const char *path)
{
	size_t low = 0, high = p->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (strcmp(p->items[middle], path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_one_of(const struct paths *p, const char *path)
{
	size_t at = place_of(p, path);
	return at < p->count && strcmp(p->items[at], path) == 0;
}

static bool leads_to_one_of(const struct paths *p, const char *path)
{
	_cleanup_free_ char *inside = xasprintf("%s/", strcmp(path, "/") == 0 ? "" : path);
	size_t at = place_of(p, inside);
	if (at < p->count && strcmp(p->items[at], path) == 0)
		at++;
	return at < p->count && str_starts(p->items[at], inside);
}

/* Links are skipped: their targets are allowed, or not, under their own names. */
static int allow(const struct walk *w, const char *path, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	/* An unreachable path needs no right. */
	if (fd < 0 || fstat(fd, &st) < 0 || S_ISLNK(st.st_mode))
		return 0;
	struct path_rule rule = {.allowed = w->handled & (S_ISDIR(st.st_mode) ? ON_ANYTHING : ON_FILE), .fd = fd};
	if (syscall(SYS_landlock_add_rule, w->rules, RULE_PATH, &rule, 0) == 0)
		return 0;
	/* Internal file systems of the kernel (EBADFD) accept no rule, and need none. */
	return errno == EBADFD ? 0 : err_errno(err, errno, "leave %s open to jobs", path);
}

static int allow_below(const struct walk *w, const char *dir, bool closed, struct err *err);

static int look_at(const struct walk *w, const char *path, bool closed, struct err *err)
{
	if (is_one_of(&w->open, path))
		return allow(w, path, err);
	closed = closed || is_one_of(&w->closed, path);
	if (leads_to_one_of(closed ? &w->open : &w->closed, path))
		return allow_below(w, path, closed, err);
	return closed ? 0 : allow(w, path, err);
}

static void closedirp(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static int allow_below(const struct walk *w, const char *path, bool closed, struct err *err)
{
	_cleanup_(closedirp) DIR *dir = opendir(path);
	int r = dir == NULL && errno != ENOENT && errno != ENOTDIR && errno != EACCES
	                ? err_errno(err, errno, "list %s", path)
	                : 0;
	for (struct dirent *e; r == 0 && dir != NULL && (e = readdir(dir)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		_cleanup_free_ char *below = fs_join(path, e->d_name);
		r = look_at(w, below, closed, err);
	}
	return r;
}

/* A set of rules must hold something. Before there were scopes it holds a right that is then given for everything; and a
 * set that does not name moves forbids them. */
static struct rules choose_rules(const struct landlock_plan *plan, int abi)
{
	struct rules rules = {.files = ON_EXECUTE | ON_MOVE};
	if (abi >= LANDLOCK_SIGNALS)
		rules = (struct rules){.scopes = SCOPE_SOCKETS | (plan->signals ? SCOPE_SIGNALS : 0)};
	if (plan->closed != NULL)
		rules.files = ON_ANYTHING;
	return rules;
}

int landlock_prepare(const struct landlock_plan *plan, struct err *err)
{
	int abi = landlock_abi(), r = 0;
	if (abi < (plan->closed != NULL ? LANDLOCK_FILES : LANDLOCK_PROCESSES))
		return err_set(err, ERR_UNSUPPORTED, "this kernel has no Landlock%s",
		               abi > 0 ? " that is new enough" : "");
	struct rules rules = choose_rules(plan, abi);
	size_t size = abi >= LANDLOCK_SIGNALS ? sizeof(rules) : sizeof(rules.files);
	_cleanup_close_ int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return err_errno(err, errno, "prepare Landlock");
	const struct walk w = {.rules = fd,
	                       .handled = rules.files,
	                       .closed = sort_paths(plan->closed),
	                       .open = sort_paths(plan->open)};
	if (rules.files != 0)
		r = look_at(&w, "/", false, err);
	free(w.closed.items);
	free(w.open.items);
	return r < 0 ? r : take_fd(&fd);
}

int landlock_enter(int rules, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_errno(err, errno, "go behind Landlock's walls");
	return 0;
}
