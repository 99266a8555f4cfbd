// `gordian lock`: runs a command while a lock is held.
#pragma once

#include <chrono>
#include <gordian/lock_client.hpp>
#include <optional>
#include <string>
#include <vector>

namespace gordian::cli {

struct HoldOptions {
  std::vector<AgentAddress> agents;
  std::string name;
  Mode mode = modes::X;
  std::chrono::milliseconds ttl{10'000};
  std::optional<std::chrono::microseconds> wait;  ///< none: without end
  int lost_signal;                                ///< to the command, when the lease is lost
  std::vector<std::string> command;
};

/// Blocks until the command has ended; the exit code of the program. Errors are told on stderr.
/// The command finds GORDIAN_LOCK (the name), GORDIAN_FENCE ("epoch.counter"), GORDIAN_FENCE_EPOCH, GORDIAN_FENCE_COUNTER and
/// GORDIAN_TXN in its environment. SIGINT, SIGTERM and SIGHUP are passed on to it; it ends when this program is killed.
[[nodiscard]] int hold(const HoldOptions& options);

}  // namespace gordian::cli
