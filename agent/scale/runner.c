/* One runner: its registration at GitHub, its process, and what is kept of both, so that nothing stale is left whatever dies. */
#include "agent/scale/scale_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"
#include "base/sys/host.h"

extern char **environ;

enum { KEPT_MAX = 64 << 10, SUFFIX_DIGITS = 8, HOST_MAX = 40, GROUP = 1, REAP_MS = 5000 };
static const char config_variable[] = "ACTIONS_RUNNER_INPUT_JITCONFIG";

void runner_done(struct runner *r)
{
	r->proc.pid = 0;
	proc_done(&r->proc);
	closep(&r->pidfd);
	free(r->name);
	free(r->repository);
	free(r->path);
	*r = (struct runner){.pidfd = -1};
}

static struct runner *add(struct scale *s, const char *name, const char *repository)
{
	if (s->count == s->cap) {
		s->cap = s->cap * 2 + 8;
		s->runners = xrealloc(s->runners, s->cap * sizeof(*s->runners));
	}
	struct runner *r = &s->runners[s->count++];
	*r = (struct runner){.name = xstrdup(name),
	                     .repository = xstrdup(repository),
	                     .path = xasprintf("%s/%s.json", s->dir, name),
	                     .proc = PROC_INIT,
	                     .pidfd = -1};
	return r;
}

static int keep(const struct runner *r, struct err *err)
{
	_cleanup_json_ json_t *all =
		json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:s}", "format", 1, "name", r->name, "repository",
	                  r->repository, "id", (json_int_t)r->id, "pid", (json_int_t)r->proc.pid, "start_time",
	                  (json_int_t)r->proc.start_time, "boot_id", host_boot_id());
	_cleanup_free_ char *text = json_text(all);
	return fs_write_atomic(AT_FDCWD, r->path, text, strlen(text), 0600, err);
}

static char *work_of(const struct scale *s, const struct runner *r)
{
	return xasprintf("%s/work/%s", s->dir, r->name);
}

static int register_it(struct scale *s, struct runner *r, struct wait *w, struct str *config, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = xasprintf("/repos/%s/actions/runners/generate-jitconfig", r->repository),
			    *work = work_of(s, r);
	_cleanup_json_ json_t *labels = json_array();
	for (size_t i = 0; i < s->options->labels.count; i++)
		json_array_append_new(labels, json_string(s->options->labels.items[i]));
	_cleanup_json_ json_t *body = json_pack("{s:s, s:i, s:O, s:s}", "name", r->name, "runner_group_id", GROUP,
	                                        "labels", labels, "work_folder", work);
	int e = api_send(s->api, "POST", path, body, w, &answer, err);
	if (e < 0)
		return err_wrap(err, e, "register a runner for %s", r->repository);
	const char *text = json_get_string(answer.body, "encoded_jit_config");
	r->id = json_get_int(json_get_object(answer.body, "runner"), "id", 0);
	if (text == NULL || r->id == 0 || !str_append(config, text))
		return err_set(err, ERR_PROTOCOL, "the answer holds no configuration of a runner");
	return 0;
}

/* The configuration holds the runner's key: it goes by the environment, where the agent takes it from, and not by the arguments. */
static int spawn(const struct scale *s, struct runner *r, const struct str *config, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-agent", err);
	_cleanup_(strv_done) struct strv env = {0};
	if (program == NULL)
		return ERR_NOT_FOUND;
	for (char **v = environ; *v != NULL; v++)
		if (!str_starts(*v, "GITHUB_TOKEN=") && !str_starts(*v, config_variable))
			strv_add(&env, *v);
	strv_addf(&env, "%s=%s", config_variable, str_peek(config));
	const char *argv[10] = {program, "agent", "run", "--drain"};
	size_t n = 4;
	const char *const pairs[][2] = {{"--policy", s->options->policy}, {"--worker-user", s->options->worker_user}};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i][1] != NULL) {
			argv[n++] = pairs[i][0];
			argv[n++] = pairs[i][1];
		}
	const struct proc_options options = {.argv = argv,
	                                     .env = (const char *const *)strv_null_terminated(&env),
	                                     .stdin_fd = -1,
	                                     .stdout_fd = STDERR_FILENO,
	                                     .stderr_fd = STDERR_FILENO,
	                                     .new_session = true};
	int e = proc_spawn(&options, &r->proc, err);
	explicit_bzero(env.items[env.count - 1], strlen(env.items[env.count - 1]));
	if (e == 0)
		r->pidfd = proc_pidfd(&r->proc, err);
	return e == 0 && r->pidfd < 0 ? r->pidfd : e;
}

int runner_start(struct scale *s, const char *repository, struct wait *w, struct err *err)
{
	char suffix[SUFFIX_DIGITS + 1];
	_cleanup_(str_done) struct str config = STR_SECRET_INIT(1 << 20);
	rand_hex(suffix, SUFFIX_DIGITS);
	_cleanup_free_ char *name = xasprintf("%.*s-%s", HOST_MAX, host_name(), suffix);
	struct runner *r = add(s, name, repository);
	int e = keep(r, err);
	if (e == 0)
		e = register_it(s, r, w, &config, err);
	if (e == 0)
		e = keep(r, err);
	if (e == 0)
		e = spawn(s, r, &config, err);
	r->lives = e == 0;
	if (e == 0)
		e = keep(r, err);
	if (e == 0)
		scale_tell(s, "started", r, "a runner for a job of %s", repository);
	return e;
}

static void adopt(struct scale *s, const char *path)
{
	_cleanup_(str_done) struct str text = STR_INIT(KEPT_MAX);
	_cleanup_json_ json_t *kept = NULL;
	struct err err = ERR_INIT;
	int e = fs_read_plain(AT_FDCWD, path, KEPT_MAX, &text, &err);
	if (e >= 0)
		e = json_parse(str_peek(&text), text.len, KEPT_MAX, &kept, &err);
	const char *name = json_get_string(kept, "name"), *repository = json_get_string(kept, "repository"),
		   *boot = json_get_string(kept, "boot_id");
	if (e < 0 || name == NULL || repository == NULL || strchr(name, '/') != NULL) {
		scale_tell(s, "trouble", NULL, "%s is of no use, and is left alone", path);
		return;
	}
	struct runner *r = add(s, name, repository);
	r->id = json_get_int(kept, "id", 0);
	r->proc.pid = (pid_t)json_get_int(kept, "pid", 0);
	r->proc.start_time = (uint64_t)json_get_int(kept, "start_time", 0);
	r->lives = r->proc.pid > 0 && boot != NULL && strcmp(boot, host_boot_id()) == 0;
	scale_tell(s, "adopted", r, "a runner of an autoscaler before");
}

int runner_adopt_all(struct scale *s, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	(void)err;
	DIR *dir = opendir(s->dir);
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		if (str_ends(entry->d_name, ".json"))
			strv_add(&names, entry->d_name);
	if (dir != NULL)
		closedir(dir);
	for (size_t i = 0; i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(s->dir, names.items[i]);
		adopt(s, path);
	}
	return 0;
}

void runner_look(struct runner *r)
{
	if (r->pidfd < 0) {
		r->lives = r->lives && proc_alive(r->proc.pid, r->proc.start_time);
		return;
	}
	struct pollfd look = {.fd = r->pidfd, .events = POLLIN};
	if (poll(&look, 1, 0) <= 0)
		return;
	struct wait w = WAIT_INIT;
	int status = 0;
	w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	(void)proc_wait(&r->proc, &w, &status, NULL);
	proc_done(&r->proc);
	r->proc = (struct proc)PROC_INIT;
	closep(&r->pidfd);
	r->lives = false;
}

/* The id of the one of that name, where nobody lived to keep it. */
static int find_id(struct scale *s, const struct runner *r, struct wait *w, int64_t *ret, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = xasprintf("/repos/%s/actions/runners?name=%s", r->repository, r->name);
	size_t i;
	json_t *one;
	int e = api_get(s->api, path, w, &answer, err);
	json_array_foreach(json_get_array(answer.body, "runners"), i, one)
	{
		const char *name = json_get_string(one, "name");
		if (name != NULL && strcmp(name, r->name) == 0)
			*ret = json_get_int(one, "id", 0);
	}
	return e;
}

/* One that had its job is taken out of the list by GitHub itself. */
static int unregister(struct scale *s, struct runner *r, struct wait *w, struct err *err)
{
	int e = r->id == 0 ? find_id(s, r, w, &r->id, err) : 0;
	if (e == 0 && r->id == 0)
		return 0;
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path = xasprintf("/repos/%s/actions/runners/%lld", r->repository, (long long)r->id);
	if (e == 0)
		e = api_send(s->api, "DELETE", path, NULL, w, &answer, err);
	if (e != ERR_NOT_FOUND)
		return e < 0 ? err_wrap(err, e, "end the registration of %s", r->name) : 0;
	err_clear(err);
	return 0;
}

int runner_clear(struct scale *s, struct runner *r, struct wait *w, struct err *err)
{
	_cleanup_free_ char *work = work_of(s, r);
	int e = unregister(s, r, w, err);
	if (e == 0)
		e = fs_remove_tree(AT_FDCWD, work, err);
	if (e == 0 && unlink(r->path) < 0 && fs_exists(AT_FDCWD, r->path))
		return err_set(err, ERR_IO, "remove %s", r->path);
	if (e == 0)
		scale_tell(s, "ended", r, "it has ended, and nothing of it is left");
	return e;
}
