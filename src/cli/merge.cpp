#include "cli/merge.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace gordian::cli {

using coordinator::GraphView;
using coordinator::GroupView;
using coordinator::Incident;
using coordinator::TxnView;

std::vector<Incident> merged(std::vector<std::vector<Incident>> of_each, std::size_t limit) {
  if (of_each.size() == 1) return std::move(of_each.front());  // in its own order: its clock may have been set back
  std::vector<Incident> all;
  std::set<std::string> ids;
  for (auto& incidents : of_each)
    for (auto& incident : incidents)
      if (ids.insert(incident.id).second) all.push_back(std::move(incident));
  std::ranges::stable_sort(all, std::ranges::greater{}, &Incident::found_unix_us);
  if (limit > 0 && all.size() > limit) all.erase(all.begin() + static_cast<std::ptrdiff_t>(limit), all.end());
  return all;
}

GraphView merged(const std::vector<GraphView>& of_each) {
  GraphView all;
  std::map<TxnId, TxnView> txns;
  std::map<std::pair<SiteId, GroupHandle>, GroupView> groups;
  for (const auto& view : of_each) {
    all.waits.insert(all.waits.end(), view.waits.begin(), view.waits.end());
    all.truncated = all.truncated || view.truncated;
    for (const auto& txn : view.txns) {
      auto& known = txns.emplace(txn.txn, txn).first->second;
      if (known.info == TxnInfo{}) known.info = txn.info;
      known.condemned = known.condemned || txn.condemned;
    }
    for (const auto& group : view.groups) {
      auto& known = groups.emplace(std::pair(group.site, group.group), group).first->second;
      for (const auto& member : group.members)
        if (known.members.size() < GraphView::members_max && !std::ranges::count(known.members, member))
          known.members.push_back(member);
      known.members_total = std::max(known.members_total, group.members_total);
    }
  }
  std::ranges::sort(all.waits, {}, &coordinator::WaitView::id);
  for (auto& [id, txn] : txns) all.txns.push_back(std::move(txn));
  for (auto& [id, group] : groups) all.groups.push_back(std::move(group));
  return all;
}

}  // namespace gordian::cli
