// Random faults: clients and servers that lose messages, pause and crash, while everybody takes and gives back locks. At no time
// may two clients both be sure of locks that conflict, and afterwards everything must come free.
#include "lock_world.hpp"

using namespace gordian;
using namespace gordian::test;
using namespace gordian::modes;

namespace {

constexpr Micros ttl_us = 2'000'000;
constexpr std::size_t clients_count = 4, sites_count = 2, names_count = 4;

struct Worker {
  SessionKey session{};
  TxnKey txn{};
  std::vector<CallKey> calls{};
};

class Storm {
 public:
  explicit Storm(std::uint64_t seed)
      : world(sites_count, clients_count), random_(seed), workers_(clients_count), down_(sites_count, 0) {
    world.letters_max = 0;
    world.random.seed(seed);
    for (std::size_t c = 0; c < clients_count; ++c) restart(c);
    world.lose = [this](const Letter&) { return chance(loss_percent_); };
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      loss_percent_ = i / 200 % 2 == 0 ? 0 : 10;
      for (std::size_t c = 0; c < clients_count; ++c) act(c);
      for (std::size_t s = 0; s < sites_count; ++s) disturb(s);
      world.pass(20'000, 20'000);
      check();
    }
  }

  /// Everybody ends; whatever was lost, nothing stays locked.
  void finish() {
    loss_percent_ = 0;
    for (std::size_t s = 0; s < sites_count; ++s)
      if (!world.sites[s].up) world.sites[s].restart(world.now, ttl_us);
    for (std::size_t c = 0; c < clients_count; ++c) {
      world.paused[c] = false;
      world.client(c).drop(workers_[c].txn, world.now);
    }
    world.pass(3 * ttl_us);
    for (std::size_t c = 0; c < clients_count; ++c) reclaimed += world.client(c).status().reclaims;
    for (auto& site : world.sites) {
      CHECK(site.server->holds_nothing());
      CHECK(site.server->status().waiting == 0);
      CHECK(site.server->table().check_invariants() == "");
    }
  }

  LockWorld world;
  std::size_t granted = 0, lost = 0, reclaimed = 0;

 private:
  bool chance(unsigned percent) { return random_() % 100 < percent; }

  void restart(std::size_t c) {
    workers_[c].session = world.open(ttl_us, c);
    workers_[c].txn = world.begin(workers_[c].session, {}, c);
  }

  void act(std::size_t c) {
    if (world.paused[c]) {
      if (chance(2)) world.paused[c] = false;
      return;
    }
    if (chance(1) && chance(50)) {
      world.paused[c] = true;
      return;
    }
    Worker& worker = workers_[c];
    ClientCore& core = world.client(c);
    const auto held = core.held(worker.txn);
    const auto name = std::string(1, static_cast<char>('p' + random_() % names_count));
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
        worker.calls.push_back(
            world.lock(worker.txn, name, chance(50) ? S : X, {.wait = std::chrono::milliseconds(random_() % 500)}, c));
        break;
      case 3: {
        const std::vector<LockItem> items{{"p", S}, {"q", X}, {"s", S}};
        worker.calls.push_back(
            core.lock(worker.txn, items, {.options = {.wait = std::chrono::milliseconds(300)}}, world.now));
        break;
      }
      case 4:
      case 5:
      case 6:
      case 7:
        if (!held.empty()) (void)core.unlock(worker.txn, held[random_() % held.size()], world.now);
        break;
      case 8:
        if (!held.empty()) (void)core.downgrade(worker.txn, held[random_() % held.size()], S, world.now);
        break;
      case 9: core.cancel_all(worker.txn, world.now); break;
      case 10:
        if (chance(20)) {
          core.drop(worker.txn, world.now);
          if (const auto txn = core.begin(worker.session, {}, world.now)) {
            worker.txn = *txn;
          } else {
            renew(c);
          }
        }
        break;
      default: break;
    }
    if (core.error(worker.txn)) renew(c);
    for (const auto call : std::exchange(worker.calls, {})) {
      const auto outcome = world.outcome(call, c);
      if (outcome.empty()) worker.calls.push_back(call);
      granted += outcome == "granted" ? 1 : 0;
    }
    world.outputs[c].clear();
  }

  void renew(std::size_t c) {
    ++lost;
    world.client(c).drop(workers_[c].txn, world.now);
    world.client(c).drop(workers_[c].session, world.now);
    restart(c);
  }

  void disturb(std::size_t s) {
    if (world.sites[s].up) {
      if (!chance(1) || !chance(25)) return;
      world.sites[s].crash();
      down_[s] = world.now + static_cast<Micros>(random_() % 1'000'000);
    } else if (world.now >= down_[s]) {
      world.sites[s].restart(world.now, ttl_us);
    }
  }

  /// Whoever still has time left on its own clock is sure of what it holds: no two of them may conflict.
  void check() {
    std::map<std::string, std::vector<std::pair<Mode, std::size_t>>> sure;
    for (std::size_t c = 0; c < clients_count; ++c) {
      // A paused client believes what it believed; its clock has gone on.
      if (world.client(c).remaining_us(workers_[c].session, world.now) <= 0) continue;
      for (const auto& grant : world.client(c).held(workers_[c].txn)) sure[grant.name].emplace_back(grant.mode, c);
    }
    for (const auto& [name, holders] : sure)
      for (const auto& [mode, c] : holders)
        for (const auto& [other, d] : holders)
          if (c != d) {
            CAPTURE(name);
            CHECK(!has(standard().conflicts(mode), other));
          }
  }

  std::mt19937_64 random_;
  std::vector<Worker> workers_;
  std::vector<Micros> down_;
  unsigned loss_percent_ = 0;
};

}  // namespace

TEST_CASE("lost messages, paused clients, agents that crash: no two are ever sure of locks that conflict") {
  std::size_t granted = 0, lost = 0, reclaimed = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    Storm storm(seed);
    storm.run(2'000);
    storm.finish();
    granted += storm.granted, lost += storm.lost, reclaimed += storm.reclaimed;
  }
  CHECK(granted > 20'000);
  CHECK(lost > 100);
  CHECK(reclaimed > 50);
}
