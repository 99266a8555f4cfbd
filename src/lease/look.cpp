// What people see of the server.
#include <algorithm>

#include "lease/lock_server.hpp"

namespace gordian::lease {

/// Since when one of its requests waits for `name`.
std::optional<std::int64_t> LockServer::waiting_since(const Txn& txn, const std::string& name) const {
  for (const std::uint64_t number : txn.waiting) {
    const Remembered& known = txn.session->requests.at(number);
    for (const auto& item : known.items)
      if (item.name == name) return known.since_unix_us;
  }
  return std::nullopt;
}

LockedResource LockServer::show(const ResourceView& view) const {
  LockedResource shown{view.key, {}, {}};
  for (const HolderView& holder : view.holders) {
    const auto it = txns_.find(holder.txn);
    if (it == txns_.end()) continue;
    const Session& session = *it->second.session;
    const auto hold = it->second.holds.find(view.key);
    const bool known = hold != it->second.holds.end();  // not while a call for several resources waits for the others
    shown.holders.push_back(
        {.txn = holder.txn,
         .mode = std::string(table_.modes().name(holder.mode)),
         .count = holder.count,
         .fence = known ? hold->second.shown : holder.fence,
         .since_unix_us = known ? hold->second.since_unix_us : waiting_since(it->second, view.key).value_or(0),
         .client = session.label,
         .lease_left_us = session.expired ? lease_now_us() - session.expires_us : session.expires_us - lease_now_us()});
  }
  for (const WaiterView& waiter : view.waiters) {
    const auto it = txns_.find(waiter.txn);
    if (it == txns_.end()) continue;
    shown.waiters.push_back({.txn = waiter.txn,
                             .mode = std::string(table_.modes().name(waiter.mode)),
                             .conversion = waiter.conversion,
                             .since_unix_us = waiting_since(it->second, view.key).value_or(0),
                             .client = it->second.session->label});
  }
  return shown;
}

LocksView LockServer::locks(const LockSelection& selection) const {
  LocksView view{options_.site.str(), {}, 0};
  const auto concerns = [&](const ResourceView& resource) {
    if (selection.txn.empty()) return true;
    const auto is = [&](const auto& party) { return party.txn.view() == selection.txn; };
    return std::any_of(resource.holders.begin(), resource.holders.end(), is) ||
           std::any_of(resource.waiters.begin(), resource.waiters.end(), is);
  };
  std::vector<ResourceView> found;
  if (selection.resource.empty()) {
    found = table_.resources();
  } else if (auto resource = table_.resource(selection.resource)) {
    found.push_back(std::move(*resource));
  }
  std::erase_if(found, [&](const ResourceView& resource) { return !concerns(resource); });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  if (found.size() > selection.limit) {
    view.left_out = found.size() - selection.limit;
    found.resize(selection.limit);
  }
  for (const ResourceView& resource : found) view.resources.push_back(show(resource));
  return view;
}

ServerStatus LockServer::status() const {
  ServerStatus status = counters_;
  status.sessions = sessions_.size();
  status.txns = txns_.size();
  status.held_back = held_back_.size();
  status.grace_left_us = in_grace() ? grace_until_us_ - now_.steady_us : 0;
  return status;
}

bool LockServer::holds_nothing() const { return counters_.locks == 0; }

}  // namespace gordian::lease
