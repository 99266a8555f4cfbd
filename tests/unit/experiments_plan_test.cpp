// Configurations and their errors, grids, runs that go on where they were stopped, and the laws on short runs.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <sstream>

#include "experiments/laws.hpp"
#include "experiments/plan.hpp"
#include "experiments/runner.hpp"
#include "scratch_folder.hpp"

using namespace gordian::experiments;

namespace {

const std::string small = R"(title = "small"
seeds = 3
[base]
duration = 200
warmup = 10
[[vary]]
setting = "mpl"
values = [2, 10]
[[vary]]
name = "strategy"
cases = [{ strategy = "detection" }, { strategy = "timeout", timeout = 4 }, { label = "hasty", strategy = "no_wait" }]
[[plot]]
x = "mpl"
y = "throughput"
lines = "strategy"
relative = "detection"
)";

Plan plan_of(const std::string& text) {
  auto plan = parse_plan(text, "test", "test.toml");
  REQUIRE_MESSAGE(plan.has_value(), (plan ? "" : plan.error()));
  return *plan;
}
std::string error_of(const std::string& text) {
  const auto plan = parse_plan(text, "test", "test.toml");
  return plan ? "" : plan.error();
}
std::string text_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Counts the runs that are really done.
struct Counting {
  std::atomic<int> runs = 0;
  RunOptions options(const std::filesystem::path& folder) {
    RunOptions options;
    options.folder = folder.string();
    options.jobs = 2;
    options.run_one = [this, simulate = simulated()](const Cell& cell, std::uint64_t seed) {
      ++runs;
      return simulate(cell, seed);
    };
    return options;
  }
};

}  // namespace

TEST_CASE("the cells are the grid of all axes") {
  const auto plan = plan_of(small);
  REQUIRE(plan.cells.size() == 6);
  CHECK(plan.label(plan.cells[0]) == "mpl 2, detection");
  CHECK(plan.label(plan.cells[4]) == "mpl 10, timeout 4");
  CHECK(plan.label(plan.cells[5]) == "mpl 10, hasty");
  CHECK(plan.cells[4].settings.mpl == 10);
  CHECK(plan.cells[4].settings.timeout == 4);
  CHECK(plan.cells[4].settings.duration == 200);
  CHECK(plan_of("").cells.size() == 1);
}

TEST_CASE("a case without a label is called by what it sets") {
  const auto plan = plan_of(R"([[vary]]
name = "case"
cases = [{ mpl = 10 }, { mpl = 40 }, { mpl = 40, access = "zipf" }, { strategy = "timeout", timeout = 8 },
  { strategy = "timeout", timeout = 8, timeout_growth = 2 }, { strategy = "edge_chasing", sites = 3, delay = 0.5 }, {}]
)");
  std::vector<std::string> labels;
  for (const auto& point : plan.axes.front().points) labels.push_back(point.label);
  CHECK(labels == std::vector<std::string>{"mpl 10", "mpl 40", "access zipf, mpl 40", "timeout 8",
                                           "timeout 8, timeout_growth 2", "edge_chasing, 3 sites, delay 0.5", "base"});
}

TEST_CASE("a bad configuration: file, line, key, and what was expected") {
  struct Bad {
    std::string text, error;
  };
  for (const auto& [text, error] : {
           Bad{"[base]\nmpl = 0\n", "test.toml:2: mpl: 0 was given, expected a whole number, 1 to 100000"},
           {"[base]\nmpl = \"ten\"\n", "test.toml:2: mpl: \"ten\" was given, expected a whole number"},
           {"[base]\n\nexclusive = 1.5\n", "test.toml:3: exclusive: 1.5 was given, expected a number, 0 to 1"},
           {"[base]\nlock = 8\n", "test.toml:2: unknown setting \"lock\""},
           {"[base]\nstrategy = \"hope\"\n", "expected one of: detection, periodic"},
           {"[base]\npolicy = \"any\"\n", "expected one of: youngest"},
           {"titel = \"x\"\n", "test.toml:1: unknown key \"titel\"; expected one of: title"},
           {"seeds = 0\n", "test.toml:1: seeds: expected a whole number, 1 to 1000"},
           {"[base]\nmpl = 1\nmpl = 2\n", "test.toml:3: "},
           {"[[vary]]\nsetting = \"mpl\"\nvalues = []\n", "has no points"},
           {"[[vary]]\nsetting = \"mpl\"\nvalues = [1, 2.5]\n", "test.toml:3: mpl: 2.5 was given"},
           {"[[vary]]\nvalues = [1]\n", "test.toml:2: values: expected the setting's name"},
           {"[[vary]]\nname = \"a\"\n", "expected either setting and values, or name and cases"},
           {"[[vary]]\nname = \"a\"\ncases = [{mpl = 5, speed = 3}]\n", "test.toml:3: unknown setting \"speed\""},
           {"[[vary]]\nsetting = \"mpl\"\nvalues = [5]\nname = \"a\"\ncases = [{mpl = 5}]\n",
            "test.toml:1: vary: expected either setting and values, or name and cases"},
           {"[[vary]]\nsetting = \"mpl\"\nname = \"a\"\ncases = [{locks = 5}]\n",
            "expected either setting and values, or name and cases"},
           {"[[vary]]\nsetting = \"delay\"\nvalues = [\n1,\n1.0]\n",
            "test.toml:5: vary: axis \"delay\" has \"1\" already; expected each point once"},
           {"[[vary]]\nname = \"a\"\ncases = [{label = \"b\", mpl = 5}, {label = \"b\", mpl = 6}]\n",
            "test.toml:3: vary: axis \"a\" has \"b\" already"},
           {"[[vary]]\nsetting = \"mpl\"\nvalues = [5]\n[[vary]]\nname = \"a\"\ncases = [{locks = 5},\n{mpl = 6}]\n",
            "test.toml:7: mpl: axis \"mpl\" sets it already; expected each setting on one axis only"},
           {"[[plot]]\nx = \"mpl\"\n", "x: \"mpl\" was given, expected one of the axes"},
           {"[base]\nlocks = 20\nobjects = 10\n", "test.toml:2: locks: a transaction takes up to 20 of 10 objects"},
           {"[base]\nstrategy = \"lease\"\n", "lease: strategy \"lease\" needs its length"},
           {"[base]\narrival_rate = 20000\n",
            "test.toml:2: arrival_rate: 20000 was given, expected a number, 0 to 10000"},
           {"[base]\nstep_time = 1e-9\n", "test.toml:2: step_time: 1e-09 is too little for the clock; expected 0"},
           {"[base]\nstrategy = \"lease\"\nlease = 1e-7\n", "test.toml:3: lease: 1e-07 is too little"},
           {"[base]\nstep_time = 0\ncpu_time = 1\nrestart_delay = 0\nstrategy = \"wait_die\"\n",
            "test.toml:4: restart_delay: with wait_die and no step_time, who is refused would ask again"},
           {"[[vary]]\nsetting = \"objects\"\nvalues = [100, 4]\n[base]\nlocks = 8\n", "(cell objects 4)"},
       }) {
    CAPTURE(text);
    CHECK(error_of(text).find(error) != std::string::npos);
    CHECK(error_of(text) != "");
    INFO(error_of(text));
  }
}

TEST_CASE("every setting can be set, shown and set to what was shown") {
  Settings settings;
  for (const auto& info : setting_infos()) {
    CAPTURE(info.name);
    const auto text = text_of(settings, info.name);
    SettingValue value = text;
    if (text == "true" || text == "false") value = text == "true";
    char* end = nullptr;
    if (const auto whole = std::strtoll(text.c_str(), &end, 10); !text.empty() && *end == '\0')
      value = std::int64_t{whole};
    else if (const auto real = std::strtod(text.c_str(), &end); !text.empty() && *end == '\0')
      value = real;
    CHECK(set(settings, info.name, value).has_value());
  }
  CHECK(settings == Settings{});
}

TEST_CASE("all that ships can be read, and has cells and pictures") {
  CHECK(shipped().size() >= 10);
  for (const auto& each : shipped()) {
    CAPTURE(each.name);
    const auto plan = load_plan(std::string(each.name));
    REQUIRE_MESSAGE(plan.has_value(), (plan ? "" : plan.error()));
    CHECK(plan->cells.size() > 1);
    CHECK(!plan->plots.empty());
    CHECK(!plan->about.empty());
  }
}

TEST_CASE("a trace is looked for beside the configuration, and its errors are told before anything is run") {
  const ScratchFolder folder;
  const auto file = folder.path() / "own.toml";
  std::ofstream(file) << "[base]\naccess = \"trace\"\ntrace = \"own.jsonl\"\nduration = 100\n";
  const auto missing = load_plan(file.string());
  REQUIRE(!missing.has_value());
  CHECK(missing.error().find("own.toml: trace: ") != std::string::npos);
  CHECK(missing.error().find("own.jsonl: cannot be read") != std::string::npos);
  std::ofstream(folder.path() / "own.jsonl") << R"({"op":"wait","txn":"a","for":["b"],"resource":"x"})"
                                             << "\n";
  const auto plan = load_plan(file.string());
  REQUIRE(plan.has_value());
  const auto outcome = run(*plan, {});
  REQUIRE(outcome.has_value());
  CHECK(outcome->cells.front().metric(metric_index("commits")).mean > 0);
}

TEST_CASE("a run that was stopped goes on, and comes to the same as one that was not") {
  const auto plan = plan_of(small);
  const ScratchFolder stopped, whole;
  Counting counting;
  auto options = counting.options(stopped.path());
  options.seeds = 1;
  REQUIRE(run(plan, options).has_value());
  CHECK(counting.runs == 6);
  {  // it was killed while it wrote a line
    std::ofstream(stopped.path() / "runs.csv", std::ios::app) << "3,2,0.1";
  }
  options.seeds.reset();
  const auto resumed = run(plan, options);
  REQUIRE(resumed.has_value());
  CHECK(counting.runs == 18);
  REQUIRE(run(plan, options).has_value());
  CHECK(counting.runs == 18);

  Counting again;
  const auto at_once = run(plan, again.options(whole.path()));
  REQUIRE(at_once.has_value());
  CHECK(cells_csv(*resumed) == cells_csv(*at_once));
  CHECK(text_in(stopped.path() / "cells.csv") == text_in(whole.path() / "cells.csv"));

  const auto read = read_outcome(stopped.path().string());
  REQUIRE(read.has_value());
  CHECK(cells_csv(*read) == cells_csv(*at_once));
  CHECK(read->made_by.find("simulated") != std::string::npos);
  CHECK(read->plan.name == stopped.path().filename());
  const auto with_slash = read_outcome(stopped.path().string() + "/");
  REQUIRE(with_slash.has_value());
  CHECK(with_slash->plan.name == read->plan.name);
}

TEST_CASE("a folder of another configuration or another kind of run is refused, and stays as it was") {
  const ScratchFolder folder;
  Counting counting;
  auto options = counting.options(folder.path());
  options.seeds = 1;
  REQUIRE(run(plan_of(small), options).has_value());
  const auto before = text_in(folder.path() / "runs.csv");
  const auto other = run(plan_of(small + "# changed\n"), options);
  REQUIRE(!other.has_value());
  CHECK(other.error().find("results of another configuration") != std::string::npos);
  options.how = "live";
  const auto live = run(plan_of(small), options);
  REQUIRE(!live.has_value());
  CHECK(live.error().find("and this is gordian") != std::string::npos);
  CHECK(text_in(folder.path() / "runs.csv") == before);
  CHECK(!read_outcome((folder.path() / "none").string()).has_value());
}

TEST_CASE("a run that fails ends the others, with its reason") {
  RunOptions options;
  options.run_one = [](const Cell&, std::uint64_t seed) -> tl::expected<Result, std::string> {
    if (seed == 2) return tl::unexpected(std::string("no such luck"));
    return Result{};
  };
  const auto outcome = run(plan_of(small), options);
  REQUIRE(!outcome.has_value());
  CHECK(outcome.error() == "no such luck");
}

TEST_CASE("who commits nothing has no response times, be it read again, and none in place of 0") {
  const auto plan = plan_of("seeds = 2\n[base]\nwarmup = 0\nduration = 1\nstep_time = 5\nstep_shape = \"fixed\"\n");
  const ScratchFolder folder;
  RunOptions options;
  options.folder = folder.path().string();
  const auto outcome = run(plan, options);
  REQUIRE(outcome.has_value());
  const auto read = read_outcome(options.folder);
  REQUIRE_MESSAGE(read.has_value(), (read ? "" : read.error()));
  for (const auto* each : {&*outcome, &*read}) {
    const auto& cell = each->cells.front();
    CHECK(cell.runs.size() == 2);
    CHECK(cell.metric(metric_index("commits")).count == 2);
    for (const auto* none : {"response_mean", "response_p50", "response_p90", "response_p99"}) {
      CHECK(cell.metric(metric_index(none)).count == 0);
      CHECK(cell.relative(metric_index(none), cell).count == 0);
    }
  }
  CHECK(cells_csv(*outcome).find("0,2,0,0,,,,,,,,,0,0") !=
        std::string::npos);  // cell, seeds, throughput, four of nothing
  CHECK(cells_csv(*read) == cells_csv(*outcome));
}

TEST_CASE("relative figures pair runs of the same seed") {
  CellOutcome half, whole;
  const auto at = metric_index("throughput");
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    std::vector<double> metrics(metric_infos().size());
    metrics[at] = static_cast<double>(seed);
    whole.runs.push_back({seed, metrics});
    metrics[at] /= 2;
    if (seed != 2) half.runs.push_back({seed, metrics});
  }
  const auto ratio = half.relative(at, whole);
  CHECK(ratio.mean == doctest::Approx(0.5));
  CHECK(ratio.count == 3);
  CHECK(*ratio.plus_minus == doctest::Approx(0).epsilon(1e-9));
}

TEST_CASE("laws: probes on a ring and the skew of accesses hold exactly, conflicts on short runs roughly") {
  for (const std::string law : {"edge-chasing", "zipf"}) {
    const auto checks = verify({1, law, 1, {}});
    REQUIRE(checks.has_value());
    CHECK(!checks->empty());
    for (const auto& check : *checks) {
      CAPTURE(check.what);
      CAPTURE(check.measured);
      CHECK(check.passed());
    }
  }
  const auto conflicts = verify({2, "conflicts", 0.01, {}});
  REQUIRE(conflicts.has_value());
  for (const auto& check : *conflicts)
    if (check.what.ends_with("share that ever waits")) {
      CAPTURE(check.what);
      CHECK(check.measured == doctest::Approx(check.predicted).epsilon(0.05));
    }
  const auto none = verify({1, "gravity", 1, {}});
  REQUIRE(!none.has_value());
  CHECK(none.error().find("expected one of: conflicts") != std::string::npos);
}
