#include "unit/cmocka_all.h"
#include "base/archive/archive.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/core/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct place {
	char *path;
	int fd;
};

static int setup(void **state)
{
	struct err err = ERR_INIT;
	struct place *p = xcalloc(1, sizeof(*p));
	if (fs_make_temp_dir("walk", &p->path, &err) < 0)
		return -1;
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	close(p->fd);
	fs_remove_tree(AT_FDCWD, p->path, NULL);
	free(p->path);
	free(p);
	return 0;
}

static void assert_digest(const struct tree_entry *e, const char *want)
{
	char hex[2 * TREE_DIGEST_BYTES + 1];
	tree_entry_hex(e, hex);
	assert_string_equal(hex, want);
}

static void put(const struct place *p, const char *path, const char *text)
{
	const char *slash = strrchr(path, '/');
	if (slash) {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(slash - path));
		assert_int_equal(fs_mkdirs(p->fd, dir, 0755, NULL), 0);
	}
	assert_int_equal(fs_write_replace(p->fd, path, text, strlen(text), 0644, NULL), 0);
}

static void entries_come_sorted_by_path_with_digests(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	char hex[65];

	put(p, "a/x", "one");
	put(p, "a-b", "two");
	put(p, "a.txt", "");
	assert_int_equal(symlinkat("a/x", p->fd, "link"), 0);
	assert_int_equal(tree_walk(p->fd, NULL, true, NULL, &t, &err), 0);
	assert_int_equal(t.count, 5);
	static const char *const paths[] = {"a", "a-b", "a.txt", "a/x", "link"};
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(t.entries[i].path, paths[i]);
	digest_of("one", 3, hex);
	assert_digest(tree_find(&t, "a/x"), hex);
	digest_of("", 0, hex);
	assert_digest(tree_find(&t, "a.txt"), hex);
	assert_string_equal(tree_find(&t, "link")->link, "a/x");
	assert_null(tree_find(&t, "b"));
	assert_int_equal(t.bytes, 6);
	tree_done(&t);
}

static void many_files_are_digested_by_both_threads_alike(void **state)
{
	struct place *p = *state;
	struct tree t = {0};
	char path[32], hex[65];

	for (int i = 0; i < 400; i++) {
		snprintf(path, sizeof(path), "d%d/f%d", i % 7, i);
		put(p, path, path);
	}
	assert_int_equal(tree_walk(p->fd, NULL, true, NULL, &t, NULL), 0);
	assert_int_equal(t.count, 407);
	for (size_t i = 0; i < t.count; i++) {
		if (!S_ISREG(t.entries[i].mode))
			continue;
		digest_of(t.entries[i].path, strlen(t.entries[i].path), hex);
		assert_digest(&t.entries[i], hex);
	}
	tree_done(&t);
}

static void excluded_subtrees_are_not_entered(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	struct ignore *i = ignore_new();

	put(p, "src/main.c", "x");
	put(p, "node_modules/m/index.js", "x");
	/* A socket would be refused if the walk came by. */
	assert_int_equal(mkfifoat(p->fd, "node_modules/pipe", 0600), 0);
	ignore_add(i, "node_modules/");
	assert_int_equal(tree_walk(p->fd, i, true, NULL, &t, &err), 0);
	assert_int_equal(t.count, 2);
	tree_done(&t);
	ignore_free(i);
}

static void pipes_are_refused_by_name(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};

	put(p, "run/x", "x");
	assert_int_equal(mkfifoat(p->fd, "run/control", 0600), 0);
	assert_int_equal(tree_walk(p->fd, NULL, false, NULL, &t, &err), ERR_INVALID);
	assert_non_null(strstr(err.frames[0].text, "'run/control' is a named pipe"));
	assert_int_equal(t.count, 0);
}

static void a_link_to_a_directory_is_an_entry_and_not_a_way(void **state)
{
	struct place *p = *state;
	struct tree t = {0};

	put(p, "real/x", "x");
	assert_int_equal(symlinkat("real", p->fd, "alias"), 0);
	assert_int_equal(symlinkat("/", p->fd, "root"), 0);
	assert_int_equal(tree_walk(p->fd, NULL, true, NULL, &t, NULL), 0);
	assert_int_equal(t.count, 4);
	tree_done(&t);
}

static void ignore_files_in_the_tree_hold_below_them(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	struct ignore *i = ignore_new();

	put(p, ".gitignore", "*.log\n");
	put(p, "x.log", "x");
	put(p, "sub/.gitignore", "!keep.log\n/only\n");
	put(p, "sub/keep.log", "x");
	put(p, "sub/drop.log", "x");
	put(p, "sub/only", "x");
	put(p, "other/only", "x");
	put(p, "other/keep.log", "x");
	ignore_add_file_name(i, ".gitignore");
	assert_int_equal(tree_walk(p->fd, i, false, NULL, &t, &err), 0);
	assert_non_null(tree_find(&t, "sub/keep.log"));
	assert_non_null(tree_find(&t, "other/only"));
	assert_null(tree_find(&t, "x.log"));
	assert_null(tree_find(&t, "sub/drop.log"));
	assert_null(tree_find(&t, "sub/only"));
	assert_null(tree_find(&t, "other/keep.log"));
	tree_done(&t);
	ignore_free(i);
}

static void a_file_that_changed_is_told_when_digested(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};

	put(p, "a", "one");
	assert_int_equal(tree_walk(p->fd, NULL, false, NULL, &t, NULL), 0);
	put(p, "a", "longer");
	assert_int_equal(tree_digest(p->fd, &t, NULL, false, NULL, &err), ERR_CONFLICT);
	assert_int_equal(unlinkat(p->fd, "a", 0), 0);
	assert_int_equal(tree_digest(p->fd, &t, NULL, false, NULL, &err), ERR_CONFLICT);
	tree_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_come_sorted_by_path_with_digests, setup, teardown),
		cmocka_unit_test_setup_teardown(many_files_are_digested_by_both_threads_alike, setup, teardown),
		cmocka_unit_test_setup_teardown(excluded_subtrees_are_not_entered, setup, teardown),
		cmocka_unit_test_setup_teardown(pipes_are_refused_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_to_a_directory_is_an_entry_and_not_a_way, setup, teardown),
		cmocka_unit_test_setup_teardown(ignore_files_in_the_tree_hold_below_them, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_changed_is_told_when_digested, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
