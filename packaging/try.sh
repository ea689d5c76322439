#!/bin/sh
# try.sh MACHINE [TEST [ARGUMENT…]]: the tests that matter most to a static program, done to those that static.sh has made: SSH, PostgreSQL and git over
# TLS with an authority of one's own, names by DNS, certificates of mail servers, actions without an installed davit, and what is one file. Or TEST, a path below tests/, alone.
#
# Needs what `cmake/packages.sh stack` installs, root, and for another machine's programs a kernel that runs them (qemu-user-static with binfmt_misc).
. "$(dirname "$0")/common.sh"
shift $(($# > 0 ? 1 : 0))
release=$work/release
davit=$release/davit-linux-$machine
"$davit" --version >&2 || { echo "try.sh: $davit does not run here (static.sh $machine comes first)" >&2; exit 2; }
# As a build has them; a program that is called by a part's name is that part.
top=$root/try
rm -rf "$top"
for directory in bin one; do
  mkdir -p "$top/$directory"
  cp "$davit" "$top/$directory/davit"
  cp "$release/davit-forge-linux-$machine" "$top/$directory/davit-forge"
done
ln -s davit "$top/bin/davit-agent"
ln -s davit "$top/bin/davit-step"
export DAVIT_BUILD="$top" DAVIT_SOURCE="$source" DAVIT_LIBSSH2="bundled 1.11.1" PYTHONPATH="$source/tests" PYTHONDONTWRITEBYTECODE=1

failed=0
# One that is skipped has tried nothing.
attempt() {
  if "$source/tests/$@" >"$root/try.log" 2>&1; then
    echo "$machine: $*: $(sed -n 's/^Ran \(.*\)/\1/p' "$root/try.log")" >&2
  else
    cat "$root/try.log" >&2
    echo "$machine: $*: FAILED or skipped" >&2
    failed=1
  fi
}
if [ $# -gt 0 ]; then
  attempt "$@"
  exit $failed
fi
attempt integration/one_file.py OneFile
attempt integration/ssh_as_people_have_it.py
attempt integration/journal_over_tls.py
attempt integration/names_by_dns.py
attempt integration/checkout_by_version_0.py VersionZero.test_a_ca_file_of_one_s_own_is_trusted_and_nothing_else
attempt integration/gate_asks_from_here.py Tls.test_a_certificate_that_mail_servers_show_after_starttls_is_judged_too
attempt integration/where_davit_is_not.py
exit $failed
