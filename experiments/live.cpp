#include "experiments/live.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <thread>

#include "experiments/live_run.hpp"

namespace gordian::experiments {
namespace {

constexpr std::size_t sites_max = 16;
constexpr double period_max_ms = 120'000;  // gordian-agent reports a wait after a minute at the latest

std::string number(double value) {
  auto text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::string complaint_about(const Settings& s) {
  if (s.cpus > 0)
    return "cpus: a live run has this machine's processors and cannot share out others; expected 0 (cpu_time is slept)";
  if (s.disks > 0) return "disks: a live run has no disks to share out; expected 0 (disk_time is slept)";
  if (s.delay > 0) return "delay: the loopback's messages cannot be slowed down; expected 0";
  if (s.jitter > 0) return "jitter: the loopback's messages cannot be slowed down; expected 0";
  if (s.pause_rate > 0)
    return "pause_rate: the clients of a live run share one process, whose leases are renewed all the while; expected "
           "0";
  if (s.probe_filter) return "probe_filter: gordiand has its own rules for probes; expected false";
  if (s.sites > sites_max) return "sites: each is a process here; expected at most " + std::to_string(sites_max);
  if (std::max(s.mpl, s.terminals) > LiveRun::clients_max)
    return std::string(s.terminals > s.mpl ? "terminals" : "mpl") + ": expected at most " +
           std::to_string(LiveRun::clients_max) + " clients in one process";
  if (s.strategy == Strategy::periodic && s.period * s.unit_ms > period_max_ms)
    return "period: expected at most " + number(period_max_ms / s.unit_ms) + " units, which is " +
           number(period_max_ms / 1000) + " s";
  return {};
}

}  // namespace

std::string live_complaint(const Plan& plan) {
  for (const auto& cell : plan.cells)
    if (auto wrong = complaint_about(cell.settings); !wrong.empty()) {
      const auto label = plan.label(cell);
      return "this plan cannot be run live: " + wrong + (label.empty() ? "" : " (cell " + label + ")");
    }
  return {};
}

double live_seconds(const Plan& plan, std::uint64_t seeds) {
  double sum = 0;
  for (const auto& cell : plan.cells)
    sum += (cell.settings.warmup + cell.settings.duration) * cell.settings.unit_ms / 1000;
  return sum * static_cast<double>(seeds);
}

std::string live_on_this_machine(const Plan& plan) {
  return "live (" + cpu_model() + ", " + std::to_string(std::thread::hardware_concurrency()) + " processors, unit " +
         number(plan.cells.front().settings.unit_ms) + " ms)";
}

RunOne live_runs(std::string programs, const std::atomic<bool>& stop) {
  return [programs = std::move(programs), &stop](const Cell& cell,
                                                 std::uint64_t seed) -> tl::expected<Result, std::string> {
    const auto workload = make_workload(cell.settings);
    if (!workload) return tl::unexpected(workload.error());
    for (const std::string program : {"gordiand", "gordian-agent"})
      if (!std::filesystem::exists(std::filesystem::path(programs) / program))
        return tl::unexpected(program + " is not in " + programs +
                              ", where 'gordian' is; build or install all programs");
    try {
      return LiveRun(cell.settings, **workload, seed, programs, stop).run();
    } catch (const std::exception& error) {  // processes that do not start or answer, a folder that cannot be made
      return tl::unexpected(std::string(error.what()));
    }
  };
}

bool live(const Outcome& outcome) { return outcome.made_by.find(", live (") != std::string::npos; }

bool measured_live(std::string_view metric) {
  constexpr std::array unknown{"pw", "waits", "two_cycles", "phantoms", "stuck", "cpu_busy", "disk_busy"};
  return std::ranges::find(unknown, metric) == unknown.end();
}

}  // namespace gordian::experiments
