/* telemetry: what the end of a job tells its service beside the result: whether it reached the addresses that the message names, deprecated
 * commands that were used, the time that actions took [results 5.5]. Nothing waits for it. */
#include "agent/worker/worker_priv.h"

#include "agent/worker/message.h"
#include "base/core/log.h"
#include "base/net/http.h"

#include <stdio.h>

enum {
	ENTRIES_MAX = 64,
	CHECKS_MAX = 16,
	CHECK_MS = 5000,
	URL_LENGTH_MAX = 2048,
	ANSWER_MAX = 64 << 10,
	NAME_SIZE = 32,
};

struct check {
	struct job *job;
	char *url;
	struct http_transfer *transfer; /* NULL: it is over */
};

struct checks {
	struct check all[CHECKS_MAX];
	size_t count;
};

void telemetry_add(struct job *j, const char *type, const char *fmt, ...)
{
	char text[URL_LENGTH_MAX + 512];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (j->telemetry == NULL)
		j->telemetry = json_array();
	json_t *entry = json_pack("{s:s}", "type", type), *other;
	record_set_masked(j, entry, "message", text);
	bool known = json_array_size(j->telemetry) >= ENTRIES_MAX;
	size_t i;
	json_array_foreach(j->telemetry, i, other) known = known || json_equal(entry, other);
	if (known)
		json_decref(entry);
	else
		json_array_append_new(j->telemetry, entry);
}

/* As the official runner spells them: by .NET's names. */
static const char *status_name(int status, char buf[NAME_SIZE])
{
	static const struct {
		int status;
		const char *name;
	} names[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "NoContent"},
		{301, "MovedPermanently"},
		{302, "Found"},
		{400, "BadRequest"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "NotFound"},
		{405, "MethodNotAllowed"},
		{407, "ProxyAuthenticationRequired"},
		{429, "TooManyRequests"},
		{500, "InternalServerError"},
		{502, "BadGateway"},
		{503, "ServiceUnavailable"},
		{504, "GatewayTimeout"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].status == status)
			return names[i].name;
	(void)snprintf(buf, NAME_SIZE, "%d", status);
	return buf;
}

static void check_done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct check *c = context;
	char buf[NAME_SIZE], line[ERR_FRAME_SIZE];
	c->transfer = NULL;
	if (response->status > 0)
		telemetry_add(c->job, "ConnectivityCheck", "%s: http_%s", c->url, status_name(response->status, buf));
	else
		telemetry_add(c->job, "ConnectivityCheck", "%s: %s", c->url,
		              result == ERR_TIMEOUT || err == NULL ? "timeout" : err_line(err, line, sizeof(line)));
	http_response_done(response);
}

/* Nothing of this job's goes along: no token, no cookie, no certificate. */
static void start_check(struct job *j, const char *url)
{
	struct http_request request = {
		.url = url, .timeout_ms = CHECK_MS, .max_body = ANSWER_MAX, .follow = true, .anonymous = true};
	struct err err = ERR_INIT;
	if ((!str_starts(url, "https://") && !str_starts(url, "http://")) || strlen(url) > URL_LENGTH_MAX ||
	    j->checks->count == CHECKS_MAX)
		return;
	struct check *c = &j->checks->all[j->checks->count];
	*c = (struct check){.job = j, .url = xstrdup(url)};
	c->transfer = http_start(j->http, &request, check_done, c, &err);
	if (c->transfer == NULL) {
		free(TAKE(c->url));
		return;
	}
	j->checks->count++;
}

void telemetry_begin(struct job *j)
{
	static const char *const names[] = {"ConnectivityChecks", "ConnectivityAndDNSChecks"};
	j->checks = xcalloc(1, sizeof(*j->checks));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = message_connection_data(j->message, names[i]);
		_cleanup_json_ json_t *urls = NULL;
		size_t at;
		json_t *url;
		if (text == NULL || json_parse(text, strlen(text), CHECKS_MAX * URL_LENGTH_MAX, &urls, NULL) < 0)
			continue;
		json_array_foreach(urls, at, url) if (json_is_string(url)) start_check(j, json_string_value(url));
	}
}

json_t *telemetry_end(struct job *j)
{
	for (size_t i = 0; j->checks != NULL && i < j->checks->count; i++) {
		if (j->checks->all[i].transfer != NULL)
			http_cancel(j->checks->all[i].transfer);
		free(j->checks->all[i].url);
	}
	free(TAKE(j->checks));
	json_t *all = TAKE(j->telemetry);
	return all != NULL ? all : json_array();
}
