#!/bin/sh
# reproducible.sh MACHINE: builds the static programs a second time, from a copy of the source in another directory, and compares them with those of
# static.sh. Exit 1 and the names of what differs when they are not the same bytes.
. "$(dirname "$0")/common.sh"
again=$(mktemp -d "$work/again-XXXXXX")
trap 'rm -rf "$again"' EXIT
mkdir "$again/source"
# What the first build saw: the files of the work tree, without what builds left.
git -C "$source" ls-files -coz --exclude-standard | (cd "$source" && tar --null -T - -cf -) | tar -xf - -C "$again/source"
DAVIT_PACKAGING=$again/elsewhere/work DAVIT_DOWNLOADS=$downloads "$again/source/packaging/static.sh" "$machine" 2>"$again/log" || { tail -n 20 "$again/log" >&2; exit 1; }
status=0
for file in release/davit-linux-$machine release/davit-forge-linux-$machine files-$machine.tar; do
  if cmp "$work/$file" "$again/elsewhere/work/$file"; then
    echo "${file#release/}: the same bytes"
  else
    status=1
  fi
done
# The programs alone do not say why.
[ $status = 0 ] || (cd "$again/elsewhere/work/$machine" && find . -name '*.[ao]' -type f | sort | while read -r object; do cmp -s "$object" "$root/$object" || echo "$machine/${object#./} differs too"; done) >&2
exit $status
