// The lock table, one transaction after the other: modes, queues, conversion, re-entrance, paths, several resources, limits.
#include "lock_mirror.hpp"
#include "lock_scene.hpp"

using namespace gordian;
using namespace gordian::modes;
using gordian::test::Mirror;
using gordian::test::Scene;
using gordian::test::Told;

namespace {

constexpr Micros second = 1'000'000;

}  // namespace

TEST_CASE("the standard modes get along as in the textbook") {
  const std::vector<std::string> expected{
      "IS  + + + + + -",  // asked for IS while IS IX S SIX U X is held
      "IX  + + - - - -",  //
      "S   + - + - + -",  //
      "SIX + - - - - -",  //
      "U   + - + - - -",  //
      "X   - - - - - -",  //
  };
  for (std::size_t asked = 0; asked < 6; ++asked)
    for (std::size_t held = 0; held < 6; ++held) {
      Scene s;
      CAPTURE(asked);
      CAPTURE(held);
      REQUIRE(s.lock("T1", "r", Mode(held)) == "granted");
      CHECK((s.try_lock("T2", "r", Mode(asked)) == "granted") == (expected[asked][4 + 2 * held] == '+'));
    }
}

TEST_CASE("a holder that asks for another mode has the weakest that covers both") {
  const ModeMatrix& m = standard();
  CHECK(m.join(IX, S) == SIX);
  CHECK(m.join(IS, IX) == IX);
  CHECK(m.join(S, U) == U);
  CHECK(m.join(U, IX) == SIX);
  CHECK(m.join(SIX, U) == SIX);
  for (std::size_t a = 0; a < m.size(); ++a)
    for (std::size_t b = 0; b < m.size(); ++b) {
      const Mode join = m.join(Mode(a), Mode(b));
      CHECK(join == m.join(Mode(b), Mode(a)));
      CHECK((m.conflicts(Mode(a)) & ~m.conflicts(join)) == 0);
      CHECK((m.obstructs(Mode(b)) & ~m.obstructs(join)) == 0);
      CHECK(m.join(Mode(a), Mode(a)) == Mode(a));
    }
}

TEST_CASE("the modes of VMS: protected readers exclude writers, concurrent ones do not") {
  Scene s({.modes = dlm()});
  CHECK(s.lock("T1", "r", vms::PR) == "granted");
  CHECK(s.try_lock("T2", "r", vms::CW) == "refused");
  CHECK(s.try_lock("T2", "r", vms::CR) == "granted");
  CHECK(s.try_lock("T3", "r", vms::PW) == "refused");
  CHECK(s.try_lock("T3", "r", vms::NL) == "granted");
  CHECK(dlm().join(vms::CW, vms::PR) == vms::PW);
}

TEST_CASE("a mode matrix of one's own is checked") {
  CHECK(ModeMatrix::make({}).error().find("1 to 16") != std::string::npos);
  CHECK(ModeMatrix::make({{"A", 0, {}}, {"A", 0, {}}}).error() == "two modes are called A");
  CHECK(ModeMatrix::make({{"A", 2, {}}}).error().find("beyond the list") != std::string::npos);
  CHECK(ModeMatrix::make({{"A", 1, {}}, {"B", 2, {}}}).error() == "no mode covers both A and B");
  const auto red_blue = ModeMatrix::make({{"red", 0b110, {}}, {"blue", 0b101, {}}, {"both", 0b111, {}}});
  REQUIRE(red_blue);
  CHECK(red_blue->join(Mode(0), Mode(1)) == Mode(2));
  CHECK(red_blue->find("blue") == Mode(1));
}

TEST_CASE("waiters go in their order, and compatible neighbours together") {
  Scene s;
  s.lock("T1", "r", X);
  CHECK(s.lock("T2", "r", S) == "waits");
  CHECK(s.lock("T3", "r", S) == "waits");
  CHECK(s.lock("T4", "r", X) == "waits");
  CHECK(s.lock("T5", "r", S) == "waits");
  CHECK(s.told().empty());
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted", "T3 granted"});
  CHECK(s.state("r") == "T2:S T3:S | T4:X T5:S");
  s.end("T2");
  CHECK(s.told().empty());
  s.end("T3");
  CHECK(s.told() == Told{"T4 granted"});
  s.end("T4");
  CHECK(s.told() == Told{"T5 granted"});
  s.end("T5");
  CHECK(s.state("r") == "free");
}

TEST_CASE("a stream of readers does not starve a writer") {
  Scene s;
  s.lock("T1", "r", S);
  CHECK(s.lock("T2", "r", X) == "waits");
  for (int i = 3; i < 50; ++i) CHECK(s.lock("T" + std::to_string(i), "r", S) == "waits");
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted"});
}

TEST_CASE("who is in nobody's way overtakes") {
  Scene s;
  s.lock("T1", "r", IX);
  CHECK(s.lock("T2", "r", S) == "waits");
  CHECK(s.lock("T3", "r", IS) == "granted");  // gets along with the holder and with the waiter
  CHECK(s.lock("T4", "r", IX) == "waits");    // with the holder, but not with the waiter
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted"});
  s.end("T2");
  CHECK(s.told() == Told{"T4 granted"});
}

TEST_CASE("a waiter that is let past another is granted at once if it fits, and the others keep their order") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  const auto wait = [&](const char* name) { return mirror.wait_of(TxnId(name), "k").value(); };
  s.lock("T1", "k", S), s.lock("T2", "k", X), s.lock("T3", "k", S), s.lock("T4", "k", S), s.lock("T5", "k", X);
  CHECK(s.told().empty());
  CHECK(s.table.advance("k", wait("T4"), TxnId("T2")));
  CHECK(s.told() == Told{"T4 granted"});
  CHECK(s.state("k") == "T1:S T4:S | T2:X T3:S T5:X");
  CHECK(s.table.advance("k", wait("T5"), TxnId("T2")));  // fits no holder: it is only ahead
  CHECK(s.told().empty());
  CHECK(s.state("k") == "T1:S T4:S | T5:X T2:X T3:S");
  mirror.check_against(s.table);
  CHECK_FALSE(s.table.advance("k", wait("T5"), TxnId("T2")));  // is ahead already
  CHECK_FALSE(s.table.advance("k", wait("T2"), TxnId("T1")));  // who holds is not queued
  CHECK_FALSE(s.table.advance("k", WaitNumber{999}, TxnId("T1")));
  CHECK_FALSE(s.table.advance("other", wait("T2"), TxnId("T5")));
  s.end("T1"), s.end("T4");
  CHECK(s.told() == Told{"T5 granted"});
  s.end("T5");
  CHECK(s.told() == Told{"T2 granted"});
  s.end("T2");
  CHECK(s.told() == Told{"T3 granted"});
}

TEST_CASE("a waiter is let past a conversion that keeps it, not past two") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  const auto wait = [&](const char* name) { return mirror.wait_of(TxnId(name), "k").value(); };
  s.lock("T1", "k", S), s.lock("T2", "k", S), s.lock("T1", "k", X), s.lock("T3", "k", S);
  CHECK(s.state("k") == "T1:S T2:S | T1:X T3:S");
  SUBCASE("past it") {
    CHECK_FALSE(s.table.advance("k", wait("T1"), TxnId("T3")));  // a conversion stands behind nobody
    CHECK(s.table.advance("k", wait("T3"), TxnId("T1")));
    CHECK(s.told() == Told{"T3 granted"});
    CHECK(s.state("k") == "T1:S T2:S T3:S | T1:X");
  }
  SUBCASE("past the second of two, and the first is still in the way") {
    s.lock("T2", "k", X);
    CHECK_FALSE(s.table.advance("k", wait("T3"), TxnId("T2")));
    CHECK(s.table.advance("k", wait("T3"), TxnId("T1")));
    CHECK(s.told() == Told{"T3 granted"});
  }
}

TEST_CASE("nobody is let past where wait_die or wound_wait have settled who waits for whom") {
  Mirror mirror;
  Scene s({.observer = &mirror});
  s.lock("T3", "k", S);
  s.txn("T2", Strategy::wait_die);
  s.lock("T2", "k", X), s.lock("T4", "k", S);
  CHECK_FALSE(s.table.advance("k", mirror.wait_of(TxnId("T4"), "k").value(), TxnId("T2")));
  CHECK(s.told().empty());
}

TEST_CASE("an upgrade goes before the waiters, and raises its fence, and a re-entrant lock keeps it") {
  Scene s;
  const Fence first = s.txn("T1").lock("r", S)->fence;
  CHECK(s.txn("T1").lock("r", S)->fence == first);
  s.lock("T2", "r", S);
  CHECK(s.lock("T3", "r", X) == "waits");
  CHECK(s.lock("T1", "r", X) == "waits");
  CHECK(s.state("r") == "T1:S T2:S | T1:X T3:X");
  s.end("T2");
  CHECK(s.told() == Told{"T1 granted"});
  CHECK(s.fences["T1"] > first);
  CHECK(s.txn("T1").lock("r", IS)->fence == s.fences["T1"]);
  for (int i = 0; i < 3; ++i) CHECK(s.txn("T1").unlock("r"));
  CHECK(s.told().empty());
  CHECK(s.txn("T1").unlock("r"));  // the fourth of four
  CHECK(s.told() == Told{"T3 granted"});
  CHECK(s.fences["T3"] > s.fences["T1"]);
  CHECK(s.txn("T1").unlock("r").error().code == LockError::Code::not_held);
}

TEST_CASE("an upgrade of the only holder is granted at once, though others wait") {
  Scene s;
  s.lock("T1", "r", S);
  s.lock("T2", "r", X);
  CHECK(s.lock("T1", "r", X) == "granted");
  CHECK(s.state("r") == "T1:X | T2:X");
}

TEST_CASE("a conversion does not wait for another conversion that waits for it") {
  Scene s;
  s.lock("T1", "r", S);
  s.lock("T2", "r", IS);
  s.lock("T3", "r", S);
  CHECK(s.lock("T1", "r", X) == "waits");
  CHECK(s.lock("T2", "r", S) == "granted");
}

TEST_CASE("a downgrade lets those in who now fit") {
  Scene s;
  s.lock("T1", "r", X);
  s.lock("T2", "r", S);
  s.lock("T3", "r", X);
  CHECK(s.txn("T1").downgrade("r", S));
  CHECK(s.told() == Told{"T2 granted"});
  CHECK(s.txn("T1").downgrade("r", X).error().code == LockError::Code::not_held);
  CHECK(s.state("r") == "T1:S T2:S | T3:X");
}

TEST_CASE("a deadline fails the wait at its time, and a cancel at once, and who is behind goes on") {
  Scene s;
  s.lock("T1", "r", S);
  CHECK(s.lock("T2", "r", X, {.deadline = 5 * second}) == "waits");
  CHECK(s.lock("T3", "r", S) == "waits");
  CHECK(s.table.next_deadline() == 5 * second);
  s.table.expire(5 * second - 1);
  CHECK(s.told().empty());
  s.table.expire(5 * second);
  const Told both = s.told();
  CHECK(std::find(both.begin(), both.end(), "T2 timeout") != both.end());
  CHECK(std::find(both.begin(), both.end(), "T3 granted") != both.end());
  CHECK(both.size() == 2);
  CHECK(s.table.next_deadline() == never);
  CHECK(s.lock("T4", "r", X) == "waits");
  CHECK(s.txn("T4").cancel(s.ticket["T4"]));
  CHECK_FALSE(s.txn("T4").cancel(s.ticket["T4"]));
  CHECK(s.told() == Told{"T4 cancelled"});
  CHECK(s.lock("T2", "q", X) == "granted");  // a timeout does not end the transaction
}

TEST_CASE("a path takes intention locks on its parents, and gives them back") {
  Scene s;
  CHECK(s.outcome("T1", s.txn("T1").lock_path("db/table/row1", X)) == "granted");
  CHECK(s.state("db") == "T1:IX |");
  CHECK(s.state("db/table") == "T1:IX |");
  CHECK(s.outcome("T2", s.txn("T2").lock_path("db/table/row2", S)) == "granted");
  CHECK(s.outcome("T1", s.txn("T1").lock_path("db/table/row3", S)) == "granted");
  CHECK(s.outcome("T3", s.txn("T3").lock_path("db/table", S)) == "waits");
  CHECK(s.state("db/table") == "T1:IX T2:IS | T3:S");
  CHECK(s.txn("T1").unlock_path("db/table/row1"));
  CHECK(s.told().empty());  // row3 still keeps the parents
  CHECK(s.txn("T1").unlock_path("db/table/row3"));
  CHECK(s.told() == Told{"T3 granted"});
  CHECK(s.txn("T1").held() == 0);
  CHECK(s.outcome("T4", s.txn("T4").lock_path("/", X)) == "granted");
  CHECK(s.outcome("T4", s.txn("T4").lock_path("/a/b", X)) == "granted");
  CHECK(s.state("/a") == "T4:IX |");
}

TEST_CASE("a path that fails leaves nothing behind, and what was raised is lowered again") {
  Scene s;
  s.lock("T1", "db", IS);
  s.lock("T2", "db/t", S);
  CHECK(s.outcome("T1", s.txn("T1").lock_path("db/t/r", X, {.wait = false})) == "refused");
  CHECK(s.state("db") == "T1:IS |");
  CHECK(s.outcome("T1", s.txn("T1").lock_path("db/t/r", X, {.deadline = second})) == "waits");
  CHECK(s.state("db") == "T1:IX |");
  s.table.expire(second);
  CHECK(s.told() == Told{"T1 timeout"});
  CHECK(s.state("db") == "T1:IS |");
  CHECK(s.txn("T1").held() == 1);
}

TEST_CASE("all or nothing: several resources under one deadline") {
  Scene s;
  s.lock("T1", "b", X);
  const std::vector<LockItem> items{{"c", X}, {"a", X}, {"b", S}};
  CHECK(s.outcome("T2", s.txn("T2").lock_all(items, {.wait = false})) == "refused");
  CHECK(s.txn("T2").held() == 0);
  CHECK(s.outcome("T2", s.txn("T2").lock_all(items, {.deadline = second})) == "waits");
  s.table.expire(second);
  CHECK(s.told() == Told{"T2 timeout"});
  CHECK(s.state("a") == "free");
  CHECK(s.outcome("T2", s.txn("T2").lock_all(items)) == "waits");
  CHECK(s.state("c") == "free");  // taken in ascending order
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted"});
  CHECK(s.places["T2"] == std::vector<std::size_t>{0, 1, 2});
  CHECK(s.state("c") == "T2:X |");
}

TEST_CASE("two calls for the same resources in opposite order do not deadlock") {
  Scene s;
  s.lock("T9", "a", X);
  const std::vector<LockItem> forth{{"a", X}, {"b", X}}, back{{"b", X}, {"a", X}};
  CHECK(s.outcome("T1", s.txn("T1").lock_all(forth)) == "waits");
  CHECK(s.outcome("T2", s.txn("T2").lock_all(back)) == "waits");
  s.end("T9");
  CHECK(s.told() == Told{"T1 granted"});
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted"});
}

TEST_CASE("any of several: the first that is free, the others are given back") {
  Scene s;
  const std::vector<LockItem> items{{"a", X}, {"b", X}, {"c", X}};
  s.lock("T1", "a", X);
  const auto b = s.txn("T2").lock_some(items, 1);
  REQUIRE(b);
  CHECK(b->granted.size() == 1);
  CHECK(b->granted[0].item == 1);
  s.lock("T3", "c", X);
  CHECK(s.outcome("T4", s.txn("T4").lock_some(items, 1)) == "waits");
  CHECK(s.outcome("T5", s.txn("T5").lock_some(items, 1, {.wait = false})) == "refused");
  s.end("T3");
  CHECK(s.told() == Told{"T4 granted"});
  CHECK(s.places["T4"] == std::vector<std::size_t>{2});
  CHECK(s.state("a") == "T1:X |");
  CHECK(s.state("b") == "T2:X |");
}

TEST_CASE("two of three wait until two are held, and the third is given back") {
  Scene s;
  const std::vector<LockItem> items{{"a", X}, {"b", X}, {"c", X}};
  s.lock("T1", "a", X);
  s.lock("T2", "b", X);
  CHECK(s.outcome("T3", s.txn("T3").lock_some(items, 2)) == "waits");
  CHECK(s.state("c") == "T3:X |");
  s.end("T2");
  CHECK(s.told() == Told{"T3 granted"});
  CHECK(s.state("a") == "T1:X |");
  CHECK(s.places["T3"] == std::vector<std::size_t>{1, 2});
}

TEST_CASE("an aborted transaction's waiting call fails, its locks are free, all later calls fail with the incident") {
  Scene s;
  s.lock("T1", "a", X);
  s.lock("T2", "b", X);
  CHECK(s.lock("T3", "a", S) == "waits");
  CHECK(s.lock("T1", "b", X) == "waits");
  CHECK_FALSE(s.table.abort(TxnId("T9"), "i1"));
  CHECK(s.table.abort(TxnId("T1"), "i1"));
  const Told told = s.told();
  CHECK(told.size() == 3);
  CHECK(std::find(told.begin(), told.end(), "T1 deadlock") <
        std::find(told.begin(), told.end(), "T1 aborted: deadlock"));
  CHECK(std::find(told.begin(), told.end(), "T3 granted") != told.end());
  CHECK(s.lock("T1", "z", S) == "deadlock");
  CHECK(s.last_error.incident == "i1");
  CHECK(s.txn("T1").unlock("a").error().code == LockError::Code::deadlock);
  CHECK_FALSE(s.table.abort(TxnId("T1"), "i2"));
  s.txn("T1").restart({.id = TxnId("T1")});
  CHECK(s.lock("T1", "z", S) == "granted");
}

TEST_CASE("a holder is aborted only while it has held that resource without a break since then") {
  Mirror mirror;  // a table without observer does not know its holders by id
  Scene s({.observer = &mirror});
  s.lock("T1", "a", X), s.lock("T1", "b", X);
  CHECK(s.lock("T2", "a", S) == "waits");
  const auto since = s.table.blockers("a", s.table.resource("a")->waiters.at(0).wait).at(0).since;
  CHECK_FALSE(s.table.abort_holder(TxnId("T1"), "i1", "a", since - 1));
  CHECK_FALSE(s.table.abort_holder(TxnId("T2"), "i1", "a", since));  // it only waits
  CHECK_FALSE(s.table.abort_holder(TxnId("T1"), "i1", "z", since));
  SUBCASE("it does") {
    CHECK(s.table.abort_holder(TxnId("T1"), "i1", "a", since));
    CHECK(s.told() == Told{"T1 aborted: deadlock", "T2 granted"});
    CHECK(s.lock("T1", "b", X) == "deadlock");
    CHECK(s.last_error.incident == "i1");
  }
  SUBCASE("it let go and came back, as a new transaction") {
    s.txn("T1").restart({.id = TxnId("T1")});
    s.end("T2");
    CHECK(s.lock("T1", "a", X) == "granted");
    CHECK(s.lock("T3", "a", S) == "waits");
    CHECK_FALSE(s.table.abort_holder(TxnId("T1"), "i1", "a", since));
  }
}

TEST_CASE("an abort that names a wait does nothing once that wait is over") {
  struct Watch : WaitObserver {
    void wait_begun(const WaitBegun& begun) override { wait = begun.wait; }
    void wait_ended(WaitNumber, const std::string&, std::uint64_t) override {}
    void holder_joined(const std::string&, Mode, const TxnId&, std::uint64_t) override {}
    void holder_left(const std::string&, Mode, const TxnId&, std::uint64_t) override {}
    void front_changed(const std::string&, Mode, std::optional<WaitNumber>, std::uint64_t) override {}
    void resource_calm(const std::string&, std::uint64_t) override {}
    WaitNumber wait{};
  } watch;
  Scene s({.observer = &watch});
  s.lock("T1", "a", X);
  s.lock("T2", "a", X);
  const WaitNumber wait = watch.wait;
  CHECK(s.table.waits("a", wait));
  s.end("T1");
  CHECK_FALSE(s.table.waits("a", wait));
  CHECK_FALSE(s.table.abort(TxnId("T2"), "i1", wait));
  s.lock("T3", "a", X);
  CHECK(s.table.abort(TxnId("T3"), "i1", watch.wait));
  CHECK(s.told() == Told{"T2 granted", "T3 deadlock", "T3 aborted: deadlock"});
  CHECK(s.state("a") == "T2:X |");
}

TEST_CASE("a lost lease is told apart") {
  Scene s;
  s.lock("T1", "a", X);
  s.lock("T2", "a", X);
  CHECK(s.table.lose_lease(TxnId("T2"), "no renewal for 10 s"));
  CHECK(s.told() == Told{"T2 lease_lost", "T2 aborted: lease_lost"});
}

TEST_CASE("names are any bytes up to the limit, and beyond it they are refused, as are the other limits") {
  Scene s({.limits = {.waiters_per_resource = 1, .locks_per_txn = 3, .items_per_call = 2}});
  CHECK(s.lock("T1", std::string("\0\xff", 2), X) == "granted");
  CHECK(s.lock("T1", std::string("\0", 1), X) == "granted");
  CHECK(s.lock("T1", std::string(1024, 'x'), X) == "granted");
  CHECK(s.lock("T1", "r", X) == "limit");
  CHECK(s.lock("T2", std::string(1025, 'x'), X) == "limit");
  CHECK(s.lock("T2", std::string(1 << 20, 'x'), X) == "limit");
  CHECK(s.lock("T2", "", X) == "limit");
  CHECK(s.lock("T2", "r", Mode(9)) == "invalid");
  CHECK(s.lock("T2", std::string(1024, 'x'), X) == "waits");
  CHECK(s.lock("T3", std::string(1024, 'x'), X) == "limit");
  CHECK(s.lock("T2", std::string(1024, 'x'), S) == "invalid");  // waits for it already
  CHECK(s.outcome("T4", s.txn("T4").lock_all(std::vector<LockItem>{{"a", X}, {"b", X}, {"c", X}})) == "limit");
  CHECK(s.outcome("T4", s.txn("T4").lock_path("a/b/c", X)) == "limit");
  CHECK(s.outcome("T4", s.txn("T4").lock_some(std::vector<LockItem>{{"a", X}}, 2)) == "invalid");
  s.end("T1");
  CHECK(s.told() == Told{"T2 granted"});
}

TEST_CASE("a transaction with very many locks finds and gives back each of them") {
  Scene s;
  const auto key = [](int i) { return "key" + std::to_string(i) + std::string(static_cast<std::size_t>(i % 40), '.'); };
  for (int i = 0; i < 2000; ++i) {
    s.lock("T1", key(i), S);
    s.lock("T2", key(i), S);
  }
  for (int i = 0; i < 2000; ++i) CHECK(s.lock("T2", key(i), IS) == "granted");
  for (int i = 0; i < 2000; i += 2) {
    CHECK(s.txn("T2").unlock(key(i)));
    CHECK(s.txn("T2").unlock(key(i)));
  }
  CHECK(s.txn("T2").held() == 1000);
  for (int i = 0; i < 2000; ++i) CHECK(s.try_lock("T1", key(i), X) == (i % 2 == 0 ? "granted" : "refused"));
  s.end("T1");
  CHECK(s.told().empty());
  CHECK(s.table.resources().size() == 1000);
  s.end("T2");
  CHECK(s.table.resources().empty());
}

TEST_CASE("fences carry the table's epoch and grow over all that happens to a resource") {
  Scene s({.epoch = 7});
  Fence last;
  for (int i = 0; i < 100; ++i) {
    const Fence fence = s.txn("T1").lock("r", i % 2 == 0 ? X : S)->fence;
    CHECK(fence.epoch == 7);
    CHECK(fence > last);
    last = fence;
    CHECK(s.txn("T1").unlock("r"));
  }
}

TEST_CASE("events may call the table") {
  struct Chain : LockEvents {
    void granted(const Party& party, Ticket, std::uint64_t tag, std::span<const GrantedItem>) override {
      order.push_back(tag);
      static_cast<LockTxn*>(party.user)->release_all();
    }
    void failed(const Party&, Ticket, std::uint64_t, const LockError&) override {}
    void aborted(const Party&, const LockError&) override {}
    std::vector<std::uint64_t> order;
  } chain;
  LockTable table({.events = &chain});
  std::vector<std::unique_ptr<LockTxn>> txns;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    txns.push_back(std::make_unique<LockTxn>(table.begin({.id = TxnId("begin")})));
    txns.back()->restart({.id = TxnId("T" + std::to_string(i)), .user = txns.back().get()});
    CHECK(txns.back()->lock("r", X, {.tag = i})->waiting == (i > 0));
  }
  txns.front()->release_all();
  CHECK(chain.order.size() == 999);
  CHECK(std::is_sorted(chain.order.begin(), chain.order.end()));
  CHECK(table.resources().empty());
}
