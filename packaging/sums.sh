#!/bin/sh
# sums.sh: the SPDX document and SHA256SUMS of what lies in $work/release.
. "$(dirname "$0")/common.sh"
cd "$work/release"
# shellcheck disable=SC2046
"$packaging/parts.py" --spdx $(ls davit-linux-* davit-forge-linux-*) >davit.spdx.json
rm -f SHA256SUMS
sha256sum -- * >../SHA256SUMS
mv ../SHA256SUMS .
