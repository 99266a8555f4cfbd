#include "agent/table_reporter.hpp"

#include <algorithm>

namespace gordian::agent {
namespace {

std::uint64_t key(WaitNumber wait) { return static_cast<std::uint64_t>(wait); }
std::uint64_t key(WaitHandle wait) { return static_cast<std::uint64_t>(wait); }
std::uint64_t key(Ticket call) { return static_cast<std::uint64_t>(call); }

}  // namespace

std::vector<TableReporter::TableWait> TableReporter::find(WaitHandle wait) const {
  if (const auto it = by_handle_.find(key(wait)); it != by_handle_.end()) return {it->second};
  const auto call = call_by_handle_.find(key(wait));
  if (call == call_by_handle_.end()) return {};
  std::vector<TableWait> found;
  for (const auto& asked : calls_.at(key(call->second)).waits) found.push_back({asked.wait, asked.resource});
  return found;
}

std::optional<TableReporter::CallView> TableReporter::call_of(WaitNumber wait) const {
  const auto it = waits_.find(key(wait));
  if (it == waits_.end() || !it->second.call) return std::nullopt;
  return CallView{*it->second.call, calls_.at(key(*it->second.call)).spare};
}

std::vector<WaitHandle> TableReporter::reported_as(WaitNumber wait) const {
  const auto it = waits_.find(key(wait));
  if (it == waits_.end()) return {};
  std::vector<WaitHandle> handles;
  if (it->second.handle) handles.push_back(*it->second.handle);
  if (it->second.call)
    for (const auto& [handle, clause] : calls_.at(key(*it->second.call)).told) handles.push_back(handle);
  return handles;
}

std::optional<GroupHandle> TableReporter::holder_group(Resource& at, const std::string& resource, Mode mode) {
  auto& group = at.holders[index(mode)];
  if (!group) group = sink_.begin_group(resource, std::string(modes_.name(mode)), Kind::hard);
  return group;
}

std::optional<GroupHandle> TableReporter::front_group(Resource& at, const std::string& resource, Mode mode) {
  auto& front = at.fronts[index(mode)];
  if (!front)
    if (const auto group = sink_.begin_group(resource, "queued before " + std::string(modes_.name(mode)), Kind::soft))
      front = Front{*group, {}, {}};
  return front ? std::optional(front->group) : std::nullopt;
}

void TableReporter::wait_begun(const WaitBegun& wait) {
  Known& known = waits_.emplace(key(wait.wait), Known{{}, wait.waiter, {}}).first->second;
  sink_.named(wait.waiter);
  if (wait.need < wait.of) {
    known.call = wait.ticket;
    return join_call(wait);
  }
  Resource& at = resources_[wait.resource];
  Wait report{.waiter = wait.waiter,
              .blockers = {},
              .resource = wait.resource,
              .mode = std::string(modes_.name(wait.mode)),
              .detail = wait.conversion ? "conversion" : "",
              .groups = {}};
  for (std::size_t i = 0; i < modes_.size(); ++i)
    if (has(wait.groups, static_cast<Mode>(i)))
      if (const auto group = holder_group(at, wait.resource, static_cast<Mode>(i))) report.groups.push_back(*group);
  if (!wait.conversion)
    if (const auto group = front_group(at, wait.resource, wait.mode)) report.groups.push_back(*group);
  known.handle = sink_.begin_wait(std::move(report));
  if (known.handle) {
    by_handle_.emplace(key(*known.handle), TableWait{wait.wait, wait.resource});
  } else {
    ++left_out_;
  }
}

void TableReporter::leave_front(Front& front) {
  if (front.member) sink_.leave_group(front.group, *front.member);
  front.member.reset();
  front.wait.reset();
}

void TableReporter::wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t) {
  const auto it = waits_.find(key(wait));
  if (it == waits_.end()) return;
  if (it->second.handle) {
    sink_.end_wait(*it->second.handle);
    by_handle_.erase(key(*it->second.handle));
  }
  const auto call = it->second.call;
  waits_.erase(it);
  if (call) leave_call(*call, wait);
  // Who stood behind it does so no longer; behind whom instead is told next.
  if (const auto at = resources_.find(resource); at != resources_.end())
    for (auto& front : at->second.fronts)
      if (front && front->wait == wait) leave_front(*front);
  tell_calls_at(resource);
}

void TableReporter::holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t) {
  sink_.named(txn);
  Resource& at = resources_[resource];
  auto& held = at.names[txn];
  const bool joins = std::find(held.begin(), held.end(), group) == held.end();
  held.push_back(group);
  if (const auto handle = holder_group(at, resource, group); handle && joins) sink_.join_group(*handle, txn);
  tell_calls_at(resource);
}

void TableReporter::holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t) {
  const auto it = resources_.find(resource);
  if (it == resources_.end()) return;
  bool leaves = true;
  if (const auto held = it->second.names.find(txn); held != it->second.names.end()) {
    auto& modes = held->second;
    if (const auto mode = std::find(modes.begin(), modes.end(), group); mode != modes.end()) modes.erase(mode);
    leaves = std::find(modes.begin(), modes.end(), group) == modes.end();
    if (modes.empty()) it->second.names.erase(held);
  }
  if (const auto& handle = it->second.holders[index(group)]; handle && leaves) sink_.leave_group(*handle, txn);
  tell_calls_at(resource);
}

void TableReporter::front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> wait,
                                  std::uint64_t) {
  Resource& at = resources_[resource];
  if (!front_group(at, resource, mode)) return;
  Front& front = *at.fronts[index(mode)];
  leave_front(front);
  // The end of the front's own wait may have been told already: then it blocks nobody any more.
  if (const auto it = wait ? waits_.find(key(*wait)) : waits_.end(); it != waits_.end()) {
    front.wait = wait;
    front.member = it->second.waiter;
    sink_.join_group(front.group, *front.member);
  }
  tell_calls_at(resource);
}

void TableReporter::resource_calm(const std::string& resource, std::uint64_t) {
  const auto it = resources_.find(resource);
  if (it == resources_.end()) return;
  for (const auto& group : it->second.holders)
    if (group) sink_.end_group(*group);
  for (const auto& front : it->second.fronts)
    if (front) sink_.end_group(front->group);
  resources_.erase(it);
}

}  // namespace gordian::agent
