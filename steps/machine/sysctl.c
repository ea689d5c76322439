/* A parameter of the kernel: its value now, and in a file of /etc/sysctl.d for the next start. It is there where that file is. */
#include "steps/machine/machine.h"

/* As sysctl.d(5) reads a name: behind a dot first, dots and slashes change places; behind a slash first they stay. The file comes last, behind
 * Debian's 99-sysctl.conf. */
#define PLACES                                                                                                         \
	"case ${ID#\"${ID%%[./]*}\"} in /*) p=/proc/sys/$ID;; *) p=/proc/sys/$(printf %s \"$ID\" | tr ./ /.);; esac\n" \
	"f=/etc/sysctl.d/99-zz-davit-$(printf %s \"$ID\" | tr / '~').conf\n"                                           \
	"words() { tr -s ' \\t\\n' ' ' | sed 's/^ //; s/ $//'; }\n"

static const char look[] =
	"ID=$1; " PLACES
	"if [ ! -f \"$p\" ]; then note unknown yes; elif v=$(cat \"$p\" 2>/dev/null); then say value \"$(printf %s \"$v\" | words)\"; else note unreadable yes; fi\n"
	"[ ! -e \"$f.davit\" ] || note part yes\n"
	"if [ -L \"$f\" ]; then note link \"$f\"; fi\n"
	"if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then say type sysctl; say saved \"$(sed -n 's/^[^#=]*= *//p' \"$f\" | words)\"; else say type absent; fi\n";

/* The value first: one that the kernel does not take is not kept for its next start. What leaves keeps its value until then. */
static const char turn[] = PLACES
	"rm -f -- \"$f.davit\"; [ ! -L \"$f\" ] || fail \"$f is a link\"\n"
	"now() { cat \"$p\" 2>/dev/null | words; }\n"
	"if [ -n \"$TO_value\" ] && [ \"$(now)\" != \"$TO_value\" ]; then\n"
	"  said=$( { printf '%s\\n' \"$TO_value\" >\"$p\"; } 2>&1) || fail \"the kernel does not take '$TO_value' for $ID: ${said##*: }\"\n"
	"  [ \"$(now)\" = \"$TO_value\" ] || fail \"the kernel made '$(now)' of '$TO_value' for $ID\"; fi\n"
	"if [ \"$TO_type\" = absent ]; then rm -f -- \"$f\"; else\n"
	"  mkdir -p /etc/sysctl.d; printf '# by davit\\n%s = %s\\n' \"$ID\" \"$TO_saved\" >\"$f.davit\"\n"
	"  chmod 644 \"$f.davit\"; sync \"$f.davit\" 2>/dev/null || sync; mv -f -- \"$f.davit\" \"$f\"; fi\n";

const struct machine_kind machine_sysctl = {.change = MACHINE_CHANGE("sysctl"), .look = look, .turn = turn};
