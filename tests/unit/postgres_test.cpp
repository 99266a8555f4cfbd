// The parts of gordian-postgres that need no server: identities, lock conflicts, and the difference of two sightings.
// Its SQL and its orders are tested against real servers in tests/integration.
#include <doctest/doctest.h>

#include "postgres/identity.hpp"
#include "postgres/ledger.hpp"
#include "postgres/observer.hpp"

using namespace gordian;
using namespace gordian::postgres;

namespace {

const Branch session{4711, 1'700'000'000'000'000, 1'700'000'001'000'000, {}};

Branch next_transaction_of(Branch branch) {
  branch.xact_start_us += 1'000'000;
  return branch;
}

Identity identity(const std::string& application = "^gtx:(.+)$", const std::string& gid = "^gtx:([^/]+)") {
  return {SiteId("shop"), parse_id_pattern(application).value(), parse_id_pattern(gid).value()};
}

SeenWait wait_behind(std::vector<SeenBlocker> blockers) {
  return {session,       1'700'000'002'000'000, TxnId("waiter"), std::move(blockers),
          "row t (0,1)", "ShareLock",           "update t",      std::chrono::milliseconds(120)};
}

/// An agent that never reaches a coordinator: its status tells what it was told.
Agent lonely_agent() {
  AgentOptions options{.site = SiteId("shop")};
  options.coordinator = "ipc:///nonexistent/gordian";
  AgentCallbacks callbacks;
  callbacks.on_abort = [](const AbortOrder&, const AbortAnswer&) {};
  return *Agent::start(options, callbacks);
}

Observation seen(std::vector<SeenWait> waits) { return {std::move(waits), {}, {}}; }

}  // namespace

TEST_CASE("the application name tells the transaction") {
  CHECK(identity().of_session(session, "gtx:42") == TxnId("42"));
  CHECK(identity("tx=(\\w+)").of_session(session, "shop tx=T7 v2") == TxnId("T7"));
}

TEST_CASE("whoever says nothing is told apart by site, process and start of the transaction") {
  const auto id = identity();
  CHECK(id.of_session(session, "psql") == TxnId("shop/4711/1700000000000000/1700000001000000"));
  CHECK(id.of_session(session, "gtx:") == id.of_session(session, "psql"));
  CHECK(id.of_session(next_transaction_of(session), "psql") != id.of_session(session, "psql"));
}

TEST_CASE("the gid of a prepared transaction tells the transaction too") {
  const Branch prepared{0, 0, 1'700'000'003'000'000, "gtx:42/eu-1"};
  CHECK(identity().of_prepared(prepared) == TxnId("42"));
  const Branch other{0, 0, 1'700'000'003'000'000, "nightly"};
  CHECK(identity().of_prepared(other) == TxnId("shop/prepared/nightly/1700000003000000"));
}

TEST_CASE("an id that is too long is cut, and still tells two texts apart") {
  const std::string longest(TxnId::max_bytes, 'x');
  CHECK(fitting_id(longest).str() == longest);
  const auto one = fitting_id(longest + "1"), two = fitting_id(longest + "2");
  CHECK(one.str().size() == TxnId::max_bytes);
  CHECK(one != two);
  CHECK(one == fitting_id(longest + "1"));
}

TEST_CASE("a pattern has exactly one group") {
  CHECK(parse_id_pattern("^gtx:(.+)$"));
  CHECK_FALSE(parse_id_pattern("^gtx:.+$"));
  CHECK_FALSE(parse_id_pattern("^(g)tx:(.+)$"));
  CHECK_FALSE(parse_id_pattern("^gtx:(.+$"));
}

TEST_CASE("lock modes conflict as in PostgreSQL's manual, 13.3.1") {
  const std::vector<std::string> modes{
      "AccessShareLock", "RowShareLock",          "RowExclusiveLock", "ShareUpdateExclusiveLock",
      "ShareLock",       "ShareRowExclusiveLock", "ExclusiveLock",    "AccessExclusiveLock"};
  const std::vector<std::string> table{".......x", "......xx", "....xxxx", "...xxxxx",
                                       "..xx.xxx", "..xxxxxx", ".xxxxxxx", "xxxxxxxx"};
  for (std::size_t awaited = 0; awaited < modes.size(); ++awaited) {
    for (std::size_t held = 0; held < modes.size(); ++held) {
      CAPTURE(modes[awaited]);
      CAPTURE(modes[held]);
      CHECK(conflicts(modes[awaited], modes[held]) == (table[awaited][held] == 'x'));
    }
  }
  CHECK(conflicts("ShareLock", "ModeOfTheFuture"));
}

TEST_CASE("a blocker with several sightings counts once, by the firmest") {
  const Branch other{4712, 1, 2, {}}, third{4713, 1, 2, {}};
  const auto blockers = blockers_of(wait_behind({{TxnId("b"), Kind::soft, other}, {TxnId("b"), Kind::hard, third}}));
  CHECK(blockers == Blockers{{TxnId("b"), {Kind::hard, {third}}}});
}

TEST_CASE("a blocker has held without a break only if one of its branches has") {
  const Branch a{4712, 1, 2, {}}, b{4713, 1, 2, {}};
  const TxnId txn("b");
  const Blockers by_a{{txn, {Kind::hard, {a}}}};
  CHECK(renewed(by_a, by_a).empty());
  CHECK(renewed(by_a, {{txn, {Kind::hard, {a, b}}}}).empty());
  CHECK(renewed({{txn, {Kind::hard, {a, b}}}}, {{txn, {Kind::hard, {b}}}}).empty());
  CHECK(renewed(by_a, {{txn, {Kind::hard, {next_transaction_of(a)}}}}) == std::vector{txn});
  CHECK(renewed({{txn, {Kind::soft, {a}}}}, by_a) == std::vector{txn});
  CHECK(renewed(by_a, {{TxnId("new"), {Kind::hard, {b}}}}).empty());
}

TEST_CASE("the ledger tells the agent of each episode once") {
  auto agent = lonely_agent();
  Ledger ledger;
  const std::vector<int> asked{session.pid};
  const auto wait = wait_behind({{TxnId("b"), Kind::hard, {4712, 1, 2, {}}}});
  REQUIRE(ledger.apply(agent, asked, seen({wait})).empty());
  REQUIRE(ledger.apply(agent, asked, seen({wait})).empty());
  CHECK(agent.status().waits == 1);
  CHECK(ledger.knows(session));
  CHECK_FALSE(ledger.knows(next_transaction_of(session)));

  SUBCASE("who is not asked about stays") {
    REQUIRE(ledger.apply(agent, {99}, seen({})).empty());
    CHECK(agent.status().waits == 1);
  }
  SUBCASE("who is asked about and not seen has stopped waiting") {
    REQUIRE(ledger.apply(agent, asked, seen({})).empty());
    CHECK(agent.status().waits == 0);
    CHECK(ledger.empty());
  }
  SUBCASE("a later start is another episode") {
    auto later = wait;
    later.waitstart_us += 1;
    REQUIRE(ledger.apply(agent, asked, seen({later})).empty());
    CHECK(agent.status().waits == 1);
    CHECK(ledger.size() == 1);
  }
  SUBCASE("without the server nothing is known") {
    ledger.clear(agent);
    CHECK(agent.status().waits == 0);
    CHECK(ledger.empty());
  }
}
