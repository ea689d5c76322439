/* finish: the end of a job: decides its deployment, evaluates outputs, ends left-over processes. */
#include "agent/worker/worker_priv.h"

#include "agent/service/wire.h"
#include "agent/worker/message.h"
#include "agent/actions/resolve.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/types.h>
#include <unistd.h>

enum {
	REPORT_RESERVE_MS = 15000,  /* of the listener's time limit: for the last messages */
	DECIDE_MS = 60 * 60 * 1000, /* commit, or undo with its retries */
	ENVIRON_MAX = 1 << 20,
	ID_MAX = 64,
	EXIT_HELD = 4,
};

/* ---- the deployment ---- */

/* That of the deployment which a step opened last. The job's own programs can write there too: only what looks like an id is one. */
static char *deployment_id(const struct job *j)
{
	_cleanup_(str_done) struct str text = STR_INIT(ID_MAX + 1);
	_cleanup_close_ int temp = open(j->temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (temp < 0 || fs_read_beneath(temp, "davit/deployment", ID_MAX, &text, NULL) < 0)
		return NULL;
	str_truncate(&text, strcspn(str_peek(&text), "\r\n"));
	bool is_id = text.len > 0 && strspn(str_peek(&text), "0123456789abcdefT-") == text.len;
	return is_id ? str_take(&text) : NULL;
}

/* Time for the decision: bounded by the listener's time limit, since the job must be reported before that. */
static int64_t decision_limit(const struct job *j)
{
	if (j->cancel.deadline_mono_ms == 0)
		return DECIDE_MS;
	return MAX(j->cancel.deadline_mono_ms - REPORT_RESERVE_MS - clock_mono_ms(), 1000);
}

static void undo_goes_on(struct job *j, struct record *r)
{
	char *id = deployment_id(j);
	j->undo_continues = id != NULL ? id : xstrdup("the deployment of this job");
	record_error(
		j, r,
		"The time of the cancelled job is up: the undo continues as %s. `davit show %s` tells how it ends.",
		j->undo_continues, id != NULL ? id : "ID");
}

void job_decide(struct job *j)
{
	struct record *r = j->decide;
	_cleanup_free_ char *status = xstrdup(json_get_string(j->job_context, "status"));
	_cleanup_json_ json_t *inputs = json_pack("{s:s}", "status", status);
	const char *on_failure = json_get_string(j->settings, "on_failure");
	if (on_failure != NULL && on_failure[0] != '\0')
		json_object_set_new(inputs, "on_failure", json_string(on_failure));
	struct uses uses = {.kind = USES_TYPED, .step = (char *)"finish", .shown = (char *)"finish"};
	struct err err = ERR_INIT;
	enum process_end end = PROCESS_EXITED;
	int exit_status = 0;
	r->type = xstrdup("runner");
	r->action_name = xstrdup("finish");
	record_start(j, r);
	r->env = json_copy(j->global_env);
	record_line(j, r, "The job's status is %s", status);
	int e = effects_create_files(j, r, &err);
	if (e == 0)
		e = typed_run(j, r, &uses, inputs, decision_limit(j), true, &end, &exit_status, &err);
	effects_read_files(j, r);
	enum result result = RESULT_SUCCEEDED;
	if (e < 0) {
		char line[1024];
		record_error(j, r, "The deployment was not decided: %s. `davit history` shows it.",
		             err_line(&err, line, sizeof(line)));
		result = RESULT_FAILED;
	} else if (end != PROCESS_EXITED) {
		undo_goes_on(j, r);
		result = RESULT_CANCELED;
	} else if (exit_status == EXIT_HELD) {
		record_error(j, r, "The deployment is not as it was before: a person is needed (see above).");
		result = RESULT_FAILED;
	} else if (exit_status != 0 && strcmp(status, "success") == 0) {
		result = RESULT_FAILED;
	}
	record_complete(j, r, result);
	if (result == RESULT_FAILED)
		job_set_result(j, RESULT_FAILED);
}

/* ---- "Complete job" ---- */

static void eval_outputs(struct job *j, struct record *r)
{
	const json_t *token = wire_get(j->message, "jobOutputs");
	_cleanup_json_ json_t *texts = json_object();
	struct template_scope scope = j->scope;
	struct err err = ERR_INIT;
	char line[2048];
	const char *name;
	json_t *value;
	if (template_is_null(token))
		return;
	scope.expr.status = NULL;
	scope.expr.hash_files = NULL;
	record_line(j, r, "Evaluate and set job outputs");
	if (template_eval_strings(token, &scope, texts, &err) < 0) {
		record_error(j, r, "Fail to evaluate job outputs");
		record_error(j, r, "%s", err_line(&err, line, sizeof(line)));
		job_set_result(j, RESULT_FAILED);
		return;
	}
	json_object_foreach(texts, name, value)
	{
		if (json_string_length(value) == 0) {
			record_debug(j, r, "Skip output '%s' since it's empty", name);
		} else if (mask_finds(j->mask, json_string_value(value), json_string_length(value))) {
			char text[300];
			snprintf(text, sizeof(text), "Skip output '%s' since it may contain secret.", name);
			record_issue(j, r, ISSUE_WARNING, text, NULL);
		} else {
			record_line(j, r, "Set output '%s'", name);
			json_object_set_new(j->outputs, name, json_pack("{s:O}", "value", value));
		}
	}
}

static void eval_url(struct job *j, struct record *r)
{
	const json_t *token = wire_get(wire_get(j->message, "actionsEnvironment"), "url");
	_cleanup_json_ json_t *text = NULL, *contexts = json_copy(j->contexts);
	struct template_scope scope = j->scope;
	struct err err = ERR_INIT;
	char line[2048];
	if (template_is_null(token))
		return;
	json_object_set_new(contexts, "secrets", json_null());
	scope.expr.contexts = contexts;
	scope.expr.status = NULL;
	record_line(j, r, "Evaluate and set environment url");
	if (template_eval_string(token, &scope, &text, &err) < 0) {
		record_error(j, r, "Failed to evaluate environment url");
		record_error(j, r, "%s", err_line(&err, line, sizeof(line)));
		job_set_result(j, RESULT_FAILED);
	} else if (mask_finds(j->mask, json_string_value(text), json_string_length(text))) {
		record_issue(j, r, ISSUE_WARNING, "Skip setting environment url as environment may contain secret.",
		             NULL);
	} else if (json_string_length(text) > 0) {
		record_line(j, r, "Evaluated environment url: %s", json_string_value(text));
		j->environment_url = xstrdup(json_string_value(text));
	}
}

/* True if its environment holds RUNNER_TRACKING_ID=… of this job. `buf` serves all processes, since there may be thousands.
 */
static bool is_ours(const struct job *j, pid_t pid, char *buf, size_t *used)
{
	char path[64];
	size_t len = 0, name = strlen("RUNNER_TRACKING_ID=");
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t n; fd >= 0 && len < ENVIRON_MAX && (n = read(fd, buf + len, ENVIRON_MAX - len)) > 0;)
		len += (size_t)n;
	buf[len] = '\0';
	*used = MAX(*used, len);
	for (size_t at = 0; at < len; at += strlen(buf + at) + 1)
		if (strncmp(buf + at, "RUNNER_TRACKING_ID=", name) == 0 &&
		    strcasecmp(buf + at + name, j->tracking_id) == 0)
			return true;
	return false;
}

static void process_name(pid_t pid, char *name, size_t size)
{
	char path[64];
	_cleanup_(str_done) struct str text = STR_INIT(256);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fs_read(AT_FDCWD, path, 255, &text, NULL);
	snprintf(name, size, "%s", str_peek(&text));
	name[strcspn(name, "\n")] = '\0';
}

static void end_orphans(struct job *j, struct record *r)
{
	if (!message_flag(j->message, "process.clean", true))
		return;
	record_line(j, r, "Cleaning up orphan processes");
	DIR *dir = opendir("/proc");
	if (dir == NULL)
		return;
	struct dirent *entry;
	char *buf = xmalloc(ENVIRON_MAX + 1);
	size_t used = 0; /* of it; the rest is never touched, nor wiped */
	while ((entry = readdir(dir)) != NULL) {
		long long pid;
		char name[64];
		if (!str_parse_i64(entry->d_name, 2, INT32_MAX, &pid) || pid == getpid() || pid == getppid() ||
		    !is_ours(j, (pid_t)pid, buf, &used))
			continue;
		process_name((pid_t)pid, name, sizeof(name));
		record_line(j, r, "Terminate orphan process: pid (%lld) (%s)", pid, name);
		kill((pid_t)pid, SIGKILL);
	}
	explicit_bzero(buf, used);
	free(buf);
	closedir(dir);
}

void job_complete(struct job *j)
{
	struct record *r = record_new(j, NULL, "Complete job");
	r->frame = true;
	j->complete = r;
	r->type = xstrdup("runner");
	r->action_name = xstrdup("complete_job");
	record_start(j, r);
	json_object_set(j->contexts, "env", j->global_env);
	eval_outputs(j, r);
	eval_url(j, r);
	end_orphans(j, r);
	record_complete(j, r, RESULT_SUCCEEDED);
}
