#!/bin/sh
# toolchain.sh MACHINE: musl for that machine, and a compiler that uses it, from Debian's gcc (for another machine: its cross compiler).
. "$(dirname "$0")/common.sh"
stamp=$root/toolchain.done
[ ! -e "$stamp" ] || exit 0
command -v ld.lld >/dev/null || { echo "no ld.lld: apt-get install lld" >&2; exit 2; }
command -v $triplet-gcc >/dev/null || { echo "no $triplet-gcc: apt-get install gcc-$(echo $triplet | tr _ -)" >&2; exit 2; }
rm -rf "$root"
mkdir -p "$root/src" "$root/bin"
dpkg-source --no-check -x "$downloads/$(dsc_of musl "$(parts | awk -F '|' '$1 == "musl" { print $3 }')")" "$root/src/musl" >"$root/musl.log" 2>&1
(
  cd "$root/src/musl"
  CC=$triplet-gcc CROSS_COMPILE=$triplet- CFLAGS="-Os -g0 -ffile-prefix-map=$root/src=. -fno-unwind-tables -fno-asynchronous-unwind-tables -fcf-protection=none" \
    ./configure --target=$machine-linux-musl --prefix="$root/musl" --syslibdir="$root/musl/lib" --disable-shared --enable-optimize=size
  make -j"$jobs"
  make install
) >>"$root/musl.log" 2>&1 || { tail -n 20 "$root/musl.log" >&2; exit 1; }

# The kernel's headers are the machine's own.
for dir in linux asm-generic mtd; do
  [ ! -d /usr/include/$dir ] || ln -s /usr/include/$dir "$root/musl/include/$dir"
done
for dir in /usr/$triplet/include/asm /usr/include/$triplet/asm; do
  [ ! -d "$dir" ] || ln -sfn "$dir" "$root/musl/include/asm"
done

"$packaging/compiler.sh" "$machine"
# A cross compiler looks for it only where -B says.
ln -s "$(command -v ld.lld)" "$root/bin/ld.lld"
cat >"$root/toolchain.cmake" <<EOF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $machine)
set(CMAKE_C_COMPILER $root/bin/davit-cc)
set(CMAKE_AR $root/bin/davit-ar)
set(CMAKE_RANLIB $root/bin/davit-ranlib)
set(CMAKE_FIND_ROOT_PATH $root)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
EOF
touch "$stamp"
