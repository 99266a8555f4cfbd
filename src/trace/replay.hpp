// Drives a wait-for trace through the real graph, detector and victim policies: deterministic, without a network.
#pragma once

#include <istream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "detect/detector.hpp"
#include "trace/incident.hpp"
#include "trace/operations.hpp"
#include "trace/shared_graph.hpp"

namespace gordian::trace {

/// Replays one trace, operation by operation. Not thread-safe. A victim is ended at once, as a real abort would do, and of
/// a reorder the soft edges that it dissolves vanish.
class Replay {
 public:
  /// `policy` takes the place of the one that the trace names.
  explicit Replay(std::optional<detect::Policy> policy = std::nullopt, graph::Limits limits = {});

  /// Errors: a sentence, if the graph's limits are exceeded. Cost: a wait, what is reachable from it;
  /// `detect`, the graph.
  tl::expected<void, std::string> apply(const Line& line);

  [[nodiscard]] const std::vector<Incident>& incidents() const { return incidents_; }
  [[nodiscard]] const std::vector<FailedExpectation>& failed() const { return failed_; }

 private:
  using Applied = tl::expected<void, std::string>;
  // What names a wait in a trace; ordered, so that a transaction's waits lie together.
  using WaitKey = std::tuple<TxnId, graph::SiteSlot, std::string>;
  struct Standing {
    std::uint64_t sequence;        ///< of which there is one count for all sites
    std::set<TxnId> dotted_too{};  ///< soft blockers that `for` names as dotted ones: these stay after a reorder
  };
  using Waits = std::map<WaitKey, Standing>;

  Applied apply(const Mode& mode);
  Applied apply(const Begin& begin);
  Applied apply(const BeginWait& wait);
  Applied apply(const Holders& holders);
  Applied apply(const EndWait& wait);
  Applied apply(const EndTxn& end);
  Applied apply(const LoseSite& lose);
  Applied apply(const Detect& detect);
  Applied apply(const Expect& expect);

  TxnInfo& appear(const TxnId& txn);
  void end_txn(const TxnId& txn);
  Waits::iterator forget_wait(Waits::iterator wait);
  [[nodiscard]] graph::SiteSlot site_slot(const SiteId& site);
  [[nodiscard]] tl::expected<graph::GroupRef, std::string> group_of(graph::SiteSlot site, const std::string& resource);
  bool resolve(const std::vector<detect::Candidate>& candidates);
  template <class Search>
  void search_until_free(Search search);
  void reorder(const detect::CandidateEdge& soft);
  void record(const detect::Candidate& candidate, const detect::Victims& chosen, const std::vector<TxnId>& held_up);
  void compare(const char* key, const std::optional<std::vector<TxnId>>& expected, const std::set<TxnId>& found);
  void compare(const char* key, const std::optional<std::string>& expected, const std::string& found);

  std::optional<detect::Candidate> search(graph::WaitRef ref, const TxnId& waiter);
  std::optional<detect::Candidate> search(graph::GroupRef group, const TxnId& member);
  std::vector<detect::Candidate> full_pass() { return shared_ ? shared_->full_pass() : detector_.full_pass(); }

  graph::WaitForGraph graph_;
  detect::Detector detector_;
  /// Of several coordinators; who is deadlocked is said by the whole graph.
  std::optional<SharedGraph> shared_;
  bool on_demand_ = false;
  bool policy_given_;
  detect::Policy policy_;
  std::size_t line_ = 0;

  std::unordered_map<TxnId, TxnInfo> txns_;
  std::uint64_t appeared_ = 0;  ///< how many transactions so far: a new one's start, unless its id is a number
  std::vector<SiteId> sites_;   ///< by graph::SiteSlot
  std::map<SiteId, graph::SiteSlot> site_slots_;
  Waits waits_;
  std::unordered_map<std::uint64_t, const WaitKey*> wait_of_sequence_;
  std::uint64_t sequence_ = 0;
  std::map<std::pair<graph::SiteSlot, std::string>, std::uint64_t>
      groups_;  ///< who holds a resource, to the group's number
  std::uint64_t last_group_ = 0;

  std::set<TxnId> unresolved_;  ///< on standing cycles that are reported already, and that nobody may break
  std::vector<Incident> incidents_;
  std::vector<FailedExpectation> failed_;
  // Since the last `expect`.
  std::set<TxnId> victims_;
  std::set<TxnId> deadlocked_;
  bool reordered_ = false;
  std::size_t incidents_before_ = 0;
};

/// Everything that came of one trace; up to the error, if there is one.
struct Outcome {
  std::vector<Incident> incidents;
  std::vector<FailedExpectation> failed;
  std::optional<TraceError> error;
};
/// `file` names the stream in errors.
[[nodiscard]] Outcome replay(std::istream& in, const std::string& file,
                             std::optional<detect::Policy> policy = std::nullopt);

}  // namespace gordian::trace
