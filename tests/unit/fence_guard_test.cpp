// The fence guard: whoever comes with less than was seen is refused, also while many write at once.
#include <doctest/doctest.h>

#include <gordian/fence_guard.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace gordian;

TEST_CASE("older fences are refused, the same and newer ones admitted, each name for itself") {
  FenceGuard guard;
  CHECK(guard.admit("a", {1, 5}).has_value());
  CHECK(guard.admit("a", {1, 5}).has_value());
  CHECK(guard.admit("a", {2, 1}).has_value());
  int written = 0;
  const auto stale = guard.admit("a", {1, 9}, [&] { ++written; });
  REQUIRE(!stale);
  CHECK(written == 0);
  CHECK(stale.error().seen == Fence{2, 1});
  CHECK(stale.error().message.find("(1, 9) is older than (2, 1)") != std::string::npos);
  CHECK(guard.admit("b", {1, 1}).has_value());
  CHECK(!guard.admit("b", {0, 0}));
  CHECK(guard.seen("a") == Fence{2, 1});
  CHECK(!guard.seen("c"));
}

TEST_CASE("a write that throws admits nothing") {
  FenceGuard guard;
  CHECK_THROWS_AS((void)guard.admit("a", {9, 9}, [] { throw std::runtime_error("disk full"); }), std::runtime_error);
  CHECK(!guard.seen("a"));
  CHECK(guard.admit("a", {1, 1}).has_value());
}

TEST_CASE("a guard that was told what it knew before admits no stale holder; and it has a limit") {
  FenceGuard guard(2);
  guard.restore("a", {3, 3});
  guard.restore("a", {2, 2});
  CHECK(!guard.admit("a", {3, 2}));
  CHECK(guard.admit("b", {1, 1}).has_value());
  const auto full = guard.admit("c", {1, 1});
  REQUIRE(!full);
  CHECK(full.error().message.find("limit") != std::string::npos);
  CHECK(guard.admit("b", {1, 2}).has_value());
}

TEST_CASE("threads: writes under one name follow one another, with fences that never go back") {
  FenceGuard guard;
  std::vector<Fence> written;  // ThreadSanitizer sees two that write at once
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 1; i <= 2000; ++i) {
        const Fence fence{1, i * 4 + t};
        (void)guard.admit("hot", fence, [&] { written.push_back(fence); });
        (void)guard.admit("own" + std::to_string(t), fence);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(std::is_sorted(written.begin(), written.end()));
  CHECK(written.back() == Fence{1, 8003});
}
