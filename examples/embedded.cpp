// The first program: a lock table and its deadlock detector in one process, no server needed.
//
// Two threads move money between two accounts, in opposite directions, and lock the accounts in the order they need them.
// Sooner or later each holds one and waits for the other's: the detector aborts one of them, which starts again.
#include <gordian/local_detector.hpp>

#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>

using namespace gordian;

/// Blocking locks on top of a table that never blocks: a call sleeps until the table says what became of it.
class Calls : public LockEvents {
 public:
  tl::expected<void, LockError> lock(LockTxn& txn, const char* resource) {
    std::unique_lock guard(mutex_);
    const auto tag = ++last_tag_;
    guard.unlock();
    const auto answer = txn.lock(resource, modes::X, {.tag = tag});
    if (!answer) return tl::unexpected(answer.error());
    if (!answer->waiting) return {};
    guard.lock();
    changed_.wait(guard, [&] { return over_.contains(tag); });
    return std::move(over_.extract(tag).mapped());
  }

  void granted(const Party&, Ticket, std::uint64_t tag, std::span<const GrantedItem>) override { end(tag, {}); }
  void failed(const Party&, Ticket, std::uint64_t tag, const LockError& error) override {
    end(tag, tl::unexpected(error));
  }
  void aborted(const Party&, const LockError&) override {}

 private:
  void end(std::uint64_t tag, tl::expected<void, LockError> result) {
    const std::lock_guard guard(mutex_);
    over_.emplace(tag, std::move(result));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, tl::expected<void, LockError>> over_;
  std::uint64_t last_tag_ = 0;
};

int main() {
  Calls calls;
  int deadlocks = 0;
  LocalDetector detector({.on_deadlock = [&](const LocalDeadlock& deadlock) {
    ++deadlocks;
    std::printf("deadlock %s: %s\n", deadlock.incident.c_str(), deadlock.why.c_str());
    for (const auto& edge : deadlock.edges)
      std::printf("  %s waits for %s, held by %s\n", edge.waiter.str().c_str(), edge.resource.c_str(),
                  edge.blocker.str().c_str());
  }});
  LockTable& table = detector.add_table(SiteId("bank"), {.events = &calls});

  std::mutex at_the_crossing;
  std::condition_variable arrived;
  int there = 0;  // so that the first attempts are sure to cross

  const auto transfer = [&](const char* name, std::uint64_t start, const char* from, const char* to) {
    for (int attempt = 1;; ++attempt) {
      LockTxn txn =
          table.begin({.id = TxnId(name), .start = start});  // a restart keeps its start: it grows old, and is spared
      auto held = calls.lock(txn, from);
      if (attempt == 1) {
        std::unique_lock guard(at_the_crossing);
        ++there;
        arrived.notify_all();
        arrived.wait(guard, [&] { return there == 2; });
      }
      if (held) held = calls.lock(txn, to);
      if (held) {
        std::printf("%s: transferred in attempt %d\n", name, attempt);
        return;  // the end of txn releases its locks
      }
      std::printf("%s: %s\n", name, held.error().message.c_str());
    }
  };
  std::thread alice(transfer, "alice", 1, "account/1", "account/2");
  std::thread bob(transfer, "bob", 2, "account/2", "account/1");
  alice.join();
  bob.join();
  return deadlocks == 1 ? 0 : 1;
}
