#!/bin/sh
# fetch.sh: brings the sources of sources.txt into the downloads directory, each with the digest that sources.sha256 has.
#
# They come by apt, from where this Debian gets its packages; or from $DAVIT_SOURCES, a directory or an http address that holds the files. A version
# that the distribution has replaced stays at the archive of its snapshots. `fetch.sh --pin` writes the digests anew, for another version.
pin=
[ "${1:-}" != --pin ] || { pin=yes; shift; }
. "$(dirname "$0")/common.sh"
mkdir -p "$downloads"

apt_of() {  # a private state of apt with the sources of both releases; the machine's own stays as it is
  apt=$work/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  uris=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
  main=$(echo "$uris" | grep -v security | head -n 1)
  security=$(echo "$uris" | grep security | head -n 1)
  main=${main:-http://deb.debian.org/debian}
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  for suite in bookworm trixie; do
    echo "deb-src [signed-by=$keys] $main $suite main"
    echo "deb-src [signed-by=$keys] ${security:-${main%/}-security} $suite-security main"
  done >"$apt/sources.list"
  printf '%s\n' "Dir::Etc::sourcelist \"$apt/sources.list\";" 'Dir::Etc::sourceparts "/dev/null";' "Dir::State::lists \"$apt/lists\";" \
    "Dir::Cache \"$apt/cache\";" "Dir::Cache::archives \"$apt/cache/archives\";" 'APT::Get::List-Cleanup "0";' 'APT::Sandbox::User "root";' >"$apt/conf"
  export APT_CONFIG="$apt/conf"
  apt-get -qq update
}

is_there() {  # is_there FILE: with its digest
  wanted=$(awk -v file="$1" '$2 == file { print $1 }' "$packaging/sources.sha256")
  [ -n "$wanted" ] && [ -e "$downloads/$1" ] && [ "$(sha256sum "$downloads/$1" | cut -d ' ' -f 1)" = "$wanted" ]
}
all_there() {  # all_there DSC
  is_there "$1" || return 1
  for file in $(named_by "$1"); do is_there "$file" || return 1; done
}
named_by() { sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ [0-9a-f]\{64\} [0-9]* \(.*\)$/\1/p' "$downloads/$1" | grep -v '\.asc$'; }
from_mirror() {  # from_mirror FILE
  case $DAVIT_SOURCES in
  http://* | https://*) curl -fsSL --max-time 600 -o "$downloads/$1" "$DAVIT_SOURCES/$1" ;;
  *) cp "$DAVIT_SOURCES/$1" "$downloads/$1" ;;
  esac
}

parts | while IFS='|' read -r part name version suite rest; do
  dsc=$(dsc_of "$name" "$version")
  if [ -n "$pin" ] || ! all_there "$dsc"; then
    echo "fetch $name $version" >&2
    if [ -n "${DAVIT_SOURCES:-}" ]; then
      from_mirror "$dsc"
      for file in $(named_by "$dsc"); do from_mirror "$file"; done
    else
      [ -n "${APT_CONFIG:-}" ] && [ -e "$work/apt/conf" ] || apt_of
      (cd "$downloads" && apt-get -qq source --download-only "$name=$version") || {
        echo "$name $version is no longer in $suite: name a mirror that has it in DAVIT_SOURCES, or take the version that follows it into" \
          "sources.txt and call fetch.sh --pin" >&2
        exit 1
      }
    fi
  fi
  if [ -n "$pin" ]; then
    (cd "$downloads" && sha256sum "$dsc" $(named_by "$dsc"))
  elif ! all_there "$dsc"; then
    echo "$name $version: a file has not the digest of sources.sha256" >&2
    exit 1
  fi
done >"$work/pinned"
[ -z "$pin" ] || mv "$work/pinned" "$packaging/sources.sha256"
rm -f "$work/pinned"
