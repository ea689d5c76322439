/* Digests that an earlier deployment made: known again, or as if they were not there. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "steps/archive_upload/known.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t second_ns = 1000000000;

struct place {
	char dir[64];
	struct step_deployment facts;
	struct step_context c;
	json_t *input;
	char *state, *source;
};

static int begin(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));
	snprintf(p->dir, sizeof(p->dir), "/tmp/davit-known-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->state = fs_join(p->dir, "state");
	p->source = fs_join(p->dir, "source");
	assert_int_equal(mkdir(p->state, 0700), 0);
	assert_int_equal(mkdir(p->source, 0755), 0);
	p->input = json_pack("{s:s}", "source", "source");
	p->facts.state_dir = p->state;
	p->c = (struct step_context){.deployment = &p->facts, .input_json = p->input};
	*state = p;
	return 0;
}

static int end(void **state)
{
	struct place *p = *state;
	fs_remove_tree(AT_FDCWD, p->dir, NULL);
	json_decref(p->input);
	free(p->state);
	free(p->source);
	free(p);
	return 0;
}

static void put(const struct place *p, const char *name, const char *text)
{
	_cleanup_free_ char *path = fs_join(p->source, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text), NULL), 0);
}

static struct tree look(const struct place *p, bool digests)
{
	struct tree tree = {0};
	_cleanup_close_ int fd = open(p->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(tree_walk(fd, NULL, digests, NULL, &tree, NULL), 0);
	return tree;
}

/* As a deployment does that begins `later` after now. */
static void keep(const struct place *p, int64_t later)
{
	struct tree tree = look(p, true);
	upload_known_keep(&p->c, p->source, &tree, clock_wall_ms() * 1000000 + later);
	tree_done(&tree);
}

/* The digests that are known, "." for none, in the order of the paths. */
static size_t known(const struct place *p, struct tree *tree)
{
	size_t count = 0;
	*tree = look(p, false);
	upload_known_recall(&p->c, p->source, tree);
	for (size_t i = 0; i < tree->count; i++) {
		bool recalled = tree->entries[i].digest_from == TREE_DIGEST_RECALLED;
		count += recalled;
		assert_true(recalled || tree->entries[i].digest_from == TREE_DIGEST_NONE);
	}
	return count;
}

static size_t known_count(const struct place *p)
{
	struct tree tree;
	size_t count = known(p, &tree);
	tree_done(&tree);
	return count;
}

/* How many files lie below state/digests; the last one's name. */
static size_t kept_count(const struct place *p, char name[256])
{
	_cleanup_free_ char *dir = fs_join(p->state, "digests");
	DIR *d = opendir(dir);
	size_t count = 0;
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, 256, "%s", e->d_name);
		count++;
	}
	closedir(d);
	return count;
}

/* The one that there is. free() */
static char *kept_path(const struct place *p)
{
	char name[256];
	assert_int_equal(kept_count(p, name), 1);
	return xasprintf("%s/digests/%s", p->state, name);
}

static void what_was_read_is_known_again(void **state)
{
	struct place *p = *state;
	put(p, "a", "alpha");
	put(p, "b", "beta");
	keep(p, 10 * second_ns);
	struct tree now, read = look(p, true);
	assert_int_equal(known(p, &now), 2);
	for (size_t i = 0; i < now.count; i++)
		assert_memory_equal(now.entries[i].digest, read.entries[i].digest, TREE_DIGEST_BYTES);
	tree_done(&now);
	tree_done(&read);
}

static void what_is_known_stays_so_when_it_is_kept_again(void **state)
{
	struct place *p = *state;
	struct tree now;
	put(p, "a", "alpha");
	keep(p, 10 * second_ns);
	put(p, "b", "beta");
	assert_int_equal(known(p, &now), 1);
	_cleanup_close_ int fd = open(p->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(tree_digest(fd, &now, NULL, false, NULL, NULL), 0);
	upload_known_keep(&p->c, p->source, &now, clock_wall_ms() * 1000000 + 10 * second_ns);
	tree_done(&now);
	assert_int_equal(known_count(p), 2);
}

static void what_was_changed_just_before_is_read_again(void **state)
{
	struct place *p = *state;
	put(p, "a", "alpha");
	keep(p, second_ns);
	assert_int_equal(known_count(p), 0);
}

static void another_content_of_the_same_size_and_time_is_seen(void **state)
{
	struct place *p = *state;
	_cleanup_free_ char *path = fs_join(p->source, "a");
	struct stat before;
	put(p, "a", "alpha");
	put(p, "b", "beta");
	keep(p, 10 * second_ns);
	assert_int_equal(stat(path, &before), 0);
	put(p, "a", "omega");
	const struct timespec times[] = {before.st_atim, before.st_mtim};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	struct tree now;
	assert_int_equal(known(p, &now), 1);
	assert_string_equal(now.entries[0].path, "a");
	assert_int_equal(now.entries[0].digest_from, TREE_DIGEST_NONE);
	tree_done(&now);
}

static void another_file_in_its_place_is_seen(void **state)
{
	struct place *p = *state;
	_cleanup_free_ char *path = fs_join(p->source, "a"), *other = fs_join(p->source, "b");
	put(p, "a", "alpha");
	put(p, "b", "gamma");
	keep(p, 10 * second_ns);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(known_count(p), 0);
}

static void what_a_target_said_of_a_digest_is_not_kept(void **state)
{
	struct place *p = *state;
	put(p, "a", "alpha");
	put(p, "b", "beta");
	struct tree tree = look(p, true);
	tree.entries[0].digest_from = TREE_DIGEST_GIVEN;
	upload_known_keep(&p->c, p->source, &tree, clock_wall_ms() * 1000000 + 10 * second_ns);
	tree_done(&tree);
	assert_int_equal(known_count(p), 1);
}

static void spoil(const char *path, int how)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	char byte;
	switch (how) {
	case 0: /* a digest */
		assert_int_equal(pread(fd, &byte, 1, st.st_size - 1), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 1), 1);
		break;
	case 1: /* cut off */
		assert_int_equal(ftruncate(fd, st.st_size - 7), 0);
		break;
	case 2:
		assert_int_equal(ftruncate(fd, 0), 0);
		break;
	case 3: /* others may write to it */
		assert_int_equal(fchmod(fd, 0620), 0);
		break;
	case 4: /* its count */
		byte = 2;
		assert_int_equal(pwrite(fd, &byte, 1, 16), 1);
		break;
	default: { /* a link to the same */
		_cleanup_free_ char *other = xasprintf("%s.moved", path);
		assert_int_equal(rename(path, other), 0);
		assert_int_equal(symlink(other, path), 0);
		break;
	}
	}
}

static void what_is_damaged_or_not_ours_alone_is_as_if_it_were_not_there(void **state)
{
	struct place *p = *state;
	_cleanup_free_ char *dir = fs_join(p->state, "digests");
	put(p, "a", "alpha");
	for (int how = 0; how < 6; how++) {
		fs_remove_tree(AT_FDCWD, dir, NULL);
		keep(p, 10 * second_ns);
		assert_int_equal(known_count(p), 1);
		_cleanup_free_ char *path = kept_path(p);
		spoil(path, how);
		assert_int_equal(known_count(p), 0);
	}
	fs_remove_tree(AT_FDCWD, dir, NULL);
	keep(p, 10 * second_ns);
	assert_int_equal(chmod(dir, 0770), 0);
	assert_int_equal(known_count(p), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(dir, 0700), 0);
	_cleanup_free_ char *path = kept_path(p);
	assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
	assert_int_equal(known_count(p), 0);
}

static void of_many_sources_the_oldest_go(void **state)
{
	struct place *p = *state;
	char name[256];
	put(p, "a", "alpha");
	for (int i = 0; i < 40; i++) {
		json_object_set_new(p->input, "path", json_integer(i));
		keep(p, 10 * second_ns);
	}
	assert_int_equal(kept_count(p, name), 32);
	assert_int_equal(known_count(p), 1);
}

static void without_a_state_directory_nothing_is_kept(void **state)
{
	struct place *p = *state;
	put(p, "a", "alpha");
	p->facts.state_dir = NULL;
	keep(p, 10 * second_ns);
	assert_int_equal(known_count(p), 0);
	p->facts.state_dir = "/nonexistent/davit";
	keep(p, 10 * second_ns);
	assert_int_equal(known_count(p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_read_is_known_again, begin, end),
		cmocka_unit_test_setup_teardown(what_is_known_stays_so_when_it_is_kept_again, begin, end),
		cmocka_unit_test_setup_teardown(what_was_changed_just_before_is_read_again, begin, end),
		cmocka_unit_test_setup_teardown(another_content_of_the_same_size_and_time_is_seen, begin, end),
		cmocka_unit_test_setup_teardown(another_file_in_its_place_is_seen, begin, end),
		cmocka_unit_test_setup_teardown(what_a_target_said_of_a_digest_is_not_kept, begin, end),
		cmocka_unit_test_setup_teardown(what_is_damaged_or_not_ours_alone_is_as_if_it_were_not_there, begin,
	                                        end),
		cmocka_unit_test_setup_teardown(of_many_sources_the_oldest_go, begin, end),
		cmocka_unit_test_setup_teardown(without_a_state_directory_nothing_is_kept, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
