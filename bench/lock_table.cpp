// How fast locks are taken and released: eight exclusive locks for each transaction over a million names, then release, next
// to Berkeley DB's lock subsystem and RocksDB's pessimistic transactions (where installed), and to a bare sharded hash map.
//
// The contestants take turns in short batches, so that a busy machine disturbs all of them alike; figures are medians over
// the rounds, ratios are medians of each round's ratio. Unit: millions of locks taken and released in a second.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "common.hpp"
#include "lock_contestants.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t names = 1'000'000;

/// Names such as "accounts/0123456", in random order.
std::vector<char> random_keys(std::size_t txns, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<char> keys;
  keys.reserve(txns * locks_per_txn * key_bytes);
  for (std::size_t i = 0; i < txns * locks_per_txn; ++i) {
    std::string key = std::to_string(random() % names);
    key = "accounts/" + std::string(key_bytes - 9 - key.size(), '0') + key;
    keys.insert(keys.end(), key.begin(), key.end());
  }
  return keys;
}

/// One batch on `threads` threads; the result in millions of locks a second.
double batch(Contestant& contestant, const std::vector<std::vector<char>>& keys) {
  std::barrier together(static_cast<std::ptrdiff_t>(keys.size()));
  std::vector<std::thread> others;
  for (std::size_t thread = 1; thread < keys.size(); ++thread)
    others.emplace_back([&, thread] {
      together.arrive_and_wait();
      contestant.run(thread, keys[thread]);
      together.arrive_and_wait();
    });
  together.arrive_and_wait();
  const auto start = Clock::now();
  contestant.run(0, keys[0]);
  together.arrive_and_wait();
  const std::chrono::duration<double, std::micro> took = Clock::now() - start;
  for (auto& other : others) other.join();
  return static_cast<double>(keys.size() * keys[0].size() / key_bytes) / took.count();
}

using Contestants = std::vector<std::unique_ptr<Contestant>>;

Contestants all_contestants(std::size_t threads, const std::filesystem::path& folder) {
  Contestants all;
  all.push_back(make_gordian(Detection::off));
  all.push_back(make_gordian(Detection::on));
  all.push_back(make_bare_map());
  all.push_back(make_bare_flat_map());
#ifdef GORDIAN_BENCH_BERKELEY_DB
  std::filesystem::create_directories(folder / "berkeley");
  all.push_back(make_berkeley_db(threads, folder / "berkeley"));
#endif
#ifdef GORDIAN_BENCH_ROCKSDB
  std::filesystem::create_directories(folder / "rocksdb");
  all.push_back(make_rocksdb(threads, folder / "rocksdb"));
#endif
  (void)threads, (void)folder;
  return all;
}

/// Each contestant's rate in each round; who goes first changes from round to round.
std::vector<std::vector<double>> measure(const Contestants& all, std::size_t threads, std::size_t rounds,
                                         std::size_t txns) {
  std::vector<std::vector<double>> rates(all.size());
  for (std::size_t round = 0; round <= rounds; ++round) {
    std::vector<std::vector<char>> keys;
    for (std::size_t thread = 0; thread < threads; ++thread)
      keys.push_back(random_keys(txns, round * threads + thread));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t who = (i + round) % all.size();
      const double rate = batch(*all[who], keys);
      if (round > 0) rates[who].push_back(rate);  // the first round warms up
    }
  }
  return rates;
}

Json report(const Contestants& all, std::size_t threads, std::size_t rounds, std::size_t txns) {
  const auto rates = measure(all, threads, rounds, txns);
  Json rows = Json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < rounds; ++round) ratios.push_back(rates[0][round] / rates[i][round]);
    rows.push_back({{"threads", threads},
                    {"contestant", all[i]->name()},
                    {"mlocks_per_s", median(rates[i])},
                    {"gordian_to_it", median(ratios)}});
  }
  return rows;
}

/// What passing on a lock costs that `waiters` wait for: each holder releases, and the next one gets it. Detection is on.
Json hot_resource(std::size_t waiters) {
  constexpr std::size_t handovers = 100;
  std::vector<double> rounds;
  double events = 0;
  for (int round = 0; round < 21; ++round) {
    CountingObserver observer;
    LockTable table({.observer = &observer});
    std::vector<LockTxn> txns;
    for (std::size_t i = 0; i <= waiters; ++i) {
      txns.push_back(table.begin({.id = txn_id(0, i)}));
      (void)txns.back().lock("hot", modes::X);
    }
    const std::uint64_t before = observer.calls;
    const auto start = Clock::now();
    for (std::size_t i = 0; i < handovers; ++i) txns[i].release_all();
    const std::chrono::duration<double, std::nano> took = Clock::now() - start;
    rounds.push_back(took.count() / handovers);
    events = static_cast<double>(observer.calls - before) / handovers;
  }
  return {{"waiters", waiters}, {"ns_per_handover", median(rounds)}, {"observer_calls_per_handover", events}};
}

void print_hot(const Json& row) {
  std::cout << "hot resource, " << row["waiters"].get<int>() << " waiters: " << row["ns_per_handover"].get<int>()
            << " ns and " << row["observer_calls_per_handover"].get<double>() << " observer calls per hand-over\n";
}

void print(const Json& rows) {
  for (const auto& row : rows) {
    char line[120];
    std::snprintf(line, sizeof line, "%d thread%s  %-24s %7.2f M locks/s   Gordian is %5.2f x",
                  row["threads"].get<int>(), row["threads"] == 1 ? " " : "s",
                  row["contestant"].get<std::string>().c_str(), row["mlocks_per_s"].get<double>(),
                  row["gordian_to_it"].get<double>());
    std::cout << line << '\n';
  }
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  using namespace gordian::bench;
  CLI::App app{"Locks taken and released per second, next to other lock managers in the same run."};
  std::size_t rounds = 15, txns = 10'000;
  std::vector<std::size_t> threads{1, 2};
  std::string format = "table";
  app.add_option("--rounds", rounds, "batches of each contestant")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--txns", txns, "transactions per thread and batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  app.add_option("--threads", threads, "numbers of threads")->capture_default_str()->check(CLI::Range(1, 26));
  add_format(app, format);
  if (const auto code = parsed(app, argc, argv)) return *code;
  const auto folder =
      std::filesystem::temp_directory_path() / ("gordian-lock-table-" + std::to_string(std::random_device{}()));
  int code = 0;
  try {
    for (const std::size_t n : threads) {
      const auto all = all_contestants(n, folder / std::to_string(n));
      const auto rows = report(all, n, rounds, txns);
      if (format == "json") {
        std::cout << rows.dump() << '\n';
      } else {
        print(rows);
      }
    }
  } catch (const std::exception& error) {
    std::cerr << "lock_table: " << error.what() << '\n';
    code = 2;
  }
  for (const std::size_t waiters : {100, 1'000, 10'000}) {
    const auto row = hot_resource(waiters);
    if (format == "json") {
      std::cout << row.dump() << '\n';
    } else {
      print_hot(row);
    }
  }
  std::filesystem::remove_all(folder);
  return code;
}
