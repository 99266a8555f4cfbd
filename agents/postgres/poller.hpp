// When to look and whom to ask about: keeps the ledger up to date with the server at little cost.
//
// A look is cheap and comes at every interval. The question "for whom" is asked about a wait exactly when it comes of age,
// about all standing waits when one of them changed, and otherwise now and then (a wait can gain a blocker without any
// other sign); it never takes more than about a fifth of the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <gordian/agent.hpp>
#include <map>
#include <vector>

#include "postgres/ledger.hpp"
#include "postgres/observer.hpp"

namespace gordian::postgres {

struct PollerOptions {
  std::chrono::microseconds publish_after, poll_interval, busy_poll_interval;
};

struct PollerCounters {
  std::uint64_t looks = 0;
  std::uint64_t questions = 0;  ///< how often it was asked for whom
};

/// Used by the engine's thread alone.
class Poller {
 public:
  using Clock = std::chrono::steady_clock;
  using Result = tl::expected<Ledger::Complaints, ServerError>;

  Poller(PollerOptions options, const Observer& observer, Ledger& ledger)
      : options_(options), observer_(observer), ledger_(ledger) {}

  /// Looks, asks about whom it is time for, and reports to `agent`.
  [[nodiscard]] Result poll(Connection& connection, Agent& agent);
  /// Asks about these waits at once.
  [[nodiscard]] Result confirm(Connection& connection, Agent& agent, const std::vector<WaitHandle>& waits);
  /// When poll() is due.
  [[nodiscard]] Clock::time_point next_due() const;
  /// The server is away: everything seen is void.
  void reset();
  [[nodiscard]] const PollerCounters& counters() const { return counters_; }

 private:
  /// A session that waits, as of the last look.
  struct Seen {
    std::int64_t statement_start_us;
    Clock::time_point due;  ///< when its wait comes of age; of no meaning once the ledger knows it
  };

  /// Takes a look in; true if a standing wait has ended or is another one now.
  [[nodiscard]] bool take(const std::vector<Waiter>& waiters, Clock::time_point now);
  [[nodiscard]] std::vector<int> come_of_age(Clock::time_point now) const;
  [[nodiscard]] Result ask(Connection& connection, Agent& agent, const std::vector<int>& pids,
                           std::chrono::microseconds age_min);

  const PollerOptions options_;
  const Observer& observer_;
  Ledger& ledger_;
  std::map<Branch, Seen> seen_;
  Clock::time_point next_look_{}, ask_again_{}, refresh_{};
  PollerCounters counters_;
};

}  // namespace gordian::postgres
