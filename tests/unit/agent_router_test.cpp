// An agent that speaks with several coordinators: ownership, questions and orders over any session.
#include "router_cluster.hpp"

using namespace gordian;
using namespace gordian::test;

TEST_CASE("each wait is told to its owner only, whichever coordinator answered first") {
  Cluster c;
  const auto map = map_of(1, {"a", "b", "c"});
  c.start(map);
  c.agent({"ipc://b"});
  CHECK(c.connections() == std::vector<std::string>{"ipc://a", "ipc://b", "ipc://c"});
  CHECK(c.router->status().coordinators == 3);
  CHECK(c.router->status().connected_to == 3);
  for (const auto& name : numbered(60)) (void)c.wait(name, "X");
  c.settle();
  c.check_ownership(map, numbered(60));
  CHECK(c.router->status().waits == 60);
  CHECK(c.router->status().published == 60);
  for (const auto* member : {"a", "b", "c"}) CHECK(c.at(member).waits.size() > 5);
}

TEST_CASE("waits that began before anybody answered are told to their owners once the map is known") {
  Cluster c;
  const auto map = map_of(1, {"a", "b", "c"});
  c.agent({"ipc://a", "ipc://b"});
  std::map<std::string, WaitHandle> handles;
  for (const auto& name : numbered(30)) handles.emplace(name, c.wait(name, "X"));
  c.pass(second);
  CHECK_FALSE(c.router->status().connected);
  c.start(map);
  c.pass(second);
  c.check_ownership(map, numbered(30));
  for (const auto& [name, handle] : handles) {
    CHECK(c.router->set_blockers(handle, {{TxnId("Y")}}).has_value());
    c.router->end_wait(handle);
  }
  c.settle();
  for (const auto* member : {"a", "b", "c"}) CHECK(c.at(member).waits.empty());
  CHECK_FALSE(c.router->set_blockers(handles.at("T0"), {}).has_value());
}

TEST_CASE("one coordinator alone owns everything, and handles are the numbers on the wire") {
  Cluster c;
  c.start("ipc://a", "", {});
  c.agent({"ipc://a"});
  const auto handle = c.wait("T1", "T2");
  c.settle();
  CHECK(c.at("a").waits.contains(static_cast<std::uint64_t>(handle)));
  CHECK(c.router->status().coordinators == 1);
  c.router->end_wait(handle);
  c.settle();
  CHECK(c.at("a").waits.empty());
}

TEST_CASE("no two waits at any coordinators share a sequence") {
  Cluster c;
  c.start(map_of(1, {"a", "b", "c"}));
  c.agent({"ipc://a"});
  for (const auto& name : numbered(50)) (void)c.wait(name, "X");
  c.settle();
  std::set<std::uint64_t> sequences;
  for (const auto* member : {"a", "b", "c"})
    for (const auto& [sequence, wait] : c.at(member).waits) CHECK(sequences.insert(sequence).second);
  CHECK(sequences.size() == 50);
}

TEST_CASE("a question over another session is answered by the numbers of the owner's") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto mine = owned_by(map, "a");
  for (int i = 0; i < 5; ++i) (void)c.wait(owned_by(map, "b", "N" + std::to_string(i) + "-"), "X"), c.settle();
  const auto handle = c.wait(mine, "X");
  c.settle();
  const auto sequence = c.at("a").sequence_of(mine);
  const auto since = c.at("a").number;  // few messages went to a, many to b
  REQUIRE(c.at("b").number > since);
  const auto ask = [&](std::uint64_t number) {
    c.say("b", wire::Confirm{1, 7, 9, {{sequence, TxnId("X"), number}}});
    return c.at("b").answers.back().denied.empty();
  };
  CHECK(ask(since));
  CHECK_FALSE(ask(since - 1));
  CHECK(c.at("a").answers.empty());
  CHECK(c.router->renew_blocker(handle, TxnId("X")).has_value());
  CHECK_FALSE(ask(since));
  c.router->end_wait(handle);
  CHECK_FALSE(ask(100));
}

TEST_CASE("an engine that looks again is asked with its own handles, and may answer at once or later") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"}, true);
  const auto at_a = owned_by(map, "a"), at_b = owned_by(map, "b");
  const auto first = c.wait(at_a, "X"), second_wait = c.wait(at_b, "X");
  c.settle();
  c.say("b", wire::Confirm{1, 7, 1,
                           {{c.at("a").sequence_of(at_a), TxnId("X"), c.at("a").number},
                            {c.at("b").sequence_of(at_b), TxnId("X"), c.at("b").number}}});
  REQUIRE(c.questions.size() == 1);
  CHECK(c.questions[0].waits == std::vector<WaitHandle>{first, second_wait});
  CHECK(c.at("b").answers.empty());
  c.router->end_wait(first);
  c.router->confirm_ready(c.questions[0].ticket);
  c.router->confirm_ready(c.questions[0].ticket);
  c.settle();
  REQUIRE(c.at("b").answers.size() == 1);
  CHECK(c.at("b").answers[0].denied.size() == 1);
  CHECK(c.at("a").waits.empty());
}

TEST_CASE("an order over another session ends the wait at its owner, once") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto victim = owned_by(map, "a");
  const auto handle = c.wait(victim, "X");
  c.settle();
  const wire::Abort order{1, 7, 4, "b-1-1", TxnId(victim), c.at("a").sequence_of(victim), wire::Abort::Role::waiting, 0,
                          2000, "why"};
  c.say("b", order);
  REQUIRE(c.orders.size() == 1);
  CHECK(c.orders[0].order.wait == handle);
  c.router->answer_abort(c.orders[0].ticket, wire::Aborted::Outcome::done, "");
  c.settle();
  CHECK(c.at("b").aborted.back().outcome == wire::Aborted::Outcome::done);
  CHECK(c.at("a").aborted.empty());
  CHECK(c.at("a").waits.empty());
  c.say("b", order);
  CHECK(c.at("b").aborted.back().text == "done already");
  c.say("a", order);
  CHECK(c.at("a").aborted.back().outcome == wire::Aborted::Outcome::stale);
  CHECK(c.orders.size() == 1);
  CHECK(c.router->status().aborts_done == 1);
}

TEST_CASE("each session goes by the term of its own coordinator") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.at("a").epoch = 5;
  c.agent({"ipc://a"});
  const auto waiter = owned_by(map, "b");
  (void)c.wait(waiter, "X");
  c.settle();
  c.say("b", wire::Confirm{1, 7, 1, {{c.at("b").sequence_of(waiter), TxnId("X"), c.at("b").number}}});
  REQUIRE(c.at("b").answers.size() == 1);
  c.say("a", wire::Confirm{4, 7, 1, {{c.at("b").sequence_of(waiter), TxnId("X"), c.at("b").number}}});
  CHECK(c.router->status().orders_refused == 1);
  CHECK(c.router->status().epoch == 5);
}

TEST_CASE("forgetting a transaction ends its waits at its owner, and its handles are unknown then") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto txn = owned_by(map, "b");
  const auto handle = c.wait(txn, "X");
  c.settle();
  c.router->forget(TxnId(txn));
  c.settle();
  CHECK(c.at("b").waits.empty());
  CHECK_FALSE(c.router->set_blockers(handle, {}).has_value());
}

TEST_CASE("the limit of waits is for the agent, not for each session") {
  Cluster c;
  c.start(map_of(1, {"a", "b", "c"}));
  c.agent({"ipc://a"});
  for (const auto& name : numbered(300)) (void)c.wait(name, "X");
  const auto refused = c.router->begin_wait({TxnId("one more"), {}, "r", "X"}, c.now_us);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == AgentError::Code::limit_reached);
}
