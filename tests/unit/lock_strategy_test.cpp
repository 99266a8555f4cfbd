// What each strategy does about deadlocks, and what is told about waits.
#include <random>

#include "lock_mirror.hpp"
#include "lock_scene.hpp"

using namespace gordian;
using namespace gordian::modes;
using gordian::test::Mirror;
using gordian::test::Scene;
using gordian::test::Told;

namespace {

std::string numbered(int i) { return "T" + std::to_string(i); }

/// Aborts victims until there is none; their number.
int break_deadlocks(Scene& s, Mirror& mirror) {
  int aborted = 0;
  for (auto victims = mirror.victims(); !victims.empty(); victims = mirror.victims()) {
    CHECK(s.table.abort(victims.front(), "i" + std::to_string(++aborted)));
    mirror.check_against(s.table);
  }
  return aborted;
}

}  // namespace

TEST_CASE("two who read and then want to write: exactly one is the victim, at once") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  s.lock("T1", "r", S);
  s.lock("T2", "r", S);
  CHECK(s.lock("T1", "r", X) == "waits");
  CHECK(mirror.victims().empty());
  CHECK(s.lock("T2", "r", X) == "waits");
  CHECK(break_deadlocks(s, mirror) == 1);
  CHECK(s.told() == Told{"T2 deadlock", "T2 aborted: deadlock", "T1 granted"});
}

TEST_CASE("N upgraders: N-1 victims, the oldest writes") {
  for (const int n : {3, 10, 50}) {
    Mirror mirror;
    Scene s({.observer = &mirror});
    for (int i = 1; i <= n; ++i) s.lock(numbered(i), "r", S);
    for (int i = 1; i <= n; ++i) CHECK(s.lock(numbered(i), "r", X) == "waits");
    CHECK(break_deadlocks(s, mirror) == n - 1);
    CHECK(s.state("r") == "T1:X |");
  }
}

TEST_CASE("an update lock instead of a read: no victim at all") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  s.lock("T1", "r", U);
  CHECK(s.lock("T2", "r", U) == "waits");
  CHECK(s.lock("T3", "r", S) == "granted");
  CHECK(s.lock("T1", "r", X) == "waits");
  CHECK(mirror.victims().empty());
  s.end("T3");
  CHECK(s.told() == Told{"T1 granted"});
}

TEST_CASE("a deadlock through a queue: the one ahead is a soft blocker of who would fit") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  s.lock("T1", "r", S);
  s.lock("T2", "q", X);
  CHECK(s.lock("T2", "r", X) == "waits");  // behind T1
  CHECK(s.lock("T3", "r", S) == "waits");  // fits T1, but T2 came first
  const auto& waits = mirror.resources.at("r").waits;
  CHECK(mirror.blockers(mirror.resources.at("r"), waits.rbegin()->second) ==
        std::vector<Blocker>{{TxnId("T2"), Kind::soft}});
  CHECK(mirror.victims().empty());
  CHECK(s.lock("T1", "q", X) == "waits");
  CHECK(mirror.victims() == std::vector<TxnId>{TxnId("T2")});
  CHECK(break_deadlocks(s, mirror) == 1);
}

TEST_CASE("a hot resource: passing it on is told in the same few events, however many wait") {
  std::vector<std::size_t> calls;
  for (const int waiters : {100, 1'000, 10'000}) {
    Mirror mirror;
    Scene s({.observer = &mirror});
    for (int i = 0; i <= waiters; ++i) s.lock(numbered(i), "hot", X);
    const std::size_t before = mirror.calls;
    for (int i = 0; i < 50; ++i) s.end(numbered(i));
    calls.push_back(mirror.calls - before);
    CHECK(s.told().size() == 50);
    const std::size_t begun = mirror.calls;
    s.lock("T99999", "hot", S);
    CHECK(mirror.calls - begun == 1);
  }
  CHECK(calls == std::vector<std::size_t>{calls[0], calls[0], calls[0]});
  CHECK(calls[0] == 50 * 3);  // left, wait ended, joined
}

TEST_CASE("no_wait is refused instead of waiting, and names who is in the way") {
  Scene s({.strategy = Strategy::no_wait});
  s.lock("T1", "r", X);
  CHECK(s.lock("T2", "r", S) == "refused");
  CHECK(s.last_error.message == "S on 'r' is not free: transaction T1 is in the way");
  CHECK(s.lock("T2", "q", S) == "granted");
}

TEST_CASE("wait_die: the older waits, the younger is refused, and its other locks stay until it ends") {
  Scene s({.strategy = Strategy::wait_die});
  s.lock("T2", "r", X);
  s.lock("T3", "q", X);
  CHECK(s.lock("T1", "r", X) == "waits");
  CHECK(s.lock("T3", "r", X) == "refused");
  CHECK(s.last_error.message.find("older (wait_die)") != std::string::npos);
  CHECK(s.state("q") == "T3:X |");
  s.end("T2");
  CHECK(s.told() == Told{"T1 granted"});
}

TEST_CASE("wound_wait: the older takes what the younger holds, the younger waits") {
  Scene s({.strategy = Strategy::wound_wait});
  s.lock("T2", "r", X);
  s.lock("T2", "q", X);
  CHECK(s.lock("T3", "r", X) == "waits");
  CHECK(s.lock("T1", "r", X) == "waits");  // T2 and T3 are in the way, and younger
  Told told = s.told();
  std::sort(told.begin(), told.end());
  CHECK(told == Told{"T1 granted", "T2 aborted: wounded", "T3 aborted: wounded", "T3 wounded"});
  CHECK(s.lock("T2", "z", S) == "wounded");
  CHECK(s.state("q") == "free");
  CHECK(s.state("r") == "T1:X |");
}

TEST_CASE("an upgrade gets in the way of those who wait already: their strategies decide again") {
  SUBCASE("wait_die: the younger waiter dies") {
    Scene s({.strategy = Strategy::wait_die});
    s.lock("T5", "r", IX);  // keeps the waiter in the queue
    s.lock("T2", "r", IS);
    CHECK(s.lock("T4", "r", S) == "waits");     // for T5; T2 is in nobody's way
    CHECK(s.lock("T2", "r", IX) == "granted");  // T4 would wait for T2 now, which is older
    CHECK(s.told() == Told{"T4 refused"});
  }
  SUBCASE("wound_wait: the younger upgrader is wounded") {
    Scene s({.strategy = Strategy::wound_wait});
    s.lock("T1", "r", IX);
    s.lock("T3", "r", IS);
    CHECK(s.lock("T2", "r", S) == "waits");  // for T1
    s.lock("T3", "r", IX);
    CHECK(s.told() == Told{"T3 aborted: wounded"});
  }
}

TEST_CASE("ordered: a request out of order is refused, and both resources are named") {
  Scene s({.strategy = Strategy::ordered});
  CHECK(s.lock("T1", "b", X) == "granted");
  CHECK(s.lock("T1", "a", X) == "out_of_order");
  CHECK(s.last_error.message.find("'a'") != std::string::npos);
  CHECK(s.last_error.message.find("'b'") != std::string::npos);
  CHECK(s.lock("T1", "b", S) == "granted");
  CHECK(s.lock("T1", "c", S) == "granted");
  s.lock("T2", "c", S);
  CHECK(s.lock("T1", "c", X) == "out_of_order");  // raising it would wait
  CHECK(s.txn("T1").unlock("c"));
  CHECK(s.lock("T1", "bb", X) == "granted");
  CHECK(s.outcome("T3", s.txn("T3").lock_path("x/y/z", X)) == "granted");
  CHECK(s.outcome("T3", s.txn("T3").lock_path("x/y/zz", X)) == "granted");
}

TEST_CASE("timeout: a wait has the table's deadline, or the caller's if that is earlier") {
  Scene s({.strategy = Strategy::timeout, .lock_timeout = 100});
  s.lock("T1", "r", X);
  s.lock("T2", "r", X, {.now = 1000});
  s.lock("T3", "r", X, {.now = 1000, .deadline = 1050});
  CHECK(s.table.next_deadline() == 1050);
  s.table.expire(1050);
  CHECK(s.told() == Told{"T3 timeout"});
  s.table.expire(1100);
  CHECK(s.told() == Told{"T2 timeout"});
}

TEST_CASE("a transaction may choose another strategy than its table's") {
  Scene s;
  s.txn("T2", Strategy::no_wait);
  s.lock("T1", "r", X);
  CHECK(s.lock("T2", "r", X) == "refused");
  CHECK(s.lock("T3", "r", X) == "waits");
}

TEST_CASE("strategies that prevent deadlocks leave none: random transactions with upgrades all end") {
  for (const Strategy strategy : {Strategy::wait_die, Strategy::wound_wait, Strategy::no_wait})
    for (unsigned seed = 1; seed <= 60; ++seed) {
      CAPTURE(static_cast<int>(strategy));
      CAPTURE(seed);
      std::mt19937 random(seed);
      Mirror mirror;
      Scene s({.strategy = strategy, .observer = &mirror});
      struct Work {
        std::vector<LockItem> steps;
        std::size_t next = 0;
      };
      static const std::vector<std::string> keys{"a", "b", "c", "d"};
      std::map<std::string, Work> work;
      for (int i = 1; i <= 8; ++i)
        for (int k = 0; k < 5; ++k)
          work[numbered(i)].steps.push_back({keys[random() % keys.size()], Mode(random() % 6)});
      std::set<std::string> waiting;
      int turns = 0;
      for (; !work.empty() && turns < 20'000; ++turns) {
        auto chosen = std::next(work.begin(), static_cast<long>(random() % work.size()));
        const std::string name = chosen->first;
        Work& own = chosen->second;
        const auto again = [&](const std::string& who) {
          waiting.erase(who);
          s.txn(who).restart({.id = TxnId(who), .start = std::stoull(who.substr(1))});
          work[who].next = 0;
        };
        if (!waiting.count(name)) {
          if (own.next == own.steps.size()) {
            s.end(name);
            work.erase(name);
          } else {
            const std::string outcome = s.lock(name, own.steps[own.next].key, own.steps[own.next].mode);
            if (outcome == "waits") {
              waiting.insert(name);
            } else if (outcome == "granted") {
              ++own.next;
            } else {
              again(name);
            }
          }
        }
        // A restart releases locks, and so tells more.
        for (Told told = s.told(); !told.empty(); told = s.told())
          for (const std::string& line : told) {
            const std::string who = line.substr(0, line.find(' '));
            if (line == who + " granted") {
              if (waiting.erase(who) == 1) ++work[who].next;
            } else if (work.count(who)) {
              again(who);
            }
          }
        mirror.check_against(s.table);
      }
      CHECK(work.empty());
    }
}
