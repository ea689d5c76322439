#include "unit/steps/step_fixture.h"
#include "base/core/clock.h"
#include "base/secret/mask.h"
#include "steps/health_gate/health_gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* A web server of few words: a thread that answers one request a connection. */
struct server {
	int fd, port;
	pthread_t thread;
	atomic_int flaky, requests;
	int release_fd; /* "/late" waits for it */
	char last[2048];
};
static struct server server;

static void answer(int fd, const char *path)
{
	char text[1024];
	const char *status = "200 OK", *extra = "", *body = "all is well, token=tops3cret-value\nsecond line";
	if (strcmp(path, "/flaky") == 0 && atomic_fetch_add(&server.flaky, 1) % 4 < 2)
		status = "502 Bad Gateway";
	else if (strcmp(path, "/redirect") == 0)
		status = "302 Found", extra = "Location: /ok\r\n";
	else if (strcmp(path, "/teapot") == 0)
		status = "418 Teapot";
	else if (strcmp(path, "/late-bad") == 0)
		status = "500 Oops";
	else if (strcmp(path, "/blink") == 0 && atomic_fetch_add(&server.flaky, 1) == 1)
		status = "500 Oops";
	int n = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
	                 status, extra, strlen(body), body);
	if (write(fd, text, (size_t)n) < 0)
		return;
}

static void *serve(void *context)
{
	(void)context;
	for (;;) {
		int fd = accept(server.fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		char buf[2048], path[256] = "";
		ssize_t n = read(fd, buf, sizeof(buf) - 1);
		buf[n > 0 ? n : 0] = '\0';
		memcpy(server.last, buf, sizeof(buf));
		atomic_fetch_add(&server.requests, 1);
		if (sscanf(buf, "%*s %255s", path) == 1 && strcmp(path, "/stop") == 0) {
			close(fd);
			return NULL;
		}
		if (strcmp(path, "/slow") == 0) {
			char rest;
			/* Until the other side gives up. */
			while (read(fd, &rest, 1) > 0)
				;
		} else {
			uint64_t count;
			if (strncmp(path, "/late", 5) == 0 && read(server.release_fd, &count, sizeof(count)) < 0)
				print_error("no release\n");
			answer(fd, path);
		}
		close(fd);
	}
}

static int start_server(void **state)
{
	(void)state;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server.fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(server.fd, 50) < 0 ||
	    getsockname(server.fd, (struct sockaddr *)&a, &size) < 0)
		return -1;
	server.port = ntohs(a.sin_port);
	server.release_fd = eventfd(0, EFD_CLOEXEC);
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
	(void)state;
	struct sockaddr_in a = {.sin_family = AF_INET,
	                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	                        .sin_port = htons((uint16_t)server.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || write(fd, "GET /stop x\r\n\r\n", 15) < 0)
		return -1;
	pthread_join(server.thread, NULL);
	close(fd);
	close(server.fd);
	close(server.release_fd);
	return 0;
}

/* PORT in the input stands for the server's. */
static void gate_input(struct fixture *f, const char *yaml)
{
	struct str text = STR_INIT(65536);
	atomic_store(&server.flaky, 0);
	atomic_store(&server.requests, 0);
	for (const char *p = yaml; *p != '\0'; p++) {
		if (strncmp(p, "PORT", 4) == 0) {
			str_appendf(&text, "%d", server.port);
			p += 3;
		} else {
			str_append_c(&text, *p);
		}
	}
	fixture_input(f, "health-gate", str_peek(&text));
	str_done(&text);
	size_t faults = fixture_validate(f);
	if (faults > 0)
		fail_msg("%s", f->faults.items[0].text);
}

static int probe(struct fixture *f)
{
	err_clear(&f->err);
	return f->c.type->probe(&f->c, false, &f->err);
}

static bool says(struct fixture *f, const char *words)
{
	if (strstr(err_line(&f->err, f->text, sizeof(f->text)), words) != NULL)
		return true;
	print_message("it says: %s\n", f->text);
	return false;
}

static void a_502_during_the_start_is_not_the_end(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/flaky', interval: 40ms, for: 2 }]\n");
	assert_int_equal(probe(f), 0);
	assert_int_equal(json_array_size(f->events), 4);
	json_t *last = json_array_get(f->events, 3);
	assert_true(json_get_bool(last, "passed", false));
	assert_int_equal(json_get_int(last, "try", 0), 4);
	assert_string_equal(json_get_string(json_array_get(f->events, 0), "seen"), "answered 502, wanted 200");
}

static void successes_must_come_in_a_row(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/blink', interval: 20ms, for: 2 }]\n");
	assert_int_equal(probe(f), 0);
	assert_int_equal(atomic_load(&server.requests), 4);
}

static void a_redirect_is_judged_or_followed_by_choice(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 300ms\nchecks: [{ http: 'http://127.0.0.1:PORT/redirect', interval: 50ms }]\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(says(f, "answered 302 to /ok, wanted 200 (`follow: true` follows redirects)"));
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/redirect', status: [200, 302] }]\n");
	assert_int_equal(probe(f), 0);
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/redirect', follow: true }]\n");
	assert_int_equal(probe(f), 0);
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/teapot', status: ['400-420', 200] }]\n");
	assert_int_equal(probe(f), 0);
}

static void the_failure_names_every_check_that_did_not_pass(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 400ms\nchecks:\n"
	              "  - { http: 'http://127.0.0.1:PORT/ok', interval: 50ms }\n"
	              "  - { name: teapot, http: 'http://127.0.0.1:PORT/teapot', interval: 50ms, status: [200, 204] }\n"
	              "  - { tcp: '127.0.0.1:1', interval: 50ms }\n"
	              "  - { command: 'echo not yet >&2; exit 7', interval: 50ms }\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(says(f, "3 of 4 checks did not pass within "));
	assert_true(says(f, "teapot answered 418, wanted 200 or 204"));
	assert_true(says(f, "127.0.0.1:1 no connection: Connection refused"));
	assert_true(says(f, "exit status 7: not yet"));
}

static void the_body_is_looked_at(void **state)
{
	struct fixture *f = *state;
	mask_add(mask_process(), "tops3cret-value", 15);
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/ok', contains: is well, matches: "
	              "'(?m)^second l.ne$' }]\n");
	assert_int_equal(probe(f), 0);
	gate_input(f, "deadline: 200ms\nchecks: [{ http: 'http://127.0.0.1:PORT/ok', contains: not there, interval: "
	              "50ms }]\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(
		says(f, "answered 200, but the body does not contain 'not there'; it begins: all is well, token=***"));
	gate_input(f, "deadline: 200ms\nchecks: [{ http: 'http://127.0.0.1:PORT/ok', matches: '^(a|aa)+$', interval: "
	              "50ms }]\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_not_told(f, "tops3cret-value");
}

static void headers_are_sent(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/ok', headers: { X-Probe: abc def, Host: "
	              "shop.example } }]\n");
	assert_int_equal(probe(f), 0);
	assert_non_null(strstr(server.last, "X-Probe: abc def\r\n"));
	assert_non_null(strstr(server.last, "Host: shop.example\r\n"));
}

static void an_answer_that_never_comes_is_bounded_by_timeout_and_deadline(void **state)
{
	struct fixture *f = *state;
	int64_t start = clock_mono_ms();
	gate_input(
		f,
		"deadline: 700ms\nchecks: [{ http: 'http://127.0.0.1:PORT/slow', timeout: 200ms, interval: 50ms }]\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(says(f, "gave no answer within 200ms"));
	assert_true(clock_mono_ms() - start < 5000);
	gate_input(f, "deadline: 300ms\nchecks: [{ command: [sleep, '30'], timeout: 20s }]\n");
	start = clock_mono_ms();
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(says(f, "did not end within"));
	assert_true(clock_mono_ms() - start < 5000);
}

static void checks_run_side_by_side(void **state)
{
	struct fixture *f = *state;
	/* One after the other these would need 6 s; the server's backlog takes their connections at once. */
	int64_t start = clock_mono_ms();
	gate_input(f, "deadline: 2s\nchecks:\n"
	              "  - { http: 'http://127.0.0.1:PORT/slow', timeout: 1900ms }\n  - { http: "
	              "'http://127.0.0.1:PORT/slow?2', timeout: 1900ms }\n"
	              "  - { http: 'http://127.0.0.1:PORT/slow?3', timeout: 1900ms }\n  - { tcp: 'localhost:PORT' }\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(clock_mono_ms() - start < 5000);
	assert_false(says(f, "localhost"));
}

static void a_connection_is_a_success_and_an_unknown_name_is_named(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 20s\nchecks: [{ tcp: '127.0.0.1:PORT' }, { tcp: 'localhost:PORT' }]\n");
	assert_int_equal(probe(f), 0);
	gate_input(f, "deadline: 400ms\nchecks: [{ tcp: 'no-such-name.invalid:80', interval: 100ms }]\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(strstr(f->text, "no-such-name.invalid") != NULL || says(f, "no-such-name.invalid"));
}

static void the_baseline_tries_each_check_once(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 20s\nchecks: [{ http: 'http://127.0.0.1:PORT/ok', for: 5 }, { http: "
	              "'http://127.0.0.1:PORT/teapot' }, { command: ['true'] }]\n");
	f->c.type->baseline_begin(&f->c);
	assert_int_equal(f->c.type->baseline_end(&f->c, 20000, &f->err), ERR_FAILED);
	assert_true(says(f, "1 of 3 checks do not pass now: "));
	assert_int_equal(atomic_load(&server.requests), 2);
	assert_int_equal(json_array_size(f->events), 3);
	assert_string_equal(json_get_string(json_array_get(f->events, 0), "kind_of_event"), "baseline");
}

static int baseline(struct fixture *f, int64_t wait)
{
	err_clear(&f->err);
	return f->c.type->baseline_end(&f->c, wait, &f->err);
}

static void what_takes_long_is_not_waited_for_before_the_first_change(void **state)
{
	struct fixture *f = *state;
	uint64_t one = 1;
	int64_t start = clock_mono_ms();
	gate_input(
		f,
		"deadline: 60s\nchecks: [{ http: 'http://127.0.0.1:PORT/late', timeout: 50s }, { command: ['true'] }]\n");
	f->c.type->baseline_begin(&f->c);
	assert_int_equal(baseline(f, 50), ERR_TIMEOUT);
	assert_true(says(f, "1 of 2 checks had not answered when the first change began"));
	assert_true(clock_mono_ms() - start < 5000);
	assert_int_equal(write(server.release_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(baseline(f, 20000), 0);
	assert_int_equal(json_array_size(f->events), 2);
}

static void a_bad_answer_that_comes_late_says_nothing_of_the_version_before(void **state)
{
	struct fixture *f = *state;
	uint64_t one = 1;
	gate_input(f, "deadline: 60s\nchecks: [{ http: 'http://127.0.0.1:PORT/late-bad', timeout: 50s }]\n");
	f->c.type->baseline_begin(&f->c);
	assert_int_equal(baseline(f, 50), ERR_TIMEOUT);
	assert_int_equal(write(server.release_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(baseline(f, 20000), ERR_TIMEOUT);
}

static void a_request_that_takes_long_holds_up_no_command(void **state)
{
	struct fixture *f = *state;
	gate_input(f, "deadline: 2s\nchecks:\n  - { http: 'http://127.0.0.1:PORT/slow', timeout: 20s }\n"
	              "  - { command: ['true'], for: 3, interval: 50ms }\n");
	assert_int_equal(probe(f), ERR_FAILED);
	assert_true(says(f, "1 of 2 checks did not pass within"));
	assert_true(says(f, "/slow has not answered"));
}

static void a_cancel_ends_it_at_once(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(1, EFD_CLOEXEC);
	f->wait.cancel_fd = fd;
	int64_t start = clock_mono_ms();
	gate_input(f, "deadline: 60s\nchecks: [{ http: 'http://127.0.0.1:PORT/slow', timeout: 50s }]\n");
	assert_int_equal(probe(f), ERR_CANCELLED);
	assert_true(clock_mono_ms() - start < 10000);
	f->wait.cancel_fd = -1;
	close(fd);
}

static void wrong_inputs_are_all_named(void **state)
{
	struct fixture *f = *state;
	mask_add(mask_process(), "tops3cret-value", 15);
	fixture_input(f, "health-gate",
	              "checks:\n  - { http: 'http://x/?key=tops3cret-value' }\n  - { tcp: 'host:99999' }\n  - { http: "
	              "'http://x', status: [99, '300-200'] }\n"
	              "  - { http: 'http://x', matches: '(' }\n  - { http: 'http://x', headers: { 'A b': x } }\n  - { "
	              "tcp: '::1:80' }\n");
	assert_int_equal(fixture_validate(f), 7);
	assert_true(fixture_fault(f, "/checks/0", "a secret is part of the URL"));
	assert_true(fixture_fault(f, "/checks/2/status", "not a status"));
	assert_true(fixture_fault(f, "/checks/3/matches", "the pattern is wrong"));
	assert_true(fixture_fault(f, "/checks/4/headers", "cannot be sent"));
	assert_true(fixture_fault(f, "/checks/5", "not an address"));
}

static void a_command_needs_one_target(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "health-gate", "checks: [{ command: ['true'], target: elsewhere }]\n");
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_true(fixture_fault(f, "/checks/0/target", "no target 'elsewhere'"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_502_during_the_start_is_not_the_end),
		T(successes_must_come_in_a_row),
		T(a_redirect_is_judged_or_followed_by_choice),
		T(the_failure_names_every_check_that_did_not_pass),
		T(the_body_is_looked_at),
		T(headers_are_sent),
		T(an_answer_that_never_comes_is_bounded_by_timeout_and_deadline),
		T(checks_run_side_by_side),
		T(a_connection_is_a_success_and_an_unknown_name_is_named),
		T(the_baseline_tries_each_check_once),
		T(what_takes_long_is_not_waited_for_before_the_first_change),
		T(a_bad_answer_that_comes_late_says_nothing_of_the_version_before),
		T(a_request_that_takes_long_holds_up_no_command),
		T(a_cancel_ends_it_at_once),
		T(wrong_inputs_are_all_named),
		T(a_command_needs_one_target),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
