// What transactions ask for: skews, mixes, and traces.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "experiments/pace.hpp"
#include "experiments/workload.hpp"
#include "scratch_folder.hpp"

using namespace gordian;
using namespace gordian::experiments;

namespace {

std::shared_ptr<const Workload> made(const Settings& settings) {
  auto workload = make_workload(settings);
  REQUIRE(workload.has_value());
  return *workload;
}

/// Share of all accesses that go to resources below `bound`.
double share_below(const Settings& settings, std::uint32_t bound, int programs) {
  const auto workload = made(settings);
  Draw random(7, 0);
  Program program;
  double below = 0, all = 0;
  for (int i = 0; i < programs; ++i) {
    workload->draw(random, program);
    for (const auto& ask : program) below += ask.resource < bound ? 1 : 0, all += 1;
  }
  return below / all;
}

}  // namespace

TEST_CASE("without replacement no object is asked for twice, with it some are") {
  Settings s;
  s.objects = 10, s.locks = 8;
  const auto workload = made(s);
  s.replacement = true;
  const auto replacing = made(s);
  Draw random(1, 0);
  Program program;
  bool twice = false;
  for (int i = 0; i < 200; ++i) {
    const auto different = [&] {
      std::set<std::uint32_t> seen;
      for (const auto& ask : program) seen.insert(ask.resource);
      return seen.size();
    };
    workload->draw(random, program);
    CHECK(program.size() == 8);
    CHECK(different() == 8);
    replacing->draw(random, program);
    twice = twice || different() < 8;
  }
  CHECK(twice);
}

TEST_CASE("zipf: the hottest tenth gets 0.1^(1 - theta) of the accesses") {
  for (const double theta : {0.0, 0.6, 0.8}) {
    Settings s;
    s.access = Access::zipf, s.theta = theta, s.locks = 1;
    CHECK(share_below(s, 100, 100'000) == doctest::Approx(std::pow(0.1, 1 - theta)).epsilon(0.02));
  }
}

TEST_CASE("hot set and YCSB") {
  Settings s;
  s.access = Access::hot_set, s.hot_share = 0.1, s.hot_probability = 0.7, s.locks = 1;
  CHECK(share_below(s, 100, 50'000) == doctest::Approx(0.7).epsilon(0.02));
  s.access = Access::ycsb;  // Zipf's law with theta 0.99: the first of 1000 has 1/H of the accesses
  double harmonic = 0;
  for (int i = 1; i <= 1000; ++i) harmonic += std::pow(i, -0.99);
  CHECK(share_below(s, 1, 100'000) == doctest::Approx(1 / harmonic).epsilon(0.03));
  s.ycsb_mix = std::string("b"), s.locks = 8;
  const auto workload = made(s);
  Draw random(3, 0);
  Program program;
  std::ptrdiff_t writes = 0;
  for (int i = 0; i < 10'000; ++i) {
    workload->draw(random, program);
    writes += std::ranges::count(program, modes::X, &Ask::mode);
  }
  CHECK(static_cast<double>(writes) == doctest::Approx(0.05 * 80'000).epsilon(0.05));
}

TEST_CASE("upgrades read first what they write") {
  Settings s;
  s.upgrades = true, s.exclusive = 0.5;
  const auto workload = made(s);
  Draw random(1, 0);
  Program program;
  workload->draw(random, program);
  for (std::size_t i = 0; i < program.size(); ++i)
    if (program[i].mode == modes::X) {
      REQUIRE(i > 0);
      CHECK(program[i - 1].resource == program[i].resource);
      CHECK(program[i - 1].mode == modes::S);
    }
}

TEST_CASE("ordered asks for the same as any strategy: in order, and first for what it will write") {
  Settings free;
  free.objects = 10, free.locks = 8, free.replacement = true, free.exclusive = 0.5, free.ordered_share = 0.5;
  auto bound = free;
  bound.strategy = experiments::Strategy::ordered;
  const auto workload = made(free);
  Draw one(1, 0), other(1, 0);
  Program asked, in_order;
  int kept = 0;
  for (int i = 0; i < 200; ++i) {
    draw_program(free, *workload, one, asked);
    draw_program(bound, *workload, other, in_order);
    REQUIRE(in_order.size() == asked.size());
    CHECK(std::ranges::is_sorted(in_order, {}, &Ask::resource));
    for (std::uint32_t resource = 0; resource < 10; ++resource) {
      const auto of_it = [&](const Ask& ask) { return ask.resource == resource; };
      CHECK(std::ranges::count_if(asked, of_it) == std::ranges::count_if(in_order, of_it));
      const auto first = std::ranges::find_if(in_order, of_it);
      const auto write = std::ranges::find(asked, std::pair(resource, modes::X),
                                           [](const Ask& ask) { return std::pair(ask.resource, ask.mode); });
      if (first != in_order.end()) CHECK((first->mode == modes::X) == (write != asked.end()));
      const auto read_last = std::ranges::find_if(asked.rbegin(), asked.rend(), of_it);
      kept += write != asked.end() && read_last->mode == modes::S ? 1 : 0;
    }
  }
  CHECK(kept > 0);  // written, then read
}

TEST_CASE("TPC-C: resources in range, payments write their warehouse, most orders stay at home") {
  Settings s;
  s.access = Access::tpcc, s.warehouses = 3;
  const auto workload = made(s);
  Draw random(1, 0);
  Program program;
  int payments = 0;
  constexpr int programs = 20'000;
  for (int i = 0; i < programs; ++i) {
    workload->draw(random, program);
    REQUIRE(!program.empty());
    std::set<std::uint32_t> seen;
    for (const auto& ask : program) {
      CHECK(ask.resource < workload->resources());
      CHECK(seen.insert(ask.resource).second);
    }
    payments += program.front().resource < 3 && program.front().mode == modes::X ? 1 : 0;
  }
  CHECK(payments == doctest::Approx(0.43 * programs).epsilon(0.05));
}

TEST_CASE("TPC-C: the most warehouses have a name for each resource, and one more is refused") {
  Settings s;
  s.access = Access::tpcc;
  REQUIRE(set(s, "warehouses", std::int64_t{769}).has_value());
  const auto workload = made(s);
  const auto last = static_cast<std::uint32_t>(workload->resources() - 1);
  CHECK(ResourceName(last).view() == std::to_string(last));
  const auto more = set(s, "warehouses", std::int64_t{770});
  REQUIRE(!more.has_value());
  CHECK(more.error() == "770 was given, expected a whole number, 1 to 769");
}

TEST_CASE("a trace's transactions ask for what they held and waited for, in that order") {
  const ScratchFolder folder;
  const auto file = folder.path() / "own.jsonl";
  std::ofstream(file) << R"({"op":"wait","txn":"a","for":["b"],"site":"s","resource":"x"})"
                      << "\n"
                      << R"({"op":"wait","txn":"b","for":["a"],"site":"s","resource":"y"})"
                      << "\n"
                      << R"({"op":"end","txn":"a"})"
                      << "\n"
                      << R"({"op":"wait","txn":"a","for":["c","d"],"site":"s","resource":"z"})"
                      << "\n";
  Settings s;
  s.access = Access::trace, s.trace = file.string();
  const auto workload = made(s);
  CHECK(workload->resources() == 3);
  std::set<std::vector<std::pair<std::uint32_t, Mode>>> seen;
  Draw random(1, 0);
  Program program;
  for (int i = 0; i < 200; ++i) {
    workload->draw(random, program);
    std::vector<std::pair<std::uint32_t, Mode>> own;
    for (const auto& ask : program) own.emplace_back(ask.resource, ask.mode);
    seen.insert(own);
  }
  // b and the first a cross on x and y; c and d share z, for which the second a waits.
  CHECK(seen == std::set<std::vector<std::pair<std::uint32_t, Mode>>>{
                    {{0, modes::X}, {1, modes::X}}, {{2, modes::S}}, {{2, modes::X}}});
  s.trace = (folder.path() / "none").string();
  const auto none = make_workload(s);
  REQUIRE(!none.has_value());
  CHECK(none.error().find("cannot be read") != std::string::npos);
}
