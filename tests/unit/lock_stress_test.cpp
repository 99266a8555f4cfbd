// The lock table under several threads: exclusion, fences and deadlocks broken by the detector, with real waiting.
//
// The data that the locks protect is plain memory: under ThreadSanitizer a lock granted twice is a data race.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "lock_mirror.hpp"

using namespace gordian;
using namespace gordian::modes;
using gordian::test::Mirror;

namespace {

/// Where one thread waits for the outcome of its call.
struct Seat {
  std::mutex mutex;
  std::condition_variable outcome;
  std::uint64_t tag = 0;  ///< the last call that is over
  bool granted = false;
  std::vector<GrantedItem> items;

  void tell(std::uint64_t over, bool ok, std::span<const GrantedItem> what) {
    const std::lock_guard guard(mutex);
    tag = over;
    granted = ok;
    items.assign(what.begin(), what.end());
    outcome.notify_one();
  }
};

/// The mirror, behind a mutex: events come from all threads.
class Watch : public LockEvents, public WaitObserver {
 public:
  void granted(const Party& party, Ticket, std::uint64_t tag, std::span<const GrantedItem> items) override {
    static_cast<Seat*>(party.user)->tell(tag, true, items);
  }
  void failed(const Party& party, Ticket, std::uint64_t tag, const LockError&) override {
    static_cast<Seat*>(party.user)->tell(tag, false, {});
  }
  void aborted(const Party&, const LockError&) override { ++aborts; }

  void wait_begun(const WaitBegun& wait) override {
    with([&] { mirror_.wait_begun(wait); });
  }
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override {
    with([&] { mirror_.wait_ended(wait, resource, step); });
  }
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    with([&] { mirror_.holder_joined(resource, group, txn, step); });
  }
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    with([&] { mirror_.holder_left(resource, group, txn, step); });
  }
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override {
    with([&] { mirror_.front_changed(resource, mode, front, step); });
  }
  void resource_calm(const std::string& resource, std::uint64_t step) override {
    with([&] { mirror_.resource_calm(resource, step); });
  }

  /// Aborts who is a victim, while it waits still: what was seen may be over.
  void break_deadlocks(LockTable& table) {
    std::vector<std::pair<TxnId, WaitNumber>> condemned;
    with([&] {
      for (const TxnId& victim : mirror_.victims())
        for (const auto& [name, resource] : mirror_.resources)
          for (const auto& [number, wait] : resource.waits)
            if (wait.waiter == victim) condemned.emplace_back(victim, number);
    });
    for (const auto& [victim, wait] : condemned) table.abort(victim, "stress", wait);
  }
  [[nodiscard]] bool calm() {
    bool calm = false;
    with([&] { calm = mirror_.resources.empty(); });
    return calm;
  }

  std::atomic<int> aborts{0};

 private:
  template <class F>
  void with(F f) {
    const std::lock_guard guard(mutex_);
    f();
  }
  std::mutex mutex_;
  Mirror mirror_;
};

/// What the locks protect. Not atomic on purpose.
struct Account {
  std::uint64_t writes = 0;
  Fence last;
};

struct Stress {
  static constexpr int accounts = 5;
  explicit Stress(Strategy strategy)
      : detecting(strategy == Strategy::detect),
        holders_are_safe(strategy != Strategy::wound_wait),
        table({.strategy = strategy, .shards = 4, .events = &watch, .observer = &watch}) {}

  static std::string key(std::size_t account) { return "bank/account" + std::to_string(account); }

  /// Waits for the call's outcome, and looks for deadlocks in the meantime.
  template <class Answer>
  bool wait_for(const Answer& answer, Seat& seat, std::uint64_t tag) {
    if (!answer) return false;
    if (!answer->waiting) return true;
    for (;;) {
      std::unique_lock guard(seat.mutex);
      if (seat.outcome.wait_for(guard, std::chrono::milliseconds(1), [&] { return seat.tag == tag; }))
        return seat.granted;
      guard.unlock();
      if (detecting) watch.break_deadlocks(table);
    }
  }

  /// In the middle of a transaction: lets the others in, so that they meet.
  void write(std::size_t account, const Fence& fence) {
    std::this_thread::yield();
    if (!holders_are_safe) return;
    Account& own = bank[account];
    ++own.writes;
    ++written[account];
    if (fence <= own.last) ++fences_gone_back;
    own.last = fence;
  }

  /// One transaction: a few reads, some of them raised to writes, or several accounts at once.
  bool run(LockTxn& txn, Seat& seat, std::mt19937& random, std::uint64_t& tag) {
    const auto a = random() % accounts, b = (a + 1 + random() % (accounts - 1)) % accounts;
    const std::string first = key(a), second = key(b);
    const std::vector<LockItem> both{{first, X}, {second, X}};
    const LockOptions options{.tag = ++tag};
    switch (random() % 3) {
      case 0: {
        const auto answer = txn.lock_all(both, options);
        if (!wait_for(answer, seat, tag)) return false;
        const auto& items = answer->waiting ? seat.items : answer->granted;
        write(a, items.at(0).fence);
        write(b, items.at(1).fence);
        return true;
      }
      case 1: {
        const auto answer = txn.lock_some(both, 1, options);
        if (!wait_for(answer, seat, tag)) return false;
        const auto& item = (answer->waiting ? seat.items : answer->granted).at(0);
        write(item.item == 0 ? a : b, item.fence);
        return true;
      }
      default: return read_then_write(txn, seat, tag, first, second, a, b);
    }
  }

  bool read_then_write(LockTxn& txn, Seat& seat, std::uint64_t& tag, const std::string& first,
                       const std::string& second, std::size_t a, std::size_t b) {
    if (!wait_for(txn.lock_path(second, S, {.tag = tag}), seat, tag)) return false;
    const std::uint64_t read = holders_are_safe ? bank[b].writes : 0;
    std::this_thread::yield();
    if (const auto answer = txn.lock(first, X, {.tag = ++tag}); wait_for(answer, seat, tag)) {
      write(a, answer->waiting ? seat.items.at(0).fence : answer->fence);
    } else {
      return false;
    }
    if (holders_are_safe && bank[b].writes != read) ++reads_disturbed;
    const auto raised = txn.lock(second, X, {.tag = ++tag});
    if (!wait_for(raised, seat, tag)) return false;
    if (holders_are_safe && bank[b].writes != read) ++reads_disturbed;
    write(b, raised->waiting ? seat.items.at(0).fence : raised->fence);
    return true;
  }

  void work(unsigned number, int txns) {
    std::mt19937 random(number);
    Seat seat;
    std::uint64_t tag = 0;
    LockTxn txn = table.begin({.id = TxnId("T0")});
    for (int i = 0; i < txns; ++i) {
      const std::uint64_t start =
          static_cast<std::uint64_t>(i) * 8 + number;  // restarted with the same start: it gets older
      for (bool done = false; !done; committed += done ? 1 : 0) {
        txn.restart({.id = TxnId("T" + std::to_string(start)), .start = start, .user = &seat});
        done = run(txn, seat, random, tag);
      }
    }
  }

  void run(unsigned threads, int txns) {
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) workers.emplace_back([this, i, txns] { work(i, txns); });
    for (auto& worker : workers) worker.join();
    CHECK(committed == static_cast<int>(threads) * txns);
    CHECK(fences_gone_back == 0);
    CHECK(reads_disturbed == 0);
    for (std::size_t i = 0; i < accounts; ++i) CHECK(bank[i].writes == written[i]);
    CHECK(table.check_invariants() == "");
    CHECK(table.resources().empty());
    CHECK(watch.calm());
  }

  const bool detecting;
  /// Under wound_wait a holder may lose its locks at any time and learns of it at its next call: what it writes in between
  /// is for a fence to refuse, so there is nothing to check.
  const bool holders_are_safe;
  Watch watch;
  LockTable table;
  std::array<Account, accounts> bank;
  std::array<std::atomic<std::uint64_t>, accounts> written{};
  std::atomic<int> committed{0}, fences_gone_back{0}, reads_disturbed{0};
};

}  // namespace

TEST_CASE(
    "stress: four threads, deadlocks found by the detector and broken; no lock is granted twice, no fence goes back") {
  Stress stress(Strategy::detect);
  stress.run(4, 600);
  CHECK(stress.watch.aborts > 0);
}

TEST_CASE("stress: strategies that prevent deadlocks need no detector") {
  for (const Strategy strategy : {Strategy::wait_die, Strategy::no_wait}) {
    Stress stress(strategy);
    stress.run(4, 400);
    CHECK(stress.watch.aborts == 0);
  }
  Stress wounding(Strategy::wound_wait);
  wounding.run(4, 400);
  CHECK(wounding.watch.aborts > 0);
}
