#include "unit/cmocka_all.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 1500, ROUNDS_MAX = 200000 };

static char *place;
static int root = -1, outside = -1;

static void put(int dir, const char *path)
{
	assert_int_equal(fs_write_replace(dir, path, "x", 1, 0600, NULL), 0);
}

/* PLACE/root/{dir/file, link -> ../outside, fifo}, PLACE/outside/precious */
static int make_place(void **state)
{
	(void)state;
	if (fs_make_temp_dir("davit-beneath-test", &place, NULL) < 0)
		return -1;
	_cleanup_close_ int top = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fs_mkdirs(top, "root/dir", 0700, NULL), 0);
	assert_int_equal(fs_mkdirs(top, "outside", 0700, NULL), 0);
	put(top, "root/dir/file");
	put(top, "outside/precious");
	assert_int_equal(symlinkat("../outside", top, "root/link"), 0);
	assert_int_equal(mkfifoat(top, "root/fifo", 0600), 0);
	root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	outside = openat(top, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static int drop_place(void **state)
{
	(void)state;
	closep(&root);
	closep(&outside);
	int r = fs_remove_tree(AT_FDCWD, place, NULL);
	free(place);
	return r;
}

static void assert_outside_untouched(void)
{
	struct stat st;
	assert_true(fs_exists(outside, "precious"));
	assert_int_equal(fstat(outside, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mode & 07777, 0700);
	/* Nothing was put beside it. */
	assert_int_equal(unlinkat(outside, "precious", 0), 0);
	_cleanup_free_ char *path = xasprintf("%s/outside", place);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	close(outside);
	outside = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(outside, "precious");
}

static void no_function_passes_a_link_or_leaves_the_directory(void **state)
{
	(void)state;
	static const char *const bad[] = {"link/precious",
	                                  "link/new",
	                                  "../outside/precious",
	                                  "dir/../../outside/precious",
	                                  "/etc/passwd",
	                                  "/",
	                                  "..",
	                                  "link/../dir/../../outside/new"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct stat st;
		_cleanup_free_ char *name = NULL;
		_cleanup_(str_done) struct str text = STR_INIT(100);
		assert_int_equal(fs_open_beneath(root, bad[i], O_WRONLY | O_CREAT, 0600, NULL), ERR_REFUSED);
		assert_int_equal(fs_open_beneath(root, bad[i], O_RDONLY, 0, NULL), ERR_REFUSED);
		assert_int_equal(fs_stat_beneath(root, bad[i], &st, NULL), ERR_REFUSED);
		assert_int_equal(fs_read_beneath(root, bad[i], 100, &text, NULL), ERR_REFUSED);
		assert_int_equal(fs_parent_beneath(root, bad[i], &name, NULL), ERR_REFUSED);
		assert_int_equal(fs_mkdirs_beneath(root, bad[i], 0700, NULL), ERR_REFUSED);
		assert_int_equal(fs_rename_beneath(root, "dir/file", bad[i], 0, NULL), ERR_REFUSED);
		assert_int_equal(fs_rename_beneath(root, bad[i], "dir/file", 0, NULL), ERR_REFUSED);
		assert_int_equal(fs_unlink_beneath(root, bad[i], NULL), ERR_REFUSED);
		assert_int_equal(fs_remove_tree_beneath(root, bad[i], NULL), ERR_REFUSED);
	}
	assert_true(fs_exists(root, "dir/file"));
	assert_outside_untouched();
}

static void a_link_at_the_end_is_itself_and_never_what_it_names(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(fs_open_beneath(root, "link", O_RDONLY, 0, NULL), ERR_REFUSED);
	assert_int_equal(fs_open_beneath(root, "link", O_RDONLY | O_DIRECTORY, 0, NULL), ERR_REFUSED);
	assert_int_equal(fs_open_beneath(root, "link", O_PATH, 0, NULL), ERR_REFUSED);
	assert_int_equal(fs_mkdirs_beneath(root, "link", 0700, NULL), ERR_REFUSED);
	assert_int_equal(fs_stat_beneath(root, "link", &st, NULL), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(fs_rename_beneath(root, "link", "other", 0, NULL), 0);
	assert_int_equal(fs_remove_tree_beneath(root, "other", NULL), 0);
	assert_int_equal(fs_remove_tree_beneath(root, "other", NULL), 0);
	assert_int_equal(fs_unlink_beneath(root, "other", NULL), ERR_NOT_FOUND);
	assert_outside_untouched();
}

static void what_is_below_is_made_read_renamed_and_removed(void **state)
{
	(void)state;
	struct stat st;
	_cleanup_(str_done) struct str text = STR_INIT(100);
	_cleanup_close_ int made = fs_mkdirs_beneath(root, "new/./deep//dir", 0711, NULL);
	assert_true(made >= 0);
	assert_int_equal(fstat(made, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	_cleanup_close_ int again = fs_mkdirs_beneath(root, "new/deep/dir", 0700, NULL);
	assert_true(again >= 0);
	_cleanup_close_ int file = fs_open_beneath(root, "new/deep/dir/x", O_WRONLY | O_CREAT | O_EXCL, 0600, NULL);
	assert_int_equal(fs_write_all(file, "text", 4, NULL), 0);
	assert_int_equal(fs_rename_beneath(root, "new/deep/dir/x", "dir/../dir/y", 0, NULL), 0);
	assert_int_equal(fs_read_beneath(root, "dir/y", 4, &text, NULL), 0);
	assert_string_equal(text.data, "text");
	assert_int_equal(fs_read_beneath(root, "dir/y", 3, &text, NULL), ERR_LIMIT);
	assert_int_equal(fs_rename_beneath(root, "dir/y", "dir/file", RENAME_NOREPLACE, NULL), ERR_EXISTS);
	assert_int_equal(fs_unlink_beneath(root, "dir/y", NULL), 0);
	assert_int_equal(fs_remove_tree_beneath(root, "new", NULL), 0);
	assert_int_equal(fs_stat_beneath(root, "new/deep", &st, NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_stat_beneath(root, ".", &st, NULL), 0);
	assert_int_equal(fs_parent_beneath(root, ".", &(char *){NULL}, NULL), ERR_INVALID);
	assert_int_equal(fs_remove_tree_beneath(root, ".", NULL), ERR_INVALID);
}

static void a_pipe_is_refused_without_waiting_for_who_writes_into_it(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str text = STR_INIT(100);
	alarm(20);
	assert_int_equal(fs_read_beneath(root, "fifo", 100, &text, NULL), ERR_REFUSED);
	assert_int_equal(fs_read_beneath(root, "dir", 100, &text, NULL), ERR_REFUSED);
	alarm(0);
}

/* ---- somebody swaps ---- */

static atomic_bool swapping;

/* dir is by turns a directory and a link to the outside. */
static void *swap(void *unused)
{
	(void)unused;
	while (atomic_load(&swapping))
		renameat2(root, "dir", root, "link", RENAME_EXCHANGE);
	return NULL;
}

struct score {
	size_t done, refused;
};

static void count(struct score *s, int r)
{
	s->done += r >= 0;
	s->refused += r == ERR_REFUSED;
}

static void a_link_that_is_swapped_in_never_wins(void **state)
{
	(void)state;
	pthread_t other;
	struct score made = {0}, opened = {0}, renamed = {0}, removed = {0};
	put(root, "source");
	atomic_store(&swapping, true);
	assert_int_equal(pthread_create(&other, NULL, swap, NULL), 0);
	/* Until both ways were met often enough, with an end where one never is. */
	for (size_t i = 0;
	     i < ROUNDS || (i < ROUNDS_MAX && (made.refused < 5 || opened.refused < 5 || renamed.done < 5)); i++) {
		int fd = fs_mkdirs_beneath(root, "dir/a/b", 0700, NULL);
		count(&made, fd);
		closep(&fd);
		fd = fs_open_beneath(root, "dir/new", O_WRONLY | O_CREAT, 0600, NULL);
		count(&opened, fd);
		closep(&fd);
		count(&renamed, fs_rename_beneath(root, "source", "dir/moved", 0, NULL));
		put(root, "source");
		count(&removed, fs_remove_tree_beneath(root, "dir/a", NULL));
		count(&removed, fs_unlink_beneath(root, "dir/precious", NULL));
	}
	atomic_store(&swapping, false);
	pthread_join(other, NULL);
	assert_true(made.done > 0 && made.refused > 0);
	assert_true(opened.done > 0 && opened.refused > 0);
	assert_true(renamed.done > 0 && renamed.refused > 0);
	assert_true(removed.done > 0 && removed.refused > 0);
	assert_outside_untouched();
}

static void links_within_the_root_are_followed_and_none_that_leaves_it(void **state)
{
	(void)state;
	_cleanup_free_ char *top = fs_join(place, "root"), *other = fs_join(place, "other"),
			    *path = fs_join(other, "in/file");
	struct err err = ERR_INIT;
	char *real = NULL;
	assert_int_equal(symlinkat("dir", root, "in"), 0);
	assert_int_equal(symlink("root", other), 0);
	const char *const ways[] = {"in/file", "dir/../in/file", path};
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		_cleanup_close_ int fd = fs_open_within(other, ways[i], O_RDONLY, &real, &err);
		assert_true(fd >= 0);
		assert_true(str_ends(real, "/root/dir/file"));
		free(TAKE(real));
	}
	const char *const leaving[] = {"link/precious", "../outside", "/etc/passwd"};
	for (size_t i = 0; i < ARRAY_SIZE(leaving); i++)
		assert_int_equal(fs_open_within(top, leaving[i], O_RDONLY, &real, &err), ERR_REFUSED);
	assert_int_equal(fs_open_within(top, "nothing", O_RDONLY, &real, NULL), ERR_NOT_FOUND);
	assert_int_equal(unlinkat(root, "in", 0), 0);
	assert_int_equal(unlink(other), 0);
}

static void a_link_that_is_swapped_in_after_it_was_resolved_is_refused(void **state)
{
	(void)state;
	_cleanup_free_ char *top = fs_join(place, "root");
	pthread_t other;
	struct score opened = {0};
	put(outside, "file");
	atomic_store(&swapping, true);
	assert_int_equal(pthread_create(&other, NULL, swap, NULL), 0);
	for (size_t i = 0; i < ROUNDS || (i < ROUNDS_MAX && (opened.done < 5 || opened.refused < 5)); i++) {
		_cleanup_free_ char *real = NULL;
		_cleanup_close_ int fd = fs_open_within(top, "dir/file", O_RDONLY, &real, NULL);
		struct stat st, bait;
		count(&opened, fd);
		assert_int_equal(fstatat(outside, "file", &bait, 0), 0);
		assert_true(fd < 0 || (fstat(fd, &st) == 0 && st.st_ino != bait.st_ino));
	}
	atomic_store(&swapping, false);
	pthread_join(other, NULL);
	assert_true(opened.done > 0 && opened.refused > 0);
	assert_int_equal(unlinkat(outside, "file", 0), 0);
}

/* ---- a kernel or a container without openat2 ---- */

static int refuse_openat2(int errnum)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)errnum),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(no_function_passes_a_link_or_leaves_the_directory, make_place, drop_place),
	cmocka_unit_test_setup_teardown(a_link_at_the_end_is_itself_and_never_what_it_names, make_place, drop_place),
	cmocka_unit_test_setup_teardown(what_is_below_is_made_read_renamed_and_removed, make_place, drop_place),
	cmocka_unit_test_setup_teardown(a_pipe_is_refused_without_waiting_for_who_writes_into_it, make_place,
                                        drop_place),
	cmocka_unit_test_setup_teardown(links_within_the_root_are_followed_and_none_that_leaves_it, make_place,
                                        drop_place),
	cmocka_unit_test_setup_teardown(a_link_that_is_swapped_in_never_wins, make_place, drop_place),
	cmocka_unit_test_setup_teardown(a_link_that_is_swapped_in_after_it_was_resolved_is_refused, make_place,
                                        drop_place),
};

/* The same tests in a process to which openat2 answers errnum. */
static int run_without_openat2(int errnum)
{
	int status = 0;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (refuse_openat2(errnum) != 0 || syscall(SYS_openat2, -1, "", NULL, 0) != -1 || errno != errnum)
			_exit(99);
		_exit(cmocka_run_group_tests_name(errnum == EPERM ? "openat2 refused" : "openat2 missing", tests, NULL,
		                                  NULL) != 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status);
}

int main(void)
{
	int failed = cmocka_run_group_tests_name("openat2", tests, NULL, NULL);
	failed += run_without_openat2(ENOSYS);
	failed += run_without_openat2(EPERM);
	return failed != 0;
}
