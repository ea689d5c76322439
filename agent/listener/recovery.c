/* Runs davit-step recover as a child beside everything else: at the start of the agent, and after a worker died. It
 * runs as the user of the workers, since the journal is that user's. One at a time: two would contend for the same
 * locks.
 *
 * Its standard input gets one JSON object, {"report": {"token","api_url","repository","sha",…}}: what it needs to comment
 * on the job's commit; an empty object if nothing is known. */
#include "agent/listener/listener_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include "agent/listener/handover.h"
#include "schemas/step_info.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/core/log.h"
#include "base/secret/seal.h"
#include "engine/journal/store.h"

enum {
	OUTPUT_MAX = 4 << 20,
	TRIES_MAX = 90, /* 10 s apart: the longest undo, and then some */
	TRIES_BESIDE = 3,
	RETRY_MS = 10000,
	REAP_MS = 5000,
	EXIT_LOCKED = 5,
	KEPT_MAX = 1 << 20,
	COMMENT_TRIES = 3,
	COMMENT_TIMEOUT_MS = 30000,
};
static const char kept_prefix[] = "job-";

static void finish(struct recovery *r, const char *what)
{
	r->over = true;
	r->due_ms = 0;
	if (r->job != NULL) {
		struct lease *j = r->job;
		r->job = NULL;
		lease_recovered(j, what);
	}
}

/* ---- The comment on the commit: only if something was decided, and no step of the deployment says it itself. */

static void comment_send(struct recovery *r);

static void comment_done(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct recovery *r = context;
	struct err err = ERR_INIT;
	int code = call_result(result, response, failure, "comment on the commit", &err);
	if (code < 0 && (result < 0 || response->status >= 500) && ++r->comment_tries < COMMENT_TRIES) {
		r->due_ms = clock_mono_ms() + listener_pause(1000, 5000);
		return;
	}
	if (code < 0)
		log_err(&err);
	finish(r, r->what);
}

static void comment_send(struct recovery *r)
{
	_cleanup_json_ json_t *input = NULL;
	if (json_parse(r->report, strlen(r->report), KEPT_MAX, &input, NULL) < 0) {
		finish(r, r->what);
		return;
	}
	struct call_request q = {.url = xstrdup(r->comment_url),
	                         .token = json_get_string(json_get_object(input, "report"), "token"),
	                         .json = r->comment_body,
	                         .timeout_ms = COMMENT_TIMEOUT_MS};
	r->due_ms = 0;
	call_start(r->listener, &r->comment, &q, comment_done, r);
}

static bool says_it_itself(const json_t *report)
{
	size_t i;
	const json_t *step;
	json_array_foreach(json_get_array(report, "steps"), i, step)
	{
		const char *name = json_get_string(step, "step");
		const struct step_info *info = name != NULL ? step_info(name) : NULL;
		if (info != NULL && info->reports)
			return true;
	}
	return false;
}

static json_t *comment_text(const json_t *deployment, const char *state)
{
	const char *name = json_get_string(deployment, "name"),
		   *environment = json_get_string(deployment, "environment");
	const char *id = json_get_string(deployment, "id"), *run = json_get_string(deployment, "run_url");
	const char *how = strcmp(state, "undone") == 0 ? "was rolled back: what it had changed is as it was before"
	                  : strcmp(state, "committed") == 0
	                          ? "was finished: its last step had been made"
	                          : "is held: a person is needed. `davit show` lists what is left, "
	                            "`davit rollback` undoes it, `davit unlock --accept` keeps it";
	return json_stringf("Deployment **%s.%s** %s.\n\nThe process that carried it out died in the middle%s%s%s; "
	                    "davit's agent continued "
	                    "with it (deployment `%s`).",
	                    name ? name : "", environment ? environment : "", how, run ? " of [its job](" : "",
	                    run ? run : "", run ? ")" : "", id ? id : "");
}

/* True when a comment is on its way. */
static bool comment_begin(struct recovery *r)
{
	_cleanup_json_ json_t *input = NULL;
	if (r->decided == NULL || json_parse(r->report, strlen(r->report), KEPT_MAX, &input, NULL) < 0)
		return false;
	const json_t *ours = json_get_object(input, "report"), *report = json_get_object(r->decided, "report");
	const json_t *deployment = json_get_object(report, "deployment");
	const char *state = json_get_string(r->decided, "state"), *commit = json_get_string(deployment, "commit");
	const char *api = json_get_string(ours, "api_url"), *repository = json_get_string(ours, "repository");
	if (state == NULL || api == NULL || repository == NULL || json_get_string(ours, "token") == NULL)
		return false;
	if (commit == NULL)
		commit = json_get_string(ours, "sha");
	if (commit == NULL || says_it_itself(report))
		return false;
	r->comment_url = xasprintf("%s/repos/%s/commits/%s/comments", api, repository, commit);
	r->comment_body = json_object();
	json_object_set_new(r->comment_body, "body", comment_text(deployment, state));
	comment_send(r);
	return true;
}

/* ---- Whose it was: a recovery decides whatever its user's dead processes left, also other jobs' deployments. */

/* A deployment that names no run may be any job's: that one's whose recovery decided it. */
static bool is_of_job(const json_t *job, const json_t *deployment)
{
	const char *server = json_get_string(job, "server_url"), *repository = json_get_string(job, "repository");
	const char *run = json_get_string(job, "run_id"), *its = json_get_string(deployment, "run_url");
	const char *other = json_get_string(deployment, "repository");
	/* The token is good for the job's repository only. */
	if (repository == NULL || (other != NULL && strcasecmp(other, repository) != 0))
		return false;
	if (its == NULL || server == NULL || run == NULL)
		return its == NULL;
	_cleanup_free_ char *url = xasprintf("%s/%s/actions/runs/%s", server, repository, run);
	return strcasecmp(url, its) == 0;
}

static bool is_of(const char *its_user, const char *user)
{
	return user == NULL ? its_user == NULL : its_user != NULL && strcmp(user, its_user) == 0;
}

/* Its own recovery, which finds nothing left, tells it. Jobs of one run have one commit: which of them tells which is the same. */
static void give_to_its_job(struct recovery *r, json_t *decided, const json_t *deployment)
{
	for (struct lease *j = r->listener->jobs; j != NULL; j = j->next) {
		if (j == r->job || j->decided != NULL || !is_of(j->user, r->user) ||
		    json_get_string(deployment, "run_url") == NULL || !is_of_job(j->report, deployment))
			continue;
		j->decided = json_incref(decided);
		return;
	}
}

/* Sets what it decided of its own job's; returns the exit status for that job. */
static int take_own(struct recovery *r, int status)
{
	_cleanup_json_ json_t *answer = NULL, *input = NULL;
	if (json_parse(str_peek(&r->output), r->output.len, OUTPUT_MAX, &answer, NULL) < 0 ||
	    json_parse(r->report, strlen(r->report), KEPT_MAX, &input, NULL) < 0)
		return status;
	const json_t *ours = json_get_object(input, "report");
	size_t i;
	json_t *one;
	int others = 0;
	json_array_foreach(json_get_array(answer, "decided"), i, one)
	{
		const json_t *deployment = json_get_object(json_get_object(one, "report"), "deployment");
		if (r->decided == NULL && is_of_job(ours, deployment)) {
			r->decided = json_incref(one);
			continue;
		}
		give_to_its_job(r, one, deployment);
		if (json_get_int(one, "exit_status", 0) == status)
			others = status;
	}
	if (r->decided == NULL && r->job != NULL && r->job->decided != NULL)
		r->decided = json_incref(r->job->decided);
	if (r->decided != NULL)
		return (int)json_get_int(r->decided, "exit_status", status);
	return others == status ? 0 : status;
}

static int spawn(struct recovery *r, struct err *err)
{
	_cleanup_free_ char *step = fs_helper_program("davit-step", err);
	if (step == NULL)
		return err->code;
	const char *plain[] = {step, "recover", "--json", NULL};
	const char *other[] = {
		listener_program(r->listener), "agent", "as-user", r->user, step, "recover", "--json", NULL};
	struct proc_options options = {.argv = r->user != NULL ? other : plain,
	                               .stdin_fd = PROC_PIPE,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = STDERR_FILENO,
	                               .new_session = true};
	int code = proc_spawn(&options, &r->proc, err);
	if (code < 0)
		return code;
	r->pidfd = proc_pidfd(&r->proc, err);
	if (r->pidfd < 0)
		return r->pidfd;
	/* Smaller than a pipe's buffer, so the write never blocks. The child's end shows if it failed. */
	_cleanup_free_ char *line = xasprintf("%s\n", r->report);
	ssize_t n = write(r->proc.stdin_fd, line, strlen(line));
	explicit_bzero(line, strlen(line));
	closep(&r->proc.stdin_fd);
	return n < 0 ? err_errno(err, errno, "hand over the job's report") : 0;
}

static bool one_runs(const struct listener *l)
{
	for (const struct recovery *r = l->recoveries; r != NULL; r = r->next)
		if (r->pidfd >= 0)
			return true;
	return false;
}

void recovery_timer(struct recovery *r, int64_t now_ms)
{
	if (r->over || r->pidfd >= 0 || call_is_running(&r->comment) || now_ms < r->due_ms)
		return;
	if (r->comment_url != NULL) {
		comment_send(r);
		return;
	}
	if (one_runs(r->listener)) {
		r->due_ms = now_ms + 100;
		return;
	}
	struct err err = ERR_INIT;
	r->tries++;
	r->due_ms = 0;
	if (spawn(r, &err) < 0) {
		log_err(&err);
		proc_done(&r->proc);
		closep(&r->pidfd);
		finish(r, "Whether a deployment was left undecided could not be looked at.");
	}
}

void recovery_add(struct listener *l, struct lease *job, const char *user, const json_t *report)
{
	struct recovery *r = xcalloc(1, sizeof(*r));
	_cleanup_json_ json_t *input = json_object();
	if (report != NULL)
		json_object_set(input, "report", (json_t *)(uintptr_t)report);
	r->listener = l;
	r->job = job;
	r->user = xstrdup(user);
	r->report = json_text(input);
	r->proc = (struct proc)PROC_INIT;
	r->pidfd = -1;
	r->output = (struct str)STR_INIT(OUTPUT_MAX);
	r->due_ms = clock_mono_ms();
	r->next = l->recoveries;
	l->recoveries = r;
}

void recovery_free(struct recovery *r)
{
	call_cancel(&r->comment);
	proc_done(&r->proc);
	closep(&r->pidfd);
	str_done(&r->output);
	free(r->comment_url);
	json_decref(r->comment_body);
	json_decref(r->decided);
	explicit_bzero(r->report, strlen(r->report));
	free(r->report);
	free(r->user);
	free(r);
}

void recovery_read(struct recovery *r)
{
	char piece[4096];
	ssize_t n = 0;
	while (r->proc.stdout_fd >= 0 && (n = read(r->proc.stdout_fd, piece, sizeof(piece))) > 0)
		str_append_n(&r->output, piece, (size_t)n);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		closep(&r->proc.stdout_fd);
}

static const char *describe(int status)
{
	switch (status) {
	case 0:
		return "No deployment is left undecided.";
	case 4:
		return "Its deployment is held: a person is needed; `davit history` says what is left.";
	case EXIT_LOCKED:
		return "Its deployment is still at work, or its owner cannot be proven dead; `davit recover` continues "
		       "it.";
	default:
		return "The recovery of its deployment failed; `davit recover` tries it again.";
	}
}

/* The lock may belong to a deployment of another job that runs well: no reason to wait for its end. */
static int tries_max(const struct recovery *r)
{
	for (const struct lease *j = r->listener->jobs; j != NULL; j = j->next)
		if (j != r->job && j->phase == LEASE_RUNNING)
			return TRIES_BESIDE;
	return TRIES_MAX;
}

void recovery_event(struct recovery *r)
{
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	int status = -1;
	recovery_read(r);
	w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	if (proc_wait(&r->proc, &w, &status, &err) < 0)
		log_err(&err);
	recovery_read(r);
	proc_done(&r->proc);
	closep(&r->pidfd);
	if (status == EXIT_LOCKED && r->tries < tries_max(r) && !r->listener->stopping) {
		str_clear(&r->output);
		r->due_ms = clock_mono_ms() + registration_pace(RETRY_MS);
		return;
	}
	if (status != 0)
		log_warning("listen", "recovery: %s (exit status %d)", describe(status), status);
	else
		log_debug("listen", "recovery: %s", describe(status));
	r->what = describe(take_own(r, status));
	if (!comment_begin(r))
		finish(r, r->what);
}

/* ---- Running jobs, sealed in the agent's directory, so that the next agent can continue them after a kill. */

void recovery_keep_job(const struct lease *j)
{
	if (j->listener->store == NULL)
		return;
	_cleanup_json_ json_t *record = json_object();
	json_object_set_new(record, "format", json_integer(1));
	run_job_write(&j->run, record);
	if (j->renewer != NULL)
		json_set_string(record, "registration", j->renewer->id);
	if (j->user != NULL)
		json_object_set_new(record, "user", json_string(j->user));
	json_object_set_new(record, "tracking_id", json_string(j->tracking_id));
	json_object_set_new(record, "pid", json_integer(j->worker.pid));
	json_object_set_new(record, "word_signal", json_integer(HANDOVER_SIGNAL));
	json_object_set_new(record, "began", json_integer(j->began_wall_ms));
	json_set_string(record, "progress", j->progress);
	json_object_set_new(record, "start_time", json_integer((json_int_t)j->worker.start_time));
	json_object_set(record, "report", j->report);
	if (j->phase == LEASE_COMPLETING && j->conclusion != NULL) {
		json_object_set_new(record, "conclusion", json_string(j->conclusion));
		json_set_string(record, "explanation", j->explanation);
	}
	_cleanup_free_ char *id = xasprintf("%s%s", kept_prefix, j->run.job_id), *text = json_text(record);
	struct err err = ERR_INIT;
	/* The job runs without it; only the recovery from a crash is less complete. */
	if (seal_write(j->listener->store->dir, id, text, strlen(text), &err) < 0)
		log_err(&err);
	explicit_bzero(text, strlen(text));
}

void recovery_forget_job(const struct lease *j)
{
	if (j->listener->store == NULL || j->run.job_id == NULL)
		return;
	_cleanup_free_ char *id = xasprintf("%s%s", kept_prefix, j->run.job_id);
	(void)seal_erase(j->listener->store->dir, id, NULL);
}

/* The registration that a job came by; NULL: it is not here any more, or the record does not say. */
static struct endpoint *endpoint_of(const struct listener *l, const char *id)
{
	for (size_t i = 0; id != NULL && i < l->endpoint_count; i++)
		if (l->endpoints[i]->id != NULL && strcmp(l->endpoints[i]->id, id) == 0)
			return l->endpoints[i];
	return NULL;
}

static void adopt(struct listener *l, const char *id)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(KEPT_MAX);
	_cleanup_json_ json_t *record = NULL;
	struct err err = ERR_INIT;
	int r = seal_read(l->store->dir, id, &text, &err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, KEPT_MAX, &record, &err);
	if (r < 0) {
		err_wrap(&err, r, "read a previous agent's record of a job");
		log_err(&err);
		(void)seal_erase(l->store->dir, id, NULL);
		return;
	}
	struct run_job run = {.url = NULL};
	if (run_job_load(record, &run, &err) < 0) {
		(void)seal_erase(l->store->dir, id, NULL);
		return;
	}
	struct endpoint *renewer = endpoint_of(l, json_get_string(record, "registration"));
	lease_adopt(l, &run, renewer, record);
}

static void closedirp(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static void adopt_all(struct listener *l)
{
	_cleanup_free_ char *path = fs_join(l->store->dir, "sealed");
	_cleanup_(closedirp) DIR *dir = opendir(path);
	_cleanup_(strv_done) struct strv ids = {0};
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		if (str_starts(entry->d_name, kept_prefix) && strchr(entry->d_name, '.') == NULL)
			strv_add(&ids, entry->d_name);
	for (size_t i = 0; i < ids.count; i++)
		adopt(l, ids.items[i]);
}

/* One that has begun, or that follows once what a dead worker left is gone: that one tells on the commit what it found. */
static bool has_recovery_for(const struct listener *l, const char *user)
{
	for (const struct recovery *r = l->recoveries; r != NULL; r = r->next)
		if (is_of(r->user, user))
			return true;
	for (const struct lease *j = l->jobs; j != NULL; j = j->next)
		if (j->phase == LEASE_CLEARING && is_of(j->user, user))
			return true;
	return false;
}

void recovery_at_start(struct listener *l)
{
	if (l->store != NULL) {
		struct err err = ERR_INIT;
		if (seal_sweep(l->store->dir, &err) < 0)
			log_err(&err);
		adopt_all(l);
	}
	for (size_t i = 0; i < l->endpoint_count; i++) {
		const char *user = l->endpoints[i]->reg.worker_user;
		delivery_at_start(l, user);
		if (has_recovery_for(l, user))
			continue;
		struct err err = ERR_INIT;
		_cleanup_free_ char *state = listener_state_dir(l, user, &err);
		/* Without a journal there is no deployment. Another user's directory is checked by that user. */
		if (user != NULL || (state != NULL && store_is_there(state)))
			recovery_add(l, NULL, user, NULL);
	}
}
