// Replays: what traces mean, and every trace of tests/scenarios.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "trace/reader.hpp"
#include "trace/replay.hpp"

using namespace gordian;
using namespace gordian::trace;

namespace {

/// Single quotes stand for double ones.
std::string lines(std::initializer_list<const char*> operations) {
  std::string text;
  for (const auto* const operation : operations) text.append(operation).append("\n");
  std::ranges::replace(text, '\'', '"');
  return text;
}

Outcome run(std::initializer_list<const char*> operations, std::optional<detect::Policy> policy = {}) {
  std::istringstream in(lines(operations));
  return replay(in, "t.jsonl", policy);
}

/// Runs the trace, and fails for each of its expectations that does not hold.
void holds(std::initializer_list<const char*> operations) {
  const auto outcome = run(operations);
  for (const auto& failed : outcome.failed) FAIL_CHECK("line " << failed.line << ": " << to_string(failed));
  if (outcome.error) FAIL_CHECK(to_string(*outcome.error));
}

}  // namespace

TEST_CASE("an incident is printed exactly as the format says") {
  const auto outcome =
      run({"{'op':'wait','txn':'1','for':['2'],'resource':'k1'}", "{'op':'wait','txn':'9','for':['2'],'resource':'k1'}",
           "{'op':'wait','txn':'2','for':['1'],'site':'b','resource':'k2'}"});
  REQUIRE(outcome.incidents.size() == 1);
  CHECK(to_json(outcome.incidents[0]) ==
        R"({"incident":1,"line":3,"victims":["2"],"deadlocked":["1","2","9"],"reorder":[],"cycle":[)"
        R"({"waiter":"1","blocker":"2","site":"0","resource":"k1","kind":"hard"},)"
        R"({"waiter":"2","blocker":"1","site":"b","resource":"k2","kind":"hard"}],"policy":"youngest"})");
  CHECK(outcome.incidents[0].why == "2 is the youngest of the 2 that wait for each other");
}

TEST_CASE("a replay is deterministic: the same trace gives the same incidents, byte by byte") {
  const auto text = [] {
    std::string all;
    std::ifstream in(std::string(GORDIAN_SCENARIOS) + "/bdb-upgraders.jsonl");
    for (const auto& incident : replay(in, "x").incidents) all += to_json(incident) + incident.why;
    return all;
  };
  CHECK_FALSE(text().empty());
  CHECK(text() == text());
}

TEST_CASE("a failed expectation names both sets, and what is missing and extra") {
  const auto outcome =
      run({"{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}",
           "{'op':'expect','victims':['10','9','1'],'deadlocked':['1','2'],'incidents':2,'reorder':true}"});
  REQUIRE(outcome.failed.size() == 3);
  CHECK(to_string(outcome.failed[0]) == "victims: expected {1, 9, 10}, found {2} (missing {1, 9, 10}, extra {2})");
  CHECK(outcome.failed[0].line == 3);
  CHECK(to_string(outcome.failed[1]) == "reorder: expected {true}, found {false} (missing {true}, extra {false})");
  CHECK(to_string(outcome.failed[2]) == "incidents: expected {2}, found {1} (missing {2}, extra {1})");
}

TEST_CASE("an expectation looks back to the one before it, whatever that one compared") {
  holds({"{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}", "{'op':'expect'}",
         "{'op':'expect','victims':[],'deadlocked':[],'incidents':0,'reorder':false}"});
}

TEST_CASE("a victim ends at once: its waits vanish, and its id is a new transaction afterwards") {
  holds({"{'op':'begin','txn':'2','priority':-5}", "{'op':'wait','txn':'1','for':['2']}",
         "{'op':'wait','txn':'2','for':['1']}", "{'op':'expect','victims':['2']}",
         "{'op':'wait','txn':'2','for':['3']}", "{'op':'wait','txn':'3','for':['2']}",
         "{'op':'expect','victims':['3']}"});  // with its old priority 2 would go again
}

TEST_CASE("without start, a transaction starts at its first appearance, or at its number") {
  // b appears before a: the waiter first, then its blockers as listed.
  holds({"{'op':'wait','txn':'c','for':['b','a']}", "{'op':'wait','txn':'b','for':['a']}",
         "{'op':'wait','txn':'a','for':['b']}", "{'op':'expect','victims':['a']}"});
  // The order of appearance says nothing of numbers.
  holds({"{'op':'wait','txn':'20','for':['3']}", "{'op':'wait','txn':'3','for':['20']}",
         "{'op':'expect','victims':['20']}"});
  // An ended id appears anew.
  holds({"{'op':'begin','txn':'a'}", "{'op':'begin','txn':'b'}", "{'op':'end','txn':'a'}",
         "{'op':'wait','txn':'a','for':['b']}", "{'op':'wait','txn':'b','for':['a']}",
         "{'op':'expect','victims':['a']}"});
  holds({"{'op':'begin','txn':'1','start':9}", "{'op':'wait','txn':'1','for':['2']}",
         "{'op':'wait','txn':'2','for':['1']}", "{'op':'expect','victims':['1']}"});
}

TEST_CASE("begin may be repeated: it changes what it names and nothing else") {
  holds({"{'op':'mode','policy':'fewest_locks'}", "{'op':'begin','txn':'1','locks':5,'priority':-1}",
         "{'op':'begin','txn':'1','locks':9}", "{'op':'begin','txn':'2','locks':1}",
         "{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}",
         "{'op':'expect','victims':['1']}"});  // its priority stayed
}

TEST_CASE("a wait replaces the one with the same transaction, site and resource, and no other") {
  holds({"{'op':'wait','txn':'1','for':['2'],'resource':'k'}", "{'op':'wait','txn':'1','for':['3'],'resource':'k'}",
         "{'op':'wait','txn':'2','for':['1']}", "{'op':'expect','victims':[]}",
         "{'op':'wait','txn':'1','for':['4'],'resource':'other'}",
         "{'op':'wait','txn':'1','for':['4'],'site':'s','resource':'k'}", "{'op':'wait','txn':'3','for':['1']}",
         "{'op':'expect','victims':['3']}"});
}

TEST_CASE("unwait ends one wait, those at a site, those for a resource, or all; what does not stand is no matter") {
  const auto crossing_after = [](const char* unwait) {
    const auto outcome = run({"{'op':'wait','txn':'1','for':['2'],'site':'a','resource':'k'}",
                              "{'op':'wait','txn':'1','for':['2'],'site':'b','resource':'k'}",
                              "{'op':'wait','txn':'1','for':['2'],'site':'b','resource':'l'}", unwait,
                              "{'op':'wait','txn':'2','for':['1']}"});
    REQUIRE_FALSE(outcome.error);
    std::string places;
    for (const auto& incident : outcome.incidents) places += incident.cycle[0].site.str() + incident.cycle[0].resource;
    return places;
  };
  CHECK(crossing_after("{'op':'unwait','txn':'1'}") == "");
  CHECK(crossing_after("{'op':'unwait','txn':'1','site':'b'}") == "ak");
  CHECK(crossing_after("{'op':'unwait','txn':'1','resource':'k'}") == "bl");
  CHECK(crossing_after("{'op':'unwait','txn':'1','site':'a','resource':'k'}") == "bk");
  CHECK(crossing_after("{'op':'unwait','txn':'7'}") == "ak");
  CHECK(crossing_after("{'op':'unwait','txn':'1','site':'nowhere'}") == "ak");
}

TEST_CASE("end and lost take waits away; ending an unknown id or losing an unknown site is no matter") {
  holds({"{'op':'wait','txn':'1','for':['2'],'site':'a'}", "{'op':'end','txn':'2'}", "{'op':'end','txn':'nobody'}",
         "{'op':'lost','site':'nowhere'}", "{'op':'wait','txn':'2','for':['1'],'site':'b'}",
         "{'op':'expect','victims':[]}",  // the wait stands, but for a transaction that is no more
         "{'op':'wait','txn':'1','for':['2'],'site':'a'}", "{'op':'expect','victims':['2'],'incidents':1}"});
  holds({"{'op':'wait','txn':'1','for':['2'],'site':'a'}", "{'op':'wait','txn':'1','for':['3'],'site':'b'}",
         "{'op':'lost','site':'a'}", "{'op':'wait','txn':'2','for':['1'],'site':'a'}",
         "{'op':'wait','txn':'3','for':['1'],'site':'c'}", "{'op':'expect','victims':['3']}"});
}

TEST_CASE("on demand, only detect looks; continuous, detect is harmless") {
  holds({"{'op':'mode','detect':'on_demand'}", "{'op':'wait','txn':'1','for':['2']}",
         "{'op':'wait','txn':'2','for':['1']}", "{'op':'expect','victims':[],'deadlocked':[]}", "{'op':'detect'}",
         "{'op':'expect','victims':['2'],'deadlocked':['1','2'],'incidents':1}"});
  holds({"{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}", "{'op':'detect'}",
         "{'op':'expect','victims':['2'],'incidents':1}"});
}

TEST_CASE("one full pass: an incident for each component, each with its own tail; all victims end together") {
  const auto outcome =
      run({"{'op':'mode','detect':'on_demand'}", "{'op':'wait','txn':'1','for':['2']}",
           "{'op':'wait','txn':'2','for':['1']}", "{'op':'wait','txn':'3','for':['4']}",
           "{'op':'wait','txn':'4','for':['3']}", "{'op':'wait','txn':'5','for':['3']}", "{'op':'detect'}",
           "{'op':'expect','victims':['2','4'],'deadlocked':['1','2','3','4','5'],'incidents':2}", "{'op':'detect'}",
           "{'op':'expect','deadlocked':[],'incidents':0}"});
  CHECK(outcome.failed.empty());
  REQUIRE(outcome.incidents.size() == 2);
  CHECK(outcome.incidents[0].deadlocked == std::vector{TxnId("1"), TxnId("2")});
  CHECK(outcome.incidents[1].deadlocked == std::vector{TxnId("3"), TxnId("4"), TxnId("5")});
  CHECK(outcome.incidents[1].number == 2);
}

TEST_CASE("a deadlock of class never only is one incident without victims, however often it is seen") {
  holds({"{'op':'begin','txn':'1','class':'never'}", "{'op':'begin','txn':'2','class':'never'}",
         "{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}",
         "{'op':'expect','victims':[],'deadlocked':['1','2'],'incidents':1}",
         "{'op':'wait','txn':'3','for':['1']}",  // a tail grows: deadlocked too, but nothing new
         "{'op':'expect','victims':[],'deadlocked':['1','2','3'],'incidents':0}", "{'op':'detect'}",
         "{'op':'expect','deadlocked':['1','2','3'],'incidents':0}",
         "{'op':'wait','txn':'1','for':['3'],'site':'b'}",  // a second cycle, which can be broken
         "{'op':'expect','victims':['3'],'incidents':1}",
         "{'op':'begin','txn':'2','class':'normal'}",  // now the first can be, too
         "{'op':'expect','victims':['2'],'incidents':1}", "{'op':'detect'}",
         "{'op':'expect','deadlocked':[],'incidents':0}"});
}

TEST_CASE("an unresolved deadlock that dissolves and comes back is a new incident") {
  holds({"{'op':'begin','txn':'1','class':'never'}", "{'op':'begin','txn':'2','class':'never'}",
         "{'op':'wait','txn':'1','for':['2'],'resource':'k'}", "{'op':'wait','txn':'2','for':['1']}",
         "{'op':'unwait','txn':'1','resource':'k'}", "{'op':'expect','incidents':1}",
         "{'op':'wait','txn':'1','for':['2'],'resource':'k'}", "{'op':'expect','victims':[],'incidents':1}"});
}

TEST_CASE("a wait without `for` is for whoever holds the resource, whoever they become, but not for itself") {
  holds({"{'op':'wait','txn':'2','resource':'k'}",  // nobody yet
         "{'op':'wait','txn':'1','for':['2'],'site':'b'}", "{'op':'expect','victims':[]}",
         "{'op':'holders','resource':'k','txns':['1','2','1']}", "{'op':'expect','victims':['2'],'deadlocked':['1','2']}"});
  holds({"{'op':'holders','resource':'k','txns':['1']}", "{'op':'wait','txn':'1','resource':'k'}",
         "{'op':'wait','txn':'2','resource':'k'}", "{'op':'wait','txn':'1','for':['3'],'site':'b'}", "{'op':'detect'}",
         "{'op':'expect','victims':[],'deadlocked':[]}", "{'op':'wait','txn':'3','for':['2'],'site':'b'}",
         "{'op':'expect','victims':['3']}"});
  holds({"{'op':'holders','resource':'k','txns':['1']}", "{'op':'wait','txn':'2','resource':'k','site':'other'}",
         "{'op':'wait','txn':'1','for':['2'],'site':'b'}", "{'op':'expect','victims':[]}"});
}

TEST_CASE("holders: a new holder closes two cycles at once, and both are broken; in both modes") {
  for (const auto* const mode : {"{'op':'mode','detect':'continuous'}", "{'op':'mode','detect':'on_demand'}"})
    holds({mode, "{'op':'wait','txn':'1','resource':'k'}", "{'op':'wait','txn':'2','resource':'k'}",
           "{'op':'wait','txn':'8','for':['1'],'site':'b'}", "{'op':'wait','txn':'9','for':['2'],'site':'b'}",
           "{'op':'holders','resource':'k','txns':['8','9']}", "{'op':'detect'}", "{'op':'expect','victims':['8','9']}"});
}

TEST_CASE("holders go with the end of a transaction, and with their site") {
  holds({"{'op':'holders','resource':'k','txns':['1']}", "{'op':'wait','txn':'2','resource':'k'}", "{'op':'end','txn':'1'}",
         "{'op':'wait','txn':'1','for':['2'],'site':'b'}", "{'op':'expect','victims':[]}"});
  holds({"{'op':'holders','resource':'k','txns':['1'],'site':'a'}", "{'op':'lost','site':'a'}",
         "{'op':'wait','txn':'2','resource':'k','site':'a'}", "{'op':'wait','txn':'1','for':['2'],'site':'b'}",
         "{'op':'expect','victims':[]}", "{'op':'holders','resource':'k','txns':['1'],'site':'a'}",
         "{'op':'expect','victims':['2']}"});
}

TEST_CASE("the caller's policy takes the place of the trace's") {
  const std::initializer_list<const char*> trace{
      "{'op':'mode','policy':'oldest'}", "{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}"};
  CHECK(run(trace).incidents.at(0).victims == std::vector{TxnId("1")});
  CHECK(run(trace, detect::Policy::youngest).incidents.at(0).victims == std::vector{TxnId("2")});
}

TEST_CASE("a trace that is malformed half-way keeps what it showed so far, and says where it stopped") {
  const auto outcome = run({"{'op':'wait','txn':'1','for':['2']}", "{'op':'wait','txn':'2','for':['1']}", "{'op':'go'}",
                            "{'op':'expect','victims':[]}"});
  CHECK(outcome.incidents.size() == 1);
  CHECK(outcome.failed.empty());
  REQUIRE(outcome.error);
  CHECK(outcome.error->line == 3);
}

TEST_CASE("damaged traces are refused or understood, never worse, over 3000 seeds") {
  const std::string whole =
      lines({"{'op':'mode','detect':'continuous','policy':'requester','coordinators':1}",
             "{'op':'begin','txn':'1','start':1.5,'class':'never','label':'\\u20ac'}",
             "{'op':'wait','txn':'1','for':['2','3'],'site':'a','resource':'k','need':2}",
             "{'op':'wait','txn':'2','for':['1'],'kind':'hard'}", "{'op':'unwait','txn':'1','site':'a'}",
             "{'op':'holders','resource':'k','txns':['1','2']}", "{'op':'wait','txn':'7','resource':'k'}",
             "{'op':'lost','site':'a'}", "{'op':'end','txn':'1'}", "{'op':'detect'}",
             "{'op':'expect','victims':['2'],'incidents':1,'reorder':false}"});
  REQUIRE_FALSE([&] {
    std::istringstream in(whole);
    return replay(in, "t").error;
  }());
  int refused = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto damaged = whole;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const auto at = random() % damaged.size();
      switch (random() % 3) {
        case 0: damaged[at] = static_cast<char>(random()); break;
        case 1: damaged.erase(at, 1 + random() % 8); break;
        default: damaged.insert(at, damaged.substr(random() % damaged.size(), 1 + random() % 20));
      }
    }
    std::istringstream in(damaged);
    const auto outcome = replay(in, "t");
    if (!outcome.error) continue;
    ++refused;
    REQUIRE(to_string(*outcome.error).find(": found ") != std::string::npos);
    REQUIRE(outcome.error->message.find(", expected ") != std::string::npos);
  }
  CHECK(refused > 1000);
}

TEST_CASE("over the graph's limits a replay stops with a sentence") {
  Replay small({}, {.waits = 1, .edges = 10});
  CHECK(small.apply({1, BeginWait{TxnId("1"), {TxnId("2")}, {}, SiteId("0"), ""}}));
  const auto refused = small.apply({2, BeginWait{TxnId("2"), {TxnId("1")}, {}, SiteId("0"), ""}});
  REQUIRE_FALSE(refused);
  CHECK(small.apply({3, Holders{{}, SiteId("0"), "k"}}).has_value());
  Replay tiny({}, {.waits = 1, .edges = 1, .groups = 1});
  CHECK(tiny.apply({1, Holders{{TxnId("1"), TxnId("2")}, SiteId("0"), "k"}}).error() ==
        "found more edges at once than the graph takes, expected at most 1");
  CHECK(tiny.apply({2, Holders{{}, SiteId("0"), "m"}}).error() ==
        "found more groups at once than the graph takes, expected at most 1");
  CHECK(refused.error() == "found more waits at once than the graph takes, expected at most 1");
}

TEST_CASE("the traces of tests/scenarios: every expectation holds") {
  std::size_t traces = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GORDIAN_SCENARIOS)) {
    const auto name = entry.path().stem().string();
    CAPTURE(name);
    std::ifstream in(entry.path());
    REQUIRE(in);
    const auto outcome = replay(in, entry.path().filename().string());
    for (const auto& failed : outcome.failed) FAIL_CHECK("line " << failed.line << ": " << to_string(failed));
    if (outcome.error) FAIL_CHECK(to_string(*outcome.error));
    ++traces;
  }
  CHECK(traces > 42);
}
