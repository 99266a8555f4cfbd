// How fast a coordinator takes in what agents report: deltas of waits that begin and end, sent by another process over ipc
// (CURVE off), received as gordiand receives them, decoded, applied to the graph and searched from; next to a process that
// receives and decodes the same bytes and does nothing with them, in turn with it. And what a standing wait costs in memory.
//
// Rates are per second of the receiving thread, which is pinned to one core; ZeroMQ's own thread and the sender have the other.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <fstream>
#include <iostream>
#include <malloc.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <random>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "common.hpp"
#include "coordinator/coordinator.hpp"
#include "daemon/memory.hpp"
#include "net/clock.hpp"
#include "net/sockets.hpp"
#include "program.hpp"
#include "wire/codec.hpp"

namespace gordian::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t incarnation = 1;
constexpr std::size_t sites = 10;
constexpr std::size_t changes_per_message = 1000;

// --- What the agents say ---

TxnId txn(std::uint64_t number) { return TxnId("n7-" + std::to_string(10'000'000 + number)); }

wire::Change wait_begins(std::uint64_t sequence, std::uint64_t waiter, std::uint64_t blocker) {
  return wire::WaitChange{sequence, Wait{txn(waiter),
                                         {{txn(blocker)}},
                                         "accounts/" + std::to_string(100'000 + sequence),
                                         "X",
                                         "",
                                         std::chrono::microseconds(5000)}};
}

std::string encoded(const wire::FromAgent& message) { return wire::encode(wire::Request(message)); }

/// For each site its messages, ready to be sent.
using Traffic = std::vector<std::vector<std::string>>;

class Reporter {
 public:
  explicit Reporter(Traffic& traffic) : traffic_(traffic), pending_(sites), numbers_(sites, 1) {
    traffic_.resize(sites);
    for (auto& messages : traffic_) messages.push_back(encoded(wire::Snapshot{incarnation, 1, 0, true, {}}));
  }
  void say(std::size_t site, wire::Change change) {
    pending_[site].push_back(std::move(change));
    if (pending_[site].size() >= changes_per_message) flush(site);
  }
  void flush(std::size_t site) {
    if (pending_[site].empty()) return;
    traffic_[site].push_back(encoded(wire::Delta{incarnation, ++numbers_[site], std::exchange(pending_[site], {})}));
  }

 private:
  Traffic& traffic_;
  std::vector<std::vector<wire::Change>> pending_;
  std::vector<std::uint64_t> numbers_;
};

/// Waits begin and end in turn, ten thousand stand at a time. Waiters and blockers come from a window that moves on, so that
/// who begins to wait often blocks others already, and whom it waits for waits, too. A waiter is younger than its blockers, for
/// nobody would answer this coordinator's questions about a deadlock.
Traffic churn(std::size_t events) {
  Traffic traffic;
  Reporter reporter(traffic);
  std::mt19937 random(1);
  constexpr std::size_t standing = 10'000;
  std::deque<std::pair<std::size_t, std::uint64_t>> waits;
  for (std::uint64_t sequence = 1, said = 0; said < events; ++sequence) {
    const auto site = random() % sites;
    const auto waiter = sequence + 1000 + random() % 1000;
    reporter.say(site, wait_begins(sequence, waiter, waiter - 1 - random() % 1000));
    waits.emplace_back(site, sequence);
    ++said;
    if (waits.size() <= standing) continue;
    reporter.say(waits.front().first, wire::EndWaitChange{waits.front().second});
    waits.pop_front();
    ++said;
  }
  for (std::size_t site = 0; site < sites; ++site) reporter.flush(site);
  return traffic;
}

/// Every transaction waits for one of a tenth as many that hold.
Traffic standing(std::size_t waits) {
  Traffic traffic;
  Reporter reporter(traffic);
  std::mt19937 random(1);
  for (std::uint64_t i = 0; i < waits; ++i)
    reporter.say(i % sites, wait_begins(i + 1, waits / 10 + i, random() % (waits / 10)));
  for (std::size_t site = 0; site < sites; ++site) reporter.flush(site);
  return traffic;
}

/// Says hello for every site, and everything else when it is told to on its input; ends with that.
void run_sender(const std::string& endpoint, const std::string& what, std::size_t count) {
  const auto traffic = what == "churn" ? churn(count) : standing(count);
  zmq::context_t context;
  std::vector<zmq::socket_t> sockets;
  for (std::size_t site = 0; site < sites; ++site) {
    auto& socket = sockets.emplace_back(context, zmq::socket_type::dealer);
    socket.set(zmq::sockopt::linger, -1);
    socket.set(zmq::sockopt::sndhwm, what == "churn" ? 0 : 1);
    socket.connect(endpoint);
    socket.send(zmq::buffer(encoded(wire::Hello{SiteId("s" + std::to_string(site)), incarnation,
                                                "process " + std::to_string(site), 0, true, "bench", "", ""})),
                zmq::send_flags::none);
  }
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "go";) {
  }
  std::size_t longest = 0;
  for (const auto& messages : traffic) longest = std::max(longest, messages.size());
  for (std::size_t i = 0; i < longest; ++i)
    for (std::size_t site = 0; site < sites; ++site)
      if (i < traffic[site].size()) sockets[site].send(zmq::buffer(traffic[site][i]), zmq::send_flags::none);
  for (std::string line; std::getline(std::cin, line);) {  // until everything is received
  }
}

// --- The receiver: a process of its own, that ends after one measurement ---

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

coordinator::Time now() { return {net::steady_now_us(), net::unix_now_us()}; }

std::size_t rss_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

struct Receiver {
  net::RouterSocket socket;
  bool ingest;
  std::unique_ptr<coordinator::Coordinator> core;
  std::size_t events = 0;
  double cpu_start = 0, cpu_end = 0;
  Clock::time_point start, end;

  void take(const std::string& peer, std::string_view bytes) {
    if (events == 0) cpu_start = cpu_seconds(), start = Clock::now();
    const auto request = wire::decode_request(bytes);
    if (!request) fail("refused: " + request.error().text);
    const auto& message = std::get<wire::FromAgent>(*request);
    if (ingest) core->receive(peer, message, now());
    if (const auto* delta = std::get_if<wire::Delta>(&message)) events += delta->changes.size();
  }
  /// Sleeps until there is a message: to wait for the sender is no work.
  bool ready() {
    zmq::pollitem_t item{socket.handle(), 0, ZMQ_POLLIN, 0};
    return zmq::poll(&item, 1, std::chrono::milliseconds(100)) > 0;
  }
  /// As gordiand's reactor does.
  void until(std::size_t wanted) {
    const auto give_up = Clock::now() + std::chrono::seconds(120);
    while (events < wanted) {
      const bool got =
          socket.receive([&](const std::string& peer, const net::Frame& frame) { take(peer, frame.bytes); });
      if (!got && !ready() && Clock::now() > give_up) fail("the sender has stopped");
      if (!got || !ingest) continue;
      if (const auto time = now(); time.steady_us >= core->next_tick_us()) core->tick(time);
      for (const auto& out : core->take_outgoing()) socket.send(out.peer, wire::encode(out.message));
      (void)core->take_events();
    }
    cpu_end = cpu_seconds(), end = Clock::now();
  }
};

void run_receiver(const std::string& listen, const std::string& what, bool ingest, std::size_t count) {
  coordinator::Options options;
  options.lease = std::chrono::minutes(10);
  options.limits.waits_per_site = count;
  daemon::keep_freed_memory();  // as gordiand does; the decoder alone, too
  // For the rate everything may lie ready; for the memory no messages should.
  const int queue = what == "churn" ? 1'000'000 : 1;
  auto socket = net::RouterSocket::bind({listen, 4u << 20, queue}, "ipc:///PATH");
  if (!socket) fail(socket.error());
  Receiver receiver{std::move(*socket), ingest, std::make_unique<coordinator::Coordinator>(options, now())};
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(0, &core);
  sched_setaffinity(0, sizeof core, &core);  // this thread; ZeroMQ's runs already
  std::cout << receiver.socket.endpoint() << std::endl;
  receiver.until(count);
  const auto cpu = receiver.cpu_end - receiver.cpu_start;
  Json result{{"events", receiver.events}, {"cpu_s", cpu}, {"wall_s", us_since(receiver.start, receiver.end) / 1e6}};
  if (ingest) {
    const auto status = receiver.core->status(now());
    result["waits"] = status.waits;
    result["search_steps"] = status.counters.at("search_steps");
    result["candidates"] = status.counters.contains("candidates") ? status.counters.at("candidates") : 0;
    const auto heap = mallinfo2();
    result["heap_bytes"] = heap.uordblks + heap.hblkhd;
    result["rss_bytes"] = rss_bytes();
  }
  std::cout << result.dump() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
  }
}

// --- This process ---

Json measure(const std::string& what, bool ingest, std::size_t count) {
  const TemporaryFolder folder("ingest");
  const auto self = own_folder() + "/coordinator_ingest";
  Child receiver({self, "--role", ingest ? "ingest" : "decode", "--what", what, "--count", std::to_string(count),
                  "--endpoint", "ipc://" + (folder / "coordinator")});
  const auto endpoint = receiver.read_line();
  Child sender({self, "--role", "sender", "--what", what, "--count", std::to_string(count), "--endpoint", endpoint});
  if (sender.read_line() != "ready") fail("the sender has ended");
  sender.write_line("go");
  const auto line = receiver.read_line();
  if (line.empty()) fail("the receiver has ended");
  return Json::parse(line);
}

Json rates(std::size_t events, std::size_t rounds) {
  std::vector<double> ingest, decode, ratios, wall;
  Json last;
  for (std::size_t round = 0; round < rounds; ++round) {
    last = measure("churn", true, events);
    const auto bare = measure("churn", false, events);
    const auto rate = [](const Json& run, const char* clock) {
      return run["events"].get<double>() / run[clock].get<double>() / 1e6;
    };
    ingest.push_back(rate(last, "cpu_s"));
    wall.push_back(rate(last, "wall_s"));
    decode.push_back(rate(bare, "cpu_s"));
    ratios.push_back(ingest.back() / decode.back());
  }
  return {{"part", "rate"},
          {"events", events},
          {"ingest_mevents_per_s", median(ingest)},
          {"ingest_by_the_clock", median(wall)},
          {"decode_mevents_per_s", median(decode)},
          {"ratio", median(ratios)},
          {"search_steps_per_event", last["search_steps"].get<double>() / static_cast<double>(events)},
          {"candidates", last["candidates"]}};
}

Json memory(std::size_t waits) {
  const auto run = measure("standing", true, waits);
  const auto per_wait = [&](const char* bytes) { return run[bytes].get<double>() / static_cast<double>(waits); };
  return {{"part", "memory"},
          {"waits", run["waits"]},
          {"heap_bytes_per_wait", per_wait("heap_bytes")},
          {"rss_bytes_per_wait", per_wait("rss_bytes")}};
}

void print(const Json& row) {
  char line[240];
  if (row["part"] == "rate") {
    std::snprintf(
        line, sizeof line,
        "%zu events: %.2f M/s into graph and search (%.2f by the clock), %.2f M/s decoded only; ratio %.2f (wanted 1 "
        "M/s and 0.5); %.1f steps searched for each",
        row["events"].get<std::size_t>(), row["ingest_mevents_per_s"].get<double>(),
        row["ingest_by_the_clock"].get<double>(), row["decode_mevents_per_s"].get<double>(), row["ratio"].get<double>(),
        row["search_steps_per_event"].get<double>());
  } else {
    std::snprintf(line, sizeof line, "%zu waits stand: %.0f bytes of heap and %.0f resident for each (wanted 250)",
                  row["waits"].get<std::size_t>(), row["heap_bytes_per_wait"].get<double>(),
                  row["rss_bytes_per_wait"].get<double>());
  }
  std::cout << line << std::endl;
}

int run(int argc, char** argv) {
  CLI::App app{"Events taken in per second, next to decoding them only, and memory for each standing wait."};
  std::size_t events = 2'000'000, waits = 1'000'000, rounds = 5, count = 0;
  std::string format = "table", role, endpoint, what;
  app.add_option("--events", events, "waits that begin or end")
      ->capture_default_str()
      ->check(CLI::Range(10'000, 100'000'000));
  app.add_option("--waits", waits, "standing waits")->capture_default_str()->check(CLI::Range(10'000, 4'000'000));
  app.add_option("--rounds", rounds, "of the first part; medians are shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  add_format(app, format);
  add_role(app, role, endpoint);
  app.add_option("--what", what)->group("");
  app.add_option("--count", count)->group("");
  if (const auto code = parsed(app, argc, argv)) return *code;
  if (role == "sender") return run_sender(endpoint, what, count), 0;
  if (!role.empty()) return run_receiver(endpoint, what, role == "ingest", count), 0;
  for (const auto& row : {rates(events, rounds), memory(waits)}) {
    if (format == "json") {
      std::cout << row.dump() << std::endl;
    } else {
      print(row);
    }
  }
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("coordinator_ingest", gordian::bench::run, argc, argv);
}
