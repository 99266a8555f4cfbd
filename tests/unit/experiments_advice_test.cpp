// What a report says in words, from figures made up so that the answer is known.
#include <doctest/doctest.h>

#include "experiments/advice.hpp"
#include "experiments/report.hpp"

using namespace gordian::experiments;

namespace {

constexpr auto two_strategies = R"(
[[vary]]
setting = "mpl"
values = [10, 30]
[[vary]]
name = "strategy"
cases = [{ strategy = "detection" }, { strategy = "timeout", timeout = 8 }]
)";

struct Figures {
  std::vector<double> throughput;  ///< by seed
  double aborts = 0;
  double blocked = 0;
  double active = 10;
  double response = 10;
};

Outcome outcome(const std::string& text, const std::vector<Figures>& cells) {
  auto plan = parse_plan(text, "test", "test.toml");
  REQUIRE_MESSAGE(plan, plan.error());
  REQUIRE(plan->cells.size() == cells.size());
  Outcome made{*plan, "gordian, simulated", {}};
  for (const auto& figures : cells) {
    CellOutcome cell;
    for (std::size_t seed = 0; seed < figures.throughput.size(); ++seed) {
      Run run{seed + 1, std::vector<double>(metric_infos().size())};
      run.metrics[metric_index("throughput")] = figures.throughput[seed];
      run.metrics[metric_index("aborts")] = figures.aborts;
      run.metrics[metric_index("blocked")] = figures.blocked;
      run.metrics[metric_index("active")] = figures.active;
      run.metrics[metric_index("response_mean")] = figures.response;
      cell.runs.push_back(run);
    }
    made.cells.push_back(cell);
  }
  return made;
}

bool says(const std::vector<std::string>& text, std::size_t paragraph, const std::string& what) {
  return paragraph < text.size() && text[paragraph].find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("a clear winner is advised, and how far behind the others are") {
  const auto text = advice(outcome(
      two_strategies, {{{2.0, 2.1, 2.05}, 0.01}, {{1.0, 1.05, 1.02}, 0.2}, {{3, 3.1, 3.05}}, {{2, 2.1, 2.05}}}));
  CHECK(text.size() == 3);
  CHECK(says(text, 0, "detection is advised for 2 of them; detection is never significantly worse than the best"));
  CHECK(says(text, 1, "With mpl 10: choose detection. It commits 2.05 ± "));
  CHECK(says(text, 1, "0.01 aborts per started transaction"));
  CHECK(says(text, 1, "Next comes timeout 8 (50 % less)"));
  CHECK_FALSE(says(text, 1, "tie"));
  CHECK_FALSE(says(text, 2, "beats"));
}

TEST_CASE("who cannot be told apart ties, and who aborts least of them is advised") {
  const auto text = advice(
      outcome(two_strategies, {{{2.0, 2.2, 2.1, 2.1, 2.1}, 0.01}, {{2.2, 2.0, 2.2, 2.1, 2.1}, 0.12}, {{3}}, {{3}}}));
  CHECK(says(text, 1, "choose detection"));
  CHECK(says(text, 1, "On throughput timeout 8 ties with it within the 95 % interval"));
  CHECK(says(text, 1, "timeout 8 aborts 12 times as many"));
  CHECK(says(text, 0, "cannot be told apart"));
}

TEST_CASE("a difference that is small, but there in every seed, is no tie") {
  const auto text =
      advice(outcome(two_strategies, {{{2.00, 3.00, 4.00}, 0.01}, {{2.02, 3.03, 4.04}, 0.12}, {{3}}, {{3}}}));
  CHECK(says(text, 1, "choose timeout 8"));
  CHECK(says(text, 1, "Next comes detection (0.99 % less: hardly worse, and it aborts 92 % fewer)"));
}

TEST_CASE("past thrashing a timeout beats detection, and it is said why") {
  const auto text = advice(outcome(
      two_strategies,
      {{{2.0, 2.1, 2.05}}, {{1.0, 1.05, 1.02}}, {{2.0, 2.1, 2.05}, 0.02, 14, 16}, {{2.2, 2.3, 2.25}, 0.2, 6, 24}}));
  CHECK(says(text, 2, "choose timeout 8"));
  CHECK(says(text, 2, "Here a timeout beats detection: timeout 8 commits 9.8 % more than detection, for"));
  CHECK(says(text, 2, "past thrashing: under detection 47 % of the transactions wait"));
  CHECK_FALSE(says(text, 1, "beats"));
  CHECK(says(text, 0, "no setting is best everywhere"));
  CHECK(says(text, 3, "Letting fewer transactions in"));
  CHECK_FALSE(says(text, 3, "unlimited"));
}

TEST_CASE("who wins by work for nothing, wins only while nobody needs the machine") {
  auto made = outcome(two_strategies, {{{1, 1.1}}, {{2, 2.1}}, {{1, 1.1}}, {{2, 2.1}}});
  for (auto& cell : made.cells)
    for (auto& run : cell.runs) run.metrics[metric_index("wasted")] = 0.3;
  CHECK(says(advice(made), 3, "CPUs and disks are unlimited in this plan"));
  made.made_by = "gordian, live (a machine)";
  CHECK(advice(made).size() == 3);
}

TEST_CASE("one seed has no interval, and nothing is said to be certain") {
  const auto text = advice(outcome(two_strategies, {{{2.0}}, {{1.9}}, {{1}}, {{1.5}, 0.2, 1, 20}}));
  CHECK(says(text, 0, "With one seed there is no interval"));
  CHECK_FALSE(says(text, 0, "significantly"));
  CHECK(says(text, 1, "This rests on one seed"));
  CHECK_FALSE(says(text, 2, "beats"));
  const auto alone = advice(outcome("[[vary]]\nsetting = \"timeout\"\nvalues = [1, 2]\n", {{{1.0}}, {{2.0}}}));
  CHECK(says(alone, 0, "Choose timeout 2. With one seed there is no interval"));
  CHECK_FALSE(says(alone, 0, "95 %"));
}

TEST_CASE("an open system that keeps up is judged by its response times") {
  const auto plan = "[base]\narrival_rate = 2\n" + std::string(two_strategies);
  const auto text =
      advice(outcome(plan, {{{2, 2, 2}, 0, 0, 1, 30}, {{2, 2, 2}, 0, 0, 1, 20}, {{2, 2, 2}}, {{2, 2, 2}}}));
  CHECK(says(text, 1, "choose timeout 8"));
  CHECK(says(text, 1, "detection (50 % slower)"));
}

TEST_CASE("a plan that only varies the load has nothing to choose") {
  const auto text =
      advice(outcome("[[vary]]\nsetting = \"mpl\"\nvalues = [10, 20, 30]\n", {{{1, 1.1}}, {{2, 2.1}}, {{1.5, 1.6}}}));
  CHECK(text.size() == 1);
  CHECK(says(text, 0, "Nothing is to be chosen"));
  CHECK(says(text, 0, "Throughput is highest with mpl 20"));
}

TEST_CASE("cases without labels are workloads of their own") {
  const auto text = advice(outcome(R"(
[[vary]]
name = "load"
cases = [{ mpl = 10 }, { mpl = 40 }]
[[vary]]
name = "strategy"
cases = [{ strategy = "detection" }, { strategy = "no_wait" }]
)",
                                   {{{2.0, 2.1, 2.05}}, {{1, 1.1, 1.05}}, {{1, 1.1, 1.05}}, {{4, 4.1, 4.05}}}));
  CHECK(says(text, 0, "Over 2 workloads"));
  CHECK(says(text, 1, "With mpl 10: choose detection"));
  CHECK(says(text, 2, "With mpl 40: choose no_wait"));
}

TEST_CASE("a page tells how many seeds were run, be they more than the plan asks for") {
  const auto page = html_report(outcome("seeds = 2\n", {{{1, 1.1, 1.2}}}));  // no axis, so nothing to draw
  REQUIRE(page.has_value());
  CHECK(page->find("<dt>seeds of each</dt><dd>3</dd>") != std::string::npos);
  CHECK(page->find("fewer-seeds") == std::string::npos);
}

TEST_CASE("where nothing is committed nothing is advised") {
  CHECK(says(advice(outcome(two_strategies, {{{0, 0}}, {{0, 0}}, {{0, 0}}, {{0, 0}}})), 0, "Nothing was committed"));
  const auto text = advice(outcome(two_strategies, {{{0, 0}}, {{0, 0}}, {{2, 2.1}}, {{1, 1.1}}}));
  CHECK(text.size() == 3);
  CHECK(says(text, 1, "With mpl 30: choose detection"));
  CHECK(says(text, 2, "In 1 workload nothing was committed"));
}

TEST_CASE("cells without runs are not compared") {
  CHECK(says(advice(outcome(two_strategies, {{}, {}, {}, {}})), 0, "nothing to advise"));
  const auto text = advice(outcome(two_strategies, {{{2.0, 2.1, 2.05}}, {}, {}, {}}));
  CHECK(says(text, 0, "only one setting"));
}
