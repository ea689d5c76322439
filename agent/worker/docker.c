#include "agent/worker/docker.h"

#include "base/core/rand.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

enum { TRIES = 3, ASK_MS = 60000, DEAF_MS = 120000, ANSWER_MAX = 1 << 16, AREA_DIGITS = 12, IMAGE_MAX = 1024 };

void docker_done(struct docker *d)
{
	free(d->program);
	d->program = NULL;
	strv_done(&d->env);
}

int docker_find(const struct job *j, const char *for_what, struct docker *ret, struct err *err)
{
	const char *name;
	json_t *value;
	ret->program = shell_find("docker", json_get_string(j->job_environ, "PATH"));
	if (ret->program == NULL) {
		int r = err_set(err, ERR_UNSUPPORTED, "%s, and this machine has no program 'docker'", for_what);
		return err_hint(err, r, "install a Docker engine, or send the job to another runner");
	}
	json_object_foreach(j->job_environ, name, value) strv_addf(&ret->env, "%s=%s", name, json_string_value(value));
	return 0;
}

/* ---- names ---- */

char *docker_area_label(const char *work)
{
	char hex[DIGEST_HEX];
	digest_of(work, strlen(work), hex);
	return xasprintf("davit=%.*s", AREA_DIGITS, hex);
}

char *docker_job_label(const char *tracking_id)
{
	return xasprintf("davit.job=%s", tracking_id);
}

void docker_add_labels(const struct job *j, struct strv *argv)
{
	char *labels[] = {docker_area_label(j->work), docker_job_label(j->tracking_id)};
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		strv_add(argv, "--label");
		strv_add_take(argv, labels[i]);
	}
}

/* Its characters are those of references; the engine looks at their order. */
int docker_check_image(const char *image, struct err *err)
{
	size_t len = strlen(image);
	bool good = isalnum((unsigned char)image[0]) && len <= IMAGE_MAX;
	for (size_t i = 0; i < len; i++)
		good &= isalnum((unsigned char)image[i]) || strchr("._-/:@+", image[i]) != NULL;
	return good ? 0 : err_set(err, ERR_INVALID, "'%.100s' is no image", image);
}

const char *docker_socket(const struct job *j)
{
	const char *host = json_get_string(j->job_environ, "DOCKER_HOST");
	return host != NULL && str_starts(host, "unix://") ? host + strlen("unix://") : "/var/run/docker.sock";
}

/* ---- calls ---- */

static void log_call(struct job *j, struct record *r, const struct docker_call *c)
{
	_cleanup_(str_done) struct str line = STR_INIT(1 << 20);
	if (c->quiet || c->hushed)
		return;
	str_append(&line, "##[command]");
	for (size_t i = 0; c->argv[i] != NULL; i++)
		str_appendf(&line, "%s%s", i > 0 ? " " : "", c->argv[i]);
	record_line(j, r, "%s", str_peek(&line));
}

static const char *const *environment(const struct docker *d, const struct docker_call *c)
{
	struct strv *env = c->env != NULL ? c->env : (struct strv *)(uintptr_t)&d->env;
	return (const char *const *)strv_null_terminated(env);
}

int docker_show(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c,
                enum process_end *ret_end, int *ret_status, struct err *err)
{
	struct process p = {.argv = c->argv,
	                    .env = environment(d, c),
	                    .cwd = j->workspace,
	                    .input = c->input,
	                    .input_len = c->input != NULL ? strlen(c->input) : 0,
	                    .timeout_ms = c->deaf ? DEAF_MS : step_time_ms(r),
	                    .plain = !c->obeyed,
	                    .deaf = c->deaf,
	                    .script = true};
	log_call(j, r, c);
	return process_run(j, r, &p, ret_end, ret_status, err);
}

int docker_show_until_good(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c,
                           const char *what, enum process_end *ret_end, int *ret_status, struct err *err)
{
	for (int try = 1;; try++) {
		int e = docker_show(j, r, d, c, ret_end, ret_status, err);
		if (e < 0 || *ret_end != PROCESS_EXITED || *ret_status == 0 || try == TRIES)
			return e;
		int64_t pause = 1000 + (int64_t)rand_below(9000);
		_cleanup_free_ char *text =
			xasprintf("%s failed with exit code %d, back off %.3f seconds before retry.", what, *ret_status,
		                  (double)pause / 1000);
		record_issue(j, r, ISSUE_WARNING, text, NULL);
		e = job_pause(j, pause, err);
		if (e < 0)
			return e;
	}
}

static void log_answer(struct job *j, struct record *r, const struct str *text)
{
	const char *p = str_peek(text), *end = p + text->len;
	while (p < end) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((stop != NULL ? stop : end) - p);
		if (n > 0)
			record_plain(j, r, p, n);
		p += n + 1;
	}
}

/* A question of the set-up is short; one that takes longer than this has no engine behind it. */
int docker_answer(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c, struct str *ret,
                  int *ret_status, struct err *err)
{
	_cleanup_(str_done) struct str own = STR_INIT(ANSWER_MAX), errors = STR_INIT(ANSWER_MAX);
	struct str *answer = ret != NULL ? ret : &own;
	struct proc_options o = {.argv = c->argv, .env = environment(d, c)};
	log_call(j, r, c);
	int e = job_child(j, &o, ASK_MS, c->deaf, answer, &errors, ret_status, err);
	if (e < 0)
		return e;
	if (!c->hushed && (!c->quiet || *ret_status != 0)) {
		log_answer(j, r, answer);
		log_answer(j, r, &errors);
	}
	return 0;
}

/* 1, 0, or ERR_CANCELLED: the step does not go on. */
static int is_here(struct job *j, struct record *r, const struct docker *d, const char *image, struct err *err)
{
	const char *argv[] = {d->program, "image", "inspect", "--format", "{{.Id}}", image, NULL};
	struct proc_options o = {.argv = argv, .env = environment(d, &(struct docker_call){.argv = argv})};
	int status = 1, e;
	do {
		err_clear(err);
		e = job_child(j, &o, ASK_MS, false, NULL, NULL, &status, err);
	} while (e == ERR_CANCELLED && !j->cancel.shutdown && step_goes_on(j, r));
	if (e == ERR_CANCELLED)
		return e;
	err_clear(err);
	return e == 0 && status == 0;
}

int docker_pull(struct job *j, struct record *r, const struct docker *d, const char *image, const char *config,
                enum process_end *ret_end, struct err *err)
{
	const char *plain[] = {d->program, "pull", image, NULL},
		   *with_login[] = {d->program, "--config", config, "pull", image, NULL};
	struct docker_call c = {.argv = config != NULL ? with_login : plain};
	int status = 0, e = docker_check_image(image, err);
	if (e == 0)
		e = is_here(j, r, d, image, err);
	if (e >= 0)
		e = e > 0 ? docker_show(j, r, d, &c, ret_end, &status, err)
		          : docker_show_until_good(j, r, d, &c, "Docker pull", ret_end, &status, err);
	if (e < 0 || *ret_end != PROCESS_EXITED || status == 0)
		return e;
	e = is_here(j, r, d, image, err);
	if (e < 0)
		return e;
	if (e == 0)
		return err_set(err, ERR_FAILED, "Docker pull failed with exit code %d", status);
	record_line(j, r, "The image cannot be pulled; the one of this machine is used");
	return 0;
}

/* ---- variables ---- */

static bool is_commands_own(const char *name)
{
	return strcmp(name, "HOME") == 0 || strcmp(name, "PATH") == 0 || str_starts(name, "LD_") ||
	       str_starts(name, "DOCKER_");
}

void docker_add_variable(struct mask *mask, const char *name, const char *value, struct strv *argv, struct strv *env)
{
	strv_add(argv, "-e");
	if (is_commands_own(name) && !mask_finds(mask, value, strlen(value))) {
		strv_addf(argv, "%s=%s", name, value);
		return;
	}
	strv_add(argv, name);
	strv_addf(env, "%s=%s", name, value);
}

bool docker_sets(const struct strv *env, const char *name)
{
	size_t len = strcspn(name, "=");
	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return true;
	return false;
}

/* What is passed on by name keeps its value: of a name that stands there twice, docker takes the first. */
void docker_add_own(const struct docker *d, struct strv *env)
{
	size_t passed_on = env->count;
	for (size_t i = 0; i < d->env.count; i++)
		if (!docker_sets(&(struct strv){.items = env->items, .count = passed_on}, d->env.items[i]))
			strv_add(env, d->env.items[i]);
}

/* ---- ownership ---- */

/* In a container that sees these directories and nothing else: what a job mounted below them is not touched. */
void docker_give_back(struct job *j, struct record *r, const struct docker *d, const char *image)
{
	_cleanup_free_ char *owner = xasprintf("%u:%u", (unsigned)geteuid(), (unsigned)getegid()),
			    *actions = fs_join(j->work, "_actions"), *temp = xasprintf("%s:/t", j->temp),
			    *fetched = xasprintf("%s:/a", actions), *pipeline = xasprintf("%s:/p", j->pipeline);
	const char *const head[] = {d->program, "run", "--rm", "--network", "none", "--user", "0:0"},
			  *const tail[] = {"-v",    temp,  "-v",  fetched, "-v", pipeline, "--entrypoint",
	                                   "chown", image, "-hR", owner,   "/t", "/a",     "/p"};
	struct strv argv = {.count = 0};
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	/* Those that root made are in nobody's way then. */
	if (geteuid() == 0 || fs_mkdirs(AT_FDCWD, actions, 0755, NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		strv_add(&argv, head[i]);
	docker_add_labels(j, &argv);
	for (size_t i = 0; i < ARRAY_SIZE(tail); i++)
		strv_add(&argv, tail[i]);
	struct docker_call c = {.argv = (const char *const *)strv_null_terminated(&argv), .deaf = true, .quiet = true};
	int e = docker_show(j, r, d, &c, &end, &status, NULL);
	if (e < 0 || status != 0)
		record_issue(
			j, r, ISSUE_WARNING,
			"Files that the container made in the work area stay its user's: its image has no chown, or that failed",
			NULL);
	strv_done(&argv);
}
