// The lock client with its threads and sockets, against real agents.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <gordian/lock_client.hpp>
#include <mutex>
#include <set>

#include "lock_agent_process.hpp"

using namespace gordian;
using namespace gordian::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

LockClient client_of(const std::string& agents, std::chrono::milliseconds reply_limit = 5'000ms) {
  auto client = LockClient::start({.agents = AgentAddress::parse_list(agents).value(),
                                   .label = "test",
                                   .reply_limit = reply_limit,
                                   .limits = {},
                                   .on_log = {}});
  REQUIRE(client.has_value());
  return std::move(*client);
}
LockSession session_of(LockClient& client, SessionOptions options = {}) {
  auto session = client.open(std::move(options));
  REQUIRE(session.has_value());
  return std::move(*session);
}
LockTransaction begin(LockSession& session, ClientTxnOptions options = {}) {
  auto txn = session.begin(std::move(options));
  REQUIRE(txn.has_value());
  return std::move(*txn);
}
template <class Result>
std::string outcome(const Result& result) {
  return result ? "done" : std::string(name(result.error().code));
}

}  // namespace

TEST_CASE("lock, unlock, end, close") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  auto session = session_of(client);
  auto txn = begin(session);
  const auto first = txn.lock("k");
  REQUIRE(first.has_value());
  CHECK(first->site.str() == "a");
  CHECK(txn.held().size() == 1);
  CHECK(session.remaining() > 5s);
  CHECK(outcome(txn.unlock(*first)) == "done");
  const auto second = txn.lock("k");
  REQUIRE(second.has_value());
  CHECK(second->fence > first->fence);
  CHECK(outcome(txn.unlock(*first)) == "not_held");
  CHECK(outcome(txn.end()) == "done");
  CHECK(outcome(txn.lock("k")) == "invalid");
  CHECK(outcome(session.close()) == "done");
  CHECK(outcome(session.begin()) == "lease_lost");
  CHECK(client.status().pending == 0);
}

TEST_CASE("threads that block: what the lock protects is never touched by two") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  constexpr int threads_count = 6, rounds = 100;
  std::uint64_t plain = 0;  // ThreadSanitizer sees whoever comes without the lock
  std::vector<Fence> fences;
  std::vector<std::thread> threads;
  for (int i = 0; i < threads_count; ++i)
    threads.emplace_back([&] {
      auto session = client.open().value();
      for (int round = 0; round < rounds; ++round) {
        auto txn = session.begin().value();
        const auto grant = txn.lock("hot");
        if (!grant) return;
        ++plain;
        fences.push_back(grant->fence);
        if (round % 2 == 0) (void)txn.unlock(*grant);
        (void)txn.end();
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(plain == threads_count * rounds);
  CHECK(std::is_sorted(fences.begin(), fences.end()));
  CHECK(std::adjacent_find(fences.begin(), fences.end()) == fences.end());
}

TEST_CASE("callbacks: many sessions in turn on the client's own thread, while other threads block") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  constexpr int sessions_count = 16, rounds = 100;
  struct Runner {
    LockSession session;
    LockTransaction txn;
    int left = rounds;
  };
  std::vector<std::unique_ptr<Runner>> runners;
  std::atomic<int> running{sessions_count};
  std::atomic<int> failed{0};
  std::function<void(Runner&)> next = [&](Runner& runner) {
    if (runner.left-- == 0) {
      --running;
      return;
    }
    runner.txn.lock_async("shared", modes::X, {}, [&](tl::expected<Grant, LockError> grant) {
      if (!grant) {
        ++failed, --running;
        return;
      }
      runner.txn.unlock_async(*grant, [&](const tl::expected<void, LockError>& done) {
        failed += done ? 0 : 1;
        next(runner);
      });
    });
  };
  for (int i = 0; i < sessions_count; ++i) {
    auto session = session_of(client);
    auto txn = begin(session);
    runners.push_back(std::make_unique<Runner>(Runner{std::move(session), std::move(txn)}));
  }
  for (auto& runner : runners) next(*runner);
  std::thread blocking([&] {
    auto session = client.open().value();
    auto txn = session.begin().value();
    for (int i = 0; i < rounds; ++i) {
      const auto grant = txn.lock("shared");
      failed += grant && txn.unlock(*grant) ? 0 : 1;
    }
  });
  blocking.join();
  until("all callbacks", [&] { return running == 0; });
  CHECK(failed == 0);
}

TEST_CASE("a blocking call that needs no answer does not keep for itself what came for a callback") {
  LockAgentProcess agent;
  // Nothing is due by time within the test: who is told nothing sleeps on.
  auto other = client_of(agent.address(), 200s), client = client_of(agent.address(), 200s);
  auto others = session_of(other, {.ttl = 600s, .on_jeopardy = {}, .on_lost = {}});
  auto session = session_of(client, {.ttl = 600s, .on_jeopardy = {}, .on_lost = {}});
  auto over = begin(session);
  CHECK(outcome(over.end()) == "done");
  for (int round = 0; round < 200; ++round) {
    std::optional<LockTransaction> holder = begin(others);
    REQUIRE(holder->lock("k").has_value());
    auto waiter = begin(session);
    std::atomic<bool> told = false;
    waiter.lock_async("k", modes::X, {}, [&](auto grant) { told = grant.has_value(); });
    holder.reset();
    for (const auto start = Clock::now(); !told && Clock::now() - start < 50ms;) {
      if (over.end().has_value()) FAIL("it has ended");
      for (const auto pause = Clock::now(); Clock::now() - pause < 10us;) {  // the keeper gets to sleep in between
      }
    }
    until("the grant is told", [&] { return told.load(); });
    CHECK(outcome(waiter.end()) == "done");
  }
}

TEST_CASE("a blocked call is woken by a grant, by cancel from another thread, and by its deadline") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  auto session = session_of(client);
  auto holder = begin(session);
  const auto grant = holder.lock("k");
  REQUIRE(grant.has_value());
  auto waiter = begin(session);
  CHECK(outcome(waiter.lock("k", modes::X, {.wait = 0us, .site = {}})) == "refused");
  CHECK(outcome(waiter.lock("k", modes::X, {.wait = 20ms, .site = {}})) == "timeout");
  std::string got;
  std::thread cancelled([&] { got = outcome(waiter.lock("k")); });
  until("it waits", [&] { return client.status().pending == 1; });
  waiter.cancel();
  cancelled.join();
  CHECK(got == "cancelled");
  std::thread granted([&] { got = outcome(waiter.lock("k")); });
  until("it waits", [&] { return client.status().pending == 1; });
  CHECK(outcome(holder.unlock(*grant)) == "done");
  granted.join();
  CHECK(got == "done");
}

TEST_CASE("several agents: paths and lists over all of them, and one that is not there") {
  LockAgentProcess a("a"), b("b"), c("c");
  const auto agents = a.address() + "," + b.address() + "," + c.address();
  auto client = client_of(agents, 2000ms);
  auto session = session_of(client);
  auto txn = begin(session);
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back("n" + std::to_string(i));
  std::vector<LockItem> items;
  for (const auto& name : names) items.push_back({name, modes::X});
  const auto grants = txn.lock_all(items);
  INFO(outcome(grants) << (grants ? "" : grants.error().message));
  REQUIRE(grants.has_value());
  std::set<std::string> sites;
  for (std::size_t i = 0; i < grants->size(); ++i) {
    CHECK((*grants)[i].name == names[i]);
    CHECK((*grants)[i].site == client.site_of(names[i]));
    sites.insert((*grants)[i].site.str());
  }
  CHECK(sites.size() == 3);
  const auto path = txn.lock_path("x/y/z", modes::S);
  REQUIRE(path.has_value());
  CHECK(path->back().name == "x/y/z");
  CHECK(path->front().mode == modes::IS);
  CHECK(txn.lock_some(items, 1, {.wait = {}, .site = {}}).error().code == LockError::Code::invalid);

  b.kill();
  auto other = begin(session);
  const auto gone = other.lock("m", modes::X, {.wait = {}, .site = SiteId("b")});
  CHECK(outcome(gone) == "unreachable");
  CHECK(outcome(other.lock("m", modes::X, {.wait = {}, .site = SiteId("a")})) == "done");
}

TEST_CASE("an agent that is killed and started again: the lock is reclaimed under its fence") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  std::atomic<int> lost{0};
  auto session = session_of(client, {.ttl = 1'500ms, .on_jeopardy = {}, .on_lost = [&](const LockError&) { ++lost; }});
  auto txn = begin(session);
  const auto grant = txn.lock("k");
  REQUIRE(grant.has_value());
  agent.restart();
  until("the reclaim", [&] { return client.status().reclaims == 1; });
  auto thief_client = client_of(agent.address());
  auto thief_session = session_of(thief_client);
  auto thief = begin(thief_session);
  CHECK(outcome(thief.lock("k", modes::X, {.wait = 2'500ms, .site = {}})) ==
        "timeout");  // the grace period is over by then
  CHECK(outcome(txn.unlock(*grant)) == "done");
  const auto stolen = thief.lock("k");
  REQUIRE(stolen.has_value());
  CHECK(stolen->fence > grant->fence);
  CHECK(lost == 0);
}

TEST_CASE("an agent that hangs for longer than the lease: jeopardy, then lost, and blocked calls return") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  std::mutex mutex;
  std::vector<std::string> told;
  const auto tell = [&](const char* what) {
    const std::lock_guard lock(mutex);
    told.emplace_back(what);
  };
  auto session = session_of(
      client, {.ttl = 600ms,
               .on_jeopardy = [&](std::chrono::microseconds left) { tell(left > 0us ? "jeopardy" : "late"); },
               .on_lost = [&](const LockError&) { tell("lost"); }});
  auto txn = begin(session);
  REQUIRE(txn.lock("k").has_value());
  agent.signal(SIGSTOP);
  const auto began = std::chrono::steady_clock::now();
  CHECK(outcome(txn.lock("other")) == "lease_lost");
  CHECK(std::chrono::steady_clock::now() - began < 1s);
  CHECK(session.remaining() == 0us);
  CHECK(session.lost().has_value());
  CHECK(outcome(txn.lock("k")) == "lease_lost");
  until("both callbacks", [&] {
    const std::lock_guard lock(mutex);
    return told.size() == 2;
  });
  agent.signal(SIGCONT);
  const std::lock_guard lock(mutex);
  CHECK(told == std::vector<std::string>{"jeopardy", "lost"});
}

TEST_CASE("the client starts before its agent, and a call waits for it") {
  std::string address;
  {
    LockAgentProcess agent;
    address = agent.endpoint();
  }
  auto client = client_of("a=" + address);
  auto session = session_of(client);
  auto txn = begin(session);
  std::thread later([&] {
    LockAgentProcess agent("a", {"--listen", address});
    until("the grant", [&] { return !txn.held().empty(); });
    (void)txn.end();
  });
  CHECK(outcome(txn.lock("k")) == "done");
  later.join();
}

TEST_CASE("a client that is stopped: whoever is blocked returns, handles outlive it, callbacks are called") {
  LockAgentProcess agent;
  std::optional<LockClient> client(client_of(agent.address()));
  std::optional<LockSession> session(session_of(*client));
  auto holder = begin(*session);
  REQUIRE(holder.lock("k").has_value());
  auto waiter = begin(*session);
  std::string got, called;
  std::thread blocked([&] { got = outcome(waiter.lock("k")); });
  waiter.lock_async("k2", modes::X, {}, [](const auto&) {});
  auto third = begin(*session);
  third.lock_async("k", modes::X, {}, [&](const auto& result) { called = outcome(result); });
  until("both wait", [&] { return client->status().pending == 2; });
  client.reset();
  blocked.join();
  CHECK(got == "lease_lost");
  CHECK(called == "lease_lost");
  CHECK(outcome(holder.lock("z")) == "lease_lost");
  CHECK(outcome(session->begin()) == "lease_lost");
  third.lock_async("k", modes::X, {}, [&](const auto& result) { called = result ? "granted" : "after the end"; });
  CHECK(called == "after the end");
  session.reset();
  CHECK(holder.held().empty());

  auto next = client_of(agent.address());
  auto fresh = session_of(next);
  CHECK(outcome(begin(fresh).lock("k", modes::X, {.wait = 5s, .site = {}})) ==
        "done");  // the session was closed, not left to run out
}

TEST_CASE("a blocking call inside a callback is refused, an asynchronous one is not") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  auto session = session_of(client);
  auto txn = begin(session);
  std::atomic<bool> done{false};
  std::string blocking;
  txn.lock_async("k", modes::X, {}, [&](const tl::expected<Grant, LockError>& grant) {
    blocking = outcome(txn.lock("other"));
    txn.unlock_async(*grant, [&](const auto&) { done = true; });
  });
  until("the callbacks", [&] { return done.load(); });
  CHECK(blocking == "invalid");
}

TEST_CASE("wound_wait: the wounded holder is told, and its calls fail") {
  LockAgentProcess agent;
  auto client = client_of(agent.address());
  auto session = session_of(client);
  std::atomic<bool> told{false};
  auto young =
      begin(session, {.id = {},
                      .start = 2e15,
                      .label = "young",
                      .strategy = Strategy::wound_wait,
                      .on_aborted = [&](const LockError& why) { told = why.code == LockError::Code::wounded; }});
  REQUIRE(young.lock("k").has_value());
  auto old =
      begin(session, {.id = {}, .start = 1e15, .label = "old", .strategy = Strategy::wound_wait, .on_aborted = {}});
  CHECK(outcome(old.lock("k")) == "done");
  until("on_aborted", [&] { return told.load(); });
  CHECK(outcome(young.lock("z")) == "wounded");
  CHECK(young.error().has_value());
}

TEST_CASE("bad options are refused with a sentence") {
  CHECK(!LockClient::start({}));
  const auto twice = std::vector<AgentAddress>{{SiteId("a"), "tcp://127.0.0.1:1"}, {SiteId("a"), "tcp://127.0.0.1:2"}};
  CHECK(!LockClient::start({.agents = twice, .label = {}, .limits = {}, .on_log = {}}));
  const auto nonsense =
      LockClient::start({.agents = {{SiteId("a"), "nonsense"}}, .label = {}, .limits = {}, .on_log = {}});
  REQUIRE(!nonsense);
  CHECK(nonsense.error().code == LockError::Code::invalid);
  CHECK(nonsense.error().message.find("nonsense") != std::string::npos);
}
