#!/bin/sh
# static.sh MACHINE: davit-linux-MACHINE (davit, davit-agent and davit-step in one) and davit-forge-linux-MACHINE below $work/release, stripped.
#
# MACHINE is x86_64 or aarch64; the other one than this is cross-built. What is missing of sources, compiler and libraries is brought first.
. "$(dirname "$0")/common.sh"
"$packaging/fetch.sh" "$machine"
"$packaging/toolchain.sh" "$machine"
"$packaging/libraries.sh" "$machine"
release=$work/release
mkdir -p "$release"

for program in davit forge; do
  "$packaging/parts.py" --program $program --licences "$root/licences" >"$root/$program.json.new"
  cmp -s "$root/$program.json.new" "$root/$program.json" || cp "$root/$program.json.new" "$root/$program.json"
done
# Of these libraries what is used; each may need any other.
libraries="-lcurl -lnghttp2 -lgit2 -lhttp_parser -larchive -llzma -lbz2 -lzstd -lpq -lssl -lcrypto -lsqlite3 -lpcre2-8 -lmicrohttpd -ljansson -lyaml -lz"
# Packed relocations keep the program one whose address changes with each start at little cost in bytes. Debian's GNU linker packs those of x86-64 alone.
# Threads get 1 MiB of stack; musl's own 128 KiB are less than the libraries were ever tried with.
linking="-B$root/bin -fuse-ld=lld -Wl,--pack-dyn-relocs=relr -Wl,-O2 -Wl,--build-id=none -Wl,-z,stack-size=1048576"
env PATH="$root/bin:$PATH" PKG_CONFIG_LIBDIR="$root/lib/pkgconfig" PKG_CONFIG_PATH= \
  cmake -G Ninja -S "$source" -B "$root/davit" -DCMAKE_TOOLCHAIN_FILE="$root/toolchain.cmake" -DCMAKE_BUILD_TYPE=None -DDAVIT_ONE_FILE=ON -DDAVIT_TESTS=OFF -DDAVIT_GOLD=OFF -DCMAKE_C_FLAGS="-Wno-error=maybe-uninitialized -Wno-error=format-truncation" \
  -DDAVIT_LIBSSH2=bundled -DDAVIT_LIBSSH2_ARCHIVE="$downloads/libssh2_1.11.1.orig.tar.gz" -DDAVIT_PARTS="$root/davit.json" -DDAVIT_FORGE_PARTS="$root/forge.json" \
  -DCMAKE_POSITION_INDEPENDENT_CODE=OFF -DCMAKE_EXE_LINKER_FLAGS="$linking" \
  -DCMAKE_C_STANDARD_LIBRARIES="-Wl,--start-group $libraries -Wl,--end-group" ${DAVIT_CMAKE:-} >"$root/davit.log" 2>&1 || { tail -n 20 "$root/davit.log" >&2; exit 1; }
cmake --build "$root/davit" -j "$jobs" --target davit --target davit-forge >>"$root/davit.log" 2>&1 || { grep -E 'error|undefined' "$root/davit.log" | head -n 20 >&2; exit 1; }
for program in davit davit-forge; do
  "$root/bin/davit-strip" --strip-all --remove-section=.comment -o "$release/$program-linux-$machine" "$root/davit/bin/$program"
done
# What a package has beside them, without the programs: for deb.sh, which may run where nothing was built.
rm -rf "$root/files"
cmake --install "$root/davit" --prefix "$root/files/usr" >>"$root/davit.log"
rm -rf "$root/files/usr/bin" "$root/files/usr/libexec"
tar -C "$root/files" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf "$work/files-$machine.tar" usr
ls -l "$release" >&2
