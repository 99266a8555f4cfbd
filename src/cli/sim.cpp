// Seeds in, logs and tables out; what a run is, is sim/'s.
#include "cli/sim.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <iomanip>
#include <iostream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "cli/table.hpp"
#include "sim/shrink.hpp"
#include "text/text.hpp"

namespace gordian::cli {
namespace {

using nlohmann::ordered_json;

constexpr int fine = 0, answer_is_no = 1, bad_input = 2;
constexpr std::size_t coordinators_max = 64;
constexpr unsigned jobs_max = 256;

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "A..B".
std::optional<std::pair<std::uint64_t, std::uint64_t>> range(const std::string& text) {
  const auto dots = text.find("..");
  if (dots == std::string::npos) return std::nullopt;
  const auto first = number(std::string_view(text).substr(0, dots));
  const auto last = number(std::string_view(text).substr(dots + 2));
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair(*first, *last);
}

std::string list(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

/// What is wrong with the options, or nothing; fills in what they say as text.
std::string complaint(SimOptions& options) {
  if (options.seed.empty() == options.seeds.empty()) return "expected either --seed N or --seeds A..B";
  if (!options.seeds.empty() && !range(options.seeds))
    return "--seeds: \"" + options.seeds + "\" was given, expected a range such as 1..1000";
  if (const auto seed = number(options.seed)) {
    options.run.seed = *seed;
  } else if (!options.seed.empty()) {
    return "--seed: \"" + options.seed + "\" was given, expected a number";
  }
  if (!options.run.faults.empty() && !sim::preset(options.run.faults)) {
    std::vector<std::string> names;
    for (const auto& each : sim::presets()) names.push_back(each.name);
    return "--faults: \"" + options.run.faults + "\" was given, expected one of: " + list(names);
  }
  std::istringstream kinds(options.without);
  for (std::string kind; std::getline(kinds, kind, ',');) {
    sim::Faults any;
    if (!sim::leave_out(any, kind))
      return "--without: \"" + kind + "\" was given, expected some of: " + list(sim::kinds_of_faults());
    options.run.without.push_back(kind);
  }
  if (options.run.coordinators < 1 || options.run.coordinators > coordinators_max)
    return "--coordinators: expected 1 to " + std::to_string(coordinators_max);
  if (options.jobs < 1 || options.jobs > jobs_max) return "--jobs: expected 1 to " + std::to_string(jobs_max);
  return {};
}

ordered_json to_json(const sim::Violation& violation) {
  return {{"property", violation.property},
          {"what", violation.what},
          {"step", violation.step},
          {"at_ms", violation.at_us / 1000}};
}

ordered_json to_json(const sim::Result& result) {
  const auto& attempts = result.attempts;
  const auto& injected = result.injected;
  return {{"steps", result.steps},
          {"virtual_ms", result.virtual_us / 1000},
          {"deadlocks", result.deadlocks},
          {"incidents", result.tally.incidents},
          {"victims", result.tally.victims},
          {"reorders", result.tally.reorders},
          {"aborts_overtaken", result.tally.aborts_overtaken},
          {"messages", result.messages},
          {"probes", result.chasing},
          {"attempts",
           {{"begun", attempts.begun},
            {"committed", attempts.committed},
            {"deadlock", attempts.deadlock},
            {"timeout", attempts.timeout},
            {"unreachable", attempts.unreachable},
            {"lease", attempts.lease},
            {"user", attempts.user},
            {"killed", attempts.killed},
            {"refused", attempts.refused},
            {"restarts_most", attempts.restarts_most}}},
          {"injected",
           {{"lost", injected.network.lost},
            {"duplicated", injected.network.duplicated},
            {"reordered", injected.network.reordered},
            {"slow", injected.network.slow},
            {"breaks", injected.breaks},
            {"partitions", injected.partitions},
            {"crashes", injected.crashes},
            {"pauses", injected.pauses}}}};
}

std::string hex(std::uint64_t value) {
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << value;
  return text.str();
}

// --- One run, with its log ---

int run_one(const SimOptions& options, std::ostream& out) {
  const auto line = [&](sim::Micros at_us, std::uint64_t step, std::string_view who, std::string_view what) {
    const auto at = text::visible(what);
    if (options.json) {
      out << ordered_json{{"at_us", at_us}, {"step", step}, {"who", who}, {"what", at}}.dump() << "\n";
      return;
    }
    std::ostringstream time;
    time << std::fixed << std::setprecision(3) << std::setw(11) << static_cast<double>(at_us) / 1000;
    out << time.str() << "  " << std::left << std::setw(13) << who << std::right << " " << at << "\n";
  };
  const auto result = sim::World(options.run, line).run();
  if (options.json) {
    auto json = to_json(result);
    json["seed"] = options.run.seed, json["faults"] = result.faults, json["hash"] = hex(result.hash);
    if (result.violation) json["violation"] = to_json(*result.violation);
    out << json.dump() << "\n";
  } else {
    out << "seed " << options.run.seed << ", " << result.faults << ", " << result.sites << " sites, " << result.clients
        << " clients: " << result.steps << " steps, " << result.deadlocks << " deadlocks, " << result.tally.victims
        << " victims, hash " << hex(result.hash) << "\n";
    if (result.violation)
      out << "property " << result.violation->property << " violated at step " << result.violation->step << ": "
          << text::visible(result.violation->what) << "\n";
  }
  return result.violation ? answer_is_no : fine;
}

// --- Many ---

struct Sum {
  std::uint64_t runs = 0, failed = 0;
  sim::Result all;

  void add(const sim::Result& result) {
    ++runs;
    failed += result.violation ? 1 : 0;
    all.steps += result.steps, all.virtual_us += result.virtual_us, all.deadlocks += result.deadlocks;
    all.tally.incidents += result.tally.incidents, all.tally.victims += result.tally.victims;
    all.tally.reorders += result.tally.reorders;
    all.tally.aborts_overtaken += result.tally.aborts_overtaken;
    all.messages += result.messages, all.candidates += result.candidates;
    all.chasing += result.chasing, all.initiations += result.initiations;
    all.attempts += result.attempts;
    all.injected += result.injected;
  }
};

struct Failure {
  sim::Options options;
  sim::Violation violation;
  unsigned shrunk_in = 0;  ///< runs
};

class Many {
 public:
  explicit Many(const SimOptions& options) : options_(options) {}

  void run() {
    const auto [first, last] = *range(options_.seeds);
    next_ = first;
    std::vector<std::jthread> threads;
    for (unsigned job = 0; job < options_.jobs; ++job) threads.emplace_back([this, end = last] { work(end); });
  }

  std::map<std::string, Sum> by_faults;
  std::map<std::uint64_t, Failure> failures;

 private:
  void work(std::uint64_t last) {
    for (std::uint64_t seed = next_++; seed <= last; seed = next_++) {
      auto options = options_.run;
      options.seed = seed;
      const auto result = sim::World(options).run();
      std::optional<Failure> failure;
      if (result.violation) {
        failure = Failure{options, *result.violation};
        if (options_.shrink && failed_++ < shrunk_max) {
          auto small = sim::shrink(options);
          failure = Failure{std::move(small.options), small.result.violation.value_or(*result.violation), small.runs};
        }
      }
      const std::lock_guard lock(mutex_);
      by_faults[result.faults].add(result);
      if (failure) failures.emplace(seed, std::move(*failure));
    }
  }

  static constexpr unsigned shrunk_max = 5;  ///< one bug often fails many seeds

  const SimOptions& options_;
  std::atomic<std::uint64_t> next_ = 0;
  std::atomic<unsigned> failed_ = 0;
  std::mutex mutex_;
};

std::string per(std::uint64_t messages, std::uint64_t deadlocks) {
  if (deadlocks == 0) return "-";
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << static_cast<double>(messages) / static_cast<double>(deadlocks);
  return text.str();
}

void print_table(const Many& many, std::ostream& out) {
  Table table;
  table.add({"faults", "runs", "failed", "steps", "deadlocks", "incidents", "victims", "reorders", "msgs/deadlock",
             "probes/deadlock", "committed", "lost", "duplicated", "partitions", "crashes", "pauses"});
  Sum total;
  const auto row = [&](const std::string& name, const Sum& sum) {
    const auto& all = sum.all;
    const auto n = [](std::uint64_t value) { return std::to_string(value); };
    table.add({name, n(sum.runs), n(sum.failed), n(all.steps), n(all.deadlocks), n(all.tally.incidents),
               n(all.tally.victims), n(all.tally.reorders), per(all.messages, all.deadlocks),
               per(all.chasing, all.deadlocks), n(all.attempts.committed), n(all.injected.network.lost),
               n(all.injected.network.duplicated), n(all.injected.partitions), n(all.injected.crashes),
               n(all.injected.pauses)});
  };
  for (const auto& [name, sum] : many.by_faults) {
    row(name, sum);
    total.runs += sum.runs, total.failed += sum.failed;
    const auto runs = total.runs, failed = total.failed;
    total.add(sum.all);
    total.runs = runs, total.failed = failed;
  }
  row("all", total);
  out << table.text();
  for (const auto& [seed, failure] : many.failures) {
    out << "\nseed " << seed << ": property " << failure.violation.property
        << " violated: " << text::visible(failure.violation.what) << "\n  at step " << failure.violation.step;
    if (failure.shrunk_in > 0) out << ", after " << failure.shrunk_in << " runs to make it small";
    out << "\n  " << sim::replay_command(failure.options) << "\n";
  }
}

void print_json(const Many& many, std::ostream& out) {
  ordered_json json{{"faults", ordered_json::array()}, {"failures", ordered_json::array()}};
  for (const auto& [name, sum] : many.by_faults) {
    ordered_json one{{"name", name}, {"runs", sum.runs}, {"failed", sum.failed}};
    one.update(to_json(sum.all));
    json["faults"].push_back(std::move(one));
  }
  for (const auto& [seed, failure] : many.failures) {
    auto one = to_json(failure.violation);
    one["seed"] = seed, one["replay"] = sim::replay_command(failure.options);
    json["failures"].push_back(std::move(one));
  }
  out << json.dump() << "\n";
}

}  // namespace

int run_sim(SimOptions options, std::ostream& out, std::ostream& err) {
  if (const auto wrong = complaint(options); !wrong.empty()) {
    err << "gordian: " << wrong << "\n";
    return bad_input;
  }
  if (options.seeds.empty()) return run_one(options, out);
  Many many(options);
  many.run();
  if (options.json) {
    print_json(many, out);
  } else {
    print_table(many, out);
  }
  return many.failures.empty() ? fine : answer_is_no;
}

}  // namespace gordian::cli
