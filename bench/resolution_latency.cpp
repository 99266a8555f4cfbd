// How fast a deadlock is broken: from the report of the closing wait to the victim's abort callback, next to a raw ZeroMQ
// DEALER-ROUTER round trip of equal size between processes, in the same run and in turn with it.
//
// Real programs: the coordinator is the gordiand beside this binary, site a is a process of its own, and site b, which reports
// the closing wait and has the victim, is this one, so that one clock sees both ends. The floor is two round trips: report
// and question, answers and order.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <gordian/agent.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "common.hpp"
#include "wire/codec.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

// Before each measurement everything comes to rest, so that both kinds find sleeping threads.
constexpr auto rest = 2ms;

TxnId txn(int number, int round) { return TxnId("T" + std::to_string(number) + "-" + std::to_string(round)); }

Wait wait_for(TxnId waiter, TxnId blocker) { return {std::move(waiter), {{std::move(blocker)}}, "row", "X", "", 0us}; }

AgentOptions options_of(const std::string& endpoint, const char* site) {
  return {.coordinator = endpoint,
          .site = SiteId(site),
          .engine = "benchmark",
          .label = {},
          .publish_after = 0us,
          .limits = {}};
}

Agent start(AgentOptions options, AgentCallbacks callbacks) {
  auto agent = Agent::start(std::move(options), std::move(callbacks));
  if (!agent) fail(agent.error().message);
  return std::move(*agent);
}

// --- The other processes ---

/// Site a: for each round that is named on a line, T1 waits for T2, until T2's locks are ordered to be freed.
void run_holder(const std::string& endpoint) {
  std::atomic<Agent*> self{nullptr};
  auto agent =
      start(options_of(endpoint, "a"), {.on_abort = [&self](const AbortOrder& order, const AbortAnswer& answer) {
              self.load()->end_wait(order.wait);
              answer.done();
            }});
  self = &agent;
  for (std::string line; std::getline(std::cin, line);) {
    const int round = std::stoi(line);
    if (const auto wait = agent.begin_wait(wait_for(txn(1, round), txn(2, round))); !wait) fail(wait.error().message);
  }
}

// --- This process ---

class Coordinator {
 public:
  explicit Coordinator(const std::string& endpoint) : dealer_(endpoint) {}
  /// Until it knows so many sites with their snapshots, and so many waits.
  void wait_until_it_has(std::size_t sites, std::size_t waits) {
    wait_until(
        [&] {
          const auto reply =
              wire::decode_reply(dealer_.ask(wire::encode(wire::Request(wire::Query{1, "status", ""}))).to_string());
          const auto status = Json::parse(std::get<wire::Answer>(reply.value()).body);
          const auto complete = std::count_if(status["sites"].begin(), status["sites"].end(),
                                              [](const Json& site) { return site["state"] == "complete"; });
          return static_cast<std::size_t>(complete) == sites && status["waits"] == waits;
        },
        std::to_string(sites) + " sites and " + std::to_string(waits) + " waits at the coordinator");
  }

 private:
  Dealer dealer_;
};

/// Site b.
class Victim {
 public:
  explicit Victim(const std::string& endpoint)
      : agent_(
            start(options_of(endpoint, "b"), {.on_abort = [this](const AbortOrder& order, const AbortAnswer& answer) {
                    const auto now = Clock::now();
                    answer.done();
                    aborted_.set_value({now, order.victim});
                  }})) {}

  /// Closes the cycle of that round; microseconds to the abort.
  double close_cycle(int round) {
    aborted_ = {};
    auto aborted = aborted_.get_future();
    const auto reported = Clock::now();
    if (const auto wait = agent_.begin_wait(wait_for(txn(2, round), txn(1, round))); !wait) fail(wait.error().message);
    if (aborted.wait_for(give_up_after) != std::future_status::ready) {
      const auto status = agent_.status();
      fail("round " + std::to_string(round) + ": not broken within 10 s; site b is " +
           (status.connected ? "" : "not ") + "connected, has answered " + std::to_string(status.confirmations) +
           " confirmations and carried out " + std::to_string(status.aborts_done) + " orders");
    }
    const auto [when, victim] = aborted.get();
    if (victim != txn(2, round)) fail("the victim was " + victim.str());
    return us_since(reported, when);
  }

 private:
  std::promise<std::pair<Clock::time_point, TxnId>> aborted_;
  Agent agent_;  // last: its callback uses what is above
};

struct Samples {
  std::vector<double> raw_us;
  std::vector<double> resolution_us;
};

std::string encoded_closing_wait() {
  const wire::Delta delta{1'700'000'000'000'000, 1000, {wire::WaitChange{1000, wait_for(txn(2, 1000), txn(1, 1000))}}};
  return wire::encode(wire::Request(wire::FromAgent(delta)));
}

/// One transport: batches of rounds, in each of which both are measured in turn.
std::vector<Samples> measure(const std::string& transport, int batches, int rounds) {
  const TemporaryFolder folder(transport);
  const auto listen = [&](const char* name) {
    return transport == "ipc" ? "ipc://" + (folder / name) : std::string("tcp://127.0.0.1:*");
  };
  const auto self = own_folder() + "/resolution_latency";
  const auto endpoint_file = folder / "endpoint";
  Child gordiand({own_folder() + "/gordiand", "--listen", listen("gordiand"), "--endpoint-file", endpoint_file,
                  "--history", folder / "history.db", "--log-level", "error"});
  const std::string endpoint = endpoint_in(endpoint_file);
  Child holder({self, "--role", "holder", "--endpoint", endpoint});
  Child echo({self, "--role", "echo", "--endpoint", listen("echo")});

  Dealer raw(echo.read_line());
  Coordinator coordinator(endpoint);
  Victim victim(endpoint);
  coordinator.wait_until_it_has(2, 0);
  const auto message = encoded_closing_wait();
  std::vector<Samples> samples(static_cast<std::size_t>(batches));
  constexpr int warm_up = 20;
  for (int round = -warm_up; round < batches * rounds; ++round) {
    const int name = round + warm_up;
    holder.write_line(std::to_string(name));
    coordinator.wait_until_it_has(2, 1);
    std::this_thread::sleep_for(rest);
    const auto sent = Clock::now();
    (void)raw.ask(message);
    const double raw_us = us_since(sent);
    std::this_thread::sleep_for(rest);
    const double resolution_us = victim.close_cycle(name);
    coordinator.wait_until_it_has(2, 0);
    if (round < 0) continue;
    auto& batch = samples[static_cast<std::size_t>(round / rounds)];
    batch.raw_us.push_back(raw_us);
    batch.resolution_us.push_back(resolution_us);
  }
  return samples;
}

Json summary(const std::vector<double>& us) { return {{"median", percentile(us, 50)}, {"p99", percentile(us, 99)}}; }

Json report(const std::string& transport, const std::vector<Samples>& batches) {
  Samples all;
  Json ratios = Json::array();
  for (const auto& batch : batches) {
    all.raw_us.insert(all.raw_us.end(), batch.raw_us.begin(), batch.raw_us.end());
    all.resolution_us.insert(all.resolution_us.end(), batch.resolution_us.begin(), batch.resolution_us.end());
    ratios.push_back(percentile(batch.resolution_us, 50) / percentile(batch.raw_us, 50));
  }
  return {{"transport", transport},
          {"raw_us", summary(all.raw_us)},
          {"resolution_us", summary(all.resolution_us)},
          {"ratio", percentile(all.resolution_us, 50) / percentile(all.raw_us, 50)},
          {"ratio_of_batches", ratios}};
}

void print_table(const Json& result) {
  std::printf("%s, %u cores; %d batches of %d rounds, messages of %zu bytes\n\n",
              result["cpu"].get<std::string>().c_str(), result["cores"].get<unsigned>(), result["batches"].get<int>(),
              result["rounds"].get<int>(), result["message_bytes"].get<std::size_t>());
  std::printf("%-10s %14s %10s %19s %10s %7s   %s\n", "transport", "round trip us", "p99", "to the abort us", "p99",
              "ratio", "ratio of each batch");
  for (const auto& row : result["transports"]) {
    std::printf("%-10s %14.0f %10.0f %19.0f %10.0f %7.2f  ", row["transport"].get<std::string>().c_str(),
                row["raw_us"]["median"].get<double>(), row["raw_us"]["p99"].get<double>(),
                row["resolution_us"]["median"].get<double>(), row["resolution_us"]["p99"].get<double>(),
                row["ratio"].get<double>());
    for (const auto& ratio : row["ratio_of_batches"]) std::printf(" %.2f", ratio.get<double>());
    std::printf("\n");
  }
}

int run(int argc, char** argv) {
  int rounds = 300;
  int batches = 5;
  std::vector<std::string> transports{"ipc", "tcp"};
  std::string format = "table";
  std::string role;
  std::string endpoint;
  CLI::App app(
      "From the report of a cycle's closing wait to the victim's abort callback, next to a raw ZeroMQ round trip");
  app.add_option("--rounds", rounds, "deadlocks in a batch")->check(CLI::Range(1, 1'000'000));
  app.add_option("--batches", batches, "batches, each with a ratio of its own")->check(CLI::Range(1, 1000));
  app.add_option("--transport", transports, "ipc, tcp or both")->delimiter(',')->check(CLI::IsMember({"ipc", "tcp"}));
  add_format(app, format);
  add_role(app, role, endpoint);
  if (const auto code = parsed(app, argc, argv)) return *code;
  if (role == "holder") return run_holder(endpoint), 0;
  if (role == "echo") run_echo(endpoint);

  Json result{{"cpu", cpu_model()}, {"cores", std::thread::hardware_concurrency()},   {"batches", batches},
              {"rounds", rounds},   {"message_bytes", encoded_closing_wait().size()}, {"transports", Json::array()}};
  for (const auto& transport : transports)
    result["transports"].push_back(report(transport, measure(transport, batches, rounds)));
  if (format == "json") {
    std::cout << result.dump(2) << "\n";
  } else {
    print_table(result);
  }
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("resolution_latency", gordian::bench::run, argc, argv);
}
