# Warnings are errors everywhere; sanitizers and coverage come from the presets.
# Asserts stay in release builds: what cannot happen must not go on.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2")
# Sanitizers name lines and functions, nothing else.
set(CMAKE_C_FLAGS_DEBUG "-g1")
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wwrite-strings -Wvla -Wformat=2 -Wno-format-nonliteral -Wno-sign-conversion -Werror)
add_compile_options(-fno-strict-aliasing -fstack-protector-strong -ffunction-sections -fdata-sections)
add_compile_definitions(_GNU_SOURCE DAVIT_VERSION="${PROJECT_VERSION}" DAVIT_MAJOR=${PROJECT_VERSION_MAJOR}
  DAVIT_ACTIONS_REPOSITORY="${DAVIT_ACTIONS_REPOSITORY}")
add_link_options(-Wl,--as-needed -Wl,--gc-sections -Wl,-z,relro,-z,now)
# Some two hundred test programs are linked for each preset: gold takes a quarter of the time. What is installed is linked by the default one.
find_program(DAVIT_GOLD ld.gold)
if(DAVIT_GOLD AND NOT DAVIT_FUZZ AND NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  add_link_options(-fuse-ld=gold)
endif()
# Needs optimization, and hides from a sanitizer what it checks itself.
if(CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT DAVIT_SANITIZE)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(DAVIT_TEST_HOOKS)
  add_compile_definitions(DAVIT_TEST_HOOKS=1)
endif()
if(DAVIT_SANITIZE)
  add_compile_options(-fsanitize=${DAVIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DAVIT_SANITIZE})
endif()
if(DAVIT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
