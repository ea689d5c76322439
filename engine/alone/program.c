/* The program of a target that goes back alone: POSIX sh, as dash and busybox have it, and the tools that every operation of a target
 * uses. It watches the renewal counter by the target's own uptime. When that stood still for too long it does what a takeover does:
 * it notes itself, looks at the lock again, puts its own token there by one rename, ends what still runs, and looks again whether
 * it was disarmed or the deployment decided meanwhile. Only then it takes changes back. */
#include "engine/alone/alone.h"
#include "engine/target/command_end.h"
#include "engine/target/target.h"

#include <inttypes.h>

enum { LONGEST_PERIOD_S = 10 };

/* clang-format off */
static const char finding[] =
	"unset DAVIT_COMMAND RUNNER_TRACKING_ID; umask 077; cd /\n"
	"locale=${LC_ALL-}; LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin\n"
	"boot=; { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null\n"

	/* State, group and start time of a process; fails when it is gone or a zombie. */
	"process() {\n"
	" { IFS= read -r stat </proc/$1/stat; } 2>/dev/null || return 1\n"
	" set -f; set -- ${stat##*) }; set +f\n"
	" case $1 in Z|X) return 1;; esac\n"
	" echo \"$1 $3 ${20}\"\n"
	"}\n"
	"watched() {\n"
	" pid= began= booted=; { read -r pid began booted <\"$dir/alone/pid\"; } 2>/dev/null\n"
	" [ -n \"$pid\" ] && [ \"$booted\" = \"$boot\" ] && now=$(process \"$pid\") && [ \"${now##* }\" = \"$began\" ]\n"
	"}\n"
	"if [ \"${1-}\" = start ]; then\n"
	" { read -r up rest </proc/uptime && process $$ >/dev/null; } 2>/dev/null || { echo 'it has no /proc/uptime' >&2; exit 3; }\n"
	" ! watched || exit 0\n"
	" own=; command -v setsid >/dev/null 2>&1 && own=setsid\n"
	" [ -z \"$locale\" ] || LC_ALL=$locale; [ -n \"$locale\" ] || unset LC_ALL\n"
	" (trap '' HUP; exec $own /bin/sh \"$dir/alone/watch\") </dev/null >/dev/null 2>&1 &\n"
	" i=0; until watched; do i=$((i+1)); [ $i -lt 100 ] || { echo 'its watch does not start' >&2; exit 4; }; sleep 0.1 2>/dev/null || sleep 1; done\n"
	" exit 0\n"
	"fi\n"
	"trap '' HUP\n"
	"me=$(process $$) || exit 3; set -- $me; group=$2 start=$3\n"
	"! watched || exit 0\n"
	"printf '%s %s %s\\n' $$ \"$start\" \"$boot\" >\"$dir/alone/pid.$$\" && mv -f \"$dir/alone/pid.$$\" \"$dir/alone/pid\" || exit 3\n";

static const char locking[] =
	"uptime() { read -r up rest </proc/uptime; up=${up%%.*}; }\n"
	"pulse() { cat \"$dir/renewed\" \"$dir/lock\" 2>/dev/null; }\n"
	"mine() { case $(cat \"$dir/lock\" 2>/dev/null) in *\"\\\"token\\\":\\\"$token\\\"\"*) return 0;; esac; return 1; }\n"
	/* Neither disarmed, nor decided, nor another deployment's lock. */
	"armed() {\n"
	" [ \"$(cat \"$dir/armed\" 2>/dev/null)\" = \"$token\" ] || return 1\n"
	" lock=$(cat \"$dir/lock\" 2>/dev/null) || return 1\n"
	" case $lock in *'\"mark\":\"'*) return 1;; *\"\\\"deployment\\\":\\\"$id\\\"\"*) ;; *) return 1;; esac\n"
	" case $(cat \"$dir/mark\" 2>/dev/null) in \"committed $id\"|\"undone $id\") return 1;; esac\n"
	"}\n"
	"note() { printf '%s %s %s\\n- - -\\n' \"$start\" \"${boot:--}\" \"$group\" >\"$dir/pids/$$\"; }\n"
	"leave() { rm -f \"$dir/pids/$$\" \"$dir/alone/lock\"; exit 0; }\n"
	"flush() { sync -f \"$@\" 2>/dev/null || sync; }\n"
	"fence() {\n"
	" bad=0\n"
	" for f in \"$dir\"/pids/*; do\n"
	"  c=${f##*/}; case $c in *[!0-9]*|$$) continue;; esac; [ -f \"$f\" ] || continue\n"
	"  a= b= r= m= u= i= w=; { IFS=' ' read -r a b r; IFS=' ' read -r m u i w; } <\"$f\"\n"
	"  case $b in ''|-|\"$boot\") if [ -n \"$a\" ]; then\n"
	"   case $u in ''|-*) ;; *) sudo -n -u \"$u\" -- /bin/sh -c \"$end\" sh \"$c\" \"$a\" \"${r:-0}\" \"${m:--}\" \"${i:--}\" 0 mine </dev/null;; esac\n"
	"   /bin/sh -c \"$end\" sh \"$c\" \"$a\" \"${r:-0}\" \"${m:--}\" \"${i:--}\" 0 all \"${w:-0}\" </dev/null || { bad=1; continue; }\n"
	"  fi;; esac; rm -f -- \"$f\"\n"
	" done; return $bad\n"
	"}\n";

static const char looking[] =
	"sum() { { sha256sum || openssl dgst -sha256 -r; } <\"$1\" 2>/dev/null | { IFS=' ' read -r s r; echo \"$s\"; }; }\n"
	"look() {\n"
	" T=absent M= O= G= ON= GN= L=\n"
	" if [ -L \"$1\" ]; then T=link; L=$(readlink -n -- \"$1\"; printf x); L=${L%x}; return 0; fi\n"
	" [ -e \"$1\" ] || return 0\n"
	" if [ -d \"$1\" ]; then T=dir; elif [ -f \"$1\" ]; then T=file; else T=other; fi\n"
	" s=$(stat -c '%a/%u/%g/%U/%G' -- \"$1\") || return 1\n"
	" M=${s%%/*} s=${s#*/}; O=${s%%/*} s=${s#*/}; G=${s%%/*} s=${s#*/}; ON=${s%%/*} GN=${s#*/}\n"
	"}\n"
	"owned() { [ -z \"$1\" ] || [ \"$O\" = \"$1\" ] || [ \"$ON\" = \"$1\" ]; }\n"
	"grouped() { [ -z \"$1\" ] || [ \"$G\" = \"$1\" ] || [ \"$GN\" = \"$1\" ]; }\n"
	"moded() { [ -z \"$1\" ] || [ \"$M\" = \"$1\" ]; }\n"
	"same() {\n"
	" [ \"$T\" = \"$1\" ] || return 1\n"
	" case $T in absent|other) return 0;; link) [ \"$L\" = \"$5\" ]; return;; esac\n"
	" moded \"$2\" && owned \"$3\" && grouped \"$4\" || return 1\n"
	" [ $T = dir ] || [ -z \"$5\" ] || [ \"$D\" = \"$5\" ]\n"
	"}\n"
	/* A directory of which each attribute is as before or as after: an interrupted change. */
	"between() {\n"
	" [ $T = dir ] && [ \"$6\" = dir ] || return 1\n"
	" [ \"$1\" = dir ] || return 0\n"
	" { moded \"$2\" || { [ -n \"$7\" ] && moded \"$7\"; }; } && { owned \"$3\" || { [ -n \"$8\" ] && owned \"$8\"; }; } &&\n"
	"  { grouped \"$4\" || { [ -n \"$9\" ] && grouped \"$9\"; }; }\n"
	"}\n";

static const char going_back[] =
	"lefts=0\n"
	"left() {\n"
	" echo \"left $1\" >>\"$dir/alone/saying\"\n"
	" [ -z \"$2\" ] || { lefts=$((lefts+1)); eval \"left_$lefts=\\$2\"; }\n"
	"}\n"
	"blocked() {\n"
	" k=0; while [ $k -lt $lefts ]; do k=$((k+1)); eval \"s=\\$left_$k\"\n"
	"  case $1/ in \"$s\"/*) return 0;; esac; case $s/ in \"$1\"/*) return 0;; esac\n"
	" done; return 1\n"
	"}\n"
	"undone() { printf '\\n{\"format\":1,\"id\":%s,\"state\":\"undone\"}\\n' \"$1\" >>\"$dir/changes.jsonl\"; }\n"
	"dress() {\n"
	" set -- \"$1\" \"$2\" $(stat -c '%u:%g %a' -- \"$2\") && [ $# = 4 ] || return 1\n"
	" [ \"$3\" = \"$(stat -c %u:%g -- \"$1\")\" ] || chown \"$3\" \"$1\" || return 1\n"
	" ! command -v setfacl >/dev/null 2>&1 || { getfacl -p -- \"$2\" | setfacl --set-file=- -- \"$1\"; } 2>/dev/null ||\n"
	"  [ \"$(ls -ld -- \"$2\" | cut -c 11)\" != + ] || return 1\n"
	" chmod \"0000$4\" \"$1\" && touch -c -m -r \"$2\" \"$1\"\n"
	"}\n"
	"directory() {\n"
	" [ $T = dir ] || mkdir -- \"$Y\" || return 1\n"
	" [ -z \"$3$4\" ] || chown \"$3${4:+:$4}\" \"$Y\" || return 1\n"
	" [ -z \"$2\" ] || chmod \"0000$2\" \"$Y\" || return 1\n"
	" [ ! -d \"$dir/undo/$I\" ] || dress \"$Y\" \"$dir/undo/$I\"\n"
	"}\n"
	"put_back() {\n"
	" case $1 in\n"
	" absent) if [ $T = dir ]; then rmdir -- \"$Y\"; else rm -f -- \"$Y\"; fi;;\n"
	" file) rm -rf -- \"$Z\"; cp -a -- \"$dir/undo/$I\" \"$Z\" && flush \"$Z\" && mv -fT -- \"$Z\" \"$Y\" || { rm -rf -- \"$Z\"; return 1; };;\n"
	" link) rm -f -- \"$Z\"; ln -s -- \"$5\" \"$Z\" && mv -fT -- \"$Z\" \"$Y\" || { rm -f -- \"$Z\"; return 1; };;\n"
	" dir) directory \"$@\";;\n"
	" *) return 1;;\n"
	" esac\n"
	"}\n"
	"restore() {\n"
	" mine || exit 0\n"
	" I=$1 Y=$2 Z=$3 D=; shift 3; was=$5 is=${10}\n"
	" if blocked \"$Y\"; then left \"$I\" \"$Y\"; return; fi\n"
	/* Of a secret file the digests lie beside what it held: without them it was never begun. */
	" case $6/$is in file/+) [ -f \"$dir/undo/$I.after\" ] || return 0; is=$(cat \"$dir/undo/$I.after\");; esac\n"
	" case $1/$was in file/+) [ -f \"$dir/undo/$I\" ] || return 0; was=$(sum \"$dir/undo/$I\");; esac\n"
	" look \"$Y\" || { left \"$I\" \"$Y\"; return; }\n"
	" [ $T != file ] || [ -z \"$was$is\" ] || D=$(sum \"$Y\")\n"
	" ! same \"$1\" \"$2\" \"$3\" \"$4\" \"$was\" || return 0\n"
	" same \"$6\" \"$7\" \"$8\" \"$9\" \"$is\" || between \"$@\" || { left \"$I\" \"$Y\"; return; }\n"
	" put_back \"$@\" || { left \"$I\" \"$Y\"; return; }\n"
	" undone \"$I\"\n"
	"}\n"
	"back() {\n"
	" mine || exit 0\n"
	" if blocked \"$2\" || blocked \"$3\"; then left \"$1\" \"$2\"; return; fi\n"
	" look \"$2\"; here=$T; look \"$3\"\n"
	" case $here/$T in */absent) [ $here != absent ] || left \"$1\" \"$2\"; return;; absent/*) ;; *) left \"$1\" \"$2\"; return;; esac\n"
	" mv -T -- \"$3\" \"$2\" || { left \"$1\" \"$2\"; return; }\n"
	" undone \"$1\"\n"
	"}\n"
	"stays() { left \"$1\" \"$2\"; }\n"
	/* DIRECTORY SECONDS WORD…: its output is nobody's, and it ends in time. */
	"timed() {\n"
	" mine || exit 0\n"
	" cd -- \"$1\" || return 1; most=$2; shift 2\n"
	" (if [ -n \"$locale\" ]; then LC_ALL=$locale; else unset LC_ALL; fi; exec \"$@\") </dev/null >/dev/null 2>&1 &\n"
	" child=$!; cd /; uptime; limit=$((up+most))\n"
	" while now=$(process $child); do\n"
	"  uptime; [ $up -le $limit ] || { /bin/sh -c \"$end\" sh $child \"${now##* }\" 0 - - 0 all </dev/null; break; }\n"
	"  sleep 0.1 2>/dev/null || sleep 1\n"
	" done; wait $child\n"
	"}\n"
	"undo() {\n"
	" number=$1; shift\n"
	" grep -qF \"{\\\"format\\\":1,\\\"id\\\":$number,\\\"state\\\":\\\"started\\\"\" \"$dir/changes.jsonl\" 2>/dev/null || return 0\n"
	" timed \"$@\" && undone \"$number\" || left \"$number\" ''\n"
	"}\n"
	"after() { shift; export DAVIT_FORMER_RELEASE=\"$former\"; timed \"$@\" || left 0 ''; unset DAVIT_FORMER_RELEASE; }\n"
	"say() { flush \"$dir/alone/saying\"; cp \"$dir/alone/saying\" \"$dir/alone/said.new\" && flush \"$dir/alone/said.new\" && mv -f \"$dir/alone/said.new\" \"$dir/alone/said\"; flush \"$dir/alone\"; }\n";

/* A time that the target slept does not count. */
static const char watching[] =
	"fire() {\n"
	" note || return 1\n"
	" [ \"$(pulse)\" = \"$seen\" ] && armed || { rm -f \"$dir/pids/$$\"; return 1; }\n"
	/* Whoever gives the lock back removes what lies beside it: another deployment's lock is never replaced. */
	" sed \"s/\\\"token\\\":\\\"[^\\\"]*\\\"/\\\"token\\\":\\\"$token\\\"/\" \"$dir/lock\" >\"$dir/alone/lock\" && grep -qF \"\\\"deployment\\\":\\\"$id\\\"\" \"$dir/alone/lock\" &&\n"
	"  flush \"$dir/alone/lock\" && mv -f \"$dir/alone/lock\" \"$dir/lock\" || { rm -f \"$dir/pids/$$\"; return 1; }\n"
	" mine || leave; until fence; do mine || leave; sleep \"$period\"; done\n"
	" flush \"$dir\"; mine && armed || leave\n"
	" echo \"went $(date +%s)\" >\"$dir/alone/saying\"; say\n"
	" any=; set --\n"
	" for f in \"$dir\"/alone/c-*; do [ ! -f \"$f\" ] || { any=1; set -- \"$f\" \"$@\"; }; done\n"
	" for f do . \"$f\"; done\n"
	" sync\n"
	" [ -z \"$any\" ] || for f in \"$dir\"/alone/a-*; do [ ! -f \"$f\" ] || . \"$f\"; done\n"
	" sync; mine || exit 0; echo ended >>\"$dir/alone/saying\"; say; leave\n"
	"}\n"
	"uptime; last=$up still=0 seen=\n"
	"while :; do\n"
	" sleep \"$period\"; armed || exit 0\n"
	" uptime; gone=$((up-last)) last=$up; [ $gone -le $((2*period)) ] || gone=$((2*period))\n"
	" now=$(pulse)\n"
	" if [ \"$now\" = \"$seen\" ]; then still=$((still+gone)); else seen=$now still=0; fi\n"
	" [ $still -lt $after ] || fire || { seen= still=0; }\n"
	"done\n";
/* clang-format on */

static void assign(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s=", name);
	str_append_shell(out, value);
	str_append_c(out, '\n');
}

void alone_program_text(const struct alone_program *p, struct str *out)
{
	int64_t after = (p->after_ms + 999) / 1000, period = after / 10;
	str_append(out, "#!/bin/sh\n# davit: goes back by itself when nobody renews the lock beside it any more.\n");
	assign(out, "dir", p->lock_dir);
	assign(out, "id", p->deployment);
	assign(out, "token", p->token);
	str_appendf(out, "after=%" PRId64 " period=%" PRId64 "\n", after,
	            MIN(MAX(period, (int64_t)1), (int64_t)LONGEST_PERIOD_S));
	assign(out, "end", command_end_script);
	str_append(out, finding);
	str_append(out, locking);
	str_append(out, looking);
	str_append(out, going_back);
	str_append(out, watching);
}
