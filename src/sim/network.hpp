// Who can reach whom, and what happens to a message on its way: delay, loss, duplication, reordering, breaks and partitions.
//
// A link has one direction. Messages of a link arrive in order, as on a connection, but for those that Faults::reorder_ppm picks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sim/faults.hpp"
#include "sim/random.hpp"
#include "sim/scheduler.hpp"

namespace gordian::sim {

using NodeId = std::size_t;

class Network {
 public:
  struct Counters {
    std::uint64_t sent = 0, lost = 0, duplicated = 0, reordered = 0, slow = 0;
  };
  /// `twin`: the same message was delivered right before.
  using Deliver = std::function<void(NodeId from, NodeId to, const std::string& bytes, bool twin)>;

  /// Nodes from `first_client` on are lock clients: their links are lock links.
  Network(Scheduler& clock, const Faults& faults, Random random, std::size_t nodes, NodeId first_client,
          Deliver deliver);

  void send(NodeId from, NodeId to, std::string bytes);
  /// What is on its way between the two is lost.
  void break_connection(NodeId a, NodeId b);
  /// Nothing gets from one to the other until it is healed as often as it was cut. `hold`: it arrives after that (a connection
  /// that survives), else it is lost.
  void cut(NodeId from, NodeId to, bool hold);
  void heal(NodeId from, NodeId to);
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Link {
    std::uint32_t cuts = 0;
    bool hold = false;
    std::uint32_t connection = 0;
    Micros in_order = 0;  ///< nothing that keeps the order arrives before
    std::vector<std::string> held;
  };
  Link& link(NodeId from, NodeId to) { return links_[from * nodes_ + to]; }
  [[nodiscard]] Micros delay();
  void travel(NodeId from, NodeId to, std::string bytes, bool with_twin, Micros arrives);

  Scheduler& clock_;
  const Faults& faults_;
  Random random_;
  std::size_t nodes_;
  NodeId first_client_;
  Deliver deliver_;
  std::vector<Link> links_;
  Counters counters_;
};

}  // namespace gordian::sim
