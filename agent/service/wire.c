#include "agent/service/wire.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <sys/utsname.h>

#include "agent/service/registration.h"
#include "agent/service/version.h"
#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/net/url.h"
#include "base/secret/mask.h"

const char *wire_os(void)
{
	return "Linux";
}

const char *wire_arch(void)
{
#if defined(__x86_64__)
	return "X64";
#elif defined(__i386__)
	return "X86";
#elif defined(__aarch64__)
	return "ARM64";
#elif defined(__arm__)
	return "ARM";
#else
#error "the runner services know no name for this processor"
#endif
}

/* Of this process; empty: as built in. */
static char told_version[VERSION_SIZE];

void wire_set_runner_version(const char *version)
{
	if (version_is_one(version))
		(void)snprintf(told_version, sizeof(told_version), "%s", version);
}

const char *wire_runner_version(void)
{
	if (told_version[0] == '\0')
		wire_set_runner_version(getenv(WIRE_VERSION_VARIABLE));
	return told_version[0] != '\0' ? told_version : WIRE_RUNNER_VERSION;
}

const char *wire_user_agent(void)
{
#if defined(__x86_64__)
	static const char system[] = "x64";
#elif defined(__aarch64__)
	static const char system[] = "arm64";
#else
	static const char system[] = "arm";
#endif
	static char line[96];
	(void)snprintf(line, sizeof(line), "GitHubActionsRunner-linux-%s/%.23s davit/" DAVIT_VERSION, system,
	               wire_runner_version());
	return line;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value != NULL && *value != '\0' ? value : NULL;
}

struct http_config wire_http_config(void)
{
	return (struct http_config){.user_agent = wire_user_agent(),
	                            .client_cert = variable("DAVIT_CLIENT_CERT"),
	                            .pace_percent = (int)registration_pace(100),
	                            .client_key = variable("DAVIT_CLIENT_KEY"),
	                            .insecure = wire_is_true(getenv("GITHUB_ACTIONS_RUNNER_TLS_NO_VERIFY"))};
}

/* Beyond the bounds the nearer one counts. */
static int64_t bounded_variable(const char *name, int64_t least, int64_t most, int64_t otherwise)
{
	const char *text = variable(name);
	long long value;
	if (text == NULL || !str_parse_i64(text, INT32_MIN, INT32_MAX, &value))
		return otherwise;
	return MAX(MIN(value, most), least);
}

int64_t wire_limit_ms(int64_t ms)
{
	return ms * bounded_variable("DAVIT_LIMIT_PERCENT", 1, 100, 100) / 100;
}

int64_t wire_call_ms(void)
{
	return wire_limit_ms(bounded_variable("GITHUB_ACTIONS_RUNNER_HTTP_TIMEOUT", 100, 1200, 100) * 1000);
}

int wire_retries(void)
{
	return (int)bounded_variable("GITHUB_ACTIONS_RUNNER_HTTP_RETRY", 3, 10, 3);
}

static void mask_password(struct mask *mask, const char *proxy)
{
	static const unsigned int forms[] = {0, CURLU_URLDECODE};
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, proxy, CURLU_GUESS_SCHEME) != CURLUE_OK)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		char *password = net_url_part(url, CURLUPART_PASSWORD, forms[i]);
		if (password != NULL) {
			mask_add(mask, password, strlen(password));
			explicit_bzero(password, strlen(password));
		}
		free(password);
	}
}

void wire_mask_proxies(struct mask *mask)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "all_proxy",
	                                    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (variable(names[i]) != NULL)
			mask_password(mask, variable(names[i]));
}

char *wire_url(const char *base, const char *name)
{
	size_t len = strlen(base);
	return xasprintf("%s%s%s", base, len > 0 && base[len - 1] == '/' ? "" : "/", name);
}

void wire_escape(struct str *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (isalnum(*p) || strchr("-._~", *p) != NULL)
			str_append_c(out, (char)*p);
		else
			str_appendf(out, "%%%02X", *p);
	}
}

json_t *wire_get(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value != NULL)
		return value;
	const char *name;
	json_object_foreach((json_t *)object, name, value) if (strcasecmp(name, key) == 0) return value;
	return NULL;
}

const char *wire_string(const json_t *object, const char *key)
{
	return json_string_value(wire_get(object, key));
}

int64_t wire_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = wire_get(object, key);
	long long number;
	if (json_is_integer(value))
		return json_integer_value(value);
	if (json_is_string(value) && str_parse_i64(json_string_value(value), INT64_MIN, INT64_MAX, &number))
		return number;
	return otherwise;
}

bool wire_is_true(const char *text)
{
	return text != NULL &&
	       (strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0 || strcasecmp(text, "$true") == 0);
}

bool wire_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = wire_get(object, key);
	if (json_is_boolean(value))
		return json_is_true(value);
	if (json_is_integer(value))
		return json_integer_value(value) != 0;
	if (json_is_string(value))
		return wire_is_true(json_string_value(value));
	return otherwise;
}

int64_t wire_time(const char *text)
{
	int64_t ms;
	if (text == NULL || str_starts(text, "0001-01-01") || clock_parse_rfc3339(text, &ms) < 0)
		return 0;
	return ms;
}

/* Reads digits up to `limit`; moves *p past them. -1: none, or more. */
static int64_t read_digits(const char **p, int64_t limit)
{
	if (!isdigit((unsigned char)**p))
		return -1;
	int64_t number = 0;
	for (; isdigit((unsigned char)**p); (*p)++) {
		number = number * 10 + (**p - '0');
		if (number > limit)
			return -1;
	}
	return number;
}

int64_t wire_duration_ms(const char *text, int64_t otherwise)
{
	if (text == NULL)
		return otherwise;
	const char *p = text;
	int64_t days = 0, hours = read_digits(&p, 100000);
	if (hours >= 0 && *p == '.') {
		days = hours;
		p++;
		hours = read_digits(&p, 23);
	}
	if (hours < 0 || *p++ != ':')
		return otherwise;
	int64_t minutes = read_digits(&p, 59);
	if (minutes < 0 || *p++ != ':')
		return otherwise;
	int64_t seconds = read_digits(&p, 59), fraction = 0;
	if (seconds < 0)
		return otherwise;
	if (*p == '.') {
		p++;
		for (int64_t weight = 100; isdigit((unsigned char)*p); p++, weight /= 10)
			fraction += weight * (*p - '0');
	}
	if (*p != '\0')
		return otherwise;
	return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + fraction;
}

/* One a process, as the official runner's X-Actions-Session [7.1]. */
static const char *session_header(void)
{
	static char line[64];
	if (line[0] == '\0') {
		char id[37];
		rand_uuid4(id);
		(void)snprintf(line, sizeof(line), "X-Actions-Session: %s", id);
	}
	return line;
}

void wire_headers_make(struct wire_headers *ret, const char *scheme, const char *token, bool accept, bool body)
{
	*ret = (struct wire_headers){0};
	if (scheme != NULL)
		ret->lines[ret->count++] = xasprintf("Authorization: %s %s", scheme, token);
	if (accept) {
		ret->lines[ret->count++] = xstrdup("Accept: application/json");
		ret->lines[ret->count++] = xstrdup(session_header());
	}
	if (body)
		ret->lines[ret->count++] = xstrdup("Content-Type: application/json; charset=utf-8");
}

void wire_headers_done(struct wire_headers *h)
{
	for (size_t i = 0; i < h->count; i++) {
		explicit_bzero(h->lines[i], strlen(h->lines[i]));
		free(h->lines[i]);
	}
	*h = (struct wire_headers){0};
}

int wire_parse_object(const char *data, size_t len, json_t **ret, struct err *err)
{
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	json_t *value = NULL;
	struct err inner = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (json_parse(data, len, WIRE_JOB_MAX, &value, &inner) < 0)
		return err_set(err, ERR_PROTOCOL, "the service's answer is not JSON: %s",
		               err_line(&inner, line, sizeof(line)));
	if (!json_is_object(value)) {
		json_decref(value);
		return err_set(err, ERR_PROTOCOL, "the service's answer is not a JSON object");
	}
	*ret = value;
	return 0;
}

int wire_read_object(const struct http_response *response, json_t **ret, struct err *err)
{
	return wire_parse_object(str_peek(&response->body), response->body.len, ret, err);
}

/* The service's own message in an answer, or NULL: `message` (REST), `errorMessage` (broker, run service). Borrowed from
 * *ret_holder. */
static const char *error_text(const struct http_response *response, json_t **ret_holder)
{
	if (response->body.len == 0 || response->body.len > WIRE_ANSWER_MAX ||
	    wire_read_object(response, ret_holder, NULL) < 0)
		return NULL;
	static const char *const names[] = {"errorMessage", "message", "error_description", "error"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = wire_string(*ret_holder, names[i]);
		if (text != NULL && *text != '\0')
			return text;
	}
	return NULL;
}

static int status_code(int status)
{
	switch (status) {
	case 401:
	case 403:
		return ERR_AUTH;
	case 404:
		return ERR_NOT_FOUND;
	case 409:
		return ERR_EXISTS;
	default:
		return status == 429 || status >= 500 ? ERR_NETWORK : ERR_PROTOCOL;
	}
}

int wire_status_error(const struct http_response *response, const char *what, struct err *err)
{
	_cleanup_json_ json_t *holder = NULL;
	const char *text = error_text(response, &holder);
	const char *id = http_header(response, "X-GitHub-Request-Id");
	int code = status_code(response->status);
	err_set(err, code, "%s: HTTP %d%s%.300s%s%.64s%s", what, response->status, text ? ", " : "", text ? text : "",
	        id ? " (request " : "", id ? id : "", id ? ")" : "");
	if (err != NULL) {
		err->foreign = response->status;
		err->retryable = code == ERR_NETWORK;
	}
	return code;
}

enum broker_error wire_broker_error(const struct http_response *response)
{
	_cleanup_json_ json_t *object = NULL;
	if (response->body.len == 0 || wire_read_object(response, &object, NULL) < 0)
		return BROKER_ERROR_NONE;
	const char *source = wire_string(object, "source"), *kind = wire_string(object, "errorKind");
	if (source == NULL || strcmp(source, "actions-broker-listener") != 0)
		return BROKER_ERROR_NONE;
	static const struct {
		const char *name;
		enum broker_error error;
	} kinds[] = {
		{"RunnerNotFound", BROKER_ERROR_RUNNER_NOT_FOUND},
		{"RunnerVersionTooOld", BROKER_ERROR_VERSION_TOO_OLD},
		{"HostedRunnerDeprovisioned", BROKER_ERROR_DEPROVISIONED},
		{"RunnerSessionInvalid", BROKER_ERROR_SESSION_INVALID},
		{"AcknowledgeJobNotFound", BROKER_ERROR_ACKNOWLEDGE_NOT_FOUND},
	};
	for (size_t i = 0; kind != NULL && i < ARRAY_SIZE(kinds); i++)
		if (strcasecmp(kind, kinds[i].name) == 0)
			return kinds[i].error;
	return BROKER_ERROR_OTHER;
}

int wire_run_service_error(const struct http_response *response)
{
	_cleanup_json_ json_t *object = NULL;
	if (response->body.len == 0 || wire_read_object(response, &object, NULL) < 0)
		return 0;
	const char *source = wire_string(object, "source");
	if (source == NULL || strcmp(source, "actions-run-service") != 0)
		return 0;
	int64_t status = wire_int(object, "statusCode", 0);
	return status > 0 && status < 1000 ? (int)status : 0;
}
