// An incident with every field filled, and its comparison: shared by the tests of those who store, print and
// draw it.
#pragma once

#include <doctest/doctest.h>

#include "coordinator/views.hpp"

namespace gordian::test {

/// Two transactions that cross at two PostgreSQL sites; the younger is the victim.
inline coordinator::Incident crossing_incident() {
  coordinator::Incident incident;
  incident.id = "7-12";
  incident.epoch = 7;
  incident.number = 12;
  incident.found_unix_us = 1'790'000'000'123'456;
  incident.outcome = coordinator::Incident::Outcome::resolved;
  incident.policy = "youngest";
  incident.why = "shop-17 is the youngest of 2: it began last";
  incident.victims = {TxnId("shop-17")};
  incident.txns = {{TxnId("shop-16"),
                    {.start = 1'790'000'000'000'001.0,
                     .priority = 1,
                     .locks = 3,
                     .work = 120.5,
                     .restarts = 2,
                     .victim_class = TxnInfo::Class::never,
                     .label = "billing"},
                    false},
                   {TxnId("shop-17"),
                    {.start = 1'790'000'000'000'002.0,
                     .priority = -1,
                     .locks = 2,
                     .work = 7,
                     .restarts = 0,
                     .victim_class = TxnInfo::Class::normal,
                     .label = "orders"},
                    true}};
  incident.edges = {{TxnId("shop-16"),
                     TxnId("shop-17"),
                     {SiteId("berlin"), 1'790'000'000, 41},
                     "transaction 742",
                     "ShareLock",
                     "UPDATE account SET balance = balance - 10 WHERE id = 2",
                     3214.5},
                    {TxnId("shop-17"),
                     TxnId("shop-16"),
                     {SiteId("paris"), 1'790'000'001, 7},
                     "transaction 901",
                     "ShareLock",
                     "UPDATE account SET balance = balance + 10 WHERE id = 1",
                     104.25}};
  incident.steps = {{0, "found"},
                    {1500, "confirmed"},
                    {1600, "abort of shop-17 ordered at site paris"},
                    {4200, "shop-17 aborted at site paris"}};
  incident.confirm_us = 1500;
  incident.resolve_us = 4200;
  return incident;
}

inline void check_equal(const coordinator::Incident& a, const coordinator::Incident& b) {
  CHECK(a.id == b.id);
  CHECK(a.epoch == b.epoch);
  CHECK(a.number == b.number);
  CHECK(a.found_unix_us == b.found_unix_us);
  CHECK(a.outcome == b.outcome);
  CHECK(a.policy == b.policy);
  CHECK(a.why == b.why);
  CHECK(a.victims == b.victims);
  CHECK(a.confirm_us == b.confirm_us);
  CHECK(a.resolve_us == b.resolve_us);
  REQUIRE(a.txns.size() == b.txns.size());
  for (std::size_t i = 0; i < a.txns.size(); ++i) {
    CHECK(a.txns[i].txn == b.txns[i].txn);
    CHECK(a.txns[i].info == b.txns[i].info);
    CHECK(a.txns[i].victim == b.txns[i].victim);
  }
  REQUIRE(a.edges.size() == b.edges.size());
  for (std::size_t i = 0; i < a.edges.size(); ++i) {
    const auto &x = a.edges[i], &y = b.edges[i];
    CHECK(x.waiter == y.waiter);
    CHECK(x.blocker == y.blocker);
    CHECK(x.wait == y.wait);
    CHECK(x.resource == y.resource);
    CHECK(x.mode == y.mode);
    CHECK(x.detail == y.detail);
    CHECK(x.age_ms == y.age_ms);
    CHECK(x.kind == y.kind);
    CHECK(x.reordered == y.reordered);
  }
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    CHECK(a.steps[i].after_us == b.steps[i].after_us);
    CHECK(a.steps[i].what == b.steps[i].what);
  }
}

}  // namespace gordian::test
