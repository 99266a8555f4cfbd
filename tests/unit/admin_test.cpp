// The views as JSON: everything comes back, whatever bytes are in it, and bad documents are refused with
// their place.
#include <doctest/doctest.h>

#include <limits>

#include "admin/json.hpp"
#include "incidents.hpp"

using namespace gordian;
using namespace gordian::admin;
using namespace gordian::coordinator;

namespace {

const char nasty_bytes[] = "\0\xff\"\\x41\n\xe2\x82 </script>";
const std::string nasty(nasty_bytes, sizeof nasty_bytes - 1);

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("incidents come back as they were") {
  Incident incident = gordian::test::crossing_incident();
  incident.epoch = std::numeric_limits<std::uint64_t>::max();
  incident.txns[0].txn = TxnId(nasty);
  incident.txns[0].info.label = nasty;
  incident.txns[1].info.start.reset();
  incident.edges[0].detail = nasty;
  incident.edges[1].wait.site = SiteId(nasty);
  incident.victims.push_back(TxnId(nasty));
  const auto parsed = parse_incidents(to_json(std::vector<Incident>{incident, Incident{}}));
  if (!parsed) FAIL(parsed.error());
  REQUIRE(parsed->size() == 2);
  gordian::test::check_equal(parsed->front(), incident);
  gordian::test::check_equal(parsed->back(), Incident{});
}

TEST_CASE("bytes that are no UTF-8 are visible") {
  Incident incident = gordian::test::crossing_incident();
  incident.why = "\xff";
  CHECK(contains(to_json(incident), R"("why": "\\xff")"));
  CHECK(contains(to_json(incident), R"("found": "2026-09-21 14:13:20.123Z")"));
}

TEST_CASE("a status comes back as it was") {
  StatusView status;
  status.version = "0.1.0";
  status.epoch = 7;
  status.uptime_s = 12.5;
  status.policy = "youngest";
  status.degraded = true;
  status.sites = {
      {SiteId(nasty), "postgresql", nasty, "gordian-postgres 0.1.0", SiteView::State::complete, 9, 12, 1.5, 3, false},
      {SiteId("b"), "", "", "", SiteView::State::missing, 0, 0, 0, 0, true}};
  status.txns = 5;
  status.waits = 4;
  status.edges = 6;
  status.groups = 2;
  status.members = {{"a", "tcp://h:1", true, true}, {nasty, "ipc:///x", false, false}};
  status.counters = {{"deltas", 12}, {nasty, std::numeric_limits<std::uint64_t>::max()}};
  const auto parsed = parse_status(to_json(status));
  if (!parsed) FAIL(parsed.error());
  CHECK(to_json(*parsed) == to_json(status));
  CHECK(parsed->counters == status.counters);
  REQUIRE(parsed->sites.size() == 2);
  CHECK(parsed->sites[0].site == SiteId(nasty));
  CHECK(parsed->sites[0].label == nasty);
  CHECK(parsed->sites[0].state == SiteView::State::complete);
  CHECK(!parsed->sites[0].resolve_local_deadlocks);
  CHECK(parsed->degraded);
}

TEST_CASE("a graph comes back as it was") {
  GraphView graph;
  graph.txns = {{TxnId(nasty), TxnInfo{}, true}, {TxnId("T2"), TxnInfo{}, false}};
  graph.waits = {{{SiteId("a"), 1, 2},
                  {TxnId("T2"),
                   {{TxnId(nasty), Kind::soft}, {TxnId("T3"), Kind::dotted}, {TxnId("T4"), Kind::hard}},
                   "row",
                   "X",
                   nasty,
                   std::chrono::microseconds(150)},
                  3.25}};
  graph.truncated = true;
  graph.waits[0].wait.groups = {GroupHandle{3}, GroupHandle{~0ULL}};
  graph.groups = {{SiteId("a"), GroupHandle{3}, nasty, "S", {TxnId(nasty), TxnId("T3")}, 12}};
  const auto parsed = parse_graph(to_json(graph));
  if (!parsed) FAIL(parsed.error());
  REQUIRE(parsed->waits.size() == 1);
  CHECK(parsed->waits[0].id == graph.waits[0].id);
  CHECK(parsed->waits[0].wait == graph.waits[0].wait);
  CHECK(parsed->waits[0].age_ms == 3.25);
  REQUIRE(parsed->txns.size() == 2);
  CHECK(parsed->txns[0].txn == TxnId(nasty));
  CHECK(parsed->txns[0].condemned);
  CHECK(parsed->truncated);
  REQUIRE(parsed->groups.size() == 1);
  CHECK(parsed->groups[0].members == graph.groups[0].members);
  CHECK(parsed->groups[0].members_total == 12);
  CHECK(to_json(*parsed) == to_json(graph));
  CHECK(parse_graph(R"({"txns":[],"waits":[],"truncated":false})").has_value());  // of an older coordinator
  CHECK(!parse_graph(R"({"txns":[],"waits":[],"truncated":false,"groups":[{}]})"));
}

TEST_CASE("numbers that JSON does not have do no harm") {
  Incident incident = gordian::test::crossing_incident();
  incident.edges[0].age_ms = std::numeric_limits<double>::quiet_NaN();
  incident.txns[0].info.priority = -std::numeric_limits<double>::infinity();
  const auto parsed = parse_incidents(to_json(std::vector{incident}));
  REQUIRE(parsed);
  CHECK(parsed->front().edges[0].age_ms == 0);
}

TEST_CASE("a document that is none is refused with its place") {
  const auto refused = [](const std::string& json, const std::string& expected) {
    const auto parsed = parse_incidents(json);
    REQUIRE(!parsed);
    INFO(parsed.error());
    CHECK(contains(parsed.error(), expected));
  };
  refused("", "no JSON");
  refused("{\"incidents\": [", "byte 16");
  refused("[]", "expected an object");
  refused("{}", "incidents: missing");
  refused("{\"incidents\": 1}", "incidents: number found, expected a list");
  refused("{\"incidents\": [1]}", "incidents[0]: number found, expected an object");
  refused(std::string(100'000, '['), "JSON");
  std::string json = to_json(std::vector{gordian::test::crossing_incident()});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = json;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  refused(with("\"berlin\"", "\"\""), "incidents[0].edges[0].site: site id is empty");
  refused(with("\"epoch\": 7", "\"epoch\": -7"),
          "incidents[0].epoch: number found, expected a whole number, not negative");
  refused(with("\"resolved\"", "\"gone\""), "incidents[0].outcome: \"gone\" is not known");
  CHECK(parse_incidents(with("\"epoch\": 7", "\"epoch\": 7, \"new\": []")));
}

TEST_CASE("selections") {
  CHECK(!parse_selection("")->limit);
  CHECK(!parse_selection(to_json(Selection{}))->limit);
  CHECK(parse_selection(to_json(Selection{3, "7-12"}))->id == "7-12");
  CHECK(parse_selection(to_json(Selection{3, "7-12"}))->limit == 3);
  CHECK(!parse_selection("{\"limit\": -1}"));
  CHECK(!parse_selection("{\"limits\": 1}"));
  CHECK(!parse_selection("7"));
}
