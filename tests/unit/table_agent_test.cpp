// Lock tables with agents, and a coordinator server: deadlocks across the tables, as an engine that embeds both meets them.
#include <gordian/table_agent.hpp>

#include <condition_variable>
#include <future>
#include <random>
#include <unordered_map>

#include "embed_scene.hpp"

using namespace gordian;
using namespace gordian::test;

namespace {

/// How a call ended: granted, or the error.
using Outcome = tl::expected<void, LockError>;

/// The outcome of one transaction's calls that wait, in turn.
class Mailbox {
 public:
  void put(Outcome outcome) {
    const std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
    changed_.notify_one();
  }
  Outcome take() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 20s, [&] { return outcome_.has_value(); }));
    return *std::exchange(outcome_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Outcome> outcome_;
};

/// A site of an engine: a table with an agent, and descriptions of the transactions that run.
class Site : private LockEvents {
 public:
  Site(const Server& server, const char* name, AgentLimits limits = {}) {
    TableAgentOptions options{.agent = {.coordinator = server.endpoint(), .site = SiteId(name), .publish_after = 0us, .limits = limits}};
    options.table.events = this;
    options.describe = [this](const TxnId& txn) { return describe(txn); };
    auto started = TableAgent::start(std::move(options));
    REQUIRE(started);
    agent.emplace(std::move(*started));
  }

  LockTxn begin(const TxnId& id, double start, Mailbox& mailbox) {
    {
      const std::lock_guard lock(mutex_);
      running_[id] = {.start = start, .label = "unit test"};
    }
    return agent->table().begin({.id = id, .user = &mailbox});
  }
  void end(LockTxn& txn) {
    {
      const std::lock_guard lock(mutex_);
      running_.erase(txn.id());
    }
    txn.release_all();
    agent->forget(txn.id());
  }

  /// No wait and no group is standing.
  [[nodiscard]] bool idle() const {
    const auto status = agent->status();
    return status.waits == 0 && status.groups == 0;
  }

  std::optional<TableAgent> agent;

 private:
  void granted(const Party& party, Ticket, std::uint64_t, std::span<const GrantedItem>) override { static_cast<Mailbox*>(party.user)->put({}); }
  void failed(const Party& party, Ticket, std::uint64_t, const LockError& error) override {
    static_cast<Mailbox*>(party.user)->put(tl::unexpected(error));
  }
  void aborted(const Party&, const LockError&) override {}
  std::optional<TxnInfo> describe(const TxnId& txn) {
    const std::lock_guard lock(mutex_);
    const auto found = running_.find(txn);
    return found == running_.end() ? std::nullopt : std::optional(found->second);
  }

  std::mutex mutex_;
  std::unordered_map<TxnId, TxnInfo> running_;
};

/// "granted" at once, "waits", or the error's name.
std::string ask(LockTxn& txn, const char* key, Mode mode = modes::X) {
  const auto answer = txn.lock(key, mode);
  return !answer ? std::string(name(answer.error().code)) : answer->waiting ? "waits" : "granted";
}

}  // namespace

TEST_CASE("two tables: the deadlock across them is broken, and the victim's locks are free at both") {
  Server server;
  Site a(server, "a"), b(server, "b");
  Mailbox mail_1, mail_2;
  const TxnId one("T1"), two("T2");
  auto a1 = a.begin(one, 1, mail_1), b1 = b.begin(one, 1, mail_1);
  auto a2 = a.begin(two, 2, mail_2), b2 = b.begin(two, 2, mail_2);
  REQUIRE(ask(a1, "x") == "granted");
  REQUIRE(ask(b2, "y") == "granted");
  REQUIRE(ask(b1, "y") == "waits");
  REQUIRE(ask(a2, "x") == "waits");

  const auto victim = mail_2.take();
  REQUIRE(!victim);
  CHECK(victim.error().code == LockError::Code::deadlock);
  CHECK(mail_1.take().has_value());  // the victim's client does nothing: its branch at b, which waits for nobody, is aborted too
  CHECK(ask(b2, "z") == "deadlock");
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  const auto incident = server.incidents().front();
  CHECK(incident.id == victim.error().incident);
  CHECK(incident.victims == std::vector{two});
  for (const auto& txn : incident.txns) CHECK(txn.info.label == "unit test");
  eventually("both orders are carried out", [&] { return a.agent->status().aborts_done + b.agent->status().aborts_done == 2; });
  for (auto* txn : {&a1, &a2}) a.end(*txn);
  for (auto* txn : {&b1, &b2}) b.end(*txn);
  for (const Site* site : {&a, &b}) eventually("nothing is left", [&] { return site->idle(); });
}

TEST_CASE("two tables: each of two stands behind the other in a queue; one is let past, and nobody is aborted") {
  Server server;
  Site a(server, "a"), b(server, "b");
  Mailbox readers, mail_1, mail_2, mail_1b, mail_2b;
  auto ra = a.begin(TxnId("R1"), 1, readers), rb = b.begin(TxnId("R2"), 1, readers);
  auto a1 = a.begin(TxnId("T1"), 1, mail_1), b1 = b.begin(TxnId("T1"), 1, mail_1b);
  auto a2 = a.begin(TxnId("T2"), 2, mail_2), b2 = b.begin(TxnId("T2"), 2, mail_2b);
  REQUIRE(ask(ra, "k", modes::S) == "granted");
  REQUIRE(ask(rb, "m", modes::S) == "granted");
  REQUIRE(ask(a2, "k") == "waits");
  REQUIRE(ask(b1, "m") == "waits");
  REQUIRE(ask(a1, "k", modes::S) == "waits");  // behind T2, who waits for the reader
  REQUIRE(ask(b2, "m", modes::S) == "waits");  // behind T1
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(server.incidents().front().victims.empty());
  eventually("one order is carried out", [&] { return a.agent->status().reorders_done + b.agent->status().reorders_done == 1; });
  CHECK(a.agent->status().aborts_done + b.agent->status().aborts_done == 0);
  const bool at_a = a.agent->status().reorders_done == 1;
  CHECK((at_a ? mail_1 : mail_2b).take().has_value());  // has its shared lock beside the reader
  a.end(ra), b.end(rb);
  CHECK((at_a ? mail_1b : mail_2).take().has_value());
  a.end(at_a ? a1 : a2), b.end(at_a ? b1 : b2);
  CHECK((at_a ? mail_2 : mail_1).take().has_value());
  CHECK((at_a ? mail_2b : mail_1b).take().has_value());
  a.end(at_a ? a2 : a1), b.end(at_a ? b2 : b1);
  for (const Site* site : {&a, &b}) eventually("nothing is left", [&] { return site->idle(); });
}

/// "granted" at once, "waits", or the error's name.
std::string ask_some(LockTxn& txn, std::initializer_list<const char*> keys, std::size_t need) {
  std::vector<LockItem> items;
  for (const char* key : keys) items.push_back({key, modes::X});
  const auto answer = txn.lock_some(items, need);
  return !answer ? std::string(name(answer.error().code)) : answer->waiting ? "waits" : "granted";
}

TEST_CASE("two tables: a call for any of two that both are held by deadlocked transactions is broken with one victim") {
  Server server;
  Site a(server, "a"), b(server, "b");
  Mailbox mail_1, mail_2, mail_3;
  auto a1 = a.begin(TxnId("T1"), 1, mail_1), b1 = b.begin(TxnId("T1"), 1, mail_1);
  auto a2 = a.begin(TxnId("T2"), 2, mail_2), b2 = b.begin(TxnId("T2"), 2, mail_2);
  auto a3 = a.begin(TxnId("T3"), 3, mail_3), b3 = b.begin(TxnId("T3"), 3, mail_3);
  REQUIRE(ask(b1, "y") == "granted");
  REQUIRE(ask(a2, "w1") == "granted");
  REQUIRE(ask(a3, "w2") == "granted");
  REQUIRE(ask_some(a1, {"w1", "w2"}, 1) == "waits");
  REQUIRE(ask(b2, "y") == "waits");
  eventually("both waits are known", [&] { return a.agent->status().published + b.agent->status().published == 2; });
  CHECK(server.incidents().empty());  // T3 may still give its lock back
  REQUIRE(ask(b3, "y", modes::S) == "waits");

  const auto victim = mail_3.take();  // the youngest: its lock is enough for T1
  REQUIRE(!victim);
  CHECK(victim.error().code == LockError::Code::deadlock);
  CHECK(mail_1.take().has_value());
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(server.incidents().front().victims == std::vector{TxnId("T3")});
  CHECK(ask(a3, "z") == "deadlock");
  CHECK(a.agent->left_out() == 0);
  a.end(a1), b.end(b1);
  CHECK(mail_2.take().has_value());
  for (auto* txn : {&a2, &a3}) a.end(*txn);
  for (auto* txn : {&b2, &b3}) b.end(*txn);
  for (const Site* site : {&a, &b}) eventually("nothing is left", [&] { return site->idle(); });
}

TEST_CASE("two tables: a cycle through a call for any of two is no deadlock while the other one will be free") {
  Server server;
  Site a(server, "a"), b(server, "b");
  Mailbox mail_1, mail_2, mail_3, mail_4, mail_5;
  auto a1 = a.begin(TxnId("T1"), 1, mail_1), b1 = b.begin(TxnId("T1"), 1, mail_1);
  auto a2 = a.begin(TxnId("T2"), 2, mail_2), b2 = b.begin(TxnId("T2"), 2, mail_2);
  auto a3 = a.begin(TxnId("T3"), 3, mail_3);
  REQUIRE(ask(b1, "y") == "granted");
  REQUIRE(ask(a2, "w1") == "granted");
  REQUIRE(ask(a3, "w2") == "granted");
  REQUIRE(ask_some(a1, {"w1", "w2"}, 1) == "waits");
  REQUIRE(ask(b2, "y") == "waits");  // T1 > T2 > T1
  // A deadlock that comes later is broken: by then that cycle has been looked at.
  auto a4 = a.begin(TxnId("T4"), 4, mail_4), b4 = b.begin(TxnId("T4"), 4, mail_4);
  auto a5 = a.begin(TxnId("T5"), 5, mail_5), b5 = b.begin(TxnId("T5"), 5, mail_5);
  REQUIRE(ask(a4, "p") == "granted");
  REQUIRE(ask(b5, "q") == "granted");
  REQUIRE(ask(a5, "p") == "waits");
  REQUIRE(ask(b4, "q") == "waits");
  CHECK(!mail_5.take());
  CHECK(mail_4.take().has_value());
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(server.incidents().front().victims == std::vector{TxnId("T5")});

  a.end(a3);
  CHECK(mail_1.take().has_value());
  a.end(a1), b.end(b1);
  CHECK(mail_2.take().has_value());
  CHECK(server.incidents().size() == 1);
  for (auto* txn : {&a2, &a4, &a5}) a.end(*txn);
  for (auto* txn : {&b2, &b4, &b5}) b.end(*txn);
  for (const Site* site : {&a, &b}) eventually("nothing is left", [&] { return site->idle(); });
}

TEST_CASE("a transaction that let go of what it blocked with before the order came is left alone") {
  Server server;
  Site a(server, "a"), b(server, "b");
  Mailbox mail_1, mail_2, mail_3;
  auto a1 = a.begin(TxnId("T1"), 1, mail_1), b1 = b.begin(TxnId("T1"), 1, mail_1);
  auto a2 = a.begin(TxnId("T2"), 2, mail_2), b2 = b.begin(TxnId("T2"), 2, mail_2);
  auto a3 = a.begin(TxnId("T3"), 3, mail_3);
  REQUIRE(ask(a1, "x") == "granted");
  REQUIRE(ask(b2, "y") == "granted");
  REQUIRE(ask(b1, "y") == "waits");
  REQUIRE(a2.lock("x", modes::X, {.wait = false}).error().code == LockError::Code::refused);  // it gives up
  eventually("the wait is known", [&] { return b.agent->status().published == 1; });
  b.end(b2);
  CHECK(mail_1.take().has_value());
  REQUIRE(ask(a3, "x") == "waits");
  a.end(a1);
  CHECK(mail_3.take().has_value());
  b.end(b1), a.end(a2), a.end(a3);
  CHECK(server.incidents().empty());
}

TEST_CASE("descriptions do not pile up: with room for two, a hundred pairs of transactions meet") {
  Server server;
  AgentLimits limits;
  limits.transactions = 2;
  Site a(server, "a", limits);
  for (int i = 0; i < 100; ++i) {
    Mailbox first_mail, second_mail;
    auto first = a.begin(TxnId("first " + std::to_string(i)), i, first_mail);
    auto second = a.begin(TxnId("second " + std::to_string(i)), i, second_mail);
    REQUIRE(ask(first, "x") == "granted");
    REQUIRE(ask(second, "x") == "waits");
    a.end(first);
    CHECK(second_mail.take().has_value());
    a.end(second);
  }
  CHECK(a.agent->status().limit_reached == 0);
  CHECK(a.agent->left_out() == 0);
}

TEST_CASE("a table with an observer of its own is refused") {
  class Observer : public WaitObserver {
    void wait_begun(const WaitBegun&) override {}
    void wait_ended(WaitNumber, const std::string&, std::uint64_t) override {}
    void holder_joined(const std::string&, Mode, const TxnId&, std::uint64_t) override {}
    void holder_left(const std::string&, Mode, const TxnId&, std::uint64_t) override {}
    void front_changed(const std::string&, Mode, std::optional<WaitNumber>, std::uint64_t) override {}
    void resource_calm(const std::string&, std::uint64_t) override {}
  } observer;
  TableAgentOptions options{.agent = {.site = SiteId("a")}};
  options.table.observer = &observer;
  const auto refused = TableAgent::start(std::move(options));
  REQUIRE(!refused);
  CHECK(refused.error().code == AgentError::Code::invalid_option);
}

TEST_CASE("many threads, two tables, few resources: every transaction commits, and no update is lost") {
  constexpr int threads = 6, rounds = 30, resources = 3;
  Server server;
  Site a(server, "a"), b(server, "b");
  std::array<std::array<long, resources>, 2> written{};  // plain memory: its locks guard it
  std::atomic<unsigned> victims{0}, numbers{0};

  const auto attempt = [&](double start, std::mt19937 random) -> Outcome {
    Mailbox mail;
    const TxnId id("T" + std::to_string(++numbers));
    std::array<Site*, 2> sites{&a, &b};
    std::array<LockTxn, 2> branches{a.begin(id, start, mail), b.begin(id, start, mail)};
    Outcome outcome;
    std::vector<long*> mine;
    for (int i = 0; i < 3 && outcome; ++i) {
      const auto at = random() % 2, what = random() % resources;
      if (random() % 4 == 0) {  // any two of the three, for nothing
        const LockItem items[]{{"0", modes::X}, {"1", modes::X}, {"2", modes::X}};
        const auto some = branches[at].lock_some(items, 2);
        outcome = !some ? Outcome(tl::unexpected(some.error())) : some->waiting ? mail.take() : Outcome{};
        if (!outcome) break;
      }
      const auto answer = branches[at].lock(std::to_string(what), modes::X);
      outcome = !answer ? Outcome(tl::unexpected(answer.error())) : answer->waiting ? mail.take() : Outcome{};
      mine.push_back(&written[at][what]);
      std::this_thread::yield();
    }
    if (outcome)
      for (long* each : mine) ++*each;
    for (std::size_t i = 0; i < 2; ++i) sites[i]->end(branches[i]);
    return outcome;
  };
  std::vector<std::future<void>> engines;
  for (unsigned t = 0; t < threads; ++t)
    engines.push_back(std::async(std::launch::async, [&, t] {
      for (unsigned r = 0; r < rounds; ++r) {
        const std::mt19937 random(t * rounds + r);
        for (Outcome outcome = tl::unexpected(LockError{}); !outcome;) {
          outcome = attempt(r, random);
          if (outcome) continue;
          CHECK(outcome.error().code == LockError::Code::deadlock);
          ++victims;
        }
      }
    }));
  for (auto& engine : engines) engine.get();

  long sum = 0;
  for (const auto& at : written)
    for (const long count : at) sum += count;
  CHECK(sum == threads * rounds * 3);
  for (const Site* site : {&a, &b}) {
    eventually("nothing is left", [&] { return site->idle(); });
    CHECK(site->agent->status().limit_reached == 0);
    CHECK(site->agent->table().check_invariants() == "");
  }
  MESSAGE(victims.load() << " victims");
}
