// What one owner of a shared graph tells the others, and when it tells it again. That the cycles are found is for the traces
// (shared_graph_test.cpp) and the simulation to show.
#include <doctest/doctest.h>

#include "detect/edge_chaser.hpp"

using namespace gordian;
using detect::EdgeChaser;

namespace {

struct Names : detect::WaitNames {
  void name(graph::WaitRef wait, wire::GlobalEdge& edge) const override {
    edge.site = SiteId("s"), edge.incarnation = 1, edge.sequence = wait.sequence;
  }
  [[nodiscard]] std::optional<graph::WaitRef> find(const wire::GlobalEdge& edge) const override {
    return graph::WaitRef{0, edge.sequence};
  }
};

/// The first of two owners.
struct Owner {
  static constexpr std::int64_t first_us = EdgeChaser::Options{}.again_first_us;

  /// The n-th transaction that this one owns, or the other.
  [[nodiscard]] TxnId txn(std::size_t owner, int n) const {
    for (int i = 0;; ++i)
      if (TxnId id("T" + std::to_string(i)); wire::owner(map, id) == owner && n-- == 0) return id;
  }
  void wait_for_group(std::uint64_t sequence, const TxnId& waiter) {
    REQUIRE(graph.begin_wait({0, sequence}, waiter, std::span<const TxnId>(), std::array{lock.number}));
    chaser.begin({0, sequence}, now);
  }
  void join(const TxnId& txn) {
    REQUIRE(graph.join(lock, txn));
    chaser.joined({lock, txn}, now);
  }
  std::string says_after(std::int64_t us) {
    now += us;
    chaser.tick(now);
    return says();
  }
  std::string says() {
    std::string all;
    for (const auto& out : chaser.take_outgoing()) {
      if (!all.empty()) all += ", ";
      if (const auto* probe = std::get_if<wire::Probe>(&out.message)) all += "probe for " + probe->target.str();
      if (const auto* poke = std::get_if<wire::Poke>(&out.message)) all += "poke " + poke->txn.str();
    }
    return all;
  }

  wire::MemberMap map{1, {{"m0", "ipc://m0"}, {"m1", "ipc://m1"}}};
  graph::WaitForGraph graph;
  Names names;
  EdgeChaser chaser{graph, names, map, 0, {}};
  graph::GroupRef lock{0, 1};
  std::int64_t now = 0;
};

}  // namespace

TEST_CASE("a lock passes on to another's transaction: its owner is told, and told again while it holds") {
  Owner own;
  const auto waiter = own.txn(0, 0), holder = own.txn(0, 1), next = own.txn(1, 0);
  REQUIRE(own.graph.begin_group(own.lock));
  REQUIRE(own.graph.join(own.lock, holder));
  own.wait_for_group(1, waiter);
  CHECK(own.says().empty());  // it waits for one of ours, who waits for nobody
  own.graph.leave(own.lock, holder);
  own.join(next);
  CHECK(own.says() == "poke " + next.str());
  CHECK(own.says_after(Owner::first_us - 1).empty());
  CHECK(own.says_after(1) == "poke " + next.str());
  CHECK(own.says_after(Owner::first_us).empty());  // the pause doubles
  CHECK(own.says_after(Owner::first_us) == "poke " + next.str());
  SUBCASE("until it gives the lock back") { own.graph.leave(own.lock, next); }
  SUBCASE("until nobody waits for it") { own.graph.end_wait({0, 1}); }
  CHECK(own.says_after(100 * Owner::first_us).empty());
  CHECK(own.chaser.next_tick_us() == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("a wait that stayed here when it began is probed again once a poke has led it elsewhere") {
  Owner own;
  const auto waiter = own.txn(0, 0), holder = own.txn(0, 1), next = own.txn(1, 0);
  REQUIRE(own.graph.begin_group(own.lock));
  REQUIRE(own.graph.join(own.lock, holder));
  own.wait_for_group(1, waiter);
  CHECK(own.says_after(100 * Owner::first_us).empty());
  own.graph.leave(own.lock, holder);
  REQUIRE(own.graph.join(own.lock, next));
  own.chaser.poke(waiter, own.now);
  CHECK(own.says() == "probe for " + next.str());
  CHECK(own.says_after(Owner::first_us) == "probe for " + next.str());
}

TEST_CASE("a wait that changes often is probed again once, not for each of its changes") {
  Owner own;
  const auto waiter = own.txn(0, 0), blocker = own.txn(1, 0);
  for (int change = 0; change < 10; ++change) {
    REQUIRE(own.graph.begin_wait({0, 1}, waiter, std::span(&blocker, 1)));
    own.chaser.begin({0, 1}, own.now);
    CHECK(own.says_after(1) == "probe for " + blocker.str());
  }
  CHECK(own.says_after(Owner::first_us) == "probe for " + blocker.str());
}
