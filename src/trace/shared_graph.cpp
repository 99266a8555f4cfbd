#include "trace/shared_graph.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace gordian::trace {
namespace {

/// Sites are numbers here, the same for everyone; no agent starts anew.
class NumberedSites : public detect::WaitNames {
 public:
  explicit NumberedSites(const graph::WaitForGraph& graph) : graph_(graph) {}
  void name(graph::WaitRef wait, wire::GlobalEdge& edge) const override {
    edge.site = SiteId(std::to_string(wait.site));
    edge.sequence = wait.sequence;
    edge.age_us = ~graph_.reported(*graph_.find_wait(wait));  // the later it was reported the smaller
  }
  [[nodiscard]] std::optional<graph::WaitRef> find(const wire::GlobalEdge& edge) const override {
    const graph::WaitRef ref{number(edge.site), edge.sequence};
    return graph_.find_wait(ref) ? std::optional(ref) : std::nullopt;
  }
  static graph::SiteSlot number(const SiteId& site) {
    graph::SiteSlot slot = 0;
    const auto text = site.view();
    std::from_chars(text.data(), text.data() + text.size(), slot);
    return slot;
  }

 private:
  const graph::WaitForGraph& graph_;
};

}  // namespace

struct SharedGraph::Coordinator {
  Coordinator(const wire::MemberMap& map, std::size_t self, const detect::EdgeChaser::Options& options)
      : names(graph), detector(graph), chaser(graph, names, map, self, options) {}

  graph::WaitForGraph graph;
  NumberedSites names;
  detect::Detector detector;
  detect::EdgeChaser chaser;
};

class SharedGraph::Gathered {
 public:
  explicit Gathered(const std::vector<wire::GlobalEdge>& edges) : detector_(graph_) {
    struct Known {
      std::vector<Blocker> blockers;
      const wire::GlobalEdge* edge;
    };
    std::map<std::pair<std::uint64_t, graph::WaitRef>, Known> waits;  // the oldest report first
    for (const auto& edge : edges) {
      const graph::WaitRef ref{NumberedSites::number(edge.site), edge.sequence};
      waits.try_emplace({~edge.age_us, ref}, Known{{}, &edge})
          .first->second.blockers.push_back({edge.blocker, edge.kind});
    }
    for (const auto& [key, wait] : waits)
      (void)graph_.begin_wait(key.second, wait.edge->waiter, wait.blockers, {},
                              wait.edge->need == 0 ? graph::need_all : static_cast<std::uint32_t>(wait.edge->need));
  }
  [[nodiscard]] const graph::WaitForGraph& graph() const { return graph_; }
  [[nodiscard]] detect::Detector& detector() { return detector_; }

 private:
  graph::WaitForGraph graph_;
  detect::Detector detector_;
};

SharedGraph::SharedGraph(std::size_t coordinators, detect::EdgeChaser::Options options) {
  options.again_first_us = 0;  // nothing is lost here
  for (std::size_t i = 0; i < coordinators; ++i) map_.members.push_back({"c" + std::to_string(i), {}});
  for (std::size_t i = 0; i < coordinators; ++i)
    coordinators_.push_back(std::make_unique<Coordinator>(map_, i, options));
}
SharedGraph::~SharedGraph() = default;

SharedGraph::Coordinator& SharedGraph::owner(const TxnId& txn) const { return *coordinators_[wire::owner(map_, txn)]; }

tl::expected<void, graph::LimitReached> SharedGraph::begin_wait(graph::WaitRef ref, const TxnId& waiter,
                                                                std::span<const Blocker> blockers,
                                                                std::span<const std::uint64_t> groups,
                                                                std::uint32_t need) {
  const auto begun = owner(waiter).graph.begin_wait(ref, waiter, blockers, groups, need);
  if (!begun) return tl::unexpected(begun.error());
  return {};
}

void SharedGraph::end_wait(graph::WaitRef ref) {
  for (const auto& c : coordinators_)
    if (c->graph.end_wait(ref)) return;
}

tl::expected<void, graph::LimitReached> SharedGraph::begin_group(graph::GroupRef group) {
  for (const auto& c : coordinators_)
    if (const auto begun = c->graph.begin_group(group); !begun) return tl::unexpected(begun.error());
  return {};
}

void SharedGraph::end_group(graph::GroupRef group) {
  for (const auto& c : coordinators_) c->graph.end_group(group);
}

tl::expected<void, graph::LimitReached> SharedGraph::join(graph::GroupRef group, const TxnId& txn) {
  for (const auto& c : coordinators_)
    if (const auto joined = c->graph.join(group, txn); !joined) return tl::unexpected(joined.error());
  return {};
}

void SharedGraph::leave(graph::GroupRef group, const TxnId& txn) {
  for (const auto& c : coordinators_) c->graph.leave(group, txn);
}

void SharedGraph::remove_txn(const TxnId& txn) {
  for (const auto& c : coordinators_) c->graph.remove_txn(txn);
}

/// Until nobody has anything to say.
void SharedGraph::deliver() {
  std::deque<detect::EdgeChaser::Outgoing> queue;
  const auto take = [&] {
    for (const auto& c : coordinators_)
      for (auto& out : c->chaser.take_outgoing()) queue.push_back(std::move(out));
  };
  for (take(); !queue.empty(); take()) {
    const auto out = std::move(queue.front());
    queue.pop_front();
    if (const auto* probe = std::get_if<wire::Probe>(&out.message)) {
      ++probes_;
      coordinators_[out.member]->chaser.receive(*probe);
    } else if (const auto* suspect = std::get_if<wire::Suspect>(&out.message)) {
      ++suspects_;
      for (const auto& edge : suspect->cycle) suspected_.push_back(edge.waiter);
    }
  }
}

/// All that the suspected transactions reach, from all owners.
std::unique_ptr<SharedGraph::Gathered> SharedGraph::gather() {
  std::vector<wire::GlobalEdge> edges;
  std::set<TxnId> asked;
  for (auto queue = std::exchange(suspected_, {}); !queue.empty();) {
    const auto txn = std::move(queue.back());
    queue.pop_back();
    if (!asked.insert(txn).second) continue;
    auto closure = owner(txn).chaser.closure({&txn, 1});
    for (auto& edge : closure.edges)
      if (edge.waiter == txn) edges.push_back(edge);
    for (const auto& edge : closure.edges) queue.push_back(edge.blocker);
    for (const auto& other : closure.txns) queue.push_back(other);
  }
  return std::make_unique<Gathered>(edges);
}

std::optional<detect::Candidate> SharedGraph::search(graph::WaitRef ref, const TxnId& waiter) {
  auto& own = owner(waiter);
  const auto wait = own.graph.find_wait(ref);
  if (!wait) return std::nullopt;
  if (const auto local = own.detector.search(*wait)) suspected_ = local->members();
  own.chaser.begin(ref, 0);
  deliver();
  if (suspected_.empty()) return std::nullopt;
  const auto gathered = gather();
  const auto there = gathered->graph().find_wait(ref);
  return there ? gathered->detector().search(*there) : std::nullopt;
}

std::optional<detect::Candidate> SharedGraph::search(const TxnId& member) {
  auto& own = owner(member);
  const auto v = own.graph.find_txn(member);
  if (!v) return std::nullopt;
  std::vector<graph::WaitRef> waits;
  for (const auto w : own.graph.waits(*v)) waits.push_back(own.graph.ref(w));
  for (const auto& wait : waits)
    if (auto candidate = search(wait, member)) return candidate;
  return std::nullopt;
}

std::vector<detect::Candidate> SharedGraph::full_pass() {
  for (const auto& c : coordinators_) {
    for (const auto& local : c->detector.full_pass())
      for (auto& txn : local.members()) suspected_.push_back(std::move(txn));
    for (graph::Vertex v = 0; v < c->graph.vertex_capacity(); ++v) {
      if (!c->graph.alive(v) || c->graph.is_group(v) || c->graph.waits(v).empty()) continue;
      c->chaser.poke(c->graph.txn(v), 0);
    }
  }
  deliver();
  if (suspected_.empty()) return {};
  return gather()->detector().full_pass();
}

}  // namespace gordian::trace
