/* start: "Initialize containers" [11.5]: the network, then each container, then the wait for the services. */
#include "agent/worker/containers/hook.h"

#include "agent/worker/action.h"
#include "base/core/rand.h"
#include "base/sys/fs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { CGROUP_MAX = 1 << 16, ID_MAX = 128, SHOWN_ALIAS = 100, SHOWN_IMAGE = 100, MINOR_MIN = 35 };

/* ---- the engine ---- */

/* Directories of a container are not those of the engine's machine, which would be mounted. */
static int check_place(struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(CGROUP_MAX);
	if (fs_read(AT_FDCWD, "/proc/1/cgroup", CGROUP_MAX, &text, NULL) < 0 ||
	    strstr(str_peek(&text), ":/docker/") == NULL)
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
	               "Container feature is not supported when runner is already running inside container.");
}

static int fail(const char *what, int status, struct err *err)
{
	return err_set(err, ERR_FAILED, "%s failed with exit code %d", what, status);
}

/* One that must succeed; its answer without the line's end in ret, where that is wanted. */
static int must(struct job *j, struct record *r, const struct docker_call *c, const char *what, struct str *ret,
                struct err *err)
{
	int status = 0, e = docker_answer(j, r, &j->containers->docker, c, ret, &status, err);
	if (e == 0 && status != 0)
		e = fail(what, status, err);
	if (e == 0 && ret != NULL)
		str_truncate(ret, strcspn(str_peek(ret), "\r\n"));
	return e;
}

/* At least 1.35. */
static int check_version(struct job *j, struct record *r, const char *format, const char *side, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(ID_MAX);
	const char *argv[] = {j->containers->docker.program, "version", "--format", format, NULL};
	long long minor = -1;
	int e = must(j, r, &(struct docker_call){.argv = argv}, "docker version", &text, err);
	if (e < 0)
		return err_hint(err, e, "is the Docker engine running, and may the jobs' user use it?");
	const char *dot = strchr(str_peek(&text), '.');
	bool later = text.len > 2 && isdigit((unsigned char)text.data[0]) && !str_starts(text.data, "1.");
	if (later || (dot != NULL && str_parse_i64(dot + 1, MINOR_MIN, 1000000, &minor)))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "the docker %s has API version '%.20s'; 1.%d is the oldest that is used",
	               side, str_peek(&text), MINOR_MIN);
}

static int check_engine(struct job *j, struct record *r, struct err *err)
{
	record_line(j, r, "##[group]Checking docker version");
	int e = check_version(j, r, "{{.Server.APIVersion}}", "engine", err);
	if (e == 0)
		e = check_version(j, r, "{{.Client.APIVersion}}", "command", err);
	record_line(j, r, "##[endgroup]");
	return e;
}

static void warn(struct job *j, struct record *r, const char *what, int status)
{
	_cleanup_free_ char *text = xasprintf("%s failed with exit code %d", what, status);
	record_issue(j, r, ISSUE_WARNING, text, NULL);
}

/* What an earlier job of this registration left: a machine that lost power, a worker that was killed. */
static int clean_up(struct job *j, struct record *r, struct err *err)
{
	const char *docker = j->containers->docker.program;
	_cleanup_(str_done) struct str ids = STR_INIT(1 << 16);
	_cleanup_free_ char *label = docker_area_label(j->work), *filter = xasprintf("label=%s", label);
	const char *list[] = {docker, "ps", "--all", "--quiet", "--no-trunc", "--filter", filter, NULL},
		   *prune[] = {docker, "network", "prune", "--force", "--filter", filter, NULL};
	int status = 0;
	record_line(j, r, "##[group]Clean up resources from previous jobs");
	int e = docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = list}, &ids, &status, err);
	for (char *rest = ids.data, *id; e == 0 && (id = strsep(&rest, "\n")) != NULL;) {
		const char *rm[] = {docker, "rm", "--force", "--volumes", id, NULL};
		if (id[0] != '\0')
			e = docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = rm}, NULL,
			                  &status, err);
		if (e == 0 && status != 0)
			warn(j, r, "docker rm", status);
	}
	if (e == 0)
		e = docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = prune}, NULL, &status,
		                  err);
	if (e == 0 && status != 0)
		warn(j, r, "docker network prune", status);
	record_line(j, r, "##[endgroup]");
	return e;
}

static int make_network(struct job *j, struct record *r, struct err *err)
{
	char id[33];
	struct strv argv = {.count = 0};
	rand_hex(id, 32);
	_cleanup_free_ char *name = xasprintf("github_network_%s", id);
	strv_add(&argv, j->containers->docker.program);
	strv_add(&argv, "network");
	strv_add(&argv, "create");
	docker_add_labels(j, &argv);
	strv_add(&argv, name);
	record_line(j, r, "##[group]Create local container network");
	j->containers->network = TAKE(name);
	struct docker_call c = {.argv = (const char *const *)strv_null_terminated(&argv)};
	int e = must(j, r, &c, "docker network create", NULL, err);
	record_line(j, r, "##[endgroup]");
	strv_done(&argv);
	json_t *context = json_pack("{s:s}", "network", j->containers->network);
	json_object_set_new(j->job_context, "container", context);
	return e;
}

/* ---- a login ---- */

/* The first part where it can only be a host; "": Docker's own registry. free() */
static char *registry_of(const char *image)
{
	const char *slash = strchr(image, '/');
	if (slash == NULL)
		return xstrdup("");
	size_t len = (size_t)(slash - image);
	bool host =
		strchr(slash + 1, '/') != NULL || memchr(image, '.', len) != NULL || memchr(image, ':', len) != NULL;
	return host ? xstrndup(image, len) : xstrdup("");
}

/* The directory of a login knows no context, so that the engine has to be named. */
static int name_engine(struct job *j, struct record *r, struct err *err)
{
	struct docker *d = &j->containers->docker;
	const char *argv[] = {d->program, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", NULL};
	_cleanup_(str_done) struct str host = STR_INIT(4096);
	if (docker_sets(&d->env, "DOCKER_HOST="))
		return 0;
	int e = must(j, r, &(struct docker_call){.argv = argv, .quiet = true}, "docker context inspect", &host, err);
	if (e == 0 && host.len > 0)
		strv_addf(&d->env, "DOCKER_HOST=%s", str_peek(&host));
	return e;
}

/* Its password goes by standard input, and the engine's command keeps it in a directory that nobody else reads, until the image is here. */
static int login(struct job *j, struct record *r, const struct container *c, const char *config, struct err *err)
{
	_cleanup_free_ char *registry = registry_of(c->image);
	const char *argv[] = {j->containers->docker.program,
	                      "--config",
	                      config,
	                      "login",
	                      registry,
	                      "-u",
	                      c->username,
	                      "--password-stdin",
	                      NULL};
	const char *of_hub[] = {j->containers->docker.program,
	                        "--config",
	                        config,
	                        "login",
	                        "-u",
	                        c->username,
	                        "--password-stdin",
	                        NULL};
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	struct docker_call call = {.argv = registry[0] != '\0' ? argv : of_hub, .input = c->password};
	if (mkdir(config, 0700) < 0)
		return err_errno(err, errno, "make the directory of the login");
	int e = name_engine(j, r, err);
	if (e == 0)
		e = docker_show_until_good(j, r, &j->containers->docker, &call, "Docker login", &end, &status, err);
	if (e == 0 && end != PROCESS_EXITED)
		e = err_set(err, ERR_CANCELLED, "The operation was canceled.");
	return e == 0 && status != 0 ? fail("Docker login", status, err) : e;
}

static int pull(struct job *j, struct record *r, const struct container *c, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	_cleanup_free_ char *config = xasprintf("%s/.docker_%s", j->temp, id);
	enum process_end end = PROCESS_EXITED;
	bool private = c->username != NULL;
	int e = private ? login(j, r, c, config, err) : 0;
	if (e == 0)
		e = docker_pull(j, r, &j->containers->docker, c->image, private ? config : NULL, &end, err);
	if (private)
		fs_remove_tree(AT_FDCWD, config, NULL);
	return e == 0 && end != PROCESS_EXITED ? err_set(err, ERR_CANCELLED, "The operation was canceled.") : e;
}

/* ---- a container ---- */

static char *plain(const char *text, size_t max)
{
	_cleanup_(str_done) struct str out = STR_INIT(max);
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text))
			str_append_c(&out, *text);
	return xstrdup(str_peek(&out));
}

static char *name_of(const struct container *c)
{
	char id[33], end[7];
	rand_hex(id, 32);
	rand_hex(end, 6);
	_cleanup_free_ char *image = plain(c->image, SHOWN_IMAGE),
			    *alias = plain(c->alias != NULL ? c->alias : id, SHOWN_ALIAS);
	return xasprintf("%s_%s_%s", alias, image, end);
}

static int add_mount(struct strv *mounts, const char *here, const char *there, const char *tail, struct err *err)
{
	if (strchr(here, ':') != NULL)
		return err_set(err, ERR_UNSUPPORTED, "'%s' has a colon, so that docker cannot mount it", here);
	strv_addf(mounts, "%s:%s%s", here, there, tail);
	return 0;
}

/* One by one: the work area itself is closed to all but the jobs' user, and has directories of other repositories. */
int containers_add_work(const struct job *j, struct strv *mounts, struct err *err)
{
	_cleanup_free_ char *actions = fs_join(j->work, "_actions"), *home = fs_join(j->temp, "_github_home"),
			    *workflow = fs_join(j->temp, "_github_workflow"), *node = environ_node(j),
			    *real = node != NULL ? fs_real_path(node, NULL) : NULL;
	const char *const all[] = {j->pipeline, j->temp, actions, j->tools, home, workflow};
	int e = 0;
	for (size_t i = 0; e == 0 && i < ARRAY_SIZE(all); i++) {
		_cleanup_free_ char *there = containers_inside_path(j, all[i]);
		e = fs_mkdirs(AT_FDCWD, all[i], 0755, err);
		if (e == 0)
			e = add_mount(mounts, all[i], there, "", err);
	}
	if (e == 0 && real != NULL)
		e = add_mount(mounts, real, "/__e/node/bin/node", ":ro", err);
	return e;
}

static int add_mounts(const struct job *j, const struct container *c, struct strv *mounts, struct err *err)
{
	const char *socket = docker_socket(j);
	/* The engine would make a directory of that name. */
	if (c->alias == NULL && fs_exists(AT_FDCWD, socket))
		strv_addf(mounts, "%s:/var/run/docker.sock", socket);
	for (size_t i = 0; i < c->volumes.count; i++)
		strv_add(mounts, c->volumes.items[i]);
	return c->alias == NULL ? containers_add_work(j, mounts, err) : 0;
}

/* The image is asked for once more: whatever the options made of the words, another one than was looked at never runs. */
static int check_made(struct job *j, struct record *r, const struct container *c, struct err *err)
{
	_cleanup_(str_done) struct str image = STR_INIT(1 << 16);
	const char *argv[] = {j->containers->docker.program, "inspect", "--format", "{{.Config.Image}}", c->id, NULL};
	int e = must(j, r, &(struct docker_call){.argv = argv, .quiet = true}, "docker inspect", &image, err);
	if (e < 0 || strcmp(str_peek(&image), c->image) == 0)
		return e;
	return err_set(err, ERR_REFUSED, "the options name another image than '%s'", c->image);
}

static int create(struct job *j, struct record *r, struct container *c, struct err *err)
{
	_cleanup_free_ char *workdir = containers_inside_path(j, j->workspace);
	_cleanup_(str_done) struct str id = STR_INIT(1 << 16);
	struct strv argv = {.count = 0}, env = {.count = 0};
	struct container_place place = {.program = j->containers->docker.program,
	                                .name = c->name,
	                                .network = j->containers->network,
	                                .workdir = c->alias == NULL ? workdir : NULL};
	if (c->alias == NULL)
		json_object_set_new(c->env, "HOME", json_string("/github/home"));
	char *labels[] = {docker_area_label(j->work), docker_job_label(j->tracking_id)};
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		strv_add_take(&place.labels, labels[i]);
	int e = add_mounts(j, c, &place.mounts, err);
	if (e == 0) {
		container_create_arguments(c, &place, j->mask, &argv, &env);
		docker_add_own(&j->containers->docker, &env);
		struct docker_call call = {.argv = (const char *const *)strv_null_terminated(&argv), .env = &env};
		e = must(j, r, &call, "docker create", &id, err);
	}
	if (e == 0 && (id.len == 0 || strspn(id.data, "0123456789abcdef") != id.len))
		e = err_set(err, ERR_PROTOCOL, "docker create names no container");
	if (e == 0)
		c->id = str_take(&id);
	if (e == 0)
		e = check_made(j, r, c, err);
	strv_done(&place.labels);
	strv_done(&place.mounts);
	strv_done(&argv);
	strv_done(&env);
	return e;
}

static int check_runs(struct job *j, struct record *r, struct container *c, struct err *err)
{
	_cleanup_(str_done) struct str answer = STR_INIT(1 << 16);
	_cleanup_free_ char *filter = xasprintf("id=%s", c->id);
	const char *argv[] = {j->containers->docker.program,
	                      "ps",
	                      "--all",
	                      "--filter",
	                      filter,
	                      "--filter",
	                      "status=running",
	                      "--no-trunc",
	                      "--format",
	                      "{{.ID}} {{.Status}}",
	                      NULL};
	int e = must(j, r, &(struct docker_call){.argv = argv}, "docker ps", &answer, err);
	c->runs = e == 0 && answer.len > 0;
	if (e < 0 || c->runs)
		return e;
	containers_show_log(j, r, c, false);
	_cleanup_free_ char *text = xasprintf("Docker container %s is not in running state.", c->id);
	record_issue(j, r, ISSUE_WARNING, text, NULL);
	return 0;
}

/* ---- what expressions see ---- */

/* "80/tcp -> 0.0.0.0:32768": port → port of this machine; the last line of a port counts. */
static json_t *read_ports(const char *text)
{
	json_t *ports = json_object();
	for (const char *p = text; *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n') {
		size_t line = strcspn(p, "\n"), port = strspn(p, "0123456789");
		const char *colon = memrchr(p, ':', line);
		if (port == 0 || p[port] != '/' || colon == NULL)
			continue;
		_cleanup_free_ char *inside = xstrndup(p, port);
		json_object_set_new(ports, inside, json_stringn(colon + 1, strspn(colon + 1, "0123456789")));
	}
	return ports;
}

static int tell_service(struct job *j, struct record *r, const struct container *c, struct err *err)
{
	_cleanup_(str_done) struct str ports = STR_INIT(1 << 16);
	const char *argv[] = {j->containers->docker.program, "port", c->id, NULL};
	int status = 0,
	    e = docker_answer(j, r, &j->containers->docker, &(struct docker_call){.argv = argv}, &ports, &status, err);
	if (e < 0)
		return e;
	json_t *services = json_object_get(j->job_context, "services");
	if (services == NULL) {
		services = json_object();
		json_object_set_new(j->job_context, "services", services);
	}
	json_object_set_new(services, c->alias,
	                    json_pack("{s:s, s:s, s:o}", "id", c->id, "network", j->containers->network, "ports",
	                              read_ports(status == 0 ? str_peek(&ports) : "")));
	return 0;
}

/* The PATH that its programs are looked up by. */
static int tell_job(struct job *j, struct record *r, const struct container *c, struct err *err)
{
	_cleanup_(str_done) struct str env = STR_SECRET_INIT(1 << 16);
	const char *argv[] = {j->containers->docker.program,
	                      "inspect",
	                      "--format",
	                      "{{range .Config.Env}}{{println .}}{{end}}",
	                      c->id,
	                      NULL};
	int status = 0, e = docker_answer(j, r, &j->containers->docker,
	                                  &(struct docker_call){.argv = argv, .quiet = true}, &env, &status, err);
	for (char *rest = env.data, *line; e == 0 && (line = strsep(&rest, "\n")) != NULL;)
		if (str_starts(line, "PATH=")) {
			free(j->containers->path);
			j->containers->path = xstrdup(line + strlen("PATH="));
		}
	json_object_set_new(json_object_get(j->job_context, "container"), "id", json_string(c->id));
	return e;
}

static int start(struct job *j, struct record *r, struct container *c, struct err *err)
{
	if (c->alias == NULL)
		record_line(j, r, "##[group]Starting job container");
	else
		record_line(j, r, "##[group]Starting %s service container", c->alias);
	c->name = name_of(c);
	int e = pull(j, r, c, err);
	if (e == 0)
		e = create(j, r, c, err);
	const char *argv[] = {j->containers->docker.program, "start", c->id, NULL};
	if (e == 0)
		e = must(j, r, &(struct docker_call){.argv = argv}, "docker start", NULL, err);
	if (e == 0)
		e = check_runs(j, r, c, err);
	if (e == 0)
		e = c->alias == NULL ? tell_job(j, r, c, err) : tell_service(j, r, c, err);
	record_line(j, r, "##[endgroup]");
	return e;
}

static int start_all(struct job *j, struct record *r, struct err *err)
{
	struct containers *all = j->containers;
	int e = check_place(err);
	if (e == 0)
		e = docker_find(j, "the job runs containers", &all->docker, err);
	if (e == 0)
		e = check_engine(j, r, err);
	if (e == 0)
		e = clean_up(j, r, err);
	if (e == 0)
		e = make_network(j, r, err);
	for (size_t i = 0; e == 0 && i < all->count; i++)
		e = start(j, r, &all->all[i], err);
	return e == 0 ? containers_wait(j, r, err) : e;
}

/* ---- the step ---- */

static int run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	struct record *stop = record_expect_post(j, r, "Stop containers");
	(void)inputs;
	stop->type = xstrdup("runner");
	stop->action_name = xstrdup("stop_containers");
	int e = hook_is_set(j) ? hook_prepare(j, r, err) : start_all(j, r, err);
	if (e == 0)
		*ret = RESULT_SUCCEEDED;
	return e;
}

static void post(struct job *j, struct record *r)
{
	record_start(j, r);
	if (hook_is_set(j))
		hook_clean_up(j, r);
	else
		containers_stop(j, r);
	record_complete(j, r, RESULT_SUCCEEDED);
}

const struct action_type action_containers = {.run = run, .post = post};

void containers_expect(struct job *j)
{
	if (j->containers == NULL)
		return;
	struct record *r = record_new(j, NULL, "Initialize containers");
	r->type = xstrdup("runner");
	r->action_name = xstrdup("initialize_containers");
	r->action = &action_containers;
	r->stage_condition = xstrdup("success()");
	r->name_final = true;
	record_tell(j, r);
}
