// The embeddable agent over real sockets: agents and a coordinator server in one process, each with its own threads.
#include <doctest/doctest.h>

#include <condition_variable>
#include <gordian/agent.hpp>
#include <mutex>
#include <thread>

#include "embed_scene.hpp"

using namespace gordian;
using namespace gordian::test;

namespace {

struct Orders {
  std::mutex mutex;
  std::vector<AbortOrder> orders;
  [[nodiscard]] std::size_t count() {
    const std::lock_guard lock(mutex);
    return orders.size();
  }
  AgentCallbacks obeying() {
    AgentCallbacks callbacks;
    callbacks.on_abort = [this](const AbortOrder& order, AbortAnswer answer) {
      {
        const std::lock_guard lock(mutex);
        orders.push_back(order);
      }
      answer.done();
    };
    return callbacks;
  }
};

Agent start(const std::string& endpoint, const char* site, AgentCallbacks callbacks) {
  auto agent = Agent::start({.coordinator = endpoint, .site = SiteId(site), .publish_after = 0us}, std::move(callbacks));
  REQUIRE(agent);
  return std::move(*agent);
}

WaitHandle wait(Agent& agent, const char* waiter, const char* blocker) {
  const auto handle = agent.begin_wait({TxnId(waiter), {{TxnId(blocker)}}, "k"});
  REQUIRE(handle);
  return *handle;
}

}  // namespace

TEST_CASE("two embedded agents: the deadlock across them is broken, its victim aborted at both") {
  Server server;
  Orders at_a, at_b;
  auto a = start(server.endpoint(), "a", at_a.obeying());
  auto b = start(server.endpoint(), "b", at_b.obeying());
  wait(b, "T1", "T2");
  wait(a, "T2", "T1");
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(at_a.count() == 1);
  CHECK(at_b.count() == 1);
  CHECK(a.status().aborts_done == 1);
  CHECK(a.status().connected);
}

TEST_CASE("agents start before their coordinator, and survive its coming and going") {
  std::string endpoint;
  { endpoint = Server().endpoint(); }  // a port that is free again
  Orders at_a, at_b;
  auto a = start(endpoint, "a", at_a.obeying());
  auto b = start(endpoint, "b", at_b.obeying());
  wait(b, "T1", "T2");
  { Server first(endpoint); eventually("the agents are accepted", [&] { return a.status().connected && b.status().published == 1; }); }
  wait(a, "T2", "T1");
  Server second(endpoint);
  eventually("the deadlock that stood is found", [&] { return second.incidents().size() == 1; });
}

TEST_CASE("an engine that answers later, from another thread") {
  Server server;
  Orders at_b;
  std::vector<std::jthread> later;  // on a slow machine the order may be given again; they end after the agents
  AgentCallbacks callbacks;
  callbacks.on_abort = [&](const AbortOrder&, AbortAnswer answer) {
    later.emplace_back([answer] { answer.done(), answer.failed("ignored"); });
  };
  auto a = start(server.endpoint(), "a", callbacks);
  auto b = start(server.endpoint(), "b", at_b.obeying());
  wait(b, "T1", "T2"), wait(a, "T2", "T1");
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(server.incidents()[0].outcome == coordinator::Incident::Outcome::resolved);
  CHECK(a.status().aborts_failed == 0);
}

TEST_CASE("an order that is dropped, or answered by an exception, counts as failed and is escalated") {
  Server server;
  Orders at_b;
  std::atomic<unsigned> attempts{0};
  AgentCallbacks callbacks;
  callbacks.on_abort = [&](const AbortOrder& order, AbortAnswer answer) {
    attempts = order.attempt + 1;
    if (order.attempt == 0) return;
    if (order.attempt == 1) throw std::runtime_error("the engine is confused");
    answer.done();
  };
  auto a = start(server.endpoint(), "a", callbacks);
  auto b = start(server.endpoint(), "b", at_b.obeying());
  wait(b, "T1", "T2"), wait(a, "T2", "T1");
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(attempts == 3);
  CHECK(a.status().aborts_failed == 2);
}

TEST_CASE("a callback that takes too long is reported while it runs, and stops neither heartbeats nor reports") {
  Server server;
  std::atomic<int> warnings{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool go_on = false;
  AgentCallbacks callbacks;
  callbacks.on_abort = [&](const AbortOrder& order, AbortAnswer answer) {
    std::unique_lock lock(mutex);
    if (order.role == AbortOrder::Role::waiting) changed.wait(lock, [&] { return go_on; });
    answer.done();
  };
  callbacks.on_log = [&](AgentCallbacks::Level level, std::string_view) { warnings += level == AgentCallbacks::Level::warn; };
  auto agent = Agent::start(
      {.coordinator = server.endpoint(), .site = SiteId("a"), .publish_after = 0us, .callback_warn = 20ms}, callbacks);
  REQUIRE(agent);
  wait(*agent, "T1", "T2"), wait(*agent, "T2", "T1");
  eventually("it is reported", [&] { return agent->status().slow_callbacks == 1; });
  eventually("and logged", [&] { return warnings >= 1; });
  const auto sent = agent->status().deltas_sent;
  wait(*agent, "T8", "T9");
  eventually("reports still go out", [&] { return agent->status().deltas_sent > sent; });
  CHECK(agent->status().connected);
  {
    const std::lock_guard lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  eventually("the incident", [&] { return server.incidents().size() == 1; });
  CHECK(agent->status().slow_callbacks == 1);
}

TEST_CASE("an answer may outlive its agent") {
  Server server;
  std::mutex mutex;
  std::optional<AbortAnswer> kept;
  AgentCallbacks callbacks;
  callbacks.on_abort = [&](const AbortOrder&, AbortAnswer answer) {
    const std::lock_guard lock(mutex);
    if (!kept) kept.emplace(std::move(answer));
  };
  {
    auto a = start(server.endpoint(), "a", callbacks);
    wait(a, "T1", "T2"), wait(a, "T2", "T1");
    eventually("the order", [&] {
      const std::lock_guard lock(mutex);
      return kept.has_value();
    });
  }
  kept->done();
  kept.reset();
  eventually("the incident is closed", [&] { return server.incidents().size() == 1; });
  CHECK(server.incidents()[0].outcome == coordinator::Incident::Outcome::failed);  // its agent went before it answered
}

TEST_CASE("options that can't be used are refused with a sentence") {
  Orders orders;
  const auto bad = Agent::start({.coordinator = "nonsense", .site = SiteId("a")}, orders.obeying());
  REQUIRE(!bad);
  CHECK(bad.error().code == AgentError::Code::invalid_option);
  CHECK(bad.error().message.find("coordinator endpoint 'nonsense'") != std::string::npos);
  CHECK(Agent::start({.site = SiteId("a")}, {}).error().message.find("on_abort") != std::string::npos);
}

TEST_CASE("many threads report at once, while deadlocks are found and broken") {
  Server server;
  Orders at_a, at_b;
  auto a = start(server.endpoint(), "a", at_a.obeying());
  auto b = start(server.endpoint(), "b", at_b.obeying());
  constexpr int threads = 4, rounds = 50;
  std::vector<std::thread> engines;
  for (int t = 0; t < threads; ++t) {
    engines.emplace_back([&, t] {
      for (int r = 0; r < rounds; ++r) {
        const auto one = std::to_string(t) + "." + std::to_string(r) + ".1", two = std::to_string(t) + "." + std::to_string(r) + ".2";
        const auto w1 = a.begin_wait({TxnId(one), {{TxnId(two)}}, "k"});
        const auto w2 = b.begin_wait({TxnId(two), {{TxnId(one)}}, "k"});
        (void)a.describe(TxnId(one), {});
        (void)a.set_blockers(*w1, {{TxnId(two)}, {TxnId("somebody")}});
        if (r % 2 == 0) {
          a.end_wait(*w1);
          b.end_wait(*w2);
          a.forget(TxnId(one));
        }
      }
    });
  }
  for (auto& engine : engines) engine.join();
  eventually("every deadlock that stays is broken", [&] { return server.incidents().size() >= threads * rounds / 2; });
  CHECK(at_a.count() + at_b.count() >= threads * rounds / 2);
}
