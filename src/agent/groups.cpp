// Holder groups: who is in them, and telling the coordinator, which knows a group while a published wait names it.
#include <algorithm>
#include <utility>

#include "agent/agent_core.hpp"

namespace gordian::agent {
namespace {

// A group with more members is told in pieces: these first, the others join. Keeps messages small.
constexpr std::size_t members_per_change = 500;

std::uint64_t number_of(GroupHandle group) { return static_cast<std::uint64_t>(group); }

}  // namespace

// --- Reports ---

tl::expected<GroupHandle, AgentError> AgentCore::begin_group(std::string resource, std::string mode, Kind kind,
                                                             std::optional<GroupHandle> as) {
  if (groups_.size() >= options_.limits.groups)
    return over_limit(std::to_string(groups_.size() + 1) + " holder groups", options_.limits.groups,
                      "end_group() those that no wait names any more, or raise AgentLimits::groups");
  if (auto fit = check_texts(resource, mode); !fit) return tl::unexpected(fit.error());
  if (kind == Kind::dotted)
    return tl::unexpected(AgentError{AgentError::Code::invalid_wait,
                                     "a group of " + resource + " is hard or soft; name dotted blockers one by one"});
  const auto number = as ? number_of(*as) : last_group_ + 1;
  last_group_ = std::max(last_group_, number);
  auto& group = groups_[number];
  group.resource = std::move(resource);
  group.mode = std::move(mode);
  group.kind = kind;
  return GroupHandle{number};
}

AgentCore::Group* AgentCore::standing_group(GroupHandle group) {
  const auto it = groups_.find(number_of(group));
  return it == groups_.end() || it->second.ended ? nullptr : &it->second;
}

void AgentCore::join_group(GroupHandle handle, const TxnId& txn) {
  auto* const group = standing_group(handle);
  if (group == nullptr) return;
  const auto limit = options_.limits.members_per_group;
  if (group->members.size() >= limit && !group->members.contains(txn)) {
    ++counters_.limit_reached;
    if (!std::exchange(group->overfull, true))
      note(AgentCallbacks::Level::warn, "site " + options_.site.str() + ": more than " + std::to_string(limit) +
                                            " hold " + group->resource + " in mode " + group->mode + ", " + txn.str() +
                                            " is left out: deadlocks through it are not found; raise "
                                            "AgentLimits::members_per_group");
    return;
  }
  const bool fresh = group->members.insert_or_assign(txn, next_number()).second;
  if (group->published == 0) return;
  if (fresh) mention(txn);
  member_changed(number_of(handle), *group, txn);
}

void AgentCore::leave_group(GroupHandle handle, const TxnId& txn) {
  auto* const group = standing_group(handle);
  if (group == nullptr || group->members.erase(txn) == 0 || group->published == 0) return;
  unmention(txn);
  member_changed(number_of(handle), *group, txn);
}

void AgentCore::end_group(GroupHandle handle) {
  auto* const group = standing_group(handle);
  if (group == nullptr) return;
  while (!group->members.empty()) leave_group(handle, TxnId(group->members.begin()->first));
  group->ended = true;
  if (group->waits == 0) groups_.erase(number_of(handle));
}

// --- Waits that name groups ---

void AgentCore::name_groups(const Standing& standing) {
  for (const auto group : standing.wait.groups) ++groups_.at(number_of(group)).waits;
}

/// A wait is over, published or not.
void AgentCore::unname_groups(const Standing& standing) {
  for (const auto handle : standing.wait.groups) unname(handle, standing.published);
}

void AgentCore::unname(GroupHandle handle, bool published) {
  const auto it = groups_.find(number_of(handle));
  auto& group = it->second;
  --group.waits;
  if (published && --group.published == 0) {
    ended_groups_.push_back(it->first);
    for (const auto& [txn, since] : group.members) unmention(txn);
    group.changed.clear();
  }
  if (group.ended && group.waits == 0) groups_.erase(it);
}

bool AgentCore::ahead_by_group(GroupHandle handle, const TxnId& txn) const {
  const auto& group = groups_.at(number_of(handle));
  return group.kind == Kind::soft && group.members.contains(txn);
}

/// The wait has jumped ahead of that transaction's request: whatever said that it stands behind is over, told or not.
void AgentCore::take_from_behind(std::uint64_t sequence, const TxnId& ahead) {
  if (auto* const other = elsewhere(sequence)) return other->take_from_behind(sequence, ahead);
  const auto it = waits_.find(sequence);
  if (it == waits_.end()) return;
  auto& standing = it->second;
  if (const auto edge = standing.edges.find(ahead); edge != standing.edges.end() && edge->second.kind == Kind::soft) {
    standing.edges.erase(edge);
    if (standing.published) unmention(ahead);
    mark_dirty(sequence, standing);
  }
  std::erase_if(standing.wait.groups, [&](GroupHandle group) {
    if (!ahead_by_group(group, ahead)) return false;
    unname(group, standing.published);
    mark_dirty(sequence, standing);
    return true;
  });
}

void AgentCore::publish_groups(Standing& standing) {
  standing.since = next_number();
  for (const auto handle : standing.wait.groups) {
    auto& group = groups_.at(number_of(handle));
    if (++group.published > 1) continue;
    for (auto& [txn, since] : group.members) {
      since = next_number();
      mention(txn);
    }
    group.whole = true;
    mark_dirty(number_of(handle), group);
  }
}

void AgentCore::mark_dirty(std::uint64_t number, Group& group) {
  if (!std::exchange(group.dirty, true)) dirty_groups_.push_back(number);
}

void AgentCore::member_changed(std::uint64_t number, Group& group, const TxnId& txn) {
  if (group.whole) return;
  group.changed.insert(txn);
  mark_dirty(number, group);
}

/// Has it blocked the wait without a break since that message, as a member of one of the wait's groups?
bool AgentCore::blocks_by_group(const Standing& standing, const TxnId& txn, std::uint64_t since) const {
  if (standing.since > since || txn == standing.wait.waiter) return false;
  return std::any_of(standing.wait.groups.begin(), standing.wait.groups.end(), [&](GroupHandle handle) {
    const auto& members = groups_.at(number_of(handle)).members;
    const auto member = members.find(txn);
    return member != members.end() && member->second <= since;
  });
}

// --- Messages out ---

void AgentCore::add_whole_group(Batches& batches, std::uint64_t number, Group& group) const {
  const GroupHandle handle{number};
  wire::GroupChange change{handle, group.resource, group.mode, {}, group.kind};
  auto member = group.members.begin();
  for (; member != group.members.end() && change.members.size() < members_per_change; ++member)
    change.members.push_back(member->first);
  batches.add(std::move(change));
  for (; member != group.members.end(); ++member) batches.add(wire::JoinChange{handle, member->first});
  group.whole = false;
  group.changed.clear();
}

void AgentCore::add_leaves(Batches& batches) const {
  for (const auto number : dirty_groups_) {
    const auto it = groups_.find(number);
    if (it == groups_.end() || it->second.published == 0 || it->second.whole) continue;
    for (const auto& txn : it->second.changed)
      if (!it->second.members.contains(txn)) batches.add(wire::LeaveChange{GroupHandle{number}, txn});
  }
}

void AgentCore::add_groups_and_joins(Batches& batches) {
  for (const auto number : std::exchange(dirty_groups_, {})) {
    const auto it = groups_.find(number);
    if (it == groups_.end()) continue;
    auto& group = it->second;
    group.dirty = false;
    if (group.published == 0) continue;
    if (group.whole) {
      add_whole_group(batches, number, group);
      continue;
    }
    for (const auto& txn : std::exchange(group.changed, {}))
      if (group.members.contains(txn)) batches.add(wire::JoinChange{GroupHandle{number}, txn});
  }
}

}  // namespace gordian::agent
