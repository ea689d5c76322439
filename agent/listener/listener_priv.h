/* Shared by the listener's files. Everything here lives in one thread; callbacks run from http_step. */
#pragma once
#include <poll.h>

#include "agent/service/queue.h"
#include "agent/service/version.h"
#include "agent/listener/listener.h"
#include "base/sys/proc.h"
#include "base/sys/supervisor.h"

struct listener;

/* One request in flight. The client has its own copies of all that it was made of. */
typedef void (*call_done_fn)(void *context, int result, struct http_response *response, const struct err *err);
struct call {
	struct listener *listener;
	struct http_transfer *transfer; /* NULL: none */
	call_done_fn done;
	void *context;
};
/* A service's request: taken, and freed. token: NULL sends none. */
void call_service(struct listener *l, struct call *c, struct service_request *q, const char *token, call_done_fn done,
                  void *context);
struct call_request {
	const char *method; /* NULL: GET, or POST with a body */
	char *url;          /* taken */
	const char *token;  /* Bearer; NULL: none */
	const json_t *json; /* body; or */
	const char *form;   /* a form as body */
	bool last;          /* no other request to that server is near (http.h) */
	int64_t timeout_ms;
	size_t max_body;
};
/* Starts it; one that cannot be started is reported to done before this returns. Ends the previous request of the call.
 */
void call_start(struct listener *l, struct call *c, const struct call_request *q, call_done_fn done, void *context);
void call_cancel(struct call *c);
bool call_is_running(const struct call *c);
/* A success (2xx) as 0; else the error in ret_err, also for answers with another status. */
int call_result(int result, const struct http_response *response, const struct err *err, const char *what,
                struct err *ret_err);

/* ---- One registration. */
enum endpoint_step {
	STEP_TOKEN, /* get an access token, then continue with `after` */
	STEP_SESSION,
	STEP_POLL,
	STEP_HOLD,    /* a message is being handled: no poll until the job is acquired or dropped */
	STEP_RENEW,   /* the registration is being made anew */
	STEP_VERSION, /* the service refuses our version: nothing is asked until a newer one is known */
	STEP_DELETE,  /* the session, at an orderly end */
	STEP_ENDED,
};
struct endpoint {
	struct listener *listener;
	char *id; /* in the store; NULL: just-in-time */
	struct registration reg;
	json_t *isolation; /* as decided at the start, without the directories */
	struct str key;    /* just-in-time ones only; others are read when needed */
	enum endpoint_step step, after;
	struct call call;
	int64_t due_ms; /* monotonic; 0: not waiting */
	char *token;
	int64_t clock_ahead_ms;   /* the service's clock before this machine's, where it refused our time */
	int64_t token_refresh_ms; /* monotonic; 0: until it is refused */
	char *session;
	char *left_session;           /* of an agent that was killed; deleted before a new one is made */
	bool session_lost;            /* one may be open whose id nobody knows: the answer to its making did not come */
	char announced[VERSION_SIZE]; /* the version that the last request of a session or a message named */
	struct queue *queue;
	struct call removal; /* of a message that was dealt with; no poll before its answer */
	int unread;          /* messages in a row that could not be decrypted */
	char *last_request;  /* of the last job that was taken; NULL: none was */
	int refusals;        /* 401 in a row */
	int conflicts, failures, clock_failures, skips;
	int64_t unreachable_since_ms; /* first 404 to a session request */
	int64_t poll_started_ms, answered_wall_ms;
	int64_t heard_ms;     /* monotonic: of the last answer that was a good one; 0: none yet */
	int64_t last_wall_ms; /* of the last answer or failure of a poll */
	int last_status;      /* of that; 0: there was no answer */
	int64_t refused;      /* by the host's policy */
	char *area;           /* its work area; NULL: not asked for yet */
	int64_t area_bytes;   /* as last looked at */
	bool full;            /* there was too little room */
	bool polled_busy;
	bool told_error, listening;
	int jobs;     /* accepted and not over */
	bool closing; /* no further jobs; ends when none is left */
	bool forget;  /* the registration is gone or used up: delete it here */
	bool keep_session;
	int exit_code;
	struct proc renewal; /* makes the registration anew */
	int renewal_fd;      /* -1: none */
	int renewals;        /* in a row that failed */
};
struct endpoint *endpoint_new(struct listener *l, const char *id, struct registration *reg, struct str *key);
void endpoint_free(struct endpoint *e);
void endpoint_start(struct endpoint *e);
void endpoint_timer(struct endpoint *e, int64_t now_ms);
/* No further jobs; ends once its jobs are over. */
void endpoint_close(struct endpoint *e);
void endpoint_end(struct endpoint *e, int exit_code);
void endpoint_renewed(struct endpoint *e); /* the process that makes the registration anew ended */
bool endpoint_is_busy(const struct endpoint *e);
/* Asks for an access token; done gets the answer for endpoint_token_read. err says why it could not be requested. */
int endpoint_token_request(struct endpoint *e, struct call *c, call_done_fn done, void *context, struct err *err);
enum oauth_result endpoint_token_read(struct endpoint *e, int result, struct http_response *response,
                                      const struct err *failure, struct err *err);

/* ---- One job. */
enum lease_phase {
	LEASE_WAITING, /* for a slot */
	LEASE_ACKNOWLEDGE,
	LEASE_TOKEN,
	LEASE_ACQUIRE,
	LEASE_RENEW,
	LEASE_RUNNING,    /* the worker has it */
	LEASE_CLEARING,   /* the worker died: its leftover processes are being ended */
	LEASE_RECOVERING, /* the worker died: its deployment is decided first, since the job's token ends with the job */
	LEASE_COMPLETING, /* the listener completes it, as the worker did not */
	LEASE_OVER,
};
enum lease_drop { LEASE_DROP_FAILED, LEASE_DROP_SKIPPED, LEASE_DROP_RUNNER_IS_USED_UP };
/* What a job tells its registration; the next poll says it on. */
struct lease_events {
	void (*accepted)(struct endpoint *e);
	void (*dropped)(struct endpoint *e, enum lease_drop why); /* without being run */
	void (*over)(struct endpoint *e, int result);             /* 0 to 5 as the worker said it; -1: it did not */
};
struct lease {
	struct lease *next;
	struct listener *listener;
	struct endpoint *endpoint; /* NULL: taken over from an agent that died */
	const struct lease_events *events;
	int result;      /* of the worker; -1: none yet */
	int word_signal; /* the signal that carries commands to an adopted worker; 0: its input, or none */
	enum lease_phase phase;
	struct broker_message ref;
	struct call call, renewal;
	struct endpoint *renewer; /* whose token the renewals may need; NULL: none is known */
	bool renewed_token;       /* a new one was asked for since the last good renewal */
	int complete_index;       /* which of the requests that complete it comes next */
	bool completes_last;      /* none follows it */
	bool taken;               /* perhaps, by an earlier try (runservice_completed) */
	bool inquired;            /* the service was asked how the job stands */
	bool inquiry_token_asked; /* for that, where its registration had none any more */
	int tries;
	int64_t due_ms; /* of the next try in this phase; 0: none */
	struct run_job run;
	json_t *report;
	json_t *decided;  /* its deployment, as another job's recovery decided it before its own; NULL: none did */
	struct str input; /* for the worker's standard input, from `sent` on */
	size_t sent;
	struct proc worker;
	int pidfd;
	char tracking_id[48];
	int64_t locked_until_ms; /* monotonic: somebody may set the clock meanwhile; 0: no lease yet */
	int64_t renew_due_ms;    /* 0: none */
	int renew_failures;
	bool unknown;          /* the service did not know the job at the last renewal */
	char *user;            /* the worker's; NULL: ours */
	int64_t began_wall_ms; /* its worker had it; 0: not yet */
	char *progress;        /* where its worker says which step it is at; NULL: not known */
	char *actions;         /* which others' actions it may use, by the host's policy; NULL: as configured */
	bool acquired, cancelled, lease_lost, stopped;
	int64_t kill_due_ms;         /* 0: none */
	int64_t died_ms;             /* monotonic, of the worker */
	int orphan_signal;           /* the last one sent to its leftover processes */
	struct proc clearing;        /* removes its containers from the Docker engine */
	struct proc delivering;      /* sends the result that its worker left on the disk */
	bool kept_looked_for;        /* there is none: the listener completes it */
	bool unseen;                 /* its worker, of a former agent, has ended; how, nobody here could see */
	bool kept_only;              /* all that is known of the job is its id */
	int64_t clear_until_ms;      /* 0: that was not begun */
	const char *conclusion;      /* the result that the listener reports in place of the worker */
	char *explanation;           /* its annotation */
	char *results_base;          /* of the results service; NULL: there is none */
	struct unstarted *unstarted; /* tells why no worker got it; NULL: one did */
};
/* Takes the message's texts. */
struct lease *lease_new(struct endpoint *e, const struct lease_events *events, struct broker_message *ref);
void lease_free(struct lease *j);
void lease_begin(struct lease *j); /* a slot is free */
void lease_timer(struct lease *j, int64_t now_ms);
void lease_cancel(struct lease *j, int64_t timeout_ms);
void lease_shutdown(struct lease *j);
void lease_worker_ended(struct lease *j);
void lease_feed(struct lease *j);
/* The deployment of a job whose worker died is decided, as far as it can be. */
void lease_recovered(struct lease *j, const char *what);
int64_t lease_due(const struct lease *j);
bool lease_holds_slot(const struct lease *j);
/* True if its worker accepts messages. A worker of an older release that was taken over does not. */
bool lease_can_be_told(const struct lease *j);
/* Takes over a job that a dead agent was running, as recovery_keep_job wrote it: its worker may still be alive. renewer: whose job it was; NULL: not known. Takes run. */
void lease_adopt(struct listener *l, struct run_job *run, struct endpoint *renewer, const json_t *record);
/* A result of a worker of this user that lies unsent; of its job nothing else is known. */
void lease_adopt_result(struct listener *l, const char *job_id, const char *user);

/* ---- Recovery: davit-step recover, beside everything else (recovery.c). */
struct recovery {
	struct recovery *next;
	struct listener *listener;
	struct lease *job; /* waits for it; NULL: none */
	char *user;        /* NULL: the agent's own */
	char *report;      /* JSON for its standard input; NULL */
	struct proc proc;
	int pidfd;
	struct str output;
	int tries;
	int64_t due_ms;      /* of the next try; 0: running, or over */
	struct call comment; /* on the commit */
	char *comment_url;   /* its destination; NULL: none (yet) */
	json_t *comment_body;
	int comment_tries;
	json_t *decided;  /* what is told of its own job's deployment */
	const char *what; /* how it ended, for the job's annotation */
	bool over;
};
void recovery_add(struct listener *l, struct lease *job, const char *user, const json_t *report);
/* Recovers for every user that workers run as, and takes over the jobs that the previous agent left. */
void recovery_at_start(struct listener *l);
void recovery_timer(struct recovery *r, int64_t now_ms);
void recovery_read(struct recovery *r);  /* its standard output is readable */
void recovery_event(struct recovery *r); /* it ended */
void recovery_free(struct recovery *r);
void recovery_keep_job(
	const struct lease *j); /* sealed, until the job is decided; with its conclusion, if the listener gave it */
void recovery_forget_job(const struct lease *j);

/* ---- Results on the disk (delivery.c). */
/* Takes up what workers of this user left unsent, and no job of ours is about. */
void delivery_at_start(struct listener *l, const char *user);

/* ---- What `agent status` reads (running.c). */
void running_begin(struct listener *l); /* the endpoints are known */
void running_note_poll(struct endpoint *e);
void running_timer(struct listener *l, int64_t now_ms);
void running_write(struct listener *l);

/* ---- Who asks how it goes: the socket AGENT/status.sock, which gives the answer and reads nothing (teller.c). */
struct listener_reader {
	struct listener_reader *next;
	int fd; /* -1: it has all, or went away */
	struct str answer;
	size_t sent;
	int64_t until_ms;
};
struct teller {
	int fd; /* -1: none */
	struct listener_reader *readers;
};
void teller_begin(struct listener *l);
void teller_accept(struct listener *l);
void teller_write(struct listener_reader *reader);
int64_t teller_due(const struct listener *l); /* 0: nobody is there */
void teller_timer(struct listener *l, int64_t now_ms);
void teller_end(struct listener *l);

/* ---- What the running agent knows (live.c): all that the records do not say. */
json_t *listener_live(const struct listener *l);
/* Something listens, and each registration that does was answered lately. */
bool listener_is_healthy(const struct listener *l);
void listener_note_refusal(struct listener *l, const struct lease *j, const char *rule, const char *reason);

/* ---- Room for work areas (areas.c). */
struct areas {
	struct proc proc; /* of the user whose areas are looked at */
	int pidfd;        /* -1: none */
	struct str output;
	size_t next;              /* the endpoint whose user comes next */
	int64_t due_ms, ended_ms; /* 0: not */
};
void areas_begin(struct listener *l);
void areas_look_soon(struct listener *l);
void areas_timer(struct listener *l, int64_t now_ms);
void areas_read(struct listener *l);  /* its output is readable */
void areas_ended(struct listener *l); /* its process did */
void areas_end(struct listener *l);
/* There is less room than --free-space: no job may come. Told when it changes. */
bool areas_are_full(struct endpoint *e);

/* ---- A URL that is asked for while all is well (ping.c): who watches it misses the calls of an agent that died. */
struct ping {
	struct call call;
	int64_t due_ms; /* 0: never */
	bool failed;    /* and that was told */
};
void ping_begin(struct listener *l);
void ping_timer(struct listener *l, int64_t now_ms);
void ping_end(struct listener *l);

/* ---- The version that the services are told (version.c). */
struct version_source {
	unsigned char key[ED25519_KEY_SIZE];
	int64_t serial; /* of the newest good document; 0: none yet */
	struct call call;
	int64_t due_ms, asked_ms, asked_wall_ms; /* due: 0: never, or being asked */
	bool failed;                             /* and that was told */
};
int version_begin(struct listener *l, struct err *err);
void version_timer(struct listener *l, int64_t now_ms);
/* A service refused it: the source is asked soon. False: there is none. */
bool version_refused(struct listener *l);
json_t *version_describe(const struct listener *l); /* new; null: no source */
void version_end(struct listener *l);
/* A newer one may be known: a registration that waits for it goes on. */
void endpoint_version_changed(struct endpoint *e);

/* ---- The descriptors of one turn (watch.c). */
enum watch_kind {
	WATCH_CANCEL,
	WATCH_WORKER,
	WATCH_INPUT,
	WATCH_RECOVERY,
	WATCH_OUTPUT,
	WATCH_ASKED,
	WATCH_READER,
	WATCH_SWEEP,
	WATCH_SWEPT,
	WATCH_RENEWAL
};
struct watch_owner {
	enum watch_kind kind;
	struct lease *job;
	struct recovery *recovery;
	struct listener_reader *reader;
	struct endpoint *endpoint;
};
struct watch {
	struct pollfd *fds;
	struct watch_owner *owners;
	size_t count, cap;
};
void watch_fill(struct watch *w, const struct listener *l);
void watch_handle(const struct watch *w, struct listener *l);
void watch_done(struct watch *w);

/* ---- Another davit in this one's place (update.c, update.h). */
struct update {
	char *program;    /* that is to take over; NULL: none is asked for */
	int sessions;     /* that it has to open first */
	json_t *ended;    /* how the last one went; NULL */
	char *former;     /* the program that this one took over from, as long as it may have to go back; NULL */
	int64_t until_ms; /* when it does; 0: never */
};
void update_begin(struct listener *l);
void update_look(struct listener *l); /* is one asked for? */
void update_timer(struct listener *l, int64_t now_ms);
/* After the loop. Does not return if a program was executed. False: none is asked for; true: none could be. */
bool update_carry_out(struct listener *l);
json_t *update_describe(const struct listener *l); /* new; null: none */
void update_done(struct listener *l);

/* ---- What a service manager is told (watchdog.c). */
void watchdog_begin(struct listener *l); /* ready: the registrations are read, the loop begins */
void watchdog_timer(struct listener *l, int64_t now_ms);
void watchdog_stopping(struct listener *l);

struct listener {
	const struct records *store; /* NULL: just-in-time */
	struct listener_options options;
	struct http *http;
	struct endpoint **endpoints;
	size_t endpoint_count;
	/* A turn of the loop does not look at each of hundreds. */
	int64_t endpoints_due_ms; /* none of them is due before; 0: none waits */
	size_t renewing;          /* so many have a process that makes their registration anew */
	struct lease *jobs;
	struct recovery *recoveries;
	int cancel_fd;
	bool stopping, connected;
	bool told;     /* to stop, once */
	bool draining; /* no further jobs, but those that run may end */
	struct update update;
	int probed; /* sessions that were opened for --probe */
	struct teller teller;
	struct ping ping;
	struct version_source version;
	struct areas areas;
	json_t *refusals; /* of the policy, the newest last; NULL: none */
	int64_t refusal_count, started_wall_ms;
	int64_t trim_due_ms;                        /* 0: none */
	int64_t running_due_ms, running_written_ms; /* due: 0: nothing new */
	struct supervisor supervisor;
	int64_t watchdog_due_ms; /* 0: nobody asked for it */
	char told_status[128];
	bool once_taken, once_done;
	int last_result; /* 0 to 5 of the job of a run-once listener, -1 */
	char *program;   /* this one, as listener_program says it */
	char *state_dir; /* the journal's, of the agent's own user */
};
#define LISTENER_INIT                                                                                                  \
	{                                                                                                              \
		.cancel_fd = -1, .teller = {.fd = -1}, .supervisor = SUPERVISOR_INIT, .areas = {                       \
			.proc = PROC_INIT,                                                                             \
			.pidfd = -1                                                                                    \
		}                                                                                                      \
	}
/* This program, for workers: one that took over was renamed meanwhile. Until the next call. */
const char *listener_program(struct listener *l);
/* environment.c: takes in `.env` and `.path` of the agent's directory, where they are there. */
int listener_read_environment(const char *dir, struct err *err);
/* The directory of the journal of a user; NULL name: the agent's own. free(); NULL with err. */
char *listener_state_dir(const struct listener *l, const char *user, struct err *err);
/* The policy of this host as it is now; errors name the file. */
struct admission;
int listener_policy(const struct listener *l, struct admission **ret, struct err *err);
/* The isolation settings for the worker of a job, with the directories. *ret: new, NULL if nothing was decided. */
int listener_isolation(struct listener *l, const struct endpoint *e, json_t **ret, struct err *err);
/* "2026-01-02 03:04:05Z: text" on standard output (protocol 6.6). */
void listener_say(const char *fmt, ...) _printf_(1, 2);
/* *due: the sooner one; 0 is never. */
static inline void listener_nearer(int64_t *due, int64_t other)
{
	if (other != 0 && (*due == 0 || other < *due))
		*due = other;
}
/* Said once, with the first session. */
void listener_connected(struct listener *l);
void listener_start_jobs(struct listener *l);
/* No further jobs; those that run go on, and the loop ends with the last one. */
void listener_drain(struct listener *l);
/* No further jobs; those that run are told to end. */
void listener_stop(struct listener *l);
/* Random pause of the protocol, paced: from low to high milliseconds. */
int64_t listener_pause(int64_t low_ms, int64_t high_ms);
/* The longer of our own pause and the one that an answer asks for (Retry-After), at most 10 minutes of that. */
int64_t listener_pause_asked(int64_t own_ms, const struct http_response *response);
/* Soon returns memory left by start-up, handshakes and messages (memory.c) to the system, once. */
void listener_trim_soon(struct listener *l);
void listener_trim(struct listener *l, int64_t now_ms);
void listener_set_up_memory(void);
