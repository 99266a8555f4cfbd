// From a candidate to the end of an incident: confirm with every agent concerned, order a reorder of queues where that is
// enough, else choose victims and order their abort, escalate, and keep the story.
//
// A candidate's transactions are busy while it is being confirmed, and a victim is condemned until every order about it is
// settled; a further candidate that touches either is put off, and searched for again afterwards. So nobody is aborted for
// a deadlock that is being broken already.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "coordinator/coordinator.hpp"
#include "coordinator/outbox.hpp"
#include "coordinator/sites.hpp"
#include "detect/detector.hpp"

namespace gordian::coordinator {

class Resolution {
 public:
  Resolution(const Options& options, const std::uint64_t& epoch, const graph::WaitForGraph& graph, const Sites& sites,
             Outbox& out, Time now);

  /// These waits and members are new or changed: what deadlocks do they close?
  void consider(const std::vector<Touched>& touched, Time now);
  void confirmed(const Site& site, const wire::Confirmed& reply, Time now);
  void aborted(const Site& site, const wire::Aborted& reply, Time now);
  /// Nothing that was asked of this site will be answered.
  void site_lost(graph::SiteSlot site, Time now);
  void tick(Time now);
  [[nodiscard]] std::int64_t next_tick_us() const;

  [[nodiscard]] bool condemned(const TxnId& txn) const { return condemned_.contains(txn); }
  [[nodiscard]] std::vector<Incident> incidents(std::size_t limit, const std::string& id) const;
  [[nodiscard]] std::uint64_t search_steps() const { return detector_.steps(); }

 private:
  using EdgeKey = std::uint64_t;  ///< a digest of a candidate's edges

  /// A candidate whose agents are being asked.
  struct Pending {
    detect::Candidate candidate;
    Time found;
    std::int64_t deadline_us;
    std::set<graph::SiteSlot> unanswered;
  };
  /// An order that was sent and not settled.
  struct Order {
    std::uint64_t incident;
    TxnId victim;
    graph::WaitRef wait;
    wire::Abort::Role role;
    unsigned attempt;
    std::int64_t deadline_us;
  };
  /// The same for one that lets a wait jump its queue.
  struct ReorderOrder {
    std::uint64_t incident;
    graph::WaitRef wait;
    TxnId blocker;
    unsigned attempt;
    std::int64_t deadline_us;
  };
  struct VictimState {
    bool aborted = false;  ///< one of its waits was aborted: its other branches follow
    bool failed = false;   ///< could not be aborted
    std::size_t open_orders = 0;
    std::set<graph::SiteSlot> sites;  ///< where an order about it was given
    /// Its waits and those it blocked when the deadlock was confirmed. What came later is perhaps of the transaction that
    /// its client, told of the abort, has begun anew under the same id: no order may hang on that.
    std::set<graph::WaitRef> known;
  };
  /// An incident whose orders are out.
  struct Case {
    Time found;
    std::vector<Touched> waits;
    std::map<TxnId, VictimState> victims;
    /// While queues are being reordered instead; its transactions are busy as long.
    struct Reordering {
      detect::Candidate candidate;
      std::size_t open_orders = 0;
      std::size_t done = 0;
      bool failed = false;
    };
    std::optional<Reordering> reordering{};
  };

  void propose(detect::Candidate candidate, Time now);
  [[nodiscard]] static EdgeKey digest(const detect::Candidate& candidate);
  [[nodiscard]] bool left_alone(const detect::Candidate& candidate);
  void ask(detect::Candidate candidate, Time now);
  void release(const detect::Candidate& candidate);
  void reconsider(const std::vector<Touched>& also, Time now);
  [[nodiscard]] std::optional<detect::Candidate> search(const Touched& touched);
  [[nodiscard]] bool stands(const detect::CandidateEdge& edge) const;
  void full_pass(Time now);

  void open_case(Pending pending, Time now);
  [[nodiscard]] Incident describe(const Pending& pending, const detect::Victims& chosen, Time now) const;
  [[nodiscard]] detect::Victims choose(const detect::Candidate& candidate) const;
  void name_victims(Incident& incident, const detect::Victims& chosen) const;
  void order_aborts(std::uint64_t incident, const detect::Candidate& candidate, const detect::Victims& chosen,
                    Time now);
  void leave_unresolved(std::uint64_t incident, const detect::Candidate& candidate, const detect::Victims& chosen,
                        Time now);
  void give_order(std::uint64_t incident, const TxnId& victim, graph::WaitRef wait, wire::Abort::Role role,
                  unsigned attempt, Time now);
  [[nodiscard]] std::set<graph::WaitRef> waits_about(const TxnId& txn) const;
  void each_blocked(graph::Vertex vertex, const std::function<bool(graph::WaitRef)>& f) const;
  void order_branches(std::uint64_t incident, const TxnId& victim, Time now);
  void retry_or_give_up(const Order& order, const std::string& why, bool may_retry, Time now);

  void order_reorders(std::uint64_t incident, detect::Candidate candidate,
                      const std::vector<detect::CandidateEdge>& reorder, Time now);
  void give_order(std::uint64_t incident, graph::WaitRef wait, const TxnId& blocker, unsigned attempt, Time now);
  void reordered(const ReorderOrder& order, const wire::Aborted& reply, Time now);
  void reorder_failed(const ReorderOrder& order, const std::string& why, Time now);
  void drop_reorders(graph::SiteSlot site, Time now);
  void settle(const ReorderOrder& order, Time now);
  void end_reordering(std::uint64_t incident, Time now);
  void repeat_late_reorders(Time now);
  void settle(const Order& order, Time now);
  void close_if_settled(std::uint64_t incident, Time now);
  [[nodiscard]] TxnInfo info(const TxnId& txn) const;

  void step(std::uint64_t incident, std::string what, Time now);
  void keep(Incident incident);
  void publish(std::uint64_t incident);

  const Options& options_;
  const std::uint64_t& epoch_;
  const graph::WaitForGraph& graph_;
  const Sites& sites_;
  Outbox& out_;
  detect::Detector detector_;

  std::map<std::uint64_t, Pending> pending_;  ///< by confirm number
  std::uint64_t last_confirm_ = 0;
  std::unordered_set<TxnId> busy_;
  std::set<Touched> deferred_;

  std::map<std::uint64_t, Case> cases_;  ///< by incident number
  std::map<std::uint64_t, Order> orders_;
  std::map<std::uint64_t, ReorderOrder> reorders_;  ///< numbered like orders_
  std::uint64_t last_order_ = 0;
  std::unordered_map<TxnId, std::uint64_t> condemned_;   ///< → incident number
  std::unordered_map<TxnId, std::int64_t> unabortable_;  ///< → until when it is not chosen again
  /// Soft edges that could not be reordered → until when they are taken for hard ones.
  std::map<std::pair<graph::WaitRef, TxnId>, std::int64_t> unmovable_;

  std::map<std::uint64_t, Incident> incidents_;  ///< the newest Limits::incidents_in_memory
  std::uint64_t last_incident_ = 0;
  std::unordered_set<EdgeKey>
      left_alone_;  ///< reported once: local to a site that keeps its own, or nobody may be aborted
  std::int64_t next_pass_us_;
};

}  // namespace gordian::coordinator
