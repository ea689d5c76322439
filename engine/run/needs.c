/* Checks the needs of planned changes on their target: before the first change, for all of a step's changes at once. */
#include "engine/run/needs.h"
#include "base/data/json.h"
#include "base/sys/fs.h"

#include <string.h>

/* Reads "u NAME", "g NAME", "p DIRECTORY", a line each; prints "u NAME: WHY" for each that fails. */
static const char needs_script[] =
	"me=$(id -u); mine=\" $(id -G) \"\n"
	"uid() { case $1 in *[!0-9]*) id -u -- \"$1\" 2>/dev/null || id -u \"$1\" 2>/dev/null;; *) echo \"$1\";; esac; }\n"
	"gid() { case $1 in *[!0-9]*) g=$(awk -F: -v g=\"$1\" '$1==g{print $3;exit}' /etc/group 2>/dev/null)\n"
	" [ -n \"$g\" ] || g=$(getent group \"$1\" 2>/dev/null | cut -d: -f3); echo \"$g\";; *) echo \"$1\";; esac; }\n"
	"while IFS= read -r line; do x=${line#? }\n"
	"case $line in\n"
	"u*) n=$(uid \"$x\"); if [ -z \"$n\" ]; then echo \"$line: absent\"\n"
	"    elif [ \"$me\" != 0 ] && [ \"$n\" != \"$me\" ]; then echo \"$line: root\"; fi;;\n"
	"g*) n=$(gid \"$x\"); if [ -z \"$n\" ]; then echo \"$line: absent\"\n"
	"    elif [ \"$me\" != 0 ]; then case $mine in *\" $n \"*) ;; *) echo \"$line: root\";; esac; fi;;\n"
	"p*) p=$x; while [ ! -d \"$p\" ]; do\n"
	"      if [ -e \"$p\" ] || [ -L \"$p\" ]; then echo \"$line: file $p\"; continue 2; fi; p=${p%/*}; p=${p:-/}; done\n"
	"    [ -w \"$p\" ] && [ -x \"$p\" ] || echo \"$line: write $p\";;\n"
	"esac; done; :\n";

const char *needs_way_to_write(const struct view *v)
{
	return v->facts.is_root
	               ? "it may be mounted read-only, or be immutable (`lsattr -d`): change that there, or choose another path"
	               : "give the target `become: sudo`, or that user the right to write there";
}

/* The message and its hint for "u NAME: WHY". */
static void say(const struct view *v, const char *line, char **ret_text, const char **ret_hint)
{
	const char *why = line, *at;
	while ((at = strstr(why + 1, ": ")) != NULL)
		why = at;
	_cleanup_free_ char *what = xstrndup(line + 2, (size_t)(why - line - 2));
	const char *sort = line[0] == 'u' ? "user" : "group";
	why += 2;
	if (strcmp(why, "absent") == 0) {
		*ret_text = xasprintf("there is no %s '%s' on '%s'", sort, what, v->name);
		*ret_hint = "make it there first, or give its number";
	} else if (strcmp(why, "root") == 0) {
		*ret_text =
			xasprintf("'%s' on '%s' cannot give a file to the %s '%s'", v->facts.user, v->name, sort, what);
		*ret_hint = "give the target `become: sudo`, or leave it out";
	} else if (str_starts(why, "file ")) {
		*ret_text = xasprintf("'%s' on '%s' is not a directory", why + 5, v->name);
		*ret_hint = "move it away, or choose another path";
	} else {
		const char *directory = str_starts(why, "write ") ? why + 6 : what;
		*ret_text = strcmp(directory, what) == 0
		                    ? xasprintf("'%s' on '%s' cannot be written by '%s'", what, v->name, v->facts.user)
		                    : xasprintf("'%s' on '%s' cannot be made by '%s': %s cannot be written", what,
		                                v->name, v->facts.user, directory);
		*ret_hint = needs_way_to_write(v);
	}
}

int needs_check(struct view *v, struct plan *plan, bool may_come, struct faults *faults, struct err *err)
{
	_cleanup_(strv_done) struct strv needs = {0};
	_cleanup_(str_done) struct str input = STR_INIT(16 << 20);
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->changes[i].action != ACTION_ADOPT && plan->changes[i].type->needs)
			plan->changes[i].type->needs(&plan->changes[i], &needs);
	if (needs.count == 0 || v->type == NULL || v->type->query == NULL)
		return 0;
	for (size_t i = 0; i < needs.count; i++)
		str_appendf(&input, "%s\n", needs.items[i]);
	const struct target_command command = {
		.script = needs_script, .input = str_peek(&input), .input_len = input.len, .max_output = 4 << 20};
	int r = host_query(v, &command, &result, err);
	if (r < 0)
		return err_wrap(err, r, "ask '%s' for users, groups and directories", v->name);
	char *rest = result.out.len > 0 ? result.out.data : NULL;
	for (char *line; rest && (line = strsep(&rest, "\n")) != NULL;) {
		_cleanup_free_ char *text = NULL;
		const char *hint = NULL;
		if (line[0] == '\0' || line[1] != ' ' || strstr(line, ": ") == NULL)
			continue;
		say(v, line, &text, &hint);
		if (may_come) {
			strv_addf(&plan->warnings, "%s (an earlier step may change that)", text);
			continue;
		}
		faults_add(faults, NULL, "", "%s", text);
		faults_hint(faults, "%s", hint);
	}
	return 0;
}
