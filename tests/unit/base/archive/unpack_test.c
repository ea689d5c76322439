/* Hostile and plain archives, made member by member. */
#include "unit/cmocka_all.h"
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include "base/core/mem.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct member {
	char type;
	const char *name, *text;
	mode_t mode;
}; /* f d l(ink) h(ard) p(ipe) c(har) */

struct place {
	char *path;
	int top, fd;
};

static int setup(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));
	if (fs_make_temp_dir("unpack", &p->path, NULL) < 0)
		return -1;
	p->top = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(p->top, "in", 0755) < 0 || fs_write_replace(p->top, "outside", "safe", 4, 0600, NULL) < 0)
		return -1;
	p->fd = openat(p->top, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	/* Whatever was tried: nothing but what setup made lies beside the directory, and it is untouched. */
	_cleanup_(str_done) struct str text = STR_INIT(100);
	struct tree t = {0};
	int r = fs_read(p->top, "outside", 100, &text, NULL);
	bool safe = r == 0 && strcmp(text.data, "safe") == 0;
	fs_remove_tree(p->top, "in", NULL);
	safe = safe && tree_walk(p->top, NULL, false, NULL, &t, NULL) == 0 && t.count == 1;
	tree_done(&t);
	close(p->fd);
	close(p->top);
	fs_remove_tree(AT_FDCWD, p->path, NULL);
	free(p->path);
	free(p);
	return safe ? 0 : -1;
}

static la_ssize_t keep(struct archive *a, void *context, const void *data, size_t len)
{
	(void)a;
	return str_append_n(context, data, len) ? (la_ssize_t)len : -1;
}

static void make(const struct member *members, size_t count, bool zstd, struct str *out)
{
	struct archive *a = archive_write_new();
	archive_write_set_format_ustar(a);
	if (zstd)
		archive_write_add_filter_zstd(a);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open(a, out, NULL, keep, NULL), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++) {
		const struct member *m = &members[i];
		struct archive_entry *e = archive_entry_new();
		archive_entry_set_pathname(e, m->name);
		archive_entry_set_perm(e, m->mode ? m->mode : 0644);
		archive_entry_set_mtime(e, 1000000000, 0);
		mode_t type = m->type == 'd'   ? AE_IFDIR
		              : m->type == 'l' ? AE_IFLNK
		              : m->type == 'p' ? AE_IFIFO
		              : m->type == 'c' ? AE_IFCHR
		                               : AE_IFREG;
		archive_entry_set_filetype(e, type);
		if (m->type == 'l')
			archive_entry_set_symlink(e, m->text);
		else if (m->type == 'h')
			archive_entry_set_hardlink(e, m->text);
		size_t len = m->type == 'f' && m->text ? strlen(m->text) : 0;
		archive_entry_set_size(e, (la_int64_t)len);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		if (len)
			archive_write_data(a, m->text, len);
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
}

struct source {
	const struct str *data;
	size_t at, step;
};
static int give(void *context, const void **data, size_t *len, struct err *err)
{
	struct source *s = context;
	(void)err;
	*data = s->data->data + s->at;
	*len = MIN(s->step, s->data->len - s->at);
	s->at += *len;
	return 0;
}

static int unpack_data(const struct place *p, const struct str *data, const struct archive_limits *limits,
                       struct err *err)
{
	struct source s = {data, 0, 1000};
	return archive_unpack(give, &s, p->fd, limits, NULL, err);
}

static int unpack(const struct place *p, const struct member *members, size_t count,
                  const struct archive_limits *limits, struct err *err)
{
	_cleanup_(str_done) struct str data = STR_INIT(1 << 20);
	make(members, count, true, &data);
	return unpack_data(p, &data, limits, err);
}
#define UNPACK(p, err, ...)                                                                                            \
	unpack(p, (const struct member[]){__VA_ARGS__}, ARRAY_SIZE(((const struct member[]){__VA_ARGS__})), NULL, err)

static void assert_content(const struct place *p, const char *path, const char *text)
{
	_cleanup_(str_done) struct str s = STR_INIT(1000);
	assert_int_equal(fs_read(p->fd, path, 1000, &s, NULL), 0);
	assert_string_equal(str_peek(&s), text);
}

static mode_t mode_of(const struct place *p, const char *path)
{
	struct stat st;
	assert_int_equal(fstatat(p->fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

static void files_links_and_directories_come_with_mode_and_time(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	struct stat st;

	assert_int_equal(UNPACK(p, &err, {'d', "./", NULL, 0755}, {'d', "a/", NULL, 0555}, {'f', "./a/x", "one", 0750},
	                        {'l', "ln", "a/x", 0}, {'h', "hard", "a/x", 0}, {'f', "no/parent/named", "two", 0600}),
	                 0);
	assert_content(p, "a/x", "one");
	assert_content(p, "ln", "one");
	assert_content(p, "no/parent/named", "two");
	assert_int_equal(mode_of(p, "a/x"), 0750);
	assert_int_equal(mode_of(p, "a"), 0555);
	assert_int_equal(fstatat(p->fd, "hard", &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(fstatat(p->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mtime, 1000000000);
}

static void names_that_lead_out_are_refused_by_name(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(UNPACK(p, &err, {'f', "../outside", "evil", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'../outside'"));
	assert_int_equal(UNPACK(p, &err, {'f', "a/b/../../../outside", "evil", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'a/b/../../../outside'"));
	assert_int_equal(UNPACK(p, &err, {'f', "/outside", "evil", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'/outside' has an absolute name"));
	assert_int_equal(UNPACK(p, &err, {'d', "..", NULL, 0777}), ERR_REFUSED);
	assert_int_equal(UNPACK(p, &err, {'l', "../ln", "x", 0}), ERR_REFUSED);
}

static void a_member_does_not_pass_through_a_link(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(UNPACK(p, &err, {'l', "a", "..", 0}, {'f', "a/outside", "evil", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'a/outside'"));
	assert_int_equal(UNPACK(p, &err, {'l', "b", "/tmp", 0}, {'d', "b/davit-evil", NULL, 0755}), ERR_REFUSED);
	assert_int_equal(
		UNPACK(p, &err, {'d', "c", NULL, 0755}, {'f', "c/x", "1", 0}, {'l', "d", "c", 0}, {'f', "d/y", "1", 0}),
		ERR_REFUSED);
	/* The last part may be a link that stands there: it is replaced, not followed. */
	assert_int_equal(UNPACK(p, &err, {'l', "e", "../outside", 0}, {'f', "e", "mine", 0}), 0);
	assert_content(p, "e", "mine");
	/* A directory does not take a link for one. */
	assert_int_equal(UNPACK(p, &err, {'l', "f", "..", 0}, {'d', "f", NULL, 0700}), ERR_REFUSED);
}

static void a_directory_replaced_by_a_link_is_no_way_out(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(UNPACK(p, &err, {'d', "a", NULL, 0755}, {'l', "a", "..", 0}, {'f', "a/outside", "evil", 0}),
	                 ERR_REFUSED);
	assert_int_equal(UNPACK(p, &err, {'d', "b", NULL, 0755}, {'d', "b/c", NULL, 0755}, {'l', "b/c", "../..", 0},
	                        {'f', "b/c/outside", "evil", 0}),
	                 ERR_REFUSED);
}

static void hard_links_out_are_refused(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(UNPACK(p, &err, {'h', "x", "../outside", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'x'"));
	assert_int_equal(UNPACK(p, &err, {'h', "x", "/etc/passwd", 0}), ERR_REFUSED);
	assert_int_equal(UNPACK(p, &err, {'l', "a", "..", 0}, {'h', "x", "a/outside", 0}), ERR_REFUSED);
	assert_int_equal(UNPACK(p, &err, {'l', "l", "../outside", 0}, {'h', "x", "l", 0}), ERR_REFUSED);
	assert_int_equal(UNPACK(p, &err, {'h', "x", "absent", 0}), ERR_REFUSED);
	assert_true(faccessat(p->fd, "x", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
}

static void devices_and_pipes_are_refused(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;

	assert_int_equal(UNPACK(p, &err, {'p', "pipe", NULL, 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'pipe'"));
	assert_int_equal(UNPACK(p, &err, {'c', "null", NULL, 0}), ERR_REFUSED);
}

static void setuid_and_its_like_are_dropped(void **state)
{
	struct place *p = *state;
	assert_int_equal(UNPACK(p, NULL, {'f', "su", "x", 06755}, {'d', "t", NULL, 01777}), 0);
	assert_int_equal(mode_of(p, "su"), 0755);
	assert_int_equal(mode_of(p, "t"), 0777);
}

static void what_stands_there_is_replaced_and_not_written_into(void **state)
{
	struct place *p = *state;
	assert_int_equal(fs_write_replace(p->fd, "x", "former", 6, 0600, NULL), 0);
	assert_int_equal(linkat(p->fd, "x", p->fd, "other-name", 0), 0);
	assert_int_equal(mkdirat(p->fd, "empty", 0755), 0);
	assert_int_equal(mkdirat(p->fd, "full", 0755), 0);
	assert_int_equal(mkdirat(p->fd, "full/x", 0755), 0);
	assert_int_equal(UNPACK(p, NULL, {'f', "x", "new", 0}, {'f', "empty", "now a file", 0}), 0);
	assert_content(p, "x", "new");
	assert_content(p, "other-name", "former");
	assert_content(p, "empty", "now a file");
	struct err err = ERR_INIT;
	assert_int_equal(UNPACK(p, &err, {'f', "full", "x", 0}), ERR_REFUSED);
	assert_non_null(strstr(err.frames[0].text, "'full'"));
}

static void limits_name_the_member_that_passes_them(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	const struct member members[] = {{'f', "a", "12345", 0}, {'f', "b", "12345", 0}};

	assert_int_equal(unpack(p, members, 2, &(struct archive_limits){.max_bytes = 9}, &err), ERR_LIMIT);
	assert_non_null(strstr(err.frames[0].text, "'b'"));
	assert_int_equal(unpack(p, members, 2, &(struct archive_limits){.max_entries = 1}, &err), ERR_LIMIT);
	assert_non_null(strstr(err.frames[0].text, "'b'"));
	assert_int_equal(unpack(p, members, 2, &(struct archive_limits){10, 2}, &err), 0);
}

static void a_cut_archive_is_an_error(void **state)
{
	struct place *p = *state;
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str data = STR_INIT(1 << 20);
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	make((const struct member[]){{'f', "a", text, 0}}, 1, false, &data);
	str_truncate(&data, 3000);
	assert_int_equal(unpack_data(p, &data, NULL, &err), ERR_INVALID);
	str_clear(&data);
	str_append(&data, "this is no archive at all");
	assert_int_equal(unpack_data(p, &data, NULL, &err), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_links_and_directories_come_with_mode_and_time, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_lead_out_are_refused_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(a_member_does_not_pass_through_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_replaced_by_a_link_is_no_way_out, setup, teardown),
		cmocka_unit_test_setup_teardown(hard_links_out_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(devices_and_pipes_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(setuid_and_its_like_are_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(what_stands_there_is_replaced_and_not_written_into, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_name_the_member_that_passes_them, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_archive_is_an_error, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
