// Detection between sites: the real edge chaser of Chandy, Misra and Haas at each, and messages that take virtual time.
//
// Every site has a lock table and a coordinator. A site reports its waits to the owners of their waiters (wire/ownership.hpp),
// owners send probes, a probe that comes back makes a suspect, and whoever leads it asks the sites whether each edge still
// stands and has stood since it was reported; only then it chooses a victim and orders its site to abort it, while that wait
// stands. What the daemons do besides (sessions, losses, batches, reservations) is simulated in sim/. Messages within a
// site take no time and are not counted; those of one link arrive in order.
#pragma once

#include <cstdint>
#include <gordian/lock_table.hpp>
#include <memory>
#include <variant>
#include <vector>

#include "detect/edge_chaser.hpp"
#include "detect/victims.hpp"
#include "experiments/detection.hpp"

namespace gordian::experiments {

class Chase {
 public:
  struct Options {
    bool filter = false;
    std::int64_t again = 0;  ///< as detect::EdgeChaser's again_first_us; doubled up to ten times that
  };
  Chase(DetectionHost& model, std::size_t sites, detect::Policy policy, Options options);
  Chase(const Chase&) = delete;
  Chase& operator=(const Chase&) = delete;
  ~Chase();

  /// For that site's table.
  [[nodiscard]] WaitObserver* observer(std::size_t site);
  /// To be called after each call of a table: sends what has changed.
  void settle();
  /// A message arrives.
  void deliver(std::uint32_t message);
  /// Probes that are due are sent again.
  void tick();

 private:
  class Agent;
  struct Coordinator;

  /// One wait with its blockers as they are now, or its end.
  struct Report {
    graph::WaitRef wait;
    TxnId waiter;
    std::vector<Blocker> blockers;
    std::vector<std::uint64_t> since;  ///< of each blocker: the table's step
    bool over = false;
  };
  struct Question {
    std::uint64_t case_number;
    std::uint32_t leader;
    std::vector<wire::GlobalEdge> edges;  ///< of the asked site
  };
  struct Answer {
    std::uint64_t case_number;
    bool stands;
  };
  struct Order {
    wire::GlobalEdge edge;  ///< the victim is its waiter…
    bool reorder;           ///< …or it is to be let past its blocker
    std::size_t cycle_length;
  };
  using Body = std::variant<Report, wire::Probe, wire::Suspect, Question, Answer, Order>;
  struct Message {
    std::uint32_t to;
    Body body;
  };

  void send(std::size_t from, std::size_t to, Body body);
  void take(std::size_t site, Report& report);
  void take(std::size_t site, const wire::Probe& probe);
  void take(std::size_t site, const wire::Suspect& suspect);
  void take(std::size_t site, const Question& question);
  void take(std::size_t site, const Answer& answer);
  void take(std::size_t site, const Order& order);
  void look_again(std::size_t site);
  void send_outgoing(std::size_t site);
  void suspect(std::size_t leader, std::vector<wire::GlobalEdge> cycle);
  void resolve(std::size_t leader, const std::vector<wire::GlobalEdge>& cycle);

  DetectionHost& model_;
  const detect::Policy policy_;
  wire::MemberMap map_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::vector<std::unique_ptr<Coordinator>> coordinators_;
  std::vector<std::int64_t> last_arrival_;  ///< by link, from · sites + to
  std::vector<Message> messages_;           ///< on their way; places of free_ are not
  std::vector<std::uint32_t> free_;
  const std::int64_t pass_every_;
  std::int64_t wake_at_;
};

}  // namespace gordian::experiments
