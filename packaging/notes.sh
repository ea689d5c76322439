#!/bin/sh
# notes.sh VERSION [CHANGELOG]: what the change log says of that version, for the page of its release. Fails where it says nothing.
set -eu
[ $# -ge 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
log=${2:-$(dirname "$0")/../CHANGELOG.md}
notes=$(awk -v heading="## $1" '/^## / { on = $0 == heading; next } on' "$log")
[ -n "$notes" ] || { echo "notes.sh: $log says nothing of $1: its heading is '## $1'" >&2; exit 1; }
printf '%s\n' "$notes" | sed '/./,$!d'
