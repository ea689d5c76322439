/* What the message of a job says about where it comes from. GitHub made it: names in it are others' all the same. */
#include "agent/admission/admission.h"

#include <string.h>
#include <strings.h>

#include "agent/service/wire.h"
#include "agent/template/context_data.h"
#include "agent/template/eval.h"

static char *text_of(const json_t *object, const char *name)
{
	const char *text = json_get_string(object, name);
	return xstrdup(text != NULL ? text : "");
}

/* ".github/workflows/ci.yml" of "octo/demo/.github/workflows/ci.yml@refs/heads/main". free() */
static char *workflow_path(const char *workflow_ref, const char *repository)
{
	size_t front = strlen(repository);
	if (front > 0 && strncasecmp(workflow_ref, repository, front) == 0 && workflow_ref[front] == '/')
		workflow_ref += front + 1;
	return xstrndup(workflow_ref, strcspn(workflow_ref, "@"));
}

/* The repository that a side of the event is from, where that is another one. A fork that is gone has no repository any more. free() */
static char *stranger(const json_t *from, const char *repository, const char *id)
{
	const char *name = json_get_string(from, "full_name");
	const json_t *number = json_object_get(from, "id");
	_cleanup_free_ char *its_id =
		json_is_integer(number) ? xasprintf("%lld", (long long)json_integer_value(number)) : NULL;
	if (name == NULL)
		return xstrdup("a repository that is gone");
	bool same = strcasecmp(name, repository) == 0 && (its_id == NULL || id == NULL || strcmp(its_id, id) == 0);
	return same ? NULL : xstrdup(name);
}

/* Events of pull requests say whose code they bring, and so do those of runs, which may have been started by a fork's pull request. */
static char *find_fork(const json_t *github, const char *event, const char *repository)
{
	const json_t *payload = json_get_object(github, "event"), *run = json_get_object(payload, "workflow_run"),
		     *pull = json_get_object(payload, "pull_request");
	const char *id = json_get_string(github, "repository_id");
	if (pull != NULL || str_starts(event, "pull_request"))
		return stranger(json_get_object(json_get_object(pull, "head"), "repo"), repository, id);
	if (run != NULL || strcmp(event, "workflow_run") == 0)
		return stranger(json_get_object(run, "head_repository"), repository, id);
	return NULL;
}

static bool is_public(const json_t *github)
{
	const json_t *repository = json_get_object(json_get_object(github, "event"), "repository");
	const char *visibility = json_get_string(github, "repository_visibility");
	if (visibility == NULL)
		visibility = json_get_string(repository, "visibility");
	if (visibility == NULL)
		return !json_get_bool(repository, "private", false);
	return strcasecmp(visibility, "private") != 0 && strcasecmp(visibility, "internal") != 0;
}

static json_t *references_of(const json_t *message)
{
	json_t *list = json_array();
	size_t i;
	json_t *step;
	json_array_foreach(wire_get(message, "steps"), i, step)
	{
		json_t *reference = wire_get(step, "reference");
		json_array_append(list, reference != NULL ? reference : json_null());
	}
	return list;
}

void admission_job_read(const json_t *github, const json_t *message, struct admission_job *ret)
{
	_cleanup_free_ char *workflow_ref = text_of(github, "workflow_ref");
	*ret = (struct admission_job){
		.repository = text_of(github, "repository"),
		.ref = text_of(github, "ref"),
		.event = text_of(github, "event_name"),
		.actor = text_of(github, "actor"),
		.triggering_actor = text_of(github, "triggering_actor"),
		.is_public = is_public(github),
	};
	ret->workflow = workflow_path(workflow_ref, ret->repository);
	ret->fork = find_fork(github, ret->event, ret->repository);
	if (message != NULL) {
		ret->references = references_of(message);
		ret->contained = !template_is_null(wire_get(message, "jobContainer")) ||
		                 !template_is_null(wire_get(message, "jobServiceContainers"));
	}
}

int admission_job_of_message(const json_t *message, struct admission_job *ret, struct err *err)
{
	_cleanup_json_ json_t *github = NULL;
	const json_t *data = wire_get(wire_get(message, "contextData"), "github");
	int r = data == NULL ? err_set(err, ERR_PROTOCOL, "the message has none")
	                     : context_data_decode(data, &github, err);
	if (r >= 0 && !json_is_object(github))
		r = err_set(err, ERR_PROTOCOL, "it is no map");
	if (r < 0)
		return err_wrap(err, r, "the context 'github' of the job");
	admission_job_read(github, message, ret);
	return 0;
}

void admission_job_done(struct admission_job *job)
{
	free(job->repository);
	free(job->workflow);
	free(job->ref);
	free(job->event);
	free(job->actor);
	free(job->triggering_actor);
	free(job->fork);
	json_decref(job->references);
	*job = (struct admission_job){0};
}
