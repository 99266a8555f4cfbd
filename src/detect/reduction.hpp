// Reduction, for every wait model: the definition of a deadlock, as docs/semantics.md gives it, done by a work list.
//
// WaitModel says who waits for whom, as plain numbers; it is filled from a part of the graph or from a candidate's edges.
// Reduction is its state while transactions end: it only ever goes forward, and is copied to try something. Neither
// knows ids, policies or cycles. Not thread-safe.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/inlined_vector.h>

#include <cstdint>
#include <gordian/wait.hpp>
#include <span>
#include <utility>
#include <vector>

namespace gordian::detect {

/// Transactions, groups, waits and edges, each numbered from 0 in the order in which it was added.
class WaitModel {
 public:
  using Number = std::uint32_t;
  using Numbers = absl::InlinedVector<Number, 4>;
  static constexpr Number need_all = 0xffffffff;

  struct Txn {
    Numbers waits;
    Numbers in;  ///< edges that name it
    Numbers groups;
  };
  struct Group {
    std::vector<Number> members;
    std::vector<Number> in;
  };
  struct Wait {
    Number waiter = 0;
    std::uint32_t site = 0;
    std::uint32_t need = need_all;  ///< of its edges; need_all: all
    Numbers edges;
  };
  struct Edge {
    Number wait;
    Number to;  ///< a transaction, or a group
    bool to_group;
    Kind kind;
  };

  Number add_txn();
  Number add_group();
  /// Once for each member.
  void join(Number group, Number txn);
  Number add_wait(Number waiter, std::uint32_t site, std::uint32_t need);
  Number add_edge(Number wait, Number blocker, Kind kind);
  /// For all members but the waiter itself.
  Number add_group_edge(Number wait, Number group, Kind kind);

  [[nodiscard]] const std::vector<Txn>& txns() const { return txns_; }
  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }
  [[nodiscard]] const std::vector<Wait>& waits() const { return waits_; }
  [[nodiscard]] const std::vector<Edge>& edges() const { return edges_; }
  [[nodiscard]] Number waiter(Number edge) const { return waits_[edges_[edge].wait].waiter; }

 private:
  friend class Reduction;
  /// Dotted edges, by whom they wait for and where.
  using Watched = std::pair<Number, std::uint32_t>;

  std::vector<Txn> txns_;
  std::vector<Group> groups_;
  std::vector<Wait> waits_;
  std::vector<Edge> edges_;
  absl::flat_hash_map<Watched, Number> watches_;
  std::vector<std::vector<Number>> watchers_;  ///< by the numbers in watches_
};

/// Who has ended so far, and which waits are satisfied. Cost of all calls together: O(the model).
class Reduction {
 public:
  using Number = WaitModel::Number;

  /// Borrows the model, which must be complete and outlive it. Reduces as far as it goes.
  explicit Reduction(const WaitModel& model);

  /// The transaction ends although it could not (a victim), and all that follows from it.
  void end(Number txn);
  /// This edge is waited for no more (a reorder), and all that follows.
  void drop(Number edge);
  void drop(std::span<const Number> edges);

  [[nodiscard]] bool ended(Number txn) const { return ended_[txn]; }
  /// How many have not ended.
  [[nodiscard]] std::size_t left() const { return left_; }
  /// Does the edge still stand in the way: its wait is not satisfied, and neither is it?
  [[nodiscard]] bool blocks(Number edge) const {
    const auto wait = model_->edges_[edge].wait;
    return !over_[edge] && !satisfied_[wait] && !ended_[model_->waits_[wait].waiter];
  }
  /// How many of a wait's edges that are not over must still end: need_all, if all.
  [[nodiscard]] std::uint32_t need(Number wait) const;

 private:
  void start();
  void go();
  void over(Number edge);
  void satisfy(Number wait);
  void settle(Number txn);
  void end_in_group(Number group);
  [[nodiscard]] std::size_t required(Number wait) const;

  const WaitModel* model_;
  std::vector<bool> ended_;
  std::vector<bool> over_;
  std::vector<bool> satisfied_;
  std::vector<std::uint32_t> waits_left_;    ///< by transaction
  std::vector<std::uint32_t> over_count_;    ///< by wait
  std::vector<std::uint32_t> members_left_;  ///< by group
  std::vector<std::uint32_t> watched_left_;  ///< unsatisfied waits of whom a dotted edge waits for, at its site
  std::size_t left_;
  std::vector<Number> ending_;
  std::vector<Number> passing_;  ///< edges that are over from now on
};

}  // namespace gordian::detect
