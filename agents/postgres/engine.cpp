#include "postgres/engine.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "config/options.hpp"
#include "postgres/connection.hpp"
#include "postgres/ledger.hpp"
#include "postgres/observer.hpp"
#include "postgres/orders.hpp"
#include "postgres/poller.hpp"
#include "postgres/server.hpp"

namespace gordian::postgres {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto retry_min = 100ms;
constexpr auto retry_max = 5s;
constexpr auto say_again_after = 1min;

Identity identity_of(const Settings& settings) {
  return {SiteId(settings.site), parse_id_pattern(settings.identity_pattern).value(),
          parse_id_pattern(settings.gid_pattern).value()};
}

ObserverOptions observer_options_of(const Settings& settings) {
  ObserverOptions options;
  options.prepared_never_victim = settings.prepared == "never";
  if (!settings.never_pattern.empty()) options.never = std::regex(settings.never_pattern);
  return options;
}

AgentOptions agent_options_of(const Settings& settings) {
  AgentOptions options{.site = SiteId(settings.site)};
  options.coordinator = settings.coordinator;
  options.engine = "postgresql";
  options.label = settings.label.empty() ? config::without_password(settings.connect) : settings.label;
  options.publish_after = 0us;  // the poller keeps young waits back: it does not even ask about them
  options.resolve_local_deadlocks = settings.local_deadlocks == "resolve";
  return options;
}

void log(AgentCallbacks::Level level, std::string_view text) {
  using Level = AgentCallbacks::Level;
  switch (level) {
    case Level::debug: return spdlog::debug("{}", text);
    case Level::info: return spdlog::info("{}", text);
    case Level::warn: return spdlog::warn("{}", text);
    case Level::error: return spdlog::error("{}", text);
  }
}

}  // namespace

class Engine::Impl {
 public:
  explicit Impl(const Settings& settings)
      : settings_(settings),
        observer_(identity_of(settings), observer_options_of(settings)),
        poller_({settings.publish_after, settings.poll_interval, settings.busy_poll_interval}, observer_, ledger_),
        orders_({settings.idle_branch_grace, settings.prepared == "rollback"},
                [](const std::string& done) { spdlog::info("{}", done); }) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { stop(); }

  tl::expected<void, std::string> start() {
    AgentCallbacks callbacks;
    callbacks.on_abort = [this](const AbortOrder& order, AbortAnswer answer) {
      wake([&] { new_orders_.push_back({order, std::move(answer)}); });
    };
    callbacks.on_confirm = [this](const std::vector<WaitHandle>& waits, ConfirmAnswer answer) {
      wake([&] { new_confirms_.push_back({waits, std::move(answer)}); });
    };
    callbacks.on_log = log;
    auto agent = Agent::start(agent_options_of(settings_), std::move(callbacks));
    if (!agent) return tl::unexpected(agent.error().message);
    agent_.emplace(*std::move(agent));
    thread_ = std::thread([this] { run(); });
    return {};
  }

  void stop() {
    wake([&] { stopping_ = true; });
    if (thread_.joinable()) thread_.join();
    agent_.reset();
  }

 private:
  struct OrderRequest {
    AbortOrder order;
    AbortAnswer answer;
  };
  struct ConfirmRequest {
    std::vector<WaitHandle> waits;
    ConfirmAnswer answer;
  };

  template <class Change>
  void wake(Change change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    wake_.notify_one();
  }

  void run() {
    while (!stopping_) {
      std::vector<OrderRequest> new_orders;
      std::vector<ConfirmRequest> new_confirms;
      {
        std::unique_lock lock(mutex_);
        wake_.wait_until(lock, next_due(),
                         [this] { return stopping_ || !new_orders_.empty() || !new_confirms_.empty(); });
        new_orders.swap(new_orders_);
        new_confirms.swap(new_confirms_);
      }
      if (stopping_) return;
      for (auto& request : new_orders)
        orders_.add(ledger_, std::move(request.order), std::move(request.answer), Clock::now());
      if (connection_)
        if (auto done = work(new_confirms); !done) disconnect(done.error());
      if (!connection_) orders_.give_up("site " + settings_.site + ": the server is away");
      for (const auto& request : new_confirms) request.answer.ready();
      if (!connection_ && Clock::now() >= next_connect_) connect();
      log_counters();
    }
  }

  [[nodiscard]] Clock::time_point next_due() const {
    if (!connection_) return next_connect_;
    const auto poll = poller_.next_due();
    return std::min(poll, orders_.next_due().value_or(poll));
  }

  /// All that is due at the server. Confirmations first: others wait for them.
  tl::expected<void, ServerError> work(const std::vector<ConfirmRequest>& confirms) {
    std::vector<WaitHandle> waits;
    for (const auto& request : confirms) waits.insert(waits.end(), request.waits.begin(), request.waits.end());
    if (!waits.empty())
      if (auto seen = report(poller_.confirm(*connection_, *agent_, waits)); !seen) return seen;
    if (auto done = orders_.carry_on(*connection_, Clock::now()); !done) return done;
    // A confirmation is answered before the next look.
    if (!confirms.empty() || Clock::now() < poller_.next_due()) return {};
    return report(poller_.poll(*connection_, *agent_));
  }

  tl::expected<void, ServerError> report(Poller::Result result) {
    if (!result) return tl::unexpected(result.error());
    for (const auto& complaint : *result) say(spdlog::level::warn, complaint);
    return {};
  }

  void connect() {
    auto opened = Connection::open(settings_.connect, settings_.reply_limit, stopping_);
    if (!opened) return disconnect(opened.error());
    const auto facts = examine(*opened);
    if (!facts) return disconnect(facts.error());
    connection_.emplace(*std::move(opened));
    retry_ = retry_min;
    last_said_.clear();
    spdlog::info("connected to PostgreSQL {} at {}", facts->version, connection_->place());
    if (!facts->may_signal)
      spdlog::warn(
          "this role may not abort other users' transactions: deadlocks are shown, and not all can be broken; "
          "GRANT pg_signal_backend to it");
    else if (!facts->superuser)
      spdlog::info("transactions of superusers cannot be aborted by this role");
  }

  void disconnect(const ServerError& error) {
    const bool was_connected = std::exchange(connection_, std::nullopt).has_value();
    ledger_.clear(*agent_);
    poller_.reset();
    next_connect_ = Clock::now() + retry_;
    retry_ = std::min<Clock::duration>(retry_ * 2, retry_max);
    if (stopping_) return;
    say(spdlog::level::err, std::string(was_connected ? "lost the server" : "cannot work with the server") + " (" +
                                config::without_password(settings_.connect) + "): " + error.message + "; " +
                                std::string(advice(error.message)) +
                                "; trying again, its waits are withdrawn meanwhile");
  }

  /// Logs, but the same text not more than once in a while.
  void say(spdlog::level::level_enum level, const std::string& text) {
    const auto now = Clock::now();
    if (text == last_said_ && now - last_said_at_ < say_again_after) return;
    last_said_ = text;
    last_said_at_ = now;
    spdlog::log(level, "{}", text);
  }

  void log_counters() {
    const auto now = Clock::now();
    if (now < next_counters_) return;
    next_counters_ = now + 1min;
    const auto& polled = poller_.counters();
    const auto& ordered = orders_.counters();
    const auto agent = agent_->status();
    spdlog::debug(
        "connected={} coordinator={} waits={} looks={} questions={} confirmations={} cancels={} terminations={} "
        "prepared_rolled_back={} cancel_found_wait_gone={} aborts_done={} aborts_stale={} aborts_failed={}",
        connection_.has_value(), agent.connected, ledger_.size(), polled.looks, polled.questions, agent.confirmations,
        ordered.cancels, ordered.terminations, ordered.prepared_rolled_back, ordered.cancel_found_wait_gone,
        agent.aborts_done, agent.aborts_stale, agent.aborts_failed);
  }

  const Settings settings_;
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<OrderRequest> new_orders_;      // guarded by mutex_
  std::vector<ConfirmRequest> new_confirms_;  // guarded by mutex_

  // Of the loop's thread.
  const Observer observer_;
  Ledger ledger_;
  Poller poller_;
  Orders orders_;
  std::optional<Connection> connection_;
  Clock::time_point next_connect_{};
  Clock::duration retry_ = retry_min;
  Clock::time_point next_counters_ = Clock::now() + 1min;
  std::string last_said_;
  Clock::time_point last_said_at_{};

  std::optional<Agent> agent_;  // constant after start(); thread-safe
  std::thread thread_;
};

tl::expected<std::unique_ptr<Engine>, std::string> Engine::start(const Settings& settings) {
  auto impl = std::make_unique<Impl>(settings);
  if (auto started = impl->start(); !started) return tl::unexpected(started.error());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Engine::~Engine() = default;
void Engine::stop() { impl_->stop(); }

}  // namespace gordian::postgres
