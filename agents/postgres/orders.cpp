#include "postgres/orders.hpp"

#include <algorithm>
#include <array>

namespace gordian::postgres {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds pause_max{50};
/// How long a session may take to react to a signal.
constexpr milliseconds reaction_min{500};
/// An order may be repeated by a coordinator this much later.
constexpr std::chrono::minutes remember_for{1};

// The branch $1, $2, $3: pid, start of the process, start of the transaction (0 outside one).
#define GORDIAN_THIS_BRANCH                                                            \
  "pid = $1::int4 and (extract(epoch from backend_start) * 1000000)::int8 = $2::int8 " \
  "and coalesce((extract(epoch from xact_start) * 1000000)::int8, 0) = $3::int8"

// Signals only while the wait that began at $4 goes on; the check and the signal are one statement.
constexpr Statement cancel_wait_statement{
    "gordian_cancel_wait", "select pg_cancel_backend(pid) from pg_stat_activity where " GORDIAN_THIS_BRANCH
                           " and exists (select from pg_locks where pg_locks.pid = $1::int4 and not granted"
                           " and (extract(epoch from waitstart) * 1000000)::int8 = $4::int8)"};

constexpr Statement cancel_active_statement{
    "gordian_cancel_active",
    "select pg_cancel_backend(pid) from pg_stat_activity where state = 'active' and " GORDIAN_THIS_BRANCH};

constexpr Statement terminate_statement{
    "gordian_terminate", "select pg_terminate_backend(pid) from pg_stat_activity where " GORDIAN_THIS_BRANCH};

// An aborted transaction has no lock, not even on itself. An advisory lock may outlive transactions; it matters only if
// somebody waits for it.
constexpr Statement state_statement{
    "gordian_state",
    "select state, locks.waiting, locks.holding from pg_stat_activity, lateral ("
    "  select coalesce(bool_or(not granted), false) as waiting,"
    "    coalesce(bool_or(granted and (locktype <> 'advisory' or exists (select from pg_locks other"
    "      where other.locktype = 'advisory' and not other.granted and (other.database, other.classid, other.objid,"
    "      other.objsubid) = (mine.database, mine.classid, mine.objid, mine.objsubid)))), false) as holding"
    "  from pg_locks mine where mine.pid = $1::int4) locks where " GORDIAN_THIS_BRANCH};

constexpr Statement prepared_statement{"gordian_prepared",
                                       "select database = current_database() from pg_prepared_xacts"
                                       " where gid = $1 and (extract(epoch from prepared) * 1000000)::int8 = $2::int8"};

std::vector<std::string> parameters_of(const Branch& branch) {
  return {std::to_string(branch.pid), std::to_string(branch.backend_start_us), std::to_string(branch.xact_start_us)};
}

/// The answer has to be there before the grace ends, else the order is given again without it.
milliseconds time_for(const AbortOrder& order) { return order.grace * 4 / 5; }

std::string text_of(const AbortOrder& order) { return "deadlock " + order.incident + ": victim " + order.victim.str(); }

}  // namespace

struct Orders::State {
  bool over = true;  ///< that transaction is no more
  bool waiting = false;
  bool holding = false;
  std::string activity;  ///< pg_stat_activity.state

  [[nodiscard]] bool idle() const { return activity.starts_with("idle"); }
  [[nodiscard]] bool aborted() const { return activity == "idle in transaction (aborted)"; }
};

tl::expected<Orders::State, ServerError> Orders::state_of(Connection& connection, const Branch& branch) {
  const auto rows = connection.run(state_statement, parameters_of(branch));
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return State{};
  return State{false, rows->flag(0, 1), rows->flag(0, 2), std::string(rows->text(0, 0))};
}

void Orders::add(const Ledger& ledger, AbortOrder order, AbortAnswer answer, Clock::time_point now) {
  std::erase_if(remembered_, [&](const auto& entry) { return entry.second.until < now; });
  std::vector<Branch> branches;
  std::int64_t waitstart_us = 0;
  const auto key = std::pair(order.wait, order.role);
  if (order.role == AbortOrder::Role::holding) {
    branches = ledger.branches_blocking(order.wait, order.victim);
  } else if (const Episode* episode = ledger.find(order.wait); episode != nullptr && episode->waiter == order.victim) {
    branches = {episode->branch};
    waitstart_us = episode->waitstart_us;
  }
  if (const auto earlier = remembered_.find(key);
      branches.empty() && order.attempt > 0 && earlier != remembered_.end()) {
    branches = earlier->second.branches;
    waitstart_us = earlier->second.waitstart_us;
  }
  if (branches.empty()) {
    answer.stale();
    return;
  }
  remembered_.insert_or_assign(key, Remembered{branches, waitstart_us, now + remember_for});
  tasks_.push_back({std::move(order),
                    std::move(answer),
                    std::move(branches),
                    waitstart_us,
                    now,
                    now,
                    milliseconds(1),
                    false,
                    false,
                    {}});
}

tl::expected<void, ServerError> Orders::carry_on(Connection& connection, Clock::time_point now) {
  for (auto task = tasks_.begin(); task != tasks_.end();) {
    if (task->due > now) {
      ++task;
      continue;
    }
    const auto verdict = carry_on(connection, *task, now);
    if (!verdict) return tl::unexpected(verdict.error());
    if (*verdict == Verdict::pending) {
      task->due = now + task->pause;
      task->pause = std::min(task->pause * 2, pause_max);
      ++task;
    } else {
      answer(*task, *verdict);
      task = tasks_.erase(task);
    }
  }
  return {};
}

Orders::Step Orders::carry_on(Connection& connection, Task& task, Clock::time_point now) {
  while (!task.branches.empty()) {
    const Branch branch = task.branches.back();
    auto step = [&]() -> Step {
      if (branch.prepared()) return roll_back_prepared(connection, task, branch);
      if (task.order.role == AbortOrder::Role::waiting) return abort_waiting(connection, task, branch, now);
      return free_holding(connection, task, branch, now);
    }();
    if (!step && step.error().code == ServerError::Code::refused) {
      task.why_not = to_text(branch) + ": " + step.error().message;
      return Verdict::failed;
    }
    if (!step || *step != Verdict::done) return step;
    task.branches.pop_back();
    task.cancelled = task.terminated = false;
  }
  return Verdict::done;
}

Orders::Step Orders::abort_waiting(Connection& connection, Task& task, const Branch& branch, Clock::time_point now) {
  if (task.cancelled || task.terminated) return wait_until_free(connection, task, branch, now);
  if (task.order.attempt > 0) {
    const auto state = state_of(connection, branch);
    if (!state) return tl::unexpected(state.error());
    if (state->over) return Verdict::done;
    // It waits no more, is not aborted, and its client may go on: it is on no deadlock any more.
    if (state->idle() && !state->aborted()) return Verdict::stale;
    return terminate(connection, task, branch);
  }
  auto parameters = parameters_of(branch);
  parameters.push_back(std::to_string(task.waitstart_us));
  const auto rows = connection.run(cancel_wait_statement, parameters);
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) {
    ++counters_.cancel_found_wait_gone;
    return Verdict::stale;
  }
  ++counters_.cancels;
  task.cancelled = true;
  tell_(text_of(task.order) + ": cancelled the statement of " + to_text(branch));
  return Verdict::pending;
}

Orders::Step Orders::wait_until_free(Connection& connection, Task& task, const Branch& branch, Clock::time_point now) {
  const auto state = state_of(connection, branch);
  if (!state) return tl::unexpected(state.error());
  if (state->over || !state->holding) return Verdict::done;
  if (task.cancelled && state->idle() && !state->aborted() && !state->waiting) {
    // The wait ended between the check and the signal, and an idle session ignores a cancel.
    ++counters_.cancel_found_wait_gone;
    return Verdict::stale;
  }
  // An aborted transaction that keeps locks is up to its client now. Anything else is still on its way.
  const auto enough = task.terminated    ? task.order.grace
                      : state->aborted() ? options_.idle_branch_grace
                                         : std::max(options_.idle_branch_grace, reaction_min);
  const auto patience = std::min(enough, time_for(task.order));
  if (now - task.began < patience) return Verdict::pending;
  task.why_not =
      to_text(branch) + (task.terminated ? " was terminated, but has not ended yet"
                                         : " was cancelled, but keeps its locks (a savepoint is open, or the "
                                           "statement goes on); terminated when ordered again");
  return Verdict::failed;
}

Orders::Step Orders::free_holding(Connection& connection, Task& task, const Branch& branch, Clock::time_point now) {
  if (task.terminated) return wait_until_free(connection, task, branch, now);
  const auto state = state_of(connection, branch);
  if (!state) return tl::unexpected(state.error());
  if (state->over || !state->holding) return Verdict::done;
  if (task.order.attempt > 0) return terminate(connection, task, branch);
  const auto since = now - task.began;
  if (since < std::min(options_.idle_branch_grace, task.order.grace / 2)) return Verdict::pending;
  if (state->idle()) return terminate(connection, task, branch);
  if (!task.cancelled) {
    const auto rows = connection.run(cancel_active_statement, parameters_of(branch));
    if (!rows) return tl::unexpected(rows.error());
    if (rows->size() > 0) {
      ++counters_.cancels;
      task.cancelled = true;
      tell_(text_of(task.order) + ": cancelled the statement of " + to_text(branch) + ", which holds its locks here");
    }
    return Verdict::pending;
  }
  if (since < time_for(task.order)) return Verdict::pending;
  task.why_not =
      to_text(branch) + " is running a statement and does not react to a cancel; terminated when ordered again";
  return Verdict::failed;
}

Orders::Step Orders::terminate(Connection& connection, Task& task, const Branch& branch) {
  const auto rows = connection.run(terminate_statement, parameters_of(branch));
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return Verdict::done;  // ended by itself just now
  ++counters_.terminations;
  task.terminated = true;
  task.pause = milliseconds(1);
  tell_(text_of(task.order) + ": terminated " + to_text(branch));
  return Verdict::pending;
}

Orders::Step Orders::roll_back_prepared(Connection& connection, Task& task, const Branch& branch) {
  if (!options_.roll_back_prepared) {
    task.why_not =
        to_text(branch) + " is left alone (prepared = never); end it with COMMIT PREPARED or ROLLBACK PREPARED";
    return Verdict::failed;
  }
  const auto rows = connection.run(prepared_statement, {branch.gid, std::to_string(branch.xact_start_us)});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return Verdict::done;
  const auto rolled_back = connection.run_text("rollback prepared " + connection.literal(branch.gid));
  if (!rolled_back) return tl::unexpected(rolled_back.error());
  ++counters_.prepared_rolled_back;
  tell_(text_of(task.order) + ": rolled back " + to_text(branch));
  return Verdict::done;
}

void Orders::answer(const Task& task, Verdict verdict) const {
  switch (verdict) {
    case Verdict::pending: return;
    case Verdict::done: return task.answer.done();
    case Verdict::stale: return task.answer.stale();
    case Verdict::failed:
      tell_(text_of(task.order) + ": attempt " + std::to_string(task.order.attempt) + " failed: " + task.why_not);
      return task.answer.failed(task.why_not);
  }
}

void Orders::give_up(const std::string& why) {
  for (const auto& task : tasks_) task.answer.failed(why);
  tasks_.clear();
}

std::optional<Orders::Clock::time_point> Orders::next_due() const {
  std::optional<Clock::time_point> next;
  for (const auto& task : tasks_)
    if (!next || task.due < *next) next = task.due;
  return next;
}

}  // namespace gordian::postgres
