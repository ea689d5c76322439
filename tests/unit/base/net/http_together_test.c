/* Several that ask one client at once, against a real server, tests/servers/http_server.py. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/core/mem.h"
#include "base/net/http.h"
#include "harness/server.h"

enum { CALLS = 12, SEATS = 4 };

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

struct world {
	struct http *http;
	struct wait wait;
	const char *path;
	int cancel_fd; /* the last of the first ones writes to it */
	size_t asked, inside, most;
	int results[CALLS], statuses[CALLS];
};

static void ask(void *context, size_t i)
{
	struct world *w = context;
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d%s", server_port(&server), w->path);
	_cleanup_(http_response_done) struct http_response response = {0};
	const struct http_request q = {.url = url};
	w->asked++;
	w->inside++;
	w->most = MAX(w->most, w->inside);
	if (i == SEATS - 1 && w->cancel_fd > 0)
		assert_int_equal(write(w->cancel_fd, "x", 1), 1);
	w->results[i] = http_perform(w->http, &q, &w->wait, &response, NULL);
	w->statuses[i] = response.status;
	w->inside--;
}

static int ask_all(struct world *w, size_t count, size_t most)
{
	struct wait none = WAIT_INIT;
	int cancel = w->wait.cancel_fd;
	w->wait = wait_within(&none, 30000);
	if (cancel > 0)
		w->wait.cancel_fd = cancel;
	return http_together(w->http, count, most, ask, w, &w->wait, NULL);
}

static void assert_all_answered(const struct world *w, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(w->results[i], 0);
		assert_int_equal(w->statuses[i], 200);
	}
}

/* The server answers none before four have asked. */
static void as_many_as_allowed_wait_at_once_and_no_more(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct world w = {.http = h, .path = "/together/4"};
	assert_int_equal(ask_all(&w, CALLS, SEATS), 0);
	assert_all_answered(&w, CALLS);
	assert_int_equal(w.most, SEATS);
	assert_int_equal(w.inside, 0);
}

static void one_at_a_time_is_in_order(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct world w = {.http = h, .path = "/echo"};
	assert_int_equal(ask_all(&w, 3, 1), 0);
	assert_all_answered(&w, 3);
	assert_int_equal(w.most, 1);
	assert_int_equal(ask_all(&w, 0, SEATS), 0);
}

static void what_fails_for_one_fails_for_nobody_else(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct world w = {.http = h, .path = "/close"};
	assert_int_equal(ask_all(&w, CALLS, SEATS), 0);
	for (size_t i = 0; i < CALLS; i++)
		assert_int_equal(w.results[i], ERR_NETWORK);
	w.path = "/echo";
	assert_int_equal(ask_all(&w, CALLS, SEATS), 0);
	assert_all_answered(&w, CALLS);
}

static void a_cancel_ends_those_that_wait_and_begins_no_other(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct world w = {.http = h, .path = "/hang", .cancel_fd = fds[1], .wait = {.cancel_fd = fds[0]}};
	int64_t start = clock_mono_ms();
	assert_int_equal(ask_all(&w, CALLS, SEATS), ERR_CANCELLED);
	assert_true(clock_mono_ms() - start < 10000);
	assert_int_equal(w.asked, SEATS);
	assert_int_equal(w.inside, 0);
	for (size_t i = 0; i < SEATS; i++)
		assert_int_equal(w.results[i], ERR_CANCELLED);
	/* The client works on. */
	w = (struct world){.http = h, .path = "/together/4"};
	assert_int_equal(ask_all(&w, SEATS, SEATS), 0);
	assert_all_answered(&w, SEATS);
	close(fds[0]);
	close(fds[1]);
}

static void nest(void *context, size_t i)
{
	struct world *w = context, inner = {.http = w->http, .path = "/echo"};
	w->asked++;
	w->results[i] = ask_all(&inner, 3, SEATS);
	assert_int_equal(inner.most, 1);
	assert_all_answered(&inner, 3);
}

static void within_another_one_they_come_one_after_the_other(void **state)
{
	(void)state;
	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct world w = {.http = h, .wait = WAIT_INIT};
	w.wait = wait_within(&w.wait, 30000);
	assert_int_equal(http_together(h, SEATS, SEATS, nest, &w, &w.wait, NULL), 0);
	assert_int_equal(w.asked, SEATS);
	for (size_t i = 0; i < SEATS; i++)
		assert_int_equal(w.results[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_allowed_wait_at_once_and_no_more),
		cmocka_unit_test(one_at_a_time_is_in_order),
		cmocka_unit_test(what_fails_for_one_fails_for_nobody_else),
		cmocka_unit_test(a_cancel_ends_those_that_wait_and_begins_no_other),
		cmocka_unit_test(within_another_one_they_come_one_after_the_other),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
