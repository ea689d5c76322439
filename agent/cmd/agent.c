#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/service/wire.h"
#include "agent/listener/listener.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

struct part {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* NULL: not for people */
};
static const struct part parts[] = {
	{"configure", agent_configure, "register this machine for a repository, an organisation or an enterprise"},
	{"run", agent_run, "listen for jobs of all registrations and work"},
	{"status", agent_status, "registrations, labels, last poll, whom jobs run as"},
	{"page", agent_page, "serve a status page and metrics on loopback"},
	{"autoscale", agent_autoscale, "start a runner for each queued job, with a registration for that one job"},
	{"policy", agent_policy, "say what the policy of this host would do with a job"},
	{"remove", agent_remove, "end a registration"},
	{"key", agent_key, "this machine's line for the lists of agents of other machines"},
	{"install", agent_install, "make the agent a service of systemd, or put a hook into an official runner"},
	{"uninstall", agent_uninstall, "take that back"},
	{"update", agent_update, "let another davit take over, once no job runs and the service has seen it"},
	{"renew", agent_renew, NULL},
	{"as-user", agent_as_user, NULL},
};

static void print_help(FILE *out)
{
	fputs("usage: davit agent PART [options]\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].summary != NULL)
			fprintf(out, "  %-10s %s\n", parts[i].name, parts[i].summary);
	fputs("\n`davit agent PART --help` shows the options of each.\n"
	      "Exit: 0 done, 1 failed or refused by the service, 2 try again, 5 somebody else listens.\n",
	      out);
}

static int print_words(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].summary != NULL)
			printf("%s\t-\t%s\n", parts[i].name, parts[i].summary);
	return 0;
}

int agent_options_begin(const char *part, const char *usage, int argc, char **argv, struct agent_options *ret)
{
	struct err err = ERR_INIT;
	if (cli_wants_words(argc, argv)) {
		struct str words _cleanup_(str_done) = STR_INIT(64 << 10);
		agent_options_words(part, &words);
		fputs(str_peek(&words), stdout);
		return 1;
	}
	int r = agent_options_read(argc, argv, ret, &err);
	if (r < 0) {
		if (*err.hint == '\0')
			err_hint(&err, r, "davit agent %s --help explains the options", part);
		log_err(&err);
		return r;
	}
	if (ret->version) {
		printf("%s\n", wire_runner_version());
	} else if (ret->help) {
		struct str text _cleanup_(str_done) = STR_INIT(64 << 10);
		agent_options_help(part, &text);
		printf("usage: davit agent %s %s\n\n%s", part, usage, str_peek(&text));
	}
	if (!ret->version && !ret->help)
		return 0;
	agent_options_done(ret);
	return 1;
}

int agent_run(int argc, char **argv)
{
	struct agent_options o;
	int r = agent_options_begin("run", "[--once] [--jitconfig B64] [--slots N] [--worker-user U] [--isolation M]",
	                            argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	log_times();
	struct listener_options options = {.once = o.once,
	                                   .drain = o.drain,
	                                   .slots = o.slots,
	                                   .probe = o.probe,
	                                   .worker_user = o.worker_user,
	                                   .native = o.native,
	                                   .isolation = o.isolation,
	                                   .policy = o.policy,
	                                   .ping = o.ping,
	                                   .runner_version = o.runner_version,
	                                   .version_source = o.version_source,
	                                   .version_key = o.version_key,
	                                   .quota = o.quota,
	                                   .free_space = o.free_space};
	int code;
	if (o.jit != NULL) {
		code = listener_run_jit(o.jit, &options);
	} else {
		struct records store = {0};
		struct err err = ERR_INIT;
		r = records_open(false, &store, &err);
		if (r == ERR_NOT_FOUND)
			err_hint(&err, r,
			         "register first: davit agent configure --url https://github.com/OWNER/REPO --token "
			         "TOKEN");
		if (r < 0)
			log_err(&err);
		code = r < 0 ? LISTEN_TERMINATED : listener_run_records(&store, &options);
		records_done(&store);
	}
	agent_options_done(&o);
	return code;
}

/* What speaks HTTP to others is another program, which holds no keys. */
int agent_page(int argc, char **argv)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *path = fs_helper_program("davit-forge", &err);
	(void)argc;
	if (path != NULL) {
		execv(path, argv);
		err_errno(&err, errno, "execute %s", path);
	}
	log_err(&err);
	return LISTEN_TERMINATED;
}

int cmd_agent(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(argc < 2 ? stderr : stdout);
		return argc < 2 ? LISTEN_TERMINATED : 0;
	}
	if (cli_wants_words(argc, argv))
		return print_words();
	const char *names[ARRAY_SIZE(parts)];
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcmp(argv[1], parts[i].name) == 0)
			return parts[i].run(argc - 1, argv + 1);
		names[i] = parts[i].name;
	}
	const char *nearest = str_nearest(argv[1], names, ARRAY_SIZE(parts) - 1);
	fprintf(stderr, "davit: unknown part of agent '%s'%s%s%s\n  `davit agent --help` lists them\n", argv[1],
	        nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
	return LISTEN_TERMINATED;
}
