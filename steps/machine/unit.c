/* A unit of systemd: its file, whether it is enabled, whether it is active. What runs is started anew when its file
 * changes or `restart_on` does, which is what it was last started for. An undo brings back the file at once, but starts a unit only once all else is back: until
 * then the files that it reads are those that it may have failed with.
 *
 * The unit of a user is "USER/NAME". Its file lies in the user's home, where links may lead anywhere: it is read and written by that user, never by root. Root alone starts
 * the user's manager where nobody is logged in, and lets it linger. */
#include "steps/machine/machine.h"

#define RUNTIME                                                                                                        \
	"HOME=\"$h\" XDG_RUNTIME_DIR=\"/run/user/$uid\" DBUS_SESSION_BUS_ADDRESS=\"unix:path=/run/user/$uid/bus\""

/* sc: systemctl of whose unit it is. as: as whom its files are touched. */
#define PLACES                                                                                                                                               \
	"user= unit=$ID h= uid= etc=/etc/systemd/system d=/var/lib/davit-units\n"                                                                            \
	"case $ID in */*) user=${ID%%/*} unit=${ID#*/}; h=$(getent passwd \"$user\" | cut -d: -f6); uid=$(id -u -- \"$user\" 2>/dev/null) || :\n"            \
	"  etc=$h/.config/systemd/user d=$h/.local/state/davit-units OURS='.local .local/state .config .config/systemd .config/systemd/user'; cd /;; esac\n" \
	"f=$etc/$unit t=$d/$unit.trigger p=$d/$unit.pending tmp=$etc/.davit-$unit l=/var/lib/systemd/linger/$user\n"                                         \
	"as() { if [ -z \"$user\" ]; then \"$@\"; elif [ \"$(id -u)\" != 0 ]; then env " RUNTIME                                                             \
	" \"$@\"; else runuser -u \"$user\" -- env " RUNTIME " \"$@\"; fi; }\n"                                                                              \
	"sc() { if [ -z \"$user\" ]; then systemctl \"$@\"; else as systemctl --user \"$@\"; fi; }\n"                                                        \
	"digest() { if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then as cat -- \"$f\" | sha256sum | cut -d ' ' -f 1; else echo none; fi; }\n"

/* A unit that waits for its start is as good as active. A user's manager that does not run has what is in the files. */
static const char look[] =
	"ID=$1; " PLACES "get() { printf '%s\\n' \"$shown\" | sed -n \"s/^$1=//p\"; }\n"
	"in_files() { for i in \"$f\" \"/etc/systemd/user/$unit\" \"/usr/lib/systemd/user/$unit\"; do if [ -e \"$i\" ] || [ -L \"$i\" ]; then break; fi; i=; done\n"
	"  if [ -z \"$i\" ]; then echo LoadState=not-found; elif [ \"$(readlink -- \"$i\")\" = /dev/null ]; then echo LoadState=masked; else echo LoadState=loaded\n"
	"  s=disabled; for i in \"$etc\"/*.wants/\"$unit\" \"$etc\"/*.requires/\"$unit\" /etc/systemd/user/*.wants/\"$unit\"; do [ ! -L \"$i\" ] || s=enabled; done; echo UnitFileState=$s; fi; }\n"
	"[ ! -e \"$tmp\" ] || note part yes\n"
	"[ ! -L \"$f\" ] || note link \"$f\"\n"
	"shown= sure=; if has systemctl && [ -d /run/systemd/system ]; then\n"
	"  if [ -z \"$user\" ]; then sure=yes\n"
	"  elif [ -z \"$h\" ]; then note nouser yes; sure=yes shown=LoadState=not-found\n"
	"  elif [ \"$(id -u)\" != 0 ] && [ \"$(id -un)\" != \"$user\" ]; then note stranger yes; sure=yes shown=LoadState=not-found\n"
	"  else\n"
	"    [ -e \"$l\" ] || note linger no\n"
	"    made=; for i in $OURS; do [ -d \"$h/$i\" ] || made=\"$i${made:+ $made}\"; done; [ -z \"$made\" ] || note made \"$made\"\n"
	"    sure=yes; sc show -p Version >/dev/null 2>&1 || shown=$(in_files)\n"
	"  fi\n"
	"  [ -n \"$shown\" ] || shown=$(sc show -p LoadState -p ActiveState -p UnitFileState -p FragmentPath -- \"$unit\" 2>/dev/null) || sure=\n"
	"fi\n"
	"if [ -z \"$sure\" ]; then say type absent; note nosystemd yes\n"
	"elif [ \"$(get LoadState)\" = not-found ]; then say type absent\n"
	"else\n"
	"  say type unit; own=$(digest); say digest \"$own\"\n"
	"  case $(get UnitFileState) in enabled|enabled-runtime) say enabled yes;; disabled|'') say enabled no;; *) say enabled \"$(get UnitFileState)\";; esac\n"
	"  a=$(get ActiveState); [ ! -e \"$p\" ] || a=active\n"
	"  case $a in active|reloading|refreshing) say state started;; activating) say state starting;; *) say state stopped;; esac\n"
	"  [ \"$a\" != failed ] || note failed yes\n"
	"  if [ -f \"$t\" ]; then say restart_on \"$(as cat -- \"$t\")\"; else say restart_on none; fi\n"
	"  [ \"$(get LoadState)\" != masked ] || note masked yes\n"
	"  [ ! -f \"$f\" ] || [ -L \"$f\" ] || [ $(($(as cat -- \"$f\" | wc -c))) -le 65536 ] || note big yes\n"
	"  [ -z \"$3\" ] || [ -z \"$2\" ] || [ \"$own\" != \"$2\" ] || note part yes\n"
	"fi\n";

/* up: the user's manager answers, whether somebody is logged in or not. */
#define START                                                                                                                                                                                                    \
	"up() { if [ -n \"$user\" ] && ! sc show -p Version >/dev/null 2>&1; then\n"                                                                                                                             \
	"  [ \"$(id -u)\" != 0 ] || systemctl start \"user@$uid.service\" || fail \"the manager of $user's units does not start\"\n"                                                                             \
	"  i=0; until sc show -p Version >/dev/null 2>&1; do i=$((i + 1)); [ $i -le 100 ] || fail \"the manager of $user's units does not answer\"; sleep 0.1; done; fi; }\n"                                    \
	"active() { sc is-active -q -- \"$unit\"; }\n"                                                                                                                                                           \
	"own() { if [ -z \"$user\" ]; then journalctl --no-pager -q -o cat -n 5 -u \"$unit\"; else journalctl --no-pager -q -o cat -n 5 \"_UID=$uid\" \"_SYSTEMD_USER_UNIT=$unit\"; fi; }\n"                     \
	"logged() { journalctl --sync 2>/dev/null || :; own 2>/dev/null | tr '\\n' '|' | sed 's/|$//; s/|/ | /g'; }\n"                                                                                           \
	"why() { l=$(logged); echo \"$unit is $(sc show -p ActiveState --value -- \"$unit\") ($(sc show -p Result --value -- \"$unit\"))${l:+, its journal ends with: $l}\"; }\n"                                \
	"begin() { sc reset-failed -- \"$unit\" 2>/dev/null || :; sc \"$1\" -- \"$unit\" 2>/dev/null || fail \"$(why)\"\n" /* Nobody says of these when they are ready: one that ends at once was never well. */ \
	"  case $(sc show -p Type --value -- \"$unit\") in simple|exec|idle) sleep 1;; esac\n"                                                                                                                   \
	"  active || fail \"$(why)\"; }\n"

static const char turn[] = PLACES START
	"wanted=$TO_digest; [ \"$TO_type\" != absent ] || [ -z \"$FROM_digest\" ] || wanted=none\n"
	"gone=; [ \"$TO_type\" != absent ] || gone=yes\n"
	"if [ -n \"$user\" ] && [ -z \"$h\" ]; then [ -z \"$gone\" ] || exit 0; fail \"there is no user $user\"; fi\n"
	"runs=; [ \"$TO_enabled\" != yes ] && [ \"$TO_state\" != started ] || runs=yes\n"
	"if [ -n \"$user\" ] && [ -n \"$runs\" ] && [ -z \"$UNDOING\" ] && [ ! -e \"$l\" ]; then\n"
	"  loginctl enable-linger \"$user\" || fail \"$user has no units without a login: root allows them with loginctl enable-linger $user\"; fi\n"
	"up; as rm -f -- \"$tmp\"\n"
	"put() { as mkdir -p -- \"$etc\"; TEXT=$1; export TEXT; as sh -c 'umask 022; printf %s \"$TEXT\" >\"$1\"' sh \"$tmp\"; as sync \"$tmp\" 2>/dev/null || sync; as mv -f -- \"$tmp\" \"$f\"; }\n"
	"there() { [ \"$(sc show -p LoadState --value -- \"$unit\")\" != not-found ]; }\n"
	"if [ -n \"$gone\" ] && there; then sc stop -- \"$unit\" 2>/dev/null || fail \"$(why)\"; sc disable -q -- \"$unit\" 2>/dev/null || :; sc reset-failed -- \"$unit\" 2>/dev/null || :; fi\n"
	"if [ -z \"$gone\" ] && [ \"$TO_state\" = stopped ] && there; then sc stop -- \"$unit\" 2>/dev/null || fail \"$(why)\"; sc reset-failed -- \"$unit\" 2>/dev/null || :; fi\n"
	"anew=; enabled=$(sc is-enabled -- \"$unit\" 2>/dev/null) || :\n"
	"if [ -n \"$wanted\" ] && [ \"$(digest)\" != \"$wanted\" ]; then\n"
	"  [ ! -L \"$f\" ] || fail \"$f is a link\"\n"
	"  anew=yes; text=$CONTENT; [ -z \"$UNDOING\" ] || text=${BEGUN#begun\n}\n"
	"  if [ \"$wanted\" = none ]; then as rm -f -- \"$f\"; else put \"$text\"; fi\n"
	"  [ \"$(digest)\" = \"$wanted\" ] || fail \"the file of $unit is not as it was written\"\n"
	"  sc daemon-reload\n"
	"  [ -n \"$gone\" ] || [ \"$enabled\" != enabled ] || sc reenable -q -- \"$unit\"\n"
	"fi\n"
	"case $TO_enabled:$enabled in yes:enabled|no:disabled) ;; yes:*) sc enable -q -- \"$unit\";; no:*) sc disable -q -- \"$unit\";; esac\n"
	"last=; [ ! -f \"$t\" ] || last=$(as cat -- \"$t\")\n"
	"[ -z \"$TO_restart_on\" ] || [ \"${last:-none}\" = \"$TO_restart_on\" ] || anew=yes\n"
	"if [ -n \"$UNDOING\" ]; then\n"
	"  [ ! -e \"$p\" ] || as rm -f -- \"$p\"; if [ -z \"$gone\" ] && [ \"$TO_state\" = started ] && { ! active || [ \"$FROM_digest$FROM_restart_on\" != \"$TO_digest$TO_restart_on\" ]; }; then as mkdir -p -- \"$d\"; as touch -- \"$p\"; fi\n"
	"elif [ -z \"$gone\" ]; then\n"
	"  if [ \"$TO_state\" = started ]; then if [ -n \"$anew\" ]; then begin restart; else active || begin start; fi\n"
	"  elif [ -n \"$anew\" ] && [ \"$TO_state\" != stopped ] && active; then begin restart; fi\n"
	"fi\n"
	"if [ -n \"$gone\" ] || [ \"$TO_restart_on\" = none ]; then [ ! -e \"$t\" ] || as rm -f -- \"$t\"\n"
	"elif [ -n \"$TO_restart_on\" ]; then as mkdir -p -- \"$d\"; TEXT=$TO_restart_on; export TEXT; as sh -c 'printf \"%s\\n\" \"$TEXT\" >\"$1\"' sh \"$t\"; fi\n"
	"[ ! -d \"$d\" ] || as rmdir \"$d\" 2>/dev/null || :\n"
	"if [ -n \"$user\" ] && [ -n \"$UNDOING\" ]; then\n"
	"  [ -z \"$NOTE_nouser\" ] || NOTE_made='.config/systemd/user .config/systemd .config .local/state .local'\n"
	"  for i in $NOTE_made; do [ ! -d \"$h/$i\" ] || as rmdir -- \"$h/$i\" 2>/dev/null || :; done\n"
	"  was=; [ \"$FROM_enabled\" != yes ] && [ \"$FROM_state\" != started ] || was=yes\n"
	"  if [ \"$NOTE_linger$NOTE_nouser\" != '' ] && [ -n \"$was\" ] && [ -e \"$l\" ]; then loginctl disable-linger \"$user\"\n"
	"    i=0; while [ \"$(systemctl is-active \"user@$uid.service\")\" = deactivating ] && [ $i -lt 600 ]; do i=$((i + 1)); sleep 0.1; done; fi\n"
	"fi\n";

static const char settle[] = PLACES START "[ -e \"$p\" ] || exit 0\n"
					  "up; begin restart; as rm -f -- \"$p\"; as rmdir \"$d\" 2>/dev/null || :\n";

static const char before[] = PLACES "echo begun; [ ! -f \"$f\" ] || [ -L \"$f\" ] || as cat -- \"$f\"\n";

const struct machine_kind machine_unit = {.change = {.name = "unit",
                                                     .compare = machine_compare,
                                                     .explain = machine_explain,
                                                     .save = machine_save,
                                                     .apply = machine_apply,
                                                     .undo = machine_undo,
                                                     .settle = machine_settle},
                                          .look = look,
                                          .turn = turn,
                                          .settle = settle,
                                          .before = before,
                                          .passing = "state",
                                          .of_user = '/',
                                          .timeout_ms = 5 * 60 * 1000};
