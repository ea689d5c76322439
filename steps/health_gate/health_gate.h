/* The parts of the health gate, split by the kind of check. A check is tried until it succeeded `for` times in a row,
 * or the gate's deadline is over. http and tcp run side by side in one loop on this machine; commands run between their
 * rounds, one after the other, since one session serves a target. */
#pragma once
#include "base/net/http.h"
#include "steps/common/command.h"
#include "schemas/health_gate.h"
#include <poll.h>

enum { GATE_BODY_MAX = 256 << 10, GATE_SEEN_MAX = 400 };
enum gate_kind { GATE_HTTP, GATE_TCP, GATE_COMMAND, GATE_FROM }; /* the last two: on a target, one after the other */

struct tcp_probe;
struct gate_check {
	const struct health_gate_checks *in;
	enum gate_kind kind;
	const char *label; /* borrowed: the name, else the URL, address or command */
	char *label_owned;
	struct target *target; /* of a command, or that it is asked from */
	int64_t tries, successes, first_success_mono_ms;
	int64_t next_mono_ms, started_mono_ms, pause_ms;
	bool in_flight, passed, last_ok;
	struct str seen; /* what the last try saw, one line, masked */
	int64_t events;  /* written so far */
	struct gate *gate;
	struct http_transfer *transfer;
	struct str body;
	struct tcp_probe *tcp;
};

struct gate {
	const struct step_context *c;
	struct http *http;
	struct gate_check *checks;
	size_t count;
	bool baseline;
	int64_t started_mono_ms, deadline_mono_ms;
};

/* The end of a try. `seen` is said in a sentence after the label: "answered 502". */
void gate_result(struct gate_check *check, bool ok, const char *fmt, ...) _printf_(3, 4);

/* What a try may take: the check's own limit, within the gate's deadline. */
int64_t gate_left_ms(const struct gate_check *check);
/* The answer of a command on the check's target; false: there is none, and gate_result was told why (`late`: "did not end"). */
bool gate_query(struct gate_check *check, const struct target_command *call, const char *late,
                struct target_result *ret);

/* Start a try; the end comes by gate_result, for a command before it returns. */
void gate_http_start(struct gate_check *check);
void gate_tcp_start(struct gate_check *check);
void gate_command_try(struct gate_check *check);
void gate_from_try(struct gate_check *check);
/* Can that target ask? */
int gate_from_check(struct view *v, const char *pointer, struct faults *faults, struct err *err);
/* Gives up what is in flight. */
void gate_http_stop(struct gate_check *check);
void gate_tcp_stop(struct gate_check *check);
/* What poll shall watch for a tcp check in flight, and its turn after poll. */
void gate_tcp_poll(const struct gate_check *check, struct pollfd *ret);
void gate_tcp_turn(struct gate_check *check);

/* `status`: a number, a range "200-299", or a list of those. */
void gate_status_faults(const json_t *status, const char *pointer, struct faults *faults);
bool gate_status_accepts(const json_t *status, int code);
void gate_status_show(const json_t *status, struct str *out);
/* contains and matches. Returns true when both hold; else says why in `why`. */
bool gate_text_holds(const struct health_gate_checks *in, const struct str *text, const char *what, struct str *why);
int gate_pattern_check(const char *pattern, struct err *err);
/* "HOST:PORT", "[::1]:80". The host is the caller's. */
int gate_split_address(const char *address, char **ret_host, int *ret_port, struct err *err);
