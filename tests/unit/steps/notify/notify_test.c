#include "unit/steps/step_fixture.h"
#include "base/secret/mask.h"
#include "steps/notify/notify.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

/* GitHub in few words: a thread that remembers requests and answers each by the first rule that fits. */
struct rule {
	const char *request;
	int status;
	const char *headers, *body;
};
static struct {
	int fd, port;
	pthread_t thread;
	const struct rule *rules;
	struct strv requests;
} hub;

static size_t body_length(const char *text)
{
	const char *p = strstr(text, "Content-Length: ");
	return p != NULL ? strtoul(p + 16, NULL, 10) : 0;
}

static void read_request(int fd, char *buf, size_t size)
{
	size_t len = 0;
	for (;;) {
		ssize_t n = read(fd, buf + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		buf[len] = '\0';
		const char *end = strstr(buf, "\r\n\r\n");
		if (end != NULL && len >= (size_t)(end + 4 - buf) + body_length(buf))
			break;
	}
	buf[len] = '\0';
}

static void *serve(void *context)
{
	static char buf[256 << 10], text[64 << 10];
	(void)context;
	for (;;) {
		int fd = accept(hub.fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		read_request(fd, buf, sizeof(buf));
		if (str_starts(buf, "GET /stop")) {
			close(fd);
			return NULL;
		}
		strv_add(&hub.requests, buf);
		const struct rule *rule = hub.rules;
		while (rule->request != NULL && !str_starts(buf, rule->request))
			rule++;
		int n = snprintf(text, sizeof(text),
		                 "HTTP/1.1 %d X\r\n%sContent-Type: application/json\r\nContent-Length: "
		                 "%zu\r\nConnection: close\r\n\r\n%s",
		                 rule->status, rule->headers, strlen(rule->body), rule->body);
		if (write(fd, text, (size_t)n) < 0)
			return NULL;
		close(fd);
	}
}

static int start_hub(void **state)
{
	(void)state;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	hub.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(hub.fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(hub.fd, 50) < 0 ||
	    getsockname(hub.fd, (struct sockaddr *)&a, &size) < 0)
		return -1;
	hub.port = ntohs(a.sin_port);
	return pthread_create(&hub.thread, NULL, serve, NULL);
}

static int stop_hub(void **state)
{
	(void)state;
	struct sockaddr_in a = {.sin_family = AF_INET,
	                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	                        .sin_port = htons((uint16_t)hub.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || write(fd, "GET /stop x\r\n\r\n", 15) < 0)
		return -1;
	pthread_join(hub.thread, NULL);
	close(fd);
	close(hub.fd);
	strv_done(&hub.requests);
	return 0;
}

static void use(struct fixture *f, const struct rule *rules, const char *input)
{
	static char url[64];
	strv_done(&hub.requests);
	hub.requests = (struct strv){0};
	hub.rules = rules;
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", hub.port);
	f->deployment.api_url = url;
	f->deployment.token = "job-token";
	f->deployment.repository = "acme/shop";
	f->deployment.run_url = "https://github.example/acme/shop/actions/runs/7";
	fixture_input(f, "notify", input);
	assert_int_equal(fixture_validate(f), 0);
}

static bool asked(const char *start, const char *words)
{
	for (size_t i = 0; i < hub.requests.count; i++) {
		if (str_starts(hub.requests.items[i], start) && strstr(hub.requests.items[i], words) != NULL)
			return true;
	}
	return false;
}

static const struct rule willing[] = {
	{"GET /repos/acme/shop/issues/5/comments", 200, "", "[{\"id\":3,\"body\":\"hello\"}]"},
	{"POST /repos/acme/shop/deployments HTTP", 201, "", "{\"id\":42}"},
	{NULL, 201, "", "{\"id\":1}"},
};
#define COMMIT "0123456789012345678901234567890123456789"

static json_t *report(void)
{
	return json_pack(
		"{s:[{s:s,s:s,s:s,s:s,s:s}],s:[{s:s,s:{s:s,s:b,s:s,s:i}},{s:s,s:{s:s,s:b,s:s,s:i}}],s:[{s:s,s:s,s:s}]}",
		"changes", "target", "web", "step_name", "run", "path", "/", "summary",
		"restart | with tops3cret-value", "state", "conflict", "events", "kind", "baseline", "data", "check",
		"https://shop/", "ok", 1, "seen", "answered 200", "try", 1, "kind", "probe", "data", "check",
		"https://shop/", "ok", 0, "seen", "answered 502, wanted 200", "try", 9, "left_over", "target", "web",
		"path", "/opt/x", "reason", "somebody changed it");
}

static void a_commit_comment_says_what_happened_and_no_secret(void **state)
{
	struct fixture *f = *state;
	mask_add(mask_process(), "tops3cret-value", 15);
	_cleanup_json_ json_t *told = report();
	const struct step_outcome outcome = {
		.state = OUTCOME_HELD, .exit_status = 4, .reason = "the gate failed: tops3cret-value", .report = told};
	use(f, willing, "commit_comment: true\nmessage: 'See the runbook.'\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_int_equal(hub.requests.count, 1);
	const char *request = hub.requests.items[0];
	assert_true(str_starts(request, "POST /repos/acme/shop/commits/" COMMIT "/comments HTTP"));
	assert_non_null(strstr(request, "Authorization: Bearer job-token"));
	assert_non_null(strstr(request, "See the runbook."));
	assert_non_null(strstr(request, "shop to test: stopped half way"));
	assert_non_null(strstr(request, "| https://shop/ | failed | answered 502, wanted 200 | 9 |"));
	assert_non_null(strstr(request, "web /opt/x: somebody changed it"));
	assert_non_null(strstr(request, "restart \\\\| with ***"));
	assert_non_null(strstr(request, "davit rollback 20260131T102030-3fa94c"));
	assert_null(strstr(request, "tops3cret"));
}

static void the_pull_requests_comment_is_made_once_and_then_updated(void **state)
{
	struct fixture *f = *state;
	static const struct rule again[] = {
		{"GET /repos/acme/shop/issues/5/comments", 200, "",
	         "[{\"id\":3,\"body\":\"hello\"},{\"id\":77,\"body\":\"<!-- davit shop.test -->\\nold\"}]"},
		{NULL, 200, "", "{}"},
	};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	use(f, willing, "commit_comment: false\npull_request: 5\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/issues/5/comments", "<!-- davit shop.test -->"));
	use(f, again, "commit_comment: false\npull_request: 5\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("PATCH /repos/acme/shop/issues/comments/77 ", "shop to test: deployed"));
}

static void a_deployment_status_is_set(void **state)
{
	struct fixture *f = *state;
	const struct step_outcome good = {.state = OUTCOME_COMMITTED},
				  bad = {.state = OUTCOME_UNDONE, .exit_status = 1, .reason = "no answer"};
	use(f, willing, "commit_comment: false\ndeployment_status: true\nenvironment_url: 'https://shop.example'\n");
	assert_int_equal(f->c.type->settled(&f->c, &good, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/deployments HTTP", "\"ref\":\"" COMMIT "\""));
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "\"state\":\"success\""));
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "https://shop.example"));
	assert_int_equal(f->c.type->settled(&f->c, &bad, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "failed and rolled back (no answer)"));
}

static void it_can_be_told_about_failures_only(void **state)
{
	struct fixture *f = *state;
	const struct step_outcome good = {.state = OUTCOME_COMMITTED};
	use(f, willing, "on: failure\n");
	assert_int_equal(f->c.type->settled(&f->c, &good, &f->err), 0);
	assert_int_equal(hub.requests.count, 0);
}

static void a_missing_permission_is_named_before_the_first_change(void **state)
{
	struct fixture *f = *state;
	static const struct rule forbidding[] = {
		{"POST /repos/acme/shop/commits/", 403, "X-Accepted-GitHub-Permissions: contents=write\r\n",
	         "{\"message\":\"Resource not accessible by integration\"}"},
		{"POST /repos/acme/shop/deployments", 403, "",
	         "{\"message\":\"Resource not accessible by integration\"}"},
		{NULL, 422, "", "{\"message\":\"Validation Failed\"}"},
	};
	use(f, forbidding, "deployment_status: true\npull_request: 5\n");
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_int_equal(f->faults.count, 2);
	assert_true(fixture_fault(f, "/commit_comment", "GitHub answered 403: Resource not accessible by integration"));
	assert_non_null(strstr(f->faults.items[0].hint, "contents=write"));
	assert_non_null(strstr(f->faults.items[1].hint, "permissions: { deployments: write }"));
	for (size_t i = 0; i < hub.requests.count; i++)
		assert_non_null(strstr(hub.requests.items[i], "\r\n\r\n{}"));
}

static void without_a_repository_nothing_is_said_and_nothing_fails(void **state)
{
	struct fixture *f = *state;
	const struct step_outcome good = {.state = OUTCOME_COMMITTED};
	fixture_input(f, "notify", "commit_comment: true\n");
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_int_equal(f->faults.count, 0);
	assert_int_equal(f->c.type->settled(&f->c, &good, &f->err), 0);
}

static void preflight_finds_everything_at_once(void **state)
{
	struct fixture *f = *state;
	static const struct rule forbidding[] = {
		{"GET /repos/acme/shop/issues", 200, "", "[]"},
		{NULL, 403, "", "{\"message\":\"no\"}"},
	};
	use(f, forbidding, "commit_comment: true\n");
	fixture_write(f, "file", "x", 0600);
	fixture_input(f, "preflight",
	              "secrets: [A, B, C]\nvalues: { B: '', C: there }\npaths: [DIR/new/deep, DIR/file]\ndisk: { "
	              "DIR/new: 9000T, /: 1K }\n"
	              "tools: [sh, no-such-tool-at-all]\npermissions: { contents: write, issues: read }\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_int_equal(f->faults.count, 6);
	assert_true(fixture_fault(f, "/secrets/0", "the secret 'A' is missing"));
	assert_true(fixture_fault(f, "/secrets/1", "the secret 'B' is empty"));
	assert_true(fixture_fault(f, "/paths/1", "is not a directory"));
	assert_true(fixture_fault(f, NULL, "MiB free, 9000T are wanted"));
	assert_true(fixture_fault(f, "/tools/1", "'no-such-tool-at-all' is not on 'local'"));
	assert_true(fixture_fault(f, "/permissions/contents", "GitHub answered 403"));
	_cleanup_free_ char *made = fs_join(f->dir, "new");
	assert_int_equal(access(made, F_OK), -1);
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
	struct fixture *f = *state;
	if (geteuid() == 0)
		skip();
	fixture_input(f, "preflight", "paths: [/proc/davit/x]\n");
	assert_int_equal(f->c.type->check(&f->c, &f->faults, &f->err), 0);
	assert_true(fixture_fault(f, "/paths/0", "cannot be made: /proc cannot be written"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_commit_comment_says_what_happened_and_no_secret),
		T(the_pull_requests_comment_is_made_once_and_then_updated),
		T(a_deployment_status_is_set),
		T(it_can_be_told_about_failures_only),
		T(a_missing_permission_is_named_before_the_first_change),
		T(without_a_repository_nothing_is_said_and_nothing_fails),
		T(preflight_finds_everything_at_once),
		T(a_folder_that_cannot_be_written_is_named),
	};
	return cmocka_run_group_tests(tests, start_hub, stop_hub);
}
