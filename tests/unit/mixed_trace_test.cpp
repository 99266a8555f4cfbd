// Replays of random traces with every wait model, operation by operation, against docs/semantics.md done word for word.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "trace/replay.hpp"

using namespace gordian;
using namespace gordian::trace;

namespace {

using Names = std::set<std::string>;

/// What a trace says is true now, in the words of docs/trace-format.md; nothing is shared with the replay.
struct World {
  struct Edge {
    std::string to;
    Kind kind;
  };
  struct Waiting {
    std::string txn;
    std::string site;
    std::string resource;
    std::vector<Edge> named;
    int need = -1;  ///< of `named`; -1: all
    bool for_holders = false;
  };
  std::vector<Waiting> waits;
  std::map<std::pair<std::string, std::string>, Names> held;  ///< by site and resource
  Names never;

  [[nodiscard]] std::vector<Edge> edges(const Waiting& w) const {
    std::vector<Edge> all;
    for (const auto& edge : w.named)
      if (edge.to != w.txn) all.push_back(edge);
    if (const auto by = held.find({w.site, w.resource}); w.for_holders && by != held.end())
      for (const auto& txn : by->second)
        if (txn != w.txn) all.push_back({txn, Kind::hard});
    return all;
  }

  /// Who is left when nothing more can be reduced, and which of their waits are not satisfied.
  struct Left {
    Names txns;
    std::set<const Waiting*> waits;
  };
  [[nodiscard]] bool over(const Left& left, const Waiting& w, const Edge& edge) const {
    if (!left.txns.contains(edge.to)) return true;
    return edge.kind == Kind::dotted && std::ranges::none_of(left.waits, [&](const Waiting* other) {
             return other->txn == edge.to && other->site == w.site;
           });
  }
  [[nodiscard]] Left reduce() const {
    Left left;
    for (const auto& w : waits) {
      left.waits.insert(&w);
      left.txns.insert(w.txn);
      for (const auto& edge : edges(w)) left.txns.insert(edge.to);
    }
    for (bool changed = true; changed;) {
      changed = std::erase_if(left.waits, [&](const Waiting* w) {
                  const auto all = edges(*w);
                  const auto ended = std::ranges::count_if(all, [&](const Edge& edge) { return over(left, *w, edge); });
                  return ended >= (w->need < 0 ? static_cast<std::ptrdiff_t>(all.size()) : w->need);
                }) > 0;
      changed |= std::erase_if(left.txns, [&](const std::string& txn) {
                   return std::ranges::none_of(left.waits, [&](const Waiting* w) { return w->txn == txn; });
                 }) > 0;
    }
    return left;
  }
  [[nodiscard]] Names deadlocked() const { return reduce().txns; }

  /// Who waits, directly or not, for somebody that waits for it in turn, among those who are deadlocked.
  [[nodiscard]] Names on_cycles() const {
    const auto left = reduce();
    std::map<std::string, Names> reaches;
    for (const auto* const w : left.waits)
      for (const auto& edge : edges(*w))
        if (!over(left, *w, edge)) reaches[w->txn].insert(edge.to);
    for (std::size_t before = 0, now = 1; before != now;) {
      before = now;
      now = 0;
      for (auto& [txn, reached] : reaches) {
        for (const auto& via : Names(reached))
          if (const auto further = reaches.find(via); further != reaches.end())
            reached.insert(further->second.begin(), further->second.end());
        now += reached.size();
      }
    }
    Names found;
    for (const auto& [txn, reached] : reaches)
      if (reached.contains(txn)) found.insert(txn);
    return found;
  }

  void end(const std::string& txn) {
    std::erase_if(waits, [&](const Waiting& w) { return w.txn == txn; });
    for (auto& w : waits) {
      const auto was = std::ranges::count(w.named, txn, &Edge::to);
      std::erase_if(w.named, [&](const Edge& edge) { return edge.to == txn; });
      if (was > 0 && w.need > 0) --w.need;
    }
    for (auto& [place, txns] : held) txns.erase(txn);
    never.erase(txn);
  }
  void jump(const Reordered& queue) {
    for (auto& w : waits)
      if (w.txn == queue.waiter.str() && w.site == queue.site.str() && w.resource == queue.resource)
        std::erase_if(w.named,
                      [&](const Edge& edge) { return edge.to == queue.behind.str() && edge.kind == Kind::soft; });
  }
};

/// The same operations for the world and for a replay; after each, what the replay did is judged.
struct Story {
  std::mt19937 random;
  World world;
  Replay replay;
  std::size_t line = 0;
  std::size_t seen = 0;
  bool continuous;
  bool with_never;
  unsigned txn_count;
  std::size_t deadlocks = 0, reorders = 0, victims = 0, unresolved = 0;

  explicit Story(unsigned seed) : random(seed), continuous(seed % 3 != 0), with_never(seed % 4 == 0) {
    txn_count = 3 + pick(6);
    Mode mode;
    mode.on_demand = !continuous;
    mode.policy = static_cast<detect::Policy>(pick(7));
    apply(mode);
  }

  unsigned pick(unsigned below) { return static_cast<unsigned>(random() % below); }
  std::string any_txn() { return std::to_string(1 + pick(txn_count)); }
  std::string any_site() { return std::string(1, static_cast<char>('a' + pick(2))); }
  std::string any_resource() { return std::string(1, static_cast<char>('k' + pick(2))); }

  void apply(Operation operation) { REQUIRE(replay.apply({++line, std::move(operation)})); }

  void wait() {
    BeginWait op{.txn = TxnId(any_txn()), .site = SiteId(any_site()), .resource = any_resource()};
    World::Waiting w{op.txn.str(), op.site.str(), op.resource, {}};
    Names named;
    const auto name = [&](std::vector<TxnId>& list, Kind kind) {
      const auto txn = any_txn();
      if (!named.insert(txn).second) return;
      list.emplace_back(txn);
      w.named.push_back({txn, kind});
    };
    op.for_holders = w.for_holders = pick(4) == 0;
    if (!op.for_holders) {
      op.kind = pick(4) == 0 ? Kind::dotted : Kind::hard;
      for (auto n = pick(5); n > 0; --n) name(op.blockers, op.kind);
      const auto others = named.size() - (named.contains(w.txn) ? 1 : 0);
      if (others > 1 && pick(2) == 0) {
        op.need = 1 + pick(static_cast<unsigned>(others) - 1);
        w.need = static_cast<int>(op.need);
      }
    }
    if (w.need < 0 && pick(3) == 0)
      for (auto n = 1 + pick(2); n > 0; --n) name(op.behind, Kind::soft);
    std::erase_if(world.waits, [&](const World::Waiting& other) {
      return std::tie(other.txn, other.site, other.resource) == std::tie(w.txn, w.site, w.resource);
    });
    world.waits.push_back(std::move(w));
    apply(std::move(op));
  }
  void holders() {
    Holders op{.txns = {}, .site = SiteId(any_site()), .resource = any_resource()};
    auto& now = world.held[{op.site.str(), op.resource}];
    now.clear();
    for (auto n = pick(4); n > 0; --n) now.insert(any_txn());
    for (const auto& txn : now) op.txns.emplace_back(txn);
    apply(std::move(op));
  }
  void unwait() {
    EndWait op{.txn = TxnId(any_txn()), .site = {}, .resource = {}};
    if (pick(2) == 0) op.site = SiteId(any_site());
    if (pick(2) == 0) op.resource = any_resource();
    std::erase_if(world.waits, [&](const World::Waiting& w) {
      return w.txn == op.txn.str() && (!op.site || op.site->str() == w.site) &&
             (!op.resource || *op.resource == w.resource);
    });
    apply(std::move(op));
  }
  void lose() {
    const auto site = any_site();
    std::erase_if(world.waits, [&](const World::Waiting& w) { return w.site == site; });
    std::erase_if(world.held, [&](const auto& entry) { return entry.first.first == site; });
    apply(LoseSite{SiteId(site)});
  }
  void describe() {
    Begin op{.txn = TxnId(any_txn())};
    op.priority = pick(3);
    op.locks = pick(5);
    if (with_never) {
      op.victim_class = pick(3) != 0 ? TxnInfo::Class::never : TxnInfo::Class::normal;
      if (op.victim_class == TxnInfo::Class::never)
        world.never.insert(op.txn.str());
      else
        world.never.erase(op.txn.str());
    }
    apply(std::move(op));
  }
  void end() {
    const auto txn = any_txn();
    world.end(txn);
    apply(EndTxn{TxnId(txn)});
  }

  void step() {
    const auto kind = pick(20);
    if (kind < 11)
      wait();
    else if (kind < 14)
      holders();
    else if (kind < (with_never ? 18U : 15U))
      describe();
    else if (kind < 18)
      unwait();
    else if (kind < 19 || pick(3) != 0)
      end();
    else
      lose();
    if (continuous) return judge();
    if (pick(4) != 0) return;
    apply(Detect{});
    judge();
  }

  /// What was found and done since the last time, against the world as it was when it was found.
  void judge() {
    CAPTURE(line);
    const auto stuck = world.deadlocked();
    Names dead;
    std::vector<Reordered> jumped;
    for (; seen < replay.incidents().size(); ++seen) {
      const auto& incident = replay.incidents()[seen];
      REQUIRE_FALSE(incident.cycle.empty());
      for (const auto& victim : incident.victims) REQUIRE(dead.insert(victim.str()).second);
      jumped.insert(jumped.end(), incident.reorder.begin(), incident.reorder.end());
    }
    const auto cyclic = world.on_cycles();
    for (const auto& victim : dead) {
      REQUIRE(cyclic.contains(victim));
      REQUIRE_FALSE(world.never.contains(victim));
    }
    const auto without = [&](const std::string& spared_victim, const Reordered* spared_jump) {
      auto after = world;
      for (const auto& victim : dead)
        if (victim != spared_victim) after.end(victim);
      for (const auto& one : jumped)
        if (&one != spared_jump) after.jump(one);
      return after;
    };
    // Soft edges aside: cycles that can be broken. Each victim was needed for one, and none is left.
    const auto breakable = [](World unqueued) {
      for (auto& w : unqueued.waits)
        std::erase_if(w.named, [](const World::Edge& edge) { return edge.kind == Kind::soft; });
      const auto left = unqueued.on_cycles();
      return std::pair(!left.empty(),
                       std::ranges::any_of(left, [&](const auto& txn) { return !unqueued.never.contains(txn); }));
    };
    for (const auto& victim : dead) REQUIRE(breakable(without(victim, nullptr)).second);
    const auto after = without("", nullptr);
    const auto cycles_left = after.on_cycles().size();
    for (const auto& one : jumped) {
      const auto queued = without("", &one);
      const bool holds_up = queued.deadlocked().size() > after.deadlocked().size();
      REQUIRE((holds_up || queued.on_cycles().size() > cycles_left));
    }
    // What is left is what nobody may break, and who waits for it, in a queue or otherwise.
    const auto [any_left, breakable_left] = breakable(after);
    REQUIRE_FALSE(breakable_left);
    REQUIRE((any_left || after.deadlocked().empty()));

    Expect expected;
    expected.deadlocked.emplace();
    for (const auto& txn : stuck) expected.deadlocked->emplace_back(txn);
    expected.reorder = !jumped.empty();
    apply(expected);
    for (const auto& failed : replay.failed()) FAIL_CHECK(to_string(failed));
    REQUIRE(replay.failed().empty());
    deadlocks += stuck.empty() ? 0 : 1;
    victims += dead.size();
    reorders += jumped.size();
    unresolved += after.deadlocked().empty() ? 0 : 1;
    world = after;
  }
};

}  // namespace

TEST_CASE("random traces of all wait models: what is found, who goes and who jumps a queue, over 6000 seeds") {
  std::size_t deadlocks = 0, reorders = 0, victims = 0, unresolved = 0;
  for (unsigned seed = 0; seed < 6000; ++seed) {
    CAPTURE(seed);
    Story story(seed);
    for (int i = 0; i < 40; ++i) story.step();
    deadlocks += story.deadlocks, reorders += story.reorders, victims += story.victims, unresolved += story.unresolved;
  }
  CHECK(deadlocks > 10'000);
  CHECK(victims > 5000);
  CHECK(reorders > 1000);
  CHECK(unresolved > 1000);
  MESSAGE(deadlocks << " deadlocks, " << victims << " victims, " << reorders << " reorders, " << unresolved << " left");
}
