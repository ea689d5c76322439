/* approve, reject, continue: what people say of a deployment that is parked. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/deployment/file.h"
#include "agent/deployment/find.h"
#include "agent/deployment/session.h"
#include "base/core/clock.h"
#include "base/sys/proc.h"
#include "engine/run/request.h"
#include "steps/approve/approve.h"

enum { SIGN_MS = 5 * 60 * 1000, READ_MAX = 128 << 10 };

struct parked {
	struct deployment_session session;
	struct engine_result result;
	struct deployment_file *document;
	json_t *doc;
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
	return status;
}

/* What was sealed also masks the secrets again. The engine reads it itself, and says where it is missing. */
static int go_on(struct parked *p)
{
	struct err ignored = ERR_INIT;
	if (deployment_file_parked(store_dir(p->session.store), p->id, &p->document, &ignored) == 0)
		deployment_file_bind(p->document, &p->session.options);
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
	bool statement, only;
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
	if (r == 0 && !p->session.json) {
		_cleanup_free_ char *line = xasprintf("%s agrees to %s, plan %.12s", name, p->id, request->step.digest);
		p->session.options.report(p->session.options.report_context, "info", line);
	}
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

int cmd_approve(int argc, char **argv)
{
	struct parked p;
	struct approval_call call = {0};
	const struct cli_option options[] = {
		{"key", 0, CLI_TEXT, &call.key, "FILE",
	         "sign with this ed25519 key of OpenSSH, by ssh-keygen (which may ask an agent)"},
		{"signature", 0, CLI_TEXT, &call.signature, "FILE",
	         "a signature made elsewhere; - is standard input. As in:\n"
	         "                               davit approve ID --statement | ssh-keygen -Y sign -n " APPROVE_NAMESPACE
	         " -f KEY"},
		{"statement", 0, CLI_FLAG, &call.statement, NULL, "print what is signed, and stop"},
		{"only", 0, CLI_FLAG, &call.only, NULL, "record it, and leave going on to `davit continue`"},
		{0},
	};
	const struct cli_command command = {
		"approve",
		"ID --key FILE | --signature FILE | --statement",
		"Agrees to the plan of a parked deployment, and carries it on once enough people have.",
		options,
		1,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	_cleanup_(request_done) struct request request = {0};
	int r = parked_open(&p, "approve", rest.words[0]);
	if (r == 0 && call.statement + (call.key != NULL) + (call.signature != NULL) != 1)
		r = err_hint(&p.err,
		             err_set(&p.err, ERR_INVALID, "one of --key, --signature and --statement is needed"),
		             "davit approve ID --key ~/.ssh/id_ed25519");
	if (r == 0)
		r = is_parked(&p);
	if (r == 0)
		r = request_read(p.session.store, p.doc, &request, &p.err);
	if (r < 0)
		return parked_end(&p, r, false);
	bool expired = clock_wall_ms() >= request.step.until_ms;
	if (call.statement && !expired) {
		_cleanup_(str_done) struct str statement = STR_INIT(APPROVE_STATEMENT_MAX);
		approve_statement(&request.step, &statement);
		fputs(str_peek(&statement), stdout);
		deployment_session_done(&p.session);
		json_decref(p.doc);
		return 0;
	}
	/* Nothing is recorded of one that is too late: it is closed. */
	r = expired ? 0 : approve(&p, &call, &request);
	if (r < 0)
		return parked_end(&p, r, false);
	return call.only && !expired ? tell_only(&p) : parked_end(&p, go_on(&p), true);
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
	deployment_file_parked(store_dir(p.session.store), p.id, &p.document, &ignored);
	_cleanup_free_ char *whole = xasprintf("rejected%s%s", reason ? ": " : "", reason ? reason : "");
	return parked_end(&p, engine_reject(p.id, whole, &p.session.options, &p.result, &p.err), true);
}
