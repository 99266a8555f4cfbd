// gordiand in the simulation: the real coordinator. Its history, and with it the epoch, may survive a crash or not.
#pragma once

#include <memory>

#include "coordinator/coordinator.hpp"
#include "sim/process.hpp"
#include "sim/random.hpp"

namespace gordian::sim {

class CoordinatorProcess : public Process {
 public:
  struct Counters {
    std::uint64_t messages =
        0;  ///< about deadlocks: confirmations, orders, resyncs, reservations; not those that follow
    std::uint64_t chasing = 0;      ///< probes and suspects
    std::uint64_t initiations = 0;  ///< of probes
    std::uint64_t candidates = 0;
  };
  CoordinatorProcess(Surroundings& around, NodeId id, std::string name, Random random)
      : Process(around, id, std::move(name)), random_(random) {}

  void start() override;
  void crash() override;
  void receive(NodeId from, const std::string& bytes) override;
  void receive(const std::string& from, const wire::FromPeer& message);
  void work() override;
  [[nodiscard]] Micros next_due() override { return coordinator_->next_tick_us(); }
  [[nodiscard]] Counters counters() const;

 private:
  [[nodiscard]] coordinator::Time time() const { return {now(), now()}; }
  void tell(const coordinator::Event& event);
  void talk_to_peers();

  Random random_;
  std::uint64_t epoch_ = 0;  ///< on disk
  std::uint64_t starts_ = 0;
  std::uint64_t told_ = 0;  ///< the newest incident that the observer knows
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  Counters counters_;
};

}  // namespace gordian::sim
