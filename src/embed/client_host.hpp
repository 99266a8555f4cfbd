// A lock client's mutex, sockets and threads around the pure core (lease/client_core.hpp). Included by embed/ only.
//
// One mutex guards core and sockets. A caller that blocks sends with its own thread and then receives with it (the *leader*), so
// that a call without contention costs no hop between threads; other callers sleep until they are answered, or until the
// leader leaves. The *keeper*, the client's own thread, runs all callbacks, and receives and renews while no caller does.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "lease/client_core.hpp"
#include "net/clock.hpp"
#include "net/lock_link.hpp"
#include "net/wakeup.hpp"

namespace gordian {

class ClientHost {
 public:
  using Grants = tl::expected<std::vector<Grant>, LockError>;
  using Done = std::function<void(Grants)>;
  using Core = lease::ClientCore;

  static tl::expected<std::shared_ptr<ClientHost>, LockError> start(const LockClientOptions& options);
  ~ClientHost();
  /// Every call ends, then the thread and the sockets. Not from a callback.
  void stop();

  /// Runs `ask(core, now)`, which makes a call, and blocks until that is answered.
  template <class Ask>
  Grants call(Ask ask) {
    if (on_keeper()) return tl::unexpected(blocking_in_callback());
    std::unique_lock lock(mutex_);
    if (stopped_) return tl::unexpected(stopped());
    return wait_for(lock, ask(core_, net::boot_now_us()));
  }
  /// The same without blocking: `done` is called on the keeper; right here, if the client was stopped.
  template <class Ask>
  lease::CallKey call_async(Ask ask, Done done) {
    {
      const std::lock_guard lock(mutex_);
      if (!stopped_) {
        const auto key = ask(core_, net::boot_now_us());
        callbacks_waiting_.emplace(key, std::move(done));
        settle();
        return key;
      }
    }
    done(tl::unexpected(stopped()));  // the keeper has ended
    return {};
  }
  /// Runs `tell(core, now)`, which asks for no answer, and sends what it causes.
  template <class Tell>
  auto tell(Tell tell) {
    const std::lock_guard lock(mutex_);
    struct Settle {
      ClientHost& host;
      ~Settle() { host.settle(); }
    } const settle{*this};
    return tell(core_, net::boot_now_us());
  }
  /// Runs `look(core, now)` when all that is due has been done.
  template <class Look>
  auto look(Look look) {
    const std::lock_guard lock(mutex_);
    const auto now = net::boot_now_us();
    core_.advance(now);
    if (core_.has_output()) settle();
    return look(core_, now);
  }

  // The callbacks of what was opened and begun; told together with it, under one lock.
  tl::expected<lease::SessionKey, LockError> open(SessionOptions options);
  void drop(lease::SessionKey session);
  tl::expected<lease::TxnKey, LockError> begin(lease::SessionKey session, ClientTxnOptions options);
  void drop(lease::TxnKey txn);

 private:
  struct Caller {
    std::optional<Grants> result{};
    std::condition_variable wake{};
  };
  enum class Receiver : std::uint8_t { nobody, caller, keeper };

  explicit ClientHost(const LockClientOptions& options);
  static LockError blocking_in_callback();
  static LockError stopped();
  [[nodiscard]] bool on_keeper() const { return std::this_thread::get_id() == keeper_id_; }

  // Under the mutex.
  Grants wait_for(std::unique_lock<std::mutex>& lock, lease::CallKey key);
  void lead(std::unique_lock<std::mutex>& lock, Caller& caller);
  void leave();
  void settle();
  void turn();
  void find_connections();
  void send();
  [[nodiscard]] bool can_send() const;
  void dispatch();
  void deliver(lease::Output& output);
  void wake_leader();
  void wake_keeper();
  void sleep(std::unique_lock<std::mutex>& lock, const net::Wakeup& bell, Micros& until);
  void keep();
  void rest(std::unique_lock<std::mutex>& lock);
  bool run_callbacks(std::unique_lock<std::mutex>& lock);
  void log(LockClientOptions::Level level, const std::string& text);

  const std::function<void(LockClientOptions::Level, std::string_view)> on_log_;

  std::mutex mutex_;
  // Guarded by mutex_.
  lease::ClientCore core_;
  std::optional<net::LockLink> link_;
  std::vector<bool> connected_;  ///< by agent
  std::vector<bool> asked_;      ///< whether it is connected, in this turn
  bool stopping_ = false;
  bool stopped_ = false;
  Receiver receiver_ = Receiver::nobody;
  Caller* leader_ = nullptr;
  Micros caller_sleeps_until_ = 0;
  Micros keeper_sleeps_until_ = 0;
  bool keeper_rests_ = false;  ///< without a time: whoever leaves wakes it
  Micros quiet_since_ = 0;     ///< when the last caller left
  Micros leads_since_ = 0;     ///< when the leader began to receive
  std::vector<Caller*> followers_;
  std::unordered_map<lease::CallKey, Caller*> callers_;
  std::unordered_map<lease::CallKey, Done> callbacks_waiting_;
  std::unordered_map<lease::SessionKey, SessionOptions> sessions_;
  std::unordered_map<lease::TxnKey, std::function<void(const LockError&)>> on_aborted_;
  std::vector<std::function<void()>> callbacks_due_;
  std::condition_variable keeper_wake_;
  std::condition_variable nobody_receives_;

  net::Wakeup caller_bell_;
  net::Wakeup keeper_bell_;
  std::thread keeper_;
  std::thread::id keeper_id_;  // constant after start()
};

}  // namespace gordian
