// The lock service's real programs, as benchmarks start and question them.
#pragma once

#include <gordian/lock_client.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "common.hpp"
#include "experiments/services.hpp"

namespace gordian::bench {

using Json = nlohmann::ordered_json;

template <class T, class E>
T must(tl::expected<T, E> result) {
  if (!result) fail(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class Services : public experiments::Services {
 public:
  Services(const TemporaryFolder& folder, const std::string& transport, std::size_t agents,
           std::size_t coordinators = 1)
      : experiments::Services(folder, {.transport = transport, .agents = agents, .coordinators = coordinators}) {}

  [[nodiscard]] LockClient client() const {
    return must(LockClient::start({.agents = addresses(), .limits = {}, .on_log = {}}));
  }
  [[nodiscard]] Json coordinator_status(std::size_t coordinator = 0) const {
    return Json::parse(coordinator_status_json(coordinator));
  }
  /// At all coordinators together.
  [[nodiscard]] std::size_t waits() const {
    std::size_t all = 0;
    for (std::size_t i = 0; i < coordinators(); ++i) all += coordinator_status(i)["waits"].get<std::size_t>();
    return all;
  }
  [[nodiscard]] Json agent_status(std::size_t agent) const { return Json::parse(agent_status_json(agent)); }
};

}  // namespace gordian::bench
