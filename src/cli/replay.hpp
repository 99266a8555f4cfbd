// `gordian replay`: wait-for traces through the real detector. Reading the command line is main.cpp's.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "detect/victims.hpp"

namespace gordian::cli {

struct ReplayOptions {
  bool check = false;  ///< compare with the traces' own `expect` lines instead of printing incidents
  enum class Format : std::uint8_t { text, json } format = Format::text;
  std::optional<detect::Policy> policy = std::nullopt;  ///< in place of the one a trace names
  std::vector<std::string> files = {};
};

/// Replays every file, also after one that fails. Results go to `out`, what cannot be replayed to `err`. Returns the
/// exit code: 2 if a file could not be read or replayed, else 1 if an expectation failed under `check`, else 0.
[[nodiscard]] int run_replay(const ReplayOptions& options, std::ostream& out, std::ostream& err);
/// The same, on standard output and standard error.
[[nodiscard]] int run_replay(const ReplayOptions& options);

}  // namespace gordian::cli
