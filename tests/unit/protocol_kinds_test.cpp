// The general wait models over the wire: queues that are reordered instead of an abort, locks that are given back early, and
// waits for some of several.
#include <doctest/doctest.h>

#include <algorithm>

#include "protocol_world.hpp"

using namespace gordian;
using gordian::test::World;
using Outcome = coordinator::Incident::Outcome;
using Answer = wire::Aborted::Outcome;
using strings = std::vector<std::string>;

namespace {

void reorders(agent::Options& options) { options.engine_reorders = true; }

Blocker soft(const char* txn) { return {TxnId(txn), Kind::soft}; }
Blocker hard(const char* txn) { return {TxnId(txn), Kind::hard}; }
Blocker dotted(const char* txn) { return {TxnId(txn), Kind::dotted}; }

/// T1 is queued behind T2 at a, T2 waits for T1 at b.
void queue_cross(World& w) {
  w.wait_for("a", "T1", {soft("T2")});
  w.wait_for("b", "T2", {hard("T1")});
}

/// Everything up to and including the coordinator's questions being on their way.
void until_asked(World& w) { w.speak(), w.deliver_to_boss(), w.speak(); }

strings steps(const coordinator::Incident& incident) {
  strings texts;
  for (const auto& step : incident.steps) texts.push_back(step.what);
  return texts;
}

bool nobody_died(const World& w) {
  return std::ranges::all_of(w.engines, [](const auto& engine) { return engine.second.orders.empty(); });
}

/// T9 waits for any of `names` at a; each of them waits for T9 at a site of its own.
void any_of(World& w, std::vector<std::string> names) {
  std::vector<Blocker> blockers;
  for (const auto& name : names) blockers.push_back({TxnId(name)});
  w.wait_for("a", "T9", blockers, 1);
  for (std::size_t i = 0; i < names.size(); ++i) w.wait(std::string(1, static_cast<char>('b' + i)), names[i], {"T9"});
}

}  // namespace

TEST_CASE("kinds: a deadlock through a queue, over two sites, is reordered, and nobody dies") {
  World w;
  w.add("a", 1, reorders), w.add("b");
  SUBCASE("told by name") { queue_cross(w); }
  SUBCASE("told as a group of those queued ahead") {
    w.group("a", "k", {"T2"}, Kind::soft);
    w.wait_for_group("a", "T1", "k");
    w.wait("b", "T2", {"T1"});
  }
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  CHECK(incident.outcome == Outcome::resolved);
  CHECK(incident.victims.empty());
  CHECK(std::ranges::none_of(incident.txns, &coordinator::IncidentTxn::victim));
  CHECK(steps(incident) == strings{"confirmed by every site; no victim, queues are reordered",
                                   "reorder at site a ordered: T1 ahead of T2", "reordered at site a: T1 ahead of T2"});
  REQUIRE(incident.edges.size() == 2);
  CHECK(incident.edges[0].kind == Kind::soft);
  CHECK(incident.edges[0].reordered);
  CHECK(incident.edges[1].kind == Kind::hard);
  CHECK_FALSE(incident.edges[1].reordered);
  REQUIRE(w.engines.at("a").reorders.size() == 1);
  CHECK(w.engines.at("a").reorders[0].order.ahead_of == TxnId("T2"));
  CHECK(nobody_died(w));
  CHECK(w.engines.at("a").core->status().reorders_done == 1);
  CHECK(w.counter("reorders") == 1);
  w.pass(5000);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: a wait that is ahead now, and still waits for a holder, is not behind that request any more") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;
  SUBCASE("told by name") { w.wait_for("a", "T1", {soft("T2"), hard("T7")}); }
  SUBCASE("told as a group") {
    w.group("a", "k", {"T2"}, Kind::soft);
    w.wait_for_group("a", "T1", "k");
  }
  w.wait("b", "T2", {"T1"});
  w.settle();
  REQUIRE(a.reorders.size() == 1);
  a.core->answer_reorder(a.reorders[0].ticket, Answer::done, {});  // and the engine reports nothing by itself
  w.pass(3000);
  CHECK(a.reorders.size() == 1);
  CHECK(w.incidents().size() == 1);
  CHECK(w.boss->status(w.time()).waits == 2);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: an engine that does not reorder: the deadlock is broken by an abort, in the same incident") {
  World w;
  w.add("a"), w.add("b");
  queue_cross(w);
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  CHECK(incident.outcome == Outcome::resolved);
  CHECK(incident.victims == std::vector<TxnId>{TxnId("T2")});
  CHECK(std::ranges::count_if(incident.txns, &coordinator::IncidentTxn::victim) == 1);
  CHECK(std::ranges::count(steps(incident), "not reordered at site a: this engine does not reorder queues") == 1);
  CHECK(w.ordered("b") == strings{"T2"});
  CHECK(w.counter("reorders_failed") == 1);
  w.pass(5000);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: the engine could not reorder") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;
  queue_cross(w);
  w.settle();
  REQUIRE(a.reorders.size() == 1);
  a.obeys = true;  // it frees locks
  a.core->answer_reorder(a.reorders[0].ticket, Answer::failed, "the queue is in a file");
  w.settle();
  CHECK(w.ordered("b") == strings{"T2"});
  CHECK(w.incidents().at(0).outcome == Outcome::resolved);
}

TEST_CASE("kinds: an order that nobody answers is given again, and then an abort is ordered") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;
  queue_cross(w);
  w.settle();
  w.pass(4500);
  CHECK(a.reorders.size() == 3);
  CHECK(a.reorders.back().order.attempt == 2);
  CHECK(nobody_died(w));
  w.pass(2500);
  CHECK(w.ordered("b") == strings{"T2"});
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: the answer to a reorder is lost: it is carried out once, and answered as before") {
  World w;
  w.add("a", 1, reorders), w.add("b");
  queue_cross(w);
  bool lost = false;
  w.lose_request = [&](const auto&, const wire::Request& r) {
    const auto* m = std::get_if<wire::FromAgent>(&r);
    return m != nullptr && std::holds_alternative<wire::Aborted>(*m) && !std::exchange(lost, true);
  };
  w.settle();
  CHECK(w.incidents().at(0).outcome == Outcome::resolving);
  w.pass(2500);
  CHECK(w.engines.at("a").reorders.size() == 1);
  CHECK(w.incidents().at(0).outcome == Outcome::resolved);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: a queue that moved before the order came: nothing is done, and nobody dies") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  queue_cross(w);
  w.speak(), w.deliver_to_boss();    // found
  w.speak(), w.deliver_to_agents();  // asked
  w.speak(), w.deliver_to_boss();    // confirmed
  w.speak();                         // the order is on its way …
  SUBCASE("the wait is over") { w.end("a", "T1"); }
  SUBCASE("the one ahead gave up its place") { REQUIRE(a.core->set_blockers(a.handles.at("T1"), {{TxnId("T7")}})); }
  w.settle();
  w.pass(3000);
  CHECK(a.reorders.empty());
  CHECK(a.core->status().reorders_stale == 1);
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::dissolved);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: the one queued ahead got the lock while the order was under way: now one of them must die") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  queue_cross(w);
  w.speak(), w.deliver_to_boss();
  w.speak(), w.deliver_to_agents();
  w.speak(), w.deliver_to_boss();
  w.speak();
  REQUIRE(a.core->set_blockers(a.handles.at("T1"), {hard("T2")}));
  w.settle();
  w.pass(1500);
  CHECK(a.reorders.empty());
  REQUIRE(w.incidents().size() == 2);
  CHECK(w.incidents()[1].outcome == Outcome::dissolved);
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
  CHECK(w.incidents()[0].victims.size() == 1);
}

TEST_CASE("kinds: an agent that says stale and reports otherwise is not ordered again and again") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;
  queue_cross(w);
  w.settle();
  REQUIRE(a.reorders.size() == 1);
  a.core->answer_reorder(a.reorders[0].ticket, Answer::stale, {});
  w.pass(3000);
  CHECK(a.reorders.size() == 1);
  CHECK(w.ordered("b") == strings{"T2"});
}

TEST_CASE("kinds: the agent that was to reorder dies: its waits are gone, and so is the deadlock") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;
  queue_cross(w);
  w.settle();
  a.up = false;
  w.pass(4000);
  CHECK(w.incidents().size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::dissolved);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: two queues in one cycle: one reorder is enough") {
  World w;
  w.add("a", 1, reorders), w.add("b", 1, reorders);
  w.wait_for("a", "T1", {soft("T2")});
  w.wait_for("b", "T2", {soft("T1")});
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.engines.at("a").reorders.size() + w.engines.at("b").reorders.size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: a soft edge within a cycle of hard ones does not save anybody") {
  World w;
  auto& a = w.add("a", 1, reorders);
  w.add("b");
  a.obeys = false;  // if it is asked to reorder, T1 is ahead of T3 then, and waits on
  w.wait_for("a", "T1", {soft("T3"), hard("T2")});
  w.wait_for("b", "T2", {hard("T1")});
  w.wait_for("b", "T3", {hard("T1")});
  w.settle();
  for (const auto& call : a.reorders) a.core->answer_reorder(call.ticket, Answer::done, {});
  a.obeys = true;
  w.pass(3000);
  std::size_t victims = 0;
  for (const auto& incident : w.incidents()) victims += incident.victims.size();
  CHECK(victims == 1);
}

TEST_CASE("kinds: those of class never may be reordered") {
  World w;
  w.add("a", 1, reorders), w.add("b");
  TxnInfo never;
  never.victim_class = TxnInfo::Class::never;
  for (const char* txn : {"T1", "T2"})
    for (auto& [site, engine] : w.engines) REQUIRE(engine.core->describe(TxnId(txn), never));
  queue_cross(w);
  w.settle();
  CHECK(w.incidents().at(0).outcome == Outcome::resolved);
  CHECK(nobody_died(w));
}

TEST_CASE("kinds: a dotted edge counts while its blocker waits at the same site") {
  World w;
  w.add("a"), w.add("b");
  w.wait_for("a", "T1", {dotted("T2")});
  SUBCASE("it waits elsewhere: it will give that lock back") {
    w.wait("b", "T2", {"T1"});
    w.pass(3000);
    CHECK(w.incidents().empty());
  }
  SUBCASE("it waits here") {
    w.wait("a", "T2", {"T1"});
    w.settle();
    REQUIRE(w.incidents().size() == 1);
    CHECK(w.incidents()[0].edges.at(0).kind == Kind::dotted);
    CHECK(w.incidents()[0].outcome == Outcome::resolved);
  }
  SUBCASE("it is gone before the confirmation comes") {
    w.wait("a", "T2", {"T1"});
    until_asked(w);
    REQUIRE(w.engines.at("a").core->set_blockers(w.engines.at("a").handles.at("T1"), {}));
    w.settle();
    w.pass(3000);
    CHECK(w.incidents().empty());
    CHECK(w.counter("candidates_denied") == 1);
  }
}

TEST_CASE("kinds: an edge of another kind is another edge") {
  World w;
  w.add("a"), w.add("b");
  w.wait_for("a", "T1", {hard("T2")});
  w.wait("b", "T2", {"T1"});
  until_asked(w);
  REQUIRE(w.engines.at("a").core->set_blockers(w.engines.at("a").handles.at("T1"), {dotted("T2")}));
  w.settle();
  w.pass(3000);
  CHECK(w.incidents().empty());
  CHECK(w.counter("candidates_denied") == 1);
}

TEST_CASE("kinds: any of several: a deadlock over three sites is confirmed with all alternatives, and one dies") {
  World w;
  w.add("a"), w.add("b"), w.add("c");
  any_of(w, {"T1", "T2"});
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  CHECK(incident.outcome == Outcome::resolved);
  CHECK(incident.edges.size() == 4);
  CHECK(incident.victims.size() == 1);
  w.pass(3000);
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: one alternative that goes on is enough") {
  World w;
  w.add("a"), w.add("b");
  w.wait_for("a", "T9", {{TxnId("T1")}, {TxnId("T2")}}, 1);
  w.wait("b", "T1", {"T9"});
  w.pass(3000);
  CHECK(w.incidents().empty());
  w.wait("b", "T2", {"T1"});  // and now it waits, too
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: an alternative gained between the report and the confirmation: denied, and nobody dies") {
  World w;
  auto& a = w.add("a");
  w.add("b"), w.add("c");
  any_of(w, {"T1", "T2"});
  SUBCASE("before it was asked") {
    until_asked(w);
    REQUIRE(a.core->set_blockers(a.handles.at("T9"), {{TxnId("T1")}, {TxnId("T2")}, {TxnId("T7")}}));
    w.settle();
    CHECK(w.counter("candidates_denied") == 1);
  }
  SUBCASE("fewer are needed now") {
    w.end("a", "T9");
    w.settle();
    w.wait_for("a", "T9", {{TxnId("T1")}, {TxnId("T2")}, {TxnId("T7")}}, 3);
    until_asked(w);
    REQUIRE(a.core->set_blockers(a.handles.at("T9"), {{TxnId("T1")}, {TxnId("T2")}, {TxnId("T7")}}, 1));
    w.settle();
    CHECK(w.counter("candidates_denied") == 1);
  }
  SUBCASE("after it said yes, before the others did") {
    bool held = false;
    std::deque<std::pair<std::string, std::string>> late;
    until_asked(w);
    w.deliver_to_agents(), w.speak();
    for (auto it = w.to_boss.begin(); it != w.to_boss.end();)
      if (it->first != "a") {
        late.push_back(*it);
        it = w.to_boss.erase(it);
        held = true;
      } else {
        ++it;
      }
    REQUIRE(held);
    w.deliver_to_boss();
    REQUIRE(a.core->set_blockers(a.handles.at("T9"), {{TxnId("T1")}, {TxnId("T2")}, {TxnId("T7")}}));
    w.speak();
    w.to_boss.insert(w.to_boss.end(), late.begin(), late.end());
    w.deliver_to_boss();
    w.settle();
    CHECK(w.counter("candidates_dissolved") == 1);
  }
  w.pass(3000);
  CHECK(w.incidents().empty());
}

TEST_CASE("kinds: two of three") {
  World w;
  auto& a = w.add("a");
  w.add("b");
  w.wait_for("a", "T9", {{TxnId("T1")}, {TxnId("T2")}, {TxnId("T3")}}, 2);
  w.wait("b", "T1", {"T9"});
  w.pass(1500);
  CHECK(w.incidents().empty());
  SUBCASE("two of them wait for it") { w.wait("b", "T2", {"T9"}); }
  SUBCASE("one has ended, the other waits for it") {
    REQUIRE(a.core->set_blockers(a.handles.at("T9"), {{TxnId("T1")}, {TxnId("T2")}}, 1));
    w.pass(1500);
    CHECK(w.incidents().empty());
    w.wait("b", "T2", {"T1"});
  }
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("kinds: what fits no need is refused with a sentence") {
  World w;
  auto& core = *w.add("a").core;
  const auto refused = [&](std::vector<Blocker> blockers, std::uint32_t need, std::vector<GroupHandle> groups = {}) {
    Wait wait{TxnId("T1"), std::move(blockers), "k"};
    wait.need = need;
    wait.groups = std::move(groups);
    const auto begun = core.begin_wait(wait, w.now_us);
    REQUIRE(!begun);
    CHECK(begun.error().code == AgentError::Code::invalid_wait);
    return begun.error().message;
  };
  w.group("a", "k", {"T2"});
  CHECK(refused({hard("T2")}, 2) == "wait of T1 needs 2 of 1 blockers: at most so many can be needed");
  CHECK(refused({hard("T2"), soft("T3")}, 1) ==
        "wait of T1 needs 1 of several, one of which is only queued ahead: leave that one out, or need all (Wait::need = 0)");
  CHECK(refused({hard("T2")}, 1, {w.engines.at("a").groups.at("k")}) ==
        "wait of T1 needs 1, and names groups: name the blockers, or need all of them (Wait::need = 0)");
  CHECK(core.begin_group("k", "S", Kind::dotted).error().code == AgentError::Code::invalid_wait);
  w.wait_for("a", "T5", {hard("T2"), hard("T3")}, 1);
  CHECK(core.set_blockers(w.engines.at("a").handles.at("T5"), {hard("T2")}, 2).error().code ==
        AgentError::Code::invalid_wait);
  CHECK(core.set_blockers(w.engines.at("a").handles.at("T5"), {}));
}

TEST_CASE("kinds: a group that is begun again in another kind is malformed") {
  World w;
  w.add("a");
  const auto tell = [&](std::uint64_t number, Kind kind) {
    w.boss->receive("a", wire::FromAgent(wire::Delta{1, number, {wire::GroupChange{GroupHandle{1}, "k", "S", {}, kind}}}), w.time());
    return w.boss->take_outgoing();
  };
  CHECK(tell(2, Kind::soft).empty());
  CHECK(tell(3, Kind::soft).empty());
  const auto out = tell(4, Kind::hard);
  REQUIRE(out.size() == 1);
  CHECK(std::get<wire::Error>(out[0].message).text ==
        "group 1 of site a was begun with another kind: begin another group");
}

TEST_CASE("kinds: a snapshot carries kinds and needs") {
  World w;
  w.add("a", 1, reorders), w.add("b");
  w.group("a", "k", {"T2"}, Kind::soft);
  w.wait_for_group("a", "T1", "k");
  w.wait_for("a", "T5", {{TxnId("T6")}, {TxnId("T7")}}, 1);
  w.settle();
  w.start_boss();
  w.pass(1500);
  const auto graph = w.boss->graph(w.time(), 10);
  CHECK(graph.groups.at(0).kind == Kind::soft);
  CHECK(graph.waits.at(1).wait.need == 1);
  w.wait("b", "T2", {"T1"});
  w.settle();
  CHECK(w.incidents().size() == 1);
  CHECK(nobody_died(w));
}
