// Holder groups as agents report them: who joins and leaves, what is over a limit, and since when an edge has stood.
#include <algorithm>
#include <unordered_set>

#include "coordinator/sites.hpp"

namespace gordian::coordinator {
namespace {

std::uint64_t number_of(GroupHandle group) { return static_cast<std::uint64_t>(group); }

}  // namespace

void Sites::graph_full(const Site& site, const graph::LimitReached& limit, const char* what) {
  out_.count("limit_graph");
  out_.note(Note::Level::error, "the graph has reached its limit of " + std::to_string(limit.limit) + " " + limit.what +
                                    ": " + what + " at site " + site.id.str() + " is left out");
}

/// An unknown group is the agent's mistake, unless groups were left out here.
bool Sites::group_known(Site& site, GroupHandle group, const std::string& who) {
  if (site.groups.contains(number_of(group))) return true;
  if (site.groups_left_out) {
    out_.count("limit_groups");
    return false;
  }
  out_.count("refused_malformed");
  out_.send(site.peer, wire::Error{wire::Error::Code::malformed,
                                   who + " names group " + std::to_string(number_of(group)) + ", which site " +
                                       site.id.str() + " has not begun or has ended (change 4 begins it)"});
  return false;
}

/// A wait without some of its groups, which were over a limit, is still true; one that names what never was is not.
bool Sites::groups_known(Site& site, const wire::WaitChange& change) {
  const auto known = [&](GroupHandle group) {
    return group_known(site, group, "wait " + std::to_string(change.sequence)) || site.groups_left_out;
  };
  return std::all_of(change.wait.groups.begin(), change.wait.groups.end(), known);
}

void Sites::apply(Site& site, const wire::GroupChange& change, std::uint64_t number, Time) {
  const auto group = number_of(change.group);
  const bool is_new = !site.groups.contains(group);
  if (is_new && site.groups.size() >= options_.limits.groups_per_site) {
    site.groups_left_out = true;
    if (out_.counters["limit_groups"]++ == 0)
      out_.note(Note::Level::error, "site " + site.id.str() + " has more than " +
                                        std::to_string(options_.limits.groups_per_site) +
                                        " holder groups: further ones are left out");
    return;
  }
  if (!is_new && site.groups.at(group).kind != change.kind) {
    out_.count("refused_malformed");
    return out_.send(site.peer, wire::Error{wire::Error::Code::malformed,
                                            "group " + std::to_string(group) + " of site " + site.id.str() +
                                                " was begun with another kind: begin another group"});
  }
  if (const auto begun = graph_.begin_group({site.slot, group}, change.kind); !begun) {
    site.groups_left_out = true;
    return graph_full(site, begun.error(), "a holder group");
  }
  auto& standing = site.groups[group];
  standing.resource = change.resource;
  standing.mode = change.mode;
  standing.kind = change.kind;
  const std::unordered_set<TxnId> now_in(change.members.begin(), change.members.end());
  std::vector<TxnId> gone;
  for (const auto& [txn, since] : standing.members) {
    if (!now_in.contains(txn)) gone.push_back(txn);
  }
  for (const auto& txn : gone) leave(site, group, txn);
  for (const auto& txn : change.members) join(site, group, txn, number, !standing.members.contains(txn));
  record(site, change);
}

void Sites::apply(Site& site, const wire::JoinChange& change, std::uint64_t number, Time) {
  if (!group_known(site, change.group, "the join of " + change.txn.str())) return;
  join(site, number_of(change.group), change.txn, number, true);
  record(site, change);
}

void Sites::apply(Site& site, const wire::LeaveChange& change, std::uint64_t, Time) {
  if (!site.groups.contains(number_of(change.group))) return;
  leave(site, number_of(change.group), change.txn);
  record(site, change);
}

void Sites::apply(Site& site, const wire::EndGroupChange& change, std::uint64_t, Time) {
  end_group(site, number_of(change.group));
}

void Sites::join(Site& site, std::uint64_t group, const TxnId& txn, std::uint64_t number, bool touch) {
  const graph::GroupRef ref{site.slot, group};
  if (const auto joined = graph_.join(ref, txn); !joined) return graph_full(site, joined.error(), "a holder");
  site.groups.at(group).members.insert_or_assign(txn, number);
  if (touch) touched_.emplace_back(Joined{ref, txn});
}

void Sites::leave(Site& site, std::uint64_t group, const TxnId& txn) {
  site.groups.at(group).members.erase(txn);
  graph_.leave({site.slot, group}, txn);
}

void Sites::end_group(Site& site, std::uint64_t group) {
  if (site.groups.erase(group) == 0) return;
  graph_.end_group({site.slot, group});
  record(site, wire::EndGroupChange{GroupHandle{group}});
}

std::uint64_t Sites::edge_number(graph::WaitRef ref, const TxnId& blocker) const {
  const auto& standing = *find(ref);
  auto number = standing.number;
  for (const auto e : graph_.edges(*graph_.find_wait(ref))) {
    if (!graph_.is_group(graph_.target(e))) continue;
    const auto& groups = by_slot_[ref.site]->groups;
    const auto group = groups.find(graph_.group(graph_.target(e)).number);
    if (group == groups.end()) continue;
    const auto member = group->second.members.find(blocker);
    if (member != group->second.members.end()) number = std::max(number, member->second);
  }
  return number;
}

}  // namespace gordian::coordinator
