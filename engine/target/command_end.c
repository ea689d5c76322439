#include "engine/target/command_end.h"

#include "base/core/rand.h"

void command_mark(char mark[COMMAND_MARK_DIGITS + 1])
{
	rand_hex(mark, COMMAND_MARK_DIGITS);
}

/* A process belongs if it is the process itself, is in its group or session, carries its mark, or has a parent that belongs. A child
 * that leaves the session keeps the mark; one that drops its environment keeps its parent, until that one dies: therefore all are
 * stopped first, until no more are found, and only then killed. If a process may not be signalled we wait for it: sudo ends
 * when its command has ended.
 *
 *   look     R: "PID PARENT GROUP SESSION START" of every process, a line each, without zombies
 *   above    A: this shell and its ancestors, which are never ended
 *   marked   F begins with those that carry the mark
 *   add      one round over R: processes that belong are added to F; fails when nothing was added
 *
 * Only files are read in a loop, not started processes. */
/* clang-format off */
const char command_end_script[] =
	"P=$1 T=$2 G=$3 M=$4 I=$5 n=$6 W=$7 w=${8:-0}; [ \"$n\" -gt 0 ] || n=200\n"
	"case $M in *[!0-9a-f]*) M=;; esac; [ ${#M} = 32 ] || M=\n"
	"E='\n'; LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/bin:/bin\n"
	"{ IFS= read -r s </proc/$$/stat; } 2>/dev/null && [ \"$T\" != 0 ] && proc=1 || proc=\n"

	"look() {\n"
	" R=$E; set +f; IFS=$E\n"
	" if [ $proc ]; then\n"
	"  L=$(cat /proc/[0-9]*/stat 2>/dev/null); set -f\n"
	"  for s in $L; do\n"
	"   IFS=' '; p=${s%% *}; set -- ${s##*) }\n"
	"   case $1 in Z|X) continue;; esac\n"
	"   R=\"$R$p $2 $3 $4 ${20}$E\"\n"
	"  done\n"
	" else\n"
	"  now=$(date +%s); L=$(ps -A -o pid= -o ppid= -o pgid= -o stat= -o etime= 2>/dev/null); set -f\n"
	"  for s in $L; do\n"
	"   IFS=' '; set -- $s\n"
	"   case $4 in Z*) continue;; esac\n"
	"   p=$1 pp=$2 g=$3 d=00 a=$5\n"
	"   case $a in *-*) d=${a%%-*} a=${a#*-};; esac\n"
	"   IFS=:; set -- $a; [ $# -gt 2 ] || set -- 00 \"$@\"\n"
	"   R=\"$R$p $pp $g $g $((now-((${d#0}*24+${1#0})*60+${2#0})*60-${3#0}))$E\"\n"
	"  done\n"
	" fi\n"
	" IFS=' '\n"
	"}\n"

	"above() {\n"
	" A=' '; p=$$; while [ \"$p\" -gt 0 ]; do\n"
	"  A=\"$A$p \"; r=${R#*\"$E$p \"}; [ \"$r\" != \"$R\" ] || break; p=${r%% *}\n"
	" done\n"
	"}\n"

	/* A busybox grep may end a line at its first NUL: then each environment is searched by itself. */
	"case $(printf 'a\\0b' | grep -c b) in 1) whole=1;; *) whole=;; esac\n"
	"marked() {\n"
	" F=' '; [ \"$M\" ] && [ $proc ] || return 0\n"
	" set +f; IFS=$E; if [ $whole ]; then set -- $(grep -lsF \"" COMMAND_MARK_NAME "=$M\" /proc/[0-9]*/environ)\n"
	" else c=; for f in /proc/[0-9]*/environ; do\n"
	"  { tr '\\0' '\\n' <$f | grep -qxF \"" COMMAND_MARK_NAME "=$M\"; } 2>/dev/null && c=\"$c $f\"\n"
	" done; IFS=' '; set -- $c; fi; set -f; IFS=' '\n"
	" for f do f=${f#/proc/}; mine ${f%/environ}; done\n"
	"}\n"

	"mine() {\n"
	" case $A$F in *\" $1 \"*) return 1;; esac\n"
	" [ \"$W\" = all ] || kill -0 $1 2>/dev/null || return 1\n"
	" [ $1 -gt 1 ] && F=\"$F$1 \"\n"
	"}\n"

	/* The group's leader is younger than the command: the number was reused, and none of our processes has it. */
	"leader() {\n"
	" g=$G lead=; r=${R#*\"$E$P \"}; [ \"$r\" = \"$R\" ] || { set -- ${r%%\"$E\"*}; [ $g != 0 ] || [ $2 != $P ] || g=$P; }\n"
	" [ $g != 0 ] || return 0\n"
	" r=${R#*\"$E$g \"}; [ \"$r\" != \"$R\" ] || return 0\n"
	" r=${r%%\"$E\"*}; lead=1; [ ${r##* } -le $S ] || g=0\n"
	"}\n"

	"add() {\n"
	" b=$F; IFS=$E; for s in $R; do\n"
	"  IFS=' '; set -- $s\n"
	"  if [ $1 = $P ] && [ $5 -ge $B ] && [ $5 -le $S ]; then mine $1\n"
	"  elif [ $g != 0 ] && { [ $3 = $g ] || [ $4 = $g ]; } && { [ $lead ] || [ $5 -ge $B ]; }; then mine $1\n"
	"  else case $F in *\" $2 \"*) mine $1;; esac\n"
	"  fi\n"
	" done; [ \"$b\" != \"$F\" ]\n"
	"}\n"

	/* B and S: between them lies the start of the process; seconds are rounded. */
	"B=$T S=$T; [ $proc ] || { case $I in ''|*[!0-9]*) exit 0;; esac; B=$((I-3)) S=$((I+3)); }\n"
	/* No SIGINT at first: its owner may have sent one, and a second one tells many programs to drop everything. */
	"case $w in ''|*[!0-9]*) w=0;; ?????*) w=3600;; esac; for told in no yes; do j=$((w*5)); while [ $j -gt 0 ]; do\n"
	" look; above; marked; leader; while add; do :; done; [ \"$F\" != ' ' ] || { j=0 w=0; continue; }\n"
	" [ $told$j != yes$((w*5)) ] || kill -s INT $F 2>/dev/null; j=$((j-1)); sleep 0.2 || { sleep 1; j=$((j-4)); }\n"
	"done; done\n"
	"i=0 none=0 last=; while :; do\n"
	" look; [ $i -gt 0 ] || above; marked; leader; while add; do :; done\n"
	" if [ \"$F\" = ' ' ]; then none=$((none+1)); [ $i -gt 0 ] && [ $none -lt 2 ] || exit 0; i=$((i+1)); continue; fi\n"
	" none=0; [ $i -lt $n ] || { echo \"still running:$F\" >&2; exit 1; }\n"
	" if [ \"$W\" != all ] || [ \"$F\" = \"$last\" ] || [ $((i%8)) = 7 ]; then kill -s KILL $F; last=; sleep 0.05 || sleep 1\n"
	" else kill -s STOP $F; last=$F; fi 2>/dev/null\n"
	" i=$((i+1))\n"
	"done\n";
/* clang-format on */
