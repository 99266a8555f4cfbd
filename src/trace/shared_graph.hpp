// The wait-for graph of a trace as several coordinators share it: each owns the waits of its transactions, and deadlocks
// between them are found by edge chasing. Their messages are delivered at once and in order, all in one process.
//
// Not thread-safe. What is found is what a detector on the whole graph would find.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "detect/detector.hpp"
#include "detect/edge_chaser.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::trace {

class SharedGraph {
 public:
  explicit SharedGraph(std::size_t coordinators, detect::EdgeChaser::Options options = {});
  ~SharedGraph();

  // As of graph::WaitForGraph.
  tl::expected<void, graph::LimitReached> begin_wait(graph::WaitRef ref, const TxnId& waiter,
                                                     std::span<const Blocker> blockers,
                                                     std::span<const std::uint64_t> groups, std::uint32_t need);
  void end_wait(graph::WaitRef ref);
  tl::expected<void, graph::LimitReached> begin_group(graph::GroupRef group);
  void end_group(graph::GroupRef group);
  tl::expected<void, graph::LimitReached> join(graph::GroupRef group, const TxnId& txn);
  void leave(graph::GroupRef group, const TxnId& txn);
  void remove_txn(const TxnId& txn);

  // As of detect::Detector.
  [[nodiscard]] std::optional<detect::Candidate> search(graph::WaitRef ref, const TxnId& waiter);
  [[nodiscard]] std::optional<detect::Candidate> search(const TxnId& member);
  [[nodiscard]] std::vector<detect::Candidate> full_pass();

  /// Probes sent so far, and suspects told to their leaders.
  [[nodiscard]] std::uint64_t probes() const { return probes_; }
  [[nodiscard]] std::uint64_t suspects() const { return suspects_; }

 private:
  struct Coordinator;
  /// The edges around suspects, as a graph of their own.
  class Gathered;

  [[nodiscard]] Coordinator& owner(const TxnId& txn) const;
  void deliver();
  [[nodiscard]] std::unique_ptr<Gathered> gather();

  wire::MemberMap map_;
  std::vector<std::unique_ptr<Coordinator>> coordinators_;
  std::vector<TxnId> suspected_;
  std::uint64_t probes_ = 0;
  std::uint64_t suspects_ = 0;
};

}  // namespace gordian::trace
