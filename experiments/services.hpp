// The lock service's real programs: gordiands and gordian-agents, started with free ports and ended with their object.
#pragma once

#include <gordian/lock_client.hpp>
#include <memory>
#include <string>
#include <vector>

#include "experiments/child.hpp"

namespace gordian::experiments {

struct ServicesOptions {
  std::string programs = own_folder();  ///< where gordiand and gordian-agent are
  std::string transport = "tcp";  ///< or ipc; several coordinators need that: they must know each other's endpoints
  std::size_t agents = 1;         ///< at most 26
  std::size_t coordinators = 1;   ///< more than one share the graph; 0: nobody detects deadlocks
  std::vector<std::string> agent_flags{"--publish-after", "0"};
  std::vector<std::string> coordinator_flags{};
};

/// All agents and all coordinators know each other when the constructor returns. Not thread-safe.
class Services {
 public:
  static constexpr std::size_t agents_max = 26;

  /// `folder` is borrowed. Throws std::runtime_error (or a class of it) if they do not start within 10 s.
  Services(const TemporaryFolder& folder, const ServicesOptions& options);
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;
  virtual ~Services() = default;

  [[nodiscard]] const std::vector<AgentAddress>& addresses() const { return addresses_; }
  [[nodiscard]] std::size_t coordinators() const { return coordinators_.size(); }
  /// JSON as docs/cli.md has it. Throw std::runtime_error.
  [[nodiscard]] std::string coordinator_status_json(std::size_t coordinator = 0) const;
  [[nodiscard]] std::string agent_status_json(std::size_t agent) const;
  /// Of all coordinators together; 0 for a counter that they do not have.
  [[nodiscard]] std::uint64_t counter(const std::string& name) const;

 private:
  [[nodiscard]] std::string listen(const std::string& name) const;
  void start_coordinator(std::size_t place);
  void start_agent(std::size_t place);
  [[nodiscard]] std::size_t complete_sites() const;

  const TemporaryFolder& folder_;
  const ServicesOptions options_;
  std::vector<std::unique_ptr<Child>> gordiands_;
  std::vector<std::string> coordinators_;
  std::vector<std::unique_ptr<Child>> agents_;
  std::vector<AgentAddress> addresses_;
};

}  // namespace gordian::experiments
