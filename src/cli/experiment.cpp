#include "cli/experiment.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/table.hpp"
#include "daemon/stop_on_signal.hpp"
#include "experiments/child.hpp"
#include "experiments/laws.hpp"
#include "experiments/live.hpp"
#include "experiments/plan.hpp"
#include "experiments/report.hpp"
#include "experiments/runner.hpp"

namespace gordian::cli {
namespace {

using nlohmann::ordered_json;
namespace exp = gordian::experiments;

constexpr int fine = 0, answer_is_no = 1, bad_input = 2, unreachable = 3;
constexpr unsigned jobs_max = 256;

int complain(const std::string& what, int exit_code = bad_input) {
  std::cerr << "gordian: " << what << "\n";
  return exit_code;
}

/// Data, as opposed to what is told beside it. `exit_code`: if all of it was taken.
int print(std::string_view text, int exit_code = fine) {
  std::cout << text << std::flush;
  return std::cout ? exit_code : complain("standard output cannot be written");
}

/// For StopOnSignal: a live run looks at it.
class StopFlag {
 public:
  void stop() { stopped_ = true; }
  [[nodiscard]] const std::atomic<bool>& stopped() const { return stopped_; }

 private:
  std::atomic<bool> stopped_ = false;
};

/// "3 h 20 min", "45 s".
std::string duration(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole >= 3600) return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
  if (whole >= 60) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole) + " s";
}

std::string number(double value) {
  std::ostringstream text;
  text << std::setprecision(4) << value;
  return text.str();
}

std::string number(const exp::Estimate& value) {
  return value.count == 0 ? "-" : number(value.mean) + (value.plus_minus ? " ± " + number(*value.plus_minus) : "");
}

/// How far it is: one line that moves on a terminal, else a line now and then.
class ProgressLine {
 public:
  void show(std::size_t done, std::size_t total, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    const bool last = done == total;
    if (!last && now - shown_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10))) return;
    shown_ = now;
    constexpr std::size_t width = 30;
    const auto filled = total == 0 ? width : width * done / total;
    if (terminal_) {
      std::cerr << "\r\x1b[K[" << std::string(filled, '#') << std::string(width - filled, ' ') << "] " << done << "/"
                << total << "  " << what << (last ? "\n" : "") << std::flush;
    } else {
      std::cerr << done << " of " << total << "  " << what << "\n";
    }
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

std::string cells_table(const exp::Outcome& outcome) {
  constexpr std::array shown{"throughput", "response_p50", "response_p99", "aborts", "wasted", "messages"};
  Table table;
  std::vector<std::string> header;
  for (const auto& axis : outcome.plan.axes) header.push_back(axis.name);
  header.insert(header.end(), shown.begin(), shown.end());
  table.add(std::move(header));
  for (std::size_t i = 0; i < outcome.cells.size(); ++i) {
    std::vector<std::string> row;
    for (std::size_t a = 0; a < outcome.plan.axes.size(); ++a)
      row.push_back(outcome.plan.axes[a].points[outcome.plan.cells[i].place[a]].label);
    for (const auto* metric : shown) row.push_back(number(outcome.cells[i].metric(exp::metric_index(metric))));
    table.add(std::move(row));
  }
  return table.text();
}

ordered_json to_json(const exp::Estimate& value) {
  ordered_json json{{"mean", value.mean}};
  if (value.plus_minus) json["plus_minus"] = *value.plus_minus;
  return json;
}

std::string cells_json(const exp::Outcome& outcome) {
  ordered_json json{{"plan", outcome.plan.name}, {"made_by", outcome.made_by}, {"cells", ordered_json::array()}};
  for (std::size_t i = 0; i < outcome.cells.size(); ++i) {
    ordered_json cell;
    for (std::size_t a = 0; a < outcome.plan.axes.size(); ++a)
      cell["at"][outcome.plan.axes[a].name] = outcome.plan.axes[a].points[outcome.plan.cells[i].place[a]].label;
    cell["seeds"] = outcome.cells[i].runs.size();
    for (std::size_t m = 0; m < exp::metric_infos().size(); ++m)
      if (const auto value = outcome.cells[i].metric(m); value.count > 0)
        cell["metrics"][std::string(exp::metric_infos()[m].name)] = to_json(value);
    json["cells"].push_back(std::move(cell));
  }
  return json.dump() + "\n";
}

std::string tolerance(const exp::Check& check) {
  if (std::isinf(check.least)) return "at most " + number(check.most);
  if (std::isinf(check.most)) return "at least " + number(check.least);
  return number(check.least) + " to " + number(check.most);
}

std::string checks_table(const std::vector<exp::Check>& checks) {
  Table table;
  table.add({"law", "what", "measured", "predicted", "tolerance", ""});
  for (const auto& check : checks)
    table.add({check.law, check.what, number(check.measured), number(check.predicted), tolerance(check),
               check.passed() ? "pass" : "FAIL"});
  std::string text = table.text(), last;
  for (const auto& check : checks)
    if (!check.note.empty() && check.law + check.note != last) {
      text += "\n" + check.law + ": " + check.note + "\n";
      last = check.law + check.note;
    }
  return text;
}

std::string checks_json(const std::vector<exp::Check>& checks) {
  ordered_json json = ordered_json::array();
  for (const auto& check : checks)
    json.push_back({{"law", check.law},
                    {"what", check.what},
                    {"measured", check.measured},
                    {"predicted", check.predicted},
                    {"least", check.least},
                    {"most", check.most},
                    {"passed", check.passed()},
                    {"note", check.note}});
  return json.dump() + "\n";
}

}  // namespace

class ExperimentCommands::Impl {
 public:
  explicit Impl(CLI::App& app) {
    command_ = app.add_subcommand("experiment", "compare timeouts, prevention and detection on a simulated workload");
    command_->fallthrough(false);  // it has no coordinator to ask
    command_->require_subcommand(1);
    add_run();
    list_ = command_->add_subcommand("list", "the configurations that ship");
    add_format(list_, {"table", "json"});
    show_ = command_->add_subcommand("show", "print one of them: to read, or to change a copy");
    show_->add_option("name", name_, "as 'list' names it")->type_name("NAME")->required();
    settings_ = command_->add_subcommand("settings", "what a configuration may set, with the defaults");
    add_format(settings_, {"table", "json"});
    add_verify();
    report_ = command_->add_subcommand("report", "one HTML page of what a run has left in its folder; needs gnuplot");
    report_->add_option("folder", folder_, "what 'run' was given as --out")->type_name("DIR")->required();
    report_->add_option("--out", output_, "where the page goes, default DIR/report.html; - for standard output")
        ->type_name("FILE");
  }

  std::optional<int> run() {
    if (!command_->parsed()) return std::nullopt;
    if (jobs_ < 1 || jobs_ > jobs_max) return complain("--jobs: expected 1 to " + std::to_string(jobs_max));
    if (run_->parsed()) return do_run();
    if (list_->parsed()) return do_list();
    if (show_->parsed()) return do_show();
    if (report_->parsed()) return do_report();
    return settings_->parsed() ? do_settings() : do_verify();
  }

 private:
  void add_format(CLI::App* command, const std::vector<std::string>& formats) {
    std::string list;
    for (const auto& each : formats) list += (list.empty() ? "" : "|") + each;
    command->add_option("--format", format_, "default " + formats.front())
        ->type_name(list)
        ->check(CLI::IsMember(formats).description(""));
  }
  void add_jobs(CLI::App* command) {
    command->add_option("--jobs", jobs_, "threads, default " + std::to_string(jobs_))->type_name("J");
  }
  void add_run() {
    run_ =
        command_->add_subcommand("run", "run a configuration: a file, or one that ships; goes on where it was stopped");
    run_->add_option("plan", name_, "a TOML file, or a name that 'list' shows")->type_name("FILE|NAME")->required();
    run_->add_option("--seeds", seeds_, "runs of each cell, in place of what the file says")
        ->type_name("N")
        ->check(CLI::Range(std::uint64_t{1}, exp::Plan::seeds_max).description(""));
    add_jobs(run_);
    run_->add_flag("--live", live_,
                   "on real gordiands, gordian-agents and clients on this machine; runs go one at a time");
    run_->add_option("--out", folder_, "where results go, default gordian-NAME, live gordian-NAME-live")
        ->type_name("DIR");
    add_format(run_, {"table", "json", "csv"});
  }
  void add_verify() {
    verify_ = command_->add_subcommand("verify", "the laws and reference figures, measured next to predicted");
    add_jobs(verify_);
    verify_->add_option("--only", only_, "this law")->type_name("NAME");
    verify_->add_option("--effort", effort_, "length of its runs, 1: as intended; less scatters more")
        ->type_name("X")
        ->check(CLI::Range(0.001, 100.0).description(""));
    add_format(verify_, {"table", "json"});
  }

  int do_run() {
    const auto plan = exp::load_plan(name_);
    if (!plan) return complain(plan.error());
    ProgressLine line;
    exp::RunOptions options;
    options.seeds = seeds_;
    options.jobs = jobs_;
    options.folder = folder_.empty() ? "gordian-" + plan->name + (live_ ? "-live" : "") : folder_;
    options.progress = [&](const exp::Progress& p) { line.show(p.done, p.total, p.running); };
    if (live_) return do_run_live(*plan, options);
    const auto outcome = exp::run(*plan, options);
    if (!outcome) return complain(outcome.error());
    return tell(*outcome, options.folder);
  }

  int do_run_live(const exp::Plan& plan, exp::RunOptions& options) {
    if (const auto wrong = exp::live_complaint(plan); !wrong.empty()) return complain(wrong);
    const double seconds = exp::live_seconds(plan, options.seeds.value_or(plan.seeds));
    if (seconds > exp::live_seconds_max)
      return complain("live, this plan takes " + duration(seconds) + ", and the most is " +
                      duration(exp::live_seconds_max) +
                      "; give fewer --seeds, or a shorter duration or unit_ms in the file");
    std::cerr << "live: " << plan.cells.size() << " cells, together " << duration(seconds)
              << " at most, besides starting and stopping the services for each run; Ctrl-C ends it, and the same "
              << "command goes on\n";
    StopFlag stop;
    const daemon::StopOnSignal signals(stop);
    options.jobs = 1;
    options.how = exp::live_on_this_machine(plan);
    std::string failure;  // of a run, as opposed to the folder
    options.run_one = [&, run_one = exp::live_runs(exp::own_folder(), stop.stopped())](const exp::Cell& cell,
                                                                                       std::uint64_t seed) {
      auto result = run_one(cell, seed);
      if (!result) failure = result.error();
      return result;
    };
    const auto outcome = exp::run(plan, options);
    if (stop.stopped()) return complain("stopped; what is finished is in " + options.folder, answer_is_no);
    if (!outcome) return complain(outcome.error(), failure.empty() ? bad_input : unreachable);
    return tell(*outcome, options.folder);
  }

  int tell(const exp::Outcome& outcome, const std::string& folder) {
    std::cerr << "results are in " << folder << "; 'gordian experiment report " << folder << "' makes a page of them\n";
    return print(format_ == "json"  ? cells_json(outcome)
                 : format_ == "csv" ? exp::cells_csv(outcome)
                                    : cells_table(outcome));
  }

  int do_report() {
    const auto outcome = exp::read_outcome(folder_);
    if (!outcome) return complain(outcome.error());
    const auto page = exp::html_report(*outcome);
    if (!page) return complain(page.error().message, page.error().no_gnuplot ? unreachable : bad_input);
    if (output_ == "-") return print(*page);
    const auto path = output_.empty() ? (std::filesystem::path(folder_) / "report.html").string() : output_;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    if (!(file << *page << std::flush)) return complain(path + " cannot be written");
    std::cerr << "the report is in " << path << "\n";
    return fine;
  }

  int do_list() {
    Table table;
    table.add({"name", "cells", "seeds", "title"});
    auto json = ordered_json::array();
    for (const auto& each : exp::shipped()) {
      const auto plan = exp::load_plan(std::string(each.name));
      if (!plan) return complain(plan.error());
      table.add({plan->name, std::to_string(plan->cells.size()), std::to_string(plan->seeds), plan->title});
      json.push_back(
          {{"name", plan->name}, {"cells", plan->cells.size()}, {"seeds", plan->seeds}, {"title", plan->title}});
    }
    return print(format_ == "json" ? json.dump() + "\n" : table.text());
  }

  int do_show() {
    for (const auto& each : exp::shipped())
      if (each.name == name_) return print(each.text);
    std::cerr << "gordian: no configuration of that name ships: " << name_
              << "; 'gordian experiment list' shows those that do\n";
    return answer_is_no;
  }

  int do_settings() {
    Table table;
    table.add({"setting", "default", "meaning"});
    auto json = ordered_json::array();
    const exp::Settings defaults;
    for (const auto& info : exp::setting_infos()) {
      const auto value = exp::text_of(defaults, info.name);
      table.add({std::string(info.name), cell(value), std::string(info.meaning)});
      json.push_back({{"setting", info.name}, {"default", value}, {"meaning", info.meaning}});
    }
    return print(format_ == "json" ? json.dump() + "\n" : table.text());
  }

  int do_verify() {
    ProgressLine line;
    const auto progress = [&](const std::string& law, std::size_t done, std::size_t total) {
      line.show(done, total, law);
    };
    const auto checks = exp::verify({jobs_, only_, effort_, progress});
    if (!checks) return complain(checks.error());
    return print(format_ == "json" ? checks_json(*checks) : checks_table(*checks),
                 std::ranges::all_of(*checks, &exp::Check::passed) ? fine : answer_is_no);
  }

  CLI::App* command_ = nullptr;
  CLI::App* run_ = nullptr;
  CLI::App* list_ = nullptr;
  CLI::App* show_ = nullptr;
  CLI::App* settings_ = nullptr;
  CLI::App* verify_ = nullptr;
  CLI::App* report_ = nullptr;
  std::string name_, folder_, format_, only_, output_;
  bool live_ = false;
  std::optional<std::uint64_t> seeds_;
  unsigned jobs_ = std::max(1U, std::min(jobs_max, std::thread::hardware_concurrency()));
  double effort_ = 1;
};

ExperimentCommands::ExperimentCommands(CLI::App& app) : impl_(std::make_unique<Impl>(app)) {}
ExperimentCommands::~ExperimentCommands() = default;
std::optional<int> ExperimentCommands::run() { return impl_->run(); }

}  // namespace gordian::cli
