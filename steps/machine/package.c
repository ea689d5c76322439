/* A package of the distribution: apt (dpkg), dnf (rpm), apk. Taken back, it goes together with the dependencies that nothing else needs; its
 * configuration files and data stay, as the manager itself leaves them. One that something else needs by then stays, as a dependency. */
#include "steps/machine/machine.h"

/* What an interrupted run left: packages without their configuration, and dependencies of one that never came. Of dnf, `here` reads no list of
 * a repository. */
#define ORPHANS                                                                                                                       \
	"here() { dnf --disablerepo='*' \"$@\"; }\n"                                                                                  \
	"orphans() { if [ \"$(manager)\" = apt ]; then apt-get -s autoremove 2>/dev/null | awk '$1==\"Remv\" {print $2}'\n"           \
	"  else list=$(here -q repoquery --unneeded --qf '%{name}.%{arch}\\n') || return; printf '%s\\n' \"$list\" | awk NF; fi; }\n" \
	"left() { for p in $(orphans); do case \"\n$1\n\" in *\"\n$p\n\"*) ;; *) echo \"$p\";; esac; done; }\n"

/* A name that only another package provides, or a package that takes the place of one that is there, is not installed: an undo would know nothing
 * of either. */
#define OTHER "there is no package of this name, but it is provided by:"
#define APT                                                                                                            \
	"would() { apt-get -s --no-install-recommends --no-remove install -- \"$1\" 2>&1; }\n"                         \
	"cannot() { printf '%s\\n' \"$plan\" | awk -v p=\"$1\" '$1==\"Inst\" {if ($2==p) f=1; else o=o \" \" $2} /^Note, selecting / {o=o \" \" $3} END {if (!f) print o}'; }\n"

/* The table of a transaction as lines: "+" comes, "^" is replaced by another version, "-" goes; name, version. A long name has a line to itself. */
#define DNF                                                                                                                                                                                    \
	"dnf_would() { dnf --assumeno --setopt=install_weak_deps=False \"$@\" 2>&1; }\n"                                                                                                       \
	"rows() { printf '%s\\n' \"$plan\" | awk '/^ +replacing / {print \"-\", $2; next} /^(Install|Upgrad|Downgrad|Reinstall|Remov).*:$/ {s=$1; n=\"\"; next} !/^ / {s=\"\"} s==\"\" {next}" \
	" NF==1 {n=$1; next} {v=$2; if (n==\"\") {n=$1; v=$3} print (s ~ /^Inst/ ? \"+\" : s ~ /^Remov/ ? \"-\" : \"^\"), n, v; n=\"\"}'; }\n"                                                 \
	"names() { rows | awk -v k=\"$1\" -v p=\"$2\" '$1==k && $2!=p {printf \"%s%s\", s, $2; s=\" \"}'; }\n"                                                                                 \
	"dnf_cannot() { case $plan in *'Transaction Summary'*)\n"                                                                                                                              \
	"    if ! rows | awk -v p=\"$1\" '$1==\"+\" && $2==p {f=1} END {exit !f}'; then echo \"" OTHER                                                                                         \
	" $(names + \"$1\")\"\n"                                                                                                                                                               \
	"    elif [ -n \"$(names -)\" ]; then echo \"it would take the place of $(names -)\"; fi;;\n"                                                                                          \
	"  *) printf '%s\\n' \"$plan\" | awk '/^Error: ./ || /is already installed/ || /^ Problem/ || /^ +- / {sub(/^ +/, \"\"); printf \"%s%s\", s, $0; s=\" \"}';; esac; }\n"

static const char look[] = ORPHANS APT DNF
	"case $(manager) in\n"
	"apt) state=$(dpkg-query -W -f='${db:Status-Status} ${Version}\\n' -- \"$1\" 2>/dev/null | sort -r | head -n 1)\n"
	"  case $state in\n"
	"  installed\\ *|triggers-*) say version \"${state#* }\"\n"
	"    if awk -v p=\"$1\" '$1==\"Package:\" {n=$2} $1==\"Auto-Installed:\" && $2==1 && n==p {f=1} END {exit !f}' /var/lib/apt/extended_states 2>/dev/null\n"
	"    then note unasked yes; fi; say type package;;\n"
	"  ''|not-installed*|config-files*) say type absent\n"
	"    [ -z \"$3\" ] || [ -z \"$(left \"$3\")\" ] || note part yes\n"
	"    if [ -z \"$PLANNING\" ]; then return; fi\n"
	"    if plan=$(would \"$1\"); then other=$(cannot \"$1\"); [ -z \"$other\" ] || note impossible \"" OTHER
	"$other\"\n"
	"    else note refused \"$(printf %s \"$plan\" | grep '^E:' | tail -n 1)\"; fi\n"
	"    note candidate \"$(printf '%s\\n' \"$plan\" | awk -v p=\"$1\" '$1==\"Inst\" && $2==p {sub(/^\\(/, \"\", $3); print $3; exit}')\"\n"
	"    note brings \"$(printf '%s\\n' \"$plan\" | awk -v p=\"$1\" '$1==\"Inst\" && $2!=p && $3 !~ /^\\[/ {printf \"%s%s\", s, $2; s=\" \"}')\"\n"
	"    note upgrades \"$(printf '%s\\n' \"$plan\" | awk '$1==\"Inst\" && $3 ~ /^\\[/ {printf \"%s%s\", s, $2; s=\" \"}')\";;\n"
	"  *) say type \"${state%% *}\"; note part yes;; esac;;\n"
	"apk) if apk info -e -- \"$1\" >/dev/null 2>&1; then\n"
	"    if grep -qE \"^$1([<>=~@].*)?\\$\" /etc/apk/world; then :; else note unasked yes; fi; say type package\n"
	"  else say type absent; fi;;\n"
	"dnf) if rpm -q -- \"$1\" >/dev/null 2>&1; then\n"
	"    asked=$(here -q repoquery --userinstalled --qf '%{name}\\n' -- \"$1\" 2>/dev/null) || asked=unknown\n"
	"    [ -n \"$asked\" ] || note unasked yes; say type package\n"
	"  else say type absent\n"
	"    [ -z \"$3\" ] || [ -z \"$(left \"$3\")\" ] || note part yes\n"
	"    if [ -z \"$PLANNING\" ]; then return; fi\n"
	"    plan=$(dnf_would -C install -- \"$1\") || :; why=$(dnf_cannot \"$1\")\n"
	"    case $plan in *'Transaction Summary'*) note impossible \"$why\";; *'no cache for'*) note refused \"$why\";; *) note impossible \"${why:-dnf does not say why}\";; esac\n"
	"    note candidate \"$(rows | awk -v p=\"$1\" '$1==\"+\" && $2==p {print $3; exit}')\"\n"
	"    note brings \"$(names + \"$1\")\"; note upgrades \"$(names ^ \"$1\")\"; fi;;\n"
	"*) say type absent; note nomanager yes;; esac\n";

static const char turn[] = ORPHANS APT DNF
	"apt_get() { DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef"
	" -o Dpkg::Options::=--force-confold \"$@\" </dev/null; }\n"
	"installed() { dpkg-query -W -f='${db:Status-Status}\\n' -- \"$ID\" 2>/dev/null | grep -qvE '^(not-installed|config-files)$'; }\n"
	"settle() { [ -z \"$(dpkg --audit)\" ] || DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a </dev/null; }\n"
	"dnf_remove() { here -y -q --setopt=clean_requirements_on_remove=False remove -- \"$@\"; }\n"
	"as_dependency() { dnf -y -q mark remove -- \"$@\" 2>/dev/null || dnf -y -q mark dependency -- \"$@\"; }\n"
	"as_asked() { dnf -y -q mark install -- \"$ID\" 2>/dev/null || dnf -y -q mark user -- \"$ID\"; }\n"
	/* dnf forgets why a package came if the transaction fails: it would seem asked for, and stay. */
	"give_up() { for p in $(names + \"$ID\"); do ! rpm -q -- \"$p\" >/dev/null 2>&1 || as_dependency \"$p\" >/dev/null 2>&1 || :; done; exit 1; }\n"
	"m=$(manager)\n"
	"case $m:$TO_type in\n"
	"apt:absent)\n"
	"  settle || :\n"
	"  others= known=$BEGUN; [ -n \"$known\" ] || known=$(orphans)\n"
	"  if installed; then\n"
	"    others=$(apt-get -s remove -- \"$ID\" | awk -v p=\"$ID\" '$1==\"Remv\" && $2!=p {print $2}')\n"
	"    if [ -n \"$others\" ]; then apt-mark auto -- \"$ID\"; else apt_get remove -- \"$ID\"; fi\n"
	"  fi\n"
	"  gone=$(left \"$known\")\n"
	"  [ -z \"$gone\" ] || apt_get remove -- $gone;;\n"
	"apt:*)\n"
	"  settle || fail \"dpkg cannot configure what was left half installed on this host (dpkg --audit)\"\n"
	"  would \"$ID\" >/dev/null || apt_get update\n"
	"  if ! installed && plan=$(would \"$ID\"); then other=$(cannot \"$ID\"); [ -z \"$other\" ] || fail \"" OTHER
	"$other\"; fi\n"
	"  apt_get --no-install-recommends --no-remove install -- \"$ID\"\n"
	"  if [ -n \"$NOTE_unasked\" ]; then apt-mark auto -- \"$ID\"; else apt-mark manual -- \"$ID\"; fi;;\n"
	"apk:absent) if apk info -e -- \"$ID\" >/dev/null 2>&1; then apk del -- \"$ID\"; fi;;\n"
	"apk:*) [ -n \"$NOTE_unasked\" ] && apk info -e -- \"$ID\" >/dev/null 2>&1 || apk add -- \"$ID\" || { apk update && apk add -- \"$ID\"; };;\n"
	"dnf:absent)\n"
	"  known=$BEGUN; [ -n \"$known\" ] || known=$(orphans)\n"
	"  if rpm -q -- \"$ID\" >/dev/null 2>&1; then\n"
	"    plan=$(here --assumeno --setopt=clean_requirements_on_remove=False remove -- \"$ID\" 2>&1) || :\n"
	"    if [ -n \"$(names - \"$ID\")\" ]; then as_dependency \"$ID\"; else dnf_remove \"$ID\"; fi\n"
	"  fi\n"
	"  gone=$(left \"$known\")\n"
	"  [ -z \"$gone\" ] || dnf_remove $gone;;\n"
	"dnf:*)\n"
	"  if ! rpm -q -- \"$ID\" >/dev/null 2>&1; then\n"
	"    plan=$(dnf_would install -- \"$ID\") || :; why=$(dnf_cannot \"$ID\"); [ -z \"$why\" ] || fail \"$why\"\n"
	"    dnf -y -q --setopt=install_weak_deps=False install -- \"$ID\" || give_up\n"
	"  elif [ -z \"$NOTE_unasked\" ]; then as_asked; fi\n"
	"  [ -z \"$NOTE_unasked\" ] || as_dependency \"$ID\";;\n"
	"*) fail \"there is no apt-get, dnf or apk\";; esac\n";

/* What could go already, which is not ours to remove. Never empty. */
static const char before[] = ORPHANS "echo; case $(manager) in apt|dnf) orphans;; esac\n";

const struct machine_kind machine_package = {
	.change = {.name = "package",
                   .compare = machine_compare,
                   .explain = machine_explain,
                   .save = machine_save,
                   .apply = machine_apply,
                   .undo = machine_undo},
	.look = look,
	.turn = turn,
	.before = before,
	.timeout_ms = 30 * 60 * 1000,
};

/* The Docker engine and Compose: what is there, and which packages of the distribution bring what is not. */
static const char engine_look[] =
	"say type engine\n"
	"if has dockerd; then say engine yes; else say engine no; fi\n"
	"if docker compose version >/dev/null 2>&1; then say compose yes; else say compose no; fi\n"
	"first() { for p in \"$@\"; do v=$(apt-cache policy -- \"$p\" 2>/dev/null | awk '$1==\"Candidate:\" {print $2}')\n"
	"  case $p=$v in *=|*='(none)'|docker-compose=1.*) ;; *) echo \"$p\"; return;; esac; done; }\n"
	"case $(manager) in\n"
	"apt) note engine_package \"$(first docker.io docker-ce)\"; note compose_package \"$(first docker-compose-v2 docker-compose-plugin docker-compose)\";;\n"
	"apk) note engine_package docker; note compose_package docker-cli-compose;;\n"
	"dnf) if dnf -q -C info moby-engine >/dev/null 2>&1; then note engine_package moby-engine; else note engine_package docker; fi\n"
	"  note compose_package docker-compose;; esac\n";

const struct machine_kind machine_engine = {.change = {.name = "engine"}, .look = engine_look};
