// Who is responsible for what: rendezvous hashing (Thaler & Ravishankar 1998), and the map of coordinators that share the
// wait-for graph by it. Pure functions of names: the same on every machine. Written down in docs/protocol.md.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace gordian::wire {

/// The weight of `name` at the place called `place`: the place with the largest has it; of equal ones the smaller name.
[[nodiscard]] constexpr std::uint64_t rendezvous_weight(std::string_view place, std::string_view name) {
  std::uint64_t h = 14695981039346656037ULL;
  for (const auto text : {place, name})
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}

/// The place of `name` among `places`; `text_of(place)` is a place's name. 0 if there is one place or none. Cost: O(places).
template <class Places, class TextOf>
[[nodiscard]] std::size_t rendezvous(const Places& places, std::string_view name, TextOf text_of) {
  std::size_t best = 0;
  std::uint64_t best_weight = 0;
  for (std::size_t i = 0; i < places.size() && places.size() > 1; ++i) {
    const std::string_view place = text_of(places[i]);
    const auto weight = rendezvous_weight(place, name);
    if (i == 0 || weight > best_weight || (weight == best_weight && place < std::string_view(text_of(places[best]))))
      best = i, best_weight = weight;
  }
  return best;
}

/// A coordinator that shares the graph.
struct Member {
  std::string name;
  std::string endpoint;  ///< where agents and other members reach it

  friend bool operator==(const Member&, const Member&) = default;
};

/// All of them. Without members: one coordinator that owns everything.
struct MemberMap {
  std::uint64_t version = 0;  ///< a changed map has a larger one
  std::vector<Member> members;

  static constexpr std::size_t members_max = 64;

  friend bool operator==(const MemberMap&, const MemberMap&) = default;
};

/// The member that owns the transaction: it knows all of its waits, at every site.
[[nodiscard]] inline std::size_t owner(const MemberMap& map, const TxnId& txn) {
  return rendezvous(map.members, txn.view(), [](const Member& m) -> std::string_view { return m.name; });
}

}  // namespace gordian::wire
