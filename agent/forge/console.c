/* console: the live console's end of a WebSocket: lines of running steps, as runners send them [results 3]. Kept per step, the last ones
 * only, until the whole log is there; nothing depends on them. */
#include "agent/forge/services_priv.h"
#include "base/net/websocket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 1 << 20,
	LINES_MAX = 100,        /* of a message */
	LINE_CHARACTERS = 1024, /* and three dots */
	KEPT_LINES = 1000,      /* of a step */
	KEPT_STEPS = 1000,      /* of a job */
	LOOK_MS = 100,          /* how soon the end of the forge is seen */
	PIECE = 16 << 10,
};
static const char where[] = "the live console";

struct forge_console {
	struct forge *f;
	struct forge_job *job;
	struct websocket_reader reader;
	struct str early; /* what came along with the request */
	MHD_socket socket;
	struct MHD_UpgradeResponseHandle *handle;
	bool closed;
};

/* ---- what is said ---- */

static bool is_line(const json_t *line)
{
	size_t characters = 0;
	const char *text = json_string_value(line);
	for (const char *p = text; p != NULL && *p != '\0'; p++)
		characters += ((unsigned char)*p & 0xc0) != 0x80;
	return characters > 0 && characters <= LINE_CHARACTERS + 3;
}

/* What is wrong with a message; NULL: nothing. */
static const char *fault_of(const json_t *message)
{
	size_t i;
	json_t *line, *value = json_get_array(message, "value");
	const char *step = json_get_string(message, "stepId"), *name;
	if (!json_is_object(message))
		return "a message is not a JSON object";
	json_object_foreach((json_t *)(uintptr_t)message, name,
	                    line) if (strcmp(name, "value") != 0 && strcmp(name, "stepId") != 0 &&
	                              strcmp(name, "startLine") != 0 &&
	                              strcmp(name, "count") != 0) return "a message has members that nobody knows";
	if (step == NULL || !check_is_guid(step))
		return "stepId is no GUID in lower case";
	if (json_get_int(message, "count", -1) != (json_int_t)json_array_size(value) || json_array_size(value) == 0)
		return "count is not that of the lines";
	if (json_array_size(value) > LINES_MAX)
		return "a message has more than 100 lines";
	json_array_foreach(value, i,
	                   line) if (!is_line(line)) return "a line is empty, longer than 1024 characters, or none";
	if (json_object_get(message, "startLine") != NULL && json_get_int(message, "startLine", 0) < 1)
		return "startLine begins with 1";
	return NULL;
}

static void print_lines(const struct forge_job *job, const char *step_name, json_t *lines)
{
	size_t i;
	json_t *line;
	json_array_foreach(lines, i, line)
	{
		_cleanup_(str_done) struct str safe = STR_INIT(64 << 10);
		str_append_safe(&safe, json_string_value(line), json_string_length(line));
		printf("%s%s%s | %s\n", job->name, step_name != NULL ? " / " : "", step_name != NULL ? step_name : "",
		       str_peek(&safe));
	}
	fflush(stdout);
}

static const char *step_name(const struct forge_job *job, const char *step)
{
	return json_get_string(json_object_get(job->steps, step), "name");
}

void console_print_held(struct forge_job *job, bool all)
{
	const char *step;
	void *next;
	json_t *lines;
	json_object_foreach_safe(job->held, next, step, lines)
	{
		if (!all && step_name(job, step) == NULL)
			continue;
		print_lines(job, step_name(job, step), lines);
		json_object_del(job->held, step);
	}
}

/* A step's first lines may come before its name, which comes another way: they wait for it. */
static void print_or_hold(struct forge_job *job, const char *step, json_t *lines)
{
	if (step_name(job, step) != NULL) {
		print_lines(job, step_name(job, step), lines);
		return;
	}
	json_t *held = json_object_get(job->held, step);
	if (held == NULL) {
		held = json_array();
		json_object_set_new(job->held, step, held);
	}
	if (json_array_size(held) < KEPT_LINES)
		json_array_extend(held, lines);
}

static void take(struct forge_console *c, const json_t *message)
{
	const char *step = json_get_string(message, "stepId");
	json_t *value = json_get_array(message, "value"), *kept = json_object_get(c->job->live, step), *line;
	size_t i;
	if (kept == NULL && json_object_size(c->job->live) == KEPT_STEPS)
		return;
	if (kept == NULL) {
		kept = json_array();
		json_object_set_new(c->job->live, step, kept);
	}
	json_array_foreach(value, i, line)
	{
		if (json_array_size(kept) == KEPT_LINES)
			json_array_remove(kept, 0);
		json_array_append(kept, line);
	}
	if (c->f->config.lines)
		print_or_hold(c->job, step, value);
	forge_wake(c->f);
}

static void answer(struct forge_console *c, enum websocket_kind kind, const char *data, size_t len)
{
	struct str out = STR_INIT(256);
	websocket_frame(&out, kind, true, NULL, data, len);
	(void)!send(c->socket, str_peek(&out), out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	str_done(&out);
}

static int on_event(void *context, enum websocket_kind kind, const char *data, size_t len, struct err *err)
{
	struct forge_console *c = context;
	if (kind == WEBSOCKET_PING)
		answer(c, WEBSOCKET_PONG, data, len);
	if (kind == WEBSOCKET_CLOSE) {
		answer(c, WEBSOCKET_CLOSE, data, MIN(len, (size_t)2));
		c->closed = true;
	}
	if (kind != WEBSOCKET_TEXT && kind != WEBSOCKET_BINARY)
		return 0;
	_cleanup_json_ json_t *message = NULL;
	const char *fault = "a message is not JSON";
	pthread_mutex_lock(&c->f->lock);
	if (json_parse(data, len, MESSAGE_MAX, &message, NULL) == 0)
		fault = fault_of(message);
	if (fault != NULL)
		forge_complain(c->f, where, fault);
	else if (c->job->state !=
	         JOB_COMPLETED) /* the last lines may be overtaken by the end, which comes another way */
		take(c, message);
	pthread_mutex_unlock(&c->f->lock);
	return fault != NULL ? err_set(err, ERR_PROTOCOL, "%s", fault) : 0;
}

static bool feed(struct forge_console *c, const char *data, size_t len)
{
	struct err err = ERR_INIT;
	char line[512];
	int r = websocket_reader_feed(&c->reader, data, len, on_event, c, &err);
	if (r < 0) {
		pthread_mutex_lock(&c->f->lock);
		forge_complain(c->f, where, err_line(&err, line, sizeof(line)));
		pthread_mutex_unlock(&c->f->lock);
	}
	return r >= 0 && !c->closed;
}

/* ---- the connection ---- */

static void *serve(void *context)
{
	struct forge_console *c = context;
	struct forge *f = c->f;
	char piece[PIECE];
	bool goes_on = feed(c, str_peek(&c->early), c->early.len);
	while (goes_on && !__atomic_load_n(&f->stopping, __ATOMIC_RELAXED)) {
		struct pollfd p = {.fd = c->socket, .events = POLLIN};
		if (poll(&p, 1, LOOK_MS) <= 0)
			continue;
		ssize_t n = recv(c->socket, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0)
			goes_on = feed(c, piece, (size_t)n);
		else
			goes_on = n < 0 && (errno == EAGAIN || errno == EINTR);
	}
	MHD_upgrade_action(c->handle, MHD_UPGRADE_ACTION_CLOSE);
	console_free(c);
	__atomic_sub_fetch(&f->consoles, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void begin(void *context, struct MHD_Connection *connection, void *request, const char *early, size_t early_len,
                  MHD_socket sock, struct MHD_UpgradeResponseHandle *handle)
{
	struct forge_console *c = context;
	pthread_t thread;
	pthread_attr_t attributes;
	(void)connection;
	(void)request;
	c->socket = sock;
	c->handle = handle;
	str_append_n(&c->early, early, early_len);
	__atomic_add_fetch(&c->f->consoles, 1, __ATOMIC_ACQUIRE);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, serve, c) != 0) {
		__atomic_sub_fetch(&c->f->consoles, 1, __ATOMIC_RELEASE);
		MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
		console_free(c);
	}
	pthread_attr_destroy(&attributes);
}

void console_free(struct forge_console *c)
{
	if (c == NULL)
		return;
	websocket_reader_done(&c->reader);
	str_done(&c->early);
	free(c);
}

struct MHD_Response *console_response(struct req *r)
{
	return MHD_create_response_for_upgrade(begin, TAKE(r->console));
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (; list != NULL && *list != '\0'; list += strcspn(list, ","), list += *list == ',') {
		list += strspn(list, " \t");
		if (strncasecmp(list, word, len) == 0 && strchr(" \t,", list[len]) != NULL)
			return true;
	}
	return false;
}

static void open_console(struct req *r)
{
	struct forge_token *t = token_need(r, TOKEN_JOB);
	const char *key = req_header(r, "Sec-WebSocket-Key"), *version = req_header(r, "Sec-WebSocket-Version"),
		   *upgrade = req_header(r, "Upgrade");
	if (t == NULL)
		return;
	if (upgrade == NULL || strcasecmp(upgrade, "websocket") != 0 ||
	    !has_word(req_header(r, "Connection"), "upgrade") || version == NULL || strcmp(version, "13") != 0 ||
	    key == NULL || strlen(key) != 24) {
		req_complain(r, "this is no WebSocket's handshake");
		req_reply_header(r, "Sec-WebSocket-Version: 13");
		req_reply_error(r, 426, "Upgrade Required");
		return;
	}
	_cleanup_free_ char *accept = websocket_accept(key);
	r->console = xcalloc(1, sizeof(*r->console));
	*r->console = (struct forge_console){.f = r->f,
	                                     .job = t->job,
	                                     .reader = {.from_client = true, .message_max = MESSAGE_MAX},
	                                     .early = STR_INIT(1 << 20)};
	req_reply_header(r, "Upgrade: websocket");
	req_reply_header(r, "Sec-WebSocket-Accept: %s", accept);
	req_reply(r, 101);
}

const struct route console_routes[] = {
	{"GET", "_services/results/_ws/ingest.sock", open_console, 0},
	{0},
};
