#include "experiments/detection.hpp"

#include <algorithm>

namespace gordian::experiments {
namespace {

std::uint64_t number(auto handle) { return static_cast<std::uint64_t>(handle); }

}  // namespace

/// One table's reports, put into the graph.
class Watch::Reporter : private agent::ReportSink {
 public:
  Reporter(Watch& watch, graph::SiteSlot site) : watch_(watch), site_(site), tells(modes::standard(), *this) {}

 private:
  Watch& watch_;
  const graph::SiteSlot site_;
  std::uint64_t last_wait_ = 0;
  std::uint64_t last_group_ = 0;
  std::vector<std::uint64_t> groups_;

 public:
  agent::TableReporter tells;

 private:
  std::optional<WaitHandle> begin_wait(Wait wait) override {
    const graph::WaitRef ref{site_, ++last_wait_};
    groups_.clear();
    for (const auto group : wait.groups) groups_.push_back(number(group));
    if (!watch_.graph_.begin_wait(ref, wait.waiter, std::span<const TxnId>{}, groups_)) return std::nullopt;
    ++watch_.model_.counts().messages;
    if (watch_.at_once_) watch_.places_.push_back({ref, {}, std::nullopt});
    return WaitHandle{ref.sequence};
  }
  void end_wait(WaitHandle wait) override {
    ++watch_.model_.counts().messages;
    watch_.graph_.end_wait({site_, number(wait)});
  }
  // Models make no calls for some of several resources.
  [[nodiscard]] std::chrono::microseconds clock() const override { return std::chrono::microseconds(0); }
  bool set_blockers(WaitHandle, const std::vector<Blocker>&, std::uint32_t) override { return false; }
  std::optional<GroupHandle> begin_group(std::string, std::string, Kind kind) override {
    const graph::GroupRef ref{site_, ++last_group_};
    if (!watch_.graph_.begin_group(ref, kind)) return std::nullopt;
    return GroupHandle{ref.number};
  }
  void join_group(GroupHandle group, const TxnId& txn) override {
    const graph::GroupRef ref{site_, number(group)};
    if (watch_.graph_.join(ref, txn) && watch_.at_once_) watch_.places_.push_back({{}, ref, txn});
  }
  void leave_group(GroupHandle group, const TxnId& txn) override { watch_.graph_.leave({site_, number(group)}, txn); }
  void end_group(GroupHandle group) override { watch_.graph_.end_group({site_, number(group)}); }
  void named(const TxnId&) override {}
};

Watch::Watch(DetectionHost& model, std::size_t sites, detect::Policy policy, bool at_once)
    : model_(model), policy_(policy), at_once_(at_once) {
  for (std::size_t i = 0; i < sites; ++i)
    sites_.push_back(std::make_unique<Reporter>(*this, static_cast<graph::SiteSlot>(i)));
}
Watch::~Watch() = default;

WaitObserver* Watch::observer(std::size_t site) { return &sites_[site]->tells; }

std::optional<detect::Candidate> Watch::search(const Place& place) {
  if (!place.member) {
    const auto wait = graph_.find_wait(place.wait);
    return wait ? detector_.search(*wait) : std::nullopt;
  }
  const auto group = graph_.find_group(place.group);
  const auto member = graph_.find_txn(*place.member);
  return group && member && graph_.is_member(*group, *member) ? detector_.search(*group, *member) : std::nullopt;
}

void Watch::settle() {
  for (std::size_t next = 0; next < places_.size(); ++next) {
    const Place place = places_[next];  // breaking up makes new ones
    const auto candidate = search(place);
    if (candidate && break_up(*candidate)) places_.push_back(place);
  }
  places_.clear();
}

void Watch::pass() {
  auto& counts = model_.counts();
  ++counts.passes;
  const auto candidates = detector_.full_pass();
  if (candidates.empty()) return;
  for (const auto& txn : detector_.deadlocked()) counts.stuck_time += model_.waited(txn);
  for (const auto& candidate : candidates) break_up(candidate);
}

/// False if nothing was done.
bool Watch::break_up(const detect::Candidate& candidate) {
  auto edges = candidate.edges;
  const auto info = [this](const TxnId& txn) { return model_.describe(txn); };
  auto chosen = detect::choose_victims(edges, info, policy_);
  auto& counts = model_.counts();
  if (!chosen.reorder.empty()) {
    if (reorder(chosen)) {
      ++counts.deadlocks, ++counts.reorders;
      return true;
    }
    for (auto& edge : edges) edge.kind = Kind::hard;  // as if whoever is queued ahead held the lock
    chosen = detect::choose_victims(edges, info, policy_);
  }
  bool done = false;
  for (const auto& victim : chosen.victims) {
    if (!abort(victim, edges)) continue;
    done = true;
    ++counts.deadlocks, ++counts.messages;
    const auto length = detect::shortest_cycle(edges, victim).size();
    ++counts.cycles[std::min(length, Result::cycle_lengths)];
  }
  return done;
}

bool Watch::reorder(const detect::Victims& chosen) {
  bool done = false;
  for (const auto& edge : chosen.reorder) {
    for (const auto& wait : sites_[edge.site]->tells.find(WaitHandle{edge.sequence}))
      if (model_.table(edge.site).advance(wait.resource, wait.number, edge.blocker)) done = true;
  }
  return done;
}

bool Watch::abort(const TxnId& victim, const std::vector<detect::CandidateEdge>& edges) {
  for (const auto& edge : edges) {
    if (edge.waiter != victim) continue;
    for (const auto& wait : sites_[edge.site]->tells.find(WaitHandle{edge.sequence}))
      if (model_.table(edge.site).abort(victim, "cycle", wait.number)) return true;
  }
  return false;
}

}  // namespace gordian::experiments
