// The map of coordinators that a gordiand is started with: from its options, checked.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "wire/ownership.hpp"

namespace gordian::gordiand {

struct MemberSettings {
  std::string member;              ///< this one's name; empty: it is alone
  std::vector<std::string> peers;  ///< NAME=ENDPOINT; this one may be among them
  std::string listen;
  std::string advertise;  ///< where others reach this one; empty: where it listens
  std::uint64_t map_version = 1;
};

/// All members, ordered by name, so that every member has the same map; none if this one is alone. The error is a sentence
/// about the option that is wrong.
[[nodiscard]] tl::expected<wire::MemberMap, std::string> member_map(const MemberSettings& settings);

}  // namespace gordian::gordiand
