/* Shared by the files of this directory: the forge's state, one request, and the tools of its handlers.
 *
 * One mutex guards all state. A handler runs with it held unless its route says otherwise (those that wait or copy
 * much). Nothing in the state is freed before the end, so borrowed pointers stay good without the lock; members change
 * under it. */
#pragma once
#include "agent/forge/forge.h"
#include "agent/workflow/workflow.h"
#include "base/sys/proc.h"

#include <microhttpd.h>
#include <openssl/evp.h>
#include <pthread.h>

enum {
	FORGE_JSON_MAX = 16 << 20, /* a JSON body */
	FORGE_BLOB_MAX = 64 << 20, /* one blob request */
	FORGE_LOG_MAX = 1 << 30,   /* one blob */
	FORGE_REQUESTS_KEPT = 20000,
	REQ_ARGS = 8,
};

struct forge_repo {
	char *owner, *name, *full_name, *dir;
	int64_t id;
	json_t *secrets, *vars; /* name → text */
	json_t *environments;   /* name → {"secrets", "vars"}; once it is used {"id"}; {"reviewers"} */
	int64_t run_number;
	bool is_public;
	json_t *comments;       /* commit comments, as REST answers them */
	json_t *issues, *pulls; /* as REST answers them; they share their numbers */
	int64_t issue_number;
	json_t *issue_comments, *deployments, *deployment_statuses, *statuses, *check_runs;
	pthread_mutex_t push_lock; /* one push at a time, so that its refs can be compared */
};

struct forge_runner {
	int64_t id;
	char *name, *scope; /* scope: "repos/o/r" or "orgs/o" */
	struct strv labels;
	json_t *label_objects;
	char client_id[37];
	EVP_PKEY *key; /* public */
	bool ephemeral, deleted, jit;
	char *version, *public_key;
	char session_id[37];  /* "": none */
	char *status, *os;    /* as last polled */
	int64_t last_poll_ms; /* monotonic */
	int64_t message_id;
	struct req *polling;   /* the open poll */
	struct forge_job *job; /* given out or running here */
	json_t *queue;         /* {"type", "body"}: messages other than jobs */
};

enum token_kind {
	TOKEN_REGISTRATION,
	TOKEN_REMOVAL,
	TOKEN_MANAGEMENT,
	TOKEN_RUNNER,
	TOKEN_JOB,
	TOKEN_GITHUB,
	TOKEN_APP
};
struct forge_token {
	enum token_kind kind;
	char *text;
	int64_t expires_ms; /* wall */
	bool revoked;
	char *scope; /* registration, removal; of an App: the owner where it is installed */
	/* Of an App. repositories: NULL, all of the owner's. */
	json_t *permissions, *repositories;
	struct forge_runner *runner;
	struct forge_job *job;
};

/* JOB_CALLED: the jobs of the workflow that it calls run. */
enum job_state { JOB_WAITING, JOB_QUEUED, JOB_GIVEN, JOB_RUNNING, JOB_CALLED, JOB_COMPLETED };
/* A reusable workflow that runs; its jobs are jobs of the run. */
struct forge_call {
	struct forge_job *caller;
	struct workflow *workflow;
	json_t *inputs;
	json_t *secrets; /* name → string; NULL: those of the caller */
	struct forge_call *next;
};

struct forge_job {
	struct forge_run *run;
	struct forge_call *call; /* that it belongs to; NULL: it is a job of the run's own workflow */
	const struct workflow_job *def;
	char *name;    /* evaluated */
	bool resolved; /* it has its name, labels, group */
	char job_id[37], request_id[37];
	int attempt; /* of the run, that it was made in */
	int64_t id;  /* REST's number, and the check run's */
	enum job_state state;
	const char *conclusion; /* REST's words: success, failure, cancelled, skipped; NULL while it runs */
	struct strv labels;
	char *environment, *environment_url;
	char *group;               /* concurrency; NULL */
	bool may_fail;             /* continue-on-error */
	json_t *matrix, *strategy; /* of a leg; NULL: there is no matrix, or it is not expanded yet */
	struct forge_runner *runner;
	int64_t queued_ms, given_ms, acquired_ms, completed_ms; /* wall */
	int64_t given_mono_ms;
	int64_t locked_until_ms;    /* monotonic */
	int64_t deadline_ms;        /* monotonic: timeout-minutes; 0: none */
	int64_t cancel_deadline_ms; /* monotonic; 0: not cancelled */
	int64_t cancel_ms;          /* cancel-timeout-minutes; 0: the forge's */
	bool in_review, reviewed;   /* of its environment: it waits for that; it has it */
	bool acknowledged, renewed, cancelled, lost;
	bool answer_lost; /* of its completion, perhaps: whoever made it may make it again */
	json_t *message, *permissions;
	struct forge_token *access_token, *github_token;
	json_t *steps; /* external id → step */
	json_t *live;  /* step id → the last lines of its console */
	json_t *held;  /* step id → lines of the console that wait for the step's name */
	json_t *annotations, *outputs, *telemetry;
	char *raw_conclusion; /* the word of completejob */
	int64_t change_order;
};

struct forge_run {
	int64_t id, number;
	char plan_id[37];
	struct forge_repo *repo;
	struct workflow *workflow; /* NULL: the file has faults */
	char *path, *name, *title;
	char *event, *ref, *sha, *before;
	json_t *payload;  /* github.event */
	json_t *inputs;   /* NULL: none */
	char *group;      /* concurrency; NULL */
	bool started;     /* nothing of its group holds it any more */
	bool in_progress; /* a job of this attempt has begun */
	bool cancelled;
	int chain;                 /* so many runs led to it, each by workflow_run */
	bool from_fork;            /* of a pull request: it reads only, and gets no secrets */
	int attempt;               /* 1 and up */
	json_t *attempts;          /* former ones, as REST shows them */
	json_t *reviews;           /* of its environments, as REST shows them */
	struct forge_job **former; /* jobs of these */
	size_t former_count, former_cap;
	struct storage_blob *log_archive; /* the last one that was made; NULL */
	char *actor;
	int64_t created_ms, started_ms, completed_ms;
	const char *conclusion; /* NULL: not completed */
	json_t *annotations;    /* faults of the workflow file */
	struct forge_job **jobs;
	size_t job_count;
	struct forge_call *calls;
};

enum blob_type { BLOB_NONE, BLOB_BLOCK, BLOB_APPEND };
enum blob_kind { BLOB_STEP_LOG, BLOB_JOB_LOG, BLOB_SUMMARY, BLOB_DIAGNOSTIC };
struct forge_blob {
	char *path; /* below /_services/blobs/ */
	char signature[65];
	enum blob_kind kind;
	enum blob_type type;
	bool sealed, registered;
	struct forge_job *job;
	char step_id[37];
	int fd; /* blob.c: a file without a name; -1 before the first byte */
	size_t len;
	int64_t lines, appends;
};

enum fault_drop { DROP_NO, DROP_BEFORE, DROP_AFTER };
struct forge_fault {
	char *path, *method, *body;
	int64_t skip, times; /* times -1: for good */
	int status;
	enum fault_drop drop;
	int64_t truncate; /* -1: no */
	int64_t oversize; /* 0: no */
	int64_t delay_ms;
	json_t *headers;
};

struct forge {
	struct forge_config config;
	char *base; /* "http://127.0.0.1:4711", no slash behind */
	/* The same place as jobs know the server: "http://forge.localhost:4711". The libraries of actions refuse artifacts to a server
	 * that is neither github.com nor below localhost; git and curl find such names by themselves. */
	char *server_url;
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock;
	pthread_mutex_t pull_lock; /* taken before the other one */
	bool stopping;
	int consoles; /* WebSockets that are served */
	int64_t next_id;
	json_t *run_events; /* runs that began or ended, for workflow_run; NULL: none */
	json_t *defaults;   /* the "*" entry of the secrets file */
	json_t *apps;       /* id → a GitHub App: apps.c */
	json_t *complaints, *requests, *events, *used_jti;
	json_t *origins;       /* id of a comment, deployment, … → the job whose token made it */
	json_t *variables;     /* further variables of every job message */
	json_t *workflow_ids;  /* "owner/name:path" → REST's number */
	json_t *workflows_off; /* "owner/name:path" → true: disabled by hand */
	struct forge_repo **repos;
	size_t repo_count, repo_cap;
	struct forge_runner **runners;
	size_t runner_count, runner_cap;
	struct forge_token **tokens;
	size_t token_count, token_cap;
	struct forge_run **runs;
	size_t run_count, run_cap;
	struct forge_blob **blobs;
	size_t blob_count, blob_cap;
	struct forge_fault *faults;
	size_t fault_count, fault_cap;
	struct storage_blob **stored; /* services_priv.h */
	size_t stored_count, stored_cap;
	struct forge_artifact **artifacts;
	size_t artifact_count, artifact_cap;
	struct forge_cache **caches;
	size_t cache_count, cache_cap;
	char token[37];        /* made at the start: for other users of the machine where --token gives none */
	unsigned char key[32]; /* signs tokens and blob addresses */
	int64_t rate_used, rate_reset_ms, rate_limit, rate_window_ms; /* limits.c; wall; limit 0: none is enforced */
	struct waiter *waiters;
	struct waiter *local; /* of local.c; NULL: runners take the jobs */
	char *certificate, *certificate_key;
};

/* A thread that waits for the state to change: broker.c. */
struct waiter {
	int fd;
	struct waiter *next;
};

/* ---- one request (http.c) ---- */

struct route;
struct forge_console;
struct req {
	struct forge *f;
	struct MHD_Connection *connection;
	char *method, *path, *query; /* path decoded, query as sent or "" */
	bool seen, rejected;
	const struct route *route;
	char *args[REQ_ARGS]; /* captured segments */
	struct str body;
	int body_fd; /* spooled instead, else -1 */
	int64_t body_len;
	int status; /* 0: not answered yet */
	struct str out;
	struct strv headers;   /* "Name: value" */
	struct proc child;     /* streams the answer */
	struct str child_head; /* body bytes read together with the child's headers */
	bool streams;
	struct forge_console *console; /* the answer is a WebSocket; NULL */
	struct storage_blob *content;  /* part of it is the answer; held */
	int64_t content_from, content_len;
	bool superseded;          /* a newer poll of the same session came */
	struct forge_fault fault; /* the fault that applies to the answer */
	bool faulty;
	bool is_counted; /* of REST: limits.c */
	int64_t begun_ms;
};

/* ROUTE_OWNER: secrets and the forge itself. For its own user, and for holders of its token. ROUTE_SIGNED: for who has an address that
 * was signed, which is looked at before the body, and the body goes to a file. */
enum route_flags {
	ROUTE_UNLOCKED = 1,
	ROUTE_BLOB = 2,
	ROUTE_GIT = 4,
	ROUTE_QUIET = 8,
	ROUTE_OWNER = 16,
	ROUTE_SIGNED = 32
};
struct route {
	const char *method;  /* NULL: any */
	const char *pattern; /* "repos/+/+/x": + is one segment, * the rest */
	void (*handle)(struct req *r);
	int flags;
};

/* Value of a request header or query argument; NULL. */
const char *req_header(const struct req *r, const char *name);
const char *req_query(const struct req *r, const char *name);
/* The body as JSON; NULL when it is not JSON (answered and complained about). The caller's. */
json_t *req_json(struct req *r);

void req_reply(struct req *r, int status);
void req_reply_header(struct req *r, const char *fmt, ...) _printf_(2, 3);
void req_reply_json(struct req *r, int status, json_t *value); /* takes value */
void req_reply_text(struct req *r, int status, const char *type, const char *data, size_t len);
/* REST's error body. */
void req_reply_error(struct req *r, int status, const char *fmt, ...) _printf_(3, 4);
/* Records that the request is not as it should be. Does not answer. */
/* Clients send an empty object to test if a token may write: refused with 422, without a complaint. */
static inline bool req_is_probe(const struct req *r)
{
	return r->body.len == 2 && memcmp(r->body.data, "{}", 2) == 0;
}
void req_complain(struct req *r, const char *fmt, ...) _printf_(2, 3);
void forge_complain(struct forge *f, const char *where, const char *text);
/* One line about what happened, for people. */
void forge_event(struct forge *f, const char *fmt, ...) _printf_(2, 3);
/* Wakes all waiting threads. */
void forge_wake(struct forge *f);
int64_t forge_id(struct forge *f);

int forge_listen(struct forge *f, struct err *err);
void forge_unlisten(struct forge *f);
int forge_make_certificate(struct forge *f, struct err *err);

/* ---- checks of all requests (check.c) ---- */

struct member {
	const char *name;
	char type;
	bool required;
};
/* Types: s string, S non-empty string, g GUID in lower case, i integer, b boolean, o object, a list,
 * m time with three digits of fraction, t time with up to seven, n anything; capital letters M, T: the same or null.
 * Unknown members, wrong types and missing ones are complained about; false if there was any. */
bool check_members(struct req *r, const json_t *object, const char *where, const struct member *members, size_t count);
bool check_is_guid(const char *text);
/* Content-Type, Accept, User-Agent, Content-Length of a broker, run service or results request. */
void check_service_headers(struct req *r);
void check_rest_headers(struct req *r);

/* ---- what others signed (jwt.c) ---- */

/* A part between two dots; NULL: it is no JSON. The caller's. */
json_t *jwt_part(const char *from, size_t len);
/* algorithm: "RS256", "PS256". */
bool jwt_fits(EVP_PKEY *key, const char *algorithm, const char *signed_text, size_t signed_len,
              const unsigned char *signature, size_t len);

/* ---- limits and conditional requests of REST (limits.c) ---- */

/* Counts the request. True: nothing is left of the limit, and that is answered. */
bool limits_refuse(struct req *r);
/* The answer is made: its ETag, or 304 in its place, and the headers about the limit. */
void limits_finish(struct req *r);
void limits_set(struct req *r);

/* ---- who asks (peer.c) ---- */

/* The connection comes from a process of the forge's own user, or of root, on this machine. */
bool req_is_owners(const struct req *r);

/* ---- tokens (token.c) ---- */

struct forge_token *token_new(struct forge *f, enum token_kind kind, int64_t life_ms, const json_t *claims);
struct identity {
	bool given;                /* there was an Authorization header */
	bool admin;                /* the forge's token; without --token any token sent by the forge's own user */
	struct forge_token *token; /* a known one, in force */
	const char *problem;       /* why not: "expired", "unknown", … */
};
/* schemes: those accepted here, e.g. "Bearer" or "Basic Bearer token RemoteAuth". */
struct identity token_identify(struct req *r, const char *schemes);
/* A token of this kind by Bearer, else answers 401 and gives NULL. */
struct forge_token *token_need(struct req *r, enum token_kind kind);
/* REST: admin, or a job's token with at least this permission ("Contents", "write"); else answers 401/403. ret_job may
 * be NULL. */
bool token_need_permission(struct req *r, const struct forge_repo *repo, const char *permission, const char *level,
                           struct forge_job **ret_job);

/* A token of an App's installation reaches this repository (name NULL: this owner). */
bool app_token_has(const struct forge_token *t, const char *owner, const char *name);

/* ---- repositories and git (git.c) ---- */

int forge_repo_add(struct forge *f, const char *spec, struct err *err);
struct forge_repo *forge_repo_find(struct forge *f, const char *owner,
                                   const char *name); /* with or without .git; NULL */
/* Answers 404 when there is none. */
struct forge_repo *forge_repo_need(struct req *r, int owner_arg, int name_arg);
json_t *forge_repo_json(struct forge *f, const struct forge_repo *repo);
char *forge_repo_default_branch(const struct forge_repo *repo); /* free() */
/* git -C repo args…: output at most max bytes. ERR_FAILED when it exits with another status than 0. */
int forge_repo_git(const struct forge_repo *repo, const char *const *args, size_t max, struct str *out,
                   struct err *err);
/* A commit by name, 40 digits; NULL when there is none. free(). */
char *forge_repo_commit(const struct forge_repo *repo, const char *name);
void git_handle(struct req *r);
bool git_wants(const char *path); /* /OWNER/NAME[.git]/info/refs and the two services */
void git_tarball_handle(struct req *r);

/* ---- runs and jobs (push.c, runs.c, message.c, show.c) ---- */

/* All workflows of `after` that want this push: their runs. Without the lock. */
void push_received(struct forge *f, struct forge_repo *repo, const char *ref, const char *before, const char *after,
                   const char *actor);
/* Paths of the workflow files of a commit. */
void push_list_workflows(const struct forge_repo *repo, const char *sha, struct strv *out);
/* An event other than a push, of a commit whose workflows may want it. Borrowed. */
/* False if the workflow names paths, and none of those that change between the two commits is one of them. */
bool changed_paths_start(const struct forge_repo *repo, const struct workflow *w, const char *event, const char *ref,
                         const char *before, const char *after);
struct push_event {
	const char *name, *filter, *branch; /* filter: of pull_request the action; branch: its base */
	const char *ref, *sha, *actor;
	const char *workflow; /* of workflow_run: the name of the one that ran; NULL */
	const json_t *payload;
	bool from_fork;
	int chain; /* of the run that it comes of, and one more */
};
/* By its message: "[skip ci]" and the like. */
bool push_asks_for_nothing(struct forge *f, const struct forge_repo *repo, const char *sha);
void push_event_begin(struct forge *f, struct forge_repo *repo, const struct push_event *event);
/* A run was made (requested), its first job began (in_progress), or it ended (completed): what waits for that begins with the next events_begin(), which is called without the lock. */
void events_note_run(struct forge *f, const struct forge_run *run, const char *action);
void events_begin(struct forge *f);
/* Open pull requests from this branch have another head. Without the lock. */
void pulls_pushed(struct forge *f, struct forge_repo *repo, const char *ref, const char *actor);
/* Makes a run and queues its jobs unless something holds them. Takes payload and workflow; workflow NULL: faults has them. */
struct forge_run *forge_run_new(struct forge *f, struct forge_repo *repo, struct workflow *workflow, const char *path,
                                const char *event, const char *ref, const char *sha, json_t *payload);
/* Of a fork's pull request: who wrote the workflow is not of this repository. Jobs that come later only read too. */
void forge_run_only_reads(struct forge_run *run);
/* Whether it was disabled by hand, by which nothing starts it. With the lock. */
bool push_workflow_is_off(const struct forge *f, const struct forge_repo *repo, const char *path);
int push_dispatch_workflow(struct forge *f, struct forge_repo *repo, const char *file, const char *ref,
                           const json_t *inputs, const char *actor, struct forge_run **ret, struct err *err);
/* The event has the inputs of a dispatch as strings; the context `inputs` has them typed. New. */
json_t *push_input_texts(const json_t *inputs);
/* head: the commit as events show it; taken; NULL: it cannot be read. */
json_t *push_payload_of(struct forge *f, struct forge_repo *repo, const char *ref, const char *before,
                        const char *after, json_t *head, const char *actor);
json_t *push_payload(struct forge *f, struct forge_repo *repo, const char *ref, const char *before, const char *after,
                     const char *actor);
/* A warning for each event of the file that never comes here. */
/* A file of a commit. */
int push_read_file(const struct forge_repo *repo, const char *sha, const char *path, struct str *out, struct err *err);
void forge_run_note_silent_events(struct forge_run *run);
void forge_run_fail_workflow(struct forge *f, struct forge_run *run, const struct faults *faults,
                             const struct yaml_doc *doc, const struct err *err);
/* Queues what can run now, skips what never will, ends the run when nothing is left. */
void forge_run_advance(struct forge *f, struct forge_run *run);
void forge_job_complete(struct forge *f, struct forge_job *job, const char *conclusion);
void forge_run_cancel(struct forge *f, struct forge_run *run);
/* Leases, time-outs, silent sessions: called about twice a second with the lock held. */
void forge_tick(struct forge *f);
struct forge_run *forge_run_find(struct forge *f, int64_t id);
struct forge_job *forge_job_for_runner(struct forge *f, const struct forge_runner *runner);
bool forge_runner_serves(const struct forge_runner *runner, const struct forge_repo *repo);
/* The job message, made when it is acquired (tokens included). */
void forge_job_make_message(struct forge *f, struct forge_job *job);
/* A runner has it now: its message is made, and its run is in progress. */
void forge_job_begin(struct forge *f, struct forge_job *job);
json_t *forge_run_github_context(struct forge *f, const struct forge_run *run, const struct forge_job *job);
struct forge_job *forge_job_new(struct forge *f, struct forge_run *run, struct forge_call *call,
                                const struct workflow_job *def);
/* Ends a job before a runner saw it. */
void forge_job_end_early(struct forge *f, struct forge_job *job, const char *conclusion);
/* Of the jobs of a call, of the run's own where that is NULL. NULL: not all of them are over. */
const char *forge_run_conclusion(const struct forge_run *run, const struct forge_call *call);
void forge_annotate(json_t *list, const char *level, const char *fmt, ...) _printf_(3, 4);
/* Secrets of the job: the default ones, the repository's, the environment's, or what its call was given. New. */
json_t *forge_job_secrets(struct forge *f, const struct forge_job *job);

/* ---- reusable workflows (calls.c) ---- */
/* A job of `def->uses`: reads the workflow and adds its jobs behind it. */
int forge_call_begin(struct forge *f, struct forge_job *job, struct err *err);
/* Completes it when all of its jobs are over; else false. */
bool forge_call_end(struct forge *f, struct forge_job *job);
const struct workflow *forge_job_workflow(const struct forge_job *job);
/* Its run was cancelled, or a job that called its workflow. */
bool forge_job_is_cancelled(const struct forge_job *job);
char *forge_call_name(const struct forge_call *call, const char *name); /* "caller / name"; free() */
json_t *forge_call_permissions(const struct forge_job *job);            /* new */
void forge_call_free(struct forge_call *call);

/* ---- concurrency (groups.c) ---- */
/* True when nothing of its group holds it; cancels what the rules cancel. */
bool forge_run_may_start(struct forge *f, struct forge_run *run);
bool forge_job_may_start(struct forge *f, struct forge_job *job);

/* ---- environments (environments.c) ---- */
/* By its name without case, and that name as it was given; NULL: there is none. Borrowed. */
json_t *environments_find(const struct forge_repo *repo, const char *name, const char **ret_name);
/* The same, made where there is none; it has an "id" then. */
json_t *environments_need(struct forge *f, struct forge_repo *repo, const char *name);
/* Whether the job waits for a review of its environment. */
bool environments_hold(struct forge *f, struct forge_job *job);
bool environments_is_reviewed(const struct forge_job *job, const char *name); /* it waits for one of that name */
/* Jobs of the run that wait for it begin, or fail. */
void environments_review(struct forge *f, struct forge_run *run, const char *name, bool approved, const char *comment);

/* ---- legs (matrix.c) ---- */
/* A job with a matrix becomes its legs, the first of which it is itself. *ret_legs 0: everything is excluded. */
int forge_job_expand(struct forge *f, struct forge_job *job, size_t *ret_legs, struct err *err);
char *forge_job_leg_name(const struct forge_job *job, const char *name); /* "name (linux, 18)"; free() */
/* Room for `more` jobs behind the job. The first of them has that index. */
size_t forge_run_make_room(struct forge_run *run, const struct forge_job *job, size_t more);
/* {"result", "outputs"} of all legs of it. New. */
json_t *forge_job_summary(const struct forge_run *run, const struct workflow_job *def);
bool forge_job_has_turn(const struct forge_job *job); /* max-parallel */
/* True if its end cancels the other (fail-fast). */
bool forge_job_fails_others(const struct forge_job *job, const struct forge_job *other);
/* The context `needs`: of several legs the worst result. */
json_t *forge_job_needs(const struct forge_job *job);
json_t *forge_run_json(struct forge *f, const struct forge_run *run, bool logs);
json_t *forge_job_json(struct forge *f, const struct forge_job *job, bool logs);
void forge_run_save(struct forge *f, const struct forge_run *run);
/* Expressions that the service evaluates itself (eval.c). Values are the caller's. */
int eval_condition(struct forge *f, const struct forge_job *job, bool *ret, struct err *err);
/* A token: literal, expression or list of these. */
int eval_template(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
                  json_t **ret, struct err *err);
/* The same for tokens with maps. */
int eval_tree(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
              json_t **ret, struct err *err);
int eval_string(struct forge *f, const struct forge_run *run, const struct forge_job *job, const json_t *token,
                char **ret, struct err *err);
/* A map of strings, which may name secrets. New. */
int eval_secrets(struct forge *f, const struct forge_job *job, const json_t *token, const json_t *secrets, json_t **ret,
                 struct err *err);
/* What expressions of the job see before a runner has it. New. */
json_t *eval_contexts(struct forge *f, const struct forge_run *run, const struct forge_job *job);

struct forge_blob *forge_blob_find(struct forge *f, const struct forge_job *job, enum blob_kind kind,
                                   const char *step_id);

/* ---- what blobs hold (blob.c) ---- */

/* A file without a name for reading and writing; -1: none can be made. */
int forge_blob_file(void);
/* Starts over, empty. False: no room. */
bool forge_blob_clear(struct forge_blob *b);
/* False: no room, or more than FORGE_LOG_MAX. */
bool forge_blob_append(struct forge_blob *b, const char *data, size_t len);
bool forge_blob_read(const struct forge_blob *b, struct str *out);
bool forge_blob_is_utf8(const struct forge_blob *b);
void forge_blob_free(struct forge_blob *b);

/* ---- the services' routes ---- */

extern const struct route app_routes[], registration_routes[], broker_routes[], runservice_routes[], results_routes[],
	console_routes[], rest_routes[], control_routes[], page_routes[], storage_routes[], artifact_routes[],
	cache_routes[], release_routes[];

void forge_runner_remove(struct forge *f, struct forge_runner *runner);
