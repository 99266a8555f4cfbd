// The lock service over the network: gordian-agent and LockClient, real processes on loopback, next to raw ZeroMQ round trips and to
// Redis (SET NX PX, DEL) in the same run and in turn with them.
//
// latency    lock and unlock by one client, blocking calls, next to two raw round trips
// sessions   pairs of lock and unlock per second, by many sessions of one client process, next to as many Redis connections
// hot        what passing on a lock costs that many wait for: time, messages to the coordinator, changes in its graph
// deadlock   from the closing request to the victim's error, across two agents, next to a raw round trip (floor: 3)
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <future>
#include <gordian/lock_client.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "common.hpp"
#include "redis_peer.hpp"
#include "services.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

using namespace std::chrono_literals;

// --- The programs ---

Child start_echo(const TemporaryFolder& folder, const std::string& transport) {
  return Child({own_folder() + "/lock_service", "--role", "echo", "--endpoint",
                transport == "ipc" ? "ipc://" + (folder / "echo") : std::string("tcp://127.0.0.1:*")});
}

// --- Latency ---

Json latency(const std::string& transport, int rounds) {
  const TemporaryFolder folder("latency-" + transport);
  const Services services(folder, transport, 1);
  Child echo = start_echo(folder, transport);
  Dealer raw(echo.read_line());
  const auto client = services.client();
  auto session = must(const_cast<LockClient&>(client).open());
  auto txn = must(session.begin());
  const std::string message(90, 'x');  // about what a lock request takes
  std::vector<double> pair_us, raw_us, ratios;
  constexpr int batch = 20;
  for (int round = -10; round < rounds; ++round) {
    std::vector<double> pairs, raws;
    for (int i = 0; i < batch; ++i) {
      const auto start = Clock::now();
      (void)raw.ask(message);
      (void)raw.ask(message);
      raws.push_back(us_since(start));
    }
    for (int i = 0; i < batch; ++i) {
      const auto start = Clock::now();
      const auto grant = must(txn.lock("accounts/" + std::to_string(i)));
      must(txn.unlock(grant));
      pairs.push_back(us_since(start));
    }
    if (round < 0) continue;
    pair_us.insert(pair_us.end(), pairs.begin(), pairs.end());
    raw_us.insert(raw_us.end(), raws.begin(), raws.end());
    ratios.push_back(median(pairs) / median(raws));
  }
  return {{"part", "latency"},
          {"transport", transport},
          {"lock_and_unlock_us", median(pair_us)},
          {"p99_us", percentile(pair_us, 99)},
          {"two_round_trips_us", median(raw_us)},
          {"ratio", median(ratios)},
          {"wanted", "<= 1.2"}};
}

// --- Many sessions ---

/// Sessions that lock and unlock as fast as answers come, driven by callbacks.
class Load {
 public:
  Load(LockClient& client, std::size_t sessions) {
    for (std::size_t i = 0; i < sessions; ++i) {
      auto session = must(client.open());
      auto txn = must(session.begin());
      workers_.push_back(
          std::make_unique<Worker>(Worker{std::move(session), std::move(txn), "lock:" + std::to_string(i)}));
    }
  }

  double pairs_per_second(std::chrono::milliseconds duration) {
    pairs_ = 0;
    busy_ = workers_.size();
    stop_ = false;
    done_ = {};
    auto done = done_.get_future();
    const auto start = Clock::now();
    for (auto& worker : workers_) lock(*worker);
    std::this_thread::sleep_for(duration);
    stop_ = true;
    if (done.wait_for(give_up_after) != std::future_status::ready) fail("not all sessions came to an end");
    return static_cast<double>(pairs_) / (us_since(start) / 1e6);
  }

 private:
  struct Worker {
    LockSession session;
    LockTransaction txn;
    std::string name;
  };

  void lock(Worker& worker) {
    worker.txn.lock_async(worker.name, modes::X, {}, [this, &worker](tl::expected<Grant, LockError> grant) {
      worker.txn.unlock_async(must(std::move(grant)), [this, &worker](tl::expected<void, LockError> done) {
        must(std::move(done));
        ++pairs_;
        if (!stop_) return lock(worker);
        if (--busy_ == 0) done_.set_value();
      });
    });
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<std::size_t> pairs_{0}, busy_{0};
  std::atomic<bool> stop_{false};
  std::promise<void> done_;
};

Json sessions(std::size_t count, int rounds) {
  const TemporaryFolder folder("sessions-" + std::to_string(count));
  const Services services(folder, "tcp", 1);
  const auto redis = Redis::start(folder / "");
  auto client = services.client();
  Load load(client, count);
  std::vector<double> ours, theirs, ratios;
  for (int round = -1; round < rounds; ++round) {
    const double rate = load.pairs_per_second(500ms);
    const double peer = redis ? redis->pairs_per_second(count, 500ms) : 0;
    if (round < 0) continue;
    ours.push_back(rate);
    if (!redis) continue;
    theirs.push_back(peer);
    ratios.push_back(rate / peer);
  }
  Json row{{"part", "sessions"}, {"sessions", count}, {"pairs_per_s", median(ours)}};
  if (redis) {
    row["redis_pairs_per_s"] = median(theirs);
    row["ratio"] = median(ratios);
    if (count >= 16) row["wanted"] = count < 64 ? ">= 1" : ">= 2";
  }
  return row;
}

// --- A hot resource ---

/// Many transactions wait for one lock; each that gets it gives it on at once.
Json hot(std::size_t waiters) {
  const TemporaryFolder folder("hot-" + std::to_string(waiters));
  const Services services(folder, "tcp", 1);
  auto client = services.client();
  auto session = must(client.open({.ttl = 60s, .on_jeopardy = {}, .on_lost = {}}));
  std::vector<LockTransaction> txns;
  for (std::size_t i = 0; i <= waiters; ++i) txns.push_back(must(session.begin()));
  constexpr std::size_t handovers = 90;
  std::atomic<std::size_t> granted{0};
  std::promise<void> all;
  const auto held = must(txns[0].lock("hot"));
  std::function<void(std::size_t)> wait_in_line = [&](std::size_t i) {
    txns[i].lock_async("hot", modes::X, {}, [&, i](tl::expected<Grant, LockError> grant) {
      if (!grant) return;  // at the end
      if (++granted == handovers) return all.set_value();
      if (granted < handovers) txns[i].unlock_async(*grant, [](tl::expected<void, LockError>) {});
    });
  };
  for (std::size_t i = 1; i <= waiters; ++i) wait_in_line(i);
  wait_until([&] { return services.coordinator_status()["waits"] == waiters; },
             "all waits are known to the coordinator");

  const auto settled = [&](const Json& before) {  // until the coordinator has what the agent sent
    wait_until([&] { return services.coordinator_status()["waits"] == waiters - handovers; },
               "the hand-overs are known");
    const auto after = services.coordinator_status()["counters"];
    Json difference = Json::object();
    for (const auto& [key, value] : after.items()) difference[key] = value.get<double>() - before.value(key, 0.0);
    return difference;
  };
  const auto counters = services.coordinator_status()["counters"];
  const auto deltas = services.agent_status(0)["coordinator"]["deltas_sent"].get<double>();
  const auto start = Clock::now();
  must(txns[0].unlock(held));
  if (all.get_future().wait_for(give_up_after) != std::future_status::ready) fail("the lock was not passed on");
  const double us = us_since(start);
  const Json difference = settled(counters);
  const double messages = services.agent_status(0)["coordinator"]["deltas_sent"].get<double>() - deltas;
  session.close();
  return {{"part", "hot"},
          {"waiters", waiters},
          {"us_per_handover", us / handovers},
          {"messages_per_handover", messages / handovers},
          {"changes_per_handover", difference.value("changes", 0.0) / handovers},
          {"graph_changes_per_handover", difference.value("graph_changes", 0.0) / handovers},
          {"search_steps_per_handover", difference.value("search_steps", 0.0) / handovers}};
}

// --- A deadlock across two agents ---

Json deadlock(const std::string& transport, int rounds) {
  const TemporaryFolder folder("deadlock-" + transport);
  const Services services(folder, transport, 2);
  Child echo = start_echo(folder, transport);
  Dealer raw(echo.read_line());
  auto first = services.client();
  auto second = services.client();
  auto session1 = must(first.open({.ttl = 60s, .on_jeopardy = {}, .on_lost = {}}));
  auto session2 = must(second.open({.ttl = 60s, .on_jeopardy = {}, .on_lost = {}}));
  const AcquireOptions at_a{.wait = {}, .site = SiteId("a")}, at_b{.wait = {}, .site = SiteId("b")};
  const std::string message(90, 'x');
  constexpr auto rest = 2ms;
  std::vector<double> raw_us, error_us;
  for (int round = -20; round < rounds; ++round) {
    auto older = must(session1.begin({.id = {}, .start = 1.0}));
    auto younger = must(session2.begin({.id = {}, .start = 2.0}));
    (void)must(older.lock("r", modes::X, at_a));
    (void)must(younger.lock("r", modes::X, at_b));
    std::promise<void> got;
    older.lock_async("r", modes::X, at_b, [&](tl::expected<Grant, LockError> grant) {
      (void)must(std::move(grant));
      got.set_value();
    });
    wait_until([&] { return services.coordinator_status()["waits"] == 1; }, "one wait is known");
    std::this_thread::sleep_for(rest);
    auto start = Clock::now();
    (void)raw.ask(message);
    const double one_raw_us = us_since(start);
    std::this_thread::sleep_for(rest);
    start = Clock::now();
    const auto grant = younger.lock("r", modes::X, at_a);
    const double one_error_us = us_since(start);
    if (grant || grant.error().code != LockError::Code::deadlock) fail("the younger one was not the victim");
    if (got.get_future().wait_for(give_up_after) != std::future_status::ready)
      fail("the older one did not get its lock");
    (void)younger.end();  // says again that it was aborted
    must(older.end());
    wait_until([&] { return services.coordinator_status()["waits"] == 0; }, "all waits are over");
    if (round < 0) continue;
    raw_us.push_back(one_raw_us);
    error_us.push_back(one_error_us);
  }
  return {{"part", "deadlock"},
          {"transport", transport},
          {"to_the_error_us", median(error_us)},
          {"p99_us", percentile(error_us, 99)},
          {"round_trip_us", median(raw_us)},
          {"ratio", median(error_us) / median(raw_us)},
          {"wanted", "<= 4"}};
}

void print(const Json& row) {
  for (const auto& [key, value] : row.items()) {
    if (value.is_number_float()) {
      char text[64];
      std::snprintf(text, sizeof text, "%.2f", value.get<double>());
      std::cout << key << " " << text << "  ";
    } else {
      std::cout << (key == "part" ? "" : key + " ") << (value.is_string() ? value.get<std::string>() : value.dump())
                << "  ";
    }
  }
  std::cout << std::endl;
}

int run(int argc, char** argv) {
  int rounds = 15;
  std::vector<std::string> parts{"latency", "sessions", "hot", "deadlock"};
  std::string format = "table", role, endpoint;
  CLI::App app("Locks over the network, next to raw ZeroMQ and to Redis in the same run.");
  app.add_option("--rounds", rounds, "batches; latency and deadlock take 20 times as many")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--parts", parts, "latency, sessions, hot, deadlock")
      ->delimiter(',')
      ->check(CLI::IsMember({"latency", "sessions", "hot", "deadlock"}));
  add_format(app, format);
  add_role(app, role, endpoint);
  if (const auto code = parsed(app, argc, argv)) return *code;
  if (role == "echo") run_echo(endpoint);
  const auto show = [&](const Json& row) {
    format == "json" ? void(std::cout << row.dump() << std::endl) : print(row);
  };
  std::cerr << cpu_model() << ", " << std::thread::hardware_concurrency() << " cores\n";
  const auto wanted = [&](const char* part) { return std::find(parts.begin(), parts.end(), part) != parts.end(); };
  if (wanted("latency"))
    for (const char* transport : {"tcp", "ipc"}) show(latency(transport, rounds * 20));
  if (wanted("sessions"))
    for (const std::size_t count : {1, 16, 64}) show(sessions(count, rounds));
  if (wanted("hot"))
    for (const std::size_t waiters : {100, 1'000, 10'000}) show(hot(waiters));
  if (wanted("deadlock"))
    for (const char* transport : {"tcp", "ipc"}) show(deadlock(transport, rounds * 20));
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) { return gordian::bench::run_program("lock_service", gordian::bench::run, argc, argv); }
