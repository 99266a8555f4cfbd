// What a replay found: a deadlock and its victims, and expectations that did not hold. Plain values and their texts.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "detect/victims.hpp"

namespace gordian::trace {

struct CycleEdge {
  TxnId waiter;
  TxnId blocker;
  SiteId site;
  std::string resource;
  Kind kind = Kind::hard;

  friend bool operator==(const CycleEdge&, const CycleEdge&) = default;
};

/// A waiter that need not stay behind another one in the queue.
struct Reordered {
  TxnId waiter;
  TxnId behind;
  SiteId site;
  std::string resource;

  friend bool operator==(const Reordered&, const Reordered&) = default;
};

struct Incident {
  std::size_t number;             ///< from 1
  std::size_t line;               ///< of the operation that showed it
  std::vector<TxnId> victims;     ///< in the order of choice; empty if a reorder is enough, or nobody may be aborted
  std::vector<TxnId> deadlocked;  ///< its members and all who wait for them, in the order of detect::id_less
  std::vector<Reordered> reorder;
  /// A shortest one through the first victim, or the first waiter that is reordered, beginning at its smallest member.
  std::vector<CycleEdge> cycle;
  detect::Policy policy;
  std::string why;
};

/// "hard", "soft" or "dotted".
[[nodiscard]] std::string_view name(Kind kind);

/// One line of JSON, without newline, as docs/trace-format.md shows it.
[[nodiscard]] std::string to_json(const Incident& incident);

/// An expectation that did not hold. Lists are sorted by detect::id_less.
struct FailedExpectation {
  std::size_t line;
  std::string key;  ///< "victims", "deadlocked", "reorder", "incidents"
  std::vector<std::string> expected;
  std::vector<std::string> found;
};

/// "victims: expected {2}, found {1} (missing {2}, extra {1})"
[[nodiscard]] std::string to_string(const FailedExpectation& failed);

}  // namespace gordian::trace
