// The simulation itself: it is deterministic, it does what its faults say, and it sees what is wrong.
#include <doctest/doctest.h>

#include "sim/shrink.hpp"
#include "sim/truth.hpp"
#include "sim/world.hpp"

using namespace gordian;
using namespace gordian::sim;

TEST_CASE("the same seed gives the same run, step by step") {
  for (std::uint64_t seed = 1; seed <= presets().size(); ++seed) {
    CAPTURE(seed);
    const auto once = World({.seed = seed}).run();
    const auto again = World({.seed = seed}).run();
    CHECK(once.hash == again.hash);
    CHECK(once.steps == again.steps);
    CHECK(once.steps > 500);
    CHECK(!once.violation);
  }
}

TEST_CASE("a run that is stopped after some steps is the beginning of the whole one") {
  std::vector<std::string> whole, part;
  const auto into = [](std::vector<std::string>& lines) {
    return [&lines](Micros at, std::uint64_t step, std::string_view who, std::string_view what) {
      lines.push_back(std::to_string(at) + " " + std::to_string(step) + " " + std::string(who) + " " +
                      std::string(what));
    };
  };
  (void)World({.seed = 3}, into(whole)).run();
  const auto result = World({.seed = 3, .steps = 500}, into(part)).run();
  CHECK(result.steps == 500);
  REQUIRE(part.size() < whole.size());
  CHECK(std::equal(part.begin(), part.end(), whole.begin()));
}

TEST_CASE("every preset has deadlocks, and the faults that it names") {
  for (const auto& faults : presets()) {
    CAPTURE(faults.name);
    Result all;
    for (std::uint64_t seed = 1; seed <= 15; ++seed) {
      const auto result = World({.seed = seed, .faults = faults.name}).run();
      CHECK(result.faults == faults.name);
      all.deadlocks += result.deadlocks, all.tally.aborts += result.tally.aborts;
      all.injected.crashes += result.injected.crashes, all.injected.pauses += result.injected.pauses;
      all.injected.partitions += result.injected.partitions;
      all.injected.network.lost += result.injected.network.lost;
      all.injected.network.duplicated += result.injected.network.duplicated;
      all.attempts.user += result.attempts.user, all.attempts.timeout += result.attempts.timeout;
      all.attempts.committed += result.attempts.committed;
    }
    CHECK(all.deadlocks > 10);
    CHECK(all.tally.aborts > 10);
    CHECK(all.attempts.committed > 50);
    CHECK(all.injected.network.duplicated > 0);
    CHECK((all.injected.network.lost > 0) ==
          (faults.loss_ppm + faults.break_every_us + faults.partition_every_us + faults.crash_site_every_us > 0));
    CHECK((all.injected.crashes > 0) == (faults.crash_site_every_us > 0));
    CHECK((all.injected.pauses > 0) == (faults.pause_every_us > 0));
    CHECK((all.injected.partitions > 0) == (faults.partition_every_us > 0));
    CHECK(all.attempts.user > 0);
  }
}

TEST_CASE("reduction: what remains is deadlocked") {
  const auto hard = [](TxnNumber txn) { return ReducedWait::Edge{txn, Kind::hard, 0}; };
  const auto together = [](TxnNumber txn, std::uint64_t alternative) { return ReducedWait::Edge{txn, Kind::hard, alternative}; };
  SUBCASE("a cycle, its tail, and a bystander") {
    CHECK(reduce({{1, 0, 0, {hard(2)}}, {2, 1, 0, {hard(1)}}, {3, 0, 0, {hard(1)}}, {4, 0, 0, {hard(5)}}}) ==
          std::vector<TxnNumber>{1, 2, 3});
    CHECK(reduce({{1, 0, 0, {hard(2)}}, {2, 1, 0, {hard(1)}}, {3, 0, 0, {hard(1)}}}, {2}).empty());
  }
  SUBCASE("any of several, and some of them") {
    CHECK(reduce({{1, 0, 1, {hard(2), hard(9)}}, {2, 1, 0, {hard(1)}}}).empty());
    CHECK(reduce({{1, 0, 2, {hard(2), hard(9)}}, {2, 1, 0, {hard(1)}}}) == std::vector<TxnNumber>{1, 2});
  }
  SUBCASE("any of several, one of which has two holders") {
    const ReducedWait back{2, 1, 0, {hard(1)}};
    CHECK(reduce({{1, 0, 1, {together(2, 5), together(9, 5), together(9, 6)}}, back}).empty());
    CHECK(reduce({{1, 0, 1, {together(2, 5), together(9, 5), together(2, 6)}}, back}) == std::vector<TxnNumber>{1, 2});
    CHECK(reduce({{1, 0, 2, {together(2, 5), together(9, 5), together(9, 6)}}, back}) == std::vector<TxnNumber>{1, 2});
  }
  SUBCASE("a lock that is given back before the end of its transaction") {
    CHECK(reduce({{1, 0, 0, {{2, Kind::dotted, 0}}}, {2, 1, 0, {hard(1)}}}).empty());
    CHECK(reduce({{1, 0, 0, {{2, Kind::dotted, 0}}}, {2, 0, 0, {hard(1)}}}) == std::vector<TxnNumber>{1, 2});
  }
}
