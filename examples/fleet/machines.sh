# machines.sh: the two machines of the example, the database and the forge that they share, and what is looked at.
# shellcheck shell=bash disable=SC2154

# ---- the second machine ---------------------------------------------------------------------------------------------------
apart='' near=127.0.0.1 holder=
make_second_machine() {   # sets near (where this machine is reached), apart (not empty: by a network of its own)
  local why='it needs root' pair
  if [ "$(id -u)" = 0 ] && why=$(unshare --net --uts true 2>&1); then
    say "A second machine: a network and a host's name of its own"
    unshare --net --uts sh -c 'hostname box-b && exec sleep 1000000' &
    holder=$!
    pids+=("$holder")
    wait_for 10 "the second machine" second_machine_is_there
    pair=$((RANDOM % 16384))
    near=10.214.$((pair >> 6)).$(((pair & 63) * 4 + 1)) link=dvf$pair
    ip link add name "$link" type veth peer name far netns "$holder"
    ip address add "$near/30" dev "$link"
    ip link set "$link" up
    inside ip link set lo up
    inside ip address add "${near%.*}.$((${near##*.} + 1))/30" dev far
    inside ip link set far up
    apart=yes
    echo "box-b reaches this machine as $near"
  else
    say "A second state directory, which stands for the second machine: there are no network namespaces here ($why)"
  fi
}
second_machine_is_there() { [ "$(nsenter --target "$holder" --uts hostname)" = box-b ]; }
inside() { nsenter --target "$holder" --net --uts -- "$@"; }
on_box_a() { DAVIT_STATE=$work/box-a/state "$@"; }

start_on_box_a() {   # sets agent_a, its process
  say "box-a: an agent"
  DAVIT_STATE=$work/box-a/state "$davit" agent run --slots 2 >"$work/agent.log" 2>&1 &
  agent_a=$!
  pids+=("$agent_a")
}
start_on_box_b() {   # sets agent_b
  say "box-b: an agent"
  if [ -n "$apart" ]; then
    DAVIT_STATE=$work/box-b/state nsenter --target "$holder" --net --uts -- "$davit" agent run --slots 2 >"$work/box-b.log" 2>&1 &
  else
    DAVIT_STATE=$work/box-b/state "$davit" agent run --slots 2 >"$work/box-b.log" 2>&1 &
  fi
  agent_b=$!
  pids+=("$agent_b")
}
none_lives() { ! kill -0 "$@" 2>/dev/null; }
# The network goes last. Were it cut first, the database would hold the connection for alive until its keepalives say otherwise, for 25 s.
lose_box_b() {
  local killed=("$agent_b") i child
  for ((i = 0; i < ${#killed[@]}; i++)); do
    for child in $(cat /proc/"${killed[i]}"/task/*/children 2>/dev/null); do killed+=("$child"); done
  done
  kill -9 "${killed[@]}" 2>/dev/null || true
  wait "$agent_b" 2>/dev/null || true
  wait_for 10 "the end of box-b" none_lives "${killed[@]}"
  [ -z "$apart" ] || ip link set "$link" down
}

# ---- what both share --------------------------------------------------------------------------------------------------------
start_database() {   # sets journal_url; TLS and a password, as over any network
  say "PostgreSQL, for the journal of both"
  local programs as=()
  programs=$(dirname "$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")
  [ -x "$programs/initdb" ] || die "postgresql is missing"
  mkdir "$work/pg"
  if [ "$(id -u)" = 0 ]; then
    chown postgres "$work/pg"
    as=(runuser -u postgres --)
  fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=database" -addext "subjectAltName=IP:$near" \
    -keyout "$work/db.key" -out "$work/db.crt" 2>/dev/null
  (cd "$work/pg" && ${as[@]+"${as[@]}"} "$programs/initdb" -D "$work/pg/data" -A trust -U postgres --locale=C.UTF-8 --no-sync) >"$work/pg.log"
  install -m 600 ${as[@]+-o postgres} "$work/db.key" "$work/pg/data/server.key"
  install -m 644 ${as[@]+-o postgres} "$work/db.crt" "$work/pg/data/server.crt"
  printf '%s\n' "local all postgres trust" "hostssl davit davit 0.0.0.0/0 scram-sha-256" >"$work/pg/data/pg_hba.conf"
  local port
  port=$(free_port)
  (cd "$work/pg" && exec ${as[@]+"${as[@]}"} "$programs/postgres" -D "$work/pg/data" -p "$port" -k "$work/pg" -c "listen_addresses=$near" -c ssl=on) \
    >>"$work/pg.log" 2>&1 &
  pids+=($!)
  sql() { "$programs/psql" -XAtqw -h "$work/pg" -p "$port" -U postgres -d postgres; }
  wait_for 30 "the start of PostgreSQL" sql <<<"SELECT 1"
  printf '%s\n' "CREATE ROLE davit LOGIN PASSWORD 'only-for-this-example';" "CREATE DATABASE davit OWNER davit ENCODING 'UTF8' TEMPLATE template0;" | sql
  echo "*:*:*:davit:only-for-this-example" >"$work/pgpass"
  chmod 600 "$work/pgpass"
  journal_url="postgresql://davit@$near:$port/davit?passfile=$work/pgpass&sslrootcert=$work/db.crt"
  echo "listening on $near:$port"
}
start_hub() {   # start_hub FORK OWNER/NAME…: sets forge; each repository has the example's files
  say "davit forge: GitHub, with $# repositories"
  local name options=()
  for name; do
    git init -q --bare "$work/git/$name.git"
    options+=(--repo "$name=$work/git/$name.git")
  done
  python3 - "$work/ssh/login_key" "HOST=$near" "SSH_PORT=$ssh_port" "SSH_USER=$user" "HOST_KEY=$host_key" "BASE=$work/server/base" \
    "SHOP_DIR=$work/shop" "MEETING=$work/meeting" >"$work/secrets.json" <<'END'
import json, sys
with open(sys.argv[1], encoding="ascii") as f:
    key = f.read()
json.dump({"*": {"secrets": {"LOGIN_KEY": key}, "vars": dict(variable.split("=", 1) for variable in sys.argv[2:])}}, sys.stdout)
END
  chmod 600 "$work/secrets.json"
  "$davit" forge --listen "$near:0" ${apart:+--allow-remote} --port-file "$work/forge.port" --secrets "$work/secrets.json" "${options[@]}" \
    >"$work/forge.log" 2>&1 &
  pids+=($!)
  wait_for 10 "the start of the forge" test -s "$work/forge.port"
  forge=http://$near:$(cat "$work/forge.port")
  for name; do
    mkdir -p "$work/$name"
    cp -r "$here/examples/fleet/site/." "$work/$name"
    git -C "$work/$name" init -q
    git -C "$work/$name" remote add origin "$forge/$name.git"
    commit "$name" "the first commit"
  done
}
commit() {   # commit OWNER/NAME SUBJECT
  git -C "$work/$1" add -A
  git -C "$work/$1" commit -q -m "$2"
  git -C "$work/$1" push -q origin HEAD:main
  echo "pushed to $1: $2"
}
join() {   # join MACHINE [KEY]: the journal, and a registration for each repository
  local name=$1 state=$work/$1/state repository token
  say "$name: the shared journal, and three registrations"
  mkdir -p "$work/$name"
  DAVIT_STATE=$state "$davit" journal use "$journal_url" ${2:+--key "$2"}
  (umask 077 && DAVIT_STATE=$state "$davit" journal key >"$work/$name/key")
  for repository in "${repositories[@]}"; do
    token=$(as_admin POST "/api/v3/repos/$repository/actions/runners/registration-token" | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
    DAVIT_STATE=$state ACTIONS_RUNNER_INPUT_TOKEN=$token "$davit" agent configure --unattended --url "$forge/$repository" --name "$name" --labels "$name" \
      --work "$work/$name/work"
  done
}

# ---- what is asked of the forge ---------------------------------------------------------------------------------------------
as_admin() {   # as_admin METHOD PATH [BODY]
  python3 -c 'import sys, urllib.request
method, url, body = sys.argv[1:]
request = urllib.request.Request(url, method=method, data=body.encode() or None, headers={"Authorization": "Bearer admin", "Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).read().decode(), end="")' "$1" "$forge$2" "${3:-}"
}
dispatch() { as_admin POST "/api/v3/repos/$1/actions/workflows/$2/dispatches" "{\"ref\": \"main\", \"inputs\": {${3:-}}}"; }
jobs_ended() { get "$forge/runs?logs=0" | python3 -c 'import json, sys
jobs = [job for run in json.load(sys.stdin) for job in run["jobs"]]
sys.exit(sum(job["status"] == "completed" for job in jobs) < int(sys.argv[1]))' "$1"; }
all_poll() { get "$forge/_forge/runners" | python3 -c 'import json, sys
sys.exit(sum(runner["polling"] for runner in json.load(sys.stdin)) < int(sys.argv[1]))' "$1"; }
spread() { get "$forge/runs?logs=0" | python3 -c 'import collections, json, sys
jobs = [job for run in json.load(sys.stdin) for job in run["jobs"]]
assert all(job["conclusion"] == "success" for job in jobs), jobs
count = collections.Counter(job["runner"] for job in jobs)
print("\n".join(f"{name} took {number} of {len(jobs)} jobs" for name, number in sorted(count.items())))
assert set(count) == {"box-a", "box-b"}, count'; }
requests() { get "$forge/_forge/requests" | python3 -c 'import json, sys
for one in json.load(sys.stdin):
    print(one["method"], one["path"], one["status"])'; }
refusal() { get "$forge/runs" | python3 -c 'import json, sys
(job,) = [run for run in json.load(sys.stdin) if run["event"] == "pull_request"][0]["jobs"]
print("job", job["name"] + ":", job["conclusion"])
print("\n".join("  " + note["message"] for note in job["annotations"]))
assert job["conclusion"] == "failure" and "(forks)" in json.dumps(job), job'; }
fork_with_a_gift() {
  local clone=$work/mallory/shop
  git -C "$clone" fetch -q "$forge/acme/shop.git" main
  git -C "$clone" checkout -q -B gift FETCH_HEAD
  echo 'echo "all your keys are mine"' >>"$clone/app/warm-up"
  git -C "$clone" commit -qam "a gift"
  git -C "$clone" push -q origin gift
}
pull_request_of_fork() {
  as_admin POST /api/v3/repos/acme/shop/pulls '{"title": "a gift", "head": "mallory:gift", "base": "main"}' >/dev/null
  echo "mallory opened a pull request"
}

# ---- what is looked at ------------------------------------------------------------------------------------------------------
serves() {
  local version
  version=$(cat "$work/shop/current/VERSION")
  echo "the shop is ${green}$version${plain}"
  [ "$version" = "$1" ] || die "it should be $1"
}
settled() {   # settled PID: sets settled, the memory of its own in KiB once that is the same for two seconds
  local last='' since=$SECONDS end=$((SECONDS + 30))
  settled=
  until [ -n "$settled" ]; do
    local now
    now=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status")
    [ "$now" = "$last" ] || { last=$now since=$SECONDS; }
    [ $((SECONDS - since)) -lt 2 ] || settled=$now
    [ $SECONDS -lt $end ] || die "the memory does not settle"
    read -rt 0.1 <> <(:) || true
  done
}
show_page() {
  local browser page=$work/page.html
  DAVIT_STATE=$work/box-a/state "$davit" agent page --listen 127.0.0.1:0 --port-file "$work/page.port" >"$work/page.log" &
  pids+=($!)
  wait_for 10 "the page" test -s "$work/page.port"
  local url
  url=http://127.0.0.1:$(cat "$work/page.port")/
  browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
  if [ -n "$browser" ]; then
    HOME=$work timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "--user-data-dir=$work/browser" --dump-dom "$url" \
      >"$page" 2>"$work/browser.log"
    echo "as $(basename "$browser") shows it:"
  else
    get "$url" >"$page"
    echo "(there is no Chromium here: the page as it is fetched)"
  fi
  python3 - "$page" "${repositories[@]}" <<'END'
import html.parser, sys
class Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.lines, self.silent = [""], 0
    def handle_starttag(self, tag, _):
        self.silent += tag in ("style", "title", "svg")
        if tag in ("tr", "p", "h1", "h2", "h3", "section", "li", "div"):
            self.lines.append("")
    def handle_endtag(self, tag):
        self.silent -= tag in ("style", "title", "svg")
    def handle_data(self, data):
        if not self.silent and data.strip():
            self.lines[-1] += " " + " ".join(data.split())
page = Text()
with open(sys.argv[1], encoding="utf-8") as f:
    page.feed(f.read())
text = "\n".join(line.strip() for line in page.lines if line.strip())
print("\n".join("  " + line for line in text.splitlines()))
for word in (*sys.argv[2:], "What is live", "(forks)", "undone", "committed", "shop"):
    assert word in text, f"the page does not say '{word}'"
END
}
