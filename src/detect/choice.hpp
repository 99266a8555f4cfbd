// One choice of victims: what the policies say of a candidate's members, and the two ways to break it up. Private to
// this room; what it promises is victims.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "detect/reduction.hpp"
#include "detect/victims.hpp"

namespace gordian::detect {

/// A transaction's number in this candidate; numbers follow the ids' byte order.
using Member = std::uint32_t;
using Members = std::vector<Member>;

class Choice {
 public:
  Choice(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy, const Weights& weights);
  /// Every wait needs all of its blockers, and no edge is dotted.
  [[nodiscard]] Victims run();
  /// Whatever the waits need.
  [[nodiscard]] Victims run_mixed();
  /// Soft edges that must be given up after these victims have ended, so that not more is deadlocked than without any soft
  /// edge. Sorted.
  [[nodiscard]] std::vector<CandidateEdge> reorder(const std::vector<TxnId>& victims) const;
  /// Who is on a cycle, sorted, but for these.
  [[nodiscard]] std::vector<TxnId> on_cycles_but(const std::vector<TxnId>& victims) const;

 private:
  struct Chosen {
    Member member;
    std::string why;
  };

  [[nodiscard]] bool ordering_policy() const;
  [[nodiscard]] double fixed_cost(const TxnInfo& info) const;
  [[nodiscard]] bool goes_before(Member a, Member b) const;
  [[nodiscard]] std::vector<Members> cyclic_components(const Members& among) const;
  [[nodiscard]] Members candidates_in(const Members& component) const;
  [[nodiscard]] std::optional<Member> requester_in(const Members& component) const;
  [[nodiscard]] Member cheapest(const Members& candidates) const;
  [[nodiscard]] std::string because(Member victim, const Members& component, const Members& candidates) const;
  [[nodiscard]] bool on_cycle(Member member) const;
  [[nodiscard]] bool reaches_all(const Members& members, const std::vector<Members>& neighbours) const;
  void enter(const Members& component);
  void remove(Member victim, Members& component);
  [[nodiscard]] std::optional<Member> choose_one(const Members& component, bool whole);
  [[nodiscard]] bool remove_victims(Members& component, bool whole);
  void break_component(const Members& component);
  [[nodiscard]] Members most_wanted_first() const;
  void give_back_superfluous();
  [[nodiscard]] Member member(const TxnId& id) const;
  [[nodiscard]] Victims result(const std::vector<Members>& components);

  [[nodiscard]] WaitModel model() const;
  void look_at(const WaitModel& model, const Reduction& reduction);
  [[nodiscard]] Reduction reduced(const WaitModel& model) const;
  [[nodiscard]] std::vector<Members> breakable(const std::vector<Members>& components) const;
  void weigh_by_what_they_free(const Members& component, const Reduction& now);
  void give_back_superfluous(const WaitModel& model);

  const std::vector<CandidateEdge>& edges_;
  const Policy policy_;
  const Weights weights_;
  std::vector<TxnId> ids_;  ///< sorted
  std::vector<TxnInfo> infos_;
  std::vector<double> costs_;          ///< of policies whose cost is a transaction's own
  std::vector<std::uint32_t> places_;  ///< 0: the one the policy wants gone first, priorities aside
  std::vector<Members> out_;           ///< each blocker once
  std::vector<Members> in_;
  std::vector<bool> gone_;
  std::vector<bool> inside_;             ///< of the component that is being broken
  std::vector<std::size_t> out_inside_;  ///< how many of out_, and of in_, are inside
  std::vector<std::size_t> in_inside_;
  std::vector<Chosen> chosen_;
  Members unresolved_;
};

}  // namespace gordian::detect
