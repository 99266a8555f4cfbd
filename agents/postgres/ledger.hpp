// What the agent has been told: every standing episode of waiting with its handle, and every described transaction.
//
// Compares each observation of the server with it and reports the differences. Whether two sightings are the same episode
// is decided here: same session, same transaction, same start of the wait, same global id.
#pragma once

#include <gordian/agent.hpp>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "postgres/observer.hpp"

namespace gordian::postgres {

/// One standing wait.
struct Episode {
  Branch branch;
  std::int64_t waitstart_us;
  TxnId waiter;

  friend bool operator==(const Episode&, const Episode&) = default;
  friend auto operator<=>(const Episode&, const Episode&) = default;
};

/// Who blocks a wait: each transaction once, firmest kind first, with all of its branches that stand in the way.
struct Standing {
  Kind kind;
  std::set<Branch> branches;

  friend bool operator==(const Standing&, const Standing&) = default;
};
using Blockers = std::map<TxnId, Standing>;

[[nodiscard]] Blockers blockers_of(const SeenWait& wait);

/// Those that block now as before, but not without a break: none of the branches that did so still does, or what was a
/// weaker kind is hard now.
[[nodiscard]] std::vector<TxnId> renewed(const Blockers& before, const Blockers& now);

/// Used by the engine's thread alone.
class Ledger {
 public:
  /// Something the agent refused; texts for the log.
  using Complaints = std::vector<std::string>;

  /// Brings `agent` up to date with what was seen of the sessions `asked`.
  [[nodiscard]] Complaints apply(Agent& agent, const std::vector<int>& asked, const Observation& seen);
  /// Nothing is known any more: all waits end.
  void clear(Agent& agent);

  [[nodiscard]] bool empty() const { return standing_.empty(); }
  [[nodiscard]] std::size_t size() const { return standing_.size(); }
  /// The sessions that have a standing wait.
  [[nodiscard]] std::vector<int> pids() const;
  [[nodiscard]] std::vector<Branch> branches() const;
  [[nodiscard]] bool knows(const Branch& branch) const;
  /// The episode of a standing wait, or nothing.
  [[nodiscard]] const Episode* find(WaitHandle handle) const;
  /// The branches of `txn` that block that wait.
  [[nodiscard]] std::vector<Branch> branches_blocking(WaitHandle handle, const TxnId& txn) const;

 private:
  struct Entry {
    WaitHandle handle;
    Blockers blockers;
  };

  void describe(Agent& agent, const std::map<TxnId, TxnInfo>& txns, Complaints& complaints);
  void begin(Agent& agent, const Episode& episode, const SeenWait& wait, Complaints& complaints);
  void update(Agent& agent, Entry& entry, Blockers now, Complaints& complaints);
  void forget_unused(Agent& agent);

  std::map<Episode, Entry> standing_;
  std::map<WaitHandle, Episode> episodes_;
  std::map<TxnId, TxnInfo> described_;
};

}  // namespace gordian::postgres
