// Who really waits for whom: every wait at every site with its edges, from the step in which it began to that in which it ended.
//
// Sites tell it what stands after each step that may have changed something; it keeps the difference as history. What is
// deadlocked, now or at an earlier instant, is found by reduction alone (docs/semantics.md): nothing of detect/ is used here.
// Cost: a report O(waits of the site); a reduction O(standing waits²), and only after a change.
#pragma once

#include <cstdint>
#include <gordian/wait.hpp>
#include <limits>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/scheduler.hpp"

namespace gordian::sim {

/// A transaction as the truth counts them.
using TxnNumber = std::uint32_t;

struct TrueEdge {
  TxnId blocker;
  Kind kind = Kind::hard;
  std::uint64_t since = 0;  ///< another value: it let go in between
  /// Of a wait for some of several: edges with the same number are one of the several, which needs all of them. 0: this one alone.
  std::uint64_t alternative = 0;
};
/// A wait as it stands at a site.
struct TrueWait {
  std::uint64_t key;                     ///< the site's own name of this episode
  std::vector<std::uint64_t> sequences;  ///< the agent's; none: not reported
  TxnId waiter;
  std::string resource;
  std::uint32_t need = 0;  ///< of its alternatives; 0: all
  std::vector<TrueEdge> edges;
};

constexpr Micros still = std::numeric_limits<Micros>::max();

struct EdgeLife {
  TxnNumber blocker;
  Kind kind;
  std::uint64_t since;
  std::uint64_t alternative;
  Micros begin;
  Micros end = still;
  std::string ended_by{};  ///< the incident whose order ended it; empty: something else did
};
struct WaitLife {
  std::size_t site;
  std::uint64_t incarnation;
  TxnNumber waiter;
  std::string resource;
  std::vector<std::pair<Micros, std::uint32_t>> needs;  ///< from when on how many of its alternatives it needs; 0: all
  Micros begin;
  Micros end = still;
  std::vector<EdgeLife> edges{};

  [[nodiscard]] std::uint32_t need_at(Micros instant) const;
};

class Truth {
 public:
  explicit Truth(const Scheduler& clock) : clock_(clock) {}

  /// What stands at the site after this step. `order`: the incident whose order was carried out in it, or empty.
  void report(std::size_t site, std::uint64_t incarnation, const std::vector<TrueWait>& waits,
              const std::string& order = {});

  [[nodiscard]] TxnNumber number(const TxnId& txn);
  [[nodiscard]] const TxnId& id(TxnNumber txn) const { return *names_[txn]; }
  /// Coordinators know the wait `sequence` by another name: it was told to another owner.
  void rename(std::size_t site, std::uint64_t incarnation, std::uint64_t sequence, std::uint64_t renamed);
  [[nodiscard]] const WaitLife* find(std::size_t site, std::uint64_t incarnation, std::uint64_t sequence) const;

  /// Who is deadlocked now, sorted, tails included.
  [[nodiscard]] const std::vector<TxnNumber>& deadlocked();
  [[nodiscard]] std::vector<TxnNumber> deadlocked_at(Micros instant) const;
  [[nodiscard]] bool is_deadlocked(const TxnId& txn);
  /// Since when each of deadlocked() is.
  [[nodiscard]] const std::map<TxnNumber, Micros>& deadlocked_since();
  [[nodiscard]] std::vector<const WaitLife*> standing() const;
  /// How often a wait or an edge began or ended.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  /// The most edges that ever stood at once.
  [[nodiscard]] std::uint64_t edges_max() const { return edges_max_; }
  [[nodiscard]] std::uint64_t deadlocks() const { return deadlocks_; }

 private:
  using AtSite = std::map<std::uint64_t, std::size_t>;  ///< key → place in lives_
  void begin(std::size_t site, std::uint64_t incarnation, const TrueWait& wait);
  void name(std::size_t site, std::uint64_t incarnation, const TrueWait& wait);
  void update(WaitLife& life, const TrueWait& wait, const std::string& order);
  void end(WaitLife& life, const std::string& order);
  void begin_edge(WaitLife& life, const TrueEdge& edge);
  void end_edge(EdgeLife& edge, const std::string& order);

  const Scheduler& clock_;
  std::vector<WaitLife> lives_;
  std::map<std::size_t, AtSite> standing_;
  std::map<std::tuple<std::size_t, std::uint64_t, std::uint64_t>, std::size_t> by_wait_id_;
  std::unordered_map<TxnId, TxnNumber> numbers_;
  std::vector<const TxnId*> names_;
  std::uint64_t changes_ = 0;
  std::uint64_t edges_ = 0;
  std::uint64_t edges_max_ = 0;
  std::uint64_t reduced_at_ = 0;  ///< changes_ of the last reduction
  std::vector<TxnNumber> deadlocked_;
  std::map<TxnNumber, Micros> since_;
  std::uint64_t deadlocks_ = 0;  ///< how often somebody became deadlocked when nobody was
};

/// A wait in a reduction.
struct ReducedWait {
  struct Edge {
    TxnNumber blocker;
    Kind kind;
    std::uint64_t alternative;
  };
  TxnNumber waiter;
  std::size_t site;
  std::uint32_t need;  ///< of the alternatives; 0: all
  std::vector<Edge> edges;
};
/// What is left when nothing can be reduced any more: deadlocked, sorted. Those in `ended` have ended.
[[nodiscard]] std::vector<TxnNumber> reduce(const std::vector<ReducedWait>& waits,
                                            const std::vector<TxnNumber>& ended = {});

}  // namespace gordian::sim
