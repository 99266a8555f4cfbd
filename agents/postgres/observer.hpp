// What a PostgreSQL server says about waiting: the SQL, and its rows turned into waits, blockers and transactions.
//
// Asks and reports, decides nothing. Two questions: a cheap one, who waits at all (pg_stat_activity, no lock is taken),
// and a dear one, for whom (pg_locks and pg_blocking_pids, each of which stops the whole lock table for a moment).
#pragma once

#include <chrono>
#include <cstdint>
#include <gordian/wait.hpp>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "postgres/branch.hpp"
#include "postgres/connection.hpp"
#include "postgres/identity.hpp"

namespace gordian::postgres {

/// A session that waits for a lock right now.
struct Waiter {
  Branch branch;
  std::int64_t statement_start_us = 0;  ///< Unix microseconds at the server
  /// Since its statement began: its wait is as old at most.
  std::chrono::microseconds statement_age{0};
};

/// A blocker of a wait: whose branch stands in the way, and how firmly.
struct SeenBlocker {
  TxnId txn;
  Kind kind;
  Branch branch;

  friend bool operator==(const SeenBlocker&, const SeenBlocker&) = default;
};

/// One episode of waiting as seen at one moment. It is named by `branch`, `waitstart_us` and `waiter`.
struct SeenWait {
  Branch branch;
  std::int64_t waitstart_us;
  TxnId waiter;
  std::vector<SeenBlocker> blockers;
  std::string resource, mode, detail;
  std::chrono::microseconds age;
};

/// A wait that is too young, or whose start the server does not tell yet.
struct YoungWait {
  Branch branch;
  std::chrono::microseconds age;
};

struct Observation {
  std::vector<SeenWait> waits;
  std::vector<YoungWait> young;
  std::map<TxnId, TxnInfo> txns;  ///< everybody named in `waits`
};

struct ObserverOptions {
  bool prepared_never_victim = true;
  std::optional<std::regex> never;  ///< whoever's application name or user matches is never chosen as victim
};

/// Does a lock request of mode `awaited` conflict with a lock of mode `held` (names as in pg_locks.mode)?
[[nodiscard]] bool conflicts(std::string_view awaited, std::string_view held);

/// Borrows nothing but what is handed in; constant after construction.
class Observer {
 public:
  Observer(Identity identity, ObserverOptions options) : identity_(std::move(identity)), options_(std::move(options)) {}

  /// Who waits. About 0.3 ms; takes no lock.
  [[nodiscard]] tl::expected<std::vector<Waiter>, ServerError> look(Connection& connection) const;

  /// For whom these sessions wait, for waits of at least `age_min`. Sessions that do not wait are missing in the answer.
  /// About 1 ms for a few waits; stops the server's lock table once for each wait.
  [[nodiscard]] tl::expected<Observation, ServerError> ask(Connection& connection, const std::vector<int>& pids,
                                                           std::chrono::microseconds age_min) const;

 private:
  Identity identity_;
  ObserverOptions options_;
};

}  // namespace gordian::postgres
