#include "sim/engine_site.hpp"

#include <algorithm>

#include "sim/describe.hpp"
#include "wire/codec.hpp"

namespace gordian::sim {

using Outcome = wire::Aborted::Outcome;

void EngineSite::start() {
  ++incarnation_;
  const std::string instance = name() + "#" + std::to_string(incarnation_);
  agent::Options options{
      .site = SiteId(name()), .incarnation = incarnation_, .instance = instance, .engine = "simulated engine"};
  options.publish_after_us = 20'000;
  options.engine_reorders = reorders_;
  core_ = std::make_unique<agent::AgentRouter>(std::move(options), endpoints_of(around_), now());
  connect(instance);
  log([&] { return "starts, incarnation " + std::to_string(incarnation_); });
}

void EngineSite::crash() {
  core_.reset();
  links_.clear();
  holders_.clear();
  latch_.reset();
  queue_.clear();
  disconnect();
  around_.observer.truth().report(id(), incarnation_, {});
}

// --- Clients ---

void EngineSite::ask(EngineRequest request) {
  log([&] {
    std::string all = request.txn.str() + " asks for";
    for (const auto& resource : request.resources) all += " " + resource;
    return all + (request.need == 0 ? "" : ", " + std::to_string(request.need) + " of them") +
           (request.latch ? " and the latch" : "");
  });
  (void)core_->describe(request.txn, {.start = request.start});
  queue_.push_back({std::move(request), WaitHandle{}, {}, 0});
  settle();
}

void EngineSite::end(const TxnId& txn) {
  remove(txn);
  settle();
}

void EngineSite::client_gone(NodeId client) {
  std::vector<TxnId> over;
  for (const auto& waiting : queue_)
    if (waiting.request.client == client) over.push_back(waiting.request.txn);
  for (const auto& [resource, holder] : holders_)
    if (holder.request.client == client) over.push_back(holder.txn);
  for (const auto& txn : over) remove(txn);
  settle();
}

void EngineSite::remove(const TxnId& txn) {
  std::erase_if(holders_, [&](const auto& entry) { return entry.second.txn == txn; });
  if (latch_ && latch_->txn == txn) latch_.reset();
  for (auto& waiting : queue_)
    if (waiting.request.txn == txn) core_->end_wait(waiting.handle);
  std::erase_if(queue_, [&](const Waiting& waiting) { return waiting.request.txn == txn; });
  core_->forget(txn);
}

// --- Locks ---

bool EngineSite::is_free(const std::string& resource, const TxnId& txn) const {
  const auto holder = holders_.find(resource);
  return holder == holders_.end() || holder->second.txn == txn;
}

bool EngineSite::wants_latch(const EngineRequest& request) const {
  return request.latch && !(latch_ && latch_->txn == request.txn);
}

/// Of an exclusive lock: does the other request, which came before it, want that resource too? Whoever needs several of them
/// at the same time would starve if others took them meanwhile. Who waits for the latch is in line for nothing else.
bool EngineSite::is_before(const EngineRequest& other, const EngineRequest& request) const {
  if (other.txn == request.txn || wants_latch(other) != wants_latch(request)) return false;
  return wants_latch(request) ||
         std::find(other.resources.begin(), other.resources.end(), request.resources.front()) != other.resources.end();
}

/// Who stands in the way of that request, and how many of them must end. Nobody: it can go on.
std::pair<std::vector<Blocker>, std::uint32_t> EngineSite::blockers(std::size_t place) const {
  const auto& request = queue_[place].request;
  std::vector<Blocker> found;
  std::uint32_t free = 0;
  const bool latch = wants_latch(request);
  if (latch && latch_) found.push_back({latch_->txn, Kind::dotted});
  for (const auto& resource : request.resources) {
    if (latch) break;
    if (is_free(resource, request.txn)) {
      ++free;
    } else {
      found.push_back({holders_.at(resource).txn, Kind::hard});
    }
  }
  if (request.need != 0) {
    if (free >= request.need) return {};
    return {std::move(found), request.need - free};
  }
  for (std::size_t ahead = 0; ahead < place; ++ahead) {
    const auto& other = queue_[ahead].request;
    const bool known = std::any_of(found.begin(), found.end(), [&](const Blocker& b) { return b.txn == other.txn; });
    if (is_before(other, request) && !known) found.push_back({other.txn, Kind::soft});
  }
  return {std::move(found), 0};
}

/// Whose transaction waits for nothing here any more gives the latch back, long before it ends.
bool EngineSite::drop_latch() {
  if (!latch_ ||
      std::any_of(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.request.txn == latch_->txn; }))
    return false;
  latch_.reset();
  return true;
}

bool EngineSite::advance() {
  for (std::size_t place = 0; place < queue_.size(); ++place) {
    if (!blockers(place).first.empty()) continue;
    auto& waiting = queue_[place];
    if (waiting.handle != WaitHandle{}) core_->end_wait(std::exchange(waiting.handle, WaitHandle{}));
    const auto request = waiting.request;
    if (wants_latch(request)) {
      latch_ = Holder{request.txn, request};
      return true;
    }
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(place));
    if (request.need == 0) holders_.insert_or_assign(request.resources.front(), Holder{request.txn, request});
    answer_(request, {});
    return true;
  }
  return false;
}

void EngineSite::settle(const std::string& order) {
  while (drop_latch() || advance()) {
  }
  for (std::size_t place = 0; place < queue_.size(); ++place) {
    auto [now_blocked_by, need] = blockers(place);
    auto& waiting = queue_[place];
    if (waiting.handle == WaitHandle{}) {
      const std::string resource = wants_latch(waiting.request) ? "latch" : waiting.request.resources.front();
      const auto handle = core_->begin_wait({.waiter = waiting.request.txn,
                                             .blockers = now_blocked_by,
                                             .resource = resource,
                                             .mode = waiting.request.need == 0 ? "X" : "quorum",
                                             .detail = {},
                                             .need = need},
                                            now());
      if (!handle) return around_.observer.violated(6, name() + ": " + handle.error().message);
      waiting.handle = *handle;
    } else if (waiting.blockers != now_blocked_by || waiting.need != need) {
      if (const auto set = core_->set_blockers(waiting.handle, now_blocked_by, need); !set)
        return around_.observer.violated(6, name() + ": " + set.error().message);
    }
    waiting.blockers = std::move(now_blocked_by);
    waiting.need = need;
  }
  report(order);
}

void EngineSite::report(const std::string& order) {
  std::vector<TrueWait> waits;
  for (const auto& waiting : queue_) {
    const auto number = static_cast<std::uint64_t>(waiting.handle);
    TrueWait wait{number, {number}, waiting.request.txn, waiting.request.resources.front(), waiting.need};
    for (const auto& blocker : waiting.blockers) wait.edges.push_back({blocker.txn, blocker.kind});
    waits.push_back(std::move(wait));
  }
  around_.observer.truth().report(id(), incarnation_, waits, order);
}

// --- The coordinator ---

void EngineSite::receive(NodeId from, const std::string& bytes) {
  work();
  const auto reply = wire::decode_reply(bytes);
  const auto* message = reply ? std::get_if<wire::ToAgent>(&*reply) : nullptr;
  if (message == nullptr) return around_.observer.violated(4, name() + " received what it cannot read");
  log([&] { return "<- coordinator: " + describe(*message); });
  order_.reset();
  if (const auto* abort = std::get_if<wire::Abort>(message))
    order_ = around_.observer.arriving(from, id(), incarnation_, *abort);
  const auto link = links_.link(from);
  if (!link) return;
  core_->receive(*link, *message, now());
  take_calls(from);
}

void EngineSite::take_calls(NodeId coordinator) {
  for (const auto& call : core_->take_upcalls()) {
    if (const auto* abort = std::get_if<agent::AbortCall>(&call)) carry_out(coordinator, *abort);
    if (const auto* reorder = std::get_if<agent::ReorderCall>(&call)) carry_out(coordinator, *reorder);
  }
}

void EngineSite::carry_out(NodeId, const agent::AbortCall& call) {
  const auto& victim = call.order.victim;
  // An order that is given again is the engine's to judge: only while that wait stands, and the victim is concerned by it.
  const auto at =
      std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.handle == call.order.wait; });
  std::optional<EngineRequest> request;
  if (at != queue_.end() && call.order.role == AbortOrder::Role::waiting && at->request.txn == victim) {
    request = at->request;
  } else if (at != queue_.end() && call.order.role == AbortOrder::Role::holding &&
             std::any_of(at->blockers.begin(), at->blockers.end(),
                         [&](const Blocker& blocker) { return blocker.txn == victim; })) {
    if (latch_ && latch_->txn == victim) request = latch_->request;
    for (const auto& [resource, holder] : holders_)
      if (holder.txn == victim) request = holder.request;
  }
  if (!request) return core_->answer_abort(call.ticket, Outcome::stale, "that wait is over");
  log([&] { return "aborts " + victim.str() + " for incident " + call.order.incident; });
  if (order_) around_.observer.carried_out(*order_, id());
  answer_(*request, call.order.incident);
  remove(victim);
  settle(order_ ? order_->incident : std::string());
  core_->answer_abort(call.ticket, Outcome::done, {});
}

void EngineSite::carry_out(NodeId coordinator, const agent::ReorderCall& call) {
  const auto at =
      std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.handle == call.order.wait; });
  const auto ahead = std::find_if(queue_.begin(), at, [&](const Waiting& w) {
    return at != queue_.end() && w.request.txn == call.order.ahead_of && is_before(w.request, at->request);
  });
  if (at == queue_.end() || ahead == at) return core_->answer_reorder(call.ticket, Outcome::stale, "not behind it");
  log([&] { return at->request.txn.str() + " goes ahead of " + call.order.ahead_of.str(); });
  std::rotate(ahead, at, at + 1);
  settle(around_.observer.reordered(coordinator, call.order.incident));
  core_->answer_reorder(call.ticket, Outcome::done, {});
}

void EngineSite::work() {
  const auto transmit = [this](NodeId to, std::string bytes) { send(to, std::move(bytes)); };
  links_.follow(around_, core_->take_link_changes(now()), transmit);
  for (const auto& [link, message] : core_->take_outgoing(now())) {
    const auto node = links_.node(link);
    if (!node) continue;
    tell_names(around_.observer.truth(), id(), incarnation_, *core_, message);
    messages_ += counts(message) ? 1 : 0;
    log([&] { return "-> coordinator: " + describe(message); });
    send(*node, wire::encode(wire::Request(message)));
  }
  (void)core_->take_upcalls();  // notes
}

Micros EngineSite::next_due() {
  return core_->has_outgoing() ? std::min(core_->next_due_us(), now()) : core_->next_due_us();
}

}  // namespace gordian::sim
