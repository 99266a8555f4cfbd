// The lock service's real programs, as benchmarks start them.
#pragma once

#include <chrono>
#include <gordian/lock_client.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "child.hpp"
#include "common.hpp"
#include "net/query.hpp"

namespace gordian::bench {

using Json = nlohmann::ordered_json;

template <class T, class E>
T must(tl::expected<T, E> result) {
  if (!result) fail(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Coordinators that share the graph, or one alone, and gordian-agents, started for one part of a benchmark; all agents and all
/// members know each other. With several coordinators the transport must be ipc: they must know each other's endpoints.
class Services {
 public:
  Services(const TemporaryFolder& folder, const std::string& transport, std::size_t agents,
           std::size_t coordinators = 1)
      : folder_(folder), transport_(transport) {
    for (std::size_t i = 0; i < coordinators; ++i) start_coordinator(i, coordinators);
    for (std::size_t i = 0; i < coordinators; ++i)
      coordinators_.push_back(endpoint_in(folder / (member(i) + ".endpoint")));
    for (std::size_t i = 0; i < agents; ++i) {
      const std::string site(1, static_cast<char>('a' + i));
      agents_.push_back(std::make_unique<Child>(std::vector<std::string>{
          own_folder() + "/gordian-agent", "--site", site, "--listen", listen(site), "--endpoint-file",
          folder / (site + ".endpoint"), "--state", folder / (site + ".state"), "--coordinator", coordinators_.front(),
          "--publish-after", "0", "--log-level", "error"}));
      addresses_.push_back({SiteId(site), endpoint_in(folder / (site + ".endpoint"))});
    }
    wait_until([&] { return complete_sites() == agents * coordinators; }, "all agents are known to all coordinators");
  }

  [[nodiscard]] const std::vector<AgentAddress>& addresses() const { return addresses_; }
  [[nodiscard]] LockClient client() const {
    return must(LockClient::start({.agents = addresses_, .limits = {}, .on_log = {}}));
  }
  [[nodiscard]] Json coordinator_status(std::size_t coordinator = 0) const {
    return Json::parse(must(net::query(coordinators_[coordinator], "status", "", std::chrono::seconds(5))));
  }
  /// At all coordinators together.
  [[nodiscard]] std::size_t waits() const {
    std::size_t all = 0;
    for (std::size_t i = 0; i < coordinators_.size(); ++i) all += coordinator_status(i)["waits"].get<std::size_t>();
    return all;
  }
  [[nodiscard]] Json agent_status(std::size_t agent) const {
    return Json::parse(must(net::query(addresses_[agent].endpoint, "status", "", std::chrono::seconds(5))));
  }

 private:
  [[nodiscard]] std::string listen(const std::string& name) const {
    return transport_ == "ipc" ? "ipc://" + (folder_ / name) : std::string("tcp://127.0.0.1:*");
  }
  static std::string member(std::size_t place) { return "m" + std::to_string(place); }
  void start_coordinator(std::size_t place, std::size_t all) {
    std::vector<std::string> arguments{own_folder() + "/gordiand",
                                       "--listen",
                                       listen(member(place)),
                                       "--endpoint-file",
                                       folder_ / (member(place) + ".endpoint"),
                                       "--history",
                                       "",
                                       "--log-level",
                                       "error"};
    for (std::size_t i = 0; i < all && all > 1; ++i) {
      arguments.insert(arguments.end(), {"--peer", member(i) + "=" + listen(member(i))});
      if (i == place) arguments.insert(arguments.end(), {"--member", member(i)});
    }
    gordiands_.push_back(std::make_unique<Child>(arguments));
  }
  [[nodiscard]] std::size_t complete_sites() const {
    std::size_t complete = 0;
    for (std::size_t i = 0; i < coordinators_.size(); ++i) {
      const auto status = coordinator_status(i);
      for (const auto& site : status["sites"]) complete += site["state"] == "complete" ? 1 : 0;
    }
    return complete;
  }

  const TemporaryFolder& folder_;
  std::string transport_;
  std::vector<std::unique_ptr<Child>> gordiands_;
  std::vector<std::string> coordinators_;
  std::vector<std::unique_ptr<Child>> agents_;
  std::vector<AgentAddress> addresses_;
};

}  // namespace gordian::bench
