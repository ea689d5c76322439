# test.sh FILE: what the tests need is there, and the page has its place for a stamp.
set -eu
test -s "$1"
grep -q '@STAMP@' "$(dirname "$0")/page.in"
echo "2 passed, 0 failed"
