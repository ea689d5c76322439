#!/bin/sh
# packages.sh build|run|test: installs the Debian packages that are missing for building davit, for the quickstart, or for
# the tests. With sudo when not root. On another distribution it names the packages and stops.
set -eu

build="ca-certificates gcc libc6-dev cmake ninja-build patch pkg-config python3 libcurl4-openssl-dev libjansson-dev libyaml-dev
 libssl-dev libpcre2-dev libsqlite3-dev libgit2-dev libssh2-1-dev libarchive-dev libmicrohttpd-dev zlib1g-dev libcmocka-dev"
run="$build openssh-server openssh-client git procps openssl"
test="$run clang-14 clang-format-14 libclang-rt-14-dev libclang-common-14-dev ccache rsync zstd acl sudo nginx-light json-schema-test-suite
 util-linux mount e2fsprogs iproute2 curl sqlite3 nodejs groff-base dpkg-dev file fish tcsh postgresql-15"

case "${1:-}" in
build) wanted=$build ;;
run) wanted=$run ;;
test) wanted=$test ;;
*) echo "usage: packages.sh build|run|test" >&2; exit 2 ;;
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
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Not root and no sudo; ask root for: apt-get install$missing" >&2; exit 2; }
  as_root=sudo
fi
echo "Installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update >&2
# A server package must not start its service here: the tests start their own.
$as_root apt-get -qq install -y --no-install-recommends $missing >&2 </dev/null
