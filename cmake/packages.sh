#!/bin/sh
# packages.sh build|run|stack|pipeline|fleet|homelab|scaleway|vps|test|static|image: installs the Debian packages that are missing for building davit, for the
# quickstart, for the examples with a Compose stack, with a whole pipeline, with two machines and of infrastructure, for the tests, or for the static programs and
# the image (packaging/). With sudo when not root. On another distribution it names the packages and stops.
set -eu

build="ca-certificates gcc libc6-dev cmake ninja-build patch pkg-config python3 libcurl4-openssl-dev libjansson-dev libyaml-dev
 libssl-dev libpcre2-dev libsqlite3-dev libpq-dev libgit2-dev libssh2-1-dev libarchive-dev libmicrohttpd-dev zlib1g-dev libcmocka-dev"
run="$build openssh-server openssh-client git procps openssl"
stack="$run nginx-light postgresql-15 python3-psycopg2 busybox-static iptables iproute2 util-linux mount"
test="$stack clang-14 clang-format-14 libclang-rt-14-dev libclang-common-14-dev ccache rsync zstd acl sudo json-schema-test-suite
 e2fsprogs curl sqlite3 nodejs groff-base dpkg-dev file fish tcsh docker-registry passwd tzdata nftables caddy gh git-lfs"
test="$test dnf rpm createrepo-c ufw libfaketime radosgw ceph-mon ceph-osd ceph-common"
pipeline="$run gh busybox-static curl"
static="ca-certificates gcc libc6-dev cmake ninja-build make patch perl pkg-config python3 tcl bison flex bzip2 xz-utils dpkg-dev git curl lld"
case $(uname -m) in
x86_64) static="$static gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
aarch64) static="$static gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;;
esac
image="$static debootstrap"
fleet="$run postgresql-15 iproute2 util-linux"
homelab="$run busybox-static iptables iproute2 util-linux mount"
# A node that is there, of whatever package, is taken, and so is an engine.
if ! command -v npm >/dev/null; then pipeline="$pipeline nodejs npm"; fi
if ! command -v dockerd >/dev/null && [ ! -x /usr/sbin/dockerd ]; then stack="$stack docker.io" homelab="$homelab docker.io" test="$test docker.io"; fi

case "${1:-}" in
build) wanted=$build ;;
run) wanted=$run ;;
stack) wanted=$stack ;;
pipeline) wanted=$pipeline ;;
fleet) wanted=$fleet ;;
homelab | scaleway | vps) wanted=$homelab ;;
test) wanted=$test ;;
static) wanted=$static ;;
image) wanted=$image ;;
*) echo "usage: packages.sh build|run|stack|pipeline|fleet|homelab|scaleway|vps|test|static|image" >&2; exit 2 ;;
esac
wanted=$(echo $wanted)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "This is no Debian. Install what these Debian packages hold, then run this again:" >&2
  echo "  $wanted" >&2
  exit 2
fi

missing=
for package in $wanted; do
  case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
  installed) ;;
  *) missing="$missing $package" ;;
  esac
done

# Debian 12 has no Compose v2; the plugin of Debian 13 needs nothing but libc. Tests that find none skip and say so.
compose=/var/cache/davit-tests/docker-compose
compose_is_there() {
  for dir in "$HOME/.docker/cli-plugins" /usr/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/local/lib/docker/cli-plugins; do
    [ ! -x "$dir/docker-compose" ] || return 0
  done
  [ -x "$compose" ]
}
fetch_compose() {
  dir=$(mktemp -d)
  chmod 755 "$dir"
  mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" >"$dir/sources.list"
  printf '%s\n' "Dir::Etc::sourcelist \"$dir/sources.list\";" 'Dir::Etc::sourceparts "/dev/null";' "Dir::State::lists \"$dir/lists\";" \
    "Dir::Cache \"$dir/cache\";" "Dir::Cache::archives \"$dir/cache/archives\";" 'APT::Get::List-Cleanup "0";' 'APT::Sandbox::User "root";' \
    >"$dir/apt.conf"
  (cd "$dir" && export APT_CONFIG="$dir/apt.conf" && apt-get -qq update && apt-get -qq download docker-compose && dpkg -x docker-compose_*.deb x) >&2 &&
    $as_root mkdir -p "${compose%/*}" && $as_root cp "$dir/x/usr/libexec/docker/cli-plugins/docker-compose" "$compose" ||
    echo "Compose v2 cannot be fetched: what needs it will be skipped" >&2
  rm -rf "$dir"
}
# GitHub's own implementation of expressions, which ours is compared with. It is one archive without dependencies.
expressions=/var/cache/davit-tests/actions-expressions
fetch_expressions() {
  dir=$(mktemp -d)
  curl -fsSL --max-time 60 -o "$dir/package.tgz" https://registry.npmjs.org/@actions/expressions/-/expressions-0.3.61.tgz &&
    echo "a09137eed52067f4369a5fdff1e2beb3663a1e9388a4709a414ada2dd44c82cd  $dir/package.tgz" | sha256sum -c --quiet >&2 &&
    tar -xzf "$dir/package.tgz" -C "$dir" && $as_root mkdir -p "${expressions%/*}" && $as_root cp -r "$dir/package" "$expressions" ||
    echo "@actions/expressions cannot be fetched: the comparison with it will be skipped" >&2
  rm -rf "$dir"
}
# Packages of npm into a directory, as a node_modules; standard input names each with its archive and digest.
fetch_modules() {
  dir=$(mktemp -d)
  while read -r name archive digest; do
    curl -fsSL --max-time 60 -o "$dir/package.tgz" "https://registry.npmjs.org/$name/-/$archive.tgz" && echo "$digest  $dir/package.tgz" | sha256sum -c --quiet >&2 &&
      mkdir -p "$dir/node_modules/$name" && tar -xzf "$dir/package.tgz" -C "$dir/node_modules/$name" --strip-components 1 || touch "$dir/failed"
  done
  [ ! -e "$dir/failed" ] && $as_root mkdir -p "$1" && $as_root cp -r "$dir/node_modules" "$1/" || echo "$2" >&2
  rm -rf "$dir"
}
# What nearly every JavaScript action is built on, with what that needs.
toolkit=/var/cache/davit-tests/actions-toolkit
fetch_toolkit() {
  fetch_modules "$toolkit" "the packages of GitHub's toolkit cannot be fetched: tests with real JavaScript actions will be skipped" <<EOF
@actions/core core-1.11.1 33f3967ca3f524628adfc0fc621f64adbda5fd7de937b5da406bfa493b50425e
@actions/exec exec-1.1.1 04b5af5e67e7f5761b1ef0c5d4bc4da488bdf5b2fdd70f45082bcadd87656664
@actions/io io-1.1.3 1f13d0509ecfccad63222a5e5f63a62106861aeab6734d609a950744f8537aa9
@actions/http-client http-client-2.0.1 d50ba9b2e14550b379f899a9ec42992e9f7dbceea0547662c374bf5c82726851
tunnel tunnel-0.0.6 24f765728141836f8c34f32997f0b3cf3cbab6cf382bb46501adc68355ba7d4d
EOF
}
# GitHub's own reader of workflow files, which ours is compared with.
parser=/var/cache/davit-tests/workflow-parser
fetch_parser() {
  fetch_modules "$parser" "@actions/workflow-parser cannot be fetched: the comparison with it will be skipped" <<EOF
@actions/workflow-parser workflow-parser-0.3.61 fc0c4af6cc1f6c8a6f68e47e2093fc826a922c7244a0ffd2f8030a9303a59877
@actions/expressions expressions-0.3.61 a09137eed52067f4369a5fdff1e2beb3663a1e9388a4709a414ada2dd44c82cd
cronstrue cronstrue-2.61.0 f6196bd9f78dc57aa2ad669008e73a32dd43e0deec6d66e7136f34151f9309e8
yaml yaml-2.9.1 4ef6c54cf559b8a207b7b518378230805a1c84af239b14960e8c67c7d59de5d3
EOF
}

# The same of two generations, with artifacts, caches and tools, made one file as actions have them. The lock file holds the digests.
services=/var/cache/davit-tests/actions-services
locked=$(dirname "$0")/../tests/integration/services/toolkit
fetch_services() {
  dir=$(mktemp -d)
  cp "$locked"/* "$dir/"
  (cd "$dir" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent bundle) >&2 &&
    $as_root mkdir -p "$services" && $as_root cp "$dir/toolkit.js" "$dir/package-lock.json" "$services/" ||
    echo "the packages of artifacts and caches cannot be fetched: tests with them will be skipped" >&2
  rm -rf "$dir"
}

# GitHub's own description of its REST API; of the package one file is kept.
openapi=/var/cache/davit-tests/github-openapi
fetch_openapi() {
  dir=$(mktemp -d)
  file=package/generated/api.github.com.json
  curl -fsSL --max-time 120 -o "$dir/package.tgz" https://registry.npmjs.org/@octokit/openapi/-/openapi-23.0.2.tgz &&
    echo "71a18407dd5e8464f4e0525daf03deabbe65abd9287d6adc7b5d98f516cd0d0c  $dir/package.tgz" | sha256sum -c --quiet >&2 &&
    tar -xzf "$dir/package.tgz" -C "$dir" "$file" && $as_root mkdir -p "$openapi" && $as_root cp "$dir/$file" "$openapi/" ||
    echo "GitHub's description of its REST API cannot be fetched: the comparison with it will be skipped" >&2
  rm -rf "$dir"
}

wants_openapi= wants_compose= wants_expressions= wants_toolkit= wants_parser= wants_services=
case $1 in test | stack | homelab | scaleway | vps) compose_is_there || wants_compose=yes ;; esac
if [ "$1" = test ] && [ ! -d "$expressions" ]; then wants_expressions=yes; fi
if [ "$1" = test ] && [ ! -d "$toolkit/node_modules" ]; then wants_toolkit=yes; fi
if [ "$1" = test ] && [ ! -d "$parser/node_modules" ]; then wants_parser=yes; fi
if { [ "$1" = test ] || [ "$1" = pipeline ]; } && { command -v npm >/dev/null || [ "$1" = pipeline ]; } && ! cmp -s "$locked/package-lock.json" "$services/package-lock.json"; then wants_services=yes; fi
if [ "$1" = test ] && [ ! -f "$openapi/api.github.com.json" ]; then wants_openapi=yes; fi
[ -n "$missing$wants_openapi$wants_compose$wants_expressions$wants_toolkit$wants_parser$wants_services" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Not root and no sudo; ask root for: apt-get install$missing" >&2; exit 2; }
  as_root=sudo
fi
if [ -n "$missing" ]; then
  echo "Installing:$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  $as_root apt-get -qq update >&2
  # A server package must not start its service here: the tests start their own.
  $as_root apt-get -qq install -y --no-install-recommends $missing >&2 </dev/null
fi
[ -z "$wants_compose" ] || fetch_compose
[ -z "$wants_expressions" ] || fetch_expressions
[ -z "$wants_toolkit" ] || fetch_toolkit
[ -z "$wants_parser" ] || fetch_parser
[ -z "$wants_openapi" ] || fetch_openapi
[ -z "$wants_services" ] || fetch_services
