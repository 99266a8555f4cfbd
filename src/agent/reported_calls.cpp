// Calls for any or some of several resources: told anew whenever somebody comes or goes at one of their resources.
//
// Of all requests of a call that wait, some may wait for good (`spare`), which never changes; how many more must be granted is
// not counted, for the ends of waits at different resources are told in any order. With fewer waits told than there are, less is
// claimed than there is.
#include <algorithm>
#include <utility>

#include "agent/table_reporter.hpp"

namespace gordian::agent {
namespace {

// What people are shown as the resource: the first names of many.
constexpr std::size_t shown_bytes = 200;

std::uint64_t key(Ticket call) { return static_cast<std::uint64_t>(call); }
std::uint64_t key(WaitHandle wait) { return static_cast<std::uint64_t>(wait); }

std::vector<Blocker> blockers_of(const Clause& clause) {
  std::vector<Blocker> blockers;
  for (const auto& txn : clause.blockers) blockers.push_back({txn, Kind::hard});
  return blockers;
}

}  // namespace

void TableReporter::join_call(const WaitBegun& wait) {
  auto& call =
      calls_.try_emplace(key(wait.ticket), Call{wait.waiter, wait.of - wait.need, sink_.clock()}).first->second;
  call.waits.push_back({wait.wait, wait.resource, wait.mode, wait.conversion});
  resources_[wait.resource].calls.push_back(wait.ticket);
  tell(wait.ticket, call);
}

void TableReporter::leave_call(Ticket ticket, WaitNumber wait) {
  auto& call = calls_.at(key(ticket));
  const auto asked = std::find_if(call.waits.begin(), call.waits.end(), [&](const Asked& a) { return a.wait == wait; });
  if (const auto at = resources_.find(asked->resource); at != resources_.end()) std::erase(at->second.calls, ticket);
  call.waits.erase(asked);
  tell(ticket, call);
  if (call.waits.empty()) calls_.erase(key(ticket));
}

/// Who must end before that request is granted.
std::vector<TxnId> TableReporter::in_the_way(const Asked& asked, const TxnId& waiter) const {
  const Resource& at = resources_.at(asked.resource);
  const ModeSet against = modes_.conflicts(asked.mode);
  std::vector<TxnId> found;
  for (const auto& [txn, held] : at.names)
    if (txn != waiter && std::any_of(held.begin(), held.end(), [&](Mode mode) { return has(against, mode); }))
      found.push_back(txn);
  std::sort(found.begin(), found.end());
  const auto& front = at.fronts[index(asked.mode)];
  if (found.empty() && !asked.conversion && front && front->member && *front->member != waiter)
    found.push_back(*front->member);
  return found;
}

/// What is told already stays as it is; a wait whose clause is no more takes over a new one, for it is still the same call.
void TableReporter::tell(Ticket ticket, Call& call) {
  std::vector<std::vector<TxnId>> blocked;
  if (call.waits.size() > call.spare)
    for (const auto& asked : call.waits) blocked.push_back(in_the_way(asked, call.waiter));
  auto clauses = clauses_of(blocked, call.spare, clauses_max);
  bool complete = clauses.complete;
  // Between one holder and the next the wait stays, for nobody.
  if (clauses.all.empty() && call.waits.size() > call.spare) clauses.all.push_back({0, {}});
  std::vector<std::pair<WaitHandle, Clause>> free;
  for (auto& told : std::exchange(call.told, {})) {
    const auto same = std::find(clauses.all.begin(), clauses.all.end(), told.second);
    const bool stays = same != clauses.all.end();
    if (stays) clauses.all.erase(same);
    (stays ? call.told : free).push_back(std::move(told));
  }
  for (auto& clause : clauses.all) {
    if (!free.empty()) {
      auto [handle, before] = std::move(free.back());
      free.pop_back();
      if (sink_.set_blockers(handle, blockers_of(clause), clause.need)) {
        call.told.emplace_back(handle, std::move(clause));
        continue;
      }
      end(handle);
    }
    complete = begin(ticket, call, std::move(clause)) && complete;
  }
  for (const auto& [handle, clause] : free) end(handle);
  if (!complete && !std::exchange(call.left_out, true)) ++left_out_;
}

bool TableReporter::begin(Ticket ticket, Call& call, Clause clause) {
  Wait report{.waiter = call.waiter, .blockers = blockers_of(clause), .resource = {}, .mode = {}, .detail = {}};
  for (const auto& asked : call.waits) {
    if (!report.resource.empty() && report.resource.size() + asked.resource.size() > shown_bytes) {
      report.resource += ", ...";
      break;
    }
    report.resource += (report.resource.empty() ? "" : ", ") + asked.resource;
  }
  report.mode = modes_.name(call.waits.front().mode);
  report.detail =
      std::to_string(call.waits.size() - call.spare) + " of " + std::to_string(call.waits.size()) + " resources";
  report.need = clause.need;
  report.age = sink_.clock() - call.began;  // all waits of a call are published together: less than all would mislead
  const auto handle = sink_.begin_wait(std::move(report));
  if (!handle) return false;
  call_by_handle_.emplace(key(*handle), ticket);
  call.told.emplace_back(*handle, std::move(clause));
  return true;
}

void TableReporter::withdraw(WaitHandle wait) {
  const auto known = call_by_handle_.find(key(wait));
  if (known == call_by_handle_.end()) return sink_.end_wait(wait);
  const auto ticket = known->second;
  auto& call = calls_.at(key(ticket));
  std::erase_if(call.told, [&](const auto& told) { return told.first == wait; });
  end(wait);
  tell(ticket, call);
}

void TableReporter::end(WaitHandle wait) {
  sink_.end_wait(wait);
  call_by_handle_.erase(key(wait));
}

void TableReporter::tell_calls_at(const std::string& resource) {
  const auto at = resources_.find(resource);
  if (at == resources_.end()) return;
  for (const Ticket ticket : at->second.calls) tell(ticket, calls_.at(key(ticket)));
}

}  // namespace gordian::agent
