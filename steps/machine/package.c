/* A package of the distribution: apt (dpkg), dnf (rpm), apk. Taken back, it goes together with the dependencies that nothing else needs; its
 * configuration files and data stay, as the manager itself leaves them. One that something else needs by then stays, as a dependency. */
#include "steps/machine/machine.h"

/* What an interrupted run left: packages without their configuration, and dependencies of one that never came. */
#define ORPHANS "orphans() { apt-get -s autoremove 2>/dev/null | awk '$1==\"Remv\" {print $2}'; }\n"

static const char look[] = ORPHANS
	"case $(manager) in\n"
	"apt) state=$(dpkg-query -W -f='${db:Status-Status} ${Version}\\n' -- \"$1\" 2>/dev/null | sort -r | head -n 1)\n"
	"  case $state in\n"
	"  installed\\ *|triggers-*) say version \"${state#* }\"\n"
	"    if awk -v p=\"$1\" '$1==\"Package:\" {n=$2} $1==\"Auto-Installed:\" && $2==1 && n==p {f=1} END {exit !f}' /var/lib/apt/extended_states 2>/dev/null\n"
	"    then note unasked yes; fi; say type package;;\n"
	"  ''|not-installed*|config-files*) say type absent\n"
	"    [ -z \"$3\" ] || { for p in $(orphans); do case \"\n$3\n\" in *\"\n$p\n\"*) ;; *) note part yes; break;; esac; done; }\n"
	"    plan=$(apt-get -s --no-install-recommends --no-remove install -- \"$1\" 2>&1) || note refused \"$(printf %s \"$plan\" | grep '^E:' | tail -n 1)\"\n"
	"    note candidate \"$(printf '%s\\n' \"$plan\" | awk -v p=\"$1\" '$1==\"Inst\" && $2==p {sub(/^\\(/, \"\", $3); print $3; exit}')\"\n"
	"    note brings \"$(printf '%s\\n' \"$plan\" | awk -v p=\"$1\" '$1==\"Inst\" && $2!=p && $3 !~ /^\\[/ {printf \"%s%s\", s, $2; s=\" \"}')\"\n"
	"    note upgrades \"$(printf '%s\\n' \"$plan\" | awk '$1==\"Inst\" && $3 ~ /^\\[/ {printf \"%s%s\", s, $2; s=\" \"}')\";;\n"
	"  *) say type \"${state%% *}\"; note part yes;; esac;;\n"
	"apk) if apk info -e -- \"$1\" >/dev/null 2>&1; then\n"
	"    if grep -qE \"^$1([<>=~@].*)?\\$\" /etc/apk/world; then :; else note unasked yes; fi; say type package\n"
	"  else say type absent; fi;;\n"
	"dnf) if rpm -q -- \"$1\" >/dev/null 2>&1; then\n"
	"    if dnf -q -C repoquery --installed --userinstalled --qf '%{name}\\n' 2>/dev/null | grep -qxF -- \"$1\"; then :; else note unasked yes; fi; say type package\n"
	"  else say type absent; fi;;\n"
	"*) say type absent; note nomanager yes;; esac\n";

static const char turn[] = ORPHANS
	"apt_get() { DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef"
	" -o Dpkg::Options::=--force-confold \"$@\" </dev/null; }\n"
	"installed() { dpkg-query -W -f='${db:Status-Status}\\n' -- \"$ID\" 2>/dev/null | grep -qvE '^(not-installed|config-files)$'; }\n"
	"settle() { [ -z \"$(dpkg --audit)\" ] || DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a </dev/null; }\n"
	"m=$(manager)\n"
	"case $m:$TO_type in\n"
	"apt:absent)\n"
	"  settle || :\n"
	"  others= known=$BEGUN; [ -n \"$known\" ] || known=$(orphans)\n"
	"  if installed; then\n"
	"    others=$(apt-get -s remove -- \"$ID\" | awk -v p=\"$ID\" '$1==\"Remv\" && $2!=p {print $2}')\n"
	"    if [ -n \"$others\" ]; then apt-mark auto -- \"$ID\"; else apt_get remove -- \"$ID\"; fi\n"
	"  fi\n"
	"  gone=; for p in $(orphans); do case \"\n$known\n\" in *\"\n$p\n\"*) ;; *) gone=\"$gone $p\";; esac; done\n"
	"  [ -z \"$gone\" ] || apt_get remove -- $gone;;\n"
	"apt:*)\n"
	"  settle || fail \"dpkg cannot configure what was left half installed on this host (dpkg --audit)\"\n"
	"  apt-get -s --no-install-recommends --no-remove install -- \"$ID\" >/dev/null 2>&1 || apt_get update\n"
	"  apt_get --no-install-recommends --no-remove install -- \"$ID\"\n"
	"  if [ -n \"$NOTE_unasked\" ]; then apt-mark auto -- \"$ID\"; else apt-mark manual -- \"$ID\"; fi;;\n"
	"apk:absent) if apk info -e -- \"$ID\" >/dev/null 2>&1; then apk del -- \"$ID\"; fi;;\n"
	"apk:*) [ -n \"$NOTE_unasked\" ] && apk info -e -- \"$ID\" >/dev/null 2>&1 || apk add -- \"$ID\" || { apk update && apk add -- \"$ID\"; };;\n"
	"dnf:absent) if rpm -q -- \"$ID\" >/dev/null 2>&1; then\n"
	"  if rpm -e --test -- \"$ID\" >/dev/null 2>&1; then dnf -y -q remove -- \"$ID\"; else dnf -y -q mark remove -- \"$ID\"; fi; fi;;\n"
	"dnf:*) dnf -y -q install --setopt=install_weak_deps=False -- \"$ID\"; [ -z \"$NOTE_unasked\" ] || dnf -y -q mark remove -- \"$ID\";;\n"
	"*) fail \"there is no apt-get, dnf or apk\";; esac\n";

/* What could go already, which is not ours to remove. Never empty. */
static const char before[] = ORPHANS "echo; if [ \"$(manager)\" = apt ]; then orphans; fi\n";

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
