#include "unit/steps/step_fixture.h"
#include "base/secret/mask.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "steps/notify/notify_priv.h"

#include <arpa/inet.h>
#include <glob.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

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

#define VIEWER                                                                                                         \
	{                                                                                                              \
		"POST /graphql", 200, "", "{\"data\":{\"viewer\":{\"login\":\"github-actions[bot]\"}}}"                \
	}
static const struct rule willing[] = {
	VIEWER,
	{"GET /repos/acme/shop/commits/0123456789012345678901234567890123456789/comments", 200, "", "[]"},
	{"GET /repos/acme/shop/deployments", 200, "", "[]"},
	{"GET /repos/acme/shop/commits/0123456789012345678901234567890123456789/check-runs", 200, "",
         "{\"total_count\":0,\"check_runs\":[]}"},
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
	assert_int_equal(hub.requests.count, 3);
	const char *request = hub.requests.items[2];
	assert_true(str_starts(request, "POST /repos/acme/shop/commits/" COMMIT "/comments HTTP"));
	assert_non_null(strstr(request, "Authorization: Bearer job-token"));
	assert_non_null(strstr(request, "See the runbook."));
	assert_non_null(strstr(request, "shop to test: stopped half way"));
	assert_non_null(strstr(request, "| `https://shop/` | failed | `answered 502, wanted 200` | 9 |"));
	assert_non_null(strstr(request, "`web /opt/x`: `somebody changed it`"));
	assert_non_null(strstr(request, "restart \\\\| with ***"));
	assert_non_null(strstr(request, "davit rollback 20260131T102030-3fa94c"));
	assert_null(strstr(request, "tops3cret"));
}

#define BY(login, body) "{\"id\":77,\"user\":{\"login\":\"" login "\"},\"body\":\"" body "\"}"
#define MARKER "<!-- davit shop.test -->"

static void the_pull_requests_comment_is_made_once_and_then_updated(void **state)
{
	struct fixture *f = *state;
	static const struct rule again[] = {
		VIEWER,
		{"GET /repos/acme/shop/issues/5/comments", 200, "",
	         "[{\"id\":3,\"body\":\"hello\",\"user\":null}," BY("github-actions[bot]", MARKER "\\nold") "]"},
		{NULL, 200, "", "{}"},
	};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	use(f, willing, "commit_comment: false\npull_request: 5\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/issues/5/comments", MARKER));
	use(f, again, "commit_comment: false\npull_request: 5\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("PATCH /repos/acme/shop/issues/comments/77 ", "shop to test: deployed"));
}

static void the_commits_comment_is_updated_too(void **state)
{
	struct fixture *f = *state;
	static const struct rule again[] = {
		VIEWER,
		{"GET /repos/acme/shop/commits/" COMMIT "/comments", 200, "",
	         "[" BY("github-actions[bot]", MARKER "\\nold") "]"},
		{NULL, 200, "", "{}"},
	};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	use(f, again, "commit_comment: true\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("PATCH /repos/acme/shop/comments/77 ", "shop to test: deployed"));
}

static void a_comment_with_our_mark_by_somebody_else_is_left_alone(void **state)
{
	struct fixture *f = *state;
	static const char *const lists[] = {
		"[" BY("mallory", MARKER "\\nmine") "]",
		"[" BY("github-actions", MARKER "\\nmine") "]",
		"[" BY("github-actions[bot]", "somebody said: " MARKER "\\nmine") "]",
		"[" BY("github-actions[bot]", "<!-- davit shop.test2 -->\\nmine") "]",
		"[" BY("github-actions[bot]", MARKER " trailing") "]",
	};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct rule rules[] = {
			VIEWER,
			{"GET /repos/acme/shop/issues/5/comments", 200, "", lists[i]},
			{NULL, 201, "", "{}"},
		};
		use(f, rules, "commit_comment: false\npull_request: 5\n");
		assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
		assert_true(asked("POST /repos/acme/shop/issues/5/comments", "shop to test"));
		assert_false(asked("PATCH ", ""));
	}
}

static void a_service_that_does_not_say_who_we_are_gets_a_new_comment(void **state)
{
	struct fixture *f = *state;
	static const struct rule silent[] = {
		{"POST /graphql", 404, "", "{}"},
		{"GET /repos/acme/shop/issues/5/comments", 200, "", "[" BY("octocat", MARKER "\\nmine") "]"},
		{NULL, 201, "", "{}"},
	};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	use(f, silent, "commit_comment: false\npull_request: 5\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/issues/5/comments", "shop to test"));
	assert_false(asked("PATCH ", ""));
}

static void a_recovery_is_told_as_one(void **state)
{
	struct fixture *f = *state;
	const struct step_outcome outcome = {.state = OUTCOME_UNDONE, .exit_status = 1, .recovered = true};
	use(f, willing, "commit_comment: true\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/commits/", "failed and rolled back by a recovery"));
}

static void a_check_run_gets_its_annotations_fifty_at_a_time(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *told = report();
	json_t *left = json_object_get(told, "left_over");
	for (int i = 0; i < 120; i++)
		json_array_append_new(left, json_pack("{s:s, s:o, s:s}", "target", "web", "path",
		                                      json_stringf("/opt/%d", i), "reason", "somebody changed it"));
	const struct step_outcome outcome = {
		.state = OUTCOME_HELD, .exit_status = 4, .reason = "the gate failed", .report = told};
	use(f, willing, "commit_comment: false\ncheck_run: true\n");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_int_equal(hub.requests.count, 4);
	assert_true(asked("POST /repos/acme/shop/check-runs HTTP", "\"conclusion\":\"action_required\""));
	assert_true(asked("POST /repos/acme/shop/check-runs HTTP", "\"head_sha\":\"" COMMIT "\""));
	size_t count = 0;
	for (size_t i = 1; i < hub.requests.count; i++) {
		size_t one = 0;
		for (const char *p = hub.requests.items[i]; (p = strstr(p, "\"annotation_level\"")) != NULL; p++)
			one++;
		assert_true(one <= 50);
		count += one;
	}
	assert_int_equal(count, 122);
	assert_true(asked("PATCH /repos/acme/shop/check-runs/1 ", "web /opt/119: somebody changed it"));
}

static void use_state(struct fixture *f)
{
	static char place[4096];
	snprintf(place, sizeof(place), "%s/state", f->dir);
	f->deployment.state_dir = place;
}

/* ---- webhooks ---- */

#define HOOK                                                                                                                 \
	"commit_comment: false\nwebhooks: [{url: 'http://127.0.0.1:%d/hook?key=tail', secret: '0123456789abcdef', headers: " \
	"{X-Team: shop}, timeout: %s}]\n"

static void use_hook(struct fixture *f, const struct rule *rules, const char *timeout)
{
	char input[512];
	snprintf(input, sizeof(input), HOOK, hub.port, timeout);
	use(f, rules, input);
	use_state(f);
}

static char *header_of(const char *request, const char *name)
{
	_cleanup_free_ char *start = xasprintf("\r\n%s: ", name);
	const char *p = strstr(request, start);
	assert_non_null(p);
	p += strlen(start);
	return xstrndup(p, strcspn(p, "\r"));
}

static char *signed_by(const char *secret, const char *text)
{
	unsigned char raw[DIGEST_BYTES];
	char hex[DIGEST_HEX];
	digest_hmac_sha256(secret, strlen(secret), text, strlen(text), raw);
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", raw[i]);
	return xasprintf("sha256=%s", hex);
}

static void a_webhook_is_signed_over_its_exact_body(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *told = report(), *body = NULL;
	const struct step_outcome outcome = {
		.state = OUTCOME_HELD, .exit_status = 4, .reason = "the gate failed: tops3cret-value", .report = told};
	mask_add(mask_process(), "tops3cret-value", 15);
	use_hook(f, willing, "5s");
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), 0);
	assert_int_equal(hub.requests.count, 1);
	const char *request = hub.requests.items[0], *sent = strstr(request, "\r\n\r\n") + 4;
	assert_true(str_starts(request, "POST /hook?key=tail HTTP"));
	assert_null(strstr(request, "job-token"));
	assert_null(strstr(request, "tops3cret"));
	_cleanup_free_ char *time = header_of(request, "X-Davit-Timestamp"),
			    *id = header_of(request, "X-Davit-Delivery");
	_cleanup_free_ char *own = header_of(request, "X-Hub-Signature-256"),
			    *whole = header_of(request, "X-Davit-Signature-256"), *team = header_of(request, "X-Team");
	_cleanup_free_ char *dated = xasprintf("%s.%s.%s", time, id, sent);
	_cleanup_free_ char *wanted = signed_by("0123456789abcdef", sent),
			    *wanted_whole = signed_by("0123456789abcdef", dated);
	assert_string_equal(own, wanted);
	assert_string_equal(whole, wanted_whole);
	assert_string_equal(team, "shop");
	assert_int_equal(json_parse(sent, strlen(sent), 1 << 20, &body, NULL), 0);
	assert_string_equal(json_get_string(body, "delivery"), id);
	assert_string_equal(json_get_string(json_get_object(body, "deployment"), "state"), "held");
	assert_int_equal(json_array_size(json_get_array(body, "left_over")), 1);
}

static size_t kept(struct fixture *f)
{
	_cleanup_json_ json_t *list = notify_outbox_list(&f->c);
	return json_array_size(list);
}

static void a_refusal_ends_it_and_a_redirect_is_not_followed(void **state)
{
	struct fixture *f = *state;
	static const struct rule refusals[][1] = {
		{{NULL, 404, "", "a body with \x1b[31m colours"}},
		{{NULL, 302, "Location: http://127.0.0.1:1/elsewhere\r\n", ""}},
		{{NULL, 501, "", ""}},
	};
	static const char *const words[] = {"it answered 404", "it answered 302, and redirects are not followed",
	                                    "501"};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		char line[512];
		use_hook(f, refusals[i], "5s");
		err_clear(&f->err);
		assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), ERR_FAILED);
		assert_int_equal(hub.requests.count, 1);
		assert_non_null(strstr(err_line(&f->err, line, sizeof(line)), words[i]));
		assert_null(strstr(line, "colours"));
		assert_null(strstr(line, "key=tail"));
	}
}

static void what_could_not_be_sent_is_sent_the_next_time_under_the_same_delivery(void **state)
{
	struct fixture *f = *state;
	static const struct rule busy[] = {{NULL, 503, "Retry-After: 600\r\n", ""}};
	const struct step_outcome first = {.state = OUTCOME_UNDONE, .exit_status = 1},
				  second = {.state = OUTCOME_COMMITTED};
	use_hook(f, busy, "5s");
	assert_int_equal(f->c.type->settled(&f->c, &first, &f->err), ERR_FAILED);
	assert_int_equal(hub.requests.count, 1);
	_cleanup_free_ char *id = header_of(hub.requests.items[0], "X-Davit-Delivery");
	_cleanup_free_ char *body = xstrdup(strstr(hub.requests.items[0], "\r\n\r\n"));
	assert_int_equal(kept(f), 1);
	/* Nothing that is needed to send it lies on the disk. */
	_cleanup_json_ json_t *list = notify_outbox_list(&f->c);
	_cleanup_free_ char *text = json_text(list);
	assert_null(strstr(text, "0123456789abcdef\""));
	assert_null(strstr(text, "key=tail"));
	use_hook(f, willing, "5s");
	f->deployment.id = "20260201T000000-aaaaaa";
	err_clear(&f->err);
	assert_int_equal(f->c.type->settled(&f->c, &second, &f->err), 0);
	assert_int_equal(hub.requests.count, 2);
	_cleanup_free_ char *own = header_of(hub.requests.items[0], "X-Davit-Delivery"),
			    *late = header_of(hub.requests.items[1], "X-Davit-Delivery");
	assert_string_not_equal(own, id);
	assert_string_equal(late, id);
	assert_string_equal(strstr(hub.requests.items[1], "\r\n\r\n"), body);
	assert_int_equal(kept(f), 0);
}

static ino_t kept_as(struct fixture *f)
{
	_cleanup_free_ char *pattern = xasprintf("%s/outbox/*/*.json", f->deployment.state_dir);
	glob_t found;
	struct stat st;
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	assert_int_equal(found.gl_pathc, 1);
	assert_int_equal(stat(found.gl_pathv[0], &st), 0);
	globfree(&found);
	return st.st_ino;
}

static void what_was_kept_when_it_was_decided_is_not_kept_again(void **state)
{
	struct fixture *f = *state;
	static const struct rule busy[] = {{NULL, 503, "Retry-After: 600\r\n", ""}};
	const struct step_outcome outcome = {.state = OUTCOME_COMMITTED};
	use_hook(f, busy, "5s");
	f->c.type->deciding(&f->c, &outcome);
	ino_t before = kept_as(f);
	assert_int_equal(f->c.type->settled(&f->c, &outcome, &f->err), ERR_FAILED);
	assert_int_equal(kept_as(f), before);
	assert_int_equal(hub.requests.count, 1);
}

static void a_newer_comment_takes_the_place_of_one_that_could_not_be_sent(void **state)
{
	struct fixture *f = *state;
	static const struct rule expired[] = {{NULL, 401, "", "{\"message\":\"Bad credentials\"}"}};
	const struct step_outcome held = {.state = OUTCOME_HELD, .exit_status = 4}, undone = {.state = OUTCOME_UNDONE};
	use(f, expired, "commit_comment: true\n");
	use_state(f);
	assert_true(f->c.type->settled(&f->c, &held, &f->err) < 0);
	assert_true(f->c.type->settled(&f->c, &undone, &f->err) < 0);
	_cleanup_json_ json_t *list = notify_outbox_list(&f->c);
	assert_int_equal(json_array_size(list), 1);
	assert_non_null(strstr(json_get_string(json_array_get(list, 0), "text"), "rolled back"));
}

static void the_outbox_is_bounded_and_forgets_what_is_old(void **state)
{
	struct fixture *f = *state;
	use_hook(f, willing, "5s");
	for (int i = 0; i < 60; i++) {
		_cleanup_json_ json_t *one =
			json_pack("{s:i, s:s, s:o, s:I, s:i}", "format", NOTIFY_FORMAT, "channel", "webhook", "key",
		                  json_stringf("key %d", i), "made_ms", (json_int_t)clock_wall_ms() + i, "tries", 0);
		notify_outbox_keep(&f->c, one);
	}
	_cleanup_json_ json_t *list = notify_outbox_list(&f->c);
	assert_int_equal(json_array_size(list), 50);
	assert_string_equal(json_get_string(json_array_get(list, 0), "key"), "key 10");
	_cleanup_json_ json_t *old = json_deep_copy(json_array_get(list, 49));
	json_object_set_new(old, "made_ms", json_integer(1000));
	notify_outbox_keep(&f->c, old);
	assert_int_equal(kept(f), 49);
}

static void only_https_or_this_machine_is_taken(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *url, *words; /* NULL: taken */
	} cases[] = {
		{"https://hooks.example/x", NULL},
		{"http://localhost:8080/x", NULL},
		{"http://127.0.0.2/x", NULL},
		{"http://[::1]:8080/x", NULL},
		{"http://hooks.example/x", "is not https"},
		{"http://127.0.0.1.evil.example/x", "is not https"},
		{"http://10.0.0.7/x", "is not https"},
		{"file:///etc/passwd", "is not"},
		{"ftp://hooks.example/x", "is not https"},
		{"https://user:password@hooks.example/x", "holds a login"},
		{"https://169.254.169.254/latest/meta-data", "own network"},
		{"https://[fe80::1]/x", "own network"},
		{"https://[fd00:ec2::254]/x", "own network"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char input[256];
		snprintf(input, sizeof(input), "webhooks: [{url: '%s', secret: '0123456789abcdef'}]\n", cases[i].url);
		fixture_input(f, "notify", input);
		faults_done(&f->faults);
		f->faults = (struct faults){0};
		f->c.type->validate(&f->c, &f->faults);
		assert_int_equal(f->faults.count, cases[i].words != NULL);
		if (cases[i].words != NULL)
			assert_non_null(strstr(f->faults.items[0].text, cases[i].words));
	}
}

static void a_deployment_status_is_set(void **state)
{
	struct fixture *f = *state;
	const struct step_outcome good = {.state = OUTCOME_COMMITTED},
				  bad = {.state = OUTCOME_UNDONE, .exit_status = 1, .reason = "no answer"};
	use(f, willing, "commit_comment: false\ndeployment_status: true\nenvironment_url: 'https://shop.example'\n");
	assert_int_equal(f->c.type->settled(&f->c, &good, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/deployments HTTP", "\"ref\":\"" COMMIT "\""));
	assert_true(
		asked("POST /repos/acme/shop/deployments HTTP", "\"payload\":{\"davit\":\"20260131T102030-3fa94c\"}"));
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "\"state\":\"success\""));
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "https://shop.example"));
	assert_int_equal(f->c.type->settled(&f->c, &bad, &f->err), 0);
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "failed and rolled back (no answer)"));
}

static void a_second_outcome_of_one_deployment_is_a_second_status_of_the_same(void **state)
{
	struct fixture *f = *state;
	static const struct rule there[] = {
		{"GET /repos/acme/shop/deployments?", 200, "",
	         "[{\"id\":40,\"payload\":\"\"},{\"id\":41,\"payload\":{\"davit\":\"another\"}},"
	         "{\"id\":42,\"payload\":{\"davit\":\"20260131T102030-3fa94c\"}}]"},
		{NULL, 201, "", "{\"id\":1}"},
	};
	const struct step_outcome undone = {.state = OUTCOME_UNDONE, .exit_status = 0};
	use(f, there, "commit_comment: false\ndeployment_status: true\n");
	assert_int_equal(f->c.type->settled(&f->c, &undone, &f->err), 0);
	assert_int_equal(hub.requests.count, 2);
	assert_true(asked("POST /repos/acme/shop/deployments/42/statuses", "\"state\":\"failure\""));
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
	assert_non_null(strstr(f->faults.items[1].hint,
	                       "permissions: { contents: write, pull-requests: write, deployments: write }"));
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
		T(the_commits_comment_is_updated_too),
		T(a_comment_with_our_mark_by_somebody_else_is_left_alone),
		T(a_service_that_does_not_say_who_we_are_gets_a_new_comment),
		T(a_recovery_is_told_as_one),
		T(a_check_run_gets_its_annotations_fifty_at_a_time),
		T(a_webhook_is_signed_over_its_exact_body),
		T(a_refusal_ends_it_and_a_redirect_is_not_followed),
		T(what_could_not_be_sent_is_sent_the_next_time_under_the_same_delivery),
		T(what_was_kept_when_it_was_decided_is_not_kept_again),
		T(a_newer_comment_takes_the_place_of_one_that_could_not_be_sent),
		T(the_outbox_is_bounded_and_forgets_what_is_old),
		T(only_https_or_this_machine_is_taken),
		T(a_deployment_status_is_set),
		T(a_second_outcome_of_one_deployment_is_a_second_status_of_the_same),
		T(it_can_be_told_about_failures_only),
		T(a_missing_permission_is_named_before_the_first_change),
		T(without_a_repository_nothing_is_said_and_nothing_fails),
		T(preflight_finds_everything_at_once),
		T(a_folder_that_cannot_be_written_is_named),
	};
	return cmocka_run_group_tests(tests, start_hub, stop_hub);
}
