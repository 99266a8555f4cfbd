// The in-process detector: what its tables tell goes into one wait-for graph, and what is found there is asked of the tables
// once more, by name, before anybody is aborted.
//
// Why it is asked: events of different resources come in any order, so a cycle of the graph may never have stood. Each edge
// has the step at which it was told. If the table says that the wait still stands and that the blocker has stood in its
// way without a break since that step, the edge existed when the cycle was found; if that is so of all edges of a cycle,
// they existed together. It is the coordinator's confirmation without messages.
//
// Threads: the tables call from whatever thread called them. `mutex_` guards graph and books and is never held while a
// table or the host is called. One thread at a time breaks deadlocks; others, and calls of tables from within, leave it
// what they find.
#include <gordian/local_detector.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_map>
#include <variant>

#include "agent/table_reporter.hpp"
#include "detect/detector.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian {
namespace {

std::uint64_t number(auto handle) { return static_cast<std::uint64_t>(handle); }

/// What may have closed a cycle: a wait, or a new member of a group.
struct Joined {
  graph::GroupRef group;
  TxnId txn;
};
using Place = std::variant<graph::WaitRef, Joined>;

}  // namespace

class LocalDetector::Impl {
 public:
  explicit Impl(LocalDetectorOptions options);
  LockTable& add_table(SiteId site, LockTableOptions options);
  [[nodiscard]] LocalDetectorStatus status() const;

 private:
  class Site;

  /// An edge of a candidate, as its table knows it.
  struct Edge {
    detect::CandidateEdge edge;
    Site* site;
    agent::TableReporter::TableWait wait;
    std::string mode;
    std::uint64_t since;  ///< the step at which it was told
    std::uint64_t start;  ///< the waiter's
    Kind kind = Kind::hard;
  };
  using Edges = std::vector<Edge>;

  [[nodiscard]] std::optional<detect::Candidate> search(const Place& place);
  void found(Place place);
  void break_deadlocks();
  [[nodiscard]] Edges edges_of(const detect::Candidate& candidate);
  [[nodiscard]] static Edges confirmed(const Edges& edges);
  [[nodiscard]] bool break_up(const Edges& edges);
  [[nodiscard]] detect::Victims choose(const Edges& edges, bool reorder) const;
  [[nodiscard]] static std::vector<detect::CandidateEdge> reorder(const Edges& edges, const detect::Victims& chosen);
  [[nodiscard]] static bool abort(const TxnId& victim, const std::string& incident, const Edges& edges);
  void tell(const Edges& edges, const detect::Victims& chosen, std::vector<TxnId> victims,
            const std::vector<detect::CandidateEdge>& reordered, std::string incident);

  const LocalDetectorOptions options_;
  detect::Policy policy_;

  mutable std::mutex mutex_;
  graph::WaitForGraph graph_;                      // guarded by mutex_
  detect::Detector detector_{graph_};              // guarded by mutex_
  std::deque<Place> places_;                       // guarded by mutex_; where a cycle was seen
  bool breaking_ = false;                          // guarded by mutex_; some thread is at it
  LocalDetectorStatus counters_;                   // guarded by mutex_
  std::uint64_t last_incident_ = 0;                // of the thread that is breaking
  std::vector<Site*> by_slot_;                     // guarded by mutex_; by graph::SiteSlot
  std::map<SiteId, std::unique_ptr<Site>> sites_;  // guarded by mutex_; last, for its tables go first
};

/// One table, and what it told.
class LocalDetector::Impl::Site : public WaitObserver, private agent::ReportSink {
 public:
  Site(Impl& detector, SiteId name, graph::SiteSlot slot, LockTableOptions options)
      : id(std::move(name)), detector_(detector), slot_(slot), modes_(options.modes), reporter_(modes_, *this) {
    options.observer = this;
    table.emplace(std::move(options));
  }

  const SiteId id;
  std::optional<LockTable> table;  ///< thread-safe; everything below is guarded by the detector's mutex

  /// None if the table has told that the wait is over.
  [[nodiscard]] std::optional<Edge> edge(const detect::CandidateEdge& edge) {
    const auto wait = waits_.find(edge.sequence);
    if (wait == waits_.end()) return std::nullopt;
    auto since = wait->second.step;
    for (const auto group : wait->second.groups) {
      const auto& members = groups_.at(number(group));
      const auto member = members.find(edge.blocker);
      if (member != members.end()) since = std::max(since, member->second);
    }
    return Edge{
        edge, this, reporter_.find(WaitHandle{edge.sequence}).front(), wait->second.mode, since, wait->second.start};
  }
  [[nodiscard]] std::uint64_t left_out() const { return reporter_.left_out(); }

  void wait_begun(const WaitBegun& wait) override {
    told(wait.step, [&] {
      start_ = wait.start;
      reporter_.wait_begun(wait);
    });
  }
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override {
    told(step, [&] { reporter_.wait_ended(wait, resource, step); });
  }
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    told(step, [&] { reporter_.holder_joined(resource, group, txn, step); });
  }
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    told(step, [&] { reporter_.holder_left(resource, group, txn, step); });
  }
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override {
    told(step, [&] { reporter_.front_changed(resource, mode, front, step); });
  }
  void resource_calm(const std::string& resource, std::uint64_t step) override {
    told(step, [&] { reporter_.resource_calm(resource, step); });
  }

 private:
  struct Known {
    std::vector<GroupHandle> groups;
    std::string mode;
    std::uint64_t step;
    std::uint64_t start;
  };

  template <class Report>
  void told(std::uint64_t step, Report report) {
    {
      const std::lock_guard lock(detector_.mutex_);
      step_ = step;
      report();
      if (detector_.places_.empty()) return;
    }
    detector_.break_deadlocks();
  }

  // What the reporter makes of it, under the mutex.

  std::optional<WaitHandle> begin_wait(Wait wait) override {
    if (wait.need != 0) return std::nullopt;  // of a call for some of several
    const WaitHandle handle{++last_wait_};
    std::vector<std::uint64_t> groups;
    for (const auto group : wait.groups) groups.push_back(number(group));
    const graph::WaitRef ref{slot_, number(handle)};
    if (!detector_.graph_.begin_wait(ref, wait.waiter, std::span<const TxnId>{}, groups)) return std::nullopt;
    waits_.emplace(number(handle), Known{std::move(wait.groups), std::move(wait.mode), step_, start_});
    detector_.found(ref);
    return handle;
  }
  [[nodiscard]] std::chrono::microseconds clock() const override { return std::chrono::microseconds(0); }
  bool set_blockers(WaitHandle, const std::vector<Blocker>&, std::uint32_t) override { return false; }
  void end_wait(WaitHandle wait) override {
    waits_.erase(number(wait));
    detector_.graph_.end_wait({slot_, number(wait)});
  }
  std::optional<GroupHandle> begin_group(std::string, std::string, Kind kind) override {
    const GroupHandle group{++last_group_};
    if (!detector_.graph_.begin_group({slot_, number(group)}, kind)) return std::nullopt;
    groups_.try_emplace(number(group));
    return group;
  }
  void join_group(GroupHandle group, const TxnId& txn) override {
    const graph::GroupRef ref{slot_, number(group)};
    if (!detector_.graph_.join(ref, txn)) return;
    groups_.at(number(group))[txn] = step_;
    detector_.found(Joined{ref, txn});
  }
  void leave_group(GroupHandle group, const TxnId& txn) override {
    groups_.at(number(group)).erase(txn);
    detector_.graph_.leave({slot_, number(group)}, txn);
  }
  void end_group(GroupHandle group) override {
    groups_.erase(number(group));
    detector_.graph_.end_group({slot_, number(group)});
  }
  void named(const TxnId&) override {}

  Impl& detector_;
  const graph::SiteSlot slot_;
  const ModeMatrix modes_;
  agent::TableReporter reporter_;
  std::unordered_map<std::uint64_t, Known> waits_;  // by WaitHandle
  // By GroupHandle: its members, and the step at which each was told.
  std::unordered_map<std::uint64_t, std::unordered_map<TxnId, std::uint64_t>> groups_;
  std::uint64_t last_wait_ = 0;
  std::uint64_t last_group_ = 0;
  std::uint64_t step_ = 0;   // of the event that is being reported
  std::uint64_t start_ = 0;  // of its waiter
};

LocalDetector::Impl::Impl(LocalDetectorOptions options) : options_(std::move(options)) {
  const auto policy = detect::parse_policy(options_.policy);
  if (!policy)
    throw std::invalid_argument("policy '" + options_.policy + "' is not known; expected one of " +
                                detect::policy_names());
  policy_ = *policy;
}

LockTable& LocalDetector::Impl::add_table(SiteId site, LockTableOptions options) {
  if (options.observer != nullptr)
    throw std::invalid_argument("table " + site.str() +
                                ": its observer is the detector, but the options name another one");
  const std::lock_guard lock(mutex_);
  if (sites_.contains(site))
    throw std::invalid_argument("table " + site.str() + " is there already; give this one another name");
  const auto slot = static_cast<graph::SiteSlot>(sites_.size());
  auto made = std::make_unique<Site>(*this, site, slot, std::move(options));
  by_slot_.push_back(made.get());
  return *sites_.emplace(std::move(site), std::move(made)).first->second->table;
}

LocalDetectorStatus LocalDetector::Impl::status() const {
  const std::lock_guard lock(mutex_);
  auto status = counters_;
  status.waits = graph_.wait_count();
  for (const auto& [id, site] : sites_) status.left_out += site->left_out();
  return status;
}

std::optional<detect::Candidate> LocalDetector::Impl::search(const Place& place) {
  if (const auto* ref = std::get_if<graph::WaitRef>(&place)) {
    const auto wait = graph_.find_wait(*ref);
    return wait ? detector_.search(*wait) : std::nullopt;
  }
  const auto& joined = std::get<Joined>(place);
  const auto group = graph_.find_group(joined.group);
  const auto member = graph_.find_txn(joined.txn);
  return group && member && graph_.is_member(*group, *member) ? detector_.search(*group, *member) : std::nullopt;
}

/// Something new in the graph, under the mutex: is there a cycle through it?
void LocalDetector::Impl::found(Place place) {
  const auto* ref = std::get_if<graph::WaitRef>(&place);
  const auto wait = ref != nullptr ? graph_.find_wait(*ref) : std::nullopt;
  if (wait ? detector_.closes(*wait) : search(place).has_value()) places_.push_back(std::move(place));
}

void LocalDetector::Impl::break_deadlocks() {
  std::unique_lock lock(mutex_);
  if (breaking_) return;
  breaking_ = true;
  while (!places_.empty()) {
    const auto place = std::move(places_.front());
    places_.pop_front();
    const auto candidate = search(place);
    if (!candidate) continue;
    const auto edges = edges_of(*candidate);
    lock.unlock();
    const bool look_again = break_up(edges);
    lock.lock();
    if (look_again) places_.push_back(place);
  }
  breaking_ = false;
}

LocalDetector::Impl::Edges LocalDetector::Impl::edges_of(const detect::Candidate& candidate) {
  Edges edges;
  for (const auto& edge : candidate.edges)
    if (auto known = by_slot_[edge.site]->edge(edge)) edges.push_back(*std::move(known));
  return edges;
}

/// Those that stood when the candidate was found, and still stand.
LocalDetector::Impl::Edges LocalDetector::Impl::confirmed(const Edges& edges) {
  std::map<std::pair<Site*, WaitNumber>, std::map<TxnId, BlockerView>> asked;
  Edges stand;
  for (const auto& edge : edges) {
    const auto [at, is_new] = asked.try_emplace({edge.site, edge.wait.number});
    if (is_new)
      for (auto& blocker : edge.site->table->blockers(edge.wait.resource, edge.wait.number))
        at->second.emplace(blocker.txn, blocker);
    const auto blocker = at->second.find(edge.edge.blocker);
    if (blocker == at->second.end() || blocker->second.since > edge.since) continue;
    stand.push_back(edge);
    stand.back().kind = blocker->second.kind;
  }
  return stand;
}

/// True if the place has to be looked at again: somebody was to be aborted, and what the tables will tell of it is on its way.
bool LocalDetector::Impl::break_up(const Edges& edges) {
  const auto standing = confirmed(edges);
  auto chosen = choose(standing, true);
  if (chosen.victims.empty() && chosen.unresolved.empty() && chosen.reorder.empty()) return false;
  const auto incident = "local-" + std::to_string(last_incident_ + 1);
  if (const auto reordered = reorder(standing, chosen); !reordered.empty()) {
    {
      const std::lock_guard lock(mutex_);
      ++counters_.deadlocks;
      counters_.reorders += reordered.size();
    }
    ++last_incident_;
    tell(standing, chosen, {}, reordered, incident);
    return true;
  }
  if (!chosen.reorder.empty()) chosen = choose(standing, false);
  std::vector<TxnId> victims;
  for (const auto& victim : chosen.victims)
    if (abort(victim, incident, standing)) victims.push_back(victim);
  {
    const std::lock_guard lock(mutex_);
    counters_.victims += victims.size();
    auto& outcome = !victims.empty()         ? counters_.deadlocks
                    : chosen.victims.empty() ? counters_.unresolved
                                             : counters_.dissolved;
    ++outcome;
  }
  const bool look_again = !chosen.victims.empty();
  if (!victims.empty() || chosen.victims.empty()) {
    ++last_incident_;
    tell(standing, chosen, std::move(victims), {}, incident);
  }
  return look_again;
}

/// Lets waiters past those that they are only queued behind. Returns the edges that are gone by that.
std::vector<detect::CandidateEdge> LocalDetector::Impl::reorder(const Edges& edges, const detect::Victims& chosen) {
  std::vector<detect::CandidateEdge> done;
  for (const auto& wanted : chosen.reorder) {
    const auto edge = std::find_if(edges.begin(), edges.end(), [&](const Edge& e) {
      return e.edge.site == wanted.site && e.edge.sequence == wanted.sequence && e.edge.blocker == wanted.blocker;
    });
    if (edge != edges.end() && edge->site->table->advance(edge->wait.resource, edge->wait.number, edge->edge.blocker))
      done.push_back(wanted);
  }
  return done;
}

/// Without `reorder` as if whoever is queued ahead held the lock.
detect::Victims LocalDetector::Impl::choose(const Edges& edges, bool reorder) const {
  std::vector<detect::CandidateEdge> plain;
  std::map<TxnId, std::uint64_t> starts;
  for (const auto& edge : edges) {
    plain.push_back(edge.edge);
    plain.back().kind = reorder ? edge.kind : Kind::hard;
    starts.emplace(edge.edge.waiter, edge.start);
  }
  const auto info = [&](const TxnId& txn) {
    auto known = options_.describe ? options_.describe(txn) : TxnInfo{};
    if (const auto start = starts.find(txn); !known.start && start != starts.end())
      known.start = static_cast<double>(start->second);
    return known;
  };
  return detect::choose_victims(plain, info, policy_);
}

/// Aborts the victim where it waits, if it still does, and then where it stands in the way of another member.
bool LocalDetector::Impl::abort(const TxnId& victim, const std::string& incident, const Edges& edges) {
  std::set<Site*> done;
  for (const auto& edge : edges) {
    if (edge.edge.waiter != victim || done.contains(edge.site)) continue;
    if (edge.site->table->abort(victim, incident, edge.wait.number)) done.insert(edge.site);
  }
  if (done.empty()) return false;
  for (const auto& edge : edges) {
    if (edge.edge.blocker != victim || done.contains(edge.site)) continue;
    if (edge.site->table->abort_holder(victim, incident, edge.wait.resource, edge.since)) done.insert(edge.site);
  }
  return true;
}

void LocalDetector::Impl::tell(const Edges& edges, const detect::Victims& chosen, std::vector<TxnId> victims,
                               const std::vector<detect::CandidateEdge>& reordered, std::string incident) {
  if (!options_.on_deadlock) return;
  LocalDeadlock deadlock;
  deadlock.incident = std::move(incident);
  deadlock.victims = std::move(victims);
  deadlock.why = chosen.why;
  std::set<TxnId> members(chosen.spared.begin(), chosen.spared.end());
  members.insert(chosen.victims.begin(), chosen.victims.end());
  deadlock.members.assign(members.begin(), members.end());
  for (const auto& edge : edges)
    if (members.contains(edge.edge.waiter) && members.contains(edge.edge.blocker))
      deadlock.edges.push_back(
          {edge.edge.waiter, edge.edge.blocker, edge.site->id, edge.wait.resource, edge.mode, edge.kind});
  for (const auto& edge : edges) {
    const auto is_edge = [&](const detect::CandidateEdge& r) {
      return r.site == edge.edge.site && r.sequence == edge.edge.sequence && r.blocker == edge.edge.blocker;
    };
    if (edge.kind == Kind::soft && std::any_of(reordered.begin(), reordered.end(), is_edge))
      deadlock.reordered.push_back(
          {edge.edge.waiter, edge.edge.blocker, edge.site->id, edge.wait.resource, edge.mode, edge.kind});
  }
  options_.on_deadlock(deadlock);
}

LocalDetector::LocalDetector(LocalDetectorOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
LocalDetector::~LocalDetector() = default;
LockTable& LocalDetector::add_table(SiteId site, LockTableOptions options) {
  return impl_->add_table(std::move(site), std::move(options));
}
LocalDetectorStatus LocalDetector::status() const { return impl_->status(); }

}  // namespace gordian
