// What the table's agent reports, against what stands in the table: reduction must leave the same transactions. With calls
// for any and some of several, whose requests go on as the table says, and whose waits are told as clauses.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "agent/table_reporter.hpp"

using namespace gordian;
using namespace gordian::agent;

namespace {

using Txns = std::vector<TxnId>;

/// Waits for enough of its alternatives, each of which needs all of its blockers.
struct Ask {
  TxnId waiter;
  std::vector<Txns> alternatives;
  std::size_t need;
};

/// Brute force, as docs/semantics.md defines it: who is left when nobody can end any more.
std::set<TxnId> deadlocked(std::vector<Ask> asks) {
  for (bool changed = true; changed;) {
    const auto waits = [&](const TxnId& txn) {
      return std::any_of(asks.begin(), asks.end(), [&](const Ask& ask) { return ask.waiter == txn; });
    };
    const auto satisfied = [&](const Ask& ask) {
      const auto free = [&](const Txns& blockers) { return std::none_of(blockers.begin(), blockers.end(), waits); };
      return static_cast<std::size_t>(std::count_if(ask.alternatives.begin(), ask.alternatives.end(), free)) >=
             ask.need;
    };
    const auto next = std::find_if(asks.begin(), asks.end(), satisfied);
    changed = next != asks.end();
    if (changed) asks.erase(next);
  }
  std::set<TxnId> left;
  for (const auto& ask : asks) left.insert(ask.waiter);
  return left;
}

std::string text(const std::vector<Ask>& asks) {
  std::string all;
  for (const auto& ask : asks) {
    all += "\n" + ask.waiter.str() + " needs " + std::to_string(ask.need) + " of";
    for (const auto& blockers : ask.alternatives) {
      all += " (";
      for (const auto& blocker : blockers) all += " " + blocker.str();
      all += " )";
    }
  }
  return all;
}

/// Keeps what is reported, as an agent would.
class Reports : public ReportSink {
 public:
  std::map<std::uint64_t, Wait> waits;
  std::uint64_t begun = 0;

  [[nodiscard]] std::vector<Ask> asks() const {
    std::vector<Ask> asks;
    for (const auto& [handle, wait] : waits) {
      Ask ask{wait.waiter, {}, wait.need};
      for (const auto& blocker : wait.blockers) ask.alternatives.push_back({blocker.txn});
      for (const auto group : wait.groups)
        for (const auto& txn : groups_.at(static_cast<std::uint64_t>(group)))
          if (txn != wait.waiter) ask.alternatives.push_back({txn});
      if (wait.need == 0) ask.need = ask.alternatives.size();
      asks.push_back(std::move(ask));
    }
    return asks;
  }

 private:
  std::optional<WaitHandle> begin_wait(Wait wait) override {
    CHECK(wait.need <= wait.blockers.size());
    waits.emplace(++begun, std::move(wait));
    return WaitHandle{begun};
  }
  [[nodiscard]] std::chrono::microseconds clock() const override { return std::chrono::microseconds(0); }
  bool set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers, std::uint32_t need) override {
    auto& standing = waits.at(static_cast<std::uint64_t>(wait));
    standing.blockers = blockers;
    standing.need = need;
    return true;
  }
  void end_wait(WaitHandle wait) override { REQUIRE(waits.erase(static_cast<std::uint64_t>(wait)) == 1); }
  std::optional<GroupHandle> begin_group(std::string, std::string, Kind) override {
    groups_[++last_group_];
    return GroupHandle{last_group_};
  }
  void join_group(GroupHandle group, const TxnId& txn) override {
    REQUIRE(groups_.at(static_cast<std::uint64_t>(group)).insert(txn).second);
  }
  void leave_group(GroupHandle group, const TxnId& txn) override {
    REQUIRE(groups_.at(static_cast<std::uint64_t>(group)).erase(txn) == 1);
  }
  void end_group(GroupHandle group) override { groups_.erase(static_cast<std::uint64_t>(group)); }
  void named(const TxnId&) override {}

  std::map<std::uint64_t, std::set<TxnId>> groups_;
  std::uint64_t last_group_ = 0;
};

/// A table, its reporter, and the calls that wait.
class Scene : private LockEvents {
 public:
  Scene() : table({.shards = 4, .events = this, .observer = &reporter}) {}

  const ModeMatrix modes = modes::standard();
  Reports reports;
  TableReporter reporter{modes, reports};
  LockTable table;

  LockTxn& txn(const std::string& name) {
    const auto at = txns_.find(name);
    if (at != txns_.end()) return at->second;
    return txns_.emplace(name, table.begin({.id = TxnId(name)})).first->second;
  }
  void lock(const std::string& name, const char* key, Mode mode = modes::X) {
    const auto answer = txn(name).lock(key, mode);
    if (answer && answer->waiting) waiting_[TxnId(name)] = {answer->ticket, 0};
  }
  void lock_some(const std::string& name, std::span<const LockItem> items, std::size_t need) {
    const auto answer = txn(name).lock_some(items, need);
    if (answer && answer->waiting) waiting_[TxnId(name)] = {answer->ticket, items.size() - need};
  }
  void end(const std::string& name) { txns_.erase(name); }
  void cancel(const std::string& name) {
    if (const auto at = waiting_.find(TxnId(name)); at != waiting_.end()) (void)txn(name).cancel(at->second.ticket);
  }
  [[nodiscard]] bool waits(const std::string& name) const { return waiting_.contains(TxnId(name)); }

  /// As the table has it.
  [[nodiscard]] std::vector<Ask> truth() const {
    std::map<TxnId, Ask> asks;
    for (const auto& resource : table.resources()) {
      for (const auto& waiter : resource.waiters) {
        auto& ask = asks.try_emplace(waiter.txn, Ask{waiter.txn, {}, 0}).first->second;
        auto& blockers = ask.alternatives.emplace_back();
        for (const auto& blocker : table.blockers(resource.key, waiter.wait)) blockers.push_back(blocker.txn);
      }
    }
    std::vector<Ask> all;
    for (auto& [txn, ask] : asks) {
      ask.need = ask.alternatives.size() - waiting_.at(txn).spare;
      all.push_back(std::move(ask));
    }
    return all;
  }
  [[nodiscard]] std::vector<TxnId> blockers_of(const std::string& name) const {
    std::vector<TxnId> blockers;
    for (const auto& [handle, wait] : reports.waits)
      if (wait.waiter == TxnId(name))
        for (const auto& blocker : wait.blockers) blockers.push_back(blocker.txn);
    return blockers;
  }

 private:
  struct Waiting {
    Ticket ticket;
    std::size_t spare;
  };
  void granted(const Party& party, Ticket, std::uint64_t, std::span<const GrantedItem>) override {
    waiting_.erase(party.txn);
  }
  void failed(const Party& party, Ticket, std::uint64_t, const LockError&) override { waiting_.erase(party.txn); }
  void aborted(const Party&, const LockError&) override {}

  std::map<TxnId, Waiting> waiting_;
  std::map<std::string, LockTxn> txns_;
};

const LockItem three[]{{"r1", modes::X}, {"r2", modes::X}, {"r3", modes::X}};

}  // namespace

TEST_CASE("clauses say exactly what the call needs, whoever ends") {
  std::mt19937 random(7);
  const Txns txns{TxnId("A"), TxnId("B"), TxnId("C"), TxnId("D"), TxnId("E")};
  unsigned several = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<Txns> in_the_way(1 + random() % 4);
    for (auto& blockers : in_the_way)
      for (const auto& txn : txns)
        if (random() % 3 == 0) blockers.push_back(txn);
    const auto spare = random() % in_the_way.size();
    const auto clauses = clauses_of(in_the_way, spare, 1000);
    REQUIRE(clauses.complete);
    several += clauses.all.size() > 1 ? 1 : 0;
    for (unsigned ended = 0; ended < 1U << txns.size(); ++ended) {
      const auto gone = [&](const TxnId& txn) {
        return (ended >> (std::find(txns.begin(), txns.end(), txn) - txns.begin()) & 1) != 0;
      };
      const auto blocked = std::count_if(in_the_way.begin(), in_the_way.end(), [&](const Txns& blockers) {
        return !std::all_of(blockers.begin(), blockers.end(), gone);
      });
      const bool satisfied = std::all_of(clauses.all.begin(), clauses.all.end(), [&](const Clause& clause) {
        return std::count_if(clause.blockers.begin(), clause.blockers.end(), gone) >= clause.need;
      });
      CHECK(satisfied == (static_cast<std::size_t>(blocked) <= spare));
    }
  }
  CHECK(several > 500);
}

TEST_CASE("more clauses than allowed: what is told is true, only not all of it") {
  std::vector<Txns> in_the_way;
  for (int i = 0; i < 40; ++i) in_the_way.push_back({TxnId("A" + std::to_string(i)), TxnId("B" + std::to_string(i))});
  const auto clauses = clauses_of(in_the_way, 39, 64);
  CHECK(!clauses.complete);
  CHECK(clauses.all.size() == 64);
  for (const auto& clause : clauses.all) {
    CHECK(clause.need == 1);
    CHECK(clause.blockers.size() == 40);  // one for each resource
  }
  const std::vector<Txns> same(40, Txns{TxnId("A"), TxnId("B")});  // choices without end, of which few differ
  CHECK(clauses_of(same, 39, 64).all.size() <= 3);
}

TEST_CASE("any of three that others hold is one wait for any of these") {
  Scene s;
  s.lock("H1", "r1"), s.lock("H2", "r2"), s.lock("H3", "r3");
  s.lock_some("T", three, 1);
  REQUIRE(s.reports.waits.size() == 1);
  const auto wait = s.reports.waits.begin()->second;
  CHECK(wait.need == 1);
  CHECK(wait.resource.size() == std::string("r1, r2, r3").size());  // in the order in which the table tells of them
  CHECK(wait.mode == "X");
  CHECK(s.blockers_of("T") == Txns{TxnId("H1"), TxnId("H2"), TxnId("H3")});
  CHECK(s.reporter.find(WaitHandle{1}).size() == 3);
  s.end("H2");
  CHECK(!s.waits("T"));
  CHECK(s.reports.waits.empty());
  CHECK(s.reporter.find(WaitHandle{1}).empty());
}

TEST_CASE("two of three: with one granted, the same wait needs one of the others, whoever holds them then") {
  Scene s;
  s.lock("H1", "r1"), s.lock("H2", "r2"), s.lock("H3", "r3");
  s.lock("Q", "r3");  // next in line there
  s.lock_some("T", three, 2);
  s.end("H1");
  REQUIRE(s.waits("T"));
  REQUIRE(s.reports.waits.contains(2));  // Q's is the first
  CHECK(s.reports.waits.at(2).need == 1);
  CHECK(s.blockers_of("T") == Txns{TxnId("H2"), TxnId("H3")});
  s.end("H3");
  CHECK(s.blockers_of("T") == Txns{TxnId("H2"), TxnId("Q")});
  CHECK(s.reports.begun == 2);
  s.cancel("T");
  CHECK(s.reports.waits.empty());
  CHECK(s.reporter.left_out() == 0);
}

TEST_CASE("a resource with two holders is free when both have ended: two waits, and both must be satisfied") {
  Scene s;
  s.lock("S1", "r1", modes::S), s.lock("S2", "r1", modes::S), s.lock("H2", "r2"), s.lock("H3", "r3");
  s.lock_some("T", three, 1);
  CHECK(s.reports.waits.size() == 2);
  s.lock("S1", "r4"), s.lock("H2", "r5"), s.lock("H3", "r6"),
      s.lock("T", "r4");  // T's second branch: not its own way out
  CHECK(deadlocked(s.reports.asks()).empty());
}

TEST_CASE("whoever holds two of the resources stands in two ways, and frees both") {
  Scene s;
  s.lock("H", "r1"), s.lock("H", "r2"), s.lock("G", "r3");
  s.lock_some("T", three, 2);
  s.lock("T2", "r9"), s.lock("G", "r9");  // G cannot go on before T2 does, who is not deadlocked
  CHECK(deadlocked(s.reports.asks()).empty());
  CHECK(s.blockers_of("T") == Txns{TxnId("H")});
}

TEST_CASE(
    "random calls, some for any or some of several: what is reported is deadlocked exactly if it is in the table") {
  const char* const keys[]{"r1", "r2", "r3", "r4", "r5"};
  unsigned deadlocks = 0, with_calls = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    Scene s;
    for (int step = 0; step < 60; ++step) {
      const auto name = "T" + std::to_string(random() % 7);
      const auto mode = random() % 3 == 0 ? modes::S : modes::X;
      const auto what = random() % 10;
      if (what == 0) {
        s.end(name);
      } else if (what == 1) {
        s.cancel(name);
      } else if (s.waits(name)) {
        continue;
      } else if (what < 6) {
        s.lock(name, keys[random() % 5], mode);
      } else {
        std::vector<LockItem> items;
        for (const char* key : keys)
          if (random() % 2 == 0) items.push_back({key, random() % 3 == 0 ? modes::S : modes::X});
        if (items.size() < 2) continue;
        s.lock_some(name, items, 1 + random() % (items.size() - 1));
      }
      const auto truth = deadlocked(s.truth());
      INFO("seed " << seed << ", step " << step << "; in the table:" << text(s.truth())
                   << "\nreported:" << text(s.reports.asks()));
      CHECK(deadlocked(s.reports.asks()) == truth);
      deadlocks += truth.empty() ? 0 : 1;
      with_calls += std::any_of(s.reports.waits.begin(), s.reports.waits.end(), [&](const auto& wait) {
        return wait.second.need != 0 && truth.contains(wait.second.waiter);
      });
    }
    CHECK(s.reporter.left_out() == 0);
    for (int i = 0; i < 7; ++i) s.end("T" + std::to_string(i));
    CHECK(s.reports.waits.empty());
  }
  CHECK(deadlocks > 1000);
  CHECK(with_calls > 300);
  MESSAGE(deadlocks << " states with deadlocks, " << with_calls << " of them with a call for some of several");
}

TEST_CASE("a wait that was not as told ends, and what is known of its call is told as another one") {
  Scene s;
  s.lock("H1", "r1"), s.lock("H2", "r2"), s.lock("H3", "r3");
  s.lock_some("T", three, 2);
  REQUIRE(s.reports.waits.size() == 1);
  const auto [before, wait] = *s.reports.waits.begin();
  s.reporter.withdraw(WaitHandle{before});
  REQUIRE(s.reports.waits.size() == 1);
  CHECK(s.reports.waits.begin()->first != before);
  CHECK(s.reports.waits.begin()->second.need == wait.need);
  CHECK(s.blockers_of("T") == Txns{TxnId("H1"), TxnId("H2"), TxnId("H3")});
  CHECK(s.reporter.find(WaitHandle{before}).empty());
  s.end("H1"), s.end("H2");
  CHECK(s.reports.waits.empty());
}

TEST_CASE("two handles of one transaction hold a lock: the first that lets it go does not free it") {
  Scene s;
  std::optional first(s.table.begin({.id = TxnId("T")})), second(s.table.begin({.id = TxnId("T")}));
  REQUIRE(first->lock("r", modes::S));
  REQUIRE(second->lock("r", modes::S));
  s.lock("U", "r");
  const auto blocked = [&] {
    const auto asks = s.reports.asks();
    return asks.size() == 1 && asks[0].alternatives == std::vector<Txns>{{TxnId("T")}};
  };
  CHECK(blocked());
  first.reset();
  CHECK(blocked());
  second.reset();
  CHECK(!s.waits("U"));
}
