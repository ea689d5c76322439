/* The forge's life: configuration, start, the ticking clock, the end. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TICK_MS = 250, SECRETS_MAX = 4 << 20 };

static void append_strings(json_t *to, const json_t *from)
{
	if (json_is_object(from))
		json_object_update(to, (json_t *)(uintptr_t)from);
}

/* {"owner/name": {"secrets": {…}, "vars": {…}, "environments": {…}}, "*": {…}} */
static int load_secrets(struct forge *f, const char *path, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SECRETS_MAX);
	_cleanup_json_ json_t *all = NULL;
	int r = fs_read(AT_FDCWD, path, SECRETS_MAX, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, SECRETS_MAX, &all, err);
	if (r < 0)
		return err_wrap(err, ERR_INVALID, "the secrets '%s'", path);
	const char *name;
	json_t *entry;
	json_object_foreach(all, name, entry)
	{
		if (strcmp(name, "*") == 0) {
			f->defaults = json_incref(entry);
			continue;
		}
		const char *slash = strchr(name, '/');
		_cleanup_free_ char *owner = xstrndup(name, slash ? (size_t)(slash - name) : 0);
		struct forge_repo *repo = slash ? forge_repo_find(f, owner, slash + 1) : NULL;
		if (!repo)
			return err_set(err, ERR_INVALID,
			               "the secrets '%s' name the repository '%s', which is not served", path, name);
		append_strings(repo->secrets, json_object_get(entry, "secrets"));
		append_strings(repo->vars, json_object_get(entry, "vars"));
		append_strings(repo->environments, json_object_get(entry, "environments"));
	}
	return 0;
}

static int announce(struct forge *f, struct err *err)
{
	_cleanup_free_ char *line = xasprintf("%s\n", f->base);
	_cleanup_free_ char *port = xasprintf("%d\n", f->config.port);
	int r = 0;
	if (f->config.ca_file)
		r = fs_write_replace(AT_FDCWD, f->config.ca_file, f->certificate, strlen(f->certificate), 0644, err);
	if (r >= 0 && f->config.port_file)
		r = fs_write_replace(AT_FDCWD, f->config.port_file, port, strlen(port), 0644, err);
	if (r >= 0 && f->config.ready_fd >= 0)
		r = fs_write_all(f->config.ready_fd, line, strlen(line), err);
	printf("%s", line);
	if (!f->config.token)
		printf("token for other users of this machine: %s\n", f->token);
	fflush(stdout);
	return r;
}

static void free_job(struct forge_job *job)
{
	json_t *values[] = {job->message,     job->permissions, job->steps,     job->live,   job->held,
	                    job->annotations, job->outputs,     job->telemetry, job->matrix, job->strategy};
	for (size_t v = 0; v < ARRAY_SIZE(values); v++)
		json_decref(values[v]);
	char *texts[] = {job->name, job->environment, job->environment_url, job->group, job->raw_conclusion};
	for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
		free(texts[t]);
	strv_done(&job->labels);
	free(job);
}

static void free_run(struct forge_run *run)
{
	for (size_t i = 0; i < run->job_count; i++)
		free_job(run->jobs[i]);
	for (size_t i = 0; i < run->former_count; i++)
		free_job(run->former[i]);
	for (struct forge_call *call = run->calls, *next; call != NULL; call = next) {
		next = call->next;
		forge_call_free(call);
	}
	workflow_free(run->workflow);
	char *texts[] = {run->path, run->name,   run->title, run->event, run->ref,
	                 run->sha,  run->before, run->group, run->actor};
	for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
		free(texts[t]);
	json_decref(run->payload);
	json_decref(run->inputs);
	json_decref(run->annotations);
	json_decref(run->attempts);
	json_decref(run->reviews);
	free(run->jobs);
	free(run->former);
	free(run);
}

static void free_repo(struct forge_repo *repo)
{
	json_t *values[] = {repo->secrets,
	                    repo->vars,
	                    repo->environments,
	                    repo->comments,
	                    repo->issue_comments,
	                    repo->deployments,
	                    repo->deployment_statuses,
	                    repo->statuses,
	                    repo->check_runs,
	                    repo->issues,
	                    repo->pulls};
	for (size_t v = 0; v < ARRAY_SIZE(values); v++)
		json_decref(values[v]);
	free(repo->owner);
	free(repo->name);
	free(repo->full_name);
	free(repo->dir);
	pthread_mutex_destroy(&repo->push_lock);
	free(repo);
}

static void free_runner(struct forge_runner *runner)
{
	char *texts[] = {runner->name, runner->scope, runner->version, runner->public_key, runner->status, runner->os};
	for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
		free(texts[t]);
	strv_done(&runner->labels);
	json_decref(runner->label_objects);
	json_decref(runner->queue);
	EVP_PKEY_free(runner->key);
	free(runner);
}

static void forge_free(struct forge *f)
{
	for (size_t i = 0; i < f->run_count; i++)
		free_run(f->runs[i]);
	for (size_t i = 0; i < f->runner_count; i++)
		free_runner(f->runners[i]);
	for (size_t i = 0; i < f->token_count; i++) {
		free(f->tokens[i]->text);
		free(f->tokens[i]->scope);
		json_decref(f->tokens[i]->permissions);
		json_decref(f->tokens[i]->repositories);
		free(f->tokens[i]);
	}
	for (size_t i = 0; i < f->blob_count; i++)
		forge_blob_free(f->blobs[i]);
	for (size_t i = 0; i < f->artifact_count; i++)
		artifacts_free(f->artifacts[i]);
	for (size_t i = 0; i < f->cache_count; i++)
		caches_free(f->caches[i]);
	for (size_t i = 0; i < f->stored_count; i++)
		storage_free(f->stored[i]);
	for (size_t i = 0; i < f->repo_count; i++)
		free_repo(f->repos[i]);
	for (size_t i = 0; i < f->fault_count; i++) {
		free(f->faults[i].path);
		free(f->faults[i].method);
		free(f->faults[i].body);
		json_decref(f->faults[i].headers);
	}
	void *arrays[] = {f->runs,   f->runners,   f->tokens, f->blobs, f->repos,
	                  f->faults, f->artifacts, f->caches, f->stored};
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		free(arrays[i]);
	json_t *values[] = {f->apps,    f->complaints, f->requests,     f->events,        f->used_jti,  f->defaults,
	                    f->origins, f->variables,  f->workflow_ids, f->workflows_off, f->run_events};
	for (size_t v = 0; v < ARRAY_SIZE(values); v++)
		json_decref(values[v]);
	if (f->local != NULL)
		close(f->local->fd);
	free(f->local);
	free(f->base);
	free(f->server_url);
	free(f->certificate);
	free(f->certificate_key);
	pthread_mutex_destroy(&f->lock);
	pthread_mutex_destroy(&f->pull_lock);
	free(f);
}

static int prepare(struct forge *f, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < f->config.repos.count && r >= 0; i++)
		r = forge_repo_add(f, f->config.repos.items[i], err);
	if (r >= 0 && f->config.secrets_file)
		r = load_secrets(f, f->config.secrets_file, err);
	if (r >= 0 && f->config.state_dir)
		r = fs_mkdirs(AT_FDCWD, f->config.state_dir, 0755, err);
	if (r >= 0 && f->config.tls)
		r = forge_make_certificate(f, err);
	return r < 0 ? r : forge_listen(f, err);
}

static struct forge *forge_new(const struct forge_config *config)
{
	struct forge *f = xcalloc(1, sizeof(*f));
	f->config = *config;
	f->next_id = 1000;
	if (f->config.cache_bytes == 0)
		f->config.cache_bytes = (int64_t)10 << 30;
	if (f->config.storage_bytes == 0)
		f->config.storage_bytes = (int64_t)40 << 30;
	f->apps = json_object();
	f->complaints = json_array();
	f->requests = json_array();
	f->events = json_array();
	f->used_jti = json_object();
	f->origins = json_object();
	f->variables = json_object();
	f->workflow_ids = json_object();
	f->workflows_off = json_object();
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->pull_lock, NULL);
	rand_fill(f->key, sizeof(f->key));
	rand_uuid4(f->token);
	return f;
}

int forge_open(const struct forge_config *config, struct forge **ret, struct err *err)
{
	struct forge *f = forge_new(config);
	int r = prepare(f, err);
	if (r < 0)
		forge_close(f);
	else
		*ret = f;
	return r;
}

void forge_close(struct forge *f)
{
	forge_unlisten(f);
	forge_free(f);
}

int forge_run(const struct forge_config *config, int cancel_fd, struct err *err)
{
	struct forge *f = NULL;
	int r = forge_open(config, &f, err);
	if (r < 0)
		return r;
	r = announce(f, err);
	struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
	while (r >= 0) {
		int n = poll(&p, 1, TICK_MS);
		if (n > 0 || (n < 0 && errno != EINTR))
			break;
		pthread_mutex_lock(&f->lock);
		forge_tick(f);
		pthread_mutex_unlock(&f->lock);
		events_begin(f);
	}
	forge_close(f);
	return r;
}
