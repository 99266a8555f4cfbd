// What befalls a world: crashes, pauses, broken connections and partitions, until it is told to calm down.
#include <algorithm>

#include "sim/world.hpp"

namespace gordian::sim {

/// Now and then, `every` on average.
template <class Fault>
void World::repeat(std::int64_t Faults::*every, Fault fault) {
  const auto mean = faults_.*every;
  if (mean == 0) return;
  clock_.at(clock_.now() + fault_random_.between(mean / 2, mean * 3 / 2), [this, every, fault] {
    if (calm_) return;
    fault();
    repeat(every, fault);
  });
}

void World::plan_faults() {
  repeat(&Faults::crash_coordinator_every_us, [this] {
    if (const auto node = pick(0, first_site_)) crash(*node);
  });
  repeat(&Faults::crash_site_every_us, [this] {
    if (const auto node = pick(first_site_, first_client_)) crash(*node);
  });
  repeat(&Faults::crash_client_every_us, [this] {
    if (const auto node = pick(first_client_, nodes_)) crash(*node);
  });
  repeat(&Faults::pause_every_us, [this] {
    if (const auto node = pick(0, nodes_)) pause(*node);
  });
  repeat(&Faults::break_every_us, [this] {
    const auto site = pick(first_site_, first_client_);
    auto other = fault_random_.below(nodes_ - sites_.size());
    if (other >= first_site_) other += sites_.size();
    if (site) break_connection(*site, other);
  });
  repeat(&Faults::partition_every_us, [this] { partition(); });
}

/// One of those that run.
std::optional<NodeId> World::pick(NodeId first, NodeId last) {
  std::vector<NodeId> running;
  for (NodeId node = first; node < last; ++node)
    if (slots_[node].up && !slots_[node].paused) running.push_back(node);
  if (running.empty()) return std::nullopt;
  return running[fault_random_.below(running.size())];
}

void World::crash(NodeId node) {
  Slot& slot = slots_[node];
  log_.line("FAULT", slot.process->name() + " crashes");
  log_.happened(node, "crashes");
  ++injected_.crashes;
  observer_->trouble(node, true);
  slot.up = false;
  slot.inbox.clear();
  slot.process->crash();
  for (NodeId other = 0; other < nodes_; ++other) network_->break_connection(node, other);
  clock_.at(clock_.now() + fault_random_.between(1'000, faults_.down_us_max), [this, node] { start(node); });
}

void World::start(NodeId node) {
  if (slots_[node].up) return;
  slots_[node].up = true;
  log_.happened(node, "starts");
  slots_[node].process->start();
  let_work(node);
  reconnect(node);
  observer_->trouble(node, false);
}

/// Who was connected to it is so again.
void World::reconnect(NodeId node) {
  for (NodeId other = 0; other < nodes_; ++other) {
    if (other == node || !slots_[other].up || slots_[other].paused) continue;
    slots_[other].process->reconnected(node);
    let_work(other);
  }
}

void World::pause(NodeId node) {
  log_.line("FAULT", slots_[node].process->name() + " is paused");
  log_.happened(node, "is paused");
  ++injected_.pauses;
  observer_->trouble(node, true);
  slots_[node].paused = true;
  clock_.at(clock_.now() + fault_random_.between(10'000, faults_.pause_us_max), [this, node] { resume(node); });
}

void World::resume(NodeId node) {
  Slot& slot = slots_[node];
  if (!std::exchange(slot.paused, false)) return;
  log_.line("FAULT", slot.process->name() + " goes on");
  observer_->trouble(node, false);
  for (auto inbox = std::exchange(slot.inbox, {}); const auto& [from, bytes] : inbox) deliver(from, node, bytes, false);
  wake(node);
}

void World::break_connection(NodeId a, NodeId b) {
  log_.line("FAULT",
            "the connection of " + slots_[a].process->name() + " and " + slots_[b].process->name() + " breaks");
  ++injected_.breaks;
  network_->break_connection(a, b);
  observer_->blip(a);
  observer_->blip(b);
  for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    if (!slots_[one].up || slots_[one].paused) continue;
    slots_[one].process->reconnected(other);
    let_work(one);
  }
}

void World::partition() {
  std::vector<bool> apart(nodes_);
  const auto share = fault_random_.between(1, 3);  // a quarter to three quarters are on the other side
  for (NodeId node = 0; node < nodes_; ++node) apart[node] = fault_random_.below(4) < static_cast<std::uint64_t>(share);
  const bool one_way = fault_random_.below(3) == 0;
  const bool hold = fault_random_.below(2) == 0;
  Partition cut;
  std::string who;
  for (NodeId a = 0; a < nodes_; ++a) {
    if (!apart[a]) continue;
    who += " " + slots_[a].process->name();
    for (NodeId b = 0; b < nodes_; ++b) {
      if (apart[b]) continue;
      cut.cuts.emplace_back(a, b);
      if (!one_way) cut.cuts.emplace_back(b, a);
      if (!is_client(a) && !is_client(b)) cut.touched.push_back(a), cut.touched.push_back(b);
    }
  }
  log_.line("FAULT", "cut off" + std::string(one_way ? ", one way:" : ":") + who);
  ++injected_.partitions;
  for (const auto& [from, to] : cut.cuts) network_->cut(from, to, hold);
  for (const auto node : cut.touched) observer_->trouble(node, true);
  partitions_.push_back(std::move(cut));
  clock_.at(clock_.now() + fault_random_.between(50'000, faults_.partition_us_max),
            [this, number = partitions_.size() - 1] { heal(number); });
}

void World::heal(std::size_t number) {
  const auto cut = std::exchange(partitions_[number], {});
  if (cut.cuts.empty()) return;
  log_.line("FAULT", "a partition heals");
  for (const auto& [from, to] : cut.cuts) network_->heal(from, to);
  for (const auto node : cut.touched) observer_->trouble(node, false);
}

void World::calm_down() {
  log_.line("FAULT", "no more from here on");
  calm_ = true;
  const auto name = faults_.name;
  for (const auto& kind : kinds_of_faults())
    if (kind != "duplicates") (void)leave_out(faults_, kind);
  for (std::size_t i = 0; i < partitions_.size(); ++i) heal(i);
  for (NodeId node = 0; node < nodes_; ++node) {
    resume(node);
    start(node);
  }
  for (auto* client : clients_) {
    client->finish();
    let_work(client->id());
  }
}

}  // namespace gordian::sim
