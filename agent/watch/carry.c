/* Carries the current deployment out: `davit deploy` as the root action does it, in a process that goes on if this one dies. It waits for its input
 * until its pid is kept, so that no process of an attempt can be at work unknown to the next watcher. */
#include "agent/watch/watch_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/service/wire.h"
#include "base/sys/fs.h"
#include "base/sys/host.h"

extern char **environ;

enum { SECRETS_MAX = 1 << 20, INPUT_MAX = 8 << 20, TAIL_MAX = 16 << 10, ATTEMPTS_MAX = 3, WRITE_MS = 30000 };

char *place_log(const struct place *p)
{
	_cleanup_free_ char *name = xasprintf("%lld.log", (long long)json_get_int(place_current(p), "deployment", 0));
	return fs_join(p->dir, name);
}

char *place_mark(const struct place *p)
{
	const json_t *current = place_current(p);
	_cleanup_(str_done) struct str mark = STR_INIT(8192);
	str_appendf(&mark, "%s/%s/deployments/", p->server, p->repository);
	wire_escape(&mark, json_get_string(current, "environment"));
	str_appendf(&mark, "?id=%lld", (long long)json_get_int(current, "deployment", 0));
	return str_take(&mark);
}

/* Only its owner may read it, like a key. */
static int read_secrets(const struct place *p, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SECRETS_MAX);
	struct stat st;
	if (p->secrets_file == NULL) {
		*ret = json_object();
		return 0;
	}
	_cleanup_close_ int fd = open(p->secrets_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open %s", p->secrets_file);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		int r = err_set(err, ERR_PERMISSION, "%s can be read by others", p->secrets_file);
		return err_hint(err, r, "chmod 600 %s", p->secrets_file);
	}
	int r = fs_read_fd(fd, p->secrets_file, SECRETS_MAX, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, SECRETS_MAX, ret, err);
	if (r >= 0 && !json_is_object(*ret))
		r = err_set(err, ERR_INVALID, "it is no map");
	return r < 0 ? err_wrap(err, r, "the secrets in %s", p->secrets_file) : 0;
}

static int write_input(const struct place *p, const json_t *secrets, struct str *out, struct err *err)
{
	const json_t *current = place_current(p);
	_cleanup_free_ char *tree = place_tree(p), *mark = place_mark(p);
	const char *environment = json_get_string(current, "environment");
	_cleanup_json_ json_t *all = json_pack(
		"{s:{s:s, s:s, s:O, s:O, s:{s:s}}, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O}}", "deploy", "file",
		p->file, "wait", p->wait, "secrets", secrets, "vars", p->vars, "inputs", "environment", environment,
		"job", "server", p->server, "repository", p->repository, "run_url", mark, "api_url", p->api_url,
		"commit", json_get_string(current, "sha"), "actor", json_get_string(current, "actor"), "workspace",
		tree != NULL ? tree : p->dir, "secrets", secrets);
	if (all == NULL || !json_text_secret(all, out))
		return err_set(err, ERR_LIMIT, "its secrets and variables are too large");
	return 0;
}

/* What a job's runner would set is of another job, where this process is in one; the token is ours alone. */
static bool is_foreign(const char *variable)
{
	static const char *const fronts[] = {"GITHUB_", "INPUT_", "RUNNER_", "ACTIONS_"};
	for (size_t i = 0; i < ARRAY_SIZE(fronts); i++)
		if (str_starts(variable, fronts[i]))
			return true;
	return false;
}

static int spawn(struct place *p, int log, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err);
	_cleanup_(strv_done) struct strv env = {0};
	if (program == NULL)
		return ERR_NOT_FOUND;
	for (char **v = environ; *v != NULL; v++)
		if (!is_foreign(*v))
			strv_add(&env, *v);
	const char *argv[] = {program, "deploy", "--input", "-", NULL};
	const struct proc_options options = {.argv = argv,
	                                     .env = (const char *const *)strv_null_terminated(&env),
	                                     .cwd = p->dir,
	                                     .stdin_fd = PROC_PIPE,
	                                     .stdout_fd = log,
	                                     .stderr_fd = log,
	                                     .new_session = true};
	int r = proc_spawn(&options, &p->proc, err);
	if (r == 0)
		p->pidfd = proc_pidfd(&p->proc, err);
	return r == 0 && p->pidfd < 0 ? p->pidfd : r;
}

static int keep_process(struct place *p, struct err *err)
{
	json_t *current = place_current(p);
	json_object_set_new(current, "pid", json_integer(p->proc.pid));
	json_object_set_new(current, "start_time", json_integer((json_int_t)p->proc.start_time));
	json_object_set_new(current, "boot_id", json_string(host_boot_id()));
	return place_enter(p, "running", err);
}

static int give_input(struct place *p, const struct str *input, struct err *err)
{
	struct wait w = WAIT_INIT, limit = wait_within(&w, WRITE_MS);
	size_t sent = 0;
	while (sent < input->len) {
		ssize_t n = write(p->proc.stdin_fd, input->data + sent, input->len - sent);
		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return err_errno(err, errno, "hand the deployment over");
		int r = wait_fd(&limit, p->proc.stdin_fd, POLLOUT, err);
		if (r < 0)
			return r;
	}
	closep(&p->proc.stdin_fd);
	return 0;
}

int place_begin(struct place *p, struct err *err)
{
	_cleanup_(str_done) struct str input = STR_SECRET_INIT(INPUT_MAX);
	_cleanup_json_ json_t *secrets = NULL;
	_cleanup_free_ char *path = place_log(p);
	int r = read_secrets(p, &secrets, err);
	if (r == 0)
		r = write_input(p, secrets, &input, err);
	_cleanup_close_ int log = r == 0 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	if (r == 0 && log < 0)
		r = err_errno(err, errno, "open %s", path);
	if (r == 0)
		r = spawn(p, log, err);
	if (r == 0)
		r = keep_process(p, err);
	if (r == 0)
		r = give_input(p, &input, err);
	if (r < 0) {
		proc_done(&p->proc);
		closep(&p->pidfd);
	}
	return r < 0 ? err_wrap(err, r, "carry the deployment out") : 0;
}

bool place_runs(const struct place *p)
{
	const json_t *current = place_current(p);
	const char *boot = json_get_string(current, "boot_id");
	if (p->pidfd >= 0)
		return true;
	return boot != NULL && strcmp(boot, host_boot_id()) == 0 &&
	       proc_alive((pid_t)json_get_int(current, "pid", 0), (uint64_t)json_get_int(current, "start_time", 0));
}

/* ---- how it went ---- */

/* A fault of the file by its place ("deploy.yml:5:47: …"), of which the error behind it tells only the number; what follows "error: ", or a
 * workflow's "::error file=…::". NULL: the line tells none. */
static const char *error_of(const struct place *p, const char *line, size_t len)
{
	size_t name = strlen(p->file);
	if (len > name + 1 && str_starts(line, p->file) && line[name] == ':' && line[name + 1] >= '0' &&
	    line[name + 1] <= '9')
		return line;
	const char *at = str_starts(line, "::error") ? memmem(line + 2, len - 2, "::", 2) : NULL;
	if (at != NULL)
		return at + 2;
	return str_starts(line, "error: ") ? line + strlen("error: ") : NULL;
}

/* The first error that it told, for what never came into the journal. free() */
static char *first_error(const struct place *p)
{
	_cleanup_free_ char *path = place_log(p);
	_cleanup_(str_done) struct str text = STR_INIT(TAIL_MAX);
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	if (st.st_size >= TAIL_MAX && lseek(fd, 1 - TAIL_MAX, SEEK_END) < 0)
		return NULL;
	(void)fs_read_fd(fd, path, TAIL_MAX, &text, NULL);
	for (const char *line = str_peek(&text); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		const char *error = error_of(p, line, len);
		if (error != NULL)
			return xstrndup(error, (size_t)(line + len - error));
		line += len + (line[len] == '\n');
	}
	return NULL;
}

static int end_unrecorded(struct place *p, int status, struct err *err)
{
	_cleanup_free_ char *said = first_error(p), *path = place_log(p);
	_cleanup_free_ char *text =
		said != NULL ? xasprintf("refused: %s", said) : xasprintf("it ended with %d; %s", status, path);
	return place_end(p, "error", NULL, text, err);
}

/* Its process died before the journal knew of it: nothing was changed, and it begins again. */
static int again(struct place *p, struct err *err)
{
	json_t *current = place_current(p);
	int64_t attempt = json_get_int(current, "attempt", 1);
	if (attempt >= ATTEMPTS_MAX)
		return place_end(p, "error", NULL, "its process died again and again before it had begun", err);
	json_object_set_new(current, "attempt", json_integer(attempt + 1));
	place_tell(p, "again", "its process died before it had begun");
	return place_enter(p, "claimed", err);
}

static int end_recorded(struct place *p, const json_t *deployment, struct err *err)
{
	static const struct {
		const char *state, *theirs, *front;
	} ends[] = {
		{"committed", "success", "deployed"},
		{"undone", "failure", "taken back"},
		{"held", "failure", "held, a person is needed"},
		{"parked", "pending", "waits for approval"},
		{"refused", "error", "refused"},
	};
	const char *state = json_get_string(deployment, "state"), *reason = json_get_string(deployment, "reason"),
		   *davit = json_get_string(deployment, "id");
	for (size_t i = 0; state != NULL && i < ARRAY_SIZE(ends); i++) {
		if (strcmp(state, ends[i].state) != 0)
			continue;
		bool told = reason != NULL && strcmp(state, "committed") != 0;
		_cleanup_free_ char *text =
			xasprintf("%s%s%s%s%s", ends[i].front, told ? ": " : ", ", told ? reason : davit,
		                  told ? "" : " on ", told ? "" : host_name());
		return place_end(p, ends[i].theirs, davit, text, err);
	}
	return err_set(err, ERR_LOCKED, "%s is not decided yet", davit != NULL ? davit : "its deployment");
}

int place_conclude(struct place *p, int status, struct err *err)
{
	_cleanup_free_ char *mark = place_mark(p);
	_cleanup_json_ json_t *deployment = NULL;
	int r = journal_find(mark, status < 0, &deployment, err);
	if (r < 0)
		return r;
	if (deployment != NULL)
		return end_recorded(p, deployment, err);
	return status >= 0 && status < 128 ? end_unrecorded(p, status, err) : again(p, err);
}
