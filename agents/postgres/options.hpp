// The settings of gordian-postgres: flags, GORDIAN_* variables, a TOML file (see src/config).
#pragma once

#include <chrono>
#include <optional>
#include <regex>
#include <string>

namespace gordian::postgres {

struct Settings {
  std::string coordinator = "tcp://127.0.0.1:7410";
  std::string site;
  std::string connect;
  std::string label;
  std::chrono::microseconds publish_after = std::chrono::milliseconds(100);
  std::chrono::microseconds poll_interval = std::chrono::milliseconds(100);
  std::chrono::microseconds busy_poll_interval = std::chrono::milliseconds(20);
  std::chrono::milliseconds reply_limit{2000};
  std::chrono::milliseconds idle_branch_grace{1000};
  std::string identity_pattern = "^gtx:(.+)$";
  std::string gid_pattern = "^gtx:([^/]+)";
  std::string never_pattern;
  std::string prepared = "never";
  std::string local_deadlocks = "leave";
  std::string log_level = "info";
};

/// Reads the command line, the environment and the file. Returns the exit code if the program shall end now.
[[nodiscard]] std::optional<int> read_settings(Settings& settings, int argc, const char* const* argv);

}  // namespace gordian::postgres
