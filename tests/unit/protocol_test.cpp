// The protocol as scenarios: real agents' cores and a real coordinator over a network that the test controls.
#include <doctest/doctest.h>

#include <algorithm>

#include "protocol_world.hpp"

using namespace gordian;
using gordian::test::World;
using Outcome = coordinator::Incident::Outcome;
using strings = std::vector<std::string>;

namespace {

strings victims(const coordinator::Incident& incident) {
  strings names;
  for (const auto& txn : incident.victims) names.push_back(txn.str());
  return names;
}
strings steps(const coordinator::Incident& incident) {
  strings texts;
  for (const auto& step : incident.steps) texts.push_back(step.what);
  return texts;
}

}  // namespace

TEST_CASE("a deadlock across two sites is confirmed, and one victim aborted everywhere") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  CHECK(incident.outcome == Outcome::resolved);
  CHECK(victims(incident) == strings{"T2"});
  CHECK(incident.edges.size() == 2);
  CHECK(incident.edges[0].detail == "sql of T1");
  CHECK(w.ordered("a") == strings{"T2"});  // where it waits
  CHECK(w.engines.at("a").orders[0].order.role == AbortOrder::Role::waiting);
  CHECK(w.ordered("b") == strings{"T2"});  // where it holds what T1 waits for
  CHECK(w.engines.at("b").orders[0].order.role == AbortOrder::Role::holding);
  CHECK(steps(incident) == strings{"confirmed by every site; victim T2", "abort of T2 ordered at site a",
                                   "T2 aborted at site a", "release of the locks of T2 ordered at site b",
                                   "T2: locks free at site b"});
  w.pass(5000);
  CHECK(w.incidents().size() == 1);  // and never again
}

TEST_CASE("a lost message leads to a snapshot, and the deadlock is found") {
  World w;
  w.add("a"), w.add("b");
  w.wait("b", "T1", {"T2"});
  w.lose_request = [](const auto&, const wire::Request& r) {
    const auto* m = std::get_if<wire::FromAgent>(&r);
    return m != nullptr && std::holds_alternative<wire::Delta>(*m);
  };
  w.settle();
  w.lose_request = [](auto&, auto&) { return false; };
  SUBCASE("noticed at the next delta") {
    w.wait("b", "T3", {"T2"});
    w.settle();
    CHECK(w.counter("resyncs") == 1);
  }
  SUBCASE("noticed at the next heartbeat") { w.pass(600); }
  w.wait("a", "T2", {"T1"});
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("duplicated and late messages change nothing") {
  World w;
  w.add("a"), w.add("b");
  w.wait("b", "T1", {"T2"});
  w.speak();
  const auto copies = w.to_boss;
  w.settle();
  w.end("b", "T1");
  w.settle();
  w.to_boss = copies;  // the wait's beginning comes once more, after its end
  w.deliver_to_boss();
  w.wait("a", "T2", {"T1"});
  w.pass(2000);
  CHECK(w.incidents().empty());
  CHECK(w.counter("stale_messages") >= 1);
}

TEST_CASE("a coordinator that is killed and started again finds the deadlock that stands") {
  World w;
  w.add("a"), w.add("b");
  w.engines.at("a").obeys = w.engines.at("b").obeys = false;
  w.wait("b", "T1", {"T2"});
  w.settle();
  w.cut = true;
  w.wait("a", "T2", {"T1"});
  w.settle();
  w.start_boss();
  w.cut = false;
  for (auto& [site, engine] : w.engines) engine.obeys = true;
  w.pass(1500);
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
}

TEST_CASE("expected sites that are missing make the picture degraded, until they come") {
  World w;
  w.options.expected_sites = {SiteId("a")};
  w.start_boss();
  CHECK(w.boss->status(w.time()).degraded);
  CHECK(w.boss->status(w.time()).sites.at(0).state == coordinator::SiteView::State::missing);
  w.add("a");
  CHECK_FALSE(w.boss->status(w.time()).degraded);
}

TEST_CASE("a silent agent's waits go with its lease, and nobody is aborted for them") {
  World w;
  w.add("a"), w.add("b");
  w.wait("b", "T1", {"T2"});
  w.settle();
  w.engines.at("b").up = false;  // SIGKILL
  w.pass(3500);
  CHECK(w.counter("leases_lost") == 1);
  CHECK(w.boss->status(w.time()).degraded);
  w.wait("a", "T2", {"T1"});
  w.pass(2000);
  CHECK(w.incidents().empty());
}

TEST_CASE("an agent that dies while it is asked: the candidate is dropped at once") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.speak(), w.deliver_to_boss();
  w.engines.at("b").up = false;
  w.pass(4000);
  CHECK(w.incidents().empty());
  CHECK(w.ordered("a").empty());
}

TEST_CASE("an agent that says goodbye takes its waits with it at once, and is not missed") {
  World w;
  w.add("a"), w.add("b");
  w.wait("b", "T1", {"T2"});
  w.settle();
  w.boss->receive("b", wire::FromAgent(w.engines.at("b").core->goodbye()), w.time());
  w.engines.at("b").up = false;
  const auto status = w.boss->status(w.time());
  CHECK(status.waits == 0);
  CHECK_FALSE(status.degraded);
  CHECK(status.sites.size() == 1);
}

TEST_CASE("two agents with one name: the live one keeps it, a dead one is replaced") {
  World w;
  w.add("a");
  auto second = agent::AgentCore({.site = SiteId("a"), .incarnation = 9, .instance = "other"}, w.now_us);
  const auto say_hello = [&] {
    for (const auto& m : second.take_outgoing(w.now_us)) w.boss->receive("a2", m, w.time());
    std::string last;
    for (const auto& out : w.boss->take_outgoing()) {
      if (out.peer != "a2") continue;
      second.receive(out.message, w.now_us);
      if (const auto* error = std::get_if<wire::Error>(&out.message)) last = wire::name(error->code);
      if (std::holds_alternative<wire::Welcome>(out.message)) last = "welcome";
    }
    return last;
  };
  CHECK(say_hello() == "wait_a_moment");
  SUBCASE("the first lives") {
    w.pass(1200);
    CHECK(say_hello() == "duplicate_site");
    CHECK(w.engines.at("a").core->status().connected);
  }
  SUBCASE("the first is dead") {
    w.engines.at("a").up = false;
    w.pass(1200);
    CHECK(say_hello() == "welcome");
  }
}

TEST_CASE("an agent replaced within its lease: what its predecessor was ordered to do does not reach it") {
  World w;
  w.add("a"), w.add("b");
  w.engines.at("a").obeys = false;
  w.cross();
  w.settle();
  REQUIRE(w.ordered("a") == strings{"T2"});
  w.add("a", 2);  // the one before it was killed with the order
  w.pass(w.options.takeover_wait.count() + 300);
  REQUIRE(w.boss->status(w.time()).sites.at(0).incarnation == 2);
  w.wait("a", "T2", {"T9"});  // the same number as the wait of the order, and no deadlock
  w.pass(3 * w.options.abort_grace.count());
  CHECK(w.ordered("a").empty());
  CHECK(w.incidents().at(0).outcome != Outcome::resolving);
  CHECK(std::any_of(
      w.events.begin(), w.events.end(), [](const auto& event) {  // a recording must know that its waits went
        const auto* site = std::get_if<coordinator::SiteChanged>(&event);
        return site != nullptr && site->site == SiteId("a") && site->what == coordinator::SiteChanged::What::lost;
      }));
}

TEST_CASE("a clock that was set back: the agent takes a larger incarnation than the one before it") {
  World w;
  w.add("a", 1000);
  w.boss->receive("a", wire::FromAgent(w.engines.at("a").core->goodbye()), w.time());
  w.engines.erase("a");
  w.add("a", 10);
  w.pass(100);
  CHECK(w.engines.at("a").core->status().connected);
  CHECK(w.engines.at("a").core->status().incarnation == 1001);
}

TEST_CASE("orders of an older epoch are refused, and a coordinator rises above what its agents have seen") {
  World w;
  w.options.epoch = 7;
  w.start_boss();
  w.add("a");
  CHECK(w.engines.at("a").core->status().epoch == 7);
  w.options.epoch = 3;  // its history was lost
  w.start_boss();
  w.pass(1500);
  CHECK(w.engines.at("a").core->status().connected);
  CHECK(w.boss->status(w.time()).epoch == 8);
  w.engines.at("a").core->receive(wire::Abort{7, 1, 1, "7-1", TxnId("T2"), 1, wire::Abort::Role::waiting, 0, 100, ""},
                                  w.now_us);
  CHECK(w.engines.at("a").core->status().orders_refused == 1);
}

TEST_CASE("a coordinator that forgot everything does not use its predecessor's epoch again") {
  World w;
  w.add("a");
  REQUIRE(w.boss->status(w.time()).epoch == 1);
  w.start_boss();
  w.pass(1500);
  CHECK(w.boss->status(w.time()).epoch == 2);
  w.pass(5000);
  CHECK(w.boss->status(w.time()).epoch == 2);  // and keeps its own
}

TEST_CASE("a victim that does not die: the order is escalated, then another victim is chosen") {
  World w;
  w.add("a"), w.add("b");
  w.engines.at("a").obeys = false;  // T2 waits at a
  w.cross();
  w.settle();
  w.pass(6500);
  const auto& orders = w.engines.at("a").orders;
  REQUIRE(orders.size() >= 3);
  CHECK(orders[2].order.attempt == 2);
  CHECK(w.ordered("a") == strings{"T2", "T2", "T2", "T1"});  // at last, T1's locks there
  CHECK(w.ordered("b") == strings{"T1"});
  REQUIRE(w.incidents().size() == 2);
  CHECK(w.incidents()[1].outcome == Outcome::failed);
  CHECK(victims(w.incidents()[0]) == strings{"T1"});
}

TEST_CASE("an engine that says it can't: escalated at once") {
  World w;
  w.add("a"), w.add("b");
  w.engines.at("a").obeys = false;
  w.cross();
  w.settle();
  auto& a = w.engines.at("a");
  a.core->answer_abort(a.orders.at(0).ticket, wire::Aborted::Outcome::failed, "a savepoint swallowed it");
  w.settle();
  REQUIRE(a.orders.size() == 2);
  CHECK(a.orders[1].order.attempt == 1);
  a.core->answer_abort(a.orders[1].ticket, wire::Aborted::Outcome::done, {});
  w.settle();
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
  CHECK(w.incidents()[0].steps[2].what == "T2 not aborted at site a: a savepoint swallowed it");
}

TEST_CASE("an answer given twice, or to an order unknown, does nothing") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.settle();
  w.engines.at("a").core->answer_abort(w.engines.at("a").orders.at(0).ticket, wire::Aborted::Outcome::failed, "again");
  w.boss->receive("a", wire::FromAgent(wire::Aborted{99, wire::Aborted::Outcome::failed, "?"}), w.time());
  w.pass(3000);
  CHECK(w.ordered("a").size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::resolved);
}

TEST_CASE("only transactions that may never be aborted: told once, nobody dies, until one of them may") {
  World w;
  w.add("a"), w.add("b");
  TxnInfo never;
  never.victim_class = TxnInfo::Class::never;
  REQUIRE(w.engines.at("a").core->describe(TxnId("T1"), never));
  REQUIRE(w.engines.at("a").core->describe(TxnId("T2"), never));
  w.cross();
  w.settle();
  w.pass(5000);
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.incidents()[0].outcome == Outcome::unresolved);
  CHECK(w.ordered("a").empty());
  REQUIRE(w.engines.at("a").core->describe(TxnId("T2"), {}));
  w.pass(1500);
  CHECK(w.ordered("a") == strings{"T2"});
}

TEST_CASE("a deadlock inside one site is left to a site that keeps its own") {
  World w;
  bool resolves = false;
  SUBCASE("left") {}
  SUBCASE("resolved") { resolves = true; }
  w.add("a", 1, [&](agent::Options& o) { o.resolve_local_deadlocks = resolves; });
  w.wait("a", "T1", {"T2"});
  w.wait("a", "T2", {"T1"});
  w.settle();
  w.pass(3000);
  CHECK(w.incidents().size() == (resolves ? 1 : 0));
  CHECK(w.counter("local_deadlocks_left") == (resolves ? 0 : 1));
}

TEST_CASE("the victim is chosen from what all sites say together") {
  World w;
  w.add("a"), w.add("b");
  TxnInfo old, young;
  old.start = 10, young.start = 20;
  REQUIRE(w.engines.at("a").core->describe(TxnId("T2"), old));    // T2 began at a …
  REQUIRE(w.engines.at("b").core->describe(TxnId("T2"), young));  // … and reached b later
  TxnInfo between;
  between.start = 15;
  REQUIRE(w.engines.at("b").core->describe(TxnId("T1"), between));
  w.cross();
  w.settle();
  CHECK(victims(w.incidents().at(0)) == strings{"T1"});
}

TEST_CASE("two rings at once: one victim each") {
  World w;
  for (const auto* site : {"a", "b", "c"}) w.add(site);
  w.wait("a", "T1", {"T2"}), w.wait("b", "T2", {"T3"}), w.wait("c", "T3", {"T1"});
  w.wait("b", "U1", {"U2"}), w.wait("a", "U2", {"U1"});
  w.settle();
  REQUIRE(w.incidents().size() == 2);
  CHECK(w.counter("aborts") == 2);
  w.pass(3000);
  CHECK(w.counter("aborts") == 2);
}

TEST_CASE("a condemned transaction is not condemned twice while its abort is under way") {
  World w;
  w.add("a"), w.add("b"), w.add("c");
  w.engines.at("a").obeys = false;
  w.cross();
  w.settle();
  w.wait("c", "T1", {"T2"});  // a second branch closes the same circle once more
  w.pass(500);
  CHECK(w.ordered("a").size() == 1);
  CHECK(w.incidents().size() == 1);
  auto& a = w.engines.at("a");
  a.core->end_wait(a.handles.at("T2"));
  a.core->answer_abort(a.orders[0].ticket, wire::Aborted::Outcome::done, {});
  w.pass(2000);
  CHECK(w.incidents().size() == 1);
  // Nobody can tell whether that is the victim's or of the transaction that its client began anew: T2's client ends it.
  CHECK(w.ordered("c").empty());
}

TEST_CASE("nothing is published before its time, nor told of what ended before") {
  World w;
  w.add("a", 1, [](agent::Options& o) { o.publish_after_us = 100'000; });
  w.wait("a", "T1", {"T2"});
  w.wait("a", "T3", {"T2"});
  w.pass(50);
  CHECK(w.boss->status(w.time()).waits == 0);
  w.end("a", "T3");
  w.pass(60);
  CHECK(w.boss->status(w.time()).waits == 1);
  CHECK(w.counter("changes") == 1);
}

TEST_CASE("descriptions follow the waits that name them, and leave with them") {
  World w;
  w.add("a");
  TxnInfo info;
  info.label = "billing";
  REQUIRE(w.engines.at("a").core->describe(TxnId("T2"), info));
  w.settle();
  CHECK(w.counter("changes") == 0);
  w.wait("a", "T1", {"T2"});
  w.settle();
  CHECK(w.boss->graph(w.time(), 10).txns.at(1).info.label == "billing");
  w.end("a", "T1");
  w.settle();
  w.wait("a", "T3", {"T2"});
  w.settle();
  CHECK(w.boss->graph(w.time(), 10).txns.at(0).info.label == "billing");  // T2, described again
}

TEST_CASE("an agent's limits refuse what is over them, with the limit's name, and count it") {
  World w;
  w.add("a", 1, [](agent::Options& o) {
    o.limits.waits = 1;
    o.limits.blockers_per_wait = 2;
    o.limits.resource_bytes = 4;
    o.limits.detail_bytes = 3;
    o.limits.transactions = 1;
  });
  auto& core = *w.engines.at("a").core;
  const auto too_wide = core.begin_wait({TxnId("T1"), {{TxnId("x")}, {TxnId("y")}, {TxnId("z")}}, "k"}, w.now_us);
  REQUIRE(!too_wide);
  CHECK(too_wide.error().message ==
        "site a: wait of T1 with 3 blockers, at most 2 are allowed; raise AgentLimits::blockers_per_wait");
  CHECK(core.begin_wait({TxnId("T1"), {}, "12345"}, w.now_us).error().code == AgentError::Code::limit_reached);
  REQUIRE(core.begin_wait({TxnId("T1"), {{TxnId("T2")}}, "k", "X", "SELECT"}, w.now_us));
  CHECK(core.begin_wait({TxnId("T9"), {}, "k"}, w.now_us).error().code == AgentError::Code::limit_reached);
  REQUIRE(core.describe(TxnId("T1"), {}));
  CHECK(core.describe(TxnId("T2"), {}).error().code == AgentError::Code::limit_reached);
  w.settle();
  CHECK(core.status().limit_reached == 4);
  CHECK(w.boss->graph(w.time(), 10).waits.at(0).wait.detail == "SEL");
}

TEST_CASE("a coordinator's limits: sites and waits over them are refused or left out, and told") {
  World w;
  w.options.limits.sites = 1;
  w.options.limits.waits_per_site = 1;
  w.start_boss();
  w.add("a");
  w.add("b");
  CHECK_FALSE(w.engines.at("b").core->status().connected);
  CHECK(w.engines.at("b").notes.at(0).find("at most 1 sites") != std::string::npos);
  w.wait("a", "T1", {"T2"}), w.wait("a", "T2", {"T1"});
  w.settle();
  CHECK(w.counter("limit_waits") == 1);
  CHECK(w.incidents().empty());
}

TEST_CASE("the largest candidate that is asked about fits into one message, however long its ids are") {
  const coordinator::Limits limits;
  const TxnId longest(std::string(TxnId::max_bytes, 'x'));
  wire::Confirm question{~0ULL, ~0ULL, ~0ULL, {}};
  question.edges.assign(limits.candidate_edges, {~0ULL, longest, ~0ULL});
  const auto bytes = wire::encode(wire::Reply(wire::ToAgent(question)));
  CHECK(bytes.size() <= wire::Limits{}.message_bytes);
  CHECK(wire::decode_reply(bytes).has_value());
}

TEST_CASE("a deadlock over the limit is told, counted, and nobody is aborted for it") {
  World w;
  w.options.limits.candidate_edges = 1;
  w.start_boss();
  w.add("a"), w.add("b");
  w.cross();
  w.settle();
  w.pass(3000);
  CHECK(w.incidents().empty());
  CHECK(w.counter("limit_candidate_edges") == 1);
}

TEST_CASE("a large picture travels as a snapshot in parts") {
  World w;
  w.add("a");
  for (int i = 0; i < 5000; ++i) w.wait("a", "T" + std::to_string(i), {"H"});
  w.settle();
  CHECK(w.boss->status(w.time()).waits == 5000);
  w.start_boss();
  w.pass(1000);
  CHECK(w.boss->status(w.time()).waits == 5000);
  CHECK(w.counter("snapshots") == 1);
}

TEST_CASE("a full queue: what could not be sent comes as a snapshot") {
  World w;
  w.add("a");
  w.wait("a", "T1", {"H"});
  (void)w.engines.at("a").core->take_outgoing(w.now_us);  // taken, and lost
  w.engines.at("a").core->send_failed(w.now_us);
  w.pass(200);
  CHECK(w.boss->status(w.time()).waits == 1);
}

TEST_CASE("what came in is recorded when asked for") {
  World w;
  w.options.record = true;
  w.start_boss();
  w.add("a");
  w.wait("a", "T1", {"T2"});
  w.settle();
  w.end("a", "T1");
  w.settle();
  strings seen;
  for (const auto& event : w.events) {
    if (const auto* applied = std::get_if<coordinator::Applied>(&event))
      seen.push_back(std::to_string(applied->change.index()));
  }
  CHECK(seen == strings{"0", "1"});
}
