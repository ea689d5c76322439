/* What archive_pack writes is read by GNU tar, in the poorest locale. */
#include "unit/cmocka_all.h"
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include "base/core/mem.h"
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
	char *path;
	int src, out;
};

static int setup(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));
	if (fs_make_temp_dir("pack", &p->path, NULL) < 0)
		return -1;
	int fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(fd, "src", 0755) < 0 || mkdirat(fd, "out", 0755) < 0)
		return -1;
	p->src = openat(fd, "src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->out = openat(fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(fd);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	close(p->src);
	close(p->out);
	fs_remove_tree(AT_FDCWD, p->path, NULL);
	free(p->path);
	free(p);
	return 0;
}

static int keep(void *context, const void *data, size_t len, struct err *err)
{
	return str_append_n(context, data, len) ? 0 : err_set(err, ERR_LIMIT, "too much");
}

/* Runs tar with everything that it says collected; returns its exit status. */
static int tar(const struct place *p, const char *archive, const char *option, struct str *said)
{
	int pipefd[2];
	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pipefd[1], 1);
		dup2(pipefd[1], 2);
		if (fchdir(p->out) == 0) {
			setenv("LC_ALL", "C", 1);
			execlp("tar", "tar", option, "-xf", archive, (char *)NULL);
		}
		_exit(127);
	}
	close(pipefd[1]);
	char buf[4096];
	ssize_t n;
	while ((n = read(pipefd[0], buf, sizeof(buf))) > 0)
		str_append_n(said, buf, (size_t)n);
	close(pipefd[0]);
	int status;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void pack_and_unpack_with_tar(struct place *p, enum archive_compression compression, const char *option)
{
	struct err err = ERR_INIT;
	struct tree before = {0}, after = {0};
	_cleanup_(str_done) struct str data = STR_INIT(16 << 20), said = STR_INIT(65536);
	char line[512];

	assert_int_equal(tree_walk(p->src, NULL, true, NULL, &before, NULL), 0);
	int r = archive_pack(p->src, &before, NULL, 0, compression, keep, &data, NULL, NULL, &err);
	if (r < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	_cleanup_free_ char *path = fs_join(p->path, "a.tar");
	assert_int_equal(fs_write_replace(AT_FDCWD, path, data.data, data.len, 0600, NULL), 0);
	assert_int_equal(tar(p, path, option, &said), 0);
	assert_string_equal(str_peek(&said), "");
	assert_int_equal(tree_walk(p->out, NULL, true, NULL, &after, NULL), 0);
	assert_int_equal(after.count, before.count);
	for (size_t i = 0; i < after.count; i++) {
		assert_string_equal(after.entries[i].path, before.entries[i].path);
		assert_memory_equal(after.entries[i].digest, before.entries[i].digest, TREE_DIGEST_BYTES);
		assert_int_equal(after.entries[i].mode, before.entries[i].mode);
		if (after.entries[i].link)
			assert_string_equal(after.entries[i].link, before.entries[i].link);
		if (S_ISREG(after.entries[i].mode))
			assert_int_equal(after.entries[i].mtime_ns / 1000000000,
			                 before.entries[i].mtime_ns / 1000000000);
	}
	tree_done(&before);
	tree_done(&after);
}

static void make_tree(const struct place *p)
{
	char longname[400] = "";
	for (int i = 0; i < 20; i++)
		strcat(longname, "directory-name/");
	assert_int_equal(fs_mkdirs(p->src, longname, 0755, NULL), 0);
	strcat(longname, "file");
	assert_int_equal(fs_write_replace(p->src, longname, "deep", 4, 0640, NULL), 0);
	assert_int_equal(fs_write_replace(p->src, "grüße-日本.txt", "x", 1, 0644, NULL), 0);
	assert_int_equal(fs_write_replace(p->src, "run", "#!/bin/sh\n", 10, 0755, NULL), 0);
	assert_int_equal(fs_write_replace(p->src, "empty", "", 0, 0600, NULL), 0);
	assert_int_equal(symlinkat("grüße-日本.txt", p->src, "zeiger-ü"), 0);
	_cleanup_free_ char *big = xmalloc(3 << 20);
	for (size_t i = 0; i < 3 << 20; i++)
		big[i] = (char)(i * 2654435761u >> 13);
	assert_int_equal(fs_write_replace(p->src, "big", big, 3 << 20, 0644, NULL), 0);
}

static void gnu_tar_reads_the_plain_archive_without_a_word(void **state)
{
	make_tree(*state);
	pack_and_unpack_with_tar(*state, ARCHIVE_NONE, "-p");
}

static void gnu_tar_reads_gzip_and_zstd(void **state)
{
	make_tree(*state);
	pack_and_unpack_with_tar(*state, ARCHIVE_GZIP, "-pz");
	pack_and_unpack_with_tar(*state, ARCHIVE_ZSTD, "-p");
	pack_and_unpack_with_tar(*state, ARCHIVE_ZSTD_FAST, "-p");
}

static void only_the_chosen_entries_are_packed(void **state)
{
	struct place *p = *state;
	struct tree t = {0};
	_cleanup_(str_done) struct str all = STR_INIT(1 << 20), one = STR_INIT(1 << 20);

	assert_int_equal(fs_write_replace(p->src, "a", "aaa", 3, 0644, NULL), 0);
	assert_int_equal(fs_write_replace(p->src, "b", "bbb", 3, 0644, NULL), 0);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	size_t only[] = {1};
	assert_int_equal(archive_pack(p->src, &t, only, 1, ARCHIVE_NONE, keep, &one, NULL, NULL, NULL), 0);
	assert_non_null(memmem(one.data, one.len, "bbb", 3));
	assert_null(memmem(one.data, one.len, "aaa", 3));
	tree_done(&t);
}

static void contents_that_were_kept_are_packed_as_they_were_digested(void **state)
{
	struct place *p = *state;
	struct tree before = {0}, after = {0};
	_cleanup_(str_done) struct str data = STR_INIT(16 << 20), said = STR_INIT(65536);
	int64_t packed = 0;

	make_tree(p);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &before, NULL), 0);
	assert_int_equal(tree_digest(p->src, &before, NULL, true, NULL, NULL), 0);
	for (size_t i = 0; i < before.count; i++) {
		if (S_ISREG(before.entries[i].mode) && before.entries[i].size > 0)
			assert_true(before.entries[i].content != NULL || before.entries[i].size > 100000);
		/* Whatever becomes of the file now is not what was planned. */
		if (before.entries[i].content != NULL)
			assert_int_equal(unlinkat(p->src, before.entries[i].path, 0), 0);
	}
	assert_int_equal(archive_pack(p->src, &before, NULL, 0, ARCHIVE_ZSTD, keep, &data, &packed, NULL, NULL), 0);
	assert_int_equal(packed, before.bytes);
	_cleanup_free_ char *archive = fs_join(p->path, "a.tar");
	assert_int_equal(fs_write_atomic(AT_FDCWD, archive, data.data, data.len, 0600, NULL), 0);
	assert_int_equal(tar(p, archive, "--zstd", &said), 0);
	assert_int_equal(tree_walk(p->out, NULL, true, NULL, &after, NULL), 0);
	for (size_t i = 0; i < before.count; i++) {
		const struct tree_entry *there = tree_find(&after, before.entries[i].path);
		assert_non_null(there);
		assert_memory_equal(there->digest, before.entries[i].digest, TREE_DIGEST_BYTES);
	}
	tree_forget(&before);
	assert_int_equal(archive_pack(p->src, &before, NULL, 0, ARCHIVE_ZSTD, keep, &data, NULL, NULL, NULL),
	                 ERR_CONFLICT);
	tree_done(&before);
	tree_done(&after);
}

static void a_file_that_grew_or_went_since_the_walk_is_named(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	_cleanup_(str_done) struct str data = STR_INIT(1 << 20);

	assert_int_equal(fs_write_replace(p->src, "a", "aaa", 3, 0644, NULL), 0);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_int_equal(fs_write_replace(p->src, "a", "aaaa", 4, 0644, NULL), 0);
	assert_int_equal(archive_pack(p->src, &t, NULL, 0, ARCHIVE_ZSTD, keep, &data, NULL, NULL, &err), ERR_CONFLICT);
	assert_non_null(strstr(err.frames[0].text, "'a'"));
	assert_int_equal(unlinkat(p->src, "a", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", p->src, "a"), 0);
	assert_true(archive_pack(p->src, &t, NULL, 0, ARCHIVE_ZSTD, keep, &data, NULL, NULL, &err) < 0);
	tree_done(&t);
}

static void a_name_that_is_not_utf8_is_refused(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	_cleanup_(str_done) struct str data = STR_INIT(1 << 20);

	assert_int_equal(fs_write_replace(p->src,
	                                  "a\xff"
	                                  "b",
	                                  "x", 1, 0644, NULL),
	                 0);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_int_equal(archive_pack(p->src, &t, NULL, 0, ARCHIVE_NONE, keep, &data, NULL, NULL, &err), ERR_INVALID);
	assert_non_null(strstr(err.frames[0].text, "a\\xffb"));
	tree_done(&t);
}

static void the_writers_error_comes_through(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct tree t = {0};
	_cleanup_(str_done) struct str data = STR_INIT(10);

	make_tree(p);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_int_equal(archive_pack(p->src, &t, NULL, 0, ARCHIVE_ZSTD, keep, &data, NULL, NULL, &err), ERR_LIMIT);
	assert_string_equal(err.frames[0].text, "too much");
	tree_done(&t);
}

static void write_pieces(const struct place *p, const char *name, size_t pieces, bool random)
{
	_cleanup_close_ int fd = openat(p->src, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	static char piece[64 << 10];
	for (size_t i = 0; i < pieces; i++) {
		if (random)
			assert_int_equal(RAND_bytes((unsigned char *)piece, sizeof(piece)), 1);
		else
			memset(piece, 'a', sizeof(piece));
		assert_int_equal(write(fd, piece, sizeof(piece)), sizeof(piece));
	}
}

static void what_packing_does_not_make_smaller_is_known_by_a_sample(void **state)
{
	struct place *p = *state;
	struct tree t = {0};

	write_pieces(p, "picture", 64, true);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_false(archive_packs_smaller(p->src, &t, NULL, 0));
	tree_done(&t);
	/* A third of text is seen wherever it lies, and so is the choice of what is sent. */
	write_pieces(p, "a-text", 32, false);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_true(archive_packs_smaller(p->src, &t, NULL, 0));
	const size_t only = (size_t)(tree_find(&t, "picture") - t.entries);
	assert_false(archive_packs_smaller(p->src, &t, &only, 1));
	tree_done(&t);
	write_pieces(p, "a-text", 0, false);
	write_pieces(p, "z-text", 32, false);
	assert_int_equal(tree_walk(p->src, NULL, false, NULL, &t, NULL), 0);
	assert_true(archive_packs_smaller(p->src, &t, NULL, 0));
	/* One that is gone is the packer's to name. */
	assert_int_equal(unlinkat(p->src, "z-text", 0), 0);
	assert_false(archive_packs_smaller(p->src, &t, NULL, 0));
	tree_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gnu_tar_reads_the_plain_archive_without_a_word, setup, teardown),
		cmocka_unit_test_setup_teardown(gnu_tar_reads_gzip_and_zstd, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_chosen_entries_are_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(contents_that_were_kept_are_packed_as_they_were_digested, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(a_file_that_grew_or_went_since_the_walk_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_is_not_utf8_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_writers_error_comes_through, setup, teardown),
		cmocka_unit_test_setup_teardown(what_packing_does_not_make_smaller_is_known_by_a_sample, setup,
	                                        teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
