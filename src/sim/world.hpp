// A whole world from one seed: coordinators, sites and clients on a network, faults that befall them, and the observer.
//
// The same options give the same run, step by step, on every machine.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "sim/client.hpp"
#include "sim/coordinator_process.hpp"
#include "sim/engine_site.hpp"
#include "sim/lock_site.hpp"
#include "sim/process.hpp"

namespace gordian::sim {

struct Options {
  std::uint64_t seed = 1;
  std::string faults;                ///< a preset; empty: the seed picks one
  std::vector<std::string> without;  ///< kinds of faults that are left out of it
  std::size_t coordinators = 1;
  std::size_t clients = 0;  ///< at most so many; 0: as many as the seed says
  std::uint64_t steps = 0;  ///< stop after so many; 0: when everything has ended
};

struct FaultCounters {
  std::uint64_t crashes = 0, pauses = 0, partitions = 0, breaks = 0;
  Network::Counters network;

  FaultCounters& operator+=(const FaultCounters& other);
};

struct Result {
  std::string faults;  ///< the preset
  std::size_t sites = 0, clients = 0;
  std::optional<Violation> violation;
  std::uint64_t steps = 0;
  std::uint64_t hash = 0;  ///< of everything that happened
  Micros virtual_us = 0;
  Tally tally;
  std::uint64_t deadlocks = 0;  ///< in truth: how often somebody was deadlocked when nobody was before
  Attempts attempts;
  FaultCounters injected;
  std::uint64_t messages = 0;     ///< between sites and coordinators, without heartbeats; not those that follow
  std::uint64_t chasing = 0;      ///< probes and suspects between coordinators
  std::uint64_t initiations = 0;  ///< of probes
  std::uint64_t candidates = 0;
};

class World {
 public:
  explicit World(const Options& options, Log::Sink sink = {});
  /// Once.
  Result run();

 private:
  struct Slot {
    std::unique_ptr<Process> process;
    bool up = true;
    bool paused = false;
    Micros wake_at = never;
    std::uint64_t wake_planned = 0;
    std::deque<std::function<void()>> inbox{};  ///< of a paused process: what it will receive
    std::uint64_t life = 0;                     ///< counts crashes
  };
  struct Partition {
    std::vector<std::pair<NodeId, NodeId>> cuts;
    std::vector<NodeId> touched;
  };

  void build(const Options& options);
  void deliver(NodeId from, NodeId to, const std::string& bytes, bool twin);
  /// See Surroundings::post.
  void post(NodeId to, std::function<void(Process&)> what);
  void wake(NodeId node);
  /// Lets a process work, and plans when it does so next.
  void let_work(NodeId node);
  void watch();

  // faults.cpp of the world: world_faults.cpp
  void plan_faults();
  template <class Fault>
  void repeat(std::int64_t Faults::*every, Fault fault);
  void crash(NodeId node);
  void break_engine_connections(NodeId node);
  void start(NodeId node);
  void pause(NodeId node);
  void resume(NodeId node);
  void break_connection(NodeId a, NodeId b);
  void reconnect(NodeId node);
  void partition();
  void heal(std::size_t partition);
  void calm_down();
  [[nodiscard]] std::optional<NodeId> pick(NodeId first, NodeId last);
  [[nodiscard]] bool is_client(NodeId node) const { return node >= first_client_; }

  [[nodiscard]] bool at_rest() const;
  void check_end();
  [[nodiscard]] Result result() const;

  Options options_;
  Random random_;
  Faults faults_;         ///< as they are now
  const Faults initial_;  ///< before it calmed down
  Workload workload_;
  Scheduler clock_;
  Log log_;
  NodeId first_site_;
  NodeId first_client_;
  std::size_t nodes_;
  std::vector<Slot> slots_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Surroundings> around_;
  std::vector<CoordinatorProcess*> coordinators_;
  std::vector<LockSite*> sites_;
  std::vector<EngineSite*> engines_;
  std::vector<Client*> clients_;
  Random fault_random_;
  std::deque<Partition> partitions_;
  FaultCounters injected_;
  bool calm_ = false;
};

}  // namespace gordian::sim
