/* The client against a real server, tests/servers/http_server.py. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/net/http.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include "harness/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct server server;

static int start_server(void **state)
{
	(void)state;
	return server_start(&server, "http_server.py", NULL) ? 0 : -1;
}

static int stop_server(void **state)
{
	(void)state;
	server_stop(&server);
	return 0;
}

static char *url_of(const char *path)
{
	return xasprintf("http://127.0.0.1:%d%s", server_port(&server), path);
}

struct call {
	struct http *h;
	struct http_request q;
	struct http_response a;
	struct err err;
	struct wait w;
	int result;
};

static void call_done(struct call *c)
{
	http_response_done(&c->a);
	http_free(c->h);
	free((char *)(uintptr_t)c->q.url);
}
#define CALL(name) _cleanup_(call_done) struct call name = {.h = http_new(NULL, NULL), .w = WAIT_INIT}

static int go(struct call *c, const char *path)
{
	c->q.url = url_of(path);
	if (c->w.deadline_mono_ms == 0)
		c->w = wait_within(&c->w, 20000);
	c->result = http_perform(c->h, &c->q, &c->w, &c->a, &c->err);
	return c->result;
}

static void an_answer_has_status_headers_and_body(void **state)
{
	(void)state;
	CALL(c);
	const char *const headers[] = {"X-One: 1", "Accept: text/x", "X-Empty:", NULL};
	c.q.headers = headers;
	assert_int_equal(go(&c, "/echo?q=1"), 0);
	assert_int_equal(c.a.status, 200);
	assert_string_equal(http_header(&c.a, "x-case"), "Kept");
	assert_null(http_header(&c.a, "x-cas"));
	assert_non_null(strstr(c.a.body.data, "\"X-One\": \"1\""));
	assert_non_null(strstr(c.a.body.data, "\"Accept\": \"text/x\""));
	assert_non_null(strstr(c.a.body.data, "\"X-Empty\": \"\""));
	assert_non_null(strstr(c.a.body.data, "\"User-Agent\": \"davit/"));
	assert_non_null(strstr(c.a.body.data, "\"path\": \"/echo?q=1\""));
}

static void a_body_is_sent_as_it_is_with_any_method(void **state)
{
	(void)state;
	const char *const methods[] = {NULL, "PUT", "PATCH", "DELETE"};
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		CALL(c);
		_cleanup_free_ char *expect = xasprintf("\"method\": \"%s\"", methods[i] != NULL ? methods[i] : "POST");
		c.q.method = methods[i];
		c.q.body = "a\0b";
		c.q.body_len = 3;
		assert_int_equal(go(&c, "/echo"), 0);
		assert_non_null(strstr(c.a.body.data, expect));
		assert_non_null(strstr(c.a.body.data, "\"body\": \"a\\u0000b\""));
		assert_null(strstr(c.a.body.data, "urlencoded"));
		assert_null(strstr(c.a.body.data, "100-continue"));
	}
}

static void a_body_is_streamed_from_a_descriptor_again_for_each_try(void **state)
{
	(void)state;
	CALL(c);
	FILE *f = tmpfile();
	assert_non_null(f);
	for (int i = 0; i < 100000; i++)
		fputs("0123456789", f);
	fflush(f);
	lseek(fileno(f), 10, SEEK_SET);
	c.q.method = "PUT";
	c.q.body_fd = fileno(f);
	c.q.body_len = 999990;
	c.q.retries = 3;
	assert_int_equal(go(&c, "/fail/1/stream"), 0);
	assert_string_equal(str_peek(&c.a.body), "try 2 with 999990 bytes");
	fclose(f);
}

static void a_busy_service_is_asked_again_as_often_as_allowed(void **state)
{
	(void)state;
	CALL(good);
	good.q.retries = 2;
	assert_int_equal(go(&good, "/fail/2/good"), 0);
	assert_int_equal(good.a.status, 200);
	assert_string_equal(str_peek(&good.a.body), "try 3 with 0 bytes");
	CALL(bad);
	bad.q.retries = 1;
	assert_int_equal(go(&bad, "/fail/2/bad"), 0);
	assert_int_equal(bad.a.status, 503);
	CALL(never);
	assert_int_equal(go(&never, "/fail/1/never"), 0);
	assert_int_equal(never.a.status, 503);
	CALL(client_fault);
	client_fault.q.retries = 3;
	assert_int_equal(go(&client_fault, "/status/404"), 0);
	assert_int_equal(client_fault.a.status, 404);
}

/* Six pauses are 12 s at the least where they are waited in full. */
static void pauses_between_tries_are_as_short_as_the_client_was_told(void **state)
{
	(void)state;
	const struct http_config config = {.pace_percent = 1};
	_cleanup_(call_done) struct call c = {.h = http_new(&config, NULL), .w = WAIT_INIT};
	int64_t start = clock_mono_ms();
	c.q.retries = 6;
	assert_int_equal(go(&c, "/fail/6/paced"), 0);
	assert_int_equal(c.a.status, 200);
	assert_true(clock_mono_ms() - start < 10000);
}

static void retry_after_is_kept_and_one_beyond_the_deadline_hands_the_answer_out(void **state)
{
	(void)state;
	CALL(c);
	int64_t start = clock_mono_ms();
	c.q.retries = 1;
	assert_int_equal(go(&c, "/fail/1/after?after=1"), 0);
	assert_int_equal(c.a.status, 200);
	assert_true(clock_mono_ms() - start >= 1000);
	CALL(late);
	start = clock_mono_ms();
	late.q.retries = 5;
	assert_int_equal(go(&late, "/fail/1/late?after=60"), 0);
	assert_int_equal(late.a.status, 503);
	assert_true(clock_mono_ms() - start < 10000);
}

static int64_t asked_of(const char *retry_after, const char *date)
{
	struct http_response answer = {.status = 503};
	strv_add(&answer.headers, retry_after);
	if (date != NULL)
		strv_add(&answer.headers, date);
	int64_t ms = http_retry_after_ms(&answer);
	http_response_done(&answer);
	return ms;
}

static void a_date_to_come_again_is_one_of_the_servers_clock(void **state)
{
	(void)state;
	assert_int_equal(asked_of("Retry-After: 7", "Date: Mon, 30 Nov 2026 12:00:00 GMT"), 7000);
	assert_int_equal(asked_of("Retry-After: Sun, 06 Nov 1994 08:51:37 GMT", "Date: Sun, 06 Nov 1994 08:49:37 GMT"),
	                 120000);
	assert_int_equal(asked_of("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", "Date: Sun, 06 Nov 1994 08:51:37 GMT"),
	                 0);
	assert_int_equal(asked_of("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", NULL), 0);
	assert_int_equal(asked_of("Retry-After: soon", NULL), -1);
}

/* On a connection that was kept open libcurl asks again without a word. */
static void a_request_that_went_out_twice_says_so(void **state)
{
	(void)state;
	CALL(c);
	assert_int_equal(go(&c, "/echo"), 0);
	assert_false(c.a.resent);
	http_response_done(&c.a);
	free((char *)(uintptr_t)c.q.url);
	assert_int_equal(go(&c, "/close-once/resent"), 0);
	assert_int_equal(c.a.status, 200);
	assert_true(c.a.resent);
}

static void a_lost_connection_is_a_network_error_after_the_last_try(void **state)
{
	(void)state;
	CALL(c);
	c.q.retries = 1;
	assert_int_equal(go(&c, "/close"), ERR_NETWORK);
	char line[1024];
	assert_non_null(strstr(err_line(&c.err, line, sizeof(line)), "/close"));
	CALL(refused);
	refused.q.url = xstrdup("http://user:pw@127.0.0.1:1/x?sig=secret");
	refused.w = wait_within(&refused.w, 5000);
	assert_int_equal(http_perform(refused.h, &refused.q, &refused.w, &refused.a, &refused.err), ERR_NETWORK);
	err_line(&refused.err, line, sizeof(line));
	assert_null(strstr(line, "secret"));
	assert_null(strstr(line, "pw"));
}

static void an_answer_beyond_its_ceiling_is_refused_with_and_without_a_length(void **state)
{
	(void)state;
	CALL(c);
	c.q.max_body = 1000;
	assert_int_equal(go(&c, "/big/1001"), ERR_LIMIT);
	CALL(chunked);
	chunked.q.max_body = 1000;
	assert_int_equal(go(&chunked, "/big/100000?chunked"), ERR_LIMIT);
	CALL(fits);
	fits.q.max_body = 1000;
	assert_int_equal(go(&fits, "/big/1000"), 0);
	assert_int_equal(fits.a.body.len, 1000);
	CALL(standard);
	assert_int_equal(go(&standard, "/big/1048577"), ERR_LIMIT);
}

static void the_length_of_what_head_does_not_bring_is_no_matter(void **state)
{
	(void)state;
	CALL(c);
	c.q.method = "HEAD";
	c.q.max_body = 1000;
	assert_int_equal(go(&c, "/big/5000000"), 0);
	assert_int_equal(c.a.status, 200);
	assert_int_equal(c.a.body.len, 0);
}

struct sink {
	size_t len;
	size_t stop_at;
};

static int take(void *context, const void *data, size_t len, struct err *err)
{
	(void)data;
	struct sink *s = context;
	s->len += len;
	if (s->stop_at != 0 && s->len >= s->stop_at)
		return err_set(err, ERR_NO_SPACE, "full");
	return 0;
}

static void a_body_is_handed_on_in_pieces_and_the_taker_may_stop_it(void **state)
{
	(void)state;
	struct sink all = {0}, some = {.stop_at = 100}, none = {0};
	CALL(c);
	c.q.on_body = take;
	c.q.context = &all;
	assert_int_equal(go(&c, "/big/5000000"), 0);
	assert_int_equal(all.len, 5000000);
	assert_int_equal(c.a.body.len, 0);
	CALL(stopped);
	stopped.q.on_body = take;
	stopped.q.context = &some;
	stopped.q.retries = 3;
	assert_int_equal(go(&stopped, "/big/5000000"), ERR_NO_SPACE);
	CALL(refused);
	refused.q.on_body = take;
	refused.q.context = &none;
	assert_int_equal(go(&refused, "/status/404"), 0);
	assert_int_equal(none.len, 0);
	assert_string_equal(str_peek(&refused.a.body), "status");
}

static void a_silent_server_ends_in_a_timeout(void **state)
{
	(void)state;
	CALL(c);
	c.q.timeout_ms = 100;
	assert_int_equal(go(&c, "/hang"), ERR_TIMEOUT);
	CALL(stalled);
	stalled.q.timeout_ms = 100;
	assert_int_equal(go(&stalled, "/stall/10"), ERR_TIMEOUT);
	CALL(deadline);
	deadline.w = wait_within(&deadline.w, 100);
	assert_int_equal(go(&deadline, "/hang"), ERR_TIMEOUT);
}

static int cancel_tick(void *context, struct err *err)
{
	(void)err;
	int *fd = context;
	ssize_t n = write(*fd, "x", 1);
	return n == 1 ? 0 : -1;
}

static void an_answer_that_drips_ends_with_the_time_of_the_whole(void **state)
{
	(void)state;
	CALL(c);
	int64_t start = clock_mono_ms();
	c.q.timeout_ms = 300;
	assert_int_equal(go(&c, "/drip"), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - start < 5000);
}

static void a_cancel_ends_a_request_at_once(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	CALL(c);
	c.w = wait_within(&c.w, 20000);
	c.w.cancel_fd = fds[0];
	c.w.tick_ms = 50;
	c.w.tick = cancel_tick;
	c.w.context = &fds[1];
	int64_t start = clock_mono_ms();
	assert_int_equal(go(&c, "/hang"), ERR_CANCELLED);
	assert_true(clock_mono_ms() - start < 10000);
	close(fds[0]);
	close(fds[1]);
}

static void redirects_are_followed_when_asked_for_and_keep_headers_at_home(void **state)
{
	(void)state;
	const char *const headers[] = {"Authorization: Bearer abc", "X-Api-Key: k3y", "Accept: text/x-kept", NULL};
	CALL(no);
	assert_int_equal(go(&no, "/redirect?to=/echo"), 0);
	assert_int_equal(no.a.status, 302);
	assert_string_equal(http_header(&no.a, "location"), "/echo");
	CALL(same);
	same.q.follow = true;
	same.q.headers = headers;
	assert_int_equal(go(&same, "/redirect?to=/echo"), 0);
	assert_int_equal(same.a.status, 200);
	assert_null(http_header(&same.a, "location"));
	assert_non_null(strstr(same.a.body.data, "Bearer abc"));
	assert_non_null(strstr(same.a.body.data, "k3y"));
	assert_true(str_ends(same.a.final_url, "/echo"));
	CALL(other);
	other.q.follow = true;
	other.q.headers = headers;
	_cleanup_free_ char *path = xasprintf("/redirect?to=http://localhost:%d/echo", server_port(&server));
	assert_int_equal(go(&other, path), 0);
	assert_int_equal(other.a.status, 200);
	assert_null(strstr(other.a.body.data, "Bearer"));
	assert_null(strstr(other.a.body.data, "k3y"));
	assert_non_null(strstr(other.a.body.data, "text/x-kept"));
}

static void a_redirect_to_a_file_or_without_end_is_refused(void **state)
{
	(void)state;
	CALL(file);
	file.q.follow = true;
	assert_true(go(&file, "/redirect?to=file:///etc/passwd") < 0);
	CALL(loop);
	loop.q.follow = true;
	assert_int_equal(go(&loop, "/loop"), ERR_PROTOCOL);
	CALL(ftp);
	ftp.q.url = xstrdup("ftp://127.0.0.1/x");
	assert_int_equal(http_perform(ftp.h, &ftp.q, &ftp.w, &ftp.a, &ftp.err), ERR_INVALID);
}

static void a_header_with_a_line_break_is_refused(void **state)
{
	(void)state;
	CALL(c);
	const char *const headers[] = {"X-A: b\r\nX-Evil: c", NULL};
	c.q.headers = headers;
	assert_int_equal(go(&c, "/echo"), ERR_INVALID);
}

static void a_proxy_gets_the_request(void **state)
{
	(void)state;
	CALL(c);
	http_free(c.h);
	_cleanup_free_ char *proxy = url_of("");
	struct http_config config = {.proxy = proxy};
	c.h = http_new(&config, NULL);
	c.q.url = xstrdup("http://shop.example/x");
	c.w = wait_within(&c.w, 20000);
	assert_int_equal(http_perform(c.h, &c.q, &c.w, &c.a, &c.err), 0);
	assert_string_equal(str_peek(&c.a.body), "proxied http://shop.example/x");
}

static void loopback_goes_through_no_proxy_of_the_environment(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("all_proxy", "http://127.0.0.1:9", 1);
	CALL(c);
	assert_int_equal(go(&c, "/echo"), 0);
	assert_int_equal(c.a.status, 200);
	CALL(name);
	name.q.url = xasprintf("http://localhost:%d/echo", server_port(&server));
	name.w = wait_within(&name.w, 20000);
	assert_int_equal(http_perform(name.h, &name.q, &name.w, &name.a, &name.err), 0);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

struct async {
	int done, last_result, last_status;
	struct http *h;
	struct http_transfer *victim;
};

static void on_done(void *context, int result, struct http_response *response, const struct err *err)
{
	(void)err;
	struct async *a = context;
	a->done++;
	a->last_result = result;
	a->last_status = response->status;
	http_cancel(a->victim);
	a->victim = NULL;
}

/* A service of one answer, in a process of its own. */
static pid_t serve_once(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(strlen(path) < sizeof(to.sun_path));
	memcpy(to.sun_path, path, strlen(path));
	assert_int_equal(bind(listening, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(listening, 1), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char asked[4096];
		static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
		int fd = accept(listening, NULL, NULL);
		ssize_t n = read(fd, asked, sizeof(asked) - 1);
		bool right = n > 0 && strncmp(asked, "GET /containers?all=1 ", 22) == 0;
		_exit(right && write(fd, answer, sizeof(answer) - 1) == (ssize_t)sizeof(answer) - 1 ? 0 : 1);
	}
	close(listening);
	return pid;
}

static void a_socket_of_this_machine_is_asked_through_no_proxy(void **state)
{
	(void)state;
	CALL(c);
	struct err err = ERR_INIT;
	_cleanup_free_ char *dir = NULL;
	assert_int_equal(fs_make_temp_dir("davit-http", &dir, &err), 0);
	_cleanup_free_ char *path = fs_join(dir, "s");
	pid_t pid = serve_once(path);
	int status = -1;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	c.q.socket = path;
	c.q.url = xstrdup("http://engine/containers?all=1");
	c.w = wait_within(&c.w, 20000);
	c.result = http_perform(c.h, &c.q, &c.w, &c.a, &c.err);
	unsetenv("http_proxy");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	unlink(path);
	rmdir(dir);
	assert_int_equal(c.result, 0);
	assert_int_equal(c.a.status, 200);
	assert_string_equal(c.a.body.data, "here");
}

static void transfers_run_side_by_side_with_other_descriptors(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *hang = url_of("/hang"), *good = url_of("/fail/1/async");
	struct async a = {.h = h};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct http_request q = {.url = hang};
	struct http_transfer *poll_one = http_start(h, &q, on_done, &a, NULL);
	assert_non_null(poll_one);
	a.victim = http_start(h, &q, on_done, &a, NULL);
	char header[] = "X-A: b";
	const char *headers[] = {header, NULL};
	q = (struct http_request){.url = good, .retries = 1, .headers = headers};
	assert_non_null(http_start(h, &q, on_done, &a, NULL));
	header[0] = '\n'; /* was copied */
	int64_t end = clock_mono_ms() + 20000;
	while (a.done == 0 && clock_mono_ms() < end)
		assert_int_equal(http_step(h, NULL, 0, 1000, NULL), 0);
	assert_int_equal(a.done, 1);
	assert_int_equal(a.last_status, 200);
	assert_null(a.victim);

	struct pollfd extra = {.fd = fds[0], .events = POLLIN};
	assert_int_equal(http_step(h, &extra, 1, 20, NULL), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(http_step(h, &extra, 1, 10000, NULL), 1);
	assert_int_equal(extra.revents, POLLIN);
	http_cancel(poll_one);
	assert_int_equal(a.done, 1);
	close(fds[0]);
	close(fds[1]);
}

struct polls {
	int done;
	long connections;
};

static void on_poll(void *context, int result, struct http_response *response, const struct err *err)
{
	(void)err;
	struct polls *p = context;
	long long connections = 0;
	assert_int_equal(result, 0);
	assert_true(str_parse_i64(str_peek(&response->body), 1, INT32_MAX, &connections));
	p->connections = MAX(p->connections, (long)connections);
	p->done++;
}

/* All wait at the same time, and all get their answers. */
static long poll_together(struct http *h, int count)
{
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/together/%d", server_port(&server), count);
	struct http_request q = {.url = url};
	struct polls p = {0};
	for (int i = 0; i < count; i++)
		assert_non_null(http_start(h, &q, on_poll, &p, NULL));
	int64_t end = clock_mono_ms() + 20000;
	while (p.done < count && clock_mono_ms() < end)
		assert_int_equal(http_step(h, NULL, 0, 1000, NULL), 0);
	assert_int_equal(p.done, count);
	return p.connections;
}

static void each_of_many_polls_keeps_its_connection(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	long first = poll_together(h, 40);
	assert_int_equal(poll_together(h, 40), first);
	assert_int_equal(poll_together(h, 40), first);
}

static void waiting_for_a_poll_costs_no_wake_ups(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *hang = url_of("/hang");
	struct async a = {.h = h};
	struct http_request q = {.url = hang};
	assert_non_null(http_start(h, &q, on_done, &a, NULL));
	int steps = 0;
	for (int64_t end = clock_mono_ms() + 600; clock_mono_ms() < end; steps++)
		assert_int_equal(http_step(h, NULL, 0, end - clock_mono_ms(), NULL), 0);
	assert_in_range(steps, 1, 12);
}

/* Steps until then. */
static int steps_until(struct http *h, int64_t end)
{
	int steps = 0;
	for (; clock_mono_ms() < end; steps++)
		assert_int_equal(http_step(h, NULL, 0, end - clock_mono_ms(), NULL), 0);
	return steps;
}

static void the_time_for_connecting_wakes_nobody_once_the_connection_stands(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *hang = url_of("/hang");
	struct async a = {.h = h};
	int64_t begin = clock_mono_ms();
	for (int i = 0; i < 12; i++) {
		struct http_request q = {.url = hang, .connect_timeout_ms = 300 + 20 * i};
		assert_non_null(http_start(h, &q, on_done, &a, NULL));
	}
	(void)steps_until(h, begin + 200);
	assert_in_range(steps_until(h, begin + 800), 1, 4);
	assert_int_equal(a.done, 0);
}

static void on_timeout(void *context, int result, struct http_response *response, const struct err *err)
{
	int *count = context;
	(void)response;
	(void)err;
	assert_int_equal(result, ERR_TIMEOUT);
	++*count;
}

static void polls_that_only_wait_end_with_their_time(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *hang = url_of("/hang");
	int count = 0;
	int64_t begin = clock_mono_ms();
	struct http_request q = {.url = hang, .connect_timeout_ms = 150, .timeout_ms = 700};
	assert_non_null(http_start(h, &q, on_timeout, &count, NULL));
	q.timeout_ms = 400;
	assert_non_null(http_start(h, &q, on_timeout, &count, NULL));
	(void)steps_until(h, begin + 350);
	assert_int_equal(count, 0);
	while (count < 2 && clock_mono_ms() < begin + 20000)
		assert_int_equal(http_step(h, NULL, 0, 10000, NULL), 0);
	assert_int_equal(count, 2);
	assert_in_range(clock_mono_ms() - begin, 690, 15000);
}

static int64_t cpu_us(void)
{
	struct timespec t;
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Of a hundred requests, in processor time. */
static int64_t cost_beside(int polls)
{
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *hang = url_of("/hang");
	struct async a = {.h = h};
	struct http_request q = {.url = hang};
	for (int i = 0; i < polls; i++)
		assert_non_null(http_start(h, &q, on_done, &a, NULL));
	int64_t before = 0;
	for (int i = -5; i < 100; i++) {
		struct call c = {.h = h, .w = WAIT_INIT};
		if (i == 0)
			before = cpu_us();
		assert_int_equal(go(&c, "/echo"), 0);
		c.h = NULL;
		call_done(&c);
	}
	return cpu_us() - before;
}

static void a_request_beside_many_polls_costs_no_look_at_each(void **state)
{
	(void)state;
	int64_t few = cost_beside(2), many = cost_beside(300);
	print_message("%lld us beside 2, %lld us beside 300\n", (long long)few, (long long)many);
	assert_true(many < 3 * few);
}

/* ---- answers that are pulled ---- */

struct pull {
	struct http *h;
	struct http_stream *stream;
	struct wait w;
	struct err err;
};

static void pull_done(struct pull *p)
{
	http_stream_free(p->stream);
	http_free(p->h);
}
#define PULL(name) _cleanup_(pull_done) struct pull name = {.h = http_new(NULL, NULL), .w = WAIT_INIT}

static int status_of(struct pull *p, const char *path)
{
	const struct http_response *head = NULL;
	_cleanup_free_ char *url = url_of(path);
	struct http_request q = {.url = url};
	if (p->w.deadline_mono_ms == 0)
		p->w = wait_within(&p->w, 20000);
	p->stream = http_stream_open(p->h, &q, &p->w, &p->err);
	if (p->stream == NULL)
		return p->err.code;
	int r = http_stream_head(p->stream, &head, &p->err);
	return r < 0 ? r : head->status;
}

/* How many bytes came; or the error. */
static long pull_all(struct pull *p, size_t piece)
{
	char buffer[65536];
	long sum = 0;
	for (size_t len = 1; len > 0; sum += (long)len) {
		int r = http_stream_read(p->stream, buffer, piece, &len, &p->err);
		if (r < 0)
			return r;
		bool right = true;
		for (size_t i = 0; i < len; i++)
			right &= buffer[i] == 'x';
		assert_true(right && len <= piece);
	}
	return sum;
}

static void a_pulled_answer_is_whole_and_waits_outside_until_it_is_read(void **state)
{
	(void)state;
	const char *const paths[] = {"/big/30000000", "/big/30000000?chunked"};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		PULL(p);
		assert_int_equal(status_of(&p, paths[i]), 200);
		/* Other requests of the client turn its loop: all that would be pushed in the meantime would break the ceiling. */
		for (int turn = 0; turn < 50; turn++) {
			struct call other = {.h = p.h, .w = WAIT_INIT};
			assert_int_equal(go(&other, "/echo"), 0);
			other.h = NULL;
			call_done(&other);
		}
		assert_int_equal(pull_all(&p, i == 0 ? 65536 : 1000), 30000000);
		size_t len = 1;
		assert_int_equal(http_stream_read(p.stream, &len, 1, &len, &p.err), 0);
		assert_int_equal(len, 0);
	}
}

static void a_pulled_refusal_has_its_text_in_the_head(void **state)
{
	(void)state;
	PULL(p);
	const struct http_response *head = NULL;
	assert_int_equal(status_of(&p, "/status/403"), 403);
	assert_int_equal(http_stream_head(p.stream, &head, &p.err), 0);
	assert_string_equal(str_peek(&head->body), "status");
	assert_int_equal(pull_all(&p, 100), 0);
}

static void a_pulled_answer_that_breaks_off_is_an_error_after_what_came(void **state)
{
	(void)state;
	PULL(p);
	char buffer[2000];
	size_t len = 0;
	assert_int_equal(status_of(&p, "/cut/1000"), 200);
	assert_int_equal(http_stream_read(p.stream, buffer, sizeof(buffer), &len, &p.err), 0);
	assert_int_equal(len, 1000);
	assert_int_equal(http_stream_read(p.stream, buffer, sizeof(buffer), &len, &p.err), ERR_NETWORK);
	PULL(none);
	assert_int_equal(status_of(&none, "/close"), ERR_NETWORK);
}

static void a_pulled_answer_that_stalls_ends_with_the_deadline_or_a_cancel(void **state)
{
	(void)state;
	PULL(late);
	late.w = wait_within(&late.w, 200);
	assert_int_equal(status_of(&late, "/stall/10"), 200);
	assert_int_equal(pull_all(&late, 100), ERR_TIMEOUT);
	PULL(hangs);
	hangs.w = wait_within(&hangs.w, 200);
	assert_int_equal(status_of(&hangs, "/hang"), ERR_TIMEOUT);
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	PULL(cancelled);
	cancelled.w.cancel_fd = fds[0];
	cancelled.w.tick_ms = 50;
	cancelled.w.tick = cancel_tick;
	cancelled.w.context = &fds[1];
	int64_t start = clock_mono_ms();
	assert_int_equal(status_of(&cancelled, "/hang"), ERR_CANCELLED);
	assert_true(clock_mono_ms() - start < 10000);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_has_status_headers_and_body),
		cmocka_unit_test(a_body_is_sent_as_it_is_with_any_method),
		cmocka_unit_test(a_body_is_streamed_from_a_descriptor_again_for_each_try),
		cmocka_unit_test(a_busy_service_is_asked_again_as_often_as_allowed),
		cmocka_unit_test(pauses_between_tries_are_as_short_as_the_client_was_told),
		cmocka_unit_test(retry_after_is_kept_and_one_beyond_the_deadline_hands_the_answer_out),
		cmocka_unit_test(a_date_to_come_again_is_one_of_the_servers_clock),
		cmocka_unit_test(a_request_that_went_out_twice_says_so),
		cmocka_unit_test(a_lost_connection_is_a_network_error_after_the_last_try),
		cmocka_unit_test(an_answer_beyond_its_ceiling_is_refused_with_and_without_a_length),
		cmocka_unit_test(the_length_of_what_head_does_not_bring_is_no_matter),
		cmocka_unit_test(a_body_is_handed_on_in_pieces_and_the_taker_may_stop_it),
		cmocka_unit_test(a_silent_server_ends_in_a_timeout),
		cmocka_unit_test(an_answer_that_drips_ends_with_the_time_of_the_whole),
		cmocka_unit_test(a_cancel_ends_a_request_at_once),
		cmocka_unit_test(redirects_are_followed_when_asked_for_and_keep_headers_at_home),
		cmocka_unit_test(a_redirect_to_a_file_or_without_end_is_refused),
		cmocka_unit_test(a_header_with_a_line_break_is_refused),
		cmocka_unit_test(a_proxy_gets_the_request),
		cmocka_unit_test(loopback_goes_through_no_proxy_of_the_environment),
		cmocka_unit_test(a_socket_of_this_machine_is_asked_through_no_proxy),
		cmocka_unit_test(transfers_run_side_by_side_with_other_descriptors),
		cmocka_unit_test(each_of_many_polls_keeps_its_connection),
		cmocka_unit_test(waiting_for_a_poll_costs_no_wake_ups),
		cmocka_unit_test(the_time_for_connecting_wakes_nobody_once_the_connection_stands),
		cmocka_unit_test(polls_that_only_wait_end_with_their_time),
		cmocka_unit_test(a_request_beside_many_polls_costs_no_look_at_each),
		cmocka_unit_test(a_pulled_answer_is_whole_and_waits_outside_until_it_is_read),
		cmocka_unit_test(a_pulled_refusal_has_its_text_in_the_head),
		cmocka_unit_test(a_pulled_answer_that_breaks_off_is_an_error_after_what_came),
		cmocka_unit_test(a_pulled_answer_that_stalls_ends_with_the_deadline_or_a_cancel),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
