/* What waits for a runner: queued jobs of the runs that are not over. */
#include "agent/scale/scale_priv.h"

#include <string.h>
#include <strings.h>

enum { PAGES_MAX = 10 };

static void add_repository(const struct scale *s, const json_t *one, struct strv *ret)
{
	const char *name = json_get_string(one, "full_name"),
		   *owner = json_get_string(json_get_object(one, "owner"), "login");
	bool over = json_get_bool(one, "archived", false) || json_get_bool(one, "disabled", false);
	if (name != NULL && owner != NULL && !over && strcasecmp(owner, s->owner) == 0 && !strv_has(ret, name))
		strv_add(ret, name);
}

int demand_repositories(struct scale *s, struct wait *w, struct strv *ret, struct err *err)
{
	bool more = s->owner != NULL;
	int r = 0;
	for (size_t i = 0; i < s->repositories.count; i++)
		strv_add(ret, s->repositories.items[i]);
	for (int page = 1; r == 0 && more && page <= PAGES_MAX; page++) {
		_cleanup_(api_answer_done) struct api_answer answer = {0};
		_cleanup_free_ char *path =
			xasprintf("%sper_page=100&page=%d",
		                  api_is_app(s->api) ? "/installation/repositories?"
		                                     : "/user/repos?affiliation=owner,organization_member&",
		                  page);
		size_t i;
		json_t *one;
		r = api_get(s->api, path, w, &answer, err);
		const json_t *list =
			json_is_array(answer.body) ? answer.body : json_get_array(answer.body, "repositories");
		json_array_foreach((json_t *)(uintptr_t)list, i, one) add_repository(s, one, ret);
		more = answer.more;
	}
	return r < 0 ? err_wrap(err, r, "the repositories of %s", s->owner) : 0;
}

static bool has_label(const struct scale *s, const char *label)
{
	for (size_t i = 0; i < s->options->labels.count; i++)
		if (strcasecmp(s->options->labels.items[i], label) == 0)
			return true;
	return false;
}

/* A job that asks for another kind of machine, or for one of GitHub's, is not ours. */
static bool fits(const struct scale *s, const json_t *job)
{
	const json_t *labels = json_get_array(job, "labels");
	size_t i;
	json_t *label;
	json_array_foreach((json_t *)(uintptr_t)labels, i,
	                   label) if (!json_is_string(label) || !has_label(s, json_string_value(label))) return false;
	return json_array_size(labels) > 0;
}

static void mark_busy(struct scale *s, const char *name)
{
	for (size_t i = 0; name != NULL && i < s->count; i++)
		if (strcmp(s->runners[i].name, name) == 0 && !s->runners[i].busy) {
			s->runners[i].busy = true;
			scale_tell(s, "busy", &s->runners[i], "it has a job");
		}
}

static int jobs_of(struct scale *s, const char *repository, int64_t run, struct wait *w, size_t *count, struct err *err)
{
	_cleanup_(api_answer_done) struct api_answer answer = {0};
	_cleanup_free_ char *path =
		xasprintf("/repos/%s/actions/runs/%lld/jobs?filter=latest&per_page=100", repository, (long long)run);
	size_t i;
	json_t *job;
	int r = api_get(s->api, path, w, &answer, err);
	json_array_foreach(json_get_array(answer.body, "jobs"), i, job)
	{
		const char *status = json_get_string(job, "status");
		if (status != NULL && strcmp(status, "queued") == 0 && fits(s, job))
			++*count;
		else if (status != NULL && strcmp(status, "queued") != 0)
			mark_busy(s, json_get_string(job, "runner_name"));
	}
	return r;
}

int demand_of(struct scale *s, const char *repository, struct wait *w, size_t *ret, struct err *err)
{
	static const char *const states[] = {"queued", "in_progress"};
	size_t count = 0;
	int r = 0;
	for (size_t n = 0; r == 0 && n < ARRAY_SIZE(states); n++) {
		_cleanup_(api_answer_done) struct api_answer answer = {0};
		_cleanup_free_ char *path =
			xasprintf("/repos/%s/actions/runs?status=%s&per_page=100", repository, states[n]);
		size_t i;
		json_t *run;
		r = api_get(s->api, path, w, &answer, err);
		json_array_foreach(json_get_array(answer.body, "workflow_runs"), i, run) if (r == 0) r =
			jobs_of(s, repository, json_get_int(run, "id", 0), w, &count, err);
	}
	*ret = count;
	return r < 0 ? err_wrap(err, r, "the queued jobs of %s", repository) : 0;
}
