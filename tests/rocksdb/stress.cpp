// Many threads on two RocksDB sites in one process: rocksdb_stress WORKLOAD COORDINATOR FOLDER TRANSACTIONS.
//
// transfers  each locks two accounts anywhere in any order, and moves money; victims are run again
// orderly    as contended, but no deadlock can arise: some hold a lock at north while they wait at south; the others wait at
//            north only after they have let go of what they had at south
// Prints `NAME=COUNT …`.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "rocksdb/database.hpp"

namespace {

using gordian::rocksdb_agent::Database;
using gordian::rocksdb_agent::Error;
using gordian::rocksdb_agent::Share;
using gordian::rocksdb_agent::Transaction;
using Nothing = tl::expected<void, Error>;

constexpr int threads = 8;
constexpr int accounts = 4;  // of each site
constexpr int money = 1000;  // on each account

struct Counts {
  std::atomic<int> committed{0}, deadlocks{0}, other_errors{0};
};

struct Worker {
  Database& north;
  Database& south;
  std::mt19937 random;
  double start = 0;
  std::string id;

  std::string account() { return "account" + std::to_string(random() % accounts); }
  Transaction begin(Database& site) {
    auto txn = site.begin(gordian::TxnId(id), {.info = {.start = start}});
    if (!txn) {
      std::fprintf(stderr, "%s\n", txn.error().message.c_str());
      std::abort();
    }
    return std::move(*txn);
  }

  static Nothing add(Transaction& txn, const std::string& account, int amount) {
    return txn.get_for_update(account).and_then(
        [&](const std::optional<std::string>& balance) { return txn.put(account, std::to_string(std::stoi(*balance) + amount)); });
  }

  Nothing transfer() {
    auto here = begin(north);
    auto there = begin(south);
    auto& from = random() % 2 == 0 ? here : there;
    auto& to = random() % 2 == 0 ? here : there;
    // A shared lock first, now and then: then the writing one is an upgrade.
    if (random() % 4 == 0) {
      if (auto read = from.get_for_update(account(), Share::shared); !read) return tl::unexpected(read.error());
    }
    return add(from, account(), -1)
        .and_then([&] { return add(to, account(), +1); })
        .and_then([&] { return here.commit(); })
        .and_then([&] { return there.commit(); });
  }

  Nothing orderly() {
    auto here = begin(north);
    auto there = begin(south);
    if (random() % 2 == 0)  // lets go of south before it waits at north
      return add(there, account(), 0)
          .and_then([&] { return random() % 2 == 0 ? there.commit() : there.rollback(); })
          .and_then([&] { return add(here, account(), 0); })
          .and_then([&] { return here.commit(); });
    return add(here, account(), 0)
        .and_then([&] { return add(there, account(), 0); })
        .and_then([&] { return there.commit(); })
        .and_then([&] { return here.commit(); });
  }
};

Database open(const std::string& site, const std::string& coordinator, const std::string& folder) {
  gordian::rocksdb_agent::Options options{
      .path = folder + "/" + site, .agent = {.coordinator = coordinator, .site = gordian::SiteId(site), .publish_after = {}}};
  options.engine.create_if_missing = true;
  auto opened = Database::open(std::move(options));
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    std::abort();
  }
  for (int i = 0; i < accounts; ++i)
    if (!opened->raw().Put({}, "account" + std::to_string(i), std::to_string(money)).ok()) std::abort();
  return std::move(*opened);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: rocksdb_stress transfers|orderly COORDINATOR FOLDER TRANSACTIONS\n");
    return 2;
  }
  const bool transfers = std::string(argv[1]) == "transfers";
  auto north = open("north", argv[2], argv[3]);
  auto south = open("south", argv[2], argv[3]);
  Counts counts;
  std::atomic<int> next{0};
  std::vector<std::thread> workers;
  for (unsigned seed = 0; seed < threads; ++seed) {
    workers.emplace_back([&, seed] {
      Worker worker{north, south, std::mt19937(seed)};
      for (int n = next++; n < std::atoi(argv[4]); n = next++) {
        worker.start = n;
        worker.id = "T" + std::to_string(n);
        auto done = transfers ? worker.transfer() : worker.orderly();
        while (!done && done.error().code == Error::Code::deadlock) {
          ++counts.deadlocks;
          done = transfers ? worker.transfer() : worker.orderly();
        }
        ++(done ? counts.committed : counts.other_errors);
      }
    });
  }
  for (auto& worker : workers) worker.join();

  int sum = 0;
  for (auto* site : {&north, &south})
    for (int i = 0; i < accounts; ++i) {
      std::string balance;
      if (!site->raw().Get({}, "account" + std::to_string(i), &balance).ok()) return 1;
      sum += std::stoi(balance);
    }
  std::printf("committed=%d deadlocks=%d other_errors=%d sum=%d waits=%zu\n", counts.committed.load(), counts.deadlocks.load(),
              counts.other_errors.load(), sum, north.status().waits + south.status().waits);
  return 0;
}
