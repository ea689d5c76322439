/* A rule that lets in: of ufw where that is, else of nftables in the first chain that filters what comes in. ufw keeps its rules itself;
 * one of nftables holds until the rules are loaded anew. */
#include "steps/machine/machine.h"

/* ID: "22/tcp", "22/tcp from 10.0.0.0/8". `listed` says what ufw does for it already: it has one rule for the same, and a second one would take
 * its place, with its comment and its kind. From everywhere it shows without an address. */
#define RULES                                                                                                                                                                      \
	"chain() { nft list chains 2>/dev/null | awk '$1==\"table\" {t=$2\" \"$3} $1==\"chain\" {c=$2}"                                                                            \
	" /hook input/ && /type filter/ && t !~ /^(arp|bridge|netdev)/ {print t\" \"c; exit}'; }\n"                                                                                \
	"handle() { nft -a list chain $1 2>/dev/null | grep -F \"comment \\\"davit $2\\\"\" | sed -n 's/.*# handle \\([0-9]*\\)$/\\1/p' | head -n 1; }\n"                          \
	"words() { case $1 in *' from '*) echo \"allow from ${1##* } to any port ${1%%/*} proto $(echo \"$1\" | sed 's,^[^/]*/,,; s/ .*//')\";; *) echo \"allow $1\";; esac; }\n"  \
	"listed() { case $1 in *' from '*/0) at=${1%% *};; *) at=$(words \"$1\"); at=${at#allow };; esac\n"                                                                        \
	"  printf '%s\\n' \"${shown:-$(ufw show added 2>/dev/null)}\" | awk -v at=\"$at\" '$1==\"ufw\" && $2 ~ /^(allow|deny|reject|limit)$/ {l=$0; sub(/^ufw [a-z]+ /, \"\", l);" \
	" sub(/^log(-all)? /, \"\", l); sub(/ comment .*/, \"\", l); if (l==at) {print $2; exit}}'; }\n"                                                                           \
	"by() { if has ufw; then echo ufw; elif has nft && [ -n \"$(chain)\" ]; then echo nft; fi; }\n"

static const char look[] = RULES
	"case $(by) in\n"
	"ufw) note by ufw; [ -n \"$shown\" ] || { shown=$(ufw show added 2>/dev/null); active=$(ufw status 2>/dev/null | grep '^Status: active'); }\n"
	"  [ -z \"$active\" ] || note active yes\n"
	"  kind=$(listed \"$1\"); if [ \"$kind\" = allow ]; then say type rule; else say type absent; [ -z \"$kind\" ] || note other \"$kind\"; fi;;\n"
	"nft) note by nft; note active yes\n"
	"  if [ -n \"$(handle \"$(chain)\" \"$1\")\" ]; then say type rule; else say type absent; fi;;\n"
	"*) say type absent;; esac\n";

static const char turn[] = RULES
	"port=${ID%%/*} proto=$(echo \"$ID\" | sed 's,^[^/]*/,,; s/ .*//') from=; case $ID in *' from '*) from=${ID##* };; esac\n"
	"case $(by):$TO_type in\n"
	"ufw:absent) if [ \"$(listed \"$ID\")\" = allow ]; then ufw --force delete $(words \"$ID\") >/dev/null; fi;;\n"
	"ufw:*) kind=$(listed \"$ID\"); case $kind in allow) ;; '') ufw $(words \"$ID\") >/dev/null;; *) fail \"ufw has another rule for $ID: $kind\";; esac;;\n"
	"nft:absent) c=$(chain); h=$(handle \"$c\" \"$ID\"); [ -z \"$h\" ] || nft delete rule $c handle \"$h\";;\n"
	"nft:*) c=$(chain); if [ -z \"$(handle \"$c\" \"$ID\")\" ]; then\n"
	"  case $from in '') source=;; *:*) source=\"ip6 saddr $from\";; *) source=\"ip saddr $from\";; esac\n"
	"  nft insert rule $c $source $proto dport \"$port\" accept comment \"\\\"davit $ID\\\"\"; fi;;\n"
	"*) fail \"there is neither ufw nor an nftables chain for what comes in\";; esac\n";

const struct machine_kind machine_firewall = {.change = MACHINE_CHANGE("firewall"), .look = look, .turn = turn};
