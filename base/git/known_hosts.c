#include "base/git/known_hosts.h"

#include "base/sys/fs.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

/* Source: GitHub's page about its SSH key fingerprints; seen in October 2026. */
static const char github[] =
	"github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
	"github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=\n"
	"github.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCj7ndNxQowgcQnjshcLrqPEiiphnt+VTTvDP6mHBL9j1aNUkY4Ue1gvwnGLVlOhGeYrnZaMgRK6+PKCUXaDbC7qtbW8gIkhL7aGCsOr/C56SJMy/BCZfxd1nWzAOxSDPgVsmerOBYfNqltV9/hWCqBywINIR+5dIg6JTJ72pcEpEjcYgXkE2YEFXV1JHnsKgbLWNlhScqb2UmyRkQyytRLtL+38TGxkxCflmO+5Z8CSSNY7GidjMIZ7Q4zMjA2n1nGrlTDkzwDCsw+wqFPGQA179cnfGWOWRVruj16z6XyvxvjJwbz0wQZ75XK5tKSb7FNyeIEs4TT4jk+S4dhPeAUC5y+bDYirYgM4GC7uEnztnZyaVWQ7B381AK4Qdrwt51ZqExKbQpTUNn+EjqoTwvqNj4kqx5QUCI0ThS/YkOxJCXmPUWZbhjpCg56i+2aB6CmK2JGhn57K5mj0MNdBXA4/WnwH6XoPWJzK5Nyu2zB3nAZp+S5hpQs+p1vN1/wsjk=\n";

static int add_users(struct str *out, struct err *err)
{
	const struct passwd *me = getpwuid(geteuid());
	const char *home = getenv("HOME");
	struct err why = ERR_INIT;
	home = home != NULL && home[0] == '/' ? home : me != NULL ? me->pw_dir : NULL;
	if (home == NULL)
		return 0;
	_cleanup_free_ char *path = xasprintf("%s/.ssh/known_hosts", home);
	int r = fs_read(AT_FDCWD, path, GIT_KNOWN_HOSTS_MAX, out, &why);
	if (r < 0 && r != ERR_NOT_FOUND) {
		if (err != NULL)
			*err = why;
		return err_wrap(err, r, "read the user's known hosts");
	}
	str_append_c(out, '\n');
	return 0;
}

/* As ssh has it, a file that cannot be read names nobody; nor does one that does not fit. */
static void add_machines(struct str *out)
{
	static const char *const paths[] = {"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct str lines _cleanup_(str_done) = STR_INIT(GIT_KNOWN_HOSTS_MAX);
		if (fs_read(AT_FDCWD, paths[i], GIT_KNOWN_HOSTS_MAX, &lines, NULL) >= 0 &&
		    out->len + lines.len + 2 < GIT_KNOWN_HOSTS_MAX)
			str_appendf(out, "%s\n", str_peek(&lines));
	}
}

int git_known_hosts(const char *given, bool machine, struct str *out, struct err *err)
{
	int r = add_users(out, err);
	if (r < 0)
		return r;
	if (given != NULL)
		str_appendf(out, "%s\n", given);
	str_append(out, github);
	if (machine && !out->failed)
		add_machines(out);
	return out->failed
	               ? err_set(err, ERR_LIMIT, "the known hosts are larger than %d MiB", GIT_KNOWN_HOSTS_MAX >> 20)
	               : 0;
}
