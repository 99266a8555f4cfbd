// What people see of a lock server: who holds what, who waits, since when; and its counters.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/lock_table.hpp>
#include <string>
#include <vector>

namespace gordian::lease {

struct LockHolder {
  TxnId txn;
  std::string mode;
  std::uint64_t count;
  Fence fence;
  std::int64_t since_unix_us;
  std::string client;          ///< the session's label
  std::int64_t lease_left_us;  ///< until the session's lease runs out; negative during the lock-delay

  friend bool operator==(const LockHolder&, const LockHolder&) = default;
};
struct LockWaiter {
  TxnId txn;
  std::string mode;
  bool conversion;  ///< it holds the resource already, in a weaker mode
  std::int64_t since_unix_us;
  std::string client;

  friend bool operator==(const LockWaiter&, const LockWaiter&) = default;
};
struct LockedResource {
  std::string name;
  std::vector<LockHolder> holders;
  std::vector<LockWaiter> waiters;  ///< in the order of the queue, conversions first

  friend bool operator==(const LockedResource&, const LockedResource&) = default;
};
struct LocksView {
  std::string site;
  std::vector<LockedResource> resources;  ///< by name
  std::size_t left_out = 0;               ///< resources beyond the limit

  friend bool operator==(const LocksView&, const LocksView&) = default;
};
struct LockSelection {
  std::string resource;  ///< only this one; empty: all
  std::string txn;       ///< only those that it holds or waits for; empty: all
  std::size_t limit = 1'000;
};

/// Counters since the start of the server.
struct ServerStatus {
  std::size_t sessions = 0;
  std::size_t txns = 0;
  std::size_t locks = 0;      ///< held, each counted once for each transaction
  std::size_t waiting = 0;    ///< requests in a queue
  std::size_t held_back = 0;  ///< requests that wait for the end of the grace period
  std::int64_t grace_left_us = 0;
  std::uint64_t requests = 0;
  std::uint64_t repeated = 0;  ///< requests that had come before
  std::uint64_t granted = 0;
  std::uint64_t expired_sessions = 0;
  std::uint64_t reclaimed = 0;  ///< transactions
  std::uint64_t aborted = 0;    ///< as deadlock victims
  std::uint64_t forced = 0;
  std::uint64_t reordered = 0;  ///< waits that were let past a request queued ahead, because of a deadlock
  std::uint64_t limit_reached = 0;
  std::uint64_t refused_messages = 0;
  std::uint64_t stalled_us = 0;  ///< time for which the server stood still; added to all leases
};

/// What `unlock by force` did.
struct ForcedUnlock {
  std::string name;
  std::vector<TxnId> aborted;
  Fence fence;  ///< larger than that of whoever held it

  friend bool operator==(const ForcedUnlock&, const ForcedUnlock&) = default;
};

}  // namespace gordian::lease
