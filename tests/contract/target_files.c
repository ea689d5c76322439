/* What is written keeps what nobody named, is never wider than was asked, and cannot be caught by whoever owns the folder: the same on
 * every kind of target. */
#include "contract/target_world.h"

#include <dirent.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static const char secret[] = "very-secret-word";
static const struct node_attr for_me = {.set_mode = true, .mode = 0600, .fresh = true, .alone = true};

/* Runs a command of this machine; its output with line feeds as blanks. */
static const char *said(const char *fmt, ...)
{
	static char out[4096];
	char command[2048];
	va_list args;
	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	size_t n = fread(out, 1, sizeof(out) - 1, f);
	assert_int_equal(pclose(f), 0);
	out[n] = '\0';
	for (char *p = out; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	return out;
}
#define ACL(name) said("getfacl -pcnE '%s'", at(w, name))

static bool has_acls(struct world *w)
{
	write_here(w, "probe", "", 0600);
	bool yes = geteuid() == 0 && getxattr(at(w, "probe"), "system.posix_acl_access", NULL, 0) == -1 &&
	           errno == ENODATA;
	unlink(at(w, "probe"));
	if (!yes)
		print_message("no ACLs here, or not root\n");
	return yes;
}

static bool is_busybox(void)
{
	return strcmp(kind, "busybox") == 0;
}

static void a_replaced_file_keeps_its_access_list_and_its_group_gains_nothing(void **state)
{
	struct world *w = *state;
	const struct node_attr wider = {.set_mode = true, .mode = 0660};
	if (!has_acls(w))
		skip();
	write_here(w, "conf", "old", 0600);
	assert_int_equal(chown(at(w, "conf"), 1234, 1235), 0);
	said("setfacl -m u:2345:rw,g:2346:r '%s'", at(w, "conf"));
	_cleanup_free_ char *before = xstrdup(ACL("conf"));
	OK(OP(put)(w->t, at(w, "conf"), "new", 3, NULL, &w->err));
	expect_here(w, "conf", "new");
	assert_string_equal(ACL("conf"), before);
	assert_non_null(strstr(before, "group::---"));
	OK(OP(put)(w->t, at(w, "conf"), "wider", 5, &wider, &w->err));
	assert_non_null(strstr(ACL("conf"), "group::---"));
	struct stat st;
	assert_int_equal(stat(at(w, "conf"), &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 1235);
}

static void a_replaced_file_keeps_attributes_and_capabilities(void **state)
{
	struct world *w = *state;
	/* cap_net_bind_service, effective and permitted: struct vfs_cap_data, version 2. */
	static const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
	char got[64];
	if (geteuid() != 0 || is_busybox())
		skip();
	write_here(w, "tool", "old", 0755);
	bool user = setxattr(at(w, "tool"), "user.note", "kept", 4, 0) == 0;
	if (setxattr(at(w, "tool"), "security.capability", cap, sizeof(cap), 0) != 0)
		skip();
	const struct timespec old[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000}};
	assert_int_equal(utimensat(AT_FDCWD, at(w, "tool"), old, 0), 0);
	OK(OP(put)(w->t, at(w, "tool"), "new", 3, NULL, &w->err));
	expect_here(w, "tool", "new");
	assert_int_equal(getxattr(at(w, "tool"), "security.capability", got, sizeof(got)), sizeof(cap));
	if (user)
		assert_int_equal(getxattr(at(w, "tool"), "user.note", got, sizeof(got)), 4);
	/* The time is that of the new content. */
	struct stat st;
	assert_int_equal(stat(at(w, "tool"), &st), 0);
	assert_true(st.st_mtim.tv_sec > 1600000000);
}

static void a_copy_has_attributes_and_access_lists(void **state)
{
	struct world *w = *state;
	char got[64];
	if (!has_acls(w) || is_busybox())
		skip();
	assert_int_equal(mkdir(at(w, "d"), 0750), 0);
	write_here(w, "d/f", "x", 0640);
	said("setfacl -m u:2345:r '%s'; setfacl -d -m u:2345:rx '%s'", at(w, "d/f"), at(w, "d"));
	bool user = setxattr(at(w, "d/f"), "user.note", "kept", 4, 0) == 0;
	OK(OP(copy)(w->t, at(w, "d"), at(w, "e"), &w->err));
	_cleanup_free_ char *file = xstrdup(ACL("d/f")), *dir = xstrdup(ACL("d"));
	assert_string_equal(ACL("e/f"), file);
	assert_string_equal(ACL("e"), dir);
	if (user)
		assert_int_equal(getxattr(at(w, "e/f"), "user.note", got, sizeof(got)), 4);
}

static void a_secret_gets_nothing_of_its_folder(void **state)
{
	struct world *w = *state;
	struct node_attr attr = for_me;
	struct stat st;
	if (!has_acls(w))
		skip();
	assert_int_equal(mkdir(at(w, "www"), 0755), 0);
	assert_int_equal(chown(at(w, "www"), 0, 2346), 0);
	assert_int_equal(chmod(at(w, "www"), 02775), 0);
	said("setfacl -d -m u:2345:rwx '%s'", at(w, "www"));
	OK(OP(put)(w->t, at(w, "www/.env"), secret, strlen(secret), &attr, &w->err));
	assert_string_equal(ACL("www/.env"), "user::rw- group::--- other::---  ");
	attr.mode = 0640;
	OK(OP(put)(w->t, at(w, "www/.env"), secret, strlen(secret), &attr, &w->err));
	assert_string_equal(ACL("www/.env"), "user::rw- group::r-- other::---  ");
	assert_int_equal(stat(at(w, "www/.env"), &st), 0);
	assert_int_equal(st.st_gid, getegid());
	attr.mode = 0700;
	OK(OP(mkdir)(w->t, at(w, "www/keys"), &attr, &w->err));
	assert_string_equal(ACL("www/keys"), "user::rwx group::--- other::---  ");
	assert_int_equal(mode_here(w, "www/keys"), 0700);
	assert_string_equal(said("ls -A '%s'", at(w, "www")), ".env keys ");
}

static void readers_come_with_the_name(void **state)
{
	struct world *w = *state;
	struct node_attr attr = for_me;
	attr.acl = "u:2345:r,u:77:r";
	if (!has_acls(w))
		skip();
	write_here(w, "env", "old", 0600);
	said("setfacl -m u:99:r '%s'", at(w, "env"));
	OK(OP(put)(w->t, at(w, "env"), secret, strlen(secret), &attr, &w->err));
	assert_string_equal(ACL("env"), "user::rw- user:77:r-- user:2345:r-- group::--- mask::r-- other::---  ");
	attr.mode = 0700;
	attr.acl = "u:77:rx";
	OK(OP(mkdir)(w->t, at(w, "dir"), &attr, &w->err));
	assert_string_equal(ACL("dir"), "user::rwx user:77:r-x group::--- mask::r-x other::---  ");
	/* What cannot be given leaves nothing behind. */
	attr.acl = "u:77:q";
	attr.mode = 0600;
	assert_int_not_equal(OP(put)(w->t, at(w, "another"), secret, strlen(secret), &attr, &w->err), 0);
	assert_string_equal(said("ls -A '%s'", w->dir), "base dir env ");
}

static void what_a_folder_passes_on_is_wanted_where_no_mode_is_named(void **state)
{
	struct world *w = *state;
	const struct node_attr exact = {.set_mode = true, .mode = 0750}, bit = {.set_mode = true, .mode = 02750};
	struct stat st;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(at(w, "team"), 0755), 0);
	assert_int_equal(chown(at(w, "team"), 0, 2346), 0);
	assert_int_equal(chmod(at(w, "team"), 02775), 0);
	OK(OP(mkdir)(w->t, at(w, "team/plain"), NULL, &w->err));
	assert_int_equal(mode_here(w, "team/plain"), 02755);
	OK(OP(mkdir)(w->t, at(w, "team/exact"), &exact, &w->err));
	assert_int_equal(mode_here(w, "team/exact"), 0750);
	OK(OP(mkdir)(w->t, at(w, "team/bit"), &bit, &w->err));
	assert_int_equal(mode_here(w, "team/bit"), 02750);
	OK(OP(set_attr)(w->t, at(w, "team/bit"), &exact, &w->err));
	assert_int_equal(mode_here(w, "team/bit"), 0750);
	OK(OP(put)(w->t, at(w, "team/f"), "x", 1, NULL, &w->err));
	assert_int_equal(stat(at(w, "team/f"), &st), 0);
	assert_int_equal(st.st_gid, 2346);
	/* A file of ours is replaced: its group stays ours. */
	write_here(w, "team/own", "x", 0644);
	assert_int_equal(chown(at(w, "team/own"), 0, 0), 0);
	OK(OP(put)(w->t, at(w, "team/own"), "y", 1, NULL, &w->err));
	assert_int_equal(stat(at(w, "team/own"), &st), 0);
	assert_int_equal(st.st_gid, 0);
}

static void a_directory_is_dressed_like_another(void **state)
{
	struct world *w = *state;
	struct stat st;
	if (!has_acls(w))
		skip();
	assert_int_equal(mkdir(at(w, "from"), 0755), 0);
	assert_int_equal(chown(at(w, "from"), 1234, 1235), 0);
	assert_int_equal(chmod(at(w, "from"), 02750), 0);
	said("setfacl -m u:2345:rx -m d:u:2345:rwx '%s'", at(w, "from"));
	const struct timespec old[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000, .tv_nsec = 5}};
	assert_int_equal(utimensat(AT_FDCWD, at(w, "from"), old, 0), 0);
	OK(OP(mkdir)(w->t, at(w, "to"), NULL, &w->err));
	OK(OP(dress_like)(w->t, at(w, "to"), at(w, "from"), &w->err));
	_cleanup_free_ char *want = xstrdup(ACL("from"));
	assert_string_equal(ACL("to"), want);
	assert_int_equal(stat(at(w, "to"), &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 1235);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(st.st_mtim.tv_sec, 1500000000);
}

/* ---- whoever owns the folder ---- */

struct spoils {
	volatile int ready, stop;
	volatile int read_it; /* the secret was read */
	volatile long planted;
};

static void look_for_it(int fd, struct spoils *s)
{
	char text[256];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n > 0) {
		text[n] = '\0';
		if (strstr(text, secret))
			s->read_it = 1;
	}
}

/* Puts a pipe, a link to a pipe, a link to another's file in the place of each private name it sees, and of the one that could be known. */
static void plant(const char *name, unsigned turn)
{
	char aside[64];
	snprintf(aside, sizeof(aside), "taken-%u", turn % 16);
	if (rename(name, aside) != 0)
		unlink(name);
	switch (turn % 4) {
	case 0:
		(void)!mkfifo(name, 0666);
		break;
	case 1:
		(void)!symlink("pipes", name);
		break;
	case 2:
		(void)!symlink("../victim", name);
		break;
	default:
		(void)!symlink("../victim-dir", name);
		break;
	}
}

static void attack(const char *dir, const char *target, struct spoils *s)
{
	_cleanup_free_ char *known = target_private_name(target);
	if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0 || chdir(dir) != 0)
		_exit(1);
	(void)!mkdir("pipes", 0777);
	(void)!mkfifo("pipes/new", 0666);
	int pipe_fd = open("pipes/new", O_RDWR | O_NONBLOCK);
	s->ready = 1;
	for (unsigned turn = 0; !s->stop; turn++) {
		DIR *d = opendir(".");
		const struct dirent *e;
		while (d && (e = readdir(d)) != NULL) {
			if (strncmp(e->d_name, ".davit-", 7) == 0 && strcmp(e->d_name, known) != 0) {
				plant(e->d_name, turn);
				s->planted++;
			}
			int fd = e->d_name[0] == '.' && e->d_name[1] != 'd'
			                 ? -1
			                 : open(e->d_name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
			if (fd >= 0) {
				look_for_it(fd, s);
				close(fd);
			}
		}
		if (d)
			closedir(d);
		if (turn % 64 == 0)
			(void)!mkfifo(known, 0666);
		if (turn % 256 == 0) {
			unlink(target);
			(void)!symlink(turn % 512 ? "pipes/new" : "../victim", target);
		}
		look_for_it(pipe_fd, s);
	}
	_exit(0);
}

static void the_folders_owner_neither_reads_a_secret_nor_turns_it_elsewhere(void **state)
{
	struct world *w = *state;
	struct stat st;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(w->dir, 0755), 0);
	write_here(w, "victim", "root's", 0600);
	assert_int_equal(mkdir(at(w, "victim-dir"), 0700), 0);
	assert_int_equal(mkdir(at(w, "home"), 0755), 0);
	assert_int_equal(chown(at(w, "home"), 65534, 65534), 0);
	struct spoils *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s, MAP_FAILED);
	pid_t pid = fork();
	if (pid == 0)
		attack(at(w, "home"), ".env", s);
	assert_true(pid > 0);
	for (int64_t end = clock_mono_ms() + 20000; !s->ready && clock_mono_ms() < end;)
		usleep(1000);
	assert_true(s->ready);
	int done = 0;
	for (int64_t end = clock_mono_ms() + 2000; clock_mono_ms() < end;) {
		w->t->view.op_timeout_ms = 5000;
		int r = OP(put)(w->t, at(w, "home/.env"), secret, strlen(secret), &for_me, &w->err);
		done += r == 0;
		/* What the owner of the folder takes away is missing; nothing else may go wrong. */
		if (r < 0 && r != ERR_NOT_FOUND && r != ERR_PERMISSION && r != ERR_EXISTS && r != ERR_IO)
			fail_msg("%s: %s", kind, err_line(&w->err, w->line, sizeof(w->line)));
		err_clear(&w->err);
	}
	s->stop = 1;
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	print_message("%d written, %ld names caught\n", done, s->planted);
	assert_int_equal(s->read_it, 0);
	assert_true(done > 0);
	expect_here(w, "victim", "root's");
	assert_int_equal(stat(at(w, "victim"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1);
	assert_string_equal(said("ls -A '%s'", at(w, "victim-dir")), "");
	munmap(s, sizeof(*s));
}

/* The attack of old: a pipe at the name that could be told from the path. */
static void a_pipe_at_the_name_that_could_be_known_gets_nothing(void **state)
{
	struct world *w = *state;
	assert_int_equal(mkdir(at(w, "home"), 0755), 0);
	_cleanup_free_ char *known = target_private_name(at(w, "home/.env"));
	assert_int_equal(mkfifo(known, 0666), 0);
	int fd = open(known, O_RDWR | O_NONBLOCK);
	OK(OP(put)(w->t, at(w, "home/.env"), secret, strlen(secret), &for_me, &w->err));
	char text[64];
	assert_int_equal(read(fd, text, sizeof(text)), -1);
	close(fd);
	expect_here(w, "home/.env", secret);
	/* It is somebody else's, and stays. */
	struct stat st;
	assert_int_equal(lstat(known, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
}

static void what_a_killed_process_left_is_known_by_its_name(void **state)
{
	struct world *w = *state;
	(void)w;
	_cleanup_free_ char *a = target_fresh_name("/srv/app/.env", "new"),
			    *b = target_fresh_name("/srv/app/.env", "new");
	assert_string_not_equal(a, b);
	assert_int_equal(strncmp(a, "/srv/app/.davit-new-", 20), 0);
	assert_true(target_is_private_name(a + 9, "/srv/app/.env"));
	assert_false(target_is_private_name(a + 9, "/srv/app/other"));
	assert_false(target_is_private_name(".davit-new-", "/srv/app/.env"));
	_cleanup_free_ char *longer = xasprintf("%s0", a + 9);
	assert_false(target_is_private_name(longer, "/srv/app/.env"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_replaced_file_keeps_its_access_list_and_its_group_gains_nothing),
		T(a_replaced_file_keeps_attributes_and_capabilities),
		T(a_copy_has_attributes_and_access_lists),
		T(a_secret_gets_nothing_of_its_folder),
		T(readers_come_with_the_name),
		T(what_a_folder_passes_on_is_wanted_where_no_mode_is_named),
		T(a_directory_is_dressed_like_another),
		T(the_folders_owner_neither_reads_a_secret_nor_turns_it_elsewhere),
		T(a_pipe_at_the_name_that_could_be_known_gets_nothing),
		T(what_a_killed_process_left_is_known_by_its_name),
	};
	RUN_ALL_KINDS(tests);
}
