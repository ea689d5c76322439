/* The health gate: a check is tried until it succeeded `for` times in a row, went on doing so as long as it has to settle, and was as fast
 * as it must be; or until the gate's deadline is over.
 *
 * What a check asks is a probe, one const entry in a file of its own (struct probe_type). Those that are asked from this machine run in
 * one event loop; those that are asked on a target run beside them on a thread for each target, one after the other, since one session
 * serves a target.
 *
 *   health_gate.c  the step         loop.c    who is asked when    result.c    a try is judged and told
 *   baseline.c     the round before the first change               lane.c      the threads of the targets
 *   probes.c       the list         http.c from.c tcp.c tls.c dns.c command.c container.c compose.c postgres.c unit.c
 *   lookup.c connect.c ssl_request.c docker.c json.c text.c: what probes share */
#pragma once
#include "base/net/http.h"
#include "steps/common/command.h"
#include "schemas/health_gate.h"
#include <poll.h>
#include <stdatomic.h>

enum { GATE_BODY_MAX = 256 << 10, GATE_SEEN_MAX = 400, GATE_LOG_LINES = 10 };

struct gate;
struct gate_check;

/* What a try gave. Strings are as they came: they are masked, made visible and cut when they are told. */
struct gate_answer {
	bool ok;
	bool cut;          /* by the gate's deadline: it says less than the one before */
	struct str seen;   /* said behind the label: "answered 502, wanted 200" */
	char *address;     /* who answered: "192.0.2.7:443"; NULL: it is in the label, or nobody */
	int status;        /* of an answer by HTTP, of a command; -1: none */
	struct str begins; /* the first bytes of what was answered */
	struct strv log;   /* the last lines that the thing itself wrote; shown when the gate fails */
	char *incarnation; /* what changes when the thing is restarted; NULL: it has none */
	int64_t ms;        /* -1: from the start of the try until here */
};

/* Where faults of a check are put: "/checks/3/tls". */
struct gate_place {
	struct faults *faults;
	const struct step_context *c;
	size_t index;
};
/* member: NULL or a path below the check, "tls/address". */
void gate_fault(const struct gate_place *place, const char *member, const char *hint, const char *fmt, ...)
	_printf_(4, 5);

struct probe_type {
	const char *name; /* the input that chooses it: schemas/probes/NAME.json */
	bool (*is_asked)(const struct health_gate_checks *in);
	void (*label)(const struct health_gate_checks *in, struct str *out);
	void (*validate)(const struct health_gate_checks *in, const struct gate_place *place); /* may be NULL */
	char *(*host)(const struct health_gate_checks
	                      *in); /* who is asked from here, by name or number; free(). NULL: nobody */
	int64_t settle_ms;          /* where the check does not say */

	/* From this machine; NULL: it is asked on a target only. start begins a try, whose end comes by gate_result in the loop: out of start, of
	 * turn, or of the gate's HTTP client. */
	void (*start)(struct gate_check *check);
	void (*poll)(const struct gate_check *check,
	             struct pollfd *ret);       /* what is waited for; NULL: only the HTTP client */
	void (*turn)(struct gate_check *check); /* after each wait; NULL: as poll */
	void (*stop)(struct gate_check *check); /* gives up what is in flight; frees check->own */

	/* On a target: blocks, on the target's thread, and ends in gate_result. NULL: from this machine only. */
	void (*ask)(struct gate_check *check);
	int (*can_ask)(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
	               struct err *err); /* may be NULL */
};
extern const struct probe_type *const probe_types[]; /* NULL at the end */
const struct probe_type *probe_type_of(const struct health_gate_checks *in);

struct gate_check {
	const struct health_gate_checks *in;
	const struct probe_type *type;
	struct gate *gate;
	char *label;           /* masked */
	struct target *target; /* it is asked on; NULL: from this machine */
	void *own;             /* the probe's, while a try is in flight */

	bool in_flight, answered; /* answered: by gate_result, not yet taken by the loop */
	struct gate_answer answer;
	int64_t tries, next_mono_ms, started_mono_ms, pause_ms;
	int64_t successes, row_since_mono_ms; /* in a row, and since when */
	char *incarnation;                    /* of the first success of the row */
	bool passed, last_ok;
	atomic_bool finished; /* of a baseline: nothing of it changes any more */
	struct str seen;      /* of the last try */
	struct strv log;      /* of the last try that failed */
	int64_t events;       /* written so far */
	int64_t *latencies;   /* of the last successes, as a ring */
	size_t latency_count, latency_next;
};

struct gate_lane;
struct gate {
	const struct step_context *c;
	struct wait *wait;
	struct http *http;
	struct gate_check *checks;
	size_t count;
	bool baseline; /* one round */
	bool silent;   /* on a thread of its own: it is told later by whoever collects it */
	int64_t started_mono_ms, deadline_mono_ms;
	struct gate_lane *lanes; /* one a target */
	size_t lane_count;
	int woken_fd, stop_fd; /* a lane has an answer; the lanes shall stop */
};

/* ---- result.c ---- */
/* The end of a try. `fmt` is said in a sentence after the label: "answered 502". */
void gate_result(struct gate_check *check, bool ok, const char *fmt, ...) _printf_(3, 4);
void gate_answer_done(struct gate_answer *a);
/* Judges and tells what gate_result left. */
void gate_take(struct gate_check *check);
/* To log and journal, as the answer of the last try. */
void gate_tell(struct gate_check *check, bool same);
int gate_failed(const struct gate *g, struct err *err);

/* ---- latency.c ---- */
size_t gate_latency_room(const struct health_gate_checks *in);
void gate_latency_add(struct gate_check *check, int64_t ms);
int64_t gate_percentile(const struct gate_check *check, int percent); /* -1: nothing was measured */
/* Enough were measured, and they are within the bounds; else why not. */
bool gate_latency_holds(const struct gate_check *check, struct str *why);
json_t *gate_latency_json(const struct gate_check *check);

/* ---- loop.c ---- */
void gate_init(struct gate *g, const struct step_context *c, bool baseline);
int gate_add(struct gate *g, const struct health_gate_checks *in, struct err *err);
void gate_done(struct gate *g);
/* Until all have passed, a baseline until each was tried; 0 or an error of the wait. Whether they have passed is in the checks. */
int gate_run(struct gate *g, struct err *err);
bool gate_is_healthy(const struct gate *g);
/* The time for a try: the check's own limit, within the gate's deadline. */
int64_t gate_left_ms(const struct gate_check *check);

/* ---- lane.c ---- */
int gate_lanes_open(struct gate *g, struct err *err);
bool gate_lane_start(struct gate_check *check); /* false: the target is busy */
void gate_lanes_collect(struct gate *g);        /* those that have answered are free again */
void gate_lanes_close(struct gate *g);

/* ---- baseline.c ---- */
struct gate_memory {
	struct gate_baseline *list;
};
void gate_baseline_begin(const struct step_context *c);
int gate_baseline_end(const struct step_context *c, int64_t wait_ms, struct err *err);
void gate_baseline_forget(void *memory);
/* p95 of that check before the deployment; -1: not known. */
int64_t gate_baseline_p95(const struct step_context *c, const struct health_gate_checks *in);

/* ---- what probes share ---- */
bool gate_is_there(const struct health_gate_checks *in, const struct probe_type *type);
struct target *gate_find_target(const struct step_context *c, const char *name);
/* The answer of a command on the check's target; false: there is none, and gate_result got the reason (`late`: "did not end"). */
bool gate_query(struct gate_check *check, const struct target_command *call, const char *late,
                struct target_result *ret);
/* The same for what a try can do without: nothing is told. */
bool gate_ask(struct gate_check *check, const struct target_command *call, struct target_result *ret);
/* For can_ask: a fault, with that hint, where the target lacks it. */
int gate_needs_program(struct view *v, const char *name, const char *hint, const struct gate_place *place,
                       struct err *err);
/* The first bytes of what was answered. */
void gate_begins(struct gate_check *check, const struct str *text);
/* The last lines of a text, for check->answer.log. */
void gate_log_tail(struct gate_check *check, const char *who, const struct str *text);

/* `status`: a number, a range "200-299", or a list of those. */
void gate_status_faults(const json_t *status, const struct gate_place *place);
bool gate_status_accepts(const json_t *status, int code);
void gate_status_show(const json_t *status, struct str *out);
/* contains and matches. Returns true when both hold; else the reason is in `why`. */
bool gate_text_holds(const struct health_gate_checks *in, const struct str *text, const char *what, struct str *why);
int gate_pattern_check(const char *pattern, struct err *err);
/* "HOST:PORT", "[::1]:80". The host is the caller's. */
int gate_split_address(const char *address, char **ret_host, int *ret_port, struct err *err);
/* The certificates that `ca` means: its text, or a file of the source tree. NULL in *ret where it is NULL. */
int gate_read_ca(const struct step_context *c, const char *ca, char **ret, struct err *err);
/* `json`: true when the value is there and equal. */
bool gate_json_holds(const struct health_gate_checks_json *in, const struct str *body, struct str *why);

/* An answer by HTTP, however it was asked for. */
void gate_http_judge(struct gate_check *check, const struct http_response *response, const struct str *body);

/* Names are resolved on a thread of their own, since the system's resolver can neither be polled nor be stopped; a look-up that is given
 * up leaves the thread its own copy of everything. */
/* The answer of that server, its length; -1: none came. Waits, for a thread of its own. type: ns_t_a, … */
struct sockaddr_in;
int gate_ask_server(const struct sockaddr_in *server, const char *name, int type, unsigned char *answer, size_t max);
struct gate_lookup;
/* resolver: "ADDRESS" or "ADDRESS:PORT" of a DNS server; NULL: as this machine resolves names. NULL: it cannot be begun. */
struct gate_lookup *gate_lookup_start(const char *host, int port, const char *resolver);
int gate_lookup_fd(const struct gate_lookup *l); /* readable when it is over; that may be at once */
struct addrinfo;
/* Once it is over: 0, or why not in *ret_why. The addresses are the look-up's. */
int gate_lookup_result(const struct gate_lookup *l, const struct addrinfo **ret_list, const struct strv **ret_addresses,
                       const char **ret_why);
void gate_lookup_release(struct gate_lookup *l);

/* Containers as `docker inspect` with this format gives them, one JSON object a line. */
extern const char gate_docker_format[];
enum { GATE_DOCKER_MAX = 4 << 20 };
bool gate_docker(struct gate_check *check, const char *const *argv,
                 struct target_result *ret); /* false: gate_result was told why */
int gate_docker_can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place,
                        struct err *err);
/* One container: true when it runs and is healthy, or, with may_end, has ended with 0. *ret_runs: it runs. */
bool gate_container_is_well(const json_t *container, bool may_end, bool *ret_runs, struct str *why);
void gate_container_incarnation(const json_t *container, struct str *out);
/* Its last log lines into the answer, where there is time. */
void gate_container_log(struct gate_check *check, const json_t *container, const char *who);

/* A connection to "HOST:PORT" on the gate's loop. NULL: see err. */
struct gate_connection;
struct gate_connection *gate_connect(const char *address, struct err *err);
void gate_connection_poll(const struct gate_connection *n, struct pollfd *ret);
int gate_connection_turn(struct gate_connection *n, struct err *err); /* 1: it stands, 0: not yet, negative: none */
int gate_connection_take(struct gate_connection *n);                  /* its descriptor, the caller's from now on */
void gate_connection_free(struct gate_connection *n);
/* Who is at the other end: "192.0.2.7", or "192.0.2.7:443", "[::1]:80"; NULL: nobody. free() */
char *gate_peer(int fd, bool with_port);

/* The same to a PostgreSQL server, up to where TLS begins. */
struct gate_ssl_request;
struct gate_ssl_request *gate_ssl_request_start(const char *address, struct err *err);
void gate_ssl_request_poll(const struct gate_ssl_request *q, struct pollfd *ret);
int gate_ssl_request_turn(struct gate_ssl_request *q, struct err *err);
int gate_ssl_request_fd(const struct gate_ssl_request *q); /* once it stands; its own */
void gate_ssl_request_free(struct gate_ssl_request *q);
