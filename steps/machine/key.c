/* A key in a user's authorized_keys, found by its type and its base64, whatever its options and comment are. The user writes the file, not
 * root, and no link is followed: what a user laid into a home must lead root nowhere. */
#include "steps/machine/machine.h"

/* Words end as they do for sshd: at a blank outside quotation marks, of which \" is none. parse() says whether a line has the key. */
#define READ_LINES                                                                                                                              \
	"function past(s,  i, c, q) {\n"                                                                                                        \
	"  for (i = 1; i <= length(s); i++) { c = substr(s, i, 1); if (!q && (c == \" \" || c == \"\\t\")) break\n"                             \
	"    if (c == \"\\\\\" && substr(s, i + 1, 1) == \"\\\"\") i++; else if (c == \"\\\"\") q = !q }\n"                                     \
	"  return i }\n"                                                                                                                        \
	"function take(  i, w) { i = past(left); w = substr(left, 1, i - 1); left = substr(left, i); sub(/^[ \\t]+/, \"\", left); return w }\n" \
	"function parse(line,  w) {\n"                                                                                                          \
	"  left = line; sub(/^[ \\t]+/, \"\", left); if (left ~ /^#/) return 0\n"                                                               \
	"  options = \"\"; w = take(); if (w != ENVIRON[\"TYPE\"]) { options = w; w = take() }\n"                                               \
	"  if (w != ENVIRON[\"TYPE\"]) return 0\n"                                                                                              \
	"  w = take(); comment = left; sub(/[ \\t\\r]+$/, \"\", comment); return w == ENVIRON[\"BLOB\"] }\n"

static const char look[] =
	"user=${1%%:*} h= uid=; e=$(getent passwd \"$user\") && h=$(echo \"$e\" | cut -d: -f6) && uid=$(echo \"$e\" | cut -d: -f3)\n"
	"d=$h/.ssh f=$h/.ssh/authorized_keys; say user \"$user\"\n"
	"[ -n \"$h\" ] && [ -d \"$d\" ] || note no_dir yes\n"
	"link=; for p in \"$d\" \"$f\"; do [ -z \"$h\" ] || [ ! -L \"$p\" ] || link=$p; done; [ -z \"$link\" ] || note link \"$link\"\n"
	"[ ! -e \"$d/.davit-keys\" ] || note part yes\n"
	"if [ -n \"$h\" ] && [ -d \"$h\" ] && [ -z \"$link\" ]; then\n"
	"  set -- \"$1\" \"$2\" $(stat -L -c '%a %u' \"$h\"); [ $((0$3 & 022)) = 0 ] && { [ \"$4\" = 0 ] || [ \"$4\" = \"$uid\" ]; } || note loose \"$h\"\n"
	"  if [ -d \"$d\" ]; then set -- \"$1\" \"$2\" $(stat -c '%a %u' \"$d\"); say dir_mode \"$3\"; [ \"$4\" = \"$uid\" ] || note foreign \"$d\"; fi\n"
	"  if [ -f \"$f\" ]; then set -- \"$1\" \"$2\" $(stat -c '%a %u' \"$f\"); say file_mode \"$3\"; [ \"$4\" = \"$uid\" ] || note foreign \"$f\"; fi\n"
	"fi\n"
	"if [ -n \"$h\" ] && [ -f \"$f\" ] && [ -z \"$link\" ]; then\n"
	"  [ ! -s \"$f\" ] || [ -z \"$(tail -c 1 \"$f\")\" ] || note unended yes\n"
	"  TYPE=${2%% *} BLOB=${2#* } awk '" READ_LINES
	"  function say(name, value) { gsub(/\\t/, \" \", value); printf \"\\t%s=%s\", name, value }\n"
	"  parse($0) { if (!found++) { say(\"type\", \"key\"); say(\"options\", options); say(\"comment\", comment); say(\"+at\", NR); say(\"+line\", $0) } }\n"
	"  END { if (!found) say(\"type\", \"absent\"); if (found > 1) say(\"+twice\", found) }' \"$f\"\n"
	"else [ -n \"$h\" ] && [ -f \"$f\" ] || note no_file yes; say type absent; fi\n";

/* A line that was there before has its bytes and its place again. A file that was not there and is empty again goes, and so does its
 * directory. What did not end with a newline ends so again, but never behind a line of ours: somebody's next one would run into it. */
static const char turn[] =
	"user=${ID%%:*}; h=$(getent passwd \"$user\" | cut -d: -f6); d=$h/.ssh; f=$d/authorized_keys; t=$d/.davit-keys\n"
	"[ -n \"$h\" ] || { [ \"$TO_type\" = absent ] && exit 0; fail \"there is no user $user\"; }\n"
	"[ ! -L \"$d\" ] || fail \"$d is a link\"\n"
	"[ ! -L \"$f\" ] || fail \"$f is a link\"\n"
	"if [ \"$TO_type\" = absent ] && [ ! -f \"$f\" ]; then rm -f \"$t\"; else\n"
	"umask 077; [ -d \"$d\" ] || mkdir \"$d\"\n"
	"rm -f \"$t\"; if [ -f \"$f\" ]; then cp -p \"$f\" \"$t\"; else : >\"$t\"; fi; from=$f; [ -f \"$f\" ] || from=/dev/null\n"
	"TYPE=${ARG%% *} BLOB=${ARG#* } awk '" READ_LINES
	"  function wanted(  o, c, l) { o = ENVIRON[\"TO_options\"]; c = ENVIRON[\"TO_comment\"]; l = ENVIRON[\"NOTE_line\"]\n"
	"    if (l != \"\" && parse(l) && options == o && comment == c) return l\n"
	"    return (o != \"\" ? o \" \" : \"\") ENVIRON[\"TYPE\"] \" \" ENVIRON[\"BLOB\"] (c != \"\" ? \" \" c : \"\") }\n"
	"  function put(line) { lines[++n] = line }\n"
	"  BEGIN { there = ENVIRON[\"TO_type\"] != \"absent\"; at = ENVIRON[\"NOTE_at\"] + 0 }\n"
	"  !parse($0) { put($0); next }\n"
	"  there && !ours { put(wanted()); ours = n }\n"
	"  END { if (there && !ours) { at = at > 0 && at <= n ? at : n + 1; for (i = n++; i >= at; i--) lines[i + 1] = lines[i]; lines[ours = at] = wanted() }\n"
	"    for (i = 1; i <= n; i++) printf \"%s%s\", lines[i], i < n || ours == n || ENVIRON[\"NOTE_unended\"] == \"\" ? \"\\n\" : \"\" }' \"$from\" >\"$t\"\n"
	"[ -z \"$TO_file_mode\" ] || chmod \"$TO_file_mode\" \"$t\"\n"
	"sync \"$t\" 2>/dev/null || sync; mv -f \"$t\" \"$f\"\n"
	"[ -z \"$TO_dir_mode\" ] || chmod \"$TO_dir_mode\" \"$d\"\n"
	"fi\n"
	"if [ \"$TO_type\" = absent ]; then\n"
	"  [ -z \"$NOTE_no_file\" ] || [ -s \"$f\" ] || rm -f \"$f\"\n"
	"  [ -z \"$NOTE_no_dir\" ] || rmdir \"$d\" 2>/dev/null || :\n"
	"fi\n";

const struct machine_kind machine_key = {.change = MACHINE_CHANGE("key"), .look = look, .turn = turn, .by_owner = true};
