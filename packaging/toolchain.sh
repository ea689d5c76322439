#!/bin/sh
# toolchain.sh MACHINE: musl for that machine, and a compiler that uses it, from Debian's gcc (for another machine: its cross compiler).
#
# Called without their paths, `davit-cc` and its like leave no trace of where they lie in what they make.
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

# gcc with musl's headers and libraries in place of glibc's. One program is one static file at an address that changes with each start.
gcc_dir=$(dirname "$($triplet-gcc -print-libgcc-file-name)")
cat >"$root/musl.specs" <<EOF
%rename cpp_options old_cpp_options

*cpp_options:
-nostdinc -isystem $root/musl/include -isystem include%s %(old_cpp_options)

*cc1:
%(cc1_cpu) -nostdinc -isystem $root/musl/include -isystem include%s

*link_libgcc:
-L$root/lib -L$root/musl/lib -L $gcc_dir

*libgcc:
libgcc.a%s %:if-exists(libgcc_eh.a%s)

*startfile:
$root/musl/lib/rcrt1.o $root/musl/lib/crti.o crtbeginS.o%s

*endfile:
crtendS.o%s $root/musl/lib/crtn.o

*link:
-nostdlib -static -pie --no-dynamic-linker -z text

EOF
flags="-static-pie -Os -g0 -fPIE -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables -fstack-protector-strong"
[ $machine != x86_64 ] || flags="$flags -fcf-protection=none"
cat >"$root/bin/davit-cc" <<EOF
#!/bin/sh
exec $triplet-gcc -specs "$root/musl.specs" $flags -ffile-prefix-map="$root/src"=. -ffile-prefix-map="$root"=. -ffile-prefix-map="$source"=. "\$@" -idirafter "$root/include"
EOF
for tool in ar ranlib strip nm objdump ld as; do
  printf '#!/bin/sh\nexec %s-%s "$@"\n' $triplet $tool >"$root/bin/davit-$tool"
done
chmod +x "$root"/bin/*
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
