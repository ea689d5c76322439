/* The shell target: ends commands that were given up, and those that a previous owner left running. */
#include "engine/target/shell/shell.h"
#include "engine/target/grace.h"

enum { FENCE_MS = 60000 + 2 * GRACE_MAX_MS, SCRIPT_MAX = 64 * 1024 };

void shell_as_user(const struct shell_target *s, const char *user, const char *script, struct str *out)
{
	bool is_root = s->t.view.facts.is_root;
	if (is_root && !s->has_runuser) {
		str_append(out, "su -s /bin/sh -c ");
		str_append(out, script);
		str_appendf(out, " -- %s", user);
		return;
	}
	str_appendf(out, "%s %s -- /bin/sh -c ", is_root ? "runuser -u" : "sudo -n -u", user);
	str_append(out, script);
}

/* As its user first: processes of another user may be inaccessible to us, and sudo ends when its command has ended. */
void shell_end_function(const struct shell_target *s, struct str *out)
{
	str_append(out, "F=");
	str_append_shell(out, command_end_script);
	str_append(out, "\nz() {\ncase $5 in ''|-*) ;; *) ");
	shell_as_user(s, "\"$5\"", "\"$F\"", out);
	str_append(out,
	           " sh \"$1\" \"$2\" \"$3\" \"$4\" \"$6\" \"$7\" mine </dev/null >/dev/null 2>&1;; esac\n"
	           "/bin/sh -c \"$F\" sh \"$1\" \"$2\" \"$3\" \"$4\" \"$6\" \"$7\" all \"${8:-0}\" </dev/null\n}\n");
}

void shell_end_call(const struct shell_process *p, int rounds, struct str *out)
{
	str_appendf(out, "z %lld %lld %lld %s ", p->pid, p->start_time, p->group, *p->mark ? p->mark : "-");
	str_append_shell(out, *p->user ? p->user : "-");
	str_appendf(out, " %lld %d", p->began_s, rounds);
}

/* For each note that is not of our own shells: ends the command, removes the note. */
static const char fence_loop[] =
	"for f in \"$p\"/pids/*; do [ -f \"$f\" ] || continue; c=${f##*/}\n"
	"case $c in *[!0-9]*) continue;; esac; case $o in *\" $c \"*) continue;; esac\n"
	"a= b= r= m= u= i= w=; { IFS=' ' read -r a b r; IFS=' ' read -r m u i w; } <\"$f\"\n"
	"case $b in ''|-|\"$B\") [ -z \"$a\" ] || z \"$c\" \"$a\" \"${r:-0}\" \"${m:--}\" \"${u:--}\" \"${i:--}\" 0 \"${w:-0}\" ||\n"
	" { echo \"command $c of the previous owner does not end\" >&2; e=1; continue; };;\n"
	"esac; rm -f -- \"$f\"; done; exit $e";

int shell_fence(struct target *t, const char *lock_dir, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	const struct shell_input input = {.timeout_ms = FENCE_MS};
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	shell_assign(&script, "p", lock_dir);
	str_appendf(&script, "o=' %lld %lld '; e=0\n", s->main != NULL ? s->main->process.pid : 0,
	            s->side != NULL ? s->side->process.pid : 0);
	shell_end_function(s, &script);
	str_append(&script, fence_loop);
	r = shell_change(t, lock_dir, str_peek(&script), &input, &said, err);
	if (r < 0)
		return err_wrap(err, r, "end the previous owner's commands on '%s'", t->view.name);
	if (said.status != 0)
		return err_set(err, ERR_TIMEOUT, "end the previous owner's commands on '%s': %s", t->view.name,
		               str_peek(&said.err));
	return 0;
}
