/* approve, reject, continue: what people say of a deployment that is parked. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/journal.h"
#include "agent/deployment/file.h"
#include "agent/deployment/find.h"
#include "agent/deployment/session.h"
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "base/secret/mask.h"
#include "base/sys/proc.h"
#include "engine/run/request.h"
#include "steps/approve/approve.h"

enum { SIGN_MS = 5 * 60 * 1000, READ_MAX = 128 << 10, LINE_MAX_BYTES = 8192, TOKEN_MAX = 16384, EXIT_PARKED = 7 };
static const char token_variable[] = "GITHUB_TOKEN";

struct parked {
	struct deployment_session session;
	struct engine_result result;
	struct deployment_file *document;
	json_t *doc;
	json_t *heard;  /* of comments; NULL: nothing was read */
	const char *id; /* in doc */
	struct err err;
};

static int parked_open(struct parked *p, const char *title, const char *word)
{
	*p = (struct parked){.err = ERR_INIT};
	int r = deployment_session_open(&p->session, true, &p->err);
	p->session.json = cli_json();
	p->session.title = title;
	if (r == 0)
		r = deployment_find(p->session.store, word, &p->doc, &p->err);
	p->id = json_get_string(p->doc, "id");
	return r;
}

static int parked_end(struct parked *p, int r, bool started)
{
	int status = started ? deployment_session_tell(&p->session, r, &p->result, false, &p->err)
	                     : deployment_session_fail(&p->session, &p->err);
	engine_result_done(&p->result);
	deployment_file_free(p->document);
	deployment_session_done(&p->session);
	json_decref(p->doc);
	json_decref(p->heard);
	return status;
}

/* What was sealed also masks the secrets again. The engine reads it itself, and says where it is missing. */
static int go_on(struct parked *p)
{
	struct err ignored = ERR_INIT;
	if (p->document || deployment_file_parked(p->session.store, p->id, &p->document, &ignored) == 0)
		deployment_file_bind(p->document, &p->session.options);
	p->session.options.heard = p->heard;
	return engine_continue(p->id, &p->session.options, &p->result, &p->err);
}

int cmd_continue(int argc, char **argv)
{
	struct parked p;
	const char *wait = NULL;
	const struct cli_option options[] = {
		{"wait", 0, CLI_TEXT, &wait, "D", "wait so long for a held lock (90s, 10m); default: not at all"},
		{0},
	};
	const struct cli_command command = {"continue",
	                                    "ID [--wait D]",
	                                    "Carries a parked deployment on, once enough people have agreed to it.",
	                                    options,
	                                    1,
	                                    1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = parked_open(&p, "continue", rest.words[0]);
	long long wait_ms = 0;
	if (r == 0 && wait != NULL && str_parse_duration_ms(wait, &wait_ms) < 0)
		r = err_hint(&p.err, err_set(&p.err, ERR_INVALID, "--wait '%s' is not a duration", wait),
		             "write 90s, 2m or 1h");
	if (r < 0)
		return parked_end(&p, r, false);
	p.session.options.lock_wait_ms = wait_ms;
	return parked_end(&p, go_on(&p), true);
}

/* ---- approve ---- */

struct approval_call {
	const char *key, *signature;
	bool statement, only, comment;
	struct str token; /* of GitHub */
};

/* By the program that knows passphrases, agents and every form of a private key. */
static int sign(const struct parked *p, const char *key, const struct str *statement, struct str *ret, struct err *err)
{
	const char *argv[] = {"ssh-keygen", "-Y", "sign", "-n", APPROVE_NAMESPACE, "-f", key, NULL};
	/* It asks for a passphrase at the terminal, so it stays in our group. */
	const struct proc_options options = {.argv = argv,
	                                     .stdin_fd = PROC_PIPE,
	                                     .stdout_fd = PROC_PIPE,
	                                     .stderr_fd = PROC_PIPE,
	                                     .inherit_group = true};
	_cleanup_(str_done) struct str said = STR_INIT(APPROVE_TEXT_MAX);
	struct wait w = p->session.wait;
	int status = 0;
	w.deadline_mono_ms = clock_mono_ms() + SIGN_MS;
	int r = proc_run(&options, str_peek(statement), statement->len, APPROVE_TEXT_MAX - 1, &w, ret, &said, &status,
	                 err);
	if (r == ERR_NOT_FOUND) {
		err_set(err, ERR_NOT_FOUND, "ssh-keygen, which signs, is not on this machine");
		return err_hint(err, ERR_NOT_FOUND,
		                "sign elsewhere: davit approve --help, --statement and --signature");
	}
	if (r < 0)
		return err_wrap(err, r, "sign with '%s'", key);
	str_truncate(&said, strcspn(str_peek(&said), "\r\n"));
	return status == 0 ? 0
	                   : err_set(err, ERR_INVALID, "ssh-keygen cannot sign with '%s': %s", key, str_peek(&said));
}

static int read_signature(const struct parked *p, const struct approval_call *call, const struct request *request,
                          struct str *ret, struct err *err)
{
	_cleanup_(str_done) struct str statement = STR_INIT(APPROVE_STATEMENT_MAX);
	approve_statement(&request->step, &statement);
	return call->signature ? deployment_read_string(call->signature, ret, err)
	                       : sign(p, call->key, &statement, ret, err);
}

static int record(struct parked *p, const struct request *request, const json_t *approval, const char **ret_name,
                  const struct approvers *list)
{
	_cleanup_(strv_done) struct strv before = {0};
	int r = approve_judge(list, &request->step, approval, ret_name, &p->err);
	if (r < 0)
		return r;
	approve_names(list, &request->step, &before);
	if (strv_has(&before, *ret_name)) {
		err_set(&p->err, ERR_REFUSED, "%s has agreed to it already", *ret_name);
		return err_hint(&p->err, ERR_REFUSED, "davit continue %s carries it on, once enough people have agreed",
		                p->id);
	}
	_cleanup_json_ json_t *data = json_copy((json_t *)approval);
	json_object_set_new(data, "by", json_string(*ret_name));
	json_object_set_new(
		data, "text",
		json_stringf("%s agreed, by %s", *ret_name,
	                     json_get_string(approval, "url") ? json_get_string(approval, "url") : "a signature"));
	json_object_set_new(data, "at_ms", json_integer(clock_wall_ms()));
	return store_event_add(p->session.store, p->id, (int)json_get_int(json_object_get(p->doc, "parked"), "step", 0),
	                       "approval", data, &p->err);
}

static void say(struct parked *p, const char *fmt, ...) _printf_(2, 3);
static void say(struct parked *p, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *line = shown_format(LINE_MAX_BYTES, fmt, args);
	va_end(args);
	if (!p->session.json)
		p->session.options.report(p->session.options.report_context, "info", line);
}

/* ---- comments ---- */

static bool is_known(const struct request *request, const char *url)
{
	size_t i;
	json_t *one;
	json_array_foreach(request->approvals, i, one)
	{
		const char *other = json_get_string(one, "url");
		if (other != NULL && strcmp(other, url) == 0)
			return true;
	}
	return false;
}

/* The journal tells later whose comments they were; what counts is what this process has read. */
static int hear(struct parked *p, const struct request *request, const struct approvers *list, const json_t *comment)
{
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	const char *name, *url = json_get_string(comment, "url");
	if (approve_judge(list, &request->step, comment, &name, &why) < 0) {
		say(p, "%s does not count: %s", url, err_line(&why, line, sizeof(line)));
		return 0;
	}
	json_array_append(p->heard, (json_t *)comment);
	say(p, "%s agrees to %s, plan %.12s: %s", name, p->id, request->step.digest, url);
	if (is_known(request, url))
		return 0;
	_cleanup_json_ json_t *data = json_copy((json_t *)comment);
	json_object_set_new(data, "by", json_string(name));
	json_object_set_new(data, "text", json_stringf("%s agreed, by %s", name, url));
	return store_event_add(p->session.store, p->id, (int)json_get_int(json_object_get(p->doc, "parked"), "step", 0),
	                       "approval", data, &p->err);
}

static int read_token(struct str *ret, struct err *err)
{
	char *token = getenv(token_variable);
	if (token == NULL || *token == '\0') {
		err_set(err, ERR_INVALID, "comments are read with a token, and %s is not set", token_variable);
		return err_hint(err, ERR_INVALID,
		                "it needs to read issues and contents; in a job: ${{ github.token }}");
	}
	str_append(ret, token);
	mask_add(mask_process(), token, strlen(token));
	explicit_bzero(token, strlen(token));
	unsetenv(token_variable);
	return 0;
}

static int approve_by_comments(struct parked *p, const struct approval_call *call, const struct request *request)
{
	_cleanup_(approvers_freep) struct approvers *list = NULL;
	_cleanup_json_ json_t *comments = json_array();
	const char *dir = store_dir(p->session.store);
	int r = approvers_read(dir, &list, &p->err);
	if (r == 0)
		r = deployment_file_parked(p->session.store, p->id, &p->document, &p->err);
	if (r < 0)
		return r;
	const json_t *object = deployment_file_object(p->document);
	const struct step_deployment facts = {.repository = json_get_string(object, "repository"),
	                                      .commit = json_get_string(object, "commit"),
	                                      .api_url = approvers_api(list)};
	const struct step_context context = {.deployment = &facts,
	                                     .wait = &p->session.wait,
	                                     .http = p->session.options.http,
	                                     .engine = p->session.options.http_context};
	if (facts.repository == NULL)
		return err_set(&p->err, ERR_INVALID, "the deployment %s is of no repository: it has no comments",
		               p->id);
	r = approve_comments(&context, str_peek(&call->token), &request->step, json_get_int(p->doc, "created_ms", 0),
	                     comments, &p->err);
	p->heard = json_array();
	for (size_t i = 0; r == 0 && i < json_array_size(comments); i++)
		r = hear(p, request, list, json_array_get(comments, i));
	return r;
}

static int approve(struct parked *p, const struct approval_call *call, const struct request *request)
{
	_cleanup_(approvers_freep) struct approvers *list = NULL;
	_cleanup_(str_done) struct str signature = STR_INIT(READ_MAX);
	const char *name = NULL;
	int r = approvers_read(store_dir(p->session.store), &list, &p->err);
	if (r == 0)
		r = read_signature(p, call, request, &signature, &p->err);
	if (r == 0) {
		_cleanup_json_ json_t *approval = json_pack("{s:s, s:o}", "how", "key", "signature",
		                                            json_string_lossy(str_peek(&signature), signature.len));
		r = record(p, request, approval, &name, list);
	}
	if (r == 0)
		say(p, "%s agrees to %s, plan %.12s", name, p->id, request->step.digest);
	return r;
}

static int is_parked(struct parked *p)
{
	const char *state = json_get_string(p->doc, "state"), *reason = json_get_string(p->doc, "reason");
	if (state != NULL && strcmp(state, "parked") == 0)
		return 0;
	err_set(&p->err, ERR_REFUSED, "the deployment %s does not wait for people: it is %s%s%s", p->id,
	        state ? state : "?", reason ? ": " : "", reason ? reason : "");
	return err_hint(&p->err, ERR_REFUSED, "davit approvals lists those that wait");
}

static int tell_only(struct parked *p)
{
	if (cli_json()) {
		_cleanup_json_ json_t *answer =
			json_pack("{s:i, s:s, s:s}", "exit_status", 0, "state", "parked", "id", p->id);
		deployment_session_print_json(answer);
	}
	deployment_session_done(&p->session);
	json_decref(p->doc);
	return 0;
}

static int print_statement(struct parked *p, const struct request *request)
{
	_cleanup_(str_done) struct str statement = STR_INIT(APPROVE_STATEMENT_MAX);
	approve_statement(&request->step, &statement);
	fputs(str_peek(&statement), stdout);
	deployment_session_done(&p->session);
	json_decref(p->doc);
	return 0;
}

static int approve_one(const char *word, const struct approval_call *call)
{
	struct parked p;
	_cleanup_(request_done) struct request request = {0};
	int r = parked_open(&p, "approve", word);
	if (r == 0)
		r = is_parked(&p);
	if (r == 0)
		r = request_read(p.session.store, p.doc, &request, &p.err);
	if (r < 0)
		return parked_end(&p, r, false);
	/* Nothing is recorded of one that is too late: it is closed. */
	if (clock_wall_ms() >= request.step.until_ms)
		return parked_end(&p, go_on(&p), true);
	if (call->statement)
		return print_statement(&p, &request);
	r = call->comment ? approve_by_comments(&p, call, &request) : approve(&p, call, &request);
	if (r < 0)
		return parked_end(&p, r, false);
	return call->only ? tell_only(&p) : parked_end(&p, go_on(&p), true);
}

/* Those of the job's repository, or of any. */
static int list_commentable(struct strv *ret, struct err *err)
{
	_cleanup_(store_closep) struct store *store = NULL;
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.undecided = true};
	const char *only = getenv("GITHUB_REPOSITORY");
	int r = cmd_open_journal(&store, err);
	if (r == 0 && store != NULL)
		r = store_deployment_list(store, &filter, &list, err);
	for (size_t i = json_array_size(list); r == 0 && i-- > 0;) {
		const json_t *doc = json_array_get(list, i);
		const char *state = json_get_string(doc, "state"), *repository = json_get_string(doc, "repository");
		if (state != NULL && strcmp(state, "parked") == 0 && repository != NULL &&
		    (only == NULL || strcasecmp(repository, only) == 0))
			strv_add(ret, json_get_string(doc, "id"));
	}
	return r;
}

/* One that nobody has agreed to yet is no failure: nobody named it. */
static int approve_commented(const struct approval_call *call)
{
	_cleanup_(strv_done) struct strv ids = {0};
	struct err err = ERR_INIT;
	int worst = 0;
	if (list_commentable(&ids, &err) < 0)
		return cmd_journal_fail(&err);
	for (size_t i = 0; i < ids.count; i++) {
		int status = approve_one(ids.items[i], call);
		if (status != EXIT_PARKED)
			worst = MAX(worst, status);
	}
	return worst;
}

static int check_call(const struct approval_call *call, bool named, struct err *err)
{
	if (call->statement + call->comment + (call->key != NULL) + (call->signature != NULL) != 1) {
		err_set(err, ERR_INVALID, "one of --key, --signature, --from-comment and --statement is needed");
		return err_hint(err, ERR_INVALID, "davit approve ID --key ~/.ssh/id_ed25519");
	}
	if (named || call->comment)
		return 0;
	err_set(err, ERR_INVALID, "which deployment? its id is missing");
	return err_hint(err, ERR_INVALID, "davit approvals lists those that wait");
}

int cmd_approve(int argc, char **argv)
{
	struct approval_call call = {.token = STR_SECRET_INIT(TOKEN_MAX)};
	const struct cli_option options[] = {
		{"key", 0, CLI_TEXT, &call.key, "FILE",
	         "sign with this ed25519 key of OpenSSH, by ssh-keygen (which may ask an agent)"},
		{"signature", 0, CLI_TEXT, &call.signature, "FILE",
	         "a signature made elsewhere; - is standard input. As in:\n"
	         "                               davit approve ID --statement | ssh-keygen -Y sign -n " APPROVE_NAMESPACE
	         " -f KEY"},
		{"from-comment", 0, CLI_FLAG, &call.comment, NULL,
	         "read the comments on the commit and on the repository's issues and pull requests, with\n"
	         "                               the token in GITHUB_TOKEN: /davit approve ID DIGEST, unedited, of people listed here;\n"
	         "                               without ID for each deployment that waits"},
		{"statement", 0, CLI_FLAG, &call.statement, NULL, "print what is signed, and stop"},
		{"only", 0, CLI_FLAG, &call.only, NULL, "record it, and leave going on to `davit continue`"},
		{0},
	};
	const struct cli_command command = {
		"approve",
		"ID --key FILE | ID --signature FILE | [ID] --from-comment | ID --statement",
		"Agrees to the plan of a parked deployment, and carries it on once enough people have.",
		options,
		0,
		1};
	struct cli_rest rest;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = check_call(&call, rest.count > 0, &err);
	if (r == 0 && call.comment)
		r = read_token(&call.token, &err);
	if (r < 0)
		status = cmd_journal_fail(&err);
	else
		status = rest.count > 0 ? approve_one(rest.words[0], &call) : approve_commented(&call);
	str_done(&call.token);
	return status;
}

/* ---- reject ---- */

int cmd_reject(int argc, char **argv)
{
	struct parked p;
	const char *reason = NULL;
	const struct cli_option options[] = {
		{"reason", 0, CLI_TEXT, &reason, "TEXT", "why, for history and notices"},
		{0},
	};
	const struct cli_command command = {"reject",
	                                    "ID [--reason TEXT]",
	                                    "Closes a parked deployment: nothing was changed, nothing will be.",
	                                    options,
	                                    1,
	                                    1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	int r = parked_open(&p, "reject", rest.words[0]);
	if (r < 0)
		return parked_end(&p, r, false);
	struct err ignored = ERR_INIT;
	deployment_file_parked(p.session.store, p.id, &p.document, &ignored);
	_cleanup_free_ char *whole = xasprintf("rejected%s%s", reason ? ": " : "", reason ? reason : "");
	return parked_end(&p, engine_reject(p.id, whole, &p.session.options, &p.result, &p.err), true);
}
