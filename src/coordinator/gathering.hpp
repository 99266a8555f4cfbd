// From a suspicion to evidence: edge chasing between coordinators, and the collecting of all edges around a suspect.
//
// A cycle of transactions that have one edge each is evidence by itself. For any other, the edges of all that its members
// reach are gathered from their owners; what an owner does not answer in time is left out, which hides a deadlock until the
// next probe, and never makes one.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "coordinator/peers.hpp"
#include "coordinator/sites.hpp"
#include "detect/edge_chaser.hpp"

namespace gordian::coordinator {

/// Edges of which some may make a deadlock.
struct Evidence {
  std::vector<wire::GlobalEdge> edges;
  std::vector<wire::Described> described;
};

class Gathering {
 public:
  Gathering(const Options& options, const graph::WaitForGraph& graph, const Sites& sites, Peers& peers, Outbox& out);

  /// These waits and members are new or changed: follow them to other owners.
  void follow(const std::vector<Touched>& touched, Time now);
  /// Collects what these transactions reach.
  void collect(std::vector<TxnId> txns, Time now);
  /// The same after a pause, for a case that was refused: `attempt` counts from 1, and after some it is left to the next probe.
  void collect_later(std::vector<TxnId> txns, unsigned attempt, Time now);

  /// All edges of these transactions and of whom they reach here.
  [[nodiscard]] std::vector<wire::GlobalEdge> edges_of(const std::vector<TxnId>& txns) {
    return chaser_.closure(txns).edges;
  }

  void receive(std::size_t from, const wire::Probe& m, Time now);
  void receive(std::size_t from, const wire::Suspect& m, Time now);
  void receive(std::size_t from, const wire::Poke& m, Time now);
  void receive(std::size_t from, const wire::Gather& m, Time now);
  void receive(std::size_t from, const wire::Gathered& m, Time now);

  [[nodiscard]] std::vector<Evidence> take_evidence();
  void tick(Time now);
  [[nodiscard]] std::int64_t next_tick_us() const;
  void add_counters(std::map<std::string, std::uint64_t>& counters) const;

 private:
  /// Names waits by what agents say of themselves.
  class Names : public detect::WaitNames {
   public:
    explicit Names(const Sites& sites) : sites_(sites) {}
    /// For ages.
    void set_now(std::int64_t now_us) { now_us_ = now_us; }
    void name(graph::WaitRef wait, wire::GlobalEdge& edge) const override;
    [[nodiscard]] std::optional<graph::WaitRef> find(const wire::GlobalEdge& edge) const override;

   private:
    const Sites& sites_;
    std::int64_t now_us_ = 0;
  };
  struct Round {
    Evidence evidence;
    std::set<TxnId> asked;
    std::multiset<std::size_t> unanswered;  ///< members
    std::int64_t deadline_us;
  };
  struct Later {
    std::int64_t due_us;
    std::vector<TxnId> txns;
  };

  void send_out(Time now);
  void ask(std::uint64_t number, Round& round, std::vector<TxnId> txns);
  void finish_if_complete(std::uint64_t number);
  void add(Evidence& evidence, detect::Closure closure) const;

  const Options& options_;
  const graph::WaitForGraph& graph_;
  const Sites& sites_;
  Peers& peers_;
  Outbox& out_;
  Names names_;
  detect::EdgeChaser chaser_;
  std::map<std::uint64_t, Round> rounds_;
  std::uint64_t last_round_;
  std::vector<Later> later_;
  std::vector<Evidence> evidence_;
};

}  // namespace gordian::coordinator
