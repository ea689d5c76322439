#!/bin/sh
# deb.sh MACHINE: a Debian package of the static programs that static.sh has made. It needs nothing of its system but bash and the certificates.
. "$(dirname "$0")/common.sh"
release=$work/release
case $machine in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
here=$(uname -m)
for program in davit-linux-$machine davit-forge-linux-$machine davit-linux-$here davit-forge-linux-$here; do
  [ -x "$release/$program" ] || { echo "no $program: static.sh $machine and static.sh $here come first, man pages are what davit says of itself" >&2; exit 2; }
done
version=$(sed -n 's/^project(davit VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
tree=$root/deb
rm -rf "$tree"
mkdir -p "$tree"
tar -C "$tree" -xf "$work/files-$machine.tar"
install -D -m 755 "$release/davit-linux-$machine" "$tree/usr/bin/davit"
install -D -m 755 "$release/davit-forge-linux-$machine" "$tree/usr/libexec/davit/davit-forge"
"$source/cmake/manual.py" "$release/davit-linux-$here" "$root/manual"
share=$tree/usr/share
mkdir -p "$share/man" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$tree/DEBIAN"
cp -r "$root/manual/man1" "$share/man/"
gzip -9n "$share/man/man1"/*
cp "$root/manual/davit.bash" "$share/bash-completion/completions/davit"
cp "$root/manual/davit.zsh" "$share/zsh/site-functions/_davit"
cp "$root/manual/davit.fish" "$share/fish/vendor_completions.d/"
# With the texts of everything that is in the two programs.
"$release/davit-linux-$here" --version --licences >"$share/doc/davit/licences"
cat >"$tree/DEBIAN/control" <<EOF
Package: davit
Version: $version
Architecture: $architecture
Maintainer: The davit authors <davit@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$tree/usr" | cut -f 1)
Depends: bash, ca-certificates
Recommends: git, sudo
Homepage: https://github.com/davit-deploy/davit
Description: A deployment agent for GitHub Actions
 A self-hosted runner for GitHub Actions that runs typed deployment steps as a transaction: a failed health gate, a cancel or a crash
 ends in the new version or the old one, never between.
EOF
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$release/davit_${version}_$architecture.deb" >"$root/deb.log"
ls -l "$release/davit_${version}_$architecture.deb" >&2
