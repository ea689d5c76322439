/* stand_in: an action of GitHub's that a typed step of ours carries out, where the job's settings say so (`native`): without node and
 * without a download. Where its inputs ask for what we do not do, the action itself is fetched and run in its place.
 *
 * The token that the action leaves for git programs of later steps is kept and removed by `davit-step git-token`. */
#include "agent/worker/actions/stand_in.h"
#include "agent/worker/actions/use.h"

#include "agent/actions/checkout.h"
#include "agent/actions/native.h"
#include "agent/actions/resolve.h"
#include "agent/service/wire.h"
#include "agent/worker/containers/containers.h"
#include "base/core/rand.h"
#include "base/net/url.h"
#include "base/secret/base64.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The last word of its name is the step. */
static const char native[] = "actions/checkout";
/* In a copy of a reference: the action itself is wanted. */
static const char itself[] = "davit_itself";

enum { TOKEN_FILE_SINCE = 6, TOKEN_MS = 60 * 1000, REQUEST_MAX = 256 << 10, CONFIGURATION_MAX = 256 << 10 };

struct stand_in {
	struct uses uses;
	json_t *reference;
	int depth, major;
	void *action; /* the action itself, once it has taken over: memory of action_repository */
	char *kept;   /* where the token of the work area was kept: its path in the workspace; NULL: nowhere */
	char *key;    /* where the key for SSH was kept, in the job's temporary directory; NULL: nowhere */
	char *file;   /* in this file of the job's temporary directory; NULL: in .git/config */
	bool expects_post;
};

bool stand_in_takes(const struct job *j, const json_t *reference)
{
	const char *name = wire_string(reference, "name"), *path = wire_string(reference, "path");
	return name != NULL && strcasecmp(name, native) == 0 && native_has(job_setting(j, "native"), native) &&
	       (path == NULL || path[0] == '\0') && checkout_major(wire_string(reference, "ref")) > 0 &&
	       json_object_get(reference, itself) == NULL;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	const char *ref = wire_string(place->reference, "ref");
	(void)err;
	(void)j;
	struct stand_in *s = xcalloc(1, sizeof(*s));
	*s = (struct stand_in){.uses = {.kind = USES_TYPED,
	                                .step = xstrdup(strrchr(native, '/') + 1),
	                                .shown = xasprintf("%s@%s", native, ref),
	                                .action = xstrdup(native),
	                                .ref = xstrdup(ref)},
	                       .reference = json_deep_copy(place->reference),
	                       .depth = place->depth,
	                       .major = checkout_major(ref)};
	*ret_shown = xstrdup(s->uses.shown);
	*ret_memory = s;
	return 0;
}

static void release(void *memory)
{
	struct stand_in *s = memory;
	if (s == NULL)
		return;
	if (s->action != NULL)
		action_repository.release(s->action);
	uses_done(&s->uses);
	json_decref(s->reference);
	free(s->kept);
	free(s->file);
	free(s->key);
	free(s);
}

/* Before it runs nobody knows whether it will leave something. */
static const char *stage(const void *memory, enum stage stage)
{
	const struct stand_in *s = memory;
	if (s->action != NULL)
		return action_repository.stage(s->action, stage);
	return stage == STAGE_POST ? "always()" : NULL;
}

/* ---- the action itself ---- */

/* As if it stood there: its post is its own. */
static int run_itself(struct job *j, struct record *r, struct stand_in *s, const json_t *given, enum result *ret,
                      struct err *err)
{
	r->action = &action_repository;
	r->memory = s->action;
	int e = action_repository.run(j, r, given, ret, err);
	r->action = &action_stand_in;
	r->memory = s;
	return e;
}

static int fetch_itself(struct job *j, struct record *r, struct stand_in *s, struct err *err)
{
	_cleanup_free_ char *shown = NULL;
	json_object_set_new(s->reference, itself, json_true());
	_cleanup_json_ json_t *steps = json_pack("[{s:O}]", "reference", s->reference);
	struct action_place place = {.reference = s->reference, .depth = s->depth};
	int e = prepare_actions(j, r, steps, s->depth, err);
	return e < 0 ? e : action_repository.prepare(j, &place, &s->action, &shown, err);
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static const char *server_of(const struct job *j)
{
	return or_empty(json_get_string(j->github, "server_url"));
}

/* A number; "" where the job does not say. */
static const char *owner_of(const struct job *j)
{
	const char *id = or_empty(json_get_string(j->github, "repository_owner_id"));
	return id[strspn(id, "0123456789")] == '\0' ? id : "";
}

/* ---- the token ---- */

static json_t *token_request(const struct job *j, const char *below, const char *file)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s*}", "root", j->workspace, "below", below, "server", server_of(j),
	                 "directory", j->temp, "file", file);
}

/* How this machine and a container that an action brings see them. */
static json_t *views_of(const struct job *j, const char *below, const char *file)
{
	_cleanup_free_ char *area = strcmp(below, ".") == 0 ? xstrdup(j->workspace) : fs_join(j->workspace, below);
	_cleanup_free_ char *here = fs_join(j->temp, file),
			    *inside = strcmp(below, ".") == 0 ? NULL : xasprintf("/%s", below);
	return json_pack("[[s+,s], [s++,s+]]", area, "/.git", here, "/github/workspace", inside != NULL ? inside : "",
	                 "/.git", "/github/runner_temp/", file);
}

static int run_token(struct job *j, struct record *r, const json_t *request, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err);
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(REQUEST_MAX);
	struct strv env = {.count = 0};
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	if (program == NULL)
		return ERR_NOT_FOUND;
	if (!json_text_secret(request, &text))
		return err_set(err, ERR_LIMIT, "the token is too long");
	const char *argv[] = {program, "git-token", NULL};
	environ_make(j, r, ENVIRON_TYPED, &env);
	struct process p = {.argv = argv,
	                    .env = (const char *const *)strv_null_terminated(&env),
	                    .cwd = j->temp,
	                    .input = str_peek(&text),
	                    .input_len = text.len,
	                    .timeout_ms = TOKEN_MS,
	                    .patient = true,
	                    .deaf = true,
	                    .plain = true};
	int e = process_run(j, r, &p, &end, &status, err);
	strv_done(&env);
	if (e < 0)
		return e;
	return end == PROCESS_EXITED && status == 0
	               ? 0
	               : err_set(err, ERR_FAILED, "`davit-step git-token` ended with status %d", status);
}

static char *find_program(const struct job *j, const struct record *r, const char *name)
{
	const char *path = json_get_string(r->env, "PATH");
	return shell_find(name, path != NULL ? path : json_get_string(j->job_environ, "PATH"));
}

/* The command that the action leaves. Without ssh on this machine git would have no use for the key. */
static json_t *ssh_request(struct job *j, struct record *r, struct stand_in *s, const struct checkout_inputs *in)
{
	char id[37];
	_cleanup_free_ char *ssh = find_program(j, r, "ssh");
	if (ssh == NULL) {
		record_line(j, r, "There is no ssh on this machine: the key is not kept for later steps.");
		return NULL;
	}
	rand_uuid4(id);
	s->key = xstrdup(id);
	_cleanup_free_ char *command =
		xasprintf("\"%s\" -i \"$RUNNER_TEMP/%s\"%s -o \"UserKnownHostsFile=$RUNNER_TEMP/%s_known_hosts\"", ssh,
	                  id, in->lax ? "" : " -o StrictHostKeyChecking=yes -o CheckHostIP=no", id);
	return json_pack("{s:s, s:s, s:s*, s:s}", "name", id, "key", in->ssh_key, "known_hosts", in->ssh_known_hosts,
	                 "command", command);
}

static int keep_token(struct job *j, struct record *r, struct stand_in *s, const struct checkout_inputs *in,
                      struct err *err)
{
	const char *token = in->token != NULL ? in->token : json_get_string(j->github, "token");
	if (!in->keeps || in->below == NULL || token == NULL || token[0] == '\0')
		return 0;
	_cleanup_(str_done) struct str login = STR_SECRET_INIT(16 << 10), basic = STR_SECRET_INIT(32 << 10);
	str_appendf(&login, "x-access-token:%s", token);
	str_append(&basic, "basic ");
	base64_encode(str_peek(&login), login.len, &basic);
	if (login.failed || basic.failed)
		return err_set(err, ERR_LIMIT, "the token is too long");
	const char *secret = str_peek(&basic) + strlen("basic ");
	mask_add(j->mask, secret, strlen(secret));
	char id[37];
	rand_uuid4(id);
	if (s->major >= TOKEN_FILE_SINCE)
		s->file = xasprintf("git-credentials-%s.config", id);
	s->kept = xstrdup(in->below);
	_cleanup_json_ json_t *request = token_request(j, s->kept, s->file);
	json_object_set_new(request, "keep", json_true());
	json_object_set_new(request, "authorization", json_string(str_peek(&basic)));
	if (in->submodules != NULL) {
		json_object_set_new(request, "submodules", json_string(in->submodules));
		json_object_set_new(request, "owner_id", json_stringf("%s", owner_of(j)));
	}
	if (s->file != NULL)
		json_object_set_new(request, "views", views_of(j, s->kept, s->file));
	if (in->ssh_key != NULL)
		json_object_set_new(request, "ssh", ssh_request(j, r, s, in));
	return run_token(j, r, request, err);
}

static int remove_token(struct job *j, struct record *r, struct stand_in *s, struct err *err)
{
	if (s->kept == NULL)
		return 0;
	_cleanup_json_ json_t *request = token_request(j, s->kept, s->file);
	freep(&s->kept);
	if (s->key != NULL)
		json_object_set_new(request, "ssh", json_pack("{s:s}", "name", s->key));
	return run_token(j, r, request, err);
}

/* Also of a job that is broken off: no process of it goes on, but its work area stays. */
static void post(struct job *j, struct record *r)
{
	struct err err = ERR_INIT;
	char line[2048];
	record_start(j, r);
	r->env = json_copy(j->global_env);
	record_line(j, r, "Post job cleanup.");
	int e = remove_token(j, r, r->memory, &err);
	if (e < 0)
		record_error(j, r, "The token of the checkout was not removed: %s", err_line(&err, line, sizeof(line)));
	record_complete(j, r, e < 0 ? RESULT_FAILED : RESULT_SUCCEEDED);
	if (e < 0)
		job_set_result(j, RESULT_FAILED);
}

static void expect_post(struct job *j, struct record *r, struct stand_in *s)
{
	if (s->expects_post || r->parent != NULL || s->kept == NULL)
		return;
	s->expects_post = true;
	_cleanup_free_ char *shown = xasprintf("Post %s", r->name);
	record_expect_post(j, r, shown);
}

/* ---- a run ---- */

/* What a program of this machine says of its configuration, outside of the workspace; false: it failed. */
static bool answers(struct job *j, struct record *r, const char *const *argv, struct str *output)
{
	struct strv env = {.count = 0};
	struct err err = ERR_INIT;
	int status = 1;
	environ_make(j, r, ENVIRON_TYPED, &env);
	struct proc_options options = {.argv = argv,
	                               .env = (const char *const *)strv_null_terminated(&env),
	                               .cwd = j->temp,
	                               .stdin_fd = -1,
	                               .stdout_fd = PROC_PIPE,
	                               .stderr_fd = -1};
	int e = job_child(j, &options, TOKEN_MS, false, output, NULL, &status, &err);
	strv_done(&env);
	return e >= 0 && status == 0;
}

/* Whether git has LFS's filter for every repository: then the action's submodules have the contents too. */
static bool lfs_is_everywhere(struct job *j, struct record *r)
{
	_cleanup_free_ char *git = find_program(j, r, "git");
	_cleanup_(str_done) struct str output = STR_INIT(CONFIGURATION_MAX);
	const char *argv[] = {git, "config", "--get-regexp", "^filter\\.lfs\\.(smudge|process)$", NULL};
	return git != NULL && answers(j, r, argv, &output) && output.len > 0;
}

/* Whether ssh, left to its configuration, refuses a host that nothing names: if it would ask, it does without a terminal. Without ssh nobody takes it either. */
static bool ssh_is_strict(struct job *j, struct record *r, const struct checkout_inputs *in)
{
	static const char key[] = "stricthostkeychecking ";
	_cleanup_free_ char *ssh = find_program(j, r, "ssh"), *host = NULL;
	const char *user = json_get_string(in->step, "ssh-user");
	_cleanup_(str_done) struct str output = STR_INIT(CONFIGURATION_MAX);
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, server_of(j), 0) != CURLUE_OK ||
	    (host = net_url_part(url, CURLUPART_HOST, 0)) == NULL)
		return false;
	if (ssh == NULL)
		return true;
	const char *argv[] = {ssh, "-G", "-l", user != NULL ? user : "git", "--", host, NULL};
	const char *found = answers(j, r, argv, &output) ? strstr(str_peek(&output), key) : NULL;
	return found != NULL && (str_starts(found + strlen(key), "ask\n") || str_starts(found + strlen(key), "true\n"));
}

/* Something else lies there, which the action removes. */
static bool is_taken(const struct job *j, const char *below)
{
	int root _cleanup_close_ = open(j->workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = root >= 0 && below != NULL ? fs_open_beneath(root, below, O_RDONLY | O_DIRECTORY, 0, NULL) : -1;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		closep(&fd);
		return false;
	}
	bool any = false, repository = faccessat(fd, ".git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		any |= strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(dir);
	return any && !repository;
}

static bool honours(struct job *j, struct record *r, const struct stand_in *s, const json_t *given,
                    struct checkout_inputs *ret, char **ret_why)
{
	struct checkout_job job = {.repository = or_empty(json_get_string(j->github, "repository")),
	                           .event = or_empty(json_get_string(j->github, "event_name")),
	                           .server_url = server_of(j),
	                           .workspace = j->workspace};
	if (containers_inside(j)) {
		*ret_why = xstrdup("the job runs in a container");
		return false;
	}
	if (!checkout_honours(&job, s->major, given, ret, ret_why))
		return false;
	const char *why = NULL, *lfs = json_get_string(ret->step, "lfs");
	if (!ret->cleans && is_taken(j, ret->below))
		why = "`clean` is false, and other files lie in its directory";
	else if (ret->lax && !ssh_is_strict(j, r, ret))
		why = "`ssh-strict` is false, and the configuration of ssh here takes hosts that nothing names";
	else if (ret->submodules != NULL && lfs != NULL && strcmp(lfs, "true") == 0 && lfs_is_everywhere(j, r))
		why = "`lfs` with `submodules`: git-lfs is set up here for all repositories, so that it brings those of submodules too";
	if (why == NULL)
		return true;
	checkout_inputs_done(ret);
	*ret_why = xstrdup(why);
	return false;
}

static int run_natively(struct job *j, struct record *r, struct stand_in *s, const json_t *given,
                        const struct checkout_inputs *in, enum result *ret, struct err *err)
{
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	r->type = xstrdup("davit");
	r->action_name = xstrdup(s->uses.action);
	r->ref = xstrdup(s->uses.ref);
	if (in->ssh_key != NULL)
		mask_add(j->mask, in->ssh_key, strlen(in->ssh_key));
	use_log_head(j, r, s->uses.shown, given);
	if (in->submodules != NULL && owner_of(j)[0] != '\0')
		json_object_set_new(in->step, "owner-id", json_stringf("%s", owner_of(j)));
	int e = typed_run(j, r, &s->uses, in->step, step_time_ms(r), false, &end, &status, err);
	if (e < 0)
		return e;
	if (end == PROCESS_EXITED && status != 0)
		record_debug(j, r, "exit code %d", status);
	*ret = step_end_of_process(j, r, end, status);
	if (*ret == RESULT_SUCCEEDED)
		e = keep_token(j, r, s, in, err);
	if (e < 0)
		*ret = RESULT_FAILED;
	expect_post(j, r, s);
	return e;
}

static int run(struct job *j, struct record *r, const json_t *given, enum result *ret, struct err *err)
{
	struct stand_in *s = r->memory;
	struct checkout_inputs in = {.step = NULL};
	_cleanup_free_ char *why = NULL;
	if (s->action != NULL)
		return run_itself(j, r, s, given, ret, err);
	if (r->stage == STAGE_POST) {
		*ret = RESULT_SUCCEEDED;
		return remove_token(j, r, s, err);
	}
	if (honours(j, r, s, given, &in, &why)) {
		int e = run_natively(j, r, s, given, &in, ret, err);
		checkout_inputs_done(&in);
		return e;
	}
	record_line(j, r, "%s is not carried out by this agent but fetched and run: %s", s->uses.shown, why);
	int e = fetch_itself(j, r, s, err);
	return e < 0 ? e : run_itself(j, r, s, given, ret, err);
}

const struct action_type action_stand_in = {
	.takes = stand_in_takes, .prepare = prepare, .run = run, .stage = stage, .post = post, .release = release};
