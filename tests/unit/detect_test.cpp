// The detector: scenarios, and a differential test of search, full pass and reduction against brute force.
#include <doctest/doctest.h>

#include <random>

#include "scenario.hpp"

using namespace gordian;
using namespace gordian::detect;
using gordian::test::names;
using gordian::test::Scenario;
using gordian::test::txns;

TEST_CASE("two transactions that cross at two sites are deadlocked, and the younger goes") {
  Scenario s{"20>10@a", "10>20@b"};
  CHECK(s.deadlocked() == txns{"10", "20"});
  CHECK(s.victims() == txns{"20"});
}

TEST_CASE("a bystander that only waits for a cycle survives, though it is deadlocked and the youngest") {
  Scenario s{"20>10@a", "30>10@b", "10>20@b"};
  CHECK(s.deadlocked() == txns{"10", "20", "30"});
  CHECK(s.victims() == txns{"20"});
}

TEST_CASE("a bystander that a cycle's member waits for survives and is not deadlocked") {
  Scenario s{"20>10", "10>20", "10>40"};
  CHECK(s.deadlocked() == txns{"10", "20"});
  CHECK(s.victims() == txns{"20"});
}

TEST_CASE("a converging graph without a cycle is no deadlock") {
  Scenario s{"1>2", "1>3", "2>4", "3>4", "4>5", "1>5@b"};
  CHECK(s.deadlocked().empty());
  CHECK(s.detector.full_pass().empty());
}

TEST_CASE("depth is no deadlock: a chain of 100000 waits is searched without recursion and found free") {
  Scenario s;
  for (int i = 1; i <= 100'000; ++i) s.add(std::to_string(i) + ">" + std::to_string(i + 1));
  const auto first = s.graph.find_wait({0, 1});
  REQUIRE(first);
  CHECK_FALSE(s.detector.search(*first));
  CHECK(s.detector.full_pass().empty());
  const auto closing = s.add("100001>1");
  const auto candidate = s.detector.search(closing);
  REQUIRE(candidate);
  CHECK(candidate->edges.size() == 100'001);
  CHECK(shortest_cycle(candidate->edges, TxnId("5")).size() == 100'001);
  CHECK(s.detector.full_pass().front().edges == candidate->edges);
}

TEST_CASE("one waiter with many blockers: any of them closes the cycle") {
  Scenario s;
  std::vector<TxnId> blockers;
  for (int i = 1; i <= 20; ++i) blockers.emplace_back(std::to_string(i));
  REQUIRE(s.graph.begin_wait({9, 1}, TxnId("0"), blockers));
  const auto candidate = s.detector.search(s.add("7>0@u"));
  REQUIRE(candidate);
  CHECK(names(candidate->members()) == txns{"0", "7"});
  CHECK(candidate->edges.size() == 2);
}

TEST_CASE("a search finds only what its own wait closes") {
  Scenario s{"1>2", "2>1"};
  CHECK_FALSE(s.detector.search(s.add("3>1")));    // a tail of a standing cycle
  CHECK_FALSE(s.detector.search(s.add("1>9@b")));  // another wait of a member
  CHECK(s.detector.search(s.add("2>1@c")));        // a second wait for the same
  REQUIRE(s.detector.full_pass().size() == 1);
  CHECK(s.detector.full_pass().front().edges.size() == 3);
}

TEST_CASE("disjoint cycles are candidates of their own, each with one victim") {
  Scenario s{"0>1", "1>2", "2>0", "3>4", "4>5", "5>3", "6>7", "7>8", "8>6", "9>10", "10>11", "9>0"};
  const auto candidates = s.detector.full_pass();
  REQUIRE(candidates.size() == 3);
  CHECK(names(candidates[0].members()) == txns{"0", "1", "2"});
  CHECK(names(candidates[2].members()) == txns{"6", "7", "8"});
  CHECK(s.victims() == txns{"2", "5", "8"});
  CHECK(names(s.detector.held_up_by(candidates[0])) == txns{"0", "1", "2", "9"});
  CHECK(names(s.detector.held_up_by(candidates[1])) == txns{"3", "4", "5"});
}

TEST_CASE("a shortest cycle starts at the transaction it is asked for") {
  Scenario s{"1>2", "2>3", "3>1", "2>1@b"};
  const auto candidate = s.detector.full_pass().front();
  const auto cycle = shortest_cycle(candidate.edges, TxnId("2"));
  REQUIRE(cycle.size() == 2);
  CHECK(cycle[0].waiter == TxnId("2"));
  CHECK(cycle[0].blocker == TxnId("1"));
  CHECK(cycle[1].waiter == TxnId("1"));
  CHECK(cycle[1].blocker == TxnId("2"));
  CHECK(shortest_cycle(candidate.edges, TxnId("3")).size() == 3);
  CHECK(shortest_cycle(candidate.edges, TxnId("nobody")).empty());
}

namespace {

/// semantics.md's reduction, word for word: a transaction without unsatisfied waits is active and will end; a wait is
/// satisfied once its blockers have ended; repeat. What remains is deadlocked.
txns reduce(const graph::WaitForGraph& g) {
  std::set<graph::Vertex> left;
  for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v)
    if (g.alive(v)) left.insert(v);
  const auto satisfied = [&](graph::WaitSlot w) {
    return std::ranges::none_of(g.edges(w), [&](auto e) { return left.contains(g.target(e)); });
  };
  while (std::erase_if(left, [&](graph::Vertex v) { return std::ranges::all_of(g.waits(v), satisfied); }) > 0) {
  }
  txns result;
  for (const auto v : left) result.insert(g.txn(v).str());
  return result;
}

/// Warshall's closure: reaches[a][b] if a waits for b, directly or not.
std::vector<std::vector<bool>> closure(const graph::WaitForGraph& g) {
  const auto n = g.vertex_capacity();
  std::vector<std::vector<bool>> reaches(n, std::vector<bool>(n, false));
  for (graph::Vertex v = 0; v < n; ++v)
    if (g.alive(v))
      for (const auto e : g.out_edges(v)) reaches[v][g.target(e)] = true;
  for (graph::Vertex k = 0; k < n; ++k)
    for (graph::Vertex i = 0; i < n; ++i)
      if (reaches[i][k])
        for (graph::Vertex j = 0; j < n; ++j)
          if (reaches[k][j]) reaches[i][j] = true;
  return reaches;
}

void add_random_wait(Scenario& s, std::mt19937& random, unsigned txn_count) {
  const auto txn = [&] { return TxnId("t" + std::to_string(random() % txn_count)); };
  const auto waiter = txn();
  std::vector<TxnId> blockers;
  for (auto n = 1 + random() % 3; n > 0; --n) blockers.push_back(txn());
  const graph::WaitRef ref{static_cast<graph::SiteSlot>(random() % 3), ++s.sequence};
  const auto slot = s.graph.begin_wait(ref, waiter, blockers).value();

  const auto reaches = closure(s.graph);
  const auto w = s.graph.waiter(slot);
  const bool closes = std::ranges::any_of(s.graph.edges(slot), [&](auto e) { return reaches[s.graph.target(e)][w]; });
  const auto found = s.detector.search(slot);
  REQUIRE(found.has_value() == closes);
  if (!found) return;
  txns component;
  for (graph::Vertex v = 0; v < reaches.size(); ++v)
    if (reaches[v][w] && reaches[w][v]) component.insert(s.graph.txn(v).str());
  REQUIRE(names(found->members()) == component);
  REQUIRE(std::ranges::is_sorted(found->edges));
}

void check_passes(Scenario& s) {
  REQUIRE(s.deadlocked() == reduce(s.graph));
  const auto reaches = closure(s.graph);
  txns cyclic;
  for (graph::Vertex v = 0; v < reaches.size(); ++v)
    if (reaches[v][v]) cyclic.insert(s.graph.txn(v).str());
  txns members;
  txns held_up;
  std::size_t member_count = 0;
  for (const auto& candidate : s.detector.full_pass()) {
    const auto own = names(candidate.members());
    member_count += own.size();
    members.insert(own.begin(), own.end());
    for (const auto& edge : candidate.edges) {
      const auto a = *s.graph.find_txn(edge.waiter);
      const auto b = *s.graph.find_txn(edge.blocker);
      REQUIRE(reaches[a][b]);
      REQUIRE(reaches[b][a]);
      REQUIRE(s.detector.search(*s.graph.find_wait({edge.site, edge.sequence}))->edges == candidate.edges);
    }
    held_up.merge(names(s.detector.held_up_by(candidate)));
  }
  REQUIRE(members == cyclic);
  REQUIRE(member_count == cyclic.size());  // components share no member
  REQUIRE(held_up == s.deadlocked());
  for (const auto& victim : s.victims()) s.graph.remove_txn(TxnId(victim));
  REQUIRE(s.deadlocked().empty());
}

}  // namespace

TEST_CASE("random graphs: search, full pass and reduction agree with brute force, over 600 seeds") {
  for (unsigned seed = 0; seed < 600; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Scenario s;
    s.info = [](const TxnId&) { return TxnInfo{}; };
    const auto txn_count = static_cast<unsigned>(3 + random() % 14);
    for (int round = 0; round < 3; ++round) {
      for (unsigned i = 0; i < txn_count; ++i) add_random_wait(s, random, txn_count);
      check_passes(s);
      s.graph.remove_site(static_cast<graph::SiteSlot>(random() % 3));
    }
  }
}
