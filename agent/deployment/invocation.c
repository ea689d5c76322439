#include "agent/deployment/invocation.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/deployment/session.h"
#include "agent/deployment/values.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"
#include "base/secret/mask.h"
#include "base/data/walls_told.h"

enum { DOCUMENT_MAX = 8 << 20, EVENT_MAX = 32 << 20, ID_MAX = 256 };

static char *copy_member(const json_t *job, const char *key)
{
	json_t *value = json_object_get(job, key);
	if (json_is_integer(value))
		return xasprintf("%lld", (long long)json_integer_value(value));
	const char *text = json_string_value(value);
	return text && *text ? xstrdup(text) : NULL;
}

static char *join_key(const char *const *parts, size_t count)
{
	struct str key _cleanup_(str_done) = STR_INIT(8192);
	for (size_t i = 0; i < count; i++)
		str_appendf(&key, "%s%s", i ? "\x1f" : "", parts[i] ? parts[i] : "");
	return str_take(&key);
}

/* As GitHub's events have it. What is missing stays NULL: then it is from nowhere, and no plan of it counts. */
static void read_pull(const json_t *pull, struct invocation_pull *ret)
{
	const json_t *head = json_get_object(pull, "head");
	ret->number = json_get_int(pull, "number", 0);
	ret->head = xstrdup(json_get_string(head, "sha"));
	ret->repository = xstrdup(json_get_string(json_get_object(head, "repo"), "full_name"));
}

static void read_job(const json_t *job, struct invocation *ret)
{
	static const char *const parts[] = {"server", "repository", "run_id",     "attempt",
	                                    "job",    "matrix",     "tracking_id"};
	char *texts[ARRAY_SIZE(parts)];
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		texts[i] = copy_member(job, parts[i]);
		if (texts[i] == NULL && json_is_object(json_object_get(job, parts[i])))
			texts[i] = json_canonical(json_object_get(job, parts[i]));
	}
	ret->present = ret->runner_decides = true;
	ret->key = join_key((const char *const *)texts, ARRAY_SIZE(parts));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		free(texts[i]);
	ret->repository = copy_member(job, "repository");
	ret->run_url = copy_member(job, "run_url");
	ret->api_url = copy_member(job, "api_url");
	ret->token = copy_member(job, "token");
	ret->commit = copy_member(job, "commit");
	ret->ref = copy_member(job, "ref");
	ret->actor = copy_member(job, "actor");
	ret->workspace = copy_member(job, "workspace");
	ret->environment = copy_member(job, "environment");
	ret->on_failure = copy_member(job, "on_failure");
	ret->status = copy_member(job, "status");
	ret->env = json_incref(json_get_object(job, "env"));
	read_pull(json_get_object(job, "pull_request"), &ret->pull);
	if (ret->token != NULL)
		mask_add(mask_process(), ret->token, strlen(ret->token));
	const char *key;
	json_t *value;
	size_t index;
	ret->secrets_known = json_object_get(job, "masks") != NULL || json_object_get(job, "secrets") != NULL;
	ret->masked = json_array();
	json_array_foreach(json_object_get(job, "masks"), index, value) json_array_append(ret->masked, value);
	json_object_foreach(json_object_get(job, "secrets"), key, value) json_array_append(ret->masked, value);
	json_array_foreach(ret->masked, index, value) deployment_values_mask(value);
}

/* Commands of a deployment on this machine are as foreign to other jobs as the job's own scripts. They get no walls for signals:
 * the next deployment must be able to end a command that a dead one left. */
static int keep_apart(json_t *isolation, struct err *err)
{
	if (isolation == NULL)
		return 0;
	_cleanup_json_ json_t *told = json_copy(isolation);
	json_object_set_new(told, "signals", json_false());
	int r = walls_told_raise(told, err);
	return r < 0 ? err_wrap(err, r, "keep this job apart from those of other repositories") : 0;
}

int invocation_read_document(const char *data, size_t len, struct invocation *ret, json_t **ret_input, bool *ret_text,
                             struct err *err)
{
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	json_t *root _cleanup_json_ = NULL;
	struct err ignored = ERR_INIT;
	limits.max_bytes = DOCUMENT_MAX;
	limits.keep_octal = true;
	int r = json_parse(data, len, DOCUMENT_MAX, &root, &ignored);
	if (r < 0) {
		r = yaml_read("standard input", data, len, &limits, &doc, err);
		if (r < 0)
			return r;
		root = json_deep_copy(yaml_root(doc));
	}
	*ret_text = false;
	if (json_is_null(root)) {
		*ret_input = json_object();
		return 0;
	}
	if (!json_is_object(root))
		return err_set(err, ERR_INVALID, "the input is not a map");
	json_t *job = json_get_object(root, "job");
	json_t *input = json_object_get(root, "input");
	if (input == NULL)
		input = json_object_get(root, "deploy");
	if (job == NULL || !json_is_object(input) || json_object_size(root) != 2) {
		*ret_input = json_incref(root);
		return 0;
	}
	read_job(job, ret);
	*ret_input = json_incref(input);
	*ret_text = true;
	return keep_apart(json_get_object(job, "isolation"), err);
}

static void read_event_file(struct invocation *ret)
{
	const char *name = getenv("GITHUB_EVENT_NAME"), *path = getenv("GITHUB_EVENT_PATH");
	_cleanup_(str_done) struct str text = STR_INIT(EVENT_MAX);
	_cleanup_json_ json_t *event = NULL;
	if (name == NULL || path == NULL || !str_starts(name, "pull_request") ||
	    fs_read_plain(AT_FDCWD, path, EVENT_MAX, &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, EVENT_MAX, &event, NULL) < 0)
		return;
	read_pull(json_get_object(event, "pull_request"), &ret->pull);
}

void invocation_from_environment(struct invocation *ret)
{
	static const char *const parts[] = {"GITHUB_SERVER_URL",  "GITHUB_REPOSITORY", "GITHUB_RUN_ID",
	                                    "GITHUB_RUN_ATTEMPT", "GITHUB_JOB",        "DAVIT_MATRIX",
	                                    "RUNNER_TRACKING_ID"};
	const char *texts[ARRAY_SIZE(parts)];
	const char *actions = getenv("GITHUB_ACTIONS");
	if (actions == NULL || strcmp(actions, "true") != 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		texts[i] = getenv(parts[i]);
	ret->present = true;
	ret->key = join_key(texts, ARRAY_SIZE(parts));
	ret->repository = xstrdup(getenv("GITHUB_REPOSITORY"));
	ret->api_url = xstrdup(getenv("GITHUB_API_URL"));
	ret->commit = xstrdup(getenv("GITHUB_SHA"));
	ret->ref = xstrdup(getenv("GITHUB_REF"));
	ret->actor = xstrdup(getenv("GITHUB_ACTOR"));
	ret->workspace = xstrdup(getenv("GITHUB_WORKSPACE"));
	read_event_file(ret);
	const char *token = getenv("INPUT_TOKEN");
	if (token != NULL && *token != '\0') {
		ret->token = xstrdup(token);
		mask_add(mask_process(), token, strlen(token));
	}
	if (texts[0] != NULL && texts[1] != NULL && texts[2] != NULL)
		ret->run_url = xasprintf("%s/%s/actions/runs/%s", texts[0], texts[1], texts[2]);
}

static char *input_variable(const char *name)
{
	char *variable = xasprintf("INPUT_%s", name);
	for (char *p = variable; *p != '\0'; p++)
		*p = *p == ' ' ? '_' : (char)toupper((unsigned char)*p);
	return variable;
}

static void take_input(json_t *into, const char *name)
{
	_cleanup_free_ char *variable = input_variable(name);
	char *value = getenv(variable);
	if (value == NULL)
		return;
	/* A missing input of an action arrives as an empty string. */
	if (*value != '\0')
		json_object_set_new(into, name, json_string_lossy(value, strlen(value)));
	explicit_bzero(value, strlen(value));
	unsetenv(variable);
}

json_t *invocation_inputs_from_environment(const struct field_table *table)
{
	json_t *inputs = json_object();
	const char *name;
	for (size_t i = 0; (name = fields_input(table, i)) != NULL; i++)
		take_input(inputs, name);
	return inputs;
}

json_t *invocation_inputs_by_name(const char *const *names, size_t count)
{
	json_t *inputs = json_object();
	for (size_t i = 0; i < count; i++)
		take_input(inputs, names[i]);
	return inputs;
}

static int append_file(const char *variable, const char *text, size_t len, struct err *err)
{
	const char *path = getenv(variable);
	if (path == NULL || *path == '\0')
		return 0;
	int fd _cleanup_close_ = fs_open_plain(AT_FDCWD, path, O_WRONLY | O_APPEND, err);
	if (fd < 0)
		return err_wrap(err, fd, "open the file of %s", variable);
	return fs_write_all(fd, text, len, err);
}

int invocation_write_outputs(const json_t *outputs, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_INIT(1 << 20);
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)outputs, name, value)
	{
		char delimiter[33];
		rand_hex(delimiter, 32);
		str_appendf(&text, "%s<<%s\n%s\n%s\n", name, delimiter,
		            json_is_string(value) ? json_string_value(value) : "", delimiter);
	}
	return append_file("GITHUB_OUTPUT", str_peek(&text), text.len, err);
}

int invocation_write_summary(const char *markdown, struct err *err)
{
	struct str masked _cleanup_(str_done) = STR_INIT(1 << 20);
	mask_apply(mask_process(), markdown, strlen(markdown), &masked);
	return append_file("GITHUB_STEP_SUMMARY", str_peek(&masked), masked.len, err);
}

static char *id_path(void)
{
	const char *temp = getenv("RUNNER_TEMP");
	return temp != NULL && temp[0] == '/' ? fs_join(temp, "davit/deployment") : NULL;
}

void invocation_keep_id(void *context, const char *id)
{
	struct deployment_session *session = context;
	_cleanup_free_ char *path = id_path(), *line = xasprintf("%s\n", id);
	if (path == NULL)
		return;
	struct err err = ERR_INIT;
	char text[ERR_FRAME_SIZE];
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, &err);
	if (r >= 0)
		r = fs_write_atomic(AT_FDCWD, path, line, strlen(line), 0600, &err);
	if (r < 0)
		session->options.report(session->options.report_context, "warning", err_line(&err, text, sizeof(text)));
}

char *invocation_kept_id(void)
{
	_cleanup_free_ char *path = id_path();
	struct str text _cleanup_(str_done) = STR_INIT(ID_MAX);
	struct err ignored = ERR_INIT;
	if (path == NULL || fs_read_plain(AT_FDCWD, path, ID_MAX, &text, &ignored) < 0)
		return NULL;
	str_truncate(&text, strcspn(str_peek(&text), "\r\n"));
	return text.len > 0 ? str_take(&text) : NULL;
}

static char *in_form(const char *from)
{
	struct str name _cleanup_(str_done) = STR_INIT(64);
	for (; from != NULL && *from != '\0' && name.len < 63; from++) {
		char c = (char)tolower((unsigned char)*from);
		bool plain = isalnum((unsigned char)c), fits = plain || strchr("._-", c) != NULL;
		if (plain || name.len > 0)
			str_append_c(&name, fits ? c : '-');
	}
	return name.len > 0 ? str_take(&name) : NULL;
}

char *invocation_default_name(const struct invocation *job)
{
	const char *slash = job->repository ? strrchr(job->repository, '/') : NULL;
	return in_form(slash ? slash + 1 : job->repository);
}

char *invocation_default_environment(const struct invocation *job)
{
	return in_form(job->environment);
}

void invocation_done(struct invocation *job)
{
	char **const members[] = {&job->key,    &job->repository, &job->run_url,     &job->api_url,        &job->token,
	                          &job->commit, &job->workspace,  &job->environment, &job->on_failure,     &job->status,
	                          &job->ref,    &job->actor,      &job->pull.head,   &job->pull.repository};
	json_decrefp(&job->env);
	json_decrefp(&job->masked);
	if (job->token != NULL)
		explicit_bzero(job->token, strlen(job->token));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		freep(members[i]);
	job->present = false;
}
