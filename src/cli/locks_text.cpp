#include "cli/locks_text.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "cli/table.hpp"

namespace gordian::cli {
namespace {

using lease::LockedResource;
using lease::LocksView;

std::string age(std::int64_t since_unix_us, std::int64_t now_unix_us) {
  return text::span(static_cast<double>(std::max<std::int64_t>(0, now_unix_us - since_unix_us)) / 1000);
}

std::string lease_left(std::int64_t left_us) {
  return left_us >= 0 ? text::span(static_cast<double>(left_us) / 1000)
                      : "over, kept for " + text::span(static_cast<double>(-left_us) / 1000);
}

std::string left_out_text(const std::vector<LocksView>& views) {
  std::string out;
  for (const LocksView& view : views)
    if (view.left_out > 0)
      out += "site " + text::visible(view.site) + ": " + std::to_string(view.left_out) +
             " further resources are not shown; raise --limit, or name one with --resource\n";
  return out;
}

/// One wait: who, for what, since when.
struct Waiting {
  TxnId txn;
  std::string what;
};

struct Forest {
  std::map<TxnId, std::vector<Waiting>> waiting_for;  ///< by who stands in the way
  std::set<TxnId> waiters;
  std::map<TxnId, std::string> clients;
};

Forest forest_of(const std::vector<LocksView>& views, std::int64_t now_unix_us) {
  Forest forest;
  for (const LocksView& view : views)
    for (const LockedResource& resource : view.resources) {
      for (const auto& holder : resource.holders) forest.clients.emplace(holder.txn, holder.client);
      for (const auto& waiter : resource.waiters) {
        forest.clients.emplace(waiter.txn, waiter.client);
        const Waiting waiting{waiter.txn, cell(resource.name) + " (" + waiter.mode + ") at " +
                                              text::visible(view.site) + ", for " +
                                              age(waiter.since_unix_us, now_unix_us)};
        for (const auto& holder : resource.holders) {
          if (holder.txn == waiter.txn) continue;
          forest.waiting_for[holder.txn].push_back(waiting);
          forest.waiters.insert(waiter.txn);
        }
      }
    }
  return forest;
}

std::string named(const Forest& forest, const TxnId& txn) {
  const auto found = forest.clients.find(txn);
  const std::string client = found == forest.clients.end() ? "" : text::shortened(found->second, cell_characters);
  return text::visible(txn.view()) + (client.empty() ? "" : " (" + client + ")");
}

/// `path`: from the root to `txn`.
void draw(const Forest& forest, const TxnId& txn, std::size_t depth, std::set<TxnId>& path, std::set<TxnId>& drawn,
          std::string& out) {
  const auto found = forest.waiting_for.find(txn);
  if (found == forest.waiting_for.end()) return;
  if (!drawn.insert(txn).second) {
    out += std::string(2 * depth, ' ') + "… (shown above)\n";
    return;
  }
  path.insert(txn);
  for (const Waiting& waiting : found->second) {
    const bool circle = path.contains(waiting.txn);
    out += std::string(2 * depth, ' ') + named(forest, waiting.txn) + " waits for " + waiting.what +
           (circle ? "  <- a circle: a deadlock, unless it is being broken" : "") + "\n";
    if (!circle) draw(forest, waiting.txn, depth + 1, path, drawn, out);
  }
  path.erase(txn);
}

}  // namespace

std::string locks_table(const std::vector<LocksView>& views, std::int64_t now_unix_us) {
  Table table;
  table.add({"SITE", "RESOURCE", "", "MODE", "TRANSACTION", "SINCE", "FENCE", "LEASE", "CLIENT"});
  for (const LocksView& view : views)
    for (const LockedResource& resource : view.resources) {
      for (const auto& holder : resource.holders)
        table.add({text::visible(view.site), cell(resource.name), "held",
                   cell(holder.mode) + (holder.count > 1 ? " x" + std::to_string(holder.count) : ""),
                   text::visible(holder.txn.view()), age(holder.since_unix_us, now_unix_us) + " ago",
                   std::to_string(holder.fence.epoch) + "." + std::to_string(holder.fence.counter),
                   lease_left(holder.lease_left_us), cell(holder.client)});
      for (const auto& waiter : resource.waiters)
        table.add({text::visible(view.site), cell(resource.name), waiter.conversion ? "raises" : "waits",
                   cell(waiter.mode), text::visible(waiter.txn.view()), age(waiter.since_unix_us, now_unix_us) + " ago",
                   "-", "-", cell(waiter.client)});
    }
  return table.text() + left_out_text(views);
}

std::string locks_tree(const std::vector<LocksView>& views, std::int64_t now_unix_us) {
  const Forest forest = forest_of(views, now_unix_us);
  std::string out;
  std::set<TxnId> path, drawn;
  const auto root = [&](const TxnId& txn) {
    out += named(forest, txn) + "\n";
    draw(forest, txn, 1, path, drawn, out);
  };
  for (const auto& [txn, waiting] : forest.waiting_for)
    if (!forest.waiters.contains(txn)) root(txn);
  for (const auto& [txn, waiting] : forest.waiting_for)  // those that are in a circle, and what hangs on it
    if (!drawn.contains(txn)) root(txn);
  return (out.empty() ? "nobody waits\n" : out) + left_out_text(views);
}

std::string audit_table(const std::vector<lease::AuditRecord>& audit) {
  Table table;
  table.add({"WHEN", "WHAT", "BY", "WHY"});
  for (const auto& record : audit)
    table.add({text::utc(record.unix_us), cell(record.what), cell(record.by), cell(record.why)});
  return table.text();
}

}  // namespace gordian::cli
