// The subcommands that speak to lock agents: lock, locks, unlock.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace gordian::cli {

class LockCommands {
 public:
  /// Declares them.
  explicit LockCommands(CLI::App& app);
  ~LockCommands();

  /// If one of them was given: does it, and returns the exit code. `timeout`: for an agent's answer; `command`: what stood after
  /// "--" in the command line.
  [[nodiscard]] std::optional<int> run(std::chrono::milliseconds timeout, std::vector<std::string> command);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::cli
