/* Shared by every exchange with GitHub's runner services: the version we are compatible with, the names of system and
 * processor, URLs, header lines, tolerant reading of their JSON, and the error envelopes of broker and run service.
 * Source: PROTOCOL.md in this directory (sections of the protocol notes in brackets). */
#pragma once
#include "base/net/http.h"
#include "base/data/json.h"

/* The runner release whose behaviour we follow; services refuse versions that are too old [1.7, 4.6]. */
#define WIRE_RUNNER_VERSION "2.336.0"
/* What this process was told in its place: by wire_set_runner_version, else by the environment, for processes that the agent starts. */
#define WIRE_VERSION_VARIABLE "DAVIT_RUNNER_VERSION"
const char *wire_runner_version(void);
void wire_set_runner_version(const char *version); /* anything but a version changes nothing */
enum { WIRE_JOB_MAX = 64 << 20, WIRE_MESSAGE_MAX = 1 << 20, WIRE_ANSWER_MAX = 1 << 20 };

const char *wire_os(void);   /* "Linux" */
const char *wire_arch(void); /* "X64", "ARM64", … */
/* Starts with the known-good product token, followed by our name [1.6, 7.2]. Until the next call. */
const char *wire_user_agent(void);

/* For the client of every program that speaks to these services: our name, a client certificate ($DAVIT_CLIENT_CERT, with its key in
 * $DAVIT_CLIENT_KEY or the same file), and whether nothing is verified (GITHUB_ACTIONS_RUNNER_TLS_NO_VERIFY) [7.4]. Until the next call. */
struct http_config wire_http_config(void);

/* One try of a call: 100 s, or what GITHUB_ACTIONS_RUNNER_HTTP_TIMEOUT says (100 to 1200 s) [7.7]. */
int64_t wire_call_ms(void);
/* The limit of a call that has one of its own. Of this and the one above tests may want a part: DAVIT_LIMIT_PERCENT, 1 to 100. */
int64_t wire_limit_ms(int64_t ms);
/* Further tries below those that each call has of its own: 3, or what GITHUB_ACTIONS_RUNNER_HTTP_RETRY says (3 to 10) [7.7]. */
int wire_retries(void);

/* Passwords of the proxies that the environment names, as they stand there and decoded [7.3]. */
struct mask;
void wire_mask_proxies(struct mask *mask);

/* Base and relative name; a missing slash between them is added [5.1]. free() */
char *wire_url(const char *base, const char *name);
/* One value of a query or of a form, percent-encoded. */
void wire_escape(struct str *out, const char *text);

/* Keys are case-insensitive, numbers and booleans may be strings [0.3, 1.12]. Borrowed; NULL when absent or of another type. */
json_t *wire_get(const json_t *object, const char *key);
const char *wire_string(const json_t *object, const char *key);
int64_t wire_int(const json_t *object, const char *key, int64_t otherwise);
bool wire_bool(const json_t *object, const char *key, bool otherwise);
/* Wall milliseconds; 0 for "unset" (0001-01-01T00:00:00) and for an invalid time. */
int64_t wire_time(const char *text);
/* "[d.]hh:mm:ss[.fffffff]"; `otherwise` when it is invalid. */
int64_t wire_duration_ms(const char *text, int64_t otherwise);
/* 1, true, $true, case-insensitive [7.7]. */
bool wire_is_true(const char *text);

/* Header lines of a call; body: Content-Type is added. scheme NULL: no Authorization. Wipe with wire_headers_done. */
struct wire_headers {
	char *lines[10]; /* NULL-terminated */
	size_t count;
};
void wire_headers_make(struct wire_headers *ret, const char *scheme, const char *token, bool accept, bool body);
void wire_headers_done(struct wire_headers *h);
/* A JSON answer, skipping a byte order mark. ERR_PROTOCOL when it is not a JSON object. */
int wire_parse_object(const char *data, size_t len, json_t **ret, struct err *err);
int wire_read_object(const struct http_response *response, json_t **ret, struct err *err);

/* An answer that is not a success, as a message for people: status, the service's own message, its request id. Returns the
 * code: ERR_AUTH (401, 403), ERR_NOT_FOUND, ERR_NETWORK (429, 5xx: retryable), else ERR_PROTOCOL. foreign = the status.
 */
int wire_status_error(const struct http_response *response, const char *what, struct err *err);

enum broker_error {
	BROKER_ERROR_NONE, /* no envelope of the broker's */
	BROKER_ERROR_OTHER,
	BROKER_ERROR_RUNNER_NOT_FOUND,
	BROKER_ERROR_VERSION_TOO_OLD,
	BROKER_ERROR_DEPROVISIONED,
	BROKER_ERROR_SESSION_INVALID,
	BROKER_ERROR_ACKNOWLEDGE_NOT_FOUND,
};
/* Used only when the body's source is the broker [0.5]. */
enum broker_error wire_broker_error(const struct http_response *response);
/* statusCode of the body when its source is the run service, else 0 [0.5]. */
int wire_run_service_error(const struct http_response *response);
