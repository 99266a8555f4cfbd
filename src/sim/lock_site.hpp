// gordian-agent in the simulation: the real lock server and agent, with a disk that loses what was not yet written.
#pragma once

#include <deque>
#include <memory>

#include "lease/node_core.hpp"
#include "sim/process.hpp"
#include "sim/random.hpp"

namespace gordian::sim {

/// What a state file holds after a record more.
void remember(lease::Durable& durable, const lease::Record& record);

class LockSite : public Process {
 public:
  LockSite(Surroundings& around, NodeId id, std::string name, bool journal, Random random)
      : Process(around, id, std::move(name)), journal_(journal), random_(random) {}

  void start() override;
  void crash() override;
  void receive(NodeId from, const std::string& bytes) override;
  void work() override;
  [[nodiscard]] Micros next_due() override;
  [[nodiscard]] std::uint64_t fingerprint() override;

  /// Nobody holds or waits for anything.
  [[nodiscard]] bool at_rest() const;
  /// Messages to coordinators that were no heartbeats.
  [[nodiscard]] std::uint64_t messages() const { return messages_; }

 private:
  [[nodiscard]] lease::ServerTime time() const { return {now(), now()}; }
  void obey(NodeId coordinator, const wire::ToAgent& message);
  /// Tells the observer what stands now.
  void report(const std::string& order = {});
  void check_holders(const ResourceView& resource);
  void write(std::vector<lease::Record> records);
  void commit();
  void answer_clients();

  bool journal_;
  Random random_;
  std::unique_ptr<lease::NodeCore> core_;

  // On disk.
  std::uint64_t epoch_ = 0;
  lease::Durable durable_;
  // Not yet on disk.
  struct Writing {
    lease::Record record;
    Micros done;
  };
  std::deque<Writing> writing_;
  std::uint64_t committed_ = 0;
  std::deque<lease::Outgoing> held_;  ///< messages, some of which wait for the disk

  std::map<std::pair<std::string, TxnId>, Fence> holding_;  ///< as the observer saw it last
  std::map<std::string, Fence> newest_;                     ///< fence of each resource
  std::uint64_t messages_ = 0;
};

}  // namespace gordian::sim
