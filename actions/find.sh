#!/bin/sh
# find.sh: prints the path of davit, for the actions of this repository on a runner that has none on its PATH: the release's binary for this
# machine, of the version that the actions are of, from the runner's tool cache, from a file beside this one, or from the release. One that
# is not what its checksum says is never run. Otherwise it fails with one sentence.
#
# Beside it lie `release` (repository and tag) and, in the commit of a release, `SHA256SUMS` of its binaries: that cannot be exchanged together
# with a download. The one of the release itself counts only where there is none here.
set -u
page=https://github.com/davit-deploy/davit/blob/v1/docs/tasks/install.md
here=$(cd "$(dirname "$0")" && pwd) || exit 2
new='' sums='' LC_ALL=C
export LC_ALL

# What a server or a file brought into it must not end the line, nor be a command of the runner.
fail() {
  text=$(printf '%s' "$*" | tr -d '\000-\037' | cut -c1-600 | sed 's/%/%25/g')
  printf '::error::davit is not on the PATH of this runner, and %s: %s says how it gets there\n' "$text" "$page" >&2
  exit 2
}
clean_up() { rm -f ${new:+"$new"} ${sums:+"$sums"}; }
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

case $(uname -s)-$(uname -m) in
  Linux-x86_64 | Linux-amd64) machine=x86_64 arch=x64 ;;
  Linux-aarch64 | Linux-arm64) machine=aarch64 arch=arm64 ;;
  *) fail "there is no release of it for $(uname -s) on $(uname -m)" ;;
esac
file=davit-linux-$machine
read -r repository tag <"$here/release" || fail "$here/release does not say which release its actions are of"
# A mirror has releases of its own: the runner keeps the actions of OWNER/REPO in _actions/OWNER/REPO/REF.
case $here in
  */_actions/*/*/*)
    rest=${here##*/_actions/}
    after=${rest#*/}
    repository=${rest%%/*}/${after%%/*}
    ;;
esac
case $repository$tag in *[!A-Za-z0-9._/-]* | *..*) fail "$here/release names no release" ;; esac
release=${GITHUB_SERVER_URL:-https://github.com}/$repository/releases/download/$tag

sum_in() { sed -n "s/^\([0-9a-f]\{64\}\) [ *]$file\$/\1/p" "$1" 2>/dev/null | head -n 1; }
sum_of() { sha256sum <"$1" 2>/dev/null | cut -c1-64; }

# download URL FILE: in at most five minutes and 64 MiB (a shell may count 128); of https only https. Failures of the network are tried again.
download() {
  only='=http,https'
  case $1 in https://*) only='=https' ;; esac
  (
    ulimit -f 131072 2>/dev/null
    if command -v curl >/dev/null; then
      exec curl -fsSL --proto "$only" --max-redirs 5 --max-filesize 67108864 --connect-timeout 15 --max-time 300 --speed-limit 1024 --speed-time 30 \
        --retry 2 --retry-delay 1 --retry-max-time 300 -o "$2" "$1"
    elif command -v wget >/dev/null && command -v timeout >/dev/null; then
      exec timeout 300 wget -nv -O "$2" "$1"
    fi
    echo "neither curl nor wget is here"
    exit 1
  ) 2>&1
}
fetch() {
  why=$(download "$1" "$2") && return
  status=$?
  fail "$1 cannot be had ($({ echo "it ended with status $status"; printf '%s\n' "$why"; } | sed '/^$/d' | tail -n 1 | cut -c1-200))"
}

[ -n "$(command -v sha256sum)" ] || fail "sha256sum, which its checksum is verified with, is not here"
wanted=$(sum_in "$here/SHA256SUMS")
tools=${RUNNER_TOOL_CACHE:-}
if [ -z "$tools" ] || ! mkdir -p "$tools" 2>/dev/null || [ ! -w "$tools" ]; then tools=${RUNNER_TEMP:-}; fi
[ -n "$tools" ] || fail "neither RUNNER_TOOL_CACHE nor RUNNER_TEMP names a directory for it"
cache=$tools/davit/${tag#v}/$arch
davit=$cache/davit

# The mark says that the file is whole; where the checksum is known it has to be that file, too.
if [ -f "$cache.complete" ] && [ -x "$davit" ] && { [ -z "$wanted" ] || [ "$(sum_of "$davit")" = "$wanted" ]; }; then
  printf '%s\n' "$davit"
  exit 0
fi

# Below a name of its own until it is verified: jobs that do the same at once do not see each other.
mkdir -p "$cache" 2>/dev/null
new=$(mktemp "$cache/.davit.XXXXXX" 2>/dev/null) || fail "nothing can be written to $cache"
find "$cache" -name '.davit.??????' -mmin +60 -exec rm -f {} + 2>/dev/null
if [ -f "$here/$file" ]; then
  from=$here/$file
  [ -n "$wanted" ] || fail "there is no checksum of $from in $here/SHA256SUMS"
  cp "$from" "$new" 2>/dev/null || fail "$from cannot be read"
else
  from=$release/$file
  if [ -z "$wanted" ]; then
    sums=$(mktemp "$cache/.davit.XXXXXX") || fail "nothing can be written to $cache"
    fetch "$release/SHA256SUMS" "$sums"
    wanted=$(sum_in "$sums")
    [ -n "$wanted" ] || fail "$release/SHA256SUMS has no checksum of $file"
  fi
  fetch "$from" "$new"
fi
got=$(sum_of "$new")
[ "$got" = "$wanted" ] || fail "$from is not what its checksum says (it is $got, not $wanted)"
chmod 755 "$new"
"$new" --version >/dev/null 2>&1 || fail "$from does not run on this machine"
mv -f "$new" "$davit" 2>/dev/null
[ "$(sum_of "$davit")" = "$wanted" ] || fail "nothing can be written to $cache"
: >"$cache.complete" || exit 2
printf '%s\n' "$davit"
