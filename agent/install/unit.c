#include "agent/install/unit.h"

#include "base/sys/fs.h"

static const char first_line[] = "# Written by `davit agent install`, which `davit agent uninstall` takes back.";

bool unit_is_own(const char *text)
{
	return str_starts(text, first_line);
}

/* Quoted, and without specifiers (%) for systemd to replace; `variables`: nor variables, as command lines have them. */
static void append_quoted(struct str *out, const char *text, bool variables)
{
	str_append_c(out, '"');
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			str_append_c(out, '\\');
		else if (*p == '%' || (*p == '$' && variables))
			str_append_c(out, *p);
		str_append_c(out, *p);
	}
	str_append_c(out, '"');
}

static void append_path(struct str *out, const char *path)
{
	append_quoted(out, path, false);
}

static int check_path(const char *path, struct err *err)
{
	if (path == NULL)
		return 0;
	if (path[0] != '/')
		return err_set(err, ERR_INVALID, "'%.200s' is not an absolute path", path);
	size_t len = strlen(path);
	unsigned code;
	for (size_t i = 0; i < len; i++)
		if (str_unseen(path + i, len - i, &code) > 0)
			return err_set(err, ERR_INVALID,
			               "a unit cannot hold the path '%.200s': it has a control character", path);
	return str_is_utf8(path, len)
	               ? 0
	               : err_set(err, ERR_INVALID, "a unit cannot hold the path '%.200s': it is not UTF-8", path);
}

static int check(const struct unit *u, struct err *err)
{
	int r = check_path(u->program, err);
	if (r >= 0)
		r = check_path(u->worker_home, err);
	if (r >= 0)
		r = check_path(u->state, err);
	for (size_t i = 0; r >= 0 && i < u->writable.count; i++)
		r = check_path(u->writable.items[i], err);
	return r;
}

static bool is_in_a_home(const char *path)
{
	return path != NULL && (fs_below("/home", path) || fs_below("/root", path) || fs_below("/run/user", path));
}

static bool needs_homes(const struct unit *u)
{
	bool needs = is_in_a_home(u->program) || is_in_a_home(u->worker_home) || is_in_a_home(u->state);
	for (size_t i = 0; i < u->writable.count; i++)
		needs |= is_in_a_home(u->writable.items[i]);
	return needs;
}

static void append_start(const struct unit *u, struct str *out)
{
	str_append(out, "ExecStart=");
	append_quoted(out, u->program, true);
	str_append(out, " agent run");
	if (u->worker_user != NULL)
		str_appendf(out, " --worker-user %s", u->worker_user);
	if (u->slots > 0)
		str_appendf(out, " --slots %d", u->slots);
	str_append_c(out, '\n');
	if (u->state != NULL) {
		_cleanup_free_ char *variable = xasprintf("DAVIT_STATE=%s", u->state);
		str_append(out, "Environment=");
		append_path(out, variable);
		str_append_c(out, '\n');
	}
}

static const char service[] =
	"Type=notify\n"
	"NotifyAccess=main\n"
	"WatchdogSec=3min\n"
	"# Not after a wrong configuration (1), beside another agent of this name (5), or refused as too old (7).\n"
	"Restart=on-failure\n"
	"RestartSec=5s\n"
	"RestartPreventExitStatus=1 5 7\n"
	"# The agent alone is told to stop: it waits until running deployments have reached their old or new version. Should it be killed, the\n"
	"# jobs go on, and the next start takes them over.\n"
	"KillMode=process\n"
	"TimeoutStopSec=20min\n"
	"# A job that uses up memory ends; the agent, and with it the lease of other jobs, stays.\n"
	"OOMPolicy=continue\n"
	"# Keys and secrets pass through this memory.\n"
	"LimitCORE=0\n";

/* Jobs do not inherit these: their worker leaves them. */
static const char first_served[] = "# Before its own jobs, which run as others do.\n"
				   "Nice=-5\n"
				   "OOMScoreAdjust=-500\n"
				   "MemoryLow=64M\n";

/* What holds in a user's service manager, too. */
static const char shut_for_all[] = "NoNewPrivileges=yes\n"
				   "LockPersonality=yes\n"
				   "RestrictRealtime=yes\n"
				   "RestrictSUIDSGID=yes\n";

static const char shut[] = "ProtectSystem=strict\n"
			   "PrivateTmp=yes\n"
			   "PrivateDevices=yes\n"
			   "ProtectClock=yes\n"
			   "ProtectControlGroups=yes\n"
			   "ProtectHostname=yes\n"
			   "ProtectKernelLogs=yes\n"
			   "ProtectKernelModules=yes\n"
			   "ProtectKernelTunables=yes\n";

/* To become the jobs' user, to make its directories, to end what it left, to find that by its environment. */
static const char capabilities[] =
	"CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETGID "
	"CAP_SETUID CAP_SYS_PTRACE\n";

static void append_writable(const struct unit *u, struct str *out)
{
	if (u->state == NULL)
		str_append(out, "StateDirectory=davit davit-agent\nStateDirectoryMode=0700\n");
	const char *own[] = {u->state, u->worker_home};
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (own[i] == NULL)
			continue;
		str_append(out, "ReadWritePaths=");
		append_path(out, own[i]);
		str_append_c(out, '\n');
	}
	for (size_t i = 0; i < u->writable.count; i++) {
		str_append(out, "ReadWritePaths=");
		append_path(out, u->writable.items[i]);
		str_append_c(out, '\n');
	}
}

static void append_walls(const struct unit *u, struct str *out)
{
	if (u->privileged_jobs) {
		str_append(out, "# Jobs may become root (sudo) and change this machine: --privileged-jobs.\n");
		if (!u->user)
			str_append(out, "ProtectClock=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\n");
		return;
	}
	str_append(out, shut_for_all);
	if (u->user)
		return;
	str_append(out, shut);
	str_appendf(out, "ProtectHome=%s\n", needs_homes(u) ? "read-only" : "yes");
	if (u->worker_user != NULL)
		str_append(out, capabilities);
	append_writable(u, out);
}

int unit_text(const struct unit *u, struct str *out, struct err *err)
{
	int r = check(u, err);
	if (r < 0)
		return r;
	str_appendf(out, "%s\n# Settings of your own: systemctl %sedit " UNIT_NAME "\n", first_line,
	            u->user ? "--user " : "");
	str_append(out, "[Unit]\nDescription=davit, a runner for GitHub Actions\nDocumentation=man:davit-agent(1)\n");
	if (!u->user)
		str_append(out, "Wants=network-online.target\nAfter=network-online.target\n");
	str_append(out, "\n[Service]\n");
	append_start(u, out);
	str_append(out, service);
	if (!u->user)
		str_append(out, first_served);
	append_walls(u, out);
	str_appendf(out, "\n[Install]\nWantedBy=%s\n", u->user ? "default.target" : "multi-user.target");
	return out->failed ? err_set(err, ERR_LIMIT, "the unit is longer than %zu bytes", out->max) : 0;
}
