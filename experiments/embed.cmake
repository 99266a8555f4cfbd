# Makes shipped.cpp of the files configs/*.toml, at configure time; again when one of them changes.
function(embed_configurations output)
  file(GLOB files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/configs/*.toml")
  list(SORT files)
  set(entries "")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    file(READ "${file}" text)
    string(APPEND entries "      {\"${name}\", R\"~~~(${text})~~~\"},\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  endforeach()
  file(CONFIGURE OUTPUT "${output}" @ONLY CONTENT [=[// Made by experiments/embed.cmake of experiments/configs.
#include "experiments/plan.hpp"

namespace gordian::experiments {
const std::vector<Shipped>& shipped() {
  static const std::vector<Shipped> all{
@entries@  };
  return all;
}
}  // namespace gordian::experiments
]=])
endfunction()
