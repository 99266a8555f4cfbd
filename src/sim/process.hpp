// A simulated process: real code between a simulated network and a simulated clock. It can crash, start again and be paused.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/faults.hpp"
#include "sim/log.hpp"
#include "sim/network.hpp"
#include "sim/observer.hpp"

namespace gordian::sim {

/// What every process has around it.
struct Surroundings {
  Scheduler& clock;
  Network& network;
  Observer& observer;
  Log& log;
  const Faults& faults;
  std::vector<NodeId> coordinators{};
  std::map<SiteId, NodeId> sites{};
  std::map<std::string, NodeId> peers{};  ///< connections that stand, by routing id: of processes that run
  std::map<NodeId, std::string> routing_ids{};
};

class Process {
 public:
  Process(Surroundings& around, NodeId id, std::string name) : around_(around), id_(id), name_(std::move(name)) {}
  virtual ~Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// For the first time, or after a crash.
  virtual void start() = 0;
  /// Everything that is not on disk is gone.
  virtual void crash() = 0;
  virtual void receive(NodeId from, const std::string& bytes) = 0;
  /// Does what is due by now, and sends what there is to say.
  virtual void work() = 0;
  /// When work() has something to do next.
  [[nodiscard]] virtual Micros next_due() = 0;
  /// A connection to that node was broken and stands again.
  virtual void reconnected(NodeId) {}
  /// Something that changes with every change of what the property of idempotence is about; 0: nothing is.
  [[nodiscard]] virtual std::uint64_t fingerprint() { return 0; }

  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 protected:
  [[nodiscard]] Micros now() const { return around_.clock.now(); }
  void send(NodeId to, std::string bytes) { around_.network.send(id_, to, std::move(bytes)); }
  template <class Text>
  void log(Text text) {
    if (around_.log.wanted()) around_.log.line(name_, text());
  }
  /// From now on others know this process by that routing id; it is another one after each start.
  void connect(const std::string& routing_id) {
    disconnect();
    around_.peers[routing_id] = id_;
    around_.routing_ids[id_] = routing_id;
  }
  void disconnect() {
    if (const auto it = around_.routing_ids.find(id_); it != around_.routing_ids.end()) around_.peers.erase(it->second);
    around_.routing_ids.erase(id_);
  }
  [[nodiscard]] const std::string& routing_id(NodeId node) const { return around_.routing_ids.at(node); }
  /// The node that a connection leads to, or none.
  [[nodiscard]] const NodeId* find_peer(const std::string& peer) const {
    const auto it = around_.peers.find(peer);
    return it == around_.peers.end() ? nullptr : &it->second;
  }

  Surroundings& around_;

 private:
  NodeId id_;
  std::string name_;
};

}  // namespace gordian::sim
