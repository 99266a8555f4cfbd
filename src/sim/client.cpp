#include "sim/client.hpp"

#include <algorithm>

#include "sim/describe.hpp"
#include "sim/engine_site.hpp"
#include "wire/codec.hpp"

namespace gordian::sim {

using Code = LockError::Code;

Attempts& Attempts::operator+=(const Attempts& other) {
  begun += other.begun, committed += other.committed, deadlock += other.deadlock, timeout += other.timeout;
  lease += other.lease, user += other.user, killed += other.killed, unreachable += other.unreachable;
  refused += other.refused, running += other.running;
  restarts_most = std::max(restarts_most, other.restarts_most);
  return *this;
}

Client::Client(Surroundings& around, NodeId id, std::string name, const Workload& workload, Random random)
    : Process(around, id, std::move(name)), workload_(workload), random_(random) {}

void Client::start() {
  ++starts_;
  const std::string identity = name() + "." + std::to_string(starts_);
  std::vector<AgentAddress> agents;
  for (const auto& [site, node] : around_.sites)
    if (!around_.engines.contains(site)) agents.push_back({site, "sim://" + site.str()});
  core_ = std::make_unique<lease::ClientCore>(lease::ClientSettings{
      .agents = std::move(agents), .identity = identity, .draw = [this] { return random_.next(); }});
  connect(identity);
  session_ = core_->open({.ttl = workload_.ttl}).value();
  ids_ = 0;
  reuse_.reset();
  next_at(State::idle, now() + random_.between(0, workload_.think_us_max));
}

void Client::crash() {
  if (txn_) {
    ++attempts_.killed;
    --attempts_.running;
  }
  txn_.reset();
  calls_.clear();
  engines_used_.clear();
  engine_calls_ = 0;
  user_abort_at_ = never;
  core_.reset();
  disconnect();
}

// --- Messages ---

void Client::receive(NodeId from, const std::string& bytes) {
  const auto input = wire::decode_lock_reply(bytes);
  const auto* message = input ? std::get_if<wire::ToLockClient>(&*input) : nullptr;
  if (message == nullptr) return around_.observer.violated(4, name() + " received what it cannot read");
  log([&] { return "<- " + routing_id(from) + ": " + describe(*message); });
  std::size_t agent = 0;
  for (const auto& [site, node] : around_.sites) {
    if (around_.engines.contains(site)) continue;
    if (node == from) core_->receive(agent, *message, now());
    ++agent;
  }
}

void Client::reconnected(NodeId node) {
  std::size_t agent = 0;
  for (const auto& [site, at] : around_.sites) {
    if (around_.engines.contains(site)) continue;
    if (at == node) core_->connected(agent, now());
    ++agent;
  }
}

void Client::send_all() {
  std::size_t agent = 0;
  for (const auto& [site, node] : around_.sites) {
    if (around_.engines.contains(site)) continue;
    if (core_->has_messages(agent))
      for (const auto& message : core_->take_messages(agent, now())) send(node, wire::encode(message));
    ++agent;
  }
}

void Client::work() {
  core_->advance(now());
  take_output();
  if (now() >= user_abort_at_ && txn_) {
    user_abort_at_ = never;
    log([&] { return "the user aborts " + id_->str(); });
    ++attempts_.user;
    work_->given_up = true;
    end_attempt();
  }
  if (now() >= due_) act();
  take_output();
  send_all();
}

Micros Client::next_due() { return std::min({core_->next_due(), due_, user_abort_at_}); }

// --- The user ---

void Client::act() {
  due_ = never;
  switch (state_) {
    case State::idle:
      if (!work_ && finishing_) return;
      if (!work_) new_work();
      return begin();
    case State::holding:
      if (next_ < work_->plan.size()) return lock_next();
      state_ = State::committing;
      end_call_ = core_->end(*txn_, now());
      return;
    case State::locking:
    case State::committing:
    case State::ending: return;
  }
}

void Client::new_work() {
  work_ = Work{static_cast<double>(now())};
  auto places = workload_.places;
  for (std::size_t i = places.size(); i > 1; --i) std::swap(places[i - 1], places[random_.below(i)]);
  const auto count = static_cast<std::size_t>(random_.between(workload_.locks_min, workload_.locks_max));
  places.erase(places.begin() + static_cast<std::ptrdiff_t>(std::min(places.size(), count)), places.end());
  if (workload_.ordered)
    std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
      return std::pair(a.site, a.resource) < std::pair(b.site, b.resource);
    });
  for (auto& place : places) {
    if (const auto at = workload_.engine_resources.find(place.site);
        at != workload_.engine_resources.end() && place.need == 0)
      place.resource = at->second[random_.below(at->second.size())];
    // A resource that one call of a transaction waits for is not asked for by another of its calls.
    const auto overlaps = [&](const Lock& other) {
      return other.place.site == place.site && (other.place.need != 0 || place.need != 0) &&
             !around_.engines.contains(place.site);
    };
    const bool together = !work_->plan.empty() && !workload_.ordered && random_.chance(workload_.parallel_ppm);
    if (!together || std::any_of(work_->plan.back().begin(), work_->plan.back().end(), overlaps))
      work_->plan.emplace_back();
    work_->plan.back().push_back({std::move(place), random_.chance(workload_.shared_ppm) ? modes::S : modes::X});
  }
}

void Client::begin() {
  if (core_->lost(session_)) {
    core_->drop(session_, now());
    session_ = core_->open({.ttl = workload_.ttl}).value();
    reuse_.reset();  // an agent may know it as the old session's
  }
  ClientTxnOptions options;
  options.id = reuse_ ? *reuse_ : TxnId(name() + "." + std::to_string(starts_) + "-" + std::to_string(++ids_));
  options.start = work_->start;
  options.restarts = work_->deadlocks;
  id_ = options.id;
  auto txn = core_->begin(session_, options, now());
  if (!txn) {  // that id is still in use: its end was not answered
    id_ = options.id = TxnId(name() + "." + std::to_string(starts_) + "-" + std::to_string(++ids_));
    txn = core_->begin(session_, options, now());
  }
  txn_ = txn.value();
  next_ = 0;
  life_began_ = now();
  around_.observer.life_began(*id_);
  ++attempts_.begun;
  ++attempts_.running;
  log([&] { return "begins " + id_->str(); });
  constexpr Micros patience_us = 1'500'000;
  user_abort_at_ = random_.chance(around_.faults.user_abort_ppm) ? now() + random_.between(0, patience_us) : never;
  wait_us_.reset();
  if (random_.chance(around_.faults.lock_timeout_ppm)) wait_us_ = random_.between(1'000, 400'000);
  lock_next();
}

void Client::lock_next() {
  state_ = State::locking;
  for (const auto& lock : work_->plan[next_]) {
    if (const auto engine = around_.engines.find(lock.place.site); engine != around_.engines.end()) {
      ask_engine(engine->second, lock.place);
      continue;
    }
    AcquireOptions options{.site = lock.place.site};
    if (wait_us_) options.wait = std::chrono::microseconds(*wait_us_);
    std::vector<LockItem> items;
    for (const auto& resource : lock.place.several) items.push_back({resource, lock.mode});
    if (items.empty()) items.push_back({lock.place.resource, lock.mode});
    const auto scheme = lock.place.need != 0 ? wire::LockRequest::Scheme::some : wire::LockRequest::Scheme::all;
    calls_.push_back(core_->lock(*txn_, items, {scheme, lock.place.need, options}, now()));
  }
  ++next_;
}

// --- What becomes of it ---

void Client::take_output() {
  for (const auto& output : core_->take_output()) {
    if (const auto* done = std::get_if<lease::CallDone>(&output)) {
      on(*done);
    } else if (const auto* lost = std::get_if<lease::TxnLost>(&output)) {
      if (txn_ == lost->txn) give_up(lost->reason);
    } else if (const auto* over = std::get_if<lease::SessionLost>(&output)) {
      if (session_ == over->session && txn_) give_up(over->reason);
    } else if (const auto* text = std::get_if<lease::LogLine>(&output)) {
      log([&] { return text->text; });
    }
  }
}

void Client::on(const lease::CallDone& done) {
  if (state_ == State::committing && done.call == end_call_) {
    if (!done.result) return give_up(done.result.error());
    log([&] { return "commits " + id_->str(); });
    leave_engines();
    ++attempts_.committed;
    --attempts_.running;
    txn_.reset();
    user_abort_at_ = never;
    work_.reset();
    reuse_.reset();
    return next_at(State::idle, now() + random_.between(0, workload_.think_us_max));
  }
  if (state_ == State::ending && done.call == end_call_) {
    // Whatever the answer was: nobody waits for this life of the transaction any more.
    const bool again = work_.has_value();
    return next_at(State::idle,
                   now() + (again ? random_.between(0, 20'000) : random_.between(0, workload_.think_us_max)));
  }
  const auto call = std::find(calls_.begin(), calls_.end(), done.call);
  if (call == calls_.end()) return;
  calls_.erase(call);
  if (!done.result) return give_up(done.result.error());
  granted(*done.result);
  go_on_if_granted();
}

void Client::go_on_if_granted() {
  if (calls_.empty() && engine_calls_ == 0 && state_ == State::locking)
    next_at(State::holding, now() + random_.between(0, workload_.hold_us_max));
}

// --- Engines ---

void Client::ask_engine(NodeId engine, const Workload::Place& place) {
  EngineRequest request{id(), attempts_.begun, *id_, work_->start, {place.resource}};
  if (place.need != 0) request.resources = place.several, request.need = place.need;
  request.latch = place.need == 0 && workload_.latches && random_.below(2) == 0;
  ++engine_calls_;
  if (std::find(engines_used_.begin(), engines_used_.end(), engine) == engines_used_.end())
    engines_used_.push_back(engine);
  around_.post(engine, [request = std::move(request)](Process& at) { dynamic_cast<EngineSite&>(at).ask(request); });
}

void Client::leave_engines() {
  for (const auto engine : std::exchange(engines_used_, {}))
    around_.post(engine, [txn = *id_](Process& at) { dynamic_cast<EngineSite&>(at).end(txn); });
  engine_calls_ = 0;
}

void Client::engine_answered(std::uint64_t life, const std::string& incident) {
  if (!txn_ || life != attempts_.begun) return;
  if (!incident.empty()) return give_up({Code::deadlock, "aborted by an engine", incident});
  if (engine_calls_ == 0) return;
  --engine_calls_;
  go_on_if_granted();
}

void Client::engine_gone(NodeId engine) {
  if (txn_ && std::find(engines_used_.begin(), engines_used_.end(), engine) != engines_used_.end())
    give_up({Code::unreachable, "an engine crashed", {}});
}

void Client::granted(const std::vector<Grant>& grants) {
  for (const auto& grant : grants)
    log([&] {
      return id_->str() + " has " + grant.name + " at " + grant.site.str() + ", fence " +
             std::to_string(grant.fence.epoch) + "." + std::to_string(grant.fence.counter);
    });
  around_.observer.granted({id(), *id_, life_began_, grants});
}

std::optional<Observer::Held> Client::surely_held() const {
  if (!core_ || !txn_ || core_->remaining_us(session_, now()) <= 0) return std::nullopt;
  return Observer::Held{id(), *id_, life_began_, core_->held(*txn_)};
}

void Client::give_up(const LockError& why) {
  if (!txn_) return;
  log([&] { return id_->str() + " is over: " + std::string(gordian::name(why.code)) + " " + why.incident; });
  count(why.code);
  if (why.code == Code::deadlock) {
    around_.observer.told_of_deadlock(*id_, life_began_, why.incident);
    attempts_.restarts_most = std::max(attempts_.restarts_most, ++work_->deadlocks);
    if (work_->deadlocks > Observer::restarts_max)
      around_.observer.violated(5, "a piece of work of " + name() + " was restarted " +
                                       std::to_string(work_->deadlocks) + " times because of deadlocks");
  }
  end_attempt();
}

void Client::count(Code why) {
  switch (why) {
    case Code::deadlock: ++attempts_.deadlock; return;
    case Code::timeout: ++attempts_.timeout; return;
    case Code::lease_lost: ++attempts_.lease; return;
    case Code::unreachable: ++attempts_.unreachable; return;
    case Code::invalid: ++attempts_.refused; return;
    case Code::cancelled:
    case Code::refused:
    case Code::wounded:
    case Code::out_of_order:
    case Code::limit:
    case Code::not_held:
    case Code::forced: break;
  }
  around_.observer.violated(
      6, id_->str() + " failed with " + std::string(gordian::name(why)) + ", which nobody asked for");
}

void Client::end_attempt() {
  --attempts_.running;
  leave_engines();
  const auto txn = *txn_;
  txn_.reset();
  calls_.clear();
  user_abort_at_ = never;
  if (work_->given_up) work_.reset();
  reuse_ = random_.below(2) == 0 && work_ && !core_->lost(session_) ? id_ : std::nullopt;
  next_at(State::ending, never);
  end_call_ = core_->end(txn, now());
}

}  // namespace gordian::sim
