/* davit agent update: another davit beside this one, started by the agent that runs, seen by the service, then renamed to this one's name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/cmd/cli.h"
#include "agent/listener/listener.h"
#include "agent/listener/live.h"
#include "agent/listener/update.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/net/http.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

enum {
	PROGRAM_MAX = 64 << 20,
	SUMS_MAX = 64 << 10,
	PIECE = 64 << 10,
	FETCH_MS = 5 * 60 * 1000,
	TRY_MS = 10 * 1000,
	LOOK_MS = 100,
	ANSWER_MS = 5000,
	NOTICE_MS = 20 * 1000,        /* for the agent to see that it is asked */
	TAKE_OVER_MS = 3 * 60 * 1000, /* from its last job on */
	WAIT_MS = 3600 * 1000,
};

struct change {
	const char *from, *sha256, *wait_text;
	char *program, *fresh, *request; /* fresh: the new one's name beside the old one; request: the agent's file */
	char wanted[DIGEST_HEX], digest[DIGEST_HEX], version[64];
	int fd;
	int64_t size;
	struct digest *running;
	struct wait wait;
	long long wait_ms;
	bool told_jobs;
	bool took_over; /* it runs, by that name, whatever comes of it */
};

static void change_done(struct change *c)
{
	if (c->fresh != NULL && !c->took_over)
		(void)unlink(c->fresh);
	closep(&c->fd);
	digest_free(c->running);
	free(c->program);
	free(c->fresh);
	free(c->request);
}

/* ---- which one is replaced ---- */

static bool has_helper(const char *dir, const char *below)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, below);
	return access(path, F_OK) == 0;
}

/* A davit of several files belongs to a package or a build: its parts have to be of one version. */
static int choose_program(struct change *c, const char *given, struct err *err)
{
	c->program = given != NULL ? fs_real_path(given, err) : fs_helper_program("davit", err);
	if (c->program == NULL)
		return err->code;
	_cleanup_free_ char *dir = xstrndup(c->program, (size_t)(strrchr(c->program, '/') - c->program));
	if (has_helper(dir, "davit-agent") || has_helper(dir, "../libexec/davit/davit-agent")) {
		err_set(err, ERR_UNSUPPORTED, "%s is a davit of several files", c->program);
		return err_hint(
			err, ERR_UNSUPPORTED,
			"update its package; this replaces the one file of a release. --program names another one");
	}
	if (given == NULL && strcmp(dir, "/usr/bin") == 0) {
		err_set(err, ERR_UNSUPPORTED, "%s lies where packages are", c->program);
		return err_hint(err, ERR_UNSUPPORTED,
		                "update its package; --program %s says that this file is meant all the same",
		                c->program);
	}
	if (access(dir, W_OK) < 0)
		return err_errno(err, errno, "write beside %s", c->program);
	return 0;
}

/* ---- the new one ---- */

static bool is_url(const char *from)
{
	return str_starts(from, "https://") || str_starts(from, "http://");
}

static int take(void *context, const void *data, size_t len, struct err *err)
{
	struct change *c = context;
	c->size += (int64_t)len;
	if (c->size > PROGRAM_MAX)
		return err_set(err, ERR_LIMIT, "it is larger than %d MiB", PROGRAM_MAX >> 20);
	digest_update(c->running, data, len);
	return fs_write_all(c->fd, data, len, err);
}

/* into: NULL: to `take`. */
static int fetch(struct change *c, const char *url, struct str *into, struct err *err)
{
	struct http_config config = {.user_agent = NULL};
	struct http_request request = {.url = url,
	                               .follow = true,
	                               .retries = 2,
	                               .max_body = into != NULL ? SUMS_MAX : 0,
	                               .timeout_ms = FETCH_MS,
	                               .on_body = into != NULL ? NULL : take,
	                               .context = c};
	struct http_response response = {0};
	struct wait w = wait_within(&c->wait, FETCH_MS);
	_cleanup_(http_freep) struct http *http = http_new(&config, err);
	int r = http == NULL ? err->code : http_perform(http, &request, &w, &response, err);
	if (r >= 0 && response.status != 200)
		r = err_set(err, response.status == 404 ? ERR_NOT_FOUND : ERR_NETWORK, "the answer is %d",
		            response.status);
	if (r >= 0 && str_starts(url, "https://") && !str_starts(response.final_url, "https://"))
		r = err_set(err, ERR_REFUSED, "it leads to an address without TLS");
	if (r >= 0 && into != NULL)
		str_append_n(into, str_peek(&response.body), response.body.len);
	http_response_done(&response);
	return r < 0 ? err_wrap(err, r, "get %s", url) : 0;
}

static int copy(struct change *c, struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	_cleanup_close_ int from = fs_open_plain(AT_FDCWD, c->from, O_RDONLY, err);
	int r = from < 0 ? from : 0;
	for (ssize_t n = 1; r >= 0 && n > 0;) {
		n = read(from, piece, PIECE);
		if (n < 0)
			r = err_errno(err, errno, "read %s", c->from);
		else if (n > 0)
			r = take(c, piece, (size_t)n, err);
	}
	return r;
}

/* The checksum in a list as sha256sum writes it; false: none of that name. */
static bool find_sum(const char *list, const char *name, char ret[DIGEST_HEX])
{
	size_t len = strlen(name);
	for (const char *line = list; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t all = strcspn(line, "\n"), front = DIGEST_HEX - 1 + 2;
		if (all != front + len || memcmp(line + front, name, len) != 0 ||
		    strspn(line, "0123456789abcdef") != DIGEST_HEX - 1)
			continue;
		memcpy(ret, line, DIGEST_HEX - 1);
		ret[DIGEST_HEX - 1] = '\0';
		return true;
	}
	return false;
}

/* As given, else of the list that a release has beside its files. */
static int find_wanted(struct change *c, struct err *err)
{
	_cleanup_(str_done) struct str list = STR_INIT(SUMS_MAX);
	const char *slash = strrchr(c->from, '/'), *name = slash != NULL ? slash + 1 : c->from;
	if (c->sha256 != NULL) {
		if (strlen(c->sha256) != DIGEST_HEX - 1 || strspn(c->sha256, "0123456789abcdef") != DIGEST_HEX - 1)
			return err_set(err, ERR_INVALID, "--sha256 takes 64 digits of a SHA-256, in lower case");
		memcpy(c->wanted, c->sha256, DIGEST_HEX);
		return 0;
	}
	_cleanup_free_ char *place = xasprintf("%.*sSHA256SUMS", (int)(name - c->from), c->from);
	int r = str_starts(c->from, "http://") ? err_set(err, ERR_REFUSED, "%s is not fetched by TLS", c->from)
	        : is_url(c->from)              ? fetch(c, place, &list, err)
	                                       : fs_read_plain(AT_FDCWD, place, SUMS_MAX, &list, err);
	if (r >= 0 && !find_sum(str_peek(&list), name, c->wanted))
		r = err_set(err, ERR_NOT_FOUND, "%s has no checksum of '%.100s'", place, name);
	return r < 0 ? err_hint(err, r, "give the checksum of the new davit: --sha256 HEX") : 0;
}

/* "davit 1.2.3": it runs here, and is one. */
static int try_it(struct change *c, struct err *err)
{
	const char *argv[] = {c->fresh, "--version", NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1, .stdout_fd = PROC_PIPE, .stderr_fd = -1};
	_cleanup_(str_done) struct str said = STR_INIT(4096);
	struct wait w = wait_within(&c->wait, TRY_MS);
	int status = -1;
	int r = proc_run(&options, NULL, 0, 4096, &w, &said, NULL, &status, err);
	const char *text = str_peek(&said);
	size_t len = strcspn(text, "\n");
	if (r >= 0 && (status != 0 || !str_starts(text, "davit ") || len >= sizeof(c->version)))
		r = err_set(err, ERR_INVALID, "it ends with %d and does not say that it is a davit", status);
	if (r < 0)
		return err_wrap(err, r, "try %s", c->from);
	(void)snprintf(c->version, sizeof(c->version), "%.*s", (int)len, text);
	return 0;
}

/* Beside the old one, verified, executable by whom the old one is. */
static int bring(struct change *c, struct err *err)
{
	c->fresh = xasprintf("%s.new-XXXXXX", c->program);
	c->fd = mkostemp(c->fresh, O_CLOEXEC);
	if (c->fd < 0) {
		int r = err_errno(err, errno, "write beside %s", c->program);
		free(TAKE(c->fresh));
		return r;
	}
	int r = is_url(c->from) ? fetch(c, c->from, NULL, err) : copy(c, err);
	if (r < 0)
		return r;
	digest_hex(c->running, c->digest);
	if (strcmp(c->digest, c->wanted) != 0)
		return err_set(err, ERR_REFUSED, "%s is not what its checksum says: it is %s, not %s", c->from,
		               c->digest, c->wanted);
	struct stat old;
	if (stat(c->program, &old) < 0 || fchown(c->fd, old.st_uid, old.st_gid) < 0 ||
	    fchmod(c->fd, (old.st_mode & 0755) | S_IXUSR) < 0 || fsync(c->fd) < 0)
		return err_errno(err, errno, "make %s like %s", c->fresh, c->program);
	closep(&c->fd);
	return try_it(c, err);
}

static bool is_there_already(const struct change *c)
{
	char now[DIGEST_HEX];
	_cleanup_close_ int fd = open(c->program, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && digest_of_fd(fd, now, NULL) >= 0 && strcmp(now, c->wanted) == 0;
}

static int rename_it(struct change *c, struct err *err)
{
	_cleanup_free_ char *dir = xstrndup(c->program, (size_t)(strrchr(c->program, '/') - c->program));
	if (rename(c->fresh, c->program) < 0)
		return err_errno(err, errno, "rename %s to %s", c->fresh, c->program);
	free(TAKE(c->fresh));
	return fs_sync_dir(AT_FDCWD, dir, err);
}

/* ---- the agent that runs ---- */

static void say_jobs(struct change *c, size_t jobs)
{
	if (jobs == 0 || c->told_jobs || cli_json())
		return;
	c->told_jobs = true;
	printf("the agent takes no further job, and waits for the %zu that %s\n", jobs, jobs == 1 ? "runs" : "run");
	(void)fflush(stdout);
}

enum seen { SEEN_NOTHING, SEEN_WAITING, SEEN_FAILED, SEEN_RUNNING };
struct look {
	enum seen seen;
	bool answered;
	size_t jobs;
	char *why, *version;
};

static struct look look_at(struct change *c, const char *dir)
{
	struct look look = {.seen = SEEN_NOTHING};
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *live = NULL;
	struct wait w = wait_within(&c->wait, ANSWER_MS);
	if (live_read(dir, &w, &live, &err) < 0)
		return look;
	const json_t *update = json_get_object(live, "update");
	const char *program = json_get_string(update, "program"), *state = json_get_string(update, "state"),
		   *why = json_get_string(update, "why");
	look.answered = true;
	look.jobs = json_array_size(json_object_get(live, "jobs"));
	look.version = xstrdup(json_get_string(live, "version"));
	if (program == NULL || state == NULL || strcmp(program, c->fresh) != 0)
		return look;
	c->took_over = strcmp(state, UPDATE_DONE) == 0;
	if (strcmp(state, UPDATE_FAILED) == 0)
		look.seen = SEEN_FAILED;
	else if (strcmp(state, UPDATE_DONE) != 0 ||
	         !(json_get_bool(live, "healthy", false) || json_get_bool(update, "heard", false)))
		look.seen = SEEN_WAITING;
	else
		look.seen = SEEN_RUNNING;
	look.why = xstrdup(why);
	return look;
}

static int give_up(const struct look *look, bool noticed, struct err *err)
{
	if (!noticed) {
		err_set(err, ERR_UNSUPPORTED, "the running agent, of version %s, does not know of updates",
		        look->version != NULL ? look->version : "unknown");
		return err_hint(err, ERR_UNSUPPORTED, "stop it when no job runs, replace the file, and start it");
	}
	if (look->jobs > 0) {
		err_set(err, ERR_TIMEOUT, "%zu of its jobs still run", look->jobs);
		return err_hint(err, ERR_TIMEOUT, "it goes on as it is; --wait TIME gives them longer");
	}
	err_set(err, ERR_TIMEOUT, "the new one was not heard by the service in time");
	return err_hint(err, ERR_TIMEOUT, "`davit agent status` tells which one runs; a restart starts the former one");
}

static int tell_gone(struct err *err)
{
	int r = err_set(err, ERR_NOT_FOUND, "the agent ended before the new one took its place; nothing was replaced");
	return err_hint(err, r, "where no agent runs, only the file is replaced: call it again");
}

/* Until the new one, in the same process, runs, and the service has heard it. */
static int follow(struct change *c, const char *dir, pid_t agent, struct err *err)
{
	int64_t begun = clock_mono_ms(), idle_since = begun;
	uint64_t start_time = proc_start_time(agent);
	bool noticed = false;
	for (;;) {
		if (!proc_alive(agent, start_time))
			return tell_gone(err);
		struct look look = look_at(c, dir);
		int64_t now = clock_mono_ms();
		noticed |= look.seen != SEEN_NOTHING;
		if (look.answered && look.jobs > 0)
			idle_since = now;
		if (look.seen == SEEN_WAITING)
			say_jobs(c, look.jobs);
		bool late = (!noticed && now - begun > NOTICE_MS) || (look.jobs > 0 && now - begun > c->wait_ms) ||
		            now - idle_since > TAKE_OVER_MS;
		int r = look.seen == SEEN_RUNNING  ? 1
		        : look.seen == SEEN_FAILED ? err_set(err, ERR_FAILED, "%s does not take over: %s", c->version,
		                                             look.why != NULL ? look.why : "")
		        : late                     ? give_up(&look, noticed, err)
		                                   : wait_ms(&c->wait, LOOK_MS, err);
		free(look.why);
		free(look.version);
		if (r != 0)
			return MIN(r, 0);
	}
}

static int ask_agent(struct change *c, const struct records *store, pid_t agent, struct err *err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "program", c->fresh);
	_cleanup_free_ char *text = json_text(request);
	c->request = fs_join(store->dir, UPDATE_REQUEST);
	int r = fs_write_atomic(AT_FDCWD, c->request, text, strlen(text), 0600, err);
	if (r >= 0)
		r = follow(c, store->dir, agent, err);
	if (r >= 0)
		r = rename_it(c, err);
	/* Without it an agent that still waits goes on as it is. */
	(void)unlink(c->request);
	return r;
}

static void report(const struct change *c, bool changed, bool runs)
{
	if (cli_json()) {
		_cleanup_json_ json_t *out =
			json_pack("{s:s, s:s, s:s, s:b, s:b}", "program", c->program, "version",
		                  changed ? c->version : "", "sha256", c->wanted, "changed", changed, "runs", runs);
		_cleanup_free_ char *text = json_text(out);
		puts(text);
		return;
	}
	if (!changed)
		printf("nothing to change: that is %s\n", c->program);
	else
		printf("%s is %s%s\n", c->program, c->version, runs ? ", and runs" : "; no agent runs");
}

static int update(struct change *c, const char *program, struct err *err)
{
	struct records store = {0};
	long long wait_ms = WAIT_MS;
	if (c->from == NULL)
		return err_hint(err, err_set(err, ERR_INVALID, "--from FILE or --from URL says what the new davit is"),
		                "the file of a release, such as davit-linux-x86_64");
	if (c->wait_text != NULL && str_parse_duration_ms(c->wait_text, &wait_ms) < 0)
		return err_set(err, ERR_INVALID, "--wait takes a time such as 30m or 2h, not '%.40s'", c->wait_text);
	c->wait_ms = wait_ms;
	int r = choose_program(c, program, err);
	if (r >= 0)
		r = find_wanted(c, err);
	if (r < 0)
		return r;
	if (is_there_already(c)) {
		report(c, false, false);
		return 0;
	}
	r = bring(c, err);
	if (r < 0)
		return r;
	struct err none = ERR_INIT;
	pid_t agent = records_open(false, &store, &none) >= 0 ? records_holder(&store) : 0;
	r = agent > 0 ? ask_agent(c, &store, agent, err) : rename_it(c, err);
	records_done(&store);
	if (r >= 0)
		report(c, true, agent > 0);
	return r;
}

int agent_update(int argc, char **argv)
{
	struct change c = {.fd = -1, .wait = WAIT_INIT, .running = digest_new()};
	const char *program = NULL;
	const struct cli_option options[] = {
		{"from", 0, CLI_TEXT, &c.from, "FILE|URL", "the new davit: the one file of a release"},
		{"sha256", 0, CLI_TEXT, &c.sha256, "HEX", "its checksum; default: as SHA256SUMS beside it says"},
		{"program", 0, CLI_TEXT, &program, "FILE", "which davit it replaces; default: this one"},
		{"wait", 0, CLI_TEXT, &c.wait_text, "TIME", "for jobs that run (1h)"},
		{0}};
	const struct cli_command command = {
		.name = "agent update",
		.usage = "--from FILE|URL [options]",
		.summary =
			"Lets another davit take over the agent, once no job runs and the service has seen it; then it replaces this one.",
		.options = options};
	struct cli_rest rest = {0};
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0) {
		change_done(&c);
		return status > 0 ? LISTEN_TERMINATED : LISTEN_DONE;
	}
	c.wait.cancel_fd = cancel_install(&err);
	int r = c.wait.cancel_fd < 0 ? c.wait.cancel_fd : update(&c, program, &err);
	change_done(&c);
	if (r < 0)
		return cli_fail(&err, LISTEN_TERMINATED);
	return cli_output_failed() ? LISTEN_TERMINATED : LISTEN_DONE;
}
