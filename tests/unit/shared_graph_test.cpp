// Several coordinators that share the graph by edge chasing: they find what one would find, with so many messages as theory
// says.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <sstream>

#include "trace/replay.hpp"
#include "trace/shared_graph.hpp"

using namespace gordian;
using namespace gordian::trace;

namespace {

/// Random traces of every wait model, over few transactions, sites and resources.
class RandomTrace {
 public:
  explicit RandomTrace(unsigned seed) : random_(seed) {}

  std::string body(int operations) {
    std::string text;
    for (int i = 0; i < operations; ++i) text += operation() + "\n";
    return text + R"({"op": "detect"})" + "\n";
  }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::string txn() { return "\"" + std::to_string(1 + below(9)) + "\""; }
  std::string place() {
    return R"("site": "s)" + std::to_string(below(3)) + R"(", "resource": "r)" + std::to_string(below(3)) + "\"";
  }
  std::string txns(unsigned count) {
    std::vector<unsigned> all(9);
    std::iota(all.begin(), all.end(), 1U);
    std::ranges::shuffle(all, random_);
    std::string text;
    for (unsigned i = 0; i < count; ++i) text += (i == 0 ? "\"" : ", \"") + std::to_string(all[i]) + "\"";
    return "[" + text + "]";
  }
  std::string wait() {
    const auto head = R"({"op": "wait", "txn": )" + txn() + ", " + place();
    switch (below(7)) {
      case 0: return head + R"(, "for": )" + txns(2) + R"(, "need": "any"})";
      case 1: return head + R"(, "for": )" + txns(4) + R"(, "need": 2})";
      case 2: return head + R"(, "for": )" + txns(1) + R"(, "kind": "dotted"})";
      case 3: return head + R"(, "for": )" + txns(1) + R"(, "behind": )" + txns(1) + "}";
      case 4: return head + "}";
      default: return head + R"(, "for": )" + txns(1 + below(2)) + "}";
    }
  }
  std::string operation() {
    switch (below(12)) {
      case 0: return R"({"op": "end", "txn": )" + txn() + "}";
      case 1: return R"({"op": "unwait", "txn": )" + txn() + "}";
      case 2: return R"({"op": "holders", "txns": )" + txns(below(3)) + ", " + place() + "}";
      case 3:
        return R"({"op": "begin", "txn": )" + txn() + R"(, "class": ")" + (below(4) == 0 ? "never" : "normal") + "\"}";
      case 4: return R"({"op": "lost", "site": "s)" + std::to_string(below(3)) + "\"}";
      default: return wait();
    }
  }

  std::mt19937 random_;
};

/// What the trace shows with so many coordinators, as text.
std::string shown(const std::string& body, const std::string& mode) {
  std::istringstream in("{\"op\": \"mode\", " + mode + "}\n" + body);
  const auto outcome = replay(in, "t.jsonl");
  if (outcome.error) FAIL(to_string(*outcome.error));
  std::string text;
  for (const auto& incident : outcome.incidents) text += to_json(incident) + "\n";
  return text;
}

/// A ring of n transactions, each at a coordinator of its own, `order` says which id stands where.
struct Ring {
  explicit Ring(std::size_t n, bool filter, const std::vector<std::size_t>& order) : shared(n, {.filter = filter}) {
    wire::MemberMap map;
    for (std::size_t i = 0; i < n; ++i) map.members.push_back({"c" + std::to_string(i), {}});
    std::vector<std::optional<TxnId>> owned(n);  // by rank of id, at owners that differ
    std::vector<bool> taken(n, false);
    std::size_t rank = 0;
    for (int id = 100'000; rank < n; ++id) {
      const TxnId txn(std::to_string(id));
      const auto owner = wire::owner(map, txn);
      if (!taken[owner]) taken[owner] = true, owned[rank++] = txn;
    }
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<Blocker> blocker{{*owned[order[(i + 1) % n]]}};
      last = *owned[order[i]];
      REQUIRE(shared.begin_wait({0, i + 1}, *owned[order[i]], blocker, {}, graph::need_all));
    }
  }
  SharedGraph shared;
  TxnId last{"-"};
};

std::vector<std::size_t> in_order(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

}  // namespace

TEST_CASE("3, 5 and 16 coordinators show the same incidents as one, over 1500 random traces of every wait model") {
  std::size_t incidents = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    const auto body = RandomTrace(seed).body(40);
    const std::string detect = seed % 3 == 0 ? R"("detect": "on_demand")" : R"("detect": "continuous")";
    const auto one = shown(body, detect);
    incidents += static_cast<std::size_t>(std::ranges::count(one, '\n'));
    for (const auto* const coordinators : {"3", "5", "16"}) {
      const auto many = shown(body, detect + ", \"coordinators\": " + coordinators);
      if (many == one) continue;
      FAIL_CHECK("seed " << seed << ", " << coordinators << " coordinators:\n"
                         << body << "one:\n"
                         << one << "many:\n"
                         << many);
    }
  }
  CHECK(incidents > 1000);
}

TEST_CASE("a ring whose members all start at once: n² probes, and everyone finds it") {
  for (const std::size_t n : {2U, 3U, 8U, 32U}) {
    Ring ring(n, false, in_order(n));
    const auto found = ring.shared.full_pass();
    REQUIRE(found.size() == 1);
    CHECK(found.front().edges.size() == n);
    CHECK(ring.shared.probes() == n * n);
    CHECK(ring.shared.suspects() == n);
  }
}

TEST_CASE("with the filter exactly one finds it, with n·H(n) - (n - 1) probes on average") {
  std::mt19937 random(7);
  for (const std::size_t n : {2U, 8U, 32U}) {
    constexpr int rings = 300;
    std::uint64_t probes = 0;
    for (int i = 0; i < rings; ++i) {
      auto order = in_order(n);
      std::ranges::shuffle(order, random);
      Ring ring(n, true, order);
      REQUIRE(ring.shared.full_pass().size() == 1);
      CHECK(ring.shared.suspects() == 1);
      probes += ring.shared.probes();
    }
    double harmonic = 0;
    for (std::size_t k = 1; k <= n; ++k) harmonic += 1.0 / static_cast<double>(k);
    const auto expected = static_cast<double>(n) * harmonic - static_cast<double>(n - 1);
    CHECK(static_cast<double>(probes) / rings == doctest::Approx(expected).epsilon(0.05));
  }
}

TEST_CASE("a ring that closes with its last wait costs a probe for each edge") {
  for (const std::size_t n : {2U, 8U, 32U}) {
    Ring ring(n, false, in_order(n));
    CHECK(ring.shared.search({0, n}, ring.last).has_value());
    CHECK(ring.shared.probes() == n);
    CHECK(ring.shared.suspects() == 1);
  }
}
