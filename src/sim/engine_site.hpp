// An engine that reports its waits with explicit blockers, through the agent's core alone: exclusive locks with a queue (hard and
// soft blockers); requests that go on once some of several resources are free (any, k of n), taking none; and a latch, which some
// requests take first and give back when their transaction waits for nothing here any more (dotted blockers).
//
// Clients talk to it over connections that lose nothing but break with a crash. Not thread-safe, like everything here.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "agent/agent_router.hpp"
#include "sim/coordinator_links.hpp"
#include "sim/process.hpp"
#include "sim/random.hpp"

namespace gordian::sim {

struct EngineRequest {
  NodeId client;
  std::uint64_t life;  ///< of the client's transaction: comes back with the answer
  TxnId txn;
  double start;
  std::vector<std::string> resources;
  std::uint32_t need = 0;  ///< 0: the one resource, exclusively; else: so many of them must be free
  bool latch = false;      ///< takes the engine's latch before it queues for the resource
};

class EngineSite : public Process {
 public:
  /// `incident` of the deadlock that the transaction was aborted for; empty: granted.
  using Answer = std::function<void(const EngineRequest& request, const std::string& incident)>;

  EngineSite(Surroundings& around, NodeId id, std::string name, bool reorders, Answer answer)
      : Process(around, id, std::move(name)), reorders_(reorders), answer_(std::move(answer)) {}

  void start() override;
  void crash() override;
  void receive(NodeId from, const std::string& bytes) override;
  void work() override;
  [[nodiscard]] Micros next_due() override;

  void ask(EngineRequest request);
  void end(const TxnId& txn);
  /// A client's connection broke: its transactions here are over.
  void client_gone(NodeId client);
  [[nodiscard]] bool at_rest() const { return holders_.empty() && queue_.empty(); }
  [[nodiscard]] std::uint64_t messages() const { return messages_; }

 private:
  struct Waiting {
    EngineRequest request;
    WaitHandle handle;
    std::vector<Blocker> blockers;
    std::uint32_t need;
  };
  struct Holder {
    TxnId txn;
    EngineRequest request;  ///< that was granted
  };
  [[nodiscard]] bool wants_latch(const EngineRequest& request) const;
  [[nodiscard]] bool is_before(const EngineRequest& other, const EngineRequest& request) const;
  /// One step forward for somebody, if there is one.
  [[nodiscard]] bool advance();
  [[nodiscard]] bool drop_latch();
  [[nodiscard]] bool is_free(const std::string& resource, const TxnId& txn) const;
  [[nodiscard]] std::pair<std::vector<Blocker>, std::uint32_t> blockers(std::size_t place) const;
  /// Grants what can be, and reports what still waits, and for whom.
  void settle(const std::string& order = {});
  void report(const std::string& order);
  void remove(const TxnId& txn);
  void take_calls(NodeId coordinator);
  void carry_out(NodeId coordinator, const agent::AbortCall& call);
  void carry_out(NodeId coordinator, const agent::ReorderCall& call);

  bool reorders_;
  Answer answer_;
  std::uint64_t incarnation_ = 0;
  std::unique_ptr<agent::AgentRouter> core_;
  CoordinatorLinks links_;
  std::map<std::string, Holder> holders_;
  std::optional<Holder> latch_;
  std::vector<Waiting> queue_;  ///< in the order in which they came
  std::optional<Observer::Order> order_;
  std::uint64_t messages_ = 0;
};

}  // namespace gordian::sim
