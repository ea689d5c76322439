/* One job in the worker: shared by its parts. The job is one thread; while a step's process runs, its output, the
 * listener's words and the uploads are served by one loop (job_turn). Numbers in brackets are sections of the protocol
 * notes on job execution.
 *
 *   turns.c        steps in the background take turns with the main line
 *   loop.c         one turn: the listener's words, cancels, the uploads
 *   console.c      what a person sees who watches the job here
 *   log.c          lines, masked and stamped      annotations.c  errors and warnings      record.c  a step's state
 *   telemetry.c    what the service is told beside the result
 *   problems.c     issues that problem matchers (matcher.h) find in lines
 *   containers/places.c  where directories are in the job's container
 *   environ.c      the environment of a process   effects.c      the command files        output.c  commands in output
 *   process.c      a step's process: output lines, time limits, interrupts
 *   docker.c       the docker command             containers/    the job's container and its services
 *   call.c         calls of services              fetch.c        an action's archive      prepare.c      all actions of the job
 *   actions/       kinds of steps (action.h)      step.c         one step: condition, environment, action, results
 *   background.c   steps beside the others, and those that wait for them and cancel them
 *   decide.c       the deployment, outputs, URL, orphans
 *   kept.c         a result on the disk           report.c       the end, to the service
 *   contexts.c, directories.c, setup.c            before the first step
 *   sequence.c     set up, steps, posts, completion
 *   worker.c       the command: the first line, the job, its exit status
 *
 * Each calls those above it, but process.c asks step.c whether a step goes on that is cancelled, and the post of a typed step has
 * decide.c decide.
 */
#pragma once
#include "agent/service/feed.h"
#include "agent/service/reports.h"
#include "agent/worker/shell.h"
#include "agent/template/eval.h"
#include "base/core/clock.h"
#include "base/sys/proc.h"
#include "base/secret/mask.h"

enum {
	JOB_MESSAGE_MAX = 64 << 20,
	JOB_LINE_MAX = 16 << 20, /* a longer line of output is cut into several, never through a secret */
	JOB_FILE_MAX = 64 << 20, /* a command file */
	JOB_QUEUE_MAX = 4 << 20, /* pending log bytes; above it a step's output is not read */
	SUMMARY_MAX = 1 << 20,
	ISSUES_MAX = 10, /* per kind and record */
	ISSUE_CHARS = 4096,
	INT_MS = 7500,
	TERM_MS = 2500, /* SIGINT → SIGTERM → SIGKILL */
};

/* In the order of the service's numbers. A merge takes the worse one, up to RESULT_FAILED [9.1]. */
enum result {
	RESULT_SUCCEEDED = 0,
	RESULT_ISSUES = 1,
	RESULT_FAILED = 2,
	RESULT_CANCELED = 3,
	RESULT_SKIPPED = 4,
	RESULT_NONE = 5
};
const char *result_context(enum result r); /* "success", "failure", … */
const char *result_wire(enum result r);    /* "succeeded", "failed", … */
enum result result_merge(enum result current, enum result incoming);

enum issue_kind { ISSUE_ERROR, ISSUE_WARNING, ISSUE_NOTICE, ISSUE_KINDS };

/* A log on its way: the block being filled. */
struct log_stream {
	struct str block;
	int64_t lines;
	bool started; /* a first block was sent */
};

/* What an action does when: most have STAGE_MAIN only. */
enum stage { STAGE_MAIN, STAGE_PRE, STAGE_POST };

struct action_type;
struct record {
	struct record *parent; /* of a step inside a composite action; NULL: a step of the job */
	struct record *top;    /* whose log and annotations are written: itself, for a step of the job */
	enum stage stage;
	bool shares_memory;       /* memory belongs to another stage's record */
	char *stage_condition;    /* of pre and post, taken as it is; NULL: the step's own */
	int64_t deadline_mono_ms; /* of the step's time limit; 0: none */
	int64_t minutes;          /* that limit; 0: none, or it is an enclosing step's */
	json_t *own_env;          /* what the step's own `env:` gives */
	const json_t *inputs;     /* while an action runs: for INPUT_…; borrowed */
	json_t *state;            /* of an action, saved for its later stages; borrowed; NULL: nobody reads it */
	size_t state_bytes;
	bool condition_failed; /* could not be evaluated */
	bool background;       /* runs beside the steps behind it */
	bool frame;            /* "Set up job" and "Complete job": of interest only when something is wrong */
	char id[37];
	int number;
	char *name; /* as shown; masked when it is sent */
	bool name_final;
	const struct action_type *action;          /* NULL: made by the runner */
	void *memory;                              /* the action's own */
	json_t *step;                              /* of the message, borrowed; NULL: made by the runner */
	const char *context_name, *reference_name; /* borrowed */
	const char *marker_name;                   /* of a step inside a composite action; borrowed */
	char *type, *action_name, *ref;            /* telemetry; NULL until it ran */
	enum result result, outcome;
	enum result command_result; /* failures of commands and command files */
	int64_t started_wall_ms, completed_wall_ms;
	int completion; /* its place among those that are over, from 1 */
	struct log_stream log;
	json_t *annotations;
	int issues[ISSUE_KINDS];
	json_t *outputs;      /* name → text */
	json_t *output_names; /* name without case → as it was first spelt */
	size_t output_bytes;
	/* command handling, while the step runs */
	bool echo;
	char *stopped; /* token */
	size_t stream; /* of its process that the line is from: 0, errors 1 */
	json_t *env;   /* the step's `env` context */
};

struct cancel {
	int serial; /* counts requests */
	bool shutdown, lease;
	int64_t deadline_mono_ms; /* the listener's time limit; 0: none */
};

/* What the steps of a composite action see in place of what the job's steps do; all borrowed. */
struct frame {
	json_t *contexts, *github, *steps_context, *defaults_run;
	json_t *outer_env; /* set by `env:` of the steps around */
	const json_t *file_table;
	const enum result *status; /* of the action so far; NULL: conditions go by the job's */
	struct frame *outside;
};

struct prepared;
struct matchers;
struct containers;
struct background;
struct checks;
struct job {
	json_t *message, *settings;
	struct run_job run;
	struct http *http;
	struct reports *reports; /* to nobody where the message names no service */
	struct feed *feed;       /* of the live console; NULL: the message names none */
	struct mask *mask;

	int input_fd;  /* from the listener; -1: it is gone */
	int signal_fd; /* from a listener that was started after it; -1: none */
	struct str input;
	struct cancel cancel;

	/* contexts */
	json_t *contexts, *github, *runner, *job_context, *steps_context, *global_env;
	json_t *outer_env;                /* NULL: none */
	const enum result *action_status; /* of the composite action that a step lies in; NULL: none */
	struct frame *frame;              /* the innermost */
	struct template_scope scope;      /* conditions: status functions are known */
	json_t *defaults_run;             /* {"shell","working-directory"} or NULL */
	json_t *job_environ;              /* of this process, name → text */
	json_t *proxies;                  /* of those (environ_proxies) */
	json_t *prepend_path;             /* directory → true, in the order of their adding */
	size_t prepend_len;
	struct matchers *matchers; /* matcher.h; NULL: none was added yet */
	size_t masks_added;        /* by the steps */
	bool short_lines_told;
	bool debug, notice;
	bool unsecure_commands;

	/* directories, absolute */
	char *work, *pipeline, *workspace, *temp, *files, *tools, *event_path;
	int area_fd; /* holds the work area; 0: not yet */
	char *tracking_id;
	json_t *hook_state;            /* of the container hook (containers/hook.h): its own words; NULL: none yet */
	struct containers *containers; /* containers/containers.h; NULL: the job asks for none */

	struct record **records;
	size_t record_count, record_cap;
	struct record *setup, *complete, *decide;
	int completions;       /* of the steps of the job */
	struct record **posts; /* to be run after the last step, the last one first */
	size_t post_count, post_cap;
	struct prepared **prepared; /* the actions that were fetched */
	size_t prepared_count, prepared_cap;
	json_t *fetched; /* OWNER/REPO@REF → its directory beneath `work` */
	size_t uses_count, uses_seen;
	size_t manifest_bytes;
	int counter;
	struct log_stream log;
	int64_t stamp_wall_ms;
	char stamp[CLOCK_TEXT_SIZE + 1]; /* of that moment, and a blank */
	enum result result;              /* RESULT_NONE: so far good */
	json_t *outputs, *annotations;
	char *environment_url;
	/* steps in the background, in the order of their beginning (background.h) */
	struct background **backgrounds;
	size_t background_count, background_cap;
	int background_running;
	void (*background_next)(struct job *j); /* a slot has become free */
	struct background *active;              /* whose turn it is; NULL: the main line's */
	bool watched;          /* by a person, on standard output (console.c): the job ends with who watches */
	bool deserted;         /* who watched it is gone: there is nobody to report to */
	char *undo_continues;  /* deployment whose undo continues after us; NULL */
	json_t *telemetry;     /* NULL: nothing yet */
	struct checks *checks; /* of addresses, on their way; NULL: none */
};

/* ---- loop.c ---- */
struct pollfd;
void job_take_words(struct job *j); /* those that were read already */
/* One turn of the loop: waits at most max_ms for the listener's messages, the uploads, or `extra`. */
void job_turn(struct job *j, struct pollfd *extra, size_t count, int64_t max_ms);

/* How often the job was cancelled, or, in the background, this step. */
int job_cancels(const struct job *j); /* turns.c */

/* ---- sequence.c ---- */
enum result job_run(struct job *j);
void job_set_result(struct job *j, enum result r); /* merges and sets job.status */
bool job_status_is(void *user, enum expr_status which);

/* A record that is run after the last step: numbered as the service wants it. memory is that of `of`. */
struct record *record_expect_post(struct job *j, struct record *of, const char *name);

/* ---- contexts.c ---- */
/* Before anything is logged. */
int job_prepare(struct job *j, struct err *err);
/* Variables and secrets of the message. */
const char *job_variable(const struct job *j, const char *name);
const char *job_setting(const struct job *j, const char *name); /* of the listener; "" where it says nothing */

/* ---- directories.c ---- */
int job_make_directories(struct job *j, struct err *err);
/* Makes again what a step removed of RUNNER_TEMP: places and files that each step needs. */
int job_restore_temp(struct job *j, struct err *err);

/* ---- setup.c ---- */
/* "Set up job". */
int job_set_up(struct job *j, struct err *err);

/* ---- record.c ---- */
struct record *record_new(struct job *j, const char *id, const char *name); /* id NULL: a fresh one */
/* Of a step inside a composite action: the caller's, the service hears nothing of it. */
struct record *record_embedded(struct record *parent, const char *name);
void record_free(struct record *r);
void record_start(struct job *j, struct record *r);
void record_complete(struct job *j, struct record *r, enum result result);
void record_tell(struct job *j, const struct record *r);      /* its state to the service */
json_t *record_result(struct job *j, const struct record *r); /* of stepResults; NULL: it never ended */

/* ---- console.c ---- */
/* What happens goes to standard output as JSON, if the job is watched: {"step": {…}}, {"number", "lines"}, {"number", "summary"}, {"end"}. Masked
 * text only. */
void console_step(struct job *j, const struct record *r, const char *name);
void console_lines(struct job *j, const struct record *r, const char *text, size_t len);
void console_end(struct job *j); /* nothing more comes */
void console_summary(struct job *j, const struct record *r, const char *text, size_t len);

/* ---- log.c ---- */
/* One line (or several in one write) into the record's and the job's log, masked and stamped. */
void record_write(struct job *j, struct record *r, const char *text, size_t len);
/* Many lines, each ended by \n and masked and stamped by itself. */
void record_write_lines(struct job *j, struct record *r, const char *text, size_t len);
void record_line(struct job *j, struct record *r, const char *fmt, ...) _printf_(3, 4);
/* Warns once a job that a secret of several lines has lines too short to be masked by themselves. */
void record_short_lines(struct job *j, struct record *r);
void record_debug(struct job *j, struct record *r, const char *fmt, ...) _printf_(3, 4);
void record_error(struct job *j, struct record *r, const char *fmt, ...) _printf_(3, 4); /* an annotation too */
void record_close_log(struct job *j, struct record *r);
void job_close_log(struct job *j);
/* One masked line that stands in the job's log and in no step's; who watches the job sees it under the job's id [01: 6.3]. */
void job_write(struct job *j, const char *masked);
char *job_masked(const struct job *j, const char *text); /* free() */
/* The beginning of a text for a person: masked as a whole before it is cut. free() */
char *job_shown(const struct job *j, const char *text, size_t len, size_t max);
/* Masked; where there is something to set. */
void record_set_masked(const struct job *j, json_t *object, const char *key, const char *text);

/* ---- annotations.c ---- */
/* An annotation and its log line. properties: file, line, … or NULL. */
void record_issue(struct job *j, struct record *r, enum issue_kind kind, const char *message, const json_t *properties);
/* The same where a line of output is the issue: that line is shown in place of the message. */
void record_issue_in_line(struct job *j, struct record *r, enum issue_kind kind, const char *message, const char *line,
                          const json_t *properties);
void job_issue(struct job *j, enum issue_kind kind, const char *message);

/* ---- telemetry.c ---- */
/* type: "General", "ActionCommand", "ConnectivityCheck". The message is masked. */
void telemetry_add(struct job *j, const char *type, const char *fmt, ...) _printf_(3, 4);
/* Asks the addresses that the message names, beside the job. */
void telemetry_begin(struct job *j);
json_t *telemetry_end(struct job *j); /* all of it; what was not answered is given up. The caller's */

/* ---- problems.c ---- */
/* A process of the step begins, of which problems_take then gets the lines of r->stream. */
void problems_begin(struct job *j, struct record *r);
/* True if a problem matcher finds an issue in the line, which is then told. */
bool problems_take(struct job *j, struct record *r, const char *line, size_t len);
/* add-matcher, remove-matcher. owner NULL: not given. */
int problems_add(struct job *j, struct record *r, const char *file, struct err *err);
int problems_remove(struct job *j, struct record *r, const char *owner, const char *file, struct err *err);

/* ---- output.c ---- */
void output_line(struct job *j, struct record *r, const char *line, size_t len);  /* NUL-terminated */
void output_lines(struct job *j, struct record *r, const char *text, size_t len); /* many, each ended by \n */
void record_plain(struct job *j, struct record *r, const char *line, size_t len); /* shown, whatever it says */
int record_set_output(struct job *j, struct record *r, const char *name, const char *value, size_t len,
                      struct err *err);
/* For the later stages of an action. */
int record_save_state(struct job *j, struct record *r, const char *name, const char *value, size_t len,
                      struct err *err);

/* ---- effects.c ---- */
int effects_create_files(struct job *j, struct record *r, struct err *err);
void effects_read_files(struct job *j, struct record *r);
/* GITHUB_ENV and (by_command) set-env. */
int job_set_env(struct job *j, struct record *r, bool by_command, const char *name, const char *value, size_t len,
                struct err *err);
int job_add_path(struct job *j, const char *path, struct err *err);

/* ---- environ.c ---- */
enum {
	ENVIRON_TYPED =
		1, /* the worker's own and the contexts: nothing secret, nothing that a workflow or a step has set */
	ENVIRON_ACTION = 2,    /* inputs, saved state, and the services that actions use */
	ENVIRON_CONTAINER = 4, /* nothing of this machine's own */
	ENVIRON_INSIDE = 8, /* with the one before: in the job's container, for which it is else as on this machine */
	ENVIRON_HOOK =
		16, /* with ENVIRON_TYPED: the administrator's script: this machine's proxies, the identity token */
};
void environ_make(struct job *j, const struct record *r, int flags, struct strv *ret);
/* The proxies among these variables of this process, in both spellings, each with its scheme. New. */
json_t *environ_proxies(const json_t *environ);
/* The step's `env` context less what holds a secret. New. */
json_t *environ_open_values(const struct job *j, const struct record *r);
/* PATH as a step sees it. free() */
char *environ_path(const struct job *j, const struct record *r);
/* What the job's steps added to PATH, in front of base; NULL: nothing. free() */
char *environ_added_path(const struct job *j, const char *base);
/* The node that runs JavaScript actions on this machine; NULL: there is none. A step's PATH may lead to another one: that is for
 * its programs, not for actions. free() */
char *environ_node(const struct job *j);

/* ---- process.c ---- */
struct process {
	const char *const *argv;
	const char *const *env;
	const char *cwd;
	const char *input; /* standard input; NULL: empty */
	size_t input_len;
	int64_t timeout_ms; /* 0: none */
	bool patient;       /* a typed step: SIGINT, then all the remaining time, then SIGKILL */
	/* A workflow's script: starts behind the walls (base/sys/walls.h), and with SIGPIPE ignored, as under the official runner. */
	bool script;
	bool deaf; /* continues when the job is cancelled (it ends by itself soon) */
	/* Its lines are shown; none of them is a command. */
	bool plain;
	/* Passes a signal on to the program that it stands for; false: that cannot be reached. NULL: it is that program itself. */
	bool (*signal)(struct job *j, struct record *r, void *context, int number);
	void *signal_context;
};
enum process_end { PROCESS_EXITED, PROCESS_CANCELLED, PROCESS_TIMED_OUT };
/* Runs to its end; output goes through output_line. */
int process_run(struct job *j, struct record *r, const struct process *p, enum process_end *ret_end, int *ret_status,
                struct err *err);
/* Milliseconds that a typed step has for its undo when the job is cancelled now. */
int64_t process_patience(const struct job *j);

/* ---- step.c ---- */
/* The title of a step if the message has no final one [8.12]: the token of `name:`, else of the script; NULL if
 * `uses:` gives it. ret_prefix: the prefix of its value. */
const json_t *step_title_token(const json_t *step, const char **ret_prefix);
char *step_title(const char *prefix, const char *value); /* one line; free() */
void step_run(struct job *j, struct record *r);
/* Its parts, for a step that runs beside others: what is evaluated before (RESULT_NONE: it runs); the step itself, to its record's end; the end of
 * one that did not run; what later steps see of it; the job's env for those that come. */
enum result step_begin(struct job *j, struct record *r);
void step_execute(struct job *j, struct record *r);
void step_end(struct job *j, struct record *r, enum result result, bool may_continue);
void step_set_outcome(struct job *j, struct record *r);
void step_show_env(struct job *j);
/* True if its condition, and those of the steps around it, still hold now that the job is cancelled. */
bool step_goes_on(struct job *j, struct record *r);
struct template_scope step_value_scope(const struct job *j); /* without status functions */
int64_t step_time_ms(const struct record *r);                /* what is left of its time; 0: no limit */
/* The steps of a composite action see what the frame says until it is left. */
void step_enter_frame(struct job *j, struct frame *f);
void step_leave_frame(struct job *j);

/* For actions: the step's env into its log; how its process ended, said where it did not end by itself. */
void step_log_env(struct job *j, struct record *r);
enum result step_end_of_process(struct job *j, struct record *r, enum process_end end, int status);

/* ---- call.c ---- */
/* One exchange while the job's loop goes on. ERR_CANCELLED: the job was cancelled meanwhile. ret: zeroed by the caller. */
struct http_request;
struct http_response;
int job_call(struct job *j, const struct http_request *request, struct http_response *ret, struct err *err);
/* A pause; ERR_CANCELLED likewise. */
int job_pause(struct job *j, int64_t ms, struct err *err);
/* A program that is no step's: to its end, stopped when the time is over. A cancel stops it too (ERR_CANCELLED), unless deaf. Others as
 * proc_run. */
int job_child(struct job *j, const struct proc_options *options, int64_t timeout_ms, bool deaf, struct str *ret_output,
              struct str *ret_errors, int *ret_status, struct err *err);

/* ---- fetch.c ---- */
/* The archive that the service named (an entry of launch_read's answer), unpacked into `directory`, a path beneath the job's work area. */
int fetch_action(struct job *j, struct record *r, const json_t *info, const char *directory, struct err *err);

/* ---- prepare.c ---- */
/* Fetches what these steps use, and what that uses. depth: of the composite action that they are the steps of; 0: the job's. */
int prepare_actions(struct job *j, struct record *r, const json_t *steps, int depth, struct err *err);
/* The action of a reference to another repository; NULL: it was not fetched. */
const struct prepared *prepare_find(const struct job *j, const json_t *reference);
/* One of the workspace, as it is now: the caller's, prepared_free. */
int prepare_local(struct job *j, const json_t *reference, struct prepared **ret, struct err *err);
void prepared_free(struct prepared *p);

/* ---- actions/typed.c ---- */
struct uses;
/* davit-step with these inputs; deaf: a cancel of the job does not reach it. */
int typed_run(struct job *j, struct record *r, const struct uses *uses, const json_t *inputs, int64_t timeout_ms,
              bool deaf, enum process_end *ret_end, int *ret_status, struct err *err);

/* ---- hash_files.c ---- */
int hash_files(void *user, const char *const *patterns, size_t count, struct str *ret, struct err *err);

/* ---- decide.c ---- */
void job_decide(struct job *j);   /* the deployment that the job's steps shared */
void job_complete(struct job *j); /* "Complete job" */

/* ---- report.c */
enum report {
	REPORT_SENT,
	REPORT_KEPT,   /* it lies on this disk: the listener sends it later */
	REPORT_LOST,   /* the service does not want it any more: err says why */
	REPORT_FAILED, /* err says why */
};
/* Drains the uploads, then reports the end to the service. */
enum report job_report(struct job *j, struct err *err);
/* The completion alone. kept: it lies on the disk. result: changed where only a failure could be told. */
enum report job_send(struct job *j, const json_t *body, enum result *result, bool kept, struct err *err);
