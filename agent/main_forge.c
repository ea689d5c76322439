/* davit-forge: GitHub on loopback, a workflow run on that in the same process, and the agent's status page: what serves HTTP. `davit forge`,
 * `davit run` and `davit agent page` execute it. */
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/licences.h"
#include "agent/deployment/personal.h"
#include "agent/forge/forge.h"
#include "base/core/log.h"
#include "base/core/cancel.h"
#include "base/data/json.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
	struct strv repos;
	const char *listen, *url, *ca_file, *port_file, *ready_fd, *state, *token, *secrets, *poll, *lease, *cancel,
		*cache_size, *storage_size, *releases;
	bool tls, verbose, remote, no_acknowledge, lines;
};

static int read_duration(const char *name, const char *text, int64_t otherwise, int64_t *ret, struct err *err)
{
	long long ms = otherwise;
	if (text && str_parse_duration_ms(text, &ms) < 0)
		return err_set(err, ERR_INVALID, "--%s takes a time such as 90s, 2m or 500ms, not '%s'", name, text);
	*ret = ms;
	return 0;
}

static int read_size(const char *name, const char *text, int64_t *ret, struct err *err)
{
	long long mib = 0;
	if (text != NULL && !str_parse_i64(text, 1, INT64_MAX >> 20, &mib))
		return err_set(err, ERR_INVALID, "--%s takes a number of MiB, not '%s'", name, text);
	*ret = (int64_t)mib << 20;
	return 0;
}

static void set_default(const char **option, const json_t *settings, const char *name)
{
	if (*option == NULL)
		*option = json_get_string(settings, name);
}

/* settings: `forge` of the person's; the options borrow from it. */
static void take_settings(struct options *o, const json_t *settings)
{
	set_default(&o->listen, settings, "listen");
	set_default(&o->secrets, settings, "secrets");
	set_default(&o->state, settings, "state");
	size_t i;
	json_t *repo;
	bool none = o->repos.count == 0;
	json_array_foreach(json_get_array(settings, "repos"), i, repo) if (none)
		strv_add(&o->repos, json_string_value(repo));
	if (o->listen == NULL)
		o->listen = "127.0.0.1:0";
}

static int run(struct options *o, struct err *err)
{
	char host[64];
	struct forge_config config = {.host = host,
	                              .tls = o->tls,
	                              .url = o->url,
	                              .ca_file = o->ca_file,
	                              .port_file = o->port_file,
	                              .ready_fd = -1,
	                              .state_dir = o->state,
	                              .token = o->token,
	                              .secrets_file = o->secrets,
	                              .repos = o->repos,
	                              .releases_dir = o->releases,
	                              .lines = o->lines,
	                              .acknowledge = !o->no_acknowledge,
	                              .verbose = o->verbose || isatty(STDOUT_FILENO)};
	long long fd = -1;
	int r = cli_address(o->listen, o->remote, host, &config.port, err);
	if (r == ERR_REFUSED)
		err_hint(err, r, "the forge lets in everybody; add --allow-remote where that is meant");
	if (r >= 0)
		r = read_duration("poll", o->poll, 50 * 1000, &config.poll_ms, err);
	if (r >= 0)
		r = read_duration("lease", o->lease, 10 * 60 * 1000, &config.lease_ms, err);
	if (r >= 0)
		r = read_duration("cancel", o->cancel, 5 * 60 * 1000, &config.cancel_ms, err);
	if (r >= 0)
		r = read_size("cache-size", o->cache_size, &config.cache_bytes, err);
	if (r >= 0)
		r = read_size("storage-size", o->storage_size, &config.storage_bytes, err);
	if (r >= 0 && o->ready_fd && !str_parse_i64(o->ready_fd, 0, 65535, &fd))
		r = err_set(err, ERR_INVALID, "--ready-fd takes the number of an open descriptor, not '%s'",
		            o->ready_fd);
	if (r >= 0 && o->ca_file && !o->tls)
		r = err_set(err, ERR_INVALID, "--ca-file belongs to --tls");
	if (r < 0)
		return r;
	config.ready_fd = (int)fd;
	int cancel_fd = cancel_install(err);
	return cancel_fd < 0 ? cancel_fd : forge_run(&config, cancel_fd, err);
}

static int cmd_forge(int argc, char **argv)
{
	struct options o = {0};
	const struct cli_option options[] = {
		{"repo", 0, CLI_LIST, &o.repos, "[OWNER/NAME=]DIR",
	         "serve this bare repository; without a name it is the directory's last two parts; may be repeated"},
		{"listen", 0, CLI_TEXT, &o.listen, "ADDRESS:PORT",
	         "where to listen (127.0.0.1:0; port 0 takes a free one)"},
		{"url", 0, CLI_TEXT, &o.url, "URL",
	         "what it says its address is, where clients reach it through something else"},
		{"allow-remote", 0, CLI_FLAG, &o.remote, NULL, "let --listen be another address than loopback"},
		{"tls", 0, CLI_FLAG, &o.tls, NULL, "speak TLS, with a certificate made at start"},
		{"ca-file", 0, CLI_TEXT, &o.ca_file, "FILE", "write that certificate there, for clients"},
		{"port-file", 0, CLI_TEXT, &o.port_file, "FILE", "write the port there once it listens"},
		{"ready-fd", 0, CLI_TEXT, &o.ready_fd, "N", "write the URL to this descriptor once it listens"},
		{"token", 0, CLI_TEXT, &o.token, "T",
	         "credential that pushes and administration need (without it: any for your own processes, for other users one that is printed)"},
		{"secrets", 0, CLI_TEXT, &o.secrets, "FILE",
	         "secrets and variables: {\"OWNER/NAME\": {\"secrets\": {…}, \"vars\": {…}, \"environments\": {…}}, "
	         "\"*\": {…}}"},
		{"state", 0, CLI_TEXT, &o.state, "DIR", "write each run there as it ends"},
		{"poll", 0, CLI_TEXT, &o.poll, "TIME", "hold a message poll so long (50s)"},
		{"lease", 0, CLI_TEXT, &o.lease, "TIME", "a job's lock lasts so long after a renewal (10m)"},
		{"cancel", 0, CLI_TEXT, &o.cancel, "TIME", "a cancelled job gets so long (5m)"},
		{"cache-size", 0, CLI_TEXT, &o.cache_size, "MIB",
	         "caches of a repository may have so much, then the least recently used go (10240)"},
		{"storage-size", 0, CLI_TEXT, &o.storage_size, "MIB",
	         "artifacts and caches may have so much in all (40960)"},
		{"releases", 0, CLI_TEXT, &o.releases, "DIR",
	         "serve releases of the repositories from there: DIR/OWNER/NAME/TAG/FILE"},
		{"no-acknowledge", 0, CLI_FLAG, &o.no_acknowledge, NULL, "do not ask runners to acknowledge a job"},
		{"lines", 0, CLI_FLAG, &o.lines, NULL, "print what the steps print, as it comes"},
		{"verbose", 0, CLI_FLAG, &o.verbose, NULL, "print a line for each event (on a terminal always)"},
		{0}};
	const struct cli_command command = {
		.name = "forge",
		.usage = "--repo DIR… [options]",
		.summary = "GitHub on loopback, for trials and tests: git hosting, workflows, runners, results.",
		.options = options};
	struct cli_rest rest = {0};
	int exit_status = cli_parse(&command, argc, argv, &rest);
	if (exit_status >= 0) {
		strv_done(&o.repos);
		return exit_status;
	}
	struct err err = ERR_INIT;
	_cleanup_(personal_done) struct personal settings = PERSONAL_INIT;
	int r = personal_read(&settings, &err);
	if (r >= 0) {
		take_settings(&o, json_object_get(settings.root, "forge"));
		r = run(&o, &err);
	}
	strv_done(&o.repos);
	if (r < 0) {
		log_err(&err);
		return err_exit_status(r);
	}
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "--licences") == 0)
		return licences_print(true, false);
	if (strcmp(argv[0], "page") == 0)
		return cmd_page(argc, argv);
	if (strcmp(argv[0], "run") != 0)
		return cmd_forge(argc, argv);
	json_wipe_freed();
	return cmd_run(argc, argv);
}
