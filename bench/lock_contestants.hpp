// What bench/lock_table compares: each contestant takes exclusive locks on named resources for a transaction and releases
// them. Peers are built only where their library is installed; each lives in a file of its own, for their headers are heavy.
#pragma once

#include <atomic>
#include <gordian/lock_table.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gordian::bench {

inline constexpr std::size_t locks_per_txn = 8;
inline constexpr std::size_t key_bytes = 16;

/// Names one after the other, `key_bytes` each, `locks_per_txn` for each transaction.
using Keys = std::span<const char>;

inline std::string_view key_at(Keys keys, std::size_t place) { return {keys.data() + place * key_bytes, key_bytes}; }

/// Throughout, a lock that another thread holds is skipped: over a million names that happens once in 60 000 locks.
class Contestant {
 public:
  virtual ~Contestant() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// Runs all transactions of `keys` on the calling thread; `thread` counts from 0.
  virtual void run(std::size_t thread, Keys keys) = 0;
};

/// Counts, so that an observer that is called when nobody waits would show.
class CountingObserver : public WaitObserver {
 public:
  void wait_begun(const WaitBegun&) override { ++calls; }
  void wait_ended(WaitNumber, const std::string&, std::uint64_t) override { ++calls; }
  void holder_joined(const std::string&, Mode, const TxnId&, std::uint64_t) override { ++calls; }
  void holder_left(const std::string&, Mode, const TxnId&, std::uint64_t) override { ++calls; }
  void front_changed(const std::string&, Mode, std::optional<WaitNumber>, std::uint64_t) override { ++calls; }
  void resource_calm(const std::string&, std::uint64_t) override { ++calls; }

  std::atomic<std::uint64_t> calls{0};
};

/// Such as "a17": short, and cheap to make.
TxnId txn_id(std::size_t thread, std::uint64_t number);

enum class Detection { off, on };
std::unique_ptr<Contestant> make_gordian(Detection detection);
/// A sharded hash map of the standard library that only inserts and erases; and the same with Abseil's flat map.
std::unique_ptr<Contestant> make_bare_map();
std::unique_ptr<Contestant> make_bare_flat_map();
#ifdef GORDIAN_BENCH_BERKELEY_DB
std::unique_ptr<Contestant> make_berkeley_db(std::size_t threads, const std::string& folder);
#endif
#ifdef GORDIAN_BENCH_ROCKSDB
std::unique_ptr<Contestant> make_rocksdb(std::size_t threads, const std::string& folder);
#endif

}  // namespace gordian::bench
