// The in-process detector: deadlocks in one table and across two, through conversions and queues, and under threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <condition_variable>
#include <deque>
#include <gordian/local_detector.hpp>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

using namespace gordian;
using strings = std::vector<std::string>;

namespace {

/// Logs what becomes of calls.
class Log : public LockEvents {
 public:
  void granted(const Party& party, Ticket, std::uint64_t, std::span<const GrantedItem>) override { say(party.txn.str() + " granted"); }
  void failed(const Party& party, Ticket, std::uint64_t, const LockError& error) override {
    say(party.txn.str() + " " + std::string(name(error.code)) + (error.incident.empty() ? "" : " " + error.incident));
  }
  void aborted(const Party&, const LockError&) override {}
  strings take() {
    auto lines = std::exchange(lines_, {});
    std::ranges::sort(lines);
    return lines;
  }

 private:
  void say(std::string line) { lines_.push_back(std::move(line)); }
  strings lines_;
};

/// Tables "a" and "b", and transactions by name: "T2" starts at 2, so it is younger than "T1".
struct Scene {
  Log log;
  std::vector<LocalDeadlock> deadlocks;
  std::map<std::string, TxnInfo> infos;
  LocalDetector detector;
  LockTable& a;
  LockTable& b;
  std::map<std::pair<LockTable*, std::string>, LockTxn> txns;

  explicit Scene(const std::string& policy = "youngest")
      : detector({.policy = policy,
                  .describe = [this](const TxnId& txn) { return infos.contains(txn.str()) ? infos.at(txn.str()) : TxnInfo{}; },
                  .on_deadlock = [this](const LocalDeadlock& deadlock) { deadlocks.push_back(deadlock); }}),
        a(detector.add_table(SiteId("a"), {.events = &log})),
        b(detector.add_table(SiteId("b"), {.events = &log})) {}

  LockTxn& txn(LockTable& table, const std::string& name) {
    const auto found = txns.find({&table, name});
    if (found != txns.end()) return found->second;
    return txns.emplace(std::pair(&table, name), table.begin({.id = TxnId(name), .start = std::stoull(name.substr(1))}))
        .first->second;
  }
  /// "granted", "waits" or the error's name.
  std::string lock(LockTable& table, const std::string& name, std::string_view key, Mode mode = modes::X) {
    const auto answer = txn(table, name).lock(key, mode);
    if (!answer) return std::string(gordian::name(answer.error().code));
    return answer->waiting ? "waits" : "granted";
  }
  void end(LockTable& table, const std::string& name) { txns.erase({&table, name}); }
  [[nodiscard]] strings victims() const {
    strings names;
    for (const auto& deadlock : deadlocks)
      for (const auto& txn : deadlock.victims) names.push_back(txn.str());
    return names;
  }
};

}  // namespace

TEST_CASE("a crossing is broken before the call that closed it returns, and told with all its parts") {
  Scene s;
  s.lock(s.a, "T1", "k"), s.lock(s.a, "T2", "m");
  CHECK(s.lock(s.a, "T1", "m") == "waits");
  CHECK(s.deadlocks.empty());
  s.lock(s.a, "T2", "k");
  CHECK(s.log.take() == strings{"T1 granted", "T2 deadlock local-1"});
  REQUIRE(s.deadlocks.size() == 1);
  const auto& deadlock = s.deadlocks[0];
  CHECK(deadlock.incident == "local-1");
  CHECK(deadlock.members == std::vector<TxnId>{TxnId("T1"), TxnId("T2")});
  CHECK(deadlock.victims == std::vector<TxnId>{TxnId("T2")});
  CHECK(deadlock.why == "T2 is the youngest of the 2 that wait for each other");
  REQUIRE(deadlock.edges.size() == 2);
  CHECK(deadlock.edges[0].waiter == TxnId("T1"));
  CHECK(deadlock.edges[0].blocker == TxnId("T2"));
  CHECK(deadlock.edges[0].site == SiteId("a"));
  CHECK(deadlock.edges[0].resource == "m");
  CHECK(deadlock.edges[0].mode == "X");
  CHECK(deadlock.edges[0].kind == Kind::hard);
  CHECK(s.lock(s.a, "T2", "other") == "deadlock");
  s.end(s.a, "T2");
  CHECK(s.lock(s.a, "T2", "other") == "granted");  // a new transaction
  CHECK(s.detector.status().victims == 1);
  CHECK(s.detector.status().waits == 0);
}

TEST_CASE("a deadlock across two tables: the victim's locks go in both") {
  Scene s;
  s.lock(s.a, "T1", "k"), s.lock(s.b, "T2", "k");
  CHECK(s.lock(s.b, "T1", "k") == "waits");
  s.lock(s.a, "T2", "k");
  CHECK(s.log.take() == strings{"T1 granted", "T2 deadlock local-1"});
  CHECK(s.lock(s.b, "T2", "other") == "deadlock");
  CHECK(s.victims() == strings{"T2"});
}

TEST_CASE("the victim need not be the one who closed the circle") {
  Scene s("oldest");
  s.lock(s.a, "T1", "k"), s.lock(s.b, "T2", "k");
  CHECK(s.lock(s.b, "T1", "k") == "waits");
  CHECK(s.lock(s.a, "T2", "k") == "waits");
  CHECK(s.log.take() == strings{"T1 deadlock local-1", "T2 granted"});
}

TEST_CASE("N upgraders: N-1 victims, each at once") {
  Scene s;
  constexpr int n = 20;
  for (int i = 1; i <= n; ++i) CHECK(s.lock(s.a, "T" + std::to_string(i), "k", modes::S) == "granted");
  CHECK(s.lock(s.a, "T1", "k") == "waits");
  CHECK(s.deadlocks.empty());  // beside readers that may end by themselves
  for (int i = 2; i <= n; ++i) {
    s.lock(s.a, "T" + std::to_string(i), "k");
    CHECK(s.deadlocks.size() == static_cast<std::size_t>(i) - 1);
  }
  CHECK(s.victims().size() == n - 1);
  const auto told = s.log.take();
  CHECK(std::ranges::count(told, "T1 granted") == 1);
  CHECK(s.detector.status().deadlocks == n - 1);
}

TEST_CASE("one who waits behind another's request waits for that one, too: a soft edge") {
  Scene s;
  s.lock(s.a, "T1", "k", modes::S), s.lock(s.b, "T3", "m");
  CHECK(s.lock(s.a, "T2", "k") == "waits");             // X, behind the reader
  CHECK(s.lock(s.a, "T3", "k", modes::S) == "waits");   // would fit, but stands behind T2
  s.lock(s.b, "T2", "m");                               // T2 waits for T3: a cycle through the queue
  REQUIRE(s.deadlocks.size() == 1);
  CHECK(s.victims().empty());
  CHECK(std::ranges::count(s.deadlocks[0].edges, Kind::soft, &LocalDeadlock::Edge::kind) == 1);
  REQUIRE(s.deadlocks[0].reordered.size() == 1);  // T3 was let past T2, and nobody was aborted
  CHECK(s.deadlocks[0].reordered[0].waiter == TxnId("T3"));
  CHECK(s.deadlocks[0].reordered[0].blocker == TxnId("T2"));
  CHECK(s.log.take() == strings{"T3 granted"});
  CHECK(s.detector.status().reorders == 1);
  CHECK(s.detector.status().victims == 0);
}

TEST_CASE("the lock passes to one who waits for one of its waiters") {
  Scene s;
  s.lock(s.a, "T1", "k"), s.lock(s.b, "T3", "m");
  CHECK(s.lock(s.a, "T2", "k") == "waits");
  CHECK(s.lock(s.a, "T3", "k") == "waits");
  CHECK(s.lock(s.b, "T2", "m") == "waits");  // for T3, who is behind it
  CHECK(s.deadlocks.empty());
  s.end(s.a, "T1");  // T2 holds k now, T3 waits for it
  CHECK(s.victims() == strings{"T3"});
}

TEST_CASE("a member of class never is spared; a deadlock of such only is told, and nobody is aborted") {
  Scene s;
  s.infos["T2"].victim_class = TxnInfo::Class::never;
  s.lock(s.a, "T1", "k"), s.lock(s.a, "T2", "m");
  s.lock(s.a, "T1", "m"), s.lock(s.a, "T2", "k");
  CHECK(s.victims() == strings{"T1"});
  s.infos["T3"].victim_class = TxnInfo::Class::never;
  s.lock(s.a, "T3", "n"), s.lock(s.a, "T2", "n"), s.lock(s.a, "T3", "k");
  REQUIRE(s.deadlocks.size() == 2);
  CHECK(s.deadlocks[1].victims.empty());
  CHECK(s.deadlocks[1].edges.size() == 2);
  CHECK(s.detector.status().unresolved == 1);
}

TEST_CASE("a call for any of several is left out, and counted") {
  Scene s;
  s.lock(s.a, "T1", "k"), s.lock(s.a, "T2", "m");
  const LockItem items[]{{"m", modes::X}, {"n", modes::X}};
  s.lock(s.a, "T3", "n");
  const auto any = s.txn(s.a, "T1").lock_some(items, 1);
  REQUIRE(any);
  CHECK(any->waiting);
  CHECK(s.lock(s.a, "T2", "k") == "waits");
  CHECK(s.deadlocks.empty());
  CHECK(s.detector.status().left_out == 1);
  s.end(s.a, "T3");
  CHECK(s.log.take() == strings{"T1 granted"});
}

TEST_CASE("a wait that was cancelled or timed out closes nothing") {
  Scene s;
  s.lock(s.a, "T1", "k"), s.lock(s.a, "T2", "m");
  const auto waits = s.txn(s.a, "T1").lock("m", modes::X, {.deadline = 10});
  REQUIRE(waits);
  s.a.expire(10);
  CHECK(s.lock(s.a, "T2", "k") == "waits");
  CHECK(s.deadlocks.empty());
  CHECK(s.detector.status().waits == 1);
}

TEST_CASE("on_deadlock may call the tables, and what it closes is broken in turn") {
  Log log;
  strings victims;
  LockTable* table = nullptr;
  std::vector<LockTxn> more;
  LocalDetector detector({.on_deadlock = [&](const LocalDeadlock& deadlock) {
    victims.push_back(deadlock.victims.at(0).str());
    if (victims.size() > 1) return;
    for (std::uint64_t i = 8; i <= 9; ++i) more.push_back(table->begin({.id = TxnId("T" + std::to_string(i)), .start = i}));
    (void)more[0].lock("x", modes::X), (void)more[1].lock("y", modes::X);
    (void)more[0].lock("y", modes::X), (void)more[1].lock("x", modes::X);
  }});
  table = &detector.add_table(SiteId("a"), {.events = &log});
  auto one = table->begin({.id = TxnId("T1"), .start = 1});
  auto two = table->begin({.id = TxnId("T2"), .start = 2});
  (void)one.lock("k", modes::X), (void)two.lock("m", modes::X);
  (void)one.lock("m", modes::X), (void)two.lock("k", modes::X);
  CHECK(victims == strings{"T2", "T9"});
  more.clear();
}

TEST_CASE("a cycle of the graph that never stood, for events of one table were still on their way: nobody is aborted") {
  Log log;
  strings victims;
  std::function<void()> in_between;
  LocalDetector detector({.on_deadlock = [&](const LocalDeadlock& deadlock) {
    victims.push_back(deadlock.victims.at(0).str());
    in_between();
  }});
  LockTable& a = detector.add_table(SiteId("a"), {.shards = 1, .events = &log});
  LockTable& b = detector.add_table(SiteId("b"), {.events = &log});
  std::map<std::string, LockTxn> in_a, in_b;
  const auto lock = [](LockTable& table, std::map<std::string, LockTxn>& txns, const char* name, const char* key) {
    const auto at = txns.try_emplace(name, table.begin({.id = TxnId(name), .start = std::stoull(name + 1)})).first;
    const auto answer = at->second.lock(key, modes::X);
    return answer && answer->waiting;
  };
  lock(b, in_b, "T5", "q"), lock(a, in_a, "T6", "r");
  CHECK(lock(a, in_a, "T5", "r"));  // T5 waits for T6 …
  in_between = [&] {                // … while the first deadlock is broken, a's events wait until that is done
    in_a.erase("T6");
    CHECK(lock(b, in_b, "T6", "q"));  // T6 waits for T5, who waits for it no longer
  };
  lock(a, in_a, "T1", "k"), lock(a, in_a, "T2", "m");
  lock(a, in_a, "T1", "m"), lock(a, in_a, "T2", "k");
  CHECK(victims == strings{"T2"});
  CHECK_FALSE(in_b.at("T6").error());
  in_b.erase("T5");
  CHECK(std::ranges::count(log.take(), "T6 granted") == 1);
}

TEST_CASE("what can't be used is refused with a sentence") {
  CHECK_THROWS_WITH(LocalDetector({.policy = "eldest"}),
                    "policy 'eldest' is not known; expected one of youngest, oldest, fewest_locks, least_work, "
                    "lowest_priority, requester, weighted");
  Scene s;
  CHECK_THROWS_WITH((void)s.detector.add_table(SiteId("a")), "table a is there already; give this one another name");
}

namespace {

/// Blocking calls, by tag.
class Calls : public LockEvents {
 public:
  bool lock(LockTxn& txn, const std::string& key, Mode mode) {
    const auto tag = ++last_tag_;
    const auto answer = txn.lock(key, mode, {.tag = tag});
    if (!answer) return false;
    if (!answer->waiting) return true;
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [&] { return over_.contains(tag); });
    return over_.extract(tag).mapped();
  }
  void granted(const Party&, Ticket, std::uint64_t tag, std::span<const GrantedItem>) override { end(tag, true); }
  void failed(const Party&, Ticket, std::uint64_t tag, const LockError& error) override {
    CHECK(error.code == LockError::Code::deadlock);
    end(tag, false);
  }
  void aborted(const Party&, const LockError&) override {}

 private:
  void end(std::uint64_t tag, bool result) {
    const std::lock_guard guard(mutex_);
    over_.emplace(tag, result);
    changed_.notify_all();
  }
  std::atomic<std::uint64_t> last_tag_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, bool> over_;
};

}  // namespace

TEST_CASE("threads in a ring over two tables: in each round one of them goes, and no other") {
  Calls calls;
  std::vector<LocalDeadlock> deadlocks;  // told by one thread at a time
  LocalDetector detector({.on_deadlock = [&](const LocalDeadlock& deadlock) { deadlocks.push_back(deadlock); }});
  LockTable* const tables[]{&detector.add_table(SiteId("a"), {.events = &calls}),
                            &detector.add_table(SiteId("b"), {.events = &calls})};
  constexpr std::size_t threads = 4, rounds = 100;
  std::barrier everybody(threads);
  std::atomic<std::size_t> granted{0};
  const auto work = [&](std::size_t thread) {
    for (std::size_t round = 0; round < rounds; ++round) {
      const auto begin = [&](LockTable& table) {
        return table.begin({.id = TxnId("t" + std::to_string(thread)), .start = thread});
      };
      LockTxn in[]{begin(*tables[0]), begin(*tables[1])};
      const auto lock = [&](std::size_t key) { return calls.lock(in[key % 2], "k" + std::to_string(key), modes::X); };
      if (!lock(thread)) std::abort();  // nobody else wants it yet
      everybody.arrive_and_wait();
      granted += lock((thread + 1) % threads) ? 1 : 0;
      for (auto& txn : in) txn.release_all();
      everybody.arrive_and_wait();
    }
  };
  std::vector<std::thread> crew;
  for (std::size_t t = 0; t < threads; ++t) crew.emplace_back(work, t);
  for (auto& thread : crew) thread.join();
  CHECK(deadlocks.size() == rounds);
  CHECK(granted == (threads - 1) * rounds);
  for (const auto& deadlock : deadlocks) {
    CHECK(deadlock.victims == std::vector<TxnId>{TxnId("t3")});
    CHECK(deadlock.edges.size() == threads);
  }
  CHECK(detector.status().waits == 0);
}

TEST_CASE("threads over two tables: everybody ends, and each deadlock's victims break it and are all needed") {
  Calls calls;
  std::atomic<int> told{0};
  LocalDetector detector({.on_deadlock = [&](const LocalDeadlock& deadlock) {
    ++told;
    // Without its victims nothing of it is cyclic; without all but one, something is.
    const auto cyclic = [&](std::set<TxnId> gone) {
      for (bool changed = true; changed;) {
        changed = false;
        for (const auto& member : deadlock.members) {
          if (gone.contains(member)) continue;
          const bool waits = std::ranges::any_of(deadlock.edges, [&](const auto& e) { return e.waiter == member && !gone.contains(e.blocker); });
          if (!waits) changed = gone.insert(member).second;
        }
      }
      return gone.size() < deadlock.members.size();
    };
    const std::set<TxnId> victims(deadlock.victims.begin(), deadlock.victims.end());
    CHECK_FALSE(victims.empty());
    CHECK_FALSE(cyclic(victims));
    for (const auto& victim : victims) {
      auto others = victims;
      others.erase(victim);
      CHECK(cyclic(others));
    }
  }});
  LockTable& a = detector.add_table(SiteId("a"), {.shards = 4, .events = &calls});
  LockTable& b = detector.add_table(SiteId("b"), {.shards = 1, .events = &calls});

  constexpr int threads = 6, rounds = 200, keys = 3;
  std::atomic<int> restarts{0}, done{0};
  std::map<std::string, std::array<int, 2>> guarded;  // plain memory: exclusion is what protects it
  for (int k = 0; k < keys; ++k) guarded["k" + std::to_string(k)] = {0, 0};
  std::atomic<int> written{0};
  const auto work = [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    for (int round = 0; round < rounds; ++round) {
      const auto start = static_cast<std::uint64_t>(round * threads + thread);
      const TxnId id("t" + std::to_string(start));
      for (bool ended = false; !ended;) {
        LockTxn in_a = a.begin({.id = id, .start = start});
        LockTxn in_b = b.begin({.id = id, .start = start});
        bool ok = true;
        for (int step = 0; step < 3 && ok; ++step) {
          const bool second = random() % 2 == 0;
          const auto key = "k" + std::to_string(random() % keys);
          const bool upgrade = random() % 3 == 0;
          auto& txn = second ? in_b : in_a;
          if (upgrade) ok = calls.lock(txn, key, modes::S);
          ok = ok && calls.lock(txn, key, modes::X);
          if (ok) ++guarded.at(key)[second ? 1 : 0], ++written;
          std::this_thread::yield();  // so that others come in between
        }
        ended = ok;
        if (!ok) ++restarts;
      }
      ++done;
    }
  };
  std::vector<std::thread> crew;
  for (int t = 0; t < threads; ++t) crew.emplace_back(work, t);
  for (auto& thread : crew) thread.join();
  CHECK(done == threads * rounds);
  int sum = 0;
  for (const auto& [key, counts] : guarded) sum += counts[0] + counts[1];
  CHECK(sum == written);
  const auto status = detector.status();
  CHECK(status.waits == 0);
  CHECK(status.deadlocks == static_cast<std::uint64_t>(told));
  CHECK(static_cast<std::uint64_t>(restarts) >= status.deadlocks);
  CHECK(a.check_invariants() == "");
  MESSAGE(done.load() << " transactions, " << status.deadlocks << " deadlocks, " << status.victims << " victims, "
               << restarts.load() << " restarts, " << status.dissolved << " dissolved");
}
