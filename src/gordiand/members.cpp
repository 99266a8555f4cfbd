#include "gordiand/members.hpp"

#include <algorithm>

namespace gordian::gordiand {
namespace {

constexpr std::size_t name_bytes_max = 64;

std::string name_complaint(const std::string& name) {
  const auto plain = [](unsigned char c) { return c > ' ' && c < 127 && c != '=' && c != ','; };
  if (!name.empty() && name.size() <= name_bytes_max && std::all_of(name.begin(), name.end(), plain)) return {};
  return "\"" + name + "\" was given, expected a name of 1 to " + std::to_string(name_bytes_max) +
         " letters, digits or other plain characters";
}

tl::expected<wire::Member, std::string> member_of(const std::string& peer) {
  const auto sign = peer.find('=');
  if (sign == std::string::npos)
    return tl::unexpected("peer: \"" + peer + "\" was given, expected NAME=ENDPOINT such as b=tcp://10.0.0.2:7410");
  wire::Member member{peer.substr(0, sign), peer.substr(sign + 1)};
  if (const auto wrong = name_complaint(member.name); !wrong.empty()) return tl::unexpected("peer: " + wrong);
  if (!member.endpoint.starts_with("tcp://") && !member.endpoint.starts_with("ipc://"))
    return tl::unexpected("peer " + member.name + ": \"" + member.endpoint +
                          "\" was given, expected tcp://ADDRESS:PORT or ipc:///PATH");
  return member;
}

/// Where the others reach this one, which is not among `peers`.
tl::expected<std::string, std::string> own_endpoint(const MemberSettings& settings) {
  const auto& own = settings.advertise.empty() ? settings.listen : settings.advertise;
  if (own.find('*') == std::string::npos && own.find("//0.0.0.0") == std::string::npos) return own;
  return tl::unexpected("advertise: others cannot reach \"" + own +
                        "\"; give the address and port at which they can with --advertise");
}

}  // namespace

tl::expected<wire::MemberMap, std::string> member_map(const MemberSettings& settings) {
  if (settings.member.empty() && settings.peers.empty()) return wire::MemberMap{};
  if (settings.member.empty())
    return tl::unexpected(
        std::string("member: there are peers, and this one has no name; give the one they know it by with --member"));
  if (const auto wrong = name_complaint(settings.member); !wrong.empty()) return tl::unexpected("member: " + wrong);
  wire::MemberMap map{settings.map_version, {}};
  for (const auto& peer : settings.peers) {
    auto member = member_of(peer);
    if (!member) return tl::unexpected(member.error());
    for (const auto& other : map.members) {
      if (other.name == member->name) return tl::unexpected("peer: " + member->name + " was given twice");
      if (other.endpoint == member->endpoint)
        return tl::unexpected("peer: " + other.name + " and " + member->name + " have one endpoint, " + other.endpoint);
    }
    map.members.push_back(*std::move(member));
  }
  if (const auto own = std::ranges::find(map.members, settings.member, &wire::Member::name); own == map.members.end()) {
    const auto endpoint = own_endpoint(settings);
    if (!endpoint) return tl::unexpected(endpoint.error());
    map.members.push_back({settings.member, *endpoint});
  } else if (!settings.advertise.empty() && settings.advertise != own->endpoint) {
    return tl::unexpected("advertise: \"" + settings.advertise + "\" was given, but peer " + own->name + " is at " +
                          own->endpoint);
  }
  if (map.members.size() > wire::MemberMap::members_max)
    return tl::unexpected("peer: " + std::to_string(map.members.size()) + " members, at most " +
                          std::to_string(wire::MemberMap::members_max) + " may share a graph");
  std::ranges::sort(map.members, {}, &wire::Member::name);
  return map;
}

}  // namespace gordian::gordiand
