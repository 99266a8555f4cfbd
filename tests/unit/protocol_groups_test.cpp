// Holder groups over the wire: the same scenarios as in protocol_test.cpp with waits that name groups, and what a hand-over
// costs.
#include <doctest/doctest.h>

#include <algorithm>

#include "protocol_world.hpp"

using namespace gordian;
using gordian::test::World;
using Outcome = coordinator::Incident::Outcome;
using strings = std::vector<std::string>;

namespace {

/// T1 holds k at a and waits for m at b; T2 holds m at b and waits for k at a.
void cross(World& w) {
  w.add("a"), w.add("b");
  w.group("a", "k", {"T1"}), w.group("b", "m", {"T2"});
  w.wait_for_group("b", "T1", "m");
  w.wait_for_group("a", "T2", "k");
}

/// Everything up to and including the coordinator's questions being on their way.
void until_asked(World& w) { w.speak(), w.deliver_to_boss(), w.speak(); }

strings waiters(const coordinator::Incident& incident) {
  strings names;
  for (const auto& edge : incident.edges) names.push_back(edge.waiter.str() + ">" + edge.blocker.str());
  return names;
}

}  // namespace

TEST_CASE("groups: a deadlock across two sites is confirmed, and one victim aborted everywhere") {
  World w;
  cross(w);
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  CHECK(incident.outcome == Outcome::resolved);
  CHECK(waiters(incident) == strings{"T1>T2", "T2>T1"});
  CHECK(incident.edges[0].resource == "m");
  CHECK(w.ordered("a") == strings{"T2"});  // where it waits
  CHECK(w.engines.at("a").orders[0].order.role == AbortOrder::Role::waiting);
  CHECK(w.ordered("b") == strings{"T2"});  // where it is a member
  CHECK(w.engines.at("b").orders[0].order.role == AbortOrder::Role::holding);
  w.pass(5000);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("groups: two members that convert are deadlocked, one beside a reader is not") {
  World w;
  w.add("a");
  w.group("a", "k", {"T1", "T2", "T3"});
  w.wait_for_group("a", "T1", "k");
  w.pass(2500);  // full passes, too
  CHECK(w.incidents().empty());
  w.wait_for_group("a", "T2", "k");
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(waiters(w.incidents()[0]) == strings{"T1>T2", "T2>T1"});
  w.pass(2500);
  CHECK(w.incidents().size() == 1);
  CHECK(w.ordered("a") == strings{"T2"});
}

TEST_CASE("groups: N members that convert at once: N-1 victims, even when their edges are too many for one question") {
  World w;
  SUBCASE("in one candidate") {}
  SUBCASE("cycle by cycle") {
    w.options.limits.candidate_edges = 50;
    w.start_boss();
  }
  w.add("a", 1, [](agent::Options& o) { o.publish_after_us = 100'000; });
  w.group("a", "k", {});
  for (int i = 0; i < 20; ++i) w.join("a", "k", "T" + std::to_string(i));
  for (int i = 0; i < 20; ++i) w.wait_for_group("a", "T" + std::to_string(i), "k");
  w.pass(10'000);
  CHECK(w.ordered("a").size() == 19);
  CHECK(w.boss->status(w.time()).waits == 1);
}

TEST_CASE("groups: a member that left and came back is a new edge, and is denied") {
  World w;
  cross(w);
  until_asked(w);
  w.leave("a", "k", "T1");
  w.join("a", "k", "T1");
  w.settle();
  CHECK(w.counter("candidates_denied") == 1);
  CHECK(w.incidents().size() == 1);  // found again as it is now
}

TEST_CASE("groups: a member that joins a second time is a new edge") {
  World w;
  cross(w);
  until_asked(w);
  w.join("a", "k", "T1");
  w.settle();
  CHECK(w.counter("candidates_denied") == 1);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("groups: a member that left before it was asked about: nobody is aborted") {
  World w;
  cross(w);
  until_asked(w);
  w.leave("a", "k", "T1");
  w.settle();
  w.pass(3000);
  CHECK(w.counter("candidates_denied") == 1);
  CHECK(w.incidents().empty());
}

TEST_CASE("groups: other members come and go while one is asked about") {
  World w;
  cross(w);
  until_asked(w);
  w.join("a", "k", "T8"), w.join("a", "k", "T9"), w.leave("a", "k", "T9");
  w.settle();
  CHECK(w.counter("candidates_denied") == 0);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("groups: the lock passes to one who waits for one of its waiters") {
  World w;
  w.add("a"), w.add("b");
  w.group("a", "k", {"T1"});
  w.wait_for_group("a", "T2", "k"), w.wait_for_group("a", "T3", "k");
  w.wait("b", "T4", {"T3"});
  w.settle();
  CHECK(w.incidents().empty());
  w.leave("a", "k", "T1"), w.join("a", "k", "T4");
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(waiters(w.incidents()[0]) == strings{"T3>T4", "T4>T3"});
}

TEST_CASE("groups: a cycle closed by a new member while another is being broken is found afterwards") {
  World w;
  cross(w);
  w.engines.at("a").obeys = false;
  w.add("c");
  w.group("c", "n", {"T0"});
  w.wait_for_group("c", "T3", "n");
  w.wait("b", "T9", {"T3"});
  w.settle();
  REQUIRE(w.ordered("a") == strings{"T2"});  // condemned, and not gone
  w.wait("b", "T2", {"T3"});                 // also waits for T3 …
  w.join("c", "n", "T2");                    // … which waits for it now
  w.settle();
  CHECK(w.incidents().size() == 1);
  auto& a = w.engines.at("a");
  a.core->end_wait(a.handles.at("T2"));
  a.core->answer_abort(a.orders[0].ticket, wire::Aborted::Outcome::failed, "it was rescued");
  w.pass(9000);
  CHECK(w.incidents().size() >= 2);
}

TEST_CASE("groups: a lost message leads to a snapshot that carries them") {
  World w;
  w.add("a"), w.add("b");
  w.group("a", "k", {"T1", "T5"}), w.group("b", "m", {"T2"});
  w.lose_request = [](const auto&, const wire::Request& r) {
    const auto* m = std::get_if<wire::FromAgent>(&r);
    return m != nullptr && std::holds_alternative<wire::Delta>(*m);
  };
  w.wait_for_group("b", "T1", "m");
  w.settle();
  w.leave("b", "m", "T2"), w.join("b", "m", "T7"), w.join("b", "m", "T2");
  w.settle();
  w.lose_request = [](auto&, auto&) { return false; };
  w.pass(600);  // noticed at the next heartbeat
  CHECK(w.counter("resyncs") == 1);
  const auto graph = w.boss->graph(w.time(), 100);
  REQUIRE(graph.groups.size() == 1);
  CHECK(graph.groups[0].members == std::vector<TxnId>{TxnId("T2"), TxnId("T7")});
  w.wait_for_group("a", "T2", "k");
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("groups: a snapshot ends what is not in it") {
  World w;
  w.add("a");
  w.group("a", "k", {"T1", "T5"}), w.group("a", "m", {"T1"});
  w.wait_for_group("a", "T2", "k"), w.wait_for_group("a", "T3", "m");
  w.settle();
  CHECK(w.boss->status(w.time()).groups == 2);
  w.cut = true;
  w.end("a", "T3"), w.leave("a", "k", "T5");
  w.settle();
  w.cut = false;
  w.pass(1500);
  CHECK(w.boss->status(w.time()).groups == 1);
  CHECK(w.boss->graph(w.time(), 10).groups.at(0).members == std::vector<TxnId>{TxnId("T1")});
  CHECK(w.boss->status(w.time()).txns == 2);
}

TEST_CASE("groups: a coordinator that is started again rebuilds them, and finds the deadlock that stands") {
  World w;
  cross(w);
  w.cut = true;
  w.settle();
  w.start_boss();
  w.cut = false;
  w.pass(1500);
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
}

TEST_CASE("groups: they go with their agent") {
  World w;
  w.add("a"), w.add("b");
  w.group("b", "m", {"T2"});
  w.wait_for_group("b", "T1", "m");
  w.settle();
  SUBCASE("killed") {
    w.engines.at("b").up = false;
    w.pass(3500);
  }
  SUBCASE("replaced by one that knows nothing of them") {
    w.add("b", 2);
    w.pass(1500);
  }
  CHECK(w.boss->status(w.time()).groups == 0);
  CHECK(w.boss->status(w.time()).txns == 0);
}

TEST_CASE("groups: nothing is told of one that no published wait names, and it is withdrawn with the last") {
  World w;
  w.add("a", 1, [](agent::Options& o) { o.publish_after_us = 100'000; });
  TxnInfo info;
  info.label = "billing";
  REQUIRE(w.engines.at("a").core->describe(TxnId("T1"), info));
  w.group("a", "k", {"T1"});
  w.wait_for_group("a", "T2", "k");
  w.leave("a", "k", "T1"), w.join("a", "k", "T1");
  w.pass(50);
  CHECK(w.counter("changes") == 0);
  w.end("a", "T2");
  w.pass(100);
  CHECK(w.counter("changes") == 0);
  w.wait_for_group("a", "T3", "k");
  w.pass(150);
  CHECK(w.counter("changes") == 3);  // T1's description, the group, the wait
  CHECK(w.boss->graph(w.time(), 10).txns.at(0).info.label == "billing");
  w.end("a", "T3");
  w.settle();
  CHECK(w.counter("changes") == 6);
  CHECK(w.boss->status(w.time()).groups == 0);
  w.wait_for_group("a", "T4", "k");  // and told again
  w.pass(150);
  CHECK(w.boss->graph(w.time(), 10).groups.at(0).members == std::vector<TxnId>{TxnId("T1")});
}

TEST_CASE("groups: withdrawn and needed again between two messages") {
  World w;
  w.add("a");
  w.group("a", "k", {"T1"});
  w.wait_for_group("a", "T2", "k");
  w.settle();
  w.end("a", "T2");
  w.wait_for_group("a", "T3", "k");
  w.settle();
  const auto graph = w.boss->graph(w.time(), 10);
  REQUIRE(graph.waits.size() == 1);
  CHECK(graph.waits[0].wait.waiter == TxnId("T3"));
  CHECK(graph.groups.at(0).members == std::vector<TxnId>{TxnId("T1")});
}

TEST_CASE("groups: a large one travels in pieces, in deltas and snapshots, and what is shown of it is limited") {
  World w;
  w.add("a");
  w.group("a", "k", {});
  for (int i = 0; i < 3000; ++i) w.join("a", "k", "R" + std::to_string(i));
  w.wait_for_group("a", "T1", "k");
  w.wait("a", "R2999", {"X"});
  w.settle();
  const auto check = [&] {
    const auto graph = w.boss->graph(w.time(), 10);
    REQUIRE(graph.groups.size() == 1);
    CHECK(graph.groups[0].members_total == 3000);
    CHECK(graph.groups[0].members.size() == coordinator::GraphView::members_max);
    CHECK(graph.groups[0].members.at(0) == TxnId("R2999"));  // who waits comes first
    CHECK(w.boss->status(w.time()).edges == 3002);
  };
  check();
  w.start_boss();
  w.pass(1000);
  check();
}

TEST_CASE("groups: one that was ended has no members, and is gone when the last wait is that names it") {
  World w;
  w.add("a");
  w.group("a", "k", {"T1"});
  w.wait_for_group("a", "T2", "k");
  w.settle();
  auto& core = *w.engines.at("a").core;
  const auto k = w.engines.at("a").groups.at("k");
  core.end_group(k);
  core.end_group(k);
  core.join_group(k, TxnId("T9"));
  w.settle();
  CHECK(w.boss->graph(w.time(), 10).groups.at(0).members.empty());
  Wait late{TxnId("T3"), {}, "k"};
  late.groups = {k};
  const auto refused = core.begin_wait(late, w.now_us);
  REQUIRE(!refused);
  CHECK(refused.error().code == AgentError::Code::unknown_group);
  CHECK(refused.error().message == "wait of T3: group 1 was ended, or never begun");
  CHECK(core.status().groups == 1);
  w.end("a", "T2");
  w.settle();
  CHECK(core.status().groups == 0);
  CHECK(w.boss->status(w.time()).groups == 0);
}

TEST_CASE("groups: an agent's limits") {
  World w;
  w.add("a", 1, [](agent::Options& o) { o.limits.groups = 2, o.limits.members_per_group = 2, o.limits.groups_per_wait = 1; });
  w.group("a", "k", {"T1", "T2", "T3", "T4"}), w.group("a", "m", {});
  auto& core = *w.engines.at("a").core;
  CHECK(core.begin_group("n", "X").error().message ==
        "site a: 3 holder groups, at most 2 are allowed; end_group() those that no wait names any more, or raise AgentLimits::groups");
  Wait wide{TxnId("T9"), {}, "k"};
  wide.groups = {w.engines.at("a").groups.at("k"), w.engines.at("a").groups.at("m")};
  CHECK(core.begin_wait(wide, w.now_us).error().code == AgentError::Code::limit_reached);
  w.wait_for_group("a", "T9", "k");
  w.settle();
  CHECK(w.boss->graph(w.time(), 10).groups.at(0).members_total == 2);
  CHECK(core.status().limit_reached == 4);
  const auto told = std::ranges::count_if(w.engines.at("a").notes, [](const auto& note) {
    return note.find("more than 2 hold k in mode S, T3 is left out") != std::string::npos;
  });
  CHECK(told == 1);
}

TEST_CASE("groups: a coordinator's limit leaves groups out, and the waits for them stand") {
  World w;
  w.options.limits.groups_per_site = 1;
  w.start_boss();
  w.add("a");
  w.group("a", "k", {"T1"}), w.group("a", "m", {"T1"});
  w.wait_for_group("a", "T2", "k"), w.wait_for_group("a", "T3", "m");
  w.join("a", "m", "T8");
  w.settle();
  w.join("a", "m", "T7");
  w.settle();
  CHECK(w.boss->status(w.time()).groups == 1);
  CHECK(w.boss->status(w.time()).waits == 2);
  CHECK(w.counter("limit_groups") == 3);  // the group, the wait for it, a member
  CHECK(w.counter("refused_malformed") == 0);
}

TEST_CASE("groups: a wait that names one that was never begun is malformed") {
  World w;
  w.add("a");
  Wait wait{TxnId("T1"), {}, "k"};
  wait.groups = {GroupHandle{17}};
  w.boss->receive("a", wire::FromAgent(wire::Delta{1, 2, {wire::WaitChange{1, wait}, wire::LeaveChange{GroupHandle{17}, TxnId("T1")}}}),
                  w.time());
  const auto out = w.boss->take_outgoing();
  REQUIRE(out.size() == 1);
  const auto& error = std::get<wire::Error>(out[0].message);
  CHECK(error.code == wire::Error::Code::malformed);
  CHECK(error.text == "wait 1 names group 17, which site a has not begun or has ended (change 4 begins it)");
  CHECK(w.boss->status(w.time()).waits == 0);
  CHECK(w.counter("refused_malformed") == 1);
}

TEST_CASE("groups: a hand-over costs the same messages, changes, graph changes and search steps, however many wait") {
  const auto cost = [](int waiters) {
    World w;
    w.add("a"), w.add("b");
    w.group("a", "k", {"T0"});
    TxnInfo info;
    info.label = "shop";
    for (int i = 0; i <= waiters; ++i) REQUIRE(w.engines.at("a").core->describe(TxnId("T" + std::to_string(i)), info));
    for (int i = 1; i <= waiters; ++i) w.wait_for_group("a", "T" + std::to_string(i), "k");
    w.wait("b", "T1", {"U"});  // the next holder waits elsewhere already: there is something to search
    w.settle();
    REQUIRE(w.boss->status(w.time()).waits == static_cast<std::size_t>(waiters) + 1);
    const strings names{"messages", "deltas", "snapshots", "changes", "graph_changes", "searches", "search_steps"};
    const auto figures = [&] {
      std::vector<std::uint64_t> values;
      for (const auto& name : names) values.push_back(w.counter(name));
      return values;
    };
    const auto before = figures();
    std::size_t bytes = 0;
    for (int i = 0; i < 10; ++i) {
      w.leave("a", "k", "T" + std::to_string(i));
      w.end("a", "T" + std::to_string(i + 1));
      w.join("a", "k", "T" + std::to_string(i + 1));
      w.speak();
      for (const auto& [site, message] : w.to_boss) bytes += message.size();
      w.deliver_to_boss(), w.settle();
    }
    auto after = figures();
    for (std::size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
    CHECK(after[0] == 10);  // one message each
    CHECK(after[3] <= 70);  // left, a wait over, joined, and two descriptions
    CHECK(after[4] == 30);  // two edges at the group, one of the wait
    MESSAGE(waiters << " waiters, ten hand-overs: " << after[0] << " messages, " << after[3] << " changes, " << bytes
                    << " bytes, " << after[4] << " changes of the graph, " << after[6] << " steps of " << after[5]
                    << " searches");
    after.push_back(bytes);
    return after;
  };
  CHECK(cost(100) == cost(10'000));
}
