// What a coordinator shows: its status, the graph as it is now, and incidents. Plain values; whoever stores them (store/),
// turns them into JSON (admin/) or draws them (viz/) needs nothing else of the coordinator.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <map>
#include <string>
#include <vector>

namespace gordian::coordinator {

/// One site as the coordinator sees it.
struct SiteView {
  SiteId site;
  std::string engine;    ///< what kind of engine, as its agent says
  std::string label;     ///< where it runs, as its agent says
  std::string software;  ///< the agent's program and version
  enum class State : std::uint8_t { missing, resyncing, complete } state = State::missing;
  std::uint64_t incarnation = 0;
  std::uint64_t applied = 0;  ///< number of the last delta or snapshot applied
  double last_heard_ms = 0;   ///< since the last message; 0 if never
  std::size_t waits = 0;
  bool resolve_local_deadlocks = true;
};

/// A coordinator that shares the graph.
struct MemberView {
  std::string name;
  std::string endpoint;
  bool self;
  bool alive;  ///< heard of within the lease
};

struct StatusView {
  std::string version;
  std::uint64_t epoch = 0;
  double uptime_s = 0;
  std::string policy;
  /// True while the picture is incomplete; then some sites are `missing` or `resyncing`.
  bool degraded = false;
  std::vector<SiteView> sites;  ///< ordered by id
  std::size_t txns = 0;
  std::size_t waits = 0;
  std::size_t edges = 0;
  std::size_t groups = 0;
  std::vector<MemberView> members;                ///< of the map; none: this coordinator is alone
  std::map<std::string, std::uint64_t> counters;  ///< name → count since start
};

/// A holder group as shown: whoever waits for it waits for all of its members.
struct GroupView {
  SiteId site;
  GroupHandle group{};
  std::string resource;
  std::string mode;
  std::vector<TxnId> members;  ///< at most GraphView::members_max; those that wait themselves first, then by id
  std::size_t members_total = 0;
  Kind kind = Kind::hard;  ///< soft: the members are queued ahead
};

/// A wait as shown: its blockers with their kinds, and how long it has lasted.
struct WaitView {
  WaitId id;
  Wait wait;
  double age_ms = 0;
};

struct TxnView {
  TxnId txn;
  TxnInfo info;
  bool condemned = false;  ///< chosen as victim, not gone yet
};

struct GraphView {
  static constexpr std::size_t members_max = 100;  ///< of one group

  std::vector<TxnView> txns;      ///< ordered by id
  std::vector<WaitView> waits;    ///< ordered by site and sequence
  bool truncated = false;         ///< more than the limit asked for: the rest is left out
  std::vector<GroupView> groups;  ///< those that the waits name, ordered by site and number
};

/// One edge of an incident, as confirmed.
struct IncidentEdge {
  TxnId waiter;
  TxnId blocker;
  WaitId wait;
  std::string resource;
  std::string mode;
  std::string detail;
  double age_ms = 0;  ///< how long the wait had lasted when it was confirmed
  Kind kind = Kind::hard;
  bool reordered = false;  ///< soft: the waiter was let past the blocker's request
};

struct IncidentTxn {
  TxnId txn;
  TxnInfo info;
  bool victim = false;
};

/// Something that was done about an incident, in order.
struct IncidentStep {
  std::int64_t after_us = 0;  ///< since the deadlock was found
  std::string what;           ///< "confirmed", "abort of T2 ordered at site b", "T2 aborted at site b", …
};

/// A confirmed deadlock and what was done about it.
struct Incident {
  enum class Outcome : std::uint8_t {
    resolving,  ///< orders are out
    resolved,  ///< broken: queues were reordered, or the victims aborted (one may have ended by itself in the meantime)
    unresolved,  ///< only transactions of class `never` on it: reported, nobody is aborted
    failed,      ///< a victim could not be aborted; the next incident chooses another
    dissolved,   ///< it ended by itself before the orders arrived: nobody was aborted
  };
  std::string id;  ///< "epoch-number"
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::int64_t found_unix_us = 0;  ///< wall clock, for people
  Outcome outcome = Outcome::resolving;
  std::string policy;
  std::string why;                ///< why this victim
  std::vector<TxnId> victims;     ///< in the order they were chosen
  std::vector<IncidentTxn> txns;  ///< all members, victims and spared
  std::vector<IncidentEdge> edges;
  std::vector<IncidentStep> steps;
  std::int64_t confirm_us = 0;  ///< found → confirmed
  /// Found → last victim aborted at the site where it waits, or last queue reordered; 0 while not.
  std::int64_t resolve_us = 0;
};

[[nodiscard]] constexpr const char* name(Incident::Outcome outcome) {
  switch (outcome) {
    case Incident::Outcome::resolving: return "resolving";
    case Incident::Outcome::resolved: return "resolved";
    case Incident::Outcome::unresolved: return "unresolved";
    case Incident::Outcome::failed: return "failed";
    case Incident::Outcome::dissolved: return "dissolved";
  }
  return "?";
}
[[nodiscard]] constexpr const char* name(SiteView::State state) {
  switch (state) {
    case SiteView::State::missing: return "missing";
    case SiteView::State::resyncing: return "resyncing";
    case SiteView::State::complete: return "complete";
  }
  return "?";
}

}  // namespace gordian::coordinator
