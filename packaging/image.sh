#!/bin/sh
# image.sh MACHINE: an OCI archive, davit-image-MACHINE.tar, that Actions Runner Controller can start: Debian's smallest system with bash, git and an SSH
# client, and the static davit as an ordinary user. Needs root and debootstrap, and a machine (or qemu-user-static) that runs MACHINE's programs.
. "$(dirname "$0")/common.sh"
release=$work/release
case $machine in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
[ "$(id -u)" = 0 ] || { echo "image.sh needs root: debootstrap makes a system" >&2; exit 2; }
mkdir -p "$root"
base=$root/base.tar
if [ ! -e "$base" ]; then
  uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -v security | head -n 1)
  rm -rf "$root/base"
  debootstrap --arch="$architecture" --variant=minbase --include=ca-certificates,git,openssh-client,curl,jq,unzip,zstd bookworm "$root/base" "${uri:-http://deb.debian.org/debian}" >"$root/image.log" 2>&1 ||
    { tail -n 20 "$root/image.log" >&2; exit 1; }
  # No package lists, no caches, no logs, no machine's identity: what a start does not need and each build would have otherwise.
  rm -rf "$root/base/var/cache/apt" "$root/base/var/lib/apt/lists" "$root/base/var/log" "$root/base/var/cache/ldconfig" "$root/base/usr/share/man" "$root/base/usr/share/locale" "$root/base/etc/machine-id" \
    "$root/base/etc/hostname" "$root/base/etc/resolv.conf" "$root/base/dev" "$root/base/proc" "$root/base/sys"
  find "$root/base/usr/share/doc" -type f ! -name copyright -delete
  mkdir -p "$root/base/var/log" "$root/base/var/lib/apt/lists/partial" "$root/base/var/cache/apt/archives/partial" "$root/base/dev" "$root/base/proc" "$root/base/sys"
  : >"$root/base/etc/machine-id"
  chroot "$root/base" /usr/sbin/groupadd --gid 1001 runner
  chroot "$root/base" /usr/sbin/useradd --uid 1001 --gid 1001 --shell /bin/bash --home-dir /home/runner --create-home runner
  tar -C "$root/base" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --clamp-mtime -cf "$base.part" .
  mv "$base.part" "$base"
  rm -rf "$root/base"
fi
top=$root/image-top
rm -rf "$top"
mkdir -p "$top/usr/bin" "$top/home/runner"
install -m 755 "$release/davit-linux-$machine" "$top/usr/bin/davit"
# The controller's own template starts this file.
printf '#!/bin/sh\nexec /usr/bin/davit agent run "$@"\n' >"$top/home/runner/run.sh"
chmod 755 "$top/home/runner/run.sh"
chown -R 1001:1001 "$top/home/runner"
# With the directories: an engine would make those that a layer does not name anew, as root's.
tar -C "$top" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --no-recursion -cf "$root/top.tar" home home/runner home/runner/run.sh usr usr/bin usr/bin/davit
"$packaging/image.py" --architecture "$architecture" --layer "$base" --layer "$root/top.tar" --output "$release/davit-image-$machine.tar"
ls -l "$release/davit-image-$machine.tar" >&2
