/* SFTP against a real sshd (tests/servers/sshd.py), and against odd servers behind its subsystem (odd_sftp.py). */
#include "unit/cmocka_all.h"
#include "base/fs.h"
#include "base/ssh_sftp.h"
#include "harness/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BIG = 20 << 20 };

static struct server sshd, odd;
static char *folder; /* where the files are, and its name without links */
static char *mode_file;

static char *read_text(const char *path)
{
	struct str text = STR_INIT(1 << 20);
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &text, NULL), 0);
	return str_take(&text);
}

static int start(void **state)
{
	(void)state;
	assert_int_equal(fs_make_temp_dir("davit-sftp-", &folder, NULL), 0);
	mode_file = xasprintf("%s/mode", folder);
	_cleanup_free_ char *subsystem =
		xasprintf("Subsystem sftp exec python3 %s/tests/servers/odd_sftp.py %s", DAVIT_SOURCE_DIR, mode_file);
	const char *const odd_options[] = {"--option", subsystem, NULL};
	return server_start(&sshd, "sshd.py", NULL) && server_start(&odd, "sshd.py", odd_options) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	server_stop(&sshd);
	server_stop(&odd);
	fs_remove_tree(AT_FDCWD, folder, NULL);
	free(folder);
	free(mode_file);
	return 0;
}

struct box {
	struct ssh *s;
	struct sftp *f;
	struct wait w;
	struct err err;
	char line[4096];
};

static void box_done(struct box *b)
{
	sftp_free(b->f);
	ssh_free(b->s);
}

static void box_login(struct box *b, struct server *server, const char *user, int port)
{
	_cleanup_free_ char *key = read_text(server_text(server, "key"));
	const char *users[] = {user != NULL ? user : server_text(server, "user"), NULL};
	const char *pins[] = {server_text(server, "host_key"), NULL};
	struct ssh_login login = {.host = "127.0.0.1",
	                          .port = port != 0 ? port : server_port(server),
	                          .users = users,
	                          .key = key,
	                          .host_keys = pins};
	memset(b, 0, sizeof(*b));
	b->w = (struct wait)WAIT_INIT;
	b->w = wait_within(&b->w, 60000);
	int r = ssh_open(&login, &b->w, &b->s, &b->err);
	if (r < 0)
		fail_msg("%s", err_line(&b->err, b->line, sizeof(b->line)));
}

/* A session on the server; its SFTP is open. */
#define BOX(name)                                                                                                      \
	_cleanup_(box_done) struct box name;                                                                           \
	box_login(&name, &sshd, NULL, 0);                                                                              \
	must(&name, sftp_open(name.s, &name.w, &name.f, &name.err))

static void must(struct box *b, int r)
{
	if (r < 0)
		fail_msg("%s (%s)", err_line(&b->err, b->line, sizeof(b->line)), b->err.hint);
}

static void must_fail(struct box *b, int r, int code, const char *text)
{
	err_line(&b->err, b->line, sizeof(b->line));
	if (r != code || strstr(b->line, text) == NULL)
		fail_msg("%s, and not %s with '%s': %s", err_code_name(r), err_code_name(code), text, b->line);
}

/* "FOLDER/name"; the caller's. */
static char *at(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void put_text(const char *path, const char *text, mode_t mode)
{
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
}

static void expect_text(const char *path, const char *text)
{
	_cleanup_free_ char *have = read_text(path);
	assert_string_equal(have, text);
}

/* How many names in a directory are those of unfinished files. */
static int unfinished(const char *directory)
{
	DIR *d = opendir(directory);
	int count = 0;
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		count += strstr(e->d_name, ".davit-") != NULL;
	closedir(d);
	return count;
}

static char *big_data(void)
{
	char *data = xmalloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	return data;
}

static void a_large_file_goes_there_and_back(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("large"), *data = big_data();
	_cleanup_(str_done) struct str back = STR_INIT(BIG + 1);
	struct stat st;
	must(&b, sftp_write(b.f, path, data, BIG - 12345, 0640, &b.w, &b.err));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, BIG - 12345);
	assert_int_equal(st.st_mode & 07777, 0640);
	must(&b, sftp_read(b.f, path, BIG, &b.w, &back, &b.err));
	assert_int_equal(back.len, BIG - 12345);
	assert_memory_equal(back.data, data, back.len);
	assert_int_equal(unfinished(folder), 0);
}

static void small_files_empty_ones_and_those_of_proc_are_read_whole(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("small");
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	must(&b, sftp_write(b.f, path, "hello\n", 6, 0600, &b.w, &b.err));
	must(&b, sftp_read(b.f, path, 6, &b.w, &text, &b.err));
	assert_string_equal(text.data, "hello\n");
	must(&b, sftp_write(b.f, path, NULL, 0, 0600, &b.w, &b.err));
	must(&b, sftp_read(b.f, path, 0, &b.w, &text, &b.err));
	assert_int_equal(text.len, 6);
	must(&b, sftp_read(b.f, "/proc/meminfo", 1 << 20, &b.w, &text, &b.err));
	assert_non_null(strstr(text.data, "MemTotal"));
}

static void a_file_above_the_ceiling_is_refused_and_nothing_is_kept(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("six");
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20), tiny = STR_INIT(3);
	put_text(path, "hello\n", 0600);
	str_append(&text, "before");
	must_fail(&b, sftp_read(b.f, path, 5, &b.w, &text, &b.err), ERR_LIMIT, "has 6 bytes; at most 5");
	must_fail(&b, sftp_read(b.f, path, 6, &b.w, &tiny, &b.err), ERR_LIMIT, "at most 3");
	must_fail(&b, sftp_read(b.f, "/proc/meminfo", 100, &b.w, &text, &b.err), ERR_LIMIT, "larger than 100");
	assert_string_equal(text.data, "before");
	must(&b, sftp_read(b.f, path, 6, &b.w, &text, &b.err));
	assert_string_equal(text.data, "beforehello\n");
}

static void an_old_file_is_replaced_in_one_step_and_a_link_is_not_followed(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("old"), *link = at("old-link");
	struct stat st;
	put_text(path, "old", 0644);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char still[4] = "";
	must(&b, sftp_write(b.f, path, "new", 3, 0600, &b.w, &b.err));
	assert_int_equal(read(fd, still, 3), 3);
	close(fd);
	assert_string_equal(still, "old");
	expect_text(path, "new");
	assert_int_equal(symlink(path, link), 0);
	must(&b, sftp_write(b.f, link, "mine", 4, 0600, &b.w, &b.err));
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	expect_text(path, "new");
}

static void files_directories_and_links_are_looked_at(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("there"), *link = at("link"), *missing = at("missing"), *text = NULL;
	struct sftp_stat st;
	put_text(path, "12345", 0640);
	must(&b, sftp_symlink(b.f, "there", link, &b.w, &b.err));
	must(&b, sftp_stat(b.f, link, &b.w, &st, &b.err));
	assert_int_equal(st.type, 'f');
	assert_int_equal(st.size, 5);
	assert_int_equal(st.mode, 0640);
	assert_int_equal(st.uid, geteuid());
	assert_true(st.mtime_s > 1600000000);
	must(&b, sftp_lstat(b.f, link, &b.w, &st, &b.err));
	assert_int_equal(st.type, 'l');
	must(&b, sftp_readlink(b.f, link, &b.w, &text, &b.err));
	assert_string_equal(text, "there");
	must(&b, sftp_stat(b.f, folder, &b.w, &st, &b.err));
	assert_int_equal(st.type, 'd');
	must(&b, sftp_stat(b.f, "/dev/null", &b.w, &st, &b.err));
	assert_int_equal(st.type, 'o');
	must_fail(&b, sftp_stat(b.f, missing, &b.w, &st, &b.err), ERR_NOT_FOUND, "no such file or directory");
	must_fail(&b, sftp_readlink(b.f, path, &b.w, &text, &b.err), ERR_INVALID, "not possible with what is there");
	must_fail(&b, sftp_symlink(b.f, "x", link, &b.w, &b.err), ERR_EXISTS, "exists already");
}

static void a_directory_is_listed_sorted_and_within_a_bound(void **state)
{
	(void)state;
	enum { COUNT = 700 };
	BOX(b);
	_cleanup_free_ char *directory = at("list"), *file = at("list/n0000");
	struct sftp_entries list = {0};
	must(&b, sftp_mkdir(b.f, directory, 0750, &b.w, &b.err));
	must(&b, sftp_list(b.f, directory, 0, &b.w, &list, &b.err));
	assert_int_equal(list.count, 0);
	for (int i = 0; i < COUNT; i++) {
		_cleanup_free_ char *path = xasprintf("%s/n%04d", directory, i);
		put_text(path, "x", 0600);
	}
	must(&b, sftp_list(b.f, directory, COUNT, &b.w, &list, &b.err));
	assert_int_equal(list.count, COUNT);
	for (int i = 0; i < COUNT; i++) {
		char name[8];
		snprintf(name, sizeof(name), "n%04d", i);
		assert_string_equal(list.items[i].name, name);
		assert_int_equal(list.items[i].stat.type, 'f');
	}
	sftp_entries_done(&list);
	must_fail(&b, sftp_list(b.f, directory, COUNT - 1, &b.w, &list, &b.err), ERR_LIMIT, "more than 699 names");
	must_fail(&b, sftp_list(b.f, "/nowhere", 1, &b.w, &list, &b.err), ERR_NOT_FOUND, "list '/nowhere'");
	must_fail(&b, sftp_list(b.f, file, 1, &b.w, &list, &b.err), ERR_NOT_FOUND, "no such file or directory");
	assert_null(list.items);
}

static void things_are_made_renamed_and_removed(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *directory = at("made"), *a = at("made/a"), *c = at("made/c");
	struct stat st;
	must(&b, sftp_mkdir(b.f, directory, 0700, &b.w, &b.err));
	assert_int_equal(stat(directory, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	must_fail(&b, sftp_mkdir(b.f, directory, 0700, &b.w, &b.err), ERR_EXISTS, "exists already");
	put_text(a, "a", 0600);
	put_text(c, "c", 0600);
	must(&b, sftp_rename(b.f, a, c, &b.w, &b.err));
	expect_text(c, "a");
	must_fail(&b, sftp_rename(b.f, a, c, &b.w, &b.err), ERR_NOT_FOUND, "rename to");
	must_fail(&b, sftp_rmdir(b.f, directory, &b.w, &b.err), ERR_IO, "Failure");
	assert_non_null(strstr(b.err.hint, "log"));
	must(&b, sftp_remove(b.f, c, &b.w, &b.err));
	must_fail(&b, sftp_remove(b.f, c, &b.w, &b.err), ERR_NOT_FOUND, "remove");
	must(&b, sftp_rmdir(b.f, directory, &b.w, &b.err));
}

static void what_cannot_be_written_is_said_and_leaves_nothing(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *missing = at("no/such"), *directory = at("occupied"), *inside = at("occupied/x");
	_cleanup_free_ char *slash = at("x/"), *dots = at(".."), *longest = xmalloc(SFTP_PATH_MAX + 2);
	_cleanup_free_ char *long_name = xasprintf("%s/%0300d", folder, 7);
	must_fail(&b, sftp_write(b.f, missing, "x", 1, 0600, &b.w, &b.err), ERR_NOT_FOUND, "write '");
	must(&b, sftp_mkdir(b.f, directory, 0700, &b.w, &b.err));
	put_text(inside, "x", 0600);
	must_fail(&b, sftp_write(b.f, directory, "x", 1, 0600, &b.w, &b.err), ERR_IO, "Failure");
	assert_int_equal(unfinished(folder), 0);
	must_fail(&b, sftp_write(b.f, slash, "x", 1, 0600, &b.w, &b.err), ERR_INVALID, "names no file");
	must_fail(&b, sftp_write(b.f, dots, "x", 1, 0600, &b.w, &b.err), ERR_INVALID, "names no file");
	must_fail(&b, sftp_write(b.f, "", "x", 1, 0600, &b.w, &b.err), ERR_INVALID, "empty path");
	must_fail(&b, sftp_write(b.f, long_name, "x", 1, 0600, &b.w, &b.err), ERR_INVALID, "too long");
	assert_int_equal(unfinished(folder), 0);
	memset(longest, 'p', SFTP_PATH_MAX + 1);
	longest[SFTP_PATH_MAX + 1] = '\0';
	must_fail(&b, sftp_write(b.f, longest, "x", 1, 0600, &b.w, &b.err), ERR_LIMIT, "longer than 4096");
	must_fail(&b, sftp_remove(b.f, longest, &b.w, &b.err), ERR_LIMIT, "longer than 4096");
}

static void without_permission_nothing_is_read_or_written(void **state)
{
	(void)state;
	static const char *const people[] = {"--account", "deploy:open sesame", "--option", "UsePAM yes", NULL};
	struct server accounts = {.proc = PROC_INIT};
	_cleanup_free_ char *path = at("guarded"), *inside = at("guarded/x");
	const char *user = NULL;
	bool other = geteuid() == 0;
	if (other && !server_start(&accounts, "sshd.py", people)) {
		print_message("as root nothing is forbidden, and no other account: %s\n",
		              server_text(&accounts, "skip"));
		server_stop(&accounts);
		skip();
	}
	user = other ? "deploy" : NULL;
	assert_int_equal(mkdir(path, 0755), 0);
	put_text(inside, "x", 0600);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(chmod(path, other ? 0755 : 0500), 0);
	if (!other)
		assert_int_equal(chmod(inside, 0), 0);
	{
		_cleanup_(box_done) struct box b;
		_cleanup_(str_done) struct str text = STR_INIT(100);
		box_login(&b, other ? &accounts : &sshd, user, 0);
		must(&b, sftp_open(b.s, &b.w, &b.f, &b.err));
		must_fail(&b, sftp_read(b.f, inside, 100, &b.w, &text, &b.err), ERR_PERMISSION, "permission denied");
		must_fail(&b, sftp_write(b.f, inside, "y", 1, 0600, &b.w, &b.err), ERR_PERMISSION, "permission denied");
		must_fail(&b, sftp_mkdir(b.f, "/davit-must-not-be", 0700, &b.w, &b.err), ERR_PERMISSION, "denied");
	}
	chmod(path, 0700);
	chmod(inside, 0600);
	assert_int_equal(unfinished(path), 0);
	expect_text(inside, "x");
	server_stop(&accounts);
}

static void a_full_disk_is_said_as_such_and_leaves_the_old_file(void **state)
{
	(void)state;
	static const char *const small[] = {"--disk", "1m", NULL};
	struct server server;
	if (!server_start(&server, "sshd.py", small)) {
		print_message("a small disk: %s\n", server_text(&server, "skip"));
		server_stop(&server);
		skip();
	}
	{
		_cleanup_(box_done) struct box b;
		_cleanup_free_ char *disk = xasprintf("%s/disk", server_text(&server, "folder"));
		_cleanup_free_ char *path = xasprintf("%s/file", disk), *data = big_data();
		_cleanup_(str_done) struct str text = STR_INIT(100);
		struct sftp_entries list = {0};
		box_login(&b, &server, NULL, 0);
		must(&b, sftp_open(b.s, &b.w, &b.f, &b.err));
		must(&b, sftp_write(b.f, path, "old", 3, 0600, &b.w, &b.err));
		must_fail(&b, sftp_write(b.f, path, data, BIG, 0600, &b.w, &b.err), ERR_NO_SPACE, "no space left");
		must(&b, sftp_read(b.f, path, 100, &b.w, &text, &b.err));
		assert_string_equal(text.data, "old");
		must(&b, sftp_list(b.f, disk, 10, &b.w, &list, &b.err));
		assert_int_equal(list.count, 1);
		sftp_entries_done(&list);
		/* The room is there again. */
		must(&b, sftp_write(b.f, path, data, 500000, 0600, &b.w, &b.err));
	}
	server_stop(&server);
}

static void a_server_without_sftp_is_named_with_the_way_out(void **state)
{
	(void)state;
	static const char *const options[][3] = {{"--option", "Subsystem other internal-sftp", NULL},
	                                         {"--option", "Subsystem sftp /bin/false", NULL}};
	static const char *const why[] = {"has no subsystem 'sftp'", "ended before it began"};
	for (size_t i = 0; i < 2; i++) {
		struct server server;
		assert_true(server_start(&server, "sshd.py", options[i]));
		{
			_cleanup_(box_done) struct box b;
			_cleanup_(str_done) struct str out = STR_INIT(100);
			int status = -1;
			box_login(&b, &server, NULL, 0);
			int64_t begin = clock_mono_ms();
			must_fail(&b, sftp_open(b.s, &b.w, &b.f, &b.err), ERR_UNSUPPORTED, why[i]);
			assert_non_null(strstr(b.err.hint, "Subsystem sftp internal-sftp"));
			assert_true(clock_mono_ms() - begin < 10000);
			assert_false(sftp_is_all(b.s, &b.w));
			/* Commands go on. */
			must(&b, ssh_run(b.s, "echo on", NULL, 0, 100, &b.w, &out, NULL, &status, &b.err));
			assert_string_equal(out.data, "on\n");
		}
		server_stop(&server);
	}
}

static void an_account_that_gives_nothing_but_sftp_is_told_from_others(void **state)
{
	(void)state;
	static const char *const forced[][3] = {
		{"--option", "ForceCommand internal-sftp", NULL},
		{"--option", "ForceCommand /usr/lib/openssh/sftp-server", NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(forced); i++) {
		struct server server;
		assert_true(server_start(&server, "sshd.py", forced[i]));
		{
			_cleanup_(box_done) struct box b;
			_cleanup_free_ char *path = at("by-force");
			box_login(&b, &server, NULL, 0);
			assert_true(sftp_is_all(b.s, &b.w));
			must(&b, sftp_open(b.s, &b.w, &b.f, &b.err));
			must(&b, sftp_write(b.f, path, "x", 1, 0600, &b.w, &b.err));
			expect_text(path, "x");
		}
		server_stop(&server);
	}
	BOX(usual);
	assert_false(sftp_is_all(usual.s, &usual.w));
}

static void a_connection_cut_in_a_writing_leaves_the_old_file_and_the_name_of_the_rest(void **state)
{
	(void)state;
	char port[16], answer[16];
	struct server proxy;
	snprintf(port, sizeof(port), "%d", server_port(&sshd));
	const char *const arguments[] = {port, NULL};
	assert_true(server_start(&proxy, "cut_proxy.py", arguments));
	_cleanup_free_ char *directory = at("cut"), *path = at("cut/file"), *data = big_data();
	struct dirent *found = NULL;
	assert_int_equal(mkdir(directory, 0700), 0);
	put_text(path, "old", 0600);
	{
		_cleanup_(box_done) struct box b;
		box_login(&b, &sshd, NULL, server_port(&proxy));
		must(&b, sftp_open(b.s, &b.w, &b.f, &b.err));
		assert_true(server_ask(&proxy, "cut-after 5000000\n", answer, sizeof(answer)));
		must_fail(&b, sftp_write(b.f, path, data, BIG, 0600, &b.w, &b.err), ERR_NETWORK, "lost");
		assert_non_null(strstr(b.err.hint, ".file.davit-"));
		/* What the hint names is what is there. */
		DIR *d = opendir(directory);
		while ((found = readdir(d)) != NULL && strstr(found->d_name, ".davit-") == NULL)
			;
		assert_non_null(found);
		assert_non_null(strstr(b.err.hint, found->d_name));
		_cleanup_free_ char *left = fs_join(directory, found->d_name);
		closedir(d);
		struct stat st;
		assert_int_equal(stat(left, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		must_fail(&b, sftp_remove(b.f, path, &b.w, &b.err), ERR_NETWORK, "has ended");
	}
	expect_text(path, "old");
	server_stop(&proxy);
}

/* A cancel that comes by itself after a while: the wait's tick makes it. */
struct alarm {
	int pipe[2];
	int ticks;
	int error;
};

static int on_tick(void *context, struct err *err)
{
	struct alarm *a = context;
	if (a->ticks++ == 0)
		return 0;
	if (a->error != 0)
		return err_set(err, a->error, "the lock is gone");
	return write(a->pipe[1], "x", 1) == 1 ? 0 : ERR_IO;
}

static void alarm_set(struct alarm *a, struct wait *w)
{
	assert_int_equal(pipe2(a->pipe, O_CLOEXEC), 0);
	w->cancel_fd = a->pipe[0];
	w->tick_ms = 15;
	w->tick = on_tick;
	w->context = a;
}

static void alarm_done(struct alarm *a)
{
	close(a->pipe[0]);
	close(a->pipe[1]);
}

static void a_cancel_in_a_writing_leaves_nothing_and_the_session_goes_on(void **state)
{
	(void)state;
	enum { HUGE = 512 << 20 };
	BOX(b);
	_cleanup_free_ char *directory = at("cancel"), *path = at("cancel/file"), *data = xcalloc(1, HUGE);
	struct alarm a = {.ticks = 0};
	struct wait w = b.w;
	assert_int_equal(mkdir(directory, 0700), 0);
	put_text(path, "old", 0600);
	alarm_set(&a, &w);
	int64_t begin = clock_mono_ms();
	must_fail(&b, sftp_write(b.f, path, data, HUGE, 0600, &w, &b.err), ERR_CANCELLED, "cancelled");
	alarm_done(&a);
	assert_true(clock_mono_ms() - begin < 12000);
	assert_int_equal(unfinished(directory), 0);
	expect_text(path, "old");
	must(&b, sftp_write(b.f, path, "new", 3, 0600, &b.w, &b.err));
	expect_text(path, "new");
}

static void a_deadline_in_a_reading_or_at_once_leaves_the_session_usable(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *path = at("slow"), *data = big_data();
	_cleanup_(str_done) struct str text = STR_INIT(BIG);
	must(&b, sftp_write(b.f, path, data, BIG, 0600, &b.w, &b.err));
	/* Given up at each stage: nothing asked yet, opened, in the middle. */
	for (int ms = 0; ms < 40; ms += 4) {
		struct wait near = wait_within(&b.w, ms);
		int r = sftp_read(b.f, path, BIG, &near, &text, &b.err);
		if (r == 0) {
			str_clear(&text);
			continue;
		}
		must_fail(&b, r, ERR_TIMEOUT, "deadline");
		assert_int_equal(text.len, 0);
	}
	must(&b, sftp_read(b.f, path, BIG, &b.w, &text, &b.err));
	assert_memory_equal(text.data, data, BIG);
}

static void given_up_at_any_moment_a_writing_is_whole_or_not_there(void **state)
{
	(void)state;
	BOX(b);
	_cleanup_free_ char *directory = at("moments"), *path = at("moments/file"), *data = big_data();
	assert_int_equal(mkdir(directory, 0700), 0);
	for (int ms = 0; ms < 30; ms++) {
		struct wait near = wait_within(&b.w, ms);
		struct stat st;
		size_t len = 300000 + (size_t)ms;
		int r = sftp_write(b.f, path, data, len, 0600, &near, &b.err);
		if (r == 0) {
			assert_int_equal(stat(path, &st), 0);
			assert_int_equal(st.st_size, len);
		} else {
			must_fail(&b, r, ERR_TIMEOUT, "deadline");
			assert_true(stat(path, &st) < 0 || st.st_size < (off_t)len);
		}
		assert_int_equal(unfinished(directory), 0);
	}
}

static void once_the_lock_is_lost_nothing_is_touched_any_more(void **state)
{
	(void)state;
	enum { HUGE = 512 << 20 };
	BOX(b);
	_cleanup_free_ char *directory = at("fenced"), *path = at("fenced/file"), *data = xcalloc(1, HUGE);
	struct alarm a = {.error = ERR_FENCED};
	struct wait w = b.w;
	assert_int_equal(mkdir(directory, 0700), 0);
	alarm_set(&a, &w);
	must_fail(&b, sftp_write(b.f, path, data, HUGE, 0600, &w, &b.err), ERR_FENCED, "lock is gone");
	alarm_done(&a);
	assert_non_null(strstr(b.err.hint, ".file.davit-"));
	assert_int_equal(unfinished(directory), 1);
}

/* ---- odd servers ---- */

static void odd_box(struct box *b, const char *mode)
{
	put_text(mode_file, mode, 0644);
	box_login(b, &odd, NULL, 0);
}
#define ODD(name, mode)                                                                                                \
	_cleanup_(box_done) struct box name;                                                                           \
	odd_box(&name, mode);                                                                                          \
	must(&name, sftp_open(name.s, &name.w, &name.f, &name.err))

static void a_server_without_extensions_writes_reads_and_replaces_nothing(void **state)
{
	(void)state;
	const char *const modes[] = {"plain", "backwards"};
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		ODD(b, modes[i]);
		_cleanup_free_ char *path = at(modes[i]), *data = big_data();
		_cleanup_(str_done) struct str text = STR_INIT(BIG);
		const size_t len = (2 << 20) + 77;
		must(&b, sftp_write(b.f, path, data, len, 0640, &b.w, &b.err));
		must(&b, sftp_read(b.f, path, BIG, &b.w, &text, &b.err));
		assert_int_equal(text.len, len);
		assert_memory_equal(text.data, data, len);
		must_fail(&b, sftp_write(b.f, path, "new", 3, 0640, &b.w, &b.err), ERR_UNSUPPORTED,
		          "replaces no file in one step");
		assert_non_null(strstr(b.err.hint, "posix-rename@openssh.com"));
		assert_int_equal(unfinished(folder), 0);
		must_fail(&b, sftp_mkdir(b.f, path, 0700, &b.w, &b.err), ERR_UNSUPPORTED, "cannot do that");
	}
}

static void a_silent_server_is_left_at_the_deadline(void **state)
{
	(void)state;
	_cleanup_(box_done) struct box b;
	struct sftp_stat st;
	odd_box(&b, "silent");
	struct wait near = wait_within(&b.w, 300);
	must_fail(&b, sftp_open(b.s, &near, &b.f, &b.err), ERR_TIMEOUT, "deadline");
	ODD(m, "mute");
	near = wait_within(&m.w, 300);
	must_fail(&m, sftp_stat(m.f, "x", &near, &st, &m.err), ERR_TIMEOUT, "deadline");
}

static void a_greeting_before_sftp_is_shown_with_its_cause(void **state)
{
	(void)state;
	_cleanup_(box_done) struct box b;
	odd_box(&b, "greeting");
	must_fail(&b, sftp_open(b.s, &b.w, &b.f, &b.err), ERR_PROTOCOL, "Welcome to shop.example!");
	assert_non_null(strstr(b.err.hint, ".bashrc"));
}

static void an_ill_willed_server_is_an_error_and_no_more(void **state)
{
	(void)state;
	struct sftp_entries list = {0};
	struct sftp_stat st;
	_cleanup_free_ char *path = at("ill"), *data = big_data();
	ODD(slash, "slash");
	must_fail(&slash, sftp_list(slash.f, ".", 10, &slash.w, &list, &slash.err), ERR_PROTOCOL, "no file can have");
	must_fail(&slash, sftp_stat(slash.f, ".", &slash.w, &st, &slash.err), ERR_NETWORK, "has ended");
	ODD(many, "many");
	must_fail(&many, sftp_list(many.f, ".", 12345, &many.w, &list, &many.err), ERR_LIMIT, "more than 12345");
	ODD(cut, "short");
	must_fail(&cut, sftp_list(cut.f, ".", 10, &cut.w, &list, &cut.err), ERR_PROTOCOL, "cut off");
	ODD(huge, "huge");
	must_fail(&huge, sftp_stat(huge.f, ".", &huge.w, &st, &huge.err), ERR_PROTOCOL, "not SFTP");
	ODD(stranger, "stranger");
	must_fail(&stranger, sftp_stat(stranger.f, ".", &stranger.w, &st, &stranger.err), ERR_PROTOCOL, "nobody asked");
	/* Twice the same answer counts as two: it must not end the wait for the others, nor count below nothing. */
	ODD(twice, "twice");
	int r = sftp_write(twice.f, path, data, 200000, 0600, &twice.w, &twice.err);
	assert_true(r == ERR_PROTOCOL || r == 0);
	ODD(gone, "gone");
	must_fail(&gone, sftp_write(gone.f, path, data, 2 << 20, 0600, &gone.w, &gone.err), ERR_NETWORK, "has ended");
	assert_non_null(strstr(gone.err.hint, ".ill.davit-"));
	assert_true(ssh_is_open(gone.s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_file_goes_there_and_back),
		cmocka_unit_test(small_files_empty_ones_and_those_of_proc_are_read_whole),
		cmocka_unit_test(a_file_above_the_ceiling_is_refused_and_nothing_is_kept),
		cmocka_unit_test(an_old_file_is_replaced_in_one_step_and_a_link_is_not_followed),
		cmocka_unit_test(files_directories_and_links_are_looked_at),
		cmocka_unit_test(a_directory_is_listed_sorted_and_within_a_bound),
		cmocka_unit_test(things_are_made_renamed_and_removed),
		cmocka_unit_test(what_cannot_be_written_is_said_and_leaves_nothing),
		cmocka_unit_test(without_permission_nothing_is_read_or_written),
		cmocka_unit_test(a_full_disk_is_said_as_such_and_leaves_the_old_file),
		cmocka_unit_test(a_server_without_sftp_is_named_with_the_way_out),
		cmocka_unit_test(an_account_that_gives_nothing_but_sftp_is_told_from_others),
		cmocka_unit_test(a_connection_cut_in_a_writing_leaves_the_old_file_and_the_name_of_the_rest),
		cmocka_unit_test(a_cancel_in_a_writing_leaves_nothing_and_the_session_goes_on),
		cmocka_unit_test(a_deadline_in_a_reading_or_at_once_leaves_the_session_usable),
		cmocka_unit_test(given_up_at_any_moment_a_writing_is_whole_or_not_there),
		cmocka_unit_test(once_the_lock_is_lost_nothing_is_touched_any_more),
		cmocka_unit_test(a_server_without_extensions_writes_reads_and_replaces_nothing),
		cmocka_unit_test(a_silent_server_is_left_at_the_deadline),
		cmocka_unit_test(a_greeting_before_sftp_is_shown_with_its_cause),
		cmocka_unit_test(an_ill_willed_server_is_an_error_and_no_more),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
