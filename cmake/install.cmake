# What `cmake --install` brings, and the packages that `cpack` makes of it.
include(GNUInstallDirs)
install(TARGETS davit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Where davit looks for what it executes: ../libexec/davit, seen from its own folder.
if(DAVIT_ONE_FILE)
  set(davit_helpers davit-forge)
else()
  set(davit_helpers davit-agent davit-step davit-forge)
endif()
install(TARGETS ${davit_helpers} RUNTIME DESTINATION libexec/davit)

# Man pages and completion are what `davit help` says; a program that cannot run here (cross build) goes without them.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(STATUS "cross build: no man pages and no completion")
else()
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/manual/davit.bash
    COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/manual.py $<TARGET_FILE:davit> ${CMAKE_BINARY_DIR}/manual
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/manual.py davit ${davit_helpers}
    COMMENT "Man pages and completion" VERBATIM)
  add_custom_target(manual ALL DEPENDS ${CMAKE_BINARY_DIR}/manual/davit.bash)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/manual/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
  install(FILES ${CMAKE_BINARY_DIR}/manual/davit.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME davit)
  install(FILES ${CMAKE_BINARY_DIR}/manual/davit.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _davit)
  install(FILES ${CMAKE_BINARY_DIR}/manual/davit.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
if(libssh2_licence)
  install(FILES ${libssh2_licence} DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright.libssh2)
endif()
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
# USE_SOURCE_PERMISSIONS: scripts stay executable.
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} USE_SOURCE_PERMISSIONS)
install(DIRECTORY schemas/ DESTINATION ${CMAKE_INSTALL_DATADIR}/davit/schemas FILES_MATCHING PATTERN "*.json" PATTERN gen EXCLUDE)
install(DIRECTORY actions DESTINATION ${CMAKE_INSTALL_DATADIR}/davit)
install(FILES action.yml DESTINATION ${CMAKE_INSTALL_DATADIR}/davit)

set(CPACK_GENERATOR "DEB;TGZ")
set(CPACK_PACKAGE_NAME davit)
set(CPACK_PACKAGE_VENDOR "The davit authors")
set(CPACK_PACKAGE_CONTACT "The davit authors <davit@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_DESCRIPTION "A self-hosted runner for GitHub Actions that runs typed deployment steps as a transaction: a failed health gate,\
 a cancel or a crash ends in the new version or the old one, never between.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# What no library shows: jobs are run by bash, GitHub's certificates are checked.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "bash, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "git, sudo")
include(CPack)
