// Chandy–Misra–Haas edge chasing (ACM TOCS 1, 1983) between coordinators that share the wait-for graph: each owns some
// transactions and knows all edges that leave those, and no others.
//
// A new wait is followed through the graph; where the path leaves what is owned here, a probe goes on at the next owner, with
// the path so far. A probe that comes back to a standing initiating wait names a cycle, a suspect: no deadlock yet. Waits that
// sent probes and stay send them again, later and later, for a probe may be lost. A wait that stood already when somebody joined a
// group it waits for is not followed: the cycle that this closes, if any, goes through the waits of whoever joined, and
// those are followed, at their owner's. All edges are followed alike, whatever
// their wait needs: whether a suspect is a deadlock is for the Detector to say, on the gathered edges; every deadlock that a
// wait newly closes has a cycle through that wait.
//
// Pure and not thread-safe; borrows the graph, which must outlive it. Messages: at most one for each edge between owners
// and initiation. Cost: a step O(what is reached here).
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <optional>
#include <queue>
#include <span>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "graph/wait_for_graph.hpp"
#include "wire/ownership.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::detect {

/// Names waits for everybody, where the graph has numbers of its own.
class WaitNames {
 public:
  virtual ~WaitNames() = default;
  /// Site, incarnation and sequence of the wait, and since when it is for this blocker, into `edge`.
  virtual void name(graph::WaitRef wait, wire::GlobalEdge& edge) const = 0;
  /// The wait of that name, if it stands here.
  [[nodiscard]] virtual std::optional<graph::WaitRef> find(const wire::GlobalEdge& edge) const = 0;
};

/// A transaction blocks all who wait for the group.
struct Membership {
  graph::GroupRef group;
  TxnId txn;
  friend bool operator==(const Membership&, const Membership&) = default;
};

/// Edges that leave transactions, as far as they are known here.
struct Closure {
  std::vector<wire::GlobalEdge> edges;
  std::vector<TxnId> txns;       ///< whose edges these are
  std::vector<TxnId> elsewhere;  ///< reached, and owned by others
  bool complete = true;          ///< false: there were more edges than allowed
};

class EdgeChaser {
 public:
  struct Options {
    /// Probes pass only transactions of a smaller id than the initiator's (those of a larger one probe themselves): fewer
    /// messages, but a cycle is found by its largest member's probe only, perhaps its next one.
    bool filter = false;
    std::int64_t again_first_us = 500'000;   ///< 0: never again
    std::int64_t again_last_us = 5'000'000;  ///< the pause doubles up to this
    std::size_t remembered = 1'000'000;      ///< probes seen, to drop duplicates
    std::size_t probes_per_start = 10'000;   ///< transactions of others that one step may reach
    std::uint64_t first_round = 1;           ///< a later start of this owner begins with a larger one
    wire::PeerLimits limits;
  };
  /// What was given up, each a limit or a message that came to the wrong place.
  struct Counters {
    std::uint64_t initiations = 0;  ///< waits followed that sent probes
    std::uint64_t probes_sent = 0;
    std::uint64_t probes_received = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t stale = 0;  ///< came back to a wait that is over, or to one who owns it no more
    std::uint64_t path_limit = 0;
    std::uint64_t fan_out_limit = 0;
    std::uint64_t suspects = 0;
  };

  EdgeChaser(const graph::WaitForGraph& graph, const WaitNames& names, const wire::MemberMap& map, std::size_t self,
             Options options)
      : graph_(graph), names_(names), map_(map), self_(self), options_(options), round_(options.first_round) {}

  /// The wait began or changed: follow it.
  void begin(graph::WaitRef wait, std::int64_t now_us);
  /// Whoever waits for the group waits for this transaction, too: its own waits are followed anew, or its owner is told to.
  void joined(const Membership& member, std::int64_t now_us);
  /// So says the owner of one who waits for it.
  void poke(const TxnId& txn, std::int64_t now_us);
  void receive(const wire::Probe& probe);
  /// Sends again what is due.
  void tick(std::int64_t now_us);
  [[nodiscard]] std::int64_t next_tick_us() const;

  /// All edges of these transactions and of whom they reach without leaving what is owned here.
  [[nodiscard]] Closure closure(std::span<const TxnId> txns);

  [[nodiscard]] std::size_t owner(const TxnId& txn) const { return wire::owner(map_, txn); }
  [[nodiscard]] bool owned(const TxnId& txn) const { return owner(txn) == self_; }

  struct Outgoing {
    std::size_t member;  ///< may be this one itself, for a suspect that it leads
    wire::PeerMessage message;
  };
  [[nodiscard]] std::vector<Outgoing> take_outgoing() { return std::exchange(outgoing_, {}); }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  /// What is told again while it stands: a wait to be followed, or a member that others own.
  using Lasting = std::variant<graph::WaitRef, Membership>;
  struct LastingHash {
    std::size_t operator()(const Lasting& one) const;
  };
  struct Again {
    std::int64_t due_us;
    std::int64_t pause_us;
    Lasting what;
    friend bool operator>(const Again& a, const Again& b) { return a.due_us > b.due_us; }
  };
  using Path = std::vector<wire::GlobalEdge>;

  /// Breadth first from a transaction's edges, or only those of one of its waits; stops at transactions of others.
  class Walk;
  std::size_t start(graph::WaitRef wait);
  void tell_owner(const TxnId& txn);
  void again(Lasting what, std::int64_t pause_us, std::int64_t now_us);
  [[nodiscard]] bool lasts(const Lasting& what) const;
  std::size_t go_on(Walk& walk, const Path& before, std::uint64_t round, bool filtered);
  void close(Path cycle);
  [[nodiscard]] wire::GlobalEdge edge(graph::EdgeSlot wait_edge, graph::Vertex blocker) const;
  [[nodiscard]] bool stands(graph::EdgeSlot e) const;
  [[nodiscard]] bool is_new(const wire::Probe& probe);

  const graph::WaitForGraph& graph_;
  const WaitNames& names_;
  const wire::MemberMap& map_;
  const std::size_t self_;
  const Options options_;
  std::uint64_t round_;  ///< counts initiations, so that a wait followed again is no duplicate
  std::vector<Outgoing> outgoing_;
  Counters counters_;
  std::priority_queue<Again, std::vector<Again>, std::greater<>> again_;
  std::unordered_map<Lasting, std::int64_t, LastingHash> due_;  ///< when each is; other entries of again_ are void
  absl::flat_hash_set<std::uint64_t> seen_,
      seen_before_;  ///< digests of probes; the older set is dropped when the newer is full
};

}  // namespace gordian::detect
