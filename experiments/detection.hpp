// Detection in a model: the real graph, detector and victims, fed by what the lock tables tell.
//
// Watch sees all sites at once, as one coordinator beside the tables would; at every wait, or in passes. Detection between sites
// whose messages take time is chase.hpp. What is found is broken at once, in the same instant of virtual time.
#pragma once

#include <gordian/lock_table.hpp>
#include <gordian/wait.hpp>
#include <memory>
#include <vector>

#include "agent/table_reporter.hpp"
#include "detect/detector.hpp"
#include "experiments/result.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::experiments {

/// What detection may ask of the model and do to it.
class DetectionHost {
 public:
  virtual ~DetectionHost() = default;
  [[nodiscard]] virtual LockTable& table(std::size_t site) = 0;
  [[nodiscard]] virtual TxnInfo describe(const TxnId& txn) const = 0;
  /// Units since it began to wait.
  [[nodiscard]] virtual double waited(const TxnId& txn) const = 0;
  [[nodiscard]] virtual Result& counts() = 0;
  /// Millionths of a unit.
  [[nodiscard]] virtual std::int64_t now() const = 0;
  /// How long a message between two sites takes, drawn anew.
  [[nodiscard]] virtual std::int64_t travel() = 0;
  /// Chase::deliver shall be called with it then.
  virtual void post(std::int64_t at, std::uint32_t message) = 0;
  /// Chase::tick shall be called then.
  virtual void wake(std::int64_t at) = 0;
};

class Watch {
 public:
  /// `at_once`: every wait is searched from; else only pass() looks.
  Watch(DetectionHost& model, std::size_t sites, detect::Policy policy, bool at_once);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  /// For that site's table.
  [[nodiscard]] WaitObserver* observer(std::size_t site);
  /// To be called after each call of a table: breaks what that has closed.
  void settle();
  /// Breaks all deadlocks that there are, and counts how long whoever was stuck has waited.
  void pass();

 private:
  class Reporter;
  struct Place {
    graph::WaitRef wait;    ///< if `group` is none
    graph::GroupRef group;  ///< with `member`
    std::optional<TxnId> member;
  };

  [[nodiscard]] std::optional<detect::Candidate> search(const Place& place);
  bool break_up(const detect::Candidate& candidate);
  [[nodiscard]] bool reorder(const detect::Victims& chosen);
  bool abort(const TxnId& victim, const std::vector<detect::CandidateEdge>& edges);

  DetectionHost& model_;
  const detect::Policy policy_;
  const bool at_once_;
  graph::WaitForGraph graph_;
  detect::Detector detector_{graph_};
  std::vector<Place> places_;  ///< where a cycle may have been closed
  std::vector<std::unique_ptr<Reporter>> sites_;
};

}  // namespace gordian::experiments
