// The messages between lock clients and a lock agent, as values. docs/lock-protocol.md describes each byte by byte.
//
// Two variants say who may send what: FromLockClient and ToLockClient. Query and Answer (messages.hpp) are understood, too.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "wire/messages.hpp"

namespace gordian::wire {

/// What both sides refuse to exceed in lock messages; a lock table's own limits may be stricter.
struct LockWireLimits {
  std::size_t requests_per_message = 10'000;
  std::size_t items_per_request = 1'000;
  std::size_t holds_per_reclaim = 10'000;
  std::size_t sessions_per_renew = 20'000;
};

/// Which request: `request` grows within a session, and names one request for ever. Answers to requests below `done_below`
/// have arrived: the agent forgets them.
struct RequestId {
  std::uint64_t session = 0;
  std::uint64_t request = 0;
  std::uint64_t done_below = 0;

  friend bool operator==(const RequestId&, const RequestId&) = default;
};

/// A fence as it travels.
struct FenceValue {
  std::uint64_t epoch = 0;
  std::uint64_t counter = 0;

  friend bool operator==(const FenceValue&, const FenceValue&) = default;
  friend auto operator<=>(const FenceValue&, const FenceValue&) = default;
};

// --- Requests ---

struct WantedLock {
  std::string name;
  std::string mode;  ///< by name, such as "X"

  friend bool operator==(const WantedLock&, const WantedLock&) = default;
};
/// Takes locks. A transaction that is not known yet begins.
struct LockRequest {
  enum class Scheme : std::uint8_t {
    all = 0,   ///< all of the items or none
    path = 1,  ///< one item, a path: its parents in the intention mode that goes with it
    some = 2,  ///< `need` of the items
  };
  RequestId id;
  TxnId txn;
  std::optional<double> start;           ///< the transaction's first start, Unix microseconds
  std::optional<std::uint64_t> wait_us;  ///< none: without end; 0: at once or not at all
  Scheme scheme = Scheme::all;
  std::uint64_t need = 1;
  std::vector<WantedLock> items;

  friend bool operator==(const LockRequest&, const LockRequest&) = default;
};
/// Undoes one grant of `name`. A fence of (0, 0) is not compared.
struct UnlockRequest {
  RequestId id;
  TxnId txn;
  std::string name;
  FenceValue fence;
  bool path = false;  ///< undoes one grant of a path

  friend bool operator==(const UnlockRequest&, const UnlockRequest&) = default;
};
struct DowngradeRequest {
  RequestId id;
  TxnId txn;
  std::string name;
  std::string mode;

  friend bool operator==(const DowngradeRequest&, const DowngradeRequest&) = default;
};
/// Ends the transaction: its waiting requests are cancelled, its locks released. One that is not known has ended already.
struct EndRequest {
  RequestId id;
  TxnId txn;

  friend bool operator==(const EndRequest&, const EndRequest&) = default;
};
/// Withdraws a lock request that waits; that one is answered with `cancelled`, unless it was granted before.
struct CancelRequest {
  RequestId id;
  std::uint64_t target = 0;  ///< the request to withdraw

  friend bool operator==(const CancelRequest&, const CancelRequest&) = default;
};
/// Describes a transaction; it begins if it is not known yet.
struct BeginRequest {
  RequestId id;
  TxnId txn;
  std::optional<double> start;
  double priority = 0;
  double restarts = 0;
  std::string strategy;  ///< by name, such as "wait_die"; empty: the agent's
  std::string label;

  friend bool operator==(const BeginRequest&, const BeginRequest&) = default;
};
struct HeldLock {
  std::string name;
  std::string mode;
  std::uint64_t count = 1;
  FenceValue fence;

  friend bool operator==(const HeldLock&, const HeldLock&) = default;
};
/// After the agent was started again: this is what the transaction holds.
struct ReclaimRequest {
  RequestId id;
  TxnId txn;
  std::optional<double> start;
  std::vector<HeldLock> holds;

  friend bool operator==(const ReclaimRequest&, const ReclaimRequest&) = default;
};
using LockServiceRequest =
    std::variant<LockRequest, UnlockRequest, DowngradeRequest, EndRequest, CancelRequest, BeginRequest, ReclaimRequest>;

// --- Client → agent ---

/// Opens a session, or says that it goes on. The client chooses the number, at random.
struct OpenSession {
  std::uint64_t session;
  std::uint64_t ttl_ms;
  std::uint64_t lock_delay_ms = 0;
  std::string label;

  friend bool operator==(const OpenSession&, const OpenSession&) = default;
};
/// Renews the leases of these sessions.
struct Renew {
  std::uint64_t stamp;  ///< comes back in Renewed
  std::vector<std::uint64_t> sessions;

  friend bool operator==(const Renew&, const Renew&) = default;
};
/// Ends a session: all its locks are released at once, without lock-delay.
struct CloseSession {
  std::uint64_t session;

  friend bool operator==(const CloseSession&, const CloseSession&) = default;
};
struct Requests {
  std::vector<LockServiceRequest> requests;

  friend bool operator==(const Requests&, const Requests&) = default;
};
using FromLockClient = std::variant<OpenSession, Renew, CloseSession, Requests>;

// --- Agent → client ---

struct SessionOpened {
  std::uint64_t session;
  std::uint64_t incarnation;  ///< the agent's start: another one means that it was started again
  std::uint64_t ttl_ms;
  std::uint64_t
      grace_ms;  ///< so long only those who held locks before the start may reclaim them; 0: everybody may lock

  friend bool operator==(const SessionOpened&, const SessionOpened&) = default;
};
struct Renewed {
  std::uint64_t stamp;
  std::uint64_t incarnation;
  std::vector<std::uint64_t> unknown;  ///< sessions that are over here, or were never open

  friend bool operator==(const Renewed&, const Renewed&) = default;
};
struct SessionEnded {
  enum class Why : std::uint8_t {
    closed = 0,   ///< the client closed it
    expired = 1,  ///< its lease ran out
    unknown = 2,  ///< no such session (any more)
    refused = 3,  ///< it cannot be opened like that: the text says why
  };
  std::uint64_t session;
  Why why;
  std::string text;

  friend bool operator==(const SessionEnded&, const SessionEnded&) = default;
};
/// How a request ended. The numbers are the wire's; LockError::Code has the same meanings.
enum class LockStatus : std::uint8_t {
  done = 0,
  waiting = 1,  ///< it is queued; another answer follows
  deadlock = 2,
  timeout = 3,
  cancelled = 4,
  lease_lost = 5,
  refused = 6,
  wounded = 7,
  out_of_order = 8,
  limit = 9,
  not_held = 10,
  invalid = 11,
  forced = 12,
};
struct GrantValue {
  std::uint64_t item;  ///< its place in the request, or in the path
  FenceValue fence;

  friend bool operator==(const GrantValue&, const GrantValue&) = default;
};
struct LockReply {
  std::uint64_t session;
  std::uint64_t request;
  LockStatus status;
  std::vector<GrantValue> grants;
  std::string text;      ///< what went wrong
  std::string incident;  ///< for `deadlock`

  friend bool operator==(const LockReply&, const LockReply&) = default;
};
struct Replies {
  std::vector<LockReply> replies;

  friend bool operator==(const Replies&, const Replies&) = default;
};
/// The transaction was aborted: it holds nothing here any more.
struct TxnAborted {
  std::uint64_t session;
  TxnId txn;
  LockStatus status;
  std::string text;
  std::string incident;
  /// The largest number of a lock, begin or reclaim of the transaction: those of its next life, under the same id, are larger.
  /// 0: not told.
  std::uint64_t request = 0;

  friend bool operator==(const TxnAborted&, const TxnAborted&) = default;
};
using ToLockClient = std::variant<SessionOpened, Renewed, SessionEnded, Replies, TxnAborted, Error>;

using LockServerInput = std::variant<FromLockClient, Query>;
using LockClientInput = std::variant<ToLockClient, Answer>;

}  // namespace gordian::wire
