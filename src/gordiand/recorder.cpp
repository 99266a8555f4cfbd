#include "gordiand/recorder.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "coordinator/sites.hpp"
#include "text/text.hpp"
#include "trace/writer.hpp"

namespace gordian::gordiand {

tl::expected<Recorder, std::string> Recorder::create(const std::filesystem::path& path, const std::string& policy) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    auto previous = path;
    previous += ".previous";
    std::filesystem::rename(path, previous, error);
    if (error) return tl::unexpected("record " + path.string() + ": cannot be moved away: " + error.message());
  }
  std::ofstream file(path, std::ios::binary);
  file << "# What agents reported to gordiand; play it with: gordian replay FILE\n"
       << R"({"op":"mode","detect":"continuous","policy":")" << policy << "\"}\n"
       << std::flush;
  if (!file)
    return tl::unexpected("record " + path.string() +
                          ": cannot be written; name a file in a directory that can be written (--record)");
  return Recorder(std::move(file));
}

void Recorder::applied(const coordinator::Applied& applied) {
  if (const auto* began = std::get_if<wire::WaitChange>(&applied.change)) wait(applied.site, *began);
  if (const auto* ended = std::get_if<wire::EndWaitChange>(&applied.change)) end_wait(applied.site, ended->sequence);
  if (const auto* described = std::get_if<wire::TxnChange>(&applied.change)) describe(applied.site, *described);
  if (const auto* over = std::get_if<wire::ForgetTxnChange>(&applied.change)) forget(applied.site, over->txn);
  if (const auto* began = std::get_if<wire::GroupChange>(&applied.change)) group(applied.site, *began);
  if (const auto* joined = std::get_if<wire::JoinChange>(&applied.change))
    member(applied.site, joined->group, joined->txn, true);
  if (const auto* left = std::get_if<wire::LeaveChange>(&applied.change))
    member(applied.site, left->group, left->txn, false);
  if (const auto* ended = std::get_if<wire::EndGroupChange>(&applied.change)) end_group(applied.site, ended->group);
}

void Recorder::wait(const SiteId& site, const wire::WaitChange& change) {
  // A line has blockers of one kind. Of a wait for some of several all are needed; of others, who gives a lock back is left out.
  std::vector<TxnId> holders, behind;
  const auto need = change.wait.need;
  bool dotted = need != 0;
  for (const auto& blocker : change.wait.blockers) {
    if (blocker.txn == change.wait.waiter) continue;
    if (blocker.kind == Kind::soft) behind.push_back(blocker.txn);
    if (blocker.kind == Kind::soft || (blocker.kind == Kind::dotted && need == 0)) continue;
    holders.push_back(blocker.txn);
    dotted = dotted && blocker.kind == Kind::dotted;
  }

  auto groups = group_names(site, change.wait);

  auto& here = waits_[site];
  const auto before = here.find(change.sequence);
  if (before != here.end() && before->second.waiter != change.wait.waiter) end_wait(site, change.sequence);
  if (holders.empty() && behind.empty() && groups.empty())
    return end_wait(site, change.sequence);  // a trace has no wait for nobody

  write_holders();
  auto& standing = here.try_emplace(change.sequence, Standing{change.wait.waiter, {}, false, {}}).first->second;
  if (holders.empty() && behind.empty()) {
    if (std::exchange(standing.named, false)) unwait(site, standing.waiter, standing.resource);
  } else {
    if (!std::exchange(standing.named, true)) {
      standing.resource = name_for(site, change);
      ++taken_[{site, standing.waiter, standing.resource}];
    }
    file_ << trace::wait_line({.txn = standing.waiter,
                               .holders = holders,
                               .behind = behind,
                               .need = std::min(need, static_cast<std::uint32_t>(holders.size())),
                               .dotted = dotted,
                               .site = site,
                               .resource = standing.resource,
                               .mode = change.wait.mode});
  }
  wait_for_groups(site, standing, std::move(groups), change.wait.mode);
}

/// A name for the wait that no other wait of the transaction has, and no group.
std::string Recorder::name_for(const SiteId& site, const wire::WaitChange& change) const {
  auto name = change.wait.resource;
  while (taken_.contains({site, change.wait.waiter, name}) || group_names_.contains({site, name}))
    name += "#" + std::to_string(change.sequence);
  return name;
}

std::set<std::string> Recorder::group_names(const SiteId& site, const Wait& wait) const {
  std::set<std::string> names;
  const auto here = groups_.find(site);
  for (const auto handle : wait.groups) {
    if (here == groups_.end()) break;
    const auto group = here->second.find(static_cast<std::uint64_t>(handle));
    if (group != here->second.end()) names.insert(group->second.resource);
  }
  return names;
}

void Recorder::wait_for_groups(const SiteId& site, Standing& standing, std::set<std::string> groups,
                               std::string_view mode) {
  const auto before = std::exchange(standing.groups, std::move(groups));
  for (const auto& name : before)
    if (!standing.groups.contains(name)) unwait(site, standing.waiter, name);
  for (const auto& name : standing.groups) {
    if (before.contains(name) || ++taken_[{site, standing.waiter, name}] > 1) continue;
    file_ << trace::wait_line(
        {.txn = standing.waiter, .holders = {}, .for_holders = true, .site = site, .resource = name, .mode = mode});
  }
}

void Recorder::unwait(const SiteId& site, const TxnId& waiter, const std::string& resource) {
  const auto taken = taken_.find({site, waiter, resource});
  if (taken == taken_.end() || --taken->second > 0) return;
  taken_.erase(taken);
  file_ << trace::unwait_line(waiter, site, resource);
}

void Recorder::end_wait(const SiteId& site, std::uint64_t sequence) {
  const auto over = waits_[site].extract(sequence);
  if (!over) return;
  const auto& standing = over.mapped();
  if (standing.named) unwait(site, standing.waiter, standing.resource);
  for (const auto& name : standing.groups) unwait(site, standing.waiter, name);
}

void Recorder::group(const SiteId& site, const wire::GroupChange& change) {
  const auto number = static_cast<std::uint64_t>(change.group);
  const auto [at, is_new] = groups_[site].try_emplace(number);
  auto& group = at->second;
  if (is_new) {
    group.resource = change.resource + (change.mode.empty() ? "" : " [" + change.mode + "]");
    while (!group_names_.emplace(site, group.resource).second) group.resource += "#" + std::to_string(number);
  }
  group.members = {change.members.begin(), change.members.end()};
  changed_groups_.emplace(site, number);
}

void Recorder::member(const SiteId& site, GroupHandle group, const TxnId& txn, bool holds) {
  const auto number = static_cast<std::uint64_t>(group);
  const auto standing = groups_[site].find(number);
  if (standing == groups_[site].end()) return;
  const bool changed = holds ? standing->second.members.insert(txn).second : standing->second.members.erase(txn) > 0;
  if (changed) changed_groups_.emplace(site, number);
}

/// Nobody waits for it: its holders need not be written any more, and its name may be used again.
void Recorder::end_group(const SiteId& site, GroupHandle group) {
  const auto over = groups_[site].extract(static_cast<std::uint64_t>(group));
  if (!over) return;
  changed_groups_.erase({site, over.key()});
  group_names_.erase({site, over.mapped().resource});
}

// A lock that passes on is one that left and one that joined: written once, when somebody needs to know.
void Recorder::write_holders() {
  for (const auto& [site, number] : std::exchange(changed_groups_, {})) {
    const auto& group = groups_.at(site).at(number);
    const std::vector<TxnId> members(group.members.begin(), group.members.end());
    file_ << trace::holders_line(site, group.resource, members);
  }
}

void Recorder::describe(const SiteId& site, const wire::TxnChange& change) {
  auto& by_site = infos_[change.txn];
  by_site.insert_or_assign(site, change.info);
  TxnInfo merged;
  bool first = true;
  for (const auto& [unused, info] : by_site) {
    coordinator::merge(merged, info, first);
    first = false;
  }
  file_ << trace::begin_line(change.txn, merged);
}

void Recorder::forget(const SiteId& site, const TxnId& txn) {
  const auto found = infos_.find(txn);
  if (found == infos_.end()) return;
  found->second.erase(site);
  if (found->second.empty()) infos_.erase(found);
}

void Recorder::site_gone(const SiteId& site) {
  file_ << trace::lost_line(site);
  waits_.erase(site);
  std::erase_if(taken_, [&](const auto& name) { return std::get<SiteId>(name.first) == site; });
  groups_.erase(site);
  std::erase_if(group_names_, [&](const auto& name) { return name.first == site; });
  std::erase_if(changed_groups_, [&](const auto& group) { return group.first == site; });
  for (auto entry = infos_.begin(); entry != infos_.end();) {
    entry->second.erase(site);
    entry = entry->second.empty() ? infos_.erase(entry) : std::next(entry);
  }
}

void Recorder::incident(const coordinator::Incident& incident) {
  std::string victims;
  for (const auto& victim : incident.victims) victims += " " + text::visible(victim.view());
  file_ << "# " << text::utc(incident.found_unix_us) << " incident " << incident.id << ", "
        << coordinator::name(incident.outcome) << ", victims:" << victims << "\n";
}

bool Recorder::flush() {
  write_holders();
  return static_cast<bool>(file_.flush());
}

}  // namespace gordian::gordiand
