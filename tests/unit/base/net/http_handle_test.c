/* Requests that follow each other with one client, which keeps libcurl's handles and connections: none has anything of another one. A real
 * server, tests/servers/http_server.py. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/net/http.h"
#include "harness/server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
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

struct asked {
	struct http_response a;
	struct err err;
	int result;
};

static void asked_done(struct asked *r)
{
	http_response_done(&r->a);
}

static struct asked ask(struct http *h, const char *path, struct http_request q)
{
	struct asked r = {.err = ERR_INIT};
	struct wait w = WAIT_INIT;
	w = wait_within(&w, 30000);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d%s", server_port(&server), path);
	q.url = url;
	r.result = http_perform(h, &q, &w, &r.a, &r.err);
	return r;
}

/* An answer with `there` in it and without `gone`, each of which may be NULL. */
static void expect(struct http *h, const char *path, struct http_request q, int status, const char *there,
                   const char *gone)
{
	_cleanup_(asked_done) struct asked r = ask(h, path, q);
	assert_int_equal(r.result, 0);
	assert_int_equal(r.a.status, status);
	if (there != NULL)
		assert_non_null(strstr(str_peek(&r.a.body), there));
	if (gone != NULL)
		assert_null(strstr(str_peek(&r.a.body), gone));
}

static void expect_error(struct http *h, const char *path, struct http_request q, int code)
{
	_cleanup_(asked_done) struct asked r = ask(h, path, q);
	assert_int_equal(r.result, code);
}

static int refuse(void *context, const void *data, size_t len, struct err *err)
{
	(void)context;
	(void)data;
	(void)len;
	return err_set(err, ERR_LIMIT, "enough");
}

static void a_request_has_the_headers_that_are_its_own(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	const char *const one[] = {"Authorization: Bearer one", NULL}, *const two[] = {"X-Two: 2", NULL};
	expect(h, "/echo", (struct http_request){.headers = one}, 200, "Bearer one", NULL);
	expect(h, "/echo", (struct http_request){.headers = two}, 200, "X-Two", "Bearer one");
	expect(h, "/echo", (struct http_request){0}, 200, NULL, "X-Two");
}

static void a_request_is_of_the_method_that_is_its_own(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct http_request post = {.body = "grain", .body_len = 5}, head = {.method = "HEAD"}, get = {0};
	for (int i = 0; i < 2; i++) {
		expect(h, "/echo", get, 200, "\"GET\"", "grain");
		expect(h, "/echo", post, 200, "\"POST\"", NULL);
		expect(h, "/echo", get, 200, "\"GET\"", "grain");
		expect(h, "/echo", head, 200, NULL, "GET");
	}
	/* Of a redirect's first request the handle is for a POST, of its second one it is not. */
	post.follow = true;
	expect(h, "/redirect?to=/echo", post, 200, "\"GET\"", "grain");
	expect(h, "/echo", get, 200, "\"GET\"", "grain");
}

static void a_request_has_the_limits_that_are_its_own(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct http_request small = {.max_body = 1000}, slow = {.timeout_ms = 200}, get = {0};
	struct http_request large = {.max_body = 8 << 20}, pieces = {.on_body = refuse};
	expect(h, "/big/100000", get, 200, "xxxx", NULL);
	expect_error(h, "/big/2000", small, ERR_LIMIT);
	expect(h, "/big/100000", get, 200, "xxxx", NULL);
	expect_error(h, "/big/2000?chunked", small, ERR_LIMIT);
	expect(h, "/big/2000000", large, 200, "xxxx", NULL);
	expect_error(h, "/big/2000", pieces, ERR_LIMIT);
	expect(h, "/big/100000", get, 200, "xxxx", NULL);
	expect_error(h, "/hang", slow, ERR_TIMEOUT);
	expect(h, "/slow/400", get, 200, "slow", NULL);
}

static void a_name_of_the_program_is_that_of_the_next_request(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	expect(h, "/echo", (struct http_request){0}, 200, "davit/", NULL);
	http_set_user_agent(h, "another/2");
	expect(h, "/echo", (struct http_request){0}, 200, "another/2", "davit/");
}

/* The descriptor of a connection that ended is that of the next one, which is waited for as if there had been none. */
static void an_answer_comes_on_a_connection_in_the_place_of_one_that_ended(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	for (int i = 0; i < 3; i++) {
		expect(h, "/slow/20", (struct http_request){0}, 200, "slow", NULL);
		expect_error(h, "/cut/100", (struct http_request){0}, ERR_NETWORK);
		expect(h, "/slow/20", (struct http_request){.timeout_ms = 20000}, 200, "slow", NULL);
		expect_error(h, "/nothing", (struct http_request){.timeout_ms = 20000}, ERR_NETWORK);
	}
}

/* The connection to the server: the descriptor of it that is highest. */
static int connection(void)
{
	int found = -1;
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer = {0};
		socklen_t size = sizeof(peer);
		if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
		    ntohs(peer.sin_port) == server_port(&server))
			found = fd;
	}
	return found;
}

static int note(void *context, const void *data, size_t len, struct err *err)
{
	(void)data;
	(void)len;
	(void)err;
	*(bool *)context = true;
	return 0;
}

static void never(void *context, int result, struct http_response *response, const struct err *err)
{
	(void)context;
	(void)result;
	(void)response;
	(void)err;
	fail();
}

/* As where a process that is being started still has it: the kernel goes on telling of what nobody forgot, and each wait ends at once. */
static void a_connection_that_is_closed_here_and_open_elsewhere_wakes_nobody(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *stall = xasprintf("http://127.0.0.1:%d/stall/100", server_port(&server)),
			    *hang = xasprintf("http://127.0.0.1:%d/hang", server_port(&server));
	bool came = false;
	int steps = 0;
	struct http_transfer *t = http_start(h, &(struct http_request){.url = stall, .on_body = note, .context = &came},
	                                     never, NULL, NULL);
	assert_non_null(t);
	for (int64_t end = clock_mono_ms() + 20000; !came && clock_mono_ms() < end;)
		assert_int_equal(http_step(h, NULL, 0, 1000, NULL), 0);
	assert_true(came);
	int elsewhere = dup(connection());
	assert_true(elsewhere >= 0);
	http_cancel(t);
	assert_int_equal(shutdown(elsewhere, SHUT_RDWR), 0);
	assert_non_null(http_start(h, &(struct http_request){.url = hang}, never, NULL, NULL));
	for (int64_t end = clock_mono_ms() + 300; clock_mono_ms() < end; steps++)
		assert_int_equal(http_step(h, NULL, 0, end - clock_mono_ms(), NULL), 0);
	assert_in_range(steps, 1, 12);
	close(elsewhere);
}

struct polls {
	int left, done;
	struct http *h;
	char *url;
};

static void again(void *context, int result, struct http_response *response, const struct err *err)
{
	struct polls *p = context;
	(void)err;
	assert_int_equal(result, 0);
	assert_int_equal(response->status, 200);
	p->done++;
	if (p->left-- > 0)
		assert_non_null(http_start(p->h, &(struct http_request){.url = p->url}, again, p, NULL));
}

/* As the listener does it: the next poll begins in the end of the one before. */
static void polls_that_begin_at_the_end_of_others_all_get_their_answers(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/slow/10", server_port(&server));
	struct polls p = {.left = 60, .h = h, .url = url};
	for (int i = 0; i < 12; i++)
		assert_non_null(http_start(h, &(struct http_request){.url = url}, again, &p, NULL));
	for (int64_t end = clock_mono_ms() + 30000; p.done < 72 && clock_mono_ms() < end;)
		assert_int_equal(http_step(h, NULL, 0, 1000, NULL), 0);
	assert_int_equal(p.done, 72);
}

static long connections_so_far(struct http *h, struct http_request q)
{
	_cleanup_(asked_done) struct asked r = ask(h, "/together/1", q);
	long long count = 0;
	assert_int_equal(r.result, 0);
	assert_true(str_parse_i64(str_peek(&r.a.body), 1, INT32_MAX, &count));
	return (long)count;
}

static void the_last_request_of_a_connection_takes_one_that_is_there_and_leaves_none(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct http_request any = {0}, last = {.last = true};
	long first = connections_so_far(h, any);
	assert_int_equal(connections_so_far(h, any), first);
	assert_int_equal(connections_so_far(h, last), first);
	assert_int_equal(connections_so_far(h, any), first + 1);
	assert_int_equal(connections_so_far(h, any), first + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_the_headers_that_are_its_own),
		cmocka_unit_test(a_request_is_of_the_method_that_is_its_own),
		cmocka_unit_test(a_request_has_the_limits_that_are_its_own),
		cmocka_unit_test(a_name_of_the_program_is_that_of_the_next_request),
		cmocka_unit_test(an_answer_comes_on_a_connection_in_the_place_of_one_that_ended),
		cmocka_unit_test(a_connection_that_is_closed_here_and_open_elsewhere_wakes_nobody),
		cmocka_unit_test(polls_that_begin_at_the_end_of_others_all_get_their_answers),
		cmocka_unit_test(the_last_request_of_a_connection_takes_one_that_is_there_and_leaves_none),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
