// What an agent reports: a wait, and what is known about a transaction.
//
// Plain values without invariants of their own beyond those of the ids in them; the limits are checked where they are
// handed in (agent.hpp). Safe to copy and use from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <gordian/ids.hpp>
#include <optional>
#include <string>
#include <vector>

namespace gordian {

/// How firmly a blocker stands in the way.
enum class Kind : std::uint8_t {
  hard = 0,    ///< it holds a conflicting lock, and keeps it to the end of its transaction
  soft = 1,    ///< it is only queued ahead
  dotted = 2,  ///< it holds a lock that may be given back before its transaction ends
};

struct Blocker {
  TxnId txn;
  Kind kind = Kind::hard;

  friend bool operator==(const Blocker&, const Blocker&) = default;
  friend auto operator<=>(const Blocker&, const Blocker&) = default;
};

/// Names one holder group at this agent: the holders of one resource in one mode. Never used again by this agent.
enum class GroupHandle : std::uint64_t {};

/// One transaction waiting at this site for one resource: for all of its blockers and all members of its groups, or, with a
/// `need`, for some of them.
struct Wait {
  TxnId waiter;
  std::vector<Blocker> blockers;
  std::string resource;  ///< what is locked, shown to people; at most Limits::resource_bytes
  std::string mode;      ///< the lock mode asked for, shown to people
  std::string detail;    ///< what the waiter was doing (SQL text, function), shown to people; shortened when too long
  /// How long it has waited already when it is reported.
  std::chrono::microseconds age{0};
  /// Holder groups, all of whose members stand in its way (hard), whoever they become. The waiter itself never does: it
  /// may be a member of a group that it names, and wait for the others (a conversion).
  std::vector<GroupHandle> groups{};
  /// How many of the blockers must end before it goes on: 0 all (AND), 1 any (OR), k of them (quorums). Groups and soft blockers
  /// go with 0 only.
  std::uint32_t need = 0;

  friend bool operator==(const Wait&, const Wait&) = default;
};

/// What victim policies and people need to know of a transaction. Everything is optional: zero and empty mean unknown.
/// Where several sites describe one transaction: earliest start, most restarts, lowest priority number, sum of locks and
/// work, `never` if any site says so, first label.
struct TxnInfo {
  enum class Class : std::uint8_t { normal = 0, never = 1 };

  /// Its first start, in any unit that grows with time and is the same for all transactions (by custom Unix
  /// microseconds). A restarted transaction keeps its first start, so that the oldest is never starved.
  std::optional<double> start;
  double priority = 0;                 ///< lower is aborted first
  double locks = 0;                    ///< how many locks it holds
  double work = 0;                     ///< how much would have to be done again, in any unit
  double restarts = 0;                 ///< how often it was a victim already
  Class victim_class = Class::normal;  ///< `never`: is never chosen as victim
  std::string label;                   ///< application or client, shown to people

  friend bool operator==(const TxnInfo&, const TxnInfo&) = default;
};

}  // namespace gordian
