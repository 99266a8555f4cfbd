// Which of the transactions owned here belong to a case that another coordinator leads.
//
// While one leads a case, nobody may lead another about the same transactions: so overlapping deadlocks are broken one
// after the other, and a victim of the first that broke the second too leaves no victim of the second. A leader that
// is gone does not hold its reservations for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "graph/wait_for_graph.hpp"

namespace gordian::coordinator {

/// What each site, by slot, had reported at some time: tells waits and edges known then from later ones.
struct SeenOfSite {
  std::uint64_t incarnation;  ///< of its agent: the next one counts anew
  std::uint64_t sequence;     ///< the largest
  std::uint64_t number;       ///< of the last message applied
};
using Seen = std::vector<SeenOfSite>;

class Reservations {
 public:
  /// A case: its leader's place in the map, and the leader's number.
  using Key = std::pair<std::size_t, std::uint64_t>;
  static constexpr std::size_t cases_max = 100'000;

  /// All of `owned` or none: false if one of them is another case's, or there are too many. Again for the same case: true, and
  /// what is not named any more is free.
  [[nodiscard]] bool reserve(Key key, std::vector<TxnId> owned, Seen seen, std::int64_t now_us, std::int64_t until_us);
  void release(Key key);
  /// Ends those of this leader that are not in `open` and were made before `before_us`; the keys' numbers.
  void keep_only(std::size_t leader, const std::vector<std::uint64_t>& open, std::int64_t before_us);
  void tick(std::int64_t now_us);

  [[nodiscard]] bool contains(const TxnId& txn) const { return reserved_.contains(txn); }
  /// What was known when the case began; null if it is over.
  [[nodiscard]] const Seen* seen(Key key) const;
  [[nodiscard]] std::int64_t next_tick_us() const;
  [[nodiscard]] std::size_t size() const { return cases_.size(); }

 private:
  struct Case {
    std::vector<TxnId> txns;
    Seen seen;
    std::int64_t since_us;
    std::int64_t until_us;
  };
  static constexpr std::size_t released_max = 10'000;

  std::map<Key, Case> cases_;
  std::set<Key> released_;  ///< lately: a reservation that its release overtook is none
  std::deque<Key> released_in_order_;
  std::unordered_map<TxnId, Key> reserved_;
};

}  // namespace gordian::coordinator
