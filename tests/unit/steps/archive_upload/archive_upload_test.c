#include "unit/steps/step_fixture.h"
#include "steps/archive_upload/source.h"
#include "steps/common/manifest.h"
#include <spawn.h>
#include <sys/wait.h>

#define ID "20260131T102030-3fa94c"
#define NEXT_ID "20260201T102030-aaaaaa"

static void make_dir(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	assert_int_equal(fs_mkdirs(AT_FDCWD, path, 0755, NULL), 0);
}

static char *link_of(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	char buf[1024];
	ssize_t n = readlink(path, buf, sizeof(buf));
	return n < 0 ? xstrdup("") : xstrndup(buf, (size_t)n);
}

static void assert_link(struct fixture *f, const char *name, const char *to)
{
	_cleanup_free_ char *link = link_of(f, name);
	assert_string_equal(link, to);
}

static struct stat stat_of(struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = fs_join(f->dir, name);
	struct stat st = {0};
	lstat(path, &st);
	return st;
}

static bool there(struct fixture *f, const char *name)
{
	return stat_of(f, name).st_mode != 0;
}

static void make_source(struct fixture *f)
{
	make_dir(f, "src/lib");
	make_dir(f, "src/empty");
	fixture_write(f, "src/app.py", "print(1)\n", 0755);
	fixture_write(f, "src/lib/a", "aaa", 0644);
	fixture_write(f, "src/lib/b", "bbb", 0644);
	_cleanup_free_ char *link = fs_join(f->dir, "src/lib/link");
	assert_int_equal(symlink("a", link), 0);
}

static void must(struct fixture *f, int r)
{
	if (r < 0)
		fail_msg("%s", err_line(&f->err, f->text, sizeof(f->text)));
}

static void deploy(struct fixture *f, const char *id, const char *yaml)
{
	f->deployment.id = id;
	fixture_input(f, "archive-upload", yaml);
	assert_int_equal(fixture_validate(f), 0);
	must(f, fixture_plan(f));
	must(f, fixture_apply(f));
}

static const char plain[] = "{source: src, path: DIR/www}";

static void the_first_release_is_filled_and_undo_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	assert_link(f, "www/current", "releases/" ID);
	assert_file(f, "www/current/app.py", "print(1)\n");
	assert_int_equal(fixture_mode(f, "www/current/app.py"), 0755);
	assert_link(f, "www/current/lib/link", "a");
	assert_true(there(f, "www/current/empty"));

	_cleanup_free_ char *text = fixture_read(f, "www/releases/." ID ".manifest");
	struct manifest m;
	assert_int_equal(manifest_parse("m", text, strlen(text), &m, &f->err), 0);
	assert_string_equal(json_get_string(m.head, "deployment"), "shop.test");
	assert_true(json_is_null(json_object_get(m.head, "commit")));
	assert_int_equal(m.tree.count, 6);
	manifest_done(&m);

	must(f, fixture_undo(f));
	assert_false(there(f, "www"));
	must(f, fixture_undo(f)); /* twice equals once */
}

static void the_second_release_shares_what_did_not_change(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	fixture_write(f, "src/lib/b", "BBB", 0644);
	fixture_write(f, "src/new", "new", 0644);
	_cleanup_free_ char *app = fs_join(f->dir, "src/app.py");
	assert_int_equal(unlink(app), 0);
	deploy(f, NEXT_ID, plain);
	assert_link(f, "www/current", "releases/" NEXT_ID);
	assert_file(f, "www/current/lib/b", "BBB");
	assert_file(f, "www/releases/" ID "/lib/b", "bbb");
	assert_false(there(f, "www/current/app.py"));
	assert_int_equal(stat_of(f, "www/current/lib/a").st_ino == stat_of(f, "www/releases/" ID "/lib/a").st_ino, 1);
	const json_t *files = json_object_get(f->plan.shown, "files");
	assert_int_equal(json_get_int(files, "new", -1), 1);
	assert_int_equal(json_get_int(files, "changed", -1), 1);
	assert_int_equal(json_get_int(files, "gone", -1), 1);
	assert_int_equal(json_get_int(files, "unchanged", -1), 2);

	must(f, fixture_undo(f));
	assert_link(f, "www/current", "releases/" ID);
	assert_false(there(f, "www/releases/" NEXT_ID));
	assert_false(there(f, "www/releases/." NEXT_ID ".manifest"));
	assert_file(f, "www/current/app.py", "print(1)\n");
}

static void without_hard_links_unchanged_files_are_copies(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	fixture_write(f, "src/lib/b", "BBB", 0644);
	deploy(f, NEXT_ID, "{source: src, path: DIR/www, hard_links: false}");
	assert_file(f, "www/current/lib/a", "aaa");
	assert_true(stat_of(f, "www/current/lib/a").st_ino != stat_of(f, "www/releases/" ID "/lib/a").st_ino);
}

static void an_unchanged_tree_is_no_change_whatever_its_times(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	const struct timespec times[2] = {{1000, 0}, {1000, 0}};
	_cleanup_free_ char *path = fs_join(f->dir, "src/lib/a");
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	f->deployment.id = NEXT_ID;
	fixture_input(f, "archive-upload", plain);
	must(f, fixture_plan(f));
	assert_int_equal(f->plan.count, 0);
}

static char *planned(struct fixture *f, const char *id, const char *yaml)
{
	f->deployment.id = id;
	fixture_input(f, "archive-upload", yaml);
	must(f, fixture_plan(f));
	for (size_t i = 0; i < f->plan.count; i++) {
		if (f->plan.changes[i].type == &change_release)
			return json_canonical(json_object_get(f->plan.changes[i].extra, "plan"));
	}
	return xstrdup("");
}

static void what_the_plan_digest_counts_rests_on_contents(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	_cleanup_free_ char *one = planned(f, ID, plain), *two = planned(f, NEXT_ID, plain);
	assert_string_equal(one, two);
	fixture_write(f, "src/lib/a", "aaA", 0664);
	_cleanup_free_ char *three = planned(f, "20260301T102030-bbbbbb", plain);
	assert_string_not_equal(one, three);
	fixture_write(f, "src/lib/a", "aaa", 0664); /* another umask is not another content */
	_cleanup_free_ char *four = planned(f, "20260401T102030-cccccc", plain);
	assert_string_equal(one, four);
}

static const char with_shared[] = "{source: src, path: DIR/www, shared: [uploads/, var/log]}";

static void shared_paths_lie_beside_the_releases(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	make_dir(f, "src/uploads");
	fixture_write(f, "src/uploads/seed", "not sent", 0644);
	deploy(f, ID, with_shared);
	assert_link(f, "www/current/uploads", "../../shared/uploads");
	assert_link(f, "www/current/var/log", "../../../shared/var/log");
	fixture_write(f, "www/current/uploads/photo", "jpeg", 0644);
	assert_file(f, "www/shared/uploads/photo", "jpeg");
	assert_false(there(f, "www/shared/uploads/seed"));
	fixture_write(f, "src/lib/b", "BBB", 0644);
	deploy(f, NEXT_ID, with_shared);
	assert_file(f, "www/current/uploads/photo", "jpeg");
	must(f, fixture_undo(f));
	assert_file(f, "www/current/uploads/photo", "jpeg");
}

static void a_shared_directory_in_use_survives_the_undo_of_the_first_release(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, with_shared);
	fixture_write(f, "www/shared/uploads/photo", "jpeg", 0644);
	fixture_undo(f);
	assert_file(f, "www/shared/uploads/photo", "jpeg");
	assert_false(there(f, "www/shared/var/log"));
	assert_false(there(f, "www/current"));
}

static void shared_paths_stay_in_the_release(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "archive-upload", "{path: /, shared: [/etc, ../x, a, a/b]}");
	fixture_validate(f);
	assert_true(fixture_fault(f, "/path", "not a directory for releases"));
	assert_true(fixture_fault(f, "/shared/0", "'/etc' does not lie in the release"));
	assert_true(fixture_fault(f, "/shared/1", "'../x' does not lie in the release"));
	assert_true(fixture_fault(f, "/shared", "'a/b' lies below 'a'"));
}

static void assert_refused(struct fixture *f, const char *yaml, const char *words)
{
	fixture_input(f, "archive-upload", yaml);
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	err_line(&f->err, f->text, sizeof(f->text));
	if (!strstr(f->text, words))
		fail_msg("'%s' is not in: %s", words, f->text);
}

static void a_real_directory_current_is_refused_or_adopted(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	make_dir(f, "www/current/uploads");
	fixture_write(f, "www/current/index.php", "old", 0644);
	fixture_write(f, "www/current/uploads/photo", "jpeg", 0644);
	assert_refused(f, plain, "is a real directory");
	deploy(f, ID, "{source: src, path: DIR/www, shared: [uploads], adopt: true}");
	assert_link(f, "www/current", "releases/" ID);
	assert_file(f, "www/releases/before-davit/index.php", "old");
	assert_file(f, "www/current/uploads/photo", "jpeg");
	assert_file(f, "www/releases/before-davit/uploads/photo", "jpeg");
	must(f, fixture_undo(f));
	assert_true(S_ISDIR(stat_of(f, "www/current").st_mode));
	assert_file(f, "www/current/index.php", "old");
	assert_true(S_ISDIR(stat_of(f, "www/current/uploads").st_mode));
	assert_file(f, "www/current/uploads/photo", "jpeg");
	assert_false(there(f, "www/releases"));
	assert_false(there(f, "www/shared"));
}

static void code_unpacked_in_place_stays_or_is_adopted(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	make_dir(f, "www/lib");
	fixture_write(f, "www/index.php", "old", 0644);
	fixture_write(f, "www/lib/x.php", "old", 0644);
	fixture_input(f, "archive-upload", plain);
	must(f, fixture_plan(f));
	assert_int_equal(f->plan.warnings.count, 1);
	assert_non_null(strstr(f->plan.warnings.items[0], "2 other things"));
	deploy(f, ID, "{source: src, path: DIR/www, adopt: true}");
	assert_false(there(f, "www/index.php"));
	assert_file(f, "www/releases/before-davit/lib/x.php", "old");
	must(f, fixture_undo(f));
	assert_file(f, "www/index.php", "old");
	assert_file(f, "www/lib/x.php", "old");
	assert_false(there(f, "www/releases"));
	/* Once taken over, `adopt` has nothing more to say. */
	deploy(f, ID, "{source: src, path: DIR/www, adopt: true}");
	fixture_write(f, "src/lib/b", "BBB", 0644);
	deploy(f, NEXT_ID, "{source: src, path: DIR/www, adopt: true}");
	assert_file(f, "www/releases/before-davit/index.php", "old");
}

static void a_path_of_another_deployment_is_refused(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	f->deployment.name = "blog";
	assert_refused(f, plain, "is released to by another deployment, 'shop.test'");
	_cleanup_free_ char *current = fs_join(f->dir, "www/current");
	assert_int_equal(unlink(current), 0);
	assert_refused(f, plain, "'shop.test'");
	f->deployment.name = "shop";
}

static void an_empty_source_is_refused(void **state)
{
	struct fixture *f = *state;
	make_dir(f, "src");
	assert_refused(f, plain, "has nothing to send");
}

static bool source_leaves(struct fixture *f, const char *source)
{
	_cleanup_free_ char *text = xasprintf("{source: %s, path: DIR/www}", source);
	fixture_input(f, "archive-upload", text);
	faults_done(&f->faults);
	f->faults = (struct faults){0};
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	return f->faults.count == 1 && fixture_fault(f, "/source", "leaves the source tree");
}

static void a_source_that_leaves_the_tree_is_refused_unless_absolute(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	make_dir(f, "outside/app");
	make_dir(f, "tree/app");
	_cleanup_free_ char *root = fs_join(f->dir, "tree"), *out = fs_join(f->dir, "tree/out"),
			    *in = fs_join(f->dir, "tree/in");
	const char *whole = f->deployment.source_root;
	assert_int_equal(symlink("../outside/app", out), 0);
	assert_int_equal(symlink("app", in), 0);
	f->deployment.source_root = root;
	assert_true(source_leaves(f, "../outside"));
	assert_true(source_leaves(f, ".."));
	assert_true(source_leaves(f, "app/../../src"));
	assert_true(source_leaves(f, "out"));
	assert_false(source_leaves(f, "."));
	assert_false(source_leaves(f, "app"));
	assert_false(source_leaves(f, "in"));
	assert_false(source_leaves(f, "../tree/app"));
	assert_false(source_leaves(f, "DIR/outside/app"));
	assert_int_equal(f->faults.count, 0);
	f->deployment.source_root = whole;
}

/* What was looked at may have been exchanged when it is opened: the source is opened beneath the tree. */
static void a_source_and_files_of_excludes_that_became_links_out_of_the_tree_are_not_opened(void **state)
{
	struct fixture *f = *state;
	const char *whole = f->deployment.source_root;
	make_dir(f, "tree/app");
	make_dir(f, "outside/app");
	fixture_write(f, "tree/app/a", "x", 0644);
	fixture_write(f, "outside/app/secret", "x", 0644);
	fixture_write(f, "outside/patterns", "x", 0644);
	_cleanup_free_ char *root = fs_join(f->dir, "tree"), *way = fs_join(f->dir, "tree/way"),
			    *patterns = fs_join(f->dir, "tree/app/patterns");
	assert_int_equal(symlink("../outside/app", way), 0);
	assert_int_equal(symlink("../../outside/patterns", patterns), 0);
	f->deployment.source_root = root;
	static const char *const inputs[] = {"{source: way, path: DIR/www}",
	                                     "{source: app, path: DIR/www, exclude_from: [patterns]}",
	                                     "{source: app, path: DIR/www, exclude_from: [../../outside/patterns]}"};
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		struct upload_source *source = NULL;
		struct err err = ERR_INIT;
		fixture_input(f, "archive-upload", inputs[i]);
		assert_int_equal(upload_source_open(&f->c, f->c.input, NULL, &source, &err), ERR_REFUSED);
		faults_done(&f->faults);
		f->faults = (struct faults){0};
		assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
		assert_int_equal(f->faults.count, 1);
		assert_true(fixture_fault(f, i == 0 ? "/source" : "/exclude_from/0", "leaves the source tree"));
	}
	f->deployment.source_root = whole;
}

static void excludes_keep_things_at_home(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	make_dir(f, "src/node_modules/x");
	make_dir(f, "src/.git");
	fixture_write(f, "src/node_modules/x/index.js", "x", 0644);
	fixture_write(f, "src/.deployignore", "*.log\n", 0644);
	fixture_write(f, "src/lib/x.log", "x", 0644);
	fixture_write(f, "src/lib/.gitignore", "b\n", 0644);
	/* A directory .git that is no repository would stop git: this is a plain tree. */
	_cleanup_free_ char *git = fs_join(f->dir, "src/.git");
	assert_int_equal(rmdir(git), 0);
	deploy(f, ID,
	       "{source: src, path: DIR/www, exclude: [node_modules], exclude_from: [.deployignore, .gitignore]}");
	assert_false(there(f, "www/current/node_modules"));
	assert_false(there(f, "www/current/lib/x.log"));
	assert_false(there(f, "www/current/lib/b"));
	assert_true(there(f, "www/current/lib/a"));
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(f->plan.shown, "largest"), 0), "path")),
	                    "app.py");
}

static void only_the_newest_releases_stay(void **state)
{
	struct fixture *f = *state;
	static const char *const ids[] = {"20260101T000000-000001", "20260102T000000-000002", "20260103T000000-000003",
	                                  "20260104T000000-000004"};
	make_source(f);
	for (int i = 0; i < 4; i++) {
		char text[8];
		snprintf(text, sizeof(text), "%d", i);
		fixture_write(f, "src/lib/b", text, 0644);
		deploy(f, ids[i], "{source: src, path: DIR/www, keep: 2}");
	}
	make_dir(f, "www/releases/by-hand");
	must(f, f->c.type->clean(&f->c, f->target, &f->err));
	assert_false(there(f, "www/releases/20260102T000000-000002"));
	assert_false(there(f, "www/releases/.20260101T000000-000001.manifest"));
	assert_true(there(f, "www/releases/20260103T000000-000003"));
	assert_true(there(f, "www/releases/by-hand"));
	/* The valid one stays, however old. */
	_cleanup_free_ char *current = fs_join(f->dir, "www/current");
	assert_int_equal(unlink(current), 0);
	assert_int_equal(symlink("releases/20260103T000000-000003", current), 0);
	fixture_input(f, "archive-upload", "{source: src, path: DIR/www, keep: 1}");
	must(f, f->c.type->clean(&f->c, f->target, &f->err));
	assert_true(there(f, "www/releases/20260103T000000-000003/app.py"));
}

static void a_half_filled_release_is_completed(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	fixture_input(f, "archive-upload", plain);
	must(f, fixture_plan(f));
	/* As a broken connection leaves it: one file whole, one cut, one not there. */
	make_dir(f, "www/releases/" ID "/lib");
	fixture_write(f, "www/releases/" ID "/lib/a", "aaa", 0644);
	fixture_write(f, "www/releases/" ID "/lib/b", "b", 0644);
	uint64_t inode = stat_of(f, "www/releases/" ID "/lib/a").st_ino;
	must(f, fixture_apply(f));
	assert_file(f, "www/current/lib/b", "bbb");
	assert_file(f, "www/current/app.py", "print(1)\n");
	assert_int_equal(stat_of(f, "www/current/lib/a").st_ino, inode);
}

static void full_verification_does_not_trust_the_former_release(void **state)
{
	struct fixture *f = *state;
	make_source(f);
	deploy(f, ID, plain);
	fixture_write(f, "www/current/lib/a", "XXX", 0644);
	fixture_write(f, "src/lib/b", "BBB", 0644);
	deploy(f, NEXT_ID, "{source: src, path: DIR/www, verify: full}");
	assert_file(f, "www/current/lib/a", "aaa");
	assert_int_equal(f->plan.warnings.count, 1);
	assert_non_null(strstr(f->plan.warnings.items[0], "1 entries of release"));
}

/* ---- git ---- */

extern char **environ;

static void git(struct fixture *f, const char *const *args)
{
	_cleanup_free_ char *src = fs_join(f->dir, "src");
	const char *argv[16] = {"git", "-C", src, "-c", "user.name=t", "-c", "user.email=t@example.org"};
	int n = 7, status;
	pid_t pid;
	for (; *args; args++)
		argv[n++] = *args;
	argv[n] = NULL;
	assert_int_equal(posix_spawnp(&pid, "git", NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
#define GIT(...) git(f, (const char *const[]){__VA_ARGS__, NULL})

static void commit_source(struct fixture *f)
{
	make_source(f);
	fixture_write(f, "src/.gitignore", "dist/\n", 0644);
	make_dir(f, "src/dist");
	fixture_write(f, "src/dist/bundle.js", "built", 0600);
	GIT("init", "-q");
	GIT("add", ".");
	GIT("commit", "-q", "-m", "one");
}

static void a_clean_work_tree_gives_its_commit(void **state)
{
	struct fixture *f = *state;
	commit_source(f);
	deploy(f, ID, plain);
	_cleanup_free_ char *head = fixture_read(f, "src/.git/refs/heads/master");
	if (!head)
		head = fixture_read(f, "src/.git/refs/heads/main");
	_cleanup_free_ char *text = fixture_read(f, "www/releases/." ID ".manifest");
	struct manifest m;
	assert_int_equal(manifest_parse("m", text, strlen(text), &m, &f->err), 0);
	assert_int_equal(strncmp(json_get_string(m.head, "commit"), head, 40), 0);
	assert_false(json_get_bool(m.head, "dirty", true));
	const struct tree_entry *e = tree_find(&m.tree, "lib/a");
	assert_true(manifest_blob_known(&m.blobs[e - m.tree.entries]));
	manifest_done(&m);
	assert_file(f, "www/current/dist/bundle.js", "built"); /* ignored by git is not excluded */
	assert_false(there(f, "www/current/.git"));
}

static void a_dirty_work_tree_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	commit_source(f);
	fixture_write(f, "src/lib/a", "AAA", 0644);
	assert_refused(f, plain, "modified: lib/a");
	fixture_write(f, "src/lib/a", "aaa", 0644);
	fixture_write(f, "src/stray", "x", 0644);
	assert_refused(f, plain, "untracked: stray");
	GIT("add", "stray");
	assert_refused(f, plain, "staged: stray");
	GIT("rm", "-q", "-f", "stray");
	fixture_write(f, "src/lib/a", "aaa", 0755);
	assert_refused(f, plain, "mode changed: lib/a");
	fixture_write(f, "src/lib/a", "aaa", 0644);
	_cleanup_free_ char *path = fs_join(f->dir, "src/lib/b");
	assert_int_equal(unlink(path), 0);
	assert_refused(f, plain, "deleted: lib/b");
}

static void what_is_not_sent_does_not_make_the_tree_dirty(void **state)
{
	struct fixture *f = *state;
	commit_source(f);
	fixture_write(f, "src/lib/a", "AAA", 0644);
	fixture_write(f, "src/notes.txt", "x", 0644);
	deploy(f, ID, "{source: src, path: DIR/www, exclude: [lib/a, notes.txt]}");
	assert_file(f, "www/current/lib/b", "bbb");
}

static void a_dirty_release_is_marked(void **state)
{
	struct fixture *f = *state;
	commit_source(f);
	fixture_write(f, "src/lib/a", "AAA", 0644);
	deploy(f, ID, "{source: src, path: DIR/www, allow_dirty: true}");
	assert_file(f, "www/current/lib/a", "AAA");
	_cleanup_free_ char *text = fixture_read(f, "www/releases/." ID ".manifest");
	assert_non_null(strstr(text, "\"dirty\":true"));
}

static void a_fresh_checkout_takes_digests_from_the_manifest(void **state)
{
	struct fixture *f = *state;
	commit_source(f);
	deploy(f, ID, plain);
	/* Were the file read, its new content would be found: the index vouches for it, and the manifest knows the blob. */
	_cleanup_free_ char *path = fs_join(f->dir, "src/lib/a");
	const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	GIT("update-index", "--refresh", "-q");
	fixture_write(f, "src/lib/a", "aXa", 0644);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	f->deployment.id = NEXT_ID;
	fixture_input(f, "archive-upload", plain);
	must(f, fixture_plan(f));
	assert_int_equal(f->plan.count, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_release_is_filled_and_undo_leaves_nothing),
		T(the_second_release_shares_what_did_not_change),
		T(without_hard_links_unchanged_files_are_copies),
		T(an_unchanged_tree_is_no_change_whatever_its_times),
		T(what_the_plan_digest_counts_rests_on_contents),
		T(shared_paths_lie_beside_the_releases),
		T(a_shared_directory_in_use_survives_the_undo_of_the_first_release),
		T(shared_paths_stay_in_the_release),
		T(a_real_directory_current_is_refused_or_adopted),
		T(code_unpacked_in_place_stays_or_is_adopted),
		T(a_path_of_another_deployment_is_refused),
		T(an_empty_source_is_refused),
		T(a_source_that_leaves_the_tree_is_refused_unless_absolute),
		T(a_source_and_files_of_excludes_that_became_links_out_of_the_tree_are_not_opened),
		T(excludes_keep_things_at_home),
		T(only_the_newest_releases_stay),
		T(a_half_filled_release_is_completed),
		T(full_verification_does_not_trust_the_former_release),
		T(a_clean_work_tree_gives_its_commit),
		T(a_dirty_work_tree_is_refused_by_name),
		T(what_is_not_sent_does_not_make_the_tree_dirty),
		T(a_dirty_release_is_marked),
		T(a_fresh_checkout_takes_digests_from_the_manifest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
