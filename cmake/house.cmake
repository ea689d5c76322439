# davit_folder(NAME PATH SOURCES … LINK …): one static library for one folder of the tree.
#
# The house has one rule: dependence points down. A folder's headers are reached as "PATH/name.h" through an include
# directory that holds nothing but a link to that folder, and that directory comes with linking to the folder's target.
# So an include of a folder that is not linked to does not compile.
function(davit_folder name path)
  cmake_parse_arguments(F "" "" "SOURCES;LINK;SYSTEM" ${ARGN})
  add_library(${name} STATIC ${F_SOURCES})
  set(inc ${CMAKE_BINARY_DIR}/inc/${name})
  get_filename_component(parent ${path} DIRECTORY)
  file(MAKE_DIRECTORY ${inc}/${parent})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${path} ${inc}/${path} SYMBOLIC)
  target_include_directories(${name} PUBLIC ${inc})
  target_link_libraries(${name} PUBLIC ${F_LINK})
endfunction()
