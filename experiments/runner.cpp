#include "experiments/runner.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "experiments/model.hpp"

namespace gordian::experiments {
namespace {

namespace fs = std::filesystem;

/// Empty: there is no such figure.
std::string show(double value) {
  if (std::isnan(value)) return {};
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

/// With quotes where a comma or quote would be taken for the format's.
std::string csv(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string runs_header() {
  std::string header = "cell,seed";
  for (const auto& metric : metric_infos()) header.append(",").append(metric.name);
  return header + "\n";
}

std::string run_line(std::size_t cell, const Run& run) {
  std::string line = std::to_string(cell) + "," + std::to_string(run.seed);
  for (const double value : run.metrics) line += "," + show(value);
  return line + "\n";
}

struct RunLine {
  std::size_t cell;
  Run run;
};
std::optional<RunLine> parse_run(std::string_view line) {
  RunLine parsed{};
  std::size_t column = 0;
  while (true) {
    const auto comma = std::min(line.find(','), line.size());
    const auto* const begin = line.data();
    const auto read = [&](auto& value) {
      const auto [end, error] = std::from_chars(begin, begin + comma, value);
      return error == std::errc() && end == begin + comma;
    };
    double value = std::numeric_limits<double>::quiet_NaN();
    const bool good = column == 0 ? read(parsed.cell) : column == 1 ? read(parsed.run.seed) : comma == 0 || read(value);
    if (!good) return std::nullopt;
    if (column > 1) parsed.run.metrics.push_back(value);
    ++column;
    if (comma == line.size()) break;
    line.remove_prefix(comma + 1);
  }
  return parsed.run.metrics.size() == metric_infos().size() ? std::optional(parsed) : std::nullopt;
}

tl::expected<std::string, std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || (in.peek() != std::ifstream::traits_type::eof() && !(text << in.rdbuf())))
    return tl::unexpected(path.string() + " cannot be read");
  return text.str();
}
tl::expected<void, std::string> write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!(out << text << std::flush)) return tl::unexpected(path.string() + " cannot be written");
  return {};
}

/// Puts what the folder has into the outcome. Returns the length of what was read: less than the file's if the last line was
/// not written to its end.
tl::expected<std::size_t, std::string> read_runs(const fs::path& path, Outcome& outcome) {
  const auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  if (!text->starts_with(runs_header()))
    return tl::unexpected(path.string() + ":1: has other columns than this version writes; run it into another folder");
  std::size_t at = runs_header().size();
  for (std::size_t line = 2; at < text->size(); ++line) {
    const auto end = text->find('\n', at);
    if (end == std::string::npos) break;
    auto parsed = parse_run(std::string_view(*text).substr(at, end - at));
    if (!parsed || parsed->cell >= outcome.cells.size())
      return tl::unexpected(path.string() + ":" + std::to_string(line) + ": is no line of a run of this plan");
    outcome.cells[parsed->cell].runs.push_back(std::move(parsed->run));
    at = end + 1;
  }
  for (auto& cell : outcome.cells) std::ranges::sort(cell.runs, {}, &Run::seed);
  return at;
}

/// Makes the folder, or takes it up where it was left. Where new lines go is open then.
tl::expected<void, std::string> open_folder(const fs::path& folder, Outcome& outcome, std::ofstream& runs) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return tl::unexpected(folder.string() + " cannot be made: " + error.message());
  const auto text = outcome.plan.text;
  if (fs::exists(folder / "plan.toml")) {
    const auto known = read_file(folder / "plan.toml");
    const auto made_by = read_file(folder / "version.txt");
    if (!known || !made_by) return tl::unexpected(!known ? known.error() : made_by.error());
    if (*known != text)
      return tl::unexpected(folder.string() + " has results of another configuration (" +
                            (folder / "plan.toml").string() + "); give another folder, or remove this one");
    if (*made_by != outcome.made_by + "\n")
      return tl::unexpected(folder.string() + " has results of " + made_by->substr(0, made_by->find('\n')) +
                            ", and this is " + outcome.made_by + "; give another folder, or remove this one");
  } else {
    if (auto done = write_file(folder / "version.txt", outcome.made_by + "\n"); !done) return done;
    if (auto done = write_file(folder / "plan.toml", text); !done) return done;
  }
  const auto path = folder / "runs.csv";
  if (!fs::exists(path))
    if (auto done = write_file(path, runs_header()); !done) return done;
  const auto length = read_runs(path, outcome);
  if (!length) return tl::unexpected(length.error());
  fs::resize_file(path, *length, error);
  runs.open(path, std::ios::binary | std::ios::app);
  if (error || !runs) return tl::unexpected(path.string() + " cannot be written");
  return {};
}

/// The runs that are left, shared by threads.
class Work {
 public:
  Work(Outcome& outcome, const RunOptions& options, std::ofstream& file)
      : outcome_(outcome), options_(options), file_(file), run_one_(options.run_one ? options.run_one : simulated()) {
    const auto seeds = options.seeds.value_or(outcome.plan.seeds);
    for (std::uint64_t seed = 1; seed <= seeds; ++seed)
      for (std::size_t cell = 0; cell < outcome.cells.size(); ++cell)
        if (std::ranges::find(outcome.cells[cell].runs, seed, &Run::seed) == outcome.cells[cell].runs.end())
          tasks_.push_back({cell, seed});
    total_ = seeds * outcome.cells.size();
    done_ = total_ - tasks_.size();
  }

  std::string run() {
    {
      std::vector<std::jthread> threads;
      for (unsigned job = 0; job < std::max(options_.jobs, 1U); ++job) threads.emplace_back([this] { work(); });
    }
    for (auto& cell : outcome_.cells) std::ranges::sort(cell.runs, {}, &Run::seed);
    return failure_;
  }

 private:
  struct Task {
    std::size_t cell;
    std::uint64_t seed;
  };

  void work() {
    for (auto task = next_++; task < tasks_.size(); task = next_++) {
      const auto [cell, seed] = tasks_[task];
      const auto result = run_one_(outcome_.plan.cells[cell], seed);
      const std::lock_guard lock(mutex_);
      if (!result) {
        fail(result.error());
        return;
      }
      take(cell, seed, *result);
    }
  }
  void take(std::size_t cell, std::uint64_t seed, const Result& result) {
    Run run{seed, {}};
    for (const auto& metric : metric_infos()) run.metrics.push_back(metric.of(result));
    if (file_.is_open() && !(file_ << run_line(cell, run) << std::flush))
      return fail(options_.folder + "/runs.csv cannot be written; what is in it stays");
    outcome_.cells[cell].runs.push_back(std::move(run));
    ++done_;
    if (options_.progress) options_.progress({done_, total_, outcome_.plan.label(outcome_.plan.cells[cell])});
  }
  void fail(const std::string& why) {
    if (failure_.empty()) failure_ = why;
    next_ = tasks_.size();
  }

  Outcome& outcome_;
  const RunOptions& options_;
  std::ofstream& file_;
  const RunOne run_one_;
  std::vector<Task> tasks_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
  std::string failure_;
};

}  // namespace

Estimate CellOutcome::metric(std::size_t index) const {
  std::vector<double> values;
  for (const auto& run : runs)
    if (!std::isnan(run.metrics[index])) values.push_back(run.metrics[index]);
  return estimate(values);
}

Estimate CellOutcome::relative(std::size_t index, const CellOutcome& reference) const {
  std::vector<double> values, references;
  for (const auto& run : runs) {
    const auto other = std::ranges::find(reference.runs, run.seed, &Run::seed);
    if (other == reference.runs.end() || other->metrics[index] == 0) continue;
    if (std::isnan(run.metrics[index]) || std::isnan(other->metrics[index])) continue;
    values.push_back(run.metrics[index]);
    references.push_back(other->metrics[index]);
  }
  return estimate_ratio(values, references);
}

RunOne simulated() {
  struct Made {
    std::mutex mutex;
    std::map<const Cell*, std::shared_ptr<const Workload>> workloads;  // a table or trace is made once for all seeds
  };
  return [made = std::make_shared<Made>()](const Cell& cell, std::uint64_t seed) -> tl::expected<Result, std::string> {
    std::shared_ptr<const Workload> workload;
    {
      const std::lock_guard lock(made->mutex);
      auto& known = made->workloads[&cell];
      if (!known) {
        auto fresh = make_workload(cell.settings);
        if (!fresh) return tl::unexpected(fresh.error());
        known = *std::move(fresh);
      }
      workload = known;
    }
    return Model(cell.settings, std::move(workload), seed).run();
  };
}

tl::expected<Outcome, std::string> run(const Plan& plan, const RunOptions& options) {
  Outcome outcome{plan, "gordian " GORDIAN_VERSION ", " + options.how, std::vector<CellOutcome>(plan.cells.size())};
  std::ofstream file;
  if (!options.folder.empty())
    if (const auto opened = open_folder(options.folder, outcome, file); !opened) return tl::unexpected(opened.error());
  if (const auto failure = Work(outcome, options, file).run(); !failure.empty()) return tl::unexpected(failure);
  if (!options.folder.empty())
    if (const auto done = write_file(fs::path(options.folder) / "cells.csv", cells_csv(outcome)); !done)
      return tl::unexpected(done.error());
  return outcome;
}

tl::expected<Outcome, std::string> read_outcome(const std::string& folder) {
  const fs::path path(folder);
  const auto text = read_file(path / "plan.toml");
  const auto made_by = read_file(path / "version.txt");
  if (!text || !made_by)
    return tl::unexpected((!text ? text.error() : made_by.error()) +
                          "; expected a folder that 'gordian experiment run' has made");
  const auto name = path.has_filename() ? path.filename() : path.parent_path().filename();  // "gordian-crossover/"
  auto plan = parse_plan(*text, name.string(), (path / "plan.toml").string());
  if (!plan) return tl::unexpected(plan.error());
  const auto cells = plan->cells.size();
  Outcome outcome{*std::move(plan), made_by->substr(0, made_by->find('\n')), std::vector<CellOutcome>(cells)};
  if (const auto read = read_runs(path / "runs.csv", outcome); !read) return tl::unexpected(read.error());
  return outcome;
}

std::string cells_csv(const Outcome& outcome) {
  std::string text = "cell";
  for (const auto& axis : outcome.plan.axes) text += "," + csv(axis.name);
  text += ",seeds";
  for (const auto& metric : metric_infos())
    text.append(",").append(metric.name).append(",").append(metric.name).append("_plus_minus");
  text += "\n";
  for (std::size_t i = 0; i < outcome.cells.size(); ++i) {
    const auto& cell = outcome.plan.cells[i];
    text += std::to_string(i);
    for (std::size_t a = 0; a < cell.place.size(); ++a)
      text += "," + csv(outcome.plan.axes[a].points[cell.place[a]].label);
    text += "," + std::to_string(outcome.cells[i].runs.size());
    for (std::size_t m = 0; m < metric_infos().size(); ++m) {
      const auto value = outcome.cells[i].metric(m);
      text += "," + (value.count > 0 ? show(value.mean) : "") + "," + (value.plus_minus ? show(*value.plus_minus) : "");
    }
    text += "\n";
  }
  return text;
}

}  // namespace gordian::experiments
