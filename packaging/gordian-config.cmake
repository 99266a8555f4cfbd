# find_package(gordian): the target gordian::gordian, include/gordian with its shared library.
include(CMakeFindDependencyMacro)
find_dependency(tl-expected)
include("${CMAKE_CURRENT_LIST_DIR}/gordian-targets.cmake")
