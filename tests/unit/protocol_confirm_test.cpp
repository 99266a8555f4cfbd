// Confirming as scenarios: what an agent's answer is worth, and which waits an order reaches afterwards.
#include <doctest/doctest.h>

#include <optional>

#include "protocol_world.hpp"

using namespace gordian;
using gordian::test::World;
using Outcome = coordinator::Incident::Outcome;
using strings = std::vector<std::string>;

TEST_CASE("a wait that ended before its confirmation arrives: nobody is aborted") {
  World w;
  w.add("a"), w.add("b");
  w.wait("b", "T1", {"T2"});
  w.settle();
  w.wait("a", "T2", {"T1"});
  w.speak(), w.deliver_to_boss();  // found; the question is about to leave
  w.end("b", "T1");                // the user cancels T1
  w.settle();
  w.pass(3000);
  CHECK(w.counter("candidates") == 1);
  CHECK(w.counter("candidates_denied") == 1);
  CHECK(w.incidents().empty());
  CHECK(w.ordered("a").empty());
}

TEST_CASE("a wait that ended after the confirmation, before the order: the order is stale and nobody is aborted") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.speak(), w.deliver_to_boss();    // found
  w.speak(), w.deliver_to_agents();  // asked
  w.speak(), w.deliver_to_boss();    // confirmed
  w.speak();                         // the order is on its way …
  w.end("a", "T2");                  // … and the victim gives up by itself
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.ordered("a").empty());
  CHECK(w.counter("aborts") == 0);
  CHECK(w.incidents()[0].steps.back().what == "T2: nothing to do at site a, the wait was over");
  CHECK(w.incidents()[0].outcome == Outcome::dissolved);
}

TEST_CASE("one 'no' is enough: the candidate is dropped though another site has not answered yet") {
  World w;
  w.add("a", 1, [](agent::Options& o) { o.engine_confirms = true; });  // asks its server, and has not answered
  w.add("b");
  w.cross();
  w.speak(), w.deliver_to_boss();
  w.end("b", "T1");
  w.settle();
  CHECK(w.counter("candidates_denied") == 1);
}

TEST_CASE("a victim that is run again at once, under its id: no order reaches what it does then") {
  World w;
  auto& a = w.add("a");
  w.add("b");
  a.obeys = false;
  w.wait("a", "T2", {"T1"});
  w.wait("b", "T1", {"T2"});
  w.settle();
  REQUIRE(w.ordered("a") == strings{"T2"});
  // Its client has heard of it, has rolled back everywhere and begun anew, before the answer of `a` is given.
  w.end("b", "T1");
  w.wait("b", "T3", {"T2"});
  w.wait("b", "T2", {"T4"});
  w.settle();
  w.end("a", "T2");
  a.core->answer_abort(a.orders.at(0).ticket, wire::Aborted::Outcome::done, {});
  w.settle();
  CHECK(w.ordered("b").empty());
  CHECK(w.incidents().at(0).outcome == Outcome::resolved);
}

TEST_CASE(
    "the answer to an order is lost: the order given again is answered as before, and the other branches follow") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  bool lost = false;
  w.lose_request = [&](const auto&, const wire::Request& r) {
    const auto* m = std::get_if<wire::FromAgent>(&r);
    return m != nullptr && std::holds_alternative<wire::Aborted>(*m) && !std::exchange(lost, true);
  };
  w.settle();
  CHECK(w.ordered("b").empty());
  w.pass(2500);
  CHECK(w.ordered("a").size() == 1);  // carried out once
  CHECK(w.ordered("b") == strings{"T2"});
  CHECK(w.incidents().at(0).outcome == Outcome::resolved);
}

TEST_CASE("the same pair waits anew: the old question does not confirm the new wait") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.speak(), w.deliver_to_boss();
  w.end("a", "T2");
  w.wait("a", "T2", {"T1"});  // another episode, same names
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.counter("candidates_denied") == 1);  // the first candidate
  CHECK(w.incidents()[0].edges[1].wait.sequence == 2);
}

TEST_CASE("a blocker that let go and took the lock again is a new edge") {
  World w;
  w.add("a"), w.add("b");
  w.cross();
  w.speak(), w.deliver_to_boss();
  REQUIRE(w.engines.at("a").core->renew_blocker(w.engines.at("a").handles.at("T2"), TxnId("T1")));
  w.settle();
  CHECK(w.counter("candidates_denied") == 1);
  CHECK(w.incidents().size() == 1);  // found again with the edge as it is now
}

TEST_CASE("a blocker gained after the wait began is reported") {
  World w;
  w.add("a"), w.add("b");
  w.wait("a", "T2", {"T9"});
  w.wait("b", "T1", {"T2"});
  w.settle();
  CHECK(w.incidents().empty());
  REQUIRE(w.engines.at("a").core->set_blockers(w.engines.at("a").handles.at("T2"), {{TxnId("T9")}, {TxnId("T1")}}));
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("an engine that asks its server confirms only after it has looked again") {
  World w;
  w.add("a", 1, [](agent::Options& o) { o.engine_confirms = true; });
  w.add("b");
  w.cross();
  w.settle();
  CHECK(w.incidents().empty());
  auto& a = w.engines.at("a");
  REQUIRE(a.questions.size() == 1);
  CHECK(a.questions[0].waits == std::vector<WaitHandle>{a.handles.at("T2")});
  SUBCASE("it stands") {
    a.core->confirm_ready(a.questions[0].ticket);
    w.settle();
    CHECK(w.incidents().size() == 1);
  }
  SUBCASE("it is over") {
    w.end("a", "T2");
    a.core->confirm_ready(a.questions[0].ticket);
    w.settle();
    CHECK(w.incidents().empty());
    CHECK(w.counter("candidates_denied") == 1);
  }
  SUBCASE("no answer in time: only the silent one is asked again, and its late answer to the first question counts") {
    w.pass(1500);
    CHECK(w.counter("confirms_timed_out") == 1);
    CHECK(w.counter("candidates") == 1);
    REQUIRE(a.questions.size() == 2);
    a.core->confirm_ready(a.questions.front().ticket);
    w.settle();
    CHECK(w.incidents().size() == 1);
  }
  SUBCASE("no answer at all: dropped after some questions, and found again") {
    w.pass(7500);
    CHECK(w.counter("confirms_timed_out") >= 5);
    CHECK(w.counter("candidates") == 2);
    a.core->confirm_ready(a.questions.back().ticket);
    w.settle();
    CHECK(w.incidents().size() == 1);
  }
}

TEST_CASE("a candidate that has nothing to do with it does not keep a silent agent from being asked again") {
  World w;
  const auto silent = [](agent::Options& o) { o.engine_confirms = true; };
  w.add("a", 1, silent), w.add("b"), w.add("c", 1, silent), w.add("d");
  w.cross();
  w.wait("c", "T3", {"T4"}), w.wait("d", "T4", {"T3"});
  w.settle();
  w.wait("d", "T5", {"T3"}), w.wait("c", "T3", {"T5"});  // put off: T3 is asked about already
  w.settle();
  auto& a = w.engines.at("a");
  REQUIRE(a.questions.size() == 1);
  w.pass(1500);
  a.core->confirm_ready(a.questions.front().ticket);
  w.settle();
  CHECK(w.incidents().size() == 1);
}

TEST_CASE("what an agent confirmed is worth nothing after its restart") {
  World w;
  w.options.takeover_wait = std::chrono::milliseconds(0);
  w.start_boss();
  w.add("a", 1, [](agent::Options& o) { o.engine_confirms = true; });
  w.add("b");
  w.cross();
  w.settle();
  auto& a = w.engines.at("a");
  REQUIRE(a.questions.size() == 1);
  w.add("b", 2);
  w.wait("b", "T1", {"T2"});  // has the sequence that the wait of the earlier life had
  w.settle();
  a.core->confirm_ready(a.questions.front().ticket);
  w.settle();
  CHECK(w.counter("candidates_dissolved") == 1);
  CHECK(w.incidents().empty());
  REQUIRE(a.questions.size() == 2);
  a.core->confirm_ready(a.questions.back().ticket);
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  const auto incident = w.incidents()[0];
  for (const auto& edge : incident.edges) CHECK(edge.wait.incarnation == (edge.wait.site == SiteId("b") ? 2 : 1));
}

TEST_CASE("a victim's locks are freed at a site whose snapshot has not come yet") {
  World w;
  std::optional<wire::FromAgent> hello;
  w.lose_request = [&](const std::string& site, const wire::Request& request) {
    const auto* message = std::get_if<wire::FromAgent>(&request);
    if (site == "c" && message != nullptr && std::holds_alternative<wire::Hello>(*message)) hello = *message;
    return false;
  };
  w.add("a"), w.add("b"), w.add("c");
  w.wait("c", "T3", {"T2"});
  w.settle();
  REQUIRE(hello);
  w.lose_request = [](const std::string& site, auto&) { return site == "c"; };
  w.boss->receive("c", *hello, w.time());  // it connects anew, and what it says then is lost
  w.cross();
  w.settle();
  REQUIRE(w.incidents().size() == 1);
  CHECK(w.ordered("c") == strings{"T2"});
}
