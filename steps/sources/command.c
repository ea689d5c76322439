/* source of one's own: a command that writes a dump to its standard output, one that reads it back, and one that judges it. */
#include "base/sys/fs.h"
#include "steps/common/command.h"
#include "steps/sources/programs.h"
#include <inttypes.h>

enum { SHOWN_MAX = 4096 };
/* The file is the directory's owner's, whoever runs the command. */
static const char write_dump[] = "umask 077; exec \"$@\" >\"$DAVIT_DIR/dump\"",
		  read_dump[] = "exec \"$@\" <\"$DAVIT_DIR/dump\"";

static void describe(const struct source_call *s, struct str *out)
{
	str_appendf(out, "%s by `", json_get_string(s->in, "name"));
	step_command_show(json_object_get(s->in, "dump"), out);
	str_append_c(out, '`');
}

static void subject(const struct source_call *s, struct str *out)
{
	str_append(out, json_get_string(s->in, "name"));
}

static void validate(const struct source_call *s, struct faults *faults)
{
	static const char *const commands[][2] = {
		{"dump", "/command/dump"}, {"restore", "/command/restore"}, {"check", "/command/check"}};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		step_command_faults(json_object_get(s->in, commands[i][0]), commands[i][1], faults);
	if (json_get_bool(s->in, "restore_on_rollback", false) && json_object_get(s->in, "restore") == NULL)
		faults_add(faults, NULL, "/command/restore_on_rollback", "nothing says how: give `restore`, too");
}

/* One of its commands behind the redirection, as the user that is named. */
static int run_one(const struct source_call *s, struct target *t, const char *which, const char *redirect,
                   const char *dir, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	_cleanup_(source_env_done) struct source_env env = {0};
	_cleanup_(strv_done) struct strv argv = {0};
	const struct step_command command = step_command_read(json_object_get(s->in, which), &arena);
	const char *const begin[] = {"sh", "-c", redirect, "sh"}, *user = json_get_string(s->in, "become_user");

	for (size_t i = 0; i < ARRAY_SIZE(begin); i++)
		strv_add(&argv, begin[i]);
	const char *const as[] = {"runuser", "-u", user, "--"}, *const script[] = {"sh", "-ec", command.script};
	for (size_t i = 0; user && i < ARRAY_SIZE(as); i++)
		strv_add(&argv, as[i]);
	for (size_t i = 0; command.script && i < ARRAY_SIZE(script); i++)
		strv_add(&argv, script[i]);
	for (size_t i = 0; command.argv && command.argv[i]; i++)
		strv_add(&argv, command.argv[i]);
	source_env_inputs(&env, s);
	source_env_add(&env, "DAVIT_DIR", dir);
	const struct source_program p = {.argv = (const char *const *)strv_null_terminated(&argv),
	                                 .env = &env,
	                                 .timeout_ms = source_duration_ms(s->in, "timeout")};
	int r = source_run(s, t, &p, NULL, err);
	return r < 0 ? err_wrap(err, r, "the %s command of '%s' on '%s'", which, json_get_string(s->in, "name"),
	                        t->view.name)
	             : 0;
}

static int plan(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan,
                struct source_plan *ret, struct err *err)
{
	_cleanup_(str_done) struct str what = STR_INIT(SHOWN_MAX), name = STR_INIT(SUBJECT_MAX);
	const struct source_sizes least = {.files = 1};
	int64_t room = 0;

	if (to_put_back && json_object_get(s->in, "restore") == NULL)
		return err_set(err, ERR_REFUSED, "no `restore` says how '%s' is put back",
		               json_get_string(s->in, "name"));
	int r = source_check_space(v, &least, plan, &room, err);
	if (r < 0)
		return r;
	describe(s, &what);
	source_subject(s, &name);
	ret->extra = json_pack("{s:{s:s,s:s}}", "plan", "type", "snapshot", "subject", str_peek(&name));
	static const char *const commands[] = {"dump", "restore", "check"};
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (json_object_get(s->in, commands[i]))
			json_object_set(json_object_get(ret->extra, "plan"), commands[i],
			                json_object_get(s->in, commands[i]));
	ret->summary = xasprintf("snapshot of %s", str_peek(&what));
	ret->shown = json_pack("{s:s,s:s,s:I}", "source", s->source->name, "name", json_get_string(s->in, "name"),
	                       "free", (json_int_t)room);
	return 0;
}

static int keep(const struct source_call *s, struct target *t, const struct change *change, json_t *head,
                struct tree *all, struct err *err)
{
	_cleanup_free_ char *dump = fs_join(change->path, "dump");
	_cleanup_(node_done) struct node n = {0};
	const char *name = json_get_string(s->in, "name");

	int r = run_one(s, t, "dump", write_dump, change->path, err);
	if (r == 0)
		r = host_stat(&t->view, dump, &n, err);
	if (r == 0 && n.size == 0)
		r = err_set(err, ERR_FAILED, "the dump of '%s' on '%s' is empty", name, t->view.name);
	if (r == 0 && json_object_get(s->in, "check"))
		r = run_one(s, t, "check", read_dump, change->path, err);
	if (r < 0)
		return r;
	json_object_set_new(head, "source", json_string(s->source->name));
	json_object_set_new(head, "name", json_string(name));
	json_object_set_new(head, "verified", json_string(json_object_get(s->in, "check") ? "checked" : "kept"));
	return source_add_directory(t, change->path, all, err);
}

static int put_back(const struct source_call *s, struct target *t, const char *from, const json_t *head,
                    const char *own, struct err *err)
{
	(void)head;
	(void)own;
	s->c->report(s->c->engine, "put back %s", json_get_string(s->in, "name"));
	return run_one(s, t, "restore", read_dump, from, err);
}

const struct source source_command = {
	.name = "command",
	.verb = "keep a dump of",
	.programs = true,
	.moves = true,
	.describe = describe,
	.validate = validate,
	.subject = subject,
	.plan = plan,
	.keep = keep,
	.put_back = put_back,
};
