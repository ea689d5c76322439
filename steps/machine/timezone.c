/* The time zone: /etc/localtime, and Debian's /etc/timezone where that is. */
#include "steps/machine/machine.h"

static const char look[] =
	"z=$(readlink /etc/localtime 2>/dev/null) || z=\n"
	"case $z in\n"
	"*/zoneinfo/*) say type timezone; say zone \"${z#*/zoneinfo/}\"; note link \"$z\";;\n"
	"*) if [ -e /etc/localtime ] || [ -L /etc/localtime ]; then say type file; else say type absent; fi;; esac\n"
	"[ ! -f /etc/timezone ] || say named \"$(cat /etc/timezone)\"\n"
	"[ -z \"$2\" ] || [ -e \"/usr/share/zoneinfo/$2\" ] || note missing yes\n";

/* Each of the two by one rename. */
static const char turn[] =
	"if [ \"$TO_type\" = absent ]; then rm -f /etc/localtime; else\n"
	"  [ -e \"/usr/share/zoneinfo/$TO_zone\" ] || fail \"there is no time zone $TO_zone\"\n"
	"  link=/usr/share/zoneinfo/$TO_zone; [ \"${NOTE_link#*/zoneinfo/}\" != \"$TO_zone\" ] || link=$NOTE_link\n"
	"  ln -sfn \"$link\" /etc/.davit-localtime; mv -f /etc/.davit-localtime /etc/localtime\n"
	"fi\n"
	"if [ -n \"$TO_named\" ] && [ -f /etc/timezone ]; then\n"
	"  cp -p /etc/timezone /etc/.davit-timezone; printf '%s\\n' \"$TO_named\" >/etc/.davit-timezone; mv -f /etc/.davit-timezone /etc/timezone; fi\n";

const struct machine_kind machine_timezone = {.change = MACHINE_CHANGE("timezone"), .look = look, .turn = turn};
