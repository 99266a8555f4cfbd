// The simulated system: clients, their transactions, the real lock tables and the real detection, in virtual time.
//
// A transaction takes a service step before each lock and before its commit; an aborted one waits, and starts again with its
// first start; when one commits, its terminal thinks and submits another. What is simulated is time alone: who is granted,
// who waits, who is refused and who is a victim is for the code that runs in production to say. Deterministic in
// settings, workload and seed. Not thread-safe; runs on different threads are independent.
// Cost: about 0.3 µs for a lock request that does not wait, a few µs for one that does. Memory: fixed by the settings.
#pragma once

#include <cstdint>
#include <deque>
#include <gordian/lock_table.hpp>
#include <memory>
#include <vector>

#include "experiments/chase.hpp"
#include "experiments/detection.hpp"
#include "experiments/events.hpp"
#include "experiments/result.hpp"
#include "experiments/servers.hpp"
#include "experiments/settings.hpp"
#include "experiments/workload.hpp"

namespace gordian::experiments {

class Model : private DetectionHost, private LockEvents {
 public:
  /// Transactions in the system, running or not; an arrival beyond is turned away and counted.
  static constexpr std::size_t clients_max = 100'000;

  /// `settings` without complaint(), `workload` made of them.
  Model(const Settings& settings, std::shared_ptr<const Workload> workload, std::uint64_t seed);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() override;

  /// Warm-up, then what is measured. Once.
  [[nodiscard]] Result run();
  /// Goes on until so many more locks were asked for: for benchmarks.
  void run_requests(std::uint64_t requests);

 private:
  enum class State : std::uint8_t { outside, stepping, sending, asking, granted, waiting, answering, serving };
  enum class Stage : std::uint8_t { disk, cpu, write };
  struct Client {
    explicit Client(std::uint32_t its_number) : id(std::to_string(its_number + 1)), number(its_number) {}
    TxnId id;
    std::uint32_t number;
    std::uint32_t life = 0;  ///< counts starts and ends: events of an earlier life are void
    State state = State::outside;
    Stage stage{};
    bool waited = false;
    std::uint32_t wait = 0;  ///< counts its waits
    std::uint32_t next = 0;  ///< place in the program
    std::uint32_t steps = 0;
    std::uint32_t restarts = 0;
    std::uint32_t writes_left = 0;
    std::uint64_t start = 0;  ///< order of first starts
    Ticks submitted = 0;
    Ticks wait_since = 0;
    Ticks paused_until = 0;
    Program program;
    std::vector<LockTxn> handles;      ///< by site
    std::vector<std::uint32_t> begun;  ///< by site: the life that its handle is of
  };
  struct Abort {
    Client* client;
    std::uint32_t life;
    Cause cause;
  };
  static constexpr std::uint32_t unlimited = 0xffffffff;  ///< in place of a pool's number

  // model.cpp: clients come and go
  void open_tables();
  void open_clients();
  Client& add_client();
  void run_until(Ticks end, std::uint64_t commits);
  void handle(const Event& event);
  void handle_own(const Event& event, Client& client);
  void arrive();
  void submit(Client& client);
  void enter(Client& client);
  void begin(Client& client);
  void leave(Client& client);
  void commit(Client& client);
  void abort(Client& client, Cause cause);
  [[nodiscard]] Ticks restart_delay(const Client& client);
  void settle();
  void spend(Ticks until);

  // transaction.cpp: the steps of one
  void begin_step(Client& client);
  void step_done(Client& client);
  void send_request(Client& client);
  void request(Client& client);
  void must_wait(Client& client, Ticks deadline);
  void locked(Client& client);
  void answered(Client& client);
  void serve(Client& client, Stage stage, double time);
  void served(const Event& event);
  void stage_done(Client& client);
  void next_lock(Client& client);
  void write_or_commit(Client& client);
  void deadline(Client& client, const Event& event);
  void pause(Client& client);
  void lose_lease(Client& client);
  [[nodiscard]] Ticks timeout(const Client& client);
  [[nodiscard]] LockTxn& handle_at(Client& client, std::size_t site);
  [[nodiscard]] bool client_keeps_time() const;

  // LockEvents
  void granted(const Party& party, Ticket ticket, std::uint64_t tag, std::span<const GrantedItem> items) override;
  void failed(const Party& party, Ticket ticket, std::uint64_t tag, const LockError& error) override;
  void aborted(const Party& party, const LockError& error) override;

  // DetectionHost
  [[nodiscard]] LockTable& table(std::size_t site) override { return *tables_[site]; }
  [[nodiscard]] TxnInfo describe(const TxnId& txn) const override;
  [[nodiscard]] double waited(const TxnId& txn) const override;
  [[nodiscard]] Result& counts() override { return result_; }
  [[nodiscard]] Ticks now() const override { return events_.now(); }
  [[nodiscard]] Ticks travel() override;
  void post(Ticks at, std::uint32_t message) override { events_.at(at, Event::Kind::message, 0, 0, message); }
  void wake(Ticks at) override { events_.at(at, Event::Kind::tick); }

  const Settings settings_;
  const std::shared_ptr<const Workload> workload_;
  Draw asks_, times_, faults_;  ///< streams of their own: what one is asked for never changes another
  Events events_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Chase> chase_;
  std::vector<std::unique_ptr<LockTable>> tables_;
  std::vector<Client*> idle_;   ///< of an open system
  std::vector<Client*> ready_;  ///< wait for one of `mpl` places, from ready_head_
  std::size_t ready_head_ = 0;
  std::vector<Pool> pools_;  ///< the CPUs', then one for each disk
  std::vector<Abort> aborts_;
  std::uint64_t running_ = 0;
  std::uint64_t blocked_ = 0;
  std::uint64_t starts_ = 0;
  double response_sum_ = 0;  ///< since the beginning, for DelayShape::adaptive
  std::uint64_t responses_ = 0;
  Ticks spent_ = 0;
  Result result_;
  std::deque<Client> clients_;  ///< last: their handles tell of releases as they go
};

/// One run: makes the workload of settings that have no complaint(). Errors: the workload cannot be made.
[[nodiscard]] tl::expected<Result, std::string> simulate(const Settings& settings, std::uint64_t seed);

}  // namespace gordian::experiments
