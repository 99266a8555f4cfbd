// The texts for people: what must be seen is there, and nothing in an id can forge a line.
#include "cli/merge.hpp"
#include "cli/present.hpp"

#include <doctest/doctest.h>

#include "incidents.hpp"

using namespace gordian;
using namespace gordian::cli;
using namespace gordian::coordinator;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

StatusView two_sites() {
  StatusView status;
  status.version = "0.1.0";
  status.epoch = 7;
  status.uptime_s = 200;
  status.policy = "youngest";
  status.sites = {{SiteId("berlin"), "postgresql", "host=b", "gordian-postgres 0.1.0", SiteView::State::complete, 9, 12,
                   104, 3, false},
                  {SiteId("paris\n\x1b[2J"), "", "", "", SiteView::State::missing}};
  status.waits = 1;
  status.counters = {{"deltas", 12}};
  return status;
}

}  // namespace

TEST_CASE("a degraded status says so first, and which sites are away") {
  StatusView status = two_sites();
  CHECK(!contains(status_text(status), "DEGRADED"));
  status.degraded = true;
  const std::string text = status_text(status);
  INFO(text);
  CHECK(text.starts_with("DEGRADED: waits are missing from sites paris\\x0a\\x1b[2J (missing)"));
  CHECK(contains(text, "coordinator 0.1.0, epoch 7, up 3 min 20 s, policy youngest\n"));
  CHECK(contains(text, "0 transactions, 1 wait, 0 edges"));
  CHECK(contains(text,
                 "berlin            complete  postgresql  3      104 ms ago  engine           "
                 "gordian-postgres 0.1.0  host=b\n"));
  CHECK(contains(text, "paris\\x0a\\x1b[2J  missing   -           0      never       -"));
  CHECK(contains(text, "deltas   12\n"));
  CHECK(contains(status_text(StatusView{}), "no site has reported yet"));
  CHECK(!contains(text, "COORDINATOR"));
}

TEST_CASE("the status shows the coordinators that share the graph, and who is away") {
  StatusView status = two_sites();
  status.members = {{"a", "tcp://h:1", true, true}, {"b", "tcp://h:2", false, false}};
  const std::string text = status_text(status);
  INFO(text);
  CHECK(text.starts_with("AWAY: coordinator b at tcp://h:2;"));
  CHECK(contains(text, "a (asked)    alive  tcp://h:1\n"));
  CHECK(contains(text, "b            away   tcp://h:2\n"));
}

TEST_CASE("deadlocks are one line each") {
  const std::string text = deadlocks_table({gordian::test::crossing_incident(), Incident{}});
  INFO(text);
  CHECK(contains(text,
                 "\n2026-09-21 14:13:20.123Z  7-12  resolved   shop-17  2: shop-16, shop-17  berlin, paris  1.5 ms     "
                 "   4.2 ms\n"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 3);
  CHECK(deadlocks_table({}) == "no deadlocks so far\n");
}

TEST_CASE("the story of an incident") {
  Incident incident = gordian::test::crossing_incident();
  incident.edges.push_back(incident.edges[0]);
  incident.edges.back().blocker = TxnId("third");
  CHECK(story(incident) ==
        "Deadlock 7-12, found 2026-09-21 14:13:20.123Z, resolved in 4.2 ms\n"
        "\n"
        "Who waited for whom, as confirmed by the sites:\n"
        "  shop-16 (billing) had waited 3.2 s at site berlin\n"
        "    for      transaction 742 (ShareLock)\n"
        "    held by  shop-17 (orders) and third\n"
        "    doing    UPDATE account SET balance = balance - 10 WHERE id = 2\n"
        "  shop-17 (orders) had waited 104 ms at site paris\n"
        "    for      transaction 901 (ShareLock)\n"
        "    held by  shop-16 (billing)\n"
        "    doing    UPDATE account SET balance = balance + 10 WHERE id = 1\n"
        "\n"
        "Victim:  shop-17 (orders)\n"
        "Why:     shop-17 is the youngest of 2: it began last (policy youngest)\n"
        "Spared:  shop-16 (billing)\n"
        "\n"
        "What was done, and when after it was found:\n"
        "  +0 us    found\n"
        "  +1.5 ms  confirmed\n"
        "  +1.6 ms  abort of shop-17 ordered at site paris\n"
        "  +4.2 ms  shop-17 aborted at site paris\n");
}

TEST_CASE("incidents of several coordinators: newest first, each once, no more than asked for") {
  const auto incident = [](const char* id, std::int64_t found_us) {
    Incident one;
    one.id = id, one.found_unix_us = found_us;
    return one;
  };
  const auto ids = [](const std::vector<Incident>& incidents) {
    std::vector<std::string> list;
    for (const auto& one : incidents) list.push_back(one.id);
    return list;
  };
  const std::vector<std::vector<Incident>> of_each = {{incident("a-2", 50), incident("a-1", 10)}, {}, {incident("b-1", 20), incident("a-1", 10)}};
  CHECK(ids(merged(of_each, 0)) == std::vector<std::string>{"a-2", "b-1", "a-1"});
  CHECK(ids(merged(of_each, 2)) == std::vector<std::string>{"a-2", "b-1"});
}

TEST_CASE("graphs of several coordinators: all waits, and what they name once") {
  using namespace gordian::coordinator;
  GraphView a, b;
  a.waits = {{{SiteId("s"), 1, 2}, {TxnId("T1"), {}, "r", "X"}, 5}};
  a.txns = {{TxnId("H"), {}, false}, {TxnId("T1"), {.start = 1.0}, false}};
  a.groups = {{SiteId("s"), GroupHandle{1}, "r", "S", {TxnId("H")}, 1}};
  b.waits = {{{SiteId("s"), 1, 1}, {TxnId("T2"), {}, "r", "X"}, 5}};
  b.txns = {{TxnId("H"), {.start = 3.0}, true}, {TxnId("T2"), {}, false}};
  b.groups = {{SiteId("s"), GroupHandle{1}, "r", "S", {TxnId("H"), TxnId("I")}, 2}};
  b.truncated = true;
  const auto all = merged({a, b});
  REQUIRE(all.waits.size() == 2);
  CHECK(all.waits[0].id.sequence == 1);
  REQUIRE(all.txns.size() == 3);
  CHECK(all.txns[0].info.start == 3.0);
  CHECK(all.txns[0].condemned);
  REQUIRE(all.groups.size() == 1);
  CHECK(all.groups[0].members == std::vector{TxnId("H"), TxnId("I")});
  CHECK(all.groups[0].members_total == 2);
  CHECK(all.truncated);
}
