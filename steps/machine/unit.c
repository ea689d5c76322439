/* A unit of systemd: its file in /etc/systemd/system, whether it is enabled, whether it is active. What runs is started anew when its file
 * changes or `restart_on` does, which is what it was last started for. An undo brings back the file at once, but starts a unit only once all else is back: until
 * then the files that it reads are those that it may have failed with. */
#include "steps/machine/machine.h"

#define PLACES "f=/etc/systemd/system/$ID d=/var/lib/davit-units; t=$d/$ID.trigger p=$d/$ID.pending\n"

/* A unit that waits for its start is as good as active. */
static const char look[] =
	"ID=$1; " PLACES
	"digest() { if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then sha256sum <\"$f\" | cut -d ' ' -f 1; else echo none; fi; }\n"
	"get() { printf '%s\\n' \"$shown\" | sed -n \"s/^$1=//p\"; }\n"
	"[ ! -e \"/etc/systemd/system/.davit-$1\" ] || note part yes\n"
	"if ! has systemctl || ! shown=$(systemctl show -p LoadState -p ActiveState -p UnitFileState -p FragmentPath -- \"$1\" 2>/dev/null); then\n"
	"  say type absent; note nosystemd yes\n"
	"elif [ \"$(get LoadState)\" = not-found ]; then say type absent\n"
	"else\n"
	"  say type unit; own=$(digest); say digest \"$own\"\n"
	"  case $(get UnitFileState) in enabled|enabled-runtime) say enabled yes;; disabled|'') say enabled no;; *) say enabled \"$(get UnitFileState)\";; esac\n"
	"  a=$(get ActiveState); [ ! -e \"$p\" ] || a=active\n"
	"  case $a in active|reloading|refreshing) say state started;; activating) say state starting;; *) say state stopped;; esac\n"
	"  [ \"$a\" != failed ] || note failed yes\n"
	"  if [ -f \"$t\" ]; then say restart_on \"$(cat \"$t\")\"; else say restart_on none; fi\n"
	"  [ \"$(get LoadState)\" != masked ] || note masked yes\n"
	"  [ ! -L \"$f\" ] || note link \"$f\"\n"
	"  [ ! -f \"$f\" ] || [ $(($(wc -c <\"$f\"))) -le 65536 ] || note big yes\n"
	"  [ -z \"$3\" ] || [ -z \"$2\" ] || [ \"$own\" != \"$2\" ] || note part yes\n"
	"fi\n";

#define START                                                                                                                                                                                                              \
	"active() { systemctl is-active -q -- \"$ID\"; }\n"                                                                                                                                                                \
	"logged() { journalctl --sync 2>/dev/null || :; journalctl --no-pager -q -o cat -n 5 -u \"$ID\" 2>/dev/null | tr '\\n' '|' | sed 's/|$//; s/|/ | /g'; }\n"                                                         \
	"why() { l=$(logged); echo \"$ID is $(systemctl show -p ActiveState --value -- \"$ID\") ($(systemctl show -p Result --value -- \"$ID\"))${l:+, its journal ends with: $l}\"; }\n"                                  \
	"begin() { systemctl reset-failed -- \"$ID\" 2>/dev/null || :; systemctl \"$1\" -- \"$ID\" 2>/dev/null || fail \"$(why)\"\n" /* Nobody says of these when they are ready: one that ends at once was never well. */ \
	"  case $(systemctl show -p Type --value -- \"$ID\") in simple|exec|idle) sleep 1;; esac\n"                                                                                                                        \
	"  active || fail \"$(why)\"; }\n"

static const char turn[] = PLACES START
	"digest() { if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then sha256sum <\"$f\" | cut -d ' ' -f 1; else echo none; fi; }\n"
	"tmp=/etc/systemd/system/.davit-$ID; rm -f -- \"$tmp\"\n"
	"put() { (umask 022; printf %s \"$1\" >\"$tmp\"); sync \"$tmp\" 2>/dev/null || sync; mv -f -- \"$tmp\" \"$f\"; }\n"
	"wanted=$TO_digest; [ \"$TO_type\" != absent ] || [ -z \"$FROM_digest\" ] || wanted=none\n"
	"gone=; [ \"$TO_type\" != absent ] || gone=yes\n"
	"there() { [ \"$(systemctl show -p LoadState --value -- \"$ID\")\" != not-found ]; }\n"
	"if [ -n \"$gone\" ] && there; then systemctl stop -- \"$ID\" 2>/dev/null || fail \"$(why)\"; systemctl disable -q -- \"$ID\" 2>/dev/null || :; systemctl reset-failed -- \"$ID\" 2>/dev/null || :; fi\n"
	"if [ -z \"$gone\" ] && [ \"$TO_state\" = stopped ] && there; then systemctl stop -- \"$ID\" 2>/dev/null || fail \"$(why)\"; systemctl reset-failed -- \"$ID\" 2>/dev/null || :; fi\n"
	"anew=; enabled=$(systemctl is-enabled -- \"$ID\" 2>/dev/null) || :\n"
	"if [ -n \"$wanted\" ] && [ \"$(digest)\" != \"$wanted\" ]; then\n"
	"  [ ! -L \"$f\" ] || fail \"$f is a link\"\n"
	"  anew=yes; text=$CONTENT; [ -z \"$UNDOING\" ] || text=${BEGUN#begun\n}\n"
	"  if [ \"$wanted\" = none ]; then rm -f -- \"$f\"; else put \"$text\"; fi\n"
	"  [ \"$(digest)\" = \"$wanted\" ] || fail \"the file of $ID is not as it was written\"\n"
	"  systemctl daemon-reload\n"
	"  [ -n \"$gone\" ] || [ \"$enabled\" != enabled ] || systemctl reenable -q -- \"$ID\"\n"
	"fi\n"
	"case $TO_enabled:$enabled in yes:enabled|no:disabled) ;; yes:*) systemctl enable -q -- \"$ID\";; no:*) systemctl disable -q -- \"$ID\";; esac\n"
	"[ -z \"$TO_restart_on\" ] || [ \"$(cat \"$t\" 2>/dev/null || echo none)\" = \"$TO_restart_on\" ] || anew=yes\n"
	"if [ -n \"$UNDOING\" ]; then\n"
	"  rm -f -- \"$p\"; if [ -z \"$gone\" ] && [ \"$TO_state\" = started ] && { ! active || [ \"$FROM_digest$FROM_restart_on\" != \"$TO_digest$TO_restart_on\" ]; }; then mkdir -p \"$d\"; : >\"$p\"; fi\n"
	"elif [ -z \"$gone\" ]; then\n"
	"  if [ \"$TO_state\" = started ]; then if [ -n \"$anew\" ]; then begin restart; else active || begin start; fi\n"
	"  elif [ -n \"$anew\" ] && [ \"$TO_state\" != stopped ] && active; then begin restart; fi\n"
	"fi\n"
	"if [ -n \"$gone\" ] || [ \"$TO_restart_on\" = none ]; then rm -f -- \"$t\"\n"
	"elif [ -n \"$TO_restart_on\" ]; then mkdir -p \"$d\"; printf '%s\\n' \"$TO_restart_on\" >\"$t\"; fi\n"
	"rmdir \"$d\" 2>/dev/null || :\n";

static const char settle[] = PLACES START "[ -e \"$p\" ] || exit 0\n"
					  "begin restart; rm -f -- \"$p\"; rmdir \"$d\" 2>/dev/null || :\n";

static const char before[] = PLACES "echo begun; [ ! -f \"$f\" ] || [ -L \"$f\" ] || cat -- \"$f\"\n";

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
                                          .timeout_ms = 5 * 60 * 1000};
