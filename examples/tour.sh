# tour.sh: what the examples of infrastructure by pull requests share, beside common.sh and engine.sh, which it brings. An example sets `example`
# and `here`, sources this and calls begin_tour, which leaves out what this machine has no program for, and says so.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/examples/common.sh"
. "$here/examples/stack/engine.sh"

missing() { echo "Left out: the Compose stack: $*"; }
may_have_engine() {   # this machine's, or one of its own
  [ -x /usr/bin/busybox ] || { missing "busybox-static is not installed"; return 1; }
  engine_answers && return 0
  PATH=$PATH:/usr/sbin command -v dockerd >/dev/null || { missing "no Docker engine answers, and dockerd is not installed"; return 1; }
  [ "$(id -u)" = 0 ] || { missing "no Docker engine answers, and starting one of its own needs root"; return 1; }
  unshare --net --mount --propagation unchanged true 2>/dev/null || { missing "no Docker engine answers, and namespaces for one of its own are refused on this machine"; return 1; }
}

parts=() sshd_lines=()
begin_tour() {   # begin_tour PART…: of `compose` and `terraform`, those that this machine has are in parts; sets project
  local part
  if [ -z "${TOUR_ENGINE:-}" ]; then
    build_davit "$example"
    export DAVIT_BUILD=${bin%/bin} TOUR_ENGINE=no
    if may_have_engine; then
      TOUR_ENGINE=yes
      engine_answers || enter_own_network "$here/examples/$example/run"
    fi
  fi
  bin=$DAVIT_BUILD/bin davit=$DAVIT_BUILD/bin/davit
  begin
  export PATH=$bin:$PATH
  project=davit-$example-$$
  for part in "$@"; do "tour_$part"; done
}
tour_compose() {
  if [ "$TOUR_ENGINE" = yes ] && start_engine; then
    parts+=(compose)
    sshd_lines=("SetEnv DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG")
    mkdir -p "$work/image/usr/bin" "$work/image/html"
    cp /usr/bin/busybox "$work/image/usr/bin/"
    echo "$example" >"$work/image/html/index.html"
    tar -C "$work/image" -c . | docker import -c 'ENV PATH=/usr/bin' -c "$image_command" - "$image" >/dev/null
  fi
}
tour_terraform() {
  if command -v terraform >/dev/null; then
    parts+=(terraform)
  else
    echo "Left out: what terraform manages, since terraform is not installed here."
  fi
}
has_part() { [[ " ${parts[*]-} " == *" $1 "* ]]; }
# What the stacks run: busybox alone, and a page.
image=local/busybox:1 image_command='CMD ["busybox", "httpd", "-f", "-p", "80", "-h", "/html"]'
stop_more() {
  ! has_part compose || { remove_stack "$project-staging"; remove_stack "$project-production"; stop_example; docker rmi "$image" >/dev/null 2>&1; }
  stop_engine
}
stop_example() { :; }   # an example removes here what else it made in the engine
keep_parts() {   # keep_parts FILE [PART…]: the others leave the file
  python3 - "$@" <<'END'
import re, sys
path, *parts = sys.argv[1:]
with open(path, encoding="utf-8") as f:
    text = f.read()
with open(path, "w", encoding="utf-8") as f:
    f.write(re.sub(r"# part: (\w+)\n.*?# end\n", lambda m: m[0] if m[1] in parts else "", text, flags=re.DOTALL))
END
}

# ---- a cloud of stand-ins ----------------------------------------------------------------------------------------------
start_cloud() {   # start_cloud COMMAND…: a program that writes what is known of it to the file that is its first argument
  "$1" "$work/facts" "${@:2}" 2>"$work/cloud.log" &
  pids+=($!)
  wait_for 20 "the start of the stand-ins" test -s "$work/facts"
  control=$(fact control)
}
fact() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/facts" "$1"; }
offer_secrets() {   # offer_secrets NAME…: secrets of the repository, which are facts with the same names in small letters. None of these
  # has an address in it, which would be covered wherever it stands, and refused in a URL.
  more_secrets=$(python3 -c 'import json, sys; f = json.load(open(sys.argv[1])); print(json.dumps({"TARGETS": "", **{n: f[n.lower()] for n in sys.argv[2:]}}))' "$work/facts" "$@")
  export more_secrets
}
looked() {   # looked EXPRESSION: of what they have
  python3 -c 'import json, sys, urllib.request
print(eval(sys.argv[2], json.load(urllib.request.urlopen(sys.argv[1] + "/look", timeout=10))))' "$control" "$1"
}
expect() {   # expect WHAT WANTED SEEN
  echo "$1: $green$3$plain"
  [ "$3" = "$2" ] || die "$1 should be: $2"
}

# ---- pull requests -----------------------------------------------------------------------------------------------------
rest() {   # rest METHOD PATH [BODY]
  python3 -c 'import json, sys, urllib.request as u
method, url, body = sys.argv[1:4]
print(u.urlopen(u.Request(url, method=method, data=body.encode() or None, headers={"Authorization": "Bearer admin", "Content-Type": "application/json",
      "User-Agent": "example"}), timeout=20).read().decode())' "$1" "$forge/api/v3/repos/demo/shop$2" "${3-}"
}
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
site() { git -C "$work/site" "$@"; }
comments=1   # a pull request has one for each file of a deployment
change() {   # change BRANCH EXPECTED SUBJECT: a pull request of what the work tree has now; its number is in $number, its comment is shown
  site switch -qc "$1"
  site commit -qam "$3"
  site push -q origin "$1"
  number=$(rest POST /pulls "{\"title\": \"$3\", \"head\": \"$1\", \"base\": \"main\"}" | member number)
  [ "$(await_run 120 "r['ref'] == 'refs/pull/$number/merge'")" = "$2" ] || { print_last; die "the plan of #$number should have ended as $2"; }
  comment=$(rest GET "/issues/$number/comments" | python3 -c 'import json, sys
comments = json.load(sys.stdin)
print("\n".join(c["body"] for c in comments) if len(comments) == int(sys.argv[1]) else sys.exit(f"there are {len(comments)} comments"))' "$comments") ||
    die "#$number should have so many comments: $comments"
  echo "--- the comment of #$number"
  sed -e '/^<!--/d' -e '/^$/d' <<<"$comment" | cut -c 1-180 | sed -n 1,24p
}
print_last() { get "$forge/runs" | python3 -c 'import json, sys
for job in json.load(sys.stdin)[-1]["jobs"]:
    for step in job["steps"]: print(step["log"][-3000:])'; }
merge() {   # merge NUMBER EXPECTED
  sha=$(rest PUT "/pulls/$1/merge" '{}' | member sha)
  echo "merged #$1 as ${sha:0:12}"
  await_run 240 "r['sha'] == '$sha'" >/dev/null || die "the deployment of #$1 did not end in time"
  print_run "$sha" "$2" || die "the deployment of #$1 should have ended as $2"
  site fetch -q origin main
  site switch -q main
  site reset -q --hard origin/main
}
dispatch() {   # dispatch INPUTS EXPECTED: production.yml by hand, with these inputs as JSON
  rest POST /actions/workflows/production.yml/dispatches "{\"ref\": \"main\", \"inputs\": $1}" >/dev/null
  [ "$(await_run 240 "r['event'] == 'workflow_dispatch'")" = "$2" ] || { print_last; die "the promotion should have ended as $2"; }
  echo "production.yml with $1: $2"
}
by_hand() {   # by_hand FILE EXPECTED [OPTION…]: davit deploy of the work tree, to staging unless another input says so, with the repository's secrets and `vars`
  local file=$1 expected=$2 ended=success
  shift 2
  (umask 077 && python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["demo/shop"]["secrets"]))' "$work/secrets.json" >"$work/secrets-by-hand.json")
  (cd "$work/site" && "$davit" deploy "$file" --secrets "$work/secrets-by-hand.json" --input environment=staging "${vars[@]/#/--var=}" "$@" >"$work/by-hand.log" 2>&1) ||
    ended=failure
  [ "$ended" = "$expected" ] || { cat "$work/by-hand.log"; die "davit deploy $file $* should have ended as $expected"; }
}
set_variables() {   # set_variables ENVIRONMENT NAME VALUE…: of that environment
  python3 -c 'import json, sys, urllib.request as u
url, environment, *words = sys.argv[1:]
body = {"repository": "demo/shop", "environment": environment, "vars": dict(zip(words[::2], words[1::2]))}
u.urlopen(u.Request(url, method="PUT", data=json.dumps(body).encode(), headers={"Authorization": "Bearer admin", "Content-Type": "application/json"}), timeout=20)
' "$forge/_forge/secrets" "$@"
}
