#include "detect/edge_chaser.hpp"

#include <absl/hash/hash.h>

#include <algorithm>

namespace gordian::detect {

using graph::EdgeSlot;
using graph::Vertex;
using wire::GlobalEdge;

class EdgeChaser::Walk {
 public:
  explicit Walk(const EdgeChaser& chaser) : chaser_(chaser), graph_(chaser.graph_) {}

  void from(std::span<const EdgeSlot> edges, Vertex root) {
    root_ = root;
    via_.emplace(root, graph::no_slot);
    take(edges);
    for (std::size_t next = 0; next < queue_.size(); ++next) {
      const auto at = queue_[next];
      if (graph_.is_group(at) || chaser_.owned(graph_.txn(at))) take(graph_.out_edges(at));
    }
  }
  /// Transactions reached, in order.
  template <class F>
  void each(F f) const {
    for (const auto v : queue_)
      if (!graph_.is_group(v)) f(v);
  }
  /// Back to the root without leaving what is owned here; empty if there is no such way.
  [[nodiscard]] Path cycle() const {
    if (!back_) return {};
    auto path = path_to(graph_.source(*back_));
    path.push_back(chaser_.edge(*back_, root_));
    return path;
  }
  /// From the root to a transaction that was reached.
  [[nodiscard]] Path path_to(Vertex at) const {
    Path path;
    while (at != root_) {
      const auto into = via_.at(at);
      const bool by_group = graph_.is_group(graph_.source(into));
      const auto wait_edge = by_group ? via_.at(graph_.source(into)) : into;
      path.push_back(chaser_.edge(wait_edge, at));
      at = graph_.source(wait_edge);
    }
    std::ranges::reverse(path);
    return path;
  }

 private:
  void take(std::span<const EdgeSlot> edges) {
    for (const auto e : edges) {
      if (!chaser_.stands(e)) continue;
      if (graph_.target(e) == root_ && !back_) note_return(e);
      if (via_.emplace(graph_.target(e), e).second) queue_.push_back(graph_.target(e));
    }
  }
  /// A membership brings back only those who wait for the group without being the root itself.
  void note_return(EdgeSlot e) {
    const auto from = graph_.source(e);
    const auto wait_edge = graph_.is_group(from) ? via_.at(from) : e;
    if (graph_.source(wait_edge) != root_) back_ = wait_edge;
  }

  const EdgeChaser& chaser_;
  const graph::WaitForGraph& graph_;
  Vertex root_ = graph::no_slot;
  std::unordered_map<Vertex, EdgeSlot> via_;
  std::vector<Vertex> queue_;
  std::optional<EdgeSlot> back_;
};

/// Not of a wait that is satisfied.
bool EdgeChaser::stands(EdgeSlot e) const {
  return graph_.is_group(graph_.source(e)) || graph_.need(graph_.wait(e)) != 0;
}

GlobalEdge EdgeChaser::edge(EdgeSlot wait_edge, Vertex blocker) const {
  const auto wait = graph_.wait(wait_edge);
  const auto waiter = graph_.waiter(wait);
  GlobalEdge edge{graph_.txn(waiter), graph_.txn(blocker), SiteId("-"), 0, 0, 0};
  edge.kind = graph_.kind(wait_edge);
  edge.need = graph_.need(wait) == graph::need_all ? 0 : graph_.need(wait);
  const auto others = [&](EdgeSlot e) {
    const auto to = graph_.target(e);
    if (!graph_.is_group(to)) return to != blocker;
    return std::ranges::any_of(graph_.out_edges(to),
                               [&](EdgeSlot m) { return graph_.target(m) != blocker && graph_.target(m) != waiter; });
  };
  edge.alone = graph_.waits(waiter).size() == 1 && std::ranges::none_of(graph_.edges(wait), others);
  names_.name(graph_.ref(wait), edge);
  return edge;
}

std::size_t EdgeChaser::start(graph::WaitRef ref) {
  const auto wait = graph_.find_wait(ref);
  if (!wait) return 0;
  Walk walk(*this);
  walk.from(graph_.edges(*wait), graph_.waiter(*wait));
  // A cycle of our own transactions is the Detector's, but one with ways out may hang on those of others.
  const bool mixed = graph_.partial_wait_count() > 0 || graph_.dotted_edge_count() > 0;
  if (auto cycle = walk.cycle(); mixed && !cycle.empty()) close(std::move(cycle));
  const auto sent = go_on(walk, {}, round_++, options_.filter);
  if (sent > 0) ++counters_.initiations;
  return sent;
}

/// Probes to all owners whose transactions were reached; how many.
std::size_t EdgeChaser::go_on(Walk& walk, const Path& before, std::uint64_t round, bool filtered) {
  std::size_t sent = 0;
  walk.each([&](Vertex v) {
    const auto& txn = graph_.txn(v);
    if (owned(txn)) return;
    const auto initiator = before.empty() ? walk.path_to(v).front().waiter : before.front().waiter;
    if (filtered && initiator < txn) return;
    if (sent >= options_.probes_per_start) return void(++counters_.fan_out_limit);
    auto path = before;
    for (auto& edge : walk.path_to(v)) path.push_back(std::move(edge));
    if (path.size() > options_.limits.path_edges) return void(++counters_.path_limit);
    ++sent;
    ++counters_.probes_sent;
    outgoing_.push_back({owner(txn), wire::Probe{round, filtered, txn, std::move(path)}});
  });
  return sent;
}

std::size_t EdgeChaser::LastingHash::operator()(const Lasting& one) const {
  if (const auto* wait = std::get_if<graph::WaitRef>(&one)) return absl::HashOf(wait->site, wait->sequence);
  const auto& member = std::get<Membership>(one);
  return absl::HashOf(member.group.site, member.group.number, member.txn.view());
}

void EdgeChaser::again(Lasting what, std::int64_t pause_us, std::int64_t now_us) {
  if (options_.again_first_us == 0) return;
  due_.insert_or_assign(what, now_us + pause_us);
  again_.push({now_us + pause_us, pause_us, std::move(what)});
}

void EdgeChaser::begin(graph::WaitRef wait, std::int64_t now_us) {
  if (map_.members.size() < 2) return;
  if (start(wait) > 0 || options_.filter) again(wait, options_.again_first_us, now_us);
}

void EdgeChaser::joined(const Membership& member, std::int64_t now_us) {
  if (owned(member.txn)) return poke(member.txn, now_us);
  tell_owner(member.txn);
  again(member, options_.again_first_us, now_us);
}

void EdgeChaser::tell_owner(const TxnId& txn) { outgoing_.push_back({owner(txn), wire::Poke{txn}}); }

void EdgeChaser::poke(const TxnId& txn, std::int64_t now_us) {
  const auto v = graph_.find_txn(txn);
  if (!v || graph_.is_group(*v)) return;
  std::vector<graph::WaitRef> waits;
  for (const auto w : graph_.waits(*v)) waits.push_back(graph_.ref(w));
  for (const auto wait : waits)
    if ((start(wait) > 0 || options_.filter) && !due_.contains(wait)) again(wait, options_.again_first_us, now_us);
}

bool EdgeChaser::is_new(const wire::Probe& probe) {
  const auto& first = probe.path.front();
  const auto digest =
      absl::HashOf(first.site.view(), first.incarnation, first.sequence, probe.round, probe.target.view());
  if (seen_.contains(digest) || seen_before_.contains(digest)) return false;
  if (seen_.size() >= options_.remembered / 2) seen_before_ = std::exchange(seen_, {});
  seen_.insert(digest);
  return true;
}

void EdgeChaser::receive(const wire::Probe& probe) {
  ++counters_.probes_received;
  if (probe.path.empty() || !owned(probe.target)) return void(++counters_.stale);
  if (!is_new(probe)) return void(++counters_.duplicates);
  const auto& initiator = probe.path.front().waiter;
  const auto closed = [&](Path cycle) {
    if (!names_.find(cycle.front())) return void(++counters_.stale);
    close(std::move(cycle));
  };
  if (probe.target == initiator) return closed(probe.path);
  const auto target = graph_.find_txn(probe.target);
  if (!target || graph_.waits(*target).empty()) return;
  if (probe.filtered && initiator < probe.target) return;
  Walk walk(*this);
  walk.from(graph_.out_edges(*target), *target);
  if (owned(initiator)) {
    walk.each([&](Vertex v) {
      if (graph_.txn(v) != initiator) return;
      auto cycle = probe.path;
      for (auto& edge : walk.path_to(v)) cycle.push_back(std::move(edge));
      closed(std::move(cycle));
    });
  }
  go_on(walk, probe.path, probe.round, probe.filtered);
}

/// All who find one cycle name the same leader.
void EdgeChaser::close(Path cycle) {
  ++counters_.suspects;
  const auto& smallest = std::ranges::min_element(cycle, {}, &GlobalEdge::waiter)->waiter;
  outgoing_.push_back({owner(smallest), wire::Suspect{std::move(cycle)}});
}

bool EdgeChaser::lasts(const Lasting& what) const {
  if (const auto* wait = std::get_if<graph::WaitRef>(&what)) return graph_.find_wait(*wait).has_value();
  const auto& member = std::get<Membership>(what);
  const auto group = graph_.find_group(member.group);
  const auto txn = graph_.find_txn(member.txn);
  return group && txn && graph_.is_member(*group, *txn) && !graph_.in_edges(*group).empty();
}

void EdgeChaser::tick(std::int64_t now_us) {
  while (!again_.empty() && again_.top().due_us <= now_us) {
    auto one = again_.top();
    again_.pop();
    const auto due = due_.find(one.what);
    if (due == due_.end() || due->second != one.due_us) continue;
    if (!lasts(one.what)) {
      due_.erase(due);
      continue;
    }
    if (const auto* wait = std::get_if<graph::WaitRef>(&one.what)) {
      start(*wait);
    } else {
      tell_owner(std::get<Membership>(one.what).txn);
    }
    again(std::move(one.what), std::min(one.pause_us * 2, options_.again_last_us), now_us);
  }
}

std::int64_t EdgeChaser::next_tick_us() const {
  return again_.empty() ? std::numeric_limits<std::int64_t>::max() : again_.top().due_us;
}

Closure EdgeChaser::closure(std::span<const TxnId> txns) {
  Closure found;
  absl::flat_hash_set<Vertex> reached;
  std::vector<Vertex> queue;
  const auto reach = [&](Vertex v) {
    if (!reached.insert(v).second) return;
    if (owned(graph_.txn(v))) {
      queue.push_back(v);
    } else {
      found.elsewhere.push_back(graph_.txn(v));
    }
  };
  for (const auto& txn : txns)
    if (const auto v = graph_.find_txn(txn)) reach(*v);
  for (std::size_t next = 0; next < queue.size() && found.complete; ++next) {
    const auto at = queue[next];
    found.txns.push_back(graph_.txn(at));
    for (const auto e : graph_.out_edges(at)) {
      if (!stands(e)) continue;
      const auto to = graph_.target(e);
      const auto add = [&](Vertex blocker) {
        if (blocker == at) return;
        found.edges.push_back(edge(e, blocker));
        reach(blocker);
      };
      if (!graph_.is_group(to)) {
        add(to);
      } else {
        for (const auto m : graph_.out_edges(to)) add(graph_.target(m));
      }
      found.complete = found.edges.size() <= options_.limits.gathered_edges;
      if (!found.complete) break;
    }
  }
  return found;
}

}  // namespace gordian::detect
