#include "sim/network.hpp"

#include <algorithm>
#include <utility>

namespace gordian::sim {

Network::Network(Scheduler& clock, const Faults& faults, Random random, std::size_t nodes, NodeId first_client,
                 Deliver deliver)
    : clock_(clock),
      faults_(faults),
      random_(random),
      nodes_(nodes),
      first_client_(first_client),
      deliver_(std::move(deliver)),
      links_(nodes * nodes) {}

Micros Network::delay() {
  Micros delay = random_.between(faults_.delay_us_min, faults_.delay_us_max);
  if (!random_.chance(faults_.slow_ppm)) return delay;
  ++counters_.slow;
  constexpr int doublings_max = 4;
  delay *= 10;
  for (int i = 0; i < doublings_max && random_.below(2) == 0; ++i) delay *= 2;
  return delay;
}

void Network::send(NodeId from, NodeId to, std::string bytes) {
  ++counters_.sent;
  Link& way = link(from, to);
  if (way.cuts > 0) {
    if (way.hold) {
      way.held.push_back(std::move(bytes));
    } else {
      ++counters_.lost;
    }
    return;
  }
  if (random_.chance(faults_.loss_ppm)) {
    ++counters_.lost;
    return;
  }
  const bool orderly = !faults_.reorder_lock_links && (from >= first_client_ || to >= first_client_);
  Micros arrives = clock_.now() + delay();
  if (!orderly && random_.chance(faults_.reorder_ppm)) {
    ++counters_.reordered;
  } else {
    arrives = way.in_order = std::max(arrives, way.in_order);
  }
  // A duplicate comes right after its twin, or, where there is no order, whenever it likes.
  const bool duplicate = random_.chance(faults_.duplicate_ppm);
  const bool late = duplicate && !orderly && faults_.reorder_ppm > 0 && random_.below(2) == 0;
  if (duplicate) ++counters_.duplicated;
  if (late) travel(from, to, bytes, false, arrives + delay());
  travel(from, to, std::move(bytes), duplicate && !late, arrives);
}

void Network::travel(NodeId from, NodeId to, std::string bytes, bool with_twin, Micros arrives) {
  clock_.at(arrives, [this, from, to, with_twin, connection = link(from, to).connection, bytes = std::move(bytes)] {
    if (link(from, to).connection != connection) {
      ++counters_.lost;
      return;
    }
    deliver_(from, to, bytes, false);
    if (with_twin && link(from, to).connection == connection) deliver_(from, to, bytes, true);
  });
}

void Network::break_connection(NodeId a, NodeId b) {
  for (Link* way : {&link(a, b), &link(b, a)}) {
    ++way->connection;
    way->in_order = 0;
    counters_.lost += way->held.size();
    way->held.clear();
  }
}

void Network::cut(NodeId from, NodeId to, bool hold) {
  Link& way = link(from, to);
  ++way.cuts;
  way.hold = hold;
}

void Network::heal(NodeId from, NodeId to) {
  Link& way = link(from, to);
  if (way.cuts == 0 || --way.cuts > 0) return;
  for (auto held = std::exchange(way.held, {}); auto& bytes : held) send(from, to, std::move(bytes));
}

}  // namespace gordian::sim
