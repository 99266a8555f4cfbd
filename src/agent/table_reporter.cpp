#include "agent/table_reporter.hpp"

namespace gordian::agent {
namespace {

std::uint64_t key(WaitNumber wait) { return static_cast<std::uint64_t>(wait); }
std::uint64_t key(WaitHandle wait) { return static_cast<std::uint64_t>(wait); }

}  // namespace

std::optional<TableReporter::TableWait> TableReporter::find(WaitHandle wait) const {
  const auto it = by_handle_.find(key(wait));
  return it == by_handle_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<WaitHandle> TableReporter::reported_as(WaitNumber wait) const {
  const auto it = waits_.find(key(wait));
  return it == waits_.end() ? std::nullopt : it->second.handle;
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
  Known& known = waits_.emplace(key(wait.wait), Known{{}, wait.waiter}).first->second;
  if (wait.need < wait.of) {
    ++left_out_;
    return;
  }
  sink_.named(wait.waiter);
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
  waits_.erase(it);
  // Who stood behind it does so no longer; behind whom instead is told next.
  if (const auto at = resources_.find(resource); at != resources_.end())
    for (auto& front : at->second.fronts)
      if (front && front->wait == wait) leave_front(*front);
}

void TableReporter::holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t) {
  sink_.named(txn);
  if (const auto handle = holder_group(resources_[resource], resource, group)) sink_.join_group(*handle, txn);
}

void TableReporter::holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t) {
  const auto it = resources_.find(resource);
  if (it == resources_.end()) return;
  if (const auto& handle = it->second.holders[index(group)]) sink_.leave_group(*handle, txn);
}

void TableReporter::front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> wait,
                                  std::uint64_t) {
  Resource& at = resources_[resource];
  if (!front_group(at, resource, mode)) return;
  Front& front = *at.fronts[index(mode)];
  leave_front(front);
  // The end of the front's own wait may have been told already: then it blocks nobody any more.
  const auto it = wait ? waits_.find(key(*wait)) : waits_.end();
  if (it == waits_.end()) return;
  front.wait = wait;
  front.member = it->second.waiter;
  sink_.join_group(front.group, *front.member);
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
