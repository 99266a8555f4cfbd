// Which agent has a resource (docs/lock-protocol.md), and lists of agents as text.
#include <algorithm>
#include <gordian/lock_client.hpp>

#include "wire/ownership.hpp"

namespace gordian {

std::size_t rendezvous(std::span<const AgentAddress> sites, std::string_view name) {
  return wire::rendezvous(sites, name, [](const AgentAddress& agent) { return agent.site.view(); });
}

tl::expected<std::vector<AgentAddress>, std::string> AgentAddress::parse_list(std::string_view text) {
  std::vector<AgentAddress> agents;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    const auto one = text.substr(at, end - at);
    const auto equals = one.find('=');
    if (equals == std::string_view::npos || equals + 1 == one.size())
      return tl::unexpected("agent '" + std::string(one) + "': expected SITE=ENDPOINT, such as a=tcp://127.0.0.1:7420");
    auto site = SiteId::parse(one.substr(0, equals));
    if (!site) return tl::unexpected("agent '" + std::string(one) + "': " + site.error());
    if (std::any_of(agents.begin(), agents.end(), [&](const AgentAddress& other) { return other.site == *site; }))
      return tl::unexpected("site " + site->str() + " is named twice");
    agents.push_back({std::move(*site), std::string(one.substr(equals + 1))});
    at = end + 1;
  }
  return agents;
}

}  // namespace gordian
