/* Networks and volumes of a Docker engine, by the docker command of the target's user. Nothing of them can be changed: another value is a new one in
 * place of the old one. A volume whose data nobody could bring back is never taken for one that was undone. */
#include "steps/machine/machine.h"

/* ARG is DOCKER_HOST; empty: the user's own. An engine that has no such thing is told from one that does not answer. */
#define ENGINE                                                                                                                                                \
	"[ -z \"$ARG\" ] || { DOCKER_HOST=$ARG; export DOCKER_HOST; }\n"                                                                                      \
	"asked() { if ! has docker; then note nodocker yes; say type absent; return 1; fi\n"                                                                  \
	"  said=$(docker \"$@\" 2>/dev/null) && return 0; said=$(docker \"$@\" 2>&1) && return 0; say type absent\n"                                          \
	"  case $said in *[Nn]'o such '*|*'not found'*) ;; *) note noanswer \"$(printf '%s\\n' \"$said\" | tail -n 1 | cut -c 1-300)\";; esac; return 1; }\n" \
	"part() { printf '%s\\n' \"$said\" | cut -d '|' -f \"$1\"; }\n"
#define SUBNET "{{range $i, $c := .IPAM.Config}}{{if not $i}}{{$c.Subnet}}{{end}}{{end}}"
#define PROJECT "{{index .Labels \"com.docker.compose.project\"}}"

/* A name that is the beginning of another one's id finds that: it is not meant. */
static const char look_network[] =
	"ARG=$2\n" ENGINE "if asked network inspect -f '{{.Name}}|{{.Driver}}|{{.Internal}}|" SUBNET "|" PROJECT
	"|{{range .Containers}}{{.Name}} {{end}}' -- \"$1\"; then\n"
	"  if [ \"$(part 1)\" != \"$1\" ]; then say type absent; else\n"
	"    say type network; say driver \"$(part 2)\"; if [ \"$(part 3)\" = true ]; then say internal yes; else say internal no; fi; say subnet \"$(part 4)\"\n"
	"    [ -z \"$(part 5)\" ] || note project \"$(part 5)\"; [ -z \"$(part 6)\" ] || note users \"$(part 6)\"; fi; fi\n";

static const char turn_network[] = ENGINE
	"now() { docker network inspect -f '{{.Name}}|{{.Driver}}|{{.Internal}}|" SUBNET "' -- \"$ID\" 2>/dev/null; }\n"
	"there() { case $(now) in \"$ID|\"*) return 0;; esac; return 1; }\n"
	"internal=false; [ \"$TO_internal\" != yes ] || internal=true\n"
	"is() { n=$(now); case $n in \"$ID|$TO_driver|$internal|\"*) [ -z \"$TO_subnet\" ] || [ \"${n##*|}\" = \"$TO_subnet\" ];; *) return 1;; esac; }\n"
	"if there && { [ \"$TO_type\" = absent ] || ! is; }; then said=$(docker network rm \"$ID\" 2>&1) || ! there || fail \"$said\"; fi\n"
	"if [ \"$TO_type\" != absent ] && ! there; then\n"
	"  set -- --driver \"$TO_driver\"; [ $internal = false ] || set -- \"$@\" --internal; [ -z \"$TO_subnet\" ] || set -- \"$@\" --subnet \"$TO_subnet\"\n"
	"  said=$(docker network create \"$@\" \"$ID\" 2>&1) || fail \"$said\"; fi\n";

static const char look_volume[] =
	"ARG=$2\n" ENGINE "if asked volume inspect -f '{{.Driver}}|{{.CreatedAt}}|" PROJECT
	"|{{.Mountpoint}}' -- \"$1\"; then\n"
	"  say type volume; say driver \"$(part 1)\"; note created \"$(part 2)\"; [ -z \"$(part 3)\" ] || note project \"$(part 3)\"\n"
	"  m=$(part 4); if [ ! -d \"$m\" ] || [ ! -r \"$m\" ] || [ -n \"$(ls -A -- \"$m\" 2>/dev/null)\" ]; then note data yes; fi\n"
	"  users=$(docker ps -a --filter \"volume=$1\" --format '{{.Names}}' 2>/dev/null | tr '\\n' ' '); [ -z \"$users\" ] || note users \"$users\"; fi\n";

/* What was in it is lost with it: a new one is not the old one. */
static const char turn_volume[] = ENGINE
	"there() { docker volume inspect -f '{{.Name}}' \"$ID\" >/dev/null 2>&1; }\n"
	"same() { [ -z \"$NOTE_created\" ] || [ \"$(docker volume inspect -f '{{.CreatedAt}}' \"$ID\")\" = \"$NOTE_created\" ]; }\n"
	"is() { [ \"$(docker volume inspect -f '{{.Driver}}' \"$ID\")\" = \"$TO_driver\" ]; }\n"
	"if [ -n \"$UNDOING\" ]; then [ \"$NOTE_data\" != yes ] || { there && same; } || fail \"the data of the volume $ID are lost for good\"\n"
	"elif there && ! is && ! same; then fail \"somebody made the volume $ID anew\"; fi\n"
	"if there && { [ \"$TO_type\" = absent ] || ! is; }; then said=$(docker volume rm \"$ID\" 2>&1) || ! there || fail \"$said\"; fi\n"
	"[ \"$TO_type\" = absent ] || there || said=$(docker volume create --driver \"$TO_driver\" \"$ID\" 2>&1) || fail \"$said\"\n";

const struct machine_kind machine_network = {
	.change = MACHINE_CHANGE("network"), .look = look_network, .turn = turn_network, .by_anyone = true};
const struct machine_kind machine_volume = {
	.change = MACHINE_CHANGE("volume"), .look = look_volume, .turn = turn_volume, .by_anyone = true};
