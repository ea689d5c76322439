#include "steps/sources/postgres_priv.h"

/* Inside a container only PG… variables count, and only by name: a value never stands in a command line. */
#define BEGIN_SCRIPT                                                                                                                  \
	"set -eu; umask 077; trap '' PIPE\n"                                                                                          \
	"service() {\n"                                                                                                               \
	"  ids=$(docker ps -q --no-trunc --filter \"label=com.docker.compose.project=${DAVIT_SERVICE%%/*}\""                          \
	" --filter \"label=com.docker.compose.service=${DAVIT_SERVICE#*/}\")\n"                                                       \
	"  set -- $ids\n"                                                                                                             \
	"  [ $# -le 1 ] || { echo \"error: $# containers run for $DAVIT_SERVICE: name one with container\" >&2; exit 1; }\n"          \
	"  DAVIT_CONTAINER=${1-}\n"                                                                                                   \
	"}\n"                                                                                                                         \
	"pg() {\n"                                                                                                                    \
	"  p=$DAVIT_PROGRAMS$1; shift\n"                                                                                              \
	"  if [ -n \"$DAVIT_CONTAINER\" ]; then docker exec -i $DAVIT_PASS \"$DAVIT_CONTAINER\" \"$p\" \"$@\"\n"                      \
	"  elif [ -n \"$DAVIT_USER\" ]; then runuser -u \"$DAVIT_USER\" -- \"$p\" \"$@\"\n"                                           \
	"  else \"$p\" \"$@\"; fi\n"                                                                                                  \
	"}\n"                                                                                                                         \
	"sql() { pg psql -XAtqw -v ON_ERROR_STOP=1 -v db=\"$DAVIT_DB\" -v new=\"$DAVIT_NEW\" -v former=\"$DAVIT_FORMER\" \"$@\"; }\n" \
	"d=$DAVIT_DIR\n"

#define FIND_CONTAINER                                                                                                 \
	"[ -z \"$DAVIT_SERVICE\" ] || service\n"                                                                       \
	"[ -z \"$DAVIT_SERVICE\" ] || [ -n \"$DAVIT_CONTAINER\" ] ||"                                                  \
	" { echo \"error: no container runs for $DAVIT_SERVICE\" >&2; exit 1; }\n"

#define ONLY_CATALOG "SET search_path = pg_catalog;\n"

/* Each table by itself, as it is read by pg_dump: without what inherits from it, and without those that an extension brings. */
#define COUNT                                                                                                                                                                                \
	"count() { cat <<'SQL'\n" ONLY_CATALOG "SELECT format('SELECT count(*), %L FROM ONLY %I.%I',\n"                                                                                      \
	"              translate(format('%I.%I', n.nspname, c.relname), E'\\n\\r', '  '), n.nspname, c.relname)\n"                                                                           \
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"                                                                                                                    \
	"WHERE c.relkind = 'r' AND c.relpersistence <> 't'\n"                                                                                                                                \
	"  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'\n"                                                                                  \
	"  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')\n"                                                        \
	"ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\" \\gexec\n"                                                                                                                \
	"SELECT count(*), 'large objects' FROM pg_largeobject_metadata;\n"                                                                                                                   \
	"SQL\n"                                                                                                                                                                              \
	"}\n"                                                                                                                                                                                \
	"compare() {\n"                                                                                                                                                                      \
	"  count | sql -d \"$DAVIT_NEW\" >\"$d/now\"\n"                                                                                                                                      \
	"  cmp -s \"$d/counts\" \"$d/now\" && { rm -f \"$d/now\"; return 0; }\n"                                                                                                             \
	"  lost=$(awk -F'|' 'NR == FNR { now[$2] = $1; next } now[$2] != $1 { print \"table \" $2 \" had \" $1 \" rows, restored it has \" now[$2] + 0; exit }' \"$d/now\" \"$d/counts\")\n" \
	"  rm -f \"$d/now\"; echo \"error: ${lost:-the restored database has more tables}\" >&2; exit 1\n"                                                                                   \
	"}\n"

/* The server's own workers are its own to end, which it does for whoever renames or drops the database. */
#define DROP_NEW                                                                                                                                           \
	"drop_new() { sql -d \"$DAVIT_MAIN\" >/dev/null <<'SQL'\n" ONLY_CATALOG "SET client_min_messages = error;\n"                                       \
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'new' AND pid <> pg_backend_pid() AND backend_type = 'client backend';\n" \
	"DROP DATABASE IF EXISTS :\"new\";\n"                                                                                                              \
	"SQL\n"                                                                                                                                            \
	"}\n"

/* As the database is now; one that is not there becomes one of the server's defaults. Servers before 15 know fewer columns. */
#define CREATE_NEW                                                                                                     \
	"create_new() { sql -d \"$DAVIT_MAIN\" <<'SQL'\n" ONLY_CATALOG                                                 \
	"SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L',\n"               \
	"              :'new', pg_encoding_to_char(d.encoding), d.datcollate, d.datctype) ||\n"                        \
	"       CASE t.spcname WHEN 'pg_default' THEN '' ELSE format(' TABLESPACE %I', t.spcname) END ||\n"            \
	"       CASE to_jsonb(d)->>'datlocprovider'\n"                                                                 \
	"       WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L',\n"                                          \
	"                            coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'))\n"             \
	"       WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', to_jsonb(d)->>'datlocale')\n"       \
	"       ELSE '' END\n"                                                                                         \
	"FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = :'db' \\gexec\n"         \
	"SELECT format('CREATE DATABASE %I TEMPLATE template0', :'new')\n"                                             \
	"WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname IN (:'db', :'new')) \\gexec\n"                        \
	"SQL\n"                                                                                                        \
	"}\n"

/* What belongs to the database itself is in no dump of its content: owner, limit, settings, privileges, comment. */
#define DRESS_NEW                                                                                                             \
	"dress_new() { sql -d \"$DAVIT_MAIN\" <<'SQL'\n" ONLY_CATALOG                                                         \
	"SELECT format('ALTER DATABASE %I OWNER TO %I', :'new', pg_get_userbyid(datdba)) FROM pg_database\n"                  \
	"WHERE datname = :'db' AND pg_get_userbyid(datdba) <> current_user \\gexec\n"                                         \
	"SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', :'new', datconnlimit) FROM pg_database\n"                     \
	"WHERE datname = :'db' AND datconnlimit >= 0 \\gexec\n"                                                               \
	"SELECT format('ALTER %s SET %I TO %s',\n"                                                                            \
	"              CASE WHEN s.setrole = 0 THEN format('DATABASE %I', :'new')\n"                                          \
	"                   ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), :'new') END,\n"                 \
	"              split_part(one, '=', 1),\n"                                                                            \
	"              CASE WHEN split_part(one, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',\n" \
	"                                                    'session_preload_libraries')\n"                                  \
	"                   THEN coalesce(nullif(substr(one, strpos(one, '=') + 1), '\"\"'), $$''$$)\n"                       \
	"                   ELSE quote_literal(substr(one, strpos(one, '=') + 1)) END)\n"                                     \
	"FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) one\n"          \
	"WHERE d.datname = :'db' \\gexec\n"                                                                                   \
	"SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'new') FROM pg_database\n"                                   \
	"WHERE datname = :'db' AND datacl IS NOT NULL \\gexec\n"                                                              \
	"SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, :'new',\n"                                        \
	"              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,\n"             \
	"              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)\n"                                     \
	"FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a WHERE d.datname = :'db' \\gexec\n"                      \
	"SELECT format('COMMENT ON DATABASE %I IS %L', :'new', shobj_description(oid, 'pg_database')) FROM pg_database\n"     \
	"WHERE datname = :'db' AND shobj_description(oid, 'pg_database') IS NOT NULL \\gexec\n"                               \
	"SQL\n"                                                                                                               \
	"}\n"

/* The name follows from the place of the snapshot: hexadecimal digits. */
#define REPLACED                                                                                                       \
	"replaced() { sql -d \"$DAVIT_MAIN\" -c \"SELECT 1 FROM pg_catalog.pg_database WHERE datname = '$DAVIT_FORMER'\"; }\n"

const char *const postgres_script_look = BEGIN_SCRIPT
	"if [ -n \"$DAVIT_SERVICE\" ]; then service; [ -n \"$DAVIT_CONTAINER\" ] || { echo none; exit 0; }\n"
	"elif [ -n \"$DAVIT_CONTAINER\" ]; then\n"
	"  why=$(docker inspect -f '{{.Id}}' \"$DAVIT_CONTAINER\" 2>&1) || case $why in\n"
	"    *'No such'*|*'no such'*) echo none; exit 0;; *) echo \"$why\" >&2; exit 1;; esac\n"
	"fi\n"
	"tool=$(pg pg_dump --version)\n"
	"there=$(sql -d \"$DAVIT_MAIN\" <<'SQL'\n" ONLY_CATALOG
	"SELECT pg_database_size(d.oid), current_setting('server_version_num'), r.rolsuper OR r.rolcreatedb,\n"
	"       r.rolsuper OR pg_has_role(d.datdba, 'USAGE')\n"
	"FROM pg_database d, pg_roles r WHERE d.datname = :'db' AND r.rolname = current_user;\n"
	"SQL\n"
	")\n"
	"[ -n \"$there\" ] || { echo none; exit 0; }\n"
	"printf '%s|%s\\n' \"$there\" \"$tool\"\n";

/* The counts are taken while the dump runs, by the session that lends it its snapshot: both see the same rows. */
const char *const postgres_script_dump = BEGIN_SCRIPT FIND_CONTAINER COUNT
	"if [ -z \"$DAVIT_PROVE\" ]; then\n"
	"  version=$(sql -d \"$DAVIT_DB\" -c 'SHOW server_version')\n"
	"  pg pg_dump -w -Fc --lock-wait-timeout=\"$DAVIT_LOCK_MS\" \"$DAVIT_DB\" >\"$d/dump\"\n"
	"else\n"
	"  mkfifo \"$d/ask\" \"$d/say\"\n"
	"  sql -d \"$DAVIT_DB\" <\"$d/ask\" >\"$d/say\" 2>\"$d/complaints\" &\n"
	"  holder=$!\n"
	"  exec 3>\"$d/ask\" 4<\"$d/say\"\n"
	"  { echo 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL row_security = off;'\n"
	"    echo \"SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = $DAVIT_LOCK_MS;\"\n"
	"    echo 'SELECT pg_catalog.current_setting($$server_version$$); SELECT pg_catalog.pg_export_snapshot();'; } >&3 || :\n"
	"  { read -r version <&4 && read -r snapshot <&4; } || { wait $holder || :; cat \"$d/complaints\" >&2; exit 1; }\n"
	"  cat <&4 >\"$d/counts\" 3>&- &\n"
	"  reader=$!\n"
	"  count >&3 2>/dev/null || :\n"
	"  ok=1\n"
	"  pg pg_dump -w -Fc --lock-wait-timeout=\"$DAVIT_LOCK_MS\" --snapshot=\"$snapshot\" \"$DAVIT_DB\" >\"$d/dump\" 3>&- 4<&- || ok=\n"
	"  printf 'COMMIT;\\n\\\\q\\n' >&3 2>/dev/null || :\n"
	"  exec 3>&- 4<&-\n"
	"  wait $holder || ok=\n"
	"  wait $reader || ok=\n"
	"  [ -n \"$ok\" ] || { cat \"$d/complaints\" >&2; exit 1; }\n"
	"  rm -f \"$d/ask\" \"$d/say\" \"$d/complaints\"\n"
	"fi\n"
	"pg pg_restore -l <\"$d/dump\" >\"$d/list\"\n"
	/* The list stands in front: only reading all of it finds a dump that was cut off. */
	"[ -n \"$DAVIT_PROVE\" ] || pg pg_restore -f /dev/null <\"$d/dump\"\n"
	"echo \"$version\"; pg pg_dump --version\n";

/* Owners stay where they can: the function of an index is run with the rights of its table's owner. */
const char *const postgres_script_prove = BEGIN_SCRIPT FIND_CONTAINER COUNT DROP_NEW CREATE_NEW
	"drop_new\n"
	"create_new\n"
	"everything=$(sql -d \"$DAVIT_MAIN\" -c \"SELECT pg_catalog.current_setting('is_superuser')\")\n"
	"set --\n"
	"[ \"$everything\" = on ] || set -- --no-owner --no-acl\n"
	"pg pg_restore -w --exit-on-error \"$@\" -d \"$DAVIT_NEW\" <\"$d/dump\"\n"
	"compare\n"
	"drop_new\n";

/* A renamed database lets nobody in by its former name, so the swap is one transaction. The server waits some seconds in it for
 * sessions to end, and holds back those that come meanwhile; those that came before its lock are ended beside it: their client
 * may be one that closes none while another of its sessions is held back. They are known by the number that the database keeps
 * under any name. */
const char *const postgres_script_restore = BEGIN_SCRIPT FIND_CONTAINER COUNT DROP_NEW CREATE_NEW DRESS_NEW REPLACED
	"end_sessions() { sql -d \"$DAVIT_MAIN\" -v old=\"$old\" -v pause=\"$1\" >/dev/null <<'SQL'\n" ONLY_CATALOG
	"SET client_min_messages = error;\n"
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = :'old' AND backend_type = 'client backend';\n"
	"SELECT pg_sleep(:pause);\n"
	"SQL\n"
	"}\n"
	"rename() { sql -d \"$DAVIT_MAIN\" >/dev/null <<'SQL'\n" ONLY_CATALOG "BEGIN;\n"
	"SELECT format('ALTER DATABASE %I RENAME TO %I', :'db', :'former') FROM pg_database WHERE datname = :'db' \\gexec\n"
	"ALTER DATABASE :\"new\" RENAME TO :\"db\";\n"
	"COMMIT;\n"
	"SQL\n"
	"}\n"
	"swap() {\n"
	"  end_sessions 0 || return\n"
	"  rename & renaming=$!\n"
	"  while kill -0 $renaming 2>/dev/null; do end_sessions 0.1 2>/dev/null || :; done\n"
	"  wait $renaming\n"
	"}\n"
	"[ -z \"$(replaced)\" ] || exit 0\n"
	"drop_new\n"
	"create_new\n"
	"dress_new\n"
	"pg pg_restore -w --exit-on-error ${DAVIT_NO_OWNER:+--no-owner --no-acl} -d \"$DAVIT_NEW\" <\"$d/dump\"\n"
	"[ ! -e \"$d/counts\" ] || compare\n"
	"sql -d \"$DAVIT_NEW\" -c ANALYZE\n"
	"old=$(sql -d \"$DAVIT_MAIN\" <<'SQL'\n" ONLY_CATALOG
	"SELECT coalesce((SELECT oid FROM pg_database WHERE datname = :'db'), 0);\n"
	"SQL\n"
	")\n"
	"tries=5\n"
	"until swap; do tries=$((tries - 1)); [ $tries -gt 0 ] || exit 1; done\n";

const char *const postgres_script_replaced = BEGIN_SCRIPT FIND_CONTAINER REPLACED "replaced\n";

const char *const postgres_script_sweep = BEGIN_SCRIPT FIND_CONTAINER DROP_NEW
	"sql -d \"$DAVIT_MAIN\" >/dev/null <<'SQL'\n" ONLY_CATALOG
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity\n"
	"WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid();\n"
	"SQL\n"
	"drop_new\n"
	"DAVIT_NEW=$DAVIT_FORMER\n"
	"drop_new\n";
