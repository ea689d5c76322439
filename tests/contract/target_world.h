/* A target of each kind in a folder of its own, and the run of tests over all kinds. TARGET_KINDS=local,sh,… chooses some. */
#pragma once
#include "unit/cmocka_all.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "harness/server.h"
#include "engine/target/shell/shell.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct server sshd;
static const char *kind; /* of the tests that run now */
static char *key_text;

struct world {
	struct target *t;
	char *dir, *base, *lock_dir; /* dir: on this machine too, so that the test can look by itself */
	struct wait wait;
	struct err err;
	char line[4096];
};

_unused_ static void expect(struct world *w, int r, int want, const char *what)
{
	if (r != want)
		fail_msg("%s: %s: %d instead of %d: %s", kind, what, r, want,
		         err_line(&w->err, w->line, sizeof(w->line)));
}
#define OK(call) expect(w, (call), 0, #call)
#define FAILS(code, call) expect(w, (call), (code), #call)

/* ---- making one ---- */

static int make_by_shell(const struct target_config *config, struct target **ret, struct err *err)
{
	static const char *const dash[] = {"/bin/sh", NULL}, *const bash[] = {"/bin/bash", NULL},
				 *const busybox[] = {"/bin/busybox", "sh", NULL};
	return target_shell_new_local(config,
	                              strcmp(kind, "bash") == 0      ? bash
	                              : strcmp(kind, "busybox") == 0 ? busybox
	                                                             : dash,
	                              ret, err);
}

static struct target *make(const char *base)
{
	struct err err = ERR_INIT;
	struct target *t = NULL;
	char line[1024];
	_cleanup_json_ json_t *config = json_pack("{s:s}", "base", base);
	int r;
	if (strcmp(kind, "ssh") == 0) {
		json_object_set_new(config, "ssh",
		                    json_pack("{s:s, s:i, s:s, s:s, s:s}", "host", "127.0.0.1", "port",
		                              server_port(&sshd), "user", server_text(&sshd, "user"), "key", key_text,
		                              "host_key", server_text(&sshd, "host_key")));
		r = target_config_use(target_kinds, "web", config, target_shell_new, &t, &err);
	} else {
		json_object_set_new(config, "local", json_object());
		if (strcmp(kind, "local") == 0)
			r = target_config_use(target_kinds, "web", config, target_local_new, &t, &err);
		else
			r = target_config_use(target_kinds, "web", config, make_by_shell, &t, &err);
	}
	if (r < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	return t;
}

static void write_lock(struct world *w, const char *token)
{
	_cleanup_free_ char *path = fs_join(w->lock_dir, "lock");
	_cleanup_free_ char *text = xasprintf("{\"format\":1,\n \"token\": \"%s\",\"pid\":1}", token);
	assert_int_equal(fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	assert_int_equal(fs_make_temp_dir("davit-conf", &w->dir, NULL), 0);
	w->base = fs_join(w->dir, "base");
	w->lock_dir = xasprintf("%s/open/shop.test", w->base);
	w->t = make(w->base);
	w->wait = (struct wait)WAIT_INIT;
	w->wait = wait_within(&w->wait, 60000);
	w->t->view.wait = &w->wait;
	assert_int_equal(fs_mkdirs(AT_FDCWD, w->lock_dir, 0700, NULL), 0);
	write_lock(w, "0123456789abcdef");
	w->t->lock_dir = xstrdup(w->lock_dir);
	w->t->token = xstrdup("0123456789abcdef");
	OK(target_open(&w->t->view, &w->err));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	target_free(w->t);
	fs_remove_tree(AT_FDCWD, w->dir, NULL);
	free(w->dir);
	free(w->base);
	free(w->lock_dir);
	free(w);
	return 0;
}

/* ---- words of the tests ---- */

static char *at(struct world *w, const char *name)
{
	static char paths[8][4096];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof(paths[0]), "%s/%s", w->dir, name);
	return path;
}

#define V (&w->t->view)
#define OP(name) w->t->view.type->name

_unused_ static void write_here(struct world *w, const char *name, const char *text, mode_t mode)
{
	assert_int_equal(fs_write_replace(AT_FDCWD, at(w, name), text, strlen(text), mode, NULL), 0);
}

_unused_ static void expect_here(struct world *w, const char *name, const char *text)
{
	_cleanup_(str_done) struct str got = STR_INIT(1 << 20);
	if (fs_read(AT_FDCWD, at(w, name), 1 << 20, &got, NULL) < 0)
		fail_msg("%s: '%s' is not there", kind, name);
	assert_string_equal(str_peek(&got), text);
}

_unused_ static bool here(struct world *w, const char *name)
{
	struct stat st;
	return lstat(at(w, name), &st) == 0;
}

_unused_ static mode_t mode_here(struct world *w, const char *name)
{
	struct stat st;
	assert_int_equal(lstat(at(w, name), &st), 0);
	return st.st_mode & 07777;
}

_unused_ static int run_script(struct world *w, const char *script, struct target_result *ret)
{
	struct target_command c = {.script = script};
	return OP(run)(w->t, &c, ret, &w->err);
}

static bool chosen(const char *name)
{
	const char *kinds = getenv("TARGET_KINDS");
	return kinds == NULL || strstr(kinds, name) != NULL;
}

static int run_all_kinds(const struct CMUnitTest *tests, size_t count)
{
	static const char *const kinds[] = {"local", "sh", "bash", "busybox", "ssh"};
	int failed = 0;
	/* In memory: every put is synced. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		kind = kinds[i];
		if (!chosen(kind) || (strcmp(kind, "busybox") == 0 && access("/bin/busybox", X_OK) != 0))
			continue;
		if (strcmp(kind, "ssh") == 0) {
			struct str text = STR_INIT(1 << 16);
			if (!server_start(&sshd, "sshd.py", NULL) ||
			    fs_read(AT_FDCWD, server_text(&sshd, "key"), 1 << 16, &text, NULL) < 0)
				return 1;
			key_text = str_take(&text);
		}
		print_message("---- %s\n", kind);
		failed += _cmocka_run_group_tests(kind, tests, count, NULL, NULL);
	}
	if (sshd.proc.pid != 0)
		server_stop(&sshd);
	free(key_text);
	return failed;
}
#define RUN_ALL_KINDS(tests) return run_all_kinds(tests, ARRAY_SIZE(tests))
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
