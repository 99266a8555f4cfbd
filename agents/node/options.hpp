// The settings of gordian-agent. docs/lock-agent.md describes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <gordian/lock_table.hpp>
#include <optional>
#include <string>

namespace gordian::node {

struct Settings {
  std::string site;
  std::string listen = "tcp://127.0.0.1:7420";
  std::string endpoint_file;
  std::string coordinator = "tcp://127.0.0.1:7410";
  std::string state;
  std::string durability = "none";
  std::string label;
  std::string strategy = "detect";
  std::string modes = "standard";
  std::chrono::microseconds lock_timeout{std::chrono::seconds(10)};
  std::chrono::microseconds publish_after{std::chrono::milliseconds(100)};
  std::chrono::milliseconds ttl_max{std::chrono::hours(1)};
  std::uint64_t max_sessions = 200'000;
  std::uint64_t max_waiters = 100'000;
  std::uint64_t max_message_bytes = 4u << 20;
  std::uint64_t max_send_queue = 100'000;
  std::string log_level = "info";
  std::string log_format = "text";

  [[nodiscard]] bool journal() const { return durability == "journal"; }
  [[nodiscard]] LockTableOptions table() const;
};

/// Fills `settings` from flags, environment and file; the exit code if the program is to end now.
[[nodiscard]] std::optional<int> read_settings(Settings& settings, int argc, const char* const* argv);

}  // namespace gordian::node
