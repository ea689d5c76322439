/* The host's policy, asked before anything of a commit is fetched. A deployment file holds typed steps only. */
#include "agent/watch/watch_priv.h"

#include <string.h>

#include "agent/admission/admission.h"
#include "agent/listener/records.h"

static int read_policy(const struct place *p, struct admission **ret, struct err *err)
{
	struct records store = {0};
	struct err ignored = ERR_INIT;
	if (p->options->policy == NULL)
		(void)records_open(false, &store, &ignored);
	_cleanup_free_ char *path = admission_path(p->options->policy, store.dir);
	records_done(&store);
	return admission_read(path, ret, err);
}

/* The context `github` that a workflow's job of this event would have. Who pushed a branch is not known: what a commit says of its author anybody can
 * write. */
static json_t *context_of(const struct place *p, const json_t *repository)
{
	const json_t *current = place_current(p);
	const char *ref = json_get_string(current, "ref");
	bool whole = ref[strspn(ref, "0123456789abcdef")] != '\0' && !str_starts(ref, "refs/");
	json_t *github =
		json_pack("{s:s, s:s, s:s, s:s, s:{s:O}}", "event_name", p->branch != NULL ? "push" : "deployment",
	                  "repository", p->repository, "actor", json_get_string(current, "actor"), "sha",
	                  json_get_string(current, "sha"), "event", "repository", repository);
	json_object_set_new(github, "ref", json_stringf("%s%s", whole ? "refs/heads/" : "", ref));
	json_object_set_new(github, "workflow_ref", json_stringf("%s/%s@%s", p->repository, p->file, ref));
	return github;
}

/* A deployment may be made of a pull request's ref, and that is a stranger's code. */
static bool is_of_pull(const char *ref)
{
	return str_starts(ref, "refs/pull/") || str_starts(ref, "pull/");
}

int place_admit(struct place *p, struct wait *w, char **ret, struct err *err)
{
	_cleanup_(admission_freep) struct admission *policy = NULL;
	_cleanup_(api_answer_done) struct api_answer repository = {0};
	_cleanup_free_ char *path = xasprintf("/repos/%s", p->repository);
	struct admission_job job = {0};
	struct admission_answer answer = {0};
	int r = read_policy(p, &policy, err);
	if (r == 0)
		r = api_get(p->api, path, w, &repository, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *github = context_of(p, repository.body);
	admission_job_read(github, NULL, &job);
	job.references = json_array();
	if (is_of_pull(json_get_string(place_current(p), "ref")))
		job.fork = xstrdup("a pull request");
	admission_decide(policy, &job, DAVIT_ACTIONS_REPOSITORY, &answer);
	if (!answer.admitted)
		*ret = xasprintf("refused by the rule '%s' of this host's policy: %s", answer.rule, answer.reason);
	admission_answer_done(&answer);
	admission_job_done(&job);
	return 0;
}
