// The lock client against real lock servers, with the time by hand: leases that run out, agents that are started again, aborts.
#include "lock_world.hpp"

using namespace gordian;
using namespace gordian::test;
using namespace gordian::modes;

namespace {

constexpr Micros second = 1'000'000;

}  // namespace

// --- Leases ---

TEST_CASE("renewals that fail: jeopardy after two thirds of the ttl, then the session is lost, and every call fails") {
  LockWorld world;
  const auto session = world.open();
  const auto txn = world.begin(session);
  world.lock(txn, "k");
  world.settle();
  world.lose = [](const Letter&) { return true; };
  world.pass(6 * second);
  CHECK(world.told<SessionInJeopardy>() == 0);
  world.pass(second);
  CHECK(world.told<SessionInJeopardy>() == 1);
  CHECK(world.last<SessionInJeopardy>().remaining_us > 2 * second);
  world.lose = nullptr;
  world.pass(2 * second);  // it is renewed again
  CHECK(world.told<SessionLost>() == 0);
  world.lose = [](const Letter&) { return true; };
  const auto waits = world.lock(txn, "other", X, {.wait = std::chrono::seconds(100)});
  world.pass(7 * second);
  CHECK(world.told<SessionInJeopardy>() == 2);
  world.pass(4 * second);
  CHECK(world.told<SessionLost>() == 1);
  CHECK(world.client().remaining_us(session, world.now) == 0);
  CHECK(world.outcome(waits) != "granted");
  const auto after = world.lock(txn, "k");
  CHECK(world.outcome(after) == "lease_lost");
  CHECK(world.client().held(txn).empty());
  CHECK(world.client().begin(session, {}, world.now).error().code == LockError::Code::lease_lost);
}

TEST_CASE("after a pause longer than the lease the first use fails before anything is sent") {
  LockWorld world;
  const auto session = world.open();
  const auto txn = world.begin(session);
  world.lock(txn, "k");
  world.settle();
  world.paused[0] = true;
  world.pass(11 * second);
  world.paused[0] = false;
  const auto sent = world.sent_in_all();
  const auto call = world.lock(txn, "other");
  CHECK(world.outcome(call) == "lease_lost");
  CHECK(world.told<SessionLost>() == 1);
  CHECK(world.sent_in_all() == sent);
  // What was on its way meanwhile revives nothing.
  for (const auto letters = world.letters; const auto& letter : letters)
    if (from_site(letter)) world.client().receive(0, std::get<wire::ToLockClient>(letter.message), world.now);
  CHECK(world.client().remaining_us(session, world.now) == 0);
  world.settle();
  for (const auto& letter :
       std::deque<Letter>(world.letters.begin() + static_cast<std::ptrdiff_t>(sent), world.letters.end()))
    if (!from_site(letter)) CHECK(!carries<wire::Requests>(letter));
}

TEST_CASE("a session that held nothing during a pause goes on, under another number") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto first = world.lock(txn, "k");
  world.settle();
  (void)world.client().unlock(txn, world.grants(first)[0], world.now);
  world.settle();
  world.paused[0] = true;
  world.pass(20 * second);
  world.paused[0] = false;
  const auto again = world.lock(txn, "k");
  world.settle();
  CHECK(world.outcome(again) == "granted");
  CHECK(world.told<SessionLost>() == 0);
}

TEST_CASE("the agent ends the lease of a holder: the session is lost at once, and its other agents are told") {
  LockWorld world(2, 1);
  const auto session = world.open();
  const auto txn = world.begin(session);
  world.lock(txn, name_at(world, "a"));
  world.lock(txn, name_at(world, "b"));
  world.settle();
  CHECK(!world.sites[1].server->holds_nothing());
  const auto open = [&] {
    for (const auto& letter : world.letters)
      if (letter.site == 0 && carries<wire::OpenSession>(letter))
        return std::get<wire::OpenSession>(std::get<wire::FromLockClient>(letter.message)).session;
    return std::uint64_t{0};
  }();
  world.client().receive(0, wire::SessionEnded{open, wire::SessionEnded::Why::expired, "ran out"}, world.now);
  world.settle();
  CHECK(world.told<SessionLost>() == 1);
  CHECK(world.sites[1].server->holds_nothing());
}

TEST_CASE("close releases everything at once, and calls that wait end") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open(10 * second, 1), {}, 1);
  world.lock(holder, "k", X, {}, 1);
  world.settle();
  const auto session = world.open();
  const auto txn = world.begin(session);
  world.lock(txn, "mine");
  const auto waits = world.lock(txn, "k");
  world.settle();
  const auto close = world.client().close(session, world.now);
  CHECK(world.outcome(waits) == "lease_lost");
  world.settle();
  CHECK(world.outcome(close) == "done");
  CHECK(world.told<SessionLost>() == 0);
  CHECK(world.sites[0].server->status().locks == 1);
  CHECK(world.sites[0].server->status().sessions == 1);
}

// --- An agent that is started again ---

TEST_CASE(
    "after a restart holders reclaim under their fences, and nobody else gets in before the grace period is over") {
  LockWorld world(1, 2);
  const auto session = world.open();
  const auto txn = world.begin(session);
  const auto held = world.lock(txn, "k");
  world.settle();
  const auto fence = world.grants(held)[0].fence;
  world.sites[0].crash();
  world.pass(second);
  world.sites[0].restart(world.now);
  const auto other = world.begin(world.open(10 * second, 1), {}, 1);
  const auto thief = world.lock(other, "k", X, {}, 1);
  world.pass(5 * second);
  CHECK(world.client().status().reclaims == 1);
  CHECK(world.told<SessionLost>() == 0);
  CHECK(world.outcome(thief, 1) == "");
  world.pass(20 * second);
  CHECK(world.outcome(thief, 1) == "");  // for it is held
  CHECK(world.client().held(txn)[0].fence == fence);
  world.client().drop(txn, world.now);
  world.settle();
  REQUIRE(world.outcome(thief, 1) == "granted");
  CHECK(world.grants(thief, 1)[0].fence > fence);
}

TEST_CASE("what waited before a restart waits again after it") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open());
  world.lock(holder, "k");
  world.settle();
  const auto waiter = world.begin(world.open(10 * second, 1), {}, 1);
  const auto call = world.lock(waiter, "k", X, {}, 1);
  world.settle();
  world.sites[0].crash();
  world.sites[0].restart(world.now);
  world.pass(15 * second);
  CHECK(world.outcome(call, 1) == "");
  world.client().drop(holder, world.now);
  world.pass(5 * second);
  CHECK(world.outcome(call, 1) == "granted");
}

TEST_CASE("a lock that was about to be given back when the agent crashed is not reclaimed") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto held = world.lock(txn, "k");
  world.settle();
  world.sites[0].crash();
  const auto unlock = world.client().unlock(txn, world.grants(held)[0], world.now);
  world.settle();
  world.sites[0].restart(world.now);
  world.pass(5 * second);
  CHECK(world.outcome(unlock) == "done");
  CHECK(world.sites[0].server->holds_nothing());
}

TEST_CASE(
    "an agent that comes back after the grace period has lost the locks: the transaction is told, the session goes "
    "on") {
  LockWorld world;
  const auto session = world.open(60 * second);
  const auto txn = world.begin(session);
  world.lock(txn, "k");
  world.settle();
  world.sites[0].crash();
  world.sites[0].restart(world.now, 100'000);  // it says that no longer lease was ever granted
  world.lose = [](const Letter& letter) { return carries<wire::Renew>(letter); };
  world.pass(second);
  world.lose = nullptr;
  world.pass(25 * second);
  CHECK(world.told<TxnLost>() == 1);
  CHECK(world.last<TxnLost>().reason.code == LockError::Code::lease_lost);
  CHECK(world.told<SessionLost>() == 0);
  const auto next = world.lock(world.begin(session), "k");
  world.settle();
  CHECK(world.outcome(next) == "granted");
}

// --- Aborts ---

TEST_CASE("a holder that gives up waits for the agent's word: it may have become a victim meanwhile") {
  LockWorld world(2, 2);
  const auto blocker = world.begin(world.open(10 * second, 1), {}, 1);
  const auto at_b = name_at(world, "b");
  world.lock(blocker, at_b, X, {}, 1);
  world.settle();
  const auto txn = world.begin(world.open(), {.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}});
  world.lock(txn, name_at(world, "a"));
  const auto call = world.lock(txn, at_b, X, {.wait = std::chrono::seconds(1)});
  world.settle();
  world.lose = from_site;
  std::string expected = "timeout";
  SUBCASE("a victim") {
    const auto wait = world.sites[1].server->table().resource(at_b)->waiters.front().wait;
    CHECK(world.sites[1].server->abort_waiting(TxnId("T"), "7-1", wait, {world.now, world.now}));
    expected = "deadlock";
  }
  SUBCASE("a victim, and the caller withdraws") {
    const auto wait = world.sites[1].server->table().resource(at_b)->waiters.front().wait;
    CHECK(world.sites[1].server->abort_waiting(TxnId("T"), "7-1", wait, {world.now, world.now}));
    world.client().cancel(call, world.now);
    expected = "deadlock";
  }
  SUBCASE("none") {}
  SUBCASE("the agent is silent for good") {
    world.pass(7 * second);
    CHECK(world.outcome(call) == "unreachable");
    return;
  }
  world.pass(3 * second);
  CHECK(world.outcome(call).empty());
  world.lose = nullptr;
  world.pass(5 * second);
  CHECK(world.outcome(call) == expected);
  CHECK(world.client().held(txn).size() == (expected == "timeout" ? 1 : 0));
}

TEST_CASE("a transaction aborted at one agent ends at the other, and everything it asks for fails with the incident") {
  LockWorld world(2, 1);
  const auto session = world.open();
  const auto txn = world.begin(session, {.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}});
  const auto held = world.lock(txn, name_at(world, "b"));
  const auto at_a = name_at(world, "a");
  world.lock(txn, at_a);
  world.settle();
  CHECK(world.outcome(held) == "granted");
  CHECK(!world.sites[1].server->holds_nothing());
  const auto open = std::get<wire::OpenSession>(std::get<wire::FromLockClient>([&] {
    for (const auto& letter : world.letters)
      if (letter.site == 0 && carries<wire::OpenSession>(letter)) return letter;
    throw std::logic_error("no session at a");
  }()
                                                                                   .message));
  world.client().receive(0, wire::TxnAborted{open.session, TxnId("T"), wire::LockStatus::deadlock, "victim", "7-1"},
                         world.now);
  world.settle();
  CHECK(world.told<TxnLost>() == 1);
  CHECK(world.last<TxnLost>().reason.incident == "7-1");
  CHECK(world.sites[0].server->holds_nothing());
  CHECK(world.sites[1].server->holds_nothing());
  const auto later = world.lock(txn, at_a);
  CHECK(world.outcome(later) == "deadlock");
  CHECK(world.error(later).incident == "7-1");
  const auto end = world.client().end(txn, world.now);
  CHECK(world.outcome(end) == "deadlock");
}

TEST_CASE("an abort of a transaction's life before this one, told late, changes nothing") {
  LockWorld world(1, 1);
  const auto session = world.open();
  const ClientTxnOptions named{.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}};
  const auto first = world.begin(session, named);
  world.lock(first, "r");
  world.settle();
  const auto number = [&] {
    for (const auto& letter : world.letters)
      if (carries<wire::OpenSession>(letter))
        return std::get<wire::OpenSession>(std::get<wire::FromLockClient>(letter.message)).session;
    throw std::logic_error("no session");
  }();
  const auto end = world.client().end(first, world.now);
  world.settle();
  REQUIRE(world.outcome(end) == "done");

  const auto again = world.begin(session, named);
  const wire::TxnAborted late{number, TxnId("T"), wire::LockStatus::deadlock, "victim", "7-1", 1};
  world.client().receive(0, late, world.now);  // before this life has been at the agent
  const auto held = world.lock(again, "r");
  world.settle();
  CHECK(world.outcome(held) == "granted");
  world.client().receive(0, late, world.now);
  world.settle();
  CHECK(world.told<TxnLost>() == 0);
  CHECK(world.client().held(again).size() == 1);
  auto now = late;
  now.request = 3;  // its own lock: lock, end and lock were sent
  world.client().receive(0, now, world.now);
  CHECK(world.told<TxnLost>() == 1);
}

TEST_CASE("wound_wait: the younger holder is aborted, and learns of it") {
  LockWorld world(1, 2);
  const auto options = [](double start) {
    return ClientTxnOptions{.id = {}, .start = start, .label = {}, .strategy = Strategy::wound_wait, .on_aborted = {}};
  };
  const auto young = world.begin(world.open(), options(2000));
  world.lock(young, "k");
  world.settle();
  const auto old = world.begin(world.open(10 * second, 1), options(1000), 1);
  const auto call = world.lock(old, "k", X, {}, 1);
  world.settle();
  world.settle();
  CHECK(world.told<TxnLost>() == 1);
  CHECK(world.last<TxnLost>().reason.code == LockError::Code::wounded);
  CHECK(world.outcome(call, 1) == "granted");
}
