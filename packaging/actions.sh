#!/bin/sh
# actions.sh TAG SUMS: what `uses: davit-deploy/davit@v1` gets. A commit on top of that of the tag vX.Y.Z, with the checksums of its release's programs in
# actions/SHA256SUMS, which actions/find.sh trusts more than what it downloads; the tag vX of the major version is moved to it. Nothing else is changed:
# the work tree, the branch and the index stay as they are, and who calls this pushes the tag (git push --force origin vX).
set -eu
tag=$1 sums=$2
major=${tag%%.*}
case $tag in v[0-9]*.[0-9]*.[0-9]*) ;; *) echo "actions.sh: '$tag' is no tag of a release such as v1.2.3" >&2; exit 2 ;; esac
index=$(mktemp) && rm "$index"
trap 'rm -f "$index"' EXIT
# Only what find.sh looks for.
list=$(grep -E '^[0-9a-f]{64} [ *]davit-linux-(x86_64|aarch64)$' "$sums") || { echo "actions.sh: $sums has no checksum of davit-linux-x86_64" >&2; exit 1; }
said=$(git show "$tag:actions/release")
[ "${said#* }" = "$tag" ] || { echo "actions.sh: actions/release of $tag says '$said'" >&2; exit 1; }
blob=$(printf '%s\n' "$list" | git hash-object -w --stdin)
GIT_INDEX_FILE=$index git read-tree "$tag^{commit}"
GIT_INDEX_FILE=$index git update-index --add --cacheinfo "100644,$blob,actions/SHA256SUMS"
tree=$(GIT_INDEX_FILE=$index git write-tree)
commit=$(git commit-tree -p "$tag^{commit}" -m "The actions of $tag, with the checksums of its programs" "$tree")
git tag --force "$major" "$commit" >/dev/null
echo "$major is $commit"
