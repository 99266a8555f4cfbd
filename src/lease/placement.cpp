// Which agent has a resource (docs/lock-protocol.md), and lists of agents as text.
#include <algorithm>
#include <gordian/lock_client.hpp>

namespace gordian {
namespace {

constexpr std::uint64_t fnv(std::uint64_t hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

constexpr std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 30;
  h *= 0xbf58476d1ce4e5b9ULL;
  h ^= h >> 27;
  h *= 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}

}  // namespace

std::size_t rendezvous(std::span<const AgentAddress> sites, std::string_view name) {
  std::size_t best = 0;
  std::uint64_t best_hash = 0;
  for (std::size_t i = 0; i < sites.size() && sites.size() > 1; ++i) {
    const auto hash = mix(fnv(fnv(14695981039346656037ULL, sites[i].site.view()), name));
    if (i == 0 || hash > best_hash || (hash == best_hash && sites[i].site < sites[best].site))
      best = i, best_hash = hash;
  }
  return best;
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
