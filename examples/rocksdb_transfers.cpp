// Two RocksDB databases, two transfers that cross: each holds an account in one and waits for an account in the other.
//
// Start `gordiand`, then `rocksdb_transfers FOLDER` (GORDIAN_COORDINATOR names another coordinator than the local one). Neither
// database sees a deadlock. One transfer is aborted and run again; both end.
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "rocksdb/database.hpp"

namespace {

using gordian::rocksdb_agent::Database;
using gordian::rocksdb_agent::Error;

struct Bank {
  Database& database;
  std::string name;
};

tl::expected<void, Error> add(gordian::rocksdb_agent::Transaction& txn, const char* account, int amount) {
  return txn.get_for_update(account).and_then([&](const std::optional<std::string>& balance) {
    return txn.put(account, std::to_string(std::stoi(balance.value_or("0")) + amount));
  });
}

/// Moves 10 from one bank to the other, in one transaction that has a branch in each. `both_hold`: waits there, once it has
/// locked what it takes from. (The two commits are not atomic: that is the task of a two-phase commit, not of this example.)
template <class Wait>
tl::expected<void, Error> transfer(const std::string& id, double start, Bank from, Bank to, Wait both_hold) {
  const gordian::rocksdb_agent::TxnOptions options{.info = {.start = start, .label = "transfer"}};
  auto source = from.database.begin(gordian::TxnId(id), options);
  if (!source) return tl::unexpected(source.error());
  auto target = to.database.begin(gordian::TxnId(id), options);
  if (!target) return tl::unexpected(target.error());
  const auto taken = add(*source, "account", -10);
  both_hold();
  return taken.and_then([&] { return add(*target, "account", +10); })
      .and_then([&] { return source->commit(); })
      .and_then([&] { return target->commit(); });
  // Without the commits, the destruction of both branches rolls them back.
}

/// Until it succeeds; it keeps its first start, so it grows older and wins some day.
void insist(const std::string& id, double start, Bank from, Bank to, std::barrier<>& barrier) {
  auto done = transfer(id, start, from, to, [&] { barrier.arrive_and_wait(); });
  while (!done && done.error().code == Error::Code::deadlock) {
    std::printf("%s: aborted, deadlock %s\n", id.c_str(), done.error().incident.c_str());
    done = transfer(id, start, from, to, [] {});
  }
  std::printf("%s: %s\n", id.c_str(), done ? "committed" : done.error().message.c_str());
}

tl::expected<Database, Error> open(const std::string& folder, const std::string& site) {
  const char* coordinator = std::getenv("GORDIAN_COORDINATOR");
  gordian::rocksdb_agent::Options options{
      .path = folder + "/" + site,
      .agent = {.coordinator = coordinator != nullptr ? coordinator : "tcp://127.0.0.1:7410",
                .site = gordian::SiteId(site)}};
  options.engine.create_if_missing = true;
  return Database::open(std::move(options));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: rocksdb_transfers FOLDER\n");
    return 2;
  }
  auto north = open(argv[1], "north");
  auto south = open(argv[1], "south");
  for (auto* database : {&north, &south}) {
    if (*database) continue;
    std::fprintf(stderr, "%s\n", database->error().message.c_str());
    return 2;
  }
  const Bank n{*north, "north"};
  const Bank s{*south, "south"};
  std::barrier barrier(2);
  std::thread first([&] { insist("transfer-1", 1, n, s, barrier); });
  std::thread second([&] { insist("transfer-2", 2, s, n, barrier); });
  first.join();
  second.join();

  for (const auto& bank : {n, s}) {
    auto reader = bank.database.begin(gordian::TxnId("reader"));
    const auto balance = reader ? reader->get("account") : tl::unexpected(reader.error());
    std::printf("%s: %s\n", bank.name.c_str(),
                balance ? balance->value_or("none").c_str() : balance.error().message.c_str());
  }
  return 0;
}
