#include "sim/lock_site.hpp"

#include <algorithm>

#include "sim/describe.hpp"
#include "wire/codec.hpp"

namespace gordian::sim {
namespace {

std::string text(const Fence& fence) { return std::to_string(fence.epoch) + "." + std::to_string(fence.counter); }

}  // namespace

void remember(lease::Durable& durable, const lease::Record& record) {
  const auto drop = [&](auto condition) { std::erase_if(durable.holds, condition); };
  durable.clean = false;
  if (const auto* session = std::get_if<lease::SessionRecord>(&record)) {
    std::erase_if(durable.sessions, [&](const auto& s) { return s.session == session->session; });
    durable.sessions.push_back(*session);
  } else if (const auto* hold = std::get_if<lease::HoldRecord>(&record)) {
    drop([&](const auto& h) { return h.txn == hold->txn && h.name == hold->name; });
    durable.holds.push_back(*hold);
  } else if (const auto* gone = std::get_if<lease::HoldGone>(&record)) {
    drop([&](const auto& h) { return h.txn == gone->txn && h.name == gone->name; });
  } else if (const auto* txn = std::get_if<lease::TxnGone>(&record)) {
    drop([&](const auto& h) { return h.txn == txn->txn; });
  } else if (const auto* over = std::get_if<lease::SessionGone>(&record)) {
    drop([&](const auto& h) { return h.session == over->session; });
    std::erase_if(durable.sessions, [&](const auto& s) { return s.session == over->session; });
  } else if (const auto* longest = std::get_if<lease::LongestLease>(&record)) {
    durable.longest_ttl_us = longest->ttl_us;
  }
}

void LockSite::start() {
  ++epoch_;
  const std::string instance = name() + "#" + std::to_string(epoch_);
  agent::Options agent{.site = SiteId(name()), .incarnation = epoch_, .instance = instance, .engine = "gordian-agent"};
  agent.publish_after_us = 20'000;
  agent.engine_reorders = true;
  lease::ServerOptions server{
      .site = SiteId(name()), .table = {.epoch = epoch_, .shards = 1}, .journal = journal_, .found = durable_};
  core_ = std::make_unique<lease::NodeCore>(std::move(agent), endpoints_of(around_), std::move(server), time());
  connect(instance);
  committed_ = 0;
  log([&] { return "starts, incarnation " + std::to_string(epoch_) + (journal_ ? ", with a journal" : ""); });
  report();
}

void LockSite::crash() {
  core_.reset();
  links_.clear();
  writing_.clear();
  held_.clear();
  holding_.clear();
  disconnect();
  around_.observer.truth().report(id(), epoch_, {});
}

void LockSite::receive(NodeId from, const std::string& bytes) {
  work();  // what was due before this message is a step of its own
  if (std::find(around_.coordinators.begin(), around_.coordinators.end(), from) != around_.coordinators.end()) {
    const auto reply = wire::decode_reply(bytes);
    const auto* message = reply ? std::get_if<wire::ToAgent>(&*reply) : nullptr;
    if (message == nullptr) return around_.observer.violated(4, name() + " received what it cannot read");
    log([&] { return "<- " + std::string("coordinator: ") + describe(*message); });
    return obey(from, *message);
  }
  const auto request = wire::decode_lock_request(bytes);
  const auto* message = request ? std::get_if<wire::FromLockClient>(&*request) : nullptr;
  if (message == nullptr) return around_.observer.violated(4, name() + " received what it cannot read");
  log([&] { return "<- " + routing_id(from) + ": " + describe(*message); });
  core_->receive(routing_id(from), *message, time());
  if (!std::holds_alternative<wire::Renew>(*message)) report();
}

void LockSite::obey(NodeId coordinator, const wire::ToAgent& message) {
  const auto link = links_.link(coordinator);
  if (!link) return;
  if (const auto* reorder = std::get_if<wire::Reorder>(&message)) {
    const auto before = core_->server().status().reordered;
    core_->receive(*link, message, time());
    const bool done = core_->server().status().reordered != before;
    return report(done ? around_.observer.reordered(coordinator, reorder->incident) : std::string());
  }
  const auto* abort = std::get_if<wire::Abort>(&message);
  if (abort == nullptr) return core_->receive(*link, message, time());
  const auto order = around_.observer.arriving(coordinator, id(), epoch_, *abort);
  const auto before = core_->server().status().aborted;
  core_->receive(*link, message, time());
  const bool done = core_->server().status().aborted != before;
  if (done) {
    log([&] { return "carried out: " + describe(message); });
    around_.observer.carried_out(order, id());
  }
  report(done ? order.incident : std::string());
}

void LockSite::work() {
  if (now() >= core_->server().next_tick_us()) {
    core_->tick(time());
    report();
  }
  const auto transmit = [this](NodeId to, std::string bytes) { send(to, std::move(bytes)); };
  links_.follow(around_, core_->take_link_changes(time()), transmit);
  for (const auto& [link, message] : core_->take_for_coordinators(time())) {
    const auto node = links_.node(link);
    if (!node) continue;
    tell_names(around_.observer.truth(), id(), epoch_, core_->agent(), message);
    messages_ += counts(message) ? 1 : 0;
    log([&] { return "-> coordinator: " + describe(message); });
    send(*node, wire::encode(wire::Request(message)));
  }
  for (const auto& note : core_->take_notes())
    if (note.level != AgentCallbacks::Level::debug) log([&] { return note.text; });
  write(core_->server().take_records());
  answer_clients();
}

Micros LockSite::next_due() {
  const auto due = core_->next_due_us(time());
  return writing_.empty() ? due : std::min(due, writing_.front().done);
}

// --- The disk: records become durable in order, some time after they were written; the longest lease at once ---

void LockSite::write(std::vector<lease::Record> records) {
  for (auto& record : records) {
    if (!journal_) {
      remember(durable_, record);
      continue;
    }
    const auto previous = writing_.empty() ? now() : writing_.back().done;
    writing_.push_back({std::move(record), std::max(previous, now() + random_.between(200, 3'000))});
  }
  commit();
}

void LockSite::commit() {
  for (; !writing_.empty() && writing_.front().done <= now(); writing_.pop_front()) {
    remember(durable_, writing_.front().record);
    ++committed_;
  }
}

void LockSite::answer_clients() {
  for (auto& message : core_->server().take_outgoing()) held_.push_back(std::move(message));
  for (; !held_.empty() && (!journal_ || held_.front().after <= committed_); held_.pop_front()) {
    const auto& out = held_.front();
    log([&] { return "-> " + out.peer + ": " + describe(out.message); });
    if (const auto* node = find_peer(out.peer)) send(*node, wire::encode(wire::LockClientInput(out.message)));
  }
}

// --- The truth ---

void LockSite::report(const std::string& order) {
  const auto& table = core_->server().table();
  constexpr std::uint64_t calls_from = std::uint64_t{1} << 63;  // not among the numbers of waits
  std::vector<TrueWait> waits;
  std::map<Ticket, TrueWait> calls;  // for some of several
  std::map<Ticket, std::size_t> requests;
  std::map<std::pair<std::string, TxnId>, Fence> holding;
  for (const auto& resource : table.resources()) {
    check_holders(resource);
    for (const auto& holder : resource.holders) holding.emplace(std::pair(resource.key, holder.txn), holder.fence);
    for (const auto& waiter : resource.waiters) {
      const auto number = static_cast<std::uint64_t>(waiter.wait);
      const auto call = core_->reporter().call_of(waiter.wait);
      auto& wait = call ? calls
                              .try_emplace(call->ticket, TrueWait{calls_from + static_cast<std::uint64_t>(call->ticket),
                                                                  {},
                                                                  waiter.txn,
                                                                  "some of several"})
                              .first->second
                        : waits.emplace_back(TrueWait{number, {}, waiter.txn, resource.key});
      wait.sequences.clear();
      for (const auto handle : core_->reporter().reported_as(waiter.wait))
        wait.sequences.push_back(static_cast<std::uint64_t>(handle));
      const auto blockers = table.blockers(resource.key, waiter.wait);
      for (const auto& blocker : blockers)
        wait.edges.push_back({blocker.txn, blocker.kind, blocker.since, call ? number : 0});
      // As many of those that wait must be granted as are more than may wait for good.
      if (call && !blockers.empty() && ++requests[call->ticket] > call->spare) ++wait.need;
    }
  }
  for (auto& [ticket, wait] : calls)
    if (wait.need != 0) waits.push_back(std::move(wait));
  holding_ = std::move(holding);
  around_.observer.truth().report(id(), epoch_, waits, order);
}

void LockSite::check_holders(const ResourceView& resource) {
  const auto& modes = core_->server().table().modes();
  const auto what = [&] { return resource.key + " at " + name(); };
  auto& newest = newest_[resource.key];
  auto next = newest;
  for (const auto& holder : resource.holders) {
    for (const auto& other : resource.holders)
      if (other.txn != holder.txn && has(modes.conflicts(holder.mode), other.mode))
        around_.observer.violated(4, holder.txn.str() + " and " + other.txn.str() + " both hold " + what());
    const auto known = holding_.find({resource.key, holder.txn});
    if (known != holding_.end() && known->second == holder.fence) continue;
    if (holder.fence <= newest)
      around_.observer.violated(4, "the fence " + text(holder.fence) + " of " + holder.txn.str() + " on " + what() +
                                       " is not larger than " + text(newest));
    next = std::max(next, holder.fence);
  }
  newest = next;
}

std::uint64_t LockSite::fingerprint() {
  std::uint64_t print = 1 + around_.observer.truth().changes();
  for (const auto& [held, fence] : holding_)
    print = (print ^ std::hash<std::string>{}(held.first + held.second.str()) ^ fence.counter) * 0x9e3779b97f4a7c15ULL;
  return print;
}

bool LockSite::at_rest() const {
  return core_->server().holds_nothing() && core_->server().status().waiting == 0 &&
         core_->server().status().held_back == 0;
}

}  // namespace gordian::sim
