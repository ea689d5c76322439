/* Users and groups, by the shadow tools. A user that a deployment made goes with it; the home goes too if it was made with the user and holds
 * nothing but what a new home holds. Files elsewhere keep the number of their owner. */
#include "base/core/mem.h"
#include "steps/machine/machine.h"

#include <inttypes.h>
#include <string.h>

static const char group_look[] =
	"e=$(getent group \"$1\") || e=\n"
	"if [ -n \"$e\" ]; then say type group; say gid \"$(echo \"$e\" | cut -d: -f3)\"\n"
	"  m=$(echo \"$e\" | cut -d: -f4); [ -z \"$m\" ] || [ ${#m} -gt 16000 ] || note members \"$m\"\n"
	"else say type absent; fi\n"
	"has groupadd || note tools \"groupadd is missing\"\n";

/* One that is made again has those of its members who are still there: at once where groupadd can, so that an interrupted undo does not
 * take a group without them for the former one. */
static const char group_turn[] =
	"there=yes; getent group \"$ID\" >/dev/null || there=\n"
	"members() { echo \"$NOTE_members\" | tr , '\\n' | while read -r m; do ! getent passwd -- \"$m\" >/dev/null || echo \"$m\"; done; }\n"
	"at_once() { groupadd --help 2>&1 | grep -q -e --users; }\n"
	"case $TO_type:$there in\n"
	"absent:yes) groupdel -- \"$ID\";;\n"
	"absent:) ;;\n"
	"*:) some=$(members); users=; [ -z \"$some\" ] || ! at_once || users=$(echo \"$some\" | sort_names)\n"
	"  groupadd ${TO_gid:+-g \"$TO_gid\"} ${users:+-U \"$users\"} -- \"$ID\"\n"
	"  [ -n \"$users\" ] || echo \"$some\" | while read -r m; do [ -z \"$m\" ] || gpasswd -a \"$m\" \"$ID\" >/dev/null; done;;\n"
	"*) [ -z \"$TO_gid\" ] || groupmod -g \"$TO_gid\" -- \"$ID\";; esac\n";

const struct machine_kind machine_group = {.change = MACHINE_CHANGE("group"), .look = group_look, .turn = group_turn};

static const char user_look[] =
	"e=$(getent passwd \"$1\") || e=\n"
	"has useradd || note tools \"useradd is missing\"\n"
	"if [ -n \"$e\" ]; then\n"
	"  say type user; say uid \"$(echo \"$e\" | cut -d: -f3)\"; say home \"$(echo \"$e\" | cut -d: -f6)\"; say shell \"$(echo \"$e\" | cut -d: -f7)\"\n"
	"  say primary \"$(id -ng \"$1\")\"\n"
	"  say groups \"$(id -nG \"$1\" | tr ' ' '\\n' | grep -vxF -- \"$(id -ng \"$1\")\" | sort_names)\"\n"
	"else\n"
	"  say type absent; [ ! -e \"$2\" ] || note home_there yes\n"
	"  g=$(getent group \"$1\") || g=; [ -z \"$g\" ] || note own_group \"$(echo \"$g\" | cut -d: -f3)\"\n"
	"fi\n";

/* The home before the user: an interrupted undo finds it gone and goes on. */
static const char user_turn[] =
	"there=yes; getent passwd \"$ID\" >/dev/null || there=\n"
	"case $TO_type:$there in\n"
	"absent:yes)\n"
	"  [ -z \"$(find /proc -maxdepth 1 -name '[0-9]*' -user \"$ID\" 2>/dev/null | head -n 1)\" ] || fail \"processes of $ID run: they have to end first\"\n"
	"  home=$(getent passwd \"$ID\" | cut -d: -f6)\n"
	"  if [ -z \"$NOTE_home_there\" ] && [ \"$home\" = \"$FROM_home\" ] && [ -d \"$home\" ] && [ ! -L \"$home\" ]; then\n"
	"    skel=/etc/skel; [ -d \"$skel\" ] || { skel=$(mktemp -d); made=$skel; }\n"
	"    if [ -z \"$(find \"$home\" ! -type d ! -type f)\" ] && diff -r -- \"$skel\" \"$home\" >/dev/null 2>&1; then rm -rf -- \"$home\"; fi\n"
	"    [ -z \"$made\" ] || rmdir \"$made\"\n"
	"  fi\n"
	"  userdel -- \"$ID\"\n"
	"  [ -z \"$NOTE_own_group\" ] || getent group \"$ID\" >/dev/null || groupadd -g \"$NOTE_own_group\" -- \"$ID\";;\n"
	"absent:) ;;\n"
	"*:) own=; ! getent group \"$ID\" >/dev/null || own=$ID\n"
	"  useradd -m -p '*' ${TO_uid:+-u \"$TO_uid\"} ${own:+-g \"$own\"} ${TO_shell:+-s \"$TO_shell\"} -d \"$TO_home\" ${TO_groups:+-G \"$TO_groups\"} -- \"$ID\";;\n"
	"*) usermod ${TO_shell:+-s \"$TO_shell\"} -G \"$TO_groups\" -- \"$ID\"\n"
	"  [ -d \"$TO_home\" ] || [ -z \"$TO_home\" ] || [ \"$FROM_type\" != absent ] || mkhomedir_helper \"$ID\";; esac\n";

const struct machine_kind machine_user = {
	.change = MACHINE_CHANGE("user"), .look = user_look, .turn = user_turn, .list = "groups"};

/* ---- what is wanted ---- */

/* The groups that are there and those that are wanted, as a look says them: without the user's own. */
static char *joined(const char *there, const char *primary, const struct field_strings *more)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	_cleanup_free_ char *copy = xstrdup(there != NULL ? there : ""), *rest = copy;
	for (char *name; (name = strsep(&rest, ",")) != NULL;)
		if (*name != '\0')
			strv_add(&names, name);
	for (size_t i = 0; i < more->count; i++)
		if (!strv_has(&names, more->items[i]) && strcmp(more->items[i], primary) != 0)
			strv_add(&names, more->items[i]);
	strv_sort(&names);
	for (size_t i = 0; i < names.count; i++)
		str_appendf(&text, "%s%s", i > 0 ? "," : "", names.items[i]);
	return str_take(&text);
}

json_t *machine_user_after(const json_t *before, const struct machine_user_want *want)
{
	bool is_new = machine_is_absent(before);
	const char *primary = json_get_string(before, "primary");
	_cleanup_free_ char *groups =
		joined(json_get_string(before, "groups"), primary != NULL ? primary : want->name, want->groups);
	json_t *after = json_pack("{s:s, s:s}", "type", "user", "groups", groups);
	if (is_new)
		json_object_set_new(after, "home", json_string(want->home));
	if (want->shell != NULL || is_new)
		json_object_set_new(after, "shell", json_string(want->shell != NULL ? want->shell : "/bin/sh"));
	if (want->uid >= 0)
		json_object_set_new(after, "uid", json_stringf("%" PRId64, want->uid));
	return after;
}
