# Every library as a SYSTEM include, so that its headers do not meet our warnings.
find_package(PkgConfig REQUIRED)
foreach(lib IN ITEMS libcurl jansson yaml-0.1 libcrypto libpcre2-8 sqlite3 libpq libgit2 libarchive libmicrohttpd)
  string(REGEX REPLACE "[^a-z0-9]" "_" var ${lib})
  pkg_check_modules(${var} REQUIRED IMPORTED_TARGET ${lib})
endforeach()
# libgit2.pc and libarchive.pc name their private parts for static links only; zlib and zstd are used directly.
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(cmocka IMPORTED_TARGET cmocka)
add_library(lib_core INTERFACE)
target_link_libraries(lib_core INTERFACE PkgConfig::libcurl PkgConfig::jansson PkgConfig::yaml_0_1 PkgConfig::libcrypto
  PkgConfig::libpcre2_8)
