// Waits that need some of several, dotted and soft edges: search, full pass and victims against brute force.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <random>

#include "detect/core_search.hpp"
#include "scenario.hpp"

using namespace gordian;
using namespace gordian::detect;
using gordian::test::names;
using gordian::test::Scenario;
using gordian::test::txns;

namespace {

std::vector<Blocker> blockers(std::initializer_list<const char*> txns_of_kind, Kind kind = Kind::hard) {
  std::vector<Blocker> list;
  for (const auto* const txn : txns_of_kind) list.push_back({TxnId(txn), kind});
  return list;
}

struct Mixed : Scenario {
  using Scenario::Scenario;
  graph::WaitSlot wait(const char* waiter, const std::vector<Blocker>& named, std::uint32_t need = graph::need_all,
                       graph::SiteSlot site = 0) {
    return graph.begin_wait({site, ++sequence}, TxnId(waiter), named, {}, need).value();
  }
  [[nodiscard]] Victims choose() {
    const auto candidates = detector.full_pass();
    REQUIRE(candidates.size() == 1);
    return choose_victims(candidates.front().edges, info, policy);
  }
};

}  // namespace

TEST_CASE("any: one way out is enough, and when it closes nobody of the knot goes on") {
  Mixed s;
  s.wait("1", blockers({"2", "3"}), 1);
  CHECK_FALSE(s.detector.search(s.wait("2", blockers({"1"}))));
  CHECK(s.deadlocked().empty());
  const auto closing = s.detector.search(s.wait("3", blockers({"1"})));
  REQUIRE(closing);
  CHECK(names(closing->members()) == txns{"1", "2", "3"});
  CHECK(closing->edges == s.detector.full_pass().front().edges);
  CHECK(closing->edges.front().need == 1);
  CHECK(s.deadlocked() == txns{"1", "2", "3"});
  CHECK(s.victims() == txns{"3"});
}

TEST_CASE("k of n: what ends anyway is subtracted from the need that a candidate tells") {
  Mixed s;
  s.wait("1", blockers({"2", "3", "4", "5"}), 3);
  s.wait("2", blockers({"1"}));
  CHECK_FALSE(s.detector.search(s.wait("2", blockers({"1"}), graph::need_all, 1)));
  const auto found = s.detector.search(s.wait("3", blockers({"1"})));
  REQUIRE(found);  // 4 and 5 end, and one of 2 and 3 must
  CHECK(names(found->members()) == txns{"1", "2", "3"});
  REQUIRE(found->edges.front().waiter == TxnId("1"));
  CHECK(found->edges.front().need == 1);
  s.graph.remove_txn(TxnId("4"));
  CHECK(s.detector.full_pass().front().edges == found->edges);
}

TEST_CASE("dotted: over once its blocker has nothing to wait for at that site, and alive again when it has") {
  Mixed s;
  s.wait("1", blockers({"2"}, Kind::dotted), graph::need_all, 1);
  s.wait("2", blockers({"1"}), graph::need_all, 0);
  CHECK(s.deadlocked().empty());
  CHECK(s.detector.full_pass().empty());
  CHECK_FALSE(s.detector.search(s.wait("2", blockers({"8"}), graph::need_all, 1)));  // 8 ends
  const auto alive = s.detector.search(s.wait("2", blockers({"1"}), graph::need_all, 1));
  REQUIRE(alive);
  CHECK(names(alive->members()) == txns{"1", "2"});
  CHECK(alive->edges.size() == 3);
  CHECK(s.victims() == txns{"2"});
}

TEST_CASE("a tail of a deadlock is none of its own, though it cannot go on") {
  Mixed s;
  s.wait("1", blockers({"2", "3"}), 1);
  s.wait("2", blockers({"1"}));
  s.wait("3", blockers({"1"}));
  CHECK_FALSE(s.detector.search(s.wait("9", blockers({"1", "2"}), 1)));
  CHECK_FALSE(s.detector.search(s.wait("8", blockers({"9"}))));
  CHECK_FALSE(s.detector.search(s.wait("7", blockers({"9", "6"}), 1)));
  const auto candidates = s.detector.full_pass();
  REQUIRE(candidates.size() == 1);
  CHECK(names(s.detector.held_up_by(candidates[0])) == txns{"1", "2", "3", "8", "9"});
  CHECK(s.victims() == txns{"3"});
}

TEST_CASE("a ring beside a knot is the candidate that it would be alone; two knots are two candidates") {
  Mixed s{"20>21", "21>20", "22>20", "20>1"};
  s.wait("1", blockers({"2", "3"}), 1);
  CHECK(s.detector.full_pass().size() == 1);  // nobody of 1, 2, 3 is stuck yet
  s.wait("2", blockers({"3"}));
  s.wait("3", blockers({"2"}));
  s.wait("30", blockers({"31", "32"}), 1);
  s.wait("31", blockers({"30"}));
  s.wait("32", blockers({"30"}));
  s.add("40>41"), s.add("41>40");
  auto candidates = s.detector.full_pass();
  REQUIRE(candidates.size() == 3);
  CHECK(names(candidates[0].members()) == txns{"1", "2", "20", "21", "3"});  // 20 waits for 1 as well
  CHECK(names(candidates[1].members()) == txns{"30", "31", "32"});
  CHECK(names(candidates[2].members()) == txns{"40", "41"});
  CHECK(s.victims() == txns{"3", "21", "32", "41"});
}

TEST_CASE("above a cycle that must be broken anyway nobody else goes") {
  Mixed s{"5>6", "6>5"};
  s.wait("1", blockers({"2", "5"}), 1);
  s.wait("2", blockers({"1"}));
  CHECK(s.victims() == txns{"6"});
  s.info = [](const TxnId& txn) {
    auto info = gordian::test::started_at_its_number(txn);
    info.priority = txn == TxnId("2") ? -9 : 0;
    return info;
  };
  CHECK(s.victims() == txns{"6"});  // not even one that is wanted gone before all others
}

TEST_CASE("a queue is reordered instead of an abort, and only where it helps") {
  Mixed s;
  s.wait("1", blockers({"2"}));
  s.wait("2", blockers({"1"}, Kind::soft));
  auto chosen = s.choose();
  CHECK(chosen.victims.empty());
  REQUIRE(chosen.reorder.size() == 1);
  CHECK(chosen.reorder[0].waiter == TxnId("2"));
  CHECK(chosen.reorder[0].blocker == TxnId("1"));
  CHECK(names(chosen.spared) == txns{"1", "2"});
  CHECK(chosen.why == "nobody needs to go: 2 need not wait behind 1 in the queue");
  s.wait("2", blockers({"1"}));
  chosen = s.choose();
  CHECK(names(chosen.victims) == txns{"2"});
  CHECK(chosen.reorder.empty());
}

TEST_CASE("groups of those who are queued first are soft, each member by itself") {
  Mixed s;
  REQUIRE(s.graph.begin_group({0, 7}, Kind::soft));
  for (const auto* const txn : {"1", "2", "3"}) REQUIRE(s.graph.join({0, 7}, TxnId(txn)));
  constexpr std::uint64_t group = 7;
  REQUIRE(s.graph.begin_wait({0, 100}, TxnId("9"), std::span<const TxnId>{}, {&group, 1}));
  s.add("1>9@b"), s.add("3>9@b");
  const auto chosen = s.choose();
  CHECK(chosen.victims.empty());
  REQUIRE(chosen.reorder.size() == 2);
  CHECK(chosen.reorder[0].blocker == TxnId("1"));
  CHECK(chosen.reorder[1].blocker == TxnId("3"));
}

TEST_CASE("a knot of class never is reported, and what else is there is broken") {
  Mixed s;
  s.wait("1", blockers({"2", "3"}), 1);
  s.wait("2", blockers({"1"}));
  s.wait("3", blockers({"1"}));
  s.wait("3", blockers({"4"}), graph::need_all, 1);
  s.wait("4", blockers({"3"}));
  s.info = [](const TxnId& txn) {
    TxnInfo info;
    info.victim_class = txn == TxnId("4") ? TxnInfo::Class::normal : TxnInfo::Class::never;
    return info;
  };
  const auto chosen = s.choose();
  CHECK(names(chosen.victims) == txns{"4"});
  CHECK(names(chosen.unresolved) == txns{"1", "2", "3"});
  CHECK(names(chosen.spared) == txns{"1", "2", "3"});
}

TEST_CASE("a candidate that is too large is cut to a cycle that is a deadlock by itself, or counted; never made up") {
  Mixed s;
  for (int i = 1; i <= 30; ++i) {
    std::vector<Blocker> others;
    for (int j = 1; j <= 30; ++j)
      if (i != j) others.push_back({TxnId(std::to_string(j)), Kind::hard});
    s.wait(std::to_string(i).c_str(), others, 1);
  }
  Detector bounded(s.graph, 100);
  CHECK(bounded.full_pass().empty());
  CHECK(bounded.too_large() == 1);
  CHECK(s.detector.full_pass().size() == 1);
  s.add("1>2@x"), s.add("2>3@x"), s.add("3>1@x");
  const auto found = bounded.full_pass();
  REQUIRE(found.size() == 1);
  CHECK(names(found[0].members()) == txns{"1", "2", "3"});
  CHECK(found[0].edges.size() == 3);
}

TEST_CASE("a search costs what is reachable, whatever else there is") {
  const auto steps = [](int bystanders) {
    Mixed s;
    s.wait("1", blockers({"2", "3"}), 1);
    for (int i = 10; i < 10 + bystanders; ++i) s.wait(std::to_string(i).c_str(), blockers({"1"}));
    s.wait("3", blockers({"1"}));
    const auto before = s.detector.steps();
    CHECK(s.detector.search(s.wait("2", blockers({"1"}))));
    return s.detector.steps() - before;
  };
  CHECK(steps(10) == steps(10'000));
}

TEST_CASE("deep waits of all kinds are reduced without recursion") {
  Mixed s;
  s.wait("0", blockers({"1", "x"}), 1);
  for (int i = 1; i < 100'000; ++i)
    s.wait(std::to_string(i).c_str(),
           blockers({std::to_string(i + 1).c_str()}, i % 2 == 0 ? Kind::dotted : Kind::hard));
  CHECK(s.deadlocked().empty());
  const auto closed = s.detector.search(s.wait("100000", blockers({"1"})));
  REQUIRE(closed);
  CHECK(closed->edges.size() == 100'000);
  CHECK_FALSE(s.deadlocked().contains("0"));
}

namespace {

/// A candidate's waits as bit masks, for brute force.
struct Small {
  struct Waiting {
    std::size_t waiter;
    std::uint32_t site;
    std::uint32_t need;
    std::vector<std::pair<std::size_t, Kind>> edges;
  };
  std::size_t size = 0;
  std::vector<Waiting> waits;
  std::vector<CandidateEdge> edges;
  std::vector<TxnInfo> infos;

  static std::string id(std::size_t i) { return "t" + std::to_string(i); }
  static std::size_t number(const TxnId& txn) { return std::stoul(txn.str().substr(1)); }

  /// docs/semantics.md, word for word; `gone` have ended, and soft edges count unless they are in `jumped`.
  [[nodiscard]] unsigned deadlocked(unsigned gone, const std::vector<CandidateEdge>* jumped) const {
    auto left = ((1U << size) - 1) & ~gone;
    std::vector<bool> satisfied(waits.size(), false);
    const auto at_site = [&](std::size_t txn, std::uint32_t site) {
      for (std::size_t i = 0; i < waits.size(); ++i)
        if (waits[i].waiter == txn && waits[i].site == site && !satisfied[i]) return true;
      return false;
    };
    const auto over = [&](std::size_t wait, std::size_t to, Kind kind) {
      if ((left >> to & 1U) == 0) return true;
      if (kind == Kind::dotted) return !at_site(to, waits[wait].site);
      if (kind != Kind::soft) return false;
      return jumped == nullptr || std::ranges::any_of(*jumped, [&](const CandidateEdge& e) {
               return e.sequence == wait && number(e.blocker) == to;
             });
    };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < waits.size(); ++i) {
        const auto& w = waits[i];
        const auto ended = std::ranges::count_if(w.edges, [&](auto e) { return over(i, e.first, e.second); });
        if (satisfied[i] || static_cast<std::uint32_t>(ended) < std::min<std::size_t>(w.need, w.edges.size())) continue;
        satisfied[i] = changed = true;
      }
      for (std::size_t t = 0; t < size; ++t) {
        bool waiting = false;
        for (std::size_t i = 0; i < waits.size(); ++i) waiting |= waits[i].waiter == t && !satisfied[i];
        if ((left >> t & 1U) == 0 || waiting) continue;
        left &= ~(1U << t);
        changed = true;
      }
    }
    return left;
  }
  [[nodiscard]] InfoOf info() const {
    return [this](const TxnId& txn) { return infos[number(txn)]; };
  }
};

Small random_small(std::mt19937& random, bool with_soft) {
  Small small;
  const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  small.size = 2 + pick(9);
  small.infos.resize(small.size);
  for (auto& info : small.infos) {
    info.start = static_cast<double>(pick(9));
    info.locks = static_cast<double>(pick(9));
  }
  for (auto n = small.size + pick(small.size); n > 0; --n) {
    Small::Waiting w{pick(small.size), static_cast<std::uint32_t>(pick(2)), CandidateEdge::need_all, {}};
    const auto kind = pick(4) == 0 ? Kind::dotted : with_soft && pick(3) == 0 ? Kind::soft : Kind::hard;
    std::set<std::size_t> to;
    for (auto k = 1 + pick(4); k > 0; --k) to.insert(pick(small.size));
    to.erase(w.waiter);
    if (to.empty()) continue;
    for (const auto t : to) w.edges.emplace_back(t, kind);
    if (kind != Kind::soft && to.size() > 1 && pick(2) == 0)
      w.need = static_cast<std::uint32_t>(1 + pick(to.size() - 1));
    for (const auto& [t, k] : w.edges)
      small.edges.push_back({.waiter = TxnId(Small::id(w.waiter)),
                             .blocker = TxnId(Small::id(t)),
                             .site = w.site,
                             .sequence = small.waits.size(),
                             .reported = pick(9),
                             .kind = k,
                             .need = w.need});
    small.waits.push_back(std::move(w));
  }
  return small;
}

}  // namespace

TEST_CASE("random candidates of all kinds: everything is broken, nothing is superfluous, order is nothing") {
  constexpr std::array policies{Policy::youngest,        Policy::oldest,    Policy::fewest_locks, Policy::least_work,
                                Policy::lowest_priority, Policy::requester, Policy::weighted};
  std::size_t with_victims = 0, with_reorder = 0, with_both = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto small = random_small(random, seed % 2 == 0);
    const auto chosen = choose_victims(small.edges, small.info(), policies[seed % policies.size()]);
    unsigned gone = 0;
    for (const auto& victim : chosen.victims) gone |= 1U << Small::number(victim);
    REQUIRE(static_cast<std::size_t>(std::popcount(gone)) == chosen.victims.size());
    REQUIRE(chosen.unresolved.empty());
    REQUIRE(small.deadlocked(gone, &chosen.reorder) == 0);
    const std::vector<CandidateEdge> all_soft = small.edges;
    for (const auto& victim : chosen.victims)
      REQUIRE(small.deadlocked(gone & ~(1U << Small::number(victim)), &all_soft) != 0);
    for (const auto& edge : chosen.reorder) {
      auto others = chosen.reorder;
      std::erase(others, edge);
      REQUIRE(small.deadlocked(gone, &others) != 0);
    }
    with_victims += chosen.victims.empty() ? 0 : 1;
    with_reorder += chosen.reorder.empty() ? 0 : 1;
    with_both += chosen.victims.empty() || chosen.reorder.empty() ? 0 : 1;
    auto shuffled = small.edges;
    std::ranges::shuffle(shuffled, random);
    const auto again = choose_victims(shuffled, small.info(), policies[seed % policies.size()]);
    REQUIRE(again.victims == chosen.victims);
    REQUIRE(again.reorder == chosen.reorder);
    REQUIRE(again.spared == chosen.spared);
    REQUIRE(again.why == chosen.why);
  }
  CHECK(with_victims > 1000);
  CHECK(with_reorder > 200);
  CHECK(with_both > 50);
}

TEST_CASE("against the smallest and the cheapest sets of victims, by brute force") {
  std::size_t deadlocks = 0, smallest = 0, cheapest = 0;
  double worst = 1;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto small = random_small(random, false);
    if (small.deadlocked(0, nullptr) == 0) continue;
    ++deadlocks;
    const auto cost = [&](unsigned set) {
      double sum = 0;
      for (std::size_t i = 0; i < small.size; ++i) sum += (set >> i & 1U) != 0 ? 1 + small.infos[i].locks : 0;
      return sum;
    };
    auto best = cost(~0U);
    auto fewest = static_cast<int>(small.size);
    for (unsigned set = 0; set < 1U << small.size; ++set) {
      if (cost(set) >= best && std::popcount(set) >= fewest) continue;
      if (small.deadlocked(set, nullptr) != 0) continue;
      best = std::min(best, cost(set));
      fewest = std::min(fewest, std::popcount(set));
    }
    const auto victims = choose_victims(small.edges, small.info(), Policy::fewest_locks).victims;
    unsigned gone = 0;
    for (const auto& victim : victims) gone |= 1U << Small::number(victim);
    REQUIRE(cost(gone) >= best);
    smallest += std::popcount(gone) == fewest ? 1 : 0;
    cheapest += cost(gone) == best ? 1 : 0;
    worst = std::max(worst, cost(gone) / best);
  }
  MESSAGE(deadlocks << " deadlocks, " << smallest << " with the fewest victims, " << cheapest
                    << " with the cheapest, at worst " << worst << " times that");
  REQUIRE(deadlocks > 500);
  CHECK(smallest * 100 >= deadlocks * 92);
  CHECK(cheapest * 100 >= deadlocks * 94);
  CHECK(worst <= 2);
}

TEST_CASE("where everybody waits for one only, exactly the cheapest of each ring goes, dotted or not") {
  std::size_t dotted_deadlocks = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Small small;
    small.size = 2 + random() % 8;
    small.infos.resize(small.size);
    for (std::size_t i = 0; i < small.size; ++i) {
      small.infos[i].locks = static_cast<double>(random() % 9);
      const auto to = (i + 1 + random() % (small.size - 1)) % small.size;
      const auto kind = random() % 3 == 0 ? Kind::dotted : Kind::hard;
      small.waits.push_back({i, static_cast<std::uint32_t>(random() % 4 / 3), CandidateEdge::need_all, {{to, kind}}});
      small.edges.push_back({.waiter = TxnId(Small::id(i)),
                             .blocker = TxnId(Small::id(to)),
                             .site = small.waits.back().site,
                             .sequence = i,
                             .kind = kind});
    }
    const auto cost = [&](unsigned set) {
      double sum = 0;
      for (std::size_t i = 0; i < small.size; ++i) sum += (set >> i & 1U) != 0 ? 1 + small.infos[i].locks : 0;
      return sum;
    };
    auto best = cost(~0U);
    for (unsigned set = 0; set < 1U << small.size; ++set)
      if (cost(set) < best && small.deadlocked(set, nullptr) == 0) best = cost(set);
    unsigned gone = 0;
    for (const auto& victim : choose_victims(small.edges, small.info(), Policy::fewest_locks).victims)
      gone |= 1U << Small::number(victim);
    REQUIRE(cost(gone) == best);
    const bool dotted = std::ranges::any_of(small.edges, [](const auto& e) { return e.kind == Kind::dotted; });
    dotted_deadlocks += dotted && gone != 0 ? 1 : 0;
  }
  CHECK(dotted_deadlocks > 200);
}

namespace {

void random_change(Mixed& s, std::mt19937& random, unsigned txn_count, bool with_mixed) {
  const auto txn = [&] { return TxnId("t" + std::to_string(random() % txn_count)); };
  const auto site = static_cast<graph::SiteSlot>(random() % 2);
  if (random() % 3 == 0) {
    const graph::GroupRef group{site, random() % 2};
    REQUIRE(s.graph.begin_group(group, random() % 3 == 0 ? Kind::soft : Kind::hard));
    REQUIRE(s.graph.join(group, txn()));
  }
  std::vector<Blocker> named;
  std::set<TxnId> once;
  const auto waiter = txn();
  const auto kind = with_mixed && random() % 4 == 0 ? Kind::dotted : random() % 4 == 0 ? Kind::soft : Kind::hard;
  for (auto n = 1 + random() % 3; n > 0; --n) named.push_back({txn(), kind}), once.insert(named.back().txn);
  once.erase(waiter);
  std::vector<std::uint64_t> groups;
  auto need = graph::need_all;
  if (with_mixed && kind != Kind::soft && random() % 2 == 0) need = 1;
  if (need == graph::need_all && random() % 3 == 0) groups.push_back(random() % 2);
  REQUIRE(s.graph.begin_wait({site, ++s.sequence}, waiter, named, groups, need));
}

}  // namespace

TEST_CASE("where a deadlock is a cycle, reduction finds the same candidates as the search for cycles, over 800 seeds") {
  std::size_t found = 0;
  for (unsigned seed = 0; seed < 800; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Mixed s;
    const auto txn_count = static_cast<unsigned>(3 + random() % 20);
    for (unsigned i = 0; i < txn_count; ++i) random_change(s, random, txn_count, false);
    const auto by_cycles = s.detector.full_pass();
    CoreSearch cores(s.graph, Detector::candidate_edges_default);
    const auto by_reduction = cores.full_pass();
    REQUIRE(by_cycles.size() == by_reduction.size());
    for (std::size_t i = 0; i < by_cycles.size(); ++i) REQUIRE(by_cycles[i].edges == by_reduction[i].edges);
    for (std::uint64_t wait = 1; wait <= s.sequence; ++wait)
      for (graph::SiteSlot site = 0; site < 2; ++site)
        if (const auto slot = s.graph.find_wait({site, wait})) {
          const auto cycle = s.detector.search(*slot);
          if (cycle) REQUIRE(cores.search(*slot)->edges == cycle->edges);
        }
    // An OR elsewhere changes nothing of it.
    s.wait("or", blockers({"x", "y"}), 1);
    const auto beside = s.detector.full_pass();
    REQUIRE(beside.size() == by_cycles.size());
    for (std::size_t i = 0; i < by_cycles.size(); ++i) REQUIRE(beside[i].edges == by_cycles[i].edges);
    found += by_cycles.size();
  }
  CHECK(found > 300);
}

TEST_CASE(
    "random graphs: candidates share no member, each is stuck by itself, and together they hold up all, over 800 "
    "seeds") {
  std::size_t found = 0;
  for (unsigned seed = 0; seed < 800; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Mixed s;
    s.info = [](const TxnId&) { return TxnInfo{}; };
    const auto txn_count = static_cast<unsigned>(3 + random() % 12);
    for (unsigned i = 0; i < 2 * txn_count; ++i) random_change(s, random, txn_count, true);
    const auto stuck = s.deadlocked();
    txns members;
    txns held_up;
    std::vector<TxnId> ending;
    for (const auto& candidate : s.detector.full_pass()) {
      ++found;
      REQUIRE(std::ranges::is_sorted(candidate.edges));
      for (const auto& name : names(candidate.members())) REQUIRE(members.insert(name).second);
      held_up.merge(names(s.detector.held_up_by(candidate)));
      auto hard = candidate.edges;  // a victim for each, whatever a queue could do
      for (auto& edge : hard) edge.kind = edge.kind == Kind::soft ? Kind::hard : edge.kind;
      const auto chosen = choose_victims(hard, s.info, s.policy);
      REQUIRE_FALSE(chosen.victims.empty());
      ending.insert(ending.end(), chosen.victims.begin(), chosen.victims.end());
    }
    REQUIRE(held_up == stuck);
    for (const auto& victim : ending) s.graph.remove_txn(victim);
    REQUIRE(s.deadlocked().empty());
  }
  CHECK(found > 300);
}
