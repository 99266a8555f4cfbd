// Gordian's own table, and the bare maps that say what a lock table can't be faster than.
#include "lock_contestants.hpp"

#include <absl/container/flat_hash_map.h>

#include <array>
#include <charconv>
#include <gordian/lock_table.hpp>
#include <mutex>
#include <unordered_map>

namespace gordian::bench {
namespace {

class Gordian : public Contestant {
 public:
  explicit Gordian(Detection detection)
      : detection_(detection), table_({.observer = detection == Detection::on ? &observer_ : nullptr}) {}

  std::string name() const override { return detection_ == Detection::on ? "Gordian, detection on" : "Gordian"; }

  void run(std::size_t thread, Keys keys) override {
    std::uint64_t number = 0;
    LockTxn txn = table_.begin({.id = txn_id(thread, number)});
    const LockOptions no_wait{.wait = false};
    for (std::size_t i = 0; i < keys.size() / key_bytes; ++i) {
      if (i % locks_per_txn == 0) txn.restart({.id = txn_id(thread, ++number)});
      (void)txn.lock(key_at(keys, i), modes::X, no_wait);
    }
  }

 private:
  Detection detection_;
  CountingObserver observer_;
  LockTable table_;
};

template <class Map>
class BareMap : public Contestant {
 public:
  explicit BareMap(std::string name) : name_(std::move(name)) {}
  std::string name() const override { return name_; }

  void run(std::size_t thread, Keys keys) override {
    for (std::size_t i = 0; i < keys.size() / key_bytes; i += locks_per_txn) {
      for (std::size_t k = i; k < i + locks_per_txn; ++k) {
        const auto key = key_at(keys, k);
        Shard& shard = shard_of(key);
        const std::lock_guard guard(shard.mutex);
        shard.map.try_emplace(std::string(key), thread);
      }
      for (std::size_t k = i; k < i + locks_per_txn; ++k) {
        const auto key = key_at(keys, k);
        Shard& shard = shard_of(key);
        const std::lock_guard guard(shard.mutex);
        shard.map.erase(std::string(key));
      }
    }
  }

 private:
  struct alignas(64) Shard {
    std::mutex mutex;
    Map map;
  };
  Shard& shard_of(std::string_view key) { return shards_[std::hash<std::string_view>{}(key) >> 58]; }

  std::string name_;
  std::array<Shard, 64> shards_;
};

}  // namespace

TxnId txn_id(std::size_t thread, std::uint64_t number) {
  char text[24];
  text[0] = static_cast<char>('a' + thread);
  const auto end = std::to_chars(text + 1, text + sizeof text, number).ptr;
  return TxnId(std::string(text, end));
}

std::unique_ptr<Contestant> make_gordian(Detection detection) { return std::make_unique<Gordian>(detection); }

std::unique_ptr<Contestant> make_bare_map() {
  return std::make_unique<BareMap<std::unordered_map<std::string, std::size_t>>>("bare std map");
}
std::unique_ptr<Contestant> make_bare_flat_map() {
  return std::make_unique<BareMap<absl::flat_hash_map<std::string, std::size_t>>>("bare flat map");
}

}  // namespace gordian::bench
