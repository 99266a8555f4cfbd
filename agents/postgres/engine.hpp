// The loop of gordian-postgres: look, ask, report; answer the coordinator's confirmations; carry its orders out.
//
// One thread does all work with the server. The agent's callbacks only put what they are asked into a queue and wake it.
// While nobody waits it looks every `poll_interval`; while somebody does, every `busy_poll_interval`, and exactly when a
// young wait comes of age. The dear question "for whom" may take a tenth of its time, not more.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "postgres/options.hpp"

namespace gordian::postgres {

class Engine {
 public:
  /// Starts the agent and the loop; returns before the server or a coordinator was reached. The error is a sentence:
  /// a setting that cannot be used.
  [[nodiscard]] static tl::expected<std::unique_ptr<Engine>, std::string> start(const Settings& settings);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  /// Ends the loop within a moment, and says goodbye to the coordinator. From any thread, once.
  void stop();

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::postgres
