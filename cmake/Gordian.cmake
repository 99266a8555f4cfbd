# Compiler settings shared by every target, and the three kinds of target this project has:
#   gordian_room(NAME ...)     a folder of the architecture: a static library gordian_NAME, alias gordian::NAME
#   gordian_program(NAME ...)  an executable in build/<preset>/bin
#   gordian_test(NAME ...)     a doctest executable; every test case becomes a ctest of its own

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

find_program(GORDIAN_CCACHE ccache)
if(GORDIAN_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${GORDIAN_CCACHE}")
endif()

add_library(gordian_options INTERFACE)
target_compile_options(gordian_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wold-style-cast -Wno-missing-field-initializers -Werror)
if(GORDIAN_SANITIZE)
  target_compile_options(gordian_options INTERFACE -fsanitize=${GORDIAN_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(gordian_options INTERFACE -fsanitize=${GORDIAN_SANITIZE})
endif()
if(GORDIAN_FUZZ)
  target_compile_options(gordian_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
# g++ 12 reports false positives of this one through inlined library code when optimising or instrumenting.
target_compile_options(gordian_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-error=maybe-uninitialized>)

# gordian_room(NAME SOURCES ... [PUBLIC targets...] [PRIVATE targets...])
function(gordian_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(gordian_${name} STATIC ${ARG_SOURCES})
  add_library(gordian::${name} ALIAS gordian_${name})
  target_include_directories(gordian_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(gordian_${name} PUBLIC ${ARG_PUBLIC} PRIVATE gordian_options ${ARG_PRIVATE})
endfunction()

# gordian_program(NAME SOURCES ... LINK targets...)
function(gordian_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${name} PRIVATE gordian_options ${ARG_LINK})
endfunction()

# gordian_test(NAME SOURCES ... LINK targets...)
function(gordian_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(test_${name} ${ARG_SOURCES})
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(test_${name} PRIVATE gordian_options gordian_test_main ${ARG_LINK})
  doctest_discover_tests(test_${name} TEST_PREFIX "${name}: ")
endfunction()
