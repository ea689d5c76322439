# common.sh: what the examples share. An example sets `example` (its name) and `here` (the top of the checkout) and sources this. It holds
# the build, and the small world that a deployment needs: a throwaway sshd, a forge, an agent, pushes. Everything runs on loopback, below
# the temporary directory $work, which goes away at the end (KEEP=1 keeps it and says where).
# shellcheck shell=bash
cd "$here"
bold='' green='' plain=''
# shellcheck disable=SC2034
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' green=$'\e[32m' plain=$'\e[0m'; fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
die() { echo "$example: $*" >&2; exit 1; }

# build_davit CLASS: installs the packages of that class (cmake/packages.sh), and builds the programs; they are in $bin, and $one is davit as one file.
build_davit() {
  sh cmake/packages.sh "$1"
  bin=${DAVIT_BUILD:+$DAVIT_BUILD/bin}
  if [ -z "$bin" ]; then
    say "Building davit (build/quickstart)"
    mkdir -p build
    cmake -S . -B build/quickstart -G Ninja -DCMAKE_BUILD_TYPE=Release -DDAVIT_TESTS=OFF -DDAVIT_ONE_FILE=ON >build/quickstart.log 2>&1 ||
      { cat build/quickstart.log; exit 1; }
    cmake --build build/quickstart
    bin=$here/build/quickstart/bin
  fi
  davit=$bin/davit
  # shellcheck disable=SC2034
  one=${DAVIT_BUILD:+$DAVIT_BUILD/one/davit}
  [ -n "$one" ] || one=$davit
}

# ---- the temporary directory, and what runs while the example does ----------------------------------------------------
pids=()
stop_more() { :; }   # an example stops here what it started beside $pids
clean_up() {
  local status=$?
  set +e
  [ ${#pids[@]} -eq 0 ] || { kill "${pids[@]}" 2>/dev/null; wait "${pids[@]}" 2>/dev/null; }
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    for log in agent forge sshd; do
      [ -s "$work/$log.log" ] && { echo "--- the end of $log.log" >&2; tail -n 30 "$work/$log.log" >&2; }
    done
  fi
  stop_more
  if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
  exit "$status"
}
begin() {
  started=$SECONDS
  work=$(mktemp -d "${TMPDIR:-/tmp}/davit-$example.XXXXXX")
  chmod 755 "$work"
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  export DAVIT_STATE=$work/state GIT_CONFIG_GLOBAL=$work/gitconfig GIT_CONFIG_NOSYSTEM=1
  unset GITHUB_ACTIONS SSH_AUTH_SOCK || true
  git config --global user.name "Quick Start"
  git config --global user.email quickstart@example.invalid
  git config --global init.defaultBranch main
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
get() { python3 -c 'import sys, urllib.request, urllib.error
try: print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end="")
except urllib.error.HTTPError as e: print(e.read().decode(), end="")' "$1"; }
wait_for() {   # wait_for SECONDS WHAT COMMAND…: until COMMAND succeeds
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "$what did not happen in time"
    read -rt 0.1 <> <(:) || true
  done
}

# ---- a server, a forge, an agent --------------------------------------------------------------------------------------
make_keys() {   # sets ssh_port, user, host_key; the login key is $work/ssh/login_key
  ssh_port=$(free_port) user=$(id -un)
  mkdir -p "$work/server/base" "$work/ssh"
  chmod 700 "$work/ssh"
  ssh-keygen -q -t ed25519 -N '' -C host -f "$work/ssh/host_key"
  ssh-keygen -q -t ed25519 -N '' -C login -f "$work/ssh/login_key"
  host_key=$(ssh-keygen -lf "$work/ssh/host_key.pub" | cut -d' ' -f2)
}
start_sshd() {   # start_sshd [LINE…]: further lines of its configuration; sets ssh_port, user, host_key
  say "A throwaway sshd: the server to deploy to"
  make_keys
  cp "$work/ssh/login_key.pub" "$work/ssh/authorized_keys"
  cat >"$work/ssh/config" <<END
Port $ssh_port
ListenAddress 127.0.0.1
HostKey $work/ssh/host_key
PidFile $work/ssh/sshd.pid
AuthorizedKeysFile $work/ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
END
  [ $# -eq 0 ] || printf '%s\n' "$@" >>"$work/ssh/config"
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  /usr/sbin/sshd -D -f "$work/ssh/config" -E "$work/sshd.log" &
  pids+=($!)
  wait_for 10 "the start of sshd" test -s "$work/ssh/sshd.pid"
  echo "listening on 127.0.0.1:$ssh_port, host key $host_key"
}
start_forge() { start_forge_with -- "$@"; }   # start_forge [NAME=VALUE…]: variables of the repository demo/shop; sets forge
start_forge_with() {   # start_forge_with [OPTION…] -- [NAME=VALUE…]: the same, with further options of davit forge; more_secrets: further secrets, as JSON
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  say "davit forge: GitHub on loopback, with the example repository demo/shop"
  git init -q --bare "$work/shop.git"
  python3 - "$work" "$ssh_port" "$user" "$host_key" "$@" >"$work/secrets.json" <<'END'
import json, os, sys
work, ssh_port, user, host_key, *variables = sys.argv[1:]
with open(work + "/ssh/login_key", encoding="ascii") as f:
    key = f.read()
target = {"web": {"ssh": {"host": "127.0.0.1", "port": int(ssh_port), "user": user, "key": key, "host_key": host_key},
                  "base": work + "/server/base"}}
json.dump({"demo/shop": {
    "secrets": {"TARGETS": json.dumps(target), "SMTP_PASSWORD": "correct horse battery staple", "LOGIN_KEY": key,
                **json.loads(os.environ.get("more_secrets", "{}"))},
    "vars": dict(variable.split("=", 1) for variable in variables),
}}, sys.stdout)
END
  chmod 600 "$work/secrets.json"
  "$davit" forge --listen 127.0.0.1:0 --port-file "$work/forge.port" --secrets "$work/secrets.json" \
    --repo "demo/shop=$work/shop.git" ${options[@]+"${options[@]}"} >"$work/forge.log" 2>&1 &
  pids+=($!)
  wait_for 10 "the start of the forge" test -s "$work/forge.port"
  forge=$(head -n 1 "$work/forge.log")
  echo "$forge/demo/shop"
}
start_agent() {   # sets agent, its process
  say "davit agent: registers, and waits for jobs"
  local token
  token=$(python3 -c 'import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], method="POST", headers={"Authorization": "Bearer admin"})
print(json.load(urllib.request.urlopen(request, timeout=10))["token"])' "$forge/api/v3/repos/demo/shop/actions/runners/registration-token")
  ACTIONS_RUNNER_INPUT_TOKEN=$token "$davit" agent configure --unattended --url "$forge/demo/shop" --name "$example" --work "$work/work"
  "$davit" agent run >"$work/agent.log" 2>&1 &
  agent=$!
  pids+=("$agent")
}

# ---- pushes ----------------------------------------------------------------------------------------------------------
begin_repository() {   # begin_repository DIRECTORY: its content becomes the work tree $work/site
  cp -r "$1" "$work/site"
  git -C "$work/site" init -q
  git -C "$work/site" remote add origin "$forge/demo/shop.git"
}
await_run() {   # await_run SECONDS EXPRESSION: until the runs r of which that is true have ended; prints the conclusion of the newest
  python3 -c 'import json, sys, time, urllib.request
url, end, wanted = sys.argv[1], time.monotonic() + float(sys.argv[2]), compile(sys.argv[3], "expression", "eval")
while time.monotonic() < end:
    runs = [r for r in json.load(urllib.request.urlopen(url, timeout=10)) if eval(wanted, {"r": r})]
    if runs and all(r["status"] == "completed" for r in runs):
        print(runs[-1]["conclusion"])
        sys.exit(0)
    time.sleep(0.1)
sys.exit(1)' "$forge/runs" "$1" "$2"
}
print_run() { get "$forge/runs" | python3 -c '
import json, sys
run = [r for r in json.load(sys.stdin) if r["sha"] == sys.argv[1]][0]
for note in run["annotations"]:
    path, line, message = note["path"], note["startLine"], note["message"]
    print(f"{path}:{line}: {message}")
for job in run["jobs"]:
    name, conclusion = job["name"], job["conclusion"]
    print(f"job {name}: {conclusion}")
    for step in job["steps"]:
        number, title, result = step["number"], step["name"], step["conclusion"]
        print(f"  {number:2} {result:10} {title}")
        if result == "failure":
            print("\n".join("     | " + line.split(" ", 1)[-1] for line in step["log"].splitlines()[-12:]))
sys.exit(0 if run["conclusion"] == sys.argv[2] else 1)' "$1" "$2"; }
commit_and_push() {   # commit_and_push SUBJECT: the commit is in $sha
  git -C "$work/site" add -A
  git -C "$work/site" commit -q --allow-empty -m "$1"
  sha=$(git -C "$work/site" rev-parse HEAD)
  git -C "$work/site" push -q origin main
  echo "pushed ${sha:0:12}: $1"
}
push() {   # push SUBJECT EXPECTED
  commit_and_push "$1"
  await_run "${job_seconds:-120}" "r['sha'] == '$sha'" >/dev/null || die "the job did not end in time"
  print_run "$sha" "$2" || die "the job should have ended as $2"
}
nothing_misunderstood() {
  local complaints
  complaints=$(get "$forge/_forge/complaints")
  [ "$complaints" = "[]" ] || die "the forge did not understand everything: $complaints"
}
