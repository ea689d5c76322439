#include "agent/service/broker.h"

#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/service/wire.h"

/* Longest id, name or URL that we accept in a message. */
enum { TEXT_MAX = 2048 };

json_t *broker_session_body(const struct registration *r)
{
	struct utsname system;
	if (uname(&system) < 0)
		memset(&system, 0, sizeof(system));
	json_t *agent = json_object();
	json_object_set_new(agent, "id", json_integer(r->id));
	json_object_set_new(agent, "name", json_string_lossy(r->name, strlen(r->name)));
	json_object_set_new(agent, "version", json_string(wire_runner_version()));
	json_object_set_new(agent, "osDescription", json_stringf("%s %s", system.sysname, system.release));
	json_t *body = json_object();
	json_object_set_new(body, "sessionId", json_string("00000000-0000-0000-0000-000000000000"));
	json_object_set_new(body, "ownerName", json_stringf("%s (PID: %d)", system.nodename, (int)getpid()));
	json_object_set_new(body, "agent", agent);
	json_object_set_new(body, "useFipsEncryption", json_false());
	return body;
}

int broker_read_session(const struct http_response *response, char **ret_session_id, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = wire_read_object(response, &answer, err);
	if (r < 0)
		return r;
	const char *id = wire_string(answer, "sessionId");
	if (id == NULL || *id == '\0' || strlen(id) > TEXT_MAX)
		return err_set(err, ERR_PROTOCOL, "the broker's answer has no session id");
	*ret_session_id = xstrdup(id);
	return 0;
}

char *broker_session_url(const char *base, const char *session_id)
{
	_cleanup_(str_done) struct str url = STR_INIT(1 << 16);
	_cleanup_free_ char *start = wire_url(base, "session");
	str_append(&url, start);
	if (session_id != NULL) {
		str_append(&url, "?sessionId=");
		wire_escape(&url, session_id);
	}
	return str_take(&url);
}

static void append_parameters(struct str *url, const char *session_id, bool busy)
{
	str_append(url, "?sessionId=");
	wire_escape(url, session_id);
	str_appendf(url, "&status=%s&runnerVersion=%s&os=%s&architecture=%s", busy ? "Busy" : "Online",
	            wire_runner_version(), wire_os(), wire_arch());
}

char *broker_poll_url(const char *base, const char *session_id, bool busy, bool disable_update)
{
	_cleanup_(str_done) struct str url = STR_INIT(1 << 16);
	_cleanup_free_ char *start = wire_url(base, "message");
	str_append(&url, start);
	append_parameters(&url, session_id, busy);
	str_appendf(&url, "&disableUpdate=%s", disable_update ? "true" : "false");
	return str_take(&url);
}

char *broker_acknowledge_url(const char *base, const char *session_id, bool busy)
{
	_cleanup_(str_done) struct str url = STR_INIT(1 << 16);
	_cleanup_free_ char *start = wire_url(base, "acknowledge");
	str_append(&url, start);
	append_parameters(&url, session_id, busy);
	return str_take(&url);
}

static enum broker_message_type type_of(const char *name)
{
	/* Two names are compared exactly by the official runner; no service depends on the difference. */
	static const struct {
		const char *name;
		enum broker_message_type type;
	} types[] = {
		{"RunnerJobRequest", BROKER_JOB},
		{"PipelineAgentJobRequest", BROKER_OLD_JOB},
		{"JobCancellation", BROKER_CANCEL},
		{"BrokerMigration", BROKER_MIGRATION},
		{"AgentRefresh", BROKER_REFRESH},
		{"RunnerRefresh", BROKER_REFRESH},
		{"RunnerRefreshConfig", BROKER_REFRESH_CONFIG},
		{"ForceTokenRefresh", BROKER_TOKEN_REFRESH},
		{"RunnerShutdown", BROKER_SHUTDOWN},
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcasecmp(name, types[i].name) == 0)
			return types[i].type;
	return BROKER_UNKNOWN;
}

/* A member of the body as an owned string. Required: ERR_PROTOCOL when absent, empty or too long; else NULL then. */
static int take_text(const json_t *body, const char *key, bool required, char **ret, struct err *err)
{
	const char *text = wire_string(body, key);
	if (text != NULL && *text != '\0' && strlen(text) <= TEXT_MAX) {
		*ret = xstrdup(text);
		return 0;
	}
	if (!required && (text == NULL || *text == '\0'))
		return 0;
	return err_set(err, ERR_PROTOCOL, "%s is %s", key, text == NULL || *text == '\0' ? "missing" : "too long");
}

static int read_job(const json_t *body, struct broker_message *m, struct err *err)
{
	m->should_acknowledge = wire_bool(body, "should_acknowledge", false);
	int r = take_text(body, "runner_request_id", true, &m->request_id, err);
	if (r >= 0)
		r = take_text(body, "run_service_url", false, &m->run_service_url, err);
	if (r >= 0)
		r = take_text(body, "billing_owner_id", false, &m->billing_owner_id, err);
	return r;
}

static int read_body(const json_t *body, struct broker_message *m, struct err *err)
{
	switch (m->type) {
	case BROKER_JOB:
		return read_job(body, m, err);
	case BROKER_OLD_JOB:
		if (!json_is_object(body))
			return 0;
		m->job = json_incref((json_t *)(uintptr_t)body);
		return take_text(body, "jobId", true, &m->request_id, err);
	case BROKER_CANCEL:
		m->timeout_ms = wire_duration_ms(wire_string(body, "timeout"), 5 * 60 * 1000);
		return take_text(body, "jobId", true, &m->job_id, err);
	case BROKER_MIGRATION:
		return take_text(body, "brokerBaseUrl", true, &m->broker_base_url, err);
	case BROKER_SHUTDOWN:
		return take_text(body, "reason", false, &m->detail, err);
	case BROKER_REFRESH:
		if (wire_get(body, "target_version") != NULL)
			return take_text(body, "target_version", false, &m->detail, err);
		return take_text(body, "targetVersion", false, &m->detail, err);
	case BROKER_REFRESH_CONFIG:
		return take_text(body, "configType", false, &m->detail, err);
	default:
		return 0;
	}
}

/* What the inner document, JSON in a string, says, perhaps after a byte order mark. Absent for messages that need only their type. */
static int parse_body(const char *data, size_t len, size_t max, struct broker_message *m, struct err *err)
{
	if (data != NULL && len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	_cleanup_json_ json_t *body = NULL;
	if (data != NULL && len > 0) {
		int r = json_parse(data, len, max, &body, err);
		if (r < 0 &&
		    (m->type == BROKER_UNKNOWN || m->type == BROKER_TOKEN_REFRESH || m->type == BROKER_OLD_JOB)) {
			err_clear(err);
			return 0;
		}
		if (r < 0)
			return err_wrap(err, ERR_PROTOCOL, "body");
	}
	return read_body(body, m, err);
}

int broker_message_of(const json_t *message, const char *body, size_t len, size_t max, struct broker_message *ret,
                      struct err *err)
{
	const char *name = wire_string(message, "messageType");
	if (name == NULL || strlen(name) > TEXT_MAX)
		return err_set(err, ERR_PROTOCOL, "the broker's message has no messageType");
	struct broker_message m = {
		.type = type_of(name), .type_name = xstrdup(name), .id = wire_int(message, "messageId", 0)};
	int r = parse_body(body, len, max, &m, err);
	if (r < 0) {
		err_wrap(err, r, "read a message of type '%.60s'", name);
		broker_message_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

int broker_message_read(const char *data, size_t len, struct broker_message *ret, struct err *err)
{
	_cleanup_json_ json_t *message = NULL;
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	int r = json_parse(data, len, WIRE_MESSAGE_MAX, &message, err);
	if (r < 0)
		return err_wrap(err, r == ERR_LIMIT ? r : ERR_PROTOCOL, "read a message of the broker");
	const json_t *body = wire_get(message, "body");
	return broker_message_of(message, json_string_value(body), json_string_length(body), WIRE_MESSAGE_MAX, ret,
	                         err);
}

void broker_message_done(struct broker_message *m)
{
	free(m->type_name);
	json_decref(m->job);
	free(m->request_id);
	free(m->run_service_url);
	free(m->billing_owner_id);
	free(m->job_id);
	free(m->broker_base_url);
	free(m->detail);
	*m = (struct broker_message){0};
}
