# Read by the scripts here: where things lie, and for which machine. `$1` is the machine, x86_64 or aarch64.
set -eu
packaging=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$packaging")
machine=${1:-$(uname -m)}
case $machine in
x86_64 | aarch64) triplet=$machine-linux-gnu ;;
*) echo "$0: for x86_64 and aarch64, not for '$machine'" >&2; exit 2 ;;
esac
# Everything that is made lies here; a second build elsewhere gives the same bytes.
work=${DAVIT_PACKAGING:-$source/build/packaging}
mkdir -p "$work"
work=$(cd "$work" && pwd)
downloads=${DAVIT_DOWNLOADS:-$work/downloads}
root=$work/$machine
jobs=${DAVIT_JOBS:-$(nproc)}
# The time that goes into archives: that of the last commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$source" log -1 --format=%ct)}
LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH LC_ALL TZ
umask 022

# The rows of sources.txt: part, source, version, suite, in, licence, file of its text.
parts() {
  sed 's/#.*//' "$packaging/sources.txt" | awk 'NF { licence = $6; for (i = 7; i < NF; i++) licence = licence " " $i; print $1 "|" $2 "|" $3 "|" $4 "|" $5 "|" licence "|" $NF }'
}
# files of a source: what its .dsc names, the .dsc first. A version's epoch is in no file's name.
dsc_of() { echo "$1_${2#*:}.dsc"; }
