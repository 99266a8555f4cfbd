#include "rocksdb/waits.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gordian::rocksdb_agent {
namespace {

/// A key and its column family in one name; people see it, too.
std::string place_of(std::uint32_t family, std::string_view key) {
  return (family == 0 ? std::string() : "family " + std::to_string(family) + ": ") + std::string(key);
}

/// A wait that outlasts so many blockers (readers that come and go) is reported anew.
constexpr std::size_t departed_max = 1000;

/// Keys may be longer than what the agent takes; people know it by its beginning.
std::string shown(const std::string& place) { return place.substr(0, 256); }

Error condemned(const AbortOrder& order) {
  return {Error::Code::deadlock,
          "transaction " + order.victim.str() + " was aborted to break deadlock " + order.incident + "; run it again",
          order.incident, ::rocksdb::Status::Aborted("deadlock " + order.incident)};
}

}  // namespace

Waits::Waits(const SiteId& site, Log log)
    // RocksDB counts its transactions from 1 each time it is opened: the time of opening keeps the names apart.
    : strangers_prefix_(site.str().substr(0, 64) + "/" +
                        std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + "/"),
      log_(std::move(log)) {}

void Waits::attach(Agent agent) { agent_.emplace(std::move(agent)); }

TxnId Waits::local_name(std::uint64_t stranger) const { return TxnId(strangers_prefix_ + std::to_string(stranger)); }

bool Waits::enter(const std::shared_ptr<Branch>& branch) {
  const std::lock_guard lock(mutex_);
  if (!by_name_.emplace(branch->id, branch).second) return false;
  by_number_.emplace(branch->number, branch.get());
  return true;
}

void Waits::leave(Branch& branch) {
  const std::lock_guard lock(mutex_);
  by_number_.erase(branch.number);
  if (branch.described) agent_->forget(branch.id);
  by_name_.erase(branch.id);
}

// --- Waits ---

bool Waits::begins_to_wait(Branch& branch, Gate gate) {
  std::uint32_t family = 0;
  std::string key;
  const auto numbers = branch.txn->GetWaitingTxns(&family, &key);
  auto place = place_of(family, key);

  const std::lock_guard lock(mutex_);
  if (branch.condemned) return false;
  if (!branch.gate || place != branch.place) {  // without a key, RocksDB waits for room in its lock table
    leave_place(branch);
    branch.place = std::move(place);
    places_[branch.place].insert(&branch);
    branch.waits_since = std::chrono::steady_clock::now();
    ++waiting_;
  }
  branch.gate = std::move(gate);
  std::vector<Branch*> blockers;
  std::vector<std::uint64_t> strangers;
  for (const auto number : numbers) {
    const auto known = by_number_.find(number);
    if (known == by_number_.end()) strangers.push_back(number);
    // One that raises its shared lock finds itself among the holders.
    else if (known->second != &branch && !known->second->ending)
      blockers.push_back(known->second);
  }
  std::sort(blockers.begin(), blockers.end());
  std::sort(strangers.begin(), strangers.end());
  if (blockers != branch.blockers || strangers != branch.strangers)
    set_blockers(branch, std::move(blockers), std::move(strangers));
  return true;
}

void Waits::waits_no_longer(Branch& branch) {
  const std::lock_guard lock(mutex_);
  set_blockers(branch, {}, {});
  leave_place(branch);
}

void Waits::leave_place(Branch& branch) {
  if (!branch.gate) return;
  branch.gate.reset();
  const auto here = places_.find(branch.place);
  here->second.erase(&branch);
  if (here->second.empty()) places_.erase(here);
  --waiting_;
}

void Waits::set_blockers(Branch& branch, std::vector<Branch*> blockers, std::vector<std::uint64_t> strangers) {
  for (auto* before : branch.blockers) {
    before->blocked.erase(&branch);
    if (!std::binary_search(blockers.begin(), blockers.end(), before)) depart(branch, *before);
  }
  for (auto* now : blockers) {
    if (branch.departed.contains(now->id)) end_report(branch);
  }
  branch.blockers = std::move(blockers);
  branch.strangers = std::move(strangers);
  for (auto* now : branch.blockers) now->blocked.insert(&branch);
  report(branch);
}

void Waits::end_report(Branch& branch) {
  branch.departed.clear();
  if (branch.wait) agent_->end_wait(*std::exchange(branch.wait, std::nullopt));
}

void Waits::depart(Branch& branch, const Branch& blocker) {
  branch.departed.insert(blocker.id);
  if (branch.departed.size() > departed_max) end_report(branch);
}

void Waits::report(Branch& branch) {
  if (branch.blockers.empty() && branch.strangers.empty()) return end_report(branch);
  std::vector<Blocker> named;
  for (auto* blocker : branch.blockers) {
    describe(*blocker);
    named.push_back({blocker->id});
  }
  for (const auto stranger : branch.strangers) named.push_back({local_name(stranger)});
  tl::expected<void, AgentError> told;
  if (branch.wait) {
    told = agent_->set_blockers(*branch.wait, named);
  } else {
    describe(branch);
    const auto age = std::chrono::steady_clock::now() - branch.waits_since;
    told = agent_
               ->begin_wait({.waiter = branch.id,
                             .blockers = std::move(named),
                             .resource = shown(branch.place),
                             .mode = "",
                             .detail = "",
                             .age = std::chrono::duration_cast<std::chrono::microseconds>(age)})
               .map([&](WaitHandle handle) { branch.wait = handle; });
  }
  if (told || !log_) return;
  log_(AgentCallbacks::Level::warn,
       "the wait of " + branch.id.str() + " for " + shown(branch.place) +
           " is not reported, a deadlock that it is part of is not found: " + told.error().message);
}

void Waits::describe(Branch& branch) {
  auto info = branch.info;
  if (info.work == 0) info.work = static_cast<double>(branch.writes.load(std::memory_order_relaxed));
  branch.described = true;
  // Over the limit it has no description: victims are then chosen without it, and the agent counts that.
  static_cast<void>(agent_->describe(branch.id, std::move(info)));
}

// --- Locks that change hands ---

bool Waits::lets_go(Branch& branch) {
  const std::lock_guard lock(mutex_);
  branch.ending = true;
  for (auto* waiter : std::exchange(branch.blocked, {})) {
    std::erase(waiter->blockers, &branch);
    depart(*waiter, branch);
    report(*waiter);
  }
  return !branch.condemned;
}

void Waits::shared(std::uint32_t family, std::string_view key) {
  // Who waited before this lock was granted is counted: the stripe's mutex lies in between.
  if (waiting_ == 0) return;
  std::optional<Gate> gate;
  {
    const std::lock_guard lock(mutex_);
    const auto waiters = places_.find(place_of(family, key));
    if (waiters == places_.end()) return;
    gate = (*waiters->second.begin())->gate;  // one key, one stripe, one gate for all of them
  }
  gate->wake();
}

// --- Orders ---

bool Waits::applies(const AbortOrder& order, const Branch& victim) const {
  if (order.role == AbortOrder::Role::waiting) return victim.wait == order.wait;
  return std::any_of(victim.blocked.begin(), victim.blocked.end(),
                     [&](const Branch* waiter) { return waiter->wait == order.wait; });
}

void Waits::carry_out(const AbortOrder& order, const AbortAnswer& answer) {
  std::shared_ptr<Branch> victim;
  std::optional<Gate> gate;
  bool ours = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_name_.find(order.victim);
    if (found == by_name_.end()) return answer.stale();
    victim = found->second;
    const std::lock_guard branch_lock(victim->mutex);
    const bool again = victim->condemned && victim->error->incident == order.incident;
    if (!again && !applies(order, *victim)) return answer.stale();
    if (!victim->error) victim->error = condemned(order);
    victim->condemned = true;
    victim->answers.push_back(answer);
    gate = victim->gate;
    ours = !std::exchange(victim->busy, true);
  }
  if (ours)
    roll_back(*victim);
  else if (gate)
    gate->wake();  // its own thread rolls it back
}

void roll_back(Branch& branch) {
  static_cast<void>(branch.waits.lets_go(branch));
  branch.txn->Rollback().PermitUncheckedError();  // its destruction releases what a failed one has kept
  branch.txn.reset();
  branch.waits.leave(branch);
  std::vector<AbortAnswer> answers;
  {
    const std::lock_guard lock(branch.mutex);
    answers = std::exchange(branch.answers, {});
    branch.busy = false;
    branch.idle.notify_all();
  }
  for (const auto& answer : answers) answer.done();
}

}  // namespace gordian::rocksdb_agent
