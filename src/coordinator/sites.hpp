// The sites and what their agents report: sessions, numbering, snapshots, leases; keeps the wait-for graph up to date.
//
// A site's waits are exactly what its agent said last: a delta out of order leads to a snapshot, a snapshot replaces only
// its own site's waits, a silent agent's waits go with its lease. Decides nothing about deadlocks: that is resolution.hpp.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "coordinator/coordinator.hpp"
#include "coordinator/outbox.hpp"
#include "coordinator/reservations.hpp"
#include "coordinator/standing.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::coordinator {

/// A holder group as its agent reported it last.
struct StandingGroup {
  std::string resource;
  std::string mode;
  Kind kind = Kind::hard;
  /// → number of the message that reported the membership last: it has stood since then at least.
  std::unordered_map<TxnId, std::uint64_t> members;
};

struct Site {
  SiteId id;
  graph::SiteSlot slot;
  SiteView::State state = SiteView::State::missing;
  PeerId peer;           ///< empty while missing
  std::string instance;  ///< of the process that spoke last
  std::uint64_t incarnation = 0;
  std::uint64_t applied = 0;
  std::uint64_t last_sequence = 0;  ///< the largest reported
  std::uint64_t last_number =
      0;  ///< of a message whose changes were applied, also of a part of a snapshot that is arriving
  std::int64_t last_heard_us = 0;
  bool resolve_local_deadlocks = true;
  std::string engine, label, software;

  std::unordered_map<std::uint64_t, StandingGroup> groups;
  bool groups_left_out = false;  ///< over a limit: that a wait names an unknown group is not the agent's mistake
  std::unordered_map<TxnId, TxnInfo> infos;

  /// A snapshot of which not all parts have come.
  struct Arriving {
    std::uint64_t number;
    std::uint64_t next_part = 0;
    std::unordered_set<std::uint64_t> sequences;
    std::unordered_set<std::uint64_t> groups;
    std::unordered_set<TxnId> txns;
  };
  std::optional<Arriving> arriving;
  bool left = false;  ///< said goodbye: not missing, and not shown

  /// Another process that claims this site while this one's lease runs.
  struct Challenger {
    std::string instance;
    std::int64_t since_us;
  };
  std::optional<Challenger> challenger;
};

/// The wait began or changed. `at`: where it stood then, which spares a look-up; what it was does not depend on that.
struct Begun {
  graph::WaitRef wait;
  graph::WaitSlot at = graph::no_slot;

  friend bool operator==(const Begun& a, const Begun& b) { return a.wait == b.wait; }
  friend auto operator<=>(const Begun& a, const Begun& b) { return a.wait <=> b.wait; }
};
/// The transaction became a member of the group, or did so anew.
struct Joined {
  graph::GroupRef group;
  TxnId txn;

  friend bool operator==(const Joined&, const Joined&) = default;
  friend auto operator<=>(const Joined&, const Joined&) = default;
};
/// What may have closed a cycle: a wait that began or changed, or a new member.
using Touched = std::variant<Begun, Joined>;

class Sites {
 public:
  Sites(const Options& options, std::uint64_t& epoch, graph::WaitForGraph& graph, Outbox& out, Time now);

  /// The site that this peer speaks for, or null if it has not said hello.
  [[nodiscard]] Site* of_peer(const PeerId& peer);
  void hello(const PeerId& peer, const wire::Hello& hello, Time now);
  void heartbeat(Site& site, const wire::Heartbeat& message);
  void delta(Site& site, const wire::Delta& message, Time now);
  void snapshot(Site& site, const wire::Snapshot& message, Time now);
  void goodbye(Site& site, const wire::Goodbye& message);
  /// Ends the leases of silent sites.
  void tick(Time now);
  /// When the next lease may end.
  [[nodiscard]] std::int64_t next_tick_us() const;

  /// What came since they were forgotten: where a search has to start.
  [[nodiscard]] const std::vector<Touched>& touched() const { return touched_; }
  void forget_touched() { touched_.clear(); }
  /// Sites whose session ended since the last call: nothing more will be answered by them.
  [[nodiscard]] std::vector<graph::SiteSlot> take_lost();

  [[nodiscard]] const Site& at(graph::SiteSlot slot) const { return *by_slot_.at(slot); }
  /// What the agent said of the wait beside the graph's edges; null if it does not stand.
  [[nodiscard]] const Standing* find(graph::WaitRef ref) const;
  /// The whole wait, without its age; it must stand. Blockers and groups as the graph has them: each once, not the waiter itself.
  [[nodiscard]] Wait wait(graph::WaitRef ref) const;
  /// The number of the message that reported last that this wait is for this blocker, named or as a member of a group.
  /// The wait must stand. Cost: O(its groups).
  [[nodiscard]] std::uint64_t edge_number(graph::WaitRef ref, const TxnId& blocker) const;
  /// What all sites together say of a transaction; `also`: what other coordinators heard, of sites that told nothing here.
  [[nodiscard]] TxnInfo info(const TxnId& txn, std::span<const wire::Described> also = {}) const;
  /// Adds what each site says of it.
  void describe(const TxnId& txn, std::vector<wire::Described>& described) const;
  /// The site's slot, if its agent has a session with this incarnation.
  [[nodiscard]] std::optional<graph::SiteSlot> live_slot(const SiteId& id, std::uint64_t incarnation) const;
  [[nodiscard]] Seen seen() const;
  [[nodiscard]] const std::map<SiteId, Site>& all() const { return sites_; }
  [[nodiscard]] bool degraded() const;

 private:
  Site* site_for(const wire::Hello& hello, const PeerId& peer);
  [[nodiscard]] bool admit(Site& site, const PeerId& peer, const wire::Hello& hello, Time now);
  void begin_session(Site& site, const PeerId& peer, const wire::Hello& hello, Time now);
  void end_session(Site& site);
  void forget(const SiteId& id);
  void ask_resync(Site& site, std::string reason);
  void apply(Site& site, std::span<const wire::Change> changes, std::uint64_t number, Time now);
  void look_ahead(const Site& site, std::span<const wire::Change> changes);
  void apply(Site& site, const wire::WaitChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::EndWaitChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::TxnChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::ForgetTxnChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::GroupChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::JoinChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::LeaveChange& change, std::uint64_t number, Time now);
  void apply(Site& site, const wire::EndGroupChange& change, std::uint64_t number, Time now);
  [[nodiscard]] bool groups_known(Site& site, const wire::WaitChange& change);
  [[nodiscard]] bool group_known(Site& site, GroupHandle group, const std::string& who);
  void join(Site& site, std::uint64_t group, const TxnId& txn, std::uint64_t number, bool touch);
  void leave(Site& site, std::uint64_t group, const TxnId& txn);
  void end_group(Site& site, std::uint64_t group);
  void graph_full(const Site& site, const graph::LimitReached& limit, const char* what);
  void end_wait(Site& site, std::uint64_t sequence, graph::WaitSlot hint = graph::no_slot);
  void forget_txn(Site& site, const TxnId& txn);
  void drop_waits(Site& site);  ///< and groups
  void record(const Site& site, const auto& change);

  const Options& options_;
  std::uint64_t& epoch_;
  graph::WaitForGraph& graph_;
  Outbox& out_;
  std::map<SiteId, Site> sites_;
  std::unordered_map<PeerId, Site*> peers_;
  std::vector<Site*> by_slot_;
  std::vector<graph::SiteSlot> free_slots_;
  std::size_t infos_ = 0;
  StandingWaits standing_;
  std::vector<Touched> touched_;
  /// What the next few changes name, in their order: the transactions of waits that begin, and the waits that end.
  struct Ahead {
    std::vector<const TxnId*> names;
    std::vector<graph::Vertex> held;
    std::size_t next_held = 0;
    std::vector<graph::WaitRef> ending;
    std::vector<graph::WaitSlot> found;
    std::size_t next_found = 0;
    std::vector<graph::HeldBlocker> blockers;  ///< of one wait
  } ahead_;
  std::vector<graph::SiteSlot> lost_;
};

void Sites::record(const Site& site, const auto& change) {
  if (options_.record) out_.events.emplace_back(Applied{site.id, change});
}

/// Folds one site's description of a transaction into what is known already: see TxnInfo.
void merge(TxnInfo& known, const TxnInfo& said, bool first);

}  // namespace gordian::coordinator
