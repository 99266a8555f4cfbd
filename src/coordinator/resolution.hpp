// From a candidate to the end of an incident: confirm with every agent concerned, order a reorder of queues where that is
// enough, else choose victims and order their abort, escalate, and keep the story.
//
// A candidate's transactions are busy while it is being confirmed, and a victim is condemned until every order about it is
// settled; a further candidate that touches either is put off, and searched for again afterwards. So nobody is aborted for
// a deadlock that is being broken already.
//
// Where coordinators share the graph, whoever the suspicion was sent to leads: it reserves the transactions at their owners, so
// that nobody else leads a case about one of them, and once it has them all it asks the agents of all waits itself.
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
#include "coordinator/gathering.hpp"
#include "coordinator/outbox.hpp"
#include "coordinator/peers.hpp"
#include "coordinator/reservations.hpp"
#include "coordinator/sites.hpp"
#include "detect/detector.hpp"

namespace gordian::coordinator {

class Resolution {
 public:
  Resolution(const Options& options, const std::uint64_t& epoch, const graph::WaitForGraph& graph, const Sites& sites,
             Peers& peers, Outbox& out, Time now);

  /// These waits and members are new or changed: what deadlocks do they close?
  void consider(const std::vector<Touched>& touched, Time now);
  void confirmed(const Site& site, const wire::Confirmed& reply, Time now);
  void aborted(const Site& site, const wire::Aborted& reply, Time now);
  /// Nothing that was asked of this site will be answered.
  void site_lost(graph::SiteSlot site, Time now);
  /// From another coordinator.
  void receive(std::size_t from, const wire::PeerMessage& message, Time now);
  void tick(Time now);
  [[nodiscard]] std::int64_t next_tick_us() const;
  void add_counters(std::map<std::string, std::uint64_t>& counters) const { gathering_.add_counters(counters); }

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
    std::set<std::size_t> unreserved;  ///< members of the map that have not granted their part
    std::map<graph::SiteSlot, std::vector<wire::ConfirmEdge>> questions{};
    unsigned asked = 0;  ///< how often
    std::vector<wire::Described> described;
    std::map<graph::WaitRef, wire::WaitDetail> details;   ///< of waits that others own
    std::map<graph::WaitRef, std::uint64_t> asked_since;  ///< number of the message that reported each wait, at least
    std::set<std::size_t> informed{};                     ///< members that have answered the reservation
  };
  /// Since which message of its agent an edge has stood.
  using SinceOf = std::function<std::uint64_t(const detect::CandidateEdge&)>;
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
    TxnId waiter;
    TxnId blocker;
    unsigned attempt;
    std::int64_t deadline_us;
  };
  struct VictimState {
    bool aborted = false;  ///< one of its waits was aborted: its other branches follow
    bool failed = false;   ///< could not be aborted
    std::size_t open_orders = 0;
    std::set<graph::SiteSlot> sites;  ///< where an order about it was given
  };
  /// An incident whose orders are out; or the part of one that another coordinator leads.
  struct Case {
    std::string id;
    std::string reason;
    Time found;
    std::vector<Touched> waits;
    std::map<TxnId, VictimState> victims;
    /// The waits known when the deadlock was confirmed. What came later is perhaps of the transaction that a victim's client,
    /// told of the abort, has begun anew under the same id: no order may hang on that.
    Seen seen;
    /// Of each wait of the candidate: number of the message that reported it, at least.
    std::map<graph::WaitRef, std::uint64_t> asked_since{};
    /// What an order to abort hangs on besides the wait: one of its edges, which was confirmed.
    std::map<graph::WaitRef, TxnId> edges{};
    /// Members that had answered the reservation by then: what they know of the victims is from before their end.
    std::set<std::size_t> informed{};
    std::uint64_t confirm = 0;                      ///< the number that the transactions are reserved under
    std::optional<Reservations::Key> leader;        ///< of another's
    std::set<std::pair<std::size_t, TxnId>> asked;  ///< members that free branches of a victim
    std::int64_t asked_until_us = 0;
    /// While queues are being reordered instead; its transactions are busy as long.
    struct Reordering {
      Pending pending;
      std::size_t open_orders = 0;
      std::size_t done = 0;
      bool failed = false;
    };
    std::optional<Reordering> reordering{};
  };

  [[nodiscard]] bool busy(const TxnId& txn) const;
  void propose_or_collect(detect::Candidate candidate, Time now);
  void propose(detect::Candidate candidate, const SinceOf& since, std::vector<wire::Described> described, Time now);
  void judge(const Evidence& evidence, Time now);
  void judge_all(Time now);
  [[nodiscard]] static EdgeKey digest(const detect::Candidate& candidate);
  [[nodiscard]] bool left_alone(const detect::Candidate& candidate);
  void ask(detect::Candidate candidate, const SinceOf& since, std::vector<wire::Described> described, Time now);
  void ask_agents(std::uint64_t number, Time now);
  [[nodiscard]] bool may_ask_again(const Pending& pending);
  void repeat_late_questions(Time now);
  [[nodiscard]] std::set<std::size_t> reserve(std::uint64_t number, const std::vector<TxnId>& members);
  void release(std::uint64_t number, Pending& pending);
  void proceed(std::uint64_t number, Time now);
  void refused(std::uint64_t number, Time now);
  void reconsider(const std::vector<Touched>& also, Time now);
  [[nodiscard]] static std::vector<Touched> touched_by(const detect::Candidate& candidate);
  void tick_shared(Time now);
  [[nodiscard]] std::optional<detect::Candidate> search(const Touched& touched);
  [[nodiscard]] bool stands(const Pending& pending) const;
  [[nodiscard]] bool stands(const detect::CandidateEdge& edge, const Pending& pending) const;
  void full_pass(Time now);

  void on(std::size_t from, const wire::PeerHello& m, Time now);
  void say_hello();
  void on(std::size_t from, const wire::Probe& m, Time now) { gathering_.receive(from, m, now); }
  void on(std::size_t from, const wire::Suspect& m, Time now) { gathering_.receive(from, m, now); }
  void on(std::size_t from, const wire::Poke& m, Time now) { gathering_.receive(from, m, now); }
  void on(std::size_t from, const wire::Gather& m, Time now) { gathering_.receive(from, m, now); }
  void on(std::size_t from, const wire::Gathered& m, Time now) { gathering_.receive(from, m, now); }
  void on(std::size_t from, const wire::Reserve& m, Time now);
  void on(std::size_t from, const wire::Reserved& m, Time now);
  void on(std::size_t from, const wire::FreeBranches& m, Time now);
  void on(std::size_t from, const wire::BranchesFree& m, Time now);
  void on(std::size_t from, const wire::Release& m, Time now);

  void open_case(std::uint64_t confirm, Pending pending, Time now);
  [[nodiscard]] Incident describe(const Pending& pending, const detect::Victims& chosen, Time now) const;
  [[nodiscard]] detect::Victims choose(const Pending& pending) const;
  void name_victims(Incident& incident, const detect::Victims& chosen) const;
  void order_aborts(std::uint64_t incident, const detect::Candidate& candidate, const detect::Victims& chosen,
                    Time now);
  void leave_unresolved(std::uint64_t incident, const detect::Candidate& candidate, const detect::Victims& chosen,
                        Time now);
  void give_order(std::uint64_t incident, const TxnId& victim, graph::WaitRef wait, wire::Abort::Role role,
                  unsigned attempt, Time now);
  void each_blocked(graph::Vertex vertex, const std::function<bool(graph::WaitRef)>& f) const;
  void order_branches(std::uint64_t incident, const TxnId& victim, Time now);
  void ask_for_branches(std::uint64_t incident, const TxnId& victim, Time now);
  [[nodiscard]] wire::FreeBranches branches_of(const Case& open, const TxnId& victim) const;
  void branches_free(std::uint64_t incident, std::size_t member, const TxnId& victim, Time now);
  void retry_or_give_up(const Order& order, const std::string& why, bool may_retry, Time now);

  void order_reorders(std::uint64_t incident, Pending pending, const std::vector<detect::CandidateEdge>& reorder,
                      Time now);
  void give_order(ReorderOrder order, Time now);
  void reordered(const ReorderOrder& order, const wire::Aborted& reply, Time now);
  void reorder_failed(const ReorderOrder& order, const std::string& why, Time now);
  void drop_reorders(graph::SiteSlot site, Time now);
  void settle(const ReorderOrder& order, Time now);
  void end_reordering(std::uint64_t incident, Time now);
  void repeat_late_reorders(Time now);
  void settle(const Order& order, Time now);
  void close_if_settled(std::uint64_t incident, Time now);
  void settle(std::uint64_t incident, const TxnId& victim, Time now);
  [[nodiscard]] TxnInfo info(const TxnId& txn, std::span<const wire::Described> also = {}) const;

  void step(std::uint64_t incident, std::string what, Time now);
  void keep(Incident incident);
  void publish(std::uint64_t incident);

  const Options& options_;
  const std::uint64_t& epoch_;
  const graph::WaitForGraph& graph_;
  const Sites& sites_;
  Outbox& out_;
  Peers& peers_;
  detect::Detector detector_;
  std::uint64_t searches_ = 0;  ///< not counted in out_ yet
  Gathering gathering_;
  Reservations reservations_;
  std::int64_t granting_from_us_;  ///< what was reserved before this start is forgotten: until then nothing is

  std::map<std::uint64_t, Pending> pending_;  ///< by confirm number
  std::uint64_t last_confirm_;
  std::unordered_set<TxnId> busy_;
  std::set<Touched> deferred_;
  std::unordered_map<TxnId, unsigned> refusals_;  ///< by a case's smallest transaction; since the last full pass

  std::map<std::uint64_t, Case> cases_;  ///< by incident number; of others' cases from the top down
  std::uint64_t last_foreign_case_ = std::uint64_t{1} << 63;
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
