// The messages between agents and a coordinator, as values. docs/protocol.md describes each byte by byte.
//
// Two variants say who may send what: FromAgent and ToAgent. Query and Answer belong to the command line.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "wire/ownership.hpp"

namespace gordian::wire {

/// The protocol's version: first element of every message. Fields are only ever appended within one version.
inline constexpr std::uint64_t version = 1;

/// What both sides refuse to exceed; an agent's own limits (AgentLimits) are stricter.
struct Limits {
  std::size_t message_bytes = 4u << 20;      ///< one message
  std::size_t changes_per_message = 20'000;  ///< changes in one Delta or Snapshot part
  std::size_t blockers_per_wait = 10'000;    ///< and members in one GroupChange: further ones join
  std::size_t groups_per_wait = 1000;
  std::size_t text_bytes = 4096;  ///< resource, mode, detail, label, engine, software, reasons
};

// --- Changes: what Delta and Snapshot carry ---

/// A wait began, or is now like this (same sequence). All of its blockers stand at this moment.
struct WaitChange {
  std::uint64_t sequence;
  Wait wait;

  friend bool operator==(const WaitChange&, const WaitChange&) = default;
};
struct EndWaitChange {
  std::uint64_t sequence;

  friend bool operator==(const EndWaitChange&, const EndWaitChange&) = default;
};
struct TxnChange {
  TxnId txn;
  TxnInfo info;

  friend bool operator==(const TxnChange&, const TxnChange&) = default;
};
/// This site has nothing more to say of the transaction: its waits here end, its description is dropped.
struct ForgetTxnChange {
  TxnId txn;

  friend bool operator==(const ForgetTxnChange&, const ForgetTxnChange&) = default;
};
/// A holder group began, or is now like this (same group): those who are not named are no members.
struct GroupChange {
  GroupHandle group;
  std::string resource;
  std::string mode;
  std::vector<TxnId> members;
  Kind kind = Kind::hard;  ///< hard: its members hold; soft: they are only queued ahead. Never changes

  friend bool operator==(const GroupChange&, const GroupChange&) = default;
};
/// The transaction is a member from now on without a break; if it was one, it let go and took the lock again.
struct JoinChange {
  GroupHandle group;
  TxnId txn;

  friend bool operator==(const JoinChange&, const JoinChange&) = default;
};
struct LeaveChange {
  GroupHandle group;
  TxnId txn;

  friend bool operator==(const LeaveChange&, const LeaveChange&) = default;
};
/// No wait names it any more.
struct EndGroupChange {
  GroupHandle group;

  friend bool operator==(const EndGroupChange&, const EndGroupChange&) = default;
};
using Change = std::variant<WaitChange, EndWaitChange, TxnChange, ForgetTxnChange, GroupChange, JoinChange, LeaveChange,
                            EndGroupChange>;

// --- Agent → coordinator ---

/// First message of a session, and the answer to Error::unknown_session.
struct Hello {
  SiteId site;
  std::uint64_t incarnation;
  std::string instance;          ///< random, names the process: two with one site name are told apart by it
  std::uint64_t epoch_seen = 0;  ///< highest epoch of a coordinator this agent has obeyed
  bool resolve_local_deadlocks = true;
  std::string engine;
  std::string label;
  std::string software;

  friend bool operator==(const Hello&, const Hello&) = default;
};
/// "I live, and `number` is the last delta or snapshot I sent": shows a gap at the tail.
struct Heartbeat {
  std::uint64_t incarnation;
  std::uint64_t number;

  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};
/// Changes since message `number` − 1. Numbers have no holes within an incarnation.
struct Delta {
  std::uint64_t incarnation;
  std::uint64_t number;
  std::vector<Change> changes;

  friend bool operator==(const Delta&, const Delta&) = default;
};
/// All that stands at this site as of `number`, in parts 0, 1, … the last of which says so. The next delta is number + 1.
struct Snapshot {
  std::uint64_t incarnation;
  std::uint64_t number;
  std::uint64_t part;
  bool last;
  std::vector<Change> changes;  ///< what stands: TxnChange, GroupChange with JoinChange, WaitChange

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};
/// An edge of a wait: its sequence and a blocker.
struct EdgeRef {
  std::uint64_t sequence;
  TxnId blocker;

  friend bool operator==(const EdgeRef&, const EdgeRef&) = default;
};
/// Answer to Confirm: the edges that do not stand, or not without a break since the message asked about.
struct Confirmed {
  std::uint64_t confirm;
  std::vector<EdgeRef> denied;

  friend bool operator==(const Confirmed&, const Confirmed&) = default;
};
/// Answer to Abort and Reorder.
struct Aborted {
  enum class Outcome : std::uint8_t {
    done = 0,  ///< aborted: its locks at this site are free; or reordered: the wait is not behind that request any more
    stale = 1,   ///< nothing was done: the wait named in the order is over, or not behind that request
    failed = 2,  ///< could not
    refused = 3  ///< the order was of an older epoch or another incarnation
  };
  std::uint64_t order;
  Outcome outcome;
  std::string text;

  friend bool operator==(const Aborted&, const Aborted&) = default;
};
/// The agent stops on purpose: its waits are withdrawn at once.
struct Goodbye {
  std::uint64_t incarnation;

  friend bool operator==(const Goodbye&, const Goodbye&) = default;
};
using FromAgent = std::variant<Hello, Heartbeat, Delta, Snapshot, Confirmed, Aborted, Goodbye>;

// --- Coordinator → agent ---

/// The agent is accepted; it sends a snapshot now.
struct Welcome {
  std::uint64_t epoch;
  std::uint64_t heartbeat_ms;  ///< send something at least this often
  std::uint64_t lease_ms;      ///< silent for this long: the site's waits are withdrawn
  std::string member = {};     ///< this coordinator's name in the map
  MemberMap map = {};          ///< all that share the graph; none: this one owns everything

  friend bool operator==(const Welcome&, const Welcome&) = default;
};
/// Answer to Heartbeat.
struct HeartbeatAck {
  std::uint64_t epoch;
  std::uint64_t applied;  ///< number of the last delta or snapshot applied
  std::uint64_t map_version = 0;  ///< newer than the agent's: say Hello again, the Welcome brings the map

  friend bool operator==(const HeartbeatAck&, const HeartbeatAck&) = default;
};
/// Something is missing: send a snapshot.
struct Resync {
  std::uint64_t epoch;
  std::string reason;

  friend bool operator==(const Resync&, const Resync&) = default;
};
/// "Has each of these edges stood without a break since your message `since`, and does it still stand?"
struct ConfirmEdge {
  std::uint64_t sequence;
  TxnId blocker;
  std::uint64_t since;

  friend bool operator==(const ConfirmEdge&, const ConfirmEdge&) = default;
};
struct Confirm {
  std::uint64_t epoch;
  std::uint64_t incarnation;
  std::uint64_t confirm;
  std::vector<ConfirmEdge> edges;

  friend bool operator==(const Confirm&, const Confirm&) = default;
};
struct Abort {
  enum class Role : std::uint8_t { waiting = 0, holding = 1 };
  std::uint64_t epoch;
  std::uint64_t incarnation;
  std::uint64_t order;
  std::string incident;
  TxnId victim;
  std::uint64_t sequence;  ///< the wait the order hangs on: the victim's own (waiting), or one it blocks (holding)
  Role role;
  std::uint64_t attempt;
  std::uint64_t grace_ms;
  std::string reason;
  /// The wait must still be for this one (of role `holding` the victim), without a break since the agent's message `since`.
  /// Empty: for whomever.
  std::string blocker = {};
  std::uint64_t since = 0;

  friend bool operator==(const Abort&, const Abort&) = default;
};
/// Instead of an abort: let the wait jump the queue, ahead of the blocker's request.
struct Reorder {
  std::uint64_t epoch;
  std::uint64_t incarnation;
  std::uint64_t order;
  std::string incident;
  std::uint64_t sequence;  ///< the wait
  TxnId blocker;           ///< whose request is queued ahead of it
  std::uint64_t attempt;
  std::uint64_t grace_ms;
  std::string reason;

  friend bool operator==(const Reorder&, const Reorder&) = default;
};
struct Error {
  enum class Code : std::uint8_t {
    malformed = 1,          ///< that was no message of this protocol
    wrong_version = 2,      ///< another version of the protocol
    too_large = 3,          ///< a limit was exceeded
    unknown_session = 4,    ///< say Hello first
    duplicate_site = 5,     ///< another live agent speaks for that site
    stale_incarnation = 6,  ///< `number` was seen already: use a larger incarnation
    too_many_sites = 7,
    wait_a_moment = 8,  ///< the site had an agent a moment ago: Hello again in `number` ms
  };
  Code code;
  std::string text;
  std::uint64_t number = 0;

  friend bool operator==(const Error&, const Error&) = default;
};
using ToAgent = std::variant<Welcome, HeartbeatAck, Resync, Confirm, Abort, Reorder, Error>;

// --- Command line ↔ coordinator ---

struct Query {
  std::uint64_t id;
  std::string what;      ///< "status", "graph", "incidents"
  std::string argument;  ///< JSON object or empty

  friend bool operator==(const Query&, const Query&) = default;
};
struct Answer {
  std::uint64_t id;
  bool ok;
  std::string body;  ///< JSON if ok, else a sentence

  friend bool operator==(const Answer&, const Answer&) = default;
};

[[nodiscard]] constexpr std::string_view name(Error::Code code) {
  switch (code) {
    case Error::Code::malformed: return "malformed";
    case Error::Code::wrong_version: return "wrong_version";
    case Error::Code::too_large: return "too_large";
    case Error::Code::unknown_session: return "unknown_session";
    case Error::Code::duplicate_site: return "duplicate_site";
    case Error::Code::stale_incarnation: return "stale_incarnation";
    case Error::Code::too_many_sites: return "too_many_sites";
    case Error::Code::wait_a_moment: return "wait_a_moment";
  }
  return "unknown";
}

}  // namespace gordian::wire
