#include "embed/client_host.hpp"

#include <algorithm>
#include <random>

namespace gordian {
namespace {

using Code = LockError::Code;

// So long after the last blocking call the keeper leaves the sockets alone: the next one probably comes at once.
constexpr Micros quiet_us = 2'000;

std::string random_identity() {
  std::random_device source;
  std::string text;
  for (int i = 0; i < 16; ++i) text += "0123456789abcdef"[source() % 16];
  return text;
}

lease::ClientSettings settings_of(const LockClientOptions& options) {
  return {.agents = options.agents,
          .modes = options.modes,
          .label = options.label,
          .identity = random_identity(),
          .reply_limit_us = std::chrono::microseconds(options.reply_limit).count(),
          .limits = options.limits,
          .draw = [random = std::mt19937_64(std::random_device{}() | std::uint64_t{std::random_device{}()}
                                                                         << 32)]() mutable { return random(); }};
}

}  // namespace

LockError ClientHost::blocking_in_callback() {
  return {Code::invalid,
          "a blocking call inside a callback of the lock client would wait for itself; use the asynchronous one",
          {}};
}
LockError ClientHost::stopped() { return {Code::lease_lost, "the lock client was stopped", {}}; }

ClientHost::ClientHost(const LockClientOptions& options)
    : on_log_(options.on_log),
      core_(settings_of(options)),
      connected_(options.agents.size(), false),
      asked_(connected_) {}

tl::expected<std::shared_ptr<ClientHost>, LockError> ClientHost::start(const LockClientOptions& options) {
  const auto invalid = [](std::string text) { return tl::unexpected(LockError{Code::invalid, std::move(text), {}}); };
  const auto& agents = options.agents;
  if (agents.empty()) return invalid("a lock client needs at least one agent");
  for (std::size_t i = 0; i < agents.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (agents[i].site == agents[k].site) return invalid("site " + agents[i].site.str() + " is named twice");
  if (options.reply_limit.count() <= 0) return invalid("reply_limit is not positive");
  auto link = net::LockLink::connect(agents, random_identity());
  if (!link) return invalid(link.error());
  std::shared_ptr<ClientHost> host(new ClientHost(options));
  const std::lock_guard lock(host->mutex_);
  host->link_ = std::move(*link);
  host->keeper_ = std::thread([raw = host.get()] { raw->keep(); });
  host->keeper_id_ = host->keeper_.get_id();
  return host;
}

ClientHost::~ClientHost() { stop(); }

void ClientHost::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      core_.stop(net::boot_now_us());
      turn();
      stopped_ = true;
    }
    stopping_ = true;
    keeper_wake_.notify_all();
    keeper_bell_.ring();
    caller_bell_.ring();
  }
  if (keeper_.joinable()) keeper_.join();
  std::unique_lock lock(mutex_);
  nobody_receives_.wait(lock, [this] { return receiver_ == Receiver::nobody; });
  link_.reset();
}

// --- Callers ---

ClientHost::Grants ClientHost::wait_for(std::unique_lock<std::mutex>& lock, lease::CallKey key) {
  Caller caller;
  callers_.emplace(key, &caller);
  turn();
  wake_leader();
  while (!caller.result) {
    if (receiver_ != Receiver::caller) {
      lead(lock, caller);
    } else {
      wake_keeper();
      followers_.push_back(&caller);
      caller.wake.wait(lock, [&] { return caller.result || receiver_ != Receiver::caller; });
      std::erase(followers_, &caller);
    }
  }
  if (receiver_ == Receiver::nobody) {
    leave();
  } else {
    wake_keeper();  // the answer came within this turn, perhaps with news for callbacks that the keeper sleeps over
  }
  return std::move(*caller.result);
}

/// Receives for everybody until this caller has its answer.
void ClientHost::lead(std::unique_lock<std::mutex>& lock, Caller& caller) {
  if (receiver_ == Receiver::keeper) keeper_bell_.ring();
  receiver_ = Receiver::caller;
  leader_ = &caller;
  leads_since_ = net::boot_now_us();
  while (!caller.result) {
    wake_keeper();
    sleep(lock, caller_bell_, caller_sleeps_until_);
    turn();
  }
  leader_ = nullptr;
  receiver_ = Receiver::nobody;
}

/// Nobody receives: another caller is to, or the keeper; in a moment, if nobody waits for an answer.
void ClientHost::leave() {
  quiet_since_ = net::boot_now_us();
  const auto next =
      std::find_if(followers_.begin(), followers_.end(), [](const Caller* caller) { return !caller->result; });
  if (next != followers_.end()) {
    (*next)->wake.notify_one();
  } else if (std::exchange(keeper_rests_, false) || !callbacks_waiting_.empty()) {
    keeper_wake_.notify_one();
  }
  if (!callbacks_due_.empty()) keeper_wake_.notify_one();
  if (stopping_) nobody_receives_.notify_all();
}

void ClientHost::sleep(std::unique_lock<std::mutex>& lock, const net::Wakeup& bell, Micros& until) {
  if (!link_) return;
  until = core_.next_due();
  // They are read outside the mutex: stop() closes the link only when nobody receives.
  const std::vector<int>& descriptors = link_->descriptors();
  lock.unlock();
  bell.sleep_on(descriptors, until == never ? never : until - net::boot_now_us());
  lock.lock();
  until = 0;
}

// --- One turn: send, receive everything, hand out ---

/// After a change of the core: on the keeper its round does this once for all callbacks.
void ClientHost::settle() {
  if (on_keeper()) return;
  turn();
  wake_leader();
  wake_keeper();
}

void ClientHost::turn() {
  const auto now = net::boot_now_us();
  core_.advance(now);
  if (link_) {
    const auto received = [&](std::size_t agent, const wire::ToLockClient& message) {
      core_.receive(agent, message, now);
    };
    const auto garbled = [&](std::size_t agent, const std::string& what) {
      log(LockClientOptions::Level::warn, "message from agent " + std::to_string(agent) + " not understood: " + what);
    };
    std::fill(asked_.begin(), asked_.end(), false);
    // Any call on a socket may take away the news of a message, and a message may give reason to send.
    do {
      find_connections();
      send();
      link_->receive(received, garbled);
    } while (can_send());
  }
  dispatch();
}

void ClientHost::find_connections() {
  for (std::size_t agent = 0; agent < connected_.size(); ++agent) {
    if (connected_[agent] || asked_[agent] || !core_.has_messages(agent)) continue;
    asked_[agent] = true;
    if (!link_->writable(agent)) continue;
    connected_[agent] = true;
    core_.connected(agent, net::boot_now_us());
  }
}

void ClientHost::send() {
  for (std::size_t agent = 0; agent < connected_.size(); ++agent) {
    if (!connected_[agent] || !core_.has_messages(agent)) continue;
    for (const auto& message : core_.take_messages(agent, net::boot_now_us()))
      if (!link_->send(agent, message)) connected_[agent] = false;
  }
}

bool ClientHost::can_send() const {
  for (std::size_t agent = 0; agent < connected_.size(); ++agent)
    if (core_.has_messages(agent) && (connected_[agent] || !asked_[agent])) return true;
  return false;
}

void ClientHost::dispatch() {
  while (core_.has_output())
    for (lease::Output& output : core_.take_output()) deliver(output);
}

void ClientHost::deliver(lease::Output& output) {
  if (auto* done = std::get_if<lease::CallDone>(&output)) {
    if (const auto caller = callers_.find(done->call); caller != callers_.end()) {
      caller->second->result = std::move(done->result);
      caller->second->wake.notify_one();
      callers_.erase(caller);
    } else if (auto waiting = callbacks_waiting_.extract(done->call)) {
      callbacks_due_.emplace_back(
          [f = std::move(waiting.mapped()), result = std::move(done->result)]() mutable { f(std::move(result)); });
    }
  } else if (const auto* jeopardy = std::get_if<lease::SessionInJeopardy>(&output)) {
    if (const auto it = sessions_.find(jeopardy->session); it != sessions_.end() && it->second.on_jeopardy)
      callbacks_due_.emplace_back(
          [f = it->second.on_jeopardy, left = jeopardy->remaining_us] { f(std::chrono::microseconds(left)); });
  } else if (const auto* lost = std::get_if<lease::SessionLost>(&output)) {
    if (const auto it = sessions_.find(lost->session); it != sessions_.end() && it->second.on_lost)
      callbacks_due_.emplace_back([f = it->second.on_lost, reason = lost->reason] { f(reason); });
  } else if (const auto* gone = std::get_if<lease::TxnLost>(&output)) {
    if (const auto it = on_aborted_.find(gone->txn); it != on_aborted_.end())
      callbacks_due_.emplace_back([f = it->second, reason = gone->reason] { f(reason); });
  } else if (const auto* line = std::get_if<lease::LogLine>(&output)) {
    log(line->level, line->text);
  }
}

void ClientHost::log(LockClientOptions::Level level, const std::string& text) {
  if (on_log_) callbacks_due_.emplace_back([this, level, text] { on_log_(level, text); });
}

/// The leader sleeps, and what another thread did while it had the mutex concerns it.
void ClientHost::wake_leader() {
  if (leader_ == nullptr) return;
  if (leader_->result || core_.next_due() < caller_sleeps_until_) caller_bell_.ring();
}

void ClientHost::wake_keeper() {
  if (receiver_ == Receiver::keeper) {
    if (!callbacks_due_.empty() || core_.next_due() < keeper_sleeps_until_) keeper_bell_.ring();
  } else if (!callbacks_due_.empty() || (receiver_ == Receiver::nobody && !callbacks_waiting_.empty())) {
    keeper_wake_.notify_one();
  }
}

// --- The keeper ---

void ClientHost::keep() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool ran = run_callbacks(lock);
    if (ran || receiver_ == Receiver::nobody) turn();
    wake_leader();
    if (!callbacks_due_.empty()) continue;
    if (stopping_) break;
    const bool wanted = !callbacks_waiting_.empty() || net::boot_now_us() >= quiet_since_ + quiet_us;
    if (receiver_ == Receiver::nobody && wanted) {
      receiver_ = Receiver::keeper;
      sleep(lock, keeper_bell_, keeper_sleeps_until_);
      if (receiver_ == Receiver::keeper) receiver_ = Receiver::nobody;
    } else {
      rest(lock);
    }
  }
}

/// While a caller receives, or did a moment ago. Callers that come and go all the time wake nobody: only one that has been
/// receiving for long lets the keeper rest without a time, and wakes it when it leaves.
void ClientHost::rest(std::unique_lock<std::mutex>& lock) {
  const auto wanted = [this] {
    return stopping_ || !callbacks_due_.empty() || (receiver_ == Receiver::nobody && !callbacks_waiting_.empty());
  };
  const Micros now = net::boot_now_us();
  if (receiver_ == Receiver::caller && now >= leads_since_ + quiet_us) {
    keeper_rests_ = true;
    keeper_wake_.wait(lock, [&] { return wanted() || !keeper_rests_; });
    keeper_rests_ = false;
  } else {
    const Micros until =
        receiver_ == Receiver::caller ? now + quiet_us : std::min(quiet_since_ + quiet_us, core_.next_due());
    keeper_wake_.wait_for(lock, std::chrono::microseconds(std::max<Micros>(until - now, 1)), wanted);
  }
}

/// False if there were none.
bool ClientHost::run_callbacks(std::unique_lock<std::mutex>& lock) {
  if (callbacks_due_.empty()) return false;
  auto callbacks = std::exchange(callbacks_due_, {});
  lock.unlock();
  for (auto& callback : callbacks) {
    try {
      callback();
    } catch (const std::exception& e) {
      if (on_log_) on_log_(LockClientOptions::Level::error, std::string("an exception left a callback: ") + e.what());
    } catch (...) {
      if (on_log_) on_log_(LockClientOptions::Level::error, "an unknown exception left a callback");
    }
    callback = nullptr;  // what it captured is the user's, and may call the client: not under the mutex
  }
  lock.lock();
  return true;
}

// --- What has callbacks of its own ---

tl::expected<lease::SessionKey, LockError> ClientHost::open(SessionOptions options) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return tl::unexpected(stopped());
  auto key = core_.open(options);
  if (key) sessions_.emplace(*key, std::move(options));
  return key;
}

void ClientHost::drop(lease::SessionKey session) {
  tell([&](Core& core, Micros now) {
    core.drop(session, now);
    return sessions_.extract(session);  // the callbacks end outside the mutex
  });
}

tl::expected<lease::TxnKey, LockError> ClientHost::begin(lease::SessionKey session, ClientTxnOptions options) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return tl::unexpected(stopped());
  auto on_aborted = std::move(options.on_aborted);
  auto key = core_.begin(session, std::move(options), net::boot_now_us());
  if (key && on_aborted) on_aborted_.emplace(*key, std::move(on_aborted));
  return key;
}

void ClientHost::drop(lease::TxnKey txn) {
  tell([&](Core& core, Micros now) {
    core.drop(txn, now);
    return on_aborted_.extract(txn);
  });
}

}  // namespace gordian
