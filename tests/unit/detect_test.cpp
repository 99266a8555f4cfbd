// The detector: scenarios, and a differential test of search, full pass and reduction against brute force.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
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

TEST_CASE("a convoy of 10000 costs few steps, in whatever order it is built up") {
  constexpr std::uint32_t length = 10'000;
  std::vector<std::uint32_t> waits(length);  // i: transaction i+1 begins to wait for transaction i
  std::iota(waits.begin(), waits.end(), 0U);
  SUBCASE("front to back") {}
  SUBCASE("back to front") { std::ranges::reverse(waits); }
  SUBCASE("random") { std::shuffle(waits.begin(), waits.end(), std::mt19937(1)); }
  SUBCASE("in pairs: whoever begins to wait is waited for, and the chain ahead is long") {
    for (std::size_t i = 0; i < length; i += 2) std::swap(waits[i], waits[i + 1]);
  }
  SUBCASE("from the middle, to both sides in turn") {
    std::ranges::sort(waits, {}, [](std::uint32_t i) { return std::abs(2 * static_cast<int>(i) - 9'999); });
  }
  graph::WaitForGraph graph;
  Detector detector(graph);
  for (const auto i : waits) {
    const TxnId blocker(std::to_string(i));
    const auto wait = graph.begin_wait({0, i}, TxnId(std::to_string(i + 1)), std::span(&blocker, 1));
    REQUIRE_FALSE(detector.search(wait.value()));
  }
  CHECK(detector.steps() < 2 * length * 14);  // two sides, n log n
  const TxnId last(std::to_string(length));
  CHECK(detector.search(graph.begin_wait({0, length}, TxnId("0"), std::span(&last, 1)).value()));
}

TEST_CASE("a wait ahead of which a ring stands already closes nothing, however many wait behind it") {
  Scenario s{"1>2", "2>3", "3>1", "20>10", "30>10", "40>30"};
  const auto steps = s.detector.steps();
  CHECK_FALSE(s.detector.closes(s.add("10>1@b")));
  CHECK(s.detector.steps() - steps < 20);
}

TEST_CASE("a wait that names nobody closes nothing, whatever else its waiter waits for") {
  Scenario s{"1>2", "2>1@b"};
  CHECK_FALSE(s.detector.closes(*s.graph.begin_wait({7, 1}, TxnId("1"), std::span<const TxnId>{})));
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

/// Whom the wait is for, in the end: groups are their members, and nobody blocks itself.
std::set<graph::Vertex> blockers(const graph::WaitForGraph& g, graph::WaitSlot w) {
  std::set<graph::Vertex> found;
  for (const auto e : g.edges(w)) {
    if (!g.is_group(g.target(e))) {
      found.insert(g.target(e));
    } else {
      for (const auto m : g.out_edges(g.target(e))) found.insert(g.target(m));
    }
  }
  found.erase(g.waiter(w));
  return found;
}

bool is_txn(const graph::WaitForGraph& g, graph::Vertex v) { return g.alive(v) && !g.is_group(v); }

/// semantics.md's reduction, word for word: a transaction without unsatisfied waits is active and will end; a wait is
/// satisfied once its blockers have ended; repeat. What remains is deadlocked.
txns reduce(const graph::WaitForGraph& g) {
  std::set<graph::Vertex> left;
  for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v)
    if (is_txn(g, v)) left.insert(v);
  const auto satisfied = [&](graph::WaitSlot w) {
    return std::ranges::none_of(blockers(g, w), [&](auto b) { return left.contains(b); });
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
    if (is_txn(g, v))
      for (const auto w : g.waits(v))
        for (const auto b : blockers(g, w)) reaches[v][b] = true;
  for (graph::Vertex k = 0; k < n; ++k)
    for (graph::Vertex i = 0; i < n; ++i)
      if (reaches[i][k])
        for (graph::Vertex j = 0; j < n; ++j)
          if (reaches[k][j]) reaches[i][j] = true;
  return reaches;
}

TxnId random_txn(std::mt19937& random, unsigned txn_count) { return TxnId("t" + std::to_string(random() % txn_count)); }

/// What a search found is the component of `v`, and was found exactly if one of `through` leads back to it.
void check_found(Scenario& s, const std::optional<Candidate>& found, graph::Vertex v,
                 const std::set<graph::Vertex>& through) {
  const auto reaches = closure(s.graph);
  const bool closes = std::ranges::any_of(through, [&](auto b) { return reaches[b][v]; });
  REQUIRE(found.has_value() == closes);
  if (!found) return;
  txns component;
  for (graph::Vertex u = 0; u < reaches.size(); ++u)
    if (reaches[u][v] && reaches[v][u]) component.insert(s.graph.txn(u).str());
  REQUIRE(names(found->members()) == component);
  REQUIRE(std::ranges::is_sorted(found->edges));
}

void add_random_wait(Scenario& s, std::mt19937& random, unsigned txn_count) {
  const auto waiter = random_txn(random, txn_count);
  std::vector<TxnId> named;
  for (auto n = 1 + random() % 3; n > 0; --n) named.push_back(random_txn(random, txn_count));
  std::vector<std::uint64_t> groups;
  if (random() % 2 == 0) groups.push_back(random() % 3);
  if (!groups.empty() && random() % 2 == 0) named.clear();
  const graph::WaitRef ref{static_cast<graph::SiteSlot>(random() % 3), ++s.sequence};
  const auto slot = s.graph.begin_wait(ref, waiter, named, groups).value();
  const auto found = s.detector.search(slot);
  CHECK(s.detector.closes(slot) == found.has_value());
  check_found(s, found, s.graph.waiter(slot), blockers(s.graph, slot));
}

/// Somebody joins a group, or leaves one: does a join close a cycle through any of those who wait for the group?
void change_random_group(Scenario& s, std::mt19937& random, unsigned txn_count) {
  const graph::GroupRef ref{static_cast<graph::SiteSlot>(random() % 3), random() % 3};
  const auto txn = random_txn(random, txn_count);
  if (random() % 3 == 0) {
    s.graph.leave(ref, txn);
    return;
  }
  const auto group = s.graph.begin_group(ref).value();
  REQUIRE(s.graph.join(ref, txn).has_value());
  const auto member = *s.graph.find_txn(txn);
  std::set<graph::Vertex> waiters;
  for (const auto e : s.graph.in_edges(group)) waiters.insert(s.graph.source(e));
  waiters.erase(member);  // it does not wait for itself
  const auto reaches = closure(s.graph);
  const auto found = s.detector.search(group, member);
  REQUIRE(found.has_value() == std::ranges::any_of(waiters, [&](auto w) { return reaches[member][w]; }));
  if (found) check_found(s, found, member, waiters);
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
      REQUIRE(blockers(s.graph, *s.graph.find_wait({edge.site, edge.sequence})).contains(b));
      REQUIRE(s.graph.waits_for(*s.graph.find_wait({edge.site, edge.sequence}), edge.blocker));
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

namespace {

/// N members of one group, at site 0, numbered from 1.
void add_group(Scenario& s, int members) {
  REQUIRE(s.graph.begin_group({0, 7}));
  for (int i = 1; i <= members; ++i) REQUIRE(s.graph.join({0, 7}, TxnId(std::to_string(i))));
}
graph::WaitSlot wait_for_group(Scenario& s, const std::string& waiter) {
  constexpr std::uint64_t group = 7;
  return s.graph.begin_wait({0, ++s.sequence}, TxnId(waiter), std::span<const TxnId>{}, {&group, 1}).value();
}

}  // namespace

TEST_CASE(
    "a member that waits for its own group waits for the others: one beside a reader is free, two are deadlocked") {
  Scenario s;
  add_group(s, 2);
  CHECK_FALSE(s.detector.search(wait_for_group(s, "1")));
  CHECK(s.detector.full_pass().empty());
  CHECK(s.deadlocked().empty());
  const auto candidate = s.detector.search(wait_for_group(s, "2"));
  REQUIRE(candidate);
  CHECK(candidate->edges.size() == 2);
  CHECK(s.victims() == txns{"2"});
  CHECK(s.deadlocked() == txns{"1", "2"});
}

TEST_CASE("two upgraders among many readers are deadlocked, whichever two they are") {
  for (const auto* first : {"1", "7", "20"})
    for (const auto* second : {"2", "19"}) {
      Scenario s;
      add_group(s, 20);
      CHECK_FALSE(s.detector.search(wait_for_group(s, first)));
      CHECK(s.detector.search(wait_for_group(s, second)));
    }
}

TEST_CASE("a member alone in the group that it waits for waits for nobody") {
  Scenario s;
  add_group(s, 1);
  CHECK_FALSE(s.detector.search(wait_for_group(s, "1")));
  CHECK_FALSE(s.detector.search(wait_for_group(s, "9")));
  CHECK(s.detector.full_pass().empty());
  CHECK(s.deadlocked().empty());
}

TEST_CASE("N upgraders: N-1 victims") {
  Scenario s;
  add_group(s, 30);
  for (int i = 1; i <= 30; ++i) wait_for_group(s, std::to_string(i));
  wait_for_group(s, "99");  // a bystander
  CHECK(s.victims().size() == 29);
  CHECK_FALSE(s.victims().contains("1"));
  CHECK_FALSE(s.victims().contains("99"));
  CHECK(s.deadlocked().size() == 31);
}

TEST_CASE("a lock that passes to somebody who waits for the last of its waiters") {
  Scenario s;
  add_group(s, 1);
  for (int i = 2; i <= 50; ++i) CHECK_FALSE(s.detector.search(wait_for_group(s, std::to_string(i))));
  s.add("100>50@b");
  REQUIRE(s.graph.leave({0, 7}, TxnId("1")));
  REQUIRE(s.graph.join({0, 7}, TxnId("100")));
  const auto candidate = s.detector.search(*s.graph.find_group({0, 7}), *s.graph.find_txn(TxnId("100")));
  REQUIRE(candidate);
  CHECK(names(candidate->members()) == txns{"100", "50"});
  CHECK(names(s.detector.held_up_by(*candidate)).size() == 50);
}

TEST_CASE("a candidate with more edges than allowed is cut down to a cycle, and cycle by cycle all is resolved") {
  Scenario s;
  add_group(s, 40);
  for (int i = 1; i <= 40; ++i) wait_for_group(s, std::to_string(i));
  Detector bounded(s.graph, 100);
  std::size_t left = 40;
  while (left > 1) {
    const auto found = bounded.full_pass();
    REQUIRE(found.size() == 1);
    const auto members = left * (left - 1) > 100 ? 2 : left;
    CHECK(found[0].members().size() == members);
    CHECK(found[0].edges.size() == members * (members - 1));
    const auto chosen = choose_victims(found[0].edges, s.info, s.policy).victims;
    REQUIRE(chosen.size() == members - 1);
    for (const auto& victim : chosen) s.graph.remove_txn(victim);
    left -= chosen.size();
  }
  CHECK(bounded.full_pass().empty());
}

TEST_CASE("passing a lock on costs the same search, however many wait") {
  const auto steps = [](int waiters) {
    Scenario s;
    add_group(s, 1);
    s.add("2>3@b");  // the next holder waits elsewhere, for one who waits here
    for (int i = 3; i < 3 + waiters; ++i) wait_for_group(s, std::to_string(i));
    const auto edges = s.graph.edge_changes();
    const auto before = s.detector.steps();
    s.graph.leave({0, 7}, TxnId("1"));
    REQUIRE(s.graph.join({0, 7}, TxnId("2")));
    CHECK(s.detector.search(*s.graph.find_group({0, 7}), *s.graph.find_txn(TxnId("2"))));
    return std::pair(s.graph.edge_changes() - edges, s.detector.steps() - before);
  };
  CHECK(steps(100) == steps(10'000));
  CHECK(steps(100).first == 2);
}

TEST_CASE("random graphs: search, full pass and reduction agree with brute force, over 600 seeds") {
  for (unsigned seed = 0; seed < 600; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Scenario s;
    s.info = [](const TxnId&) { return TxnInfo{}; };
    const auto txn_count = static_cast<unsigned>(3 + random() % 14);
    for (int round = 0; round < 3; ++round) {
      for (unsigned i = 0; i < txn_count; ++i) {
        if (seed % 3 != 0) change_random_group(s, random, txn_count);
        add_random_wait(s, random, txn_count);
      }
      check_passes(s);
      s.graph.remove_site(static_cast<graph::SiteSlot>(random() % 3));
    }
  }
}
