#include "agent/review/pull.h"

#include <string.h>
#include <strings.h>

#include "agent/report/report.h"
#include "agent/review/plan.h"
#include "agent/review/review_priv.h"
#include "base/core/shown.h"
#include "providers/github/comment.h"
#include "providers/github/pull.h"

enum { COMMIT_DIGITS = 40 };

struct rest review_rest(struct deployment_session *s, const struct invocation *job)
{
	return (struct rest){.http = s->options.http(s->options.http_context),
	                     .wait = &s->wait,
	                     .api_url = job->api_url,
	                     .token = job->token};
}

int review_check_job(const struct invocation *job, const char *what, struct err *err)
{
	if (!job->present || job->repository == NULL || job->commit == NULL)
		return err_set(err, ERR_INVALID, "%s belongs to a job of a workflow", what);
	if (job->token == NULL) {
		err_set(err, ERR_INVALID, "%s: there is no token for GitHub", what);
		return err_hint(err, ERR_INVALID, "token: ${{ github.token }}");
	}
	return 0;
}

static bool is_commit(const char *text)
{
	return text != NULL && strlen(text) >= COMMIT_DIGITS && strspn(text, "0123456789abcdef") == strlen(text);
}

int review_pull_check(const struct invocation *job, struct err *err)
{
	int r = review_check_job(job, "a comment with the plan", err);
	if (r < 0)
		return r;
	if (job->pull.number <= 0) {
		err_set(err, ERR_INVALID, "a comment with the plan: no pull request began this job");
		return err_hint(err, ERR_INVALID, "on: pull_request");
	}
	const char *from = job->pull.repository;
	if (from == NULL || strcasecmp(from, job->repository) != 0) {
		err_set(err, ERR_REFUSED,
		        "the pull request #%lld comes from %s%s: its file is not planned with what %s may do",
		        (long long)job->pull.number, from != NULL ? "the fork " : "a fork that is gone",
		        from != NULL ? from : "", job->repository);
		return err_hint(err, ERR_REFUSED, "check its file without any login: davit validate");
	}
	return is_commit(job->pull.head) ? 0 : err_set(err, ERR_PROTOCOL, "the event has no head of the pull request");
}

static struct review_plan plan_of(const struct invocation *job, const json_t *deployment)
{
	return (struct review_plan){.api_url = job->api_url,
	                            .repository = job->repository,
	                            .number = job->pull.number,
	                            .name = json_get_string(deployment, "name"),
	                            .environment = json_get_string(deployment, "environment"),
	                            .head = job->pull.head};
}

static int put_comment(struct deployment_session *s, const struct invocation *job, const struct review_plan *plan,
                       const struct engine_result *result, const struct err *why, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	bool planned = result->exit_status == 0;
	_cleanup_(str_done) struct str note = STR_INIT(4096);
	if (planned)
		str_append(&note, "The deployment of the merge with `expect: pull-request` applies this plan, or stops "
		                  "and says what is different. From ");
	else
		str_append(&note, "From ");
	shown_link(&note, "this run", job->run_url);
	str_append_c(&note, '.');
	const struct report_plan page = {.title = "Plan",
	                                 .name = plan->name,
	                                 .environment = plan->environment,
	                                 .commit = job->pull.head,
	                                 .digest = planned ? result->digest : NULL,
	                                 .reason = planned ? NULL : err_line(why, line, sizeof(line)),
	                                 .nothing = "Nothing to change.",
	                                 .note = str_peek(&note)};
	_cleanup_free_ char *marker = xasprintf("<!-- davit plan %s.%s -->", plan->name, plan->environment);
	_cleanup_free_ char *text = report_plan_markdown(&page, result->report, REVIEW_TEXT_MAX);
	_cleanup_free_ char *list =
		xasprintf("/repos/%s/issues/%lld/comments", job->repository, (long long)plan->number);
	_cleanup_free_ char *single = xasprintf("/repos/%s/issues/comments", job->repository);
	const struct comment_place place = {list, single, "the comment with the plan", "pull-requests: write"};
	const struct rest g = review_rest(s, job);
	return comment_put(&g, &place, marker, text, NULL, err);
}

/* Shown before it is kept: what nobody could see is applied by no merge. */
int review_pull_tell(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                     const struct engine_result *result, const struct err *why, struct err *err)
{
	const struct review_plan plan = plan_of(job, deployment);
	int r = review_plan_drop(s->store, &plan, err);
	if (r == 0)
		r = put_comment(s, job, &plan, result, why, err);
	if (r == 0 && result->exit_status == 0)
		r = review_plan_keep(s->store, &plan, result->digest, result->planned, err);
	return r;
}

int review_pull_expect(struct deployment_session *s, const struct invocation *job, const json_t *deployment,
                       json_t **ret, struct err *err)
{
	_cleanup_(pull_done) struct pull pull = {0};
	int r = review_check_job(job, "the plan of a pull request", err);
	if (r == 0 && s->store == NULL)
		r = err_set(err, ERR_REFUSED, "no plan of a pull request is kept here: there is no journal yet");
	if (r < 0)
		return r;
	const struct rest g = review_rest(s, job);
	r = pull_of_commit(&g, job->repository, job->commit, &pull, err);
	if (r < 0)
		return r;
	struct review_plan plan = plan_of(job, deployment);
	plan.number = pull.number;
	plan.head = pull.head;
	r = review_plan_find(s->store, &plan, ret, err);
	if (r < 0)
		return r;
	s->options.expect_digest = json_get_string(*ret, "digest");
	s->options.expect_plan = json_object_get(*ret, "of");
	return 0;
}
