/* Repositories: served by git's own http-backend, asked by git's command line. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { GIT_TIMEOUT_MS = 120 * 1000, HEADERS_MAX = 64 * 1024, PUSH_ANSWER_MAX = 16 << 20 };

/* Settings for git here, whoever owns the directories. The user's own configuration is not used. */
static const char *const git_settings[][2] = {
	{"uploadpack.allowAnySHA1InWant", "true"},
	{"uploadpack.allowFilter", "true"},
	{"http.receivepack", "true"},
	{"safe.directory", "*"},
	{"receive.denyCurrentBranch", "ignore"},
	{"core.hooksPath", "/dev/null"},
};

static void base_env(struct strv *env)
{
	static const char *const kept[] = {"PATH", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS"};
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (getenv(kept[i]))
			strv_addf(env, "%s=%s", kept[i], getenv(kept[i]));
	strv_add(env, "LC_ALL=C");
	strv_add(env, "HOME=/nonexistent");
	strv_add(env, "GIT_CONFIG_NOSYSTEM=1");
	strv_add(env, "GIT_TERMINAL_PROMPT=0");
	strv_addf(env, "GIT_CONFIG_COUNT=%zu", ARRAY_SIZE(git_settings));
	for (size_t i = 0; i < ARRAY_SIZE(git_settings); i++) {
		strv_addf(env, "GIT_CONFIG_KEY_%zu=%s", i, git_settings[i][0]);
		strv_addf(env, "GIT_CONFIG_VALUE_%zu=%s", i, git_settings[i][1]);
	}
}

int forge_repo_git(const struct forge_repo *repo, const char *const *args, size_t max, struct str *out, struct err *err)
{
	const char *argv[32] = {"git", "--git-dir", repo->dir};
	size_t n = 3;
	for (; *args && n + 1 < ARRAY_SIZE(argv); args++)
		argv[n++] = *args;
	_cleanup_(strv_done) struct strv env = {0};
	base_env(&env);
	struct proc_options options = {.argv = argv,
	                               .env = (const char *const *)strv_null_terminated(&env),
	                               .stdin_fd = -1,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = PROC_PIPE};
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + GIT_TIMEOUT_MS;
	_cleanup_(str_done) struct str text = STR_INIT(max);
	_cleanup_(str_done) struct str errors = STR_INIT(max);
	int status = 0;
	int r = proc_run(&options, NULL, 0, max, &w, &text, &errors, &status, err);
	if (r < 0)
		return err_wrap(err, r, "git %s in %s", argv[3], repo->full_name);
	if (status != 0)
		return err_set(err, ERR_FAILED, "git %s in %s: exit status %d: %.200s", argv[3], repo->full_name,
		               status, str_peek(&errors));
	str_append_n(out, str_peek(&text), text.len);
	return out->failed ? err_set(err, ERR_LIMIT, "git %s: too much output", argv[3]) : 0;
}

char *forge_repo_commit(const struct forge_repo *repo, const char *name)
{
	if (!*name || name[0] == '-' || strpbrk(name, " ~^:?*[\\"))
		return NULL;
	_cleanup_free_ char *commit = xasprintf("%s^{commit}", name);
	const char *args[] = {"rev-parse", "--verify", "--quiet", "--end-of-options", commit, NULL};
	_cleanup_(str_done) struct str out = STR_INIT(256);
	if (forge_repo_git(repo, args, 256, &out, NULL) < 0)
		return NULL;
	return xstrndup(str_peek(&out), strcspn(str_peek(&out), "\n"));
}

/* "owner/name=DIR", or DIR whose last two parts are owner and name (".git" may follow). */
int forge_repo_add(struct forge *f, const char *spec, struct err *err)
{
	const char *equals = strchr(spec, '=');
	_cleanup_free_ char *dir = fs_real_path(equals ? equals + 1 : spec, err);
	if (!dir)
		return err_wrap(err, ERR_INVALID, "the repository '%s'", spec);
	_cleanup_free_ char *full = equals ? xstrndup(spec, (size_t)(equals - spec)) : NULL;
	if (!full) {
		char *name = strrchr(dir, '/');
		char *owner = name ? memrchr(dir, '/', (size_t)(name - dir)) : NULL;
		if (!owner)
			return err_set(err, ERR_INVALID,
			               "the directory '%s' does not end in OWNER/NAME: say --repo OWNER/NAME=DIR", dir);
		full = xstrdup(owner + 1);
	}
	if (str_ends(full, ".git"))
		full[strlen(full) - 4] = '\0';
	const char *slash = strchr(full, '/');
	if (!slash || slash == full || !slash[1] || strchr(slash + 1, '/'))
		return err_set(err, ERR_INVALID, "'%s' is not of the form OWNER/NAME", full);
	_cleanup_free_ char *owner = xstrndup(full, (size_t)(slash - full));
	if (forge_repo_find(f, owner, slash + 1))
		return err_set(err, ERR_EXISTS, "the repository %s is given twice", full);
	_cleanup_free_ char *head = fs_join(dir, "HEAD");
	if (!fs_exists(AT_FDCWD, head))
		return err_set(err, ERR_INVALID, "'%s' is not a bare git repository", dir);
	struct forge_repo *repo = xcalloc(1, sizeof(*repo));
	repo->name = xstrdup(slash + 1);
	repo->owner = TAKE(owner);
	repo->full_name = TAKE(full);
	repo->dir = TAKE(dir);
	repo->id = forge_id(f);
	repo->secrets = json_object();
	repo->vars = json_object();
	repo->environments = json_object();
	json_t **lists[] = {&repo->comments, &repo->issue_comments, &repo->deployments, &repo->deployment_statuses,
	                    &repo->statuses, &repo->check_runs,     &repo->issues,      &repo->pulls};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		*lists[i] = json_array();
	pthread_mutex_init(&repo->push_lock, NULL);
	f->repos = xgrow(f->repos, &f->repo_cap, f->repo_count + 1, sizeof(*f->repos));
	f->repos[f->repo_count++] = repo;
	return 0;
}

struct forge_repo *forge_repo_find(struct forge *f, const char *owner, const char *name)
{
	size_t len = strlen(name);
	if (len > 4 && strcmp(name + len - 4, ".git") == 0)
		len -= 4;
	for (size_t i = 0; i < f->repo_count; i++)
		if (strcasecmp(f->repos[i]->owner, owner) == 0 && strlen(f->repos[i]->name) == len &&
		    strncasecmp(f->repos[i]->name, name, len) == 0)
			return f->repos[i];
	return NULL;
}

struct forge_repo *forge_repo_need(struct req *r, int owner_arg, int name_arg)
{
	struct forge_repo *repo = forge_repo_find(r->f, r->args[owner_arg], r->args[name_arg]);
	if (!repo)
		req_reply_error(r, 404, "Not Found");
	return repo;
}

/* ---- smart HTTP ---- */

static const char *git_service(const char *path)
{
	static const char *const tails[] = {"/info/refs", "/git-upload-pack", "/git-receive-pack", "/HEAD"};
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
		if (str_ends(path, tails[i]))
			return path + strlen(path) - strlen(tails[i]);
	return NULL;
}

bool git_wants(const char *path)
{
	const char *tail = git_service(path);
	if (!tail || path[0] != '/' || str_starts(path, "/_"))
		return false;
	int slashes = 0;
	for (const char *p = path; p < tail; p++)
		slashes += *p == '/';
	return slashes == 2;
}

static struct forge_repo *git_repo(struct req *r, const char *tail)
{
	_cleanup_free_ char *full = xstrndup(r->path + 1, (size_t)(tail - r->path - 1));
	char *slash = strchr(full, '/');
	*slash = '\0';
	return forge_repo_find(r->f, full, slash + 1);
}

/* True if this request may read or push; answers otherwise. *ret_actor: who pushes. */
static bool git_allowed(struct req *r, const struct forge_repo *repo, bool push, const char **ret_actor,
                        bool *ret_by_job)
{
	struct identity who = token_identify(r, "Basic Bearer token");
	if (push && r->f->config.read_only) {
		req_reply_error(r, 403, "%s is the work tree's own repository: nothing is pushed to it from here.",
		                repo->full_name);
		return false;
	}
	*ret_actor = who.token ? "github-actions[bot]" : "octocat";
	*ret_by_job = who.token != NULL;
	const char *level = who.token && who.token->kind == TOKEN_GITHUB && who.token->job->run->repo == repo
	                            ? json_get_string(who.token->job->permissions, "Contents")
	                            : NULL;
	if (who.admin || (!who.given && (!push || (!r->f->config.token && req_is_owners(r)))))
		return true;
	if (level && (!push || strcmp(level, "write") == 0))
		return true;
	if (who.token) {
		req_reply_error(r, 403,
		                push ? "Permission to %s denied to github-actions[bot]."
		                     : "Write access to %s not granted.",
		                repo->full_name);
		return false;
	}
	req_reply_header(r, "WWW-Authenticate: Basic realm=\"GitHub\"");
	req_reply_error(r, 401, who.given ? "Invalid username or password." : "Authentication required.");
	return false;
}

static void git_env(const struct req *r, const struct forge_repo *repo, struct strv *env)
{
	static const struct {
		const char *header, *name;
	} passed[] = {
		{"Content-Type", "CONTENT_TYPE"},
		{"Content-Encoding", "HTTP_CONTENT_ENCODING"},
		{"Accept-Encoding", "HTTP_ACCEPT_ENCODING"},
		{"Git-Protocol", "GIT_PROTOCOL"},
		{"Accept", "HTTP_ACCEPT"},
	};
	base_env(env);
	strv_addf(env, "GIT_PROJECT_ROOT=%s", repo->dir);
	strv_add(env, "GIT_HTTP_EXPORT_ALL=1");
	strv_addf(env, "PATH_INFO=%s", git_service(r->path));
	strv_addf(env, "REQUEST_METHOD=%s", r->method);
	strv_addf(env, "QUERY_STRING=%s", r->query);
	strv_addf(env, "CONTENT_LENGTH=%lld", (long long)r->body_len);
	strv_add(env, "REMOTE_USER=octocat");
	strv_add(env, "REMOTE_ADDR=127.0.0.1");
	strv_add(env, "SERVER_PROTOCOL=HTTP/1.1");
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (req_header(r, passed[i].header))
			strv_addf(env, "%s=%s", passed[i].name, req_header(r, passed[i].header));
}

/* One read of the child's output, waiting for it. 0: the end; < 0: trouble. */
static ssize_t read_child(struct req *r, char *buf, size_t size)
{
	for (;;) {
		ssize_t n = read(r->child.stdout_fd, buf, size);
		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -1;
		struct pollfd p = {.fd = r->child.stdout_fd, .events = POLLIN};
		if (poll(&p, 1, GIT_TIMEOUT_MS) == 0 || __atomic_load_n(&r->f->stopping, __ATOMIC_RELAXED))
			return -1;
	}
}

/* Moves the CGI's headers to the answer; bytes beyond them stay in child_head. */
static bool read_cgi_headers(struct req *r)
{
	_cleanup_(str_done) struct str text = STR_INIT(HEADERS_MAX + 65536);
	char *end = NULL;
	size_t skip = 4;
	while (!end) {
		char buf[16384];
		ssize_t n = read_child(r, buf, sizeof(buf));
		if (n <= 0 || !str_append_n(&text, buf, (size_t)n))
			return false;
		end = memmem(text.data, text.len, "\r\n\r\n", 4);
		if (!end) {
			end = memmem(text.data, text.len, "\n\n", 2);
			skip = 2;
		}
		if (!end && text.len > HEADERS_MAX)
			return false;
	}
	size_t head = (size_t)(end - text.data);
	str_append_n(&r->child_head, end + skip, text.len - head - skip);
	*end = '\0';
	r->status = 200;
	char *save = NULL;
	for (char *line = strtok_r(text.data, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		if (strncasecmp(line, "Status:", 7) == 0)
			r->status = (int)strtol(line + 7, NULL, 10);
		else
			strv_add(&r->headers, line);
	}
	return r->status >= 100 && r->status < 600;
}

static bool start_backend(struct req *r, const struct forge_repo *repo)
{
	_cleanup_(strv_done) struct strv env = {0};
	git_env(r, repo, &env);
	const char *argv[] = {"git", "http-backend", NULL};
	struct err err = ERR_INIT;
	struct proc_options options = {.argv = argv,
	                               .env = (const char *const *)strv_null_terminated(&env),
	                               .stdin_fd = r->body_fd,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = -1};
	if (lseek(r->body_fd, 0, SEEK_SET) < 0 || proc_spawn(&options, &r->child, &err) < 0 || !read_cgi_headers(r)) {
		char line[512];
		strv_done(&r->headers);
		req_reply_error(r, 500, "git http-backend gave no answer: %s", err_line(&err, line, sizeof(line)));
		return false;
	}
	return true;
}

/* ---- a push: what moved? ---- */

static json_t *repo_refs(const struct forge_repo *repo)
{
	const char *args[] = {"for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags", NULL};
	_cleanup_(str_done) struct str out = STR_INIT(16 << 20);
	json_t *refs = json_object();
	if (forge_repo_git(repo, args, 16 << 20, &out, NULL) < 0 || !out.len)
		return refs;
	char *save = NULL;
	for (char *line = strtok_r(out.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');
		if (space) {
			*space = '\0';
			json_object_set_new(refs, space + 1, json_string(line));
		}
	}
	return refs;
}

static void compare_refs(struct forge *f, struct forge_repo *repo, const json_t *before, const json_t *after,
                         const char *actor)
{
	static const char zero[] = "0000000000000000000000000000000000000000";
	const char *ref;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)after, ref, value)
	{
		const char *now = json_string_value(value), *then = json_get_string(before, ref);
		if (!then || strcmp(now, then) != 0)
			push_received(f, repo, ref, then ? then : zero, now, actor);
		if (!then || strcmp(now, then) != 0)
			pulls_pushed(f, repo, ref, actor);
	}
}

/* Keeps the whole answer until the push is processed: a client that has the answer finds the runs. */
static void receive_pack(struct req *r, struct forge_repo *repo, const char *actor, bool by_job)
{
	pthread_mutex_lock(&repo->push_lock);
	_cleanup_json_ json_t *before = repo_refs(repo);
	if (start_backend(r, repo)) {
		str_append_n(&r->out, str_peek(&r->child_head), r->child_head.len);
		char buf[16384];
		ssize_t n;
		while ((n = read_child(r, buf, sizeof(buf))) > 0 && r->out.len < PUSH_ANSWER_MAX)
			str_append_n(&r->out, buf, (size_t)n);
		struct wait w = WAIT_INIT;
		w.deadline_mono_ms = clock_mono_ms() + GIT_TIMEOUT_MS;
		int status = 0;
		proc_wait(&r->child, &w, &status, NULL);
		_cleanup_json_ json_t *after = repo_refs(repo);
		if (!by_job) /* a push with a job's token starts nothing */
			compare_refs(r->f, repo, before, after, actor);
	}
	pthread_mutex_unlock(&repo->push_lock);
}

void git_handle(struct req *r)
{
	const char *tail = git_service(r->path);
	pthread_mutex_lock(&r->f->lock);
	struct forge_repo *repo = git_repo(r, tail);
	bool push = str_ends(r->path, "/git-receive-pack") || strstr(r->query, "service=git-receive-pack");
	const char *actor = NULL;
	bool by_job = false;
	bool allowed = repo && git_allowed(r, repo, push, &actor, &by_job);
	if (!repo)
		req_reply_error(r, 404, "Repository not found.");
	pthread_mutex_unlock(&r->f->lock);
	if (!allowed)
		return;
	if (str_ends(r->path, "/git-receive-pack"))
		receive_pack(r, repo, actor, by_job);
	else if (start_backend(r, repo))
		r->streams = true;
}

/* ---- tarballs ---- */

/* The token that a job is given with the answer about an action reads that action's archive, whatever repository the job is of. */
static bool may_read_archive(struct req *r, const struct forge_repo *repo)
{
	struct identity who = token_identify(r, "Bearer token Basic");
	if (who.token && who.token->kind == TOKEN_GITHUB && who.token->job->run->repo != repo)
		return true;
	return token_need_permission(r, repo, "Contents", "read", NULL);
}

void git_tarball_handle(struct req *r)
{
	struct forge *f = r->f;
	pthread_mutex_lock(&f->lock);
	struct forge_repo *repo = forge_repo_need(r, 0, 1);
	bool allowed = repo && may_read_archive(r, repo);
	pthread_mutex_unlock(&f->lock);
	if (!allowed)
		return;
	_cleanup_free_ char *sha = forge_repo_commit(repo, r->args[2] ? r->args[2] : "HEAD");
	if (!sha) {
		req_reply_error(r, 404, "Not Found");
		return;
	}
	bool zip = strstr(r->path, "/zipball") != NULL;
	_cleanup_free_ char *prefix = xasprintf("--prefix=%s-%s-%.7s/", repo->owner, repo->name, sha);
	_cleanup_free_ char *format = xasprintf("--format=%s", zip ? "zip" : "tar.gz");
	const char *argv[] = {"git", "--git-dir", repo->dir, "archive", format, prefix, sha, NULL};
	_cleanup_(strv_done) struct strv env = {0};
	base_env(&env);
	struct err err = ERR_INIT;
	struct proc_options options = {.argv = argv,
	                               .env = (const char *const *)strv_null_terminated(&env),
	                               .stdin_fd = -1,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = -1};
	if (proc_spawn(&options, &r->child, &err) < 0) {
		req_reply_error(r, 500, "git archive does not start");
		return;
	}
	req_reply(r, 200);
	r->streams = true;
	req_reply_header(r, "Content-Type: application/%s", zip ? "zip" : "x-gzip");
	req_reply_header(r, "Content-Disposition: attachment; filename=%s-%s-%.7s.%s", repo->owner, repo->name, sha,
	                 zip ? "zip" : "tar.gz");
}

/* A repository of another format than files says something else there, which git understands. free() */
char *forge_repo_default_branch(const struct forge_repo *repo)
{
	static const char front[] = "ref: refs/heads/";
	const char *args[] = {"symbolic-ref", "--short", "HEAD", NULL};
	_cleanup_(str_done) struct str head = STR_INIT(1024), answer = STR_INIT(1024);
	_cleanup_free_ char *path = fs_join(repo->dir, "HEAD");
	const char *name = "main";
	if (fs_read(AT_FDCWD, path, 1024, &head, NULL) >= 0 && str_starts(str_peek(&head), front) &&
	    !str_starts(str_peek(&head) + strlen(front), "."))
		name = str_peek(&head) + strlen(front);
	else if (forge_repo_git(repo, args, 1024, &answer, NULL) >= 0)
		name = str_peek(&answer);
	return xstrndup(name, strcspn(name, "\n"));
}

json_t *forge_repo_json(struct forge *f, const struct forge_repo *repo)
{
	_cleanup_free_ char *branch = forge_repo_default_branch(repo);
	return json_pack("{s:I, s:s, s:s, s:b, s:{s:s, s:I, s:s, s:s}, s:o, s:o, s:o, s:o, s:b, s:s, s:s, s:n}", "id",
	                 (json_int_t)repo->id, "name", repo->name, "full_name", repo->full_name, "private",
	                 !repo->is_public, "owner", "login", repo->owner, "id", (json_int_t)repo->id + 1000000, "name",
	                 repo->owner, "type", "Organization", "html_url",
	                 json_stringf("%s/%s", f->base, repo->full_name), "url",
	                 json_stringf("%s/api/v3/repos/%s", f->base, repo->full_name), "clone_url",
	                 json_stringf("%s/%s.git", f->base, repo->full_name), "git_url",
	                 json_stringf("%s/%s.git", f->base, repo->full_name), "fork", 0, "default_branch", branch,
	                 "visibility", repo->is_public ? "public" : "private", "description");
}
