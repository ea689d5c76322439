/* run: one workflow from the file to its end. */
#include "agent/run/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/deployment/personal.h"
#include "agent/run/run_priv.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

enum {
	POLLED_MAX = 600,
	REFRESH_MS = 200,
	TICK_MS = 1000,
	CANCEL_MS = 5 * 60 * 1000,
	EXIT_FAILED = 1,
	EXIT_CANCELLED = 130,
};

struct run {
	const struct run_options *options;
	struct deployment_source source;
	struct workers workers;
	struct forge *forge;
	struct view *view;
	int cancel_fd;
	bool cancelled, killed;
};

/* "OWNER/NAME" of the remote; a work tree without one is the repository local/DIRECTORY. */
static char *repository_of(const struct deployment_source *source)
{
	if (source->repository != NULL)
		return xstrdup(source->repository);
	const char *slash = strrchr(source->root, '/');
	char *name = xasprintf("local/%s", slash != NULL && slash[1] != '\0' ? slash + 1 : "work");
	for (char *p = name + strlen("local/"); *p != '\0'; p++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", *p) == NULL)
			*p = '-';
	return name;
}

/* Before it is known which repository it serves. */
static int open_forge(struct run *r, struct err *err)
{
	struct forge_config config = {.host = "127.0.0.1",
	                              .ready_fd = -1,
	                              .releases_dir = r->options->releases,
	                              .read_only = true,
	                              .closed = true,
	                              .poll_ms = TICK_MS,
	                              .lease_ms = INT32_MAX,
	                              .cancel_ms = CANCEL_MS};
	return forge_open(&config, &r->forge, err);
}

/* The work tree's own first. */
static int list_repositories(const struct run *r, struct strv *out, struct err *err)
{
	_cleanup_free_ char *name = repository_of(&r->source);
	const struct remote_call call = {.state = r->workers.state, .cancel_fd = r->cancel_fd, .view = r->view};
	int result = 0;
	strv_addf(out, "%s=%s", name, r->source.git_dir);
	for (size_t i = 0; i < r->options->repositories.count && result >= 0; i++)
		result = remote_fetch(&call, r->options->repositories.items[i], out, err);
	return result;
}

static int find_source(struct run *r, struct err *err)
{
	int result = deployment_source_find(".", true, &r->source, err);
	if (result >= 0 && r->source.git_dir == NULL) {
		result = err_set(err, ERR_INVALID, "'%s' is not in a git work tree", r->source.root);
		return err_hint(err, result, "git init, and commit what a checkout shall get");
	}
	if (result >= 0 && r->source.commit == NULL) {
		result = err_set(err, ERR_INVALID, "the repository in '%s' has no commit yet", r->source.root);
		return err_hint(err, result, "commit what a checkout shall get");
	}
	return result;
}

static int add_settings(const struct run *r, const char *path, struct err *err)
{
	_cleanup_free_ char *whole = fs_join(r->source.root, path);
	struct deployment_values values = {.secrets = r->options->secrets, .vars = r->options->vars};
	return personal_values_of_file(whole, &values, err);
}

/* Reads all that may be refused, then begins. */
static int begin(struct run *r, struct err *err)
{
	const struct run_options *o = r->options;
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ json_t *inputs = NULL, *payload = NULL, *head = NULL;
	const char *event = NULL;
	int result = run_choose_file(o, r->source.root, &path, err);
	if (result >= 0)
		result = run_read_workflow(r->source.root, path, &workflow, err);
	if (result >= 0)
		result = add_settings(r, path, err);
	if (result >= 0 && o->job != NULL)
		result = workflow_keep_job(workflow, o->job, err);
	if (result >= 0)
		result = run_choose_event(o, workflow, &event, &inputs, err);
	if (result >= 0 && o->event_file != NULL)
		result = run_read_payload(o->event_file, &payload, err);
	if (result >= 0 && payload == NULL)
		result = run_read_commit(&r->source, &head, err);
	_cleanup_(strv_done) struct strv repositories = {0};
	if (result >= 0)
		result = list_repositories(r, &repositories, err);
	if (result < 0)
		return result;
	struct forge_local_run what = {.workflow = TAKE(workflow),
	                               .head_commit = TAKE(head),
	                               .event = event,
	                               .ref = r->source.ref != NULL ? r->source.ref : "refs/heads/HEAD",
	                               .sha = r->source.commit,
	                               .payload = TAKE(payload),
	                               .inputs = TAKE(inputs),
	                               .secrets = o->secrets,
	                               .vars = o->vars,
	                               .work_tree = r->source.root,
	                               .repositories = &repositories};
	result = forge_local_begin(r->forge, &what, err);
	if (result >= 0)
		view_begin(r->view, path, event, &r->source);
	return result;
}

/* The first interrupt cancels as GitHub does, the second ends everything. */
static void take_cancel(struct run *r)
{
	if (!cancel_requested())
		return;
	if (!r->cancelled) {
		r->cancelled = true;
		view_note(r->view, "cancelled: what runs always() still runs; interrupt again to end at once");
		forge_local_cancel(r->forge);
		cancel_reset();
		return;
	}
	r->killed = true;
	workers_kill(&r->workers);
}

static void wait_for_news(struct run *r)
{
	struct pollfd fds[POLLED_MAX];
	fds[0] = (struct pollfd){.fd = r->cancel_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = forge_local_fd(r->forge), .events = POLLIN};
	size_t n = 2 + workers_poll(&r->workers, fds + 2, ARRAY_SIZE(fds) - 2);
	(void)poll(fds, n, isatty(STDOUT_FILENO) ? REFRESH_MS : TICK_MS);
}

/* The forge knows of a job's end before all of its output was read; people hear of it afterwards. */
static void hold_back(const struct run *r, const json_t *now)
{
	size_t i;
	json_t *job;
	json_array_foreach(json_object_get(now, "jobs"), i, job)
	{
		if (!workers_have(&r->workers, json_get_string(job, "job_id")))
			continue;
		json_object_set_new(job, "status", json_string("in_progress"));
		json_object_set_new(job, "conclusion", json_null());
	}
}

/* True when everything has ended. */
static bool turn(struct run *r)
{
	take_cancel(r);
	forge_local_pass(r->forge);
	workers_read(&r->workers);
	workers_look(&r->workers);
	if (!r->killed)
		workers_start_ready(&r->workers);
	_cleanup_json_ json_t *now = forge_local_show(r->forge);
	hold_back(r, now);
	view_jobs(r->view, now);
	view_refresh(r->view);
	return r->killed || (json_get_string(now, "conclusion") != NULL && r->workers.running == 0);
}

static int status_of(const struct run *r, const json_t *run)
{
	const char *conclusion = json_get_string(run, "conclusion");
	if (r->cancelled)
		return EXIT_CANCELLED;
	bool good = conclusion != NULL && (strcmp(conclusion, "success") == 0 || strcmp(conclusion, "skipped") == 0);
	return good ? 0 : EXIT_FAILED;
}

int run_workflow(const struct run_options *o, int *ret_status, struct err *err)
{
	struct run r = {.options = o, .view = view_new(o->json, o->verbose)};
	r.workers = (struct workers){.options = o, .view = r.view};
	run_load_git();
	r.cancel_fd = cancel_install(err);
	int result = r.cancel_fd < 0 ? r.cancel_fd : workers_open(&r.workers, err);
	if (result >= 0)
		result = open_forge(&r, err);
	if (result >= 0)
		result = find_source(&r, err);
	if (result >= 0)
		result = begin(&r, err);
	if (result >= 0) {
		r.workers.forge = r.forge;
		while (!turn(&r))
			wait_for_news(&r);
		_cleanup_json_ json_t *last = forge_local_show(r.forge);
		if (r.killed) /* the jobs had no time to say so */
			json_object_set_new(last, "conclusion", json_string("cancelled"));
		view_end(r.view, last);
		*ret_status = status_of(&r, last);
	}
	workers_close(&r.workers);
	if (r.forge != NULL)
		forge_close(r.forge);
	view_free(r.view);
	deployment_source_done(&r.source);
	return result;
}
