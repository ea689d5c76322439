/* area_cli URL COMMIT DIR [--depth N] [--deadline MS] [--clean 0|1] [--lfs 1] [--submodules 1|2]: fetch and checkout, with submodules and (2) theirs,
 * by the code of the step, with its wait: the deadline is MS from now, SIGINT and SIGTERM cancel. TOKEN in the environment is the
 * authorization, KEY a key for SSH, KNOWN_HOSTS lines beside those that are known anyway, SERVER the address of the web that the token is for then, FILTER what stays at the server, CONE the one directory that is written, PATTERN the one pattern. Exit as davit's table says, and one line. With --lfs lines of progress, and one of what LFS brought. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret/base64.h"
#include "base/core/cancel.h"
#include "base/net/http.h"
#include "base/git/area.h"
#include "base/git/known_hosts.h"
#include "base/git/submodules.h"
#include "base/git/ssh.h"

static void report(void *context, const char *fmt, ...)
{
	va_list args;
	(void)context;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

struct asked {
	long long depth, deadline, submodules, clean, lfs;
	const struct git_ssh_login *ssh;
};

static int run(const struct git_remote_access *remote, const char *commit, const char *dir, const struct asked *asked,
               struct err *err)
{
	struct git_area *area _cleanup_(git_area_freep) = NULL;
	struct git_area_result result = {0};
	struct git_wanted want _cleanup_(git_wanted_done) = {0};
	if (!git_wanted_by_id(&want, commit))
		return err_set(err, ERR_INVALID, "'%s' is no commit id", commit);
	struct git_submodules_result found;
	struct git_submodules wanted = {.remote = remote,
	                                .ssh = asked->ssh,
	                                .owner_id = "42",
	                                .depth = (int)asked->depth,
	                                .clean = asked->clean,
	                                .recursive = asked->submodules == 2};
	const char *cone = getenv("CONE"), *line = cone != NULL ? cone : getenv("PATTERN");
	const struct git_sparse_wish sparse = {.lines = &line, .count = 1, .cone = cone != NULL};
	struct git_wish wish = {.depth = (int)asked->depth,
	                        .clean = asked->clean,
	                        .filter = getenv("FILTER"),
	                        .sparse = line != NULL ? &sparse : NULL};
	int r = git_area_open(dir, ".", remote->url, asked->clean, &area, err);
	if (r >= 0 && asked->lfs)
		git_area_want_lfs(area, report, NULL);
	if (r >= 0)
		r = git_area_bring_as(area, remote, &want, &wish, &result, err);
	if (r >= 0 && asked->lfs)
		printf("files %zu fetched %zu bytes %llu\n", result.lfs_files, result.lfs_fetched,
		       (unsigned long long)result.lfs_bytes);
	if (r < 0 || asked->submodules == 0)
		return r;
	r = git_area_submodules(area, &wanted, &found, err);
	if (r >= 0)
		printf("{\"count\":%zu,\"left\":%zu,\"written\":%zu}\n", found.count, found.left, found.files.written);
	return r;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct wait wait = WAIT_INIT;
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(4096);
	struct asked asked = {.depth = 1, .deadline = 60000, .clean = 1};
	const struct {
		const char *name;
		long long *value;
	} options[] = {{"--depth", &asked.depth},
	               {"--deadline", &asked.deadline},
	               {"--submodules", &asked.submodules},
	               {"--clean", &asked.clean},
	               {"--lfs", &asked.lfs}};
	char line[2048];
	for (int i = 4; i + 1 < argc; i += 2)
		for (size_t k = 0; k < ARRAY_SIZE(options); k++)
			if (strcmp(argv[i], options[k].name) == 0 &&
			    !str_parse_i64(argv[i + 1], 0, 600000, options[k].value))
				return 2;
	struct http *http _cleanup_(http_freep) = http_new(NULL, &err);
	if (argc < 4 || http == NULL)
		return 2;
	wait = wait_within(&wait, asked.deadline);
	wait.cancel_fd = cancel_install(&err);
	const char *token = getenv("TOKEN");
	if (token != NULL) {
		_cleanup_free_ char *login = xasprintf("x-access-token:%s", token);
		str_append(&authorization, "Basic ");
		base64_encode(login, strlen(login), &authorization);
	}
	struct git_ssh *ssh _cleanup_(git_ssh_freep) = NULL;
	const char *key = getenv("KEY");
	struct str known _cleanup_(str_done) = STR_INIT(GIT_KNOWN_HOSTS_MAX);
	struct git_ssh_login login = {.key = key};
	if (key != NULL && git_known_hosts(getenv("KNOWN_HOSTS"), true, &known, &err) < 0)
		return 2;
	login.known_hosts = str_peek(&known);
	if (key != NULL && git_ssh_new(argv[1], &login, &ssh, &err) < 0) {
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
		return 2;
	}
	login.beside = ssh;
	asked.ssh = ssh != NULL ? &login : NULL;
	struct git_remote_access remote = {
		.server = getenv("SERVER"),
		.ssh = ssh,
		.http = http,
		.url = argv[1],
		.authorization = token ? str_peek(&authorization) : NULL,
		.wait = &wait,
	};
	int r = run(&remote, argv[2], argv[3], &asked, &err);
	if (r < 0)
		fprintf(stderr, "%s: %s\n%s\n", err_code_name(r), err_line(&err, line, sizeof(line)), err.hint);
	return err_exit_status(r);
}
