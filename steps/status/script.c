/* What runs on the host: one script for any POSIX sh, busybox included, that writes nothing. Each line of its answer begins with a word that
 * says what it is. What can hang (a mount of a server that is gone, an engine) has a time of its own, and comes last. */
#include "steps/status/status.h"

const char status_script[] =
	"LC_ALL=C; export LC_ALL\n"
	"T=; timeout 8 true 2>/dev/null && T='timeout 8'\n"
	"echo \"now $(date +%s)\"\n"
	"[ -r /proc/loadavg ] && read -r x </proc/loadavg && echo \"load $x\"\n"
	"[ -r /proc/uptime ] && read -r x </proc/uptime && echo \"uptime $x\"\n"
	"x=$(nproc 2>/dev/null) || x=$(grep -c '^processor' /proc/cpuinfo 2>/dev/null)\n"
	"[ -n \"$x\" ] && echo \"cpus $x\"\n"
	"[ -r /proc/meminfo ] && sed -n -e 's/^\\(Mem[TA][a-z]*\\): *\\([0-9]*\\) kB$/memory \\1 \\2/p' "
	"-e 's/^\\(Swap[TF][a-z]*\\): *\\([0-9]*\\) kB$/memory \\1 \\2/p' /proc/meminfo\n"
	/* What davit keeps here. */
	"for d in \"$BASE\"/open/*; do\n"
	"  [ -f \"$d/lock\" ] && [ ! -L \"$d/lock\" ] || continue\n"
	"  x=$(stat -c %Y \"$d/renewed\" 2>/dev/null) || x=-\n"
	"  printf 'open %s %s %s\\n' \"${d##*/}\" \"$x\" \"$(head -c 8192 \"$d/lock\" | tr -d '\\n\\000')\"\n"
	"done | head -n 50\n"
	"stat -c 'snapshot %Y %n' \"$BASE\"/snapshots/*/*/*/manifest 2>/dev/null | tail -n 200\n"
	"for d in \"$BASE\"/compose/*; do\n"
	"  x=$(readlink \"$d/current\" 2>/dev/null) && printf 'deployed %s %s\\n' \"${d##*/}\" \"$x\"\n"
	"done | head -n 100\n"
	"$T df -Pk 2>/dev/null | sed -n -e '2,200s/^/disk /p'\n"
	"$T df -Pi 2>/dev/null | sed -n -e '2,200s/^/inodes /p'\n"
	/* The engine. */
	"if command -v docker >/dev/null; then\n"
	"  if x=$($T docker ps --all --quiet --no-trunc 2>&1); then\n"
	"    echo 'docker ok'\n"
	"    x=$(printf '%s\\n' \"$x\" | grep -x '[0-9a-f]\\{64\\}' | head -n 500)\n"
	"    if [ -n \"$x\" ]; then\n"
	"      x=$($T docker inspect --type container --format \"$CONTAINER\" $x 2>&1)\n"
	"      printf '%s\\n' \"$x\" | grep '^container ' ||\n"
	"        printf 'docker failed %s\\n' \"$(printf '%s\\n' \"$x\" | tail -n 1 | head -c 300)\"\n"
	"    fi\n"
	"    i=$(printf '%s\\n' \"$x\" | sed -n -e 's/^image \\(sha256:[0-9a-f]*\\)$/\\1/p' | sort -u)\n"
	"    [ -n \"$i\" ] && $T docker image inspect --format \"$IMAGE\" $i 2>/dev/null\n"
	"    for i in $(printf '%s\\n' \"$x\" |\n"
	"      grep -E '\"(Restarting|OOMKilled)\":true|\"Status\":\"unhealthy\"|\"(restarts|ExitCode)\":[1-9]' |\n"
	"      sed -n -e 's/^container {\"id\":\"\\([0-9a-f]\\{64\\}\\)\".*/\\1/p' | head -n 8); do\n"
	"      $T docker logs --tail 10 \"$i\" 2>&1 | tail -c 8192 | tr -d '\\000' | sed -e \"s/^/log $i /\"\n"
	"      echo\n"
	"    done\n"
	"  else\n"
	"    printf 'docker failed %s\\n' \"$(printf '%s\\n' \"$x\" | tail -n 1 | head -c 300)\"\n"
	"  fi\n"
	"else\n"
	"  echo 'docker none'\n"
	"fi\n"
	"echo end\n";

/* Everything that is not an engine's own is written as JSON, so that it stays on its line. A whole member each: an engine's command takes some
 * as structs and some as maps, in which what is not there ends a template. */
const char status_container_format[] =
	"container {\"id\":{{json .Id}},\"restarts\":{{json .RestartCount}},\"name\":{{json .Name}},\"image\":{{json .Image}},"
	"\"image_name\":{{json .Config.Image}},\"state\":{{json .State}},\"labels\":{{json .Config.Labels}}}\n"
	"image {{.Image}}";

const char status_image_format[] = "digest {\"id\":{{json .Id}},\"digests\":{{json .RepoDigests}}}";
