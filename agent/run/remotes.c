/* remotes: repositories of actions that lie at a git server: fetched into a copy of this host, which is used where the server cannot be
 * reached. By git itself, without any credentials: none were given. */
#include "agent/run/run_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

enum { FETCH_MS = 10 * 60 * 1000, SAID_MAX = 1 << 16 };

/* Another scheme would ask for a login, or run a program of the address. */
static const char *const schemes[] = {"https://", "http://", "git://", "file://"};

static bool is_remote(const char *place)
{
	return strstr(place, "://") != NULL ||
	       (place[0] != '/' && strchr(place, ':') != NULL && access(place, F_OK) != 0);
}

static int check_url(const char *name, const char *url, struct err *err)
{
	const char *host = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (str_starts(url, schemes[i]))
			host = url + strlen(schemes[i]);
	int r = 0;
	if (host == NULL)
		r = err_set(err, ERR_INVALID, "--repo %s: only https, http, git and file are fetched from", name);
	else if (memchr(host, '@', strcspn(host, "/")) != NULL)
		r = err_set(err, ERR_INVALID, "--repo %s: a login in an address would be seen by others", name);
	return r < 0 ? err_hint(err, r, "clone it, and say --repo %s=DIR", name) : 0;
}

/* The environment of git: how the network is reached, and no place where it would find credentials. */
static void git_environment(struct strv *env)
{
	static const char *const kept[] = {"PATH",           "https_proxy",    "http_proxy",    "HTTPS_PROXY",
	                                   "HTTP_PROXY",     "no_proxy",       "NO_PROXY",      "all_proxy",
	                                   "ALL_PROXY",      "TMPDIR",         "SSL_CERT_FILE", "SSL_CERT_DIR",
	                                   "GIT_SSL_CAINFO", "LD_LIBRARY_PATH"};
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		const char *value = getenv(kept[i]);
		if (value != NULL)
			strv_addf(env, "%s=%s", kept[i], value);
	}
	static const char *const set[] = {"HOME=/nonexistent",     "GIT_CONFIG_GLOBAL=/dev/null",
	                                  "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	                                  "GIT_ASKPASS=true",      "GIT_ALLOW_PROTOCOL=https:http:git:file",
	                                  "LC_ALL=C.UTF-8"};
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		strv_add(env, set[i]);
}

static int run_git(const char *const *argv, int cancel_fd, struct err *err)
{
	struct strv env = {0};
	_cleanup_(str_done) struct str said = STR_INIT(SAID_MAX);
	int status = 0;
	git_environment(&env);
	struct proc_options o = {.argv = argv,
	                         .env = (const char *const *)strv_null_terminated(&env),
	                         .stdin_fd = -1,
	                         .stdout_fd = -1,
	                         .stderr_fd = PROC_PIPE};
	struct wait w = {.cancel_fd = cancel_fd, .deadline_mono_ms = clock_mono_ms() + FETCH_MS};
	int r = proc_run(&o, NULL, 0, SAID_MAX, &w, NULL, &said, &status, err);
	strv_done(&env);
	if (r < 0)
		return err_wrap(err, r, "git %s", argv[1]);
	size_t len = str_peek(&said)[0] != '\0' ? strcspn(str_peek(&said), "\n") : 0;
	_cleanup_free_ char *line = view_safe(str_peek(&said), len);
	return status == 0 ? 0 : err_set(err, ERR_NETWORK, "git %s: %s", argv[1], line);
}

/* A clone that is whole gets its name; of two at once one stays. */
static int make_copy(const char *url, const char *dir, int cancel_fd, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *fresh = xasprintf("%s.%s", dir, id);
	const char *argv[] = {"git", "clone", "--quiet", "--bare", "--", url, fresh, NULL};
	int r = run_git(argv, cancel_fd, err);
	if (r >= 0 && rename(fresh, dir) != 0 && access(dir, F_OK) != 0)
		r = err_errno(err, errno, "keep the copy in '%s'", dir);
	fs_remove_tree(AT_FDCWD, fresh, NULL);
	return r;
}

static int bring_up_to_date(const struct remote_call *call, const char *name, const char *url, const char *dir,
                            struct err *err)
{
	const char *argv[] = {"git",
	                      "--git-dir",
	                      dir,
	                      "fetch",
	                      "--quiet",
	                      "--prune",
	                      "--force",
	                      "--",
	                      url,
	                      "+refs/heads/*:refs/heads/*",
	                      "+refs/tags/*:refs/tags/*",
	                      NULL};
	struct err why = ERR_INIT;
	char line[1024];
	if (access(dir, F_OK) != 0)
		return make_copy(url, dir, call->cancel_fd, err);
	int r = run_git(argv, call->cancel_fd, &why);
	if (r == ERR_CANCELLED)
		return err_set(err, r, "cancelled");
	if (r < 0) {
		_cleanup_free_ char *text =
			xasprintf("%s is as it was fetched before: %s", name, err_line(&why, line, sizeof(line)));
		view_note(call->view, text);
	}
	return 0;
}

int remote_fetch(const struct remote_call *call, const char *entry, struct strv *out, struct err *err)
{
	const char *equals = strchr(entry, '='), *url = equals != NULL ? equals + 1 : "";
	char hex[DIGEST_HEX];
	if (!is_remote(url)) {
		strv_add(out, entry);
		return 0;
	}
	_cleanup_free_ char *name = xstrndup(entry, (size_t)(equals - entry));
	_cleanup_free_ char *copies = fs_join(call->state, "repositories");
	digest_of(url, strlen(url), hex);
	_cleanup_free_ char *dir = fs_join(copies, hex);
	int r = check_url(name, url, err);
	if (r >= 0)
		r = fs_mkdirs(AT_FDCWD, copies, 0700, err);
	if (r >= 0)
		r = bring_up_to_date(call, name, url, dir, err);
	if (r < 0)
		return err_wrap(err, r, "fetch %s from %s", name, url);
	strv_addf(out, "%s=%s", name, dir);
	return 0;
}
