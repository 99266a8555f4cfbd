// The lock server as its clients see it: leases, fences, requests that come twice, restarts. Time is in milliseconds.
#include "lease_scene.hpp"

using namespace gordian;
using namespace gordian::lease;

namespace {

wire::FenceValue fence_of(const std::optional<wire::LockReply>& reply) {
  REQUIRE(reply);
  REQUIRE(reply->status == Status::done);
  REQUIRE(reply->grants.size() == 1);
  return reply->grants.front().fence;
}

Status status_of(const std::optional<wire::LockReply>& reply) {
  REQUIRE(reply);
  return reply->status;
}

}  // namespace

TEST_CASE("a lock, a waiter, and a hand-over with a larger fence") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  const auto first = fence_of(s.lock(1, "A", "r"));
  CHECK(status_of(s.lock(2, "B", "r")) == Status::waiting);
  CHECK(status_of(s.unlock(1, "A", "r", first)) == Status::done);
  CHECK(fence_of(s.last_reply(2)) > first);
}

TEST_CASE("a request that comes again is answered again and done once") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  const wire::LockRequest request{s.next(1), TxnId("A"), 1.0, {}, wire::LockRequest::Scheme::all, 1, {{"r", "X"}}};
  const auto first = s.ask(request);
  const auto again = s.ask(request);
  CHECK(first == again);
  CHECK(s.server.status().granted == 1);

  SUBCASE("a waiting one keeps its place") {
    const wire::LockRequest waits{s.next(2), TxnId("B"), 1.0, {}, wire::LockRequest::Scheme::all, 1, {{"r", "X"}}};
    CHECK(status_of(s.ask(waits)) == Status::waiting);
    CHECK(status_of(s.ask(waits)) == Status::waiting);
    CHECK(s.server.status().waiting == 1);
    CHECK(status_of(s.unlock(1, "A", "r")) == Status::done);
    CHECK(status_of(s.reply(2, 1)) == Status::done);
    CHECK(s.ask(waits) == s.reply(2, 1));
  }
  SUBCASE("an unlock does not undo two grants") {
    (void)s.lock(1, "A", "r");
    const wire::UnlockRequest unlock{s.next(1), TxnId("A"), "r", {}, false};
    CHECK(status_of(s.ask(unlock)) == Status::done);
    CHECK(status_of(s.ask(unlock)) == Status::done);
    CHECK(status_of(s.lock(2, "B", "r", "X", 0)) == Status::refused);
  }
  SUBCASE("one below done_below is ignored") {
    (void)s.ask(wire::CancelRequest{{1, s.next(1).request, 2}, 99});
    s.replies.clear();
    CHECK_FALSE(s.ask(request));
  }
}

TEST_CASE("a request that arrives after the end of its transaction, which was made later, takes nothing") {
  LeaseScene s;
  s.open(1);
  const wire::LockRequest late{s.next(1), TxnId("A"), 1.0, {}, wire::LockRequest::Scheme::all, 1, {{"r", "X"}}};
  CHECK(status_of(s.end(1, "A")) == Status::done);
  CHECK(status_of(s.ask(late)) == Status::cancelled);
  CHECK(s.server.holds_nothing());
  CHECK(status_of(s.lock(1, "A", "r")) == Status::done);  // a new transaction of that name may begin
}

TEST_CASE("release by a stranger, or with an old fence, is refused") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  const auto old = fence_of(s.lock(1, "A", "r"));
  CHECK(status_of(s.unlock(2, "B", "r")) == Status::not_held);
  CHECK(status_of(s.unlock(2, "A", "r")) == Status::not_held);  // another session's transaction
  CHECK(status_of(s.unlock(1, "A", "r", old)) == Status::done);
  const auto fresh = fence_of(s.lock(1, "A", "r"));
  CHECK(fresh > old);
  CHECK(status_of(s.unlock(1, "A", "r", old)) == Status::not_held);
  CHECK(status_of(s.lock(2, "B", "r", "X", 0)) == Status::refused);  // still held
  CHECK(status_of(s.lock(2, "A", "q")) == Status::invalid);          // a transaction belongs to one session
}

TEST_CASE("a re-entrant grant has the same fence, a stronger one a larger") {
  LeaseScene s;
  s.open(1);
  const auto shared = fence_of(s.lock(1, "A", "r", "S"));
  CHECK(fence_of(s.lock(1, "A", "r", "S")) == shared);
  CHECK(fence_of(s.lock(1, "A", "r", "X")) > shared);
}

TEST_CASE("a lease that runs out frees the locks; renewing it afterwards revives nothing") {
  LeaseScene s;
  s.open(1, 1000);
  s.open(2, 60'000);
  const auto first = fence_of(s.lock(1, "A", "r"));
  CHECK(status_of(s.lock(2, "B", "r")) == Status::waiting);
  s.pass(999);
  CHECK(status_of(s.last_reply(2)) == Status::waiting);
  s.pass(1);
  CHECK(fence_of(s.last_reply(2)) > first);
  REQUIRE(s.last<wire::SessionEnded>());
  CHECK(s.last<wire::SessionEnded>()->why == wire::SessionEnded::Why::expired);
  s.renew({1, 2});
  CHECK(s.last<wire::Renewed>()->unknown == std::vector<std::uint64_t>{1});
  s.open(1);
  CHECK(s.last<wire::SessionEnded>()->why == wire::SessionEnded::Why::unknown);
  CHECK_FALSE(s.unlock(1, "A", "r"));
}

TEST_CASE("renewals keep a session, requests do not") {
  LeaseScene s;
  s.open(1, 1000);
  for (int i = 0; i < 5; ++i) {
    s.pass(600);
    s.renew({1});
  }
  CHECK(status_of(s.lock(1, "A", "r")) == Status::done);
  s.pass(600);
  CHECK(status_of(s.lock(1, "A", "r2")) == Status::done);
  s.pass(401);
  CHECK(s.last<wire::SessionEnded>());
}

TEST_CASE("a waiter whose own lease ran out is never granted") {
  LeaseScene s;
  s.open(1, 1000);
  s.open(2, 1000);
  (void)s.lock(1, "A", "r");
  (void)s.lock(2, "B", "r");
  s.pass(500);
  s.renew({1});
  s.pass(500);  // 2 is over in the queue
  CHECK(status_of(s.last_reply(2)) == Status::lease_lost);
  CHECK(status_of(s.unlock(1, "A", "r")) == Status::done);
  CHECK(s.server.holds_nothing());

  SUBCASE("also when both run out in the same instant") {
    s.open(3, 1000);
    s.open(4, 1000);
    (void)s.lock(3, "C", "q");
    (void)s.lock(4, "D", "q");
    s.pass(1000);
    CHECK(status_of(s.last_reply(4)) == Status::lease_lost);
    CHECK(s.server.holds_nothing());
  }
  SUBCASE("also when the release is worked off before anybody looked at the time") {
    s.send(wire::CloseSession{1});
    s.open(3, 60'000);
    s.open(4, 1000);
    (void)s.lock(3, "C", "q");
    (void)s.lock(4, "D", "q");
    s.pass(950);
    s.time_ms += 100;  // less than a stall after the lease ran out
    CHECK(status_of(s.unlock(3, "C", "q")) == Status::done);
    CHECK(status_of(s.reply(4, 1)) == Status::lease_lost);
    CHECK(s.server.holds_nothing());
  }
}

TEST_CASE("after a crash a lock-delay keeps the locks, after a close it does not") {
  LeaseScene s;
  s.open(1, 1000, 5000);
  s.open(2, 60'000);
  (void)s.lock(1, "A", "r");
  (void)s.lock(2, "B", "r");
  SUBCASE("crash") {
    s.pass(1000);
    CHECK(s.last<wire::SessionEnded>()->why == wire::SessionEnded::Why::expired);
    s.pass(4999);
    CHECK(status_of(s.last_reply(2)) == Status::waiting);
    s.pass(1);
    CHECK(status_of(s.last_reply(2)) == Status::done);
  }
  SUBCASE("close") {
    s.send(wire::CloseSession{1});
    CHECK(status_of(s.last_reply(2)) == Status::done);
    s.send(wire::CloseSession{1});  // again: the same answer
    CHECK(s.last<wire::SessionEnded>()->why == wire::SessionEnded::Why::closed);
  }
}

TEST_CASE("a server that stood still gives the time to its clients") {
  LeaseScene s;
  s.open(1, 1000);
  (void)s.lock(1, "A", "r");
  s.stall(10'000);
  s.renew({1});  // sent while the server was stopped
  CHECK(s.last<wire::Renewed>()->unknown.empty());
  CHECK(s.server.status().stalled_us >= 10'000'000);
  s.pass(999);
  s.renew({1});
  CHECK(s.last<wire::Renewed>()->unknown.empty());
  s.pass(1001);
  CHECK(s.last<wire::SessionEnded>());
}

TEST_CASE("waiting has a deadline; trying does not wait") {
  LeaseScene s;
  s.open(1, 60'000);
  s.open(2, 60'000);
  (void)s.lock(1, "A", "r");
  CHECK(status_of(s.lock(2, "B", "r", "X", 0)) == Status::refused);
  CHECK(status_of(s.lock(2, "B", "r", "X", 100)) == Status::waiting);
  s.pass(99);
  CHECK(status_of(s.last_reply(2)) == Status::waiting);
  s.pass(1);
  CHECK(status_of(s.last_reply(2)) == Status::timeout);
}

TEST_CASE("several resources: all or nothing, some, a path") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  (void)s.lock(1, "A", "b");
  using Scheme = wire::LockRequest::Scheme;
  const auto ask = [&](const char* txn, Scheme scheme, std::uint64_t need, std::vector<wire::WantedLock> items) {
    return s.ask(wire::LockRequest{s.next(2), TxnId(txn), 1.0, {}, scheme, need, std::move(items)});
  };
  SUBCASE("all") {
    CHECK(status_of(ask("B", Scheme::all, 1, {{"c", "X"}, {"b", "X"}, {"a", "X"}})) == Status::waiting);
    (void)s.end(1, "A");
    CHECK(s.last_reply(2)->grants.size() == 3);
  }
  SUBCASE("some") {
    const auto reply = ask("B", Scheme::some, 2, {{"a", "X"}, {"b", "X"}, {"c", "X"}});
    REQUIRE(status_of(reply) == Status::done);
    CHECK(reply->grants.size() == 2);
    CHECK(reply->grants[0].item == 0);
    CHECK(reply->grants[1].item == 2);
  }
  SUBCASE("a path, and its release") {
    const auto reply = ask("B", Scheme::path, 1, {{"x/y/z", "X"}});
    REQUIRE(status_of(reply) == Status::done);
    CHECK(reply->grants.size() == 3);
    CHECK(status_of(s.lock(1, "A", "x", "S", 0)) == Status::refused);
    CHECK(status_of(s.lock(1, "A", "x", "IS", 0)) == Status::done);
    CHECK(status_of(s.ask(wire::UnlockRequest{s.next(2), TxnId("B"), "x/y/z", {}, true})) == Status::done);
    CHECK(status_of(s.lock(1, "A", "x", "S", 0)) == Status::done);
  }
}

TEST_CASE("a victim's pending and later calls fail with the incident, until it ends") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  (void)s.lock(1, "A", "r");
  (void)s.lock(2, "B", "q");
  (void)s.lock(2, "B", "r");
  const auto wait = s.server.table().resource("r")->waiters.front().wait;
  CHECK_FALSE(s.server.abort_waiting(TxnId("A"), "7-1", wait, s.now()));  // that is not its wait
  CHECK(s.server.abort_waiting(TxnId("B"), "7-1", wait, s.now()));
  CHECK_FALSE(s.server.abort_waiting(TxnId("B"), "7-1", wait, s.now()));
  s.take();
  CHECK(status_of(s.last_reply(2)) == Status::deadlock);
  CHECK(s.last_reply(2)->incident == "7-1");
  CHECK(s.last<wire::TxnAborted>()->incident == "7-1");
  CHECK(s.last<wire::TxnAborted>()->request > 0);
  CHECK(status_of(s.lock(2, "B", "z")) == Status::deadlock);
  CHECK(status_of(s.lock(1, "A", "q", "X", 0)) == Status::done);  // its locks are free
  CHECK(status_of(s.end(2, "B")) == Status::done);
  CHECK(status_of(s.lock(2, "B", "z")) == Status::done);
}

TEST_CASE("an order to free what a victim holds names the wait it blocks") {
  LeaseScene s;
  s.open(1);
  s.open(2);
  (void)s.lock(1, "A", "r");
  (void)s.lock(2, "B", "r");
  const auto wait = s.server.table().resource("r")->waiters.front().wait;
  CHECK_FALSE(s.server.abort_holding(TxnId("C"), "7-1", "r", wait, s.now()));
  CHECK(s.server.abort_holding(TxnId("A"), "7-1", "r", wait, s.now()));
  s.take();
  CHECK(status_of(s.last_reply(2)) == Status::done);
  CHECK(s.last<wire::TxnAborted>()->txn == TxnId("A"));
}

TEST_CASE("an order to reorder a queue grants the one that is let past, once") {
  LeaseScene s;
  for (const std::uint64_t session : {1, 2, 3}) s.open(session);
  (void)s.lock(1, "A", "r", "S");
  (void)s.lock(2, "B", "r", "X");
  (void)s.lock(3, "C", "r", "S");
  const auto wait = s.server.table().resource("r")->waiters.back().wait;
  CHECK_FALSE(s.server.reorder("r", wait, TxnId("A"), s.now()));  // holds, and is not queued
  CHECK(s.server.reorder("r", wait, TxnId("B"), s.now()));
  CHECK_FALSE(s.server.reorder("r", wait, TxnId("B"), s.now()));
  s.take();
  CHECK(status_of(s.last_reply(3)) == Status::done);
  CHECK(s.server.table().resource("r")->waiters.size() == 1);
  CHECK(s.server.status().reordered == 1);
}

TEST_CASE("unlock by force aborts the holder, is written down, and tells a fence that it cannot have") {
  LeaseScene s;
  s.open(1);
  const auto fence = fence_of(s.lock(1, "A", "r"));
  const auto done = s.server.unlock_by_force("r", "it hangs", "root", s.now());
  s.take();
  REQUIRE(done);
  CHECK(done->aborted == std::vector{TxnId("A")});
  CHECK(done->fence > Fence{fence.epoch, fence.counter});
  CHECK(s.last<wire::TxnAborted>()->status == Status::forced);
  CHECK(status_of(s.lock(1, "A", "r")) == Status::forced);
  CHECK(std::holds_alternative<AuditRecord>(s.records.back()));
  CHECK_FALSE(s.server.unlock_by_force("r", "again", "root", s.now()));
  // A fresh transaction's fence is not smaller than what the administrator was told.
  CHECK(fence_of(s.lock(1, "B", "r")) > wire::FenceValue{done->fence.epoch, done->fence.counter});
}

TEST_CASE("names of any bytes, from one to the limit") {
  LeaseScene s;
  s.open(1);
  for (const std::string& name : {std::string(1, '\0'), std::string("\xff\xfe", 2), std::string(1024, 'n'), std::string(1024, '\0')})
    CHECK(status_of(s.lock(1, "A", name)) == Status::done);
  CHECK(status_of(s.lock(1, "A", std::string(1025, 'n'))) == Status::limit);
  CHECK(status_of(s.lock(1, "A", "")) == Status::limit);
  CHECK(status_of(s.lock(1, "A", "r", "Q")) == Status::invalid);
}

TEST_CASE("limits are told and leave everything as it is") {
  ServerOptions options = with_epoch(1);
  options.limits.sessions = 2;
  options.limits.txns_per_session = 2;
  options.limits.requests_per_session = 4;
  LeaseScene s(options);
  s.open(1);
  s.open(2);
  s.open(3);
  CHECK(s.last<wire::SessionEnded>()->why == wire::SessionEnded::Why::refused);
  s.open(4, 50);
  CHECK(s.last<wire::SessionEnded>()->text.find("time to live") != std::string::npos);
  CHECK(status_of(s.lock(1, "A", "r")) == Status::done);
  CHECK(status_of(s.lock(1, "B", "q")) == Status::done);
  CHECK(status_of(s.lock(1, "C", "z")) == Status::limit);
  CHECK(status_of(s.lock(1, "A", "x")) == Status::done);
  CHECK(status_of(s.lock(1, "A", "y")) == Status::limit);  // four answers that it has not taken
  CHECK(s.server.status().limit_reached == 3);
}

// --- Restarts ---

TEST_CASE("without a journal only holders get locks back during the grace period") {
  LeaseScene before;
  before.open(1, 2000);
  const auto fence = fence_of(before.lock(1, "A", "r"));
  const Durable found = durable_of(before.records);
  CHECK(found.longest_ttl_us == 2'000'000);
  CHECK(found.holds.empty());

  LeaseScene s(with_epoch(2, found));
  s.open(2, 60'000);
  CHECK(s.last<wire::SessionOpened>()->grace_ms == 2000);
  CHECK(status_of(s.lock(2, "B", "r", "X", 0)) == Status::refused);
  CHECK(status_of(s.lock(2, "B", "r")) == Status::waiting);
  CHECK(status_of(s.lock(2, "B", "q", "X", 100)) == Status::waiting);
  const wire::HeldLock held{"r", "X", 2, fence};

  SUBCASE("who held it has it, under its old fence, and the next one a larger") {
    s.open(1, 2000);
    const wire::ReclaimRequest reclaim{s.next(1), TxnId("A"), 1.0, {held}};
    CHECK(status_of(s.ask(reclaim)) == Status::done);
    CHECK(status_of(s.ask(reclaim)) == Status::done);
    CHECK(s.server.status().reclaimed == 1);
    s.pass(1999);
    s.renew({1});
    CHECK(status_of(s.reply(2, 2)) == Status::waiting);
    CHECK(status_of(s.reply(2, 3)) == Status::timeout);
    s.pass(1);
    CHECK(fence_of(s.lock(1, "A", "r")) == fence);  // re-entrant
    for (int i = 0; i < 3; ++i) CHECK(status_of(s.unlock(1, "A", "r", fence)) == Status::done);
    CHECK(fence_of(s.reply(2, 2)) > fence);
  }
  SUBCASE("nobody comes: the others get it when the time is over") {
    s.pass(1999);
    CHECK(status_of(s.reply(2, 2)) == Status::waiting);
    s.pass(1);
    CHECK(fence_of(s.reply(2, 2)) > fence);
    s.open(1, 2000);
    CHECK(status_of(s.ask(wire::ReclaimRequest{s.next(1), TxnId("A"), 1.0, {held}})) == Status::lease_lost);
    CHECK(status_of(s.lock(1, "A", "z")) == Status::lease_lost);  // until it ends
  }
  SUBCASE("two that claim the same: the second one is refused, and loses all of its transaction") {
    s.open(1, 2000);
    s.open(3, 2000);
    CHECK(status_of(s.ask(wire::ReclaimRequest{s.next(1), TxnId("A"), 1.0, {held}})) == Status::done);
    CHECK(status_of(s.ask(wire::ReclaimRequest{s.next(3), TxnId("C"), 1.0, {{"own", "X", 1, fence}, held}})) == Status::lease_lost);
    s.pass(2000);
    s.renew({1});
    CHECK(status_of(s.lock(2, "B", "own", "X", 0)) == Status::done);
  }
  SUBCASE("a waiting request that is withdrawn before the time is over") {
    CHECK(status_of(s.ask(wire::CancelRequest{s.next(2), 2})) == Status::done);
    CHECK(status_of(s.reply(2, 2)) == Status::cancelled);
    s.pass(2000);
    CHECK(status_of(s.reply(2, 2)) == Status::cancelled);
    CHECK(s.server.holds_nothing());
  }
}

TEST_CASE("nothing was held at the last stop: no grace period") {
  Durable found;
  found.longest_ttl_us = 2'000'000;
  LeaseScene s(with_epoch(2, found));
  s.open(1);
  CHECK(status_of(s.lock(1, "A", "r")) == Status::done);
}

TEST_CASE("with a journal everything held survives") {
  LeaseScene before(with_epoch(1, {}, true));
  before.open(1, 2000);
  const auto fence = fence_of(before.lock(1, "A", "r"));
  (void)before.lock(1, "A", "r");
  (void)before.lock(1, "A", "gone");
  (void)before.unlock(1, "A", "gone");
  const auto answer = before.reply(1, 2);
  // An answer is given when what it says is on disk.
  for (const auto& out : before.sent)
    if (std::holds_alternative<wire::Replies>(out.message)) CHECK(out.after > 0);

  LeaseScene s(with_epoch(2, durable_of(before.records), true));
  s.open(2, 60'000);
  CHECK(s.last<wire::SessionOpened>()->grace_ms == 0);
  CHECK(status_of(s.lock(2, "B", "gone", "X", 0)) == Status::done);
  CHECK(status_of(s.lock(2, "B", "r")) == Status::waiting);
  s.numbers[1] = 4;

  SUBCASE("the holder goes on, under its fence") {
    s.open(1, 2000);
    CHECK(status_of(s.ask(wire::ReclaimRequest{s.next(1), TxnId("A"), 1.0, {{"r", "X", 2, fence}}})) == Status::done);
    CHECK(status_of(s.unlock(1, "A", "r", fence)) == Status::done);
    CHECK(status_of(s.last_reply(2)) == Status::waiting);
    CHECK(status_of(s.unlock(1, "A", "r", fence)) == Status::done);
    CHECK(fence_of(s.last_reply(2)) > fence);
  }
  SUBCASE("an answer that was lost is given again") {
    const wire::LockRequest again{{1, 2, 0}, TxnId("A"), 1.0, {}, wire::LockRequest::Scheme::all, 1, {{"r", "X"}}};
    s.open(1, 2000);
    CHECK(s.ask(again) == answer);
  }
  SUBCASE("who claims what it did not hold loses its transaction") {
    s.open(1, 2000);
    CHECK(status_of(s.ask(wire::ReclaimRequest{s.next(1), TxnId("A"), 1.0, {{"gone", "X", 1, fence}}})) == Status::lease_lost);
    CHECK(fence_of(s.last_reply(2)) > fence);
  }
  SUBCASE("a holder that does not come back loses it after its time to live") {
    s.pass(1999);
    CHECK(status_of(s.last_reply(2)) == Status::waiting);
    s.pass(1);
    CHECK(fence_of(s.last_reply(2)) > fence);
  }
}

TEST_CASE("who holds and who waits, since when") {
  LeaseScene s;
  s.open(1, 60'000);
  s.open(2, 60'000);
  (void)s.lock(1, "A", "r", "S");
  s.pass(100);
  (void)s.lock(2, "B", "r", "X");
  (void)s.lock(1, "A", "z");
  const auto view = s.server.locks({});
  REQUIRE(view.resources.size() == 2);
  const auto& r = view.resources[0];
  REQUIRE(r.holders.size() == 1);
  REQUIRE(r.waiters.size() == 1);
  CHECK(r.holders[0].client == "client 1");
  CHECK(r.waiters[0].since_unix_us - r.holders[0].since_unix_us == 100'000);
  CHECK(s.server.locks({.resource = "z", .txn = {}}).resources.size() == 1);
  CHECK(s.server.locks({.resource = {}, .txn = "B"}).resources.size() == 1);
  CHECK(s.server.locks({.resource = {}, .txn = {}, .limit = 1}).left_out == 1);
}

TEST_CASE("a server that ends while many wait: its observer may still ask who they are") {
  struct Curious : WaitObserver {
    void wait_begun(const WaitBegun& wait) override { ask(wait.waiter); }
    void wait_ended(WaitNumber, const std::string&, std::uint64_t) override {}
    void holder_joined(const std::string&, Mode, const TxnId& txn, std::uint64_t) override { ask(txn); }
    void holder_left(const std::string&, Mode, const TxnId&, std::uint64_t) override {}
    void front_changed(const std::string&, Mode, std::optional<WaitNumber>, std::uint64_t) override {}
    void resource_calm(const std::string&, std::uint64_t) override {}
    void ask(const TxnId& txn) { locks += server == nullptr ? 0 : server->info(txn).locks; }
    LockServer* server = nullptr;
    double locks = 0;
  } curious;
  ServerOptions options = with_epoch(1);
  options.table.observer = &curious;
  {
    LeaseScene s(options);
    curious.server = &s.server;
    s.open(1);
    s.open(2);
    for (int i = 0; i < 200; ++i) (void)s.lock(1 + i % 2, ("T" + std::to_string(i)).c_str(), "hot");
    CHECK(s.server.status().waiting == 199);
  }
  CHECK(curious.locks >= 0);
}

TEST_CASE("a hundred thousand sessions") {
  LeaseScene s;
  std::vector<std::uint64_t> all;
  for (std::uint64_t id = 1; id <= 100'000; ++id) {
    s.server.receive("p", wire::OpenSession{id, 10'000, 0, {}}, s.now());
    all.push_back(id);
  }
  s.take();
  CHECK(s.server.status().sessions == 100'000);
  s.pass(9'000);
  for (std::size_t at = 0; at < all.size(); at += 20'000)
    s.renew({all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(at + 10'000)});
  s.pass(1'000);
  CHECK(s.server.status().sessions == 50'000);
}

TEST_CASE("killed between a grant and the end of the hold that made it possible: the newer holder has it, the older is gone for good") {
  Durable found;
  found.sessions = {{1, 1'000'000, 0, "one"}, {2, 1'000'000, 0, "two"}};
  found.holds = {{1, TxnId("A"), 1, "r", "X", 1, {1, 5}, 0, 1, 0}, {2, TxnId("B"), 2, "r", "X", 1, {1, 6}, 0, 1, 0}};
  found.longest_ttl_us = 1'000'000;
  LeaseScene s(with_epoch(2, found, true));
  const auto resource = s.server.table().resource("r");
  REQUIRE(resource);
  REQUIRE(resource->holders.size() == 1);
  CHECK(resource->holders.front().txn == TxnId("B"));
  s.take();
  REQUIRE(s.records.size() == 1);
  CHECK(std::get<HoldGone>(s.records.front()).txn == TxnId("A"));
}
