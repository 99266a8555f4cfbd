// `gordian experiment`: what ships, runs of configurations, and the laws that the model keeps. What a run is, is experiments/'s.
#pragma once

#include <memory>
#include <optional>

namespace CLI {
class App;
}

namespace gordian::cli {

class ExperimentCommands {
 public:
  /// Declares them.
  explicit ExperimentCommands(CLI::App& app);
  ~ExperimentCommands();

  /// If one of them was given: does it, and returns the exit code.
  [[nodiscard]] std::optional<int> run();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::cli
