// What a lock server writes down: little without a journal (its epoch, the longest lease), everything held with one.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/lock_table.hpp>
#include <string>
#include <variant>
#include <vector>

namespace gordian::lease {

struct SessionRecord {
  std::uint64_t session;
  std::int64_t ttl_us;
  std::int64_t lock_delay_us;
  std::string label;

  friend bool operator==(const SessionRecord&, const SessionRecord&) = default;
};
/// A transaction holds `name`; replaces what was written of that hold before.
struct HoldRecord {
  std::uint64_t session;
  TxnId txn;
  double start;
  std::string name;
  std::string mode;
  std::uint64_t count;
  Fence fence;
  std::int64_t since_unix_us;
  std::uint64_t request;  ///< the last one that was granted it
  std::uint64_t item;     ///< its place in that request

  friend bool operator==(const HoldRecord&, const HoldRecord&) = default;
};
struct HoldGone {
  TxnId txn;
  std::string name;
};
struct TxnGone {
  TxnId txn;
};
struct SessionGone {
  std::uint64_t session;
};
/// The longest time to live granted so far: what a grace period lasts.
struct LongestLease {
  std::int64_t ttl_us;
};
struct AuditRecord {
  std::int64_t unix_us;
  std::string what;
  std::string why;
  std::string by;

  friend bool operator==(const AuditRecord&, const AuditRecord&) = default;
};
using Record = std::variant<SessionRecord, HoldRecord, HoldGone, TxnGone, SessionGone, LongestLease, AuditRecord>;

/// What a server finds at its start.
struct Durable {
  std::int64_t longest_ttl_us = 0;
  bool clean = true;  ///< nothing was held when the server before it stopped
  std::vector<SessionRecord> sessions;
  std::vector<HoldRecord> holds;
};

}  // namespace gordian::lease
