#include "sim/truth.hpp"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

namespace gordian::sim {

namespace {

/// How many of a wait's alternatives have only such edges.
template <class Condition>
std::size_t alternatives(const std::vector<ReducedWait::Edge>& edges, Condition condition) {
  std::size_t alone = 0;
  std::map<std::uint64_t, bool> together;
  for (const auto& edge : edges) {
    const bool holds = condition(edge);
    if (edge.alternative == 0) {
      alone += holds ? 1 : 0;
    } else {
      bool& all = together.try_emplace(edge.alternative, true).first->second;
      all = all && holds;
    }
  }
  return alone + static_cast<std::size_t>(std::count_if(together.begin(), together.end(),
                                                        [](const auto& alternative) { return alternative.second; }));
}

}  // namespace

// Until nothing changes: a wait whose need is satisfied is done with; a transaction with no other wait is active and will end.
std::vector<TxnNumber> reduce(const std::vector<ReducedWait>& waits, const std::vector<TxnNumber>& ended) {
  std::vector<bool> left(waits.size());
  for (std::size_t i = 0; i < waits.size(); ++i)
    left[i] = std::find(ended.begin(), ended.end(), waits[i].waiter) == ended.end();
  const auto waits_still = [&](TxnNumber txn) {
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (left[i] && waits[i].waiter == txn) return true;
    return false;
  };
  const auto waits_at = [&](TxnNumber txn, std::size_t site) {
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (left[i] && waits[i].waiter == txn && waits[i].site == site) return true;
    return false;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (!left[i]) continue;
      const auto& wait = waits[i];
      const auto blocks = [&](const ReducedWait::Edge& edge) {
        return waits_still(edge.blocker) && (edge.kind != Kind::dotted || waits_at(edge.blocker, wait.site));
      };
      if (wait.need == 0 ? std::any_of(wait.edges.begin(), wait.edges.end(), blocks)
                         : alternatives(wait.edges, std::not_fn(blocks)) < wait.need)
        continue;
      left[i] = false;
      changed = true;
    }
  }
  std::vector<TxnNumber> deadlocked;
  for (std::size_t i = 0; i < waits.size(); ++i)
    if (left[i]) deadlocked.push_back(waits[i].waiter);
  std::sort(deadlocked.begin(), deadlocked.end());
  deadlocked.erase(std::unique(deadlocked.begin(), deadlocked.end()), deadlocked.end());
  return deadlocked;
}

std::uint32_t WaitLife::need_at(Micros instant) const {
  auto need = needs.front().second;
  for (const auto& [from, value] : needs)
    if (from <= instant) need = value;
  return need;
}

TxnNumber Truth::number(const TxnId& txn) {
  const auto [it, fresh] = numbers_.try_emplace(txn, static_cast<TxnNumber>(names_.size()));
  if (fresh) names_.push_back(&it->first);
  return it->second;
}

void Truth::report(std::size_t site, std::uint64_t incarnation, const std::vector<TrueWait>& waits,
                   const std::string& order) {
  auto& here = standing_[site];
  for (auto it = here.begin(); it != here.end();) {
    auto& life = lives_[it->second];
    const auto now = std::find_if(waits.begin(), waits.end(), [&](const TrueWait& w) { return w.key == it->first; });
    if (now == waits.end() || life.incarnation != incarnation) {
      end(life, order);
      it = here.erase(it);
    } else {
      update(life, *now, order);
      name(site, incarnation, *now);
      ++it;
    }
  }
  for (const auto& wait : waits)
    if (!here.contains(wait.key)) begin(site, incarnation, wait);
}

void Truth::begin(std::size_t site, std::uint64_t incarnation, const TrueWait& wait) {
  WaitLife life{site, incarnation, number(wait.waiter), wait.resource, {{clock_.now(), wait.need}}, clock_.now()};
  for (const auto& edge : wait.edges) begin_edge(life, edge);
  standing_[site][wait.key] = lives_.size();
  name(site, incarnation, wait);
  lives_.push_back(std::move(life));
  ++changes_;
}

void Truth::name(std::size_t site, std::uint64_t incarnation, const TrueWait& wait) {
  for (const auto sequence : wait.sequences)
    by_wait_id_.try_emplace({site, incarnation, sequence}, standing_[site].at(wait.key));
}

void Truth::update(WaitLife& life, const TrueWait& wait, const std::string& order) {
  if (life.needs.back().second != wait.need) {
    life.needs.emplace_back(clock_.now(), wait.need);
    ++changes_;
  }
  for (auto& edge : life.edges) {
    if (edge.end != still) continue;
    const bool stands = std::any_of(wait.edges.begin(), wait.edges.end(), [&](const TrueEdge& e) {
      return e.since == edge.since && e.kind == edge.kind && e.alternative == edge.alternative &&
             e.blocker == id(edge.blocker);
    });
    if (stands) continue;
    end_edge(edge, order);
    ++changes_;
  }
  for (const auto& edge : wait.edges) {
    const auto blocker = number(edge.blocker);
    const bool known = std::any_of(life.edges.begin(), life.edges.end(), [&](const EdgeLife& e) {
      return e.end == still && e.blocker == blocker && e.since == edge.since && e.kind == edge.kind &&
             e.alternative == edge.alternative;
    });
    if (known) continue;
    begin_edge(life, edge);
    ++changes_;
  }
}

void Truth::begin_edge(WaitLife& life, const TrueEdge& edge) {
  life.edges.push_back({number(edge.blocker), edge.kind, edge.since, edge.alternative, clock_.now()});
  edges_max_ = std::max(edges_max_, ++edges_);
}

void Truth::end_edge(EdgeLife& edge, const std::string& order) {
  edge.end = clock_.now();
  edge.ended_by = order;
  --edges_;
}

void Truth::end(WaitLife& life, const std::string& order) {
  life.end = clock_.now();
  for (auto& edge : life.edges)
    if (edge.end == still) end_edge(edge, order);
  ++changes_;
}

void Truth::rename(std::size_t site, std::uint64_t incarnation, std::uint64_t sequence, std::uint64_t renamed) {
  const auto it = by_wait_id_.find({site, incarnation, sequence});
  if (it != by_wait_id_.end()) by_wait_id_.emplace(std::tuple{site, incarnation, renamed}, it->second);
}

const WaitLife* Truth::find(std::size_t site, std::uint64_t incarnation, std::uint64_t sequence) const {
  const auto it = by_wait_id_.find({site, incarnation, sequence});
  return it == by_wait_id_.end() ? nullptr : &lives_[it->second];
}

std::vector<const WaitLife*> Truth::standing() const {
  std::vector<const WaitLife*> waits;
  for (const auto& [site, here] : standing_)
    for (const auto& [key, place] : here) waits.push_back(&lives_[place]);
  return waits;
}

const std::vector<TxnNumber>& Truth::deadlocked() {
  if (reduced_at_ == changes_) return deadlocked_;
  reduced_at_ = changes_;
  std::vector<ReducedWait> waits;
  for (const auto* life : standing()) {
    auto& wait = waits.emplace_back(ReducedWait{life->waiter, life->site, life->needs.back().second, {}});
    for (const auto& edge : life->edges)
      if (edge.end == still) wait.edges.push_back({edge.blocker, edge.kind, edge.alternative});
  }
  const bool nobody = deadlocked_.empty();
  deadlocked_ = reduce(waits);
  if (nobody && !deadlocked_.empty()) ++deadlocks_;
  std::erase_if(since_, [&](const auto& entry) {
    return !std::binary_search(deadlocked_.begin(), deadlocked_.end(), entry.first);
  });
  for (const auto txn : deadlocked_) since_.emplace(txn, clock_.now());
  return deadlocked_;
}

const std::map<TxnNumber, Micros>& Truth::deadlocked_since() {
  (void)deadlocked();
  return since_;
}

bool Truth::is_deadlocked(const TxnId& txn) {
  const auto& all = deadlocked();
  return std::binary_search(all.begin(), all.end(), number(txn));
}

std::vector<TxnNumber> Truth::deadlocked_at(Micros instant) const {
  const auto stood = [&](const auto& life) { return life.begin <= instant && instant <= life.end; };
  std::vector<ReducedWait> waits;
  for (const auto& life : lives_) {
    if (!stood(life)) continue;
    auto& wait = waits.emplace_back(ReducedWait{life.waiter, life.site, life.need_at(instant), {}});
    for (const auto& edge : life.edges)
      if (stood(edge)) wait.edges.push_back({edge.blocker, edge.kind, edge.alternative});
  }
  return reduce(waits);
}

}  // namespace gordian::sim
