// Knows the true state, and checks the properties of docs/semantics.md at every step.
//
// 1 No phantom. When a coordinator opens an incident: at the instant T0 at which it asked for confirmation (the incident's `found`)
//   every edge of the candidate stood in truth, each as the very episode that its wait id names, and every member was deadlocked
//   by reduction over the true state of that instant. When an order is carried out at an agent:
//   - `waiting`: the wait named in the order stands, and the victim is its waiter; and the victim is deadlocked, or became free
//     only because an edge of the incident was ended after T0 by something that is no order (a deadlock is stable: only a user's
//     abort, a timeout, a lease, or a crash can do that);
//   - `holding`: the same incident had its victim aborted before, and the edge that the order hangs on is not one that the
//     transaction's next life, under the same id, has begun.
// 2 No miss. A deadlock of parties that can reach each other does not stand longer than Faults::miss_bound_us (with several
//   coordinators two pauses between probes more). Parties: the
//   sites of all waits that a deadlocked transaction leads to, and every coordinator; trouble with one of them (crash, pause,
//   partition, broken connection) starts the time anew.
// 3 One victim per disjoint cycle. With all victims of an incident ended and its reorders carried out, nothing of its candidate is deadlocked; with all but one,
//   something is. An order that is carried out on somebody whom the order of another incident has freed is a superfluous one.
// 4 Idempotence. A message that comes twice in a row changes nothing at a site the second time. Never do two clients both believe to
//   hold what conflicts; fences grow. An error that tells a client of a deadlock is about this life of its transaction.
// 5 Progress. A piece of work is restarted at most `restarts_max` times because of deadlocks; when faults stop, everything
//   ends, and nothing is deadlocked or locked at rest (the world sees to that).
// 6 Accounting. Attempts = commits + aborts by cause; an abort by deadlock has its incident; messages are within a bound:
//   probes and suspects one per edge and initiation (twice that, for coordinators know edges that have just ended), others per change.
#pragma once

#include <functional>
#include <gordian/lock_client.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/views.hpp"
#include "detect/edge_chaser.hpp"
#include "sim/faults.hpp"
#include "sim/log.hpp"
#include "sim/network.hpp"
#include "sim/truth.hpp"
#include "wire/messages.hpp"

namespace gordian::sim {

/// The first property that did not hold.
struct Violation {
  int property;  ///< 1 … 6
  std::string what;
  std::uint64_t step;
  Micros at_us;  ///< since the start
};

struct Tally {
  std::uint64_t incidents = 0;
  std::uint64_t victims = 0;           ///< chosen
  std::uint64_t aborts = 0;            ///< carried out where the victim waited
  std::uint64_t releases = 0;          ///< carried out where it only held
  std::uint64_t reorders = 0;          ///< waits let past a request queued ahead
  std::uint64_t aborts_overtaken = 0;  ///< carried out when something else had ended the deadlock
  std::uint64_t misses_checked = 0;
};

class Observer {
 public:
  static constexpr unsigned restarts_max = 100;

  Observer(const Scheduler& clock, const Faults& faults, Log& log, std::vector<NodeId> coordinators,
           std::vector<std::string> names);

  Truth& truth() { return truth_; }

  // --- Coordinators ---
  /// Opened for the first time. `sites`: the node of each site id.
  void incident_opened(NodeId coordinator, const coordinator::Incident& incident,
                       const std::map<SiteId, NodeId>& sites);

  // --- Sites. Of an order: arriving(), then the step, then, if it was carried out, carried_out(); then truth().report(). ---
  struct Order {
    std::string incident;  ///< by coordinator and id
    TxnId victim;
    wire::Abort::Role role;
    bool applies;       ///< in truth, before the step
    bool deadlocked;    ///< the victim, before the step
    Micros edge_began;  ///< of `holding`
  };
  [[nodiscard]] Order arriving(NodeId coordinator, NodeId site, std::uint64_t incarnation, const wire::Abort& order);
  void carried_out(const Order& order, NodeId site);
  /// The name of the incident whose order to reorder a queue was carried out.
  [[nodiscard]] std::string reordered(NodeId coordinator, const std::string& incident);

  // --- Clients ---
  void life_began(const TxnId& txn) { life_began_[txn] = clock_.now(); }
  /// What a client is sure to hold, and for whom.
  struct Held {
    NodeId client;
    TxnId txn;
    Micros life_began;
    std::vector<Grant> grants;
  };
  /// A client believes to have these locks from now on.
  void granted(const Held& held);
  using HeldBy = std::function<std::vector<Held>()>;
  /// Asks all clients.
  void ask_clients(HeldBy held) { held_by_ = std::move(held); }
  void told_of_deadlock(const TxnId& txn, Micros life_began, const std::string& incident);

  // --- The world ---
  /// Trouble with a node begins or ends.
  void trouble(NodeId node, bool begins);
  void blip(NodeId node) { trouble(node, true), trouble(node, false); }
  void check_misses();
  void violated(int property, std::string what);
  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  struct Known {
    Micros found;
    struct Edge {
      std::size_t site;
      std::uint64_t incarnation, sequence;
      TxnNumber blocker;
    };
    std::vector<Edge> edges{};
    std::map<TxnId, Micros> aborted{};  ///< victim → when last, where it waited
    std::set<std::pair<TxnId, NodeId>> aborted_at{};
  };
  [[nodiscard]] std::string name_of(NodeId coordinator, const std::string& incident) const;
  void check_candidate(const coordinator::Incident& incident, const Known& known, const std::string& name);
  void check_victims(const coordinator::Incident& incident, const Known& known, const std::string& name);
  /// What ended the first edge of the incident that ended after it was found: nothing (all stand), an order of that
  /// incident, or something else ("").
  [[nodiscard]] std::optional<std::string> first_ended_by(const Known& known) const;
  [[nodiscard]] const EdgeLife* edge_at(const Known::Edge& edge, Micros instant) const;
  /// Its locks are gone, and it waits: it does nothing until it hears of that.
  [[nodiscard]] bool is_victim(const Held& held) const;
  [[nodiscard]] Micros reachable_since(const std::set<NodeId>& parties) const;

  const Scheduler& clock_;
  const Faults& faults_;
  Log& log_;
  std::vector<NodeId> coordinators_;
  std::vector<std::string> names_;
  Truth truth_;
  std::map<std::string, Known> incidents_;
  std::map<TxnId, Micros> life_began_;
  std::map<TxnId, Micros> aborted_;  ///< when an order was carried out on it last
  HeldBy held_by_;
  struct Exclusive {
    Fence fence;
    TxnId txn;
  };
  std::map<std::pair<SiteId, std::string>, Exclusive> exclusive_;  ///< the newest exclusive grant
  struct Trouble {
    unsigned now = 0;
    Micros last = 0;
  };
  std::map<NodeId, Trouble> trouble_;
  std::optional<Violation> violation_;
  Tally tally_;
};

}  // namespace gordian::sim
