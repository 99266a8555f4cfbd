#include "coordinator/sites.hpp"

#include <algorithm>
#include <utility>

namespace gordian::coordinator {
namespace {

// A site that has been silent for a day is taken for gone: it stops making the picture incomplete.
constexpr std::int64_t forget_missing_after_us = 24LL * 3600 * 1'000'000;

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

}  // namespace

Sites::Sites(const Options& options, std::uint64_t& epoch, graph::WaitForGraph& graph, Outbox& out, Time now)
    : options_(options), epoch_(epoch), graph_(graph), out_(out) {
  for (const auto& id : options_.expected_sites) {
    const auto slot = static_cast<graph::SiteSlot>(by_slot_.size());
    auto& site = sites_.emplace(id, Site{id, slot}).first->second;
    site.last_heard_us = now.steady_us;
    by_slot_.push_back(&site);
  }
}

Site* Sites::of_peer(const PeerId& peer) {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : it->second;
}

// --- Sessions ---

void Sites::hello(const PeerId& peer, const wire::Hello& hello, Time now) {
  const auto known = sites_.find(hello.site);
  const bool of_this_term = known != sites_.end() && known->second.instance == hello.instance;
  if (hello.epoch_seen > epoch_ || (hello.epoch_seen == epoch_ && !of_this_term)) {
    // Another coordinator had this term or a later one, and this one does not know (its history was lost, or it has none):
    // rise above it, or its agents refuse our orders and two incidents share an id.
    epoch_ = hello.epoch_seen + 1;
    out_.note(Note::Level::warn, "agent of site " + hello.site.str() + " has seen epoch " +
                                     std::to_string(hello.epoch_seen) + ": this coordinator's epoch is " +
                                     std::to_string(epoch_) + " from now on");
  }
  Site* site = site_for(hello, peer);
  if (site != nullptr && admit(*site, peer, hello, now)) begin_session(*site, peer, hello, now);
}

Site* Sites::site_for(const wire::Hello& hello, const PeerId& peer) {
  if (const auto it = sites_.find(hello.site); it != sites_.end()) return &it->second;
  if (sites_.size() >= options_.limits.sites) {
    out_.count("limit_sites");
    out_.send(peer, wire::Error{wire::Error::Code::too_many_sites,
                                "site " + hello.site.str() + " refused: this coordinator takes at most " +
                                    std::to_string(options_.limits.sites) + " sites (option max-sites)"});
    return nullptr;
  }
  auto slot = static_cast<graph::SiteSlot>(by_slot_.size());
  if (free_slots_.empty()) {
    by_slot_.push_back(nullptr);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  auto& site = sites_.emplace(hello.site, Site{hello.site, slot}).first->second;
  by_slot_[slot] = &site;
  return &site;
}

/// May this process speak for the site? A live predecessor is given `takeover_wait` to show that it lives.
bool Sites::admit(Site& site, const PeerId& peer, const wire::Hello& hello, Time now) {
  using Code = wire::Error::Code;
  const bool live = !site.peer.empty();
  if (live && site.instance != hello.instance) {
    if (!site.challenger || site.challenger->instance != hello.instance)
      site.challenger = Site::Challenger{hello.instance, now.steady_us};
    if (site.last_heard_us > site.challenger->since_us) {
      site.challenger.reset();
      out_.count("duplicate_sites");
      out_.note(Note::Level::warn,
                "a second agent calls itself site " + site.id.str() + " (" + hello.label + "); refused");
      out_.send(peer,
                wire::Error{Code::duplicate_site, "site " + site.id.str() + " has a live agent already (" + site.label +
                                                      "): stop it, or give this one another site name"});
      return false;
    }
    const auto left_us = site.challenger->since_us + us(options_.takeover_wait) - now.steady_us;
    if (left_us > 0) {
      out_.send(peer, wire::Error{Code::wait_a_moment, "site " + site.id.str() + " had an agent a moment ago",
                                  static_cast<std::uint64_t>(left_us / 1000 + 1)});
      return false;
    }
  }
  const bool too_old =
      site.instance == hello.instance ? hello.incarnation < site.incarnation : hello.incarnation <= site.incarnation;
  if (too_old) {
    out_.send(peer, wire::Error{Code::stale_incarnation,
                                "site " + site.id.str() + ": incarnation " + std::to_string(hello.incarnation) +
                                    " is not newer than " + std::to_string(site.incarnation),
                                site.incarnation});
    return false;
  }
  return true;
}

void Sites::begin_session(Site& site, const PeerId& peer, const wire::Hello& hello, Time now) {
  const bool joined = site.peer.empty();
  if (!joined) peers_.erase(site.peer);
  if (const auto other = peers_.find(peer); other != peers_.end() && other->second != &site)
    end_session(*other->second);
  if (hello.incarnation != site.incarnation) {
    site.last_sequence = site.last_number = 0;
    drop_waits(site);
    lost_.push_back(site.slot);  // its numbers name other waits from now on: nothing asked under the old ones is open
    if (!joined) out_.events.emplace_back(SiteChanged{site.id, SiteChanged::What::lost});
  }
  site.challenger.reset();
  site.peer = peer;
  site.instance = hello.instance;
  site.incarnation = hello.incarnation;
  site.applied = 0;
  site.arriving.reset();
  site.left = false;
  site.state = SiteView::State::resyncing;
  site.last_heard_us = now.steady_us;
  site.resolve_local_deadlocks = hello.resolve_local_deadlocks;
  site.engine = hello.engine, site.label = hello.label, site.software = hello.software;
  peers_[peer] = &site;
  out_.count("sessions");
  out_.send(peer, wire::Welcome{epoch_, static_cast<std::uint64_t>(options_.heartbeat.count()),
                                static_cast<std::uint64_t>(options_.lease.count()), options_.member, options_.map});
  if (joined) out_.events.emplace_back(SiteChanged{site.id, SiteChanged::What::joined});
}

/// The agent is gone: so are its waits, until it comes back.
void Sites::end_session(Site& site) {
  peers_.erase(site.peer);
  site.peer.clear();
  site.state = SiteView::State::missing;
  site.arriving.reset();
  drop_waits(site);
  lost_.push_back(site.slot);
}

void Sites::forget(const SiteId& id) {
  const auto it = sites_.find(id);
  by_slot_[it->second.slot] = nullptr;
  free_slots_.push_back(it->second.slot);
  sites_.erase(it);
}

void Sites::goodbye(Site& site, const wire::Goodbye& message) {
  if (message.incarnation != site.incarnation) return;
  out_.events.emplace_back(SiteChanged{site.id, SiteChanged::What::left});
  end_session(site);
  site.left = true;  // its name is kept: a later start must still come with a newer incarnation
}

void Sites::tick(Time now) {
  std::vector<SiteId> gone;
  for (auto& [id, site] : sites_) {
    const auto silent_us = now.steady_us - site.last_heard_us;
    if (!site.peer.empty() && silent_us > us(options_.lease)) {
      out_.count("leases_lost");
      out_.note(Note::Level::warn, "site " + id.str() + " silent for " + std::to_string(silent_us / 1000) +
                                       " ms: its lease ended, its " + std::to_string(graph_.wait_count(site.slot)) +
                                       " waits are withdrawn");
      out_.events.emplace_back(SiteChanged{id, SiteChanged::What::lost});
      end_session(site);
    } else if (site.peer.empty() && silent_us > forget_missing_after_us) {
      gone.push_back(id);
    }
  }
  for (const auto& id : gone) forget(id);
}

std::int64_t Sites::next_tick_us() const {
  auto next = std::numeric_limits<std::int64_t>::max();
  for (const auto& [peer, site] : peers_) next = std::min(next, site->last_heard_us + us(options_.lease) + 1);
  return next;
}

// --- What agents report ---

void Sites::ask_resync(Site& site, std::string reason) {
  site.arriving.reset();
  site.state = SiteView::State::resyncing;
  out_.count("resyncs");
  out_.note(Note::Level::info, "site " + site.id.str() + ": snapshot asked for, " + reason);
  out_.send(site.peer, wire::Resync{epoch_, std::move(reason)});
}

void Sites::heartbeat(Site& site, const wire::Heartbeat& message) {
  if (message.incarnation != site.incarnation) return;
  const bool behind = message.number != site.applied && !site.arriving;
  if (behind && (message.number != 0 || site.applied != 0))
    ask_resync(site,
               "message " + std::to_string(message.number) + " was sent, " + std::to_string(site.applied) + " applied");
  out_.send(site.peer, wire::HeartbeatAck{epoch_, site.applied, options_.map.version});
}

void Sites::delta(Site& site, const wire::Delta& message, Time now) {
  if (message.incarnation != site.incarnation) return out_.count("stale_messages");
  if (site.state == SiteView::State::resyncing) return out_.count("stale_messages");  // the snapshot is on its way
  if (message.number <= site.applied) return out_.count("stale_messages");
  if (message.number != site.applied + 1)
    return ask_resync(site,
                      "message " + std::to_string(message.number) + " came after " + std::to_string(site.applied));
  apply(site, message.changes, message.number, now);
  site.applied = message.number;
  out_.count("deltas");
  out_.count("changes", message.changes.size());
}

void Sites::snapshot(Site& site, const wire::Snapshot& message, Time now) {
  if (message.incarnation != site.incarnation || message.number <= site.applied) return out_.count("stale_messages");
  if (message.part == 0) {
    site.arriving = Site::Arriving{message.number};
    site.groups_left_out = false;
  }
  auto& arriving = site.arriving;
  if (!arriving || arriving->number != message.number || arriving->next_part != message.part)
    return ask_resync(site, "part " + std::to_string(message.part) + " of snapshot " + std::to_string(message.number) +
                                " came out of order");
  for (const auto& change : message.changes) {
    if (const auto* wait = std::get_if<wire::WaitChange>(&change)) arriving->sequences.insert(wait->sequence);
    if (const auto* txn = std::get_if<wire::TxnChange>(&change)) arriving->txns.insert(txn->txn);
    if (const auto* group = std::get_if<wire::GroupChange>(&change))
      arriving->groups.insert(static_cast<std::uint64_t>(group->group));
  }
  apply(site, message.changes, message.number, now);
  ++arriving->next_part;
  if (!message.last) return;
  std::vector<std::uint64_t> over;
  for (const auto sequence : graph_.sequences(site.slot)) {
    if (!arriving->sequences.contains(sequence)) over.push_back(sequence);
  }
  for (const auto sequence : over) end_wait(site, sequence);
  over.clear();
  for (const auto& [group, standing] : site.groups) {
    if (!arriving->groups.contains(group)) over.push_back(group);
  }
  for (const auto group : over) end_group(site, group);
  infos_ -= std::erase_if(site.infos, [&](const auto& entry) { return !arriving->txns.contains(entry.first); });
  site.applied = message.number;
  site.arriving.reset();
  site.state = SiteView::State::complete;
  out_.count("snapshots");
}

/// A few at a time: what they name is looked up for all of them at once, and stays while they are applied.
void Sites::apply(Site& site, std::span<const wire::Change> changes, std::uint64_t number, Time now) {
  constexpr std::size_t at_once = 64;
  site.last_number = std::max(site.last_number, number);
  touched_.reserve(touched_.size() + changes.size());
  for (; !changes.empty(); changes = changes.subspan(std::min(at_once, changes.size()))) {
    const auto next = changes.first(std::min(at_once, changes.size()));
    look_ahead(site, next);
    for (const auto& change : next) std::visit([&](const auto& c) { apply(site, c, number, now); }, change);
    for (const auto txn : ahead_.held) graph_.let_go(txn);
  }
}

void Sites::look_ahead(const Site& site, std::span<const wire::Change> changes) {
  ahead_.names.clear(), ahead_.held.clear(), ahead_.ending.clear(), ahead_.found.clear();
  ahead_.next_held = ahead_.next_found = 0;
  for (const auto& change : changes) {
    if (const auto* wait = std::get_if<wire::WaitChange>(&change)) {
      ahead_.names.push_back(&wait->wait.waiter);
      for (const auto& blocker : wait->wait.blockers) ahead_.names.push_back(&blocker.txn);
    } else if (const auto* end = std::get_if<wire::EndWaitChange>(&change)) {
      ahead_.ending.push_back({site.slot, end->sequence});
    }
  }
  graph_.find_waits(ahead_.ending, ahead_.found);
  for (const auto wait : ahead_.found) standing_.fetch(wait);
  graph_.hold(ahead_.names, ahead_.held);
}

void Sites::apply(Site& site, const wire::EndWaitChange& change, std::uint64_t, Time) {
  end_wait(site, change.sequence, ahead_.found[ahead_.next_found++]);
}

void Sites::apply(Site& site, const wire::ForgetTxnChange& change, std::uint64_t, Time) {
  forget_txn(site, change.txn);
}

void Sites::apply(Site& site, const wire::TxnChange& change, std::uint64_t, Time) {
  const auto known = site.infos.find(change.txn);
  if (known == site.infos.end() && infos_ >= options_.limits.txns) return out_.count("limit_txns");
  if (known == site.infos.end()) ++infos_;
  site.infos.insert_or_assign(change.txn, change.info);
  record(site, change);
}

void Sites::apply(Site& site, const wire::WaitChange& change, std::uint64_t number, Time now) {
  const auto waiter = ahead_.held[ahead_.next_held++];
  ahead_.blockers.clear();
  for (const auto& blocker : change.wait.blockers)
    ahead_.blockers.push_back({ahead_.held[ahead_.next_held++], blocker.kind});
  const graph::WaitRef ref{site.slot, change.sequence};
  if (graph_.wait_count(site.slot) >= options_.limits.waits_per_site && !graph_.find_wait(ref)) {
    if (out_.counters["limit_waits"]++ == 0)
      out_.note(Note::Level::error, "site " + site.id.str() + " has more than " +
                                        std::to_string(options_.limits.waits_per_site) +
                                        " waits: further ones are left out (option max-waits-per-site)");
    return;
  }
  if (!groups_known(site, change)) return;
  std::vector<std::uint64_t> groups;
  for (const auto group : change.wait.groups) groups.push_back(static_cast<std::uint64_t>(group));
  const auto need = change.wait.need == 0 ? graph::need_all : change.wait.need;
  const auto begun = graph_.begin_wait(ref, waiter, ahead_.blockers, groups, need);
  if (!begun) return graph_full(site, begun.error(), "a wait");
  site.last_sequence = std::max(site.last_sequence, change.sequence);
  standing_.place(*begun).set(change.wait, number, now.steady_us - change.wait.age.count());
  touched_.emplace_back(Begun{ref, *begun});
  record(site, change);
}

void Sites::end_wait(Site& site, std::uint64_t sequence, graph::WaitSlot hint) {
  const auto wait = graph_.find_wait({site.slot, sequence}, hint);
  if (!wait) return;
  standing_.remove(*wait);
  graph_.end_wait(*wait);
  record(site, wire::EndWaitChange{sequence});
}

void Sites::forget_txn(Site& site, const TxnId& txn) {
  infos_ -= site.infos.erase(txn);
  record(site, wire::ForgetTxnChange{txn});
  const auto vertex = graph_.find_txn(txn);
  if (!vertex) return;
  std::vector<std::uint64_t> here;
  for (const auto wait : graph_.waits(*vertex)) {
    if (graph_.ref(wait).site == site.slot) here.push_back(graph_.ref(wait).sequence);
  }
  for (const auto sequence : here) end_wait(site, sequence);
}

void Sites::drop_waits(Site& site) {
  for (const auto sequence : graph_.sequences(site.slot)) {
    standing_.remove(*graph_.find_wait({site.slot, sequence}));
    record(site, wire::EndWaitChange{sequence});
  }
  for (const auto& [group, standing] : site.groups) record(site, wire::EndGroupChange{GroupHandle{group}});
  site.groups.clear();
  site.groups_left_out = false;
  infos_ -= site.infos.size();
  site.infos.clear();
  graph_.remove_site(site.slot);
}

// --- Reading ---

std::vector<graph::SiteSlot> Sites::take_lost() { return std::exchange(lost_, {}); }

const Standing* Sites::find(graph::WaitRef ref) const {
  const auto wait = graph_.find_wait(ref);
  return wait ? &standing_.at(*wait) : nullptr;
}

Wait Sites::wait(graph::WaitRef ref) const {
  const auto slot = *graph_.find_wait(ref);
  const auto& standing = standing_.at(slot);
  Wait wait{graph_.txn(graph_.waiter(slot)), {}, standing.resource(), standing.mode(), standing.detail()};
  for (const auto e : graph_.edges(slot)) {
    const auto to = graph_.target(e);
    if (graph_.is_group(to)) {
      wait.groups.push_back(GroupHandle{graph_.group(to).number});
    } else {
      wait.blockers.push_back({graph_.txn(to), graph_.kind(e)});
    }
  }
  if (graph_.need(slot) != graph::need_all) wait.need = graph_.need(slot);
  return wait;
}

void merge(TxnInfo& known, const TxnInfo& said, bool first) {
  if (first) {
    known = said;
    return;
  }
  if (said.start) known.start = known.start ? std::min(*known.start, *said.start) : *said.start;
  known.priority = std::min(known.priority, said.priority);
  known.locks += said.locks;
  known.work += said.work;
  known.restarts = std::max(known.restarts, said.restarts);
  if (said.victim_class == TxnInfo::Class::never) known.victim_class = TxnInfo::Class::never;
  if (known.label.empty()) known.label = said.label;
}

void Sites::describe(const TxnId& txn, std::vector<wire::Described>& described) const {
  for (const auto& [id, site] : sites_) {
    const auto it = site.infos.find(txn);
    if (it != site.infos.end()) described.push_back({txn, id, it->second});
  }
}

TxnInfo Sites::info(const TxnId& txn, std::span<const wire::Described> also) const {
  std::vector<wire::Described> described;
  describe(txn, described);
  for (const auto& other : also) {
    const auto known = [&](const wire::Described& one) { return one.site == other.site; };
    if (other.txn == txn && std::ranges::none_of(described, known)) described.push_back(other);
  }
  std::ranges::sort(described, {}, &wire::Described::site);
  TxnInfo all;
  for (std::size_t i = 0; i < described.size(); ++i) merge(all, described[i].info, i == 0);
  return all;
}

std::optional<graph::SiteSlot> Sites::live_slot(const SiteId& id, std::uint64_t incarnation) const {
  const auto it = sites_.find(id);
  if (it == sites_.end() || it->second.peer.empty() || it->second.incarnation != incarnation) return std::nullopt;
  return it->second.slot;
}

Seen Sites::seen() const {
  Seen seen;
  for (const auto* site : by_slot_)
    seen.push_back(site == nullptr ? SeenOfSite{}
                                   : SeenOfSite{site->incarnation, site->last_sequence, site->last_number});
  return seen;
}

bool Sites::degraded() const {
  return std::any_of(sites_.begin(), sites_.end(), [](const auto& entry) {
    return !entry.second.left && entry.second.state != SiteView::State::complete;
  });
}

}  // namespace gordian::coordinator
