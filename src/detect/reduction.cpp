// The work lists: transactions that end, and edges that are over by that. Nothing here calls itself, however deep the waits.
#include "detect/reduction.hpp"

#include <algorithm>
#include <cassert>

namespace gordian::detect {

WaitModel::Number WaitModel::add_txn() {
  txns_.emplace_back();
  return static_cast<Number>(txns_.size() - 1);
}

WaitModel::Number WaitModel::add_group() {
  groups_.emplace_back();
  return static_cast<Number>(groups_.size() - 1);
}

void WaitModel::join(Number group, Number txn) {
  groups_[group].members.push_back(txn);
  txns_[txn].groups.push_back(group);
}

WaitModel::Number WaitModel::add_wait(Number waiter, std::uint32_t site, std::uint32_t need) {
  const auto wait = static_cast<Number>(waits_.size());
  auto& added = waits_.emplace_back();
  added.waiter = waiter, added.site = site, added.need = need;
  txns_[waiter].waits.push_back(wait);
  return wait;
}

WaitModel::Number WaitModel::add_edge(Number wait, Number blocker, Kind kind) {
  const auto edge = static_cast<Number>(edges_.size());
  edges_.push_back({wait, blocker, false, kind});
  waits_[wait].edges.push_back(edge);
  txns_[blocker].in.push_back(edge);
  if (kind == Kind::dotted) {
    const auto [watch, is_new] =
        watches_.try_emplace({blocker, waits_[wait].site}, static_cast<Number>(watchers_.size()));
    if (is_new) watchers_.emplace_back();
    watchers_[watch->second].push_back(edge);
  }
  return edge;
}

WaitModel::Number WaitModel::add_group_edge(Number wait, Number group, Kind kind) {
  assert(kind != Kind::dotted);
  const auto edge = static_cast<Number>(edges_.size());
  edges_.push_back({wait, group, true, kind});
  waits_[wait].edges.push_back(edge);
  groups_[group].in.push_back(edge);
  return edge;
}

Reduction::Reduction(const WaitModel& model)
    : model_(&model),
      ended_(model.txns_.size(), false),
      over_(model.edges_.size(), false),
      satisfied_(model.waits_.size(), false),
      waits_left_(model.txns_.size(), 0),
      over_count_(model.waits_.size(), 0),
      members_left_(model.groups_.size(), 0),
      watched_left_(model.watchers_.size(), 0),
      left_(model.txns_.size()) {
  start();
  go();
}

void Reduction::start() {
  for (Number txn = 0; txn < ended_.size(); ++txn) {
    const auto& waits = model_->txns_[txn].waits;
    waits_left_[txn] = static_cast<std::uint32_t>(waits.size());
    if (waits.empty()) settle(txn);
    if (watched_left_.empty()) continue;
    for (const auto wait : waits) {
      const auto watch = model_->watches_.find({txn, model_->waits_[wait].site});
      if (watch != model_->watches_.end()) ++watched_left_[watch->second];
    }
  }
  for (Number watch = 0; watch < watched_left_.size(); ++watch)
    if (watched_left_[watch] == 0)
      passing_.insert(passing_.end(), model_->watchers_[watch].begin(), model_->watchers_[watch].end());
  for (Number group = 0; group < members_left_.size(); ++group) {
    members_left_[group] = static_cast<std::uint32_t>(model_->groups_[group].members.size());
    end_in_group(group);
  }
  for (Number wait = 0; wait < satisfied_.size(); ++wait)
    if (required(wait) == 0) satisfy(wait);
}

void Reduction::end(Number txn) {
  settle(txn);
  go();
}

void Reduction::drop(Number edge) {
  passing_.push_back(edge);
  go();
}

void Reduction::drop(std::span<const Number> edges) {
  passing_.insert(passing_.end(), edges.begin(), edges.end());
  go();
}

std::size_t Reduction::required(Number wait) const {
  const auto& w = model_->waits_[wait];
  return std::min<std::size_t>(w.need, w.edges.size());
}

std::uint32_t Reduction::need(Number wait) const {
  const auto& w = model_->waits_[wait];
  return w.need < w.edges.size() ? w.need - over_count_[wait] : WaitModel::need_all;
}

void Reduction::go() {
  while (!passing_.empty() || !ending_.empty()) {
    if (!passing_.empty()) {
      const auto edge = passing_.back();
      passing_.pop_back();
      over(edge);
      continue;
    }
    const auto txn = ending_.back();
    ending_.pop_back();
    const auto& in = model_->txns_[txn].in;
    passing_.insert(passing_.end(), in.begin(), in.end());
    for (const auto group : model_->txns_[txn].groups) {
      --members_left_[group];
      end_in_group(group);
    }
  }
}

void Reduction::over(Number edge) {
  if (over_[edge]) return;
  over_[edge] = true;
  const auto wait = model_->edges_[edge].wait;
  if (++over_count_[wait] >= required(wait)) satisfy(wait);
}

void Reduction::satisfy(Number wait) {
  if (satisfied_[wait]) return;
  satisfied_[wait] = true;
  const auto waiter = model_->waits_[wait].waiter;
  if (!watched_left_.empty()) {
    const auto watch = model_->watches_.find({waiter, model_->waits_[wait].site});
    if (watch != model_->watches_.end() && --watched_left_[watch->second] == 0) {
      const auto& edges = model_->watchers_[watch->second];
      passing_.insert(passing_.end(), edges.begin(), edges.end());
    }
  }
  if (--waits_left_[waiter] == 0) settle(waiter);
}

void Reduction::settle(Number txn) {
  if (ended_[txn]) return;
  ended_[txn] = true;
  --left_;
  ending_.push_back(txn);
}

/// A group ends with its last member; for that one, if it waits for the group itself, already with the last but one.
void Reduction::end_in_group(Number group) {
  const auto& g = model_->groups_[group];
  if (members_left_[group] == 0) passing_.insert(passing_.end(), g.in.begin(), g.in.end());
  if (members_left_[group] != 1) return;
  const auto last = std::ranges::find_if(g.members, [this](Number member) { return !ended_[member]; });
  if (last == g.members.end()) return;
  for (const auto edge : g.in)
    if (model_->waiter(edge) == *last) passing_.push_back(edge);
}

}  // namespace gordian::detect
