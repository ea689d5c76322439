/* What the parts of the REST API share (rest.c). Handlers by subject: rest_comments.c, rest_deployments.c, rest_checks.c, rest_issues.c, rest_runs.c, pulls.c. */
#pragma once
#include "agent/forge/forge_priv.h"

/* The name of the author of what this request makes: the job's bot, or the owner. */
const char *rest_actor_of(const struct forge_job *job);
/* The repository and the permission; NULL: answered. */
struct forge_repo *rest_begin(struct req *r, const char *permission, const char *level, struct forge_job **ret_job);
/* Adds the members of every API answer: id, times, author. The job that made it is kept apart, for requests to the forge itself. */
void rest_add_common(struct req *r, json_t *object, const struct forge_job *job);
/* 422, as GitHub says it. */
void rest_invalid(struct req *r, const char *resource, const char *field, const char *code);
/* The part of a list that per_page and page ask for. */
json_t *rest_page(struct req *r, const json_t *list);
void rest_reply_page(struct req *r, const json_t *list);
json_t *rest_find(const json_t *list, const char *id_text);
bool rest_is_one_of(const char *text, const char *const *words, size_t count);

void rest_create_commit_comment(struct req *r);
void rest_list_commit_comments(struct req *r);
void rest_one_commit_comment(struct req *r);
void rest_create_issue_comment(struct req *r);
void rest_list_issue_comments(struct req *r);
void rest_list_repo_comments(struct req *r);
void rest_one_issue_comment(struct req *r);
void rest_create_issue(struct req *r);
void rest_one_issue(struct req *r);
void rest_list_issues(struct req *r);
void pulls_create(struct req *r);
void pulls_get(struct req *r);
void pulls_merge(struct req *r);
void pulls_of_commit(struct req *r);
void rest_create_deployment(struct req *r);
void rest_list_deployments(struct req *r);
void rest_get_deployment(struct req *r);
void rest_create_deployment_status(struct req *r);
void rest_list_deployment_statuses(struct req *r);
void rest_list_environments(struct req *r);
void rest_get_environment(struct req *r);
void rest_put_environment(struct req *r);
void rest_delete_environment(struct req *r);
void rest_list_pending(struct req *r);
void rest_review(struct req *r);
void rest_list_reviews(struct req *r);
void rest_create_status(struct req *r);
void rest_create_check_run(struct req *r);
void rest_change_check_run(struct req *r);
void rest_list_check_runs(struct req *r);
void rest_list_annotations(struct req *r);
void rest_dispatch(struct req *r);
void events_dispatch(struct req *r); /* repository_dispatch; without the lock */
void rest_cancel_run(struct req *r);
void rest_list_runs(struct req *r);
void rest_get_run(struct req *r);
void rest_get_attempt(struct req *r);
void rest_list_workflow_runs(struct req *r);
void rest_run_logs(struct req *r);
void rest_list_jobs(struct req *r);
void rest_list_attempt_jobs(struct req *r);
void rest_get_job(struct req *r);
void rest_job_log(struct req *r);
void rest_rerun(struct req *r);
void rest_rerun_job(struct req *r);
void rest_graphql(struct req *r);
void rest_list_artifacts(struct req *r);
void rest_list_run_artifacts(struct req *r);
void rest_one_artifact(struct req *r);
void rest_artifact_archive(struct req *r);
void rest_list_caches(struct req *r);
void rest_delete_caches(struct req *r);
void rest_delete_cache(struct req *r);
void rest_cache_usage(struct req *r);
void rest_list_workflows(struct req *r);
void rest_get_workflow(struct req *r);
void rest_switch_workflow(struct req *r);
void rest_get_contents(struct req *r);
void rest_get_branch(struct req *r);
void rest_list_own_repos(struct req *r);
void rest_list_org_repos(struct req *r);

/* The run or the job of args[2]; NULL: answered. */
struct forge_run *rest_need_run(struct req *r, const struct forge_repo *repo);
struct forge_job *rest_need_job(struct req *r, const struct forge_repo *repo);
json_t *rest_run_json(struct forge *f, const struct forge_run *run); /* new */
json_t *rest_job_json(struct forge *f, const struct forge_job *job); /* new */
json_t *rest_job_annotations(const struct forge_job *job);           /* new */
json_t *rest_branch_of(const struct forge_run *run);                 /* new */
/* The number of a workflow, and the path of one that is named by number or file; free(); NULL: there is none of that number. */
int64_t rest_workflow_id(struct forge *f, const struct forge_repo *repo, const char *path);
char *rest_workflow_path(struct req *r, const struct forge_repo *repo, const char *given);

/* ---- rerun.c ---- */

bool rerun_is_possible(const struct forge_run *run);
/* A new attempt of a run that is over: of one job, of all, or of those that failed; and of what depends on these. */
void rerun_begin(struct forge *f, struct forge_run *run, struct forge_job *only, bool all);
