// How many lock requests of a model are simulated in a second on one core, and whether its memory grows: N 100, r 8, D 10,000,
// deadlocks looked for at every wait.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "experiments/model.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

/// Of this process, in KiB.
std::size_t resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"Simulated lock requests a second, and memory after more and more of them"};
  std::uint64_t requests = 100'000'000;
  std::string strategy = "detection", format = "table";
  app.add_option("--requests", requests, "in all")
      ->capture_default_str()
      ->check(CLI::Range(1'000'000ULL, 10'000'000'000ULL));
  app.add_option("--strategy", strategy, "what is done about deadlocks")->capture_default_str();
  add_format(app, format);
  if (const auto code = parsed(app, argc, argv)) return *code;
  experiments::Settings settings;
  settings.mpl = 100, settings.locks = 8, settings.objects = 10'000;
  if (const auto done = experiments::set(settings, "strategy", strategy); !done) {
    std::cerr << "experiment_speed: --strategy: " << done.error() << "\n";
    return 2;
  }
  std::string key;
  if (const auto wrong = experiments::complaint(settings, key); !wrong.empty()) {
    std::cerr << "experiment_speed: --strategy: " << key << ": " << wrong << "\n";
    return 2;
  }
  auto workload = experiments::make_workload(settings);
  if (!workload) {
    std::cerr << "experiment_speed: " << workload.error() << "\n";
    return 2;
  }
  experiments::Model model(settings, *std::move(workload), 1);
  std::uint64_t done = 0;
  for (std::uint64_t step = 1'000'000; done < requests; step *= 10) {
    const auto upto = std::min(step, requests);
    const auto begin = std::chrono::steady_clock::now();
    model.run_requests(upto - done);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const double millions = static_cast<double>(upto - done) / seconds.count() / 1e6;
    done = upto;
    if (format == "json") {
      std::cout << nlohmann::ordered_json{{"requests", done},
                                          {"millions_a_second", millions},
                                          {"rss_kib", resident_kib()}}
                       .dump()
                << std::endl;
    } else {
      std::cout << done << " requests: " << millions << " million a second, " << resident_kib() << " KiB resident"
                << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("experiment_speed", gordian::bench::run, argc, argv);
}
