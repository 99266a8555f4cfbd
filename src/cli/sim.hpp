// `gordian sim`: simulated runs from seeds. Reading the command line is main.cpp's.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "sim/world.hpp"

namespace gordian::cli {

struct SimOptions {
  sim::Options run{};   ///< of a single seed, or of each
  std::string seed;     ///< "7": that run with its log
  std::string seeds;    ///< "1..1000": many, and a table
  unsigned jobs = 1;    ///< threads for many seeds
  std::string without;  ///< kinds of faults, with commas
  bool shrink = true;   ///< a run of many that fails
  bool json = false;
};

/// Results go to `out`, what is wrong with the options to `err`. Returns the exit code: 0, 1 if a property was violated, 2 if
/// an option makes no sense.
[[nodiscard]] int run_sim(SimOptions options, std::ostream& out, std::ostream& err);

}  // namespace gordian::cli
