/* davit agent page: the status page of this host's agent. It runs in davit-forge, apart from the agent and its keys; what was deployed it asks
 * of `davit history` and `davit show`, as the user whose journal it is. */
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/listener/describe.h"
#include "agent/page/page.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

enum { ANSWER_MAX = 64 << 20, ERRORS_MAX = 64 << 10, ASK_MS = 20000, SHOWN = 200 };

struct host {
	char *davit; /* the program */
	char *self;  /* this user's name */
};

static int read_status(void *context, json_t **ret, struct err *err)
{
	struct records store = {0};
	(void)context;
	int r = records_open(false, &store, err);
	if (r == ERR_NOT_FOUND)
		err_clear(err);
	if (r >= 0 || r == ERR_NOT_FOUND)
		r = describe_agent(&store, false, ret, err);
	records_done(&store);
	return r;
}

/* Users that jobs run as, this one first. Only they have a journal here. */
static int list_users(const struct host *h, struct strv *ret, struct err *err)
{
	_cleanup_json_ json_t *status = NULL;
	size_t i;
	json_t *one;
	strv_add(ret, h->self);
	int r = read_status(NULL, &status, err);
	json_array_foreach(json_object_get(status, "registrations"), i, one)
	{
		const char *user = json_get_string(one, "worker_user");
		if (geteuid() == 0 && user != NULL && !strv_has(ret, user))
			strv_add(ret, user);
	}
	return r;
}

/* words: of davit, and NULL. */
static int ask(const struct host *h, const char *user, const char *const *words, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str answer = STR_INIT(ANSWER_MAX), errors = STR_INIT(ERRORS_MAX);
	const char *argv[12] = {h->davit};
	size_t count = 1;
	int status = -1;
	struct wait w = WAIT_INIT;
	if (strcmp(user, h->self) != 0) {
		const char *const front[] = {"agent", "as-user", user, h->davit};
		for (size_t i = 0; i < ARRAY_SIZE(front); i++)
			argv[count++] = front[i];
	}
	for (size_t i = 0; words[i] != NULL; i++)
		argv[count++] = words[i];
	argv[count] = NULL;
	w.deadline_mono_ms = clock_mono_ms() + ASK_MS;
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	int r = proc_run(&options, NULL, 0, ANSWER_MAX, &w, &answer, &errors, &status, err);
	if (r >= 0)
		r = json_parse(str_peek(&answer), answer.len, ANSWER_MAX, ret, err);
	if (r < 0 || status == 0)
		return r < 0 ? err_wrap(err, r, "ask `davit %s` as %s", words[0], user) : 0;
	const char *said = json_get_string(json_get_object(*ret, "error"), "text");
	r = err_set(err, ERR_NOT_FOUND, "%s", said != NULL ? said : str_peek(&errors));
	json_decref(*ret);
	*ret = NULL;
	return r;
}

static int read_hosts(void *context, json_t **ret, struct err *err)
{
	const struct host *h = context;
	char limit[24];
	_cleanup_(strv_done) struct strv users = {0};
	(void)snprintf(limit, sizeof(limit), "%d", SHOWN);
	const char *const words[] = {"history", "--json", "--limit", limit, NULL};
	int r = list_users(h, &users, err);
	if (r < 0)
		return r;
	*ret = json_array();
	for (size_t i = 0; i < users.count; i++) {
		json_t *deployments = NULL, *host = json_object();
		struct err its = ERR_INIT;
		char line[ERR_FRAME_SIZE * 2];
		/* One that cannot be read is said beside those that can. */
		if (ask(h, users.items[i], words, &deployments, &its) < 0)
			json_set_string(host, "error", err_line(&its, line, sizeof(line)));
		json_set_string(host, "user", users.items[i]);
		json_object_set_new(host, "deployments",
		                    json_is_array(deployments) ? json_incref(deployments) : json_array());
		json_array_append_new(*ret, host);
		json_decref(deployments);
	}
	return 0;
}

static int read_deployment(void *context, const char *user, const char *id, json_t **ret, struct err *err)
{
	const struct host *h = context;
	const char *const words[] = {"show", id, "--json", NULL};
	_cleanup_(strv_done) struct strv users = {0};
	int r = list_users(h, &users, err);
	if (r >= 0 && !strv_has(&users, user))
		r = err_set(err, ERR_NOT_FOUND, "no jobs run here as that user");
	return r < 0 ? r : ask(h, user, words, ret, err);
}

static int serve(const struct page_config *config, const char *port_file, struct err *err)
{
	const struct passwd *entry = getpwuid(geteuid());
	_cleanup_free_ char *davit = fs_helper_program("davit", err);
	_cleanup_free_ char *self = entry != NULL ? xstrdup(entry->pw_name) : xasprintf("%u", (unsigned)geteuid());
	struct host host = {.davit = davit, .self = self};
	const struct page_source source = {
		.status = read_status, .hosts = read_hosts, .deployment = read_deployment, .context = &host};
	struct page *page = NULL;
	if (davit == NULL)
		return err->code;
	int cancel_fd = cancel_install(err);
	int r = cancel_fd < 0 ? cancel_fd : page_open(config, &source, &page, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *port = xasprintf("%d\n", page_port(page));
	if (port_file != NULL)
		r = fs_write_replace(AT_FDCWD, port_file, port, strlen(port), 0644, err);
	printf("http://%s:%d/\n", config->host, page_port(page));
	fflush(stdout);
	struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
	while (r >= 0 && poll(&p, 1, -1) < 0)
		;
	page_close(page);
	return r;
}

int cmd_page(int argc, char **argv)
{
	const char *listen = "127.0.0.1:9180", *port_file = NULL;
	char host[64];
	struct page_config config = {.host = host};
	const struct cli_option options[] = {
		{"listen", 0, CLI_TEXT, &listen, "ADDRESS:PORT",
	         "where to listen, on loopback (127.0.0.1:9180; port 0 takes a free one)"},
		{"all-users", 0, CLI_FLAG, &config.all_users, NULL,
	         "let every user of this machine read it; else its own user and root"},
		{"port-file", 0, CLI_TEXT, &port_file, "FILE", "write the port there once it listens"},
		{0}};
	const struct cli_command command = {
		.name = "agent page",
		.usage = "[options]",
		.summary = "Serves the agent's status: / for people, /metrics for Prometheus, /status.json, /healthz.",
		.options = options};
	struct cli_rest rest;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = cli_address(listen, false, host, &config.port, &err);
	if (r == ERR_REFUSED)
		err_hint(&err, r,
		         "the page knows no logins: bring it elsewhere by ssh -L or a proxy that asks for one");
	if (r >= 0)
		r = serve(&config, port_file, &err);
	if (r < 0)
		log_err(&err);
	return r < 0 ? err_exit_status(r) : 0;
}
