/* The directories of a trial. What is compared of a file is all that an undo promises: type, mode, owner, content or goal, ACL and
 * attributes, time. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/secret/digest.h"
#include "base/secret/pieces.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LIST_MAX = 8 << 20, FILE_MAX = 32 << 20, ATTRIBUTES_MAX = 4096, COPY_MS = 60000 };

static void run(const char *const *argv)
{
	const struct proc_options o = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = STDERR_FILENO, .stderr_fd = STDERR_FILENO};
	struct wait wait = WAIT_INIT;
	int status = -1;
	wait = wait_within(&wait, COPY_MS);
	assert_int_equal(proc_run(&o, NULL, 0, 0, &wait, NULL, NULL, &status, NULL), 0);
	assert_int_equal(status, 0);
}

/* ---- what lies there before ---- */

static void lay(const char *dir, const char *name, const char *text, mode_t mode)
{
	_cleanup_free_ char *path = fs_join(dir, name);
	_cleanup_free_ char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	assert_int_equal(fs_mkdirs(AT_FDCWD, parent, 0755, NULL), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* What no step sets, and each must leave: an old time, an attribute, a reader by ACL. */
static void adorn(const char *dir, const char *name)
{
	/* user::rw- user:12345:r-- group::r-- mask::r-- other::--- as Linux stores it. */
	static const unsigned char acl[] = {2,    0,    0,    0,    1,    0,    6,    0,    0xff, 0xff, 0xff,
	                                    0xff, 2,    0,    4,    0,    0x39, 0x30, 0,    0,    4,    0,
	                                    4,    0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,    4,    0,    0xff,
	                                    0xff, 0xff, 0xff, 0x20, 0,    0,    0,    0xff, 0xff, 0xff, 0xff};
	const struct timespec old[2] = {{.tv_sec = 1500000000, .tv_nsec = 123456789},
	                                {.tv_sec = 1500000000, .tv_nsec = 123456789}};
	_cleanup_free_ char *path = fs_join(dir, name);
	/* Not every file system has them. */
	(void)setxattr(path, "user.note", "kept", 4, 0);
	(void)setxattr(path, "system.posix_acl_access", acl, sizeof(acl), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

static void lay_tree(const char *tree)
{
	static const char *const adorned[] = {"etc/shop.conf", "etc/shop.env", "etc/swap", "data/uploads/cat",
	                                      "etc/gone"};
	lay(tree, "etc/shop.conf", "version = 0\n", 0640);
	lay(tree, "etc/shop.env", "# by hand\nAPP_TOKEN=older\nKEEP=1\n", 0640);
	lay(tree, "etc/swap", "a file of its own\n", 0640);
	lay(tree, "etc/gone", "it will go\n", 0640);
	lay(tree, "data/uploads/cat", "a cat\n", 0640);
	lay(tree, "data/cache/page", "written by a user\n", 0600);
	lay(tree, "legacy/index.html", "<p>unpacked by hand</p>\n", 0644);
	lay(tree, "legacy/uploads/dog", "a dog\n", 0604);
	_cleanup_free_ char *link = fs_join(tree, "etc/way");
	assert_int_equal(symlink("shop.conf", link), 0);
	_cleanup_free_ char *data = fs_join(tree, "data");
	assert_int_equal(chmod(data, 0751), 0);
	for (size_t i = 0; i < ARRAY_SIZE(adorned); i++)
		adorn(tree, adorned[i]);
}

/* ---- snapshots of an earlier deployment ---- */

#define EARLIER "snapshots/shop.contract/20250101T000000-000000"

static void lay_manifest(const struct suite_world *w, const char *place, const char *file, const char *extra)
{
	_cleanup_free_ char *dir = fs_join(w->base, place), *path = fs_join(dir, file);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char hex[DIGEST_HEX];
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(digest_of_fd(fd, hex, NULL), 0);
	_cleanup_free_ char *text = xasprintf("{\"format\":1,\"kind\":\"snapshot\",\"deployment\":\"shop.contract\","
	                                      "\"snapshot\":\"20250101T000000-000000\",%s,\"bytes\":%lld}\n"
	                                      "f %04o %lld %s - %s\n",
	                                      extra, (long long)st.st_size, (unsigned int)st.st_mode & 07777,
	                                      (long long)st.st_size, hex, file);
	lay(dir, "manifest", text, 0600);
}

static void lay_snapshots(const struct suite_world *w)
{
	_cleanup_free_ char *data = fs_join(w->tree, "data"), *dump = fs_join(w->base, EARLIER "/1/dump");
	_cleanup_free_ char *paths =
		xasprintf("\"paths\":[{\"path\":\"%s/uploads\",\"type\":\"dir\"}],\"exclude\":[]", data);
	const char *const tar[] = {"tar", "--format=posix", "-C", data, "-cf", dump, "uploads", NULL};
	lay(w->base, EARLIER "/0/0/cat", "an older cat\n", 0640);
	lay_manifest(w, EARLIER "/0", "0/cat", paths);
	lay(w->base, EARLIER "/1/subject", "command uploads", 0600);
	run(tar);
	lay_manifest(w, EARLIER "/1", "dump", "\"source\":\"command\",\"name\":\"uploads\"");
}

/* ---- a copy of one that is there no longer, on another target ---- */

#define COPIED "shop.contract/20250101T000001-000000"

static int append(void *context, const void *data, size_t len, struct err *err)
{
	(void)err;
	assert_true(str_append_n(context, data, len));
	return 0;
}

static void seal(const char *name, const struct str *head, const struct str *tar, struct str *out)
{
	struct pieces_writer *w _cleanup_(pieces_writer_freep) = NULL;
	_cleanup_free_ char *secret = suite_secret(1);
	struct pieces_key key;
	assert_int_equal(pieces_key_read(secret, &key, NULL), 0);
	assert_int_equal(pieces_writer_new(&key, name, append, out, &w, NULL), 0);
	assert_int_equal(pieces_write(w, head->data, head->len, NULL), 0);
	assert_int_equal(pieces_write_cut(w, NULL), 0);
	assert_int_equal(pieces_write(w, tar->data, tar->len, NULL), 0);
	assert_int_equal(pieces_write_end(w, NULL), 0);
}

/* The head of a copy has the first line of the manifest. */
static void lay_copy(const struct suite_world *w)
{
	static const char name[] = COPIED "/0-web-0123456789abcdef";
	_cleanup_free_ char *of = fs_join(w->base, EARLIER "/0"), *packed = fs_join(w->dir, "packed"),
			    *manifest = fs_join(of, "manifest"), *vault = fs_join(w->base, "vault/copies"),
			    *path = fs_join(vault, name);
	_cleanup_(str_done) struct str first = STR_INIT(1 << 20), head = STR_INIT(1 << 20), tar = STR_INIT(1 << 20),
				       sealed = STR_INIT(1 << 20);
	const char *const argv[] = {"tar", "--format=posix", "-C", of, "-cf", packed, "./manifest", "./0", NULL};
	run(argv);
	assert_int_equal(fs_read(AT_FDCWD, manifest, 1 << 20, &first, NULL), 0);
	assert_int_equal(fs_read(AT_FDCWD, packed, 1 << 20, &tar, NULL), 0);
	assert_int_equal(unlink(packed), 0);
	str_appendf(&head, "{\"format\":1,\"target\":\"web\",\"subject\":\"\",\"manifest\":%.*s}",
	            (int)strcspn(str_peek(&first), "\n"), str_peek(&first));
	seal(name, &head, &tar, &sealed);
	_cleanup_free_ char *dir = fs_join(vault, COPIED);
	assert_int_equal(fs_mkdirs(AT_FDCWD, dir, 0700, NULL), 0);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, sealed.data, sealed.len, 0600, NULL), 0);
}

/* What runs once, what is replaced by each version, and what no version touches. */
static void lay_stack(const struct suite_world *w, size_t number)
{
	_cleanup_free_ char *text =
		xasprintf("x-service: &service\n"
	                  "  command: [sh, -c, \"trap 'exit 0' TERM; sleep 100000 & wait\"]\n"
	                  "services:\n"
	                  "  migrate: {image: 'local/web:%zu', command: ['true'], network_mode: none}\n"
	                  "  web:\n"
	                  "    <<: *service\n"
	                  "    image: local/web:%zu\n"
	                  "    environment: {APP_TOKEN: '${APP_TOKEN}'}\n"
	                  "    depends_on: {migrate: {condition: service_completed_successfully}}\n"
	                  "  steady: {<<: *service, image: 'local/web:1', volumes: ['data:/data']}\n"
	                  "volumes: {data: {}}\n",
	                  number % 2 + 1, number % 2 + 1);
	lay(w->tree, "stack/compose.yaml", text, 0644);
}

void suite_world_next_source(const struct suite_world *w, size_t number)
{
	_cleanup_free_ char *version = xasprintf("version %zu\n", number), *only = xasprintf("app/only-%zu", number);
	lay(w->source, "app/VERSION", version, 0644);
	lay(w->source, only, version, 0644);
	lay(w->source, "deploy/shop.conf", version, 0644);
	lay(w->source, "deploy/shop.tmpl", "port ${{ values.port }}\n", 0644);
	lay_stack(w, number);
}

/* Whom a deployment may ask here. */
static const char approvers[] =
	"alice ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBaMIRxSSmaIvNyi+u/pwnljfx6s9MEIy5EdZfsUoIga\n"
	"bob ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEvu51GSStUwZ78n1MJdzvfYf3jjtadn6QsfY3+qU02P\n";

void suite_world_make(struct suite_world *w)
{
	assert_int_equal(fs_make_temp_dir("davit-contract", &w->dir, NULL), 0);
	w->tree = fs_join(w->dir, "tree");
	w->base = fs_join(w->dir, "base");
	w->state = fs_join(w->dir, "state");
	w->source = fs_join(w->dir, "source");
	w->api = fs_join(w->dir, "api");
	assert_int_equal(mkdir(w->api, 0700), 0);
	assert_int_equal(mkdir(w->base, 0700), 0);
	assert_int_equal(mkdir(w->state, 0700), 0);
	lay_tree(w->tree);
	lay_snapshots(w);
	lay(w->state, "approvers", approvers, 0600);
	lay_copy(w);
	lay(w->source, "app/bin/run", "#!/bin/sh\n", 0755);
	lay(w->source, "app/lib/part", "the same in every version\n", 0644);
	lay(w->source, "app/debug.log", "not sent\n", 0644);
	lay(w->source, "app/uploads/sample", "not sent: shared\n", 0644);
	suite_world_next_source(w, 0);
}

void suite_world_done(struct suite_world *w)
{
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w->tree);
	free(w->base);
	free(w->state);
	free(w->source);
	free(w->api);
}

static void copy(const char *from, const char *to)
{
	const char *const argv[] = {"cp", "-a", from, to, NULL};
	fs_remove_tree(AT_FDCWD, to, NULL);
	if (fs_exists(AT_FDCWD, from)) /* a target's own directory goes when nothing is in it */
		run(argv);
}

static void copy_parts(const char *from, const char *to)
{
	static const char *const parts[] = {"tree", "base", "state", "api"};
	assert_int_equal(fs_mkdirs(AT_FDCWD, to, 0700, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_free_ char *here = fs_join(from, parts[i]), *there = fs_join(to, parts[i]);
		copy(here, there);
	}
}

void suite_world_save(const struct suite_world *w, const char *name)
{
	_cleanup_free_ char *kept = fs_join(w->dir, name);
	copy_parts(w->dir, kept);
}

void suite_world_load(const struct suite_world *w, const char *name)
{
	_cleanup_free_ char *kept = fs_join(w->dir, name);
	copy_parts(kept, w->dir);
}

/* ---- what lies there now ---- */

static void list_names(const char *dir, struct strv *names)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	while (d != NULL && (entry = readdir(d)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			strv_add(names, entry->d_name);
	if (d != NULL)
		closedir(d);
	strv_sort(names);
}

static void append_attributes(const char *path, struct str *out)
{
	char names[ATTRIBUTES_MAX], value[ATTRIBUTES_MAX], hex[DIGEST_HEX];
	ssize_t len = llistxattr(path, names, sizeof(names));
	_cleanup_(strv_done) struct strv sorted = {0};
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
		strv_add(&sorted, names + at);
	strv_sort(&sorted);
	for (size_t i = 0; i < sorted.count; i++) {
		ssize_t size = lgetxattr(path, sorted.items[i], value, sizeof(value));
		digest_of(value, size > 0 ? (size_t)size : 0, hex);
		str_appendf(out, " %s=%.12s", sorted.items[i], hex);
	}
}

static void append_content(const char *path, const struct stat *st, struct str *out)
{
	if (S_ISLNK(st->st_mode)) {
		char goal[4096];
		ssize_t len = readlink(path, goal, sizeof(goal));
		str_appendf(out, " -> %.*s", (int)(len > 0 ? len : 0), goal);
	} else if (S_ISREG(st->st_mode)) {
		_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
		char hex[DIGEST_HEX];
		assert_int_equal(fs_read(AT_FDCWD, path, FILE_MAX, &text, NULL), 0);
		digest_of(str_peek(&text), text.len, hex);
		str_appendf(out, " %zu %s", text.len, hex);
	}
}

/* A directory has a new time whenever something in it comes and goes; only its own change restores it. */
static void append_times(const struct stat *st, enum suite_detail detail, struct str *out)
{
	if (detail == SUITE_TOUCHED || (detail == SUITE_WHOLLY && S_ISREG(st->st_mode)))
		str_appendf(out, " m%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (detail == SUITE_TOUCHED)
		str_appendf(out, " c%lld.%09ld i%llu", (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec,
		            (unsigned long long)st->st_ino);
}

static void list_below(const char *dir, size_t root, enum suite_detail detail, struct str *out)
{
	_cleanup_(strv_done) struct strv names = {0};
	list_names(dir, &names);
	for (size_t i = 0; i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names.items[i]);
		struct stat st;
		assert_int_equal(lstat(path, &st), 0);
		str_appendf(out, "%s %06o %u:%u", path + root, st.st_mode, st.st_uid, st.st_gid);
		append_content(path, &st, out);
		append_attributes(path, out);
		append_times(&st, detail, out);
		str_append_c(out, '\n');
		if (S_ISDIR(st.st_mode))
			list_below(path, root, detail, out);
	}
}

void suite_list(const char *dir, enum suite_detail detail, struct str *out)
{
	str_clear(out);
	list_below(dir, strlen(dir), detail, out);
	assert_false(out->failed);
}

static bool has_line(const char *text, const char *line, size_t len)
{
	for (const char *p = text; *p != '\0'; p += strcspn(p, "\n") + 1)
		if (strncmp(p, line, len) == 0 && p[len] == '\n')
			return true;
	return false;
}

static void first_missing(const char *in, const char *from, const char *mark, struct str *out)
{
	for (const char *p = from; *p != '\0'; p += strcspn(p, "\n") + 1)
		if (!has_line(in, p, strcspn(p, "\n"))) {
			str_appendf(out, "\n  %s %.*s", mark, (int)strcspn(p, "\n"), p);
			return;
		}
}

void suite_difference(const char *before, const char *after, struct str *out)
{
	str_clear(out);
	first_missing(after, before, "was", out);
	first_missing(before, after, "is ", out);
}

static bool is_private(const char *path, const struct stat *st, const char *except)
{
	return except != NULL && str_starts(path, except) && (st->st_mode & 077) == 0;
}

char *suite_find(const char *dir, const char *text, const char *except)
{
	_cleanup_(strv_done) struct strv names = {0};
	char *found = NULL;
	list_names(dir, &names);
	for (size_t i = 0; found == NULL && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names.items[i]);
		_cleanup_(str_done) struct str content = STR_INIT(FILE_MAX);
		struct stat st;
		if (lstat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			found = suite_find(path, text, except);
		else if (S_ISREG(st.st_mode) && !is_private(path, &st, except) &&
		         fs_read(AT_FDCWD, path, FILE_MAX, &content, NULL) == 0 && content.len > 0 &&
		         memmem(content.data, content.len, text, strlen(text)) != NULL)
			found = xstrdup(path);
	}
	return found;
}
