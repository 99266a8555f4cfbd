// Abort orders under way: cancel, look whether the locks are free, terminate. Never waits: carry_on() does what is due.
//
// Every order is conditional, in one statement with its check, on the branch it is about: pid, start of the process,
// start of the transaction, and for a cancel the start of the wait. A victim's client normally rolls back by itself after
// the error; its idle branches elsewhere get time for that.
#pragma once

#include <chrono>
#include <functional>
#include <gordian/agent.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.hpp"
#include "postgres/ledger.hpp"

namespace gordian::postgres {

struct OrderOptions {
  std::chrono::milliseconds idle_branch_grace{1000};  ///< how long a victim's client may take to roll back
  bool roll_back_prepared = false;
};

struct OrderCounters {
  std::uint64_t cancels = 0;       ///< statements cancelled
  std::uint64_t terminations = 0;  ///< sessions terminated
  std::uint64_t prepared_rolled_back = 0;
  std::uint64_t cancel_found_wait_gone = 0;  ///< cancels that came too late and did nothing
};

/// Used by the engine's thread alone.
class Orders {
 public:
  using Clock = std::chrono::steady_clock;
  /// What was done, for the log.
  using Tell = std::function<void(const std::string&)>;

  Orders(OrderOptions options, Tell tell) : options_(options), tell_(std::move(tell)) {}

  /// Takes an order on. What the ledger does not know, and no earlier order was about, is answered stale() at once.
  void add(const Ledger& ledger, AbortOrder order, AbortAnswer answer, Clock::time_point now);
  /// Does what is due. Errors: the connection is lost; the orders stay.
  [[nodiscard]] tl::expected<void, ServerError> carry_on(Connection& connection, Clock::time_point now);
  /// Answers all with failed(): the server is away.
  void give_up(const std::string& why);

  [[nodiscard]] bool empty() const { return tasks_.empty(); }
  /// When carry_on() has to do something next; none if there is no order.
  [[nodiscard]] std::optional<Clock::time_point> next_due() const;
  [[nodiscard]] const OrderCounters& counters() const { return counters_; }

 private:
  enum class Verdict : std::uint8_t { pending, done, stale, failed };
  struct Task {
    AbortOrder order;
    AbortAnswer answer;
    std::vector<Branch> branches;  ///< those not dealt with yet; for role `waiting` the victim's one
    std::int64_t waitstart_us;     ///< role `waiting` only
    Clock::time_point began, due;
    std::chrono::milliseconds pause{1};  ///< to the next look, growing
    bool cancelled = false, terminated = false;
    std::string why_not;  ///< of a failure
  };
  /// What an order was about is kept for a repeated order, whose wait may be over by then.
  struct Remembered {
    std::vector<Branch> branches;
    std::int64_t waitstart_us;
    Clock::time_point until;
  };
  struct State;
  using Step = tl::expected<Verdict, ServerError>;

  [[nodiscard]] Step carry_on(Connection& connection, Task& task, Clock::time_point now);
  [[nodiscard]] Step abort_waiting(Connection& connection, Task& task, const Branch& branch, Clock::time_point now);
  [[nodiscard]] Step free_holding(Connection& connection, Task& task, const Branch& branch, Clock::time_point now);
  [[nodiscard]] Step roll_back_prepared(Connection& connection, Task& task, const Branch& branch);
  [[nodiscard]] Step wait_until_free(Connection& connection, Task& task, const Branch& branch, Clock::time_point now);
  [[nodiscard]] Step terminate(Connection& connection, Task& task, const Branch& branch);
  [[nodiscard]] tl::expected<State, ServerError> state_of(Connection& connection, const Branch& branch);
  void answer(const Task& task, Verdict verdict) const;

  OrderOptions options_;
  Tell tell_;
  OrderCounters counters_;
  std::vector<Task> tasks_;
  std::map<std::pair<WaitHandle, AbortOrder::Role>, Remembered> remembered_;
};

}  // namespace gordian::postgres
