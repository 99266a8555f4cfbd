#include "gordiand/recorder.hpp"

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
}

void Recorder::wait(const SiteId& site, const wire::WaitChange& change) {
  std::vector<TxnId> holders;
  for (const auto& blocker : change.wait.blockers)
    if (blocker.kind == Kind::hard && blocker.txn != change.wait.waiter) holders.push_back(blocker.txn);

  auto& here = waits_[site];
  const auto standing = here.find(change.sequence);
  const bool same = standing != here.end() && standing->second.waiter == change.wait.waiter;
  if (standing != here.end() && (!same || holders.empty())) end_wait(site, change.sequence);
  if (holders.empty()) return;  // a trace has no wait for nobody

  std::string resource = same ? standing->second.resource : change.wait.resource;
  if (!same) {
    while (taken_.contains({site, change.wait.waiter, resource})) resource += "#" + std::to_string(change.sequence);
    taken_.emplace(site, change.wait.waiter, resource);
    here.insert_or_assign(change.sequence, Standing{change.wait.waiter, resource});
  }
  file_ << trace::wait_line(
      {.txn = change.wait.waiter, .holders = holders, .site = site, .resource = resource, .mode = change.wait.mode});
}

void Recorder::end_wait(const SiteId& site, std::uint64_t sequence) {
  auto& here = waits_[site];
  const auto standing = here.find(sequence);
  if (standing == here.end()) return;
  const auto& [waiter, resource] = standing->second;
  file_ << trace::unwait_line(waiter, site, resource);
  taken_.erase({site, waiter, resource});
  here.erase(standing);
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
  std::erase_if(taken_, [&](const auto& name) { return std::get<SiteId>(name) == site; });
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

bool Recorder::flush() { return static_cast<bool>(file_.flush()); }

}  // namespace gordian::gordiand
