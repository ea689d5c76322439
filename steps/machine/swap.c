/* A swap file: made under another name, so that a half of one is known, then named, switched on, and put into /etc/fstab. */
#include "steps/machine/machine.h"

static const char look[] =
	"active=no; ! awk -v p=\"$1\" '$1==p {f=1} END {exit !f}' /proc/swaps 2>/dev/null || active=yes\n"
	"listed=no; ! awk -v p=\"$1\" '$1==p && $3==\"swap\" {f=1} END {exit !f}' /etc/fstab 2>/dev/null || listed=yes\n"
	"[ ! -e \"$1.davit\" ] || note part yes\n"
	"d=${1%/*}; while [ -n \"$d\" ] && [ ! -d \"$d\" ]; do d=${d%/*}; done; note free \"$(df -Pk -- \"${d:-/}\" | awk 'END {print $4}')\"\n"
	"if [ -f \"$1\" ] && [ ! -L \"$1\" ] && { [ $active = yes ] || [ $listed = yes ] || [ \"$(dd if=\"$1\" bs=1 skip=4086 count=10 2>/dev/null)\" = SWAPSPACE2 ]; }; then\n"
	"  say type swap; say size \"$(stat -c %s -- \"$1\")\"; say active $active; say listed $listed\n"
	"  [ $active$listed = yesyes ] || note part yes\n"
	"elif [ -e \"$1\" ] || [ -L \"$1\" ]; then say type file\n"
	"else say type absent; [ $listed = no ] || note part yes; fi\n";

static const char turn[] =
	"on() { awk -v p=\"$ID\" '$1==p {f=1} END {exit !f}' /proc/swaps; }\n"
	"list() { touch /etc/fstab; cp -p /etc/fstab /etc/.davit-fstab\n"
	"  { awk -v p=\"$ID\" '!($1==p && $3==\"swap\")' /etc/fstab; [ \"$1\" = no ] || printf '%s none swap sw 0 0\\n' \"$ID\"; } >/etc/.davit-fstab\n"
	"  sync /etc/.davit-fstab 2>/dev/null || sync; mv -f /etc/.davit-fstab /etc/fstab; }\n"
	"rm -f -- \"$ID.davit\"\n"
	"if [ \"$TO_type\" = absent ] || { [ -f \"$ID\" ] && [ \"$(stat -c %s -- \"$ID\")\" != \"$TO_size\" ]; }; then\n"
	"  ! on || swapoff -- \"$ID\"; list no; rm -f -- \"$ID\"; fi\n"
	"if [ \"$TO_type\" != absent ]; then\n"
	"  if [ ! -f \"$ID\" ]; then\n"
	"    (umask 077; dd if=/dev/zero of=\"$ID.davit\" bs=1048576 count=$((TO_size / 1048576)) 2>/dev/null) || { rm -f -- \"$ID.davit\"; fail \"there is no room for $ID\"; }\n"
	"    mkswap \"$ID.davit\" >/dev/null; sync; mv \"$ID.davit\" \"$ID\"; fi\n"
	"  if [ \"$TO_active\" = yes ]; then on || swapon -- \"$ID\"; else ! on || swapoff -- \"$ID\"; fi\n"
	"  list \"$TO_listed\"; fi\n";

const struct machine_kind machine_swap = {
	.change = MACHINE_CHANGE("swap"), .look = look, .turn = turn, .timeout_ms = 10 * 60 * 1000};
