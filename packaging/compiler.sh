#!/bin/sh
# compiler.sh MACHINE: `davit-cc`, which compiles against the musl of toolchain.sh, `davit-ar` and their like below $root/bin.
#
# Called without their paths they leave no trace of where they lie in what they make; nor does a source's path come into it.
. "$(dirname "$0")/common.sh"
mkdir -p "$root/bin"

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
# Of two that fit gcc takes the last: the nearest directory comes last, since $root lies in $source or apart from it.
cat >"$root/bin/davit-cc" <<EOF
#!/bin/sh
exec $triplet-gcc -specs "$root/musl.specs" $flags -ffile-prefix-map="$source"=. -ffile-prefix-map="$root"=. -ffile-prefix-map="$root/src"=. "\$@" -idirafter "$root/include"
EOF
for tool in ar ranlib strip nm objdump ld as; do
  printf '#!/bin/sh\nexec %s-%s "$@"\n' $triplet $tool >"$root/bin/davit-$tool"
done
chmod +x "$root"/bin/*
