#!/bin/sh
# libraries.sh MACHINE [PART…]: the libraries of sources.txt as static ones below $root, with what davit uses of them switched on and nothing else.
#
# A part that is there is not built again; remove its $root/NAME.done for that.
. "$(dirname "$0")/common.sh"
shift $(($# > 0 ? 1 : 0))
building=
[ "${1:-}" != --build ] || building=$2
PATH=$root/bin:$PATH
export PATH PKG_CONFIG_LIBDIR="$root/lib/pkgconfig" PKG_CONFIG_PATH="" CC=davit-cc AR=davit-ar RANLIB=davit-ranlib CFLAGS=-DNDEBUG CPPFLAGS="" LDFLAGS=""
mkdir -p "$root/lib/pkgconfig" "$root/include" "$root/licences"
# Seen as a cross build in any case: no check runs what it compiles, so both machines get the same answers.
cross="--build=$(uname -m)-linux-gnu --host=$machine-linux-musl --prefix=$root --libdir=$root/lib"

by_cmake() {
  cmake -G Ninja -S . -B build -DCMAKE_TOOLCHAIN_FILE="$root/toolchain.cmake" -DCMAKE_INSTALL_PREFIX="$root" -DCMAKE_INSTALL_LIBDIR=lib \
    -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-DNDEBUG -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=OFF \
    -DCMAKE_TRY_COMPILE_TARGET_TYPE=EXECUTABLE "$@"
  cmake --build build -j "$jobs"
  cmake --install build
}
pc() {  # pc NAME VERSION LIBS: for what brings no .pc file of its own
  printf 'prefix=%s\nName: %s\nDescription: %s\nVersion: %s\nLibs: -L%s/lib %s\nCflags: -I%s/include\n' "$root" "$1" "$1" "$2" "$root" "$3" "$root" >"$root/lib/pkgconfig/$1.pc"
}
# by_hand LIBRARY FLAGS FILE…: no more than its files.
by_hand() {
  library=$1 options=$2
  shift 2
  mkdir -p objects
  for file in "$@"; do
    # shellcheck disable=SC2086
    davit-cc -DNDEBUG $options -c "$file" -o "objects/$(basename "$file" | sed 's/\.[cS]$//').o"
  done
  rm -f "$root/lib/$library"
  davit-ar crs "$root/lib/$library" objects/*.o
}

build_zlib() {
  by_hand libz.a "-O2 -DHAVE_HIDDEN -D_LARGEFILE64_SOURCE=1" adler32.c crc32.c deflate.c infback.c inffast.c inflate.c inftrees.c trees.c zutil.c compress.c uncompr.c \
    gzclose.c gzlib.c gzread.c gzwrite.c
  cp zconf.h zlib.h "$root/include/"
  pc zlib "$(sed -n 's/^#define ZLIB_VERSION "\([0-9.]*\).*/\1/p' zlib.h)" -lz
}
build_zstd() {
  # No tables for what nobody reads here (legacy formats, dictionaries' training), no assembler of its own.
  by_hand libzstd.a "-O2 -DZSTD_LEGACY_SUPPORT=0 -DZSTD_DISABLE_ASM=1 -DHUF_FORCE_DECOMPRESS_X1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT -DZSTD_NO_INLINE -DZSTD_STRIP_ERROR_STRINGS" \
    lib/common/*.c lib/compress/*.c lib/decompress/*.c
  cp lib/zstd.h lib/zstd_errors.h "$root/include/"
  pc libzstd 1.5.4 -lzstd
}
build_liblzma() {
  # shellcheck disable=SC2086
  ./configure $cross --disable-shared --disable-encoders --enable-decoders=lzma1,lzma2,x86,arm,armthumb,arm64,delta --disable-threads --disable-xz --disable-xzdec --disable-lzmadec \
    --disable-lzmainfo --disable-scripts --disable-doc --disable-nls --enable-checks=crc32,crc64,sha256 --disable-assembler --disable-microlzma --disable-lzip-decoder
  make -j"$jobs" -C src/liblzma install
}
build_bzip2() {
  by_hand libbz2.a "-O2 -D_FILE_OFFSET_BITS=64" blocksort.c huffman.c crctable.c randtable.c compress.c decompress.c bzlib.c
  cp bzlib.h "$root/include/"
}
build_jansson() {
  by_cmake -DJANSSON_BUILD_DOCS=OFF -DJANSSON_EXAMPLES=OFF -DJANSSON_WITHOUT_TESTS=ON
}
build_libyaml() {
  by_cmake -DBUILD_TESTING=OFF
  pc yaml-0.1 0.2.5 -lyaml
}
build_pcre2() {
  by_cmake -DPCRE2_BUILD_TESTS=OFF -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_SUPPORT_JIT=ON -DPCRE2_SUPPORT_UNICODE=ON -DPCRE2_SUPPORT_LIBBZ2=OFF -DPCRE2_SUPPORT_LIBZ=OFF \
    -DPCRE2_SUPPORT_LIBEDIT=OFF -DPCRE2_SUPPORT_LIBREADLINE=OFF
}
build_sqlite() {
  # What is left out must be left out of its grammar too, so that is made anew.
  omit="-DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_OMIT_PROGRESS_CALLBACK -DSQLITE_OMIT_UTF16 -DSQLITE_OMIT_TCL_VARIABLE
    -DSQLITE_OMIT_TRACE -DSQLITE_OMIT_GET_TABLE -DSQLITE_OMIT_INCRBLOB -DSQLITE_OMIT_AUTHORIZATION -DSQLITE_OMIT_COMPLETE -DSQLITE_OMIT_DECLTYPE -DSQLITE_OMIT_JSON
    -DSQLITE_OMIT_INTROSPECTION_PRAGMAS -DSQLITE_DQS=0 -DSQLITE_THREADSAFE=1 -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_TEMP_STORE=2 -DSQLITE_USE_URI=0 -DSQLITE_MAX_MMAP_SIZE=0
    -DSQLITE_LIKE_DOESNT_MATCH_BLOBS"
  omit=$(echo $omit)
  (unset CC AR RANLIB CFLAGS LDFLAGS; ./configure --disable-tcl --disable-shared --disable-readline && make OPTS="$omit" sqlite3.c)
  by_hand libsqlite3.a "$omit -DHAVE_USLEEP=1 -DHAVE_FDATASYNC=1 -DHAVE_LOCALTIME_R=1 -DHAVE_STRERROR_R=1" sqlite3.c
  cp sqlite3.h "$root/include/"
  pc sqlite3 "$(sed -n 's/^#define SQLITE_VERSION *"\([0-9.]*\)"/\1/p' sqlite3.h)" -lsqlite3
}
build_openssl() {
  # Of TLS 1.2 and 1.3: what clients and the forge speak. Of keys: RSA, ECDSA, Ed25519; encrypted ones by AES and 3DES.
  perl ./Configure linux-$machine --prefix=/usr --openssldir=/etc/ssl --libdir=lib no-shared no-dso no-engine no-module no-legacy no-autoload-config no-tests no-filenames \
    no-ssl3 no-tls1 no-tls1_1 no-dtls no-psk no-srp no-srtp no-nextprotoneg no-comp no-ct no-ocsp no-cms no-cmp no-ts no-rfc3779 no-ui-console no-ssl-trace no-gost no-sctp \
    no-aria no-bf no-blake2 no-camellia no-cast no-idea no-md2 no-md4 no-mdc2 no-ocb no-rc2 no-rc4 no-rc5 no-rmd160 no-scrypt no-seed no-siphash no-siv no-sm2 no-sm3 no-sm4 no-whirlpool \
    no-dsa no-ec2m no-multiblock no-afalgeng no-capieng no-padlockeng no-devcryptoeng no-async no-egd no-uplink no-weak-ssl-ciphers no-unit-test no-fips -DNDEBUG
  make -j"$jobs" build_libs
  cp libcrypto.a libssl.a "$root/lib/"
  mkdir -p "$root/include/openssl"
  cp include/openssl/*.h "$root/include/openssl/"
  version=$(sed -n 's/^# *define OPENSSL_VERSION_STR "\([0-9.]*\)"/\1/p' include/openssl/opensslv.h)
  pc libcrypto "$version" -lcrypto
  pc libssl "$version" "-lssl -lcrypto"
  pc openssl "$version" "-lssl -lcrypto"
}
build_nghttp2() {
  by_cmake -DENABLE_LIB_ONLY=ON -DENABLE_STATIC_LIB=ON -DENABLE_SHARED_LIB=OFF -DENABLE_DOC=OFF
}
build_curl() {
  # shellcheck disable=SC2086
  ./configure $cross --disable-shared --enable-static --with-openssl="$root" --with-nghttp2="$root" --with-zlib="$root" --without-zstd --without-brotli --without-libpsl --without-libidn2 \
    --without-librtmp --without-libssh2 --without-libgsasl --without-ca-bundle --without-ca-path --without-ngtcp2 --without-nghttp3 --disable-ftp --disable-file --disable-ldap --disable-ldaps \
    --disable-rtsp --disable-dict --disable-telnet --disable-tftp --disable-pop3 --disable-smb --disable-gopher --disable-mqtt --disable-manual --disable-docs \
    --disable-ntlm --disable-ntlm-wb --disable-kerberos-auth --disable-negotiate-auth --disable-aws --disable-sspi --disable-tls-srp --disable-alt-svc --disable-hsts --disable-netrc --disable-mime \
    --disable-cookies --disable-doh --disable-progress-meter --disable-libcurl-option --disable-dnsshuffle --enable-threaded-resolver --enable-unix-sockets --enable-proxy \
    --enable-http-auth --disable-digest-auth --disable-get-easy-options --disable-openssl-auto-load-config --disable-versioned-symbols --disable-symbol-hiding --disable-debug
  make -j"$jobs" -C lib install
  make -C include install
  make install-pkgconfigDATA
}
build_http_parser() {
  by_hand libhttp_parser.a "-DHTTP_PARSER_STRICT=0" http_parser.c
  cp http_parser.h "$root/include/"
}
build_libgit2() {
  by_cmake -DUSE_HTTPS=OFF -DUSE_SSH=OFF -DUSE_GSSAPI=OFF -DUSE_NTLMCLIENT=OFF -DUSE_SHA1=CollisionDetection -DUSE_SHA256=Builtin -DUSE_HTTP_PARSER=system -DREGEX_BACKEND=pcre2 -DUSE_BUNDLED_ZLIB=OFF \
    -DUSE_ICONV=OFF -DUSE_NSEC=ON -DUSE_THREADS=ON -DBUILD_CLI=OFF -DBUILD_TESTS=OFF -DBUILD_EXAMPLES=OFF -DDEPRECATE_HARD=OFF
}
build_libarchive() {
  # shellcheck disable=SC2086
  ./configure $cross --disable-shared --with-zlib --with-bz2lib --with-lzma --with-zstd --without-lz4 --without-lzo2 --without-libb2 --without-cng --without-mbedtls --without-nettle \
    --without-openssl --without-xml2 --without-expat --without-iconv --disable-bsdtar --disable-bsdcat --disable-bsdcpio --disable-xattr --disable-acl
  make -j"$jobs" install-libLTLIBRARIES install-includeHEADERS install-pkgconfigDATA
}
build_libpq() {
  # shellcheck disable=SC2086
  ac_cv_file__dev_urandom=yes ./configure --build=$(uname -m)-linux-gnu --host=$machine-linux-musl --prefix=/usr --sysconfdir=/etc/postgresql-common --with-template=linux --without-readline --without-zlib \
    --without-icu --with-ssl=openssl --disable-rpath --without-gssapi --without-ldap CFLAGS="-DNDEBUG" CPPFLAGS="-I$root/include" LDFLAGS="-L$root/lib"
  make -j"$jobs" -C src/backend generated-headers
  make -j"$jobs" -C src/common libpgcommon_shlib.a
  make -j"$jobs" -C src/port libpgport_shlib.a
  make -j"$jobs" -C src/interfaces/libpq libpq.a
  # One archive: its users need not know of the three.
  mkdir one && (cd one && davit-ar x ../src/interfaces/libpq/libpq.a && davit-ar x ../src/common/libpgcommon_shlib.a && davit-ar x ../src/port/libpgport_shlib.a)
  # What this says is how and where it was configured; libpq never asks.
  rm -f one/config_info_shlib.o "$root/lib/libpq.a"
  davit-ar crs "$root/lib/libpq.a" one/*.o
  cp src/interfaces/libpq/libpq-fe.h src/interfaces/libpq/libpq-events.h src/include/postgres_ext.h src/include/pg_config_ext.h "$root/include/"
  pc libpq "$(sed -n "s/^PACKAGE_VERSION='\([0-9.]*\)'/\1/p" configure)" "-lpq -lssl -lcrypto"
}
build_libmicrohttpd() {
  # shellcheck disable=SC2086
  ./configure $cross --disable-shared --disable-https --disable-doc --disable-examples --disable-curl --disable-dauth --disable-bauth --disable-postprocessor --disable-tools --enable-upgrade
  make -j"$jobs" -C src/microhttpd install
  make -C src/include install
  make install-pkgconfigDATA
}
build_musl() { :; }
# davit's own build makes it (cmake/libssh2.cmake) with the patches that it has.
build_libssh2() { :; }

# A part is built by this script once more, as a process of its own that ends at its first failure.
if [ -n "$building" ]; then
  cd "$root/src/$building"
  "build_$(echo "$building" | tr - _)"
  exit
fi
wanted=" $* "
parts | while IFS='|' read -r part name version suite in licence text; do
  [ "$wanted" = "  " ] || case $wanted in *" $part "*) ;; *) continue ;; esac
  [ ! -e "$root/$part.done" ] || continue
  echo "$machine: $part $version" >&2
  src=$root/src/$part
  [ "$part" = musl ] || { rm -rf "$src" && dpkg-source --no-check -x "$downloads/$(dsc_of "$name" "$version")" "$src" >"$root/$part.log" 2>&1; }
  # Of one age, so that nothing is made anew of what a patch has touched (that would want autoconf).
  find "$src" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  cp "$src/$text" "$root/licences/$part"
  "$0" "$machine" --build "$part" >>"$root/$part.log" 2>&1 </dev/null ||
    { tail -n 30 "$root/$part.log" >&2; echo "$part cannot be built: $root/$part.log" >&2; exit 1; }
  touch "$root/$part.done"
done
