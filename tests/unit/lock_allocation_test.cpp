// What a lock costs in memory: nothing without contention, and what is held at most.
#include <doctest/doctest.h>

#include <cstdlib>
#include <gordian/lock_table.hpp>
#include <new>
#include <string>
#include <vector>

namespace {

thread_local std::size_t allocations = 0;

}  // namespace

// The whole program counts; only this file reads the count.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace gordian;

TEST_CASE("locks without contention allocate nothing once the transaction's list has grown") {
  LockTable table;
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back("accounts/" + std::to_string(1'000'000 + i));
  LockTxn txn = table.begin({.id = TxnId("T0")});
  const auto round = [&](int number) {
    txn.restart({.id = TxnId("T" + std::to_string(number))});
    for (int i = 0; i < 8; ++i)
      REQUIRE(txn.lock(keys[static_cast<std::size_t>(number * 8 + i) % keys.size()], modes::X));
  };
  for (int i = 0; i < 125; ++i) round(i);
  const std::size_t before = allocations;
  for (int i = 0; i < 125; ++i) round(i);
  CHECK(allocations == before);
  REQUIRE(txn.lock("another name, which is longer than a head has room for", modes::X));
  CHECK(allocations == before + 1);
}

TEST_CASE(
    "a transaction with 100000 locks, half of them shared with another, takes and releases them in moderate time") {
  // A search of the whole list for each lock would take 5 billion steps here.
  LockTable table;
  LockTxn one = table.begin({.id = TxnId("one")}), other = table.begin({.id = TxnId("other")});
  for (int i = 0; i < 100'000; ++i) {
    const std::string key = std::to_string(i);
    REQUIRE(one.lock(key, modes::S));
    if (i % 2 == 0) REQUIRE(other.lock(key, modes::S));
    REQUIRE(one.lock(key, modes::S));
  }
  CHECK(one.held() == 100'000);
  for (int i = 0; i < 100'000; ++i) REQUIRE(one.unlock(std::to_string(i)));
  CHECK(one.held() == 100'000);
  one.release_all();
  other.release_all();
  CHECK(table.resources().empty());
  CHECK(table.check_invariants() == "");
}
