// One live run: many clients on one thread, which sleeps until the next one's step is over or an answer has come.
//
// Lock calls are asynchronous; their answers come on the lock client's own thread, which only puts them into a box. All else is the
// driver's, so clients need no locking. Who leaves does not wait for the agents to say that its locks are free.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <gordian/lock_client.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "experiments/draw.hpp"
#include "experiments/result.hpp"
#include "experiments/services.hpp"
#include "experiments/settings.hpp"
#include "experiments/workload.hpp"

namespace gordian::experiments {

class LiveRun {
 public:
  static constexpr std::size_t clients_max = 5'000;

  /// Borrows `stop`. Throws what Services throws, and std::runtime_error if the lock client does not start.
  LiveRun(const Settings& settings, const Workload& workload, std::uint64_t seed, const std::string& programs,
          const std::atomic<bool>& stop);
  LiveRun(const LiveRun&) = delete;
  LiveRun& operator=(const LiveRun&) = delete;
  ~LiveRun();

  /// Warm-up, then what is measured. Once. Throws std::runtime_error if `stop` became true, or a service is gone.
  [[nodiscard]] Result run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Alarm : std::uint8_t { step, served, restart, submit, lease_over, arrival };
  struct Timer {
    Clock::time_point at;
    std::uint32_t client;
    std::uint32_t life;
    Alarm alarm;
    friend bool operator>(const Timer& a, const Timer& b) { return a.at > b.at; }
  };
  /// What the lock client told: the answer to a request, or (without one) the end of a transaction.
  struct News {
    std::uint32_t client;
    std::uint32_t life;
    std::optional<LockError> error;
  };
  class Box {
   public:
    void put(News news);
    /// All that is there; waits for something until then.
    [[nodiscard]] std::vector<News> take(Clock::time_point until);

   private:
    std::mutex mutex_;
    std::condition_variable filled_;
    std::vector<News> news_;
  };
  enum class State : std::uint8_t { outside, stepping, asking, serving, writing };
  struct Client {
    std::uint32_t number;
    std::uint32_t life = 0;  ///< counts starts and ends: alarms and news of an earlier life are void
    State state = State::outside;
    std::uint32_t next = 0;  ///< place in the program
    std::uint32_t steps = 0;
    std::uint32_t restarts = 0;
    double start = 0;  ///< first start, Unix microseconds
    Clock::time_point submitted;
    Program program;
    std::unique_ptr<LockSession> session;
    std::optional<LockTransaction> txn;
  };

  [[nodiscard]] static ServicesOptions services_for(const Settings& settings, const std::string& programs);
  Client* add_client();
  void run_until(Clock::time_point end, std::uint64_t commits);
  void handle(const Timer& timer);
  void handle(const News& news);
  void arrive();
  void submit(Client& client);
  void enter(Client& client);
  void begin(Client& client);
  void begin_step(Client& client);
  void step_done(Client& client);
  void ask(Client& client);
  void locked(Client& client);
  void commit(Client& client);
  void abort(Client& client, Cause cause);
  void leave(Client& client);
  void after(double units, const Client& client, Alarm alarm);
  void spend(Clock::time_point until);
  [[nodiscard]] Clock::duration duration(double units) const;
  [[nodiscard]] double units(Clock::duration time) const;
  [[nodiscard]] std::uint64_t messages() const;

  const Settings settings_;
  const Workload& workload_;
  const std::atomic<bool>& stop_;
  Draw asks_, times_;
  TemporaryFolder folder_;
  Services services_;
  Box box_;
  std::optional<LockClient> client_;  ///< after what its thread uses
  std::deque<Client> clients_;
  std::vector<Client*> idle_;  ///< of an open system
  std::deque<Client*> ready_;  ///< wait for one of `mpl` places
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::uint64_t running_ = 0;
  std::uint64_t asking_ = 0;
  double response_sum_ = 0;  ///< units, since the beginning
  std::uint64_t responses_ = 0;
  Clock::time_point spent_;
  Result result_;
};

}  // namespace gordian::experiments
