/* The client against a real server, tests/servers/websocket.py, which does what the path says. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/net/websocket.h"
#include "base/sys/proc.h"

#include <poll.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

static struct proc server = PROC_INIT;
static int port;

static int start_server(void **state)
{
	(void)state;
	static const char *const argv[] = {"python3", DAVIT_SOURCE_DIR "/tests/servers/websocket.py", NULL};
	struct proc_options o = {
		.argv = argv, .stdin_fd = PROC_PIPE, .stdout_fd = PROC_PIPE, .stderr_fd = STDERR_FILENO};
	struct wait w = WAIT_INIT;
	w = wait_within(&w, PATIENCE_MS);
	char line[32] = "";
	long long value;
	if (proc_spawn(&o, &server, NULL) < 0)
		return -1;
	for (size_t len = 0; strchr(line, '\n') == NULL;) {
		ssize_t n = wait_fd(&w, server.stdout_fd, POLLIN, NULL) < 0
		                    ? -1
		                    : read(server.stdout_fd, line + len, sizeof(line) - 1 - len);
		if (n <= 0)
			return -1;
		len += (size_t)n;
	}
	line[strcspn(line, "\n")] = '\0';
	if (!str_parse_i64(line, 1, 65535, &value))
		return -1;
	port = (int)value;
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	proc_done(&server);
	return 0;
}

struct link {
	struct http *h;
	struct websocket *ws;
	struct str heard;
};

static int on_message(void *context, enum websocket_kind kind, const char *data, size_t len, struct err *err)
{
	struct link *l = context;
	(void)err;
	str_appendf(&l->heard, "%d:%.*s;", (int)kind, (int)len, data);
	return 0;
}

static void link_open(struct link *l, const char *how, int64_t timeout_ms)
{
	static const char *const headers[] = {"Authorization: Bearer t0ken", NULL};
	_cleanup_free_ char *url = xasprintf("ws://127.0.0.1:%d/%s", port, how);
	struct websocket_request q = {.url = url,
	                              .headers = headers,
	                              .timeout_ms = timeout_ms,
	                              .queue_max = 1 << 16,
	                              .on_message = on_message,
	                              .context = l};
	*l = (struct link){.h = http_new(NULL, NULL), .heard = STR_INIT(1 << 20)};
	l->ws = websocket_open(l->h, &q, NULL);
	assert_non_null(l->ws);
	assert_int_equal(websocket_state(l->ws), WEBSOCKET_OPENING);
	websocket_turn(l->ws, false); /* before there is a connection: what waits to be sent stays */
}

static void link_done(struct link *l)
{
	websocket_free(l->ws);
	http_free(l->h);
	str_done(&l->heard);
}

static void turn(struct link *l)
{
	int64_t ms = PATIENCE_MS;
	struct pollfd fd;
	bool has = websocket_poll(l->ws, &fd, &ms);
	assert_true(http_step(l->h, has ? &fd : NULL, has ? 1 : 0, ms, NULL) >= 0);
	websocket_turn(l->ws, has && fd.revents != 0);
}

static void until(struct link *l, enum websocket_state state)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;
	while (websocket_state(l->ws) != state) {
		assert_true(clock_mono_ms() < end);
		turn(l);
	}
}

static void until_heard(struct link *l, const char *text)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;
	while (strcmp(str_peek(&l->heard), text) != 0) {
		assert_true(clock_mono_ms() < end);
		turn(l);
	}
}

static void messages_go_out_and_come_back_and_both_ends_close(void **state)
{
	(void)state;
	_cleanup_(link_done) struct link l;
	_cleanup_free_ char *large = xcalloc(60001, 1);
	memset(large, 'y', 60000);
	link_open(&l, "echo?x=%20", 0);
	until(&l, WEBSOCKET_OPEN);
	assert_int_equal(websocket_send(l.ws, "one two", 7, NULL), 0);
	assert_int_equal(websocket_send(l.ws, large, 60000, NULL), 0);
	assert_int_equal(websocket_send(l.ws, large, 60000, NULL),
	                 ERR_LIMIT); /* no room, and nothing of it is queued */
	_cleanup_free_ char *expected = xasprintf("1:one two;1:%s;", large);
	until_heard(&l, expected);
	assert_int_equal(websocket_unsent(l.ws), 0);
	websocket_close(l.ws, WEBSOCKET_NORMAL);
	until(&l, WEBSOCKET_CLOSED);
	assert_null(websocket_error(l.ws));
	assert_int_equal(websocket_send(l.ws, "late", 4, NULL), ERR_NETWORK);
}

static void a_ping_is_answered_and_a_close_of_the_server_is_no_fault(void **state)
{
	(void)state;
	_cleanup_(link_done) struct link l, other;
	link_open(&l, "pings", 0);
	link_open(&other, "closes", 0);
	until(&l, WEBSOCKET_OPEN);
	assert_int_equal(websocket_send(l.ws, "still here", 10, NULL), 0);
	until(&other, WEBSOCKET_CLOSED);
	assert_null(websocket_error(other.ws));
}

static void assert_ends(const char *how, int64_t timeout_ms, int code, const char *why)
{
	_cleanup_(link_done) struct link l;
	link_open(&l, how, timeout_ms);
	until(&l, WEBSOCKET_CLOSED);
	const struct err *err = websocket_error(l.ws);
	char line[512];
	assert_non_null(err);
	assert_int_equal(err->code, code);
	err_line(err, line, sizeof(line));
	if (strstr(line, why) == NULL)
		fail_msg("%s: %s", how, line);
	assert_null(strstr(line, "t0ken"));
}

static void a_server_that_is_none_is_told_apart(void **state)
{
	(void)state;
	assert_ends("refused", 0, ERR_AUTH, "answers 401");
	assert_ends("plain", 0, ERR_PROTOCOL, "answers 200");
	assert_ends("accept", 0, ERR_PROTOCOL, "Sec-WebSocket-Accept");
	assert_ends("extension", 0, ERR_PROTOCOL, "extension");
	assert_ends("endless", 0, ERR_LIMIT, "too large");
	assert_ends("silent", 100, ERR_TIMEOUT, "");
}

static void a_server_that_sends_what_no_server_may_is_left(void **state)
{
	(void)state;
	assert_ends("rubbish", 0, ERR_PROTOCOL, "frame");
	assert_ends("masked", 0, ERR_PROTOCOL, "masked");
	assert_ends("huge", 0, ERR_LIMIT, "larger than");
}

static void a_server_that_never_reads_holds_nothing_up(void **state)
{
	(void)state;
	_cleanup_(link_done) struct link l;
	_cleanup_free_ char *large = xcalloc(1 << 15, 1);
	int sent = 0;
	link_open(&l, "deaf", 0);
	until(&l, WEBSOCKET_OPEN);
	memset(large, 'z', (1 << 15) - 1);
	while (websocket_send(l.ws, large, (1 << 15) - 1, NULL) == 0) {
		websocket_turn(l.ws, false);
		assert_true(++sent < 10000); /* the system's buffers are full some day */
	}
	assert_true(websocket_unsent(l.ws) > 0);
	assert_int_equal(websocket_state(l.ws), WEBSOCKET_OPEN);
	int64_t before = clock_mono_ms();
	websocket_close(l.ws, WEBSOCKET_NORMAL);
	until(&l, WEBSOCKET_CLOSED); /* it does not answer: two seconds */
	assert_true(clock_mono_ms() - before < PATIENCE_MS);
	assert_int_equal(websocket_error(l.ws)->code, ERR_TIMEOUT);
}

static void an_address_or_a_header_that_cannot_be_is_refused_at_once(void **state)
{
	(void)state;
	static const char *const headers[] = {"X-A: b\r\nX-C: d", NULL};
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct err err = ERR_INIT;
	struct websocket_request q = {.url = "ftp://a/b"}, bad = {.url = "ws://127.0.0.1/", .headers = headers};
	assert_null(websocket_open(h, &q, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_null(websocket_open(h, &bad, &err));
	assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_go_out_and_come_back_and_both_ends_close),
		cmocka_unit_test(a_ping_is_answered_and_a_close_of_the_server_is_no_fault),
		cmocka_unit_test(a_server_that_is_none_is_told_apart),
		cmocka_unit_test(a_server_that_sends_what_no_server_may_is_left),
		cmocka_unit_test(a_server_that_never_reads_holds_nothing_up),
		cmocka_unit_test(an_address_or_a_header_that_cannot_be_is_refused_at_once),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
