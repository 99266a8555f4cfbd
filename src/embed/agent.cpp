// The embeddable agent: the pure agent router, a link that carries its messages, and a thread that runs the callbacks.
//
// Threads: any thread of the engine reports under the mutex; the link's thread moves messages under the same mutex; the
// callback thread calls the engine without it. A callback that takes long therefore stops neither heartbeats nor reports.
#include <gordian/agent.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "agent/agent_router.hpp"
#include "net/agent_link.hpp"
#include "net/clock.hpp"

namespace gordian {
namespace {

std::string random_instance() {
  std::random_device source;
  std::string text;
  for (int i = 0; i < 16; ++i) text += "0123456789abcdef"[source() % 16];
  return text;
}

tl::unexpected<AgentError> stopped() {
  return tl::unexpected(AgentError{AgentError::Code::stopped, "the agent was stopped"});
}

}  // namespace

/// What both threads and every answer share; answers may outlive the agent.
class SharedAgent : public net::LinkHost, public std::enable_shared_from_this<SharedAgent> {
 public:
  SharedAgent(const AgentOptions& options, agent::Options core, AgentCallbacks callbacks)
      : callback_warn_us_(std::chrono::microseconds(options.callback_warn).count()),
        callbacks_(std::move(callbacks)),
        core_(std::move(core), agent::endpoints_of(options.coordinator), net::steady_now_us()) {}

  tl::expected<void, std::string> start(const std::string& routing_id) {
    caller_ = std::thread([this] { run_callbacks(); });
    auto link = net::AgentLink::start(routing_id, *this);
    if (!link) {
      stop();
      return tl::unexpected(link.error());
    }
    const std::lock_guard lock(mutex_);
    link_ = std::move(*link);
    link_->wake();
    return {};
  }

  void stop() {
    std::unique_ptr<net::AgentLink> link;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      link = std::move(link_);
    }
    link.reset();
    calls_ready_.notify_all();
    if (caller_.joinable()) caller_.join();
  }

  /// Runs `report` on the core, and wakes the link if there is something to say sooner than it expects.
  template <class Report>
  auto report(Report report) -> decltype(report(std::declval<agent::AgentRouter&>())) {
    const std::lock_guard lock(mutex_);
    if constexpr (!std::is_void_v<decltype(report(core_))>) {
      if (stopped_) return stopped();
      auto result = report(core_);
      wake_if_due();
      return result;
    } else {
      if (stopped_) return;
      report(core_);
      wake_if_due();
    }
  }

  [[nodiscard]] AgentStatus status() {
    const std::lock_guard lock(mutex_);
    auto status = core_.status();
    status.slow_callbacks = slow_callbacks_;
    return status;
  }

  void log(AgentCallbacks::Level level, std::string_view text) const {
    if (callbacks_.on_log) callbacks_.on_log(level, text);
  }

 private:
  // --- On the link's thread ---

  void received(agent::LinkId link, const wire::ToAgent& message, std::int64_t now_us) override {
    bool called = false;
    {
      const std::lock_guard lock(mutex_);
      core_.receive(link, message, now_us);
      called = queue_calls();
    }
    if (called) calls_ready_.notify_one();  // unlocked, or the callback thread would wake only to wait for the mutex
  }
  void garbled(const std::string& what) override {
    log(AgentCallbacks::Level::warn, "coordinator not understood: " + what);
  }
  std::vector<agent::LinkChange> link_changes(std::int64_t now_us) override {
    const std::lock_guard lock(mutex_);
    return core_.take_link_changes(now_us);
  }
  std::vector<agent::LinkMessage> outgoing(std::int64_t now_us) override {
    report_slow_callback(now_us);
    std::vector<agent::LinkMessage> messages;
    bool called = false;
    {
      const std::lock_guard lock(mutex_);
      messages = core_.take_outgoing(now_us);
      called = queue_calls();
    }
    if (called) calls_ready_.notify_one();
    return messages;
  }
  void send_failed(agent::LinkId link, std::int64_t now_us) override {
    const std::lock_guard lock(mutex_);
    core_.send_failed(link, now_us);
  }
  std::int64_t next_due_us() override {
    const std::lock_guard lock(mutex_);
    link_wakes_us_ = core_.has_outgoing() ? std::min(net::steady_now_us(), core_.next_due_us()) : core_.next_due_us();
    if (const auto started = callback_started_us_.load(); started != 0)
      link_wakes_us_ = std::min(link_wakes_us_, std::max(started + callback_warn_us_, net::steady_now_us() + 1000));
    return link_wakes_us_;
  }
  std::vector<agent::LinkMessage> farewells() override {
    const std::lock_guard lock(mutex_);
    return core_.farewells();
  }

  void report_slow_callback(std::int64_t now_us) {
    const auto started = callback_started_us_.load();
    if (started == 0 || now_us - started < callback_warn_us_ || slow_reported_.exchange(true)) return;
    ++slow_callbacks_;
    log(AgentCallbacks::Level::warn, "a callback of the engine has been running for " +
                                         std::to_string((now_us - started) / 1000) +
                                         " ms; confirmations and aborts wait for it: return at once and answer later");
  }

  // --- Under the mutex ---

  void wake_if_due() {
    if (link_ && (core_.has_outgoing() || core_.next_due_us() < link_wakes_us_)) link_->wake();
  }
  /// True if there is something to do for the callback thread.
  bool queue_calls() {
    for (auto& call : core_.take_upcalls()) calls_.push_back(std::move(call));
    return !calls_.empty();
  }

  // --- On the callback thread ---

  void run_callbacks() {
    std::unique_lock lock(mutex_);
    for (;;) {
      calls_ready_.wait(lock, [this] { return stopped_ || !calls_.empty(); });
      if (stopped_) return;
      auto call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      slow_reported_ = false;
      callback_started_us_ = net::steady_now_us();
      try {
        std::visit([this](auto& c) { make(c); }, call);
      } catch (const std::exception& e) {
        log(AgentCallbacks::Level::error, std::string("an exception left a callback of the engine: ") + e.what());
      } catch (...) {
        log(AgentCallbacks::Level::error, "an unknown exception left a callback of the engine");
      }
      finish_callback();
      lock.lock();
    }
  }

  void finish_callback() {
    const auto took_us = net::steady_now_us() - callback_started_us_.exchange(0);
    if (took_us < callback_warn_us_ || slow_reported_.exchange(true)) return;
    ++slow_callbacks_;
    log(AgentCallbacks::Level::warn, "a callback of the engine took " + std::to_string(took_us / 1000) + " ms");
  }

  void make(agent::ConfirmCall& call);
  void make(agent::AbortCall& call);
  void make(agent::ReorderCall& call);
  void make(agent::Note& note) { log(note.level, note.text); }

  const std::int64_t callback_warn_us_;
  const AgentCallbacks callbacks_;

  std::mutex mutex_;
  agent::AgentRouter core_;               // guarded by mutex_
  std::unique_ptr<net::AgentLink> link_;  // guarded by mutex_
  std::deque<agent::Upcall> calls_;       // guarded by mutex_
  bool stopped_ = false;                  // guarded by mutex_
  std::int64_t link_wakes_us_ = 0;        // guarded by mutex_; when the link looks again by itself
  std::condition_variable calls_ready_;
  std::thread caller_;

  std::atomic<std::int64_t> callback_started_us_{0};  ///< 0 while none runs
  std::atomic<bool> slow_reported_{false};
  std::atomic<std::uint64_t> slow_callbacks_{0};
};

// --- Answers ---

class AbortAnswer::Impl {
 public:
  /// How the core takes the answer.
  using Take = void (agent::AgentRouter::*)(std::uint64_t, wire::Aborted::Outcome, std::string);

  Impl(std::weak_ptr<SharedAgent> agent, std::uint64_t ticket, Take take)
      : agent_(std::move(agent)), ticket_(ticket), take_(take) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { give(wire::Aborted::Outcome::failed, "the engine dropped the order unanswered"); }

  void give(wire::Aborted::Outcome outcome, std::string text) {
    if (given_.exchange(true)) return;
    if (const auto agent = agent_.lock())
      agent->report([&](agent::AgentRouter& core) -> void { (core.*take_)(ticket_, outcome, std::move(text)); });
  }

 private:
  std::weak_ptr<SharedAgent> agent_;
  std::uint64_t ticket_;
  Take take_;
  std::atomic<bool> given_{false};
};

AbortAnswer::AbortAnswer(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
void AbortAnswer::done() const { impl_->give(wire::Aborted::Outcome::done, {}); }
void AbortAnswer::stale() const { impl_->give(wire::Aborted::Outcome::stale, "the wait was over"); }
void AbortAnswer::failed(std::string_view why) const {
  impl_->give(wire::Aborted::Outcome::failed, std::string(why.substr(0, 1024)));
}

class ConfirmAnswer::Impl {
 public:
  Impl(std::weak_ptr<SharedAgent> agent, std::uint64_t ticket) : agent_(std::move(agent)), ticket_(ticket) {}
  void give() {
    if (const auto agent = agent_.lock())
      agent->report([&](agent::AgentRouter& core) -> void { core.confirm_ready(ticket_); });
  }

 private:
  std::weak_ptr<SharedAgent> agent_;
  std::uint64_t ticket_;
};

ConfirmAnswer::ConfirmAnswer(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
void ConfirmAnswer::ready() const { impl_->give(); }

void SharedAgent::make(agent::ConfirmCall& call) {
  callbacks_.on_confirm(call.waits,
                        ConfirmAnswer(std::make_shared<ConfirmAnswer::Impl>(weak_from_this(), call.ticket)));
}
void SharedAgent::make(agent::AbortCall& call) {
  callbacks_.on_abort(call.order, AbortAnswer(std::make_shared<AbortAnswer::Impl>(weak_from_this(), call.ticket,
                                                                                  &agent::AgentRouter::answer_abort)));
}
void SharedAgent::make(agent::ReorderCall& call) {
  callbacks_.on_reorder(call.order, AbortAnswer(std::make_shared<AbortAnswer::Impl>(
                                        weak_from_this(), call.ticket, &agent::AgentRouter::answer_reorder)));
}

// --- The public face ---

class Agent::Impl {
 public:
  explicit Impl(std::shared_ptr<SharedAgent> agent) : shared(std::move(agent)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { shared->stop(); }
  std::shared_ptr<SharedAgent> shared;
};

tl::expected<Agent, AgentError> Agent::start(AgentOptions options, AgentCallbacks callbacks) {
  const auto invalid = [](std::string text) {
    return tl::unexpected(AgentError{AgentError::Code::invalid_option, std::move(text)});
  };
  if (!callbacks.on_abort) return invalid("AgentCallbacks::on_abort is not set: the agent could not abort a victim");
  if (options.publish_after.count() < 0) return invalid("publish_after is negative");
  if (agent::endpoints_of(options.coordinator).empty())
    return invalid("coordinator: no endpoint was given, expected something like tcp://HOST:PORT");
  const auto instance = random_instance();
  agent::Options core{.site = options.site,
                      .incarnation = static_cast<std::uint64_t>(std::max<std::int64_t>(1, net::unix_now_us())),
                      .instance = instance,
                      .engine = std::move(options.engine),
                      .label = std::move(options.label),
                      .software = "gordian " GORDIAN_VERSION,
                      .publish_after_us = options.publish_after.count(),
                      .resolve_local_deadlocks = options.resolve_local_deadlocks,
                      .engine_confirms = static_cast<bool>(callbacks.on_confirm),
                      .engine_reorders = static_cast<bool>(callbacks.on_reorder),
                      .limits = options.limits};
  auto shared = std::make_shared<SharedAgent>(options, std::move(core), std::move(callbacks));
  const auto routing_id = "a" + instance + options.site.str();
  if (auto started = shared->start(routing_id); !started) return invalid(started.error());
  return Agent(std::make_unique<Impl>(std::move(shared)));
}

Agent::Agent(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Agent::Agent(Agent&&) noexcept = default;
Agent& Agent::operator=(Agent&&) noexcept = default;
Agent::~Agent() = default;

using WaitResult = tl::expected<WaitHandle, AgentError>;
using VoidResult = tl::expected<void, AgentError>;

WaitResult Agent::begin_wait(Wait wait) {
  return impl_->shared->report(
      [&](agent::AgentRouter& core) -> WaitResult { return core.begin_wait(std::move(wait), net::steady_now_us()); });
}
VoidResult Agent::set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                               std::optional<std::uint32_t> need) {
  return impl_->shared->report(
      [&](agent::AgentRouter& core) -> VoidResult { return core.set_blockers(wait, blockers, need); });
}
VoidResult Agent::renew_blocker(WaitHandle wait, const TxnId& blocker) {
  return impl_->shared->report(
      [&](agent::AgentRouter& core) -> VoidResult { return core.renew_blocker(wait, blocker); });
}
void Agent::end_wait(WaitHandle wait) {
  impl_->shared->report([&](agent::AgentRouter& core) -> void { core.end_wait(wait); });
}
tl::expected<GroupHandle, AgentError> Agent::begin_group(std::string resource, std::string mode, Kind kind) {
  return impl_->shared->report([&](agent::AgentRouter& core) -> tl::expected<GroupHandle, AgentError> {
    return core.begin_group(std::move(resource), std::move(mode), kind);
  });
}
void Agent::join_group(GroupHandle group, const TxnId& txn) {
  impl_->shared->report([&](agent::AgentRouter& core) -> void { core.join_group(group, txn); });
}
void Agent::leave_group(GroupHandle group, const TxnId& txn) {
  impl_->shared->report([&](agent::AgentRouter& core) -> void { core.leave_group(group, txn); });
}
void Agent::end_group(GroupHandle group) {
  impl_->shared->report([&](agent::AgentRouter& core) -> void { core.end_group(group); });
}
VoidResult Agent::describe(const TxnId& txn, TxnInfo info) {
  return impl_->shared->report(
      [&](agent::AgentRouter& core) -> VoidResult { return core.describe(txn, std::move(info)); });
}
void Agent::forget(const TxnId& txn) {
  impl_->shared->report([&](agent::AgentRouter& core) -> void { core.forget(txn); });
}
AgentStatus Agent::status() const { return impl_->shared->status(); }

}  // namespace gordian
